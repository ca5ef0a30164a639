"""Answers composed here: snapshots, order states, open orders and the set-up, field by field."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from streamhedge.domain.events import (
    OpenOrder,
    OpenOrders,
    OrderStatusAnswer,
    Owner,
    PositionSide,
    SetupDone,
    SnapshotBalance,
    SnapshotPosition,
)
from streamhedge.domain.instrument import Instrument, MarginBracket
from streamhedge.domain.order import Report, Side
from streamhedge.domain.values import Asset, ClientOrderId, Symbol
from streamhedge.errors import ParseError
from streamhedge.wire.answers import (
    WsApiAnswer,
    balances_of,
    brackets_of,
    decode_ws_api,
    exact_json,
    listen_key_of,
    open_orders_of,
    order_status_of,
    positions_of,
    setup_of,
)

D = Decimal
OURS = ClientOrderId("sh-0badcafe-2-000007")
ETHUSDT = Symbol("ETHUSDT")

POSITION = {
    "symbol": "ETHUSDT",
    "positionSide": "BOTH",
    "positionAmt": "-12.400",
    "entryPrice": "2609.11",
    "breakEvenPrice": "2607.8",
    "markPrice": "2611.4",
    "liquidationPrice": "2890.25",
    "isolatedMargin": "2972.1",
    "isolatedWallet": "3000.5",
    "initialMargin": "8095.34",
    "maintMargin": "161.9",
    "marginAsset": "USDT",
    "adl": 4,
    "updateTime": 1795244410000,
}


def test_a_position_row() -> None:
    assert positions_of([POSITION]) == (
        SnapshotPosition(
            symbol=ETHUSDT,
            position_side=PositionSide.BOTH,
            quantity=D("-12.4"),
            entry_price=D("2609.11"),
            break_even_price=D("2607.8"),
            mark_price=D("2611.4"),
            liquidation_price=D("2890.25"),
            isolated=True,
            isolated_wallet=D("3000.5"),
            maintenance_margin=D("161.9"),
            initial_margin=D("8095.34"),
            margin_asset=Asset("USDT"),
            adl=4,
            update_time_ms=1795244410000,
        ),
    )


def test_a_position_row_of_bare_necessities() -> None:
    bare = {name: POSITION[name] for name in ("symbol", "positionAmt", "entryPrice")}
    (row,) = positions_of([bare])

    assert (row.position_side, row.isolated, row.isolated_wallet) == (PositionSide.BOTH, False, 0)
    assert (row.break_even_price, row.margin_asset, row.adl, row.update_time_ms) == (None, None, 0, 0)


def test_a_cross_position_has_no_wallet_of_its_own() -> None:
    (row,) = positions_of([{**POSITION, "isolatedWallet": "0"}])

    assert not row.isolated


@pytest.mark.parametrize("missing", ["symbol", "positionAmt", "entryPrice"])
def test_a_position_row_without_its_core_is_malformed(missing: str) -> None:
    row = {name: value for name, value in POSITION.items() if name != missing}

    with pytest.raises(ParseError, match=missing):
        positions_of([row])


def test_a_balance_row() -> None:
    row = {
        **{"asset": "USDC", "balance": "-7.25", "crossWalletBalance": "-9.5", "availableBalance": "0"},
        "updateTime": 1795244410001,
    }

    assert balances_of([row]) == (SnapshotBalance(Asset("USDC"), D("-7.25"), D("-9.5"), D(0), 1795244410001),)


# ---------------------------------------------------------------- one order's state


def answer(status: int, *, result: object = None, code: int = 0, message: str = "") -> WsApiAnswer:
    """Return an answer to `order.status`."""
    return WsApiAnswer("ord-1", status, result, code, message, None)


FOUND = {
    "clientOrderId": OURS,
    "status": "PARTIALLY_FILLED",
    "executedQty": "1.5",
    "cumQuote": "3917.7",
    "orderId": 8812,
}


def test_a_found_order() -> None:
    assert order_status_of(OURS, answer(200, result=FOUND)) == OrderStatusAnswer(
        client_order_id=OURS,
        found=True,
        inconclusive=False,
        report=Report.FILL,
        filled=D("1.5"),
        filled_quote=D("3917.7"),
        order_id=8812,
        message="",
    )


def test_an_absent_order() -> None:
    said = order_status_of(OURS, answer(400, code=-2013, message="Order does not exist."))

    assert (said.found, said.inconclusive, said.message) == (False, False, "Order does not exist.")


@pytest.mark.parametrize(
    "said",
    [
        answer(400, code=-2011, message="Unknown order sent."),
        answer(400, code=-1021, message="Timestamp"),
        answer(429, code=-2013),
        answer(503, code=-2013),
        answer(504),
        answer(200, result=None),
        answer(200, result=[FOUND]),
        answer(200, result={**FOUND, "clientOrderId": "sh-0badcafe-2-000008"}),
        answer(200, result={**FOUND, "status": "PAUSED"}),
        answer(200, result={**FOUND, "executedQty": "lots"}),
        answer(200, result={**FOUND, "orderId": "x"}),
    ],
)
def test_anything_else_proves_nothing(said: WsApiAnswer) -> None:
    read = order_status_of(OURS, said)

    assert (read.found, read.inconclusive, read.report, read.filled) == (False, True, None, 0)


def test_an_old_order_without_totals() -> None:
    read = order_status_of(OURS, answer(200, result={"clientOrderId": OURS, "status": "CANCELED"}))

    assert (read.found, read.report, read.filled, read.filled_quote, read.order_id) == (True, Report.ENDED, 0, 0, None)


# ---------------------------------------------------------------- open orders

OPEN = {
    "symbol": "ETHUSDT",
    "clientOrderId": OURS,
    "side": "BUY",
    "origQty": "2.5",
    "executedQty": "0.5",
    "price": "2600.10",
    "reduceOnly": True,
}


def test_open_orders_and_their_owners() -> None:
    body = [OPEN, {**OPEN, "clientOrderId": "web_1", "side": "SELL", "reduceOnly": False}]

    assert open_orders_of(body) == OpenOrders(
        orders=(
            OpenOrder(ETHUSDT, OURS, Owner.OURS, Side.BUY, D("2.5"), D("0.5"), D("2600.1"), True),
            OpenOrder(
                ETHUSDT, ClientOrderId("web_1"), Owner.FOREIGN, Side.SELL, D("2.5"), D("0.5"), D("2600.1"), False
            ),
        )
    )
    assert open_orders_of([]) == OpenOrders(orders=())


@pytest.mark.parametrize("missing", ["symbol", "clientOrderId", "side", "origQty"])
def test_an_open_order_without_its_core_is_malformed(missing: str) -> None:
    with pytest.raises(ParseError, match=missing):
        open_orders_of([{name: value for name, value in OPEN.items() if name != missing}])


# ---------------------------------------------------------------- set-up

SETUP = exact_json(
    b"""{
    "account_config": {"dualSidePosition": true, "multiAssetsMargin": true},
    "symbol_config": [{"symbol": "ETHUSDT", "marginType": "ISOLATED", "leverage": 4},
                      {"symbol": "SOLUSDT", "marginType": "CROSSED", "leverage": 20}],
    "funding_info": [{"symbol": "ETHUSDT", "fundingIntervalHours": 4}, {"symbol": "SOLUSDT", "fundingIntervalHours": 1}],
    "exchange_info": {"symbols": [{
        "symbol": "ETHUSDT", "contractType": "PERPETUAL", "status": "TRADING",
        "baseAsset": "ETH", "quoteAsset": "USDT", "marginAsset": "USDT", "pricePrecision": 9, "quantityPrecision": 9,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "1", "maxPrice": "9", "tickSize": "0.05"},
            {"filterType": "LOT_SIZE", "minQty": "0.002", "maxQty": "2000", "stepSize": "0.001"},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.002", "maxQty": "300", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "20"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.1", "multiplierDown": "0.9", "multiplierDecimal": "4"},
            {"filterType": "A_NEW_FILTER", "what": 1}]}]},
    "leverage_bracket": {"ETHUSDT": [{"symbol": "ETHUSDT", "notionalCoef": 1.5, "brackets": [
        {"bracket": 1, "initialLeverage": 100, "notionalCap": 250000, "notionalFloor": 0,
         "maintMarginRatio": 0.0045, "cum": 0.0},
        {"bracket": 2, "initialLeverage": 75, "notionalCap": 900000, "notionalFloor": 250000,
         "maintMarginRatio": 0.0061, "cum": 400.1}]}]},
    "commission_rate": {"ETHUSDT": {"symbol": "ETHUSDT", "makerCommissionRate": "0.0001", "takerCommissionRate": "0.0003"}}
    }"""
)
TABLE = (
    MarginBracket(D(0), D(250000), D("0.0045"), D(0), 100),
    MarginBracket(D(250000), D(900000), D("0.0061"), D("400.1"), 75),
)


def test_a_set_up() -> None:
    assert setup_of(SETUP) == SetupDone(
        instruments=(
            Instrument(
                symbol=ETHUSDT,
                base_asset=Asset("ETH"),
                quote_asset=Asset("USDT"),
                margin_asset=Asset("USDT"),
                contract_type="PERPETUAL",
                status="TRADING",
                tick_size=D("0.05"),
                step_size=D("0.001"),
                min_quantity=D("0.002"),
                max_quantity=D(2000),
                market_max_quantity=D(300),
                min_notional=D(20),
                multiplier_up=D("1.1"),
                multiplier_down=D("0.9"),
                taker_fee_rate=D("0.0003"),
                brackets=TABLE,
                funding_interval_hours=4,
            ),
        ),
        dual_side=True,
        multi_assets=True,
        leverage={ETHUSDT: 4, Symbol("SOLUSDT"): 20},
        isolated={ETHUSDT: True, Symbol("SOLUSDT"): False},
    )


def changed(*path: str | int, value: object) -> dict[str, Any]:
    """Return the set-up with one part replaced, or taken away where the value is ``...``."""
    bodies: dict[str, Any] = copy.deepcopy(SETUP)
    inner: Any = bodies
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return bodies


def test_what_the_venue_leaves_out_has_its_published_default() -> None:
    assert setup_of(changed("funding_info", value=[])).instruments[0].funding_interval_hours == 8
    assert setup_of(changed("commission_rate", value={})).instruments[0].taker_fee_rate == D("0.0005")
    assert not setup_of(changed("account_config", "multiAssetsMargin", value=...)).multi_assets
    assert setup_of(changed("exchange_info", "symbols", 0, "filters", 2, value={"filterType": "X"})).instruments[
        0
    ].market_max_quantity == D(2000)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("account_config",), ...),
        (("account_config", "dualSidePosition"), ...),
        (("account_config", "dualSidePosition"), "true"),
        (("account_config", "multiAssetsMargin"), "false"),
        (("symbol_config", 0, "marginType"), "PORTFOLIO"),
        (("symbol_config", 0, "leverage"), 4.5),
        (("symbol_config",), {}),
        (("funding_info",), ...),
        (("exchange_info", "symbols"), {}),
        (("exchange_info", "symbols", 0, "filters"), []),
        (("exchange_info", "symbols", 0, "filters", 0, "tickSize"), ...),
        (("exchange_info", "symbols", 0, "filters", 1, "stepSize"), "1e999"),
        (("exchange_info", "symbols", 0, "contractType"), None),
        (("leverage_bracket",), {}),
        (("leverage_bracket", "ETHUSDT"), []),
        (("leverage_bracket", "ETHUSDT", 0, "symbol"), "SOLUSDT"),
        (("leverage_bracket", "ETHUSDT", 0, "brackets"), []),
        (("leverage_bracket", "ETHUSDT", 0, "brackets", 0, "cum"), ...),
        (("leverage_bracket", "ETHUSDT", 0, "brackets", 0, "initialLeverage"), "many"),
        (("commission_rate", "ETHUSDT", "takerCommissionRate"), "free"),
    ],
)
def test_a_set_up_with_a_hole_is_refused(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(ParseError):
        setup_of(changed(*path, value=value))


def test_brackets_of_one_symbol_come_as_an_object_or_a_list() -> None:
    listed = SETUP["leverage_bracket"]["ETHUSDT"]

    assert brackets_of(listed, "ETHUSDT") == brackets_of(listed[0], "ETHUSDT") == TABLE


@pytest.mark.parametrize(
    ("body", "key"),
    [(b'{"listenKey":"abc"}', "abc"), (b"{}", ""), (b'{"listenKey":null}', ""), (b"[]", "")],
)
def test_a_listen_key(body: bytes, key: str) -> None:
    assert listen_key_of(body) == key


def test_a_listen_key_answer_that_is_no_json() -> None:
    with pytest.raises(ParseError):
        listen_key_of(b"<html>")


def test_an_answer_keeps_fractions_exact() -> None:
    read = decode_ws_api(b'{"id":7,"status":200,"result":{"ratio":0.1,"count":12}}')

    assert read.id == "7"
    assert read.result == {"ratio": D("0.1"), "count": 12}
