"""Exercises of notebook 0, *Backpropagation by hand*."""

EXERCISES = ()
