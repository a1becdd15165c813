"""Exercises of notebook 5, *Learned gradients*."""

EXERCISES = ()
