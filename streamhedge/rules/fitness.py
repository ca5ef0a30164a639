"""Whether a contract and the account's settings for it can carry a hedge at all; judged after each set-up."""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.instrument import Instrument
from streamhedge.errors import ConfigError
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
    return None
