"""The gate every draft passes: approved, or refused with the control that refused it. Nothing bypasses it.

Order of checks (FAULTS §5): state, symbol, data, single intent, filters, quantity, notional, collar, position, leverage,
rate, ramp, turnover, direction. Limits have no defaults; an exception in a check is a bug and stops the process.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from streamhedge.domain.order import OrderType, Purpose, Side
from streamhedge.domain.values import NS_PER_MS, ONE, ZERO, floor_step, record
from streamhedge.rules.hedge import PERCENT_PRICE_ROOM, RAMP_EVERY_NS, ramp_most
from streamhedge.rules.view import BookStatus, HedgeView, IntentDraft, SymbolState, TradingState


@record
class GateContext:
    """What the gate counts beyond one symbol: intents and orders in the last minute, open intents, USD raised today.

    ``raises_left`` and ``reduces_left`` are what the venue's own limits leave, None before anything is known of them; until
    ``silent_until_ns`` the venue wants to hear nothing.
    """

    intents_last_minute: int
    orders_last_minute: int
    open_intents: int
    turnover_today: Decimal
    ladder_latched_off: bool
    raises_left: int | None = None
    reduces_left: int | None = None
    silent_until_ns: int = 0
    stopping: bool = False


@record
class Approved:
    """The draft may be sent."""

    draft: IntentDraft


@record
class Refused:
    """The draft may not be sent; ``control`` is the id of FAULTS §5, ``reason`` holds figure and limit."""

    control: str
    reason: str


Check = Callable[[IntentDraft, HedgeView, GateContext], str | None]


def gate(draft: IntentDraft, view: HedgeView, context: GateContext) -> Approved | Refused:
    """Judge one draft.

    Args:
        draft: What a rule wants.
        view: The symbol at this moment, nothing of the draft in it yet.
        context: Counts beyond the symbol.

    Returns:
        The first refusal in the fixed order of checks, or the approval.
    """
    for control, check in CHECKS:
        reason = check(draft, view, context)
        if reason is not None:
            return Refused(control=control, reason=reason)
    return Approved(draft=draft)


def _state(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    if context.stopping:
        return "the program is stopping"
    if view.trading_state is TradingState.HALTED and draft.purpose is not Purpose.FLATTEN:
        return "trading is HALTED"
    if view.trading_state is TradingState.REDUCING and not draft.reduce_only:
        return "trading is REDUCING and the order would raise"
    return None


def _symbol(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    if draft.purpose in (Purpose.FLATTEN, Purpose.BACKSTOP):
        return None
    if draft.purpose is Purpose.LADDER:
        return "the symbol is BLOCKED and latched" if context.ladder_latched_off else None
    if view.symbol_state is SymbolState.BLOCKED:
        return "the symbol is BLOCKED"
    if view.symbol_state is SymbolState.REDUCE_ONLY and not draft.reduce_only:
        return "the symbol is REDUCE_ONLY and the order would raise"
    if view.instrument.status != "TRADING" and not draft.reduce_only:
        return f"contract status is {view.instrument.status}"
    return None


def _data(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    if draft.reduce_only:
        return None if view.position_trusted else "the position is not confirmed"
    if view.book_status is not BookStatus.LIVE or not view.position_trusted:
        return f"the book is {view.book_status.value}"
    if view.mark_age_ms > view.limits.stale_after_ms:
        return f"the mark is {view.mark_age_ms} ms old, limit {view.limits.stale_after_ms} ms"
    if view.lag_ms > view.limits.receive_lag_ms:
        return f"the loop ran {view.lag_ms} ms late, limit {view.limits.receive_lag_ms} ms"
    if view.unmarked:
        return f"the margin of {', '.join(view.unmarked)} is not known"
    return None


def _single(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    beside = view.doubt_orders == view.open_orders == 1 and view.doubt_raises
    exception = draft.purpose is Purpose.LADDER and beside
    if view.open_orders and not exception:
        return f"{view.open_orders} order of ours is open or in doubt on {draft.symbol}"
    if context.open_intents >= view.limits.max_open_intents:
        return f"{context.open_intents} intents open, limit {view.limits.max_open_intents}"
    return None


def _filters(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    instrument = view.instrument
    largest = instrument.market_max_quantity if draft.type is OrderType.MARKET else instrument.max_quantity
    if draft.quantity < instrument.min_quantity:
        return f"quantity {draft.quantity} is below the minimum {instrument.min_quantity}"
    if draft.quantity > largest:
        return f"quantity {draft.quantity} is above the venue's maximum {largest}"
    if floor_step(draft.quantity, instrument.step_size) != draft.quantity:
        return f"quantity {draft.quantity} is no multiple of the step {instrument.step_size}"
    price = draft.price if draft.price is not None else view.mark_price
    if draft.price is not None and floor_step(draft.price, instrument.tick_size) != draft.price:
        return f"price {draft.price} is no multiple of the tick {instrument.tick_size}"
    if not draft.reduce_only and draft.quantity * min(price, view.mark_price) < instrument.min_notional:
        return f"notional is below the venue's minimum {instrument.min_notional}"
    return None


def _size(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    notional = draft.quantity * max(view.mark_price, draft.price or ZERO if draft.side is Side.SELL else ZERO)
    if draft.quantity > view.params.max_order_quantity:
        return f"quantity {draft.quantity} is above max_order_quantity {view.params.max_order_quantity}"
    if notional > view.limits.max_order_notional:
        return f"notional {notional:.2f} is above max_order_notional {view.limits.max_order_notional}"
    return None


def _collar(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    collar = max(view.limits.price_collar, view.limits.price_collar_urgent or ZERO)
    if not draft.reduce_only and abs(view.mark_price - view.index_price) > collar * view.index_price:
        return f"mark {view.mark_price} and index {view.index_price} differ by more than the collar {collar * 100:f} %"
    if draft.price is None:
        return None if draft.reduce_only else "a raising order needs a limit price"
    instrument = view.instrument
    low = view.mark_price * (ONE - min(collar, ONE - instrument.multiplier_down - PERCENT_PRICE_ROOM))
    high = view.mark_price * (ONE + min(collar, instrument.multiplier_up - ONE - PERCENT_PRICE_ROOM))
    if not low <= draft.price <= high:
        return f"price {draft.price} is outside the collar {low:f} … {high:f}"
    return None


def _position(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    if draft.reduce_only:
        return None
    worst = -(view.position + view.pending_low) + draft.quantity
    most = view.params.max_short
    if draft.purpose is not Purpose.MANUAL:
        most = min(most, view.limits.max_short_ratio * view.float_quantity)
    if worst > most:
        return f"the short could reach {worst}, above {most} (max_short, max_short_ratio of the float)"
    return None


def _leverage(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    if draft.reduce_only:
        return None
    if view.isolated and view.leverage > view.limits.max_leverage:
        return f"leverage {view.leverage} is above max_leverage {view.limits.max_leverage}"
    if view.isolated:
        return None
    notional = (-(view.position + view.pending_low) + draft.quantity) * view.mark_price
    balance = view.wallet + view.position * (view.mark_price - view.entry_price)
    if view.rest is not None:
        notional += view.rest.notional
        balance += view.rest.pnl
    for leg in view.others:
        notional += abs(leg.quantity) * leg.mark_price
        balance += leg.quantity * (leg.mark_price - leg.entry_price)
    if balance <= 0 or notional > view.limits.max_leverage * balance:
        return f"{notional:.0f} on a margin balance of {balance:.0f} is above max_leverage {view.limits.max_leverage}"
    return None


def _intents(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    most = view.limits.max_intents_per_symbol_per_minute
    if draft.purpose not in (Purpose.LADDER, Purpose.FLATTEN) and context.intents_last_minute >= most:
        return f"{context.intents_last_minute} intents on {draft.symbol} in a minute, limit {most}"
    if context.intents_last_minute >= 2 * most:
        return f"{context.intents_last_minute} intents on {draft.symbol} in a minute, twice the limit {most}"
    return None


def _rate(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    if view.now_ns < context.silent_until_ns:
        return f"the venue asked for silence for another {(context.silent_until_ns - view.now_ns) // NS_PER_MS} ms"
    left = context.reduces_left if draft.reduce_only else context.raises_left
    if left is not None and left <= 0:
        kept = "" if draft.reduce_only else " beyond what is kept for reducing"
        return f"the venue's order limits leave no room{kept}"
    if draft.reduce_only or context.orders_last_minute < view.limits.max_orders_per_minute:
        return None
    return f"{context.orders_last_minute} orders in a minute, limit {view.limits.max_orders_per_minute}"


def _ramp(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    if draft.reduce_only or view.now_ns >= view.ramp_until_ns:
        return None
    if view.now_ns < view.raised_ns + RAMP_EVERY_NS:
        return "raising is slow after a halt or maintenance: one order a second"
    most = ramp_most(view)
    return f"the first order after a halt or maintenance is at most {most}" if draft.quantity > most else None


def _turnover(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    total = context.turnover_today + draft.quantity * view.mark_price
    if draft.reduce_only or total <= view.limits.max_turnover_per_day:
        return None
    return f"turnover today would be {total:.0f}, limit {view.limits.max_turnover_per_day}"


def _direction(draft: IntentDraft, view: HedgeView, context: GateContext) -> str | None:
    if draft.reduce_only:
        shrinks = view.position * draft.side.sign < 0
        if not shrinks or draft.quantity > abs(view.position):
            return f"{draft.side.value} {draft.quantity} does not only reduce a position of {view.position}"
        return None
    if draft.side is not Side.SELL or view.position > 0:
        return f"{draft.side.value} from {view.position} is no hedge: a hedge sells from flat or short"
    if -(view.position + view.pending_low) + draft.quantity > -draft.target:
        return f"{draft.side.value} {draft.quantity} from {view.position} goes past the target {draft.target}"
    return None


CHECKS: tuple[tuple[str, Check], ...] = (
    ("state", _state),
    ("symbol", _symbol),
    ("R11 data", _data),
    ("R5 single", _single),
    ("filters", _filters),
    ("R1 size", _size),
    ("R2 collar", _collar),
    ("R3 position", _position),
    ("R9 leverage", _leverage),
    ("O20 intents", _intents),
    ("R4 rate", _rate),
    ("R15 ramp", _ramp),
    ("R8 turnover", _turnover),
    ("R10 direction", _direction),
)


def moved_without_effect(*, gap_before: Decimal, filled: Decimal) -> bool:
    """Return True when an own fill did not bring the gap nearer to zero, HEDGING §8 (b).

    Args:
        gap_before: Gap at the decision, signed base units.
        filled: What the order filled, signed base units; 0 never trips.
    """
    if filled == 0:
        return False
    towards = (filled > 0) == (gap_before > 0) and gap_before != 0
    return not (towards and abs(gap_before - filled) < abs(gap_before))
