"""Wrong answers to the exercises of notebook 0, each with a part of what is said of it."""

WRONG = {}
