"""What every feature family must hold, ours and a user's own: the checks, and the market they run on."""
