"""The hedge rule: where the position should be, and the one order that moves it there now (HEDGING §2, §4).

    policy short = max(0, min(ratio * F, max_short_ratio * F, max_short))
    want         = capped when reducing; max(h, min(capped, raisable)) when raising
    target       = -want,   gap = target - position - in flight

Level-triggered: a float trade, a partial fill, a manual trade or an ADL are all the same gap. Margin caps raising; only
the ladder cuts.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from streamhedge.domain.margin import (
    isolated_size_at_distance,
    joint_share,
    maintenance_margin,
    position_ceiling,
    sell_and_post,
    size_at_distance,
    size_by_initial_margin,
    top_up,
)
from streamhedge.domain.order import OrderType, Purpose, Side, TimeInForce
from streamhedge.domain.values import NS_PER_MS, ONE, ZERO, ceil_step, divide, floor_step, record
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.view import (
    Blocked,
    BookStatus,
    HedgeVerdict,
    HedgeView,
    IntentDraft,
    Leg,
    Remedy,
    SymbolState,
    TradingState,
)

REDUCE_MARK_AGE_MS = 10_000
"""A reduction may use a mark this old (HEDGING §2)."""
BASIS_MAX = Decimal("0.02")
"""Mark and index further apart than this stop raising (HEDGING §3, outliers)."""
NOTIONAL_MARGIN = Decimal("1.01")
"""A raise is sent only this far above the minimum notional, so that a moving mark does not refuse it."""
PERCENT_PRICE_ROOM = Decimal("0.005")
"""The collar stays half a percentage point inside PERCENT_PRICE, or a mark moving in flight refuses the order."""
ZERO_FILLS_TO_MARKET = 2
RAMP_EVERY_NS = 1_000 * NS_PER_MS
"""While raising is slow, this far apart (FAULTS R15)."""
RAMP_PART = 4
"""The first order of a ramp is at most this part of the largest one."""


def policy_short(*, params: HedgeParams, max_short_ratio: Decimal, float_quantity: Decimal) -> Decimal:
    """Return H*, the short that config wants, base units, margin aside."""
    return max(ZERO, min(params.ratio * float_quantity, max_short_ratio * float_quantity, params.max_short))


def tolerated_usd(params: HedgeParams, *, step_size: Decimal, mark_price: Decimal) -> Decimal:
    """Return the naked exposure that nobody has to explain: the band, and the part of a step that no target holds.

    A gap below the band is left alone, and the target is a whole number of steps: both may stand at once.
    """
    return params.band + step_size * mark_price


def free_margin(view: HedgeView) -> Decimal:
    """Return C: the wallet behind the position plus all PnL, minus the maintenance of the others, quote units."""
    free = view.wallet - view.missing + view.position * (view.mark_price - view.entry_price)
    if view.rest is not None:
        free += view.rest.pnl - view.rest.maintenance
    for leg in view.others:
        free += leg.quantity * (leg.mark_price - leg.entry_price)
        free -= held_maintenance(leg)
    return free


def short_size(view: HedgeView) -> Decimal:
    """Return h, the short now at the worst end of what is in flight or in doubt."""
    return max(ZERO, -(view.position + view.pending_low))


def collar_price(view: HedgeView, side: Side) -> Decimal:
    """Return mark * (1 -+ collar), rounded inward to the tick."""
    urgent = view.limits.price_collar_urgent
    late = view.naked_since_ns is not None and (
        view.now_ns - view.naked_since_ns > view.params.naked_alert_after_ms * NS_PER_MS
    )
    collar = urgent if urgent is not None and late and view.zero_fills > 0 else view.limits.price_collar
    tick = view.instrument.tick_size
    if side is Side.SELL:
        room = min(collar, ONE - view.instrument.multiplier_down - PERCENT_PRICE_ROOM)
        return ceil_step(view.mark_price * (ONE - room), tick)
    room = min(collar, view.instrument.multiplier_up - ONE - PERCENT_PRICE_ROOM)
    return floor_step(view.mark_price * (ONE + room), tick)


def largest_order(view: HedgeView, *, market: bool) -> Decimal:
    """Return the most that one order may be by our limits and the venue's, base units, floored to the step."""
    instrument = view.instrument
    venue_max = instrument.market_max_quantity if market else instrument.max_quantity
    by_notional = divide(view.limits.max_order_notional, view.mark_price)
    return floor_step(min(view.params.max_order_quantity, by_notional, venue_max), instrument.step_size)


