"""Spot fills: from what the venue executed to the float trade it amounts to, net of what the commission took."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from streamhedge.domain.events import FloatTrade, FloatTradeKind
from streamhedge.domain.order import Side
from streamhedge.domain.values import ZERO, Asset, Symbol, TradeId, exact, plain_text, record

USD_QUOTES = ("USDT", "USDC", "FDUSD")
"""Quote assets whose unit counts as one USD."""


@record
class SpotPair:
    """A spot symbol whose base is a float asset and whose quote counts as USD."""

    symbol: Symbol
    base: Asset
    quote: Asset


@record
class SpotFill:
    """One execution on the spot account.

    Args:
        symbol: The spot symbol.
        trade_id: The venue's, ascending within a symbol.
        order_id: The order's, the venue's own.
        side: Of our order.
        quantity: Base units, above zero, before commission.
        price: Quote per base.
        commission: What was taken, in units of ``commission_asset``.
        commission_asset: None where nothing was taken.
        time_ms: When it executed.
    """

    symbol: Symbol
    trade_id: int
    order_id: int
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    commission_asset: Asset | None
    time_ms: int


def pair_of(symbol: str, assets: Iterable[str]) -> SpotPair | None:
    """Return how a spot symbol splits into one of the float assets and a quote that counts as USD; None: it does not."""
    for asset in assets:
        quote = symbol.removeprefix(asset)
        if quote != symbol and quote in USD_QUOTES:
            return SpotPair(symbol=Symbol(symbol), base=Asset(asset), quote=Asset(quote))
    return None


def trade_id_of(fill: SpotFill) -> TradeId:
    """Return the id under which a fill is booked: the same fill, however often it is told, has the same."""
    return TradeId(f"spot-{fill.symbol}-{fill.trade_id}")


def trade_of(fill: SpotFill, pair: SpotPair, *, time_ms: int) -> FloatTrade:
    """Return the float trade that a fill amounts to.

    A commission in base comes off what was received, one in quote off the money; a third asset is no part of the float.

    Args:
        fill: What was executed.
        pair: How its symbol splits.
        time_ms: When it is booked.
    """
    buys = fill.side is Side.BUY
    with exact():
        taken = {pair.base: ZERO, pair.quote: ZERO}
        if fill.commission_asset in taken:
            taken[fill.commission_asset] = fill.commission
        value = fill.quantity * fill.price
        paid = f", commission {plain_text(fill.commission)} {fill.commission_asset}" if fill.commission else ""
        return FloatTrade(
            trade_id=trade_id_of(fill),
            asset=pair.base,
            kind=FloatTradeKind.BUY if buys else FloatTradeKind.SELL,
            quantity=fill.quantity * fill.side.sign - taken[pair.base],
            usd=-value * fill.side.sign - taken[pair.quote],
            price=fill.price,
            time_ms=time_ms,
            reason=f"spot order {fill.order_id} {fill.side.value} {plain_text(fill.quantity)} {fill.symbol}{paid}",
        )
