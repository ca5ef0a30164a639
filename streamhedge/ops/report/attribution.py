"""Where the treasury's value went, as tables of the report: per UTC day and per run, and what the hedge cost (HEDGING §7)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from streamhedge.domain.attribution import BASIS, EXECUTION, FEES, FUNDING, NAKED, RESIDUAL, UNCLASSIFIED
from streamhedge.domain.values import ZERO, utc_text

DAY_MS = 86_400_000
Lines = Mapping[str, Decimal]
COST = (FUNDING, FEES, f"{EXECUTION}own", f"{NAKED}in_flight", f"{NAKED}in_doubt", BASIS)
"""What holding and trading the hedge earned or cost; the exposure left open is no cost of it."""


def summed(rows: Mapping[tuple[int, int], Lines], *, epoch: int | None = None) -> dict[str, Decimal]:
    """Return the sum of each line over all days, of one run or of all."""
    found: dict[str, Decimal] = {}
    for (run, _), lines in rows.items():
        if epoch in (None, run):
            for name, amount in lines.items():
                found[name] = found.get(name, ZERO) + amount
    return found


def cost_of_hedge(lines: Lines) -> list[tuple[str, Decimal]]:
    """Return the lines that make up what the hedge earned or cost, and their sum last; + is a gain."""
    found = [(name, lines[name]) for name in COST if lines.get(name)]
    return [*found, ("cost of hedge", sum((amount for _, amount in found), ZERO))]


def attribution_rows(rows: Mapping[tuple[int, int], Lines]) -> list[tuple[str, str, str, Decimal]]:
    """Return (run, day, line, amount): each day's lines with their sum, then each run's."""
    found = []
    for (run, day), lines in sorted(rows.items()):
        found += [(str(run), utc_text(day * DAY_MS)[:10], name, amount) for name, amount in _with_sum(lines)]
    for run in sorted({run for run, _ in rows}):
        found += [(str(run), "whole run", name, amount) for name, amount in _with_sum(summed(rows, epoch=run))]
    return found


def _with_sum(lines: Lines) -> list[tuple[str, Decimal]]:
    last = (UNCLASSIFIED, RESIDUAL)
    ordered = sorted(lines, key=lambda name: (name in last, name))
    return [*((name, lines[name]) for name in ordered), ("change of value", sum(lines.values(), ZERO))]
