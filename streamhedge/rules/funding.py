"""The funding-aware ratio: hedge less while holding the short costs more than trading and the open exposure would.

Without the short for the horizon, D base units of it save the payments they would make and cost two trades and a risk:

    saved  = -(sum of the expected rates) * M * D          above zero only while the rate is negative
    costs  = D*M*(2*phi + 2*half_spread) + lambda * sigma * sqrt(T) * D*M
    lower the ratio to ratio_min iff saved > costs, and the opened exposure is at most max_naked; else the hedge's own.

Rates are expected to stay as the running one is. It takes risk, and says so. The ladder and every limit stay above it.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.funding import DAYS_PER_YEAR, HOUR_MS
from streamhedge.domain.values import CONTEXT, ZERO, ceil_step, divide, record
from streamhedge.errors import ConfigError
from streamhedge.rules.params import FundingParams, HedgeParams

YEAR_MS = DAYS_PER_YEAR * 24 * HOUR_MS


@record
class FundingVerdict:
    """What the policy wants and the figures it weighed, per unit of notional.

    Args:
        ratio: The hedge ratio to use now.
        saved: Expected payments saved over the horizon, a fraction of the notional; negative when they would be earned.
        costs: Two trades and the price of risk, a fraction of the notional.
        settlements: Payments expected inside the horizon.
        reason: The arithmetic in one sentence.
    """

    ratio: Decimal
    saved: Decimal
    costs: Decimal
    settlements: int
    reason: str


def settlements_within(*, now_ms: int, next_ms: int, interval_ms: int, horizon_ms: int) -> int:
    """Return how many funding payments fall inside the horizon."""
    if next_ms <= 0 or interval_ms <= 0:
        return 0
    left_ms = horizon_ms - max(0, next_ms - now_ms)
    return 0 if left_ms < 0 else 1 + left_ms // interval_ms


def funding_ratio(
    params: FundingParams,
    hedge: HedgeParams,
    *,
    float_quantity: Decimal,
    mark_price: Decimal,
    funding_rate: Decimal | None,
    settlements: int,
    taker_fee_rate: Decimal,
    max_naked: Decimal,
) -> FundingVerdict:
    """Return the ratio that the expected funding argues for.

    Args:
        params: The policy.
        hedge: The hedge whose own ratio stands when nothing argues against it.
        float_quantity: The float, base units.
        mark_price: Quote units.
        funding_rate: The running rate, a fraction; None when the contract has none.
        settlements: Payments expected inside the horizon.
        taker_fee_rate: phi, a fraction.
        max_naked: The most that may be left open, quote units.
    """
    years = divide(Decimal(params.horizon_ms), Decimal(YEAR_MS))
    risk = params.risk_lambda * params.volatility * CONTEXT.sqrt(years)
    costs = 2 * taker_fee_rate + 2 * params.half_spread + risk
    saved = -(funding_rate or ZERO) * settlements
    opened = (hedge.ratio - params.ratio_min) * float_quantity * mark_price
    said = (
        f"{settlements} payments at {(funding_rate or ZERO) * 100:f} % save {saved * 100:.4f} % of the notional, "
        f"two trades and the risk cost {costs * 100:.4f} %"
    )
    if saved <= costs or opened <= 0:
        return FundingVerdict(hedge.ratio, saved, costs, settlements, said)
    if opened > max_naked:
        ratio = hedge.ratio - divide(max_naked, float_quantity * mark_price)
        ratio = max(params.ratio_min, ceil_step(ratio, Decimal("0.0001")))
        return FundingVerdict(ratio, saved, costs, settlements, f"{said}; open exposure is held to {max_naked:f}")
    return FundingVerdict(params.ratio_min, saved, costs, settlements, said)


def check_funding(params: FundingParams, hedges: tuple[HedgeParams, ...]) -> None:
    """Refuse a policy that contradicts itself or a hedge.

    Raises:
        ConfigError: names the figures.
    """
    for hedge in hedges:
        if not ZERO <= params.ratio_min <= hedge.ratio:
            raise ConfigError(
                f"[funding_policy] ratio_min {params.ratio_min:f} must be between 0 and the ratio {hedge.ratio:f} of "
                f"hedge {hedge.asset}"
            )
    if params.horizon_ms < HOUR_MS:
        raise ConfigError(f"[funding_policy] horizon {params.horizon_ms} ms is shorter than any funding interval")
    for name in ("risk_lambda", "volatility", "half_spread"):
        if getattr(params, name) < 0:
            raise ConfigError(f"[funding_policy] {name} is not negative")
