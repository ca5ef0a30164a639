"""Valid messages to bend: of this machine's own account at this moment, the tests' composed ones, and the venue's examples."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from tests.support import builders as make
from tests.support.shared import SHARED

FRAMES = Path(__file__).parents[1] / "golden" / "frames"
USER_EVENTS = (
    *("ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE", "TRADE_LITE", "MARGIN_CALL", "ACCOUNT_CONFIG_UPDATE", "ALGO_UPDATE"),
    *("listenKeyExpired", "STRATEGY_UPDATE", "GRID_UPDATE", "markPriceUpdate", "NEW_EVENT_2027", "", "account_update"),
)
MARKET_EVENTS = (
    *(
        "markPriceUpdate",
        "contractInfo",
        "bookTicker",
        "forceOrder",
        "aggTrade",
        "depthUpdate",
        "ORDER_TRADE_UPDATE",
        "x",
        "",
    ),
)


@functools.cache
def composed(door: str) -> list[Any]:
    """Return the composed frames of one stream."""
    return [case["frame"] for case in json.loads((FRAMES / f"{door}.json").read_text(encoding="utf-8"))]


@functools.cache
def examples(prefix: str) -> list[Any]:
    """Return the venue's example messages whose name begins so; none where the reference files are absent."""
    if SHARED is None:
        return []
    files = sorted((SHARED / "protocol" / "examples").glob(f"{prefix}*.json"))
    return [json.loads(path.read_bytes()) for path in files if "request" not in path.name]


def user(now_ms: int, position: str, order_id: str) -> list[Any]:
    """Return one frame of every private event, of this account and this moment.

    Args:
        now_ms: The moment.
        position: What the account holds.
        order_id: The client order id of the last order of ours.
    """
    stamp = {"E": now_ms, "T": now_ms}
    row = {"s": "BTCUSDT", "pa": position, "ep": "67121.4", "bep": "67121.4", "cr": "0", "up": "0", "mt": "cross"}
    row |= {"iw": "0", "ps": "BOTH", "ma": "USDT"}
    other = {**row, "s": "ETHUSDT", "pa": "1.500", "ep": "2609.11"}
    money = {"a": "USDT", "wb": "400000", "cw": "400000", "bc": "0"}
    order = {
        "s": "BTCUSDT",
        "c": order_id,
        "S": "SELL",
        "o": "LIMIT",
        "f": "IOC",
        "q": "0.75",
        "p": "66450",
        "ap": "67121.4",
    }
    order |= {"x": "TRADE", "X": "FILLED", "i": 77, "l": "0.75", "z": "0.75", "L": "67121.4", "n": "1.5", "N": "USDT"}
    order |= {
        "T": now_ms,
        "t": 901,
        "R": False,
        "ps": "BOTH",
        "ot": "LIMIT",
        "rp": "0",
        "m": False,
        "er": "0",
        "sp": "0",
    }
    ended = {"x": "EXPIRED", "X": "EXPIRED", "l": "0", "z": "0", "L": "0", "t": 0}
    foreign = {"c": "web_x", "S": "BUY", "o": "MARKET", "t": 902, "q": "0.1", "l": "0.1", "z": "0.1"}
    forced = {"c": "autoclose-1", "x": "CALCULATED", "o": "LIQUIDATION", "S": "BUY", "t": 903, "l": "0.1", "z": "0.1"}

    def update(reason: str, balances: list[Any], positions: list[Any]) -> dict[str, Any]:
        return {"e": "ACCOUNT_UPDATE", **stamp, "a": {"m": reason, "B": balances, "P": positions}}

    def report(**said: Any) -> dict[str, Any]:
        return {"e": "ORDER_TRADE_UPDATE", **stamp, "o": {**order, **said}}

    lite = {
        "s": "BTCUSDT",
        "q": "0.75",
        "p": "66450",
        "m": False,
        "c": order_id,
        "S": "SELL",
        "L": "67121.4",
        "l": "0.75",
    }
    algo = {"caid": "x1", "aid": 5, "s": "BTCUSDT", "S": "BUY", "q": "1", "X": "NEW", "ai": "", "tp": "80000", "rm": ""}
    call = {
        "s": "BTCUSDT",
        "ps": "BOTH",
        "pa": position,
        "mt": "CROSSED",
        "iw": "0",
        "mp": "67121.4",
        "up": "0",
        "mm": "1",
    }
    return [
        update("ORDER", [money], [row]),
        update("ORDER", [money], [row, other, {**other, "s": "SOLUSDT", "ps": "LONG", "mt": "isolated", "iw": "10"}]),
        update("FUNDING_FEE", [{**money, "bc": "-1.5"}], []),
        update("DEPOSIT", [money], []),
        report(),
        report(**ended),
        report(x="NEW", X="NEW", l="0", z="0", t=0),
        report(X="PARTIALLY_FILLED", l="0.25", z="0.25"),
        report(**foreign),
        report(**forced),
        {"e": "TRADE_LITE", **stamp, **lite, "t": 901, "i": 77},
        {"e": "MARGIN_CALL", "E": now_ms, "cw": "400000", "p": [call]},
        {"e": "ACCOUNT_CONFIG_UPDATE", **stamp, "ac": {"s": "BTCUSDT", "l": 3}},
        {"e": "ACCOUNT_CONFIG_UPDATE", **stamp, "ai": {"j": False}},
        {"e": "ALGO_UPDATE", **stamp, "o": algo},
        {"e": "listenKeyExpired", "E": now_ms, "listenKey": "lk9"},
        {"stream": "lk1", "data": update("ORDER", [money], [row])},
    ]


