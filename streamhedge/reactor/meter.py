"""The naked-exposure clock and the figures of a run.

After each input, over the time since the last one: where naked USD is above the band, naked USD times seconds goes to
the cause in force (HEDGING §6). Position and mark are constant between inputs, so the sum is exact.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.commands import Level
from streamhedge.domain.events import AccountUpdate, ExecutionReport, MarkPriceUpdate
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, divide
from streamhedge.reactor.decide import open_orders
from streamhedge.reactor.exposure import pending_interval
from streamhedge.reactor.funding import symbol_of
from streamhedge.reactor.state import Core, SymbolMemory, trading_state
from streamhedge.rules.hedge import tolerated_usd
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.view import BookStatus, TradingState

DAY_NS = 86_400 * NS_PER_SECOND
OVERSIZE = Decimal("1.1")
ALARM_CLEARS = Decimal("0.9")
WHY = {
    "in_doubt": "the outcome of an order is unknown, evidence is being asked for and nothing is sent meanwhile",
    "in_flight": "an order is on its way",
    "pace": "raising is paced after a cut",
    "dust": "what is missing is too small to trade",
}
"""Words of the hedge rule as people read them."""
ON_ITS_WAY = ("in_flight", "deciding", "")
"""Causes of naked exposure that end by themselves within milliseconds."""


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
    if day != meter.day:
        meter.day = day
        meter.turnover = ZERO
        meter.hedge_cost = ZERO
        core.state.reducing.pop("hedge_loss", None)


def measure(core: Core) -> None:
    """Measure naked exposure after an input and name its cause; ring when it lasts too long or is too large."""
    _watch_hedge_cost(core)
    for hedge in core.policy.hedges:
        mark = core.state.book.marks.get(hedge.symbol)
        instrument = core.state.book.instruments.get(hedge.symbol)
        if mark is None or instrument is None:
            continue
        memory = core.memory_of(hedge.symbol)
        _watch_position(core, memory, hedge)
        low, high = pending_interval(core, hedge.symbol)
        memory.naked_usd = max(abs(memory.naked + low), abs(memory.naked + high)) * mark.mark_price
        threshold = tolerated_usd(hedge, step_size=instrument.step_size, mark_price=mark.mark_price)
        if memory.naked_usd > threshold:
            memory.cause = _cause(core, memory, hedge)
            core.state.meter.max_naked_usd = max(core.state.meter.max_naked_usd, memory.naked_usd)
            memory.naked_since_ns = memory.naked_since_ns or core.now_ns
            _ring(core, memory, hedge)
            _ring_size(core, memory)
            continue
        memory.cause = ""
        memory.naked_too_large = False
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
    reason = memory.blocked.reason if memory.blocked is not None else WHY.get(memory.hold, memory.hold)
    core.note(
        "naked",
        Level.CRITICAL,
        hedge.symbol,
        f"{memory.naked_usd:.0f} USDT naked for {elapsed_ms} ms, cause {memory.cause}: {reason}",
        naked_usd=str(memory.naked_usd),
        cause=memory.cause,
    )


def _ring_size(core: Core, memory: SymbolMemory) -> None:
    """Ring when naked exposure that is not merely on its way is above max_naked; it stops no hedge."""
    if memory.naked_too_large or memory.cause in ON_ITS_WAY or memory.naked_usd <= core.policy.limits.max_naked:
        return
    memory.naked_too_large = True
    core.note(
        "max_naked",
        Level.CRITICAL,
        memory.symbol,
        f"{memory.naked_usd:.0f} USDT naked is above max_naked {core.policy.limits.max_naked:f}, cause {memory.cause}; "
        "buy no more until it is hedged",
        naked_usd=str(memory.naked_usd),
        cause=memory.cause,
    )


def _watch_position(core: Core, memory: SymbolMemory, hedge: HedgeParams) -> None:
    """Two standing checks of the position itself: larger than allowed (R3), and a loss that a person should see."""
    limits = core.policy.limits
    short = -core.state.book.quantity(hedge.symbol)
    most = min(hedge.max_short, limits.max_short_ratio * core.state.floats.get(hedge.asset, ZERO))
    name = f"position:{hedge.symbol}"
    if short > most * OVERSIZE and memory.cause not in ON_ITS_WAY:
        if name not in core.state.reducing:
            core.trip("R3")
            core.state.reducing[name] = f"the short of {short} {hedge.symbol} is above 110 % of the {most} allowed"
            core.note("oversize", Level.CRITICAL, hedge.symbol, f"{core.state.reducing[name]}: REDUCING")
    else:
        core.state.reducing.pop(name, None)
    book = core.state.book
    mark = book.marks[hedge.symbol]
    loss = -short * (mark.mark_price - book.entry_price(hedge.symbol))
    if loss > limits.unrealised_loss_alarm * ALARM_CLEARS:
        memory.loss_alarmed = False
    elif loss < limits.unrealised_loss_alarm and not memory.loss_alarmed:
        memory.loss_alarmed = True
        gain = core.state.floats.get(hedge.asset, ZERO) * (mark.index_price - book.entry_price(hedge.symbol))
        core.note(
            "unrealised_loss",
            Level.WARNING,
            hedge.symbol,
            f"the short's unrealised PnL is {loss:.2f} USDT; the float gained {gain:.2f} over the same move",
            unrealized_pnl=str(loss),
        )


def price_moved(core: Core, event: MarkPriceUpdate) -> None:
    """Charge a move while an order of ours was on its way to today's hedging cost (HEDGING §8, R8)."""
    memory = core.state.memory.get(event.symbol)
    held = core.state.book.marks.get(event.symbol)
    if memory is not None and held is not None and memory.cause == "in_flight":
        core.state.meter.hedge_cost -= memory.naked * (event.index_price - held.index_price)


