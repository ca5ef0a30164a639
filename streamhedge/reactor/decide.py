"""From the state to orders: build what the rules see, ask them in fixed order, pass their drafts through the gate.

Order per symbol: liquidation ladder, then hedge, then the stops at the venue. A draft that the gate refuses is a value with a reason, shown once.
"""

from __future__ import annotations

from streamhedge.domain.commands import Level, PlaceOrder, PlaceStop
from streamhedge.domain.events import PositionSide
from streamhedge.domain.order import Order, Side
from streamhedge.domain.values import NS_PER_MS, ZERO, Asset, Symbol, floor_step
from streamhedge.reactor import margin
from streamhedge.reactor.backstop import keep_stops
from streamhedge.reactor.controls import held_back, is_first_of_ramp
from streamhedge.reactor.exposure import pending_interval
from streamhedge.reactor.funding import decide_ratio, in_force
from streamhedge.reactor.orders import register
from streamhedge.reactor.state import Core, SymbolMemory, symbol_state, trading_state
from streamhedge.rules.flatten import flatten_draft
from streamhedge.rules.hedge import decide_hedge, policy_short, tolerated_usd
from streamhedge.rules.limits import Approved, GateContext, Refused, gate
from streamhedge.rules.liquidation import read_ladder
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.triggers import Rest
from streamhedge.rules.view import (
    Blocked,
    BookStatus,
    HedgeVerdict,
    HedgeView,
    IntentDraft,
    LadderStep,
    LadderVerdict,
    Leg,
    Peer,
)

TELL_AGAIN_NS = 60_000 * NS_PER_MS
"""What a shadow run withholds is told when it changes, and once a minute."""


def open_orders(core: Core, hedge: HedgeParams) -> list[Order]:
    """Return our orders on the symbol that are not terminal."""
    return [order for order in core.open_orders() if order.symbol == hedge.symbol]


def _unmarked(core: Core, hedge: HedgeParams) -> list[Symbol]:
    """Return the other cross positions whose mark or brackets are not known."""
    assert core.triggers is not None, "a reactor builds it"
    return core.state.book.unmarked(hedge.symbol) if core.triggers.unmarked else []


MANY = 32
"""Other positions on a margin up to which they are looked at one by one on every input.

Sums would do for a few as well, and at a fraction of the time (a tick beside 10 others takes 0.8 ms one by one, 0.2 ms from
sums), but they do not tell the joint distance, which status, page and metrics show: it is kept where it costs little.
"""


