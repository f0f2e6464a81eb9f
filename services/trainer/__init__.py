"""The trainer: learns models from the rows that were served and decides which of them may serve next."""
