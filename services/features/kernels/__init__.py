"""The compiled code of the features service: bars, feature families, the pass over a chunk of ticks."""
