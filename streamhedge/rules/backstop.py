"""The backstop: stops at the venue that close the short while nobody of ours is there to (HEDGING §3).

    trigger = LP / (1 + distance), BUY, reduce-only, by the mark

Stops are replaced by alternating: the new ones are placed first and the old ones cancelled then, one request at a time, so
that the short is never without. They carry quantities, never close-all: the venue takes but one of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from streamhedge.domain.order import OrderType, Purpose, Side
from streamhedge.domain.stop import Stop
from streamhedge.domain.values import ONE, ZERO, ClientOrderId, divide, floor_step, record
from streamhedge.errors import ConfigError
from streamhedge.rules.params import BackstopParams, LadderParams
from streamhedge.rules.view import HedgeView, IntentDraft

MOVED = Decimal("0.01")
"""A stop is replaced when the liquidation price, and the trigger with it, has moved by more than this."""
STOPS_MOST = 10
"""Stops of one short; the venue takes 200 of an account over all symbols."""


@record
class Level:
    """Where stops are wanted: one trigger price, quantities that close the short. ``left`` is what they do not cover.

    ``hold`` says in one word why nothing may be placed or cancelled now, empty when it may.
    """

    trigger_price: Decimal
    quantities: tuple[Decimal, ...]
    left: Decimal = ZERO
    hold: str = ""


@record
class PlaceStep:
    """A stop is missing: place it."""

    quantity: Decimal
    trigger_price: Decimal


@record
class CancelStep:
    """A stop is not wanted any more, and all that are wanted rest."""

    client_order_id: ClientOrderId


def level(
    view: HedgeView, params: BackstopParams | None, *, liquidation_price: Decimal | None, resting: Sequence[Stop]
) -> Level:
    """Return where the stops of a short should be; no quantities for flat, long, or without a configured backstop.

    Args:
        view: The symbol at this moment.
        params: What the operator said, None without a backstop.
        liquidation_price: Of the confirmed position, None where it has none.
        resting: Our stops at the venue, oldest first.
    """
    if params is None or view.position >= 0:
        return Level(ZERO, ())
    if liquidation_price is None:
        return Level(ZERO, (), hold="unknown")
    wanted = floor_step(divide(liquidation_price, ONE + params.distance), view.instrument.tick_size)
    held = resting[-1].trigger_price if resting else ZERO
    trigger = held if held > 0 and abs(wanted - held) <= held * MOVED else wanted
    if trigger <= view.mark_price:
        # The venue would refuse it, or trigger at once; the ladder acts long before.
        return Level(trigger, (), hold="near")
    quantities, left = _pieces(view, -view.position, trigger)
    return Level(trigger, quantities, left)


def _pieces(view: HedgeView, size: Decimal, trigger: Decimal) -> tuple[tuple[Decimal, ...], Decimal]:
    """Cut a size into what one order of ours may be, at the price it would trade at."""
    instrument = view.instrument
    by_notional = divide(view.limits.max_order_notional, trigger)
    most = min(view.params.max_order_quantity, by_notional, instrument.market_max_quantity)
    largest = floor_step(most, instrument.step_size)
    if largest < instrument.min_quantity or largest <= 0:
        return (), size
    found: list[Decimal] = []
    left = size
    while left > 0 and len(found) < STOPS_MOST:
        found.append(min(left, largest))
        left -= found[-1]
    return tuple(found), left


def next_step(wanted: Level, resting: Sequence[Stop], *, overlap_refused: bool) -> PlaceStep | CancelStep | None:
    """Return the one request that brings the stops nearer to where they should be, None when they are there.

    Args:
        wanted: Where they should be.
        resting: Our stops at the venue, oldest first.
        overlap_refused: The venue did not take a new one beside the old (-4118): then one of the old goes first.
    """
    if wanted.hold:
        return None
    surplus = list(resting)
    missing: list[Decimal] = []
    for quantity in wanted.quantities:
        found = next((stop for stop in surplus if _is(stop, quantity, wanted.trigger_price)), None)
        if found is None:
            missing.append(quantity)
        else:
            surplus.remove(found)
    if missing and not (overlap_refused and surplus):
        return PlaceStep(missing[0], wanted.trigger_price)
    return CancelStep(surplus[0].client_order_id) if surplus else None


def _is(stop: Stop, quantity: Decimal, trigger_price: Decimal) -> bool:
    return stop.side is Side.BUY and stop.quantity == quantity and stop.trigger_price == trigger_price


def stop_draft(view: HedgeView, step: PlaceStep) -> IntentDraft:
    """Return a stop as the order it would become, for the gate to judge."""
    return IntentDraft(
        symbol=view.params.symbol,
        side=Side.BUY,
        quantity=step.quantity,
        type=OrderType.MARKET,
        price=None,
        time_in_force=None,
        reduce_only=True,
        purpose=Purpose.BACKSTOP,
        target=view.position + step.quantity,
        reason=f"stop at {step.trigger_price}",
    )


def check_backstop(params: BackstopParams, ladder: LadderParams) -> None:
    """Refuse a backstop that would trigger before the ladder has cut.

    Raises:
        ConfigError: names both distances.
    """
    if not ZERO < params.distance < ladder.close:
        raise ConfigError(
            f"[backstop] distance {(params.distance * 100).normalize():f} % must be above 0 and below ladder.close "
            f"{(ladder.close * 100).normalize():f} %: the stop would trigger before the ladder has cut"
        )
