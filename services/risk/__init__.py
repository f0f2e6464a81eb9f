"""Risk: the only door between a prediction and an order."""
