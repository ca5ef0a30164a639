"""react(event) -> Reaction: the only code that changes the book.

Pure and deterministic: no clock, no randomness, no input or output. Every handler validates, then mutates; then the
rules run in fixed order. The table below indexes the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from streamhedge.domain.canonical import digest
from streamhedge.domain.commands import Command, Level, Reaction, RequestSetup, RequestSnapshot
from streamhedge.domain.events import (
    AccountConfigUpdate,
    AccountUpdate,
    AlgoUpdate,
    BookStatusChanged,
    BudgetChanged,
    CallFailed,
    ClockOffset,
    ClockStepped,
    ConfigReloaded,
    ContractInfo,
    Event,
    ExecutionReport,
    FloatTradeRecorded,
    IntentVoided,
    LedgerCaughtUp,
    ManualOrder,
    MarginCall,
    MarkPriceUpdate,
    OpenOrders,
    OpenStops,
    OperatorVerb,
    OrderOutcome,
    OrderStatusAnswer,
    Owner,
    PositionSide,
    Quarantined,
    ResyncAsked,
    SetupDone,
    Snapshot,
    StopOutcome,
    Stopping,
    StoreFailed,
    Tick,
    VerbKind,
    WallStepped,
)
from streamhedge.domain.order import OrderStatus, Report, next_status
from streamhedge.domain.values import NS_PER_MS, ZERO, Symbol, exact, utc_text
from streamhedge.reactor import attribution, funding, gaps, margin, meter, near
from streamhedge.reactor.backstop import (
    adopt_triggered,
    on_algo_update,
    on_list_failed,
    on_open_stops,
    on_stop_outcome,
    on_stop_voided,
    unlist,
)
from streamhedge.reactor.clocks import on_clock_offset, on_wall_stepped
from streamhedge.reactor.controls import (
    back_from_maintenance,
    begin_ramp,
    count_error,
    halt,
    persist_ramp,
    ramp_row,
    watch_errors,
)
from streamhedge.reactor.decide import run_rules
from streamhedge.reactor.exposure import position_moved, settle_exposure
from streamhedge.reactor.manual import on_manual
from streamhedge.reactor.orders import (
    AUTHENTICATION_CODES,
    note_fill,
    on_execution_report,
    on_outcome,
    on_status_answer,
    on_stopping,
    on_voided,
    parse_client_order_id,
    quarantine_ns,
    query_doubtful,
)
from streamhedge.reactor.reconcile import audit_again, follow_positions, on_open_orders, on_snapshot
from streamhedge.reactor.state import Block, Core, State, SymbolMemory, TradeClock
from streamhedge.rules.fitness import misfit
from streamhedge.rules.params import HedgeParams, Policy
from streamhedge.rules.reload import applied_to
from streamhedge.rules.view import BookStatus

HALT_ALARM_NS = 60_000 * NS_PER_MS
FOREVER_NS = 2**62


class Reactor:
    """One account's state and the function that moves it."""

    def __init__(self, state: State, policy: Policy) -> None:
        self.core = Core(state=state, policy=policy, policy_hash=digest(policy)[:16])
        for hedge in policy.hedges:
            state.floats.setdefault(hedge.asset, ZERO)
        for hedge in (*policy.hedges, *policy.manual):
            self.core.memory_of(hedge.symbol)
        with exact():
            self.core.triggers = near.index_of(self.core)

    @property
    def state(self) -> State:
        """The whole memory; readers must not write."""
        return self.core.state

    def react(self, seq: int, now_ns: int, events: list[Event]) -> Reaction:
        """Apply the events of one input, run the rules, and return what to do.

        Args:
            seq: Number of the input.
            now_ns: Its receive time, nanoseconds since the epoch, never falling.
            events: What the input decoded to, in order; may be empty.
        """
        core = self.core
        core.state.seq = seq
        core.now_ns = now_ns
        core.commands = []
        core.notes = []
        meter.elapse(core)
        for event in events:
            gaps.hear(core, event)
            attribution.hear(core, event)
            handler = HANDLERS.get(type(event))
            if handler is not None:
                handler(core, event)
            near.follow(core, event)
        _housekeeping(core)
        run_rules(core)
        meter.measure(core)
        gaps.asked_by(core)
        attribution.settle(core)
        return Reaction(seq=seq, events=tuple(events), commands=_asked_once(core.commands), notes=tuple(core.notes))

    def digest(self) -> str:
        """Return the digest of the canonical state."""
        return digest(self.core.state)


