"""Model bundles and what predicts from them."""
