"""The ladder: how near liquidation is, and the smallest cut that restores the distance (HEDGING §3).

Reads D = min(own distance, joint distance of all shorts on one margin). Warn, then a reduce-only cut back to ``reopen``,
then the same cut at any price (or flat). It alone may act while one raising order is in doubt: reduce-only, never more
than the smallest position the doubt allows.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.instrument import Instrument
from streamhedge.domain.margin import (
    distance_of_size,
    joint_distance,
    maintenance_margin,
    opening_distance,
    size_after_cut,
)
from streamhedge.domain.order import OrderType, Purpose, Side, TimeInForce
from streamhedge.domain.values import ONE, ZERO, floor_step
from streamhedge.errors import ConfigError
from streamhedge.rules.hedge import (
    ZERO_FILLS_TO_MARKET,
    collar_price,
    free_margin,
    held_maintenance,
    policy_short,
    remedy,
    short_size,
    slice_quantity,
)
from streamhedge.rules.params import CloseAction, HedgeParams, LadderParams
from streamhedge.rules.view import (
    BookStatus,
    HedgeView,
    IntentDraft,
    LadderStep,
    LadderVerdict,
    Remedy,
    TradingState,
)

WARN_RESOLVES = Decimal("0.01")
"""The warning ends one percentage point above where it began; a cut lands on ``reopen`` and would flap."""
MARK_AGE_MS = 10_000


def read_ladder(view: HedgeView) -> LadderVerdict:
    """Return what the ladder reads, and the cut it wants now, if any.

    Args:
        view: The symbol at this moment.

    Returns:
        The verdict; ``draft`` is None unless a cut should be sent, with ``hold`` saying why not.
    """
    held = short_size(view)
    if held == 0:
        return LadderVerdict(LadderStep.CLEAR, None, None, None, None, None, "", None)
    free = free_margin(view)
    own, joint = _readings(view, free=free, held=held)
    reading = min(own, joint)
    step = _step(view, reading, held)
    if view.stepped_up:
        step = list(LadderStep)[min(list(LadderStep).index(step) + 1, list(LadderStep).index(LadderStep.CLOSE))]
    price = view.mark_price * (ONE + own)
    if step in (LadderStep.CLEAR, LadderStep.WARN):
        told = _remedy(view) if step is LadderStep.WARN else None
        return LadderVerdict(step, price, own, None if view.rest is not None else joint, None, None, "", told)
    own_fired = own <= (view.ladder.reduce if view.cutting is None else view.ladder.reopen)
    target, draft, hold = _cut(view, step, free=free, held=held, own_fired=own_fired)
    helpless = _helpless(view, target, hold, own=own, joint=joint)
    return LadderVerdict(step, price, own, joint, target, draft, hold, _remedy(view), helpless)


def _readings(view: HedgeView, *, free: Decimal, held: Decimal) -> tuple[Decimal, Decimal]:
    """Return own and joint distance of a short of this size."""
    notional = held * view.mark_price
    own = distance_of_size(free=free, notional=notional, brackets=view.instrument.brackets)
    joint = None if view.isolated or view.rest is not None else _joint(view, free, notional)
    return own, own if joint is None else joint


def _joint(view: HedgeView, free: Decimal, notional: Decimal) -> Decimal | None:
    """Return the joint distance of a short of this value beside the other shorts; None without any."""
    shorts = [(notional, view.instrument.brackets)] if notional > 0 else []
    balance = free
    for leg in view.others:
        size = leg.short_notional
        if size > 0:
            shorts.append((size, leg.instrument.brackets))
            balance += held_maintenance(leg)
    return joint_distance(margin_balance=balance, shorts=shorts)


def _step(view: HedgeView, reading: Decimal, held: Decimal) -> LadderStep:
    """Return the step that fires; a cut that has begun goes on until it is done, whatever its slices restored."""
    ladder = view.ladder
    unfinished = view.cutting if held > view.cut_to and (reading < ladder.reopen or view.cut_to == 0) else None
    if reading <= ladder.close or unfinished is LadderStep.CLOSE:
        return LadderStep.CLOSE
    if reading <= ladder.reduce or unfinished is LadderStep.REDUCE:
        return LadderStep.REDUCE
    warn = ladder.warn + WARN_RESOLVES if view.warned else ladder.warn
    return LadderStep.WARN if reading <= warn else LadderStep.CLEAR


def _remedy(view: HedgeView) -> Remedy:
    policy = policy_short(
        params=view.params, max_short_ratio=view.limits.max_short_ratio, float_quantity=view.float_quantity
    )
    return remedy(view, capped=floor_step(policy, view.instrument.step_size), policy=policy)


def _cut(
    view: HedgeView, step: LadderStep, *, free: Decimal, held: Decimal, own_fired: bool
) -> tuple[Decimal | None, IntentDraft | None, str]:
    """Return (target, draft, hold word) of a firing ladder."""
    hold = _may_cut(view, own_fired=own_fired)
    if hold:
        return None, None, hold
    if view.isolated and step is LadderStep.REDUCE:
        # A partial close releases isolated margin pro rata, so no size restores the distance: ask for margin instead.
        return None, None, "isolated"
    keep = _keep(view, step, free=free, held=held)
    # In doubt, the smaller end: the cut must not exceed what is certainly there.
    certain = max(ZERO, -(view.position + view.pending_high))
    size = min(certain, max(ZERO, certain - keep))
    if size <= 0:
        return None, None, "doubt" if view.doubt_orders else "small"
    market = step is LadderStep.CLOSE or view.zero_fills >= ZERO_FILLS_TO_MARKET
    quantity = slice_quantity(view, size, market=market)
    if quantity == 0:
        return None, None, "small"
    if not _raises_reading(view, quantity, free=free, held=held, own_fired=own_fired):
        return None, None, "useless"
    draft = IntentDraft(
        symbol=view.params.symbol,
        side=Side.BUY,
        quantity=quantity,
        type=OrderType.MARKET if market else OrderType.LIMIT,
        price=None if market else collar_price(view, Side.BUY),
        time_in_force=None if market else TimeInForce.IOC,
        reduce_only=True,
        purpose=Purpose.LADDER,
        target=-keep,
        reason=f"ladder {step.value}: short {held} → {keep} restores {view.ladder.reopen * 100:f} %",
    )
    return -keep, draft, ""


def _may_cut(view: HedgeView, *, own_fired: bool) -> str:
    if view.trading_state is TradingState.HALTED:
        return "halted"
    if view.book_status is BookStatus.COLD or not view.position_trusted:
        return "stale"
    if view.reducing_mark_age_ms > MARK_AGE_MS:
        return "stale"
    if view.mark_suspicious:
        return "price"
    if view.open_orders and not (view.open_orders == view.doubt_orders == 1 and view.doubt_raises):
        return "in_flight"
    if view.now_ns < view.reduce_after_ns and view.zero_fills == 0:
        return "retry"
    return "" if own_fired or _is_largest(view) else "joint"


def _helpless(view: HedgeView, target: Decimal | None, hold: str, *, own: Decimal, joint: Decimal) -> str:
    """Say why no cut of this hedge restores the reading: it would only cost its fee, or somebody else's short fires it."""
    reading = f"own distance {own * 100:.2f} %, joint {joint * 100:.2f} %"
    if hold == "useless":
        return f"{reading}: buying back would only cost its fee"
    foreign = [leg for leg in view.others if leg.short_notional > 0 and not leg.cuts]
    if hold or target != 0 or not foreign:
        return ""
    rest = _joint(view, free_margin(view), ZERO)
    if rest is None or rest >= view.ladder.reopen:
        return ""
    names = ", ".join(leg.symbol for leg in foreign)
    return f"{reading}: with all of it bought back, {names}, which no hedge steers, still stands at {rest * 100:.2f} %"


