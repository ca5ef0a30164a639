"""Whether a contract and the account's settings for it can carry a hedge at all; judged after each set-up."""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.instrument import Instrument
from streamhedge.domain.values import ceil_step, divide, floor_step, plain_text
from streamhedge.errors import ConfigError
from streamhedge.rules.hedge import NOTIONAL_MARGIN
from streamhedge.rules.liquidation import check_isolated
from streamhedge.rules.params import HedgeParams, Policy


def misfit(
    hedge: HedgeParams,
    policy: Policy,
    *,
    instrument: Instrument | None,
    leverage: int | None,
    isolated: bool | None,
    mark_price: Decimal | None,
) -> str | None:
    """Return why a hedge may not be traded as configured, with what to do; None when it may.

    Args:
        hedge: The hedge.
        policy: All hedges, ladder and limits.
        instrument: What the venue says about the contract; None when it lists no such symbol.
        leverage, isolated: The account's setting for the symbol; None where the venue did not say.
        mark_price: The latest mark, None before the first.
    """
    symbol = hedge.symbol
    if instrument is None:
        return f"the venue lists no {symbol}; correct hedge.{hedge.asset}.symbol"
    if instrument.status != "TRADING":
        return f"contract status of {symbol} is {instrument.status}"
    if instrument.contract_type != "PERPETUAL":
        return f"{symbol} is a {instrument.contract_type}, not a PERPETUAL"
    if instrument.margin_asset != policy.margin_asset:
        return f"{symbol} is margined in {instrument.margin_asset}, this hedger keeps {policy.margin_asset}"
    if instrument.base_asset != hedge.asset:
        return f"{symbol} is a contract on {instrument.base_asset}, it hedges no {hedge.asset}"
    if isolated is not None and isolated != hedge.isolated:
        have, want = ("isolated", "cross") if isolated else ("cross", "isolated")
        return (
            f"{symbol} is on {have} margin and could not be changed to {want} (an open position or order holds it); "
            f"close it or set hedge.{hedge.asset}.margin = {have!r}"
        )
    if leverage is not None and leverage > policy.limits.max_leverage:
        return f"leverage of {symbol} is {leverage}, above max_leverage {policy.limits.max_leverage}"
    if mark_price is not None:
        try:
            check_isolated(hedge, policy.ladder, instrument, mark_price)
        except ConfigError as error:
            return str(error)
        return _too_small_orders(hedge, policy, instrument, mark_price)
    return None


def _too_small_orders(hedge: HedgeParams, policy: Policy, instrument: Instrument, mark_price: Decimal) -> str | None:
    """Say, with the arithmetic, that the largest order the limits allow is smaller than the smallest the venue takes."""
    by_notional = divide(policy.limits.max_order_notional, mark_price)
    largest = floor_step(min(hedge.max_order_quantity, by_notional, instrument.max_quantity), instrument.step_size)
    needed = divide(instrument.min_notional * NOTIONAL_MARGIN, mark_price)
    smallest = max(instrument.step_size, instrument.min_quantity, ceil_step(needed, instrument.step_size))
    if largest >= smallest:
        return None
    return (
        f"no order can be sent on {hedge.symbol}: the largest is {plain_text(largest)}, the least of max_order_quantity "
        f"{plain_text(hedge.max_order_quantity)} and max_order_notional {plain_text(policy.limits.max_order_notional)} / "
        f"{plain_text(mark_price)} = {by_notional:.6f}; the smallest the venue takes is {plain_text(smallest)} "
        f"({smallest * mark_price:.2f} {instrument.quote_asset}). Raise them"
    )
