"""Exercises of notebook 6, *ProxQuant*."""

EXERCISES = ()
