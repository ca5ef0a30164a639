"""How fast it is, each figure beside a bare loop of websockets, orjson and aiohttp measured in the same run.

scripts/bench [--quick] [--json] [--rounds N]

Bare loop and ours take turns (A, B, A, B), so that a busy machine slows both; only ratios of one run mean anything. Every
socket is on loopback, every far end and every reader a process of its own, every file in a folder that is removed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmark import decisions, frames, orders, remembered, replay, sockets, table, watched, watching
from scripts.benchmark.rows import Rows


@dataclass(slots=True)
class Size:
    """How much is measured."""

    rounds: int
    frames: int
    trades: int
    orders: int
    seconds: int
    remembered: list[int]
    positions: list[int]
    ticks: int
    cpu_seconds: dict[int, float]


WHOLE = Size(
    rounds=5,
    frames=10_000,
    trades=200,
    orders=60,
    seconds=300,
    remembered=[0, 100, 400],
    positions=[10, 1_000, 10_000],
    ticks=20_000,
    cpu_seconds={1: 20.0, 100: 10.0},
)
QUICK = Size(
    rounds=1,
    frames=400,
    trades=10,
    orders=5,
    seconds=31,
    remembered=[0, 10],
    positions=[10, 100],
    ticks=500,
    cpu_seconds={100: 0.5},
)


def measured(size: Size, folder: Path, said: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything and return it."""
    numbers = itertools.count(1)

    def fresh() -> Path:
        path = folder / f"{next(numbers):03d}"
        path.mkdir(mode=0o700)
        return path

    rows = Rows()
    marks = frames.mark_frames(size.frames)
    recorded = replay.record(fresh(), size.seconds)
    real_time = []
    for number in range(size.rounds):
        said(f"round {number + 1} of {size.rounds}")
        sockets.measure(rows, marks, fresh)
        frames.measure(rows, marks, fresh)
        decisions.measure(rows, size.trades, fresh)
        orders.measure(rows, size.orders, fresh)
        real_time.append(replay.measure(rows, recorded, size.seconds))
    said("what is remembered")
    past = remembered.measure(fresh(), marks[:2_000], size.remembered, size.rounds)
    said("what looking on costs")
    cost = watching.measure(size.orders, size.rounds, size.cpu_seconds, fresh)
    said("positions that are watched")
    return {
        "watching": cost,
        "watched": watched.measure(size.positions, size.ticks, size.rounds),
        "rows": rows.plain(),
        "replay_times_real_time": statistics.median(real_time),
        "remembered": past,
    }


def main() -> int:
    """Measure and print."""
    words = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--quick", action="store_true", help="seconds instead of minutes: shows that it works, no more")
    words.add_argument("--json", action="store_true", help="one JSON object on stdout")
    words.add_argument("--rounds", type=int, help="how often each figure is taken")
    said = words.parse_args()
    size = QUICK if said.quick else WHOLE
    if said.rounds is not None:
        if said.rounds < 1:
            words.error("--rounds must be at least 1")
        size.rounds = said.rounds
    with tempfile.TemporaryDirectory(prefix="streamhedge-bench-") as folder:
        found = measured(size, Path(folder), lambda text: print(f"bench: {text}", file=sys.stderr, flush=True))
    found = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": " ".join(["scripts/bench", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, CPython {platform.python_version()}",
        **found,
    }
    if said.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        table.shown(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
