"""The stops we keep at the venue: one request at a time, in doubt until the venue's word or its list settles it.

Evidence is ALGO_UPDATE, the answer to a request, and `openAlgoOrders`, asked when the book is live again and while anything
is in doubt. Halt, kill, stop and a pause of the venue leave stops where they are; only `flatten` takes them away, last. A
stop that triggered is an order of ours: its fills count, and raising is paced from then on, as after a cut of the ladder.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import CancelStop, Level, PlaceStop, RequestOpenStops, RequestSnapshot
from streamhedge.domain.events import (
    AlgoUpdate,
    CallFailed,
    ExecutionReport,
    IntentVoided,
    OpenStops,
    OutcomeKind,
    Owner,
    StopOutcome,
)
from streamhedge.domain.order import Order, OrderStatus, OrderType, Purpose
from streamhedge.domain.stop import Stop, StopStatus
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, ClientOrderId, Symbol
from streamhedge.reactor.orders import (
    ABSENCES_NEEDED,
    AUTHENTICATION_CODES,
    DEADLINE_NS,
    client_order_id,
    parse_client_order_id,
    quarantine_ns,
)
from streamhedge.reactor.state import Backstop, Core
from streamhedge.rules.backstop import CancelStep, PlaceStep, level, next_step, stop_draft
from streamhedge.rules.limits import GateContext, Refused, gate
from streamhedge.rules.view import BookStatus, HedgeView, TradingState

LIST_ANSWER_NS = 11 * NS_PER_SECOND
"""A list that has not been answered by then (`request_timeout` is 10 s) is asked again."""
LIST_AGAIN_NS = NS_PER_SECOND
LIST_FAILED_NS = 5 * NS_PER_SECOND
CANCEL_ANSWER_NS = 2 * NS_PER_SECOND
"""A cancel whose answer does not come is looked up in the list after so long, and may be sent again then."""
REPORT_LATE_NS = 10 * NS_PER_SECOND
"""A list may be faster than the report of the order that a stop became."""
REPLACED_PAUSE_NS = 10 * NS_PER_SECOND
"""Stops that cover the short are moved at most so often: slices and a wild mark must not use up the order limits."""
LOST_PAUSE_NS = 60 * NS_PER_SECOND
REFUSED_PAUSE_MOST_NS = 60 * NS_PER_SECOND
NEAR_PAUSE_NS = 5 * NS_PER_SECOND
STOPS_KEPT = 100
IMMEDIATELY, REDUCE_ONLY, OVERLAP, CLOSE_ALL_EXISTS, TOO_MANY = -2021, -2022, -4118, -4130, -4045
GONE = -2011


def backstop_of(core: Core, symbol: Symbol) -> Backstop:
    """Return what is known of a symbol's stops, made on first use."""
    found = core.state.backstops.get(symbol)
    if found is None:
        found = core.state.backstops[symbol] = Backstop()
    return found


def open_stops(core: Core, symbol: Symbol) -> list[Stop]:
    """Return our stops on the symbol that may trigger, oldest first."""
    return [stop for stop in core.state.stops.values() if stop.symbol == symbol and stop.is_open]


# ---------------------------------------------------------------- keeping them


def keep_stops(core: Core, view: HedgeView, liquidation_price: Decimal | None, context: GateContext) -> None:
    """Send the one request that brings a symbol's stops to where they should be, if any and if it may be sent."""
    symbol = view.params.symbol
    known = open_stops(core, symbol)
    if core.policy.backstop is None and not known:
        return
    mine = backstop_of(core, symbol)
    _ask_list(core, symbol, mine, known)
    if any(stop.under_way for stop in known) or not _may_act(core, view, mine):
        return
    wanted = level(view, core.policy.backstop, liquidation_price=liquidation_price, resting=known)
    if core.state.memory[symbol].flatten:
        if view.position == 0 and known:
            _cancel(core, known[0])
        return
    _say_uncovered(core, symbol, mine, wanted.left)
    step = next_step(wanted, known, overlap_refused=mine.overlap_refused)
    if step is None:
        if mine.replacing:
            mine.replacing, mine.replace_after_ns = False, core.now_ns + REPLACED_PAUSE_NS
        return
    if not mine.replacing and core.now_ns < mine.replace_after_ns and _covers(known, view, liquidation_price):
        return
    mine.replacing = True
    if isinstance(step, CancelStep):
        _cancel(core, core.state.stops[step.client_order_id])
    else:
        _place(core, view, mine, step, context)


