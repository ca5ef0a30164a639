"""Disconnects at random instants of a simulation on a loopback-like wire. Exit 1 when a fill is lost or the book is late.

Prints how long it took, virtual time, until the book was LIVE again and until the hedge stood, by instant and stream.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.disconnects import Disconnect, Found, disconnects, share

EACH = 20
LIVE_MS, BAND_MS = 1_000, 2_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--count", type=int, default=1_000, help="how many disconnects")
    parser.add_argument("--first", type=int, default=1_000, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--seed", type=int, help="this world alone, with its trail")


def main(said: argparse.Namespace) -> int:
    """Run the worlds and print their figures."""
    start = time.monotonic()
    last = said.first + (said.count + EACH - 1) // EACH
    seeds = range(said.first, last) if said.seed is None else [said.seed]
    with ProcessPoolExecutor(said.jobs) as pool:
        found: list[Found] = list(pool.map(partial(disconnects, most=EACH), seeds))
    for one in found:
        if one.wrong or one.lost:
            print("\n".join([str(one), *(one.trail if said.seed is not None else [])]), file=sys.stderr)
    every = [one for world in found for one in world.disconnects if one.band_ns]
    print(f"{'':18}{'count':>6}{'LIVE p50':>10}{'p99':>7}{'max':>7}{'band p50':>10}{'p99':>7}{'max':>7}   ms")
    for name in sorted({one.instant for one in every}):
        line(name, [one for one in every if one.instant == name])
    for name in sorted({one.streams for one in every}):
        line(f"  {name}", [one for one in every if one.streams == name])
    line("all of them", every)
    live, band = share([one.live_ms for one in every], 99), share([one.band_ms for one in every], 99)
    figures = {
        **{"disconnects": len(every), "worlds": len(found), "fills": sum(world.fills for world in found)},
        **{"lost": sum(world.lost for world in found), "violations": sum(bool(world.wrong) for world in found)},
        **{"live_p99_ms": live, "live_max_ms": max(one.live_ms for one in every)},
        **{"band_p99_ms": band, "band_max_ms": max(one.band_ms for one in every)},
        "seconds": round(time.monotonic() - start, 1),
    }
    print(json.dumps(figures))
    return 1 if figures["lost"] or figures["violations"] or live > LIVE_MS or band > BAND_MS else 0


def line(name: str, these: list[Disconnect]) -> None:
    """Print one line of the table."""
    live, band = [one.live_ms for one in these], [one.band_ms for one in these]
    print(
        f"{name:18}{len(these):>6}{share(live, 50):>10}{share(live, 99):>7}{max(live):>7}"
        f"{share(band, 50):>10}{share(band, 99):>7}{max(band):>7}"
    )
