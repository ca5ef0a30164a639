"""Feeds the treasury's attribution with what the reactor hears, and holds it against the book (HEDGING §7).

Called before an event is handled, so that it sees what was in force until now. Fills come from execution reports, money
that is no trade from account updates; the book's own figures are the check. A difference that stands while nothing is
under way is adopted into ``unclassified``, and said.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from streamhedge.domain.attribution import RESIDUAL, UNCLASSIFIED, AttributedFloat, AttributedLeg
from streamhedge.domain.commands import Level
from streamhedge.domain.events import (
    AccountUpdate,
    Event,
    ExecutionReport,
    FloatTradeRecorded,
    MarkPriceUpdate,
    Owner,
    PositionSide,
    SetupDone,
    Snapshot,
)
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, Asset, Symbol
from streamhedge.reactor.state import Core
from streamhedge.rules.view import BookStatus

DAY_MS = 86_400_000
STANDS_NS = 30 * NS_PER_SECOND
"""An event may be late by the time two audits take; a difference that stands so long without any news needs no name."""
WRITE_NS = 60 * NS_PER_SECOND


def hear(core: Core, event: Event) -> None:
    """Book one event before it is handled."""
    listener = LISTENERS.get(type(event))
    if listener is not None and core.state.attribution.began:
        listener(core, event)


def _on_mark(core: Core, event: MarkPriceUpdate) -> None:
    state = core.state
    held = state.book.marks.get(event.symbol)
    if held is not None and event.event_time_ms < held.event_time_ms:
        return
    hedge = core.hedge_of(event.symbol)
    if hedge is None and event.symbol not in state.attribution.legs:
        return
    memory = state.memory.get(event.symbol)
    state.attribution.frame(
        day=_day(core),
        symbol=event.symbol,
        asset=hedge.asset if hedge is not None else None,
        mark_price=event.mark_price,
        index_price=event.index_price,
        policy_short=memory.policy_short if memory is not None else ZERO,
        cause=memory.cause if memory is not None else "",
    )


def _on_report(core: Core, event: ExecutionReport) -> None:
    state = core.state
    if (
        event.last_quantity <= 0
        or core.knows_trade(event)
        or not _ours(core, event.symbol)
        or event.position_side is not PositionSide.BOTH
    ):
        return
    if event.owner is Owner.OURS and event.client_order_id in state.orders:
        who = "own"
    else:
        who = "foreign" if event.owner in (Owner.OURS, Owner.FOREIGN) else "venue"
    state.attribution.differs_ns = core.now_ns
    state.attribution.touch([event.symbol])
    state.attribution.fill(
        day=event.transaction_time_ms // DAY_MS,
        symbol=event.symbol,
        quantity=event.side.sign * event.last_quantity,
        price=event.last_price,
        who=who,
        commission=event.commission,
        commission_price=_price_of(core, event.commission_asset),
    )


def _on_account(core: Core, event: AccountUpdate) -> None:
    state = core.state
    state.attribution.differs_ns = core.now_ns
    state.attribution.touch(row.symbol for row in event.positions)
    for row in event.balances:
        if row.asset != core.policy.margin_asset or row.change == 0:
            continue
        if not core.hears_first("attribution", event, row):
            continue
        state.attribution.balance_change(
            day=event.transaction_time_ms // DAY_MS, reason=event.reason, amount=row.change
        )


def _on_all(core: Core, event: Snapshot | SetupDone) -> None:
    """Doubt everything: a snapshot names every position, a set-up may say that one is on another margin."""
    attribution = core.state.attribution
    attribution.differs_ns = attribution.differs_ns or core.now_ns
    named = event.positions if isinstance(event, Snapshot) else ()
    attribution.touch(
        [*attribution.legs, *(symbol for symbol, _ in core.state.book.positions), *(row.symbol for row in named)]
    )


def _on_float_trade(core: Core, event: FloatTradeRecorded) -> None:
    trade = event.trade
    core.state.attribution.float_trade(day=_day(core), asset=trade.asset, quantity=trade.quantity, usd=trade.usd)


LISTENERS: dict[type, Callable[[Core, Any], None]] = {
    MarkPriceUpdate: _on_mark,
    ExecutionReport: _on_report,
    AccountUpdate: _on_account,
    Snapshot: _on_all,
    SetupDone: _on_all,
    FloatTradeRecorded: _on_float_trade,
}


def settle(core: Core) -> None:
    """Begin once everything has a price; then hold the lines against the book and write them down now and then."""
    attribution = core.state.attribution
    if not attribution.began:
        _begin(core)
        return
    if attribution.differs_ns and core.state.book_status is BookStatus.LIVE:
        _compare(core)
    if core.now_ns - attribution.written_ns >= WRITE_NS:
        write(core)


def _begin(core: Core) -> None:
    state, book = core.state, core.state.book
    balance = book.balances.get(core.policy.margin_asset)
    if state.book_status is not BookStatus.LIVE or balance is None or book.unmarked(Symbol("")):
        return
    if any(hedge.symbol not in book.marks for hedge in core.policy.hedges):
        return
    attribution = state.attribution
    attribution.usd = state.usd
    attribution.wallet = balance.wallet_balance
    for hedge in core.policy.hedges:
        mark = book.marks[hedge.symbol]
        attribution.floats[hedge.asset] = AttributedFloat(state.floats[hedge.asset], mark.index_price)
        attribution.legs[hedge.symbol] = AttributedLeg(ZERO, ZERO, mark.mark_price, mark.index_price)
    for symbol, _ in book.positions:
        quantity, entry = _held(core, symbol)
        if quantity == 0:
            continue
        seen = book.marks.get(symbol)
        prices = (seen.mark_price, seen.index_price) if seen is not None else (None, None)
        attribution.legs[symbol] = AttributedLeg(quantity, entry, *prices)
    attribution.written_ns = core.now_ns
    attribution.begin()


def _compare(core: Core) -> None:
    """Hold the lines against the book where it has news, once per news; adopt a difference that has stood long enough."""
    attribution = core.state.attribution
    if core.state.open_ids or any(memory.exposure is not None for memory in core.state.memory.values()):
        attribution.differs_ns = core.now_ns  # half of a pair proves nothing
        return
    stands = core.now_ns - attribution.differs_ns >= STANDS_NS
    if attribution.compared and not stands:
        return
    attribution.compared = True
    wallet = core.state.book.balances[core.policy.margin_asset].wallet_balance
    legs = {symbol: _held(core, symbol) for symbol in attribution.touched}
    if attribution.agrees(wallet=wallet, legs=legs):
        attribution.adopt(day=_day(core), line=RESIDUAL, wallet=wallet, legs=legs)
        attribution.differs_ns = 0
    elif stands:
        amount = attribution.adopt(day=_day(core), line=UNCLASSIFIED, wallet=wallet, legs=legs)
        attribution.differs_ns = 0
        certificate = core.state.gap or core.state.last_gap
        core.note(
            "unclassified",
            Level.WARNING,
            None,
            f"the books moved by {amount:.8f} {core.policy.margin_asset} that no event explains: fees, funding or fills of a gap",
            amount=str(amount),
            certificate=certificate.number if certificate is not None else None,
        )


def write(core: Core) -> None:
    """Put each day's lines into the ledger: one row per day and run."""
    attribution = core.state.attribution
    attribution.written_ns = core.now_ns
    today = _day(core)
    for day, lines in list(attribution.days.items()):
        core.persist(
            "attribution",
            f"{day}:{core.state.epoch}",
            day=day,
            epoch=core.state.epoch,
            lines={name: str(amount) for name, amount in lines.items()},
        )
        if day < today - 1:
            attribution.close(day)


def _held(core: Core, symbol: Symbol) -> tuple[Decimal, Decimal]:
    """Return the book's one-way position of a contract on our margin asset: signed size and entry price, or zeros."""
    held = core.state.book.positions.get((symbol, PositionSide.BOTH))
    if held is None or held.quantity == 0 or not _ours(core, symbol):
        return ZERO, ZERO
    return held.quantity, held.entry_price


def _ours(core: Core, symbol: Symbol) -> bool:
    instrument = core.state.book.instruments.get(symbol)
    return instrument is None or instrument.margin_asset == core.policy.margin_asset


def _price_of(core: Core, asset: Asset | None) -> Decimal | None:
    """Return what a unit of a commission's asset is worth, None where it is the margin asset; 0 where nobody says."""
    if asset is None or asset == core.policy.margin_asset:
        return None
    mark = core.state.book.marks.get(Symbol(f"{asset}{core.policy.margin_asset}"))
    return mark.index_price if mark is not None else ZERO


def _day(core: Core) -> int:
    return core.now_ns // NS_PER_MS // DAY_MS