def ramp_most(view: HedgeView) -> Decimal:
    """Return the most that a raising order may be now as far as the ramp says, base units."""
    largest = largest_order(view, market=False)
    return floor_step(divide(largest, Decimal(RAMP_PART)), view.instrument.step_size) if view.ramp_first else largest


def slice_quantity(view: HedgeView, size: Decimal, *, market: bool) -> Decimal:
    """Return the next of even slices: ceil_step(size / n), n = ceil(size / largest order); 0 when nothing fits."""
    instrument = view.instrument
    largest = largest_order(view, market=market)
    most = min(largest, floor_step(size, instrument.step_size))
    if most <= 0 or most < instrument.min_quantity:
        return ZERO
    count = divide(size, largest).to_integral_value(rounding=ROUND_CEILING)
    even = ceil_step(divide(size, count), instrument.step_size)
    return min(max(even, instrument.min_quantity), most)


def floor_distance_of(view: HedgeView) -> Decimal:
    """Return floor_D, the distance that raising leaves: reopen, or rehedge while paced after a cut."""
    return view.ladder.rehedge if view.paced else view.ladder.reopen


def raisable_size(view: HedgeView, *, held: Decimal, price: Decimal) -> Decimal:
    """Return the largest short that margin carries without entering the ladder, floored to the step."""
    floor_distance = floor_distance_of(view)
    instrument = view.instrument
    free = free_margin(view)
    if view.isolated:
        by_distance = isolated_size_at_distance(
            free=free if view.position < 0 else ZERO,
            held=held,
            mark_price=view.mark_price,
            distance=floor_distance,
            leverage=view.leverage,
            fee_rate=instrument.taker_fee_rate,
            brackets=instrument.brackets,
        )
    else:
        by_distance = size_at_distance(
            free=free - _others_at(view, floor_distance),
            held=held,
            mark_price=view.mark_price,
            distance=floor_distance,
            fee_rate=instrument.taker_fee_rate,
            brackets=instrument.brackets,
        )
    by_margin = size_by_initial_margin(
        held=held,
        available=view.available,
        mark_price=view.mark_price,
        price=price,
        leverage=view.leverage,
        fee_rate=instrument.taker_fee_rate,
    )
    ceiling = divide(position_ceiling(leverage=view.leverage, brackets=instrument.brackets), view.mark_price)
    return max(ZERO, floor_step(min(by_distance, by_margin, ceiling), instrument.step_size))


def _others_at(view: HedgeView, distance: Decimal) -> Decimal:
    """Return what the other shorts of the margin group need when all rise together (joint distance, HEDGING §3)."""
    needed = ZERO if view.rest is None else view.rest.needed
    for leg in view.others:
        notional = leg.short_notional
        if notional > 0:
            needed += notional * distance - held_maintenance(leg)
            needed += maintenance_margin(notional=notional * (ONE + distance), brackets=leg.instrument.brackets)
    return needed


def held_maintenance(leg: Leg) -> Decimal:
    """Return the maintenance margin of what a leg holds now, quote units."""
    return maintenance_margin(notional=abs(leg.quantity) * leg.mark_price, brackets=leg.instrument.brackets)


def share_of_margin(view: HedgeView, *, capped: Decimal) -> Decimal | None:
    """Return lambda * capped, this hedge's part of a margin that does not carry all hedges, floored to the step.

    None where it does, or where nothing else is hedged on it.

    One lambda scales all of them alike (HEDGING §2): otherwise the symbol whose tick comes first takes all.
    """
    if not view.peers or view.isolated or capped <= 0:
        return None
    distance = floor_distance_of(view)
    steered = [peer.symbol for peer in view.peers]
    balance = view.wallet - view.missing + view.position * (view.mark_price - view.entry_price)
    if view.rest is not None:
        balance += view.rest.pnl - view.rest.maintenance - view.rest.needed
    for leg in view.others:
        balance += leg.quantity * (leg.mark_price - leg.entry_price)
        if leg.quantity > 0:
            balance -= held_maintenance(leg)
        elif leg.symbol not in steered:
            notional = leg.short_notional
            balance -= notional * distance
            balance -= maintenance_margin(notional=notional * (ONE + distance), brackets=leg.instrument.brackets)
    wanted = [(capped * view.mark_price, view.instrument.brackets)]
    wanted += [(peer.wanted * peer.mark_price, peer.instrument.brackets) for peer in view.peers]
    share = joint_share(margin_balance=balance, shorts=wanted, distance=distance)
    return None if share == ONE else floor_step(share * capped, view.instrument.step_size)


