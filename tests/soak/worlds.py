"""Seeded worlds: `streamhedge simulate` over fresh seeds, batch after batch, until the time is up. Exit 1 on any violation."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

BATCH = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--minutes", type=float, default=60, help="how long, wall time")
    parser.add_argument("--hours", default="0.25", help="virtual hours of each world")
    parser.add_argument("--first", type=int, default=1_000, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--out", default="soak", help="where failing worlds go")


def main(said: argparse.Namespace) -> int:
    """Run batches side by side and sum up what they found."""
    start, seed = time.monotonic(), said.first
    running: list[subprocess.Popen[str]] = []
    total: dict[str, Any] = {"worlds": 0, "hours": 0.0, "events": 0, "violations": 0, "fired": {}}
    broken = 0
    while True:
        while len(running) < said.jobs and time.monotonic() - start < said.minutes * 60:
            running.append(batch(seed, said.hours, said.out))
            seed += BATCH
        if not running:
            break
        done = running.pop(0)
        text, _ = done.communicate()
        if not text.strip():
            broken += 1
            continue
        add(total, json.loads(text))
        elapsed = time.monotonic() - start
        print(f"{elapsed:.0f} s: {total['worlds']} worlds, {total['violations']} violations", file=sys.stderr)
    total["hours"] = round(total["hours"], 3)
    total["seconds"] = round(time.monotonic() - start, 1)
    print(json.dumps(total))
    return 1 if total["violations"] or broken else 0


def batch(seed: int, hours: str, out: str) -> subprocess.Popen[str]:
    """Start one batch of seeds."""
    words = [sys.executable, "-m", "streamhedge", "simulate", "--seeds", f"{seed}..{seed + BATCH - 1}"]
    words += ["--hours", hours, "--json", "--quiet", "--keep-going", "--out", out]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def add(total: dict[str, Any], found: dict[str, Any]) -> None:
    """Add a batch's figures."""
    for name in ("worlds", "hours", "events", "violations"):
        total[name] += found[name]
    for name, times in found["fired"].items():
        total["fired"][name] = total["fired"].get(name, 0) + times
