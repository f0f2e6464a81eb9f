"""Executor: approved orders to the broker, once; what became of them to everyone."""