def _covers(known: list[Stop], view: HedgeView, liquidation_price: Decimal | None) -> bool:
    """Return whether the stops that would trigger in time close all of the short, wherever they should be."""
    in_time = [stop for stop in known if liquidation_price is None or stop.trigger_price < liquidation_price]
    return sum((stop.quantity for stop in in_time), ZERO) >= -view.position


def _may_act(core: Core, view: HedgeView, mine: Backstop) -> bool:
    """Return whether a request may go out: on a position that is certain, while the venue trades and listens."""
    memory = core.state.memory[view.params.symbol]
    if core.state.shadow or core.state.stopping or not mine.listed or core.now_ns < mine.retry_after_ns:
        return False
    if view.trading_state is TradingState.HALTED and not memory.flatten:
        return False
    if core.now_ns < core.state.silent_until_ns or view.instrument.status != "TRADING":
        return False
    return view.book_status is BookStatus.LIVE and view.position_trusted and not view.open_orders


def _place(core: Core, view: HedgeView, mine: Backstop, step: PlaceStep, context: GateContext) -> None:
    verdict = gate(stop_draft(view, step), view, context)
    symbol = view.params.symbol
    if isinstance(verdict, Refused):
        if mine.refused_by != verdict.control:
            core.note("backstop", Level.WARNING, symbol, f"no stop placed: {verdict.control}: {verdict.reason}")
        mine.refused_by = verdict.control
        return
    mine.refused_by = ""
    state = core.state
    stop = Stop(
        client_order_id=client_order_id(state.instance, state.epoch, state.next_order),
        symbol=symbol,
        side=verdict.draft.side,
        quantity=step.quantity,
        trigger_price=step.trigger_price,
        decided_ns=core.now_ns,
    )
    state.next_order += 1
    state.stops[stop.client_order_id] = stop
    core.commands.append(
        PlaceStop(
            client_order_id=stop.client_order_id,
            symbol=symbol,
            side=stop.side,
            quantity=stop.quantity,
            trigger_price=stop.trigger_price,
            deadline_ns=core.now_ns + DEADLINE_NS,
        )
    )
    core.note(
        "backstop",
        Level.INFO,
        symbol,
        f"placing a stop: {stop.side.value} {stop.quantity} reduce-only when the mark reaches {stop.trigger_price}",
        client_order_id=stop.client_order_id,
    )
    _forget_old(core)


def _cancel(core: Core, stop: Stop) -> None:
    stop.cancel_ns = core.now_ns
    core.commands.append(CancelStop(symbol=stop.symbol, client_order_id=stop.client_order_id))
    _write(core, stop)


def _ask_list(core: Core, symbol: Symbol, mine: Backstop, known: list[Stop]) -> None:
    """Ask for the venue's list when it is not known since the book became live, or settles a doubt."""
    if core.state.book_status is not BookStatus.LIVE or core.now_ns < core.state.silent_until_ns:
        return
    waiting = mine.list_number > 0 and not mine.answered
    if core.now_ns - mine.asked_ns < (LIST_ANSWER_NS if waiting else mine.list_pause_ns):
        return
    if mine.listed and not any(_is_doubtful(core, stop) for stop in known):
        return
    mine.list_number += 1
    mine.asked_ns = core.now_ns
    mine.answered = False
    mine.list_pause_ns = LIST_AGAIN_NS
    core.commands.append(RequestOpenStops(symbol=symbol, number=mine.list_number))


def _is_doubtful(core: Core, stop: Stop) -> bool:
    if stop.cancel_ns > 0:
        return core.now_ns - stop.cancel_ns >= CANCEL_ANSWER_NS
    return stop.status is StopStatus.IN_DOUBT


def _say_uncovered(core: Core, symbol: Symbol, mine: Backstop, left: Decimal) -> None:
    if left > 0 and mine.uncovered == 0:
        core.note(
            "backstop",
            Level.WARNING,
            symbol,
            f"stops cover all but {left} of the short: raise max_order_quantity and max_order_notional",
        )
    mine.uncovered = left


def unlist(core: Core) -> None:
    """Forget what the venue's lists said: events may have been missed."""
    for mine in core.state.backstops.values():
        mine.listed = False
        mine.answered = True  # what was asked before the gap proves nothing
        mine.list_pause_ns = 0


# ---------------------------------------------------------------- what comes back


