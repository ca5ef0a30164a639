"""States, stops and limits on the live path: each control is tripped through the reactor and seen in what it sends."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.commands import CancelOrder, FollowSymbol, PlaceOrder, Reaction, RequestSnapshot
from streamhedge.domain.events import (
    AccountConfigUpdate,
    ContractInfo,
    Event,
    ManualOrder,
    OpenOrder,
    OpenOrders,
    OperatorVerb,
    OrderStatusAnswer,
    Owner,
    Tick,
    VerbKind,
)
from streamhedge.domain.order import Order, OrderStatus, OrderType, Purpose, Report, Side
from streamhedge.domain.values import NS_PER_MS, ClientOrderId, Symbol, exact
from streamhedge.reactor.state import symbol_state, trading_state
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.view import SymbolState, TradingState
from tests.support import builders as make

D = Decimal
ETHUSDT = Symbol("ETHUSDT")


class Desk:
    """A reactor brought to LIVE with a float and its hedge, driven by hand."""

    def __init__(self, *, position: str = "-10", floats: str = "10", wallet: str = "400000", **said: object) -> None:
        self.machine = make.reactor(**said)
        self.state = self.machine.state
        self.now_ms = make.T0_MS
        self.seq = 0
        self.trade = 0
        self.notes: list[str] = []
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
        self.notes += [f"{note.code}: {note.text}" for note in reaction.notes]
        return reaction

    def orders(self, *events: Event, after_ms: int = 0) -> list[PlaceOrder]:
        return [c for c in self.take(*events, after_ms=after_ms).commands if isinstance(c, PlaceOrder)]

    def mark(self, price: str = "67121.4", *, after_ms: int = 100, index: str | None = None) -> list[PlaceOrder]:
        self.now_ms += after_ms
        return self.orders(make.mark(price, self.now_ms, index=index))

    def fill(self, *, price: str = "67121.4", part: str | None = None) -> list[PlaceOrder]:
        """Fill our oldest open order and tell the position first, as the venue does."""
        order = make.oldest_open(self.machine)
        self.trade += 1
        quantity = D(part) if part is not None else order.quantity
        before = self.state.book.quantity(order.symbol)
        after = before + order.side.sign * quantity
        sent = self.orders(make.account_update(str(after), at_ms=self.now_ms), after_ms=2)
        report = make.execution_report(
            order, last=str(quantity), price=price, trade_id=self.trade, at_ms=self.now_ms, report=Report.FILLED
        )
        return sent + self.orders(report)

    def verb(self, kind: VerbKind, symbol: Symbol | None = None) -> list[PlaceOrder]:
        return self.orders(OperatorVerb(kind=kind, symbol=symbol, reason="test", uid=7), after_ms=10)

    def float(self, quantity: str) -> list[PlaceOrder]:
        self.trade += 1
        return self.orders(make.float_trade(quantity, trade_id=f"ft-{self.trade}"), after_ms=10)

    @property
    def memory(self):  # type: ignore[no-untyped-def]
        return self.machine.core.memory_of(make.BTCUSDT)


# ---------------------------------------------------------------- global states


@pytest.mark.fault("K6")
def test_halted_sends_nothing_and_says_the_ladder_is_off_each_minute() -> None:
    desk = Desk()
    desk.verb(VerbKind.HALT)
    assert trading_state(desk.state) is TradingState.HALTED
    assert desk.float("+1") == []
    assert desk.mark("90000", after_ms=1_000) == desk.mark("90000", after_ms=1_000) == []
    desk.take(Tick(), after_ms=61_000)
    assert any(note.startswith("halted: HALTED") and "ladder is off" in note for note in desk.notes)
    desk.mark()
    desk.mark()  # two that agree: a mark that jumped by a third waits for the next
    assert desk.verb(VerbKind.RESUME) != [], "the bought bitcoin is hedged once a person resumes"


def test_reducing_sends_only_reductions() -> None:
    desk = Desk()
    desk.verb(VerbKind.REDUCE)
    assert desk.float("+1") == []
    desk.mark()
    (order,) = desk.float("-3")
    assert order.reduce_only and order.side is Side.BUY and order.quantity == D(2)


def test_one_symbol_can_be_reduce_only() -> None:
    desk = Desk()
    desk.verb(VerbKind.REDUCE, make.BTCUSDT)
    assert symbol_state(desk.memory) is SymbolState.REDUCE_ONLY
    assert trading_state(desk.state) is TradingState.ACTIVE
    assert desk.float("+1") == []
    assert desk.memory.blocked is not None and "REDUCE_ONLY" in desk.memory.blocked.reason
    assert [order.reduce_only for order in desk.float("-3")] == [True]


def test_a_halted_symbol_is_latched_and_its_ladder_off() -> None:
    desk = Desk(wallet="250000")
    desk.verb(VerbKind.HALT, make.BTCUSDT)
    assert symbol_state(desk.memory) is SymbolState.BLOCKED
    assert desk.mark("73350", after_ms=1_000) == []
    assert desk.mark("73350", after_ms=1_000) == []
    assert desk.verb(VerbKind.RESUME, make.BTCUSDT)[0].reduce_only, "the ladder cuts at once"


# ---------------------------------------------------------------- flatten


@pytest.mark.parametrize("halted", [False, True])
@pytest.mark.fault("K4", "O11")
def test_flatten_closes_in_reduce_only_slices_even_while_halted_and_stays_flat(halted: bool) -> None:
    desk = Desk(limits=make.limits(max_order_notional=D(300_000)))
    if halted:
        desk.verb(VerbKind.HALT)
    sent = desk.verb(VerbKind.FLATTEN, make.BTCUSDT)
    closed = D(0)
    while sent:
        (order,) = sent
        assert order.type is OrderType.MARKET and order.reduce_only and order.side is Side.BUY
        assert order.quantity * D("67121.4") <= 300_000
        closed += order.quantity
        sent = desk.fill()
    assert closed == D(10) and desk.state.book.quantity(make.BTCUSDT) == 0
    assert desk.mark() == [] and desk.float("+1") == [], "flat stays flat until a person resumes"
    assert desk.memory.blocked is not None and desk.memory.blocked.cause == "flatten"
    desk.mark()
    resumed = desk.verb(VerbKind.RESUME)
    assert [order.side for order in resumed] == [Side.SELL]


# ---------------------------------------------------------------- limits


@pytest.mark.fault("S5", "C4")
def test_a_late_loop_raises_nothing_but_still_reduces() -> None:
    desk = Desk()
    desk.take(Tick(lag_ms=400))
    assert desk.float("+1") == []
    assert desk.orders(Tick(lag_ms=0), after_ms=100) != []


def test_a_refusal_of_the_gate_is_told_once_and_named_as_the_block() -> None:
    desk = Desk(limits=make.limits(max_turnover_per_day=D(1_000)))
    assert desk.float("+1") == []
    for _ in range(20):
        assert desk.mark() == []
    assert sum(note.startswith("gate:") for note in desk.notes) == 1
    assert desk.memory.blocked is not None and "R8 turnover" in desk.memory.blocked.reason


def test_what_our_trading_costs_in_a_day_stops_raising_and_never_the_shorts_own_loss() -> None:
    desk = Desk(limits=make.limits(hedge_loss_per_day=D(50)))
    for price in ("67200", "67300", "67400"):
        desk.mark(price, after_ms=1_000)
    assert trading_state(desk.state) is TradingState.ACTIVE, "the short has lost 2 786 USDT, and the float gained it"
    desk.float("+1")
    desk.fill(price="67300")  # 100 USDT below the mark
    assert trading_state(desk.state) is TradingState.REDUCING
    assert "hedge_loss_per_day" in desk.state.reducing["hedge_loss"]
    day_ms = 86_400_000
    desk.take(Tick(), after_ms=day_ms - desk.now_ms % day_ms + 1)
    assert trading_state(desk.state) is TradingState.ACTIVE, "a new day"


@pytest.mark.fault("M4")
def test_naked_above_the_limit_alarms_and_stops_no_hedge() -> None:
    desk = Desk(limits=make.limits(max_naked=D(50_000), max_short_ratio=D(1)), ladder=make.ladder_params())
    desk.verb(VerbKind.REDUCE)
    desk.float("+2")
    assert any(note.startswith("max_naked:") for note in desk.notes)
    desk.mark()
    assert [order.quantity for order in desk.verb(VerbKind.RESUME)] == [D(2)]


@pytest.mark.fault("A1")
def test_a_short_far_above_what_is_allowed_is_reducing_and_the_correction_passes() -> None:
    desk = Desk()
    desk.verb(VerbKind.HALT)
    at_ms = desk.now_ms + 1
    fill = replace(make.foreign_fill(Side.SELL, "5"), transaction_time_ms=at_ms)
    desk.take(fill, make.account_update("-15", at_ms=at_ms), after_ms=1)
    desk.mark()
    assert any("above 110 %" in reason for reason in desk.state.reducing.values())
    (order,) = desk.verb(VerbKind.RESUME)
    assert order.side is Side.BUY and order.reduce_only and order.quantity == D(5)


def test_an_unrealised_loss_is_an_alarm_with_the_floats_gain_beside_it() -> None:
    desk = Desk(wallet="900000")
    desk.mark("68200", after_ms=1_000)
    (note,) = [text for text in desk.notes if text.startswith("unrealised_loss")]
    assert "-10786.00" in note and "the float gained 10786" in note
    desk.mark("68300", after_ms=1_000)
    assert sum(text.startswith("unrealised_loss") for text in desk.notes) == 1


# ---------------------------------------------------------------- effectiveness


@pytest.mark.fault("K3")
def test_a_fill_that_leads_away_from_its_target_blocks_the_symbol_for_good() -> None:
    """The gap after the fill must be smaller than the gap before it; a sign error stops after one order."""
    desk = Desk(position="-9")
    order = make.oldest_open(desk.machine)
    order.target = D("-8")  # as if the rule had sold where it should have bought
    desk.fill()
    assert desk.memory.block is not None and desk.memory.block.latched
    assert desk.float("+1") == [] and desk.mark() == []
    desk.verb(VerbKind.RESUME)
    assert desk.memory.block is not None, "a global resume does not lift a latched block"
    desk.verb(VerbKind.RESUME, make.BTCUSDT)
    assert desk.memory.block is None


@pytest.mark.fault("K3")
def test_partial_fills_buys_manual_trades_and_adl_never_trip_the_effectiveness_check() -> None:
    desk = Desk()
    for quantity in ("+1", "+1", "+1", "+1", "+1"):
        assert desk.float(quantity)
        desk.fill()
    assert desk.float("+1")
    order = make.oldest_open(desk.machine)
    desk.take(make.foreign_fill(Side.BUY, "0.5", trade_id=901))
    desk.take(make.account_update("-14.5", at_ms=desk.now_ms + 1), after_ms=1)
    desk.fill(part="0.4")
    assert desk.memory.block is None, desk.memory.block
    assert order.filled == D("0.4")


# ---------------------------------------------------------------- what shares the margin


@pytest.mark.fault("U12")
def test_a_position_elsewhere_is_followed_and_nothing_is_raised_before_its_margin_is_known() -> None:
    desk = Desk(wallet="2000000")
    update = make.account_update("-10", wallet="2000000", at_ms=desk.now_ms + 1)
    row = replace(update.positions[0], symbol=ETHUSDT, quantity=D(-150), entry_price=D(2_500))
    reaction = desk.take(replace(update, positions=(*update.positions, row)), after_ms=1)
    assert FollowSymbol(ETHUSDT) in reaction.commands
    assert desk.float("+1") == []
    assert desk.memory.hold == "stale"
    eth = replace(make.instrument(ETHUSDT), base_asset=make.Asset("ETH"))
    desk.take(replace(make.setup(), instruments=(eth,)), after_ms=50)
    desk.now_ms += 50
    sent = desk.orders(replace(make.mark("2500", desk.now_ms), symbol=ETHUSDT))
    assert [order.quantity for order in sent] == [D(1)], "now it is raised"


# ---------------------------------------------------------------- contracts that cannot carry a hedge


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"status": "SETTLING"}, "contract status of BTCUSDT is SETTLING"),
        ({"contract_type": "TRADIFI_PERPETUAL"}, "is a TRADIFI_PERPETUAL"),
        ({"margin_asset": "USDC"}, "is margined in USDC"),
        ({"base_asset": "ETH"}, "is a contract on ETH"),
    ],
)
@pytest.mark.fault("A8")
def test_an_unfit_contract_blocks_until_it_fits(said: dict[str, str], words: str) -> None:
    desk = Desk()
    bad = replace(make.setup(), instruments=(replace(make.instrument(), **said),))
    desk.take(bad)
    assert desk.memory.block is not None and words in desk.memory.block.reason
    assert desk.float("+1") == []
    desk.mark()
    assert desk.orders(make.setup()) != []


@pytest.mark.fault("A8")
def test_contract_news_blocks_at_once_and_lifts_again() -> None:
    desk = Desk()
    news = ContractInfo(make.BTCUSDT, "PERPETUAL", "PRE_SETTLE", None, desk.now_ms)
    desk.take(news)
    assert desk.float("+1") == []
    assert [o.quantity for o in desk.orders(replace(news, status="TRADING"))] == [D(1)]


def test_an_isolated_hedge_inside_its_own_ladder_is_refused_with_the_arithmetic() -> None:
    desk = Desk(position="0", floats="0", hedges=(make.hedge_params(isolated=True, leverage=4),))
    isolated = replace(make.setup(), isolated={make.BTCUSDT: True})
    desk.take(isolated)
    assert desk.memory.block is not None
    assert "opens at" in desk.memory.block.reason and "below reopen" in desk.memory.block.reason


# ---------------------------------------------------------------- orders that rest, jump, or come from before


@pytest.mark.fault("O8", "O17")
def test_a_resting_order_of_ours_is_cancelled_and_a_foreign_one_left_alone() -> None:
    desk = Desk()
    rows = tuple(
        OpenOrder(make.BTCUSDT, ClientOrderId(name), owner, Side.SELL, D(1), D(0), D(70_000), False)
        for name, owner in (("sh-7f3a91c2-1-000009", Owner.OURS), ("web_1", Owner.FOREIGN))
    )
    reaction = desk.take(OpenOrders(rows))
    assert [c.client_order_id for c in reaction.commands if isinstance(c, CancelOrder)] == ["sh-7f3a91c2-1-000009"]
    assert any(note.startswith("foreign_order") and "left alone" in note for note in desk.notes)


@pytest.mark.fault("U11")
def test_a_position_that_jumps_by_more_than_any_order_waits_for_a_second_snapshot() -> None:
    """An empty answer of a lagging replica must not have the whole hedge sold again."""
    desk = Desk(hedges=(make.hedge_params(max_order_quantity=D(4)),))
    empty = replace(make.snapshot("0", wallet="400000", at_ms=desk.now_ms), positions=())
    empty = replace(empty, requested_ns=(desk.now_ms + 1) * NS_PER_MS)
    assert desk.orders(empty, after_ms=5) == []
    assert desk.mark() == []
    asked = [c for _ in range(12) for c in desk.take(Tick(), after_ms=100).commands if isinstance(c, RequestSnapshot)]
    assert asked, "a second snapshot is asked a second later"
    right = make.snapshot("-10", entry="67121.4", wallet="400000", at_ms=desk.now_ms)
    assert desk.orders(replace(right, requested_ns=desk.now_ms * NS_PER_MS), after_ms=5) == []
    assert desk.mark() == [], "it was the replica: the hedge is whole"


def recovered(desk: Desk, *, side: Side = Side.SELL, quantity: str = "1") -> Order:
    """Put an order of an earlier run into the state, as recovery does."""
    name = ClientOrderId("sh-7f3a91c2-0-000001")
    order = Order(
        client_order_id=name,
        symbol=make.BTCUSDT,
        side=side,
        quantity=D(quantity),
        type=OrderType.LIMIT,
        price=D("66450.2"),
        time_in_force=None,
        reduce_only=False,
        purpose=Purpose.HEDGE,
        decided_seq=1,
        decided_ns=(desk.now_ms - 500) * NS_PER_MS,
        target=D(-10),
        position_before=D(-9),
        decision_mark=D("67121.4"),
        reason="an earlier run",
        status=OrderStatus.IN_DOUBT,
    )
    desk.state.orders[name] = order
    desk.state.open_ids.append(name)
    desk.state.uncovered.append(name)
    return order


@pytest.mark.fault("P1")
def test_an_order_of_an_earlier_run_keeps_the_hedge_silent_and_its_report_waits_for_the_position() -> None:
    desk = Desk(position="-9", floats="9")
    order = recovered(desk)
    assert desk.float("+1") == [], "it may have been this very hedge"
    report = make.execution_report(order, last="1", trade_id=77, at_ms=desk.now_ms + 1)
    assert desk.orders(report, after_ms=1) == [], "the position that shows it is still on its way"
    assert desk.orders(make.account_update("-10", at_ms=desk.now_ms), after_ms=1) == []
    assert desk.state.uncovered == [] and order.status is OrderStatus.FILLED
    assert desk.mark() == []


@pytest.mark.fault("P1")
def test_an_earlier_order_settled_by_status_needs_a_snapshot_before_the_next_decision() -> None:
    desk = Desk(position="-9", floats="9")
    order = recovered(desk)
    desk.float("+1")
    answer = OrderStatusAnswer(order.client_order_id, True, False, Report.FILLED, D(1), D("67121.4"), 9, "")
    reaction = desk.take(answer, after_ms=300)
    assert any(isinstance(c, RequestSnapshot) for c in reaction.commands)
    assert desk.mark() == [], "the fill is known, the position is not: selling again would double it"
    shown = make.snapshot("-10", entry="67121.4", wallet="400000", at_ms=desk.now_ms, audit=True)
    assert desk.orders(replace(shown, requested_ns=desk.now_ms * NS_PER_MS), after_ms=10) == []
    assert desk.mark() == []


# ---------------------------------------------------------------- by hand


def manual_params(**said: object) -> HedgeParams:
    return make.hedge_params(
        asset=make.Asset("ETH"), symbol=ETHUSDT, ratio=D(0), max_short=D(100), max_order_quantity=D(50), **said
    )


def by_hand(side: Side, quantity: str, *, reduce_only: bool) -> ManualOrder:
    return ManualOrder(ETHUSDT, side, D(quantity), reduce_only, "test", 7)


def test_an_order_by_hand_needs_a_table_and_passes_the_same_gate() -> None:
    desk = Desk()
    assert desk.orders(by_hand(Side.SELL, "10", reduce_only=False)) == []
    assert any("no [[manual]] table names ETHUSDT" in note for note in desk.notes)

    desk = Desk(manual=(manual_params(),))
    eth = replace(make.instrument(ETHUSDT), base_asset=make.Asset("ETH"))
    desk.take(replace(make.setup(), instruments=(make.instrument(), eth)))
    desk.now_ms += 10
    desk.take(replace(make.mark("2500", desk.now_ms), symbol=ETHUSDT))
    desk.machine.core.memory_of(ETHUSDT).position_trusted = True
    (order,) = desk.orders(by_hand(Side.SELL, "10", reduce_only=False))
    assert (order.side, order.quantity, order.reduce_only) == (Side.SELL, D(10), False)
    assert desk.orders(by_hand(Side.SELL, "10", reduce_only=False)) == [], "one at a time"
    assert any("R5 single" in note for note in desk.notes)


def test_a_leverage_too_high_on_a_symbol_traded_by_hand_rings_and_stops_no_hedge() -> None:
    desk = Desk(manual=(manual_params(isolated=True),))
    eth = replace(make.instrument(ETHUSDT), base_asset=make.Asset("ETH"))
    said = replace(make.setup(), instruments=(make.instrument(), eth))
    desk.take(replace(said, leverage={make.BTCUSDT: 3, ETHUSDT: 20}, isolated={make.BTCUSDT: False, ETHUSDT: True}))
    desk.now_ms += 10
    desk.take(replace(make.mark("2500", desk.now_ms), symbol=ETHUSDT))
    desk.machine.core.memory_of(ETHUSDT).position_trusted = True
    assert trading_state(desk.state) is TradingState.ACTIVE and desk.state.meter.triggers["R9"] == 1
    (alarm,) = [note for note in desk.notes if "max_leverage" in note]
    assert "leverage of ETHUSDT is 20, above max_leverage 5" in alarm
    assert desk.orders(by_hand(Side.SELL, "1", reduce_only=False)) == []
    assert "R9 leverage" in desk.notes[-1], "what would raise there is refused"
    desk.now_ms += 10
    assert desk.orders(make.mark("67121.4", desk.now_ms), make.float_trade("+1", trade_id="ft-1")), "the hedge goes on"
    desk.take(AccountConfigUpdate(desk.now_ms, ETHUSDT, 5, None))
    assert "inside max_leverage again" in desk.notes[-1]
    desk.take(AccountConfigUpdate(desk.now_ms, make.BTCUSDT, 20, None))
    assert trading_state(desk.state) is TradingState.REDUCING, "on a hedge's own symbol nothing is raised"
    desk.take(AccountConfigUpdate(desk.now_ms, make.BTCUSDT, 5, None))
    assert trading_state(desk.state) is TradingState.ACTIVE


def test_an_order_by_hand_stays_inside_its_own_limits() -> None:
    desk = Desk(manual=(manual_params(),))
    eth = replace(make.instrument(ETHUSDT), base_asset=make.Asset("ETH"))
    desk.take(replace(make.setup(), instruments=(make.instrument(), eth)))
    desk.now_ms += 10
    desk.take(replace(make.mark("2500", desk.now_ms), symbol=ETHUSDT))
    desk.machine.core.memory_of(ETHUSDT).position_trusted = True
    assert desk.orders(by_hand(Side.SELL, "51", reduce_only=False)) == []
    assert any("R1 size" in note for note in desk.notes)
    assert desk.orders(by_hand(Side.BUY, "1", reduce_only=True)) == [], "nothing to reduce"
