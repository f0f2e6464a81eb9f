"""MetaTrader 5: its vocabulary, what its answers mean, and a terminal that runs anywhere."""
