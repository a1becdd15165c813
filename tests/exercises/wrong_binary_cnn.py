"""Wrong answers to the exercises of notebook 4, each with a part of what is said of it."""

WRONG = {}
