"""Real SIGKILLs over a running hedger, at random and where they hurt; exit 1 on anything doubled, lost or too slow."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.e2e.books import Clients, row_of
from tests.e2e.kills import KINDS, Found, figures, kill_again_and_again
from tests.support.processes import room

SHARES = {"any": 3, "trade": 3, "flight": 2, "starting": 1, "stopping": 1, "sockets": 1}
"""How often each kind comes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--lanes", type=int, default=1, help="how many hedgers are killed side by side")
    parser.add_argument("--seed", type=int, default=1)


def main(said: argparse.Namespace) -> int:
    """Kill in lanes, print what was seen, and judge it."""
    start_s = time.monotonic()
    chance = random.Random(said.seed)
    kinds = [kind for kind, times in SHARES.items() for _ in range(times)]
    order = [kinds[number % len(kinds)] for number in range(said.kills)]
    chance.shuffle(order)
    with ExitStack() as rooms:
        folders = [rooms.enter_context(room()) for _ in range(said.lanes)]
        lanes = asyncio.run(_lanes(folders, [order[number :: said.lanes] for number in range(said.lanes)], said.seed))
    found = {**figures(lanes), "seconds": round(time.monotonic() - start_s, 1)}
    print(table(found))
    for line in [*(f"doubled: {name}" for lane in lanes for name in lane.clients.doubled), *_all_lost(lanes)]:
        print(line)
    for name in found["missed"]:
        print(f"missed: {name} p99 {found['cold_start_s'][name]['p99']} s > {found['cold_start_s'][name]['limit']} s")
    print(json.dumps(found))
    return 1 if found["doubled"] or found["lost"] or found["missed"] or found["kills"] != said.kills else 0


async def _lanes(folders: list[Path], orders: list[list[str]], seed: int) -> list[Found]:
    """Play every lane to its end; one that breaks is a loss and leaves the others alone."""
    lanes = [Found(Clients(random.Random(f"{seed} {number}"))) for number in range(len(folders))]
    played = await asyncio.gather(
        *(kill_again_and_again(folder, kinds, seed + number, lane)
          for number, (folder, kinds, lane) in enumerate(zip(folders, orders, lanes, strict=True))),
        return_exceptions=True,
    )  # fmt: skip
    for lane, outcome in zip(lanes, played, strict=True):
        if isinstance(outcome, BaseException):
            lane.clients.lost.append(f"{type(outcome).__name__}: {outcome}")
    return lanes


def _all_lost(lanes: list[Found]) -> list[str]:
    return [f"lost: {line}" for lane in lanes for line in lane.clients.lost]


def table(found: dict[str, Any]) -> str:
    """Return the figures for people."""
    kinds = ", ".join(f"{kind} {found['kinds'][kind]}" for kind in KINDS)
    rows = [
        f"kills              {found['kills']} ({kinds})",
        f"doubled, lost      {found['doubled']}, {found['lost']}",
        f"float trades       {found['trades']} booked, {found['unanswered']} cut off before an answer, "
        f"{found['asked_again']} asked again and stood booked",
        f"orders             {found['orders']}, {found['killed_under_way']} kills with one on its way",
        f"stale lock, socket {found['stale_lock_and_socket']} times in the way of a start",
        "cold start to in band, seconds",
        *(row_of(name, row) for name, row in found["cold_start_s"].items()),
        row_of("until our code runs", found["loading_s"]),
    ]
    return "\n".join(rows)