def _asked_once(commands: list[Command]) -> tuple[Command, ...]:
    """Leave out what asks again, within one input, for the same answer: a frame of many rows must not spend the budget."""
    found: list[Command] = []
    asked: list[object] = []
    for command in commands:
        if isinstance(command, RequestSnapshot | RequestSetup):
            question = (type(command), getattr(command, "audit", None))
            if question in asked:
                continue
            asked.append(question)
        found.append(command)
    return tuple(found)


def _housekeeping(core: Core) -> None:
    query_doubtful(core)
    audit_again(core)
    watch_errors(core)
    follow_positions(core)
    for memory in core.state.memory.values():
        settle_exposure(core, memory)
        if memory.block is not None and memory.block.until_ns is not None and core.now_ns >= memory.block.until_ns:
            core.note("unblocked", Level.INFO, memory.symbol, f"the block for {memory.block.cause} has ended")
            memory.block = None
        if memory.reopen_at_ns is not None and core.now_ns >= memory.reopen_at_ns:
            memory.reopen_at_ns = None
            memory.venue_closed = ""
        if memory.reduce_only_until_ns is not None and core.now_ns >= memory.reduce_only_until_ns:
            memory.reduce_only = ""
            memory.reduce_only_until_ns = None
    margin.watch(core)
    near.watch(core)
    _alarm_while_halted(core)


def _alarm_while_halted(core: Core) -> None:
    """HALTED with a short open means the ladder is off: say so each minute, with the distance."""
    if core.state.halted is None or core.now_ns - core.state.last_halt_alarm_ns < HALT_ALARM_NS:
        return
    core.state.last_halt_alarm_ns = core.now_ns
    for memory in core.state.memory.values():
        quantity = core.state.book.quantity(memory.symbol)
        if quantity != 0:
            distance = "unknown" if memory.distance is None else f"{memory.distance * 100:.2f} %"
            core.note(
                "halted",
                Level.CRITICAL,
                memory.symbol,
                f"HALTED ({core.state.halted}) with {quantity} open: the ladder is off, liquidation distance {distance}",
            )


# ---------------------------------------------------------------- market


def _on_mark(core: Core, event: MarkPriceUpdate) -> None:
    first = event.symbol not in core.state.book.marks
    meter.price_moved(core, event)
    funding.price_moved(core, event)
    core.state.book.apply_mark(event, core.now_ns)
    hedge = core.hedge_of(event.symbol)
    if first and hedge is not None and core.state.setup_done:
        _judge_fitness(core, hedge)


def _on_tick(core: Core, event: Tick) -> None:
    core.state.lag_ms = event.lag_ms


def _on_contract_info(core: Core, event: ContractInfo) -> None:
    margin.on_brackets(core, event)
    if event.symbol not in core.state.memory:
        return
    instrument = core.state.book.instruments.get(event.symbol)
    hedge = core.hedge_of(event.symbol)
    if instrument is not None and hedge is not None:
        core.state.book.instruments[event.symbol] = replace(instrument, status=event.status)
        _judge_fitness(core, hedge)


# ---------------------------------------------------------------- account


def _on_account_update(core: Core, event: AccountUpdate) -> None:
    book = core.state.book
    before = {symbol: (book.quantity(symbol), book.version_ms(symbol)) for symbol in core.state.memory}
    for held in book.apply_account_update(event, core.now_ns):
        if held.symbol in before and held.position_side is PositionSide.BOTH:
            position_moved(core, held.symbol, *before[held.symbol])
    meter.count_funding(core, event)
    if event.reason == "INSURANCE_CLEAR":
        amount = sum((row.change for row in event.balances), ZERO)
        core.note("insurance", Level.CRITICAL, None, f"liquidation clearance {amount} booked by the venue")
    for row in event.positions:
        if row.position_side is not PositionSide.BOTH and row.quantity != 0 and row.symbol in core.state.memory:
            halt(core, f"{row.symbol} has a {row.position_side.value} position: hedge mode is read, not traded")


