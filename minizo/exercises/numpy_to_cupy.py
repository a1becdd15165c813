"""Exercises of notebook 9, *From NumPy to CuPy*."""

EXERCISES = ()
