"""The venue's snapshots against our book, and the closing of orders that never were.

A sync snapshot starts or repairs the book. An audit snapshot is compared first: a difference that stands in two audits
at least a second apart is adopted, because the venue is the authority on what is (FAULTS U8); more than three adoptions
in ten minutes block the symbol (FAULTS U15). Where the snapshot's stamp is older than ours the two are further apart: a
replica that lags catches up meanwhile, a venue whose clock was set back says the same again.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.book import BookKey
from streamhedge.domain.commands import CancelOrder, FollowSymbol, Level, RequestSnapshot
from streamhedge.domain.events import OpenOrders, Owner, PositionSide, Snapshot, SnapshotPosition
from streamhedge.domain.values import NS_PER_SECOND, ZERO, Asset, Symbol
from streamhedge.reactor import gaps, margin
from streamhedge.reactor.exposure import (
    confirms_fills,
    count_from_adopted,
    prove_fill,
    snapshot_against_exposure,
    undone,
)
from streamhedge.reactor.orders import close_absent
from streamhedge.reactor.state import Block, Core, SymbolMemory
from streamhedge.rules.view import BookStatus

CONFIRM_NS = NS_PER_SECOND
"""A change larger than our largest order waits for a second snapshot this much later (FAULTS U11)."""
OLDER_CONFIRM_NS = 5 * NS_PER_SECOND
"""A replica lags at most so long (FAULTS U7); with the audit's 15 s the book is wrong for 20 s at most (U8)."""
ADOPTIONS_MAX = 3
ADOPTIONS_WINDOW_NS = 600 * NS_PER_SECOND


def on_snapshot(core: Core, event: Snapshot) -> None:
    """Take a complete snapshot."""
    if _account_is_empty_by_mistake(core, event):
        return
    gaps.answered(core, gaps.SNAPSHOT)
    before = gaps.figures(core)
    if event.audit and core.state.book_status is BookStatus.LIVE:
        _audit(core, event)
    else:
        _adopt(core, event)
    gaps.changed_from(core, before)
    margin.on_rows(core, event)
    rows = {row.symbol: row for row in event.positions if row.position_side is PositionSide.BOTH}
    theirs = {symbol: row.quantity for symbol, row in rows.items()}
    for memory in core.state.memory.values():
        quantity = theirs.get(memory.symbol, ZERO)
        # A snapshot the book already knows newer than, proves nothing about our fills.
        agrees_now = core.state.book.quantity(memory.symbol) == quantity
        if agrees_now and event.requested_ns >= memory.confirm_after_ns and _shows(core, memory, rows):
            memory.position_trusted = True
            if memory.exposure is None:
                prove_fill(memory)
            memory.confirm_after_ns = 0
            memory.shows_from_ms = 0
        snapshot_against_exposure(core, memory, requested_ns=event.requested_ns, theirs=quantity)
    agrees = {
        symbol: core.state.book.quantity(symbol) == theirs.get(symbol, ZERO) for symbol in list(core.state.memory)
    }
    close_absent(core, requested_ns=event.requested_ns, agrees=agrees)


def _shows(core: Core, memory: SymbolMemory, rows: dict[Symbol, SnapshotPosition]) -> bool:
    """Return whether a row can show a fill known from elsewhere: it changed since the order was decided.

    A replica that lags answers with an older row; after Tq it is believed all the same.
    """
    row = rows.get(memory.symbol)
    changed_ms = row.update_time_ms if row is not None else 0
    return changed_ms >= memory.shows_from_ms or core.now_ns >= memory.trust_anyway_ns


def follow_positions(core: Core) -> None:
    """Follow the mark and read the brackets of every symbol with a cross position: it shares our margin."""
    if core.triggers is not None and not core.triggers.unmarked:
        return
    for symbol in core.state.book.unmarked(Symbol("")):
        if symbol not in core.state.followed:
            core.state.followed.append(symbol)
            core.commands.append(FollowSymbol(symbol=symbol))
            core.note("follow", Level.INFO, symbol, "a position here shares the margin: following its mark price")


def _account_is_empty_by_mistake(core: Core, event: Snapshot) -> bool:
    """A snapshot without a single balance is not an account: never applied (FAULTS U11)."""
    if event.balances:
        return False
    core.note("snapshot_empty", Level.WARNING, None, "a snapshot without balances was ignored; asking again")
    core.commands.append(RequestSnapshot(reason="empty snapshot", audit=event.audit))
    return True


def _adopt(core: Core, event: Snapshot) -> None:
    book = core.state.book
    before = {key: held.quantity for key, held in book.positions.items()}
    listed = {(row.symbol, row.position_side): True for row in event.positions}
    first = not book.snapshot_ns
    for symbol, side in book.apply_snapshot(event, core.now_ns):
        after = book.positions[symbol, side].quantity
        _doubt_change(core, symbol, before.get((symbol, side)), after, listed=(symbol, side) in listed)
        core.note(
            "snapshot",
            Level.INFO,
            symbol,
            f"position {before.get((symbol, side), ZERO)} → {after} by snapshot",
            side=side.value,
        )
        if side is PositionSide.BOTH:
            count_from_adopted(core, symbol)
    if first and core.state.previous_epoch:
        # An earlier run may have hedged, and nothing here remembers it: no row is believed only when it lacks twice.
        for hedge in core.policy.hedges:
            if (hedge.symbol, PositionSide.BOTH) not in listed:
                core.memory_of(hedge.symbol).distrust(core.now_ns + CONFIRM_NS)
    core.state.differences.clear()
    # What is left was stamped older than ours: until a further snapshot decides, nothing is raised on it.
    for (symbol, side), _, theirs in book.differences(event):
        core.state.differences[f"{symbol}|{side.value}|{theirs}"] = core.now_ns
        memory = core.state.memory.get(symbol)
        if memory is not None and side is PositionSide.BOTH:
            memory.distrust(core.now_ns + CONFIRM_NS)


