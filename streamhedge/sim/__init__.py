"""The exchange, an adversary: its own grammar, its own arithmetic; shares nothing with what it judges but errors."""
