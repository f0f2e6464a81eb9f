"""How an external broker is reached."""
