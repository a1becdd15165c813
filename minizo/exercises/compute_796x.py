"""Exercises of notebook 2, *796 times less computation?*."""

EXERCISES = ()
