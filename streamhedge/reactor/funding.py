"""The funding-aware ratio in force: looked at once an hour and whenever a settlement moved, between ladder and hedge.

The rule itself is pure (``rules.funding``). What is kept here is state, so that a replay and the digest have it, together
with its counterfactual: what the fixed ratio would have paid, and what the exposure opened instead gained or lost.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from streamhedge.domain.commands import Level
from streamhedge.domain.events import MarkPriceUpdate
from streamhedge.domain.funding import funding_payment
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, Symbol
from streamhedge.reactor.state import Core, FundingMemory
from streamhedge.rules.funding import funding_ratio, settlements_within
from streamhedge.rules.hedge import policy_short
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.view import HedgeView

LOOK_NS = 3_600 * NS_PER_SECOND


def in_force(core: Core, hedge: HedgeParams) -> HedgeParams:
    """Return a hedge with the ratio that is in force now: its own, or a lower one while funding argues for it."""
    found = core.memory_of(hedge.symbol).funding
    return hedge if found is None or found.ratio >= hedge.ratio else replace(hedge, ratio=found.ratio)


def decide_ratio(core: Core, hedge: HedgeParams, view: HedgeView) -> bool:
    """Look at the ratio where it is due, and return whether it changed.

    Args:
        core: The state.
        hedge: The hedge as it is configured.
        view: The symbol at this moment.
    """
    params = core.policy.funding
    mark = core.state.book.marks[hedge.symbol]
    if params is None or view.mark_age_ms > view.limits.stale_after_ms:
        return False
    memory = core.memory_of(hedge.symbol)
    held = memory.funding or FundingMemory(ratio=hedge.ratio)
    moved = held.settles_ms != mark.next_funding_time_ms
    if memory.funding is not None and not moved and core.now_ns - held.looked_ns < LOOK_NS:
        return False
    verdict = funding_ratio(
        params,
        hedge,
        float_quantity=view.float_quantity,
        mark_price=view.mark_price,
        funding_rate=mark.funding_rate,
        settlements=settlements_within(
            now_ms=core.now_ns // NS_PER_MS,
            next_ms=mark.next_funding_time_ms,
            interval_ms=mark.funding_interval_ms,
            horizon_ms=params.horizon_ms,
        ),
        taker_fee_rate=view.instrument.taker_fee_rate,
        max_naked=view.limits.max_naked,
    )
    was, opened = held.ratio, _opened(core, hedge)
    memory.funding = held
    held.looked_ns, held.settles_ms = core.now_ns, mark.next_funding_time_ms
    held.ratio, held.reason = min(verdict.ratio, hedge.ratio), verdict.reason
    if held.ratio == was:
        return False
    traded = abs(_opened(core, hedge) - opened) * view.mark_price
    held.fees += traded * (view.instrument.taker_fee_rate + params.half_spread)
    lower = held.ratio < was
    core.note(
        "funding_ratio",
        Level.WARNING if lower else Level.INFO,
        hedge.symbol,
        f"hedge ratio {was:f} → {held.ratio:f}: {verdict.reason}{'; it takes risk' if lower else ''}",
        ratio=str(held.ratio),
        saved=str(verdict.saved),
        costs=str(verdict.costs),
    )
    return True


def _opened(core: Core, hedge: HedgeParams) -> Decimal:
    """Return what the ratio in force leaves open beyond the hedge's own ratio, base units."""
    said = {
        "max_short_ratio": core.policy.limits.max_short_ratio,
        "float_quantity": core.state.floats.get(hedge.asset, ZERO),
    }
    return policy_short(params=hedge, **said) - policy_short(params=in_force(core, hedge), **said)


def price_moved(core: Core, event: MarkPriceUpdate) -> None:
    """Count what the opened exposure gains by a frame, and what it saved at a settlement that passed."""
    hedge = core.hedge_of(event.symbol)
    held = core.state.book.marks.get(event.symbol)
    memory = core.state.memory.get(Symbol(event.symbol))
    if hedge is None or held is None or memory is None or memory.funding is None:
        return
    if event.event_time_ms < held.event_time_ms:
        return
    opened = _opened(core, hedge)
    if opened == 0:
        return
    memory.funding.opened_pnl += opened * (event.index_price - held.index_price)
    passed = (
        event.event_time_ms >= held.next_funding_time_ms > 0 and event.next_funding_time_ms != held.next_funding_time_ms
    )
    if passed and held.funding_rate is not None:
        # The short that is not held would have paid this.
        missed = funding_payment(position_amount=-opened, mark_price=held.mark_price, funding_rate=held.funding_rate)
        memory.funding.saved -= missed
