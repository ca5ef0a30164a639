"""The ladder by worked numbers (HEDGING §3, §10): what fires, the smallest cut, and when it must not cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from streamhedge.domain.order import OrderType, Purpose, Side
from streamhedge.domain.values import Symbol, exact
from streamhedge.errors import ConfigError
from streamhedge.rules.hedge import collar_price, raisable_size
from streamhedge.rules.liquidation import check_isolated, check_ladder, read_ladder
from streamhedge.rules.params import CloseAction
from streamhedge.rules.view import BookStatus, HedgeView, IntentDraft, LadderStep, Leg, TradingState
from tests.support import builders as make
from tests.support.views import NOW_NS, view

D = Decimal


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def seen_at(mark: str, **said: Any) -> HedgeView:
    """Return the short of HEDGING §10 at a mark."""
    return view(wallet=D(250_000), mark_price=D(mark), leverage=5, **said)


def cut_of(seen: HedgeView) -> IntentDraft:
    draft = read_ladder(seen).draft
    assert draft is not None
    assert (draft.side, draft.reduce_only, draft.purpose) == (Side.BUY, True, Purpose.LADDER)
    return draft


def hold_of(seen: HedgeView) -> str:
    verdict = read_ladder(seen)
    assert verdict.draft is None
    return verdict.hold


@pytest.mark.parametrize(
    ("mark", "step"),
    [
        ("67121.4", LadderStep.CLEAR),
        ("70519.6", LadderStep.CLEAR),
        ("70519.7", LadderStep.WARN),
        ("73340.4", LadderStep.WARN),
        ("73340.5", LadderStep.REDUCE),
        ("76396.2", LadderStep.REDUCE),
        ("76396.3", LadderStep.CLOSE),
        ("99999.0", LadderStep.CLOSE),
    ],
)
def test_the_steps_begin_at_their_marks(mark: str, step: LadderStep) -> None:
    assert read_ladder(seen_at(mark)).step is step


def test_the_verdict_names_price_and_distance() -> None:
    verdict = read_ladder(seen_at("67121.4"))
    assert verdict.liquidation_price is not None
    assert verdict.distance is not None
    assert verdict.liquidation_price.quantize(D("0.0001")) == D("91675.5092")
    assert (verdict.distance * 100).quantize(D("0.0001")) == D("36.5816")
    assert verdict.joint_distance == verdict.distance


def test_without_a_short_there_is_nothing_to_read() -> None:
    for position in (D(0), D(3)):
        verdict = read_ladder(view(position=position))
        assert (verdict.step, verdict.distance, verdict.draft) == (LadderStep.CLEAR, None, None)


def test_a_warning_resolves_one_point_above_where_it_began() -> None:
    # a cut lands on 30.001 %, which must not flap
    assert read_ladder(seen_at("70300.0")).step is LadderStep.CLEAR
    assert read_ladder(seen_at("70300.0", warned=True)).step is LadderStep.WARN
    assert read_ladder(seen_at("69900.0", warned=True)).step is LadderStep.CLEAR


def test_a_warning_carries_its_remedy() -> None:
    verdict = read_ladder(seen_at("73300.0"))
    assert (verdict.step, verdict.draft, verdict.hold) == (LadderStep.WARN, None, "")
    assert verdict.remedy is not None
    assert verdict.remedy.top_up > 36_000


def test_reduce_cuts_to_reopen_with_a_limit_ioc() -> None:
    draft = cut_of(seen_at("73350.0"))
    assert (draft.quantity, draft.target) == (D("1.640"), D("-8.360"))
    assert (draft.type, draft.price) == (OrderType.LIMIT, D("74083.5"))


def test_close_restores_at_any_price() -> None:
    draft = cut_of(seen_at("76500.0"))
    assert (draft.quantity, draft.target, draft.type) == (D("3.331"), D("-6.669"), OrderType.MARKET)


def test_flatten_closes_all() -> None:
    flat = make.ladder_params(close_action=CloseAction.FLATTEN)
    assert cut_of(seen_at("76500.0", ladder=flat)).quantity == 10
    assert cut_of(seen_at("73350.0", ladder=flat)).quantity == D("1.640")


def test_flattening_ends_where_restoring_does_at_five_times_the_fees() -> None:
    # HEDGING §3: flat at 76 500, level-triggered re-hedging would sell 6.647 of it back at once
    mark, fee = D("76500.0"), D("0.0005")
    restored = cut_of(seen_at("76500.0")).quantity * mark * fee
    wallet = 250_000 - 10 * (mark - D("67121.4")) - 10 * mark * fee
    flat = view(wallet=wallet, mark_price=mark, position=D(0), entry_price=D(0), leverage=5)
    back = raisable_size(flat, held=D(0), price=collar_price(flat, Side.SELL))
    assert back == D("6.647")
    assert (restored.quantize(D(1)), ((10 + back) * mark * fee).quantize(D(1))) == (127, 637)


def test_a_cut_leaves_more_naked_than_max_naked_and_wins() -> None:
    naked = cut_of(seen_at("73350.0", limits=make.limits(max_naked=D(50_000)))).quantity * D("73350.0")
    assert naked == 120_294


def test_two_zero_fills_take_a_cut_to_market() -> None:
    assert cut_of(seen_at("73350.0", zero_fills=1)).type is OrderType.LIMIT
    waiting = seen_at("73350.0", zero_fills=2, reduce_after_ns=NOW_NS + 1)
    assert cut_of(waiting).type is OrderType.MARKET


# ---------------------------------------------------------------- doubt


def test_one_raise_in_doubt_does_not_disarm_the_ladder() -> None:
    # HEDGING §1: q = -9 confirmed, SELL 1 in doubt, the ladder wants -6: the gap is 3 or 4, BUY 3
    doubtful = {"position": D(-9), "pending_low": D(-1), "open_orders": 1, "doubt_orders": 1}
    draft = cut_of(replace(seen_at("76500.0", **doubtful), wallet=D(224_950)))
    assert (draft.target, draft.quantity) == (D("-6.000"), D("3.000"))


def test_in_doubt_the_cut_is_the_smaller_end_and_may_be_nothing() -> None:
    # at the worst end (10) the distance is below reduce, yet what is to be kept is more than the 8.2 that are certain
    doubtful = seen_at("74500.0", position=D("-8.2"), pending_low=D("-1.8"), open_orders=1, doubt_orders=1)
    verdict = read_ladder(doubtful)
    assert verdict.step is LadderStep.REDUCE
    assert (verdict.draft, verdict.hold) == (None, "doubt")


@pytest.mark.parametrize(
    "said",
    [
        {"open_orders": 1, "pending_low": D(-1)},
        {"open_orders": 2, "doubt_orders": 1, "pending_low": D(-1)},
        {"open_orders": 2, "doubt_orders": 2, "pending_low": D(-1)},
        {"open_orders": 1, "doubt_orders": 1, "pending_high": D(1)},
    ],
    ids=["in flight", "two open", "two in doubt", "a cut in doubt"],
)
def test_only_one_raise_in_doubt_may_be_passed(said: dict[str, Any]) -> None:
    assert hold_of(seen_at("76500.0", **said)) == "in_flight"


# ---------------------------------------------------------------- must not cut


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"trading_state": TradingState.HALTED}, "halted"),
        ({"book_status": BookStatus.COLD}, "stale"),
        ({"position_trusted": False}, "stale"),
        ({"mark_age_ms": 10_001}, "stale"),
        ({"mark_suspicious": True}, "price"),
        ({"reduce_after_ns": NOW_NS + 1}, "retry"),
    ],
)
def test_no_cut_while(said: dict[str, Any], word: str) -> None:
    assert hold_of(seen_at("76500.0", **said)) == word


@pytest.mark.parametrize("state", [TradingState.ACTIVE, TradingState.REDUCING])
def test_the_ladder_cuts_on_an_old_mark_and_a_suspect_book(state: TradingState) -> None:
    seen = seen_at("76500.0", trading_state=state, book_status=BookStatus.SUSPECT, mark_age_ms=10_000)
    assert cut_of(seen).quantity == D("3.331")


def test_an_isolated_short_is_not_reduced_but_closed() -> None:
    isolated = seen_at("73350.0", isolated=True)
    assert hold_of(isolated) == "isolated"
    assert cut_of(replace(isolated, mark_price=D("76500.0"))).quantity == 10


def test_a_cut_that_would_only_cost_its_fee_is_not_sent() -> None:
    # equity below zero: a smaller short in slices stands even nearer, so only the whole of it may be bought
    seen = seen_at("95000.0", params=make.hedge_params(max_order_quantity=D(1)))
    verdict = read_ladder(seen)
    assert verdict.distance is not None
    assert verdict.distance < 0
    assert hold_of(seen) == "useless"
    assert cut_of(replace(seen, params=make.hedge_params(max_order_quantity=D(10)))).quantity == 10


# ---------------------------------------------------------------- joint reading


def group(own: str, other: str, *, wallet: int) -> HedgeView:
    """Return BTCUSDT with another short on the same margin, both at 75 000."""
    leg = Leg(
        symbol=Symbol("ETHUSDT"),
        quantity=D(other),
        entry_price=D(75_000),
        mark_price=D(75_000),
        instrument=make.instrument(Symbol("ETHUSDT")),
        cuts=True,
    )
    return view(
        position=D(own), entry_price=D(75_000), mark_price=D(75_000), wallet=D(wallet), others=(leg,), available=D(0)
    )


def test_shorts_that_share_margin_are_read_together() -> None:
    verdict = read_ladder(group("-5", "-5", wallet=300_000))
    assert verdict.distance is not None
    assert verdict.joint_distance is not None
    assert (verdict.distance * 100).quantize(D("0.0001")) == D("78.7662")
    assert (verdict.joint_distance * 100).quantize(D("0.0001")) == D("39.3831")
    assert verdict.step is LadderStep.CLEAR


def test_the_joint_reading_cuts_the_largest_first_and_ties_by_name() -> None:
    assert cut_of(group("-5", "-5", wallet=190_000)).quantity > 0
    assert hold_of(group("-4.9", "-5", wallet=185_000)) == "joint"
    tied = group("-5", "-5", wallet=190_000)
    (leg,) = tied.others
    assert hold_of(replace(tied, others=(replace(leg, symbol=Symbol("AAAUSDT")),))) == "joint"


def test_a_joint_cut_restores_the_joint_distance() -> None:
    seen = group("-5", "-4", wallet=170_000)
    draft = cut_of(seen)
    kept = 5 - draft.quantity
    fee = draft.quantity * 75_000 * D("0.0005")
    after = read_ladder(replace(seen, position=-kept, wallet=seen.wallet - fee))
    assert after.joint_distance is not None
    assert D("0.30") <= after.joint_distance < D("0.3002")


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "said",
    [
        {"close": D("0.25")},
        {"reduce": D("0.30")},
        {"rehedge": D("0.29")},
        {"close": D(0)},
        {"warn": D("0.25")},
        {"raise_step": D("1.01")},
        {"cooldown_ms": -1},
    ],
)
def test_thresholds_that_contradict_each_other_are_refused(said: dict[str, Any]) -> None:
    check_ladder(make.ladder_params())
    with pytest.raises(ConfigError, match=r"\[ladder\]"):
        check_ladder(make.ladder_params(**said))


@pytest.mark.parametrize(
    ("leverage", "size", "allowed"),
    [(2, 10_000, True), (3, 1_000, True), (3, 5_000, False), (4, 1, False), (5, 1, False)],
)
def test_an_isolated_hedge_that_opens_inside_its_own_ladder_is_refused(leverage: int, size: int, allowed: bool) -> None:
    hedge = make.hedge_params(isolated=True, leverage=leverage, max_short=D(size))
    if allowed:
        check_isolated(hedge, make.ladder_params(), make.instrument(), D(67_000))
        return
    with pytest.raises(ConfigError, match="below reopen"):
        check_isolated(hedge, make.ladder_params(), make.instrument(), D(67_000))
    check_isolated(replace(hedge, isolated=False), make.ladder_params(), make.instrument(), D(67_000))
