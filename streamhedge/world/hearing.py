"""What the product was told, read by the auditor from the same bytes before the product reads them.

Marks, the private stream and since when it is blind, snapshots and when they were asked, verbs, float trades, bans. It
decides nothing; the auditor judges by it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from streamhedge.rules.params import Limits
from streamhedge.world.schedule import MS, S, Schedule

D = Decimal
ZERO = D(0)


class Hearing:
    """The product's ears, as somebody beside it has them.

    ``float``, ``halted`` and ``reducing`` are what the inputs lead to; ``holding`` says that the product holds what it
    hears until a snapshot is there, and only then can act on it.
    """

    def __init__(self, schedule: Schedule, limits: Limits, prefix: str) -> None:
        self._schedule = schedule
        self._limits = limits
        self._prefix = prefix
        self.float = ZERO
        self.halted = ""
        self.reducing = False
        self.reduced: set[str] = set()
        """Symbols that a person reduced alone."""
        self.holding = True
        self.banned_until_ns = 0
        self.lag_ms = 0
        self.marks: dict[str, tuple[Decimal, int]] = {}
        self.polled: dict[str, tuple[Decimal, int]] = {}
        """Marks that position rows told while their stream was mute."""
        self.private: dict[int, int] = {}
        """Private connections that are open, and since when."""
        self.snapshot_asked_ns = 0
        """When the last whole snapshot was asked that counts, 0 when none does."""
        self.told: dict[tuple[str, int], set[Decimal]] = {}
        """Symbol and transaction time (ms) to the amounts that ACCOUNT_UPDATE rows of it named."""
        self.told_ns: dict[tuple[str, int], int] = {}
        self.shown: dict[str, tuple[int, int]] = {}
        """Symbol to the version (ms) that its row in a snapshot had last, and when that was asked (ns)."""
        self._said_marks: dict[str, Decimal] = {}
        self._blind_from_ns = 0
        self._asked: dict[str, int] = {}
        self._half: dict[str, str] = {}
        self._readers: dict[str, Callable[[dict[str, Any]], None]] = {
            "private": self._private_event,
            "conn": self._connection,
            "clock": self._clock,
            "trade": self._trade,
            "verb": self._verb,
            "store": self._store,
            "rest": self._answer,
            "wsapi": self._ws_answer,
        }

    def started(self, *, floats: Decimal, weak: bool) -> None:
        """A run begins.

        Args:
            floats: What the ledger holds.
            weak: True when a latch of the product's own may be lost: to a power loss, or with rows that it owed.
        """
        self.float = floats
        self.private.clear()
        self._blind_from_ns = self._schedule.now_ns
        self._half.clear()
        self._asked.clear()
        self.snapshot_asked_ns = 0
        self.lag_ms = 0
        self.marks.clear()
        self.polled.clear()
        if self.halted == "store" or (self.halted == "rival" and weak):
            self.halted = ""

    def asked(self, text: str) -> None:
        """Note when a snapshot was asked."""
        kind, _, rest = str(orjson.loads(text).get("id")).partition("-")
        if kind == "pos":
            self._asked[rest] = self._schedule.now_ns

    # ------------------------------------------------------------ inputs

    def tick(self, payload: bytes) -> None:
        """Take a tick: how late the loop is."""
        self.lag_ms = orjson.loads(payload)["lag_ms"]

    def market(self, payload: bytes) -> None:
        """Take a frame of the market stream."""
        try:
            fields = orjson.loads(payload)
        except ValueError:
            return
        data = fields.get("data", {}) if isinstance(fields, dict) else {}
        if isinstance(data, dict) and data.get("e") == "markPriceUpdate":
            told = D(data["p"])
            if told.is_finite() and told > 0:  # anything else is no price, and must not be taken for one
                self.marks[data["s"]] = (told, self._schedule.now_ns)

    def heard(self, source: str, fields: dict[str, Any]) -> None:
        """Take any other input, decoded."""
        reader = self._readers.get(source)
        if reader is not None:
            reader(fields)

    def untrusted(self) -> None:
        """What is known of the account is worth nothing until a snapshot is asked anew."""
        self._blind_from_ns = self._schedule.now_ns
        self.snapshot_asked_ns = 0

    def _private_event(self, fields: dict[str, Any]) -> None:
        if fields.get("e") == "listenKeyExpired":
            self.private.clear()
            self.untrusted()
        elif fields.get("e") == "BRAND_NEW_EVENT":
            self.untrusted()
        elif fields.get("e") == "ACCOUNT_UPDATE":
            for row in fields["a"]["P"]:
                self.told.setdefault((row["s"], fields["T"]), set()).add(D(row["pa"]))
                self.told_ns.setdefault((row["s"], fields["T"]), self._schedule.now_ns)
        elif fields.get("e") == "ORDER_TRADE_UPDATE":
            name = fields["o"]["c"]
            if not self.holding and name.startswith("sh-") and not name.startswith(self._prefix):
                self.halted = self.halted or "rival"

    def _connection(self, fields: dict[str, Any]) -> None:
        if fields["stream"] != "private":
            return
        if fields["state"] == "open":
            if not self.private:
                self.untrusted()
            self.private[fields["connection"]] = self._schedule.now_ns
        else:
            self.private.pop(fields["connection"], None)

    def _clock(self, fields: dict[str, Any]) -> None:
        self.untrusted()

    def _trade(self, fields: dict[str, Any]) -> None:
        self.float += D(fields["quantity"])

    def _verb(self, fields: dict[str, Any]) -> None:
        if fields["kind"] == "halt":
            self.halted = "verb"
        elif fields["kind"] == "reduce" and fields["symbol"] is None:
            self.reducing = True
        elif fields["kind"] == "reduce":
            self.reduced.add(fields["symbol"])
        elif fields["kind"] == "resume":
            self.reduced.clear()
            if fields["symbol"] is None:
                self.halted, self.reducing = "", False

    def _store(self, fields: dict[str, Any]) -> None:
        self.halted = self.halted or "store"

    def _answer(self, fields: dict[str, Any]) -> None:
        wait = fields["headers"].get("retry-after", "")
        if fields["status"] == 418 and wait.isdigit():
            self.banned_until_ns = self._schedule.now_ns + int(wait) * S

    def _ws_answer(self, fields: dict[str, Any]) -> None:
        kind, _, rest = str(fields.get("id")).partition("-")
        if kind not in ("pos", "bal") or fields.get("status") != 200:
            return
        for row in fields["result"] if kind == "pos" else ():
            self.shown[row["symbol"]] = (row["updateTime"], self._asked.get(rest, 0))
            self._said_marks[row["symbol"]] = D(row["markPrice"])
        if self._half.get(rest, kind) == kind:
            self._half[rest] = kind
            return
        self._rows_are_whole()
        if self.private and self._asked.get(rest, 0) >= self._blind_from_ns:
            self.snapshot_asked_ns = max(self.snapshot_asked_ns, self._asked[rest])

    # ------------------------------------------------------------ marks

    def _rows_are_whole(self) -> None:
        """A snapshot is whole: where the stream of a mark is mute, what the rows say of it counts for reducing."""
        mute_ns = max(10 * S, 2 * self._limits.stale_after_ms * MS)
        for symbol, (_, heard_ns) in self.marks.items():
            if self._schedule.now_ns - heard_ns > mute_ns and self._said_marks.get(symbol, ZERO) > 0:
                self.polled[symbol] = (self._said_marks[symbol], self._schedule.now_ns)

    def mark(self, symbol: str, *, reducing: bool) -> tuple[Decimal, int] | None:
        """Return the mark that an order may be decided on and when it was heard; None before the first."""
        found = [self.marks[symbol]] if symbol in self.marks else []
        if reducing and found and symbol in self.polled:
            found.append(self.polled[symbol])
        return max(found, key=lambda mark: mark[1], default=None)
