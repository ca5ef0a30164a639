"""The book's liquidation prices against a root finder: random books, brackets, isolated, cross, one-way, both sides."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamhedge.domain.book import HeldBalance, HeldPosition, Mark, PositionBook, empty_book
from streamhedge.domain.values import Symbol, exact
from streamhedge.rules.triggers import Holding
from tests.support import builders as make
from tests.support.accounts import (
    PRICES,
    SYMBOLS,
    USDC,
    USDT,
    Account,
    Table,
    amounts,
    asset_of,
    held_by,
    holdings,
    tables,
)

D = Decimal
Brackets = dict[Symbol, Table]
HIGHEST = D(10) ** 12
NEAR = D("1e-9")


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    """Draw an account of up to five contracts on two margins."""
    found = Account({asset: draw(amounts(-5_000, 200_000)) for asset in (USDT, USDC)})
    for symbol in draw(st.lists(st.sampled_from(SYMBOLS), unique=True, min_size=1, max_size=5)):
        held = tuple(one for one in draw(holdings()) if one.quantity != 0)
        found.marks[symbol] = draw(PRICES)
        if held:
            found.held[symbol] = held
    return found


def book_of(account: Account, brackets: Brackets) -> PositionBook:
    """Return the same account as the product keeps it."""
    book = empty_book()
    for asset, amount in account.wallets.items():
        book.balances[asset] = HeldBalance(asset, amount, amount)
    for symbol, mark in account.marks.items():
        book.instruments[symbol] = make.contract(symbol, asset_of(symbol), brackets[symbol])
        book.marks[symbol] = Mark(symbol, mark, mark, None, 0, 0, 0)
    for symbol, rows in account.held.items():
        for one in rows:
            held = HeldPosition(symbol, one.side, one.quantity, one.entry_price)
            held.isolated, held.isolated_wallet = one.isolated, one.wallet
            book.positions[symbol, one.side] = held
    return book


def left_at(account: Account, brackets: Brackets, symbol: Symbol, one: Holding, price: Decimal) -> Decimal:
    """Return what is left of the margin behind a position when its contract stands at a price, counted row by row."""

    def worth(name: Symbol, held: Holding) -> Decimal:
        at = price if name == symbol else account.marks[name]
        return held.quantity * (at - held.entry_price) - held_by(abs(held.quantity) * at, brackets[name])

    if one.isolated:
        return one.wallet + worth(symbol, one)
    shared = [(name, held) for name, rows in account.held.items() for held in rows if not held.isolated]
    group = [worth(name, held) for name, held in shared if asset_of(name) == asset_of(symbol)]
    return account.wallets[asset_of(symbol)] + sum(group, D(0))


def most_left(account: Account, brackets: Brackets, symbol: Symbol, one: Holding) -> Decimal:
    """Return the most that is left at any price: it bends only where a side enters its next bracket."""
    edges = [row.notional_cap / abs(held.quantity) for held in account.held[symbol] for row in brackets[symbol]]
    return max(left_at(account, brackets, symbol, one, price) for price in (D(0), *edges, HIGHEST))


def root_of(account: Account, brackets: Brackets, symbol: Symbol, one: Holding, low: Decimal, high: Decimal) -> Decimal:
    """Return where that crosses zero, by bisection."""
    falling = left_at(account, brackets, symbol, one, low) > 0
    for _ in range(160):
        middle = (low + high) / 2
        if (left_at(account, brackets, symbol, one, middle) > 0) == falling:
            low = middle
        else:
            high = middle
    return high


@settings(max_examples=120)
@given(accounts(), st.tuples(tables(), tables()))
def test_every_liquidation_price_is_where_the_margin_is_used_up(account: Account, drawn: tuple[Table, Table]) -> None:
    brackets = {symbol: drawn[number % 2] for number, symbol in enumerate(account.marks)}
    book = book_of(account, brackets)
    for symbol, rows in account.held.items():
        for one in rows:
            price = book.liquidation_price_of(book.positions[symbol, one.side])
            net = one.quantity if one.isolated else account.net(symbol)
            if net == 0:
                assert price is None
                continue
            if net < 0:
                assert price is not None
                if left_at(account, brackets, symbol, one, D(0)) <= 0:
                    assert price <= 0, "it has less than nothing at any price"
                else:
                    assert_close(price, root_of(account, brackets, symbol, one, D(0), HIGHEST))
            elif most_left(account, brackets, symbol, one) <= D("1e-6"):
                continue  # a pair so nearly equal that its maintenance outgrows it has nothing left at any price
            elif price is None:
                assert left_at(account, brackets, symbol, one, D("1e-12")) >= -NEAR, (
                    "a fall to nothing leaves something"
                )
            else:
                # a net long loses by a fall: below the price nothing is left, right above it something is
                width = max(NEAR, price * NEAR)
                assert left_at(account, brackets, symbol, one, price - width) <= 0
                assert left_at(account, brackets, symbol, one, price + width) >= 0


def assert_close(one: Decimal, other: Decimal) -> None:
    assert abs(one - other) <= NEAR * max(D(1), abs(one), abs(other))