def _raises_reading(view: HedgeView, quantity: Decimal, *, free: Decimal, held: Decimal, own_fired: bool) -> bool:
    """Return whether the reading that fired is higher after a fill at the mark: below that a cut only costs its fee."""
    left = held - quantity
    if left <= 0:
        return True
    fee = quantity * view.mark_price * view.instrument.taker_fee_rate
    before, after = _readings(view, free=free, held=held), _readings(view, free=free - fee, held=left)
    return after[0] > before[0] if own_fired else after[1] > before[1]


def _is_largest(view: HedgeView) -> bool:
    """A joint reading cuts the largest notional first, ties by symbol name; only what a ladder of ours can cut counts."""
    own = (-view.position * view.mark_price, view.params.symbol)
    for leg in view.others:
        if leg.quantity < 0 and leg.cuts:
            size = -leg.quantity * leg.mark_price
            if size > own[0] or (size == own[0] and leg.symbol < own[1]):
                return False
    return True


def _keep(view: HedgeView, step: LadderStep, *, free: Decimal, held: Decimal) -> Decimal:
    """Return the short to keep: the smallest cut that restores ``reopen``, or nothing when close means flat."""
    if step is LadderStep.CLOSE and (view.isolated or view.ladder.close_action is CloseAction.FLATTEN):
        return ZERO
    budget = free
    for leg in view.others:
        size = leg.short_notional
        if size > 0:
            budget += held_maintenance(leg)
            budget -= size * view.ladder.reopen
            budget -= maintenance_margin(notional=size * (ONE + view.ladder.reopen), brackets=leg.instrument.brackets)
    kept = size_after_cut(
        free=budget,
        held=held,
        mark_price=view.mark_price,
        distance=view.ladder.reopen,
        fee_rate=view.instrument.taker_fee_rate,
        brackets=view.instrument.brackets,
    )
    return max(ZERO, floor_step(kept, view.instrument.step_size))


