"""The rows: one figure each, ours and bare, filled round by round."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Row:
    """One figure, ours and bare, a value a round. ``rate``: more is better; else it is a time."""

    name: str
    unit: str
    rate: bool = False
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return the row JSON-ready; ``ratio`` says how many times as long as the bare loop ours takes."""
        ours, bare = statistics.median(self.ours), statistics.median(self.bare)
        return {
            **{"name": self.name, "unit": self.unit, "ours": spread(self.ours), "bare": spread(self.bare)},
            "ratio": bare / ours if self.rate else ours / bare,
        }


class Rows:
    """The rows of one run, in the order in which they were first added to."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def add(self, name: str, unit: str, *, ours: float, bare: float, rate: bool = False) -> None:
        """Add one round's values to a row."""
        row = self._rows.setdefault(name, Row(name, unit, rate))
        row.ours.append(ours)
        row.bare.append(bare)

    def plain(self) -> list[dict[str, Any]]:
        """Return the rows JSON-ready."""
        return [row.plain() for row in self._rows.values()]


def spread(values: list[float]) -> dict[str, float]:
    """Return median and extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def share(values: list[float], percent: int) -> float:
    """Return a percentile."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]
