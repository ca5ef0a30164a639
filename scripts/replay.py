#!/usr/bin/env python3
"""Recordings into a test in one line, or onto the terminal.

In a test:      orders = replayed("incident.rec").orders
On a terminal:  .venv/bin/python scripts/replay.py RECORDING… [--orders]

The same pump that traded takes the inputs; every checkpoint of the recording is compared on the way.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from streamhedge.domain.commands import Note, PlaceOrder, Reaction
from streamhedge.errors import ReplayDiverged, StreamhedgeError
from streamhedge.live.recordings import lines_of
from streamhedge.runtime.pump import Pump
from streamhedge.runtime.replay import Replayer


@dataclass(slots=True)
class Replayed:
    """What a recording led to: the machine as it stood at the end, and every reaction in order."""

    pump: Pump
    reactions: list[Reaction]

    @property
    def orders(self) -> list[PlaceOrder]:
        """Every order that was decided."""
        return [found for reaction in self.reactions for found in reaction.commands if isinstance(found, PlaceOrder)]

    @property
    def notes(self) -> list[Note]:
        """Everything that was worth saying."""
        return [note for reaction in self.reactions for note in reaction.notes]

    @property
    def digest(self) -> str:
        """Digest of the state at the end."""
        return self.pump.digest()


def replayed(*paths: str | Path) -> Replayed:
    """Replay recordings (files or folders of segments) and return what they led to.

    Raises:
        ReplayDiverged: a checkpoint of the recording differs from what this code makes of the same inputs.
        StoreError: a file is no sound recording.
    """
    reactions: list[Reaction] = []
    replayer = Replayer(reactions=reactions)
    for line in lines_of([Path(path) for path in paths]):
        replayer.take(line)
    assert replayer.pump is not None, "a recording begins with its state"
    return Replayed(pump=replayer.pump, reactions=reactions)


def main() -> int:
    """Print what recordings led to; 1 when they do not replay."""
    words = argparse.ArgumentParser(description="Replay recordings through the live code path.")
    words.add_argument("paths", nargs="+", help="*.rec, *.rec.zst, or folders of them")
    words.add_argument("--orders", action="store_true", help="only the orders")
    said = words.parse_args()
    try:
        found = replayed(*said.paths)
    except (ReplayDiverged, StreamhedgeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for reaction in found.reactions:
        for order in reaction.commands:
            if isinstance(order, PlaceOrder):
                price = f" at {order.price}" if order.price is not None else ""
                reduce_only = " reduce-only" if order.reduce_only else ""
                words_of = f"{order.side.value} {order.quantity} {order.type.value}{price}{reduce_only}"
                print(f"{reaction.seq:>8} order     {order.symbol:<9} {words_of} {order.client_order_id}")
        for note in () if said.orders else reaction.notes:
            print(f"{reaction.seq:>8} {note.code:<9} {note.symbol or '':<9} {note.text}")
    print(f"{len(found.reactions)} inputs, {len(found.orders)} orders, digest {found.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
