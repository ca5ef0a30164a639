"""The funding-aware ratio: it opens exposure only when the payments saved beat both trades and the risk."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

from streamhedge.domain.canonical import digest, from_plain, to_plain
from streamhedge.domain.commands import PlaceOrder
from streamhedge.domain.funding import HOUR_MS
from streamhedge.domain.order import Side
from streamhedge.domain.values import exact
from streamhedge.errors import ConfigError
from streamhedge.live.status import funding_status
from streamhedge.reactor.state import State
from streamhedge.rules.funding import FundingVerdict, check_funding, funding_ratio, settlements_within
from streamhedge.rules.params import FundingParams
from streamhedge.settings.config import load_config
from tests.support import builders as make
from tests.support.desk import Desk

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


# ---------------------------------------------------------------- in force


def hedging(**said: object) -> Desk:
    """Ten bitcoin short with the policy; the settlement is an hour away, and nine of them lie inside the horizon."""
    return Desk(funding=POLICY, limits=make.limits(max_naked=D(67_121), **said))


def frame(desk: Desk, rate: str, *, price: str = "67121.4", next_ms: int | None = None) -> list[PlaceOrder]:
    event = make.mark(price, desk.now_ms, rate=rate)
    return desk.sent(event if next_ms is None else replace(event, next_funding_time_ms=next_ms))


def lowered() -> Desk:
    """A desk whose rate turned very negative: a tenth of the hedge was taken back, for no more may be open."""
    desk = hedging()
    desk.now_ms += 3_600_000
    (order,) = frame(desk, "-0.001", next_ms=make.T0_MS + 9 * 3_600_000)
    assert (order.side, order.quantity, order.reduce_only) == (Side.BUY, D("0.999"), True)
    desk.fill(desk.order, trade_id=1)
    return desk


def test_a_costly_rate_lowers_the_ratio_and_the_hedge_follows() -> None:
    desk = lowered()
    assert desk.memory.funding is not None and desk.memory.funding.ratio == D("0.9001")
    assert desk.memory.policy_short == D("9.001"), "what is open on purpose is not naked"
    assert desk.memory.naked_usd == 0
    assert "it takes risk" in desk.said("funding_ratio")[-1]


def test_it_is_looked_at_once_an_hour_or_when_the_settlement_moves() -> None:
    desk = lowered()
    desk.now_ms += 60_000
    assert frame(desk, "0.0001", next_ms=make.T0_MS + 9 * 3_600_000) == [], "not yet"
    desk.now_ms += 3_600_000
    (back,) = frame(desk, "0.0001", next_ms=make.T0_MS + 9 * 3_600_000)
    assert (back.side, back.quantity) == (Side.SELL, D("0.999"))
    desk.fill(desk.order, trade_id=2)
    desk.now_ms += 1_000
    assert frame(desk, "-0.001", next_ms=make.T0_MS + 9 * 3_600_000) == []
    (again,) = frame(desk, "-0.001", next_ms=make.T0_MS + 5 * 3_600_000)
    assert again.side is Side.BUY, "the venue moved the settlement"


def test_the_counterfactual_of_the_fixed_ratio() -> None:
    desk = lowered()
    found = desk.memory.funding
    assert found is not None
    opened = D("0.999")
    assert found.fees == opened * D("67121.4") * (D("0.0005") + D("0.00005"))
    settles_ms = make.T0_MS + 9 * 3_600_000
    desk.now_ms += 1_000
    frame(desk, "-0.002", price="67000", next_ms=settles_ms)
    desk.now_ms = settles_ms + 500
    frame(desk, "-0.001", price="67100", next_ms=settles_ms + 8 * 3_600_000)
    assert found.saved == opened * D(67_000) * D("0.002"), "the rate and mark of the last frame before it"
    assert found.opened_pnl == opened * (D("67100") - D("67121.4"))
    with exact():
        shown = funding_status(desk.machine.core)["policy"]["BTCUSDT"]
    assert shown["net_against_fixed"] == str(
        (found.saved - found.fees + found.opened_pnl).quantize(D("1e-8")).normalize()
    )


def test_without_a_policy_the_ratio_is_the_hedges_own() -> None:
    desk = Desk()
    desk.now_ms += 3_600_000
    assert frame(desk, "-0.01") == []
    assert desk.memory.funding is None
    with exact():
        assert funding_status(desk.machine.core)["policy"] == {}


def test_the_ratio_is_state() -> None:
    desk = lowered()
    again = from_plain(State, to_plain(desk.state))
    assert again.memory[make.BTCUSDT].funding == desk.memory.funding
    assert digest(again) == digest(desk.state)


def test_the_table_says_every_figure(tmp_path: Path) -> None:
    whole = files("streamhedge.settings").joinpath("demo.toml").read_text()
    table = 'ratio_min = 0.5\nhorizon = "72h"\nrisk_lambda = 0.05\nvolatility = "60 %"\nhalf_spread = "0.005 %"'

    def load(text: str) -> FundingParams | None:
        path = tmp_path / "hedge.toml"
        path.write_text(f"{whole}\n[funding_policy]\n{text}\n")
        return load_config([path], (), {}).policy().funding

    assert load(table) == POLICY
    for row in table.splitlines():
        with pytest.raises(ConfigError, match=row.partition(" ")[0]):
            load(table.replace(row, ""))
    with pytest.raises(ConfigError, match="horizon"):
        load(table.replace("72h", "10m"))
