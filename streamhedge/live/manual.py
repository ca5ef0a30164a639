"""The original's verbs for positions that no hedge steers: open a short, close a position, and wait for what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

from streamhedge.domain.commands import Note
from streamhedge.domain.events import ManualOrder
from streamhedge.domain.order import Order, OrderStatus, Side
from streamhedge.domain.values import ZERO, Symbol, record
from streamhedge.errors import CommandError, NetworkError, OutcomeUnknown
from streamhedge.reactor.state import Core
from streamhedge.store.ledger import Ledger
from streamhedge.wire.outcomes import api_error


@record
class OpenedShort:
    """A short that was opened. Quantity in base units, price and fees in quote units."""

    client_order_id: str
    quantity: Decimal
    average_price: Decimal | None
    fees: Decimal


@record
class ClosedPosition:
    """A position that was closed, whole or in part; quote units.

    ``gross_pnl`` is realised by the closing fills, ``fees`` are theirs, ``net_pnl`` = gross_pnl − fees. ``funding`` is
    what was booked for the symbol since it was last flat, + received, and stands apart.
    """

    client_order_id: str
    quantity: Decimal
    gross_pnl: Decimal
    fees: Decimal
    funding: Decimal
    net_pnl: Decimal


def check_by_hand(core: Core, symbol: Symbol) -> None:
    """Refuse a symbol that a hedge steers, or that no [[manual]] table allows.

    Raises:
        CommandError: nothing was sent; the message says what to do.
    """
    hedge = core.hedge_of(symbol)
    if hedge is not None:
        raise CommandError(
            f"{symbol} is held at target by hedge {hedge.asset}; record a float trade instead. Nothing was sent"
        )
    if not any(table.symbol == symbol for table in core.policy.manual):
        raise CommandError(
            f"no [[manual]] table names {symbol}: say symbol, max_short, max_order_quantity, leverage and margin. "
            "Nothing was sent"
        )


def closing_order(core: Core, symbol: Symbol, quantity: Decimal | None, reason: str, uid: int) -> ManualOrder:
    """Return the order that closes a position, or so much of it.

    Raises:
        CommandError: there is nothing to close, or less than that.
    """
    held = core.state.book.quantity(symbol)
    size = abs(held) if quantity is None else quantity
    if held == 0 or not 0 < size <= abs(held):
        raise CommandError(f"cannot close {size} of a {symbol} position of {held}; nothing was sent")
    return ManualOrder(symbol, Side.BUY if held < 0 else Side.SELL, size, True, reason, uid)


async def outcome(
    core: Core, seq: int, notes: Sequence[Note], turn: Callable[[float], Awaitable[None]], deadline_s: float
) -> Order:
    """Return the order that input ``seq`` led to, once it has ended.

    Raises:
        CommandError: the gate refused it; nothing was sent.
        ApiError, RateLimited: the venue refused it for certain.
        NetworkError: it never left this machine.
        OutcomeUnknown: it was sent and nothing is known yet; evidence is being asked for, nothing is sent again.
    """
    refused = next((note.text for note in notes if note.code == "manual_refused"), None)
    if refused is not None:
        raise CommandError(refused)
    order = next(order for order in reversed(core.state.orders.values()) if order.decided_seq == seq)
    ends = asyncio.get_running_loop().time() + deadline_s
    while order.is_open or core.memory_of(order.symbol).exposure is not None:
        left = ends - asyncio.get_running_loop().time()
        if left <= 0:
            raise OutcomeUnknown(
                f"{order.client_order_id}: {order.side.value} {order.quantity} {order.symbol} is {order.status.value} "
                f"after {deadline_s:.0f} s; nothing is sent on {order.symbol} until evidence settles it"
            )
        await turn(left)
    if order.status is OrderStatus.REFUSED:
        if order.error_code is None:
            raise NetworkError(f"{order.client_order_id} was not sent: {order.error_message}")
        raise api_error(400, order.error_code, order.error_message)
    if order.status is OrderStatus.ABSENT:
        raise OutcomeUnknown(f"{order.client_order_id} never reached the venue, by all the evidence there is")
    return order


def funding_since_flat(ledger: Ledger, symbol: Symbol) -> Decimal:
    """Return the funding booked for a symbol since our own fills last left it flat, quote units, + received."""
    fills = [(row["time_ms"], row) for key, row in ledger.rows("fill") if key.startswith(f"{symbol}:")]
    held, since_ms = ZERO, 0
    for time_ms, row in sorted(fills, key=lambda found: found[0]):
        if held == 0:
            since_ms = time_ms
        held += Decimal(row["quantity"]) * Side(row["side"]).sign
    rows = [row for _, row in ledger.rows("funding") if row["symbol"] == symbol and row["time_ms"] >= since_ms]
    return sum((Decimal(row["amount"]) for row in rows), ZERO)
