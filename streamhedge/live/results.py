"""What a float trade came to: the typed result of `execute_trade_with_hedge` (HEDGING §6)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.events import FloatTrade
from streamhedge.domain.order import Order
from streamhedge.domain.values import ZERO, ClientOrderId, divide, exact, record
from streamhedge.live.status import in_band
from streamhedge.reactor.state import Core
from streamhedge.rules.params import HedgeParams


@record
class HedgeResult:
    """What the hedge of a float trade did. Quantities in base units, money in quote units.

    ``status``: hedged, dust (nothing to send), partial, pending (at the deadline), in_doubt, blocked, shadow.
    ``slippage_bps``: against the mark at the decision, + is a cost. ``realised_pnl`` is gross of ``fees``.
    ``time_to_neutral_ms``: from booking until naked exposure was in band; None while it is not.
    """

    status: str
    reason: str
    orders: tuple[ClientOrderId, ...]
    filled: Decimal
    average_price: Decimal | None
    slippage_bps: Decimal | None
    fees: Decimal
    realised_pnl: Decimal
    position_before: Decimal
    position_after: Decimal
    target: Decimal
    gap: Decimal
    naked_usd: Decimal
    dust: Decimal
    time_to_neutral_ms: Decimal | None


@record
class TradeResult:
    """A float trade that is booked, and its hedge. ``duplicate``: the id stood there already and nothing changed."""

    trade: FloatTrade
    duplicate: bool
    float_before: Decimal
    float_after: Decimal
    hedge: HedgeResult

    def json(self) -> dict[str, Any]:
        """Return what the command line and the control socket say of it; money and quantities as text."""
        hedge = to_plain(self.hedge)
        for name, places in (("average_price", 2), ("slippage_bps", 3), ("naked_usd", 2)):
            value = getattr(self.hedge, name)
            hedge[name] = None if value is None else f"{value:.{places}f}"
        waited = self.hedge.time_to_neutral_ms
        hedge["time_to_neutral_ms"] = None if waited is None else float(waited)
        return {"recorded": True, **to_plain(self), "hedge": hedge}


def hedge_result(
    core: Core, hedge: HedgeParams, *, since_ns: int, position_before: Decimal, neutral_ns: int | None
) -> HedgeResult:
    """Return what the orders decided since a moment did for a hedge.

    Args:
        core: The reactor's state and policy.
        hedge: The hedge.
        since_ns: When the float trade was booked.
        position_before: The position then.
        neutral_ns: When waiting ended in band or blocked; None at the deadline.
    """
    memory = core.memory_of(hedge.symbol)
    orders = [o for o in core.state.orders.values() if o.symbol == hedge.symbol and o.decided_ns >= since_ns]
    filled = sum((order.filled for order in orders), ZERO)
    quote = sum((order.filled_quote for order in orders), ZERO)
    with exact():
        average = divide(quote, filled) if filled and quote else None
        slippage = _slippage(orders, average)
    status, reason = _outcome(core, hedge, orders, filled)
    return HedgeResult(
        status=status,
        reason=reason,
        orders=tuple(order.client_order_id for order in orders),
        filled=filled,
        average_price=average,
        slippage_bps=slippage,
        fees=sum((order.commission for order in orders), ZERO),
        realised_pnl=sum((order.realised_pnl for order in orders), ZERO),
        position_before=position_before,
        position_after=core.state.book.quantity(hedge.symbol),
        target=memory.target,
        gap=memory.gap_low,
        naked_usd=memory.naked_usd,
        dust=memory.dust,
        time_to_neutral_ms=_ms(neutral_ns - since_ns) if neutral_ns is not None and in_band(core, hedge) else None,
    )


def _ms(elapsed_ns: int) -> Decimal:
    return divide(Decimal(elapsed_ns // 1_000), Decimal(1_000))


def _slippage(orders: Sequence[Order], average: Decimal | None) -> Decimal | None:
    if average is None:
        return None
    first = orders[0]
    return divide(first.side.sign * (average - first.decision_mark) * 10_000, first.decision_mark)


def _outcome(core: Core, hedge: HedgeParams, orders: Sequence[Order], filled: Decimal) -> tuple[str, str]:
    """Return (status, reason), the first that is true."""
    memory = core.memory_of(hedge.symbol)
    doubt = [order.client_order_id for order in orders if order.in_doubt]
    if doubt:
        return "in_doubt", f"outcome of {', '.join(doubt)} unknown; evidence is being asked for"
    if core.state.shadow:
        return "shadow", "orders are withheld (--shadow)"
    if in_band(core, hedge):
        return ("hedged" if filled else "dust"), memory.hold
    if memory.blocked is not None:
        return "blocked", memory.blocked.reason
    if core.state.halted is not None:
        return "blocked", core.state.halted
    return ("partial" if filled else "pending"), memory.hold
