"""What outlives a process: ticks, journals, snapshots, keys."""
