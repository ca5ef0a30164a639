"""Float trades: what is booked, and what is refused before anything is."""

from __future__ import annotations

from decimal import Decimal

import pytest

from streamhedge.domain.events import FloatTrade, FloatTradeKind
from streamhedge.domain.treasury import TradeLimits, TradeRequest, book_trade, repeats
from streamhedge.domain.values import Asset, TradeId
from streamhedge.errors import CommandError

D = Decimal
LIMITS = TradeLimits(max_trade=D(1_000_000), price_collar=D("0.01"))


def ask(kind: FloatTradeKind, amount: str, **said: object) -> TradeRequest:
    fields: dict[str, object] = {
        "kind": kind,
        "asset": Asset("BTC"),
        "amount": D(amount),
        "trade_id": TradeId("ft-1"),
        "quantity": None,
        "price": None,
        "reason": "test",
        "confirmed": False,
        **said,
    }
    return TradeRequest(**fields)  # type: ignore[arg-type]


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


def test_a_buy_is_usd_over_price_rounded_down_to_eight_decimals() -> None:
    trade = book(ask(FloatTradeKind.BUY, "10000"))
    assert trade.quantity == D("0.14898378")
    assert trade.usd == D(-10_000)
    assert trade.price == D("67121.4")


@pytest.mark.fault("F6")
def test_btc_received_wins_over_usd_by_price() -> None:
    assert book(ask(FloatTradeKind.BUY, "10000", quantity=D("0.1488"))).quantity == D("0.1488")


def test_a_sale_within_the_float_is_booked_negative() -> None:
    trade = book(ask(FloatTradeKind.SELL, "1.5"))
    assert trade.quantity == D("-1.5")
    assert trade.usd == D("1.5") * D("67121.4")


@pytest.mark.parametrize("kind", [FloatTradeKind.SELL, FloatTradeKind.WITHDRAW])
def test_more_than_the_float_is_refused(kind: FloatTradeKind) -> None:
    with pytest.raises(CommandError, match="more than the float of 10 BTC; nothing recorded"):
        book(ask(kind, "10.00000001", confirmed=True))


@pytest.mark.parametrize("amount", ["0", "-1"])
@pytest.mark.fault("F2")
def test_zero_and_negative_amounts_are_refused(amount: str) -> None:
    with pytest.raises(CommandError, match="must be above zero"):
        book(ask(FloatTradeKind.BUY, amount))


@pytest.mark.fault("F7")
def test_set_books_the_difference() -> None:
    assert book(ask(FloatTradeKind.SET, "12.5")).quantity == D("2.5")
    assert book(ask(FloatTradeKind.SET, "0")).quantity == D(-10)


@pytest.mark.fault("F2")
def test_a_fat_finger_needs_a_confirmation() -> None:
    with pytest.raises(CommandError, match="--yes"):
        book(ask(FloatTradeKind.BUY, "10000000"))
    assert book(ask(FloatTradeKind.BUY, "10000000", confirmed=True)).quantity > 100


@pytest.mark.fault("F5")
def test_a_price_outside_the_collar_needs_a_confirmation() -> None:
    with pytest.raises(CommandError, match="from the mark"):
        book(ask(FloatTradeKind.BUY, "10000", price=D(60_000)))


@pytest.mark.fault("F4")
def test_a_void_books_the_inverse_with_its_own_id() -> None:
    bought = book(ask(FloatTradeKind.BUY, "10000"))
    undone = book(ask(FloatTradeKind.VOID, "0", trade_id=TradeId("ft-2")), original=bought)
    assert (undone.quantity, undone.usd, undone.voids) == (-bought.quantity, -bought.usd, bought.trade_id)


@pytest.mark.fault("F4")
def test_a_void_of_nothing_or_of_a_void_is_refused() -> None:
    with pytest.raises(CommandError, match="no such float trade"):
        book(ask(FloatTradeKind.VOID, "0"))
    bought = book(ask(FloatTradeKind.BUY, "10000"))
    undone = book(ask(FloatTradeKind.VOID, "0", trade_id=TradeId("ft-2")), original=bought)
    with pytest.raises(CommandError, match="itself a void"):
        book(ask(FloatTradeKind.VOID, "0", trade_id=TradeId("ft-3")), original=undone)


