"""Whole worlds against the identity: what the lines add up to is what the exchange's own books say the treasury gained."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.attribution import RESIDUAL, UNCLASSIFIED
from streamhedge.domain.values import exact
from streamhedge.live.recovery import recovered
from streamhedge.world.script import ALWAYS, KINDS, draw, without
from streamhedge.world.world import World
from tests.simulation.worlds import MINUTES_MS

D = Decimal
HONEST = (
    *ALWAYS,
    "deposit",
    "withdraw",
    "external",
    "external-eth",
    "transfer",
    "jump",
    "crash",
    "A5",
    "U5",
    "U6",
    "U9",
    "S3",
)
"""Happenings that lose nothing: trades of everybody, ADL, transfers, moved, swapped and doubled events, closed sockets."""


def lived(seed: int) -> World:
    case = draw(seed, 10 * MINUTES_MS)
    case = without(case, tuple(kind for kind in KINDS if kind not in HONEST))
    world = World(replace(case, options=replace(case.options, funding_every_ms=120_000)), recovered)
    outcome = world.run()
    assert outcome.violation is None, str(outcome.violation)
    return world


SEEDS = range(40_001, 40_007)


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [lived(seed) for seed in SEEDS]


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_the_lines_add_up_to_what_the_exchange_says(number: int, worlds: list[World]) -> None:
    world = worlds[number]
    assert world.process is not None
    state = world.process.pump.reactor.state
    attribution, account = state.attribution, world.exchange.account
    assert attribution.began
    with exact():
        value = account.wallet + state.usd
        for hedge in world.policy.hedges:
            value += state.floats[hedge.asset] * state.book.marks[hedge.symbol].index_price
        for symbol, mark in state.book.marks.items():
            held = account.position(symbol)
            value += held.amount * (mark.mark_price - held.entry)
        lines = attribution.lines()
        gained = value - attribution.value_at_start
        assert abs(sum(lines.values()) - gained) < D("0.00001"), lines
        assert abs(lines.get(RESIDUAL, D(0))) < D("0.00001"), lines
        if "S3" not in world.options.kinds:
            assert lines.get(UNCLASSIFIED, D(0)) == 0, lines
        assert lines.get("funding", D(0)) == state.meter.funding


def test_the_worlds_had_something_to_attribute(worlds: list[World]) -> None:
    names: dict[str, int] = {}
    for world in worlds:
        assert world.process is not None
        for name in world.process.pump.reactor.state.attribution.lines():
            names[name] = names.get(name, 0) + 1
    wanted = ("policy_open", "execution.own", "execution.foreign", "execution.venue", "fees", "funding")
    assert all(names.get(name, 0) > 0 for name in (*wanted, "external", "naked.dust")), names
