"""Amounts that are none, and what voiding may not take; nothing is booked of either."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.events import FloatTrade, FloatTradeKind
from streamhedge.domain.treasury import TradeLimits, TradeRequest, book_trade
from streamhedge.domain.values import Asset, TradeId
from streamhedge.errors import CommandError
from streamhedge.live.trades import Buy, Deposit, Sell, SetFloat, Withdraw

D = Decimal
LIMITS = TradeLimits(max_trade=D(1_000_000), price_collar=D("0.01"))


def book(request: TradeRequest, *, held: str = "10", original: FloatTrade | None = None) -> FloatTrade:
    return book_trade(
        request,
        float_quantity=D(held),
        usd=D(500_000),
        mark_price=D("67121.4"),
        limits=LIMITS,
        time_ms=1,
        original=original,
    )


@pytest.mark.parametrize("nothing", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.fault("F2")
def test_what_is_no_number_is_refused_wherever_it_stands(nothing: str) -> None:
    good = Buy("10000", btc="0.1488", price="67121.4", reason="test")
    assert book(good).quantity == D("0.1488")
    for name in ("amount", "quantity", "price"):
        with pytest.raises(CommandError, match=rf"the {name} .* is no finite number"):
            book(replace(good, **{name: D(nothing)}))


@pytest.mark.fault("F2")
def test_text_that_is_no_number_never_becomes_a_trade() -> None:
    for make in (Buy, Sell, Deposit, Withdraw):
        with pytest.raises(CommandError, match="not a float trade"):
            make("ten", reason="test")
    with pytest.raises(CommandError, match="not a float trade"):
        Buy("10000", price="dear")


@pytest.mark.fault("F2")
def test_an_amount_below_a_hundred_millionth_is_refused() -> None:
    for request in (Sell("0.000000001"), Deposit("0.000000009"), Withdraw("0.000000001")):
        with pytest.raises(CommandError, match="rounds to nothing at 8 decimals"):
            book(request)
    assert book(Deposit("0.00000001")).quantity == D("0.00000001")


def test_each_word_books_what_it_says() -> None:
    assert book(Deposit("2")).quantity == D(2)
    assert book(Withdraw("2")).quantity == D(-2)
    assert book(Sell("2")).usd == D(2) * D("67121.4")
    assert book(SetFloat("7", reason="audit")).quantity == D(-3)
    assert book(SetFloat("10", reason="audit")).quantity == 0, "an audit may find what is booked"
    assert book(SetFloat("0", reason="audit")).quantity == D(-10)
    assert {book(word).usd for word in (Deposit("2"), Withdraw("2"), SetFloat("7", reason="audit"))} == {D(0)}


def test_a_void_may_not_take_more_than_is_there() -> None:
    bought = book(Deposit("2", trade_id="ft-1"))
    void = TradeRequest(
        kind=FloatTradeKind.VOID,
        asset=Asset("BTC"),
        amount=D(0),
        trade_id=TradeId("v-1"),
        quantity=None,
        price=None,
        reason="twice",
        confirmed=True,
        voids=TradeId("ft-1"),
    )
    with pytest.raises(CommandError, match=r"takes 2 BTC out of a float of 1\.9"):
        book(void, held="1.9", original=bought)
    assert book(void, held="2", original=bought).quantity == D(-2)


def test_ids_are_made_where_none_is_given_and_never_twice() -> None:
    assert Deposit("1", trade_id="mine").trade_id == "mine"
    assert Deposit("1").trade_id != Deposit("1").trade_id