def view_of(core: Core, hedge: HedgeParams, *, quiet: bool = False) -> HedgeView | None:
    """Build what the rules see of one hedge; None before filters, a first mark and the margin's balance are known.

    Args:
        core: The reactor's.
        hedge: The hedge.
        quiet: Take what no hedge steers as sums, which is right while nothing on the margin is near its liquidation.
    """
    book = core.state.book
    instrument = book.instruments.get(hedge.symbol)
    mark = book.marks.get(hedge.symbol)
    if instrument is None or mark is None or instrument.margin_asset not in book.balances:
        return None
    memory = core.memory_of(hedge.symbol)
    working = open_orders(core, hedge)
    low, high = pending_interval(core, hedge.symbol)
    isolated = book.is_isolated(hedge.symbol)
    peers, unknown = _peers(core, hedge, instrument.margin_asset)
    return HedgeView(
        params=in_force(core, hedge),
        ladder=core.policy.ladder,
        limits=core.policy.limits,
        instrument=instrument,
        float_quantity=core.state.floats.get(hedge.asset, ZERO),
        position=book.quantity(hedge.symbol),
        entry_price=book.entry_price(hedge.symbol),
        pending_low=low,
        pending_high=high,
        open_orders=len(working) + (1 if memory.exposure is not None and not working else 0),
        doubt_orders=sum(order.in_doubt for order in working),
        mark_price=mark.mark_price,
        index_price=mark.index_price,
        mark_age_ms=(core.now_ns - mark.recv_ns) // NS_PER_MS,
        mark_suspicious=mark.is_suspicious(core.now_ns),
        isolated=isolated,
        wallet=book.wallet(hedge.symbol, instrument.margin_asset),
        available=(core.triggers if quiet and core.triggers is not None else book).available(instrument.margin_asset),
        leverage=book.leverage.get(hedge.symbol, hedge.leverage),
        others=()
        if isolated and book.quantity(hedge.symbol) != 0
        else _others(core, hedge, instrument.margin_asset, steered_only=quiet),
        trading_state=trading_state(core.state),
        symbol_state=symbol_state(memory),
        book_status=core.state.book_status,
        position_trusted=memory.position_trusted,
        paced=memory.paced,
        last_paced_ns=memory.last_paced_ns,
        zero_fills=memory.zero_fills,
        naked_since_ns=memory.naked_since_ns,
        retry_after_ns=memory.retry_after_ns,
        reduce_after_ns=memory.reduce_after_ns,
        raise_after_ns=max(memory.reopen_at_ns or 0, core.state.quarantine_until_ns),
        warned=memory.ladder_step is not LadderStep.CLEAR,
        now_ns=core.now_ns,
        lag_ms=core.state.lag_ms,
        unmarked=(*_unmarked(core, hedge), *(() if isolated else unknown)),
        doubt_raises=any(order.in_doubt and not order.reduce_only for order in working),
        cutting=memory.cutting,
        cut_to=memory.cut_to,
        peers=() if isolated else peers,
        rest=_rest(core, hedge, instrument.margin_asset) if quiet else None,
        ramp_until_ns=core.state.ramp_until_ns,
        ramp_first=is_first_of_ramp(core, memory),
        raised_ns=memory.raised_ns,
        polled_age_ms=(core.now_ns - mark.polled_ns) // NS_PER_MS if mark.polled_ns > mark.recv_ns else None,
        missing=memory.missing,
        stepped_up=margin.is_stepped_up(core, memory),
    )


def is_quiet(core: Core, hedge: HedgeParams) -> bool:
    """Return whether sums say all there is to say of the other positions: they are many, and nothing is near or open."""
    book, memory = core.state.book, core.memory_of(hedge.symbol)
    instrument, index = book.instruments.get(hedge.symbol), core.triggers
    if instrument is None or index is None or index.legs(instrument.margin_asset) <= MANY:
        return False
    if book.is_isolated(hedge.symbol) or book.dual_side or index.is_near(hedge.symbol, instrument.margin_asset):
        return False
    if core.state.open_ids or any(core.memory_of(other.symbol).exposure for other in core.policy.hedges):
        return False
    calm = memory.ladder_step is LadderStep.CLEAR and memory.cutting is None
    return calm and memory.missing == 0 and not margin.is_stepped_up(core, memory)


def _rest(core: Core, hedge: HedgeParams, margin_asset: Asset) -> Rest:
    """Return the sums over what no hedge steers, at the distance that raising leaves."""
    assert core.triggers is not None, "a reactor builds it"
    ladder = core.policy.ladder
    distance = ladder.rehedge if core.memory_of(hedge.symbol).paced else ladder.reopen
    steered = [hedge.symbol, *(other.symbol for other in _sharing(core, hedge, margin_asset))]
    return core.triggers.without(margin_asset, steered, distance)


