"""Shadow: the rules run and say what they would do, and nothing at all is sent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from streamhedge.domain.commands import PlaceOrder
from streamhedge.domain.events import ManualOrder, OperatorVerb, VerbKind
from streamhedge.domain.order import Side
from streamhedge.domain.values import Symbol
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
ETHUSDT = Symbol("ETHUSDT")


def test_a_raise_is_told_and_withheld_and_told_again_after_a_minute() -> None:
    desk = Desk(shadow=True)
    desk.float("+1")
    assert [text.split(":")[0] for text in desk.said("shadow")] == ["would SELL 1"]
    for _ in range(59):
        desk.mark(after_ms=1_000)
    assert len(desk.said("shadow")) == 1
    assert not any("refused" in text for text in desk.said("blocked"))
    desk.mark(after_ms=1_200)
    assert len(desk.said("shadow")) == 2
    assert not desk.state.orders and not desk.state.open_ids
    assert desk.state.next_order == 1, "no id is used up"
    assert desk.state.meter.orders_sent == 0 and desk.state.meter.turnover == 0


def test_a_cut_and_a_flatten_are_withheld_and_start_no_pacing() -> None:
    desk = Desk(shadow=True, wallet="250000")
    desk.mark("73350.0")
    desk.mark("73350.0", after_ms=1_000)
    assert any("BUY" in text for text in desk.said("shadow")), "the ladder would cut at 25 %"
    assert not desk.memory.paced and desk.memory.cutting is None
    desk.take(OperatorVerb(kind=VerbKind.FLATTEN, symbol=None, reason="out", uid=7), after_ms=2_000)
    assert "would BUY 10" in desk.said("shadow")[-1]
    assert not [command for command in desk.commands if isinstance(command, PlaceOrder)]


def test_the_same_day_without_shadow_sends_all_three() -> None:
    """The counter-case: nothing above was withheld for another reason."""
    assert Desk().float("+1")
    desk = Desk(wallet="250000")
    assert desk.mark("73350.0") + desk.mark("73350.0", after_ms=1_000)
    desk = Desk()
    assert desk.sent(OperatorVerb(kind=VerbKind.FLATTEN, symbol=None, reason="out", uid=7), after_ms=2_000)


def test_an_order_by_hand_is_refused_with_the_reason() -> None:
    table = make.hedge_params(asset=make.Asset("ETH"), symbol=ETHUSDT, max_short=D(100), max_order_quantity=D(50))
    ether = replace(make.instrument(ETHUSDT), base_asset=make.Asset("ETH"))
    by_hand = ManualOrder(ETHUSDT, Side.SELL, D(10), False, "test", 7)
    for shadow in (True, False):
        desk = Desk(shadow=shadow, manual=(table,))
        desk.take(by_hand)
        assert "no mark price or filters of ETHUSDT are known yet" in desk.said("manual_refused")[-1]
        desk.take(replace(make.setup(), instruments=(make.instrument(), ether)))
        desk.take(replace(make.mark("2500", desk.now_ms), symbol=ETHUSDT))
        desk.machine.core.memory_of(ETHUSDT).position_trusted = True
        sent = desk.sent(by_hand)
        assert bool(sent) is not shadow
        assert ("withheld (shadow)" in desk.said("manual_refused")[-1]) is shadow
