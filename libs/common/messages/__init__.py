"""All messages that pass between services, by family."""
