"""The naked-exposure clock and the figures of a run.

After each input, over the time since the last one: where naked USD is above the band, naked USD times seconds goes to
the cause in force (HEDGING §6). Position and mark are constant between inputs, so the sum is exact.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.commands import Level
from streamhedge.domain.events import AccountUpdate, ExecutionReport
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, divide
from streamhedge.reactor.decide import open_orders
from streamhedge.reactor.exposure import pending_interval
from streamhedge.reactor.state import Core, SymbolMemory, trading_state
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.view import BookStatus, TradingState

DAY_NS = 86_400 * NS_PER_SECOND


def elapse(core: Core) -> None:
    """Book the time since the last input to the causes that were in force, with the exposure that was."""
    meter = core.state.meter
    if meter.last_ns and core.now_ns > meter.last_ns:
        seconds = divide(Decimal(core.now_ns - meter.last_ns), Decimal(NS_PER_SECOND))
        for hedge in core.policy.hedges:
            memory = core.memory_of(hedge.symbol)
            if memory.cause:
                spent = meter.naked_usd_seconds.get(memory.cause, ZERO)
                meter.naked_usd_seconds[memory.cause] = spent + memory.naked_usd * seconds
    meter.last_ns = core.now_ns
    day = core.now_ns // DAY_NS
    if day != meter.turnover_day:
        meter.turnover_day = day
        meter.turnover = ZERO


def measure(core: Core) -> None:
    """Measure naked exposure after an input and name its cause; ring when it lasts too long."""
    for hedge in core.policy.hedges:
        mark = core.state.book.marks.get(hedge.symbol)
        instrument = core.state.book.instruments.get(hedge.symbol)
        if mark is None or instrument is None:
            continue
        memory = core.memory_of(hedge.symbol)
        low, high = pending_interval(core, hedge.symbol)
        memory.naked_usd = max(abs(memory.naked + low), abs(memory.naked + high)) * mark.mark_price
        threshold = max(hedge.band, instrument.step_size * mark.mark_price)
        if memory.naked_usd > threshold:
            memory.cause = _cause(core, memory, hedge)
            core.state.meter.max_naked_usd = max(core.state.meter.max_naked_usd, memory.naked_usd)
            memory.naked_since_ns = memory.naked_since_ns or core.now_ns
            _ring(core, memory, hedge)
            continue
        memory.cause = ""
        if memory.naked_alerted:
            core.note("neutral", Level.INFO, hedge.symbol, f"naked exposure is back inside {threshold:.0f} USDT")
        memory.naked_since_ns = None
        memory.naked_alerted = False
        _close_trade_clocks(core, hedge)


def _ring(core: Core, memory: SymbolMemory, hedge: HedgeParams) -> None:
    assert memory.naked_since_ns is not None
    elapsed_ms = (core.now_ns - memory.naked_since_ns) // NS_PER_MS
    if memory.naked_alerted or elapsed_ms < hedge.naked_alert_after_ms:
        return
    memory.naked_alerted = True
    reason = memory.blocked.reason if memory.blocked is not None else memory.hold
    core.note(
        "naked",
        Level.CRITICAL,
        hedge.symbol,
        f"{memory.naked_usd:.0f} USDT naked for {elapsed_ms} ms, cause {memory.cause}: {reason}",
        naked_usd=str(memory.naked_usd),
        cause=memory.cause,
    )


def _cause(core: Core, memory: SymbolMemory, hedge: HedgeParams) -> str:
    """Name the first cause that is in force, in the order of HEDGING §6."""
    orders = open_orders(core, hedge)
    if any(order.in_doubt for order in orders):
        return "in_doubt"
    if orders or memory.exposure is not None:
        return "in_flight"
    state = trading_state(core.state)
    if state is TradingState.HALTED:
        return "halted"
    if state is TradingState.REDUCING:
        return "reducing"
    if memory.block is not None:
        return "blocked"
    if core.state.book_status is not BookStatus.LIVE:
        return "stale"
    if memory.blocked is not None:
        return memory.blocked.cause
    return "deciding"


def _close_trade_clocks(core: Core, hedge: HedgeParams) -> None:
    still = []
    for clock in core.state.trade_clocks:
        if clock.asset != hedge.asset:
            still.append(clock)
            continue
        tenths = (core.now_ns - clock.recorded_ns) // 100_000
        core.note(
            "hedged",
            Level.INFO,
            hedge.symbol,
            f"float trade {clock.trade_id} neutral after {tenths // 10}.{tenths % 10} ms, "
            f"dust {core.memory_of(hedge.symbol).dust.normalize():f} {hedge.asset}",
            trade_id=clock.trade_id,
            time_to_neutral_ns=core.now_ns - clock.recorded_ns,
        )
    core.state.trade_clocks = still


def count_fees(core: Core, event: ExecutionReport) -> None:
    """Count the commission and realised PnL of one fill, whoever made it."""
    meter = core.state.meter
    meter.realised_pnl += event.realised_pnl
    if event.commission == 0:
        return
    if event.commission_asset in (None, core.policy.margin_asset):
        meter.fees += event.commission
        return
    assert event.commission_asset is not None
    paid = meter.fees_other.get(event.commission_asset, ZERO)
    meter.fees_other[event.commission_asset] = paid + event.commission


def count_funding(core: Core, event: AccountUpdate) -> None:
    """Book a funding payment: the balance change of a FUNDING_FEE event, to the cent."""
    if event.reason != "FUNDING_FEE":
        return
    for row in event.balances:
        if row.asset == core.policy.margin_asset:
            core.state.meter.funding += row.change
        core.persist(
            "funding",
            f"{event.transaction_time_ms}:{row.asset}:{event.funding_symbol or ''}",
            asset=row.asset,
            amount=str(row.change),
            symbol=event.funding_symbol,
            time_ms=event.transaction_time_ms,
        )
        core.note(
            "funding",
            Level.INFO,
            event.funding_symbol,
            f"{row.change:+f} {row.asset}",
            amount=str(row.change),
            asset=row.asset,
        )
