"""From a float trade to its committed order, beside a bare row committed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import orjson

from scripts.benchmark.rig import Rig
from scripts.benchmark.rows import Rows, share


def measure(rows: Rows, trades: int, fresh: Callable[[], Path]) -> None:
    """Add the middle and the slow end of so many decisions."""
    found = decisions(fresh(), trades)
    for percent in (50, 99):
        name = f"event → committed decision, p{percent}"
        rows.add(name, "µs", ours=share(found["ours"], percent), bare=share(found["bare"], percent))


def decisions(folder: Path, count: int) -> dict[str, list[float]]:
    """Return µs from a float trade to its committed order, and of a bare row committed, in turns."""
    rig = Rig(folder)
    bare = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    for word in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0"):
        bare.execute(f"PRAGMA {word}")
    bare.execute("CREATE TABLE intent (name TEXT PRIMARY KEY, body TEXT NOT NULL)")
    last: dict[str, str] = {}
    found: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(count):
        payload = rig.trade_payload(Decimal("0.1") * (-1) ** number)
        began = time.perf_counter_ns()
        trade = orjson.loads(payload)
        last[trade["asset"]] = trade["quantity"]
        bare.execute("BEGIN IMMEDIATE")
        bare.execute("INSERT INTO intent VALUES (?, ?)", (trade["trade_id"], payload.decode()))
        bare.execute("COMMIT")
        found["bare"].append((time.perf_counter_ns() - began) / 1e3)
        decided = rig.pump.decisions
        began = time.perf_counter_ns()
        rig.pump.feed("trade", rig.now_ns, payload)
        found["ours"].append((time.perf_counter_ns() - began) / 1e3)
        assert rig.pump.decisions == decided + 1, "each trade leads to one order"
        rig.settle()
        rig.second()
    bare.close()
    rig.close()
    return found