# ---------------------------------------------------------------- the same id again

KINDS = [
    kind for kind in FloatTradeKind if kind not in (FloatTradeKind.VOID, FloatTradeKind.SET, FloatTradeKind.SET_USD)
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.fault("F1")
def test_the_same_words_repeat_the_trade_whatever_the_mark_is_now(kind: FloatTradeKind) -> None:
    held = book(ask(kind, "1.5"))
    assert repeats(held, ask(kind, "1.50"))
    assert not repeats(held, ask(kind, "1.6"))
    assert not repeats(held, ask(kind, "1.5", reason="another"))
    assert not repeats(held, ask(kind, "1.5", asset=Asset("ETH")))
    assert not repeats(held, ask(kind, "NaN"))


def test_another_kind_with_the_same_figures_is_another_trade() -> None:
    assert not repeats(book(ask(FloatTradeKind.SELL, "1")), ask(FloatTradeKind.WITHDRAW, "1"))
    assert not repeats(book(ask(FloatTradeKind.DEPOSIT, "1")), ask(FloatTradeKind.SET, "11"))


def test_a_buy_of_the_same_usd_repeats_unless_a_price_was_said_that_it_did_not_get() -> None:
    at_the_mark = book(ask(FloatTradeKind.BUY, "10000"))
    assert repeats(at_the_mark, ask(FloatTradeKind.BUY, "10000"))
    assert repeats(at_the_mark, ask(FloatTradeKind.BUY, "10000", price=D("67121.4")))
    assert not repeats(at_the_mark, ask(FloatTradeKind.BUY, "10000", price=D("67121.5")))
    said = book(ask(FloatTradeKind.BUY, "10000", price=D(67000)))
    assert repeats(said, ask(FloatTradeKind.BUY, "10000", price=D(67000)))
    assert not repeats(said, ask(FloatTradeKind.BUY, "10000", price=D(67001)))


def test_the_btc_received_is_part_of_a_buy() -> None:
    received = book(ask(FloatTradeKind.BUY, "10000", quantity=D("0.1488")))
    assert repeats(received, ask(FloatTradeKind.BUY, "10000", quantity=D("0.14880000")))
    assert not repeats(received, ask(FloatTradeKind.BUY, "10000", quantity=D("0.1489")))
    assert not repeats(received, ask(FloatTradeKind.BUY, "10001", quantity=D("0.1488")))
    assert not repeats(received, ask(FloatTradeKind.BUY, "10000"))
    assert not repeats(book(ask(FloatTradeKind.BUY, "10000")), ask(FloatTradeKind.BUY, "10000", quantity=D("0.1488")))


def test_a_buy_of_as_many_usd_as_the_btc_it_booked_is_another_trade() -> None:
    held = book(ask(FloatTradeKind.BUY, "10000", quantity=D(1), price=D(67000)))
    assert not repeats(held, ask(FloatTradeKind.BUY, "1"))


@pytest.mark.parametrize(("kind", "stood"), [(FloatTradeKind.SET, D(10)), (FloatTradeKind.SET_USD, D(500_000))])
def test_a_set_repeats_when_it_says_the_same_amount_of_what_stood_before(kind: FloatTradeKind, stood: Decimal) -> None:
    held = book(ask(kind, "12.5"))
    assert repeats(held, ask(kind, "12.5"), stood=stood)
    assert not repeats(held, ask(kind, "13"), stood=stood)
    assert not repeats(held, ask(kind, "12.5"))


def test_a_void_repeats_when_it_voids_the_same_trade() -> None:
    bought = book(ask(FloatTradeKind.BUY, "10000"))
    words = {"trade_id": TradeId("ft-2"), "voids": TradeId("ft-1")}
    undone = book(ask(FloatTradeKind.VOID, "0", **words), original=bought)
    assert repeats(undone, ask(FloatTradeKind.VOID, "0", **words))
    assert not repeats(undone, ask(FloatTradeKind.VOID, "0", trade_id=TradeId("ft-2"), voids=TradeId("ft-9")))
