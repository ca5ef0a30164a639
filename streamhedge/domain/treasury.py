"""Float trades: from what a person says to the fact that is booked.

A float trade is idempotent by its id and durable before anybody acts on it. A sale or withdrawal beyond the float is
refused and not recorded; an amount that is zero, negative or no number likewise.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.events import FloatTrade, FloatTradeKind
from streamhedge.domain.values import CENT_MILLIONTH, ZERO, Asset, TradeId, divide, exact, floor_step, record
from streamhedge.errors import CommandError

_KIND = FloatTradeKind
IN_USD = (_KIND.DEPOSIT_USD, _KIND.WITHDRAW_USD, _KIND.SET_USD)


@record
class TradeRequest:
    """What was asked. ``amount`` is USD for `buy` and the `-usd` kinds, base units for the others.

    ``quantity`` (the CLI's --btc) wins over USD / price for a buy; ``price`` None means the mark.
    """

    kind: FloatTradeKind
    asset: Asset
    amount: Decimal
    trade_id: TradeId
    quantity: Decimal | None
    price: Decimal | None
    reason: str
    confirmed: bool
    voids: TradeId | None = None


@record
class TradeLimits:
    """What a person must confirm before it is booked: money in quote units, collar as a fraction."""

    max_trade: Decimal
    price_collar: Decimal


def book_trade(
    request: TradeRequest,
    *,
    float_quantity: Decimal,
    usd: Decimal,
    mark_price: Decimal | None,
    limits: TradeLimits,
    time_ms: int,
    original: FloatTrade | None = None,
    voided_by: TradeId | None = None,
) -> FloatTrade:
    """Return the fact that a request amounts to.

    Args:
        request: What was asked.
        float_quantity: The float now, base units.
        usd: The treasury's USD now.
        mark_price: The latest mark, None before the first.
        limits: What needs a confirmation.
        time_ms: When it is booked.
        original: The trade that a `void` undoes.
        voided_by: The void that undid it before, where one did.

    Raises:
        CommandError: nothing is booked; the message says why and what to do.
    """
    with exact():
        if request.kind is _KIND.VOID:
            if voided_by is not None:
                raise CommandError(f"{request.voids} is voided already, by {voided_by}; nothing recorded")
            return _void(request, original, float_quantity=float_quantity, time_ms=time_ms)
        for name, value in (("amount", request.amount), ("quantity", request.quantity), ("price", request.price)):
            if value is not None and not value.is_finite():
                raise CommandError(f"{request.kind.value}: the {name} {value} is no finite number; nothing recorded")
        if request.amount < 0 or (request.amount == 0 and request.kind not in (_KIND.SET, _KIND.SET_USD)):
            raise CommandError(
                f"{request.kind.value} {request.amount}: the amount must be above zero; nothing recorded"
            )
        price = request.price if request.price is not None else mark_price
        if price is None or price <= 0:
            raise CommandError("no mark price is known yet and no --price was given; nothing recorded")
        quantity, money = _amounts(request, price, float_quantity=float_quantity, usd=usd)
        _check(request, quantity, price, float_quantity=float_quantity, mark_price=mark_price, limits=limits)
        return FloatTrade(
            trade_id=request.trade_id,
            asset=request.asset,
            kind=request.kind,
            quantity=quantity,
            usd=money,
            price=price,
            time_ms=time_ms,
            reason=request.reason,
        )


def repeats(held: FloatTrade, request: TradeRequest, *, stood: Decimal | None = None) -> bool:
    """Return whether a request says again what is booked under its id; if not, it is another trade with a used id.

    Everything the person said counts, the reason too. What was left to the program does not: a price that was not said
    was the mark of that moment, so the booked price stands in for it, and today's mark never makes a repetition a new
    trade. Hence two buys of the same USD differ only if one said a price, or the BTC received, that the other did not get.

    Args:
        held: What is booked under the request's id.
        request: What is asked now.
        stood: For `set` and `set-usd`: the float, or the USD, right before ``held`` was booked. None: not known, and
            then a `set` is never taken for a repetition.
    """
    if held.kind is not request.kind or held.reason != request.reason:
        return False
    if request.kind is _KIND.VOID:
        return held.voids == request.voids
    if held.asset != request.asset or request.price not in (None, held.price):
        return False
    if request.kind in (_KIND.SET, _KIND.SET_USD) and stood is None:
        return False
    if not request.amount.is_finite() or held.price <= 0:
        return False
    before = stood if stood is not None else ZERO
    with exact():
        return (held.quantity, held.usd) == _amounts(request, held.price, float_quantity=before, usd=before)


def _amounts(
    request: TradeRequest, price: Decimal, *, float_quantity: Decimal, usd: Decimal
) -> tuple[Decimal, Decimal]:
    amount = request.amount
    bought = request.quantity if request.quantity is not None else floor_step(divide(amount, price), CENT_MILLIONTH)
    sold = floor_step(amount, CENT_MILLIONTH)
    changes = {
        _KIND.BUY: (bought, -amount),
        _KIND.SELL: (-sold, sold * price),
        _KIND.DEPOSIT: (sold, ZERO),
        _KIND.WITHDRAW: (-sold, ZERO),
        _KIND.SET: (sold - float_quantity, ZERO),
        _KIND.DEPOSIT_USD: (ZERO, amount),
        _KIND.WITHDRAW_USD: (ZERO, -amount),
        _KIND.SET_USD: (ZERO, amount - usd),
    }
    return changes[request.kind]


def _check(
    request: TradeRequest,
    quantity: Decimal,
    price: Decimal,
    *,
    float_quantity: Decimal,
    mark_price: Decimal | None,
    limits: TradeLimits,
) -> None:
    word = request.kind.value
    if request.kind not in IN_USD and quantity == 0 and request.kind is not _KIND.SET:
        raise CommandError(f"{word} {request.amount} rounds to nothing at 8 decimals; nothing recorded")
    if float_quantity + quantity < 0:
        raise CommandError(
            f"{word} {-quantity:f} {request.asset} is more than the float of {float_quantity:f} {request.asset}; "
            "nothing recorded"
        )
    if request.confirmed:
        return
    value = abs(quantity) * price if request.kind not in IN_USD else request.amount
    if value > limits.max_trade:
        raise CommandError(
            f"{word} is worth {value:.2f} USD, above max_trade {limits.max_trade:f}: it would change the float by "
            f"{quantity:+f} {request.asset}; repeat with --yes if that is meant; nothing recorded"
        )
    if mark_price is not None and abs(price - mark_price) > limits.price_collar * mark_price:
        raise CommandError(
            f"price {price:f} is more than {limits.price_collar * 100:f} % from the mark {mark_price:f}; "
            "repeat with --yes if that is meant; nothing recorded"
        )


def _void(request: TradeRequest, original: FloatTrade | None, *, float_quantity: Decimal, time_ms: int) -> FloatTrade:
    if original is None:
        raise CommandError("no such float trade to void; nothing recorded")
    if original.kind is _KIND.VOID:
        raise CommandError(f"{original.trade_id} is itself a void; book the trade again instead; nothing recorded")
    if float_quantity - original.quantity < 0:
        raise CommandError(
            f"voiding {original.trade_id} takes {original.quantity:f} {original.asset} out of a float of "
            f"{float_quantity:f}; nothing recorded"
        )
    return FloatTrade(
        trade_id=request.trade_id,
        asset=original.asset,
        kind=_KIND.VOID,
        quantity=-original.quantity,
        usd=-original.usd,
        price=original.price,
        time_ms=time_ms,
        reason=request.reason,
        voids=original.trade_id,
    )
