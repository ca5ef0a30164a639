"""Between the band and the next step: what may stand is not alarmed, and what is too small to trade is named."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from streamhedge.live.status import in_band
from streamhedge.rules.hedge import decide_hedge
from tests.support import builders as make
from tests.support.desk import Desk
from tests.support.views import view

D = Decimal


def left(desk: Desk, quantity: str) -> None:
    """Book a change of the float that no order may follow, and let the alarm's time pass twice."""
    assert desk.float(quantity) == []
    for _ in range(2 * desk.machine.core.policy.hedges[0].naked_alert_after_ms // 1_000):
        assert desk.mark(after_ms=1_000) == []


def test_a_gap_below_the_band_with_a_part_of_a_step_is_dust_and_no_alarm() -> None:
    """0.0019 of 67 121.4: a gap of one step, 67 USD, inside the band of 100; with the rest of a step 127 USD."""
    desk = Desk()
    left(desk, "+0.0019")
    assert desk.memory.hold == "band" and desk.memory.dust == D("0.0019")
    assert desk.said("naked") == [] and desk.memory.naked_since_ns is None
    assert desk.memory.blocked is None and in_band(desk.machine.core, desk.machine.core.policy.hedges[0])


def test_what_is_above_the_band_and_a_step_is_still_alarmed() -> None:
    desk = Desk()
    desk.state.halted = "look"
    left(desk, "+0.0026")
    assert len(desk.said("naked")) == 1
    assert desk.memory.blocked is not None and desk.memory.blocked.cause == "halted"


def test_more_than_that_which_no_order_is_large_enough_for_is_named() -> None:
    """A contract whose smallest order is above the band: nothing is sent, and status says why."""
    small = view(float_quantity=D("10.003"), position=D(-10))
    dear = replace(small, instrument=replace(small.instrument, min_notional=D(500)))
    verdict = decide_hedge(dear)
    assert (verdict.draft, verdict.hold) == (None, "dust")
    assert verdict.blocked is not None and verdict.blocked.cause == "dust"
    assert decide_hedge(small).draft is not None, "it is the smallest order that stops it"
    assert make.hedge_params().band == D(100)
