"""A failing world made small: happenings are left out as long as the same invariant still breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streamhedge.world.world import Outcome, Recover, World

RUNS_MOST = 200
EVENTS_MOST = 500_000
"""Inputs that shrinking may cost: some minutes."""


def shrink(outcome: Outcome, recover: Recover, *, tell: Callable[[int], None] = lambda left: None) -> Outcome:
    """Return the smallest world found that breaks the same invariant, with its recording.

    Halves are left out first, then quarters, down to single happenings, over again until nothing more can go.

    Args:
        outcome: A world that broke an invariant.
        recover: Start-up, as for the world.
        tell: Told how many happenings are left, each time it is fewer.
    """
    assert outcome.violation is not None, "only what fails can shrink"
    wanted, best, runs, events = outcome.violation.invariant, _cut(outcome), 0, 0
    size = max(1, len(best.case.happenings) // 2)
    while runs < RUNS_MOST and events < EVENTS_MOST:
        start, shrunk = 0, False
        while start < len(best.case.happenings) and runs < RUNS_MOST and events < EVENTS_MOST:
            kept = [index for index in range(len(best.case.happenings)) if not start <= index < start + size]
            found = World(best.case.only(kept), recover).run()
            runs += 1
            events += found.events
            if found.violation is not None and found.violation.invariant == wanted:
                best, shrunk = found, True
                tell(len(kept))
            else:
                start += size
        if size == 1 and not shrunk:
            break
        size = max(1, size // 2)
    return with_recording(best, recover)


def with_recording(outcome: Outcome, recover: Recover) -> Outcome:
    """Play a world once more, and keep what it recorded."""
    return World(replace(outcome.case, options=replace(outcome.case.options, keep=True)), recover).run()


def _cut(outcome: Outcome) -> Outcome:
    """Drop what was still to come when the invariant broke."""
    happenings = outcome.case.happenings
    outcome.case = outcome.case.only([i for i, h in enumerate(happenings) if h.at_ms <= outcome.virtual_ms])
    return outcome
