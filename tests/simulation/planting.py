"""Planting: one bug at a time is put into the product, and worlds are run until one of them shows it.

A plant changes the product at one place and leaves the world and its auditor alone. Where the place has moved, planting
raises; ``Planting.ran`` counts how often the broken code ran, so that nothing counts as caught that was never at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from streamhedge.live import recovery
from streamhedge.rules import limits
from streamhedge.world.auditor import Violation
from streamhedge.world.script import draw
from streamhedge.world.world import World
from tests.simulation.worlds import MINUTES_MS

Build = Callable[[Any], Any]


class Planting:
    """Puts one bug into the product and counts how often it was at work."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.times = 0

    def ran(self) -> None:
        """The broken code ran."""
        self.times += 1

    def instead(self, owner: Any, name: str, build: Build) -> None:
        """Put what ``build`` makes of the honest attribute in its place; AttributeError when there is none."""
        self.patch.setattr(owner, name, build(getattr(owner, name)))

    def at(self, table: Any, key: Any, build: Build) -> None:
        """Put what ``build`` makes of the honest entry in its place; KeyError when there is none."""
        self.patch.setitem(table, key, build(table[key]))

    def given(self, owner: Any, name: str, change: Build) -> None:
        """Change what a function is told last."""

        def build(honest: Any) -> Any:
            def call(*said: Any) -> Any:
                changed = change(said[-1])
                if changed != said[-1]:
                    self.ran()
                return honest(*said[:-1], changed)

            return call

        self.instead(owner, name, build)

    def found(self, owner: Any, name: str, change: Build) -> None:
        """Change what a function finds, where it finds anything."""

        def build(honest: Any) -> Any:
            def call(*said: Any, **named: Any) -> Any:
                found = honest(*said, **named)
                changed = found if found is None else change(found)
                if changed != found:
                    self.ran()
                return changed

            return call

        self.instead(owner, name, build)

    def constant(self, owner: Any, name: str, value: Any) -> None:
        """Change a figure of the product; the planter says where it is at work."""
        assert getattr(owner, name) != value, f"{name} is {value} already: nothing would be planted"
        self.patch.setattr(owner, name, value)

    def without_check(self, *controls: str) -> None:
        """Take controls out of the gate, so that the rule beneath is what is tried."""
        names = [name for name, _ in limits.CHECKS]
        assert all(control in names for control in controls), f"the gate has {names}"
        kept = tuple((name, check) for name, check in limits.CHECKS if name not in controls)
        self.patch.setattr(limits, "CHECKS", kept)


@dataclass(frozen=True)
class Plant:
    """One bug. ``kinds`` are the happenings that may show it, empty: whatever a seed draws."""

    name: str
    broken: str
    invariants: tuple[str, ...]
    into: Callable[[Planting], None]
    kinds: tuple[str, ...] = ()
    minutes: int = 3
    crash: bool = False


@dataclass
class Hunt:
    """What became of one: ``violation`` None when no seed showed it; ``events`` of all worlds until then."""

    plant: Plant
    violation: Violation | None = None
    seeds: int = 0
    events: int = 0
    ran: int = 0
    trail: list[str] = field(default_factory=list)

    @property
    def fault(self) -> str:
        """Why this does not count as caught; empty when it does."""
        if not self.ran:
            return "the planted code never ran"
        if self.violation is None:
            return f"{self.seeds} worlds did not notice"
        if self.violation.invariant not in self.plant.invariants:
            return f"caught by the wrong invariant: {self.violation}"
        if self.violation.__cause__ is not None and not self.plant.crash:
            return f"it crashed: {self.violation}"
        return ""


PLANTS: dict[str, Plant] = {}


def plant(
    broken: str, *invariants: str, kinds: tuple[str, ...] = (), minutes: int = 3, crash: bool = False
) -> Callable[[Callable[[Planting], None]], Callable[[Planting], None]]:
    """Enter a function into the table under its own name."""

    def enter(into: Callable[[Planting], None]) -> Callable[[Planting], None]:
        name = into.__name__
        assert name not in PLANTS, f"{name} stands twice"
        PLANTS[name] = Plant(name, broken, invariants, into, kinds, minutes, crash)
        return into

    return enter


def hunt(planted: Plant, seeds: Iterable[int]) -> Hunt:
    """Plant one bug and look for it, seed after seed, until a world shows a violation."""
    found = Hunt(planted)
    with pytest.MonkeyPatch.context() as patch:
        bug = Planting(patch)
        planted.into(bug)
        for seed in seeds:
            case = draw(seed, planted.minutes * MINUTES_MS, kinds=planted.kinds)
            outcome = World(case, lambda *said, **named: recovery.recovered(*said, **named)).run()
            found.seeds += 1
            found.events += outcome.events
            if outcome.violation is not None:
                found.violation, found.trail = outcome.violation, outcome.trail
                break
        found.ran = bug.times
    return found
