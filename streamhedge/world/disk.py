"""The virtual disk: a ledger and a recording in memory that can refuse, and forget at a power loss what was not synced.

The ledger keeps to the read and write interface of the real one and to its promises: float trades, latches and epochs are
durable at once, and carry with them whatever the loop wrote before; intents and rows survive the death of the process,
not the loss of power. Bodies go through the canonical form, so that nothing is shared with the run that wrote them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from streamhedge.domain.canonical import from_plain, to_plain
from streamhedge.domain.commands import Persist
from streamhedge.domain.events import FloatTrade
from streamhedge.domain.order import OPEN_STATUSES, Order
from streamhedge.domain.values import NS_PER_MS
from streamhedge.errors import LedgerUnwritable, StoreError
from streamhedge.store.journal import FORMAT, Line, one_line, original
from streamhedge.store.ledger import EPOCH_ZERO_S, EVENT_ROWS

SUM_EVERY = 500
OPEN_NAMES = frozenset(status.value for status in OPEN_STATUSES)


@functools.lru_cache(maxsize=4_096)
def _trade(body: bytes) -> FloatTrade:
    """Read a float trade; nobody changes one, so that a body read before need not be read again."""
    return from_plain(FloatTrade, orjson.loads(body))  # type: ignore[no-any-return]


class Rows:
    """What stands on the disk."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.trades: dict[str, bytes] = {}
        self.intents: dict[str, bytes] = {}
        self.open: dict[str, None] = {}
        """Names of the intents whose end was never learnt, oldest first."""
        self.states: dict[str, dict[str, Any]] = {}
        self.rows: dict[tuple[str, str], bytes] = {}
        self.gaps: dict[int, bytes] = {}

    def copy(self) -> Rows:
        """Return the same rows; single rows are replaced, never changed."""
        found = Rows()
        found.epochs, found.trades = list(self.epochs), dict(self.trades)
        found.intents, found.states, found.rows = dict(self.intents), dict(self.states), dict(self.rows)
        found.gaps = dict(self.gaps)
        found.open = dict(self.open)
        return found