def _on_report(core: Core, event: ExecutionReport) -> None:
    adopt_triggered(core, event)
    new_trade = event.last_quantity > 0 and not core.knows_trade(event)
    if event.owner is Owner.OURS and event.client_order_id not in core.state.orders:
        _second_writer(core, event)
    order = on_execution_report(core, event)
    if new_trade:
        meter.count_fill(core, event, own=order is not None)
    if order is not None:
        if not order.is_open and event.report in (Report.FILLED, Report.ENDED):
            note_fill(core, order)
        return
    if not new_trade:
        return
    gaps.foreign(core, event.symbol, event.side.sign * event.last_quantity)
    if event.symbol not in core.state.memory:
        return
    if core.hedge_of(event.symbol) is None:
        return
    if event.owner is Owner.FOREIGN or event.owner is Owner.OURS:
        _external_trade(core, core.memory_of(event.symbol), event)
    else:
        _venue_close(core, core.memory_of(event.symbol), event)


def _second_writer(core: Core, event: ExecutionReport) -> None:
    """An id under our prefix that this ledger never made means that somebody else trades the account (FAULTS A2)."""
    parsed = parse_client_order_id(event.client_order_id)
    if parsed is None:
        return
    instance, epoch, _ = parsed
    if not core.policy.hedges:
        return
    if instance == core.state.instance and epoch <= core.state.epoch:
        previous = core.state.previous_epoch
        if previous is not None and previous < epoch < core.state.epoch:
            halt(
                core,
                f"order {event.client_order_id} is of our own run {epoch}, and the ledger knows no run between {previous} and "
                f"{core.state.epoch}: it is an older copy. Compare the float, book what is missing, then `resume --reason …`",
            )
        dead_ms = (core.state.meter.started_ns + quarantine_ns(core)) // NS_PER_MS
        if epoch == core.state.epoch or event.transaction_time_ms <= dead_ms:
            return
        if core.state.takeover:
            _taken_over(core, event, instance, epoch)
            return
        halt(
            core,
            f"order {event.client_order_id} is of our own run {epoch} and was sent long after it had to be over: that run "
            f"still trades elsewhere; this one is epoch {core.state.epoch}. Stop one of them, then `resume --reason …`",
        )
        return
    if core.state.takeover and epoch < core.state.epoch:
        _taken_over(core, event, instance, epoch)
        return
    halt(
        core,
        f"a second streamhedge trades this account: order {event.client_order_id}, instance {instance} epoch {epoch}; "
        f"this one is {core.state.instance} epoch {core.state.epoch}. Stop one of them, then `resume --reason …`",
    )


def _taken_over(core: Core, event: ExecutionReport, instance: str, epoch: int) -> None:
    """An older run trades that this one was started to take over from: it halts at our next order (FAULTS A2)."""
    core.note(
        "takeover",
        Level.WARNING,
        event.symbol,
        f"order {event.client_order_id} is of instance {instance} epoch {epoch}, which still runs elsewhere; this one, epoch "
        f"{core.state.epoch}, takes over and goes on. Stop the other",
        client_order_id=event.client_order_id,
    )


def _external_trade(core: Core, memory: SymbolMemory, event: ExecutionReport) -> None:
    if event.order_id != memory.external_order_id:
        # One order that sweeps several levels is one trade of a person's.
        minute_ago = core.now_ns - 60_000 * NS_PER_MS
        memory.external_times_ns = [t for t in memory.external_times_ns if t > minute_ago] + [core.now_ns]
        memory.external_order_id = event.order_id
    text = f"somebody else traded: {event.side.value} {event.last_quantity} at {event.last_price}; adopted"
    if len(memory.external_times_ns) > core.policy.limits.external_trades_per_minute:
        if memory.block is None:
            reason = f"{len(memory.external_times_ns)} foreign trades in a minute: not fighting a person"
            memory.block = Block(cause="external", reason=reason, latched=False, until_ns=None)
            core.persist("state", f"block:{memory.symbol}", cause="external", reason=reason, latched=False)
        text += "; BLOCKED until `resume --symbol`"
    core.note("external", Level.WARNING, event.symbol, text, client_order_id=event.client_order_id)


