"""Several hedges on one margin: one share scales them all, whichever tick comes first (HEDGING §2, §3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import permutations

import pytest

from streamhedge.domain.commands import Command, PlaceOrder
from streamhedge.domain.events import Event, MarkPriceUpdate, Snapshot, SnapshotPosition
from streamhedge.domain.instrument import Instrument
from streamhedge.domain.values import NS_PER_MS, Asset, Symbol, exact
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import Block
from streamhedge.rules.hedge import decide_hedge, raisable_size, share_of_margin, short_size
from streamhedge.rules.limits import GateContext
from streamhedge.rules.may_buy import may_buy
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.view import HedgeView, Leg, Peer
from tests.support import builders as make
from tests.support.views import view

D = Decimal
ETHUSDT = Symbol("ETHUSDT")
IDLE = GateContext(
    intents_last_minute=0, orders_last_minute=0, open_intents=0, turnover_today=D(0), ladder_latched_off=False
)
PRICES = {make.BTCUSDT: D(75_000), ETHUSDT: D(2_500)}
WANTED = {make.BTCUSDT: D(5), ETHUSDT: D(150)}
SHARES = {make.BTCUSDT: D("4.798"), ETHUSDT: D("143.947")}
"""0.959652 of each; 143.948 is the nearest step, the hedge takes the one below."""


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def contract(symbol: Symbol) -> Instrument:
    """Return a contract without fees: the worked figures leave them aside."""
    asset = Asset(symbol.removesuffix("USDT"))
    return replace(make.instrument(symbol), base_asset=asset, taker_fee_rate=D(0))


def hedge_of(symbol: Symbol, **said: object) -> HedgeParams:
    asset = Asset(symbol.removesuffix("USDT"))
    fields = {"asset": asset, "symbol": symbol, "max_short": D(1_000), "max_order_quantity": D(1_000), **said}
    return make.hedge_params(**fields)


def seen(symbol: Symbol, held: dict[Symbol, Decimal], *, wallet: int = 220_000) -> HedgeView:
    """Return one of the two hedges beside the other, as the reactor shows them."""
    (other,) = (name for name in PRICES if name != symbol)
    legs = ()
    if held.get(other):
        legs = (Leg(other, -held[other], PRICES[other], PRICES[other], contract(other), cuts=True),)
    return view(
        params=hedge_of(symbol),
        instrument=contract(symbol),
        float_quantity=WANTED[symbol],
        position=-held.get(symbol, D(0)),
        entry_price=PRICES[symbol],
        mark_price=PRICES[symbol],
        wallet=D(wallet),
        available=D(10) ** 9,
        others=legs,
        peers=(Peer(other, WANTED[other], PRICES[other], contract(other)),),
    )


@pytest.mark.parametrize("order", list(permutations(PRICES)), ids=" first, ".join)
def test_one_share_scales_both_whichever_tick_comes_first(order: tuple[Symbol, ...]) -> None:
    held: dict[Symbol, Decimal] = {}
    for symbol in order:
        alone = seen(symbol, held)
        verdict = decide_hedge(alone)
        assert verdict.draft is not None
        assert (symbol, verdict.draft.quantity) == (symbol, SHARES[symbol])
        without = decide_hedge(replace(alone, peers=()))
        if symbol == order[0]:
            assert without.draft is not None and without.draft.quantity == WANTED[symbol], "it would have taken all"
        held[symbol] = verdict.draft.quantity
    for symbol in order:
        assert decide_hedge(seen(symbol, held)).draft is None, "and there it stays"


def test_the_share_is_that_of_the_worked_example() -> None:
    large = {
        symbol: replace(seen(symbol, {}), instrument=replace(contract(symbol), step_size=D("0.000001")))
        for symbol in PRICES
    }
    assert share_of_margin(large[make.BTCUSDT], capped=D(5)) == D("4.798259"), "0.959652 of 5"
    assert share_of_margin(large[ETHUSDT], capped=D(150)) == D("143.947797"), "and of 150"


def test_a_margin_that_carries_all_limits_nobody() -> None:
    for symbol, wanted in WANTED.items():
        assert share_of_margin(seen(symbol, {}, wallet=240_000), capped=wanted) is None


def test_a_short_that_no_hedge_steers_takes_its_part_first() -> None:
    foreign = Leg(Symbol("XRPUSDT"), D(-10_000), D(2), D(2), contract(Symbol("XRPUSDT")))
    seen_alone = seen(make.BTCUSDT, {}, wallet=230_000)
    beside = replace(seen_alone, others=(foreign,))
    assert share_of_margin(seen_alone, capped=D(5)) is None
    part = share_of_margin(beside, capped=D(5))
    assert part is not None and part < 5
    # 20 000 at 30 % need 6 000 and 104 of maintenance: as much as a wallet smaller by it
    smaller = seen(make.BTCUSDT, {}, wallet=230_000 - 6_104)
    assert part == share_of_margin(smaller, capped=D(5))


def test_a_purchase_must_leave_the_other_hedge_its_part() -> None:
    """What may be bought is what the margin carries beside the whole of the other hedge, not beside what it holds now."""
    held = {make.BTCUSDT: D(5)}
    limits = make.limits(max_naked=D(10) ** 9, max_order_notional=D(10) ** 9)
    alone = replace(seen(make.BTCUSDT, held, wallet=320_000), limits=limits)
    answer = may_buy(alone, IDLE, D(300_000))
    assert not answer.allowed
    assert answer.reason.startswith("margin carries")
    assert D(0) < answer.max_usd < 300_000
    assert may_buy(alone, IDLE, answer.max_usd).allowed
    then = replace(alone, float_quantity=D(5) + answer.max_usd / 75_000)
    size = short_size(then) + (answer.max_usd / 75_000).quantize(D("0.001"), rounding="ROUND_FLOOR")
    assert share_of_margin(then, capped=size) is None, "bought so much, both hedges stand whole"
    assert raisable_size(alone, held=D(5), price=D(74_250)) > size, "beside an empty peer it would look like more"


# ---------------------------------------------------------------- through the reactor


class Pair:
    """A machine with two hedges on one margin, driven event by event."""

    def __init__(self, *, wallet: str = "220000") -> None:
        hedges = tuple(hedge_of(symbol) for symbol in PRICES)
        self.machine: Reactor = make.reactor(hedges=hedges, limits=make.limits(max_order_notional=D(10) ** 7))
        self.now_ms = make.T0_MS
        instruments = tuple(contract(symbol) for symbol in PRICES)
        isolated = dict.fromkeys(PRICES, False)
        self.take(replace(make.setup(), instruments=instruments, leverage=dict.fromkeys(PRICES, 5), isolated=isolated))
        self.take(make.snapshot(wallet=wallet, at_ms=self.now_ms))
        for symbol, quantity in WANTED.items():
            trade = make.float_trade(str(quantity), trade_id=f"ft-{symbol}").trade
            self.take(make.FloatTradeRecorded(trade=replace(trade, asset=Asset(symbol.removesuffix("USDT")))))
        self.take(make.live())

    def take(self, *events: Event) -> list[PlaceOrder]:
        """React and return the orders that go out."""
        self.now_ms += 10
        commands: list[Command] = []
        with exact():
            reaction = self.machine.react(self.machine.state.seq + 1, self.now_ms * NS_PER_MS, list(events))
            commands += reaction.commands
        make.check_invariants(self.machine)
        return [command for command in commands if isinstance(command, PlaceOrder)]

    def mark(self, symbol: Symbol, price: Decimal | None = None) -> list[PlaceOrder]:
        """Take a mark of one of the two."""
        said: MarkPriceUpdate = make.mark(str(price or PRICES[symbol]), self.now_ms)
        return self.take(replace(said, symbol=symbol))

    def holds(self, **short: str) -> Snapshot:
        """Return a snapshot in which the two are short so much."""
        found = make.snapshot("-1", entry="75000", wallet="220000", at_ms=self.now_ms)
        rows: list[SnapshotPosition] = []
        for symbol, quantity in short.items():
            price = PRICES[Symbol(symbol)]
            row = replace(found.positions[0], symbol=Symbol(symbol), quantity=-D(quantity), entry_price=price)
            rows.append(row)
        return replace(found, positions=tuple(rows))


@pytest.mark.parametrize("order", list(permutations(PRICES)), ids=" first, ".join)
def test_the_reactor_waits_for_both_marks_and_then_scales_both(order: tuple[Symbol, ...]) -> None:
    pair = Pair()
    first, second = order
    assert pair.mark(first) == [], "what the other needs is not known yet"
    sent = pair.mark(second)
    assert {order.symbol: order.quantity for order in sent} == SHARES


def test_a_hedge_in_flight_leaves_the_other_no_more_than_its_part() -> None:
    pair = Pair()
    pair.machine.core.memory_of(ETHUSDT).block = Block(cause="operator", reason="test", latched=True, until_ns=None)
    pair.mark(ETHUSDT)
    (alone,) = pair.mark(make.BTCUSDT)
    assert alone.quantity == 5, "a hedge that is blocked until a person looks raises nothing"
    pair.machine.core.memory_of(ETHUSDT).block = None
    (other,) = pair.mark(ETHUSDT)
    # 220 000 - 5 * 75 000 at 30 % (112 500 + 2 137.50) carry 137.895 beside them: the five count before they fill
    assert other.quantity == D("137.895")


def test_of_two_hedges_the_larger_is_cut_first() -> None:
    pair = Pair()
    for symbol in PRICES:
        pair.machine.core.memory_of(symbol).block = Block(cause="refused", reason="test", latched=False, until_ns=None)
        pair.mark(symbol)
    pair.take(pair.holds(BTCUSDT="5", ETHUSDT="150"))
    sent = pair.mark(make.BTCUSDT, D(80_000))
    assert [(order.symbol, order.side.value, order.reduce_only) for order in sent] == [("BTCUSDT", "BUY", True)]
    assert pair.mark(ETHUSDT) == [], "one cut at a time: what it restores is seen first"
