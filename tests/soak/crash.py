"""Crashes: every crash point under every disk, so many seeds each; a table per point. Exit 1 when anything was wrong.

A restart must double no order, lose no fill and no durable float trade, and be in band in time. `--point`, `--seed` and
`--mode` run one crash again and print its trail.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from streamhedge.world.crash import NAMED, POINTS
from tests.simulation.crashes import MODES, Crash, crash

COLUMNS = ("doubled", "lost", "late", "other")


@dataclass(slots=True)
class Row:
    """What became of the crashes at one point."""

    runs: int = 0
    hit: int = 0
    wrong: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0))
    worst_ms: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds of each point and disk")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--point", choices=list(NAMED), help="this point alone")
    parser.add_argument("--seed", type=int, help="this seed alone, with its trail")
    parser.add_argument("--mode", choices=MODES, help="this disk alone")


def main(said: argparse.Namespace) -> int:
    """Run them all and print what became of each point."""
    start = time.monotonic()
    points = [said.point] if said.point else [point.name for point in POINTS]
    modes = [said.mode] if said.mode else list(MODES)
    seeds = [said.seed] if said.seed is not None else list(range(said.first, said.first + said.seeds))
    rows = {name: Row() for name in points}
    tasks = [(name, mode, seeds) for name in points for mode in modes]
    with ProcessPoolExecutor(said.jobs) as pool:
        for found in pool.map(batch, tasks):
            for one in found:
                add(rows[one.point], one)
                if one.wrong:
                    print("\n".join([str(one), *(one.trail if said.seed is not None else [])]), file=sys.stderr)
    print(f"{'point':18}{'runs':>6}{'hit':>6}" + "".join(f"{name:>9}" for name in COLUMNS) + f"{'worst ms':>10}")
    for name, row in rows.items():
        print(
            f"{name:18}{row.runs:>6}{row.hit:>6}"
            + "".join(f"{row.wrong[column]:>9}" for column in COLUMNS)
            + f"{row.worst_ms:>10}"
        )
    total = {name: sum(row.wrong[name] for row in rows.values()) for name in COLUMNS}
    missed = [name for name, row in rows.items() if not row.hit]
    figures = {
        **{"points": len(points), "seeds": len(seeds), "modes": modes},
        **{"runs": sum(row.runs for row in rows.values()), "hit": sum(row.hit for row in rows.values())},
        **{**total, "worst_ms": max(row.worst_ms for row in rows.values()), "never_hit": missed},
        "seconds": round(time.monotonic() - start, 1),
    }
    print(json.dumps(figures))
    return 1 if any(total.values()) or missed else 0


def batch(task: tuple[str, str, list[int]]) -> list[Crash]:
    """Run one point under one disk."""
    name, mode, seeds = task
    return [crash(name, seed, mode) for seed in seeds]


def add(row: Row, one: Crash) -> None:
    """Count one crash."""
    row.runs += 1
    row.hit += one.hit > 0
    if one.wrong:
        row.wrong[one.kind] += 1
    row.worst_ms = max(row.worst_ms, one.recovery_ns // 1_000_000)
