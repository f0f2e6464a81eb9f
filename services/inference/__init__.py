"""Predicts from feature rows with verified models."""
