"""The hedge rule by worked numbers: target, gap, dust, slices, collar, pace (HEDGING §1, §2, §4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest

from streamhedge.domain.order import OrderType, Side, TimeInForce
from streamhedge.domain.values import ZERO, Symbol, exact, floor_step
from streamhedge.rules.hedge import (
    collar_price,
    decide_hedge,
    free_margin,
    policy_short,
    raisable_size,
    remedy,
    short_size,
    slice_quantity,
)
from streamhedge.rules.liquidation import read_ladder
from streamhedge.rules.view import BookStatus, HedgeView, IntentDraft, Leg, SymbolState, TradingState
from tests.support import builders as make
from tests.support.views import NOW_NS, view

D = Decimal
SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def order_of(seen: HedgeView) -> IntentDraft:
    draft = decide_hedge(seen).draft
    assert draft is not None
    return draft


def hold_of(seen: HedgeView) -> str:
    verdict = decide_hedge(seen)
    assert verdict.draft is None
    return verdict.hold


# ---------------------------------------------------------------- policy short, dust, net delta


@pytest.mark.parametrize(
    ("said", "float_quantity", "short"),
    [
        ({}, "10", "10"),
        ({"ratio": D("0.5")}, "10", "5"),
        ({"max_short": D(8)}, "10", "8"),
        ({}, "-1", "0"),
        ({}, "10.14898378", "10.14898378"),
    ],
)
def test_the_policy_short_is_what_config_wants(said: dict[str, Decimal], float_quantity: str, short: str) -> None:
    params = make.hedge_params(**said)
    assert policy_short(params=params, max_short_ratio=D(1), float_quantity=D(float_quantity)) == D(short)
    assert policy_short(params=params, max_short_ratio=ZERO, float_quantity=D(float_quantity)) == 0


@pytest.mark.fault("O7")
def test_dust_is_named_and_carried() -> None:
    verdict = decide_hedge(view(float_quantity=D("10.14898378"), position=D("-10.148")))
    assert verdict.target == D("-10.148")
    assert verdict.dust == D("0.00098378")
    assert (verdict.dust * D("67121.4")).quantize(D("0.01")) == D("66.03")
    assert (verdict.draft, verdict.hold) == (None, "")
    assert verdict.naked == D("0.00098378")


def test_net_delta_is_policy_open_and_naked() -> None:
    seen = view(params=make.hedge_params(ratio=D("0.8")), position=D(-6))
    verdict = decide_hedge(seen)
    mark = seen.mark_price
    policy_open = (seen.float_quantity - verdict.policy_short) * mark
    assert policy_open == 2 * mark
    assert (seen.float_quantity + seen.position) * mark == policy_open + verdict.naked * mark


def test_an_order_in_doubt_makes_the_gap_an_interval() -> None:
    seen = view(
        float_quantity=D(10), position=D(-9), pending_low=D(-1), pending_high=ZERO, open_orders=1, doubt_orders=1
    )
    verdict = decide_hedge(seen)
    assert (verdict.gap_low, verdict.gap_high) == (D(-1), D(0))
    assert (verdict.draft, verdict.hold) == (None, "in_doubt")
    assert hold_of(replace(seen, doubt_orders=0)) == "in_flight"


def test_a_margin_limited_hedge_of_6_against_a_float_sold_from_10_to_9_stays_6() -> None:
    seen = view(float_quantity=D(10), position=D(-6), wallet=D(125_000), available=ZERO)
    assert decide_hedge(seen).want == 6
    verdict = decide_hedge(replace(seen, float_quantity=D(9)))
    assert (verdict.want, verdict.gap_low, verdict.draft) == (D(6), ZERO, None)


def test_margin_caps_raising_and_never_cuts() -> None:
    # HEDGING §10: between 30 % and 25 % the margin carries less than 10, and nothing is sold or bought
    seen = view(wallet=D(250_000), mark_price=D("73300.0"))
    verdict = decide_hedge(seen)
    assert verdict.raisable < 10
    assert (verdict.want, verdict.draft) == (D(10), None)


def test_the_last_lot_is_closed_whatever_the_band() -> None:
    seen = view(float_quantity=ZERO, position=D("-0.001"))
    draft = order_of(seen)
    assert (draft.side, draft.quantity, draft.reduce_only) == (Side.BUY, D("0.001"), True)
    assert hold_of(view(float_quantity=D("0.001"), position=D("-0.002"))) == "band"


# ---------------------------------------------------------------- orders


def test_collar_prices_are_rounded_inward() -> None:
    assert collar_price(view(), Side.SELL) == D("66450.2")
    assert collar_price(view(), Side.BUY) == D("67792.6")


def test_the_collar_stays_half_a_point_inside_percent_price() -> None:
    wide = view(limits=make.limits(price_collar=D("0.2")))
    assert collar_price(wide, Side.SELL) == D("64101.0")  # 67 121.4 * 0.955, up
    assert collar_price(wide, Side.BUY) == D("70141.8")  # 67 121.4 * 1.045, down


def test_the_urgent_collar_needs_a_zero_fill_and_a_late_hedge() -> None:
    limits = make.limits(price_collar_urgent=D("0.02"))
    late = view(limits=limits, zero_fills=1, naked_since_ns=NOW_NS - 6 * SECOND)
    assert collar_price(late, Side.SELL) == D("65779.0")
    assert collar_price(replace(late, zero_fills=0), Side.SELL) == D("66450.2")
    assert collar_price(replace(late, naked_since_ns=NOW_NS - 4 * SECOND), Side.SELL) == D("66450.2")


def test_a_large_gap_goes_in_even_slices() -> None:
    left, sizes = D("10.148"), []
    seen = view(params=make.hedge_params(max_order_quantity=D("3.724")))
    while left > 0:
        sizes.append(slice_quantity(seen, left, market=False))
        left -= sizes[-1]
    assert sizes == [D("3.383"), D("3.383"), D("3.382")]


def test_a_slice_honours_notional_and_the_venues_own_maximum() -> None:
    seen = view(
        params=make.hedge_params(max_order_quantity=D(5_000)), limits=make.limits(max_order_notional=D(10) ** 9)
    )
    assert slice_quantity(seen, D("120.001"), market=True) == D("60.001")
    assert slice_quantity(seen, D(1_000), market=False) == 1_000
    assert slice_quantity(replace(seen, limits=make.limits(max_order_notional=D(250_000))), D(10), market=False) == D(
        "3.334"
    )


def test_ten_thousand_bitcoin_in_slices_of_250_000_usd_are_one_order_more_than_money_alone_says() -> None:
    # HEDGING §2 says 2 685, from the notional; the rule there floors a slice to the step (3.724), which makes one more.
    assert (10_000 * D("67121.4") / 250_000).to_integral_value(rounding=ROUND_CEILING) == 2_685
    left, orders = D(10_000), 0
    seen = view(limits=make.limits(max_order_notional=D(250_000)))
    while left > 0:
        left -= slice_quantity(seen, left, market=False)
        orders += 1
    assert (left, orders) == (0, 2_686)


@pytest.mark.parametrize("size", ["0.0009", "0"])
def test_less_than_a_step_is_no_order(size: str) -> None:
    assert slice_quantity(view(), D(size), market=False) == 0


def test_a_position_off_the_step_is_reduced_by_whole_steps_only() -> None:
    draft = order_of(view(float_quantity=ZERO, position=D("-0.0015")))
    assert draft.quantity == D("0.001")
    assert hold_of(view(float_quantity=ZERO, position=D("-0.0005"))) == "dust"


@pytest.mark.fault("O7", "O14")
def test_a_raise_below_the_minimum_notional_is_dust_and_a_reduction_is_not() -> None:
    low = make.hedge_params(band=D(1))
    instrument = replace(make.instrument(), min_notional=D(100))
    seen = view(params=low, instrument=instrument, float_quantity=D("10.001"))
    verdict = decide_hedge(seen)
    assert (verdict.draft, verdict.hold, verdict.dust) == (None, "dust", D("0.001"))
    assert order_of(replace(seen, float_quantity=D("9.999"))).reduce_only


@pytest.mark.fault("O17", "M4")
def test_a_raise_is_a_limit_ioc_inside_the_collar() -> None:
    draft = order_of(view(float_quantity=D("10.14898378")))
    assert (draft.side, draft.quantity, draft.price) == (Side.SELL, D("0.148"), D("66450.2"))
    assert (draft.type, draft.time_in_force, draft.reduce_only) == (OrderType.LIMIT, TimeInForce.IOC, False)


def test_after_two_zero_fills_a_reduction_goes_to_market() -> None:
    draft = order_of(view(float_quantity=D(9), zero_fills=2))
    assert (draft.type, draft.price, draft.reduce_only) == (OrderType.MARKET, None, True)
    assert order_of(view(float_quantity=D(11), zero_fills=2)).type is OrderType.LIMIT


@pytest.mark.fault("O11")
def test_a_long_is_closed_before_a_short_is_opened() -> None:
    draft = order_of(view(position=D(2), float_quantity=D(3)))
    assert (draft.side, draft.quantity, draft.reduce_only) == (Side.SELL, D(2), True)


# ---------------------------------------------------------------- who may act


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"trading_state": TradingState.HALTED}, "halted"),
        ({"trading_state": TradingState.REDUCING}, "reducing"),
        ({"symbol_state": SymbolState.BLOCKED}, "blocked"),
        ({"symbol_state": SymbolState.REDUCE_ONLY}, "blocked"),
        ({"book_status": BookStatus.SUSPECT}, "stale"),
        ({"position_trusted": False}, "stale"),
        ({"mark_age_ms": 3_001}, "stale"),
        ({"mark_suspicious": True}, "price"),
        ({"index_price": D("66400")}, "price"),
        ({"raise_after_ns": NOW_NS + 1}, "venue"),
        ({"retry_after_ns": NOW_NS + 1}, "retry"),
    ],
)
def test_a_raise_needs(said: dict[str, object], word: str) -> None:
    seen = view(float_quantity=D(11))
    assert order_of(seen).side is Side.SELL
    assert hold_of(replace(seen, **said)) == word  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"trading_state": TradingState.HALTED}, "halted"),
        ({"symbol_state": SymbolState.BLOCKED}, "blocked"),
        ({"book_status": BookStatus.SYNCING}, "stale"),
        ({"position_trusted": False}, "stale"),
        ({"mark_age_ms": 10_001}, "stale"),
        ({"mark_suspicious": True}, "price"),
    ],
)
def test_a_reduction_needs_less(said: dict[str, object], word: str) -> None:
    seen = view(
        float_quantity=D(9),
        mark_age_ms=10_000,
        trading_state=TradingState.REDUCING,
        symbol_state=SymbolState.REDUCE_ONLY,
        book_status=BookStatus.SUSPECT,
        index_price=D("60000"),
        raise_after_ns=NOW_NS + 1,
    )
    assert order_of(seen).side is Side.BUY
    assert hold_of(replace(seen, **said)) == word  # type: ignore[arg-type]


# ---------------------------------------------------------------- margin, pace, remedy

# HEDGING §10 after its first cut. At 3x the initial margin would bind before the distance does; hence 5x.
AFTER_CUT: dict[str, Any] = {
    "position": D("-8.360"),
    "wallet": D("239724.949"),
    "leverage": 5,
    "paced": True,
    "last_paced_ns": NOW_NS - 600 * SECOND,
}


def test_the_first_raise_after_a_cut_is_a_step_worth_its_fee() -> None:
    draft = order_of(view(mark_price=D("72000.0"), **AFTER_CUT))
    assert (draft.side, draft.quantity, draft.target) == (Side.SELL, D("0.664"), D("-9.024"))
    assert order_of(view(mark_price=D("72329.5"), **AFTER_CUT)).quantity == D("0.500")
    assert hold_of(view(mark_price=D("72329.6"), **AFTER_CUT)) == "pace"


def test_the_cooldown_runs_from_the_last_cut_or_raise() -> None:
    early = {**AFTER_CUT, "last_paced_ns": NOW_NS - 600 * SECOND + 1}
    assert hold_of(view(mark_price=D("72000.0"), **early)) == "pace"
    assert decide_hedge(view(mark_price=D("72000.0"), **early)).pace_over is False


def test_the_pace_ends_when_the_whole_hedge_fits() -> None:
    soon = {**AFTER_CUT, "last_paced_ns": NOW_NS}
    verdict = decide_hedge(view(mark_price=D("70103.7"), **soon))
    assert verdict.pace_over
    assert verdict.draft is not None
    assert verdict.draft.quantity == D("1.640")
    assert not decide_hedge(view(mark_price=D("70103.8"), **soon)).pace_over
    assert decide_hedge(view(mark_price=D("73350.0"), **{**soon, "wallet": D(300_000)})).pace_over


def test_a_cut_under_way_does_not_end_its_own_pace() -> None:
    # at the worst end nothing of it has filled, and the short would seem whole
    seen = view(mark_price=D("73350.0"), wallet=D(250_000), leverage=5, paced=True, last_paced_ns=NOW_NS)
    under_way = replace(seen, pending_high=D("1.640"), open_orders=1)
    assert not decide_hedge(under_way).pace_over
    assert decide_hedge(seen).pace_over


def test_all_that_is_missing_may_be_less_than_a_step() -> None:
    seen = view(mark_price=D("67121.4"), wallet=D(400_000), position=D("-9.9"), paced=True, last_paced_ns=0)
    assert order_of(seen).quantity == D("0.1")


def test_a_low_leverage_setting_withholds_the_hedge_by_initial_margin() -> None:
    # HEDGING §3: set it at or above the effective leverage, never "for safety" below it
    seen = view(mark_price=D("72000.0"), **{**AFTER_CUT, "leverage": 3})
    verdict = decide_hedge(seen)
    assert (verdict.raisable, verdict.draft) == (D("8.360"), None)


def test_while_paced_the_floor_is_rehedge() -> None:
    higher = make.ladder_params(rehedge=D("0.40"))
    seen = view(wallet=D(250_000), position=D(-8), mark_price=D(67_121), ladder=higher)
    plain = raisable_size(seen, held=D(8), price=D("66450.2"))
    paced = raisable_size(replace(seen, paced=True), held=D(8), price=D("66450.2"))
    assert paced < plain


@pytest.mark.fault("A6")
def test_naked_exposure_after_a_cut_is_blocked_for_margin_with_its_remedy() -> None:
    seen = view(mark_price=D("73350.0"), position=D("-8.360"), wallet=D("239724.949"), paced=True, last_paced_ns=NOW_NS)
    verdict = decide_hedge(seen)
    assert (verdict.naked, verdict.gap_low) == (D("1.640"), ZERO)
    assert verdict.blocked is not None
    assert verdict.blocked.cause == "margin"
    assert "120294 USDT naked" in verdict.blocked.reason
    assert verdict.blocked.remedy is not None
    assert verdict.blocked.remedy.sell_quantity == D("1.640")


def test_the_remedies_for_the_whole_hedge() -> None:
    seen = view(mark_price=D("73350.0"), wallet=D(250_000))
    found = remedy(seen, capped=D(10), policy=D(10))
    assert found.top_up.quantize(D("0.01")) == D("37034.08")
    assert found.sell_quantity == 0
    assert found.sell_and_post_quantity.quantize(D("0.0001")) == D("0.3859")


def test_the_purchase_example_of_may_buy_is_bound_by_initial_margin() -> None:
    # HEDGING §6: F = 10, q = -10, wallet 400 000, 3x: 7.626 BTC more, 511 867.79 USD
    seen = view(float_quantity=D(100), params=make.hedge_params(max_short=D(100)))
    raisable = raisable_size(seen, held=D(10), price=D("66450.2"))
    assert raisable == D("17.626")
    assert (D("7.626") * seen.mark_price).quantize(D("0.01")) == D("511867.80")


def test_thirty_thousand_usd_sell_446_thousandths() -> None:
    bought = floor_step(30_000 / D("67121.4"), D("0.00000001"))
    assert order_of(view(float_quantity=10 + bought)).quantity == D("0.446")


def test_an_account_without_margin_raises_nothing() -> None:
    verdict = decide_hedge(view(position=ZERO, entry_price=ZERO, wallet=ZERO))
    assert (verdict.raisable, verdict.draft) == (ZERO, None)
    assert verdict.blocked is not None
    assert verdict.blocked.cause == "margin"


# ---------------------------------------------------------------- other positions on the same margin


def with_leg(quantity: str, *, entry: str = "74000", **said: Any) -> HedgeView:
    """Return BTCUSDT at 75 000 beside another cross position of the same margin asset."""
    eth = Symbol("ETHUSDT")
    leg = Leg(
        symbol=eth,
        quantity=D(quantity),
        entry_price=D(entry),
        mark_price=D(75_000),
        instrument=make.instrument(eth),
    )
    return view(mark_price=D(75_000), entry_price=D(75_000), leverage=10, others=(leg,), **said)


def test_free_margin_counts_what_the_others_gain_and_need() -> None:
    # +4 at 74 000 gains 4 000 and needs 300 000 * 0.004; -4 loses as much and needs the same
    assert free_margin(with_leg("4")) == 400_000 + 4_000 - 1_200
    assert free_margin(with_leg("-4")) == 400_000 - 4_000 - 1_200


def test_raising_leaves_the_others_their_part_of_the_joint_distance() -> None:
    wanted = {"float_quantity": D(20), "params": make.hedge_params(max_short=D(20)), "available": D(10) ** 9}
    seen = with_leg("-4", entry="75000", wallet=D(300_000), position=D(-5), **wanted)
    size = raisable_size(seen, held=D(5), price=D(74_250))
    assert D(5) < size < 20

    def joint_at(short: Decimal) -> Decimal:
        paid = (short - 5) * 75_000 * D("0.0005")
        found = read_ladder(replace(seen, position=-short, wallet=seen.wallet - paid)).joint_distance
        assert found is not None
        return found

    assert joint_at(size) >= D("0.30") > joint_at(size + D("0.001"))
    # a long of the same size takes maintenance only
    assert (
        raisable_size(with_leg("4", entry="75000", wallet=D(300_000), position=D(-5), **wanted), held=D(5), price=D(1))
        > size
    )


def test_what_is_in_flight_counts_at_the_worst_end() -> None:
    assert short_size(view(position=D(-9), pending_low=D(-1))) == 10
    assert short_size(view(position=D(2), pending_low=D(-1))) == 0


def test_what_the_band_holds_back_is_shown_as_dust() -> None:
    verdict = decide_hedge(view(float_quantity=D("10.00123456")))
    assert (verdict.hold, verdict.dust) == ("band", D("0.00123456"))


def test_a_gap_of_exactly_the_band_is_traded() -> None:
    params = make.hedge_params(band=D("67.1214"))
    assert order_of(view(params=params, float_quantity=D("10.001"))).quantity == D("0.001")


@pytest.mark.parametrize(("float_quantity", "ratio"), [("12", "1"), ("12", "0.9")])
def test_selling_float_makes_the_rest_neutral(float_quantity: str, ratio: str) -> None:
    params = make.hedge_params(ratio=D(ratio), max_short=D(20))
    seen = view(params=params, float_quantity=D(float_quantity), position=D(-9))
    policy = D(float_quantity) * D(ratio)
    sold = remedy(seen, capped=policy, policy=policy).sell_quantity
    assert (D(float_quantity) - sold) * D(ratio) == 9
