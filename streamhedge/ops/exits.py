"""Exit codes (SURFACE §2): one table, from errors to numbers."""

from __future__ import annotations

from streamhedge.errors import (
    AlreadyRunning,
    AuthenticationError,
    CommandError,
    ConfigError,
    LedgerDamaged,
    NotRunning,
    StreamhedgeError,
)

OK, FAILURE, USAGE, UNREACHABLE, CONFIG, TIMEOUT, HALTED, TAKEN, UNRECONCILED = 0, 1, 2, 3, 4, 5, 6, 7, 8

_CODES: tuple[tuple[type[StreamhedgeError], int], ...] = (
    (CommandError, USAGE),
    (NotRunning, UNREACHABLE),
    (ConfigError, CONFIG),
    (AuthenticationError, CONFIG),
    (AlreadyRunning, TAKEN),
    (LedgerDamaged, UNRECONCILED),
)


def exit_of(error: StreamhedgeError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILURE)


def exit_of_trade(result: dict[str, object]) -> int:
    """Return the exit code of a booked trade: hedged, late, or named."""
    hedge = result["hedge"]
    status = hedge["status"] if isinstance(hedge, dict) else "pending"
    return {"hedged": OK, "dust": OK, "shadow": OK, "blocked": HALTED}.get(str(status), TIMEOUT)