def _others(core: Core, hedge: HedgeParams, margin_asset: Asset, *, steered_only: bool = False) -> tuple[Leg, ...]:
    """Return what else shares the margin; what our own hedges have open there counts at the worst end."""
    book = core.state.book
    pending = {other.symbol: pending_interval(core, other.symbol)[0] for other in _sharing(core, hedge, margin_asset)}
    legs = []
    among = list(pending) if steered_only else None
    for held in book.cross_others(hedge.symbol, margin_asset, among=among):
        steered = held.symbol in pending and held.position_side is PositionSide.BOTH
        block = core.memory_of(held.symbol).block if steered else None
        legs.append(
            Leg(
                symbol=held.symbol,
                quantity=held.quantity,
                entry_price=held.entry_price,
                mark_price=book.marks[held.symbol].mark_price,
                instrument=book.instruments[held.symbol],
                pending_low=min(ZERO, pending.pop(held.symbol)) if steered else ZERO,
                cuts=steered and not (block is not None and block.latched),
            )
        )
    for symbol, low in pending.items():
        if low < 0 and symbol in book.marks and symbol in book.instruments:
            mark, instrument = book.marks[symbol], book.instruments[symbol]
            legs.append(Leg(symbol, ZERO, ZERO, mark.mark_price, instrument, pending_low=low, cuts=True))
    return tuple(legs)


def _sharing(core: Core, hedge: HedgeParams, margin_asset: Asset) -> list[HedgeParams]:
    """Return the other hedges whose position is, or would be, cross on the same margin asset."""
    book = core.state.book
    return [
        other
        for other in core.policy.hedges
        if other.symbol != hedge.symbol
        and not book.is_isolated(other.symbol)
        and (other.symbol not in book.instruments or book.instruments[other.symbol].margin_asset == margin_asset)
    ]


def _peers(core: Core, hedge: HedgeParams, margin_asset: Asset) -> tuple[tuple[Peer, ...], list[Symbol]]:
    """Return the other hedges on the margin with what they are to hold, and those whose mark is not known yet."""
    book = core.state.book
    peers, unknown = [], []
    for other in _sharing(core, hedge, margin_asset):
        memory = core.memory_of(other.symbol)
        wanted = policy_short(
            params=in_force(core, other),
            max_short_ratio=core.policy.limits.max_short_ratio,
            float_quantity=core.state.floats.get(other.asset, ZERO),
        )
        off = memory.flatten or (
            memory.block is not None and (memory.block.latched or memory.block.cause == "contract")
        )
        if off:
            # It raises nothing until a person resumes it, or ever: what it holds is all it needs.
            wanted = min(wanted, max(ZERO, -book.quantity(other.symbol)))
        if wanted <= 0:
            continue
        instrument, mark = book.instruments.get(other.symbol), book.marks.get(other.symbol)
        if instrument is None or mark is None:
            unknown.append(other.symbol)
            continue
        peers.append(Peer(other.symbol, floor_step(wanted, instrument.step_size), mark.mark_price, instrument))
    return tuple(peers), unknown


def run_rules(core: Core) -> None:
    """Let every hedge decide: liquidation first, then the ratio, then the hedge."""
    if not core.state.setup_done:
        return
    for hedge in core.policy.hedges:
        view = view_of(core, hedge, quiet=is_quiet(core, hedge))
        memory = core.memory_of(hedge.symbol)
        if view is None:
            if memory.block is not None:
                _show_blocked(core, memory, Blocked(cause=memory.block.cause, reason=memory.block.reason, remedy=None))
            continue
        ladder = read_ladder(view)
        _remember_ladder(core, memory, ladder)
        if memory.flatten:
            refused = _submit(core, view, flatten_draft(view))
        else:
            refused = _cut(core, memory, view, ladder)
            if ladder.draft is not None:
                view = view_of(core, hedge) or view
        if decide_ratio(core, hedge, view):
            view = view_of(core, hedge) or view
        verdict = decide_hedge(view)
        if verdict.draft is not None and not _hedge_silent(memory):
            no = _submit(core, view, verdict.draft)
            if no is None and memory.paced and verdict.draft.side is Side.SELL:
                memory.last_paced_ns = core.now_ns
            refused = no or refused
        _remember_hedge(core, memory, view, verdict, refused)
        _pace_end(core, memory, view, verdict)
        if core.policy.backstop is not None or core.state.stops:
            now = view_of(core, hedge) or view
            keep_stops(core, now, ladder.liquidation_price, gate_context(core, now))


