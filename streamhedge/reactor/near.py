"""Every open position of the account against its liquidation, also those that no hedge steers.

The trigger index follows the book event by event; it is derived, never recorded, and built anew with the reactor. What no
hedge steers has no ladder: a person is told once when it comes within ``warn``, and once when it has left it again.
"""

from __future__ import annotations

from streamhedge.domain.commands import Level
from streamhedge.domain.events import (
    AccountConfigUpdate,
    AccountUpdate,
    Event,
    MarkPriceUpdate,
    PositionSide,
    SetupDone,
    Snapshot,
)
from streamhedge.domain.values import ZERO, Symbol
from streamhedge.reactor.state import Core
from streamhedge.rules.liquidation import WARN_RESOLVES
from streamhedge.rules.triggers import Holding, Near, TriggerIndex

SIDES = (PositionSide.BOTH, PositionSide.LONG, PositionSide.SHORT)


def index_of(core: Core) -> TriggerIndex:
    """Return the index of all positions the book holds."""
    ladder = core.policy.ladder
    index = TriggerIndex(ladder.warn + WARN_RESOLVES, tuple(dict.fromkeys((ladder.reopen, ladder.rehedge))))
    for asset, balance in core.state.book.balances.items():
        index.set_wallet(asset, balance.cross_wallet_balance)
    for symbol in dict.fromkeys(symbol for symbol, _ in core.state.book.positions):
        _put(core, index, symbol)
    for symbol in core.state.book.marks:
        _suspect(core, index, symbol)
    return index


def follow(core: Core, event: Event) -> None:
    """Take into the index what an event changed in the book."""
    index = core.triggers
    assert index is not None, "a reactor builds it"
    book = core.state.book
    if isinstance(event, MarkPriceUpdate):
        _suspect(core, index, event.symbol)
        if index.knows(event.symbol):
            index.tick(event.symbol, book.marks[event.symbol].mark_price)
        else:
            _put(core, index, event.symbol)
    elif isinstance(event, AccountUpdate):
        for row in event.balances:
            index.set_wallet(row.asset, book.balances[row.asset].cross_wallet_balance)
        for position in event.positions:
            _put(core, index, position.symbol)
    elif isinstance(event, AccountConfigUpdate) and event.symbol is not None:
        _put(core, index, event.symbol)
    elif isinstance(event, Snapshot | SetupDone):
        core.triggers = index_of(core)


def _suspect(core: Core, index: TriggerIndex, symbol: Symbol) -> None:
    """Keep the few marks that jumped apart, so that nobody walks all of them."""
    if core.state.book.marks[symbol].suspicious_since_ns is None:
        index.suspicious.pop(symbol, None)
    else:
        index.suspicious[symbol] = None


def _put(core: Core, index: TriggerIndex, symbol: Symbol) -> None:
    book = core.state.book
    instrument, mark = book.instruments.get(symbol), book.marks.get(symbol)
    rows = [book.positions[symbol, side] for side in SIDES if (symbol, side) in book.positions]
    index.unmarked.pop(symbol, None)
    if instrument is None or mark is None:
        if any(row.quantity != 0 and not row.isolated for row in rows):
            index.unmarked[symbol] = None
        return
    index.put(
        symbol,
        asset=instrument.margin_asset,
        brackets=instrument.brackets,
        mark_price=mark.mark_price,
        leverage=book.leverage.get(symbol, 1),
        holdings=[Holding(r.position_side, r.quantity, r.entry_price, r.isolated, r.isolated_wallet) for r in rows],
    )


def watch(core: Core) -> None:
    """Tell what no hedge steers when it comes near its liquidation, and when it is over."""
    index = core.triggers
    assert index is not None, "a reactor builds it"
    standing = {_name(near): near for near in index.near() if _is_foreign(core, near)}
    if not standing and not core.state.near:
        return
    for name in [name for name in core.state.near if name not in standing]:
        symbol = Symbol(name.split("|")[0])
        core.note("near_over", Level.INFO, symbol, f"{name.replace('|', ' ')} is away from its liquidation again")
    told = [name for name in core.state.near if name in standing]
    if any(core.state.book.marks[symbol].is_suspicious(core.now_ns) for symbol in index.suspicious):
        core.state.near = told
        return
    within = core.policy.ladder.warn
    for near in sorted(index.near(within), key=_name):
        if _is_foreign(core, near) and _name(near) not in told:
            told.append(_name(near))
            _tell(core, near)
    core.state.near = sorted(told)


def _name(near: Near) -> str:
    return f"{near.symbol}|{near.side.value}"


def _is_foreign(core: Core, near: Near) -> bool:
    return near.side is not PositionSide.BOTH or core.hedge_of(near.symbol) is None


def _tell(core: Core, near: Near) -> None:
    book = core.state.book
    held, mark = book.positions[near.symbol, near.side], book.marks[near.symbol].mark_price
    price = book.liquidation_price_of(held)
    asset = book.instruments[near.symbol].margin_asset
    away = ZERO if price is None else (price - mark if held.quantity < 0 else mark - price)
    percent = (
        f"{away / mark * 100:.2f} % from its liquidation at {price:.2f}" if price is not None else "at a joint risk"
    )
    short = (
        "" if held.isolated or held.quantity > 0 else ", or together with the other shorts of its margin nearer still"
    )
    core.note(
        "near_liquidation",
        Level.CRITICAL,
        near.symbol,
        f"{held.quantity} {near.symbol} is {percent}{short}; no hedge steers it, so nothing here cuts it: post "
        f"{near.shortfall:.2f} {asset} to reach {core.policy.ladder.warn * 100:f} %, or close part of it",
        liquidation_price=None if price is None else str(price),
        shortfall=str(near.shortfall),
        side=near.side.value,
    )
