"""Exercises of notebook 8, *What a perturbation smooths*."""

EXERCISES = ()
