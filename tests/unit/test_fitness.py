"""Limits that leave no order the venue would take are refused with the arithmetic, not found out one order at a time."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from streamhedge.domain.values import exact
from streamhedge.rules.fitness import misfit
from tests.support import builders as make

D = Decimal


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def judged(*, quantity: str = "10", notional: str = "2000000", mark: str = "67121.4", **said: object) -> str | None:
    hedge = make.hedge_params(max_order_quantity=D(quantity), **said)
    policy = make.policy(hedges=(hedge,), limits=make.limits(max_order_notional=D(notional)))
    found = {"instrument": make.instrument(), "leverage": 3, "isolated": hedge.isolated, "mark_price": D(mark)}
    return misfit(hedge, policy, **found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        # one step of 0.001 is 67.12 USDT and above the minimum notional
        ({"notional": "67"}, "67 / 67121.4 = 0.000998; the smallest the venue takes is 0.001 (67.12 USDT)"),
        ({"quantity": "0.0009"}, "the largest is 0, the least of max_order_quantity 0.0009"),
        # at 20 000 it takes 0.003 to be above 50.50 USDT
        ({"quantity": "0.002", "mark": "20000"}, "the smallest the venue takes is 0.003 (60.00 USDT)"),
    ],
)
def test_an_order_that_cannot_be_is_refused_with_the_arithmetic(said: dict[str, str], words: str) -> None:
    reason = judged(**said)
    assert reason is not None
    assert words in reason


@pytest.mark.parametrize(
    "said", [{}, {"notional": "67.2"}, {"quantity": "0.001"}, {"quantity": "0.003", "mark": "20000"}]
)
def test_an_order_that_can_be_is_not(said: dict[str, str]) -> None:
    assert judged(**said) is None


def test_an_isolated_short_inside_its_own_ladder_is_refused_with_its_distance() -> None:
    reason = judged(isolated=True, leverage=3, max_short=D(5_000))
    assert reason is not None
    assert "opens at 25.13 %" in reason and "below reopen 30" in reason
