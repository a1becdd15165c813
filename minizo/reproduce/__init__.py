"""One module a published or committed claim: run it, and it prints the numbers."""