def _watch_hedge_cost(core: Core) -> None:
    """Stop raising for the day when our own trading has cost more than the limit; never for the short's own loss."""
    cost, most = core.state.meter.hedge_cost, core.policy.limits.hedge_loss_per_day
    if cost <= most or "hedge_loss" in core.state.reducing:
        return
    core.trip("R8")
    core.state.reducing["hedge_loss"] = (
        f"hedging cost {cost:.2f} USDT today, above hedge_loss_per_day {most:f}; until 00:00 UTC, or raise the limit"
    )
    core.note("hedge_loss", Level.CRITICAL, None, f"{core.state.reducing['hedge_loss']}: REDUCING")


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


def count_fill(core: Core, event: ExecutionReport, *, own: bool) -> None:
    """Count commission and realised PnL of one fill; of our own ones also what they cost against the mark."""
    meter = core.state.meter
    meter.realised_pnl += event.realised_pnl
    mark = core.state.book.marks.get(event.symbol)
    if own and mark is not None:
        paid = event.side.sign * event.last_quantity * (event.last_price - mark.mark_price)
        fee = event.commission if event.commission_asset in (None, core.policy.margin_asset) else ZERO
        meter.hedge_cost += paid + fee
        core.persist("state", "day", day=meter.day, turnover=str(meter.turnover), hedge_cost=str(meter.hedge_cost))
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
        if not core.hears_first("funding", event, row):
            continue
        if row.asset == core.policy.margin_asset:
            core.state.meter.funding += row.change
        symbol = symbol_of(core, event, row.change)
        # Where the venue does not say whose it is, two of one moment differ by their amount.
        unsaid = "" if event.funding_symbol is not None else f":{row.change}"
        core.persist(
            "funding",
            f"{event.transaction_time_ms}:{row.asset}:{symbol or ''}{unsaid}",
            asset=row.asset,
            amount=str(row.change),
            symbol=symbol,
            time_ms=event.transaction_time_ms,
        )
        core.note(
            "funding",
            Level.INFO,
            symbol,
            f"{row.change:+f} {row.asset}",
            amount=str(row.change),
            asset=row.asset,
        )
