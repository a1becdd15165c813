"""Exercises of notebook 3, *Quantisers and surrogates*."""

EXERCISES = ()
