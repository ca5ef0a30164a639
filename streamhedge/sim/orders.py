"""Orders at the exchange, their checks and their matching against the book around the mark."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from streamhedge.sim.account import Account
from streamhedge.sim.market import Contract
from streamhedge.sim.refusals import Refusal

D = Decimal
CLIENT_ID = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
TYPES = ("LIMIT", "MARKET")
ALGO_TYPES = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
LIFETIMES = ("GTC", "IOC", "FOK", "GTX", "GTD")
PREVENTIONS = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "NONE")
CLOSING_ONLY = ("PRE_DELIVERING", "PRE_SETTLE")
OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass(slots=True)
class SimOrder:
    """One order; price 0 for MARKET."""

    order_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    prevention: str
    time_ms: int
    update_ms: int
    status: str = "NEW"
    filled: Decimal = D(0)
    quote: Decimal = D(0)
    visible_ms: int = 0
    origin: str = ""
    """Type of the conditional order it comes from; empty for any other."""
    stop_price: Decimal = D(0)
    working_type: str = "CONTRACT_PRICE"
    close_position: bool = False
    price_protect: bool = False

    @property
    def open(self) -> bool:
        """True while it rests."""
        return self.status in OPEN

    @property
    def left(self) -> Decimal:
        """Quantity not filled."""
        return self.quantity - self.filled

    @property
    def average(self) -> Decimal:
        """Average fill price, 0 before the first fill."""
        return D(0) if self.filled == 0 else (self.quote / self.filled).quantize(D("0.00001"))

    @property
    def sign(self) -> int:
        """+1 buy, -1 sell."""
        return 1 if self.side == "BUY" else -1


def decimal_param(params: Mapping[str, str], name: str) -> Decimal:
    """Return a decimal parameter, refusing what is none."""
    text = params.get(name, "")
    try:
        value = D(text)
    except InvalidOperation as error:
        raise Refusal(-1102, name) from error
    if not value.is_finite():
        raise Refusal(-1102, name)
    return value


def parse_order(
    params: Mapping[str, str], contract: Contract, account: Account, *, order_id: int, now_ms: int, client_id: str
) -> SimOrder:
    """Return the order in the parameters, checked against filters but not yet against margin."""
    side, kind = params.get("side", ""), params.get("type", "")
    if side not in ("BUY", "SELL"):
        raise Refusal(-1102 if not side else -1130, "side")
    if kind in ALGO_TYPES:
        raise Refusal(-4120)
    if kind not in TYPES:
        raise Refusal(-1102 if not kind else -1130, "type")
    # Hedge mode can be switched on, as a fault of the account, but is not traded here.
    if account.dual_side or params.get("positionSide", "BOTH") != "BOTH":
        raise Refusal(-4061)
    prevention = params.get("selfTradePreventionMode", "EXPIRE_MAKER")
    if prevention not in PREVENTIONS:
        raise Refusal(-1130, "selfTradePreventionMode")
    if not CLIENT_ID.match(client_id):
        raise Refusal(-4015)
    quantity = decimal_param(params, "quantity")
    price, lifetime = D(0), "GTC"
    if kind == "LIMIT":
        price = decimal_param(params, "price")
        lifetime = params.get("timeInForce", "")
        if lifetime not in LIFETIMES:
            raise Refusal(-1102 if not lifetime else -1130, "timeInForce")
    reduce_only = params.get("reduceOnly", "false").lower() == "true"
    check_filters(contract, quantity=quantity, price=price, kind=kind, side=side, reduce_only=reduce_only)
    return SimOrder(
        order_id=order_id,
        client_id=client_id,
        symbol=contract.symbol,
        side=side,
        type=kind,
        time_in_force=lifetime,
        quantity=quantity,
        price=price,
        reduce_only=reduce_only,
        prevention=prevention,
        time_ms=now_ms,
        update_ms=now_ms,
    )


def check_filters(
    contract: Contract, *, quantity: Decimal, price: Decimal, kind: str, side: str, reduce_only: bool
) -> None:
    """Refuse quantity and price outside the symbol's filters."""
    if contract.status in CLOSING_ONLY and not reduce_only:
        raise Refusal(-4140)
    if contract.status != "TRADING" and contract.status not in CLOSING_ONLY:
        raise Refusal(-4141)
    if quantity <= 0:
        raise Refusal(-4003)
    if finer(quantity, contract.step) or (kind == "LIMIT" and finer(price, D("0.01"))):
        raise Refusal(-1111)
    if quantity < contract.step:
        raise Refusal(-4004)
    if quantity > (contract.market_max if kind == "MARKET" else contract.max_quantity):
        raise Refusal(-4005)
    if quantity % contract.step != 0:
        raise Refusal(-4023)
    reference = contract.mark
    if kind == "LIMIT":
        if price < contract.min_price:
            raise Refusal(-4013, contract.min_price)
        if price % contract.tick != 0:
            raise Refusal(-4014)
        if side == "BUY" and price > contract.mark * contract.multiplier_up:
            raise Refusal(-4016)
        if side == "SELL" and price < contract.mark * contract.multiplier_down:
            raise Refusal(-4024)
        reference = price
    if not reduce_only and quantity * reference < contract.min_notional:
        raise Refusal(-4164, contract.min_notional)


def finer(value: Decimal, step: Decimal) -> bool:
    """True when a value has more decimals than the step, trailing zeros aside."""
    places, most = value.normalize().as_tuple().exponent, step.normalize().as_tuple().exponent
    return isinstance(places, int) and isinstance(most, int) and places < min(most, 0)


def check_margin(order: SimOrder, contract: Contract, account: Account, *, queued: Decimal, available: Decimal) -> None:
    """Refuse what the position's ceiling or the available balance does not carry.

    Args:
        order: The order, not yet taken.
        contract: Its contract.
        account: The account.
        queued: Quantity of the same side's open orders that may open, base asset.
        available: What new orders may use, quote asset.

    Raises:
        Refusal: -2027 above the ceiling, -2019 without the margin.
    """
    if order.reduce_only:
        return
    already = account.opening(order.symbol, order.side, queued)
    opening = account.opening(order.symbol, order.side, queued + order.quantity) - already
    if opening == 0:
        return
    p = account.position(order.symbol)
    after = abs(p.amount + order.sign * (order.quantity + queued)) * contract.mark
    if after > contract.ceiling(p.leverage):
        raise Refusal(-2027)
    price = order.price if order.type == "LIMIT" else contract.levels(order.side, 1)[0][0]
    if account.cost(contract, order.side, opening, price) > available:
        raise Refusal(-2019)


def reducible(order: SimOrder, account: Account) -> Decimal:
    """Return how much of a reduce-only order the position still allows."""
    amount = account.position(order.symbol).amount
    return abs(amount) if amount * order.sign < 0 else D(0)


def reaches(order: SimOrder, price: Decimal) -> bool:
    """True when an order's limit allows a price of the other side."""
    if order.type == "MARKET":
        return True
    return price <= order.price if order.side == "BUY" else price >= order.price


def matches(order: SimOrder, contract: Contract, limit: Decimal) -> list[tuple[Decimal, Decimal]]:
    """Return (price, quantity) fills of up to ``limit`` against the book now."""
    found = []
    left = limit
    bound = contract.take_bound
    for price, size in contract.levels(order.side):
        if not reaches(order, price):
            break
        if order.type == "MARKET" and abs(price - contract.mark) > contract.mark * bound:
            break
        take = min(left, size)
        if take <= 0:
            break
        found.append((price, take))
        left -= take
    return found
