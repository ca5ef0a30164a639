"""A flatten that is cut between two slices goes on in the next run by itself, reduce-only, until nothing is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamhedge.live.recovery import recovered
from streamhedge.world.script import Case, Happening, draw
from streamhedge.world.world import World


@pytest.mark.fault("P1", "K4")
def test_a_flatten_goes_on_after_a_crash_between_its_slices() -> None:
    drawn = draw(11, 60_000)
    quiet = replace(
        drawn.options,
        kinds=[],
        max_order_quantity="1",
        max_order_notional=250_000,
        initial="10",
        ratio="1",
        wallet=2_000_000,
        isolated=False,
    )
    happenings = [Happening(30_000, "flatten", "20"), Happening(30_300, "kill", "now 1000")]
    world = World(Case(quiet, happenings), recovered)
    outcome = world.run()
    assert outcome.violation is None, str(outcome.violation)
    orders = [order for order in world.ledger.intents() if order.purpose.value == "flatten"]
    runs = [order.client_order_id.split("-")[2] for order in orders]
    assert len(set(runs)) == 2, f"slices in both runs: {runs}"
    assert all(order.reduce_only for order in orders)
    assert orders[-1].position_before + orders[-1].filled == 0, "the last slice leaves nothing"
