"""The end of a run: no new order of any kind, what rests is cancelled, evidence is still asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamhedge.domain.commands import CancelOrder, PlaceOrder, QueryOrder
from streamhedge.domain.events import OperatorVerb, OutcomeKind, Stopping, Tick, VerbKind
from streamhedge.domain.order import OrderStatus, Report
from tests.support import builders as make
from tests.support.desk import Desk
from tests.unit.test_refusals import accepted, raising, status_of

STOP = Stopping(reason="SIGTERM")


def placed(desk: Desk) -> list[PlaceOrder]:
    return [command for command in desk.commands if isinstance(command, PlaceOrder)]


def test_nothing_is_decided_after_a_stop_and_the_reason_is_named() -> None:
    desk = Desk()
    desk.take(STOP, after_ms=10)
    assert desk.float("+1") == []
    for _ in range(50):
        assert desk.mark() == []
    assert desk.state.meter.orders_sent == 0 and len(desk.said("gate")) == 1, "said once, not in a loop"
    assert desk.memory.blocked is not None and desk.memory.blocked.cause == "stopping"
    assert "SIGTERM" in desk.memory.blocked.reason


def test_a_flatten_and_the_ladder_wait_for_the_next_start_too() -> None:
    desk = Desk()
    desk.take(STOP, after_ms=10)
    desk.take(OperatorVerb(VerbKind.FLATTEN, make.BTCUSDT, "out", 0), after_ms=10)
    assert desk.mark() == [] and placed(desk) == []
    cut = Desk(wallet="250000")
    cut.take(STOP, after_ms=10)
    assert cut.mark("74000") == [] and placed(cut) == []
    assert not cut.memory.paced, "no cut was made, so nothing is paced"


@pytest.mark.fault("P7")
def test_what_rests_is_cancelled_and_what_is_in_doubt_is_asked_for() -> None:
    desk = raising()
    order = desk.order
    desk.take(accepted(order.client_order_id, report=Report.ACCEPTED), after_ms=5)
    assert order.status is OrderStatus.WORKING
    reaction = desk.take(STOP, after_ms=5)
    assert [c.client_order_id for c in reaction.commands if isinstance(c, CancelOrder)] == [order.client_order_id]
    assert order.client_order_id in desk.said("stopping")[0]

    desk = raising()
    order = desk.order
    desk.take(replace(accepted(order.client_order_id, report=Report.DOUBT), kind=OutcomeKind.IN_DOUBT), after_ms=5)
    reaction = desk.take(STOP, after_ms=5)
    assert not [command for command in reaction.commands if isinstance(command, CancelOrder)], "it may not exist"
    asked = desk.take(Tick(), after_ms=1_000)
    assert [c.client_order_id for c in asked.commands if isinstance(c, QueryOrder)] == [order.client_order_id]
    before = len(placed(desk))
    desk.take(status_of(order.client_order_id, report=Report.ENDED), after_ms=10)
    assert order.status is OrderStatus.ENDED and desk.state.open_ids == []
    for _ in range(30):
        desk.mark()
    assert len(placed(desk)) == before, "it did not fill, and nobody tries again"
