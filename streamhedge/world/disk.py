"""The virtual disk: a ledger and a recording in memory that can refuse, tear, and forget at a power loss what was not synced.

The ledger keeps to the read and write interface of the real one and to its promises: float trades, latches and epochs are
durable at once, and carry with them whatever the loop wrote before; intents and rows survive the death of the process,
not the loss of power. Bodies go through the canonical form, so that nothing is shared with the run that wrote them.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from streamhedge.domain.canonical import from_plain, to_plain
from streamhedge.domain.commands import Persist
from streamhedge.domain.events import FloatTrade
from streamhedge.domain.order import OPEN_STATUSES, Order
from streamhedge.domain.stop import Stop
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
        self._unsynced: list[tuple[dict[Any, Any], Any, Any]] = []
        """Each transaction since the last durable one: (table, key, what stood there before, None for nothing)."""
        self._committed = committed

    # ------------------------------------------------------------ faults

    def fail(self, times: int) -> None:
        """Refuse the next so many writes."""
        self.failing = times

    def lose_power(self) -> None:
        """Forget what the loop wrote since the last durable write."""
        self._forget(len(self._unsynced))

    def tear(self, chance: random.Random) -> None:
        """Lose power as the log is half written: frames from a drawn one on are torn, and their transactions gone."""
        if self._unsynced:
            self._forget(chance.randint(1, len(self._unsynced)))

    def _forget(self, transactions: int) -> None:
        for _ in range(transactions):
            table, key, before = self._unsynced.pop()
            if before is not None:
                table[key] = before
                continue
            del table[key]
            if table is self.now.intents:
                self.lost_ids.append(key)
        found = ((name, orjson.loads(body)["status"]) for name, body in self.now.intents.items())
        self.now.open = {name: None for name, status in found if status in OPEN_NAMES}

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Write one row in one transaction of the loop's."""
        self._unsynced.append((table, key, table.get(key)))
        table[key] = value

    def _write(self) -> None:
        if self.failing > 0:
            self.failing -= 1
            raise LedgerUnwritable("the virtual disk is full; nothing was written")

    def _sync(self) -> None:
        self._unsynced.clear()

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

    def commit_stop(self, stop: Stop) -> None:
        """Commit one stop, once."""
        self.gate("deciding")
        self._write()
        if ("stop", stop.client_order_id) in self.now.rows:
            raise LedgerUnwritable(f"{stop.client_order_id} is committed already; nothing was written")
        self._set(self.now.rows, ("stop", stop.client_order_id), orjson.dumps(to_plain(stop)))

    def stops(self) -> list[Stop]:
        """Return the stops that may rest at the venue, oldest first."""
        found = [from_plain(Stop, orjson.loads(body)) for (kind, _), body in self.now.rows.items() if kind == "stop"]
        return [stop for stop in found if stop.is_open]

    def persist(self, row: Persist) -> None:
        """Write one row that no order waits for."""
        self._write()
        body = orjson.dumps(row.fields)
        if row.table == "order":
            if row.key in self.now.intents:
                self._put(row.key, row.fields)
            self.gate("order-row")
        elif row.table == "state":
            self._set(self.now.states, row.key, orjson.loads(body))
        elif row.table == "gap":
            self._set(self.now.gaps, int(row.key), body)
        elif row.table in ("attribution", "stop"):
            self._set(self.now.rows, (row.table, row.key), body)
        elif (row.table, row.key) not in self.now.rows:
            self._set(self.now.rows, (row.table, row.key), body)
            self.gate(f"{row.table}-row")

    def _put(self, name: str, fields: Mapping[str, object]) -> None:
        self._set(self.now.intents, name, orjson.dumps(fields))
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
        gate: Told the points before and after a line is written.
    """

    def __init__(
        self,
        header: Callable[[], dict[str, object]],
        digest: Callable[[], str],
        *,
        keep: bool,
        gate: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.failing = 0
        self.lines: list[tuple[int, str, bytes]] = []
        self._header = header
        self._digest = digest
        self._keep = keep
        self._gate = gate
        self._failed = False

    def append(self, recv_ns: int, source: str, payload: bytes) -> None:
        """Record one input."""
        self._gate("numbered")
        self._write(recv_ns, source, payload)
        if source == "rest" and b'"label":"order"' in payload:
            self._gate("answer-recorded")
        elif source == "wsapi" and payload.startswith(b'{"id":"ord-'):
            self._gate("status-recorded")
        self._gate("recorded")

    def lose(self, chance: random.Random, *, torn: bool) -> None:
        """Lose the half line at the end (torn: a reader cuts it off), or as many as no fsync had reached."""
        lost = min(1 if torn else chance.randint(1, 200), len(self.lines) - 1)
        if lost > 0:
            del self.lines[-lost:]

    def _write(self, recv_ns: int, source: str, payload: bytes) -> None:
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