def market(now_ms: int) -> list[Any]:
    """Return frames of the market stream at this moment."""
    mark = {"e": "markPriceUpdate", "E": now_ms, "s": "BTCUSDT", "p": "67121.4", "i": "67120.9", "P": "67121"}
    mark |= {"r": "0.0001", "T": make.T0_MS + 3_600_000, "st": 1}
    bracket = {"bs": 1, "bnf": 0, "bnc": 300000, "mmr": 0.004, "cf": 0, "mi": 1, "ma": 150}
    info = {"e": "contractInfo", "E": now_ms, "s": "BTCUSDT", "ps": "BTCUSDT", "ct": "PERPETUAL", "cs": "TRADING"}
    return [
        mark,
        {"stream": "btcusdt@markPrice@1s", "data": mark},
        {"stream": "!markPrice@arr@1s", "data": [mark, {**mark, "s": "ETHUSDT", "p": "2611.4", "i": "2611"}]},
        {**mark, "st": 2},
        {
            **info,
            "bks": [bracket, {**bracket, "bs": 2, "bnf": 300000, "bnc": 800000, "mmr": 0.005, "cf": 300, "ma": 100}],
        },
        info,
        {"e": "bookTicker", "E": now_ms, "s": "BTCUSDT", "b": "1", "B": "1", "a": "1", "A": "1"},
        {"result": None, "id": 1},
        {"error": {"code": 2, "msg": "Invalid request"}, "id": 1},
    ]


