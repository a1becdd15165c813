"""Theory against numbers (`python -m minizo.lab`), and instruments for looking at estimators."""
