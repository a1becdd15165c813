"""Exercises of notebook 7, *How many samples does an STE need?*."""

EXERCISES = ()