@record
class _Figures:
    """What one decision is computed from; quantities in base units."""

    policy: Decimal
    capped: Decimal
    held: Decimal
    raisable: Decimal
    want: Decimal
    target: Decimal
    pace_over: bool


def _figures(view: HedgeView) -> _Figures:
    policy = policy_short(
        params=view.params, max_short_ratio=view.limits.max_short_ratio, float_quantity=view.float_quantity
    )
    capped = floor_step(policy, view.instrument.step_size)
    held = short_size(view)
    raisable = raisable_size(view, held=held, price=collar_price(view, Side.SELL))
    share = share_of_margin(view, capped=capped)
    raisable = raisable if share is None else min(raisable, share)
    want = capped if capped <= held else max(held, min(capped, raisable))
    # An order under way counts as filled at the worst end: a cut just sent would seem whole and end its own pace.
    pace_over = view.open_orders == 0 and (held >= capped or raisable >= capped)
    return _Figures(policy, capped, held, raisable, want, -want, pace_over)


def decide_hedge(view: HedgeView) -> HedgeVerdict:
    """Return where the hedge should be and the order to send now, if any.

    Args:
        view: The symbol at this moment.

    Returns:
        The verdict; ``draft`` is None whenever nothing should be sent, with ``hold`` saying why in one word.
    """
    figures = _figures(view)
    gap_low = figures.target - (view.position + view.pending_high)
    gap_high = figures.target - (view.position + view.pending_low)
    draft, hold, dust = _next_order(view, figures, gap_low)
    naked = figures.policy + view.position
    return HedgeVerdict(
        policy_short=figures.policy,
        capped=figures.capped,
        raisable=figures.raisable,
        want=figures.want,
        target=figures.target,
        gap_low=gap_low,
        gap_high=gap_high,
        naked=naked,
        dust=dust,
        draft=draft,
        hold=hold,
        blocked=_blocked(view, figures, naked, hold),
        pace_over=figures.pace_over,
    )


def _next_order(view: HedgeView, figures: _Figures, gap: Decimal) -> tuple[IntentDraft | None, str, Decimal]:
    """Return (draft, hold word, dust)."""
    dust = max(ZERO, figures.policy - figures.capped)
    if view.open_orders:
        return None, "in_doubt" if view.doubt_orders else "in_flight", dust
    if gap == 0:
        return None, "", dust
    last_lot = figures.want == 0 and view.position != 0
    if abs(gap) * view.mark_price < view.params.band and not last_lot:
        return None, "band", dust + abs(gap)
    raising = gap < 0 and view.position <= 0
    hold = _may_raise(view, figures) if raising else _may_reduce(view)
    if hold:
        return None, hold, dust
    if raising:
        return _raise(view, figures, -gap, dust)
    # A long is closed before a short is opened, and a short never becomes a long: no order of ours crosses zero.
    size = min(abs(gap), abs(view.position))
    draft = _reduce(view, figures, size, Side.BUY if view.position < 0 else Side.SELL)
    return (draft, "", dust) if draft.quantity > 0 else (None, "dust", dust + size)


def _may_raise(view: HedgeView, figures: _Figures) -> str:
    """Return the word for why nothing may be raised, empty when it may."""
    if view.trading_state is not TradingState.ACTIVE:
        return str(view.trading_state.value).lower()
    if view.symbol_state is not SymbolState.OPEN:
        return "blocked"
    if view.book_status is not BookStatus.LIVE or not view.position_trusted:
        return "stale"
    if view.mark_age_ms > view.limits.stale_after_ms or view.lag_ms > view.limits.receive_lag_ms or view.unmarked:
        return "stale"
    basis = abs(view.mark_price - view.index_price)
    if view.mark_suspicious or basis > view.index_price * min(BASIS_MAX, view.limits.price_collar):
        return "price"
    if view.now_ns < view.raise_after_ns:
        return "venue"
    if view.now_ns < view.retry_after_ns:
        return "retry"
    if view.now_ns < min(view.ramp_until_ns, view.raised_ns + RAMP_EVERY_NS):
        return "ramp"
    if view.paced and not figures.pace_over:
        return _paced(view, figures)
    return ""


def _paced(view: HedgeView, figures: _Figures) -> str:
    """After a cut: raise only when the cooldown has passed, and by a step worth its fee (HEDGING §3)."""
    if view.now_ns - view.last_paced_ns < view.ladder.cooldown_ms * NS_PER_MS:
        return "pace"
    least = max(divide(view.params.band, view.mark_price), view.ladder.raise_step * figures.capped)
    return "pace" if figures.want - figures.held < least and figures.want < figures.capped else ""


