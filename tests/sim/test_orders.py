"""Orders at the exchange: what fills, at what price and fee, what rests, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.sim.desk import BTC, ETH, Desk, kinds, reports

D = Decimal


@pytest.fixture
def desk() -> Desk:
    return Desk()


# ---------------------------------------------------------------- fills


def test_a_market_sell_walks_the_book_and_pays_the_taker_fee(desk: Desk) -> None:
    answer = desk.order("SELL", "12", newClientOrderId="a")
    p = desk.position()
    # Five bitcoin a level; the best bid stands half a USDT below the mark, each further level one USDT lower.
    quote = 5 * D("66999.5") + 5 * D("66998.5") + 2 * D("66997.5")
    assert answer.body["status"] == "FILLED" and p.amount == -12
    assert p.entry == (quote / 12).quantize(D("1E-8"))
    assert desk.exchange.account.wallet == 400_000 - quote * D("0.0005")


def test_the_reply_names_no_price_and_the_query_does(desk: Desk) -> None:
    reply = desk.order("SELL", "1", newClientOrderId="a").body
    assert not {"avgPrice", "cumQuote"} & set(reply)
    found = desk.query("a")
    assert (found["avgPrice"], found["cumQuote"]) == ("66999.50000", "66999.500000")


def test_a_fill_tells_new_then_lite_then_account_then_trade(desk: Desk) -> None:
    number = desk.listen()
    desk.order("SELL", "1", newClientOrderId="a")
    frames = desk.frames(number)
    assert kinds(frames) == ["NEW", "TRADE_LITE", "ACCOUNT_UPDATE", "TRADE"]
    report = reports(frames)[-1]
    assert (report["c"], report["X"], report["l"], report["z"], report["L"]) == ("a", "FILLED", "1", "1", "66999.5")
    assert report["n"] == "33.49975" and report["N"] == "USDT" and report["t"] == frames[1]["t"] > 0
    assert frames[1]["p"] == "0.00" and frames[1]["q"] == "1.000"
    assert D(frames[2]["a"]["P"][0]["pa"]) == -1 and frames[2]["a"]["B"][0]["bc"] == "0"


def test_adding_averages_the_entry_and_reducing_leaves_it(desk: Desk) -> None:
    desk.order("SELL", "1")
    desk.price("66000")
    desk.order("SELL", "3")
    entry = (D("66999.5") + 3 * D("65999.5")) / 4
    assert desk.position().entry == entry
    wallet = desk.exchange.account.wallet
    desk.order("BUY", "1", reduceOnly="true")
    assert desk.position().entry == entry and desk.position().amount == -3
    realised = entry - D("66000.5")
    assert desk.exchange.account.wallet == wallet + realised - D("66000.5") * D("0.0005")
    assert desk.position().realised == realised


def test_crossing_zero_realises_the_old_and_opens_the_new_at_the_fill(desk: Desk) -> None:
    desk.order("SELL", "1")
    desk.order("BUY", "3")
    p = desk.position()
    assert (p.amount, p.entry, p.realised) == (2, D("67000.5"), D("-1"))


def test_a_resting_order_fills_as_maker_at_its_own_price(desk: Desk) -> None:
    assert desk.order("BUY", "1", "66000", newClientOrderId="a").body["status"] == "NEW"
    wallet = desk.exchange.account.wallet
    desk.price("65000")
    assert desk.position().entry == 66_000
    assert desk.exchange.account.wallet == wallet - 66_000 * D("0.0002")
    number = desk.listen()
    desk.order("SELL", "1", "65900", newClientOrderId="b")
    desk.frames(number)
    desk.price("66000")
    assert reports(desk.frames(number))[0]["m"] is True


def test_ioc_keeps_what_it_got_and_expires_the_rest(desk: Desk) -> None:
    number = desk.listen()
    desk.order("SELL", "7", "66999.5", timeInForce="IOC", newClientOrderId="a")
    last = reports(desk.frames(number))[-1]
    assert (last["x"], last["X"], last["z"], last["er"]) == ("EXPIRED", "EXPIRED", "5", "2")
    assert desk.position().amount == -5 and desk.query("a")["status"] == "EXPIRED"


def test_ioc_away_from_the_book_gets_nothing(desk: Desk) -> None:
    assert desk.order("SELL", "1", "67500", timeInForce="IOC").body["status"] == "EXPIRED"
    assert desk.position().amount == 0


def test_fok_takes_all_or_nothing(desk: Desk) -> None:
    assert desk.order("SELL", "7", "66999.5", timeInForce="FOK").code == -5021
    assert desk.position().amount == 0
    assert desk.order("SELL", "5", "66999.5", timeInForce="FOK").body["status"] == "FILLED"


def test_gtx_rests_or_is_refused(desk: Desk) -> None:
    assert desk.order("SELL", "1", "66999.5", timeInForce="GTX").code == -5022
    assert desk.order("SELL", "1", "66999.6", timeInForce="GTX").body["status"] == "NEW"


# ---------------------------------------------------------------- reduce-only, over the order's whole life


def test_reduce_only_is_refused_when_flat_or_in_the_same_direction(desk: Desk) -> None:
    assert desk.order("BUY", "1", reduceOnly="true").code == -2022
    desk.order("SELL", "1")
    assert desk.order("SELL", "1", reduceOnly="true").code == -2022


def test_reduce_only_is_cut_to_the_position(desk: Desk) -> None:
    desk.order("SELL", "1")
    answer = desk.order("BUY", "5", reduceOnly="true")
    assert answer.body["origQty"] == "1.000" and desk.position().amount == 0


def test_reduce_only_needs_no_minimum_notional(desk: Desk) -> None:
    desk.order("SELL", "1")
    assert desk.order("BUY", "0.001", "40000").code == -4164
    assert desk.order("BUY", "0.001", "40000", reduceOnly="true").body["status"] == "NEW"


def test_a_resting_reduce_only_order_shrinks_and_ends_with_the_position(desk: Desk) -> None:
    number = desk.listen()
    desk.order("SELL", "2")
    desk.order("BUY", "2", "60000", reduceOnly="true", newClientOrderId="a")
    desk.order("BUY", "1.5")
    assert desk.query("a")["origQty"] == "0.500"
    desk.frames(number)
    desk.order("BUY", "0.5")
    last = reports(desk.frames(number))[-1]
    assert (last["c"], last["x"], last["er"]) == ("a", "EXPIRED", "4")
    assert desk.query("a")["status"] == "EXPIRED"


def test_two_reduce_only_orders_reached_at_once_do_not_flip_the_position(desk: Desk) -> None:
    desk.order("SELL", "1")
    desk.order("BUY", "1", "66000", reduceOnly="true", newClientOrderId="a")
    desk.order("BUY", "1", "66000", reduceOnly="true", newClientOrderId="b")
    desk.price("65000")
    assert desk.position().amount == 0
    assert [desk.query(name)["status"] for name in ("a", "b")] == ["FILLED", "EXPIRED"]


# ---------------------------------------------------------------- client order ids


@pytest.mark.fault("O2")
def test_a_client_id_is_unique_only_among_open_orders(desk: Desk) -> None:
    desk.order("SELL", "1", newClientOrderId="a")
    assert desk.order("SELL", "1", newClientOrderId="a").status == 200
    assert desk.position().amount == -2
    desk.order("BUY", "1", "60000", newClientOrderId="b")
    assert desk.order("BUY", "1", "60000", newClientOrderId="b").code == -4116
    desk.rest("DELETE", "/fapi/v1/order", symbol=BTC, origClientOrderId="b")
    assert desk.order("BUY", "1", "60000", newClientOrderId="b").status == 200


def test_of_two_orders_with_one_id_the_query_finds_the_newer(desk: Desk) -> None:
    desk.order("SELL", "1", newClientOrderId="a")
    second = desk.order("SELL", "2", newClientOrderId="a").body["orderId"]
    assert desk.query("a")["orderId"] == second


@pytest.mark.parametrize("name", ["x" * 37, "white space", "ümlaut"])
def test_a_client_id_outside_the_rule_is_refused(desk: Desk, name: str) -> None:
    assert desk.order("SELL", "1", newClientOrderId=name).code == -4015


# ---------------------------------------------------------------- self-trade prevention


def resting_bid(desk: Desk) -> None:
    """Leave an own bid inside the spread, where an incoming sell meets it first."""
    assert desk.order("BUY", "1", "67000", newClientOrderId="own").body["status"] == "NEW"


@pytest.mark.parametrize(
    ("mode", "own", "incoming", "amount"),
    [
        ("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "FILLED", "-1"),
        ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH", "0"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH", "0"),
        ("NONE", "FILLED", "FILLED", "0"),
    ],
)
def test_self_trade_prevention_by_mode(desk: Desk, mode: str, own: str, incoming: str, amount: str) -> None:
    resting_bid(desk)
    number = desk.listen()
    desk.order("SELL", "1", newClientOrderId="in", selfTradePreventionMode=mode)
    assert (desk.query("own")["status"], desk.query("in")["status"]) == (own, incoming)
    assert desk.position().amount == D(amount)
    ended = [r for r in reports(desk.frames(number)) if r["X"] == "EXPIRED_IN_MATCH"]
    assert all((r["x"], r["er"]) == ("EXPIRED", "1") for r in ended)


def test_the_usual_prevention_expires_the_maker_and_post_only_meets_own_orders_too(desk: Desk) -> None:
    resting_bid(desk)
    assert desk.order("SELL", "1", "67000", timeInForce="GTX").code == -5022
    desk.order("SELL", "1")
    assert desk.query("own")["status"] == "EXPIRED_IN_MATCH"


def test_an_own_order_behind_the_book_is_not_met(desk: Desk) -> None:
    desk.order("BUY", "1", "66000", newClientOrderId="own")
    desk.order("SELL", "1")
    assert desk.query("own")["status"] == "NEW"


# ---------------------------------------------------------------- refusals

REFUSALS: list[tuple[int, dict[str, Any]]] = [
    (-1102, {"symbol": ""}),
    (-1121, {"symbol": "NOSUCHUSDT"}),
    (-1102, {"side": ""}),
    (-1130, {"side": "HOLD"}),
    (-4120, {"type": "STOP_MARKET"}),
    (-1130, {"type": "PEGGED"}),
    (-1102, {"quantity": ""}),
    (-1102, {"quantity": "NaN"}),
    (-1102, {"quantity": "one"}),
    (-4003, {"quantity": "0"}),
    (-4003, {"quantity": "-1"}),
    (-1111, {"quantity": "0.1234"}),
    (-1111, {"quantity": "0.0001"}),
    (-4005, {"quantity": "121"}),
    (-1102, {"type": "LIMIT", "timeInForce": "GTC"}),
    (-1102, {"type": "LIMIT", "price": "67000", "timeInForce": ""}),
    (-1130, {"type": "LIMIT", "price": "67000", "timeInForce": "DAY"}),
    (-1111, {"type": "LIMIT", "price": "67000.001", "timeInForce": "GTC"}),
    (-4014, {"type": "LIMIT", "price": "67000.05", "timeInForce": "GTC"}),
    (-4013, {"type": "LIMIT", "price": "100", "timeInForce": "GTC", "side": "BUY"}),
    (-4016, {"type": "LIMIT", "price": "70350.1", "timeInForce": "GTC", "side": "BUY"}),
    (-4024, {"type": "LIMIT", "price": "63649.9", "timeInForce": "GTC"}),
    (-4005, {"type": "LIMIT", "price": "67000", "timeInForce": "GTC", "quantity": "1000.001"}),
    (-4061, {"positionSide": "SHORT"}),
    (-1130, {"selfTradePreventionMode": "EXPIRE_NOBODY"}),
    (-2019, {"quantity": "119"}),
]


@pytest.mark.parametrize(("code", "said"), REFUSALS, ids=lambda value: str(value))
def test_refusals_by_code_and_nothing_has_happened(desk: Desk, code: int, said: dict[str, Any]) -> None:
    number = desk.listen()
    answer = desk.order(**{"side": "SELL", "quantity": "1", **said})
    assert (answer.status, answer.code) == (400, code), answer.body
    assert desk.frames(number) == [] and desk.position().amount == 0


def test_percent_price_bounds_are_inclusive(desk: Desk) -> None:
    assert desk.order("BUY", "0.1", "70350", timeInForce="IOC").status == 200
    assert desk.order("SELL", "0.1", "63650", timeInForce="IOC").status == 200


def test_the_minimum_notional_is_quoted(desk: Desk) -> None:
    assert desk.order("BUY", "0.001", "40000").body == {
        "code": -4164,
        "msg": "Order's notional must be no smaller than 50 (unless you choose reduce only).",
    }
    assert desk.order("SELL", "0.001", symbol=ETH).code == -4164  # 2.50 at the mark, of 20


def test_at_most_two_hundred_orders_rest_per_symbol() -> None:
    desk = Desk(wallet="40000000")
    for number in range(200):
        desk.after(50)
        assert desk.order("BUY", "0.01", "60000", newClientOrderId=f"n{number}").status == 200
    desk.after(50)
    assert desk.order("BUY", "0.01", "60000").code == -2025
    assert desk.order("BUY", "0.1", "2300", symbol=ETH).status == 200


@pytest.mark.parametrize(
    ("status", "raising", "reducing"),
    [("TRADING", 0, 0), ("PRE_SETTLE", -4140, 0), ("SETTLING", -4141, -4141), ("CLOSE", -4141, -4141)],
)
def test_a_contract_that_closes_takes_only_what_it_may(desk: Desk, status: str, raising: int, reducing: int) -> None:
    desk.order("SELL", "1")
    desk.exchange.change_contract(BTC, desk.now_ms, status=status)
    assert desk.order("SELL", "1").code == raising
    assert desk.order("BUY", "1", reduceOnly="true").code == reducing


def test_a_market_order_beyond_the_take_bound_expires_its_rest(desk: Desk) -> None:
    desk.exchange.contracts[BTC].take_bound = D("0.00002")  # 1.34 USDT: the first level alone
    number = desk.listen()
    desk.order("SELL", "7", newClientOrderId="a")
    assert desk.query("a")["status"] == "EXPIRED" and desk.position().amount == -5
    assert reports(desk.frames(number))[-1]["er"] == "9"
    desk.exchange.contracts[BTC].take_bound = D(0)
    assert desk.order("SELL", "1").code == -4131


# ---------------------------------------------------------------- cancelling and asking


def test_cancel_and_its_refusals(desk: Desk) -> None:
    number = desk.listen()
    desk.order("BUY", "1", "60000", newClientOrderId="a")
    ended = desk.rest("DELETE", "/fapi/v1/order", symbol=BTC, origClientOrderId="a")
    assert ended.body["status"] == "CANCELED"
    assert kinds(desk.frames(number)) == ["NEW", "CANCELED"]
    for said in ({"origClientOrderId": "a"}, {"orderId": "12"}, {"origClientOrderId": "nobody"}):
        assert desk.rest("DELETE", "/fapi/v1/order", symbol=BTC, **said).code == -2011
    assert desk.rest("DELETE", "/fapi/v1/order", symbol=BTC).code == -1102
    assert desk.rest("DELETE", "/fapi/v1/order", symbol=BTC, orderId="twelve").code == -1102


def test_asking_for_unknown_orders(desk: Desk) -> None:
    order = desk.order("SELL", "1").body["orderId"]
    assert desk.rest("GET", "/fapi/v1/order", symbol=BTC, orderId=order).status == 200
    assert desk.rest("GET", "/fapi/v1/order", symbol=ETH, orderId=order).code == -2013
    assert desk.query("nobody")["code"] == -2013


def test_open_orders_trades_and_income_tell_one_story(desk: Desk) -> None:
    desk.order("SELL", "1", newClientOrderId="a")
    desk.order("BUY", "1", "60000", newClientOrderId="b")
    desk.order("BUY", "0.4", reduceOnly="true", newClientOrderId="c")
    listed = desk.rest("GET", "/fapi/v1/openOrders", symbol=BTC).body
    assert [row["clientOrderId"] for row in listed] == ["b"]
    trades = desk.rest("GET", "/fapi/v1/userTrades", symbol=BTC).body
    assert [(row["side"], row["qty"]) for row in trades] == [("SELL", "1"), ("BUY", "0.4")]
    income = desk.rest("GET", "/fapi/v1/income").body
    moved = sum(D(row["income"]) for row in income)
    assert desk.exchange.account.wallet == 400_000 + moved
    assert [row["incomeType"] for row in income] == ["COMMISSION", "REALIZED_PNL", "COMMISSION"]
    assert desk.rest("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC).body["code"] == 200
    assert desk.rest("GET", "/fapi/v1/openOrders").body == []
