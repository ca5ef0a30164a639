"""The book's algebra: absolute values win, older never does, and every order of arrival ends in the same state."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamhedge.domain.book import PositionBook, empty_book
from streamhedge.domain.events import AccountUpdate, PositionRow, Snapshot
from streamhedge.domain.values import Symbol
from tests.support import builders as make

D = Decimal
SYMBOLS = (Symbol("BTCUSDT"), Symbol("ETHUSDT"))
NS_PER_MS = 1_000_000
Figures = tuple[dict[Symbol, tuple[Decimal, Decimal, Decimal]], Decimal]


@st.composite
def histories(draw: st.DrawFn, *, ties: bool) -> list[AccountUpdate]:
    """Draw what one account did: each update with its own wallet, because every fill has a fee."""
    steps = draw(
        st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(-3, 3), st.integers(0 if ties else 1, 2)), max_size=8)
    )
    at_ms, wallet = make.T0_MS, 400_000
    updates = []
    for symbol, size, later in steps:
        at_ms += later
        wallet -= 1
        update = make.account_update(str(size), wallet=str(wallet), at_ms=at_ms)
        row = replace(update.positions[0], symbol=symbol, realised_pnl=D(wallet))
        updates.append(replace(update, positions=(row,)))
    return updates


def figures(book: PositionBook) -> Figures:
    """Return what an account is, without when and from where we know it; a flat row is no row."""
    held = {
        row.symbol: (row.quantity, row.entry_price, row.realised_pnl)
        for row in book.positions.values()
        if row.quantity != 0
    }
    balance = book.balances.get(make.USDT)
    return held, balance.wallet_balance if balance is not None else D(0)


def applied(updates: list[AccountUpdate], book: PositionBook | None = None) -> PositionBook:
    found = book or empty_book()
    for update in updates:
        found.apply_account_update(update, update.transaction_time_ms * NS_PER_MS)
    return found


def plainly(updates: list[AccountUpdate]) -> Figures:
    """Return what the last word on each row says, told without a book."""
    rows: dict[Symbol, PositionRow] = {}
    wallet = D(0)
    for update in updates:
        rows[update.positions[0].symbol] = update.positions[0]
        wallet = update.balances[0].wallet_balance
    held = {s: (row.quantity, row.entry_price, row.realised_pnl) for s, row in rows.items() if row.quantity != 0}
    return held, wallet


def snapshot_of(updates: list[AccountUpdate], *, requested_ms: int) -> Snapshot:
    """Return what the venue answers after these updates: open positions only, each with its own time."""
    book = applied(updates)
    balance = book.balances.get(make.USDT)
    base = make.snapshot(
        wallet=str(balance.wallet_balance if balance else 400_000),
        at_ms=balance.version_ms if balance else make.T0_MS,
        requested_ns=requested_ms * NS_PER_MS,
    )
    shape = make.snapshot("1", entry="1").positions[0]
    rows = tuple(
        replace(
            shape, symbol=row.symbol, quantity=row.quantity, entry_price=row.entry_price, update_time_ms=row.version_ms
        )
        for row in book.positions.values()
        if row.quantity != 0
    )
    return replace(base, positions=rows)


@given(histories(ties=True))
def test_the_last_word_on_each_row_stands(updates: list[AccountUpdate]) -> None:
    assert figures(applied(updates)) == plainly(updates)


@pytest.mark.fault("U6")
@given(histories(ties=False), st.data())
def test_any_order_of_arrival_with_repetitions_ends_alike(updates: list[AccountUpdate], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(updates), max_size=6)) if updates else []
    arrived = data.draw(st.permutations([*updates, *again]))
    assert figures(applied(list(arrived))) == plainly(updates)


@pytest.mark.fault("S11")
@given(histories(ties=True), st.data())
def test_two_connections_that_tell_the_same_end_alike(updates: list[AccountUpdate], data: st.DataObject) -> None:
    """Each connection keeps its order; the two are mixed in any way, and fills of one millisecond share their time."""
    first, second, arrived = list(updates), list(updates), []
    while first or second:
        take = first if not second or (first and data.draw(st.booleans())) else second
        arrived.append(take.pop(0))
    assert figures(applied(arrived)) == plainly(updates)


@pytest.mark.fault("U7")
@given(histories(ties=False), st.data())
def test_snapshot_and_events_commute(updates: list[AccountUpdate], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(updates)))
    since = data.draw(st.integers(0, cut))
    requested_ms = updates[cut - 1].transaction_time_ms + 1 if cut else make.T0_MS
    # What is sent after the request arrives after it.
    later = [replace(u, transaction_time_ms=u.transaction_time_ms + 1) for u in updates[cut:]]
    updates = [*updates[:cut], *later]
    snapshot = snapshot_of(updates[:cut], requested_ms=requested_ms)

    events_first = applied(updates)
    events_first.apply_snapshot(snapshot, (requested_ms + 100) * NS_PER_MS)
    snapshot_first = empty_book()
    snapshot_first.apply_snapshot(snapshot, requested_ms * NS_PER_MS)
    applied(updates[since:], snapshot_first)

    assert sizes(events_first) == sizes(applied(updates)) == sizes(snapshot_first)
    assert figures(events_first)[1] == figures(snapshot_first)[1]


def sizes(book: PositionBook) -> dict[Symbol, Decimal]:
    return {symbol: quantity for symbol, (quantity, _, _) in figures(book)[0].items()}


@pytest.mark.fault("U7")
@given(histories(ties=False), st.data())
def test_an_older_snapshot_changes_no_size_and_differs_nowhere(
    updates: list[AccountUpdate], data: st.DataObject
) -> None:
    assume(updates)
    cut = data.draw(st.integers(0, len(updates)))
    book = applied(updates)
    old = snapshot_of(updates[:cut], requested_ms=make.T0_MS)
    before = figures(book)
    assert book.differences(old) == []
    assert book.apply_snapshot(old, (make.T0_MS + 1_000) * NS_PER_MS) == []
    assert figures(book) == before


@pytest.mark.fault("U7")
@given(histories(ties=True))
def test_the_version_of_a_row_never_falls(updates: list[AccountUpdate]) -> None:
    book, highest = empty_book(), 0
    for update in [*updates, *reversed(updates)]:
        book.apply_account_update(update, 0)
        for row in book.positions.values():
            assert row.version_ms <= max(u.transaction_time_ms for u in updates)
        now = max(row.version_ms for row in book.positions.values())
        assert now >= highest
        highest = now


def test_a_plain_last_writer_would_not_pass() -> None:
    """The planted counter-case: a repeated first update, taken as news, undoes the second."""
    first, second = (make.account_update(size, wallet=wallet) for size, wallet in (("-1", "9"), ("-2", "8")))
    assert plainly([first, second, first]) != plainly([first, second])
    assert figures(applied([first, second, first])) == plainly([first, second])
