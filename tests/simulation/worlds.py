"""Worlds for tests: one call runs a seed or a case with the product's own recovery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamhedge.live.recovery import recovered
from streamhedge.world.script import Case, draw
from streamhedge.world.world import Outcome, World

MINUTES_MS = 60_000


def run_case(case: Case) -> Outcome:
    """Run one world to its end, or to its first violation."""
    return World(case, recovered).run()


def run_seed(seed: int, *, minutes: int = 3, kinds: Sequence[str] = ()) -> Outcome:
    """Run the world of a seed; ``kinds`` are the happenings it may draw, empty: the seed chooses."""
    return run_case(draw(seed, minutes * MINUTES_MS, kinds=kinds))


def first_violation(seeds: Iterable[int], *, minutes: int = 3) -> Outcome | None:
    """Return the first world in which an invariant breaks, None when all hold."""
    for seed in seeds:
        outcome = run_seed(seed, minutes=minutes)
        if outcome.violation is not None:
            return outcome
    return None
