"""Exercises of notebook 4, *A binary convolutional network*."""

EXERCISES = ()
