"""Fills that move the position by another amount than they say must stop the symbol (HEDGING 8 a), whichever way."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.commands import PlaceOrder
from streamhedge.domain.events import Event, Owner, Tick
from streamhedge.domain.order import Report, Side
from streamhedge.domain.values import NS_PER_MS, exact
from tests.support import builders as make
from tests.support.desk import Desk
from tests.unit.test_refusals import status_of

D = Decimal


@pytest.mark.parametrize("scale", [D(0), D(-1), D(2)])
@pytest.mark.fault("K3", "O20")
def test_fills_that_move_the_position_by_another_factor_stop_after_few_orders(scale: Decimal) -> None:
    machine = make.reactor()
    now_ms, seq, sent = make.T0_MS, 0, 0

    def take(event: Event, after_ms: int = 1) -> None:
        nonlocal now_ms, seq, sent
        now_ms += after_ms
        seq += 1
        with exact():
            reaction = machine.react(seq, now_ms * NS_PER_MS, [event])
        sent += sum(isinstance(command, PlaceOrder) for command in reaction.commands)

    take(make.setup())
    take(make.mark("67121.4", now_ms))
    take(make.snapshot("-10", entry="67121.4", at_ms=now_ms))
    take(make.float_trade("11"))
    take(make.live())
    truth, at_ms = D(-10), now_ms
    for turn in range(60):
        if machine.state.open_ids:
            order = make.oldest_open(machine)
            truth, at_ms = truth + scale * order.side.sign * order.quantity, now_ms
            take(make.account_update(str(truth), at_ms=at_ms, wallet=str(400_000 - turn)))
            take(make.execution_report(order, last=str(order.quantity), trade_id=turn + 1, at_ms=at_ms))
        take(make.mark("67121.4", now_ms), after_ms=1_100)
        take(Tick(), after_ms=100)
        asked_ns = now_ms * NS_PER_MS
        take(make.snapshot(str(truth), entry="67121.4", at_ms=at_ms, requested_ns=asked_ns, audit=True))
    assert machine.core.memory_of(make.BTCUSDT).block is not None, f"{sent} orders, no end, position {truth}"
    assert sent <= 2


# ---------------------------------------------------------------- what must not trip, and what must (HEDGING 8)


def audited(desk: Desk, position: str, *, after_ms: int = 1_100) -> None:
    """Two audits that see a position, far enough apart to be believed."""
    for _ in range(2):
        desk.now_ms += after_ms
        asked_ns = desk.now_ms * NS_PER_MS
        row_ms = desk.now_ms
        desk.take(make.snapshot(position, entry="67121.4", at_ms=row_ms, requested_ns=asked_ns, audit=True), after_ms=1)


def small(**said: object) -> Desk:
    """A desk that needs five orders for five bitcoin."""
    return Desk(hedges=(make.hedge_params(max_order_quantity=D(1)),), **said)


def blocked_by(desk: Desk) -> str:
    return desk.memory.block.cause if desk.memory.block is not None else ""


def test_five_slices_are_five_fills_on_one_side_and_pass() -> None:
    desk = small()
    desk.float("+5")
    for number in range(5):
        desk.fill(desk.order, trade_id=number + 1)
    assert (desk.state.book.quantity(make.BTCUSDT), blocked_by(desk)) == (D(-15), "")
    assert desk.memory.fruitless_fills == 0


def test_partial_fills_pass() -> None:
    desk = Desk()
    desk.float("+4")
    for number in range(1, 5):
        order = desk.order
        after = desk.state.book.quantity(make.BTCUSDT) - D("0.5")
        desk.take(make.account_update(str(after), at_ms=desk.now_ms + 2), after_ms=2)
        part = make.execution_report(order, last="0.5", report=Report.ENDED, trade_id=number, at_ms=desk.now_ms)
        desk.take(part)
        desk.mark(after_ms=1_100)
    assert blocked_by(desk) == ""
    assert desk.order.quantity == D(2)


@pytest.mark.parametrize("change", ["+3", "-4"])
def test_a_float_trade_between_decision_and_fill_passes(change: str) -> None:
    desk = Desk()
    desk.float("+1")
    order = desk.order
    desk.float(change)
    desk.fill(order, trade_id=1)
    assert blocked_by(desk) == ""


@pytest.mark.parametrize(
    ("owner", "side"), [(Owner.FOREIGN, Side.BUY), (Owner.FOREIGN, Side.SELL), (Owner.ADL, Side.BUY)]
)
def test_somebody_elses_trade_beside_our_fill_passes(owner: Owner, side: Side) -> None:
    desk = Desk()
    desk.float("+1")
    order, signed = desk.order, side.sign * D(3)
    fill = replace(make.foreign_fill(side, "3", owner=owner), transaction_time_ms=desk.now_ms + 1)
    desk.take(make.account_update(str(D(-10) + signed), at_ms=desk.now_ms + 1), after_ms=1)
    desk.take(fill)
    desk.take(make.account_update(str(D(-11) + signed), at_ms=desk.now_ms + 1), after_ms=1)
    desk.take(make.execution_report(order, last="1", trade_id=77, at_ms=desk.now_ms))
    assert blocked_by(desk) == ""
    exposure = desk.memory.exposure
    assert exposure is None or order.client_order_id not in exposure.order_ids, "it adds up"


def test_a_late_report_of_the_base_is_not_what_our_own_fill_still_lacks() -> None:
    """Somebody sells 1, snapshots tell it, we buy it back; then comes the report of that sale, before our own update."""
    desk = Desk()
    sold_ms = desk.now_ms + 1
    desk.take(make.account_update("-11", at_ms=sold_ms), after_ms=1)
    for _ in range(3):
        asked_ns = (desk.now_ms + 1_100) * NS_PER_MS
        row = make.snapshot("-11", entry="67121.4", at_ms=sold_ms, requested_ns=asked_ns, audit=True)
        desk.take(row, after_ms=1_101)
        desk.mark()
    order = desk.order
    assert (order.side, order.quantity) == (Side.BUY, 1)
    desk.take(status_of(order.client_order_id, report=Report.FILLED), after_ms=80)
    assert order.filled == 1 and desk.state.book.quantity(make.BTCUSDT) == -11, "settled, and not in the position yet"
    late = replace(make.foreign_fill(Side.SELL, "1"), transaction_time_ms=sold_ms, event_time_ms=sold_ms)
    desk.take(late, after_ms=1)
    assert desk.mark(after_ms=1) == [] and not desk.state.open_ids, "it is in the position that was counted from"
    desk.take(make.account_update("-10", at_ms=desk.now_ms), after_ms=1)
    assert desk.mark() == [] and blocked_by(desk) == "" and desk.memory.exposure is None


def test_a_fill_away_from_its_target_stops_after_one_order() -> None:
    """A sign error of ours: the order sells what it should have bought."""
    desk = Desk()
    desk.float("+1")
    desk.order.target = D(-9)
    assert desk.fill(desk.order, trade_id=1) == []
    assert blocked_by(desk) == "effectiveness"
    assert desk.state.meter.triggers["R7"] == 1
    assert desk.float("+5") == [] and desk.mark(after_ms=5_000) == []


def test_fills_that_the_account_does_not_show_stop_after_the_limit() -> None:
    """The position follows each fill, and each time the venue's own snapshot shows that nothing moved."""
    desk = Desk(limits=make.limits(repeated_same_side_fills=2))
    desk.float("+1")
    for number in range(3):
        assert blocked_by(desk) == "", number
        desk.fill(desk.order, trade_id=number + 1)
        audited(desk, "-10")
        desk.mark()
    assert blocked_by(desk) == "effectiveness"
    assert desk.state.meter.triggers["R6"] == 1
    assert desk.state.meter.orders_sent == 3
    assert any("3 fills in a row" in text for text in desk.said("blocked"))


def test_an_audit_that_sees_a_fill_ends_the_count() -> None:
    desk = Desk(limits=make.limits(repeated_same_side_fills=1))
    desk.float("+1")
    for number in range(3):
        desk.fill(desk.order, trade_id=2 * number + 1)
        audited(desk, str(D(-10) - number))
        desk.mark()
        desk.fill(desk.order, trade_id=2 * number + 2)
        audited(desk, str(D(-11) - number))
        desk.float("+1")
    assert blocked_by(desk) in ("", "audit"), "a lost fill now and then is no runaway"
    assert "R6" not in desk.state.meter.triggers
