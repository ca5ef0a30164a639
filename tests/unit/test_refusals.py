"""What a certain refusal leads to, code by code: how long nothing is sent, what is read again, what stops (FAULTS, head)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.canonical import digest
from streamhedge.domain.commands import Persist, QueryOrder, RequestSetup, RequestSnapshot, RequestTime
from streamhedge.domain.events import OperatorVerb, OrderOutcome, OrderStatusAnswer, OutcomeKind, Owner, Tick, VerbKind
from streamhedge.domain.order import OrderStatus, Report, Side
from streamhedge.domain.values import NS_PER_MS, ClientOrderId
from streamhedge.reactor.orders import (
    AUTHENTICATION_CODES,
    CLOSED_CODES,
    FILTER_CODES,
    REDUCE_ONLY_CODES,
    parse_client_order_id,
)
from streamhedge.reactor.state import RECENT_ORDERS, symbol_state, trading_state
from streamhedge.rules.view import SymbolState, TradingState
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal


def raising() -> Desk:
    """A desk with one raise on its way."""
    desk = Desk()
    assert desk.float("+1")
    return desk


def accepted(name: str, *, report: Report, filled: str = "0", names: str = "") -> OrderOutcome:
    return OrderOutcome(ClientOrderId(name), OutcomeKind.ACCEPTED, report, 200, 0, "", D(filled), 100, None, names)


def status_of(name: str, *, report: Report | None = None, inconclusive: bool = False) -> OrderStatusAnswer:
    filled = D(1) if report is Report.FILLED else D(0)
    quote = filled * D("67121.4")
    return OrderStatusAnswer(ClientOrderId(name), report is not None, inconclusive, report, filled, quote, 100, "")


# ---------------------------------------------------------------- each code's consequence


@pytest.mark.parametrize("code", AUTHENTICATION_CODES)
@pytest.mark.fault("X6")
def test_a_refused_key_halts_and_stays_halted_over_a_restart(code: int) -> None:
    desk = raising()
    reaction = desk.refuse(code, status=401)
    assert trading_state(desk.state) is TradingState.HALTED and str(code) in (desk.state.halted or "")
    kept = [c for c in reaction.commands if isinstance(c, Persist) and (c.table, c.key) == ("state", "halted")]
    assert kept and kept[0].fields["reason"] == desk.state.halted
    assert desk.mark(after_ms=120_000) == []


@pytest.mark.parametrize("code", [*FILTER_CODES, *CLOSED_CODES])
@pytest.mark.fault("O14")
def test_a_broken_filter_has_the_filters_read_again(code: int) -> None:
    reaction = raising().refuse(code)
    assert [c for c in reaction.commands if isinstance(c, RequestSetup)]


@pytest.mark.parametrize("code", REDUCE_ONLY_CODES)
@pytest.mark.fault("A8")
def test_a_symbol_the_venue_only_closes_is_reduce_only_for_a_minute(code: int) -> None:
    desk = raising()
    desk.refuse(code)
    assert symbol_state(desk.memory) is SymbolState.REDUCE_ONLY
    assert desk.mark(after_ms=59_000) == []
    assert desk.memory.blocked is not None and str(code) in desk.memory.blocked.reason
    assert desk.mark(after_ms=1_100), "it is tried again after 60 s"
    assert symbol_state(desk.memory) is SymbolState.OPEN


@pytest.mark.fault("A8")
def test_a_refusal_of_the_venue_does_not_end_an_operators_reduce() -> None:
    desk = raising()
    desk.take(OperatorVerb(kind=VerbKind.REDUCE, symbol=make.BTCUSDT, reason="look", uid=0), after_ms=1)
    desk.refuse(REDUCE_ONLY_CODES[0])
    assert desk.mark(after_ms=61_000) == []
    assert symbol_state(desk.memory) is SymbolState.REDUCE_ONLY and "look" in desk.memory.reduce_only


@pytest.mark.parametrize("code", [-2022, -4118, -2019])
@pytest.mark.fault("O10", "A6")
def test_a_refusal_that_doubts_our_position_or_margin_has_the_account_read(code: int) -> None:
    reaction = raising().refuse(code)
    assert [c for c in reaction.commands if isinstance(c, RequestSnapshot) and c.audit]


@pytest.mark.parametrize("code", [-1021, -5028])
@pytest.mark.fault("C1")
def test_a_refused_clock_has_the_time_asked(code: int) -> None:
    assert [c for c in raising().refuse(code).commands if isinstance(c, RequestTime)]


@pytest.mark.fault("O14")
def test_the_third_same_refusal_in_a_minute_blocks_for_a_minute_and_no_longer() -> None:
    desk = raising()
    for after_ms in (1_100, 2_100):
        desk.refuse(-4164)
        assert desk.memory.block is None
        assert desk.mark(after_ms=after_ms), "a new decision, a new id"
    desk.refuse(-4164)
    assert desk.memory.block is not None and not desk.memory.block.latched
    assert "3 orders in a minute: -4164" in desk.memory.block.reason
    assert desk.mark(after_ms=59_900) == []
    assert desk.mark(after_ms=100), "the block has ended by itself"
    assert "the block for refused has ended" in desk.said("unblocked")


def test_refusals_of_different_kinds_do_not_add_up() -> None:
    desk = raising()
    for code in (-4164, -1111, -4164, -1111):
        desk.refuse(code)
        assert desk.memory.block is None
        desk.mark(after_ms=4_100)


@pytest.mark.parametrize(
    ("code", "status", "said_ms", "waits_ms"),
    [
        (-1003, 429, 7_000, (7_000, 7_000)),
        (0, 503, None, (200, 400, 800, 800)),
        (-1008, 503, None, (1_000, 2_000)),
        (-2019, 400, None, (1_000, 2_000, 4_000, 8_000)),
    ],
)
@pytest.mark.fault("O3", "O13")
def test_the_next_try_comes_after_the_venues_word_or_a_doubling_pause(
    code: int, status: int, said_ms: int | None, waits_ms: tuple[int, ...]
) -> None:
    desk = raising()
    for wait_ms in waits_ms:
        desk.refuse(code, status=status, retry_after_ms=said_ms)
        assert desk.mark(after_ms=wait_ms - 1) == []
        assert desk.mark(after_ms=1)


# ---------------------------------------------------------------- answers that fit nothing


def test_an_answer_to_an_order_nobody_knows_changes_nothing() -> None:
    desk = raising()
    before = digest((desk.state.orders, desk.state.book, desk.state.floats))
    reaction = desk.take(accepted("sh-7f3a91c2-0-000999", report=Report.FILLED, filled="1"))
    assert desk.said("stray_reply") and desk.state.open_ids == [desk.order.client_order_id]
    assert not reaction.commands
    assert digest((desk.state.orders, desk.state.book, desk.state.floats)) == before


@pytest.mark.fault("O5")
def test_an_answer_that_names_another_order_halts() -> None:
    desk = raising()
    desk.take(accepted(desk.order.client_order_id, report=Report.ACCEPTED, names="sh-7f3a91c2-1-000009"), after_ms=5)
    assert "names order 'sh-7f3a91c2-1-000009'" in (desk.state.halted or "")
    assert desk.mark() == []


@pytest.mark.fault("X6")
def test_a_key_that_the_venue_refuses_for_an_order_halts_and_says_so_with_nothing_held() -> None:
    desk = raising()
    desk.take(make.account_update("0", at_ms=desk.now_ms + 1), after_ms=1)
    desk.refuse(-2015)
    assert "refuses the key (-2015" in (desk.state.halted or "")
    assert [text for text in desk.said("halted") if "refuses the key" in text], "loudly: the ladder is off from now on"


@pytest.mark.fault("O4")
def test_a_refusal_after_the_fill_was_reported_changes_nothing() -> None:
    desk = raising()
    order = desk.order
    desk.take(accepted(order.client_order_id, report=Report.ACCEPTED), after_ms=1)
    desk.refuse(-2019)
    assert desk.said("late_refusal") and order.status is OrderStatus.WORKING
    assert (desk.state.meter.refused, desk.memory.retry_after_ns) == (0, 0)


@pytest.mark.fault("O19")
def test_a_report_of_our_order_with_another_side_halts() -> None:
    desk = raising()
    report = make.execution_report(desk.order, last="0.5", at_ms=desk.now_ms)
    desk.take(replace(report, side=Side.BUY))
    assert "SELL 1 here and BUY 1 at the venue" in (desk.state.halted or "")


@pytest.mark.fault("A2")
def test_an_id_under_our_prefix_that_is_not_of_our_making_is_a_foreign_trade() -> None:
    for text in ("sh-7f3a91c2-1", "sh-7f3a91c2-x-000001", "sh-7f3a91c2-1-00000x", "web_sh-1-2-3"):
        assert parse_client_order_id(text) is None
    desk = Desk()
    fill = make.foreign_fill(Side.BUY, "1")
    odd = replace(fill, owner=Owner.OURS, client_order_id=ClientOrderId("sh-odd"), transaction_time_ms=desk.now_ms + 5)
    desk.take(odd, after_ms=5)
    assert desk.state.halted is None and desk.said("external"), "nobody's second hedger, somebody's trade"


def test_a_late_report_of_this_run_that_memory_forgot_is_no_second_hedger() -> None:
    fill = make.foreign_fill(Side.BUY, "1")
    for name, halts in (
        ("sh-7f3a91c2-1-000001", False),
        ("sh-7f3a91c2-2-000001", True),
        ("sh-00000000-1-000001", True),
    ):
        desk = Desk()
        desk.state.next_order = 2
        desk.take(replace(fill, owner=Owner.OURS, client_order_id=ClientOrderId(name)), after_ms=5)
        assert (desk.state.halted is not None) is halts, name


def test_an_older_run_of_ours_that_still_trades_halts_the_newer_one() -> None:
    """A container that was thought dead: what its last request may still do ends with the quarantine."""
    fill = replace(make.foreign_fill(Side.BUY, "1"), owner=Owner.OURS)
    for epoch, after_ms, halts in ((4, 4_900, False), (4, 5_100, True), (5, 5_100, False)):
        desk = Desk()
        desk.state.epoch, desk.state.next_order = 5, 2
        desk.state.meter.started_ns = desk.now_ms * NS_PER_MS
        name = ClientOrderId(f"sh-7f3a91c2-{epoch}-000001")
        at_ms = desk.now_ms + after_ms
        desk.take(replace(fill, client_order_id=name, transaction_time_ms=at_ms), after_ms=after_ms)
        assert (desk.state.halted is not None) is halts, (epoch, after_ms)
        if halts:
            assert "run 4" in (desk.state.halted or "") and "epoch 5" in (desk.state.halted or "")


@pytest.mark.fault("A2")
@pytest.mark.parametrize("instance", ["7f3a91c2", "00000000"], ids=["our own, elsewhere", "another"])
@pytest.mark.parametrize(("epoch", "halts"), [(4, False), (6, True)], ids=["older", "newer"])
def test_a_run_that_takes_over_goes_on_beside_an_older_one_and_halts_for_a_newer_one(
    instance: str, epoch: int, halts: bool
) -> None:
    desk = Desk()
    desk.state.epoch, desk.state.takeover = 5, True
    desk.state.meter.started_ns = desk.now_ms * NS_PER_MS
    fill = replace(make.foreign_fill(Side.BUY, "1"), owner=Owner.OURS, transaction_time_ms=desk.now_ms + 9_000)
    desk.take(replace(fill, client_order_id=ClientOrderId(f"sh-{instance}-{epoch}-000001")), after_ms=9_000)
    assert (desk.state.halted is not None) is halts
    assert bool(desk.said("takeover")) is not halts
    if not halts:
        assert f"instance {instance} epoch 4" in desk.said("takeover")[0] and desk.said("external"), "adopted"


@pytest.mark.fault("A2")
def test_a_takeover_does_not_excuse_books_that_lack_a_run() -> None:
    desk = Desk()
    desk.state.epoch, desk.state.previous_epoch, desk.state.takeover = 5, 2, True
    fill = replace(make.foreign_fill(Side.BUY, "1"), owner=Owner.OURS)
    desk.take(replace(fill, client_order_id=ClientOrderId("sh-7f3a91c2-4-000001")), after_ms=5)
    assert "older copy" in (desk.state.halted or "")


# ---------------------------------------------------------------- order.status


def test_doubt_is_told_and_counted_once_and_so_is_its_end() -> None:
    desk = raising()
    order = desk.order
    doubt = replace(accepted(order.client_order_id, report=Report.DOUBT), kind=OutcomeKind.IN_DOUBT)
    desk.take(doubt, after_ms=5)
    desk.take(doubt, after_ms=5)
    assert (desk.state.meter.doubted, len(desk.said("in_doubt"))) == (1, 1)
    assert order.sent_ns == order.decided_ns, "an answer, even none, says that it was sent"
    order.sent_ns = order.decided_ns + 7
    desk.take(doubt, after_ms=5)
    assert order.sent_ns == order.decided_ns + 7
    for _ in range(2):
        desk.take(status_of(order.client_order_id, report=Report.FILLED), after_ms=300)
    assert order.status is OrderStatus.FILLED and len(desk.said("settled")) == 1


@pytest.mark.fault("O1")
def test_an_answer_that_proves_nothing_leaves_the_order_in_doubt() -> None:
    desk = raising()
    order = desk.order
    desk.take(replace(accepted(order.client_order_id, report=Report.DOUBT), kind=OutcomeKind.IN_DOUBT), after_ms=5)
    for _ in range(10):
        desk.take(status_of(order.client_order_id, inconclusive=True), after_ms=10_000)
    assert order.status is OrderStatus.IN_DOUBT and order.absences == 0
    assert desk.state.open_ids == [order.client_order_id]


def test_not_found_says_nothing_of_an_order_that_has_ended() -> None:
    desk = raising()
    order = desk.order
    desk.fill(order, trade_id=1)
    desk.take(status_of(order.client_order_id), after_ms=10_000)
    assert order.status is OrderStatus.FILLED and order.absences == 0


@pytest.mark.fault("O6", "O18")
def test_a_working_order_that_a_ghost_report_revives_holds_the_symbol_until_it_ends() -> None:
    desk = raising()
    ghost = desk.order
    desk.refuse(-1008, status=503)
    report = make.execution_report(ghost, last="0.4", trade_id=1, at_ms=desk.now_ms + 5)
    desk.take(report, after_ms=5)
    assert ghost.status is OrderStatus.WORKING and ghost.client_order_id in desk.state.open_ids
    assert desk.state.meter.ghosts == 1
    assert desk.mark(after_ms=5_000) == [], "0.6 of it may still fill"


def test_a_status_that_says_filled_without_a_figure_counts_the_whole_quantity() -> None:
    desk = raising()
    order = desk.order
    desk.take(accepted(order.client_order_id, report=Report.FILLED), after_ms=5)
    assert (order.status, order.filled) == (OrderStatus.FILLED, order.quantity)


# ---------------------------------------------------------------- memory has a bound


def test_only_recent_orders_are_remembered_and_never_one_that_may_still_fill() -> None:
    desk = Desk(limits=make.limits(max_intents_per_symbol_per_minute=10_000, max_orders_per_minute=10_000))
    for number in range(RECENT_ORDERS + 20):
        desk.float("+0.01")
        desk.fill(desk.order, trade_id=number + 1)
        desk.mark(after_ms=10)
    desk.float("+0.01")
    assert len(desk.state.orders) == RECENT_ORDERS
    assert desk.order.client_order_id in desk.state.orders
    assert "sh-7f3a91c2-1-000001" not in desk.state.orders


@pytest.mark.fault("U6")
def test_a_trade_number_is_remembered_long_enough_and_not_for_ever() -> None:
    desk = Desk()
    most = 4 * RECENT_ORDERS
    for number in range(1, most + 50):
        desk.take(replace(make.foreign_fill(Side.BUY, "0.001", trade_id=number), symbol=make.Symbol("XRPUSDT")))
    assert len(desk.state.seen_trades) == most
    assert f"XRPUSDT:{most + 49}" in desk.state.seen_trades and "XRPUSDT:1" not in desk.state.seen_trades


@pytest.mark.fault("U6")
def test_an_order_remembers_its_own_trades_however_many_others_came_since() -> None:
    desk = raising()
    order = desk.order
    told = make.execution_report(order, last="1", cumulative="1", trade_id=7)
    desk.take(told)
    paid = order.filled_quote
    assert paid == told.last_quantity * told.last_price
    for number in range(1_000, 1_000 + 4 * RECENT_ORDERS):
        desk.take(replace(make.foreign_fill(Side.BUY, "0.001", trade_id=number), symbol=make.Symbol("XRPUSDT")))
    turnover = desk.state.meter.turnover
    desk.take(told)
    assert (order.filled_quote, order.trade_ids, desk.state.meter.turnover) == (paid, [7], turnover)


def test_an_order_still_planned_is_not_asked_about() -> None:
    desk = raising()
    reaction = desk.take(Tick(), after_ms=900)
    assert desk.order.status is OrderStatus.PLANNED and desk.order.sent_ns is None
    assert not [c for c in reaction.commands if isinstance(c, QueryOrder)]
    desk.order.sent_ns = desk.now_ms * NS_PER_MS
    desk.order.status = OrderStatus.IN_DOUBT
    asked = desk.take(Tick(), after_ms=260)
    assert [c for c in asked.commands if isinstance(c, QueryOrder)]
