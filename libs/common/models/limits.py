"""How large a model may be: known also where nothing that reads one is installed."""

MAX_ARCHIVE_BYTES = 64 * 1024 * 1024
"""Most bytes of a bundle's archive."""
