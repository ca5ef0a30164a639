"""May the treasury buy for so many USD now? Yes or no with the first reason, before it trades (HEDGING §6).

Advice, not a reservation: it asks whether the hedge of the bought coins would be sent now and what the account would
look like after it filled at the limit price. The checks and their order are HEDGING §6's; last it asks the hedge rule
and the gate themselves, so that a yes never meets a refusal that was already known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal

from streamhedge.domain.margin import maintenance_margin
from streamhedge.domain.order import Side
from streamhedge.domain.values import CENT_MILLIONTH, ZERO, divide, floor_step, plain_text, record
from streamhedge.errors import CommandError
from streamhedge.rules.hedge import (
    collar_price,
    decide_hedge,
    free_margin,
    policy_short,
    raisable_size,
    short_size,
    slice_quantity,
)
from streamhedge.rules.limits import GateContext, Refused, gate
from streamhedge.rules.liquidation import read_ladder
from streamhedge.rules.view import BookStatus, HedgeView, Leg, SymbolState, TradingState

VALID_MS = 1_000
"""How long the answer may be used: a mark comes each second."""
CENT = Decimal("0.01")
QUIET_HOLDS = ("", "band", "dust", "in_flight")
"""Words of the hedge rule that keep nobody from buying: the next decision sends, or there is nothing to send."""


@record
class MayBuy:
    """The answer.

    Args:
        allowed: True when the hedge of the purchase would be sent now.
        reason: The first check that says no, with figure and limit; empty on a yes.
        max_usd: The largest purchase that every figure limit allows, quote units, whole cents; 0 when something that is
            no figure says no.
        bought: What the USD buy at the mark, base units.
        hedge_quantity: What would be sold for it, base units.
        distance_after: Liquidation distance after a fill at the limit price, own or joint, whichever is less.
        margin_ratio_after: Maintenance over margin balance then, a fraction.
        slices: Orders it would take.
        fee_usd: Taker fee of them at the mark, quote units.
        valid_ms: How long the answer holds.
    """

    allowed: bool
    reason: str
    max_usd: Decimal
    bought: Decimal
    hedge_quantity: Decimal
    distance_after: Decimal | None
    margin_ratio_after: Decimal | None
    slices: int
    fee_usd: Decimal
    valid_ms: int


@record
class _Plan:
    """What the purchase would lead to; sizes in base units."""

    usd: Decimal
    bought: Decimal
    ratio: Decimal
    policy_now: Decimal
    policy_then: Decimal
    held: Decimal
    raisable: Decimal
    size: Decimal
    slices: int
    naked_usd: Decimal
    view_then: HedgeView


def may_buy(view: HedgeView, context: GateContext, usd: Decimal) -> MayBuy:
    """Return whether the hedge of a purchase would be sent now, and what it would cost.

    Args:
        view: The symbol at this moment.
        context: What the gate counts beyond it.
        usd: What the treasury wants to spend, quote units, above zero.

    Raises:
        CommandError: not above zero.
    """
    if not usd.is_finite() or usd <= 0:
        raise CommandError(f"may-buy {usd}: the amount must be above zero")
    plan = _plan(view, usd)
    reason = next((said for check in CHECKS if (said := check(view, context, plan)) is not None), "")
    stopped = any(check(view, context, plan) is not None for check in STOPS)
    distance, ratio = _after(view, plan.size)
    return MayBuy(
        allowed=not reason,
        reason=reason,
        max_usd=ZERO if stopped else _most(view, context, plan),
        bought=plan.bought,
        hedge_quantity=plan.size,
        distance_after=distance,
        margin_ratio_after=ratio,
        slices=plan.slices,
        fee_usd=plan.size * view.mark_price * view.instrument.taker_fee_rate,
        valid_ms=VALID_MS,
    )


def _plan(view: HedgeView, usd: Decimal) -> _Plan:
    bought = floor_step(divide(usd, view.mark_price), CENT_MILLIONTH)
    most = view.limits.max_short_ratio
    now = policy_short(params=view.params, max_short_ratio=most, float_quantity=view.float_quantity)
    then = policy_short(params=view.params, max_short_ratio=most, float_quantity=view.float_quantity + bought)
    held = short_size(view)
    size = max(ZERO, floor_step(then, view.instrument.step_size) - held)
    quantity = slice_quantity(view, size, market=False) if size > 0 else ZERO
    ends = (view.position + view.pending_low, view.position + view.pending_high)
    return _Plan(
        usd=usd,
        bought=bought,
        ratio=min(view.params.ratio, most),
        policy_now=now,
        policy_then=then,
        held=held,
        raisable=raisable_size(_beside_whole_peers(view), held=held, price=collar_price(view, Side.SELL)),
        size=size,
        slices=int(divide(size, quantity).to_integral_value(rounding=ROUND_CEILING)) if quantity > 0 else 0,
        naked_usd=max(abs(now + end) for end in ends) * view.mark_price,
        view_then=replace(view, float_quantity=view.float_quantity + bought),
    )


def _beside_whole_peers(view: HedgeView) -> HedgeView:
    """Return the view in which each other hedge on the margin holds at least what it is to hold (HEDGING §2)."""
    if view.isolated or not view.peers:
        return view
    others = list(view.others)
    for peer in view.peers:
        leg = next((leg for leg in others if leg.symbol == peer.symbol), None)
        if leg is None:
            leg = Leg(peer.symbol, ZERO, ZERO, peer.mark_price, peer.instrument)
        else:
            others.remove(leg)
        others.append(replace(leg, pending_low=min(leg.pending_low, -peer.wanted - leg.quantity)))
    return replace(view, others=tuple(others))


# ---------------------------------------------------------------- the checks, HEDGING §6's order


def _state(view: HedgeView, context: GateContext, plan: _Plan) -> str | None:
    if view.trading_state is not TradingState.ACTIVE:
        return f"trading is {view.trading_state.value}: no new hedges"
    if view.symbol_state is not SymbolState.OPEN:
        return f"{view.params.symbol} is {view.symbol_state.value}: no new hedges"
    return None


def _trust(view: HedgeView, context: GateContext, plan: _Plan) -> str | None:
    if view.book_status is not BookStatus.LIVE or not view.position_trusted:
        return f"the book is {view.book_status.value}{'' if view.position_trusted else ', the position unconfirmed'}"
    if view.mark_age_ms > view.limits.stale_after_ms:
        return f"the mark is {view.mark_age_ms} ms old, limit {view.limits.stale_after_ms} ms"
    return None


def _doubt(view: HedgeView, context: GateContext, plan: _Plan) -> str | None:
    return f"{view.doubt_orders} order(s) in doubt on {view.params.symbol}" if view.doubt_orders else None


def _ladder(view: HedgeView, context: GateContext, plan: _Plan) -> str | None:
    if view.paced:
        return "raising is paced after a cut of the ladder"
    verdict = read_ladder(view)
    if verdict.distance is None or verdict.joint_distance is None:
        return None
    reading = min(verdict.distance, verdict.joint_distance)
    if reading < view.ladder.warn:
        return f"liquidation distance {reading * 100:.2f} % is below warn {plain_text(view.ladder.warn * 100)} %"
    return None


def _cap(view: HedgeView, context: GateContext, plan: _Plan) -> str | None:
    grows = plan.policy_then - plan.policy_now
    if grows < plan.ratio * plan.bought:
        return (
            f"max_short {view.params.max_short} caps the hedge: it would grow by {grows:f}, "
            f"not by {plan.ratio * plan.bought:f}"
        )
    return None


def _margin(view: HedgeView, context: GateContext, plan: _Plan) -> str | None:
    if plan.size > 0 and plan.held + plan.size > plan.raisable:
        return (
            f"margin carries a short of {plan.raisable:f}, the hedge would be {plan.held + plan.size:f}: "
            f"leverage, reopen distance {plain_text(view.ladder.reopen * 100)} % or the position ceiling"
        )
    return None


def _rate(view: HedgeView, context: GateContext, plan: _Plan) -> str | None:
    left = _orders_left(view, context)
    if plan.size > 0 and (plan.slices == 0 or left < plan.slices):
        return f"{plan.slices} order(s) needed, {left} left this minute (orders, intents)"
    turnover = view.limits.max_turnover_per_day - context.turnover_today
    if plan.size * view.mark_price > turnover:
        return f"turnover left today is {turnover:.2f}, the hedge turns over {plan.size * view.mark_price:.2f}"
    return None


def _naked(view: HedgeView, context: GateContext, plan: _Plan) -> str | None:
    if plan.naked_usd + plan.usd > view.limits.max_naked:
        return (
            f"naked {plan.naked_usd:.2f} and {plan.usd:f} bought before their hedge are above max_naked "
            f"{view.limits.max_naked:f}"
        )
    return None


def _would_send(view: HedgeView, context: GateContext, plan: _Plan) -> str | None:
    """Ask the rule and the gate about the float as it would be."""
    verdict = decide_hedge(plan.view_then)
    if verdict.hold not in QUIET_HOLDS:
        return f"the hedge would wait: {verdict.hold}"
    if verdict.draft is None:
        return None
    answer = gate(verdict.draft, plan.view_then, context)
    return f"the gate would refuse it, {answer.control}: {answer.reason}" if isinstance(answer, Refused) else None


Check = Callable[[HedgeView, GateContext, _Plan], str | None]
STOPS: tuple[Check, ...] = (_state, _trust, _doubt, _ladder)
"""What no smaller amount would change."""
CHECKS: tuple[Check, ...] = (*STOPS, _cap, _margin, _rate, _naked, _would_send)


# ---------------------------------------------------------------- figures


def _orders_left(view: HedgeView, context: GateContext) -> int:
    orders = view.limits.max_orders_per_minute - context.orders_last_minute
    intents = view.limits.max_intents_per_symbol_per_minute - context.intents_last_minute
    return max(0, min(orders, intents))


def _most(view: HedgeView, context: GateContext, plan: _Plan) -> Decimal:
    """Return the largest purchase that cap, margin, rate, turnover and naked limit allow, whole cents."""
    capped = floor_step(plan.policy_now, view.instrument.step_size)
    # One of many even slices: at most a little below the largest order, so never too much.
    whole = slice_quantity(view, view.instrument.max_quantity, market=False)
    behind = max(ZERO, capped - plan.held)
    sizes = (
        view.params.max_short - plan.policy_now,
        plan.raisable - max(capped, plan.held),
        _orders_left(view, context) * whole - behind,
        divide(view.limits.max_turnover_per_day - context.turnover_today, view.mark_price) - behind,
    )
    usd = min(divide(min(sizes) * view.mark_price, plan.ratio), view.limits.max_naked - plan.naked_usd)
    return max(ZERO, floor_step(usd, CENT))


def _after(view: HedgeView, size: Decimal) -> tuple[Decimal | None, Decimal | None]:
    """Return (distance, margin ratio) after selling ``size`` at the limit price, fee paid."""
    price = collar_price(view, Side.SELL)
    position = view.position + view.pending_low - size
    if position >= 0:
        return None, None
    sold = view.position - position
    held = max(ZERO, -view.position)
    posted = divide(sold * price, Decimal(view.leverage)) if view.isolated else ZERO
    then = replace(
        view,
        position=position,
        entry_price=divide(held * view.entry_price + sold * price, held + sold),
        wallet=view.wallet + posted - sold * view.mark_price * view.instrument.taker_fee_rate,
        pending_low=ZERO,
        pending_high=ZERO,
        open_orders=0,
        doubt_orders=0,
    )
    verdict = read_ladder(then)
    others = sum(
        (
            maintenance_margin(notional=abs(leg.quantity) * leg.mark_price, brackets=leg.instrument.brackets)
            for leg in then.others
        ),
        ZERO,
    )
    own = maintenance_margin(notional=-position * view.mark_price, brackets=view.instrument.brackets)
    balance = free_margin(then) + others
    distances = [found for found in (verdict.distance, verdict.joint_distance) if found is not None]
    return min(distances, default=None), divide(own + others, balance) if balance > 0 else None
