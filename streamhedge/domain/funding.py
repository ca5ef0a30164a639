"""Funding: what a settlement pays, what a rate is worth in a year, and how long an interval is.

Nothing accrues: whoever holds at the settlement pays or receives all of it. No stream carries the interval; it is the
step from one settlement to the next (BINANCE_USDM §2.5).
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.values import divide, exact, finite_from

HOUR_MS = 3_600_000
USUAL_HOURS = (1, 4, 8)
"""The venue settles each 1, 4 or 8 hours; a symbol it says nothing about each 8."""
DAYS_PER_YEAR = 365


def funding_payment(
    *, position_amount: Decimal | str, mark_price: Decimal | str, funding_rate: Decimal | str
) -> Decimal:
    """Return the cash flow of one settlement to the account.

    Formula: -q * M_T * F; a positive rate is paid by longs and received by shorts. Source: BINANCE_USDM §6.5.

    Args:
        position_amount: Signed size held at the settlement, base units; negative is short.
        mark_price: Mark at the settlement, quote units.
        funding_rate: Rate of the settlement, a fraction (0.0001 = 0.01 %).

    Returns:
        Quote units, exact, positive when received. The venue books it at eight decimals.

    Raises:
        ValueError: a malformed number.
    """
    with exact():
        return -finite_from(position_amount) * finite_from(mark_price) * finite_from(funding_rate)


def annualised(*, funding_rate: Decimal | str, interval_ms: int) -> Decimal:
    """Return a rate as a simple yearly fraction: F * (24 / interval in hours) * 365.

    Args:
        funding_rate: Rate of one settlement, a fraction.
        interval_ms: Time between settlements, milliseconds, above zero.

    Raises:
        ValueError: a malformed number or an interval that is not above zero.
    """
    if interval_ms <= 0:
        raise ValueError(f"a funding interval is above zero, got {interval_ms} ms")
    with exact():
        return divide(finite_from(funding_rate) * DAYS_PER_YEAR * 24 * HOUR_MS, Decimal(interval_ms))


def infer_interval_ms(*, known_ms: int, previous_ms: int, next_ms: int, event_time_ms: int) -> int:
    """Return the funding interval after a frame moved the next settlement.

    A settlement that passed gives the interval as its distance to the next one. When frames were missed and several
    may have passed, the known interval stands if the step is a multiple of it. A settlement that moves without having
    passed means that the venue changed the interval: to hourly when it moves earlier, back when later; it is the
    shortest usual interval that reaches from now to the new time and differs from the known one in that direction.

    Args:
        known_ms: Interval so far, milliseconds.
        previous_ms: Next settlement of the frame before, 0 before any.
        next_ms: Next settlement of this frame, 0 for a contract without funding.
        event_time_ms: Venue time of this frame.
    """
    if previous_ms <= 0 or next_ms <= 0:
        return known_ms
    step = _hours(next_ms - previous_ms)
    known = _hours(known_ms)
    if step == 0:
        return known_ms
    if event_time_ms >= previous_ms:
        missed = event_time_ms - previous_ms >= known_ms and step % known == 0
        if missed or step < 0:
            return known_ms
        return HOUR_MS * max((usual for usual in USUAL_HOURS if step % usual == 0), default=known)
    reach = next_ms - event_time_ms
    fitting = [
        usual for usual in USUAL_HOURS if usual * HOUR_MS >= reach and (usual > known if step > 0 else usual < known)
    ]
    return HOUR_MS * min(fitting, default=known)


def _hours(duration_ms: int) -> int:
    """Round to whole hours: settlement stamps jitter by some milliseconds."""
    return (duration_ms + HOUR_MS // 2) // HOUR_MS
