"""The funding-aware ratio: it opens exposure only when the payments saved beat both trades and the risk."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.funding import HOUR_MS
from streamhedge.domain.values import exact
from streamhedge.errors import ConfigError
from streamhedge.rules.funding import FundingVerdict, check_funding, funding_ratio, settlements_within
from streamhedge.rules.params import FundingParams
from tests.support import builders as make

D = Decimal
POLICY = FundingParams(D("0.5"), 72 * HOUR_MS, D("0.05"), D("0.6"), D("0.00005"))
HEDGE = make.hedge_params()


def asked(rate: str | None, *, policy: FundingParams = POLICY, max_naked: str = "1000000") -> FundingVerdict:
    with exact():
        return funding_ratio(
            policy,
            HEDGE,
            float_quantity=D(10),
            mark_price=D(67_000),
            funding_rate=None if rate is None else D(rate),
            settlements=9,
            taker_fee_rate=D("0.0005"),
            max_naked=D(max_naked),
        )


def test_the_arithmetic_of_the_rule() -> None:
    # 9 payments of 0.04 % save 0.36 %; 2*(0.05 % + 0.005 %) + 0.05*0.6*sqrt(72 h / 8760 h) = 0.11 % + 0.272 % cost more.
    found = asked("-0.0004")
    assert found.saved == D("0.0036")
    assert found.costs.quantize(D("1e-7")) == D("0.0038198")
    assert found.ratio == HEDGE.ratio
    assert asked("-0.00043").ratio == D("0.5")


@pytest.mark.parametrize("rate", ["0.0004", "0", None])
def test_a_rate_that_pays_us_changes_nothing(rate: str | None) -> None:
    assert asked(rate).ratio == HEDGE.ratio


def test_open_exposure_is_held_to_the_naked_limit() -> None:
    found = asked("-0.01", max_naked="67000")
    assert found.ratio == D("0.9")
    assert "held to 67000" in found.reason


def test_how_many_payments_a_horizon_holds() -> None:
    at = {"now_ms": 0, "interval_ms": 8 * HOUR_MS}
    assert settlements_within(**at, next_ms=HOUR_MS, horizon_ms=24 * HOUR_MS) == 3
    assert settlements_within(**at, next_ms=HOUR_MS, horizon_ms=HOUR_MS) == 1
    assert settlements_within(**at, next_ms=2 * HOUR_MS, horizon_ms=HOUR_MS) == 0
    assert settlements_within(**at, next_ms=0, horizon_ms=24 * HOUR_MS) == 0


def test_a_policy_that_contradicts_itself_is_refused() -> None:
    check_funding(POLICY, (HEDGE,))
    for change in (
        {"ratio_min": D("1.1")},
        {"ratio_min": D("-0.1")},
        {"horizon_ms": 1_000},
        {"risk_lambda": D(-1)},
        {"volatility": D(-1)},
        {"half_spread": D(-1)},
    ):
        with pytest.raises(ConfigError, match=r"\[funding_policy\]"):
            check_funding(replace(POLICY, **change), (HEDGE,))
