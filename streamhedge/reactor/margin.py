"""What says that our margin figures may be wrong, or that we see too little: calls, a mute mark stream, the venue's own prices.

A margin call means that the venue's figures and ours differ, or that another position is in need: the worse of the two
readings counts while it stands, and no answer within 2 s is one step up (HEDGING §3). Without marks the ladder runs on
those of the position rows. The venue's liquidation price and its deleveraging queue are held against ours each snapshot.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.commands import FollowSymbol, Level, RequestSetup, RequestSnapshot
from streamhedge.domain.events import ContractInfo, MarginCall, PositionSide, Snapshot, SnapshotPosition
from streamhedge.domain.margin import maintenance_margin
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, divide
from streamhedge.reactor.state import Core, SymbolMemory

ANSWER_NS = 2 * NS_PER_SECOND
"""A margin call without a snapshot by then is one step up."""
CALL_STANDS_NS = 600 * NS_PER_SECOND
"""How long after the last call the worse reading goes on counting."""
MUTE_NS = 10 * NS_PER_SECOND
POLL_NS = 2 * NS_PER_SECOND
DRIFT_MOST = Decimal("0.01")
"""The venue's liquidation price and ours may differ so far: its row and our marks of other positions are not of one moment."""
DRIFT_ENDS = Decimal("0.005")
QUANTILE_HIGH = 3
LADDER_OFF_NS = 60 * NS_PER_SECOND


def on_margin_call(core: Core, event: MarginCall) -> None:
    """Ask for a snapshot at once, and count the seconds until it is there."""
    names = ", ".join(row.symbol for row in event.positions)
    core.commands.append(RequestSnapshot(reason="margin call", audit=True))
    core.note("margin_call", Level.CRITICAL, None, f"MARGIN_CALL for {names}; asking for a snapshot")
    named = [row.symbol for row in event.positions]
    for hedge in core.policy.hedges:
        memory = core.memory_of(hedge.symbol)
        shared = event.cross_wallet_balance is not None and not core.state.book.is_isolated(hedge.symbol)
        if hedge.symbol in named or shared:
            memory.call_waits_ns = memory.call_waits_ns or core.now_ns
            memory.call_ns = core.now_ns
            memory.call_asked_ns = core.now_ns


def is_stepped_up(core: Core, memory: SymbolMemory) -> bool:
    """Return whether a margin call has had no answer for so long that the ladder acts one step up."""
    return bool(memory.call_waits_ns) and core.now_ns - memory.call_waits_ns >= ANSWER_NS


def watch(core: Core) -> None:
    """Ask again for what has not come: the answer to a margin call, and marks while their stream is mute."""
    for memory in core.state.memory.values():
        waited_ns = core.now_ns - memory.call_asked_ns
        if memory.call_waits_ns and waited_ns >= ANSWER_NS:
            memory.call_asked_ns = core.now_ns
            core.commands.append(RequestSnapshot(reason="margin call, asked again", audit=True))
            core.note(
                "margin_call",
                Level.CRITICAL,
                memory.symbol,
                f"no snapshot {(core.now_ns - memory.call_waits_ns) // NS_PER_MS} ms after the margin call: "
                "the ladder acts one step up",
            )
    _watch_mute(core)
    _alarm_while_blocked(core)


def _watch_mute(core: Core) -> None:
    """Poll the position rows, which carry the mark, while the stream of a short's mark is mute."""
    book, mute = core.state.book, []
    limit_ns = max(MUTE_NS, 2 * core.policy.limits.stale_after_ms * NS_PER_MS)
    for hedge in core.policy.hedges:
        mark = book.marks.get(hedge.symbol)
        if mark is None or book.quantity(hedge.symbol) >= 0:
            continue
        memory = core.memory_of(hedge.symbol)
        if core.now_ns - mark.recv_ns > limit_ns:
            mute.append(hedge.symbol)
            if not memory.mark_mute:
                seconds = limit_ns // NS_PER_SECOND
                text = f"no mark for {seconds} s with a short open: asking for it each 2 s, raising nothing"
                core.note("mark_mute", Level.CRITICAL, hedge.symbol, text)
            memory.mark_mute = True
        elif memory.mark_mute:
            memory.mark_mute = False
            core.note("mark_back", Level.INFO, hedge.symbol, "the mark comes by its stream again")
    if mute and core.now_ns - core.state.polled_ns >= POLL_NS:
        core.state.polled_ns = core.now_ns
        core.commands.append(RequestSnapshot(reason=f"mark of {', '.join(mute)}", audit=True))


def _alarm_while_blocked(core: Core) -> None:
    """A latched block with a short open means that its ladder is off: say so each minute, with the distance."""
    for memory in core.state.memory.values():
        latched = memory.block is not None and memory.block.latched
        if not latched or core.state.halted is not None:
            memory.ladder_off_ns = 0
            continue
        quantity = core.state.book.quantity(memory.symbol)
        memory.ladder_off_ns = memory.ladder_off_ns or core.now_ns
        if quantity < 0 and core.now_ns - memory.ladder_off_ns >= LADDER_OFF_NS:
            memory.ladder_off_ns = core.now_ns
            distance = "unknown" if memory.distance is None else f"{memory.distance * 100:.2f} %"
            core.note(
                "ladder_off",
                Level.CRITICAL,
                memory.symbol,
                f"BLOCKED with {quantity} open: the ladder is off, liquidation distance {distance}",
            )


