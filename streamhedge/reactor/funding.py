"""The funding-aware ratio in force: looked at once an hour and whenever a settlement moved, between ladder and hedge.

The rule itself is pure (``rules.funding``). What is kept here is state, so that a replay and the digest have it, together
with its counterfactual: what the fixed ratio would have paid, and what the exposure opened instead gained or lost.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from streamhedge.domain.commands import Level
from streamhedge.domain.events import AccountUpdate, MarkPriceUpdate
from streamhedge.domain.funding import funding_payment
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, Symbol
from streamhedge.reactor.state import Core, FundingMemory, Settlement
from streamhedge.rules.funding import funding_ratio, settlements_within
from streamhedge.rules.hedge import policy_short
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.view import HedgeView

LOOK_NS = 3_600 * NS_PER_SECOND
RECENT_MS = 60_000
FITS = Decimal("0.01")


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
    """Keep what a settlement that passed was computed from; count what the opened exposure gains and saves."""
    hedge = core.hedge_of(event.symbol)
    held = core.state.book.marks.get(event.symbol)
    if held is None or event.event_time_ms < held.event_time_ms:
        return
    settles_ms = held.next_funding_time_ms
    passed = event.event_time_ms >= settles_ms > 0 and event.next_funding_time_ms != settles_ms
    rate = held.funding_rate if passed else None
    if rate is not None:
        size = core.state.book.quantity(event.symbol)
        core.state.settlements[event.symbol] = Settlement(settles_ms, size, held.mark_price, rate)
    memory = core.state.memory.get(event.symbol)
    if hedge is None or memory is None or memory.funding is None:
        return
    opened = _opened(core, hedge)
    if opened == 0:
        return
    memory.funding.opened_pnl += opened * (event.index_price - held.index_price)
    if rate is not None:
        # The short that is not held would have paid this.
        missed = funding_payment(position_amount=-opened, mark_price=held.mark_price, funding_rate=rate)
        memory.funding.saved -= missed


def symbol_of(core: Core, event: AccountUpdate, amount: Decimal) -> Symbol | None:
    """Return the contract that a payment is of: as the venue says, or the only one that it fits; None where none does.

    A payment of an isolated position carries its row. Any other fits -q*M*r within a hundredth, of a settlement in the
    minute before (HEDGING §5).
    """
    if event.funding_symbol is not None:
        return event.funding_symbol
    if len(event.positions) == 1:
        return event.positions[0].symbol
    fitting = []
    for symbol, mark in core.state.book.marks.items():
        settled = core.state.settlements.get(symbol)
        if settled is None or not _just_before(event, settled.time_ms):
            # Its first frame after the settlement is still on its way.
            if not _just_before(event, mark.next_funding_time_ms) or mark.funding_rate is None:
                continue
            size = core.state.book.quantity(symbol)
            settled = Settlement(mark.next_funding_time_ms, size, mark.mark_price, mark.funding_rate)
        expected = -settled.quantity * settled.mark_price * settled.rate
        if expected != 0 and abs(amount - expected) <= abs(expected) * FITS:
            fitting.append(symbol)
    return fitting[0] if len(fitting) == 1 else None


def _just_before(event: AccountUpdate, settled_ms: int) -> bool:
    return 0 <= event.transaction_time_ms - settled_ms <= RECENT_MS
