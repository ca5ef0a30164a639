"""The clock: wall time at the start, then boot time alone. Who sets the wall clock moves no duration of ours."""

from __future__ import annotations

import time

import pytest

from streamhedge.venue.clock import BootClock

SECOND_NS = 1_000_000_000


@pytest.mark.fault("C2")
@pytest.mark.parametrize("step_s", [3_600, 1, -1, -3_600])
def test_a_wall_clock_that_is_set_moves_only_the_drift(monkeypatch: pytest.MonkeyPatch, step_s: int) -> None:
    clock = BootClock()
    assert abs(clock.now_ns() - time.time_ns()) < SECOND_NS // 2
    before, wall = clock.now_ns(), time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall() + step_s * SECOND_NS)
    after = clock.now_ns()
    assert 0 <= after - before < SECOND_NS // 2
    assert abs(clock.drift_ns() - step_s * SECOND_NS) < SECOND_NS // 2
