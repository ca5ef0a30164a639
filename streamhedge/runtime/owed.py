"""Rows that the ledger refused and that no order waits for: kept in order, and written as soon as it works again.

Of a row that replaces (an order, a state, a certificate, a day of the attribution) only the newest stands here; a row
that adds (a fill, a payment) stands once.
Bounded: beyond the bound the oldest row that adds is given up and counted, never a latch and never what became of an order.
"""

from __future__ import annotations

from collections.abc import Callable

from streamhedge.domain.commands import Persist
from streamhedge.domain.values import state
from streamhedge.errors import StoreError

OWED_MOST = 10_000
REPLACING = ("order", "stop", "state", "gap", "attribution")


@state
class Owed:
    """What the ledger is owed, oldest first; ``written`` counts what it took late, ``given_up`` what did not fit."""

    rows: dict[tuple[str, str], Persist]
    written: int = 0
    given_up: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def keep(self, row: Persist) -> None:
        """Keep one more row; the newest of its key comes last."""
        key = row.table, row.key
        if row.table in REPLACING:
            self.rows.pop(key, None)
        self.rows.setdefault(key, row)
        if len(self.rows) > OWED_MOST:
            adding = next((name for name, held in self.rows.items() if held.table not in REPLACING), None)
            if adding is not None:
                del self.rows[adding]
                self.given_up += 1

    def write(self, persist: Callable[[Persist], None]) -> str:
        """Write row by row until none is owed or the ledger refuses; return its words, empty when none is owed."""
        while self.rows:
            key = next(iter(self.rows))
            try:
                persist(self.rows[key])
            except StoreError as error:
                return str(error)
            del self.rows[key]
            self.written += 1
        return ""
