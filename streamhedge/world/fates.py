"""What became of each order, as far as anybody was told: which may still be alive, which ended, which were given up.

It reads the bytes that the product reads and knows the venue's words (BINANCE_USDM §5) by itself. An order is over for
certain by an end that was told, by an answer that proves a refusal, or by the whole absence rule; nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from streamhedge.domain.order import Order
from streamhedge.world.schedule import MS, S, Schedule

ENDS = ("FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED")
UNSURE_CODES = (-1000, -1006, -1007)
NOT_DONE = ("Service Unavailable.", "Internal error; unable to process your request. Please try again.")


class Misfit(Exception):
    """What was told does not fit what the wire saw."""


@dataclass(slots=True)
class Meant:
    """An order as it was committed, and what the product has been told of it since."""

    client_id: str
    symbol: str
    side: str
    quantity: Decimal
    reduce_only: bool
    purpose: str
    decided_ns: int
    foreign_before: int
    unseen: bool
    sent_ns: int = 0
    ended: bool = False
    gave_up: bool = False
    forgotten_until_ns: int = 0
    absences: list[int] = field(default_factory=list)
    fills: list[tuple[int, Decimal]] = field(default_factory=list)
    """When it filled how much while it could, as far as the product's position does not show it yet."""

    @property
    def sign(self) -> int:
        """+1 buy, -1 sell."""
        return 1 if self.side == "BUY" else -1


class Fates:
    """Every order ever committed in a world (``meant``), and those that may be alive (``live``).

    Args:
        schedule: The world's time.
        quarantine_ns: For how long after it left an order may still be accepted (Tq).
        count: Told what really happened.
        snapshot_asked_ns: When the last snapshot was asked that counts.
        surprised: Told (symbol, quantity) of a fill that nobody can have reckoned with.
    """

    def __init__(
        self,
        schedule: Schedule,
        quarantine_ns: int,
        *,
        count: Callable[[str], None],
        snapshot_asked_ns: Callable[[], int],
        surprised: Callable[[str, Decimal], None],
    ) -> None:
        self.meant: dict[str, Meant] = {}
        self.live: dict[str, Meant] = {}
        self.wired: dict[str, int] = {}
        """How often each id, an order's or a stop's, was on the wire."""
        self._schedule = schedule
        self._quarantine_ns = quarantine_ns
        self._count = count
        self._snapshot_asked_ns = snapshot_asked_ns
        self._surprised = surprised

    def committed(self, order: Order, *, foreign_before: int, unseen: bool) -> Meant:
        """Return an intent whose row is durable now; it is counted as alive once it is ``added``."""
        self.end_forgotten()
        return Meant(
            client_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side.value,
            quantity=order.quantity,
            reduce_only=order.reduce_only,
            purpose=order.purpose.value,
            decided_ns=self._schedule.now_ns,
            foreign_before=foreign_before,
            unseen=unseen,
        )

    def added(self, meant: Meant) -> None:
        """Count an order as alive."""
        self.meant[meant.client_id] = self.live[meant.client_id] = meant

    def restarted(self, lost: list[str]) -> None:
        """A run begins; a power loss took the rows of the orders in ``lost``."""
        for name in lost:
            row = self.meant.get(name)
            if row is not None and not row.forgotten_until_ns:
                row.forgotten_until_ns = self.last_ns(row)

    # ------------------------------------------------------------ inputs

    def heard(self, source: str, fields: dict[str, Any]) -> None:
        """Take an input, decoded.

        Raises:
            Misfit: an order is called void that left.
        """
        if source == "private" and fields.get("e") == "ORDER_TRADE_UPDATE":
            if fields["o"]["X"] in ENDS:
                self.end(fields["o"]["c"])
        elif source == "void":
            self._void(fields["client_order_id"])
        elif source == "rest":
            self._answer(fields)
        elif source == "wsapi":
            kind, _, rest = str(fields.get("id")).partition("-")
            if kind == "ord":
                self._status(rest.rpartition("-")[0], fields)

    def _void(self, name: str) -> None:
        self._count("voided")
        meant = self.meant.get(name)
        if meant is None:
            if name in self.wired:
                raise Misfit(f"the stop {name} left and is called void")
            return
        if meant.sent_ns:
            raise Misfit(f"{name} left and is called void")
        self.end(name)

    def _answer(self, fields: dict[str, Any]) -> None:
        name = fields["request"]["client_order_id"]
        if fields["request"]["label"] != "order" or name not in self.meant:
            return
        if _is_end(name, fields):
            self.end(name)
        else:
            self._count("answer that proves nothing")

    def _status(self, name: str, fields: dict[str, Any]) -> None:
        meant = self.meant.get(name)
        if meant is None:
            return
        if fields.get("status") == 200:
            if fields["result"].get("status") in ENDS:
                self.end(name)
        elif fields.get("error", {}).get("code") == -2013:
            meant.absences.append(self._schedule.now_ns)

    # ------------------------------------------------------------ ends

    def end(self, name: str) -> None:
        """An order is over for certain."""
        meant = self.live.pop(name, None)
        if meant is not None:
            meant.ended = True

    def end_forgotten(self) -> None:
        """What a power loss took from the ledger is over when its quarantine is."""
        now_ns = self._schedule.now_ns
        for meant in [m for m in self.live.values() if m.forgotten_until_ns and now_ns >= m.forgotten_until_ns]:
            self.end(meant.client_id)

    def give_up(self, meant: Meant) -> None:
        """An order is over by the absence rule; what it still does is a ghost's."""
        self.end(meant.client_id)
        meant.gave_up = True
        # Both absences and the snapshot were right when they were asked for; what has filled since is a ghost already
        # (FAULTS O6), and the decision made in the very step of giving up cannot know it.
        for at_ns, quantity in meant.fills:
            if at_ns >= self._snapshot_asked_ns():
                self._surprised(meant.symbol, quantity)
                self._count("fill while we gave it up")

    def is_absent(self, meant: Meant) -> bool:
        """Tell whether the whole absence rule holds: two answers a second apart and a snapshot, all from after Tq."""
        counted = [at_ns for at_ns in meant.absences if at_ns >= self.last_ns(meant)]
        apart = bool(counted) and counted[-1] - counted[0] >= S
        return apart and self._snapshot_asked_ns() >= self.last_ns(meant)

    def last_ns(self, meant: Meant) -> int:
        """Return until when the venue may accept an order by its own rule."""
        return (meant.sent_ns or meant.decided_ns) + self._quarantine_ns

    def last_ms(self, meant: Meant) -> int:
        """Return the same in milliseconds."""
        return self.last_ns(meant) // MS


def _is_end(name: str, fields: dict[str, Any]) -> bool:
    """Tell whether an answer says for certain that the order is over (BINANCE_USDM §5)."""
    status = fields["status"]
    if status is None:
        return fields["sent"] is False
    try:
        body = orjson.loads(fields["body"] or "{}")
    except (ValueError, TypeError):
        body = {}
    body = body if isinstance(body, dict) else {}
    code, text = body.get("code", 0), body.get("msg", "")
    if status == 200:
        return body.get("clientOrderId") == name and body.get("status") in ENDS
    if code in UNSURE_CODES or "unknown" in text.lower():
        return False
    if status == 503:
        return code == -1008 or text in NOT_DONE
    return status in (403, 404, 418, 429) or (400 <= status < 500 and status != 408 and code < 0)
