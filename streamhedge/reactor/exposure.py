"""How far the confirmed position can be from the truth while orders of ours are open or not yet visible in it.

expected = base + foreign fills + sum of what our orders filled (or may still fill)

The two channels race: ACCOUNT_UPDATE moves the position, ORDER_TRADE_UPDATE the order, in either order. Until the two
agree the hedge rule stays silent, so half a pair never makes a decision; when they do not agree by themselves a
snapshot is asked, and two snapshots that disagree with our fills mean that fills do not move the position.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.commands import Level, RequestSnapshot
from streamhedge.domain.order import Order, OrderStatus, Purpose, Side
from streamhedge.domain.values import NS_PER_MS, ZERO, Symbol
from streamhedge.reactor.state import Block, Core, Exposure, SymbolMemory
from streamhedge.rules.limits import moved_without_effect

PAIR_WAIT_NS = 50 * NS_PER_MS
"""An execution report and its account update come as a pair; wait this long before asking (FAULTS U5)."""
STAMPS_APART_MS = 5
"""Reply, report and account update of one fill are stamped alike, or nearly so."""
ASK_AGAIN_NS = 1_000 * NS_PER_MS
"""Two snapshots that count as two are at least this far apart (HEDGING §8)."""


def open_exposure(core: Core, symbol: Symbol, order: Order) -> None:
    """Start (or join) the arithmetic for a newly registered order."""
    memory = core.memory_of(symbol)
    if memory.exposure is None:
        base_ms = core.state.book.version_ms(symbol)
        memory.exposure = Exposure(base=core.state.book.quantity(symbol), base_ms=base_ms, order_ids=[])
    memory.exposure.order_ids.append(order.client_order_id)
    memory.exposure.ended_ns = None


def orders_of(core: Core, exposure: Exposure) -> list[Order]:
    """Return the orders the arithmetic covers."""
    return [core.state.orders[client_id] for client_id in exposure.order_ids]


def is_covered(core: Core, order: Order) -> bool:
    """Return whether the arithmetic of its symbol counts an order; one of an earlier run it does not."""
    exposure = core.memory_of(order.symbol).exposure
    return exposure is not None and order.client_order_id in exposure.order_ids


def pending_interval(core: Core, symbol: Symbol) -> tuple[Decimal, Decimal]:
    """Return what may still be added to the confirmed position, signed (low, high); (0, 0) when nothing is open.

    An open order of an earlier run may or may not be in the position already: it counts at both ends.
    """
    low = high = ZERO
    for client_id in core.state.uncovered:
        order = core.state.orders[client_id]
        if order.symbol == symbol and order.is_open:
            low += min(ZERO, order.side.sign * order.remaining)
            high += max(ZERO, order.side.sign * order.remaining)
    exposure = core.memory_of(symbol).exposure
    if exposure is None:
        return low, high
    settled = exposure.base + exposure.foreign - core.state.book.quantity(symbol)
    low, high = low + settled, high + settled
    for order in orders_of(core, exposure):
        least = order.side.sign * order.filled
        most = order.side.sign * (order.quantity if order.is_open else order.filled)
        low += min(least, most)
        high += max(least, most)
    return low, high


def expected_position(core: Core, exposure: Exposure) -> Decimal:
    """Return where the position must be when every order has ended."""
    fills = sum((order.side.sign * order.filled for order in orders_of(core, exposure)), ZERO)
    return exposure.base + exposure.foreign + fills


def foreign_fill(core: Core, symbol: Symbol, signed: Decimal, transaction_time_ms: int) -> None:
    """Count a fill that is not ours, unless the position we counted from has it already.

    Its account update may still be on its way, so it starts the arithmetic when nothing else has.
    """
    if symbol not in core.state.memory:
        return
    memory = core.memory_of(symbol)
    book = core.state.book
    if memory.exposure is None and transaction_time_ms > book.version_ms(symbol):
        base_ms = book.version_ms(symbol)
        memory.exposure = Exposure(base=book.quantity(symbol), base_ms=base_ms, order_ids=[])
    exposure = memory.exposure
    if exposure is None or transaction_time_ms < exposure.base_ms:
        return
    if transaction_time_ms == exposure.base_ms:
        # Of the same millisecond as the base, which may hold it: the position tells when it has moved that way since.
        # Where it has not moved at all, what it lacks are our own fills, and those often are as large as the other's.
        missing = book.quantity(symbol) - expected_position(core, exposure)
        stands = book.quantity(symbol) == exposure.base and book.version_ms(symbol) == exposure.base_ms
        exposure.broken = True
        if stands or abs(missing - signed) >= abs(missing):
            return
    exposure.foreign += signed


def count_from_adopted(core: Core, symbol: Symbol) -> None:
    """Count anew from an adopted position that none of our open orders can have led to: somebody else moved it.

    Counting on from the old base would take for certainly there what the venue says is gone.
    """
    memory = core.state.memory.get(symbol)
    exposure = memory.exposure if memory is not None else None
    if exposure is None or not any(order.is_open for order in orders_of(core, exposure)):
        return
    low, high = pending_interval(core, symbol)
    if low <= 0 <= high:
        return
    book = core.state.book
    exposure.base += book.quantity(symbol) - expected_position(core, exposure)
    exposure.base_ms = book.version_ms(symbol)
    exposure.broken = True


def position_moved(core: Core, symbol: Symbol, before: Decimal, before_ms: int) -> None:
    """Take an account update that moved a position nothing of ours is open on: the report that says why is on its way.

    Hedging on the move alone would race the venue's own closing (ADL) before its cooldown is known.
    """
    memory = core.memory_of(symbol)
    if memory.exposure is None:
        memory.exposure = Exposure(base=before, base_ms=before_ms, order_ids=[])


def settle_exposure(core: Core, memory: SymbolMemory) -> None:
    """Close the arithmetic when position and fills agree; ask for a snapshot when they do not within 50 ms."""
    exposure = memory.exposure
    if exposure is None:
        return
    if any(order.is_open for order in orders_of(core, exposure)):
        exposure.ended_ns = None
        return
    if core.state.book.quantity(memory.symbol) == expected_position(core, exposure) and _may_show(
        core, memory, exposure
    ):
        _judge_effect(core, memory, exposure)
        memory.exposure = None
        memory.mismatches = 0
        return
    if exposure.ended_ns is None:
        exposure.ended_ns = core.now_ns
    overdue = core.now_ns - exposure.ended_ns >= PAIR_WAIT_NS
    if overdue and core.now_ns - exposure.last_asked_ns >= ASK_AGAIN_NS:
        exposure.asked += 1
        exposure.last_asked_ns = core.now_ns
        core.commands.append(RequestSnapshot(reason=f"fills of {memory.symbol} not in the position", audit=True))


def _may_show(core: Core, memory: SymbolMemory, exposure: Exposure) -> bool:
    """Return whether the position is of after our fills: one of before that is as large owes it to somebody else."""
    version_ms = core.state.book.version_ms(memory.symbol)
    return all(order.filled_ms <= version_ms + STAMPS_APART_MS for order in orders_of(core, exposure) if order.filled)


def _judge_effect(core: Core, memory: SymbolMemory, exposure: Exposure) -> None:
    """Hold what our fills did against what they were for, HEDGING §8 (b) and R6; foreign fills are taken out.

    One order that filled away from its own target blocks the symbol; so do several fills in a row on one side that
    brought the position no nearer to it.
    """
    for order in orders_of(core, exposure):
        if order.filled == 0 or order.purpose is Purpose.MANUAL:
            continue
        filled = order.side.sign * order.filled
        if moved_without_effect(gap_before=order.target - order.position_before, filled=filled):
            block_ineffective(
                core, memory, "R7", f"{order.client_order_id} filled {filled} away from its target {order.target}"
            )
            return
        after = core.state.book.quantity(memory.symbol) - exposure.foreign
        nearer = abs(order.target - after) < abs(order.target - exposure.base)
        memory.unproven_fill = filled if nearer else ZERO
        if not nearer and _is_fruitless_again(core, memory, order.side):
            return


def _is_fruitless_again(core: Core, memory: SymbolMemory, side: Side) -> bool:
    """Count a fill that led nowhere, and block when there were too many in a row on one side (R6)."""
    memory.fruitless_fills = memory.fruitless_fills + 1 if side.value == memory.fruitless_side else 1
    memory.fruitless_side = side.value
    if memory.fruitless_fills <= core.policy.limits.repeated_same_side_fills:
        return False
    block_ineffective(core, memory, "R6", f"{memory.fruitless_fills} fills in a row did not bring the position nearer")
    return True


def prove_fill(memory: SymbolMemory) -> None:
    """Take an audit that sees the position where our last fill left it: the fill did what it was for."""
    if memory.unproven_fill != 0:
        memory.unproven_fill = ZERO
        memory.fruitless_fills = 0


def undone(core: Core, memory: SymbolMemory, moved: Decimal) -> None:
    """Take an audit that moves the position against our last fill, by all of it or more: it led nowhere (R6)."""
    filled, memory.unproven_fill = memory.unproven_fill, ZERO
    if moved * filled < 0 and abs(moved) >= abs(filled):
        _is_fruitless_again(core, memory, Side.BUY if filled > 0 else Side.SELL)


def block_ineffective(core: Core, memory: SymbolMemory, control: str, reason: str) -> None:
    """Latch BLOCKED: what we send does not do what it should, so nothing more is sent until a person looked."""
    core.trip(control)
    memory.block = Block(cause="effectiveness", reason=reason, latched=True, until_ns=None)
    core.persist("state", f"block:{memory.symbol}", cause="effectiveness", reason=reason, latched=True)
    core.note(
        "blocked",
        Level.CRITICAL,
        memory.symbol,
        f"{reason}; nothing is sent on {memory.symbol} until a person runs "
        f"`streamhedge resume --symbol {memory.symbol} --reason …`",
    )


def confirms_fills(core: Core, symbol: Symbol, *, requested_ns: int, theirs: Decimal) -> bool:
    """Return whether a snapshot shows exactly what our ended orders filled, asked after the last of them ended."""
    memory = core.state.memory.get(symbol)
    exposure = memory.exposure if memory is not None else None
    if exposure is None or exposure.ended_ns is None or requested_ns < exposure.ended_ns:
        return False
    return bool(exposure.order_ids) and theirs == expected_position(core, exposure)


def snapshot_against_exposure(core: Core, memory: SymbolMemory, *, requested_ns: int, theirs: Decimal) -> None:
    """Hold a snapshot against our fills, HEDGING §8 (a): two that disagree, at least 1 s apart, block the symbol.

    The snapshot that agrees settles; the book has adopted it by now.
    """
    exposure = memory.exposure
    if exposure is None or exposure.ended_ns is None or requested_ns < exposure.ended_ns:
        return
    expected = expected_position(core, exposure)
    if theirs == expected and core.state.book.quantity(memory.symbol) == theirs:
        # A stamp of before our fills is a replica that lags, or a venue whose clock was set back: that takes two.
        exposure.agreed_ns = exposure.agreed_ns or core.now_ns
        if _may_show(core, memory, exposure) or core.now_ns - exposure.agreed_ns >= ASK_AGAIN_NS:
            memory.exposure = None
        return
    claimed = exposure.order_ids or exposure.foreign != 0
    if claimed:
        if core.now_ns - exposure.disagreed_ns < ASK_AGAIN_NS:
            return
        exposure.disagreed += 1
        exposure.disagreed_ns = core.now_ns
        if exposure.disagreed < 2:
            return
    elif theirs != core.state.book.quantity(memory.symbol):
        return
    ours = [order for order in orders_of(core, exposure) if order.filled != 0]
    doubtful = any(order.status is OrderStatus.ABSENT for order in orders_of(core, exposure))
    memory.exposure = None
    filled = expected - exposure.base - exposure.foreign
    moved = theirs - exposure.base - exposure.foreign
    memory.mismatches += 1
    if ours and not doubtful and exposure.broken and moved * filled <= 0:
        # What a lost event may excuse once, it does not excuse every time.
        memory.unproven_fill = filled
        undone(core, memory, -filled)
        if memory.block is not None and memory.block.latched:
            return
    once = moved * filled > 0 and memory.mismatches == 1
    if not ours or doubtful or exposure.broken or once:
        # Somebody else traded, an order we gave up executed, or events are missing: the venue is right. A position that
        # our fills did not move, or twice in a row moved by something else, says that they do not do what they should.
        core.state.meter.adoptions += 1
        if core.state.book.quantity(memory.symbol) != theirs:
            memory.distrust(core.now_ns)
        core.note(
            "adopted",
            Level.WARNING,
            memory.symbol,
            f"position {theirs} adopted from the venue, {expected} was expected: somebody else traded meanwhile",
            expected=str(expected),
            venue=str(theirs),
        )
        return
    block_ineffective(
        core,
        memory,
        "R7",
        f"our fills lead to {expected}, two snapshots say {theirs}: fills do not move the position as they say",
    )