class VirtualLedger:
    """The books of one account over all its runs.

    Args:
        instance: Name of this installation, as it stands in client order ids.
        committed: Told each intent once its row is there.
    """

    def __init__(self, instance: str, committed: Callable[[Order], None]) -> None:
        self.instance = instance
        self.now = Rows()
        self.gate: Callable[[str], None] = lambda point: None
        self.failing = 0
        self.refusing_intents = 0
        self.lost_ids: list[str] = []
        self._synced = Rows()
        self._committed = committed

    # ------------------------------------------------------------ faults

    def fail(self, times: int) -> None:
        """Refuse the next so many writes."""
        self.failing = times

    def lose_power(self) -> None:
        """Forget what the loop wrote since the last durable write."""
        before = list(self.now.intents)
        self.now = self._synced.copy()
        self.lost_ids += [name for name in before if name not in self.now.intents]

    def _write(self) -> None:
        if self.failing > 0:
            self.failing -= 1
            raise LedgerUnwritable("the virtual disk is full; nothing was written")

    def _sync(self) -> None:
        self._synced = self.now.copy()

    # ------------------------------------------------------------ durable

    def open_epoch(self, *, started_ms: int, boot_id: str) -> int:
        """Begin a run and return its number."""
        last = self.now.epochs[-1]["number"] if self.now.epochs else 0
        number = max(last + 1, started_ms // 1_000 - EPOCH_ZERO_S)
        self.now.epochs.append({"number": number, "started_ms": started_ms, "boot_id": boot_id, "ended": None})
        self._sync()
        return number

    def epochs(self) -> list[dict[str, Any]]:
        """Return every run, oldest first."""
        return list(self.now.epochs)

    def record_float_trade(self, trade: FloatTrade) -> bool:
        """Book a float trade; False when its id stands there already."""
        if trade.trade_id in self.now.trades:
            return False
        self._write()
        self.now.trades[trade.trade_id] = orjson.dumps(to_plain(trade))
        self._sync()
        return True

    def set_state(self, key: str, fields: dict[str, object]) -> None:
        """Write a latch durably."""
        self._write()
        self.now.states[key] = orjson.loads(orjson.dumps(fields))
        self._sync()

    # ------------------------------------------------------------ on the loop

    def commit_intent(self, order: Order) -> None:
        """Commit one intent, once."""
        self.gate("deciding")
        if self.refusing_intents > 0:
            self.refusing_intents -= 1
            raise LedgerUnwritable("the virtual disk is full; the intent was not written")
        self._write()
        if order.client_order_id in self.now.intents:
            self._committed(order)  # the auditor names what is broken
            raise LedgerUnwritable(f"{order.client_order_id} is committed already; nothing was written")
        self._put(order.client_order_id, to_plain(order))
        self._committed(order)

    def persist(self, row: Persist) -> None:
        """Write one row that no order waits for."""
        self._write()
        body = orjson.dumps(row.fields)
        if row.table == "order":
            if row.key in self.now.intents:
                self._put(row.key, row.fields)
        elif row.table == "state":
            self.now.states[row.key] = orjson.loads(body)
        elif row.table == "gap":
            self.now.gaps[int(row.key)] = body
        elif row.table == "attribution":
            self.now.rows[row.table, row.key] = body
        else:
            self.now.rows.setdefault((row.table, row.key), body)

    def _put(self, name: str, fields: Mapping[str, object]) -> None:
        self.now.intents[name] = orjson.dumps(fields)
        if fields["status"] in OPEN_NAMES:
            self.now.open[name] = None
        else:
            self.now.open.pop(name, None)

    # ------------------------------------------------------------ reading

    def float_trades(self) -> list[FloatTrade]:
        """Return all float trades in the order they were booked."""
        return [_trade(body) for body in self.now.trades.values()]

    def intents(self, since_ms: int | None = None) -> list[Order]:
        """Return every order ever committed as it stands now."""
        since_ns = None if since_ms is None else since_ms * NS_PER_MS
        found = (orjson.loads(body) for body in self.now.intents.values())
        return [from_plain(Order, row) for row in found if since_ns is None or row["decided_ns"] >= since_ns]

    def open_orders(self) -> list[Order]:
        """Return the orders whose end was never learnt."""
        return [from_plain(Order, orjson.loads(self.now.intents[name])) for name in self.now.open]

    def gaps(self) -> list[dict[str, Any]]:
        """Return every certificate, oldest first."""
        return [orjson.loads(self.now.gaps[number]) for number in sorted(self.now.gaps)]

    def last_gap(self) -> int:
        """Return the number of the newest certificate, 0 before any."""
        return max(self.now.gaps, default=0)

    def last_row(self) -> tuple[str, dict[str, Any]] | None:
        """Return kind and fields of the last thing the account's stream told, None before any."""
        told = [(kind, body) for (kind, _), body in self.now.rows.items() if kind in EVENT_ROWS]
        return (told[-1][0], orjson.loads(told[-1][1])) if told else None

    def states(self) -> dict[str, dict[str, Any]]:
        """Return every latch."""
        return {key: dict(self.now.states[key]) for key in sorted(self.now.states)}


class VirtualJournal:
    """One run's recording, in memory; with checkpoints, so that it can be replayed and compared.

    Args:
        header: Returns the state the run begins with.
        digest: Returns the digest of the state now.
        keep: False records nothing but still fails when told to.
    """

    def __init__(self, header: Callable[[], dict[str, object]], digest: Callable[[], str], *, keep: bool) -> None:
        self.failing = 0
        self.lines: list[tuple[int, str, bytes]] = []
        self._header = header
        self._digest = digest
        self._keep = keep
        self._failed = False

    def append(self, recv_ns: int, source: str, payload: bytes) -> None:
        """Record one input."""
        if self.failing > 0 or self._failed:
            self.failing -= 1
            self._failed = True
            raise StoreError("the virtual disk refused a line of the recording")
        if not self._keep:
            return
        if not self.lines:
            self.lines.append((recv_ns, "header", orjson.dumps({"format": FORMAT, **self._header()})))
        elif len(self.lines) % SUM_EVERY == 0:
            self.lines.append((recv_ns, "sum", orjson.dumps({"digest": self._digest()})))
        self.lines.append((recv_ns, source, one_line(payload)))

    def close(self, recv_ns: int) -> None:
        """Write the last checkpoint, unless the recording failed before."""
        if self._keep and self.lines and not self._failed:
            self.lines.append((recv_ns, "sum", orjson.dumps({"digest": self._digest()})))

    def read(self) -> Iterator[Line]:
        """Yield the lines as a reader of the file would see them."""
        for number, (recv_ns, source, payload) in enumerate(self.lines, 1):
            yield Line(recv_ns, source, original(payload), number)
