"""What every service has in common: messages, subjects, bus, runtime, storage, models, trading rules."""
