"""Verbs: the only code that changes the book."""
