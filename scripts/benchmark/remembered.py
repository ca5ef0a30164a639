"""What the orders of the past cost: a frame and a digest, by how many are remembered."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from scripts.benchmark.frames import fed_frames
from scripts.benchmark.rig import Rig


def measure(folder: Path, frames: list[bytes], counts: list[int], rounds: int) -> list[dict[str, float]]:
    """Return µs a frame and ms a digest, by how many ended orders are remembered."""
    found = []
    for count in counts:
        # A rig of its own: composed frames are stamped ahead, and the exchange's own would be old news after them.
        rig = Rig(folder, journal=False, ledger=False)
        rig.orders(count)
        taken = statistics.median(fed_frames(rig, frames) for _ in range(rounds))
        began = time.perf_counter()
        rig.pump.digest()
        digest_ms = (time.perf_counter() - began) * 1e3
        found.append({"orders": len(rig.pump.reactor.state.orders), "frame_us": taken, "digest_ms": digest_ms})
    return found