def on_stop_outcome(core: Core, event: StopOutcome) -> None:
    """Take the answer (or its absence) to the placing or the cancel of a stop."""
    stop = core.state.stops.get(event.client_order_id)
    if stop is None or not stop.is_open:
        return
    mine = backstop_of(core, stop.symbol)
    if event.cancel:
        _cancel_answered(core, mine, stop, event)
        return
    if event.kind is OutcomeKind.ACCEPTED:
        mine.overlap_refused = False
        mine.refusals = 0
        if event.resting:
            _rests(core, stop)
        else:
            _triggered(core, stop, None)
    elif event.kind is OutcomeKind.IN_DOUBT:
        if stop.status is StopStatus.PLANNED:
            stop.status = StopStatus.IN_DOUBT
            core.state.meter.doubted += 1
            _write(core, stop)
            core.note(
                "in_doubt",
                Level.WARNING,
                stop.symbol,
                f"the stop {stop.client_order_id}: HTTP {event.status} {event.message}; it may rest. The stops before it "
                "stay until the venue's list settles it",
                client_order_id=stop.client_order_id,
            )
    elif stop.status in (StopStatus.PLANNED, StopStatus.IN_DOUBT):
        _refused(core, mine, stop, event)


def _cancel_answered(core: Core, mine: Backstop, stop: Stop, event: StopOutcome) -> None:
    if event.kind is OutcomeKind.ACCEPTED:
        _end(core, stop, StopStatus.ENDED, "replaced")
    elif event.kind is OutcomeKind.IN_DOUBT:
        return  # the list tells
    elif event.code == GONE:
        mine.listed = False  # it triggered, or somebody was faster
    else:
        stop.cancel_ns = 0
        mine.retry_after_ns = core.now_ns + max((event.retry_after_ms or 0) * NS_PER_MS, NS_PER_SECOND)


def _refused(core: Core, mine: Backstop, stop: Stop, event: StopOutcome) -> None:
    """Decide how long to wait after a certain refusal, and what to look at again."""
    _end(core, stop, StopStatus.REFUSED, f"{event.code} {event.message}")
    pause_ns = min(NS_PER_SECOND << min(mine.refusals, 6), REFUSED_PAUSE_MOST_NS)
    mine.refusals += 1
    what_next = "a new one is decided after a pause"
    if event.code == IMMEDIATELY:
        pause_ns, what_next = NEAR_PAUSE_NS, "the mark has passed its trigger; the ladder acts"
    elif event.code == OVERLAP and any(s.status is StopStatus.RESTING for s in open_stops(core, stop.symbol)):
        mine.overlap_refused = True
        what_next = (
            "the venue takes no two beside each other: the old one is cancelled first, for a moment there is none"
        )
    elif event.code in (REDUCE_ONLY, OVERLAP):
        core.commands.append(RequestSnapshot(reason=f"{event.code} {event.message}", audit=True))
        what_next = "reading the position again"
    elif event.code in (CLOSE_ALL_EXISTS, TOO_MANY):
        pause_ns, what_next = LOST_PAUSE_NS, "somebody else's conditional orders are in the way; they are left alone"
    elif event.code in AUTHENTICATION_CODES:
        pause_ns, what_next = LOST_PAUSE_NS, "check key, IP list and permissions"
    pause_ns = max(pause_ns, (event.retry_after_ms or 0) * NS_PER_MS)
    mine.retry_after_ns = core.now_ns + pause_ns
    core.note(
        "backstop",
        Level.WARNING,
        stop.symbol,
        f"the venue refused the stop {stop.client_order_id}: {event.code} {event.message}; {what_next}",
        client_order_id=stop.client_order_id,
        error_code=event.code,
    )


def on_stop_voided(core: Core, event: IntentVoided) -> None:
    """A stop that the outbox did not send."""
    stop = core.state.stops[event.client_order_id]
    _end(core, stop, StopStatus.REFUSED, event.reason)
    backstop_of(core, stop.symbol).retry_after_ns = core.now_ns + NS_PER_SECOND
    core.note("voided", Level.WARNING, stop.symbol, f"{stop.client_order_id} was not sent: {event.reason}")


def on_open_stops(core: Core, event: OpenStops) -> None:
    """Hold the venue's list against what we know: what it holds rests, what it lacks is gone, foreign ones are left alone."""
    mine = backstop_of(core, event.symbol)
    if event.number != mine.list_number or mine.answered:
        return
    mine.answered = True
    mine.listed = True
    listed: dict[ClientOrderId, None] = {}
    for row in event.stops:
        stop = core.state.stops.get(row.client_order_id)
        if stop is None and is_ours(core, row.client_order_id):
            stop = _adopt(
                core,
                row.client_order_id,
                event.symbol,
                Stop(
                    client_order_id=row.client_order_id,
                    symbol=event.symbol,
                    side=row.side,
                    quantity=row.quantity,
                    trigger_price=row.trigger_price,
                    decided_ns=core.now_ns,
                ),
            )
        if stop is None:
            _say_foreign(core, event.symbol, mine, row.client_order_id)
            continue
        if stop.ended_ns is not None and stop.ended_ns >= mine.asked_ns:
            continue  # it ended while the list was on its way
        listed[row.client_order_id] = None
        if stop.cancel_ns and mine.asked_ns - stop.cancel_ns >= CANCEL_ANSWER_NS:
            stop.cancel_ns = 0  # it did not take: it may be sent again
        _rests(core, stop)
    for stop in open_stops(core, event.symbol):
        if stop.client_order_id not in listed:
            _missing(core, mine, stop)


