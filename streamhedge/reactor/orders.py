"""The life of our orders: registration, answers, execution reports, doubt and its end.

Invariants: a client order id is a pure function of (instance, epoch, sequence) and leaves at most once; no answer means
in doubt; an order in doubt closes only by an event with its id, an `order.status` answer, or the full absence rule.
"""

from __future__ import annotations

import re
from decimal import Decimal

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import (
    CancelOrder,
    Level,
    PlaceOrder,
    QueryOrder,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.events import (
    ExecutionReport,
    IntentVoided,
    OrderOutcome,
    OrderStatusAnswer,
    OutcomeKind,
    Owner,
    Stopping,
)
from streamhedge.domain.order import Order, OrderStatus, Purpose, Report, next_status
from streamhedge.domain.values import NS_PER_MS, ZERO, ClientOrderId, Symbol
from streamhedge.reactor.controls import check_fills, count_error, halt, hear_code, stray_order
from streamhedge.reactor.exposure import foreign_fill, is_covered, open_exposure
from streamhedge.reactor.state import RECENT_ORDERS, Block, Core
from streamhedge.rules.view import BookStatus, IntentDraft

NUMBER = re.compile("[0-9]{1,18}")
DEADLINE_NS = 200 * NS_PER_MS
"""An intent whose first byte has not left by then is void (FAULTS C4)."""
FIRST_QUERY_NS = 250 * NS_PER_MS
QUERY_EVERY_NS = 1_000 * NS_PER_MS
ABSENCES_NEEDED = 2
VOIDED_PAUSE_NS = 200 * NS_PER_MS
QUARANTINE_EXTRA_NS = 3_000 * NS_PER_MS
"""Tq = recv_window + 3 s: after that a request that was under way can no longer be accepted (FAULTS, head)."""

HIDDEN_MOST_NS = 40_000 * NS_PER_MS
"""The venue may not show an order for 30 s (FAULTS O6): where the position speaks for a fill, absence waits that out."""
HIDDEN_SNAPSHOT_EVERY = 5

MARGIN_CODES = (-2019, -2018, -4050, -4051, -2027)
AUTHENTICATION_CODES = (-2014, -2015, -2017, -1022)
FILTER_CODES = (-1111, -4003, -4004, -4005, -4013, -4014, -4016, -4023, -4024, -4164, -4131, -1130, -1121)
CLOSED_CODES = (-4141, -4192)
REDUCE_ONLY_CODES = (-4087, -4088, -4105, -4106, -4107, -4140, -4189, -4400, -4401)
"""Account or symbol restricted to closing (BINANCE_USDM §5.5)."""
PREVENTED = "EXPIRED_IN_MATCH"
"""How an order ends that would have traded with another one of the account (R16)."""
SAME_REFUSALS_PER_MINUTE = 3
REFUSED_PAUSE_NS = 60_000 * NS_PER_MS


def client_order_id(instance: str, epoch: int, number: int) -> ClientOrderId:
    """Return the id of one intent, at most 36 characters of the venue's alphabet."""
    return ClientOrderId(f"sh-{instance}-{epoch}-{number:06d}")


def parse_client_order_id(text: str) -> tuple[str, int, int] | None:
    """Return (instance, epoch, sequence) of an id under our prefix, None for any other."""
    parts = text.split("-")
    if len(parts) != 4 or parts[0] != "sh" or not all(NUMBER.fullmatch(part) for part in parts[2:]):
        return None
    return parts[1], int(parts[2]), int(parts[3])


def _number_of_this_run(core: Core, client_order_id: ClientOrderId) -> int | None:
    """Return the sequence number of an id that only this run can have made, None for any other."""
    instance, epoch, number = parse_client_order_id(client_order_id) or ("", -1, 0)
    return number if (instance, epoch) == (core.state.instance, core.state.epoch) else None


def quarantine_ns(core: Core) -> int:
    """Return Tq in nanoseconds."""
    return core.policy.limits.recv_window_ms * NS_PER_MS + QUARANTINE_EXTRA_NS


# ---------------------------------------------------------------- making one


def register(core: Core, draft: IntentDraft) -> Order:
    """Number an approved draft, put it in the state and ask for it to be sent."""
    memory = core.state
    order = Order(
        client_order_id=client_order_id(memory.instance, memory.epoch, memory.next_order),
        symbol=draft.symbol,
        side=draft.side,
        quantity=draft.quantity,
        type=draft.type,
        price=draft.price,
        time_in_force=draft.time_in_force,
        reduce_only=draft.reduce_only,
        purpose=draft.purpose,
        decided_seq=memory.seq,
        decided_ns=core.now_ns,
        target=draft.target,
        position_before=memory.book.quantity(draft.symbol),
        decision_mark=memory.book.marks[draft.symbol].mark_price,
        reason=draft.reason,
        policy_hash=core.policy_hash,
    )
    core.trip("R17")
    memory.next_order += 1
    memory.orders[order.client_order_id] = order
    memory.open_ids.append(order.client_order_id)
    open_exposure(core, draft.symbol, order)
    symbol_memory = core.memory_of(draft.symbol)
    minute_ago = core.now_ns - 60_000 * NS_PER_MS
    symbol_memory.intent_times_ns = [t for t in symbol_memory.intent_times_ns if t > minute_ago] + [core.now_ns]
    meter = memory.meter
    meter.order_times_ns = [t for t in meter.order_times_ns if t > minute_ago] + [core.now_ns]
    meter.orders_sent += 1
    if not order.reduce_only:
        symbol_memory.raised_ns = core.now_ns
        meter.turnover += order.quantity * order.decision_mark
    core.commands.append(
        PlaceOrder(
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            type=order.type,
            quantity=order.quantity,
            price=order.price,
            time_in_force=order.time_in_force,
            reduce_only=order.reduce_only,
            deadline_ns=core.now_ns + DEADLINE_NS,
        )
    )
    core.note(
        "intent",
        Level.INFO,
        order.symbol,
        f"{order.side.value} {order.quantity}{' reduce-only' if order.reduce_only else ''} "
        f"{order.type.value}{f' {order.time_in_force.value} {order.price}' if order.time_in_force else ''}: {order.reason}",
        client_order_id=order.client_order_id,
        purpose=order.purpose.value,
        target=str(order.target),
        decision_mark=str(order.decision_mark),
    )
    _forget_old_orders(core)
    return order


def _forget_old_orders(core: Core) -> None:
    orders = core.state.orders
    excess = len(orders) - RECENT_ORDERS
    if excess <= 0:
        return
    covered = [i for m in core.state.memory.values() if m.exposure is not None for i in m.exposure.order_ids]
    for client_id in [i for i, order in orders.items() if not order.is_open and i not in covered][:excess]:
        del orders[client_id]


# ---------------------------------------------------------------- what comes back


def on_outcome(core: Core, event: OrderOutcome) -> None:
    """Take the answer (or its absence) to an order request."""
    order = core.state.orders.get(event.client_order_id)
    if order is None:
        number = _number_of_this_run(core, event.client_order_id)
        stray_order(core, event.client_order_id, number, None)
        core.note("stray_reply", Level.WARNING, None, f"reply to unknown order {event.client_order_id}")
        return
    if event.names:
        core.trip("R12")
        halt(core, f"the answer to {order.client_order_id} names order {event.names!r}", order.symbol)
    if order.sent_ns is None:
        order.sent_ns = order.decided_ns
    if event.kind is OutcomeKind.ACCEPTED:
        _take_fill_total(core, order, event.filled, event.update_time_ms)
        order.order_id = event.order_id or order.order_id
        _move(core, order, event.report)
    elif event.kind is OutcomeKind.IN_DOUBT:
        hear_code(core, event.code)
        order.error_message = event.message
        before = order.status
        _move(core, order, Report.DOUBT)
        if order.in_doubt and before is not OrderStatus.IN_DOUBT:
            _note_doubt(core, order, f"HTTP {event.status} {event.message}".strip())
    else:
        _refused(core, order, event)


def _note_doubt(core: Core, order: Order, why: str) -> None:
    core.state.meter.doubted += 1
    count_error(core)
    core.note(
        "in_doubt",
        Level.WARNING,
        order.symbol,
        f"{order.side.value} {order.quantity} {order.client_order_id}: {why}; it may have executed. Nothing is sent on "
        f"{order.symbol} until evidence settles it; asking order.status",
        client_order_id=order.client_order_id,
    )


def _refused(core: Core, order: Order, event: OrderOutcome) -> None:
    if order.status is OrderStatus.ABSENT:
        order.error_code, order.error_message = event.code, event.message
        _move(core, order, Report.REFUSED)  # it agrees, late: nothing waits for it any more
        return
    if order.status not in (OrderStatus.PLANNED, OrderStatus.IN_DOUBT):
        core.note(
            "late_refusal",
            Level.WARNING,
            order.symbol,
            f"{order.client_order_id} is {order.status.value}, yet its late reply refuses it ({event.code} "
            f"{event.message}): the event wins",
        )
        return
    order.error_code = event.code
    order.error_message = event.message
    _move(core, order, Report.REFUSED)
    core.state.meter.refused += 1
    count_error(core, event.code)
    _after_refusal(core, order, event)


def _after_refusal(core: Core, order: Order, event: OrderOutcome) -> None:
    """Decide how long to stay quiet after a certain refusal, and what to look at again."""
    memory = core.memory_of(order.symbol)
    pause_ms = _pause_ms(event, memory.refusal_streak)
    memory.refusal_streak += 1
    memory.retry_after_ns = core.now_ns + pause_ms * NS_PER_MS
    if order.reduce_only or event.retry_after_ms is not None or event.status in (418, 429):
        # What refuses a raise does not hold a cut; what refuses everybody does.
        memory.reduce_after_ns = memory.retry_after_ns
    minute_ago = core.now_ns - REFUSED_PAUSE_NS
    if event.code != memory.refusal_code:
        memory.refusal_times_ns = []
    memory.refusal_code = event.code
    memory.refusal_times_ns = [t for t in memory.refusal_times_ns if t > minute_ago] + [core.now_ns]
    what_next = f"waiting {pause_ms} ms, then a new decision"
    if event.code in AUTHENTICATION_CODES:
        core.trip("R18")
        halt(core, f"the venue refuses the key ({event.code} {event.message})")
        what_next = "HALTED: check key, IP list and permissions, then `resume --reason …`"
    elif event.code in FILTER_CODES or event.code in CLOSED_CODES:
        core.commands.append(RequestSetup(reason=f"{event.code} {event.message}"))
        what_next = "reading the filters again"
    elif event.code in REDUCE_ONLY_CODES:
        if not memory.reduce_only or memory.reduce_only_until_ns is not None:  # an operator's own has no end
            memory.reduce_only = f"the venue says {event.code} {event.message}"
            memory.reduce_only_until_ns = core.now_ns + REFUSED_PAUSE_NS
        what_next = f"{order.symbol} is REDUCE_ONLY for 60 s"
    elif event.code in (-2022, -4118, -2019):
        core.commands.append(RequestSnapshot(reason=f"{event.code} {event.message}", audit=True))
    elif event.code in (-1021, -5028):
        core.commands.append(RequestTime())
    if event.code < 0 and len(memory.refusal_times_ns) >= SAME_REFUSALS_PER_MINUTE and event.code not in MARGIN_CODES:
        memory.block = memory.block or Block(
            cause="refused",
            reason=f"the venue refused {len(memory.refusal_times_ns)} orders in a minute: {event.code} {event.message}",
            latched=False,
            until_ns=core.now_ns + REFUSED_PAUSE_NS,
        )
        what_next = "BLOCKED for 60 s"
    core.note(
        "refused",
        Level.WARNING,
        order.symbol,
        f"{order.side.value} {order.quantity} refused: {event.code} {event.message}; {what_next}",
        client_order_id=order.client_order_id,
        error_code=event.code,
        status=event.status,
    )


def _pause_ms(event: OrderOutcome, streak: int) -> int:
    """Return the wait before a new decision (FAULTS, head): Retry-After, else a short doubling series."""
    if event.retry_after_ms is not None:
        return event.retry_after_ms
    step = min(streak, 6)
    if event.status == 503 and event.code != -1008:
        return 200 << min(step, 2)
    if event.code in MARGIN_CODES:
        return min(1_000 << step, 60_000)
    if event.kind is OutcomeKind.NOT_SENT:
        return 200 << min(step, 5)
    return 1_000 << min(step, 2)


def on_voided(core: Core, event: IntentVoided) -> None:
    """An intent that the outbox did not send: it ends here, for certain."""
    order = core.state.orders[event.client_order_id]
    _move(core, order, Report.REFUSED)
    order.error_message = event.reason
    memory = core.memory_of(order.symbol)
    memory.retry_after_ns = memory.reduce_after_ns = core.now_ns + VOIDED_PAUSE_NS
    core.state.meter.orders_sent -= 1
    core.note("voided", Level.WARNING, order.symbol, f"{order.client_order_id} was not sent: {event.reason}")


def on_status_answer(core: Core, event: OrderStatusAnswer) -> None:
    """Take the answer of `order.status`; not found is one absence and proves nothing by itself."""
    order = core.state.orders.get(event.client_order_id)
    if order is None or event.inconclusive:
        return
    if event.found:
        assert event.report is not None, "an answer that found the order says what became of it"
        order.order_id = event.order_id or order.order_id
        was_open = order.is_open
        order.filled_quote = max(order.filled_quote, event.filled_quote)
        _take_fill_total(core, order, event.filled, event.update_time_ms)
        _move(core, order, event.report)
        if was_open and order.filled > 0 and not is_covered(core, order):
            # The answer may overtake the account update: the position counts again once a snapshot has shown it.
            symbol_memory = core.memory_of(order.symbol)
            symbol_memory.distrust(core.now_ns)
            symbol_memory.shows_from_ms = order.decided_ns // NS_PER_MS
            symbol_memory.trust_anyway_ns = core.now_ns + quarantine_ns(core)
            core.commands.append(
                RequestSnapshot(reason=f"{order.client_order_id} of an earlier run filled", audit=True)
            )
        if was_open:
            core.note(
                "settled",
                Level.INFO,
                order.symbol,
                f"{order.client_order_id} settled by order.status: {order.status.value}, filled {order.filled}",
                client_order_id=order.client_order_id,
            )
        return
    if order.status not in (OrderStatus.IN_DOUBT, OrderStatus.WORKING):
        return
    if core.now_ns < absent_from_ns(core, order) or core.now_ns - order.last_absence_ns < QUERY_EVERY_NS:
        return
    order.absences += 1
    order.last_absence_ns = core.now_ns
    # Where the position speaks for a fill only time or the venue's own word settles it: look at it less often.
    due = not order.unexplained or order.absences % HIDDEN_SNAPSHOT_EVERY == 0
    if order.absences >= ABSENCES_NEEDED and due:
        core.commands.append(RequestSnapshot(reason=f"absence of {order.client_order_id}", audit=True))


def absent_from_ns(core: Core, order: Order) -> int:
    """Return when absence begins to count: Tq after the send and after the user stream was last proven live.

    What an earlier run sent had left before this one began, and what became of it until then is in the first snapshot.
    """
    if core.state.book_status is not BookStatus.LIVE:
        return core.now_ns + 1
    # It may have left, and was signed, as late as its deadline.
    left_ns, began_ns = order.decided_ns + DEADLINE_NS, core.state.meter.started_ns
    if left_ns < began_ns:
        return max(began_ns + quarantine_ns(core), core.state.live_since_ns)
    return max(left_ns, core.state.live_since_ns) + quarantine_ns(core)


def on_stopping(core: Core, event: Stopping) -> None:
    """Decide nothing from here on, and cancel what rests; queries go on until the program ends."""
    core.state.stopping = event.reason
    for order in core.open_orders():
        if order.status is OrderStatus.WORKING:
            core.commands.append(CancelOrder(symbol=order.symbol, client_order_id=order.client_order_id))
    waits = ", ".join(core.state.open_ids)
    core.note(
        "stopping",
        Level.WARNING,
        None,
        f"{event.reason}: no new order is decided" + (f"; settling {waits}" if waits else ""),
        open_orders=list(core.state.open_ids),
    )


def query_doubtful(core: Core) -> None:
    """Ask about orders in doubt, or accepted and silent: 250 ms after sending, then each second, and once absence counts.

    A second goes by from an answer to the next question, so that two absences are never too close to count.
    """
    for order in core.open_orders():
        if order.status is OrderStatus.PLANNED and order.sent_ns is None:
            continue
        start = order.sent_ns or order.decided_ns
        wait = FIRST_QUERY_NS if order.in_doubt else 2 * QUERY_EVERY_NS
        counts = order.last_query_ns < absent_from_ns(core, order) <= core.now_ns
        asked_ns = max(order.last_query_ns, order.last_absence_ns)
        if core.now_ns - start >= wait and (counts or core.now_ns - asked_ns >= QUERY_EVERY_NS):
            order.last_query_ns = core.now_ns
            core.commands.append(QueryOrder(symbol=order.symbol, client_order_id=order.client_order_id))


def close_absent(core: Core, *, requested_ns: int, agrees: dict[Symbol, bool]) -> None:
    """Apply the full absence rule to orders in doubt, on a snapshot that was asked after Tq (FAULTS, UNKNOWN rule).

    Needs two answers of "does not exist" at least a second apart, both after Tq, a user stream that was live all the
    time, and a snapshot after Tq that equals the book. A stream that broke starts the count anew. A position that moved
    by what nobody else is known to have filled speaks for a fill that the venue does not show yet: then the order stays
    in doubt for as long as an order may be hidden.
    """
    for order in core.open_orders():
        if not order.in_doubt or order.absences < ABSENCES_NEEDED:
            continue
        if requested_ns < absent_from_ns(core, order) or not agrees.get(order.symbol, True):
            continue
        if _moved_beyond_known(core, order) and core.now_ns - (order.sent_ns or order.decided_ns) < HIDDEN_MOST_NS:
            continue
        _move(core, order, Report.ABSENT)
        found = "the position agrees"
        if order.unexplained:
            found = (
                f"the position moved by {order.unexplained:+f}, which is counted as somebody else's trade; compare the "
                "venue's trade history"
            )
        core.note(
            "settled",
            Level.WARNING,
            order.symbol,
            f"{order.client_order_id} closed as never executed: {order.absences} times unknown to the venue after "
            f"{quarantine_ns(core) // NS_PER_MS} ms, and {found}",
            client_order_id=order.client_order_id,
            unexplained=str(order.unexplained),
        )


def _moved_beyond_known(core: Core, order: Order) -> bool:
    """Return whether the position moved by more than what is known to have filled since an order was decided."""
    known = order.position_before + order.beside + order.side.sign * order.filled
    unexplained = core.state.book.quantity(order.symbol) - known
    if unexplained and unexplained != order.unexplained:
        core.note(
            "may_have_filled",
            Level.WARNING,
            order.symbol,
            f"the venue does not know {order.client_order_id}, yet the position moved by {unexplained:+f} since it was "
            "decided: it may have filled and stays in doubt",
            client_order_id=order.client_order_id,
            unexplained=str(unexplained),
        )
    order.unexplained = unexplained
    return unexplained != 0


# ---------------------------------------------------------------- execution reports


def on_execution_report(core: Core, event: ExecutionReport) -> Order | None:
    """Apply a report to our order, or count it as a foreign fill; return our order."""
    if event.trade_id:
        if core.knows_trade(event):
            return core.state.orders.get(event.client_order_id)
        core.state.seen_trades[f"{event.symbol}:{event.trade_id}"] = event.transaction_time_ms
        if len(core.state.seen_trades) > 4 * RECENT_ORDERS:
            core.state.seen_trades.pop(next(iter(core.state.seen_trades)))
    order = core.state.orders.get(event.client_order_id)
    if event.owner is Owner.OURS and order is None:
        number = _number_of_this_run(core, event.client_order_id)
        stray_order(core, event.client_order_id, number, event.symbol)
    if order is None:  # whoever named it: a stop's order may bear a name of the venue's
        if event.last_quantity > 0:
            _count_beside(core, event.symbol, event.side.sign * event.last_quantity, of=None)
            foreign_fill(core, event.symbol, event.side.sign * event.last_quantity, event.transaction_time_ms)
        return None
    _check_same_order(core, order, event)
    check_fills(core, order, event)
    if event.order_status == PREVENTED:
        core.trip("R16")
    if event.last_quantity > 0 and not is_covered(core, order):
        # Of an earlier run, or given up: no arithmetic waits for its account update yet.
        foreign_fill(core, event.symbol, event.side.sign * event.last_quantity, event.transaction_time_ms)
    order.order_id = event.order_id
    if event.last_quantity > 0 and event.trade_id:
        order.trade_ids = [*(order.trade_ids or []), event.trade_id]
        order.reported_quote += event.last_quantity * event.last_price
        order.filled_quote = max(order.filled_quote, order.reported_quote)
        order.commission += event.commission
        order.commission_asset = event.commission_asset
        order.realised_pnl += event.realised_pnl
        core.persist(
            "fill",
            f"{event.symbol}:{event.trade_id}",
            client_order_id=order.client_order_id,
            side=event.side.value,
            quantity=str(event.last_quantity),
            price=str(event.last_price),
            commission=str(event.commission),
            commission_asset=event.commission_asset,
            realised_pnl=str(event.realised_pnl),
            time_ms=event.transaction_time_ms,
        )
    _take_fill_total(core, order, event.cumulative_quantity, event.transaction_time_ms)
    _move(core, order, event.report)
    return order


def _check_same_order(core: Core, order: Order, event: ExecutionReport) -> None:
    """An own id with another side or a larger quantity means our memory is wrong: stop (FAULTS O19)."""
    if event.side is order.side and event.quantity <= order.quantity:
        return
    core.trip("R12")
    halt(
        core,
        f"order {order.client_order_id} is {order.side.value} {order.quantity} here and "
        f"{event.side.value} {event.quantity} at the venue",
        order.symbol,
    )


def _take_fill_total(core: Core, order: Order, filled: Decimal, at_ms: int) -> None:
    """Take what an order filled in all, as the venue saw it at a time of its own; 0 when it did not say when."""
    if filled > order.filled:
        order.filled_ms = max(order.filled_ms, at_ms)
        _count_beside(core, order.symbol, order.side.sign * (filled - order.filled), of=order)
        order.filled = filled


def _count_beside(core: Core, symbol: Symbol, signed: Decimal, *, of: Order | None) -> None:
    """Count a fill for every other open order of the symbol: it is not they that moved the position by it."""
    for order in core.open_orders():
        if order.symbol == symbol and order is not of:
            order.beside += signed
            core.persist("order", order.client_order_id, **to_plain(order))  # a restart must not suspect it of that


def _move(core: Core, order: Order, report: Report) -> None:
    """Move an order along the table; note and persist the ends."""
    before = order.status
    if report is Report.FILLED and order.filled == 0:
        _take_fill_total(core, order, order.quantity, 0)
    order.status = next_status(before, report)
    if order.status is before and order.is_open:
        return
    ghost = before in (OrderStatus.ABSENT, OrderStatus.REFUSED) and order.status not in (before, OrderStatus.REFUSED)
    if ghost:
        core.state.meter.ghosts += 1
        # The position may or may not show it yet: trust nothing on this symbol until a snapshot has said so.
        core.memory_of(order.symbol).position_trusted = False
        core.commands.append(RequestSnapshot(reason=f"ghost fill of {order.client_order_id}", audit=True))
        core.note(
            "ghost",
            Level.WARNING,
            order.symbol,
            f"{order.client_order_id} was closed as {before.value}, yet the venue reports {order.status.value}, filled "
            f"{order.filled}: it counts, the next decision corrects the exposure",
            client_order_id=order.client_order_id,
        )
    if order.is_open:
        if ghost:
            core.state.open_ids.append(order.client_order_id)
        if ghost and not is_covered(core, order):
            core.state.uncovered.append(order.client_order_id)
        core.persist("order", order.client_order_id, **to_plain(order))
        return
    for names in (core.state.open_ids, core.state.uncovered):
        if order.client_order_id in names:
            names.remove(order.client_order_id)
    if order.ended_ns is None or ghost:
        _settle_turnover(core, order, first=order.ended_ns is None)
        order.ended_ns = core.now_ns
        _ended(core, order)
    core.persist("order", order.client_order_id, **to_plain(order))


def _settle_turnover(core: Core, order: Order, *, first: bool) -> None:
    """Give back what an ended order did not fill of the day's turnover; take again what a ghost filled after all."""
    _, epoch, _ = parse_client_order_id(order.client_order_id) or ("", -1, 0)
    if order.reduce_only or epoch != core.state.epoch:
        return
    meter = core.state.meter
    change = order.filled - order.quantity if first else order.filled
    meter.turnover = max(ZERO, meter.turnover + change * order.decision_mark)


def _ended(core: Core, order: Order) -> None:
    memory = core.memory_of(order.symbol)
    if order.status in (OrderStatus.REFUSED, OrderStatus.ABSENT):
        return
    memory.refusal_streak = 0
    if order.filled == 0:
        memory.zero_fills += 1
        wait = 1_000 << min(memory.zero_fills - 1, 2)
        memory.retry_after_ns = core.now_ns + wait * NS_PER_MS
        if order.reduce_only:
            memory.reduce_after_ns = memory.retry_after_ns
        core.note(
            "unfilled",
            Level.WARNING,
            order.symbol,
            f"{order.side.value} {order.quantity} at {order.price} found nothing inside the collar; next raise in {wait} ms",
            client_order_id=order.client_order_id,
        )
        return
    memory.zero_fills = 0
    core.state.meter.hedges += order.purpose is Purpose.HEDGE


def note_fill(core: Core, order: Order) -> None:
    """Say what an ended order did, with its slippage against the decision's mark."""
    average = order.average_price
    if order.filled == 0 or average is None:
        return
    slippage = order.side.sign * (average - order.decision_mark) / order.decision_mark * 10_000
    microseconds = ((order.ended_ns or core.now_ns) - order.decided_ns) // 1_000
    core.note(
        "filled",
        Level.INFO,
        order.symbol,
        f"{order.side.value} {order.filled} of {order.quantity} at {average.normalize():f} in {microseconds // 1000}.{microseconds // 100 % 10} ms, "
        f"slip {slippage:.1f} bp",
        client_order_id=order.client_order_id,
        purpose=order.purpose.value,
        filled=str(order.filled),
        average_price=str(average),
    )
