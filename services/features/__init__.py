"""The features service: ticks in, closed bars and feature rows out."""
