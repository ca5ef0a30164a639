"""A sample of the recorded histories against the whole product; all of them: the soak `tapes` (HEDGING §3)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.ops.simulated import tape_of
from streamhedge.sim.tapes import CRASH, Tape, mirrored
from tests.simulation.histories import REDUCE, START_PRICE, largest_rise, run, shortened

D = Decimal


@pytest.mark.parametrize("leverage", [3, 5])
def test_the_mirrored_crash_liquidates_nothing(leverage: int) -> None:
    found = run(mirrored(shortened(tape_of(CRASH, 7)), "mirrored"), leverage)
    assert found.wrong == found.broken == ""
    assert found.liquidations == 0
    assert found.cuts > 0, "it rises by 28 %: at this leverage the ladder has to act"
    assert found.least is not None and found.least > 0
    assert found.naked_s > 0 and found.fees > 0
    assert found.short < 10 or found.raises > 0


def test_a_move_beyond_the_headroom_is_named_with_its_figures() -> None:
    jump = Tape("jump", [0, 20_000, 20_500, 40_000], [START_PRICE, START_PRICE, START_PRICE * D("1.45"), START_PRICE])
    found = run(jump, 3)
    assert found.liquidations == 1, "nobody buys back ten bitcoin half a second before the mark is there"
    assert found.broken == "move 45.0 % in 15 s exceeds headroom 25 %"
    assert found.wrong == "", "which is what the promise says of itself"
    assert "liquidation" in replace(found, rise=D("0.1")).wrong, "and without such a move it would be a fault"


def test_the_largest_rise_is_found_on_the_slopes() -> None:
    # from 100 to 200 in 20 s: 5 a second, so 15 s take it from 100 to 175
    tape = Tape("slope", [0, 10_000, 30_000, 90_000], [D(100), D(100), D(200), D(50)])
    assert largest_rise(tape) == D("0.75")
    assert largest_rise(tape, 60_000) == 1
    assert largest_rise(Tape("fall", [0, 60_000], [D(100), D(50)])) == 0


def test_what_is_left_out_of_a_long_bar_is_flat_time_only() -> None:
    hours = Tape("hours", [0, 15_000, 40_000, 59_999, 3_600_000, 3_615_000], [D(p) for p in (10, 11, 9, 10, 10, 12)])
    short = shortened(hours)
    assert short.times_ms == [0, 15_000, 40_000, 59_999, 119_999, 134_999]
    assert short.prices[1] / short.prices[0] == D("1.1")
    assert largest_rise(short) == largest_rise(hours) < REDUCE