def on_brackets(core: Core, event: ContractInfo) -> None:
    """Read the account's own brackets again wherever they count: of our symbols, and of what else shares the margin."""
    if event.brackets is None:
        return
    text = "margin brackets changed; reading the account's own again"
    if event.symbol in core.state.memory:
        core.commands.append(RequestSetup(reason=f"margin brackets of {event.symbol} changed"))
    elif event.symbol in core.state.followed:
        core.commands.append(FollowSymbol(symbol=event.symbol))
    else:
        return
    core.note("brackets", Level.WARNING, event.symbol, text)


# ---------------------------------------------------------------- each snapshot


def on_rows(core: Core, event: Snapshot) -> None:
    """Hold what the venue computes itself against ours, and take its marks where the stream is mute."""
    limit_ns = max(MUTE_NS, 2 * core.policy.limits.stale_after_ms * NS_PER_MS)
    for row in event.positions:
        mark = core.state.book.marks.get(row.symbol)
        if mark is not None and row.mark_price > 0 and core.now_ns - mark.recv_ns > limit_ns:
            mark.apply_polled(row.mark_price, core.now_ns)
        _hold_against(core, row)
        _watch_queue(core, row)
    for memory in core.state.memory.values():
        if memory.call_waits_ns and event.requested_ns >= memory.call_waits_ns:
            memory.call_waits_ns = 0
        if memory.missing and core.state.book.quantity(memory.symbol) == 0:
            memory.missing = ZERO


def _hold_against(core: Core, row: SnapshotPosition) -> None:
    """Compare the venue's liquidation price of a position with ours: record the drift, alarm, and heed the worse in a call."""
    book = core.state.book
    held = book.positions.get((row.symbol, row.position_side))
    if held is None or held.quantity != row.quantity or row.quantity == 0:
        return
    ours = book.liquidation_price_of(held)
    if ours is None or ours <= 0 or row.liquidation_price <= 0:
        held.liquidation_drift = None
        return
    before, held.liquidation_drift = held.liquidation_drift, divide(row.liquidation_price - ours, ours)
    drift = held.liquidation_drift
    said = {"venue": str(row.liquidation_price), "ours": str(ours)}
    if abs(drift) > DRIFT_MOST and before is not None and abs(before) > DRIFT_MOST and not held.drift_told:
        held.drift_told = True
        core.note(
            "liquidation_drift",
            Level.CRITICAL,
            row.symbol,
            f"the venue's liquidation price {row.liquidation_price} is {drift * 100:+.2f} % from ours, {ours:.2f}: "
            "brackets, wallet or other positions are not as we know them",
            **said,
        )
    elif abs(drift) <= DRIFT_ENDS and held.drift_told:
        held.drift_told = False
        core.note("liquidation_agrees", Level.INFO, row.symbol, "the venue's liquidation price is ours again", **said)
    memory = core.state.memory.get(row.symbol)
    if memory is None or row.position_side is not PositionSide.BOTH or row.quantity > 0:
        return
    called = bool(memory.call_ns) and core.now_ns - memory.call_ns < CALL_STANDS_NS
    memory.missing = _missing(core, row, ours) if called else ZERO


def _missing(core: Core, row: SnapshotPosition, ours: Decimal) -> Decimal:
    """Return how much less margin the venue's liquidation price of a short implies than ours, quote units, at least 0.

    A short of s with liquidation price P has s*(P - M) + mm(s*P) behind it; the difference of two does not know the mark.
    """
    size, brackets = -row.quantity, core.state.book.instruments[row.symbol].brackets
    less = size * (ours - row.liquidation_price)
    less += maintenance_margin(notional=size * ours, brackets=brackets)
    return max(ZERO, less - maintenance_margin(notional=size * row.liquidation_price, brackets=brackets))


def _watch_queue(core: Core, row: SnapshotPosition) -> None:
    """Ring when the venue's auto-deleveraging would reach our leg soon."""
    memory = core.state.memory.get(row.symbol)
    if memory is None or row.position_side is not PositionSide.BOTH:
        return
    high = row.quantity != 0 and row.adl >= QUANTILE_HIGH
    if high and not memory.queue_told:
        core.note(
            "adl_quantile",
            Level.WARNING,
            row.symbol,
            f"auto-deleveraging quantile {row.adl}: the venue may close our leg; a smaller or better margined one stands "
            "further back",
        )
    elif memory.queue_told and not high:
        core.note("adl_quantile_low", Level.INFO, row.symbol, f"auto-deleveraging quantile {row.adl}")
    memory.queue_told = high
