"""Certificates: what is known of each stretch in which the book could not be trusted, and what stays unexplained.

A gap opens with the book's trust and closes with it: on a snapshot that was asked after the last loss. The venue repeats
nothing, so the certificate holds the two sides of the hole (last event before, first after), what was asked, what the
answers changed, and the rest by name. It is a ledger row from its opening on; a run that dies leaves it open for ever, and
the next one begins with a gap of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from streamhedge.domain.book import BookKey
from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import Level, QueryOrder
from streamhedge.domain.events import (
    AccountConfigUpdate,
    AccountUpdate,
    AlgoUpdate,
    Event,
    ExecutionReport,
    ListenKeyExpired,
    MarginCall,
    OtherUserEvent,
    PositionSide,
    TradeLite,
)
from streamhedge.domain.order import Order
from streamhedge.domain.values import NS_PER_MS, ZERO, Symbol
from streamhedge.reactor.exposure import expected_position
from streamhedge.reactor.state import Core, Difference, Gap, Heard, Question

CAUSES_MOST = 20
SNAPSHOT, OPEN_ORDERS = "snapshot", "open_orders"
OF_THE_ACCOUNT: dict[type, str] = {
    kind: kind.__name__
    for kind in (
        *(AccountUpdate, ExecutionReport, TradeLite, MarginCall, AccountConfigUpdate, AlgoUpdate),
        *(ListenKeyExpired, OtherUserEvent),
    )
}


def hear(core: Core, event: Event) -> None:
    """Remember the last event of the account; the first one after a gap is its far side."""
    name = OF_THE_ACCOUNT.get(type(event))
    if name is None:
        return
    heard = Heard(event=name, event_time_ms=event.event_time_ms, recv_ns=core.now_ns)  # type: ignore[union-attr]
    core.state.heard = heard
    if core.state.gap is not None:
        core.state.gap.after = core.state.gap.after or heard
    elif core.state.last_gap is not None and core.state.last_gap.after is None:
        core.state.last_gap.after = heard
        _write(core, core.state.last_gap)


def lost(core: Core, cause: str, *, restart: bool) -> None:
    """Open a certificate, or add a cause to the one that is open: what was asked before it proves nothing any more."""
    gap = core.state.gap
    if gap is not None:
        if cause != gap.causes[-1] and len(gap.causes) < CAUSES_MOST:
            gap.causes.append(cause)
            _write(core, gap)
        return
    core.state.gaps += 1
    gap = core.state.gap = Gap(
        number=core.state.gaps,
        epoch=core.state.epoch,
        causes=[cause],
        opened_ns=(core.state.meter.started_ns if restart else 0) or core.now_ns,
        opened_seq=core.state.seq,
        restart=restart,
        before=core.state.heard,
        orders=list(core.state.open_ids),
        filled={name: order.filled for name, order in core.state.orders.items() if order.filled},
    )
    if not restart:
        gap.expected = {_name(key): quantity for key, quantity in _expected(core)}
    _write(core, gap)


def _expected(core: Core) -> Iterator[tuple[BookKey, Decimal]]:
    """Yield where each position leads once what is known to have filled is visible in it."""
    for key, held in core.state.book.positions.items():
        memory = core.state.memory.get(held.symbol) if held.position_side is PositionSide.BOTH else None
        exposure = memory.exposure if memory is not None else None
        yield key, held.quantity if exposure is None else expected_position(core, exposure)


def asked(core: Core, what: str) -> None:
    """Note that evidence was asked for."""
    gap = core.state.gap
    if gap is None:
        return
    for question in gap.asked:
        if question.what == what:
            question.times += 1
            question.last_ns = core.now_ns
            return
    gap.asked.append(Question(what=what, times=1, first_ns=core.now_ns, last_ns=core.now_ns))


def asked_by(core: Core) -> None:
    """Note the questions among the commands of this reaction."""
    if core.state.gap is None:
        return
    for command in core.commands:
        if isinstance(command, QueryOrder):
            asked(core, f"order.status {command.client_order_id}")


def answered(core: Core, what: str) -> None:
    """Note that an answer came; one that comes after the closing still completes the certificate."""
    for gap in (core.state.gap, core.state.last_gap):
        for question in gap.asked if gap is not None else ():
            if question.what == what and question.answered_ns is None:
                question.answered_ns = core.now_ns
                if gap is not None and gap.closed_ns is not None:
                    gap.residual = [text for text in gap.residual if not text.startswith(f"{what}:")]
                    _write(core, gap)


def figures(core: Core) -> dict[str, Decimal]:
    """Return every quantity and wallet the book holds, by name, while a gap is open; empty otherwise."""
    if core.state.gap is None:
        return {}
    book = core.state.book
    found = {_name(key): held.quantity for key, held in book.positions.items()}
    return {**found, **{f"{asset} wallet": held.wallet_balance for asset, held in book.balances.items()}}


def changed_from(core: Core, before: dict[str, Decimal]) -> None:
    """Note what a snapshot changed: the first figure and the last of each name are kept."""
    gap = core.state.gap
    if gap is None:
        return
    for name, after in figures(core).items():
        was = before.get(name)
        if was == after or (was is None and after == 0):
            continue
        for difference in gap.found:
            if difference.what == name:
                difference.after = after
                break
        else:
            gap.found.append(Difference(what=name, before=was, after=after))


def foreign(core: Core, symbol: Symbol, signed: Decimal) -> None:
    """Count a fill of somebody else's that an event told while the gap is open."""
    if core.state.gap is not None:
        core.state.gap.foreign[symbol] = core.state.gap.foreign.get(symbol, ZERO) + signed


