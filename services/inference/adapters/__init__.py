"""Inference's I/O: strategies of the user's own."""
