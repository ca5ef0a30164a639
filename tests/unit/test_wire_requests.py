"""What goes on the wire: the list of calls is closed, and an order's bytes are exactly these."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhedge.domain.order import OrderType, Side, TimeInForce
from streamhedge.domain.values import ClientOrderId, Symbol
from streamhedge.wire.requests import USER_EVENTS, cancel_order, place_order, set_margin_type
from streamhedge.wire.signing import encoded
from tests.support.wire_requests import every_request, place, rest_requests, ws_requests

D = Decimal

ALLOWED = {
    ("POST", "/fapi/v1/order"),
    ("DELETE", "/fapi/v1/order"),
    ("POST", "/fapi/v1/algoOrder"),
    ("GET", "/fapi/v1/algoOrder"),
    ("DELETE", "/fapi/v1/algoOrder"),
    ("GET", "/fapi/v1/openOrders"),
    ("GET", "/fapi/v1/openAlgoOrders"),
    ("GET", "/fapi/v1/exchangeInfo"),
    ("GET", "/fapi/v1/leverageBracket"),
    ("GET", "/fapi/v1/fundingInfo"),
    ("GET", "/fapi/v1/commissionRate"),
    ("GET", "/fapi/v1/accountConfig"),
    ("GET", "/fapi/v1/symbolConfig"),
    ("POST", "/fapi/v1/leverage"),
    ("POST", "/fapi/v1/marginType"),
    ("POST", "/fapi/v1/listenKey"),
    ("PUT", "/fapi/v1/listenKey"),
}
"""PRODUCT §9. DELETE listenKey is not in it: it would silence whoever shares the key."""

WEIGHTS = {
    # request weight per IP, order count per account (BINANCE_USDM §4.3, §5.2)
    "place_order": (0, 1),
    "cancel_order": (1, 0),
    "place_stop": (0, 1),
    "cancel_stop": (1, 0),
    "open_stops": (1, 0),
    "create_listen_key": (1, 0),
    "renew_listen_key": (1, 0),
    "open_orders": (40, 0),
    "exchange_info": (1, 0),
    "leverage_bracket": (1, 0),
    "commission_rate": (20, 0),
    "funding_info": (0, 0),
    "account_config": (5, 0),
    "symbol_config": (5, 0),
    "set_leverage": (1, 0),
    "set_margin_type": (1, 0),
}


def test_a_stop_is_reduce_only_with_a_quantity_and_follows_the_mark() -> None:
    said = dict(rest_requests()["place_stop"].params)
    assert (said["type"], said["workingType"], said["reduceOnly"]) == ("STOP_MARKET", "MARK_PRICE", "true")
    assert (said["quantity"], said["triggerPrice"]) == ("0.25", "96802.8")
    assert said["clientAlgoId"] == rest_requests()["place_stop"].client_order_id == "sh-7f3a91c2-1-000019"
    assert "closePosition" not in said, "the venue takes but one of those"
    assert rest_requests()["open_stops"].client_order_id == "BTCUSDT:3"


@pytest.mark.parametrize("name", sorted(rest_requests()))
def test_every_rest_call_is_on_the_list(name: str) -> None:
    request = rest_requests()[name]

    assert (request.method, request.path) in ALLOWED


def test_every_rest_call_has_its_weight() -> None:
    assert {name: (request.weight, request.orders) for name, request in rest_requests().items()} == WEIGHTS


def test_what_is_public_is_not_signed_and_the_rest_is() -> None:
    unsigned = {name for name, request in every_request().items() if not request.signed}

    assert unsigned == {"create_listen_key", "renew_listen_key", "exchange_info", "funding_info", "server_time"}


def test_only_signed_calls_carry_a_window() -> None:
    for name, request in every_request().items():
        assert ("recvWindow" in dict(request.params)) is request.signed, name


@pytest.mark.parametrize("name", sorted(rest_requests()))
def test_clock_and_signature_are_added_later(name: str) -> None:
    assert not {"timestamp", "signature"} & set(dict(rest_requests()[name].params))


def test_the_websocket_calls() -> None:
    assert {name: (request.method, request.params, request.weight) for name, request in ws_requests().items()} == {
        "positions": ("v2/account.position", {"recvWindow": 3000}, 5),
        "balances": ("v2/account.balance", {"recvWindow": 3000}, 5),
        "order_status": (
            "order.status",
            {"symbol": "BTCUSDT", "origClientOrderId": "sh-7f3a91c2-1-000018", "recvWindow": 3000},
            1,
        ),
        "server_time": ("time", {}, 1),
    }


def test_the_user_stream_names_every_event_it_wants() -> None:
    assert USER_EVENTS.split("/") == [
        "ORDER_TRADE_UPDATE",
        "ACCOUNT_UPDATE",
        "ACCOUNT_CONFIG_UPDATE",
        "MARGIN_CALL",
        "ALGO_UPDATE",
        "TRADE_LITE",
        "listenKeyExpired",
    ]


# ---------------------------------------------------------------- orders


def test_a_limit_order_to_the_byte() -> None:
    request = place_order(place(), recv_window_ms=2000)

    assert encoded(request.params) == (
        "symbol=BTCUSDT&side=SELL&type=LIMIT&quantity=0.25&price=76409.9&timeInForce=IOC"
        "&selfTradePreventionMode=EXPIRE_TAKER&newClientOrderId=sh-7f3a91c2-1-000018&newOrderRespType=RESULT"
        "&recvWindow=2000"
    )
    assert (request.method, request.path, request.label) == ("POST", "/fapi/v1/order", "order")
    assert request.client_order_id == "sh-7f3a91c2-1-000018"


def test_a_reducing_market_order_to_the_byte() -> None:
    command = place(
        side=Side.BUY, type=OrderType.MARKET, quantity=D("1.500"), price=None, time_in_force=None, reduce_only=True
    )

    assert encoded(place_order(command, recv_window_ms=2000).params) == (
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1.5&reduceOnly=true&newClientOrderId=sh-7f3a91c2-1-000018"
        "&newOrderRespType=RESULT&recvWindow=2000"
    )


def test_a_reducing_limit_order_says_so() -> None:
    params = dict(place_order(place(reduce_only=True), recv_window_ms=2000).params)

    assert params["reduceOnly"] == "true"
    assert params["timeInForce"] == "IOC"


def test_an_order_that_raises_does_not_speak_of_reducing() -> None:
    params = dict(place_order(place(), recv_window_ms=2000).params)

    assert not {"reduceOnly", "positionSide", "stopPrice", "closePosition"} & params.keys()


@pytest.mark.parametrize("missing", ["price", "time_in_force"])
def test_a_limit_order_without_price_or_lifetime_is_never_built(missing: str) -> None:
    with pytest.raises(AssertionError):
        place_order(place(**{missing: None}), recv_window_ms=2000)


def test_a_cancel_to_the_byte() -> None:
    request = cancel_order(Symbol("测试USDT"), ClientOrderId("sh-7f3a91c2-1-000018"), recv_window_ms=2000)

    assert (request.method, request.path) == ("DELETE", "/fapi/v1/order")
    assert encoded(request.params) == (
        "symbol=%E6%B5%8B%E8%AF%95USDT&origClientOrderId=sh-7f3a91c2-1-000018&recvWindow=2000"
    )


@pytest.mark.parametrize(("isolated", "word"), [(True, "ISOLATED"), (False, "CROSSED")])
def test_the_margin_type_in_the_venues_words(isolated: bool, word: str) -> None:
    assert dict(set_margin_type(Symbol("BTCUSDT"), isolated=isolated, recv_window_ms=1).params)["marginType"] == word


NUMBERS = st.builds(lambda digits, places: D(digits).scaleb(-places), st.integers(1, 10**16), st.integers(-4, 12))
"""Every way to write a number as a Decimal: padded with zeros, or with an exponent above zero."""
ON_THE_WIRE = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")


@given(
    quantity=NUMBERS,
    price=NUMBERS,
    side=st.sampled_from(Side),
    lifetime=st.sampled_from(TimeInForce),
    reduce_only=st.booleans(),
)
def test_every_number_goes_out_whole_and_plain(
    quantity: Decimal, price: Decimal, side: Side, lifetime: TimeInForce, reduce_only: bool
) -> None:
    command = place(quantity=quantity, price=price, side=side, time_in_force=lifetime, reduce_only=reduce_only)
    params = dict(place_order(command, recv_window_ms=2000).params)

    for name, value in (("quantity", quantity), ("price", price)):
        assert ON_THE_WIRE.fullmatch(params[name]), params[name]
        assert D(params[name]) == value
    assert params["side"] == side.value
    assert ("reduceOnly" in params) is reduce_only


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E+3", "1000"), ("1E-8", "0.00000001"), ("120.000", "120"), ("0.10", "0.1"), ("100", "100"), ("5E+0", "5")],
)
def test_a_quantity_as_text(value: str, text: str) -> None:
    assert dict(place_order(place(quantity=D(value)), recv_window_ms=1).params)["quantity"] == text
