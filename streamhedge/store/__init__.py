"""Memory: the recording (what we knew) and the ledger (what we meant)."""