def _venue_close(core: Core, memory: SymbolMemory, event: ExecutionReport) -> None:
    """The venue closed (part of) our leg: adopt, alert, and let policy say when to hedge again (HEDGING §3)."""
    ladder = core.policy.ladder
    waits = {
        Owner.ADL: ladder.reopen_after_adl_ms,
        Owner.LIQUIDATION: ladder.reopen_after_liquidation_ms,
        Owner.SETTLEMENT: ladder.reopen_after_settlement_ms,
    }
    wait_ms = waits[event.owner]
    core.state.meter.venue_closes += 1
    core.state.meter.liquidations += event.owner is Owner.LIQUIDATION
    memory.venue_closed = f"{event.owner.value} closed {event.last_quantity}"
    if wait_ms is None:
        memory.reopen_at_ns = FOREVER_NS
        after = "not re-opened until a person resumes the symbol"
    else:
        memory.reopen_at_ns = core.now_ns + wait_ms * NS_PER_MS
        after = f"re-hedging in {wait_ms} ms"
    memory.position_trusted = False
    latch = {"reason": memory.venue_closed, "until_ns": memory.reopen_at_ns}
    core.persist("state", f"venue_close:{event.symbol}", **latch)
    core.commands.append(RequestSnapshot(reason=f"{event.owner.value} of {event.symbol}", audit=True))
    core.persist(
        "venue_close",
        f"{event.symbol}:{event.trade_id}",
        owner=event.owner.value,
        quantity=str(event.last_quantity),
        price=str(event.last_price),
        time_ms=event.transaction_time_ms,
    )
    core.note(
        "venue_close",
        Level.CRITICAL,
        event.symbol,
        f"{event.owner.value}: the venue did {event.side.value} {event.last_quantity} at {event.last_price}; {after}",
        owner=event.owner.value,
    )


def _on_config_update(core: Core, event: AccountConfigUpdate) -> None:
    if event.symbol is not None and event.leverage is not None:
        core.state.book.leverage[event.symbol] = event.leverage
        if event.symbol in core.state.memory:
            hedge = core.hedge_of(event.symbol)
            # We set it ourselves at each start: nobody is woken for what the configuration says.
            level = Level.INFO if hedge is not None and hedge.leverage == event.leverage else Level.WARNING
            core.note("leverage", level, event.symbol, f"leverage is {event.leverage} now")
        _judge_leverage(core, event.symbol)
    if event.multi_assets is not None:
        core.state.book.multi_assets = event.multi_assets
        if event.multi_assets:
            halt(
                core, "multi-assets mode was switched on: hedging is for single-asset mode; switch it off, then resume"
            )


def _judge_leverage(core: Core, symbol: Symbol) -> None:
    """Raise nothing while the leverage of a symbol that we hedge on is above the limit; ends with the setting.

    On a symbol that is only traded by hand it rings: the gate holds each order there to the limit, and no hedge elsewhere
    needs to wait for it.
    """
    leverage, most = core.state.book.leverage.get(symbol), core.policy.limits.max_leverage
    memory = core.state.memory.get(symbol)
    if memory is None or leverage is None:
        return
    above = leverage > most
    said = f"leverage of {symbol} is {leverage}, above max_leverage {most}"
    if above and not memory.leverage_high:
        core.trip("R9")
    if core.hedge_of(symbol) is not None:
        if above:
            core.state.reducing[f"leverage:{symbol}"] = said
        else:
            core.state.reducing.pop(f"leverage:{symbol}", None)
    elif above and not memory.leverage_high:
        text = f"{said}: orders by hand are held to the limit, isolated ones are refused; the hedges go on. Lower it"
        core.note("leverage_high", Level.WARNING, symbol, text)
    elif memory.leverage_high and not above:
        core.note("leverage_fits", Level.INFO, symbol, f"leverage of {symbol} is {leverage}, inside max_leverage again")
    memory.leverage_high = above


# ---------------------------------------------------------------- set-up, status, store