def _missing(core: Core, mine: Backstop, stop: Stop) -> None:
    if stop.status is StopStatus.RESTING:
        if stop.resting_ns >= mine.asked_ns:
            return  # the list is older than it
        cancelled = stop.cancel_ns > 0
        shrunk = -core.state.book.quantity(stop.symbol) < stop.quantity
        _end(core, stop, StopStatus.ENDED, "not in the venue's list")
        if not cancelled and shrunk:
            _say_triggered(core, stop, "it is gone from the venue, and so is what it covers")
        elif not cancelled:
            _lost(core, mine, stop, "it is not in the venue's list any more")
        return
    if mine.asked_ns < _absent_from_ns(core, stop):
        return
    stop.absences += 1
    if stop.absences >= ABSENCES_NEEDED:
        _end(core, stop, StopStatus.ABSENT, "never arrived")
        core.note(
            "settled",
            Level.WARNING,
            stop.symbol,
            f"the stop {stop.client_order_id} is given up: {stop.absences} lists of the venue do not hold it",
            client_order_id=stop.client_order_id,
        )


def _absent_from_ns(core: Core, stop: Stop) -> int:
    """Return when a list that lacks a stop in doubt begins to count: Tq after it may have left, and since the book is live."""
    return max(stop.decided_ns + DEADLINE_NS + quarantine_ns(core), core.state.live_since_ns)


def on_list_failed(core: Core, event: CallFailed) -> None:
    """Wait a little before the list is asked again."""
    for mine in core.state.backstops.values():
        if not mine.answered:
            mine.answered = True
            mine.list_pause_ns = max(LIST_FAILED_NS, (event.retry_after_ms or 0) * NS_PER_MS)


def on_algo_update(core: Core, event: AlgoUpdate) -> None:
    """Take the venue's word on a conditional order; those that are not ours are left alone."""
    name = ClientOrderId(event.client_algo_id)
    stop = core.state.stops.get(name)
    if stop is None:
        if event.status != "NEW" or not is_ours(core, name) or event.symbol not in core.state.memory:
            return
        stop = _adopt(
            core,
            name,
            event.symbol,
            Stop(
                client_order_id=name,
                symbol=event.symbol,
                side=event.side,
                quantity=event.quantity,
                trigger_price=event.trigger_price,
                decided_ns=core.now_ns,
            ),
        )
    if event.status == "NEW":
        if stop.status not in (StopStatus.TRIGGERED, StopStatus.ENDED):
            _rests(core, stop)
    elif event.status in ("TRIGGERING", "TRIGGERED", "FINISHED"):
        _triggered(core, stop, event.order_id)
    elif stop.is_open:
        asked = stop.cancel_ns > 0
        _end(core, stop, StopStatus.ENDED, event.reject_reason or event.status)
        if event.status == "REJECTED":
            core.commands.append(RequestSnapshot(reason=f"stop rejected: {event.reject_reason}", audit=True))
        if not asked:
            word = f"{event.status} at the venue {event.reject_reason}".rstrip()
            _lost(core, backstop_of(core, stop.symbol), stop, word)


def is_ours(core: Core, name: str) -> bool:
    """Return whether an id is of this installation, whichever run of it."""
    parsed = parse_client_order_id(name)
    return parsed is not None and parsed[0] == core.state.instance


def _adopt(core: Core, name: ClientOrderId, symbol: Symbol, stop: Stop) -> Stop:
    core.state.stops[name] = stop
    core.note(
        "backstop",
        Level.WARNING,
        symbol,
        f"the stop {name} is ours and not in the ledger: {stop.side.value} {stop.quantity} at {stop.trigger_price}; adopted",
        client_order_id=name,
    )
    return stop


def _say_foreign(core: Core, symbol: Symbol, mine: Backstop, name: str) -> None:
    if name in mine.foreign:
        return
    mine.foreign = [*mine.foreign, name][-STOPS_KEPT:]
    core.note("foreign_order", Level.WARNING, symbol, f"a foreign conditional order {name!r} rests; it is left alone")


