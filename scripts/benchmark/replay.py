"""Replay of a recording, beside reading and parsing its lines."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import orjson

from scripts.benchmark.rig import Rig
from scripts.benchmark.rows import Rows
from streamhedge.live.recordings import replay_files


def measure(rows: Rows, paths: list[Path], seconds: int) -> float:
    """Add inputs a second; return how many times as fast as the ``seconds`` it recorded that is."""
    ours = replay_ours(paths)
    rows.add("replay", "inputs/s", ours=ours, bare=replay_bare(paths), rate=True)
    inputs = sum(path.read_bytes().count(b"\n") for path in paths)
    return seconds / (inputs / ours)


def record(folder: Path, seconds: int) -> list[Path]:
    """Record so many seconds at the cadence of a live run: ten ticks and a mark a second, a trade every half minute."""
    rig = Rig(folder)
    for second in range(seconds):
        rig.second(ticks=10)
        if second % 30 == 0:
            rig.trade(Decimal("0.1") * (-1) ** (second // 30))
    rig.close()
    assert rig.journal is not None, "the rig records"
    return rig.journal.paths


def replay_ours(paths: list[Path]) -> float:
    """Return inputs a second."""
    began = time.perf_counter()
    found = replay_files(paths)
    taken = time.perf_counter() - began
    assert found.diverged is None and found.decisions > 0, found
    return found.events / taken


def replay_bare(paths: list[Path]) -> float:
    """Return lines a second, read and parsed."""
    lines = 0
    began = time.perf_counter()
    for path in paths:
        for line in path.read_bytes().splitlines():
            orjson.loads(line.split(b" ", 2)[2])
            lines += 1
    return lines / (time.perf_counter() - began)
