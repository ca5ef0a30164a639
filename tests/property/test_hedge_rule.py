"""The hedge rule over random accounts: no order of ours crosses zero, passes its target, or is repeated for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamhedge.domain.order import OrderType, Side
from streamhedge.domain.values import exact, floor_step
from streamhedge.rules.hedge import decide_hedge
from streamhedge.rules.limits import GateContext, Refused, gate
from streamhedge.rules.view import BookStatus, HedgeView, IntentDraft, SymbolState, TradingState
from tests.support import builders as make
from tests.support.views import view

D = Decimal
FEE = D("0.0005")
QUIET = GateContext(
    intents_last_minute=0, orders_last_minute=0, open_intents=0, turnover_today=D(0), ladder_latched_off=False
)
OF_THE_RULE = ("state", "symbol", "R11 data", "R5 single", "filters", "R1 size", "R2 collar", "R10 direction")
"""Controls that must never meet a draft of the hedge rule: what they ask, the rule has asked already."""


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def steps(low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda number: D(number) / 1_000)


@st.composite
def accounts(draw: st.DrawFn, **said: Any) -> HedgeView:
    """Draw an account: any float, position, mark, wallet, sizes and filters."""
    mark = draw(st.integers(1_000, 1_500_000)) / D(10)
    position = draw(steps(-20_000, 3_000))
    instrument = replace(
        make.instrument(),
        min_quantity=draw(st.sampled_from([D("0.001"), D("0.01"), D("0.1")])),
        min_notional=draw(st.sampled_from([D(5), D(50), D(100)])),
        step_size=draw(st.sampled_from([D("0.001"), D("0.01")])),
    )
    params = make.hedge_params(
        ratio=draw(st.integers(0, 120)) / D(100),
        band=draw(st.integers(0, 5_000)),
        max_short=draw(steps(0, 20_000)),
        max_order_quantity=draw(steps(1, 12_000)),
    )
    limits = make.limits(
        max_short_ratio=draw(st.integers(0, 100)) / D(100), max_order_notional=D(draw(st.integers(100, 2_000_000)))
    )
    fields: dict[str, Any] = {
        "instrument": instrument,
        "params": params,
        "limits": limits,
        "mark_price": mark,
        "position": floor_step(position, instrument.step_size),
        "entry_price": mark * draw(st.integers(70, 130)) / 100,
        "float_quantity": draw(st.integers(0, 2_000_000_000)) / D(100_000_000),
        "wallet": D(draw(st.integers(0, 3_000_000))),
        "leverage": draw(st.integers(1, 10)),
        "zero_fills": draw(st.integers(0, 3)),
        "paced": draw(st.booleans()),
    }
    return view(**{**fields, **said})


def filled(seen: HedgeView, draft: IntentDraft) -> HedgeView:
    """Return the account after a perfect fill at the mark."""
    signed = draft.side.sign * draft.quantity
    after, wallet, entry = seen.position + signed, seen.wallet, seen.entry_price
    if draft.reduce_only:
        wallet += -signed * (seen.mark_price - seen.entry_price)
    else:
        entry = (seen.position * seen.entry_price + signed * seen.mark_price) / after
    wallet -= draft.quantity * seen.mark_price * FEE
    free = wallet + after * (seen.mark_price - entry) - abs(after) * seen.mark_price / seen.leverage
    return replace(seen, position=after, wallet=wallet, entry_price=entry, available=max(D(0), free))


@pytest.mark.fault("K3")
@given(accounts())
def test_an_order_is_a_bounded_step_toward_the_target(seen: HedgeView) -> None:
    verdict = decide_hedge(seen)
    draft = verdict.draft
    assume(draft is not None)
    assert draft is not None
    step = seen.instrument.step_size
    after = seen.position + draft.side.sign * draft.quantity
    # never across zero, never past the target, always nearer
    assert seen.position * after >= 0
    assert min(seen.position, verdict.target) <= after <= max(seen.position, verdict.target)
    assert abs(verdict.target - after) < abs(verdict.target - seen.position)
    assert draft.reduce_only is (abs(after) < abs(seen.position))
    # what the venue and the operator allow
    assert draft.quantity == floor_step(draft.quantity, step) >= seen.instrument.min_quantity
    assert draft.quantity <= seen.params.max_order_quantity
    assert draft.quantity * seen.mark_price <= seen.limits.max_order_notional
    if draft.price is not None:
        assert floor_step(draft.price, seen.instrument.tick_size) == draft.price
        assert abs(draft.price - seen.mark_price) <= seen.limits.price_collar * seen.mark_price
    if not draft.reduce_only:
        assert draft.side is Side.SELL
        assert draft.type is OrderType.LIMIT
        assert draft.price is not None
        assert draft.quantity * min(draft.price, seen.mark_price) >= seen.instrument.min_notional


@given(accounts())
def test_the_target_is_inside_every_cap(seen: HedgeView) -> None:
    verdict = decide_hedge(seen)
    assert 0 <= verdict.capped <= verdict.policy_short < verdict.capped + seen.instrument.step_size
    assert verdict.policy_short <= seen.limits.max_short_ratio * seen.float_quantity
    assert verdict.policy_short <= seen.params.max_short
    assert 0 <= verdict.want <= max(verdict.capped, D(0))
    assert verdict.target == -verdict.want
    # margin caps raising only: it never asks for less than is held
    assert verdict.want >= min(verdict.capped, max(D(0), -seen.position))
    assert verdict.naked == verdict.policy_short + seen.position


@given(accounts())
def test_the_gate_never_refuses_what_the_rule_has_already_asked(seen: HedgeView) -> None:
    draft = decide_hedge(seen).draft
    assume(draft is not None)
    assert draft is not None
    verdict = gate(draft, seen, QUIET)
    assert not isinstance(verdict, Refused) or verdict.control not in OF_THE_RULE, verdict


@given(accounts())
def test_perfect_fills_end_it_and_dust_is_never_retried(seen: HedgeView) -> None:
    """Slices, then silence: no account makes the rule trade for ever, or trade back."""
    seen = replace(seen, paced=False)
    first = decide_hedge(seen).draft
    assume(first is not None)
    assert first is not None
    gap = abs(decide_hedge(seen).target - seen.position)
    most = (gap / first.quantity).to_integral_value(rounding=ROUND_CEILING) + abs(min(D(0), -seen.position)) * 1_000 + 3
    assume(most < 2_000)
    sides = []
    while (draft := decide_hedge(seen).draft) is not None:
        sides.append((draft.side, draft.reduce_only))
        assert len(sides) <= most
        seen = filled(seen, draft)
    # a long may be closed and then a short opened, both by selling; a hedge that bought never sells back
    assert len({side for side, _ in sides}) == 1
    verdict = decide_hedge(seen)
    assert verdict.hold in ("", "band", "dust")
    left = abs(verdict.target - seen.position) * seen.mark_price
    small = max(
        seen.params.band,
        seen.instrument.min_notional * D("1.03"),
        seen.instrument.min_quantity * seen.mark_price,
        seen.instrument.step_size * seen.mark_price,
    )
    # where no order may be twice the minimum, an even slice can fall below it: that is a configuration's own limit
    largest = min(seen.params.max_order_quantity * seen.mark_price, seen.limits.max_order_notional)
    assert left <= small or largest < 2 * small
    for _ in range(3):
        seen = replace(seen, now_ns=seen.now_ns + 1_000_000_000)
        assert decide_hedge(seen).draft is None


STOPPERS: list[dict[str, Any]] = [
    {"trading_state": TradingState.HALTED},
    {"symbol_state": SymbolState.BLOCKED},
    {"book_status": BookStatus.COLD},
    {"book_status": BookStatus.SYNCING},
    {"position_trusted": False},
    {"mark_age_ms": 10_001},
    {"mark_suspicious": True},
    {"open_orders": 1},
    {"open_orders": 1, "doubt_orders": 1},
]


@given(accounts(), st.sampled_from(STOPPERS))
def test_nothing_is_sent_on_what_cannot_be_trusted(seen: HedgeView, said: dict[str, Any]) -> None:
    assert decide_hedge(replace(seen, **said)).draft is None


@given(accounts())
def test_a_raise_needs_everything_and_a_reduction_survives_reducing(seen: HedgeView) -> None:
    reducing = decide_hedge(replace(seen, trading_state=TradingState.REDUCING)).draft
    active = decide_hedge(seen).draft
    if active is not None and active.reduce_only:
        assert reducing == active
    else:
        assert reducing is None


@given(accounts(), steps(0, 5_000), steps(0, 5_000), st.booleans())
def test_the_gap_is_an_interval_while_anything_is_open(
    seen: HedgeView, low: Decimal, high: Decimal, doubt: bool
) -> None:
    open_one = replace(seen, pending_low=-low, pending_high=high, open_orders=1, doubt_orders=int(doubt))
    verdict = decide_hedge(open_one)
    assert verdict.gap_high - verdict.gap_low == low + high
    assert verdict.hold == ("in_doubt" if doubt else "in_flight")