def _cut(core: Core, memory: SymbolMemory, view: HedgeView, ladder: LadderVerdict) -> Refused | None:
    """Send what the ladder wants, and pace raising from then on."""
    latched_off = memory.block is not None and memory.block.latched
    if ladder.draft is None or latched_off:
        if memory.cutting is not None and ladder.step in (LadderStep.CLEAR, LadderStep.WARN) and not view.open_orders:
            memory.cutting = None
            core.persist_pace(memory)
        return None
    refused = _submit(core, view, ladder.draft)
    if refused is None and not core.state.shadow:
        memory.paced = True
        memory.last_paced_ns = core.now_ns
        memory.cutting = ladder.step
        memory.cut_to = -ladder.draft.target
        core.persist_pace(memory)
    return refused


def _hedge_silent(memory: SymbolMemory) -> bool:
    return memory.block is not None or bool(memory.flatten)


def _submit(core: Core, view: HedgeView, draft: IntentDraft | None) -> Refused | None:
    """Pass a draft through the gate and register it; return the refusal, None where there was none."""
    if draft is None:
        return None
    verdict = gate(draft, view, gate_context(core, view))
    memory = core.memory_of(draft.symbol)
    if isinstance(verdict, Approved):
        if core.state.shadow:
            said = f"would {draft.side.value} {draft.quantity}: {draft.reason}"
            if said != memory.withheld or core.now_ns - memory.withheld_ns >= TELL_AGAIN_NS:
                memory.withheld, memory.withheld_ns = said, core.now_ns
                core.note("shadow", Level.INFO, draft.symbol, said)
        else:
            register(core, draft)
        return None
    if memory.refused_by != verdict.control:
        core.trip(verdict.control.partition(" ")[0])
        core.note(
            "gate",
            Level.WARNING,
            draft.symbol,
            f"{draft.side.value} {draft.quantity} refused by {verdict.control}: {verdict.reason}",
            control=verdict.control,
        )
    return verdict


def gate_context(core: Core, view: HedgeView) -> GateContext:
    """Collect what the gate counts beyond one symbol."""
    minute_ago = core.now_ns - 60_000 * NS_PER_MS
    memory = core.memory_of(view.params.symbol)
    budget = core.state.budget
    placed = sum(isinstance(command, PlaceOrder | PlaceStop) for command in core.commands)
    return GateContext(
        intents_last_minute=sum(t > minute_ago for t in memory.intent_times_ns),
        orders_last_minute=sum(t > minute_ago for t in core.state.meter.order_times_ns),
        open_intents=len(core.state.open_ids),
        turnover_today=core.state.meter.turnover,
        ladder_latched_off=memory.block is not None and memory.block.latched,
        raises_left=None if budget is None else budget.raises_left - placed,
        reduces_left=None if budget is None else budget.reduces_left - placed,
        silent_until_ns=core.state.silent_until_ns,
        stopping=bool(core.state.stopping),
    )


def _remember_ladder(core: Core, memory: SymbolMemory, ladder: LadderVerdict) -> None:
    memory.liquidation_price = ladder.liquidation_price
    memory.distance = ladder.distance
    memory.joint_distance = ladder.joint_distance
    _tell_helpless(core, memory, ladder)
    meter = core.state.meter
    if ladder.distance is not None and (meter.min_distance is None or ladder.distance < meter.min_distance):
        meter.min_distance = ladder.distance
    if ladder.step is memory.ladder_step:
        return
    louder = list(LadderStep).index(ladder.step) > list(LadderStep).index(memory.ladder_step)
    memory.ladder_step = ladder.step
    if ladder.distance is None:
        return
    if louder:
        core.trip("R9")
    percent = ladder.distance * 100
    text = f"distance {percent:.2f} % is in step {ladder.step.value}"
    if ladder.remedy is not None and louder:
        text += (
            f"; a top-up of {ladder.remedy.top_up:.0f} {core.policy.margin_asset} restores it, "
            f"or sell {ladder.remedy.sell_quantity:f} {memory.symbol}'s float"
        )
    core.note(
        "ladder",
        Level.WARNING if louder else Level.INFO,
        memory.symbol,
        text,
        step=ladder.step.value,
        distance=str(ladder.distance),
        liquidation_price=None if ladder.liquidation_price is None else str(ladder.liquidation_price),
    )


