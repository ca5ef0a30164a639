"""Float trades as a program says them: `Buy(usd="10000", reason="rebalancing")` and its kin make a TradeRequest."""

from __future__ import annotations

import secrets
from decimal import Decimal

from streamhedge.domain.events import FloatTradeKind
from streamhedge.domain.treasury import TradeRequest
from streamhedge.domain.values import Asset, TradeId, decimal_from
from streamhedge.errors import CommandError

Amount = Decimal | str | int


def Buy(
    usd: Amount,
    *,
    btc: Amount | None = None,
    price: Amount | None = None,
    reason: str = "",
    trade_id: str | None = None,
    asset: str = "BTC",
    confirmed: bool = False,
) -> TradeRequest:
    """Return a purchase for so much USD.

    Args:
        usd: What was spent, quote units.
        btc: What was received, base units, where fees made it differ from usd / price.
        price: Quote per base; the mark without.
        reason: Stands in the ledger.
        trade_id: Idempotency: the same id is booked once; made up without.
        asset: The float asset.
        confirmed: It is meant although it is above max_trade or its price outside the collar.

    Raises:
        CommandError: an amount is no number; nothing was recorded.
    """
    return _request(FloatTradeKind.BUY, usd, btc, price, reason, trade_id, asset, confirmed)


def Sell(
    btc: Amount,
    *,
    price: Amount | None = None,
    reason: str = "",
    trade_id: str | None = None,
    asset: str = "BTC",
    confirmed: bool = False,
) -> TradeRequest:
    """Return a sale of so much of the float, base units; arguments as of ``Buy``."""
    return _request(FloatTradeKind.SELL, btc, None, price, reason, trade_id, asset, confirmed)


def Deposit(
    btc: Amount,
    *,
    reason: str = "",
    trade_id: str | None = None,
    asset: str = "BTC",
    confirmed: bool = False,
) -> TradeRequest:
    """Return a deposit of so much into the float, base units; arguments as of ``Buy``."""
    return _request(FloatTradeKind.DEPOSIT, btc, None, None, reason, trade_id, asset, confirmed)


def Withdraw(
    btc: Amount,
    *,
    reason: str = "",
    trade_id: str | None = None,
    asset: str = "BTC",
    confirmed: bool = False,
) -> TradeRequest:
    """Return a withdrawal of so much from the float, base units; arguments as of ``Buy``."""
    return _request(FloatTradeKind.WITHDRAW, btc, None, None, reason, trade_id, asset, confirmed)


def SetFloat(
    btc: Amount,
    *,
    reason: str,
    trade_id: str | None = None,
    asset: str = "BTC",
    confirmed: bool = False,
) -> TradeRequest:
    """Return an audit correction: the float is this much, base units; arguments as of ``Buy``."""
    return _request(FloatTradeKind.SET, btc, None, None, reason, trade_id, asset, confirmed)


def _request(
    kind: FloatTradeKind,
    amount: Amount,
    quantity: Amount | None,
    price: Amount | None,
    reason: str,
    trade_id: str | None,
    asset: str,
    confirmed: bool,
) -> TradeRequest:
    try:
        return TradeRequest(
            kind=kind,
            asset=Asset(asset),
            amount=decimal_from(amount),
            trade_id=TradeId(trade_id if trade_id is not None else f"ft-{secrets.token_hex(4)}"),
            quantity=None if quantity is None else decimal_from(quantity),
            price=None if price is None else decimal_from(price),
            reason=reason,
            confirmed=confirmed,
        )
    except ValueError as error:
        raise CommandError(f"not a float trade: {error}; nothing recorded") from error
