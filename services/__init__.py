"""The services: each a pure core in a thin shell."""