def _tell_helpless(core: Core, memory: SymbolMemory, ladder: LadderVerdict) -> None:
    """Say once that a reading stays low whatever the ladder buys back, and once that this is over."""
    if bool(ladder.helpless) == memory.ladder_helpless or (ladder.hold and not ladder.helpless):
        return
    memory.ladder_helpless = bool(ladder.helpless)
    if not ladder.helpless:
        core.note(
            "ladder_helps", Level.INFO, memory.symbol, "a cut would restore the distance again, or none is needed"
        )
        return
    asked = "" if ladder.remedy is None else f"; post {ladder.remedy.top_up:.0f} {core.policy.margin_asset}"
    core.note("ladder_helpless", Level.CRITICAL, memory.symbol, f"{ladder.helpless}{asked}, or close it by hand")


def _remember_hedge(
    core: Core, memory: SymbolMemory, view: HedgeView, verdict: HedgeVerdict, refused: Refused | None
) -> None:
    memory.policy_short = verdict.policy_short
    memory.target = verdict.target
    memory.gap_low = verdict.gap_low
    memory.gap_high = verdict.gap_high
    memory.dust = verdict.dust
    memory.naked = verdict.naked
    held_back(core, memory, verdict.hold)
    memory.hold = verdict.hold
    memory.refused_by = refused.control if refused is not None else ""
    blocked = verdict.blocked
    tolerated = tolerated_usd(view.params, step_size=view.instrument.step_size, mark_price=view.mark_price)
    naked = abs(verdict.naked) * view.mark_price > tolerated
    if core.state.stopping and naked:
        reason = f"the program is stopping ({core.state.stopping}); the next start hedges"
        # What kept it before the stop still does, and says more.
        blocked = memory.blocked or Blocked(cause="stopping", reason=reason, remedy=None)
    elif memory.block is not None and naked:
        blocked = Blocked(cause=memory.block.cause, reason=memory.block.reason, remedy=None)
    elif memory.flatten and naked:
        reason = f"flattened ({memory.flatten}); `resume --symbol {memory.symbol} --reason …` hedges again"
        blocked = Blocked(cause="flatten", reason=reason, remedy=None)
    elif memory.reduce_only and naked and verdict.naked > 0:
        blocked = Blocked(cause="reducing", reason=f"{memory.symbol} is REDUCE_ONLY: {memory.reduce_only}", remedy=None)
    elif refused is not None and naked:
        blocked = Blocked(cause="limit", reason=f"{refused.control}: {refused.reason}", remedy=None)
    elif memory.venue_closed and memory.reopen_at_ns is not None and core.now_ns < memory.reopen_at_ns:
        blocked = Blocked(cause="venue", reason=f"{memory.venue_closed}; re-hedging after the cooldown", remedy=None)
    _show_blocked(core, memory, blocked)


def _show_blocked(core: Core, memory: SymbolMemory, blocked: Blocked | None) -> None:
    """Remember what keeps a symbol from its hedge, and say it when it begins, changes or ends."""
    was = memory.blocked.cause if memory.blocked is not None else ""
    memory.blocked = blocked
    if blocked is not None and blocked.cause != was:
        core.note("blocked", Level.WARNING, memory.symbol, f"{blocked.cause}: {blocked.reason}", cause=blocked.cause)
    elif blocked is None and was:
        core.note("unblocked", Level.INFO, memory.symbol, f"no longer kept from its hedge by {was}")


def _pace_end(core: Core, memory: SymbolMemory, view: HedgeView, verdict: HedgeVerdict) -> None:
    if memory.paced and verdict.pace_over and view.book_status is BookStatus.LIVE:
        memory.paced = False
        core.persist_pace(memory)
