"""Bent messages at every door, batch after batch until the time is up. Exit 1 when one shows a fault.

Doors: user and market stream, REST and WebSocket API answers, configuration, recordings, ledger files, control socket,
command line. A failing message is written to the folder of ``--out`` with its seed, and its door goes on with another.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.cases import Finding, drive, told
from tests.fuzz.doors import DOORS, seeded

BATCH_S = 12.0
CEILING_S = 300.0
"""A batch that says nothing for so long hangs where no watchdog of ours reaches."""
COLUMNS = ("frames", "parsed", "valid", "changed", "quarantined", "refused", "findings")


@dataclass(slots=True)
class Batch:
    """One child at work at one door."""

    door: str
    seed: str
    process: subprocess.Popen[str]
    started: float = field(default_factory=time.monotonic)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--minutes", type=float, default=60, help="how long, wall time")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--seed", default=str(time.time_ns()), help="where chance begins; printed")
    parser.add_argument("--door", choices=list(DOORS), action="append", help="only this door; again for more")
    parser.add_argument("--out", default="soak", help="where failing messages go")
    parser.add_argument("--batch", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=BATCH_S, help=argparse.SUPPRESS)


def main(said: argparse.Namespace) -> int:
    """Run batches side by side, every door in turn, and sum up."""
    if said.batch:
        return one_batch(said)
    start = time.monotonic()
    doors = said.door or list(DOORS)
    total = {door: dict.fromkeys(COLUMNS, 0) for door in doors}
    findings: list[dict[str, Any]] = []
    running: list[Batch] = []
    number = 0
    print(f"seed {said.seed}", file=sys.stderr)
    while True:
        left = said.minutes * 60 - (time.monotonic() - start)
        while len(running) < said.jobs and left > 1:
            running.append(begin(said, doors[number % len(doors)], f"{said.seed}-{number}", min(BATCH_S, left)))
            number += 1
        if not running:
            break
        batch = running.pop(0)
        row = ended(batch, Path(said.out))
        for name in COLUMNS:
            total[batch.door][name] += row.get(name, 0)
        if row.get("finding"):
            findings.append({"door": batch.door, "seed": batch.seed, "what": row["finding"], "kept": row["kept"]})
            print(f"{batch.door} {batch.seed}: {row['finding']}", file=sys.stderr)
    show(total)
    counts = {name: sum(row[name] for row in total.values()) for name in COLUMNS}
    seconds = round(time.monotonic() - start, 1)
    print(json.dumps({**counts, "doors": total, "seed": said.seed, "seconds": seconds, "found": findings}))
    return 1 if counts["findings"] or not all(row["frames"] for row in total.values()) else 0


def begin(said: argparse.Namespace, door: str, seed: str, seconds: float) -> Batch:
    """Start one door in a process of its own: a crash of the interpreter is a finding too."""
    words = [sys.executable, "-m", "tests.soak", "fuzz", "--batch", door, "--seed", seed, "--out", said.out]
    words += ["--seconds", str(seconds)]
    return Batch(door, seed, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


def ended(batch: Batch, out: Path) -> dict[str, Any]:
    """Wait for a batch and return its row; one that died or hangs without a word is a finding."""
    try:
        text, err = batch.process.communicate(timeout=CEILING_S)
    except subprocess.TimeoutExpired:
        batch.process.kill()
        text, err = batch.process.communicate()
    try:
        found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        what = f"the process ended with {batch.process.returncode} and no result"
        found = {"findings": 1, "finding": what, "kept": keep(out, batch.door, batch.seed, err.encode(), what)}
    return found


def one_batch(said: argparse.Namespace) -> int:
    """Run one door for so many seconds and print its row as JSON."""
    make, _ = DOORS[said.batch]
    ends = time.monotonic() + said.seconds
    with tempfile.TemporaryDirectory(prefix="shfuzz-") as folder:
        row: dict[str, Any] = dict.fromkeys(COLUMNS, 0)
        round_ = 0
        while time.monotonic() < ends or round_ == 0:
            room = Path(folder) / str(round_)
            room.mkdir(mode=0o700)
            seed = f"{said.seed}.{round_}"
            try:
                tally = drive(make, seeded(seed, said.batch), room, lambda cases: time.monotonic() < ends or cases == 0)
            except Finding as found:
                row["findings"] += 1
                row["finding"] = found.what
                row["kept"] = keep(
                    Path(said.out), said.batch, seed, found.frame, told(found, door=said.batch, seed=seed)
                )
            else:
                for name, value in tally.row().items():
                    row[name] += value
            round_ += 1
    print(json.dumps(row))
    return 1 if row["findings"] else 0


def keep(out: Path, door: str, seed: str, frame: bytes, what: str) -> str:
    """Write a failing message beside what it showed; return where it is."""
    out.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"fuzz-{door}-{seed}")
    (out / f"{name}.frame").write_bytes(frame)
    (out / f"{name}.txt").write_text(what + "\n", encoding="utf-8", errors="backslashreplace")
    return str(out / f"{name}.frame")


def show(total: dict[str, dict[str, int]]) -> None:
    """Print the table."""
    print(f"{'door':<10}" + "".join(f"{name:>13}" for name in COLUMNS))
    for door, row in total.items():
        print(f"{door:<10}" + "".join(f"{row[name]:>13}" for name in COLUMNS))
