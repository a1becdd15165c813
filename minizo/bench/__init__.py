"""``python -m minizo.bench``: the package beside what a user would pick instead."""
