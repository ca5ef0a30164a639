"""Orders a program asks for by hand, on symbols that no hedge steers: same gate, same ledger, same settling.

A [[manual]] table must name the symbol and its limits; without one nothing is allowed (there are no defaults).
"""

from __future__ import annotations

from streamhedge.domain.commands import Level
from streamhedge.domain.events import ManualOrder
from streamhedge.domain.order import OrderType, Purpose, Side, TimeInForce
from streamhedge.reactor.decide import gate_context, view_of
from streamhedge.reactor.orders import register
from streamhedge.reactor.state import Core
from streamhedge.rules.hedge import collar_price
from streamhedge.rules.limits import Refused, gate
from streamhedge.rules.view import HedgeView, IntentDraft


def on_manual(core: Core, event: ManualOrder) -> None:
    """Judge one order and send it, or note the refusal as ``manual_refused``."""
    params = next((table for table in core.policy.manual if table.symbol == event.symbol), None)
    if params is None:
        core.trip("R13")
        _refuse(core, event, f"no [[manual]] table names {event.symbol}")
        return
    view = view_of(core, params)
    if view is None:
        _refuse(core, event, f"no mark price or filters of {event.symbol} are known yet")
        return
    draft = _draft(view, event)
    verdict = gate(draft, view, gate_context(core, view))
    if isinstance(verdict, Refused):
        core.trip(verdict.control.partition(" ")[0])
        _refuse(core, event, f"{verdict.control}: {verdict.reason}")
        return
    if core.state.shadow:
        _refuse(core, event, "orders are withheld (shadow)")
        return
    register(core, draft)


def _draft(view: HedgeView, event: ManualOrder) -> IntentDraft:
    """A short is opened inside the collar; a position is closed at any price, reduce-only."""
    sign = event.side.sign
    return IntentDraft(
        symbol=event.symbol,
        side=event.side,
        quantity=event.quantity,
        type=OrderType.MARKET if event.reduce_only else OrderType.LIMIT,
        price=None if event.reduce_only else collar_price(view, Side.SELL),
        time_in_force=None if event.reduce_only else TimeInForce.IOC,
        reduce_only=event.reduce_only,
        purpose=Purpose.MANUAL,
        target=view.position + sign * event.quantity,
        reason=f"by hand (uid {event.uid}): {event.reason}",
    )


def _refuse(core: Core, event: ManualOrder, reason: str) -> None:
    core.note(
        "manual_refused",
        Level.WARNING,
        event.symbol,
        f"{event.side.value} {event.quantity} {event.symbol}: {reason}; nothing was sent",
    )
