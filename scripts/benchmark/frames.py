"""One mark-price frame through ``pump.feed``, beside orjson and a dict."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from scripts.benchmark.rig import Rig
from scripts.benchmark.rows import Rows
from streamhedge.domain.values import NS_PER_MS
from streamhedge.simserver.server import wall_ms

FRAME_STEP_NS = NS_PER_MS // 10
AHEAD_MS = 3_600_000
"""Composed frames are stamped after anything a prepared machine has seen."""
PASSES = 51
"""Over the bare loop, so that it takes about as long as the pump does."""


def measure(rows: Rows, frames: list[bytes], fresh: Callable[[], Path]) -> None:
    """Add what a frame costs a machine alone, and one that records and keeps its books."""
    for name, kept in (("pump.feed of a frame", False), ("  recorded", True)):
        rig = Rig(fresh(), journal=kept, ledger=kept)
        bare = bare_frames(frames)
        rows.add(name, "µs", ours=fed_frames(rig, frames), bare=bare)
        rig.close()


def mark_frames(count: int) -> list[bytes]:
    """Compose mark-price frames of two symbols in turn, as the combined stream sends them."""
    start_ms = wall_ms() + AHEAD_MS
    frames = []
    for number in range(count):
        symbol, price = (("BTCUSDT", 49_000), ("ETHUSDT", 1_830))[number % 2]
        mark = f"{price + number % 100 / 10:.8f}"
        row = {
            **{
                "e": "markPriceUpdate",
                "E": start_ms + number,
                "s": symbol,
                "p": mark,
                "ap": mark,
                "P": mark,
                "i": mark,
            },
            **{"r": "0.00010000", "T": start_ms + 7_200_000, "st": 1},
        }
        frames.append(orjson.dumps({"stream": f"{symbol.lower()}@markPrice@1s", "data": row}))
    return frames


def bare_frames(frames: list[bytes]) -> float:
    """Return µs a frame of orjson and a dict alone."""
    prices: dict[str, str] = {}
    passes = []
    for _ in range(PASSES):
        began = time.perf_counter()
        for frame in frames:
            row = orjson.loads(frame)["data"]
            prices[row["s"]] = row["p"]
        passes.append((time.perf_counter() - began) / len(frames) * 1e6)
    return statistics.median(passes)


def fed_frames(rig: Rig, frames: list[bytes]) -> float:
    """Return µs a frame of ``pump.feed``."""
    feed, now_ns = rig.pump.feed, rig.now_ns
    began = time.perf_counter()
    for number, frame in enumerate(frames):
        feed("market", now_ns + number * FRAME_STEP_NS, frame)
    taken = time.perf_counter() - began
    rig.now_ns = now_ns + len(frames) * FRAME_STEP_NS
    return taken / len(frames) * 1e6
