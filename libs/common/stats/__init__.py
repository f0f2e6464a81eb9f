"""Figures over streams and samples: moments, performance of trading, drift of distributions."""
