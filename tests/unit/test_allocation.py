"""The float policy: the worked example, floor, ceiling, threshold and urgency."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.events import FloatTradeKind
from streamhedge.domain.values import Asset, exact
from streamhedge.errors import ConfigError
from streamhedge.live.status import allocation_status, core_status
from streamhedge.rules.allocation import Suggestion, check_allocation, suggest
from streamhedge.rules.params import AllocationParams
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
POLICY = AllocationParams(Asset("BTC"), D("0.40"), D("0.10"), D(50), D(10_000))


def asked(usd: str, held: str, price: str = "67121.4", policy: AllocationParams = POLICY) -> Suggestion:
    with exact():
        return suggest(policy, usd=D(usd), float_quantity=D(held), price=D(price))


def test_the_worked_example_buys_and_is_urgent() -> None:
    found = asked("1000000", "10")
    assert (found.kind, found.amount, found.urgency) == (FloatTradeKind.BUY, D("331514.40"), "high")
    assert found.drift.quantize(D("0.0001")) == D("0.1984")
    assert "59.84 % of 1671214.00, target 40.00 %" in found.reason


def test_too_little_usd_sells_down_to_the_target() -> None:
    found = asked("1000000", "100", "100000")
    assert (found.kind, found.urgency) == (FloatTradeKind.SELL, "critical")
    left_usd, left = D(1_000_000) + found.amount * 100_000, D(100) - found.amount
    assert abs(left_usd / (left_usd + left * 100_000) - D("0.40")) < D("1e-9")


def test_a_sale_below_the_floor_is_held_and_a_buy_stops_at_the_ceiling() -> None:
    held = asked("0", "60", "100000")
    assert held.kind is None and "less than the floor 50" in held.reason and held.urgency == "critical"
    clipped = asked("10000000", "9999.5", "100", replace(POLICY, ceiling=D(10_000)))
    assert (clipped.kind, clipped.amount) == (FloatTradeKind.BUY, D(50))
    assert "ceiling 10000" in clipped.reason
    assert asked("10000000", "10000", "100").kind is None


@pytest.mark.parametrize(
    ("usd", "urgency"),
    [("40", "low"), ("50", "low"), ("50.1", "low"), ("52.1", "medium"), ("58.1", "high"), ("65.1", "critical")],
)
def test_the_threshold_and_the_urgency(usd: str, urgency: str) -> None:
    found = asked(usd, str(D(100) - D(usd)), "1")
    assert found.urgency == urgency
    assert (found.kind is None) == (D(usd) <= 50)


def test_an_empty_treasury_holds() -> None:
    assert asked("0", "0").reason == "the treasury is empty"


@pytest.mark.parametrize(
    "change", [{"target_usd": D(0)}, {"target_usd": D(1)}, {"threshold": D(0)}, {"floor": D(-1)}, {"floor": D(10_000)}]
)
def test_a_policy_that_contradicts_itself_is_refused(change: dict[str, Decimal]) -> None:
    check_allocation(POLICY)
    with pytest.raises(ConfigError, match=r"\[allocation\]"):
        check_allocation(replace(POLICY, **change))


def test_status_shows_what_the_float_policy_suggests() -> None:
    desk = Desk()
    assert core_status(desk.machine.core, 0)["allocation"] is None
    params = AllocationParams(Asset("BTC"), D("0.40"), D("0.10"), D(0), D(100))
    core = desk.machine.core
    core.policy = replace(core.policy, allocation=params)
    core.state.usd = D(1_000_000)
    advice = allocation_status(core)
    assert advice is not None
    assert (advice["suggestion"], advice["unit"], advice["urgency"]) == ("buy", "USD", "high")
    held = core.state.floats[Asset("BTC")]
    worth = D(1_000_000) + held * core.state.book.marks[make.BTCUSDT].index_price
    assert abs(D(advice["amount"]) - (D(1_000_000) - worth * D("0.4"))) < D("0.01")