def _on_setup(core: Core, event: SetupDone) -> None:
    book = core.state.book
    for instrument in event.instruments:
        book.instruments[instrument.symbol] = instrument
    book.leverage.update(event.leverage)
    book.isolated.update(event.isolated)
    book.dual_side = event.dual_side
    book.multi_assets = event.multi_assets
    core.state.setup_done = True
    if event.dual_side:
        halt(
            core, "the account is in hedge mode (dual side), which is read, not traded: switch to one-way mode, resume"
        )
    if event.multi_assets:
        halt(core, "the account is in multi-assets mode: switch it to single-asset mode, then resume")
    for hedge in core.policy.hedges:
        _judge_fitness(core, hedge)
    for symbol in event.leverage:
        _judge_leverage(core, symbol)


def _judge_fitness(core: Core, hedge: HedgeParams) -> None:
    """Block a symbol whose contract or settings cannot carry its hedge; unblock it when they can again."""
    book = core.state.book
    memory = core.memory_of(hedge.symbol)
    mark = book.marks.get(hedge.symbol)
    reason = misfit(
        hedge,
        core.policy,
        instrument=book.instruments.get(hedge.symbol),
        leverage=book.leverage.get(hedge.symbol),
        isolated=book.isolated.get(hedge.symbol) if book.isolated else None,
        mark_price=mark.mark_price if mark is not None else None,
    )
    ours = memory.block is None or memory.block.cause == "contract"
    if reason is not None and ours and (memory.block is None or memory.block.reason != reason):
        memory.block = Block(cause="contract", reason=reason, latched=False, until_ns=None)
        core.note("blocked", Level.CRITICAL, hedge.symbol, f"{reason}: nothing is hedged on it")
    elif reason is None and memory.block is not None and memory.block.cause == "contract":
        memory.block = None
        core.note("unblocked", Level.INFO, hedge.symbol, "the contract can carry the hedge again")


def _on_book_status(core: Core, event: BookStatusChanged) -> None:
    status = BookStatus(event.status)
    if status is not BookStatus.LIVE:
        gaps.lost(core, event.reason, restart=core.state.live_since_ns == 0)
    if status is core.state.book_status:
        core.state.book_reason = event.reason
        return
    was = core.state.book_status
    core.state.book_status = status
    core.state.book_reason = event.reason
    if status is BookStatus.LIVE:
        core.state.live_since_ns = core.now_ns
        gaps.close(core)
        back_from_maintenance(core)
    else:
        unlist(core)
        if was is BookStatus.LIVE:
            count_error(core)
        for order in core.open_orders():
            order.absences = 0
        for memory in core.state.memory.values():
            memory.position_trusted = memory.position_trusted and status is not BookStatus.SYNCING
            if memory.exposure is not None:
                memory.exposure.broken = True
    level = Level.INFO if status in (BookStatus.LIVE, BookStatus.SYNCING) else Level.WARNING
    core.note("book", level, None, f"{was.value} → {status.value}: {event.reason}", status=status.value)


