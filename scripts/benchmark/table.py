"""The tables, in a form that a README takes."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from scripts.benchmark import watching


def shown(found: dict[str, Any]) -> None:
    """Print what a run found."""

    def cell(values: dict[str, float]) -> str:
        digits = 0 if values["median"] >= 100 else 1
        return " ".join(
            (f"{values['median']:,.{digits}f}", f"({values['min']:,.{digits}f} … {values['max']:,.{digits}f})")
        )

    console = Console(width=130, highlight=False)
    console.print(f"{found['date']}, `{found['command']}`, {found['machine']}\n")
    table = Table(box=box.MARKDOWN)
    for name in ("figure", "unit", "streamhedge (min … max)", "bare loop (min … max)", "time ÷ bare"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for row in found["rows"]:
        table.add_row(row["name"], row["unit"], cell(row["ours"]), cell(row["bare"]), f"{row['ratio']:.1f}")
    console.print(table)
    console.print(f"replay runs {found['replay_times_real_time']:,.0f} times as fast as the time it recorded\n")
    table = Table(box=box.MARKDOWN)
    for name in ("ended orders remembered", "pump.feed of a frame, µs", "digest of the whole state, ms"):
        table.add_column(name, justify="right")
    for line in found["remembered"]:
        table.add_row(f"{line['orders']:.0f}", f"{line['frame_us']:.1f}", f"{line['digest_ms']:.2f}")
    console.print(table)
    table = Table(box=box.MARKDOWN)
    for name in ("cross positions watched", "mark tick of the trigger index, µs", "times the first row"):
        table.add_column(name, justify="right")
    for line in found["watched"]:
        table.add_row(f"{line['positions']:,.0f}", f"{line['tick_us']:.1f}", f"{line['ratio']:.2f}")
    console.print(table)
    watching.shown(console, found["watching"])
