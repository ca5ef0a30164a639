"""The exchange's messages have the keys and JSON types of the venue's examples, neither more nor fewer.

A list is judged by its first element; numbers by being numbers, not by their kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.sim.desk import BTC, ETH, KEY, Desk
from tests.support.shared import SHARED, needs_shared

D = Decimal
pytestmark = needs_shared
Said = Callable[[Desk], Any]


def example(name: str) -> Any:
    """Return an example as it stands."""
    assert SHARED is not None
    return json.loads((SHARED / "protocol" / "examples" / f"{name}.json").read_text())


def shape(value: Any) -> Any:
    """Return keys and JSON types; a list has the shape of its first element, a number none of its own kind."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Return where two shapes differ, as paths."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [f"{path}.{key}: ours alone" for key in ours.keys() - theirs.keys()]
        found += [f"{path}.{key}: missing" for key in theirs.keys() - ours.keys()]
        for key in ours.keys() & theirs.keys():
            found += differences(ours[key], theirs[key], f"{path}.{key}")
        return sorted(found)
    if isinstance(ours, list) and isinstance(theirs, list):
        return differences(ours[0], theirs[0], f"{path}[]") if ours and theirs else []
    return [] if ours == theirs else [f"{path}: {ours} instead of {theirs}"]


# ---------------------------------------------------------------- what the exchange says


def events(desk: Desk, act: Callable[[], object], kind: str, execution: str = "") -> Any:
    """Return the last user event of a kind that an act causes."""
    number = desk.listen()
    act()
    found = [f for f in desk.frames(number) if f["e"] == kind and execution in ("", f.get("o", {}).get("x"))]
    return found[-1]


def filled(desk: Desk) -> Any:
    return events(desk, lambda: desk.order("SELL", "1"), "ORDER_TRADE_UPDATE", "TRADE")


def held(desk: Desk) -> Desk:
    desk.order("SELL", "1")
    desk.order("BUY", "1", "60000", newClientOrderId="rests")
    return desk


def marks(desk: Desk, path: str, query: str = "") -> Any:
    number = desk.connect(path, query)
    desk.after(3_000)
    return desk.frames(number)[-1]


def liquidated(desk: Desk, kind: str, execution: str = "") -> Any:
    desk.order("SELL", "1")
    return events(desk, lambda: desk.exchange.clearing.close_all(BTC, desk.now_ms), kind, execution)


def funded(desk: Desk, *, isolated: bool) -> Any:
    if isolated:
        desk.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    desk.order("SELL", "1")
    message = desk.exchange.clearing.fund(BTC, D(67_000), desk.now_ms)
    return json.loads(json.dumps(message))


def called(desk: Desk) -> Any:
    desk.exchange.engine.transfer(D(-395_000), "WITHDRAW", desk.now_ms)
    desk.order("SELL", "1")
    return events(desk, lambda: desk.price("71650"), "MARGIN_CALL")


def news(desk: Desk) -> Any:
    number = desk.connect("/market/ws/!contractInfo")
    desk.exchange.change_contract(BTC, desk.now_ms, status="SETTLING")
    return desk.frames(number)[0]


def bracket_news(desk: Desk) -> Any:
    number = desk.connect("/market/ws/!contractInfo")
    desk.exchange.change_contract(BTC, desk.now_ms, brackets=desk.exchange.contracts[ETH].brackets)
    return desk.frames(number)[0]


def command(desk: Desk, path: str, method: str, *params: object) -> Any:
    number = desk.connect(path)
    desk.say(number, {"method": method, "params": list(params), "id": 1})
    return desk.frames(number)[0]


def get(path: str, **params: Any) -> Said:
    return lambda desk: held(desk).rest("GET", path, **params).body


def of_btc(rows: Any) -> Any:
    return [row for row in rows if row["symbol"] == BTC]


def both_margins(desk: Desk) -> Any:
    """v2 rows of a short and of a symbol with an order alone."""
    return held(desk).ws("v2/account.position")


