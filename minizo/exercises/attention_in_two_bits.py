"""Exercises of notebook 11, *Attention in two bits*."""

EXERCISES = ()
