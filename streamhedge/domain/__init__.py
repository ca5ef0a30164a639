"""Nouns: pure records and arithmetic that know no venue and no policy."""
