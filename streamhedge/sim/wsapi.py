"""The WebSocket API: one request per frame, answered by id; positions, balances, orders, time, sessions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamhedge.sim import grammar, rest
from streamhedge.sim.access import ORDERS_PER_10S, ORDERS_PER_MINUTE, WEIGHT_PER_MINUTE, check_time
from streamhedge.sim.grammar import Message, Refusal, encode

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange


@dataclass(slots=True)
class WsSession:
    """One connection: whether it is logged on, and whether it wants rate limits."""

    connected_ms: int
    rate_limits: bool = True
    api_key: str = ""
    since_ms: int = 0


@dataclass(slots=True)
class Method:
    """One line of the table."""

    handler: Callable[[Exchange, rest.Call, WsSession], Any]
    security: str
    weight: int
    orders: int = 0


def answer(exchange: Exchange, session: WsSession, text: str, now_ms: int) -> str:
    """Answer one frame."""
    try:
        request = json.loads(text)
    except ValueError:
        return encode({"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}})
    if not isinstance(request, dict) or not isinstance(request.get("params", {}), dict):
        return encode({"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}})
    number, name = request.get("id"), request.get("method")
    params = {key: word(value) for key, value in request.get("params", {}).items()}
    exchange.ws_calls[str(name)] = exchange.ws_calls.get(str(name), 0) + 1
    method = TABLE.get(str(name))
    if method is None:
        error: Message = {"code": -5000, "msg": f"Method {name} is invalid"}
        return encode({"id": number, "status": 404, "error": error})
    wait = exchange.limits.spend(method.weight, method.orders, now_ms)
    limits = {"rateLimits": rate_limits(exchange, now_ms, orders=method.orders > 0)} if session.rate_limits else {}
    if wait is not None:
        data = {"serverTime": now_ms, "retryAfter": now_ms + wait * 1_000}
        error = {"code": -1003, "msg": "Too many requests.", "data": data}
        return encode(
            {"id": number, "status": 418 if exchange.limits.banned(now_ms) else 429, "error": error, **limits}
        )
    try:
        if method.security == rest.SIGNED:
            _check(exchange, session, params, now_ms)
        elif method.security == rest.KEY:
            exchange.keys.known(params.get("apiKey", "") or session.api_key)
        found = method.handler(exchange, rest.Call(params, now_ms, str(name)), session)
    except Refusal as error_:
        return encode({"id": number, "status": error_.status, "error": error_.body, **limits})
    if isinstance(found, rest.Reply):
        return encode({"id": number, "status": found.status, "error": refusal_of(found), **limits})
    return encode({"id": number, "status": 200, "result": found, **limits})


def word(value: object) -> str:
    """Return a parameter as text: strangers send numbers as text and booleans in any case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def refusal_of(reply: rest.Reply) -> Message:
    """Return a REST refusal as an error of a frame."""
    try:
        body = json.loads(reply.body)
    except ValueError:
        body = {}
    return {"code": body.get("code", -1000), "msg": body.get("msg", "An unknown error occurred.")}


def rate_limits(exchange: Exchange, now_ms: int, *, orders: bool) -> list[Message]:
    """Return the counters of an answer."""
    limits = exchange.limits
    if orders:
        ten = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_PER_10S}
        minute = {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_PER_MINUTE}
        return [{**ten, "count": limits.recent(now_ms)}, {**minute, "count": len(limits.orders)}]
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_PER_MINUTE}
    return [{**weight, "count": limits.weight}]


def _check(exchange: Exchange, session: WsSession, params: dict[str, str], now_ms: int) -> None:
    if not params.get("timestamp"):
        raise Refusal(-1102, "timestamp")
    if not params.get("signature") and session.api_key:
        check_time(params["timestamp"], params.get("recvWindow", ""), now_ms)
        return
    if not params.get("signature"):
        raise Refusal(-1102, "signature")
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
    exchange.keys.check(params.get("apiKey", ""), payload.encode(), params["signature"])
    check_time(params["timestamp"], params.get("recvWindow", ""), now_ms)


def plainly(handler: rest.Handler) -> Callable[[Exchange, rest.Call, WsSession], Any]:
    """Use a REST handler."""
    return lambda exchange, call, session: handler(exchange, call)


def v1_positions(exchange: Exchange, call: rest.Call, session: WsSession) -> list[Message]:
    """account.position of the first version: every symbol, with leverage and margin type."""
    rows = []
    for symbol, contract in exchange.contracts.items():
        p = exchange.account.position(symbol)
        price = exchange.account.liquidation_price(symbol, exchange.contracts)
        row = grammar.position_risk(p, contract, liquidation_price=price, adl=0)
        kind = "isolated" if p.isolated else "cross"
        ceiling = grammar.plain(contract.ceiling(p.leverage))
        more = {"leverage": str(p.leverage), "marginType": kind, "maxNotionalValue": ceiling}
        rows.append({**row, **more, "isAutoAddMargin": "false"})
    return rows


def log_on(exchange: Exchange, call: rest.Call, session: WsSession) -> Message:
    """session.logon: Ed25519 keys only."""
    if call.params.get("apiKey", "") not in exchange.keys.ed25519:
        raise Refusal(-1099)
    session.api_key = call.params["apiKey"]
    session.since_ms = call.now_ms
    return session_status(exchange, call, session)


def log_out(exchange: Exchange, call: rest.Call, session: WsSession) -> Message:
    """session.logout."""
    session.api_key, session.since_ms = "", 0
    return session_status(exchange, call, session)


def session_status(exchange: Exchange, call: rest.Call, session: WsSession) -> Message:
    """session.status."""
    return {
        **{"apiKey": session.api_key or None, "authorizedSince": session.since_ms or None},
        **{"connectedSince": session.connected_ms, "returnRateLimits": session.rate_limits},
        "serverTime": call.now_ms,
    }


TABLE: dict[str, Method] = {
    "ping": Method(plainly(rest.ping), rest.NONE, 1),
    "time": Method(plainly(rest.server_time), rest.NONE, 1),
    "v2/account.position": Method(plainly(rest.positions), rest.SIGNED, 5),
    "account.position": Method(v1_positions, rest.SIGNED, 5),
    "v2/account.balance": Method(plainly(rest.balances), rest.SIGNED, 5),
    "account.balance": Method(plainly(rest.balances), rest.SIGNED, 5),
    "v2/account.status": Method(plainly(rest.account_status), rest.SIGNED, 5),
    "account.status": Method(plainly(rest.account_status), rest.SIGNED, 5),
    "order.place": Method(plainly(rest.place_order), rest.SIGNED, 0, 1),
    "order.cancel": Method(plainly(rest.cancel_order), rest.SIGNED, 1),
    "order.status": Method(plainly(rest.query_order), rest.SIGNED, 1),
    "session.logon": Method(log_on, rest.SIGNED, 2),
    "session.logout": Method(log_out, rest.NONE, 2),
    "session.status": Method(session_status, rest.NONE, 2),
    "userDataStream.start": Method(plainly(rest.listen_key_post), rest.KEY, 1),
    "userDataStream.ping": Method(plainly(rest.listen_key_put), rest.KEY, 1),
    "userDataStream.stop": Method(plainly(rest.listen_key_delete), rest.KEY, 1),
}