def position_row(now_ms: int, position: str) -> dict[str, Any]:
    """Return a row of the position snapshot."""
    row = {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": position, "entryPrice": "67121.4", "adl": 1}
    row |= {"breakEvenPrice": "67121.4", "markPrice": "67121.4", "liquidationPrice": "98000", "isolatedWallet": "0"}
    return {**row, "maintMargin": "130", "initialMargin": "8000", "marginAsset": "USDT", "updateTime": now_ms}


def balance_row(now_ms: int) -> dict[str, Any]:
    """Return a row of the balance snapshot."""
    wallet = {"balance": "400000", "crossWalletBalance": "400000", "availableBalance": "250000"}
    return {"asset": "USDT", **wallet, "updateTime": now_ms}


def ws_api(now_ms: int, position: str, order_id: str, snapshot: int, time: int) -> list[Any]:
    """Return answers to what is under way.

    Args:
        now_ms: The moment.
        position: What the account holds.
        order_id: The client order id of the last order of ours.
        snapshot: Number of the open snapshot call.
        time: Number of the open time call.
    """
    order = {"orderId": 77, "symbol": "BTCUSDT", "status": "FILLED", "clientOrderId": order_id, "executedQty": "0.75"}
    order |= {"origQty": "0.75", "cumQuote": "50341", "avgPrice": "67121.4", "updateTime": now_ms}
    absent = {"code": -2013, "msg": "Order does not exist."}
    limited = {
        "code": -1003,
        "msg": "Too many requests; banned until 1795161700000.",
        "data": {"retryAfter": 1795161700000},
    }
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400, "count": 10}]
    rows = [position_row(now_ms, position), {**position_row(now_ms, "1.5"), "symbol": "ETHUSDT"}]
    return [
        {"id": f"pos-{snapshot}", "status": 200, "result": rows[:1], "rateLimits": limits},
        {"id": f"pos-{snapshot}", "status": 200, "result": rows},
        {"id": f"bal-{snapshot}", "status": 200, "result": [balance_row(now_ms)]},
        {"id": f"ord-{order_id}-{snapshot}", "status": 200, "result": order},
        {
            "id": f"ord-{order_id}-{snapshot}",
            "status": 200,
            "result": {**order, "status": "EXPIRED", "executedQty": "0"},
        },
        {"id": f"ord-{order_id}-{snapshot}", "status": 400, "error": absent},
        {"id": f"time-{time}", "status": 200, "result": {"serverTime": now_ms}},
        {"id": f"pos-{snapshot}", "status": 429, "error": limited},
        {
            "id": f"bal-{snapshot}",
            "status": 400,
            "error": {"code": -1021, "msg": "Timestamp outside of the recvWindow."},
        },
        {"id": None, "status": 401, "error": {"code": -1002, "msg": "Session revoked"}},
    ]


def order_answers(order_id: str) -> list[tuple[int, Any]]:
    """Return (status, body) of answers to an order request."""
    order = {"orderId": 77, "symbol": "BTCUSDT", "status": "FILLED", "clientOrderId": order_id, "executedQty": "0.75"}
    order |= {"origQty": "0.75", "cumQuote": "50341", "avgPrice": "67121.4", "side": "SELL", "type": "LIMIT"}
    return [
        (200, order),
        (200, {**order, "status": "NEW", "executedQty": "0"}),
        (200, {**order, "status": "PARTIALLY_FILLED", "executedQty": "0.25"}),
        (200, {**order, "status": "EXPIRED", "executedQty": "0"}),
        (400, {"code": -2019, "msg": "Margin is insufficient."}),
        (400, {"code": -4164, "msg": "Order's notional must be no smaller than 50"}),
        (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}),
        (429, {"code": -1003, "msg": "Way too many requests; IP banned until 1795161700000."}),
        (503, {"code": -1008, "msg": "Request throttled by system-level protection."}),
        (503, {"code": 0, "msg": "Service Unavailable."}),
        (503, {"msg": "Unknown error, please check your request or try again later."}),
        (400, {"code": -4116, "msg": "ClientOrderId is duplicated."}),
    ]


OPEN_ORDERS: list[Any] = [
    {"symbol": "BTCUSDT", "clientOrderId": "web_1", "side": "BUY", "origQty": "1", "executedQty": "0", "price": "5"},
    {
        "symbol": "ETHUSDT",
        "clientOrderId": "sh-7f3a91c2-1-000001",
        "side": "SELL",
        "origQty": "1",
        "price": "5",
        "reduceOnly": True,
    },
]
