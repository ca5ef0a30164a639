"""Virtual time: what will happen, in order. Two things at one moment happen in the order they were planned."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]
MS = 1_000_000
"""Nanoseconds of a millisecond, and of a second."""
S = 1_000 * MS


class Schedule:
    """A clock that stands still until the next thing happens."""

    def __init__(self, start_ns: int) -> None:
        self.now_ns = start_ns
        self._later: list[tuple[int, int, Action]] = []
        self._planned = 0

    @property
    def now_ms(self) -> int:
        """The time in milliseconds."""
        return self.now_ns // MS

    def at(self, at_ns: int, action: Action) -> None:
        """Plan something for a moment; one that has passed means now."""
        self._planned += 1
        heapq.heappush(self._later, (max(at_ns, self.now_ns), self._planned, action))

    def after(self, delay_ns: int, action: Action) -> None:
        """Plan something for a while from now."""
        self.at(self.now_ns + delay_ns, action)

    def step(self, until_ns: int) -> bool:
        """Let the next thing happen that is planned before a moment; False when none is, with the clock moved there."""
        if not self._later or self._later[0][0] >= until_ns:
            self.now_ns = max(self.now_ns, until_ns)
            return False
        self.now_ns, _, action = heapq.heappop(self._later)
        action()
        return True