def close(core: Core) -> None:
    """Close the certificate: the book is trusted again. What is not explained is named."""
    gap, core.state.gap = core.state.gap, None
    if gap is None:
        return
    gap.closed_ns, gap.closed_seq = core.now_ns, core.state.seq
    gap.settled = [
        f"{name} {core.state.orders[name].status.value}, filled {core.state.orders[name].filled}"
        for name in gap.orders
        if name in core.state.orders and not core.state.orders[name].is_open
    ]
    gap.residual = [*_open_ends(core, gap), *_unexplained(core, gap)]
    core.state.last_gap = gap
    _write(core, gap)
    core.note(
        "certificate",
        Level.WARNING if gap.residual else Level.INFO,
        None,
        f"gap {gap.number} closed after {(core.now_ns - gap.opened_ns) // NS_PER_MS} ms ({'; '.join(gap.causes)}): "
        f"{len(gap.found)} figures differed, {len(gap.settled)} orders settled, residual "
        f"{'; '.join(gap.residual) or '0'}",
        gap=gap.number,
    )


def _open_ends(core: Core, gap: Gap) -> Iterator[str]:
    """Yield the questions that still wait: orders, doubted positions, the list of open orders."""
    for order in core.open_orders():
        yield f"{order.client_order_id}: {order.status.value}, {order.remaining} of {order.quantity} may still fill"
    for question in gap.asked:
        if question.what == OPEN_ORDERS and question.answered_ns is None:
            yield f"{OPEN_ORDERS}: asked, not answered yet"
    for memory in core.state.memory.values():
        if memory.confirm_after_ns:
            yield f"{memory.symbol}: its position waits for a second snapshot"


def _unexplained(core: Core, gap: Gap) -> Iterator[str]:
    """Yield what the snapshot says beyond the book and every fill that is known."""
    if not gap.restart:
        fills = dict(gap.foreign)
        for order in core.state.orders.values():
            fills[order.symbol] = fills.get(order.symbol, ZERO) + _filled_since(gap, order)
        for key, held in core.state.book.positions.items():
            own = fills.get(held.symbol, ZERO) if held.position_side is PositionSide.BOTH else ZERO
            rest = held.quantity - gap.expected.get(_name(key), ZERO) - own
            if rest != 0:
                yield f"{_name(key)}: {rest:+f} by no fill of ours and none we were told of; the venue's figure is taken"
    for difference in gap.found:
        if difference.what.endswith(" wallet") and difference.before is not None:
            change = difference.after - difference.before
            yield f"{difference.what}: {change:+f} unclassified (fees, PnL, funding or transfers of the gap)"


def _filled_since(gap: Gap, order: Order) -> Decimal:
    return order.side.sign * (order.filled - gap.filled.get(order.client_order_id, ZERO))


def _name(key: BookKey) -> str:
    symbol, side = key
    return symbol if side is PositionSide.BOTH else f"{symbol} {side.value}"


def _write(core: Core, gap: Gap) -> None:
    core.persist("gap", str(gap.number), **to_plain(gap))
