"""may_buy: the worked figures of the specification, the order of its refusals, and what it promises."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhedge.domain.values import exact
from streamhedge.errors import CommandError
from streamhedge.rules.hedge import decide_hedge
from streamhedge.rules.limits import Approved, GateContext, gate
from streamhedge.rules.may_buy import MayBuy, may_buy
from streamhedge.rules.view import BookStatus, HedgeView, SymbolState, TradingState
from tests.support import views
from tests.support.builders import hedge_params, limits

D = Decimal
MARK = D("67121.4")
IDLE = GateContext(
    intents_last_minute=0, orders_last_minute=0, open_intents=0, turnover_today=D(0), ladder_latched_off=False
)


def view(**said: object) -> HedgeView:
    """Return a hedge of 10 BTC that stands where it should, wallet 400 000, 3x, no other limit near."""
    wide: dict[str, object] = {
        "params": hedge_params(max_short=D(1000), max_order_quantity=D(1000)),
        "limits": limits(max_naked=D(10**9), max_order_notional=D(10**9), max_turnover_per_day=D(10**9)),
        "mark_age_ms": 100,
    }
    return views.view(**{**wide, **said})


def ask(usd: str = "30000", context: GateContext = IDLE, **said: object) -> MayBuy:
    with exact():
        return may_buy(view(**said), context, D(usd))


def test_worked_example_of_the_specification() -> None:
    found = ask("30000")
    assert found.allowed and found.reason == ""
    assert found.hedge_quantity == D("0.446")
    assert round(found.distance_after or D(0), 4) == D("0.5620")
    assert round(found.margin_ratio_after or D(0), 5) == D("0.00802")
    assert found.max_usd == D("511867.79"), "7.626 BTC by initial margin"
    assert (found.slices, found.valid_ms) == (1, 1_000)
    assert found.fee_usd == D("0.446") * MARK * D("0.0005")


@pytest.mark.parametrize(
    ("said", "context", "words"),
    [
        ({"trading_state": TradingState.REDUCING}, {}, "trading is REDUCING"),
        ({"symbol_state": SymbolState.BLOCKED}, {}, "BTCUSDT is BLOCKED"),
        ({"book_status": BookStatus.SUSPECT}, {}, "the book is SUSPECT"),
        ({"position_trusted": False}, {}, "position unconfirmed"),
        ({"mark_age_ms": 3_001}, {}, "the mark is 3001 ms old, limit 3000 ms"),
        (
            {"doubt_orders": 1, "open_orders": 1, "pending_low": D(-1), "float_quantity": D(11)},
            {},
            "1 order(s) in doubt",
        ),
        ({"paced": True}, {}, "paced after a cut"),
        ({"wallet": D(150_000)}, {}, "is below warn 30"),
        ({"params": hedge_params(max_short=D("10.2"))}, {}, "max_short 10.2 caps the hedge"),
        ({"available": D(1_000)}, {}, "margin carries a short of 10.043"),
        ({}, {"orders_last_minute": 120}, "1 order(s) needed, 0 left"),
        ({}, {"intents_last_minute": 60}, "1 order(s) needed, 0 left"),
        ({}, {"turnover_today": D(10**9)}, "turnover left today is 0.00"),
        ({"limits": limits(max_naked=D(29_999))}, {}, "above max_naked 29999"),
        ({"limits": limits(max_naked=D(30_100)), "position": D("-9.998")}, {}, "naked 134.24 and 30000 bought"),
        ({"index_price": MARK * D("1.011")}, {}, "the hedge would wait: price"),
        ({"raise_after_ns": views.NOW_NS + 1}, {}, "the hedge would wait: venue"),
        ({"limits": limits(max_leverage=1)}, {}, "R9 leverage"),
    ],
)
def test_each_reason_is_named(said: dict[str, object], context: dict[str, object], words: str) -> None:
    found = ask("30000", replace(IDLE, **context), **said)
    assert not found.allowed
    assert words in found.reason


def test_first_failing_reason_wins() -> None:
    everything = {
        "trading_state": TradingState.HALTED,
        "book_status": BookStatus.SUSPECT,
        "doubt_orders": 1,
        "paced": True,
        "available": D(0),
    }
    order = []
    for name, calm in (
        ("trading_state", TradingState.ACTIVE),
        ("book_status", BookStatus.LIVE),
        ("doubt_orders", 0),
        ("paced", False),
    ):
        order.append(ask(**everything).reason.split()[0])
        everything[name] = calm
    order.append(ask(**everything).reason.split()[0])
    assert order == ["trading", "the", "1", "raising", "margin"]


def test_a_share_of_the_float_kept_open_on_purpose_is_no_cap() -> None:
    half = limits(max_short_ratio=D("0.5"), max_naked=D(10**9))
    found = ask("30000", limits=half, position=D(-5))
    assert found.allowed, found.reason
    assert found.hedge_quantity == D("0.223"), "half of 0.44695 BTC, floored to the step"


@pytest.mark.parametrize("usd", ["0", "-5", "NaN", "Infinity"])
def test_an_amount_that_is_none_is_refused(usd: str) -> None:
    with pytest.raises(CommandError, match="must be above zero"):
        ask(usd)


def test_nothing_may_be_bought_while_a_state_forbids_it() -> None:
    assert ask(trading_state=TradingState.HALTED).max_usd == 0
    assert ask(paced=True).max_usd == 0


@given(
    usd=st.decimals(min_value=1, max_value=900_000, places=2),
    wallet=st.decimals(min_value=240_000, max_value=2_000_000, places=2),
    naked=st.decimals(min_value=1_000, max_value=2_000_000, places=0),
    notional=st.decimals(min_value=20_000, max_value=3_000_000, places=0),
    sent=st.integers(min_value=0, max_value=60),
)
def test_a_yes_is_a_hedge_that_the_gate_lets_through(
    usd: Decimal, wallet: Decimal, naked: Decimal, notional: Decimal, sent: int
) -> None:
    """Every yes is sent when the float trade is booked, at most max_usd, and a figure limit says no just above it."""
    bounds = limits(max_naked=naked, max_order_notional=notional)
    context = replace(IDLE, orders_last_minute=sent)
    with exact():
        now = view(wallet=wallet, limits=bounds)
        found = may_buy(now, context, usd)
        if not found.allowed:
            return
        verdict = decide_hedge(replace(now, float_quantity=now.float_quantity + found.bought))
        assert verdict.want == 10 + found.hedge_quantity
        if verdict.draft is not None:
            assert isinstance(gate(verdict.draft, replace(now, float_quantity=10 + found.bought), context), Approved)
        assert usd <= found.max_usd + MARK * D("0.001"), "one step of rounding at most"
        assert found.distance_after is not None and found.distance_after >= D("0.30")
        above = may_buy(now, context, found.max_usd + MARK * D("0.002"))
        assert not above.allowed
