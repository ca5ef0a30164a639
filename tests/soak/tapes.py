"""The recorded histories and their mirror images at 1x to 5x effective leverage: is anything liquidated?

Plays every history of the folder through the whole product in virtual time, and says cuts, cost and naked time of each run.
A liquidation is a fault wherever both conditions of the promise hold; where a history breaks one, the line says by how much.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from multiprocessing import get_context
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from streamhedge.sim.tapes import Tape
from tests.simulation.histories import LEVERAGES, Run, histories, run
from tests.support.shared import SHARED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked."""
    parser.add_argument("--folder", type=Path, help="kline files; else those beside the repository")
    parser.add_argument("--only", default="", help="histories whose name holds this")
    parser.add_argument("--leverages", type=int, nargs="+", default=list(LEVERAGES), help="effective leverages")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")


def main(said: argparse.Namespace) -> int:
    """Play them all and print a table."""
    folder = said.folder or (None if SHARED is None else SHARED / "recordings" / "history")
    if folder is None or not folder.is_dir():
        print("skipped: no recorded histories beside the repository; name a folder with --folder", file=sys.stderr)
        print(json.dumps({"runs": 0, "skipped": "no histories"}))
        return 0
    began = time.monotonic()
    work = [(tape, lever) for tape in histories(folder) if said.only in tape.name for lever in said.leverages]
    found: list[Run] = []
    with get_context("spawn").Pool(said.jobs) as pool:
        for one in pool.imap(_play, work):
            found.append(one)
            print(
                f"{time.monotonic() - began:.0f} s: {len(found)} of {len(work)}: {one.tape} {one.leverage}x",
                file=sys.stderr,
            )
    show(found)
    wrong = [f"{one.tape} {one.leverage}x: {one.wrong}" for one in found if one.wrong]
    total = {
        "runs": len(found),
        "liquidations": sum(one.liquidations for one in found),
        "condition_broken": sum(bool(one.broken) for one in found),
        "cuts": sum(one.cuts for one in found),
        "virtual_hours": float(round(sum(one.hours for one in found), 1)),
        "wrong": wrong,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(total))
    return 1 if wrong or not found else 0


def _play(work: tuple[Tape, int]) -> Run:
    return run(*work)


def show(found: list[Run]) -> None:
    """Print one line a run."""
    table = Table(box=box.MARKDOWN)
    for name in (
        "history",
        "lever",
        "hours",
        "15 s rise",
        "least distance",
        "cuts",
        "raises",
        "fees",
        "against a perfect hedge",
    ):
        table.add_column(name, justify="left" if name == "history" else "right")
    for name in ("naked s", "short at the end", "liquidated"):
        table.add_column(name, justify="right")
    table.add_column("condition", justify="left")
    for one in found:
        least = "" if one.least is None else f"{one.least * 100:.2f} %"
        table.add_row(
            *(one.tape, f"{one.leverage}x", f"{one.hours:.1f}", f"{one.rise * 100:.2f} %", least, str(one.cuts)),
            *(str(one.raises), f"{one.fees:,.0f}", f"{one.result:,.0f}", str(one.naked_s), f"{one.short:f}"),
            *(str(one.liquidations), one.wrong or one.broken or "both hold"),
        )
    Console(width=220, highlight=False).print(table)
