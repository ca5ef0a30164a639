"""Planted bugs: what is broken, the invariant that caught it, seeds and events needed. Exit 1 when one is missed."""

from __future__ import annotations

import argparse
import json
import time

from tests.simulation.planting import hunt
from tests.simulation.plants import PLANTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--seeds", type=int, default=40, help="the most seeds that one bug may need")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; default: all")


def main(said: argparse.Namespace) -> int:
    """Hunt them all and print the table."""
    start = time.monotonic()
    missed, most, events, caught = [], 0, 0, 0
    print(f"{'planted':42} {'inv':>4} {'seeds':>5} {'events':>7} {'s':>6}  what is broken")
    for name in said.names or PLANTS:
        began = time.monotonic()
        found = hunt(PLANTS[name], range(said.first, said.first + said.seeds))
        events += found.events
        most = max(most, found.seeds)
        caught += not found.fault
        invariant = "–" if found.violation is None else found.violation.invariant
        took = time.monotonic() - began
        row = f"{name:42} {invariant:>4} {found.seeds:>5} {found.events:>7} {took:>6.1f}"
        print(f"{row}  {found.plant.broken}", flush=True)
        if found.fault:
            missed.append(name)
            print(f"  MISSED: {found.fault}", flush=True)
    seconds = round(time.monotonic() - start, 1)
    said_last = {"planted": caught + len(missed), "caught": caught, "missed": missed, "most_seeds": most}
    print(json.dumps({**said_last, "events": events, "seconds": seconds}))
    return 1 if missed else 0
