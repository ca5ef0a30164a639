"""The only clock: wall time at start plus elapsed boot time. It never goes backward and counts suspends."""

from __future__ import annotations

import time

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class BootClock:
    """Nanoseconds since the epoch, UTC, by boot time; ``drift_ns`` says how far the wall has parted from it."""

    def __init__(self) -> None:
        self._wall_ns = time.time_ns()
        self._boot_ns = time.clock_gettime_ns(_BOOT)

    def now_ns(self) -> int:
        """Return the time."""
        return self._wall_ns + time.clock_gettime_ns(_BOOT) - self._boot_ns

    def drift_ns(self) -> int:
        """Return the wall clock minus this one: what somebody has set it by since the start."""
        return time.time_ns() - self.now_ns()
