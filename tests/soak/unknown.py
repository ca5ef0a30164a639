"""Unknown outcomes: orders whose outcome nobody tells, in every way, with every fate. Exit 1 on any doubled exposure.

Prints, by way of not knowing and by fate at the venue, how many there were and how long they stood until they were
closed (virtual time, from the first byte; a request that is never answered is in doubt only after its time-out).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from tests.simulation.disconnects import share
from tests.simulation.unknowns import FATES, WAYS, Found, unknowns

EACH = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--count", type=int, default=100_000, help="how many unknown outcomes")
    parser.add_argument("--minutes", type=float, default=60, help="stop after so long, wall time")
    parser.add_argument("--first", type=int, default=1_000, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--seed", type=int, help="this world alone, with its trail")


@dataclass(slots=True)
class Sums:
    """What all the worlds led to."""

    worlds: int = 0
    ghosts: int = 0
    unknowns: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    closed_ms: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, found: Found) -> None:
        """Add one world."""
        self.worlds += 1
        self.ghosts += found.ghosts
        self.unknowns += len(found.unknowns)
        if found.wrong:
            self.wrong[found.kind] += 1
        for one in found.unknowns:
            if one.closed_ns:
                self.closed_ms.setdefault((one.way, one.fate), []).append((one.closed_ns - one.sent_ns) // 1_000_000)


def main(said: argparse.Namespace) -> int:
    """Run worlds until there were enough unknown outcomes."""
    start = time.monotonic()
    sums, seed, running = Sums(), said.first, set[Future[Found]]()
    with ProcessPoolExecutor(said.jobs) as pool:
        if said.seed is not None:
            running.add(pool.submit(unknowns, said.seed, EACH))
        while True:
            going = said.seed is None and time.monotonic() - start < said.minutes * 60
            while going and len(running) < 2 * said.jobs and sums.unknowns + len(running) * EACH < said.count:
                running.add(pool.submit(unknowns, seed, EACH))
                seed += 1
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                found = one.result()
                sums.add(found)
                if found.wrong:
                    trail = found.trail if said.seed is not None else []
                    print("\n".join([str(found), *trail]), file=sys.stderr)
    table(sums)
    every = [took for ways in sums.closed_ms.values() for took in ways]
    figures = {
        **{"unknowns": sums.unknowns, "worlds": sums.worlds, "doubled": sums.wrong["doubled"]},
        **{"lost": sums.wrong["lost"], "late": sums.wrong["late"], "other": sums.wrong["other"]},
        **{"ghosts_past_quarantine": sums.ghosts, "closed_p50_ms": share(every, 50)},
        **{"closed_p99_ms": share(every, 99), "closed_max_ms": max(every)},
        "seconds": round(time.monotonic() - start, 1),
    }
    print(json.dumps(figures))
    return 1 if sums.wrong else 0


def table(sums: Sums) -> None:
    """Print counts and closing times."""
    print(f"{'':14}" + "".join(f"{f'{fate}: n':>17}{'p50':>8}{'p99':>8}{'max':>8}" for fate in FATES) + "   ms")
    for way in WAYS:
        said = f"{way:14}"
        for fate in FATES:
            took = sums.closed_ms.get((way, fate), [])
            worst = (share(took, 50), share(took, 99), max(took)) if took else (0, 0, 0)
            said += f"{len(took):>17}" + "".join(f"{figure:>8}" for figure in worst)
        print(said)