def _on_budget(core: Core, event: BudgetChanged) -> None:
    """Take what the rate budget leaves, and say out loud what a ban keeps us from (FAULTS O13)."""
    before_ns = core.state.budget.silent_until_ns if core.state.budget is not None else 0
    core.state.budget = event
    core.state.silent_until_ns, core.state.banned = event.silent_until_ns, event.banned
    if event.silent_until_ns == before_ns:
        return
    core.persist("state", "silence", until_ns=event.silent_until_ns, banned=event.banned)
    if event.silent_until_ns == 0:
        core.note("silence_over", Level.INFO, None, "the venue hears from us again")
    elif event.banned:
        until = utc_text(event.silent_until_ns // NS_PER_MS)
        for hedge in core.policy.hedges:
            mark = core.state.book.marks.get(hedge.symbol)
            net = core.state.floats.get(hedge.asset, ZERO) + core.state.book.quantity(hedge.symbol)
            open_now = "its price unknown" if mark is None else f"{net * mark.mark_price:.2f} USDT net"
            core.note(
                "banned",
                Level.CRITICAL,
                hedge.symbol,
                f"cannot hedge, {open_now}, banned until {until}: no request is sent before, streams stay open. "
                "Reduce by hand on another address if you must",
                until_ns=event.silent_until_ns,
            )


def _on_resync_asked(core: Core, event: ResyncAsked) -> None:
    gaps.asked(core, event.what)


def _on_status_answer(core: Core, event: OrderStatusAnswer) -> None:
    gaps.answered(core, f"order.status {event.client_order_id}")
    on_status_answer(core, event)


def _on_clock_step(core: Core, event: ClockStepped) -> None:
    for order in core.open_orders():
        if order.status is OrderStatus.PLANNED:
            order.status = next_status(order.status, Report.DOUBT)
    core.note(
        "clock", Level.WARNING, None, f"the clock jumped or the machine slept for {event.gap_ms} ms: treated as a crash"
    )


def _on_quarantined(core: Core, event: Quarantined) -> None:
    core.state.meter.quarantined += 1
    count_error(core)
    core.note(
        "quarantined",
        Level.WARNING,
        None,
        f"{event.source} frame not understood ({event.reason}): {event.head!r}; kept in the recording"
        + (", resyncing" if event.private else ""),
    )


def _on_store_failed(core: Core, event: StoreFailed) -> None:
    halt(
        core,
        f"{event.what} cannot be written ({event.message}): no memory, no trading. Free or repair the disk; what it missed is kept and written then",
    )


def _on_ledger_caught_up(core: Core, event: LedgerCaughtUp) -> None:
    lost = f"; {event.given_up} did not fit and are lost, the venue's own history has them" if event.given_up else ""
    core.note(
        "store",
        Level.WARNING,
        None,
        f"the ledger works again: {event.written} row(s) that it had refused are written{lost}",
        written=event.written,
        given_up=event.given_up,
    )


def _on_voided(core: Core, event: IntentVoided) -> None:
    if event.client_order_id in core.state.stops:
        on_stop_voided(core, event)
    else:
        on_voided(core, event)


def _on_call_failed(core: Core, event: CallFailed) -> None:
    if event.what == "open_stops":
        on_list_failed(core, event)
    count_error(core, event.code)
    if event.code in AUTHENTICATION_CODES:
        _key_refused(core, event)
        return
    core.note(
        "call_failed",
        Level.WARNING,
        None,
        f"{event.what} failed: HTTP {event.status} {event.code} {event.message}; it is asked again",
    )


def _key_refused(core: Core, event: CallFailed) -> None:
    """A key that never worked is the operator's to correct before anything begins; one that stops working halts."""
    core.trip("R18")
    said = f"the venue refuses the key ({event.code} {event.message}): check key, secret, permissions and IP list"
    if core.state.live_since_ns:
        halt(core, said)
    else:
        core.note("key_refused", Level.CRITICAL, None, said, error_code=event.code, message=event.message)


# ---------------------------------------------------------------- people


def _on_float_trade(core: Core, event: FloatTradeRecorded) -> None:
    trade = event.trade
    core.state.floats[trade.asset] = core.state.floats.get(trade.asset, ZERO) + trade.quantity
    core.state.usd += trade.usd
    if trade.quantity != 0:
        clock = TradeClock(trade_id=trade.trade_id, asset=trade.asset, recorded_ns=core.now_ns)
        core.state.trade_clocks.append(clock)
    at = f" @ {trade.price.normalize():f}" if trade.price > 0 else ""
    core.note(
        "float",
        Level.INFO,
        None,
        f"{trade.kind.value} {_signed(trade.quantity)} {trade.asset}{at} "
        f'→ float {core.state.floats[trade.asset]:f} {trade.asset}  "{trade.reason}"  id={trade.trade_id}',
        trade_id=trade.trade_id,
        quantity=str(trade.quantity),
    )


def _signed(value: Decimal) -> str:
    return f"{value:+f}"


def _on_verb(core: Core, event: OperatorVerb) -> None:
    who = f"uid {event.uid}: {event.reason}" if event.uid >= 0 else event.reason  # the page says that it is the page
    memories = [m for m in core.state.memory.values() if event.symbol in (None, m.symbol)]
    for key, fields in latches(event.kind, event.symbol, [m.symbol for m in memories], who).items():
        # They stand in the ledger already; an older row that it refused must not be written over them.
        core.persist("state", key, **fields)
    if event.kind is VerbKind.HALT:
        if event.symbol is None:
            core.state.halted = who
        else:
            core.memory_of(event.symbol).block = Block(cause="operator", reason=who, latched=True, until_ns=None)
    elif event.kind is VerbKind.REDUCE:
        if event.symbol is None:
            core.state.reducing["operator"] = who
        else:
            core.memory_of(event.symbol).reduce_only = who
            core.memory_of(event.symbol).reduce_only_until_ns = None
    elif event.kind is VerbKind.FLATTEN:
        for memory in memories:
            memory.flatten = who
    else:
        _resume(core, event.symbol)
    core.note("operator", Level.WARNING, event.symbol, f"{event.kind.value} by {who}", verb=event.kind.value)


def latches(kind: VerbKind, symbol: Symbol | None, symbols: list[Symbol], who: str) -> dict[str, dict[str, object]]:
    """Return the ledger's rows of a verb, durable before it acts; the block of one symbol is lifted by ``_resume``."""
    if kind is VerbKind.HALT:
        return {f"block:{symbol}": {"cause": "operator", "reason": who}} if symbol else {"halted": {"reason": who}}
    if kind is VerbKind.REDUCE:
        return {f"reduce:{symbol}" if symbol else "reduce": {"reason": who}}
    if kind is VerbKind.FLATTEN:
        return {f"flatten:{name}": {"reason": who} for name in symbols}
    # Should the run end before it has begun the ramp, the next one does.
    return {} if symbol else {"ramp": ramp_row(due=True), "halted": {"reason": None}, "reduce": {"reason": None}}


def _on_config(core: Core, event: ConfigReloaded) -> None:
    """Take bands and limits that were read again; the next rule already reads them."""
    core.policy = applied_to(core.policy, event)
    core.policy_hash = digest(core.policy)[:16]
    said = [f"band of {symbol} {band:f}" for symbol, band in event.bands.items()]
    said += [f"naked_alert_after of {symbol} {after_ms} ms" for symbol, after_ms in event.naked_alert_after_ms.items()]
    said += [f"limits.{name} {value}" for name, value in event.limits.items()]
    core.note("config", Level.WARNING, None, f"uid {event.uid} changed {', '.join(said)}")


def _resume(core: Core, symbol: Symbol | None) -> None:
    if symbol is None:
        if core.state.halted is not None:
            begin_ramp(core)
        else:
            persist_ramp(core)
        core.state.halted = None
        core.state.reducing.pop("operator", None)
    for memory in core.state.memory.values():
        if symbol is not None and memory.symbol != symbol:
            continue
        if symbol is None and memory.block is not None and memory.block.latched:
            continue
        memory.block = None
        memory.paced = False
        memory.cutting = None
        memory.reduce_only = ""
        memory.flatten = ""
        memory.fruitless_fills = 0
        memory.reopen_at_ns = None
        memory.venue_closed = ""
        memory.external_times_ns = []
        for word in ("block", "flatten", "reduce", "venue_close"):
            core.persist("state", f"{word}:{memory.symbol}", cause=None, reason=None)
        core.persist("state", f"pace:{memory.symbol}", paced=False)


HANDLERS: dict[type, Callable[[Core, Any], None]] = {
    MarkPriceUpdate: _on_mark,
    Tick: _on_tick,
    ContractInfo: _on_contract_info,
    AccountUpdate: _on_account_update,
    ExecutionReport: _on_report,
    MarginCall: margin.on_margin_call,
    AccountConfigUpdate: _on_config_update,
    Snapshot: on_snapshot,
    OpenOrders: on_open_orders,
    OrderOutcome: on_outcome,
    OrderStatusAnswer: _on_status_answer,
    IntentVoided: _on_voided,
    StopOutcome: on_stop_outcome,
    OpenStops: on_open_stops,
    AlgoUpdate: on_algo_update,
    SetupDone: _on_setup,
    BookStatusChanged: _on_book_status,
    ResyncAsked: _on_resync_asked,
    BudgetChanged: _on_budget,
    ClockStepped: _on_clock_step,
    ClockOffset: on_clock_offset,
    WallStepped: on_wall_stepped,
    Quarantined: _on_quarantined,
    Stopping: on_stopping,
    ConfigReloaded: _on_config,
    StoreFailed: _on_store_failed,
    LedgerCaughtUp: _on_ledger_caught_up,
    CallFailed: _on_call_failed,
    FloatTradeRecorded: _on_float_trade,
    OperatorVerb: _on_verb,
    ManualOrder: on_manual,
}