def check_ladder(ladder: LadderParams) -> None:
    """Refuse thresholds that contradict each other.

    Raises:
        ConfigError: names the thresholds and the order they must have.
    """
    percent = {name: getattr(ladder, name) * 100 for name in ("warn", "reduce", "close", "reopen", "rehedge")}
    said = ", ".join(f"{name} {value.normalize():f} %" for name, value in percent.items())
    if not ladder.close < ladder.reduce < ladder.reopen <= ladder.rehedge or ladder.close <= 0:
        raise ConfigError(f"[ladder] needs 0 < close < reduce < reopen <= rehedge; it says {said}")
    if not ladder.reduce < ladder.warn:
        raise ConfigError(f"[ladder] needs reduce < warn, or the warning comes after the cut; it says {said}")
    if not ZERO <= ladder.raise_step <= ONE or ladder.cooldown_ms < 0:
        raise ConfigError("[ladder] raise_step is a share of the policy short, cooldown is not negative")


def check_isolated(hedge: HedgeParams, ladder: LadderParams, instrument: Instrument, mark_price: Decimal) -> None:
    """Refuse an isolated hedge that would open inside its own ladder (HEDGING §3), with the arithmetic.

    Raises:
        ConfigError: the opening distance at this leverage and size is below ``reopen``.
    """
    if not hedge.isolated:
        return
    notional = hedge.max_short * mark_price
    distance = opening_distance(leverage=hedge.leverage, notional=notional, brackets=instrument.brackets)
    if distance < ladder.reopen:
        raise ConfigError(
            f"hedge {hedge.asset}: an isolated {hedge.leverage}x short of {hedge.max_short} at {mark_price} "
            f"({notional:.0f} USDT) opens at {distance * 100:.2f} % from liquidation, below reopen "
            f"{ladder.reopen * 100:f} %: it would be cut at once. Use cross margin or a lower leverage"
        )
