"""Positions that no hedge steers: told when they come near their liquidation, and when it is over (HEDGING §3)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from streamhedge.domain.canonical import from_plain, to_plain
from streamhedge.domain.events import MarkPriceUpdate, PositionSide, SetupDone
from streamhedge.domain.values import Symbol
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
ETHUSDT = Symbol("ETHUSDT")


def desk(quantity: str, *, isolated: str = "", wallet: str = "400000") -> Desk:
    """Return a hedged account that also holds ETHUSDT at 2 500, with its contract read and its mark followed."""
    found = Desk(wallet=wallet)
    at_ms = found.now_ms + 1
    said = make.snapshot("-10", entry="67121.4", wallet=wallet, at_ms=at_ms)
    row = replace(
        said.positions[0],
        symbol=ETHUSDT,
        quantity=D(quantity),
        entry_price=D(2_500),
        isolated=bool(isolated),
        isolated_wallet=D(isolated or 0),
    )
    found.take(replace(said, positions=(*said.positions, row)), after_ms=1)
    setup: SetupDone = make.setup()
    found.take(replace(setup, instruments=(*setup.instruments, make.instrument(ETHUSDT))))
    ether(found, "2500")
    found.notes.clear()
    return found


def ether(found: Desk, price: str) -> None:
    said: MarkPriceUpdate = make.mark(price, found.now_ms)
    found.take(replace(said, symbol=ETHUSDT), after_ms=1_000)


def test_an_isolated_short_of_somebody_elses_is_told_with_price_distance_and_remedy() -> None:
    # 10 short at 2 500 with 10 000 behind: liquidated at (10 000 + 25 000) / 10.04 = 3 486.06, 30 % below is 2 681.58
    found = desk("-10", isolated="10000")
    ether(found, "2681.5")
    assert found.said("near_liquidation") == []
    ether(found, "2681.6")
    (text,) = found.said("near_liquidation")
    assert "-10 ETHUSDT is 30.00 % from its liquidation at 3486.06" in text
    ether(found, "2700")
    assert len(found.said("near_liquidation")) == 1, "told once"
    note = next(note for note in found.notes if note.code == "near_liquidation")
    assert note.symbol == ETHUSDT and note.level.value == "critical"
    assert "post 0.2" in text or "post 0.3" in text, "so little puts it back to 30 %"
    ether(found, "2665")
    assert found.said("near_over") == [], "it resolves one point above where it began"
    ether(found, "2660")
    assert len(found.said("near_over")) == 1
    assert found.state.near == []


def test_a_cross_short_comes_near_by_the_tick_of_another_symbol() -> None:
    # only bitcoin rises: what its short loses is taken from the ether's margin
    found = desk("-100")
    for price in ("71000", "75500"):
        found.mark(price, after_ms=1_000)
    assert found.said("near_liquidation") == []
    found.mark("76500", after_ms=1_000)
    assert len(found.said("near_liquidation")) == 1
    assert "together with the other shorts" in found.said("near_liquidation")[0]


def test_a_long_is_told_too_and_what_a_hedge_steers_is_left_to_its_ladder() -> None:
    found = desk("200", isolated="200000")
    for price in ("2300", "2200", "2100"):
        ether(found, price)
    assert [note.symbol for note in found.notes if note.code == "near_liquidation"] == [ETHUSDT]
    steered = Desk(wallet="230000")
    steered.mark("73000", after_ms=1_000)
    assert steered.said("near_liquidation") == []
    assert steered.said("ladder") != []


def test_an_outlier_alone_alarms_nobody() -> None:
    found = desk("-10", isolated="10000")
    ether(found, "2900")
    assert found.said("near_liquidation") == [], "a jump by a sixth waits for the next frame"
    ether(found, "2900")
    assert len(found.said("near_liquidation")) == 1


def test_a_position_that_is_closed_is_near_nothing() -> None:
    found = desk("-10", isolated="10000")
    ether(found, "2700")
    assert found.state.near == ["ETHUSDT|BOTH"]
    update = make.account_update("-10", at_ms=found.now_ms + 5)
    row = replace(update.positions[0], symbol=ETHUSDT, quantity=D(0), position_side=PositionSide.BOTH)
    found.take(replace(update, positions=(row,)), after_ms=5)
    assert found.state.near == []


def test_a_reactor_built_from_its_state_has_the_same_index() -> None:
    found = desk("-10", isolated="10000")
    ether(found, "2700")
    again = Reactor(from_plain(State, to_plain(found.state)), found.machine.core.policy)
    make.check_invariants(again)
    one, other = found.machine.core.triggers, again.core.triggers
    assert one is not None and other is not None
    assert list(one.near()) == list(other.near()) != []
