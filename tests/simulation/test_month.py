"""Thirty days: the funding ledger is the exchange's to the cent, and every change of the treasury's value has its line."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.attribution import FUNDING, RESIDUAL
from tests.simulation.month import Books, Month

D = Decimal


@pytest.fixture(scope="module")
def books() -> Books:
    return Month(7).run()


def test_both_sides_agree(books: Books) -> None:
    assert books.wrong() == []
    assert books.lines[FUNDING] == books.venue_funding
    assert abs(books.lines.get(RESIDUAL, D(0))) < D("0.0003")


@pytest.mark.parametrize("isolated", [("BTCUSDT", "ETHUSDT"), ("BTCUSDT",), ("ETHUSDT",)], ids=" ".join)
def test_payments_of_isolated_positions_land_in_their_own_wallets(isolated: tuple[str, ...]) -> None:
    month = Month(7, days=8, isolated=isolated)
    books = month.run()
    assert books.wrong() == []
    assert books.lines[FUNDING] == books.venue_funding != 0
    account = month.exchange.account
    assert account.liquidations == 0 and books.payments > 25
    paid = [row for row in month.rows if row.fields["symbol"] in isolated]
    assert len({row.fields["symbol"] for row in paid}) == len(isolated)
    assert all(account.position(symbol).isolated_wallet > 0 for symbol in isolated)


def test_the_month_had_what_makes_it_hard(books: Books) -> None:
    assert books.payments > 150
    assert {1, 4, 8} <= set(books.intervals), "the interval is inferred anew each time"
    assert len(books.our_days) >= 29
    wanted = ("execution.own", "execution.foreign", "fees", "external", "naked.dust")
    assert [name for name in wanted if not books.lines.get(name)] == [], books.lines


def test_a_cent_that_is_missing_is_seen(books: Books) -> None:
    day = max(books.our_days)
    less = {**books.our_days, day: books.our_days[day] - D("0.01")}
    assert replace(books, our_days=less).wrong() == ["funding: the days differ"]
    assert len(replace(books, lines={**books.lines, FUNDING: books.lines[FUNDING] + D("0.01")}).wrong()) == 1
