"""Real disconnects of each stream, closed and reset, while float trades go on; exit 1 on a lost fill or a figure missed."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from typing import Any

from tests.e2e.books import Clients, row_of
from tests.e2e.cuts import Cuts, cut_again_and_again, figures
from tests.support.processes import room


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)


def main(said: argparse.Namespace) -> int:
    """Cut, print what was seen, and judge it."""
    start_s = time.monotonic()
    seen = Cuts(Clients(random.Random(said.seed)))
    with room() as folder:
        try:
            asyncio.run(cut_again_and_again(folder, said.cuts, said.seed, seen))
        except AssertionError as error:
            seen.clients.lost.append(f"{type(error).__name__}: {error}")
    found = {**figures(seen), "seconds": round(time.monotonic() - start_s, 1)}
    print(table(found))
    for line in [*(f"doubled: {name}" for name in seen.clients.doubled), *(f"lost: {x}" for x in seen.clients.lost)]:
        print(line)
    if seen.passed:
        print(f"the run did not pass: {seen.passed}")
    for name in found["missed"]:
        print(f"missed: p99 of {name}")
    print(json.dumps(found))
    bad = found["doubled"] or found["lost"] or found["missed"] or found["cuts"] != said.cuts or seen.passed
    return 1 if bad else 0


def table(found: dict[str, Any]) -> str:
    """Return the figures for people."""
    return "\n".join(
        (
            f"disconnects        {found['cuts']} ({', '.join(f'{way} {n}' for way, n in found['ways'].items())})",
            f"doubled, lost      {found['doubled']}, {found['lost']}",
            f"trades, orders     {found['trades']}, {found['orders']}; {found['foreign']} foreign fills in a gap",
            "from the cut to LIVE with the stream back, seconds",
            *(row_of(name, row) for name, row in found["live_s"].items()),
            "from the cut to in band, seconds",
            row_of("all", found["in_band_s"]),
        )
    )