def _doubt_change(core: Core, symbol: Symbol, before: Decimal | None, after: Decimal, *, listed: bool) -> None:
    """Trust two kinds of change only when a second snapshot agrees: more than any order of ours, and a row that is gone."""
    hedge = core.hedge_of(symbol)
    if hedge is None or before is None or (listed and abs(after - before) <= hedge.max_order_quantity):
        return
    memory = core.memory_of(symbol)
    memory.distrust(core.now_ns + CONFIRM_NS)


def _audit(core: Core, event: Snapshot) -> None:
    """Compare row by row: adopt what two audits in a row see otherwise, and at once what our own fills lead to."""
    book = core.state.book
    still: dict[str, int] = {}
    unconfirmed: list[BookKey] = []
    confirmed: list[BookKey | Asset] = []
    corrected: list[Symbol] = []
    for key, ours, theirs in book.differences(event):
        symbol, side = key
        name = f"{symbol}|{side.value}|{theirs}"
        wait_ns = OLDER_CONFIRM_NS if book.is_stamped_older(event, key) else NS_PER_SECOND
        if confirms_fills(core, symbol, requested_ns=event.requested_ns, theirs=theirs):
            _note_adopted(core, symbol, ours, theirs, "our fills and the venue see")
            confirmed.append(key)
        elif _seen_for(core, name) >= wait_ns:
            _count_adoption(core, symbol, theirs - ours)
            _note_adopted(core, symbol, ours, theirs, "several audits see")
            confirmed.append(key)
            if side is PositionSide.BOTH:
                corrected.append(symbol)
        else:
            unconfirmed.append(key)
            still[name] = core.state.differences.get(name, core.now_ns)
    for asset, wallet in book.older_wallets(event):
        name = f"{asset}|wallet|{wallet}"
        if _seen_for(core, name) >= OLDER_CONFIRM_NS:
            confirmed.append(asset)
        else:
            still[name] = core.state.differences.get(name, core.now_ns)
    core.state.differences = still
    book.apply_snapshot(event, core.now_ns, unconfirmed=unconfirmed, confirmed=confirmed)
    for symbol in corrected:
        count_from_adopted(core, symbol)


def _seen_for(core: Core, name: str) -> int:
    """Return for how long audits have seen a difference, nanoseconds; 0 for a new one."""
    return core.now_ns - core.state.differences.get(name, core.now_ns)


def _note_adopted(core: Core, symbol: Symbol, ours: Decimal, theirs: Decimal, who: str) -> None:
    core.note(
        "adopted",
        Level.WARNING,
        symbol,
        f"{who} {theirs}, the book had {ours}: an event is late or lost, the venue's figure is adopted",
        ours=str(ours),
        venue=str(theirs),
    )


def audit_again(core: Core) -> None:
    """Ask for the second audit a second after the first one that differed, or that changed a position by much."""
    state = core.state
    if core.now_ns - max(state.book.snapshot_ns, state.audit_asked_ns) < NS_PER_SECOND:
        return
    for memory in state.memory.values():
        if memory.confirm_after_ns and core.now_ns >= memory.confirm_after_ns:
            _ask_to_confirm(core, f"confirming {memory.symbol}")
            return
    for name, first in state.differences.items():
        if core.now_ns - first >= NS_PER_SECOND:
            _ask_to_confirm(core, f"audit differs on {name.split('|')[0]}")
            return


def _ask_to_confirm(core: Core, reason: str) -> None:
    core.state.audit_asked_ns = core.now_ns
    core.commands.append(RequestSnapshot(reason=reason, audit=True))


def _count_adoption(core: Core, symbol: Symbol, moved: Decimal) -> None:
    core.state.meter.adoptions += 1
    memory = core.state.memory.get(symbol)
    if memory is None:
        return
    undone(core, memory, moved)
    horizon = core.now_ns - ADOPTIONS_WINDOW_NS
    memory.adoption_times_ns = [t for t in memory.adoption_times_ns if t > horizon] + [core.now_ns]
    if len(memory.adoption_times_ns) > ADOPTIONS_MAX and memory.block is None:
        memory.block = Block(
            cause="audit",
            reason=f"{len(memory.adoption_times_ns)} audits in ten minutes had to correct the book",
            latched=False,
            until_ns=core.now_ns + ADOPTIONS_WINDOW_NS,
        )


def on_open_orders(core: Core, event: OpenOrders) -> None:
    """List what rests at the venue: foreign orders are left alone, ours are cancelled, for we send nothing that rests."""
    gaps.answered(core, gaps.OPEN_ORDERS)
    for order in event.orders:
        if order.owner is Owner.OURS:
            core.commands.append(CancelOrder(symbol=order.symbol, client_order_id=order.client_order_id))
            core.note(
                "own_order_rests",
                Level.WARNING,
                order.symbol,
                f"{order.client_order_id} rests at the venue, which no order of ours should: cancelling it",
                client_order_id=order.client_order_id,
            )
            continue
        core.note(
            "foreign_order",
            Level.WARNING,
            order.symbol,
            f"a foreign order rests: {order.side.value} {order.quantity} at {order.price}; it is left alone",
            client_order_id=order.client_order_id,
        )
