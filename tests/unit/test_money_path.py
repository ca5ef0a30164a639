"""Sequences a hostile reader composed against the money path; each ends in a wrong position, or in none when one was due.

The truth is kept by hand: what the venue holds after the fills that really happened.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.commands import PlaceOrder, Reaction, RequestSnapshot
from streamhedge.domain.events import (
    AccountConfigUpdate,
    BookStatusChanged,
    Event,
    ExecutionReport,
    ListenKeyReady,
    OperatorVerb,
    OrderOutcome,
    OrderStatusAnswer,
    OutcomeKind,
    Quarantined,
    StreamOpened,
    Tick,
    VerbKind,
)
from streamhedge.domain.order import Order, OrderStatus, Report, Side
from streamhedge.domain.treasury import TradeLimits, TradeRequest, book_trade
from streamhedge.domain.values import NS_PER_MS, Asset, ClientOrderId, Symbol, TradeId, exact
from streamhedge.errors import CommandError
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State, trading_state
from streamhedge.rules.view import TradingState
from streamhedge.wire.outcomes import classify_order
from streamhedge.wire.session import MARKET, PRIVATE, WS_API, Session, SessionState
from tests.support import builders as make

D = Decimal


class Desk:
    """A reactor brought to LIVE with a float and its hedge, driven event by event."""

    def __init__(self, *, position: str = "-10", floats: str = "10", wallet: str = "400000", **said: object) -> None:
        self.machine = make.reactor(**said)
        self.state = self.machine.state
        self.now_ms = make.T0_MS
        self.seq = 0
        self.wallet = wallet
        self.take(make.setup())
        self.take(make.mark("67121.4", self.now_ms))
        self.take(make.snapshot(position, entry="67121.4", wallet=wallet, at_ms=self.now_ms))
        self.take(make.float_trade(floats, trade_id="ft-0"))
        self.take(make.live())

    def take(self, *events: Event, after_ms: int = 0) -> Reaction:
        self.now_ms += after_ms
        self.seq += 1
        with exact():
            reaction = self.machine.react(self.seq, self.now_ms * NS_PER_MS, list(events))
        make.check_invariants(self.machine)
        return reaction

    def sent(self, *events: Event, after_ms: int = 0) -> list[PlaceOrder]:
        return [c for c in self.take(*events, after_ms=after_ms).commands if isinstance(c, PlaceOrder)]

    def float(self, quantity: str) -> list[PlaceOrder]:
        return self.sent(make.float_trade(quantity, trade_id=f"ft-{self.seq}"), after_ms=10)

    def mark(self, price: str = "67121.4", *, after_ms: int = 100) -> list[PlaceOrder]:
        self.now_ms += after_ms
        return self.sent(make.mark(price, self.now_ms))

    def position(self, held: str, *, at_ms: int | None = None, wallet: str = "400000") -> list[PlaceOrder]:
        return self.sent(make.account_update(held, at_ms=at_ms or self.now_ms, wallet=wallet))

    def report(
        self, order: Order, last: str, *, trade: int, at_ms: int | None = None, **said: object
    ) -> list[PlaceOrder]:
        found = make.execution_report(order, last=last, trade_id=trade, at_ms=at_ms or self.now_ms, **said)  # type: ignore[arg-type]
        return self.sent(found)

    def snapshot(self, held: str, *, at_ms: int, requested_ms: int | None = None) -> list[PlaceOrder]:
        asked = (requested_ms or self.now_ms) * NS_PER_MS
        wallet = getattr(self, "wallet", "400000")
        return self.sent(
            make.snapshot(held, entry="67121.4", wallet=wallet, at_ms=at_ms, requested_ns=asked, audit=True)
        )

    def refused(self, order: Order, code: int, *, status: int = 400) -> list[PlaceOrder]:
        return self.sent(outcome(order, OutcomeKind.REFUSED, Report.REFUSED, code=code, status=status), after_ms=5)

    @property
    def memory(self):  # type: ignore[no-untyped-def]
        return self.machine.core.memory_of(make.BTCUSDT)

    @property
    def order(self) -> Order:
        return make.oldest_open(self.machine)


def outcome(
    order: Order, kind: OutcomeKind, report: Report, *, filled: str = "0", code: int = 0, status: int = 200
) -> OrderOutcome:
    return OrderOutcome(
        client_order_id=order.client_order_id,
        kind=kind,
        report=report,
        status=status,
        code=code,
        message="said",
        filled=D(filled),
        order_id=100 if kind is OutcomeKind.ACCEPTED else None,
        retry_after_ms=None,
    )


def found(order: Order, report: Report, filled: str) -> OrderStatusAnswer:
    return OrderStatusAnswer(
        client_order_id=order.client_order_id,
        found=True,
        inconclusive=False,
        report=report,
        filled=D(filled),
        filled_quote=D(filled) * D("67121.4"),
        order_id=100,
        message="",
    )


def foreign(side: Side, quantity: str, *, trade: int, at_ms: int) -> ExecutionReport:
    fill = make.foreign_fill(side, quantity, trade_id=trade)
    return replace(fill, transaction_time_ms=at_ms, event_time_ms=at_ms, report=Report.FILL)


# ---------------------------------------------------------------- double hedges


@pytest.mark.fault("U7")
def test_a_snapshot_between_two_fills_of_one_match_does_not_undo_the_second() -> None:
    desk = Desk()
    assert desk.float("+1")
    mine = desk.order
    asked_ms = desk.now_ms
    t = desk.now_ms = asked_ms + 5
    desk.position("-10.5", at_ms=t, wallet="399980")
    desk.report(mine, "0.5", trade=1, at_ms=t)
    desk.position("-11", at_ms=t, wallet="399960")
    desk.report(mine, "0.5", trade=2, cumulative="1", at_ms=t)
    assert mine.status is OrderStatus.FILLED and desk.memory.exposure is None
    desk.now_ms += 20
    again = desk.snapshot("-10.5", at_ms=t, requested_ms=asked_ms)
    assert again == [], "the venue holds -11 already: the answer was asked before both fills"


@pytest.mark.fault("P1")
def test_a_fill_found_after_a_restart_is_not_hedged_again_on_a_lagging_snapshot() -> None:
    first = Desk()
    first.float("+1")
    left_behind = replace(first.order, status=OrderStatus.IN_DOUBT)
    state = State(instance="7f3a91c2", epoch=2)
    state.orders[left_behind.client_order_id] = left_behind
    state.open_ids.append(left_behind.client_order_id)
    state.uncovered.append(left_behind.client_order_id)
    desk = Desk.__new__(Desk)
    desk.machine, desk.state, desk.now_ms, desk.seq = Reactor(state, make.policy()), state, first.now_ms + 900, 0
    old_ms = make.T0_MS
    desk.take(make.setup())
    desk.take(make.mark("67121.4", desk.now_ms))
    desk.take(make.float_trade("11", trade_id="ft-0"))
    desk.take(make.snapshot("-10", entry="67121.4", at_ms=old_ms, requested_ns=desk.now_ms * NS_PER_MS))
    desk.take(make.live())
    reaction = desk.take(found(left_behind, Report.FILLED, "1"), after_ms=300)
    assert any(isinstance(c, RequestSnapshot) for c in reaction.commands)
    again = desk.snapshot("-10", at_ms=old_ms)  # the replica lags: its row is older than the fill it does not show
    assert again == [], "1 BTC of the 11 wanted is filled: the venue holds -11"


@pytest.mark.fault("U7")
def test_one_lagging_snapshot_does_not_outweigh_a_reported_fill() -> None:
    desk = Desk()
    desk.float("+1")
    mine = desk.order
    desk.refused(mine, -1008, status=503)
    assert mine.status is OrderStatus.REFUSED
    desk.now_ms += 100
    desk.report(mine, "1", trade=1)  # the refusal was wrong: a ghost; its account update is late
    desk.sent(Tick(), after_ms=60)
    desk.sent(Tick(), after_ms=2_000)
    desk.mark(after_ms=10)
    again = desk.snapshot("-10", at_ms=make.T0_MS)
    assert again == [], "the report says that the venue holds -11"


@pytest.mark.fault("O2")
def test_a_duplicate_id_is_in_doubt_and_asked_about() -> None:
    told = classify_order(
        client_order_id=ClientOrderId("sh-7f3a91c2-1-000001"),
        status=400,
        headers={},
        body=b'{"code":-4116,"msg":"ClientOrderId is duplicated."}',
        sent=True,
        error="",
        now_ms=make.T0_MS,
    )
    assert told.kind is OutcomeKind.IN_DOUBT


@pytest.mark.fault("F4")
def test_a_float_trade_is_undone_once() -> None:
    bought = make.float_trade("1").trade
    book = [bought]
    for name in ("void-1", "void-2"):
        request = TradeRequest(
            kind=type(bought.kind).VOID,
            asset=Asset("BTC"),
            amount=D(0),
            trade_id=TradeId(name),
            quantity=None,
            price=None,
            reason="booked twice",
            confirmed=True,
            voids=bought.trade_id,
        )
        held = D(10) + sum((trade.quantity for trade in book), D(0))
        try:
            undone = book_trade(
                request,
                float_quantity=held,
                usd=D(0),
                mark_price=D("67121.4"),
                limits=TradeLimits(max_trade=D(10**9), price_collar=D("0.01")),
                time_ms=make.T0_MS,
                original=bought,
                voided_by=next((trade.trade_id for trade in book if trade.voids == bought.trade_id), None),
            )
        except CommandError:
            continue
        book.append(undone)
    assert sum((trade.quantity for trade in book), D(0)) == 0, "a second void sold a bitcoin that nobody sold"


# ---------------------------------------------------------------- latched off although all is well


@pytest.mark.fault("A1")
def test_a_foreign_sweep_of_one_millisecond_around_our_order_does_not_latch_the_symbol() -> None:
    desk = Desk()
    t = desk.now_ms = desk.now_ms + 1_000
    desk.mark(after_ms=0)
    desk.position("-9", at_ms=t, wallet="399990")
    assert desk.sent(foreign(Side.BUY, "1", trade=901, at_ms=t))
    mine = desk.order
    desk.position("-8", at_ms=t, wallet="399980")  # the second level of the same market order of a person
    desk.sent(foreign(Side.BUY, "1", trade=902, at_ms=t))
    desk.now_ms += 10
    desk.position("-9", wallet="399960")
    desk.report(mine, "1", trade=1)
    for _ in range(4):
        desk.mark(after_ms=1_100)
        if not desk.state.open_ids:
            desk.snapshot("-9", at_ms=t + 10)
    assert desk.memory.block is None, desk.memory.block.reason


@pytest.mark.fault("U8", "U15")
def test_two_snapshots_of_one_moment_are_one_disagreement() -> None:
    desk = Desk()
    desk.float("+1")
    mine = desk.order
    desk.take(outcome(mine, OutcomeKind.ACCEPTED, Report.FILLED, filled="1"), after_ms=5)
    desk.take(Tick(), after_ms=60)  # the stream is slower than the reply: a snapshot is asked
    desk.now_ms += 5
    asked_ms = desk.now_ms
    desk.snapshot("-10", at_ms=make.T0_MS, requested_ms=asked_ms)
    desk.snapshot("-10", at_ms=make.T0_MS, requested_ms=asked_ms + 1)  # ... and the audit of every 15 s falls here
    assert desk.memory.block is None, "two that disagree, at least 1 s apart (HEDGING 8)"


@pytest.mark.fault("A5")
def test_an_adl_lost_in_a_gap_while_our_order_was_under_way_does_not_latch_the_symbol() -> None:
    desk = Desk()
    desk.float("+1")
    mine = desk.order
    desk.take(BookStatusChanged(status="SUSPECT", reason="the private stream closed"), after_ms=10)
    # In the gap: our SELL 1 fills, ADL buys 4. The venue holds -7; neither event is ever replayed.
    t = desk.now_ms + 50
    desk.now_ms += 400
    desk.sent(make.snapshot("-7", entry="67121.4", at_ms=t, requested_ns=desk.now_ms * NS_PER_MS))
    desk.take(make.live())
    desk.take(found(mine, Report.FILLED, "1"), after_ms=300)
    for _ in range(4):
        desk.mark(after_ms=1_100)
        if not desk.state.open_ids and desk.memory.block is None:
            desk.snapshot("-7", at_ms=t)
    assert desk.memory.block is None, desk.memory.block.reason


def test_a_user_stream_slower_than_the_reply_does_not_block_the_slices_of_a_hedge() -> None:
    desk = Desk(hedges=(make.hedge_params(max_order_quantity=D(1)),), wallet="900000")
    held = D(-10)
    desk.float("+5")
    for _ in range(5):
        if not desk.state.open_ids:
            break
        mine = desk.order
        held -= mine.quantity
        desk.take(outcome(mine, OutcomeKind.ACCEPTED, Report.FILLED, filled=str(mine.quantity)), after_ms=5)
        t = desk.now_ms
        desk.take(Tick(), after_ms=60)
        desk.snapshot(str(held), at_ms=t)
        desk.now_ms += 100
        desk.position(str(held), at_ms=t)
        desk.mark(after_ms=10)
    assert desk.memory.block is None, desk.memory.block.reason
    assert held == D(-15)


# ---------------------------------------------------------------- nothing is sent although it could be


@pytest.mark.fault("A6")
def test_a_margin_refusal_of_a_raise_does_not_hold_the_ladder() -> None:
    desk = Desk(wallet="250000")
    desk.float("+0.5")
    for _ in range(7):
        if desk.state.open_ids:
            desk.refused(desk.order, -2019)
        desk.mark(after_ms=61_000)
        desk.snapshot("-10", at_ms=make.T0_MS)
    assert desk.state.open_ids, "the raise is tried once a minute"
    desk.refused(desk.order, -2019)
    cut = desk.mark("73350.0", after_ms=100) + desk.mark("73350.0", after_ms=1_000)
    assert [o for o in cut if o.reduce_only], "24.98 % from liquidation, and the ladder waits for a minute"


def test_a_margin_refusal_of_a_raise_does_not_hold_a_flatten() -> None:
    desk = Desk(wallet="250000")
    desk.float("+0.5")
    for _ in range(7):
        if desk.state.open_ids:
            desk.refused(desk.order, -2019)
        desk.mark(after_ms=61_000)
        desk.snapshot("-10", at_ms=make.T0_MS)
    desk.refused(desk.order, -2019)
    verb = OperatorVerb(kind=VerbKind.FLATTEN, symbol=make.BTCUSDT, reason="out", uid=7)
    sent = desk.sent(verb, after_ms=10) + desk.mark(after_ms=1_000)
    assert sent and sent[0].reduce_only, "a person's flatten waits for a minute"


def test_orders_that_fill_nothing_use_up_no_turnover() -> None:
    desk = Desk(limits=make.limits(max_turnover_per_day=D(1_000_000)))
    desk.float("+5")
    tried = 0
    for _ in range(12):
        if desk.state.open_ids:
            tried += 1
            mine = desk.order
            desk.sent(outcome(mine, OutcomeKind.ACCEPTED, Report.ENDED), after_ms=5)
        desk.mark(after_ms=4_100)
    assert tried >= 11, f"after {tried} empty IOCs nothing is tried any more: {desk.memory.blocked}"


@pytest.mark.fault("A4")
def test_a_leverage_that_is_right_again_ends_the_reducing() -> None:
    desk = Desk()
    high = AccountConfigUpdate(event_time_ms=desk.now_ms, symbol=make.BTCUSDT, leverage=20, multi_assets=None)
    desk.take(high)
    assert trading_state(desk.state) is TradingState.REDUCING
    desk.take(make.setup(), after_ms=1_000)  # read anew: leverage 3, the event of the way back was lost
    desk.sent(OperatorVerb(kind=VerbKind.RESUME, symbol=None, reason="leverage is 3", uid=7), after_ms=10)
    assert trading_state(desk.state) is TradingState.ACTIVE


# ---------------------------------------------------------------- the session


@pytest.mark.fault("U8")
def test_a_snapshot_asked_before_a_private_frame_was_lost_does_not_make_the_book_live() -> None:
    session = Session(SessionState(symbols=[Symbol("BTCUSDT")]))
    now = make.T0_MS * NS_PER_MS

    def step(event: Event, after_ms: int = 0) -> None:
        nonlocal now
        now += after_ms * NS_PER_MS
        session.step(event, now)

    step(Tick())
    step(ListenKeyReady(handle="lk1", renewed=False))
    for name in (MARKET, WS_API, PRIVATE):
        step(StreamOpened(stream=name, connection=session.state.links[name].next.number))  # type: ignore[union-attr]
    step(make.setup())
    step(make.mark("67121.4"))
    step(make.snapshot("-10", entry="67121.4", requested_ns=now))
    assert session.state.status == "LIVE"
    asked = now + NS_PER_MS
    step(Quarantined(source="private", private=True, reason="cut short", head="{"), after_ms=20)
    assert session.state.status == "SUSPECT"
    late = replace(make.snapshot("-10", entry="67121.4", requested_ns=asked), audit=True)
    step(late, after_ms=20)
    assert session.state.status == "SUSPECT", "what the lost frame said may be newer than this answer"


@pytest.mark.fault("U6", "O9")
def test_a_fill_told_by_the_status_answer_and_by_its_report_is_paid_for_once() -> None:
    desk = Desk()
    desk.float("+1")
    mine = desk.order
    desk.sent(outcome(mine, OutcomeKind.IN_DOUBT, Report.DOUBT, status=503), after_ms=5)
    desk.take(found(mine, Report.FILLED, "1"), after_ms=300)
    desk.now_ms += 50
    desk.position("-11")
    desk.report(mine, "1", trade=1)
    assert mine.filled_quote == D("67121.4") and mine.average_price == D("67121.4")
