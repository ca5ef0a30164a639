"""With many positions beside it a hedge is decided from sums: as it would be from each of them, and at a bounded cost.

Cost is counted in instructions of the interpreter, not in time: a walk over all positions shows on any machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamhedge.domain.events import AccountConfigUpdate, Event, SnapshotPosition
from streamhedge.domain.order import OrderType, Purpose, Side, TimeInForce
from streamhedge.domain.values import NS_PER_MS, Asset, Symbol, exact
from streamhedge.reactor import decide
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import Core
from streamhedge.rules.hedge import collar_price, decide_hedge
from streamhedge.rules.limits import Refused, gate
from streamhedge.rules.liquidation import read_ladder
from streamhedge.rules.view import BookStatus, HedgeView, IntentDraft, LadderStep
from tests.support import builders as make

D = Decimal
ETHUSDT = Symbol("ETHUSDT")


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


class Crowd:
    """A machine with two hedges, and so many positions beside them that no hedge steers."""

    def __init__(self, wallet: int, sizes: list[int], *, shorts: tuple[int, int] = (10, 0)) -> None:
        ether = make.hedge_params(asset=Asset("ETH"), symbol=ETHUSDT, max_short=D(500), max_order_quantity=D(500))
        self.machine: Reactor = make.reactor(hedges=(make.hedge_params(), ether))
        self.now_ms = make.T0_MS
        self.symbols = [Symbol(f"S{number:03d}") for number in range(len(sizes))]
        said = make.snapshot("-1", entry="67121.4", wallet=str(wallet), at_ms=self.now_ms)
        prices = {make.BTCUSDT: D("67121.4"), ETHUSDT: D(2_500), **dict.fromkeys(self.symbols, D(100))}
        sized = {make.BTCUSDT: -shorts[0], ETHUSDT: -shorts[1], **dict(zip(self.symbols, sizes, strict=True))}
        rows: list[SnapshotPosition] = [
            replace(said.positions[0], symbol=symbol, quantity=D(sized[symbol]), entry_price=price)
            for symbol, price in prices.items()
            if sized[symbol]
        ]
        instruments = tuple(
            replace(make.instrument(symbol), base_asset=Asset(symbol.removesuffix("USDT"))) for symbol in prices
        )
        isolated = dict.fromkeys(prices, False)
        self.take(replace(make.setup(), instruments=instruments, leverage=dict.fromkeys(prices, 5), isolated=isolated))
        self.take(replace(said, positions=tuple(rows)))
        trade = make.float_trade("200", trade_id="ether").trade
        self.take(make.FloatTradeRecorded(trade=replace(trade, asset=Asset("ETH"))))
        self.take(*(replace(make.mark(str(price), self.now_ms), symbol=symbol) for symbol, price in prices.items()))

    def take(self, *events: Event) -> None:
        self.now_ms += 1
        self.machine.react(self.machine.state.seq + 1, self.now_ms * NS_PER_MS, list(events))
        make.check_invariants(self.machine)

    def mark(self, symbol: Symbol, price: Decimal) -> None:
        self.take(replace(make.mark(str(price), self.now_ms), symbol=symbol))


def gated(core: Core, view: HedgeView) -> object:
    """Return what the gate says to a raise that nothing but the margin and its limits could refuse."""
    said = (OrderType.LIMIT, collar_price(view, Side.SELL), TimeInForce.IOC)
    sold = IntentDraft(view.params.symbol, Side.SELL, D(1), *said, False, Purpose.MANUAL, D(-10_000), "test")
    free = replace(view, book_status=BookStatus.LIVE, params=replace(view.params, max_short=D(10_000)))
    return gate(sold, replace(free, mark_age_ms=0, position_trusted=True), decide.gate_context(core, view))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(200_000, 3_000_000),
    st.lists(st.integers(-60, 60).filter(bool), min_size=decide.MANY + 1, max_size=decide.MANY + 8),
    st.tuples(st.integers(0, 10), st.integers(0, 150)),
    st.lists(st.tuples(st.integers(0, 40), st.integers(92, 109)), max_size=6),
    st.integers(1, 10),
)
def test_sums_decide_as_the_positions_themselves(
    wallet: int, sizes: list[int], shorts: tuple[int, int], moves: list[tuple[int, int]], leverage: int
) -> None:
    crowd = Crowd(wallet, sizes, shorts=shorts)
    crowd.take(AccountConfigUpdate(crowd.now_ms, crowd.symbols[0], leverage, None))
    for number, price in moves:
        crowd.mark(crowd.symbols[number % len(sizes)], D(price))
    core = crowd.machine.core
    for hedge in core.policy.hedges:
        whole = decide.view_of(core, hedge)
        assert whole is not None
        ladder = read_ladder(whole)
        if not decide.is_quiet(core, hedge):
            continue
        sums = decide.view_of(core, hedge, quiet=True)
        assert sums is not None and sums.rest is not None
        assert len(sums.others) <= 1 < len(whole.others)
        assert decide_hedge(sums) == decide_hedge(whole)
        assert gated(core, sums) == gated(core, whole)
        assert ladder.step is LadderStep.CLEAR, "what is quiet is nowhere near the ladder"
        seen = read_ladder(sums)
        assert (seen.step, seen.distance, seen.joint_distance) == (LadderStep.CLEAR, ladder.distance, None)


def test_what_no_hedge_steers_counts_towards_the_leverage_also_as_a_sum() -> None:
    crowd = Crowd(200_000, [60, -60] * (decide.MANY // 2 + 1), shorts=(1, 0))
    core = crowd.machine.core
    said = make.policy(hedges=core.policy.hedges, limits=make.limits(max_leverage=1))
    core.policy = said
    (bitcoin, _) = said.hedges
    sums = decide.view_of(core, bitcoin, quiet=True)
    whole = decide.view_of(core, bitcoin)
    assert decide.is_quiet(core, bitcoin) and sums is not None and whole is not None
    refused = gated(core, sums)
    # 2 bitcoin at 67 121.4 and 34 times 60 at 100: above the balance of 200 000 only together.
    assert isinstance(refused, Refused) and refused.control == "R9 leverage" and refused == gated(core, whole)


def test_a_rich_account_of_many_positions_is_quiet_and_a_poor_one_is_not() -> None:
    sizes = [-1] * (decide.MANY + 3)
    for wallet, quiet in ((2_000_000, True), (250_000, False)):
        crowd = Crowd(wallet, sizes, shorts=(10, 200))
        core = crowd.machine.core
        assert [decide.is_quiet(core, hedge) for hedge in core.policy.hedges] == [quiet, quiet]
    few = Crowd(2_000_000, sizes[: decide.MANY - 3], shorts=(10, 200))
    assert not decide.is_quiet(few.machine.core, few.machine.core.policy.hedges[0])


class Steps:
    """Counts the instructions that are executed while it stands."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Steps:
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.count += event == "opcode"
        return self._step


