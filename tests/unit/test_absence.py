"""An order in doubt that the venue does not know: closed only when the position, too, says that it never filled."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.commands import Persist
from streamhedge.domain.events import BookStatusChanged, OrderOutcome, OutcomeKind, Snapshot, Tick
from streamhedge.domain.order import Order, OrderStatus, Report, Side
from streamhedge.domain.values import NS_PER_MS
from streamhedge.reactor.orders import HIDDEN_MOST_NS, quarantine_ns
from tests.support import builders as make
from tests.support.desk import Desk
from tests.unit.test_refusals import accepted, raising, status_of

HIDDEN_MOST_MS = HIDDEN_MOST_NS // NS_PER_MS


def doubted(desk: Desk) -> Order:
    """Leave the desk's open order without an answer."""
    order = desk.order
    said: OrderOutcome = replace(accepted(order.client_order_id, report=Report.DOUBT), kind=OutcomeKind.IN_DOUBT)
    desk.take(said, after_ms=5)
    return order


def absent_twice(desk: Desk, order: Order) -> None:
    """Let the quarantine pass and the venue say twice that it does not know the order."""
    desk.take(Tick(), after_ms=quarantine_ns(desk.machine.core) // NS_PER_MS + 1)
    for _ in range(2):
        desk.take(status_of(order.client_order_id), after_ms=1_001)


def looked(desk: Desk, position: str) -> Snapshot:
    """A snapshot asked and answered now."""
    return make.snapshot(position, entry="67121.4", at_ms=desk.now_ms, audit=True)


def adopt(desk: Desk, position: str) -> None:
    """Two audits a second apart say what the venue holds."""
    for _ in range(2):
        desk.take(looked(desk, position), after_ms=1_100)


@pytest.mark.fault("O6")
def test_absence_closes_what_left_no_trace() -> None:
    desk = raising()
    order = doubted(desk)
    absent_twice(desk, order)
    desk.take(looked(desk, "-10"), after_ms=5)
    assert (order.status, order.filled) == (OrderStatus.ABSENT, 0)
    assert "the position agrees" in desk.said("settled")[0]


@pytest.mark.fault("O6", "O18")
def test_a_position_that_moved_speaks_for_a_fill_and_keeps_the_order_in_doubt() -> None:
    desk = raising()
    order = doubted(desk)
    absent_twice(desk, order)
    adopt(desk, "-11")
    desk.take(looked(desk, "-11"), after_ms=5)
    assert order.status is OrderStatus.IN_DOUBT and desk.mark(after_ms=100) == []
    (said,) = desk.said("may_have_filled")
    assert "-1" in said and order.client_order_id in said
    # The venue shows it at last.
    desk.take(status_of(order.client_order_id, report=Report.FILLED), after_ms=1_000)
    assert (order.status, order.filled) == (OrderStatus.FILLED, 1)


def test_what_others_are_known_to_have_filled_is_no_trace_of_ours() -> None:
    desk = raising()
    order = doubted(desk)
    desk.now_ms += 10
    stamp = {"event_time_ms": desk.now_ms, "transaction_time_ms": desk.now_ms}
    desk.take(make.account_update("-9.5", at_ms=desk.now_ms))
    desk.take(replace(make.foreign_fill(Side.BUY, "0.5"), **stamp))
    absent_twice(desk, order)
    desk.take(looked(desk, "-9.5"), after_ms=5)
    assert (order.status, order.filled) == (OrderStatus.ABSENT, 0)
    assert desk.said("may_have_filled") == []


def test_a_fill_that_hides_behind_a_foreign_one_is_seen() -> None:
    """0.5 bought by somebody else and 1 sold by ours: the position is where 0.5 sold would have left it."""
    desk = raising()
    order = doubted(desk)
    desk.now_ms += 10
    stamp = {"event_time_ms": desk.now_ms, "transaction_time_ms": desk.now_ms}
    desk.take(replace(make.foreign_fill(Side.BUY, "0.5"), **stamp))
    absent_twice(desk, order)
    adopt(desk, "-10.5")
    desk.take(looked(desk, "-10.5"), after_ms=5)
    assert order.status is OrderStatus.IN_DOUBT
    assert "-1" in desk.said("may_have_filled")[0]


@pytest.mark.parametrize("position", ["-11", "-9", "-12.5"])
def test_what_cannot_be_told_apart_ends_as_somebody_elses_trade_and_says_so(position: str) -> None:
    desk = raising()
    order = doubted(desk)
    absent_twice(desk, order)
    adopt(desk, position)
    desk.take(Tick(), after_ms=HIDDEN_MOST_MS)
    desk.take(status_of(order.client_order_id), after_ms=1_001)
    desk.take(looked(desk, position), after_ms=5)
    assert order.status is OrderStatus.ABSENT
    said = desk.said("settled")[0]
    assert "somebody else" in said and "the position agrees" not in said


@pytest.mark.fault("O18")
def test_a_ghost_of_it_is_counted_all_the_same() -> None:
    desk = raising()
    order = doubted(desk)
    absent_twice(desk, order)
    desk.take(looked(desk, "-10"), after_ms=5)
    assert order.status is OrderStatus.ABSENT
    desk.now_ms += 3_000
    desk.take(make.account_update("-11", at_ms=desk.now_ms))
    desk.take(make.execution_report(order, last="1", trade_id=5, at_ms=desk.now_ms))
    assert (order.status, order.filled) == (OrderStatus.FILLED, 1)
    assert desk.state.meter.ghosts == 1 and desk.said("ghost")


@pytest.mark.fault("U8", "A5")
@pytest.mark.parametrize("live", [True, False], ids=["by audits", "by a new snapshot"])
def test_what_the_venue_took_away_unseen_is_not_cut_again_while_an_order_is_in_doubt(live: bool) -> None:
    """Deleveraged from 10 to 4 with the events lost, a sale in doubt: no more than 4 is certainly there."""
    desk = raising()
    doubted(desk)
    if live:
        adopt(desk, "-4")
    else:
        desk.take(BookStatusChanged(status="SUSPECT", reason="the private stream closed"), after_ms=10)
        desk.take(replace(looked(desk, "-4"), audit=False), after_ms=10)
        desk.take(make.live(), after_ms=5)
    cut = Decimal(0)
    sent = desk.mark("152000") + desk.mark("152000", after_ms=1_000) + desk.mark("152000", after_ms=1_000)
    while sent:
        (order,) = [desk.state.orders[command.client_order_id] for command in sent]
        cut += order.quantity
        sent = desk.fill(order, trade_id=int(cut * 1000))
        sent += desk.mark("152000", after_ms=1_000)
    assert 0 < cut <= 4


@pytest.mark.fault("O6", "O18")
def test_a_position_of_before_the_fill_does_not_show_it_however_large() -> None:
    """A ghost as large as our order filled unseen; then ours fills too, and its answer overtakes the account update."""
    desk = raising()
    order = doubted(desk)
    adopt(desk, "-11")
    told = replace(status_of(order.client_order_id, report=Report.FILLED), update_time_ms=desk.now_ms + 900)
    desk.take(told, after_ms=1_000)
    assert (order.status, order.filled) == (OrderStatus.FILLED, 1)
    desk.mark(after_ms=1)
    assert desk.float("+1") == [] and not desk.state.open_ids, "the position may be -12 already"
    adopt(desk, "-12")
    assert desk.mark(after_ms=1_100) == [] and not desk.state.open_ids, "and it is"


def test_a_fill_that_the_position_shows_by_its_stamp_waits_for_nothing() -> None:
    desk = raising()
    order = doubted(desk)
    at_ms = desk.now_ms + 5
    desk.take(make.account_update("-11", at_ms=at_ms), after_ms=5)
    desk.take(replace(status_of(order.client_order_id, report=Report.FILLED), update_time_ms=at_ms), after_ms=1)
    assert desk.memory.exposure is None
    assert desk.float("+1"), "hedged at once"


@pytest.mark.fault("O6")
def test_a_refusal_that_comes_after_the_absence_rule_agrees_with_it() -> None:
    desk = raising()
    order = doubted(desk)
    absent_twice(desk, order)
    desk.take(looked(desk, "-10"), after_ms=5)
    assert order.status is OrderStatus.ABSENT
    late = replace(
        accepted(order.client_order_id, report=Report.REFUSED), kind=OutcomeKind.REFUSED, status=400, code=-2019
    )
    desk.take(late, after_ms=1)
    assert (order.status, order.error_code) == (OrderStatus.REFUSED, -2019)
    assert desk.said("refused") == [] and desk.said("late_refusal") == [], "no pause and no contradiction"


@pytest.mark.fault("O6", "P1")
def test_what_others_filled_is_written_for_the_run_that_comes_after() -> None:
    desk = raising()
    order = doubted(desk)
    reaction = desk.take(make.foreign_fill(Side.BUY, "0.5"), after_ms=1)
    rows = [c for c in reaction.commands if isinstance(c, Persist) and c.table == "order"]
    assert [(row.key, row.fields["beside"]) for row in rows] == [(order.client_order_id, "0.5")]
