"""Where ticks enter: read or simulate, check, cut into blocks, publish, record."""
