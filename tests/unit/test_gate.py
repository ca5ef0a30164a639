"""Every control of the gate: refused with its own name just beyond the limit, approved just inside it (FAULTS §5)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from streamhedge.domain.order import OrderType, Purpose, Side, TimeInForce
from streamhedge.domain.values import Symbol, exact
from streamhedge.rules.limits import Approved, GateContext, Refused, gate, moved_without_effect
from streamhedge.rules.view import BookStatus, HedgeView, IntentDraft, Leg, SymbolState, TradingState
from tests.support import builders as make
from tests.support.views import view

D = Decimal
CALM = GateContext(
    intents_last_minute=0, orders_last_minute=0, open_intents=0, turnover_today=D(0), ladder_latched_off=False
)


def short_of(position: str = "-5", **said: Any) -> HedgeView:
    """Half of ten bitcoin are hedged, so there is something to raise and something to cut."""
    return view(position=D(position), **said)


def raising(**said: Any) -> IntentDraft:
    """Sell one more, inside the collar."""
    fields: dict[str, Any] = {
        "symbol": make.BTCUSDT,
        "side": Side.SELL,
        "quantity": D(1),
        "type": OrderType.LIMIT,
        "price": D("66785.7"),
        "time_in_force": TimeInForce.IOC,
        "reduce_only": False,
        "purpose": Purpose.HEDGE,
        "target": D(-6),
        "reason": "test",
        **said,
    }
    return IntentDraft(**fields)


def cutting(**said: Any) -> IntentDraft:
    """Buy one back, reduce-only at the market."""
    fields = {
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "price": None,
        "time_in_force": None,
        "reduce_only": True,
        "target": D(-4),
    }
    return raising(**{**fields, **said})


def judged(draft: IntentDraft, seen: HedgeView, **counts: Any) -> str:
    """Return the control that refused, empty when the gate approved."""
    with exact():
        verdict = gate(draft, seen, replace(CALM, **counts))
    if isinstance(verdict, Refused):
        assert verdict.reason, "a refusal says why"
        return verdict.control
    assert verdict == Approved(draft)
    return ""


def with_limits(**said: Any) -> dict[str, Any]:
    return {"limits": make.limits(**said)}


def with_filters(**said: Any) -> dict[str, Any]:
    return {"instrument": replace(make.instrument(), **said)}


def test_a_raise_and_a_cut_pass_on_a_quiet_day() -> None:
    assert judged(raising(), short_of()) == ""
    assert judged(cutting(), short_of()) == ""


# ---------------------------------------------------------------- state and symbol


def test_halted_lets_nothing_pass_but_flattening() -> None:
    halted = short_of(trading_state=TradingState.HALTED)
    assert judged(raising(), halted) == "state"
    assert judged(cutting(), halted) == "state"
    assert judged(cutting(purpose=Purpose.LADDER), halted) == "state"
    assert judged(cutting(purpose=Purpose.FLATTEN), halted) == ""


def test_reducing_lets_cuts_pass() -> None:
    reducing = short_of(trading_state=TradingState.REDUCING)
    assert judged(raising(), reducing) == "state"
    assert judged(cutting(), reducing) == ""


def test_a_blocked_symbol_lets_only_ladder_and_flattening_pass() -> None:
    blocked = short_of(symbol_state=SymbolState.BLOCKED)
    assert judged(raising(), blocked) == "symbol"
    assert judged(cutting(), blocked) == "symbol"
    assert judged(cutting(purpose=Purpose.FLATTEN), blocked) == ""
    assert judged(cutting(purpose=Purpose.LADDER), blocked) == ""
    assert judged(cutting(purpose=Purpose.LADDER), blocked, ladder_latched_off=True) == "symbol"


def test_a_reduce_only_symbol_and_a_contract_that_rests_let_cuts_pass() -> None:
    for seen in (short_of(symbol_state=SymbolState.REDUCE_ONLY), short_of(**with_filters(status="PENDING_TRADING"))):
        assert judged(raising(), seen) == "symbol"
        assert judged(cutting(), seen) == ""


# ---------------------------------------------------------------- data


@pytest.mark.parametrize(
    ("inside", "beyond"),
    [
        ({}, {"book_status": BookStatus.SUSPECT}),
        ({}, {"position_trusted": False}),
        ({"mark_age_ms": 3_000}, {"mark_age_ms": 3_001}),
        ({"lag_ms": 250}, {"lag_ms": 251}),
        ({}, {"unmarked": (Symbol("ETHUSDT"),)}),
    ],
)
@pytest.mark.fault("M1", "S5")
def test_a_raise_needs_fresh_and_whole_knowledge(inside: dict[str, Any], beyond: dict[str, Any]) -> None:
    assert judged(raising(), short_of(**inside)) == ""
    assert judged(raising(), short_of(**beyond)) == "R11 data"


def test_a_cut_needs_a_confirmed_position_and_nothing_else() -> None:
    old = {"book_status": BookStatus.SUSPECT, "mark_age_ms": 60_000, "lag_ms": 9_000}
    assert judged(cutting(), short_of(**old)) == ""
    assert judged(cutting(), short_of(position_trusted=False)) == "R11 data"


# ---------------------------------------------------------------- one at a time


@pytest.mark.fault("O1")
def test_one_order_at_a_time_but_the_ladder_beside_a_raise_in_doubt() -> None:
    doubt = {"open_orders": 1, "doubt_orders": 1, "pending_low": D(-1)}
    ladder = cutting(purpose=Purpose.LADDER)
    assert judged(raising(), short_of(open_orders=1)) == "R5 single"
    assert judged(ladder, short_of(open_orders=1)) == "R5 single", "in flight is not in doubt"
    assert judged(ladder, short_of(**doubt)) == ""
    assert judged(cutting(), short_of(**doubt)) == "R5 single", "only the ladder"
    assert judged(ladder, short_of(**doubt, doubt_raises=False)) == "R5 single", "a cut in doubt holds the next cut"
    assert judged(ladder, short_of(**{**doubt, "open_orders": 2})) == "R5 single"


def test_intents_open_on_all_symbols_are_counted() -> None:
    assert judged(raising(), short_of(), open_intents=9) == ""
    assert judged(raising(), short_of(), open_intents=10) == "R5 single"


# ---------------------------------------------------------------- the venue's filters


@pytest.mark.parametrize(
    ("draft", "filters"),
    [
        (raising(quantity=D("0.9")), {"min_quantity": D(1)}),
        (raising(), {"max_quantity": D("0.999")}),
        (cutting(), {"market_max_quantity": D("0.999")}),
        (raising(), {"step_size": D("0.4")}),
        (raising(), {"tick_size": D("0.2")}),
        (raising(quantity=D("0.001")), {"min_notional": D(67)}),
    ],
)
@pytest.mark.fault("O14")
def test_what_the_venue_would_refuse_is_not_sent(draft: IntentDraft, filters: dict[str, Any]) -> None:
    assert judged(draft, short_of()) == "", "the filter alone refuses it"
    assert judged(draft, short_of(**with_filters(**filters))) == "filters"


def test_the_market_maximum_holds_for_market_orders_alone() -> None:
    assert judged(raising(), short_of(**with_filters(market_max_quantity=D("0.5")))) == ""
    assert judged(cutting(), short_of(**with_filters(max_quantity=D("0.5")))) == ""


def test_the_minimum_notional_is_waived_for_cuts() -> None:
    assert judged(raising(quantity=D("0.001")), short_of(**with_filters(min_notional=D("66.7")))) == ""
    assert judged(raising(quantity=D("0.001")), short_of(**with_filters(min_notional=D("66.8")))) == "filters"
    assert judged(cutting(quantity=D("0.001")), short_of(**with_filters(min_notional=D(1_000)))) == ""


# ---------------------------------------------------------------- our limits


@pytest.mark.parametrize(
    ("control", "inside", "beyond"),
    [
        (
            "R1 size",
            {"params": make.hedge_params(max_order_quantity=D(1))},
            {"params": make.hedge_params(max_order_quantity=D("0.999"))},
        ),
        ("R1 size", with_limits(max_order_notional=D("67121.4")), with_limits(max_order_notional=D("67121.3"))),
        ("R2 collar", with_limits(price_collar=D("0.0051")), with_limits(price_collar=D("0.0049"))),
        ("R2 collar", {"index_price": D("66500")}, {"index_price": D("66400")}),
        (
            "R3 position",
            {"params": make.hedge_params(max_short=D(6))},
            {"params": make.hedge_params(max_short=D("5.9"))},
        ),
        ("R3 position", {"float_quantity": D(6)}, {"float_quantity": D("5.9")}),
        ("R3 position", with_limits(max_short_ratio=D("0.6")), with_limits(max_short_ratio=D("0.59"))),
        ("R9 leverage", {"isolated": True, "leverage": 5}, {"isolated": True, "leverage": 6}),
        ("R9 leverage", {"wallet": D(80_546)}, {"wallet": D(80_545)}),
        ("R8 turnover", with_limits(max_turnover_per_day=D("67121.4")), with_limits(max_turnover_per_day=D(67_121))),
    ],
)
def test_a_limit_holds_from_the_first_step_beyond_it(
    control: str, inside: dict[str, Any], beyond: dict[str, Any]
) -> None:
    assert judged(raising(), short_of(**inside)) == ""
    assert judged(raising(), short_of(**beyond)) == control


@pytest.mark.fault("M4")
def test_a_raise_needs_a_limit_price_inside_the_collar_on_either_side() -> None:
    market = raising(type=OrderType.MARKET, price=None, time_in_force=None)
    assert judged(market, short_of()) == "R2 collar"
    assert judged(raising(price=D("67700.0")), short_of()) == ""
    assert judged(raising(price=D("67800.0")), short_of()) == "R2 collar"


def test_what_an_order_in_flight_may_add_counts_towards_the_short() -> None:
    seen = {"params": make.hedge_params(max_short=D(6)), "pending_low": D("-0.5")}
    assert judged(raising(quantity=D("0.5")), short_of(**seen)) == ""
    assert judged(raising(quantity=D("0.6")), short_of(**seen)) == "R3 position"


def test_other_positions_and_their_losses_count_towards_the_leverage() -> None:
    ether = Symbol("ETHUSDT")
    leg = Leg(
        symbol=ether, quantity=D(-100), entry_price=D(2_500), mark_price=D(3_000), instrument=make.instrument(ether)
    )
    # 6 × 67 121.4 + 300 000 on a wallet less the leg's loss of 50 000: five times at 190 545.68.
    assert judged(raising(), short_of(others=(leg,), wallet=D(190_546))) == ""
    assert judged(raising(), short_of(others=(leg,), wallet=D(190_545))) == "R9 leverage"


def test_an_account_without_a_balance_raises_nothing() -> None:
    assert judged(raising(), short_of(wallet=D(0))) == "R9 leverage"


def test_no_limit_of_raising_holds_back_a_cut() -> None:
    tight = with_limits(
        max_short_ratio=D("0.1"), max_leverage=1, max_turnover_per_day=D(1), max_orders_per_minute=1, price_collar=D(0)
    )
    seen = short_of(**tight, wallet=D(1), index_price=D(60_000))
    assert judged(cutting(), seen, orders_last_minute=50, turnover_today=D(10**9)) == ""


@pytest.mark.fault("O20")
def test_the_pace_of_intents_binds_hedges_at_once_and_the_ladder_at_twice() -> None:
    ladder = cutting(purpose=Purpose.LADDER)
    assert judged(raising(), short_of(), intents_last_minute=59) == ""
    assert judged(raising(), short_of(), intents_last_minute=60) == "O20 intents"
    assert judged(ladder, short_of(), intents_last_minute=119) == ""
    assert judged(ladder, short_of(), intents_last_minute=120) == "O20 intents"


@pytest.mark.fault("O12")
def test_the_accounts_order_rate_binds_raises() -> None:
    assert judged(raising(), short_of(), orders_last_minute=119) == ""
    assert judged(raising(), short_of(), orders_last_minute=120) == "R4 rate"


@pytest.mark.fault("O12", "O13")
def test_the_venues_limits_bind_raises_first_and_its_silence_binds_all() -> None:
    left = {"raises_left": 0, "reduces_left": 1}
    assert judged(raising(), short_of(), raises_left=1) == ""
    assert judged(raising(), short_of(), **left) == "R4 rate"
    assert judged(cutting(), short_of(), **left) == ""
    assert judged(cutting(), short_of(), raises_left=0, reduces_left=0) == "R4 rate"
    now_ns = short_of().now_ns
    assert judged(cutting(), short_of(), silent_until_ns=now_ns) == ""
    assert judged(cutting(), short_of(), silent_until_ns=now_ns + 1) == "R4 rate"


# ---------------------------------------------------------------- direction


@pytest.mark.parametrize(
    ("draft", "position"),
    [
        (cutting(side=Side.SELL), "-5"),
        (cutting(quantity=D(6)), "-5"),
        (cutting(), "0"),
        (raising(side=Side.BUY), "-5"),
        (raising(), "1"),
        (raising(target=D("-5.999")), "-5"),
    ],
    ids=["cut grows", "cut flips", "cut of nothing", "buys to raise", "sells from long", "past the target"],
)
def test_an_order_only_goes_where_a_hedge_goes(draft: IntentDraft, position: str) -> None:
    assert judged(draft, short_of(position)) == "R10 direction"


def test_a_cut_may_close_the_whole_position() -> None:
    assert judged(cutting(quantity=D(5)), short_of()) == ""
    assert judged(cutting(side=Side.SELL, quantity=D(5)), short_of("5")) == "", "a long that is not ours closes too"


@pytest.mark.parametrize(
    ("gap_before", "filled", "trips"),
    [
        ("-5", "-3", False),
        ("-5", "-9.9", False),
        ("-5", "-10", True),
        ("-5", "1", True),
        ("5", "-1", True),
        ("0", "-1", True),
        ("-5", "0", False),
    ],
)
def test_a_fill_must_bring_the_gap_nearer_to_zero(gap_before: str, filled: str, trips: bool) -> None:
    assert moved_without_effect(gap_before=D(gap_before), filled=D(filled)) is trips
