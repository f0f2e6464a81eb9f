"""The thin coat every service wears: it waits, reads, sends and keeps; the core inside decides."""
