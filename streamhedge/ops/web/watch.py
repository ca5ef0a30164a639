"""What the page and the metrics are told: the latest status, the last notes and orders, and an hour of samples.

Filled on the loop by whoever runs the hedger; nothing here awaits, and a reader that is slow costs the hedger nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import Note
from streamhedge.live.hedger import Hedger

NOTES_MOST = 200
ORDERS_MOST = 50
SAMPLES_MOST = 3_600
LATENCIES_MOST = 500
"""The page shows the percentiles of so many orders."""
SAMPLE_NS = 1_000_000_000
FRAME_NS = 90_000_000
"""A tenth of a second, less what a timer may come early."""
LATENCY_BUCKETS_MS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 250.0, 500.0, 1_000.0, 5_000.0, 10_000.0)


@dataclass(slots=True)
class Told:
    """One note with its number, the input it came with and its receive time."""

    number: int
    seq: int
    recv_ns: int
    note: Note

    def plain(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        note = self.note
        return {
            **{"number": self.number, "seq": self.seq, "time_ms": self.recv_ns // 1_000_000},
            **{"level": note.level.value, "code": note.code, "symbol": note.symbol, "text": note.text},
        }


class Histogram:
    """Counts per bucket, the sum and the number of latencies in milliseconds; plain integers read when asked."""

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BUCKETS_MS) + 1)
        self.sum_ms = 0.0
        self.number = 0

    def take(self, milliseconds: float) -> None:
        """Count one."""
        index = next((i for i, most in enumerate(LATENCY_BUCKETS_MS) if milliseconds <= most), len(LATENCY_BUCKETS_MS))
        self.counts[index] += 1
        self.sum_ms += milliseconds
        self.number += 1


class Watch:
    """The eyes on one hedger."""

    def __init__(self) -> None:
        self.hedger: Hedger | None = None
        self.told = 0
        self.codes: dict[tuple[str, str], int] = {}
        self.alerts: dict[tuple[str, str], int] = {}
        self.beats: dict[str, int] = {}
        self.incidents: Callable[[], list[dict[str, Any]]] = list
        """The alerts that are open, loudest first."""
        self.neutral = Histogram()
        self.sent = Histogram()
        self._counted = 0
        self._notes: deque[Told] = deque(maxlen=NOTES_MOST)
        self._samples: deque[bytes] = deque(maxlen=SAMPLES_MOST)
        self._sampled_ns = 0
        self._frame = b""
        self._frame_seq = -1
        self._frame_ns = 0
        self._orders = b"[]"
        self._orders_seq = -1

    # ------------------------------------------------------------ filled on the loop

    def notes(self, notes: tuple[Note, ...], recv_ns: int) -> None:
        """Take the notes of one input."""
        seq = self.hedger.core.state.seq if self.hedger is not None else 0
        for note in notes:
            self.told += 1
            self._notes.append(Told(self.told, seq, recv_ns, note))
            key = (note.code, note.level.value)
            self.codes[key] = self.codes.get(key, 0) + 1
            if note.code == "hedged":
                self.neutral.take(int(str(note.data["time_to_neutral_ns"])) / 1e6)

    def sample(self, now_ns: int) -> None:
        """Keep one sample a second for the charts: time, float, short, naked, distance, mark, funding."""
        hedger = self.hedger
        if hedger is None or now_ns - self._sampled_ns < SAMPLE_NS or not hedger.policy.hedges:
            return
        self._sampled_ns = now_ns
        self._count_latencies(hedger)
        core = hedger.core
        hedge = core.policy.hedges[0]
        memory = core.memory_of(hedge.symbol)
        mark = core.state.book.marks.get(hedge.symbol)
        if mark is None:
            return
        figures = (
            core.state.floats[hedge.asset],
            core.state.book.quantity(hedge.symbol),
            memory.naked_usd,
            memory.distance,
            mark.mark_price,
            core.state.meter.funding,
        )
        row = [now_ns // 1_000_000, *(None if value is None else float(value) for value in figures)]
        self._samples.append(orjson.dumps(row))

    def _count_latencies(self, hedger: Hedger) -> None:
        waits = hedger.sent_after_ns
        for wait_ns in waits[self._counted :]:
            self.sent.take(wait_ns / 1e6)
        self._counted = len(waits)

    # ------------------------------------------------------------ read

    def frame(self, now_ns: int) -> bytes:
        """Return the status as JSON: made anew when an input came since, at most ten times a second for all readers
        together, and once a second in any case."""
        hedger = self.hedger
        if hedger is None:
            return b"null"
        seq, age_ns = hedger.core.state.seq, abs(now_ns - self._frame_ns)
        if (seq != self._frame_seq and age_ns >= FRAME_NS) or age_ns > SAMPLE_NS:
            self._frame_seq, self._frame_ns = seq, now_ns
            self._frame = orjson.dumps(self._status(hedger))
        return self._frame

    def _status(self, hedger: Hedger) -> dict[str, Any]:
        ladder, limits = hedger.policy.ladder, hedger.policy.limits
        waits = sorted(hedger.sent_after_ns[-LATENCIES_MOST:])
        return {
            **hedger.status(),
            "seq": hedger.core.state.seq,
            "alerts": self.incidents(),
            "ladder": {name: str(getattr(ladder, name)) for name in ("warn", "reduce", "close", "reopen")},
            "max_naked": str(limits.max_naked),
            "event_to_sent_ms": {"p50": _share(waits, 50), "p99": _share(waits, 99), "orders": len(waits)},
            "orders_sent": hedger.core.state.meter.orders_sent,
        }

    def news(self, after: int) -> list[dict[str, Any]]:
        """Return the notes after a number, oldest first."""
        return [told.plain() for told in self._notes if told.number > after]

    def orders(self) -> bytes:
        """Return the last orders as JSON, newest first; those that may still live come first. The same object as
        before where nothing changed."""
        hedger = self.hedger
        if hedger is not None and self._orders_seq != self._frame_seq:
            self._orders_seq = self._frame_seq
            rows = orjson.dumps(self._order_rows(hedger))
            if rows != self._orders:
                self._orders = rows
        return self._orders

    def _order_rows(self, hedger: Hedger) -> list[dict[str, Any]]:
        found = sorted(
            hedger.core.state.orders.values(), key=lambda order: (order.is_open, order.decided_ns), reverse=True
        )
        names = (
            *("client_order_id", "symbol", "side", "quantity", "filled", "status", "purpose", "reduce_only"),
            *("decided_seq", "decided_ns", "reason"),
        )
        rows = []
        for order in found[:ORDERS_MOST]:
            plain = to_plain(order)
            average = order.average_price
            rows.append(
                {
                    **{name: plain[name] for name in names},
                    "average_price": None if average is None else f"{average:.2f}",
                }
            )
        return rows

    def history(self) -> bytes:
        """Return the samples as JSON, oldest first."""
        return b"[" + b",".join(self._samples) + b"]"


def _share(waits: list[int], percent: int) -> float | None:
    return None if not waits else round(waits[min(len(waits) - 1, len(waits) * percent // 100)] / 1e6, 3)
