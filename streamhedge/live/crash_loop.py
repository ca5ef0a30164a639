"""A program that keeps ending by its own fault is not started once more: it comes up HALTED and a person looks (FAULTS P8)."""

from __future__ import annotations

from streamhedge.errors import StreamhedgeError
from streamhedge.store.ledger import Ledger

RUNS_MOST = 3
WITHIN_MS = 300_000
BUG = "bug: "
"""How the ledger marks a run that ended by an error nobody expected; a kill or a loss of power marks nothing."""


def how_it_ended(error: BaseException | None) -> str:
    """Return what the ledger notes of the end of a run."""
    if error is None:
        return "stopped"
    bug = isinstance(error, Exception) and not isinstance(error, StreamhedgeError)
    return f"{BUG if bug else ''}{type(error).__name__}"


def crash_loop(ledger: Ledger, now_ms: int) -> str:
    """Return why this start is halted, empty when it is not: the last runs all ended by our own fault, and quickly."""
    runs = ledger.epochs()[-RUNS_MOST:]
    ends = [str(run["ended"] or "") for run in runs]
    recent = len(runs) == RUNS_MOST and now_ms - int(runs[0]["started_ms"]) <= WITHIN_MS
    if not recent or not all(end.startswith(BUG) for end in ends):
        return ""
    return (
        f"the last {RUNS_MOST} runs ended by an error of the program itself ({', '.join(ends)}) within "
        f"{WITHIN_MS // 60_000} minutes: read their last lines, then `streamhedge resume --reason …` or `run --resume`"
    )
