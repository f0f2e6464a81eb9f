"""What the trainer does outside itself: files, and the child process that fits."""
