"""Seeded worlds by the thousand: no violation, every kind of happening often enough, every edge of the states taken.

Plays `streamhedge simulate` once over the whole range and holds its counts against what there is. Exit 1 on any violation,
and where the range is long enough to ask for it, on a kind that came too seldom or an edge that nobody took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from streamhedge.world.auditor import EDGES
from streamhedge.world.script import KINDS

OFTEN = 20
"""How often each kind must have happened."""
MANY = 500
"""Worlds from which on every kind and edge is asked for."""
NOT_HERE = {
    "REFUSED>WORKING": "the simulated exchange executes nothing that it refused for certain",
    "REFUSED>FILLED": "the same",
    "REFUSED>ENDED": "the same",
    "ENDED>FILLED": "it fills nothing of an order that ended",
    "WORKING>ABSENT": "it forgets no order that it accepted",
    "PLANNED>ABSENT": "nobody is asked about an order before it is in doubt",
}
"""Edges that the table of orders has for a venue that contradicts itself, and no world takes."""
STATES = {
    "book": ("COLD>SYNCING", "SYNCING>LIVE", "LIVE>SUSPECT", "SUSPECT>LIVE"),
    "trading": (
        "ACTIVE>REDUCING",
        "ACTIVE>HALTED",
        "REDUCING>ACTIVE",
        "REDUCING>HALTED",
        "HALTED>ACTIVE",
        "HALTED>REDUCING",
    ),
    "symbol": ("OPEN>BLOCKED", "BLOCKED>OPEN", "OPEN>REDUCE_ONLY", "REDUCE_ONLY>OPEN"),
    "ladder": tuple(
        f"{one}>{two}"
        for one in ("clear", "warn", "reduce", "close")
        for two in ("clear", "warn", "reduce", "close")
        if one != two
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--seeds", default="1..2000", help="the worlds")
    parser.add_argument("--hours", default="6", help="virtual hours of each world")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--out", default="soak", help="where failing worlds go")


def main(said: argparse.Namespace) -> int:
    """Play them all and say what came of them."""
    words = [sys.executable, "-m", "streamhedge", "simulate", "--seeds", said.seeds, "--hours", said.hours, "--json"]
    words += ["--keep-going", "--no-shrink", "--jobs", str(said.jobs), "--out", said.out]
    played = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if not played.stdout.strip():
        print("the worlds did not come to an end", file=sys.stderr)
        return 1
    total: dict[str, Any] = json.loads(played.stdout)
    fired: dict[str, int] = total["fired"]
    asked = total["worlds"] >= MANY
    total["seldom"] = sorted(kind for kind in KINDS if asked and fired.get(f"happened {kind}", 0) < OFTEN)
    total["not_taken"] = sorted(edge for edge in edges() if asked and not fired.get(edge))
    show(fired)
    print(json.dumps(total))
    return 1 if total["violations"] or total["seldom"] or total["not_taken"] else 0


def edges() -> list[str]:
    """Return the names under which the auditor counts the edges that a world can take."""
    orders = [f"{was}>{now}" for was, into in EDGES.items() for now in into if f"{was}>{now}" not in NOT_HERE]
    return orders + [f"{what} {edge}" for what, taken in STATES.items() for edge in taken]


def show(fired: dict[str, int]) -> None:
    """Print the counts as a table, the rarest first."""
    table = Table(box=box.SIMPLE)
    for name in ("happened", "times", "edge", "taken"):
        table.add_column(name, justify="right" if name in ("times", "taken") else "left")
    happened = sorted((fired.get(f"happened {kind}", 0), kind) for kind in KINDS)
    taken = sorted((fired.get(edge, 0), edge) for edge in edges())
    for row in range(max(len(happened), len(taken))):
        left = (happened[row][1], str(happened[row][0])) if row < len(happened) else ("", "")
        right = (taken[row][1], str(taken[row][0])) if row < len(taken) else ("", "")
        table.add_row(*left, *right)
    Console(stderr=False).print(table)
