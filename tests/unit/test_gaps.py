"""Certificates of gaps: what they hold, when they close, and what they leave by name. The session's word comes by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from streamhedge.domain.commands import Persist, QueryOrder
from streamhedge.domain.events import (
    BookStatusChanged,
    OpenOrders,
    OrderOutcome,
    OrderStatusAnswer,
    OutcomeKind,
    ResyncAsked,
    Tick,
)
from streamhedge.domain.order import Order, Report, Side
from streamhedge.domain.values import NS_PER_MS
from streamhedge.live.status import core_status
from streamhedge.reactor.state import Gap
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal


def lose(desk: Desk, reason: str = "the private stream closed", *, after_ms: int = 1_000) -> None:
    desk.take(BookStatusChanged(status="SUSPECT", reason=reason), ResyncAsked("snapshot"), after_ms=after_ms)


def mend(desk: Desk, position: str = "-10", *, wallet: str = "400000", after_ms: int = 200) -> Gap:
    desk.now_ms += after_ms
    found = make.snapshot(position, entry="67121.4", wallet=wallet, at_ms=desk.now_ms)
    desk.take(found, BookStatusChanged(status="LIVE", reason="snapshot taken, streams proven"))
    gap = desk.state.last_gap
    assert gap is not None and desk.state.gap is None
    return gap


def written(desk: Desk) -> list[dict[str, Any]]:
    return [c.fields for c in desk.commands if isinstance(c, Persist) and c.table == "gap"]


def unanswered(order: Order) -> OrderOutcome:
    said: dict[str, Any] = {"kind": OutcomeKind.IN_DOUBT, "report": Report.DOUBT, "message": "no answer"}
    rest: dict[str, Any] = {"status": 0, "code": 0, "filled": D(0), "order_id": None, "retry_after_ms": None}
    return OrderOutcome(client_order_id=order.client_order_id, **said, **rest)


@pytest.mark.fault("U1")
def test_a_gap_without_loss_closes_with_both_sides_named_and_nothing_left() -> None:
    desk = Desk()
    desk.take(make.account_update("-10", at_ms=desk.now_ms), after_ms=50)
    lose(desk)
    assert desk.state.gap is not None, "the book is SUSPECT as long as the certificate is open"
    assert desk.state.book_status.value == "SUSPECT"
    opened_ms = desk.now_ms
    gap = mend(desk)
    assert gap.causes == ["the private stream closed"]
    assert gap.before is not None and gap.before.event == "AccountUpdate"
    assert gap.before.recv_ns == (opened_ms - 1_000) * NS_PER_MS
    assert gap.before.event_time_ms == make.T0_MS
    assert (gap.opened_ns, gap.closed_ns) == (opened_ms * NS_PER_MS, desk.now_ms * NS_PER_MS)
    assert [(q.what, q.times, q.answered_ns) for q in gap.asked] == [("snapshot", 1, desk.now_ms * NS_PER_MS)]
    assert gap.found == [] and gap.residual == [] and gap.after is None
    desk.take(make.account_update("-10", at_ms=desk.now_ms + 5), after_ms=5_000)
    assert gap.after is not None and gap.after.recv_ns == desk.now_ms * NS_PER_MS, "the far side, whenever it comes"
    assert [row["closed_ns"] is None for row in written(desk)] == [True, False, False], "opened, closed, far side"


@pytest.mark.fault("U1")
def test_a_trade_nobody_told_of_is_found_and_named() -> None:
    desk = Desk()
    lose(desk)
    gap = mend(desk, "-9.5", wallet="399000")
    assert [(row.what, row.before, row.after) for row in gap.found] == [
        ("BTCUSDT", D(-10), D("-9.5")),
        ("USDT wallet", D(400_000), D(399_000)),
    ]
    assert any(text.startswith("BTCUSDT: +0.5 by no fill of ours") for text in gap.residual)
    assert any(text.startswith("USDT wallet: -1000 unclassified") for text in gap.residual)
    assert any("residual BTCUSDT: +0.5" in text for text in desk.said("certificate"))


def test_a_foreign_fill_told_inside_the_gap_explains_the_change() -> None:
    desk = Desk()
    lose(desk)
    desk.take(make.foreign_fill(Side.BUY, "0.5"), after_ms=10)
    assert mend(desk, "-9.5").residual == []


@pytest.mark.fault("U1")
def test_our_own_fill_settled_by_order_status_explains_the_change() -> None:
    desk = Desk()
    desk.float("1")
    order = desk.order
    desk.take(unanswered(order))
    lose(desk, after_ms=10)
    asked = desk.take(Tick(), after_ms=2_000)
    assert any(isinstance(command, QueryOrder) for command in asked.commands)
    answer = OrderStatusAnswer(
        client_order_id=order.client_order_id,
        found=True,
        inconclusive=False,
        report=Report.FILLED,
        filled=order.quantity,
        filled_quote=order.quantity * D("67121.4"),
        order_id=100,
        message="",
    )
    desk.take(answer, after_ms=10)
    gap = mend(desk, str(-10 - order.quantity))
    question = next(q for q in gap.asked if q.what == f"order.status {order.client_order_id}")
    assert question.answered_ns is not None
    assert gap.settled == [f"{order.client_order_id} FILLED, filled {order.quantity}"]
    assert gap.residual == []


def test_a_fill_whose_account_update_was_lost_is_ours_not_somebody_elses() -> None:
    desk = Desk()
    desk.float("1")
    order = desk.order
    desk.take(make.execution_report(order, last=str(order.quantity), at_ms=desk.now_ms), after_ms=5)
    lose(desk, after_ms=5)
    assert mend(desk, str(-10 - order.quantity)).residual == []


def test_an_order_still_in_doubt_and_a_list_not_answered_are_named_and_the_answer_takes_the_list_out() -> None:
    desk = Desk()
    desk.float("1")
    order = desk.order
    lose(desk, after_ms=10)
    desk.take(ResyncAsked("open_orders"))
    gap = mend(desk)
    assert [text.partition(":")[0] for text in gap.residual] == [order.client_order_id, "open_orders"]
    desk.take(OpenOrders(orders=()), after_ms=50)
    assert [text.partition(":")[0] for text in gap.residual] == [order.client_order_id]
    assert written(desk)[-1]["residual"] == gap.residual


def test_a_second_loss_inside_a_gap_is_the_same_gap_with_two_causes() -> None:
    desk = Desk()
    lose(desk, "the private stream closed")
    lose(desk, "a private frame was not understood")
    lose(desk, "a private frame was not understood")
    gap = mend(desk)
    assert gap.causes == ["the private stream closed", "a private frame was not understood"]
    lose(desk)
    assert mend(desk).number == gap.number + 1


def test_a_start_is_a_gap_and_claims_no_position_of_before() -> None:
    machine = Desk().machine
    assert machine.state.last_gap is None, "that one was told LIVE without a start"
    machine = make.reactor()
    machine.state.gaps = 7
    for number, event in enumerate(
        (make.setup(), BookStatusChanged("SYNCING", "waiting for a snapshot"), make.snapshot("-3"), make.live()), 1
    ):
        machine.react(number, make.T0_MS * NS_PER_MS + number, [event])
    gap = machine.state.last_gap
    assert gap is not None and gap.restart and gap.number == 8
    assert [(row.what, row.before, row.after) for row in gap.found] == [
        ("BTCUSDT", None, D(-3)),
        ("USDT wallet", None, D(400_000)),
    ]
    assert gap.residual == []


def test_status_shows_the_open_gap_and_then_the_one_closed_last() -> None:
    desk = Desk()
    assert core_status(desk.machine.core, 0)["gap"] is None
    lose(desk)
    shown = core_status(desk.machine.core, 0)["gap"]
    assert shown["closed_ns"] is None and shown["causes"] == ["the private stream closed"]
    mend(desk, "-9.5")
    shown = core_status(desk.machine.core, 0)["gap"]
    assert shown["closed_ns"] == desk.now_ms * NS_PER_MS and len(shown["residual"]) == 1