SAYINGS: dict[str, Said] = {
    "control_subscribe_ack": lambda d: command(d, "/market/ws", "SUBSCRIBE", "btcusdt@markPrice"),
    "control_list_subscriptions_response_market": lambda d: command(
        d, "/market/ws/btcusdt@markPrice@1s", "LIST_SUBSCRIPTIONS"
    ),
    "control_error_enveloped": lambda d: {  # the example leaves the id out
        "error": command(d, "/market/ws", "SET_PROPERTY", "colour", True)["error"]
    },
    "market_mark_price": lambda d: marks(d, "/market/ws/btcusdt@markPrice@1s"),
    "market_mark_price_combined": lambda d: marks(d, "/market/stream", "streams=btcusdt@markPrice@1s"),
    "market_mark_price_arr": lambda d: marks(d, "/market/ws/!markPrice@arr@1s"),
    "market_book_ticker": lambda d: marks(d, "/public/ws/btcusdt@bookTicker"),
    "market_contract_info_settling": news,
    "market_contract_info_brackets": bracket_news,
    "market_force_order": lambda d: forced(d),
    "user_order_new": lambda d: events(d, lambda: d.order("SELL", "1"), "ORDER_TRADE_UPDATE", "NEW"),
    "user_order_trade_filled": filled,
    "user_order_canceled": lambda d: ended(d, "CANCELED"),
    "user_order_expired_ioc": lambda d: events(
        d, lambda: d.order("SELL", "1", "68000", timeInForce="IOC"), "ORDER_TRADE_UPDATE", "EXPIRED"
    ),
    "user_order_liquidation": lambda d: liquidated(d, "ORDER_TRADE_UPDATE", "CALCULATED"),
    "user_order_liquidation_new": lambda d: liquidated(d, "ORDER_TRADE_UPDATE", "NEW"),
    "user_account_update_insurance_clear": lambda d: liquidated(d, "ACCOUNT_UPDATE"),
    "user_order_adl": lambda d: closed_by_venue(d, "adl"),
    "user_order_settlement": lambda d: closed_by_venue(d, "settle"),
    "user_trade_lite": lambda d: events(d, lambda: d.order("SELL", "1"), "TRADE_LITE"),
    "user_account_update_order_one_way": lambda d: events(d, lambda: d.order("SELL", "1"), "ACCOUNT_UPDATE"),
    "user_account_update_funding_cross": lambda d: funded(d, isolated=False),
    "user_account_update_funding_isolated": lambda d: funded(d, isolated=True),
    "user_account_update_deposit": lambda d: events(
        d, lambda: d.exchange.engine.transfer(D(5), "DEPOSIT", d.now_ms), "ACCOUNT_UPDATE"
    ),
    "user_account_update_margin_type_change": lambda d: events(
        d,
        lambda: d.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED"),
        "ACCOUNT_UPDATE",
    ),
    "user_account_config_leverage": lambda d: events(
        d, lambda: d.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="7"), "ACCOUNT_CONFIG_UPDATE"
    ),
    "user_account_config_multi_assets": lambda d: events(
        d,
        lambda: d.rest("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true"),
        "ACCOUNT_CONFIG_UPDATE",
    ),
    "user_listen_key_expired": lambda d: events(
        d, lambda: d.exchange.end_listen_key(d.now_ms, said=True), "listenKeyExpired"
    ),
    "user_margin_call": called,
    "rest_account_config_response": get("/fapi/v1/accountConfig"),
    "rest_balance_v3_response": get("/fapi/v3/balance"),
    "rest_cancel_all_response": lambda d: held(d).rest("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC).body,
    "rest_commission_rate_response": get("/fapi/v1/commissionRate", symbol=BTC),
    "rest_exchange_info_excerpt": get("/fapi/v1/exchangeInfo"),
    "rest_funding_info_response": lambda d: hourly().rest("GET", "/fapi/v1/fundingInfo").body,
    "rest_funding_rate_history_response": lambda d: settled(d).rest("GET", "/fapi/v1/fundingRate").body,
    "rest_income_response": get("/fapi/v1/income"),
    "rest_leverage_bracket_response": get("/fapi/v1/leverageBracket"),
    "rest_leverage_response": lambda d: d.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="7").body,
    "rest_listen_key_post_response": lambda d: d.raw("POST", "/fapi/v1/listenKey").body,
    "rest_listen_key_put_error_expired": lambda d: d.raw("PUT", "/fapi/v1/listenKey").body,
    "rest_margin_type_response": lambda d: (
        d.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED").body
    ),
    "rest_margin_type_error_no_change": lambda d: (
        d.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="CROSSED").body
    ),
    "rest_order_new_response_ack": lambda d: d.order("SELL", "1").body,
    "rest_order_cancel_response": lambda d: (
        held(d).rest("DELETE", "/fapi/v1/order", symbol=BTC, origClientOrderId="rests").body
    ),
    "rest_order_query_response": lambda d: held(d).query("rests"),
    "rest_position_mode_get_response": get("/fapi/v1/positionSide/dual"),
    "rest_position_mode_post_response": lambda d: (
        d.rest("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true").body
    ),
    "rest_position_risk_v3_response": get("/fapi/v3/positionRisk"),
    "rest_premium_index_response": get("/fapi/v1/premiumIndex", symbol=BTC),
    "rest_symbol_config_response": get("/fapi/v1/symbolConfig", symbol=BTC),
    "wsapi_account_status_v2_response": lambda d: held(d).ws("v2/account.status"),
    "wsapi_balance_v2_response": lambda d: d.ws("v2/account.balance"),
    "wsapi_error_missing_param": lambda d: d.ws("order.status", symbol=BTC),
    "wsapi_order_cancel_response": lambda d: held(d).ws("order.cancel", symbol=BTC, origClientOrderId="rests"),
    "wsapi_order_cancel_error_unknown_order": lambda d: d.ws("order.cancel", symbol=BTC, origClientOrderId="x"),
    "wsapi_order_place_response": lambda d: d.ws("order.place", symbol=BTC, side="SELL", type="MARKET", quantity="1"),
    "wsapi_order_place_error_margin": lambda d: d.ws(
        "order.place", symbol=BTC, side="SELL", type="MARKET", quantity="119"
    ),
    "wsapi_order_status_response": lambda d: held(d).ws("order.status", symbol=BTC, origClientOrderId="rests"),
    "wsapi_order_status_error_not_found": lambda d: d.ws("order.status", symbol=BTC, origClientOrderId="x"),
    "wsapi_position_v1_response": lambda d: held(d).ws("account.position"),
    "wsapi_position_v2_response_one_way": both_margins,
    "wsapi_ticker_book_response": lambda d: d.ws("ticker.book", sign=False, symbol=BTC),
    "wsapi_ticker_price_response": lambda d: d.ws("ticker.price", sign=False, symbol=BTC),
    "wsapi_user_data_stream_start_response": lambda d: d.ws("userDataStream.start", sign=False, apiKey=KEY),
    "wsapi_user_data_stream_stop_response": lambda d: stopped(d),
}