def _rests(core: Core, stop: Stop) -> None:
    if stop.status is StopStatus.RESTING:
        return
    stop.status = StopStatus.RESTING
    stop.resting_ns = core.now_ns
    stop.ended_ns = None
    stop.absences = 0
    _write(core, stop)


def _end(core: Core, stop: Stop, status: StopStatus, why: str) -> None:
    stop.status = status
    stop.ended_ns = core.now_ns
    stop.cancel_ns = 0
    stop.why = why
    _write(core, stop)


def _lost(core: Core, mine: Backstop, stop: Stop, why: str) -> None:
    """Say that a stop went without our doing; the next one waits, so that nobody is fought."""
    mine.retry_after_ns = max(mine.retry_after_ns, core.now_ns + LOST_PAUSE_NS)
    core.note(
        "backstop",
        Level.WARNING,
        stop.symbol,
        f"the stop {stop.client_order_id} at {stop.trigger_price}: {why}; a new one is placed in "
        f"{LOST_PAUSE_NS // NS_PER_SECOND} s",
        client_order_id=stop.client_order_id,
    )


def _write(core: Core, stop: Stop) -> None:
    core.persist("stop", stop.client_order_id, **to_plain(stop))


def _forget_old(core: Core) -> None:
    stops = core.state.stops
    excess = len(stops) - STOPS_KEPT
    for name in [name for name, stop in stops.items() if not stop.is_open][: max(0, excess)]:
        del stops[name]


# ---------------------------------------------------------------- one that triggered


def _triggered(core: Core, stop: Stop, order_id: int | None) -> None:
    stop.order_id = order_id or stop.order_id
    if stop.status is StopStatus.TRIGGERED:
        return
    _end(core, stop, StopStatus.TRIGGERED, "triggered")
    mine = backstop_of(core, stop.symbol)
    mine.retry_after_ns = max(mine.retry_after_ns, core.now_ns + NEAR_PAUSE_NS)
    _say_triggered(core, stop, "the mark reached it")


def _say_triggered(core: Core, stop: Stop, why: str) -> None:
    _pace(core, stop.symbol)
    core.note(
        "backstop",
        Level.CRITICAL,
        stop.symbol,
        f"the stop at {stop.trigger_price} closes up to {stop.quantity}: {why}; {stop.client_order_id}. Raising is paced as "
        "after a cut",
        client_order_id=stop.client_order_id,
        trigger_price=str(stop.trigger_price),
    )


def _pace(core: Core, symbol: Symbol) -> None:
    """Pace raising as after a cut: what a stop closed must not be sold again at once."""
    memory = core.memory_of(symbol)
    memory.paced = True
    memory.last_paced_ns = core.now_ns
    core.persist_pace(memory)


def adopt_triggered(core: Core, event: ExecutionReport) -> None:
    """Make an order of ours of what a stop became, on its first report; the venue may give it a name of its own."""
    if event.client_order_id in core.state.orders or event.owner not in (Owner.OURS, Owner.FOREIGN):
        return
    stop = next((stop for stop in core.state.stops.values() if _became(core, stop, event)), None)
    if stop is None:
        return
    _triggered(core, stop, event.order_id)
    order = Order(
        client_order_id=event.client_order_id,
        symbol=event.symbol,
        side=event.side,
        quantity=event.quantity,
        type=OrderType.MARKET,
        price=None,
        time_in_force=None,
        reduce_only=True,
        purpose=Purpose.BACKSTOP,
        decided_seq=core.state.seq,
        decided_ns=core.now_ns,
        target=ZERO,
        position_before=core.state.book.quantity(event.symbol),
        decision_mark=stop.trigger_price,
        reason=f"stop {stop.client_order_id} at {stop.trigger_price}",
        status=OrderStatus.WORKING,
        order_id=event.order_id,
    )
    core.state.orders[order.client_order_id] = order
    core.state.open_ids.append(order.client_order_id)
    core.state.uncovered.append(order.client_order_id)
    _pace(core, stop.symbol)  # the word that it triggered may have come before the position moved


def _became(core: Core, stop: Stop, event: ExecutionReport) -> bool:
    """Return whether a report is of the order a stop became: by its name, by its number, or by what it waited for."""
    if event.symbol != stop.symbol or event.side is not stop.side:
        return False
    if event.client_order_id == stop.client_order_id or event.order_id == stop.order_id:
        return True
    just_gone = stop.ended_ns is not None and core.now_ns - stop.ended_ns < REPORT_LATE_NS
    waited = stop.order_id is None and (stop.is_open or just_gone)
    return waited and event.reduce_only and event.trigger_price == stop.trigger_price
