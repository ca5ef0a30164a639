"""The float policy: what share of the treasury should be USD, and what to buy or sell for it. Advice; it never trades.

share u = U / (U + F*P);  drift = u - target
drift >  threshold:  buy  drift * (U + F*P) USD           never above the ceiling of the float
drift < -threshold:  sell -drift * (U + F*P) / P BTC      hold where that would go below the floor of the float
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.events import FloatTradeKind
from streamhedge.domain.values import CENT_MILLIONTH, ONE, ZERO, divide, floor_step, record
from streamhedge.errors import ConfigError
from streamhedge.rules.params import AllocationParams

CENT = Decimal("0.01")
URGENCY = (("critical", Decimal("0.25")), ("high", Decimal("0.18")), ("medium", Decimal("0.12")))
"""A drift above each of these is that urgent (HEDGING §6)."""


@record
class Suggestion:
    """What the policy would do now.

    Args:
        kind: BUY or SELL; None to hold.
        amount: USD to spend for a buy (whole cents), base units to sell (8 decimals); 0 to hold.
        share: USD share of the treasury now, a fraction.
        drift: Share minus its target.
        urgency: low, medium, high or critical.
        reason: The arithmetic in one sentence.
    """

    kind: FloatTradeKind | None
    amount: Decimal
    share: Decimal
    drift: Decimal
    urgency: str
    reason: str


def suggest(params: AllocationParams, *, usd: Decimal, float_quantity: Decimal, price: Decimal) -> Suggestion:
    """Return what the float policy suggests.

    Args:
        params: The policy.
        usd: The treasury's cash, quote units.
        float_quantity: The float, base units.
        price: Quote units per base unit, above zero.
    """
    worth = usd + float_quantity * price
    if worth <= 0:
        return Suggestion(None, ZERO, ZERO, ZERO, "low", "the treasury is empty")
    share = divide(usd, worth)
    excess = usd - params.target_usd * worth
    drift = share - params.target_usd
    urgency = next((word for word, above in URGENCY if abs(drift) > above), "low")
    said = f"USD is {share * 100:.2f} % of {worth:.2f}, target {params.target_usd * 100:.2f} %"
    if abs(drift) <= params.threshold:
        return Suggestion(None, ZERO, share, drift, urgency, f"{said}: inside {params.threshold * 100:.2f} %")
    if drift > 0:
        room = max(ZERO, params.ceiling - float_quantity) * price
        amount = floor_step(min(excess, room), CENT)
        if amount == 0:
            return Suggestion(
                None, ZERO, share, drift, urgency, f"{said}: the float is at its ceiling {params.ceiling:f}"
            )
        clipped = f", as far as the ceiling {params.ceiling:f}" if room < excess else ""
        return Suggestion(FloatTradeKind.BUY, amount, share, drift, urgency, f"{said}{clipped}")
    quantity = floor_step(divide(-excess, price), CENT_MILLIONTH)
    if float_quantity - quantity < params.floor:
        why = f"{said}: selling {quantity:f} would leave less than the floor {params.floor:f}"
        return Suggestion(None, ZERO, share, drift, urgency, why)
    return Suggestion(FloatTradeKind.SELL, quantity, share, drift, urgency, said)


def check_allocation(params: AllocationParams) -> None:
    """Refuse a policy that contradicts itself.

    Raises:
        ConfigError: names the figures.
    """
    if not ZERO < params.target_usd < ONE or not ZERO < params.threshold < ONE:
        raise ConfigError(
            f"[allocation] target_usd {params.target_usd} and threshold {params.threshold} are shares between 0 and 1"
        )
    if not ZERO <= params.floor < params.ceiling:
        raise ConfigError(f"[allocation] needs 0 <= floor < ceiling, it says {params.floor:f} and {params.ceiling:f}")