def forced(desk: Desk) -> Any:
    number = desk.connect("/market/ws/!forceOrder@arr")
    desk.order("SELL", "1")
    desk.price("600000")
    return desk.frames(number)[-1]


def ended(desk: Desk, execution: str) -> Any:
    held(desk)
    return events(desk, lambda: desk.exchange.engine.cancel_all(BTC, desk.now_ms), "ORDER_TRADE_UPDATE", execution)


def closed_by_venue(desk: Desk, word: str) -> Any:
    desk.order("SELL", "1")
    return events(desk, lambda: desk.arm(f"A5={word}"), "ORDER_TRADE_UPDATE", "CALCULATED")


def hourly() -> Desk:
    return Desk(funding_every_ms=3_600_000)


def settled(desk: Desk) -> Desk:
    desk.after(desk.exchange.contracts[BTC].next_funding_ms - desk.now_ms)
    return desk


def stopped(desk: Desk) -> Any:
    desk.raw("POST", "/fapi/v1/listenKey")
    return desk.ws("userDataStream.stop", sign=False, apiKey=KEY)


@pytest.mark.parametrize("name", list(SAYINGS))
def test_same_keys_and_types_as_the_venue(name: str) -> None:
    assert differences(shape(SAYINGS[name](Desk())), shape(example(name))) == []


def test_a_planted_difference_is_seen() -> None:
    ours = {"e": "x", "T": 1, "o": {"q": "1", "l": [{"a": True}]}}
    assert differences(shape(ours), shape(ours)) == []
    for other in (
        {**ours, "T": "1"},
        {**ours, "new": 1},
        {"e": "x", "T": 1},
        {**ours, "o": {"q": 1, "l": [{"a": True}]}},
        {**ours, "o": {"q": "1", "l": [{"a": 1}]}},
    ):
        assert differences(shape(ours), shape(other)) != []


@pytest.mark.parametrize("code", [-1021, -1022, -2015, -2022, -4061, -4120, -4164, -5022])
def test_refusals_use_the_venues_status_and_words(code: int) -> None:
    desk = Desk()
    body = {row["body"]["code"]: row for row in example("rest_error_bodies") if row["body"].get("code", 0) < 0}[code]
    answers = {
        -1021: lambda: desk.rest("GET", "/fapi/v3/balance", timestamp=1),
        -1022: lambda: desk.rest("GET", "/fapi/v3/balance", signature="0"),
        -2015: lambda: desk.raw("POST", "/fapi/v1/listenKey", key="nobody"),
        -2022: lambda: desk.order("BUY", "1", reduceOnly="true"),
        -4061: lambda: desk.order("BUY", "1", positionSide="LONG"),
        -4120: lambda: desk.order("BUY", "1", type="STOP"),
        -4164: lambda: desk.order("BUY", "0.001", "40000"),
        -5022: lambda: desk.order("BUY", "1", "67001", timeInForce="GTX"),
    }
    answer = answers[code]()
    assert (answer.status, answer.body) == (body["http"], body["body"])


def test_the_503_variants_use_the_venues_words() -> None:
    texts = {row["body"]["msg"]: row["body"].get("code") for row in example("rest_error_bodies") if row["http"] == 503}
    said = {}
    for knob in ("O1=executed", "O3=unavailable", "O3=throttled", "O3=internal"):
        desk = Desk()
        desk.arm(knob)
        answer = desk.order("SELL", "1")
        said[answer.body["msg"]] = answer.body.get("code")
    assert said == texts
