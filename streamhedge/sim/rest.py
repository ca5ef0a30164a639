"""The REST calls: one table of path, security, weight and handler. Orders wear their faults here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from streamhedge.sim import grammar
from streamhedge.sim.access import check_time
from streamhedge.sim.grammar import Message, Refusal, encode

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange

D = Decimal
NONE, KEY, SIGNED = "none", "key", "signed"
UNKNOWN = "Unknown error, please check your request or try again later."
HTML = "<html><head><title>502 Bad Gateway</title></head><body>upstream sent garbage</body></html>"
LATE_MS = 1_500


@dataclass(slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(slots=True)
class Call:
    """One accepted request: its parameters, and when it came."""

    params: dict[str, str]
    now_ms: int
    path: str


Handler = Callable[["Exchange", Call], Any]


@dataclass(slots=True)
class Endpoint:
    """One line of the table."""

    handler: Handler
    security: str
    weight: int
    orders: int = 0


def answer(exchange: Exchange, *, method: str, path: str, query: str, body: str, api_key: str, now_ms: int) -> Reply:
    """Answer one request."""
    endpoint = TABLE.get((method, path))
    exchange.calls[f"{method} {path}"] = exchange.calls.get(f"{method} {path}", 0) + 1
    if endpoint is None:
        known = any(name == path for _, name in TABLE)
        return Reply(
            404 if not known else 405, {}, encode({"code": -5000, "msg": f"Path {path}, Method {method} is invalid"})
        )
    wait = exchange.limits.spend(endpoint.weight, endpoint.orders, now_ms)
    headers = exchange.limits.headers(now_ms, orders=endpoint.orders > 0)
    if wait is not None:
        return _limited(exchange, wait, now_ms, headers)
    params = {**dict(parse_qsl(body, keep_blank_values=True)), **dict(parse_qsl(query, keep_blank_values=True))}
    try:
        if endpoint.security != NONE:
            exchange.keys.known(api_key)
        if endpoint.security == SIGNED:
            _check(exchange, api_key, query, body, params, now_ms)
        found = endpoint.handler(exchange, Call(params, now_ms, path))
    except Refusal as error:
        return Reply(error.status, headers, encode(error.body))
    if isinstance(found, Reply):
        return Reply(found.status, {**headers, **found.headers}, found.body)
    return Reply(200, headers, encode(found))


def _limited(exchange: Exchange, wait: int, now_ms: int, headers: dict[str, str]) -> Reply:
    banned = exchange.limits.banned(now_ms)
    text = grammar.ERRORS[-1003][1]
    if banned:
        until = exchange.limits.banned_until_ms
        text = (
            f"Way too many requests; IP banned until {until}. Please use the websocket for live updates to avoid bans."
        )
    return Reply(418 if banned else 429, {**headers, "retry-after": str(wait)}, encode({"code": -1003, "msg": text}))


def _check(exchange: Exchange, api_key: str, query: str, body: str, params: dict[str, str], now_ms: int) -> None:
    for name in ("timestamp", "signature"):
        if not params.get(name):
            raise Refusal(-1102, name)
    payload = _unsigned(query) + _unsigned(body)
    exchange.keys.check(api_key, payload.encode(), params["signature"])
    check_time(params["timestamp"], params.get("recvWindow", ""), now_ms)


def _unsigned(text: str) -> str:
    return "&".join(word for word in text.split("&") if not word.startswith("signature="))


# ---------------------------------------------------------------- orders


def place_order(exchange: Exchange, call: Call) -> Message | Reply:
    """POST order, with the faults an order can meet on its way."""
    faults, now_ms = exchange.faults, call.now_ms
    name = call.params.get("newClientOrderId", "")
    exchange.wire_posts[name] = exchange.wire_posts.get(name, 0) + 1
    refused = faults.take("O3", now_ms)
    if refused is not None:
        return _refused(refused, call)
    doubt = faults.take("O1", now_ms)
    if doubt == "not_executed":
        return _unknown(call)
    if doubt == "late":
        exchange.later(now_ms + LATE_MS, lambda at_ms: exchange.place_quietly(call.params, at_ms))
        return _unknown(call)
    order = exchange.engine.place(call.params, now_ms)
    hidden = faults.take("O6", now_ms)
    if hidden is not None:
        order.visible_ms = now_ms + int(hidden)
    if doubt is not None:
        return _unknown(call)
    if faults.take("O5", now_ms) is not None:
        return Reply(502, {"content-type": "text/html"}, HTML)
    return grammar.order_reply(order, exchange.contracts[order.symbol])


def _unknown(call: Call) -> Reply:
    return Reply(503, {}, encode({"timestamp": call.now_ms, "path": call.path, "msg": UNKNOWN}))


def _refused(word: str, call: Call) -> Reply:
    if word == "429":
        return Reply(429, {"retry-after": "1"}, encode({"code": -1003, "msg": grammar.ERRORS[-1003][1]}))
    texts: dict[str, Message] = {
        "unavailable": {"code": 0, "msg": "Service Unavailable."},
        "internal": {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."},
        "throttled": {"code": -1008, "msg": "Request throttled by system-level protection. Please try again."},
    }
    return Reply(503, {}, encode(texts.get(word, texts["unavailable"])))


def cancel_order(exchange: Exchange, call: Call) -> Message:
    """DELETE order."""
    order = exchange.engine.cancel(call.params, call.now_ms)
    return grammar.order_reply(order, exchange.contracts[order.symbol])


def query_order(exchange: Exchange, call: Call) -> Message:
    """GET order, and order.status: what is hidden yet is not found."""
    order = exchange.engine.find(exchange.engine.contract(call.params.get("symbol", "")).symbol, call.params)
    if order is None or order.visible_ms > call.now_ms:
        raise Refusal(-2013)
    return grammar.order_query(order, exchange.contracts[order.symbol])


def open_orders(exchange: Exchange, call: Call) -> list[Message]:
    """GET openOrders, of one symbol or of all."""
    symbol = call.params.get("symbol") or None
    return [grammar.order_query(o, exchange.contracts[o.symbol]) for o in exchange.engine.resting(symbol)]


def cancel_all(exchange: Exchange, call: Call) -> Message:
    """DELETE allOpenOrders of one symbol."""
    for order in exchange.engine.resting(exchange.engine.contract(call.params.get("symbol", "")).symbol):
        exchange.engine.end(order, "CANCELED", "0", call.now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def none_open(exchange: Exchange, call: Call) -> list[Message]:
    """GET openAlgoOrders: this exchange has no conditional orders yet."""
    return []


# ---------------------------------------------------------------- account and symbol


def listen_key_post(exchange: Exchange, call: Call) -> Message:
    """POST listenKey."""
    return {"listenKey": exchange.listen_key.start(call.now_ms)}


def listen_key_put(exchange: Exchange, call: Call) -> Message:
    """PUT listenKey."""
    return {"listenKey": exchange.listen_key.renew(call.now_ms)}


def listen_key_delete(exchange: Exchange, call: Call) -> Message:
    """DELETE listenKey: dead for every connection that uses it."""
    exchange.end_listen_key(call.now_ms, said=True)
    return {}


def account_config(exchange: Exchange, call: Call) -> Message:
    """GET accountConfig."""
    account = exchange.account
    return {
        **{"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True},
        **{"dualSidePosition": account.dual_side, "updateTime": 0, "multiAssetsMargin": account.multi_assets},
        "tradeGroupId": -1,
    }


def symbol_config(exchange: Exchange, call: Call) -> list[Message]:
    """GET symbolConfig."""
    wanted = call.params.get("symbol")
    rows = []
    for symbol, contract in exchange.contracts.items():
        p = exchange.account.position(symbol)
        if wanted in (None, symbol):
            rows.append(
                {
                    **{"symbol": symbol, "marginType": "ISOLATED" if p.isolated else "CROSSED"},
                    **{"isAutoAddMargin": False, "leverage": p.leverage},
                    "maxNotionalValue": grammar.plain(contract.ceiling(p.leverage)),
                }
            )
    return rows


def leverage(exchange: Exchange, call: Call) -> Message:
    """POST leverage, with its event."""
    contract = exchange.engine.contract(call.params.get("symbol", ""))
    text = call.params.get("leverage", "")
    if not text.isdigit() or not 1 <= int(text) <= contract.brackets[0][4]:
        raise Refusal(-4028, text)
    p = exchange.account.position(contract.symbol)
    if abs(p.amount) * contract.mark > contract.ceiling(int(text)):
        raise Refusal(-2027)
    p.leverage = int(text)
    exchange.emit(
        {
            **{"e": "ACCOUNT_CONFIG_UPDATE", "E": call.now_ms, "T": call.now_ms},
            "ac": {"s": contract.symbol, "l": p.leverage},
        }
    )
    ceiling = grammar.plain(contract.ceiling(p.leverage))
    return {"leverage": p.leverage, "maxNotionalValue": ceiling, "symbol": contract.symbol}


def margin_type(exchange: Exchange, call: Call) -> Message:
    """POST marginType, with its event."""
    contract = exchange.engine.contract(call.params.get("symbol", ""))
    word = call.params.get("marginType", "")
    if word not in ("ISOLATED", "CROSSED"):
        raise Refusal(-1130, "marginType")
    p = exchange.account.position(contract.symbol)
    if p.isolated == (word == "ISOLATED"):
        raise Refusal(-4046)
    if exchange.engine.resting(contract.symbol):
        raise Refusal(-4047)
    if p.amount != 0:
        raise Refusal(-4048)
    p.isolated = word == "ISOLATED"
    p.update_ms = call.now_ms
    exchange.emit(exchange.engine.account_update("MARGIN_TYPE_CHANGE", call.now_ms, symbols=[contract.symbol]))
    return {"code": 200, "msg": "success"}


def position_mode_get(exchange: Exchange, call: Call) -> Message:
    """GET positionSide/dual."""
    return {"dualSidePosition": exchange.account.dual_side}


def position_mode_set(exchange: Exchange, call: Call) -> Message:
    """POST positionSide/dual: no event at all, as at the venue. Hedge mode itself is not traded here."""
    wanted = call.params.get("dualSidePosition", "").lower() == "true"
    if wanted == exchange.account.dual_side:
        raise Refusal(-4059)
    if exchange.engine.resting():
        raise Refusal(-4067)
    if any(p.amount != 0 for p in exchange.account.positions.values()):
        raise Refusal(-4068)
    exchange.account.dual_side = wanted
    return {"code": 200, "msg": "success"}


def positions(exchange: Exchange, call: Call) -> list[Message]:
    """v2/account.position and positionRisk v3: symbols with a position or open orders."""
    wanted = call.params.get("symbol")
    rows = []
    for symbol, contract in exchange.contracts.items():
        p = exchange.account.position(symbol)
        if wanted in (None, "", symbol) and (p.amount != 0 or exchange.engine.resting(symbol)):
            price = exchange.account.liquidation_price(symbol, exchange.contracts)
            rows.append(grammar.position_risk(p, contract, liquidation_price=price, adl=2 if p.amount else 0))
    return rows


def balances(exchange: Exchange, call: Call) -> list[Message]:
    """v2/account.balance and balance v3."""
    account = exchange.account
    pnl = sum((p.pnl(exchange.contracts[p.symbol].mark) for p in account.cross()), D(0))
    available = grammar.eights(account.available(exchange.contracts))
    return [
        {
            **{"accountAlias": "SgsR", "asset": "USDT", "balance": grammar.eights(account.wallet)},
            **{"crossWalletBalance": grammar.eights(account.cross_wallet), "crossUnPnl": grammar.eights(pnl)},
            **{"availableBalance": available, "maxWithdrawAmount": available, "marginAvailable": True},
            "updateTime": account.update_ms,
        }
    ]


def account_status(exchange: Exchange, call: Call) -> Message:
    """v2/account.status and account v3."""
    row = balances(exchange, call)[0]
    rows = positions(exchange, call)
    account = exchange.account
    initial = grammar.eights(account.initial(exchange.contracts))
    maintenance = grammar.eights(account.maintenance(exchange.contracts))
    equity = grammar.eights(account.wallet + D(row["crossUnPnl"]))
    totals = {
        **{"totalInitialMargin": initial, "totalMaintMargin": maintenance, "totalWalletBalance": row["balance"]},
        **{"totalUnrealizedProfit": row["crossUnPnl"], "totalMarginBalance": equity},
        **{"totalPositionInitialMargin": initial, "totalOpenOrderInitialMargin": "0.00000000"},
        **{"totalCrossWalletBalance": row["crossWalletBalance"], "totalCrossUnPnl": row["crossUnPnl"]},
        **{"availableBalance": row["availableBalance"], "maxWithdrawAmount": row["maxWithdrawAmount"]},
    }
    asset = {
        **{"asset": "USDT", "walletBalance": row["balance"], "unrealizedProfit": row["crossUnPnl"]},
        **{"marginBalance": equity, "maintMargin": maintenance, "initialMargin": initial},
        **{"positionInitialMargin": initial, "openOrderInitialMargin": "0.00000000"},
        **{"crossWalletBalance": row["crossWalletBalance"], "crossUnPnl": row["crossUnPnl"]},
        **{"availableBalance": row["availableBalance"], "maxWithdrawAmount": row["maxWithdrawAmount"]},
        "updateTime": row["updateTime"],
    }
    slim = [{**position, "unrealizedProfit": position["unRealizedProfit"]} for position in rows]
    return {**totals, "assets": [asset], "positions": slim}


# ---------------------------------------------------------------- market


def ping(exchange: Exchange, call: Call) -> Message:
    """GET ping."""
    return {}


def server_time(exchange: Exchange, call: Call) -> Message:
    """GET time."""
    return {"serverTime": call.now_ms}


def exchange_info(exchange: Exchange, call: Call) -> Message:
    """GET exchangeInfo."""
    return grammar.exchange_info(exchange.contracts, call.now_ms)


def brackets(exchange: Exchange, call: Call) -> list[Message]:
    """GET leverageBracket."""
    wanted = call.params.get("symbol")
    if wanted:
        exchange.engine.contract(wanted)
    return [grammar.brackets_row(c) for c in exchange.contracts.values() if wanted in (None, c.symbol)]


def commission(exchange: Exchange, call: Call) -> Message:
    """GET commissionRate."""
    contract = exchange.engine.contract(call.params.get("symbol", ""))
    return {
        **{"symbol": contract.symbol, "makerCommissionRate": grammar.padded(contract.maker_fee, D("0.000001"))},
        **{"takerCommissionRate": grammar.padded(contract.taker_fee, D("0.000001")), "rpiCommissionRate": "0.00005"},
    }


def funding_info(exchange: Exchange, call: Call) -> list[Message]:
    """GET fundingInfo: only contracts whose interval differs from eight hours; whole hours, at least one."""
    hours = max(1, exchange.funding_every_ms // 3_600_000)
    if hours == 8:
        return []
    return [
        {
            **{"symbol": symbol, "adjustedFundingRateCap": "0.02000000", "adjustedFundingRateFloor": "-0.02000000"},
            **{"fundingIntervalHours": hours, "disclaimer": False, "updateTime": call.now_ms},
        }
        for symbol in exchange.contracts
    ]


def premium_index(exchange: Exchange, call: Call) -> Message | list[Message]:
    """GET premiumIndex, of one symbol or of all."""
    rows = [
        {
            **{"symbol": c.symbol, "markPrice": grammar.eights(c.mark), "indexPrice": grammar.eights(c.index)},
            **{"estimatedSettlePrice": grammar.eights(c.mark), "lastFundingRate": grammar.eights(c.funding_rate)},
            **{"interestRate": "0.00010000", "nextFundingTime": c.next_funding_ms, "time": call.now_ms},
        }
        for c in exchange.contracts.values()
    ]
    wanted = call.params.get("symbol")
    if not wanted:
        return rows
    exchange.engine.contract(wanted)
    return next(row for row in rows if row["symbol"] == wanted)


TABLE: dict[tuple[str, str], Endpoint] = {
    ("GET", "/fapi/v1/ping"): Endpoint(ping, NONE, 1),
    ("GET", "/fapi/v1/time"): Endpoint(server_time, NONE, 1),
    ("GET", "/fapi/v1/exchangeInfo"): Endpoint(exchange_info, NONE, 1),
    ("GET", "/fapi/v1/premiumIndex"): Endpoint(premium_index, NONE, 1),
    ("GET", "/fapi/v1/fundingInfo"): Endpoint(funding_info, NONE, 0),
    ("GET", "/fapi/v1/leverageBracket"): Endpoint(brackets, SIGNED, 1),
    ("GET", "/fapi/v1/commissionRate"): Endpoint(commission, SIGNED, 20),
    ("GET", "/fapi/v1/accountConfig"): Endpoint(account_config, SIGNED, 5),
    ("GET", "/fapi/v1/symbolConfig"): Endpoint(symbol_config, SIGNED, 5),
    ("GET", "/fapi/v1/openOrders"): Endpoint(open_orders, SIGNED, 40),
    ("GET", "/fapi/v1/openAlgoOrders"): Endpoint(none_open, SIGNED, 40),
    ("GET", "/fapi/v1/order"): Endpoint(query_order, SIGNED, 1),
    ("GET", "/fapi/v1/positionSide/dual"): Endpoint(position_mode_get, SIGNED, 30),
    ("GET", "/fapi/v3/positionRisk"): Endpoint(positions, SIGNED, 5),
    ("GET", "/fapi/v2/positionRisk"): Endpoint(positions, SIGNED, 5),
    ("GET", "/fapi/v3/balance"): Endpoint(balances, SIGNED, 5),
    ("GET", "/fapi/v2/balance"): Endpoint(balances, SIGNED, 5),
    ("GET", "/fapi/v3/account"): Endpoint(account_status, SIGNED, 5),
    ("GET", "/fapi/v2/account"): Endpoint(account_status, SIGNED, 5),
    ("POST", "/fapi/v1/order"): Endpoint(place_order, SIGNED, 0, 1),
    ("DELETE", "/fapi/v1/order"): Endpoint(cancel_order, SIGNED, 1),
    ("DELETE", "/fapi/v1/allOpenOrders"): Endpoint(cancel_all, SIGNED, 1),
    ("POST", "/fapi/v1/leverage"): Endpoint(leverage, SIGNED, 1),
    ("POST", "/fapi/v1/marginType"): Endpoint(margin_type, SIGNED, 1),
    ("POST", "/fapi/v1/positionSide/dual"): Endpoint(position_mode_set, SIGNED, 1),
    ("POST", "/fapi/v1/listenKey"): Endpoint(listen_key_post, KEY, 1),
    ("PUT", "/fapi/v1/listenKey"): Endpoint(listen_key_put, KEY, 1),
    ("DELETE", "/fapi/v1/listenKey"): Endpoint(listen_key_delete, KEY, 1),
}