def steps_of_a_tick(many: int, trouble: str) -> int:
    """Return what a mark of one of so many costs while a trouble of the kind stands."""
    wallet = 2_000_000 + 1_000 * many
    crowd = Crowd(wallet, [(-1) ** number for number in range(many)], shorts=(10, 200))
    core = crowd.machine.core
    crowd.take(make.float_trade("10"), make.live())
    attribution = core.state.attribution
    assert attribution.began
    if trouble == "the books differ":
        crowd.take(replace(make.account_update("-10", wallet=str(wallet + 5), at_ms=crowd.now_ms), positions=()))
        crowd.mark(crowd.symbols[1], D(100))
        assert attribution.differs_ns, "no event says where the money went"
    elif trouble == "one is near":
        said = make.account_update("-10", at_ms=crowd.now_ms)
        alone = replace(said.positions[0], symbol=crowd.symbols[0], isolated=True, isolated_wallet=D(10))
        alone = replace(alone, quantity=D(-1), entry_price=D(100))
        crowd.take(replace(said, balances=(), positions=(alone,)))
        assert core.state.near
    assert all(decide.is_quiet(core, hedge) for hedge in core.policy.hedges)
    for price in (101, 100):
        crowd.mark(crowd.symbols[1], D(price))
    crowd.now_ms += 1
    frame = replace(make.mark("101", crowd.now_ms), symbol=crowd.symbols[1])
    with Steps() as steps:
        crowd.machine.react(core.state.seq + 1, crowd.now_ms * NS_PER_MS, [frame])
    if trouble:
        assert attribution.differs_ns or core.state.near
    return steps.count


@pytest.mark.parametrize("trouble", ["", "the books differ", "one is near"])
def test_a_tick_costs_the_same_beside_ten_times_as_many(trouble: str) -> None:
    few, many = (steps_of_a_tick(count, trouble) for count in (decide.MANY + 8, 10 * (decide.MANY + 8)))
    assert few > 1_000, "something was counted"
    assert many < few * 1.1
