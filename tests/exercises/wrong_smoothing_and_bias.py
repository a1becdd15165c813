"""Wrong answers to the exercises of notebook 8, each with a part of what is said of it."""

WRONG = {}
