"""The book's liquidation prices against a root finder: random books, brackets, isolated, cross, one-way, both sides."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamhedge.domain.book import HeldBalance, HeldPosition, Mark, PositionBook, empty_book
from streamhedge.domain.margin import maintenance_margin
from streamhedge.domain.values import exact
from streamhedge.rules.triggers import Holding
from tests.support import builders as make
from tests.support.accounts import PRICES, SYMBOLS, USDC, USDT, Account, amounts, asset_of, holdings, table_of

D = Decimal
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


def book_of(account: Account) -> PositionBook:
    """Return the same account as the product keeps it."""
    book = empty_book()
    for asset, amount in account.wallets.items():
        book.balances[asset] = HeldBalance(asset, amount, amount)
    for symbol, mark in account.marks.items():
        book.instruments[symbol] = make.contract(symbol, asset_of(symbol), table_of(symbol))
        book.marks[symbol] = Mark(symbol, mark, mark, None, 0, 0, 0)
    for symbol, rows in account.held.items():
        for one in rows:
            held = HeldPosition(symbol, one.side, one.quantity, one.entry_price)
            held.isolated, held.isolated_wallet = one.isolated, one.wallet
            book.positions[symbol, one.side] = held
    return book


def left_at(account: Account, symbol: str, one: Holding, price: Decimal) -> Decimal:
    """Return what is left of the margin behind a position when its contract stands at a price."""
    if one.isolated:
        needed = maintenance_margin(notional=abs(one.quantity) * price, brackets=table_of(symbol))  # type: ignore[arg-type]
        return one.wallet + one.quantity * (price - one.entry_price) - needed
    at = Account(account.wallets, {**account.marks, symbol: price}, account.held)  # type: ignore[dict-item]
    return at.left(asset_of(symbol), {})  # type: ignore[arg-type]


def root_of(account: Account, symbol: str, one: Holding, low: Decimal, high: Decimal) -> Decimal:
    """Return where that crosses zero, by bisection."""
    falling = left_at(account, symbol, one, low) > 0
    for _ in range(160):
        middle = (low + high) / 2
        if (left_at(account, symbol, one, middle) > 0) == falling:
            low = middle
        else:
            high = middle
    return high


@settings(max_examples=120)
@given(accounts())
def test_every_liquidation_price_is_where_the_margin_is_used_up(account: Account) -> None:
    book = book_of(account)
    for symbol, rows in account.held.items():
        for one in rows:
            price = book.liquidation_price_of(book.positions[symbol, one.side])
            net = one.quantity if one.isolated else account.net(symbol)
            if net == 0:
                assert price is None
                continue
            if net < 0:
                assert price is not None
                if left_at(account, symbol, one, D(0)) <= 0:
                    assert price <= 0, "it has less than nothing at any price"
                else:
                    assert_close(price, root_of(account, symbol, one, D(0), HIGHEST))
            elif price is None:
                assert left_at(account, symbol, one, D("1e-12")) >= -NEAR, "a fall to nothing leaves something"
            else:
                # a net long loses by a fall: below the price nothing is left, right above it something is
                width = max(NEAR, price * NEAR)
                assert left_at(account, symbol, one, price - width) <= 0
                assert left_at(account, symbol, one, price + width) >= 0


def assert_close(one: Decimal, other: Decimal) -> None:
    assert abs(one - other) <= NEAR * max(D(1), abs(one), abs(other))
