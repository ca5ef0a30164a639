"""Fewer points without losing a peak: of each bucket of points the first, the last and every extreme stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

Point = TypeVar("Point")
Figure = Callable[[Point], Decimal | None]


def thin(points: Sequence[Point], most: int, figures: Sequence[Figure[Point]]) -> list[Point]:
    """Return at most ``most`` points in order, with the lowest and highest value of each figure in each bucket.

    Args:
        points: Points in order of time.
        most: How many may stay; at least two for each figure, and two more.
        figures: What must keep its extremes; a figure may be None at a point.
    """
    if len(points) <= most:
        return list(points)
    kept_of_each = 2 + 2 * len(figures)
    buckets = most // kept_of_each
    assert buckets > 0, f"{most} points cannot hold the extremes of {len(figures)} figures"
    kept: list[Point] = []
    for number in range(buckets):
        start, end = (len(points) * at // buckets for at in (number, number + 1))
        indexes = {start, end - 1}
        for figure in figures:
            known = [(value, index) for index in range(start, end) if (value := figure(points[index])) is not None]
            if known:
                indexes |= {min(known)[1], max(known)[1]}
        kept += [points[index] for index in sorted(indexes)]
    return kept
