"""Instruments for looking at estimators, rather than training with them."""