def _may_reduce(view: HedgeView) -> str:
    """Return the word for why nothing may be reduced, empty when it may."""
    if view.trading_state is TradingState.HALTED:
        return "halted"
    if view.symbol_state is SymbolState.BLOCKED:
        return "blocked"
    if not view.position_trusted or view.book_status not in (BookStatus.LIVE, BookStatus.SUSPECT):
        return "stale"
    if view.reducing_mark_age_ms > REDUCE_MARK_AGE_MS:
        return "stale"
    if view.mark_suspicious:
        return "price"
    return "retry" if view.now_ns < view.reduce_after_ns else ""


def _raise(view: HedgeView, figures: _Figures, size: Decimal, dust: Decimal) -> tuple[IntentDraft | None, str, Decimal]:
    price = collar_price(view, Side.SELL)
    quantity = min(slice_quantity(view, size, market=False), ramp_most(view))
    if quantity * min(price, view.mark_price) < view.instrument.min_notional * NOTIONAL_MARGIN:
        return None, "dust", dust + size
    draft = IntentDraft(
        symbol=view.params.symbol,
        side=Side.SELL,
        quantity=quantity,
        type=OrderType.LIMIT,
        price=price,
        time_in_force=TimeInForce.IOC,
        reduce_only=False,
        purpose=Purpose.HEDGE,
        target=figures.target,
        reason=f"short {figures.held} → {figures.want} of {figures.capped} wanted",
    )
    return draft, "", dust


def _reduce(view: HedgeView, figures: _Figures, size: Decimal, side: Side) -> IntentDraft:
    market = view.zero_fills >= ZERO_FILLS_TO_MARKET
    return IntentDraft(
        symbol=view.params.symbol,
        side=side,
        quantity=slice_quantity(view, size, market=market),
        type=OrderType.MARKET if market else OrderType.LIMIT,
        price=None if market else collar_price(view, side),
        time_in_force=None if market else TimeInForce.IOC,
        reduce_only=True,
        purpose=Purpose.HEDGE,
        target=figures.target,
        reason=f"position {view.position} → {figures.target}, the float holds {view.float_quantity:f}",
    )


def remedy(view: HedgeView, *, capped: Decimal, policy: Decimal) -> Remedy:
    """Return what would let the whole hedge stand: margin to post, float to sell, or float to sell and post."""
    free = free_margin(view)
    naked = max(ZERO, policy + view.position)
    ratio = min(view.params.ratio, view.limits.max_short_ratio)
    said = {"size": capped, "free": free, "mark_price": view.mark_price, "distance": view.ladder.reopen}
    return Remedy(
        top_up=top_up(**said, brackets=view.instrument.brackets),
        sell_quantity=divide(naked, ratio) if ratio > 0 else ZERO,
        sell_and_post_quantity=sell_and_post(**said, brackets=view.instrument.brackets),
    )


def _blocked(view: HedgeView, figures: _Figures, naked: Decimal, hold: str) -> Blocked | None:
    """Name why naked exposure above the band stands; orders on their way are no such reason."""
    naked_usd = abs(naked) * view.mark_price
    if naked_usd <= tolerated_usd(view.params, step_size=view.instrument.step_size, mark_price=view.mark_price):
        return None
    causes = {
        "halted": ("halted", "trading is HALTED: no orders at all"),
        "reducing": ("reducing", "trading is REDUCING: no new hedges"),
        "blocked": ("blocked", "the symbol is BLOCKED"),
        "stale": ("stale", f"book {view.book_status.value}, mark {view.mark_age_ms} ms old: not trusted enough"),
        "price": ("price", f"mark {view.mark_price} and index {view.index_price} do not agree well enough"),
        "ramp": ("ramp", "raising begins slowly after a halt or maintenance"),
        "venue": ("venue", "what the venue closed is not re-opened yet"),
        "dust": ("dust", "what is missing is below the smallest order the venue takes"),
        "retry": ("price" if view.zero_fills else "refused", "waiting after an order that was refused or unfilled"),
    }
    if hold in causes:
        cause, reason = causes[hold]
        return Blocked(cause=cause, reason=f"{naked_usd:.0f} USDT naked: {reason}", remedy=None)
    if naked > 0 and figures.want < figures.capped:
        short = figures.capped - figures.want
        why = "paced after a cut" if hold == "pace" else "margin carries no more without entering the ladder"
        return Blocked(
            cause="margin",
            reason=f"{naked_usd:.0f} USDT naked: {short} of {figures.capped} not hedged, {why}",
            remedy=remedy(view, capped=figures.capped, policy=figures.policy),
        )
    return None
