"""The WebSocket API: one request per frame, answered by id; positions, balances, orders, prices, time, sessions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamhedge.sim import account_calls, algo_calls, market_calls, order_calls
from streamhedge.sim.access import ORDERS_PER_10S, ORDERS_PER_MINUTE, Limits, check_time
from streamhedge.sim.calls import KEY, NONE, SIGNED, Call, Handler, Reply
from streamhedge.sim.grammar import Message, encode
from streamhedge.sim.refusals import Refusal

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange

HANDSHAKE_WEIGHT = 5


@dataclass(slots=True)
class WsSession:
    """One connection: whether it is logged on, wants rate limits, or is frozen (fault S1)."""

    connected_ms: int
    rate_limits: bool = True
    api_key: str = ""
    since_ms: int = 0
    frozen: bool = False


@dataclass(slots=True)
class Method:
    """One line of the table."""

    handler: Callable[[Exchange, Call, WsSession], Any]
    security: str
    weight: int
    orders: int = 0


@dataclass(slots=True)
class Door:
    """One WebSocket API: what can be asked there, its own limits, and how often each method was called."""

    table: dict[str, Method]
    limits: Limits
    calls: dict[str, int]


def answer(exchange: Exchange, session: WsSession, text: str, now_ms: int, door: Door | None = None) -> str | None:
    """Answer one frame; None closes the connection instead. Without a door it is the futures API's."""
    door = door if door is not None else Door(TABLE, exchange.limits, exchange.ws_calls)
    try:
        request = json.loads(text, parse_float=str)
    except ValueError:
        request = None
    if not isinstance(request, dict) or not isinstance(request.get("params", {}), dict):
        return encode({"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}})
    number, name = request.get("id"), str(request.get("method"))
    params = {key: word(value) for key, value in request.get("params", {}).items()}
    door.calls[name] = door.calls.get(name, 0) + 1
    if exchange.in_maintenance(now_ms):
        return _said(number, 503, {"error": Refusal(-1016).body})
    method = door.table.get(name)
    if method is None:
        return _said(number, 404, {"error": {"code": -5000, "msg": f"Method {name} is invalid"}})
    wait_s = door.limits.spend(method.weight, method.orders, now_ms)
    limits: Message = {}
    if session.rate_limits and params.get("returnRateLimits") != "false":
        limits = {"rateLimits": rate_limits(door.limits, now_ms, orders=method.orders > 0)}
    if wait_s is not None:
        status, error = door.limits.words(now_ms)
        data = {"serverTime": now_ms, "retryAfter": now_ms + wait_s * 1_000}
        return _said(number, status, {"error": {**error, "data": data}, **limits})
    try:
        if method.security == SIGNED:
            _check(exchange, session, params, now_ms)
        elif method.security == KEY:
            exchange.keys.known(params.get("apiKey", "") or session.api_key)
        found = method.handler(exchange, Call(params, now_ms, name), session)
    except Refusal as refusal:
        return _said(number, refusal.status, {"error": refusal.body, **limits})
    if isinstance(found, Reply):
        return None if found.cut else _said(number, found.status, {"error": error_of(found), **limits})
    return _said(number, 200, {"result": found, **limits})


def _said(number: object, status: int, rest: Message) -> str:
    return encode({"id": number, "status": status, **rest})


def word(value: object) -> str:
    """Return a parameter as text: strangers send numbers as text and booleans in any case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def error_of(reply: Reply) -> Message:
    """Return a REST refusal as an error of a frame; bodies without a code get the general one."""
    try:
        body = json.loads(reply.body)
    except ValueError:
        body = {}
    return {"code": body.get("code", -1000), "msg": body.get("msg", "An unknown error occurred.")}


def rate_limits(limits: Limits, now_ms: int, *, orders: bool) -> list[Message]:
    """Return the counters of an answer."""
    if orders:
        ten = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_PER_10S}
        minute = {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_PER_MINUTE}
        return [{**ten, "count": limits.recent(now_ms)}, {**minute, "count": len(limits.orders)}]
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limits.weight_most}
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


def plainly(handler: Handler) -> Callable[[Exchange, Call, WsSession], Any]:
    """Use a handler of the REST door."""
    return lambda exchange, call, session: handler(exchange, call)


def log_on(exchange: Exchange, call: Call, session: WsSession) -> Message:
    """session.logon: Ed25519 keys only."""
    if call.params.get("apiKey", "") not in exchange.keys.ed25519:
        raise Refusal(-1099)
    session.api_key = call.params["apiKey"]
    session.since_ms = call.now_ms
    return session_status(exchange, call, session)


def log_out(exchange: Exchange, call: Call, session: WsSession) -> Message:
    """session.logout."""
    session.api_key, session.since_ms = "", 0
    return session_status(exchange, call, session)


def session_status(exchange: Exchange, call: Call, session: WsSession) -> Message:
    """session.status."""
    return {
        **{"apiKey": session.api_key or None, "authorizedSince": session.since_ms or None},
        **{"connectedSince": session.connected_ms, "returnRateLimits": session.rate_limits},
        "serverTime": call.now_ms,
    }


TABLE: dict[str, Method] = {
    "ping": Method(plainly(market_calls.ping), NONE, 1),
    "time": Method(plainly(market_calls.server_time), NONE, 1),
    "depth": Method(plainly(market_calls.depth), NONE, 10),
    "ticker.price": Method(plainly(market_calls.ticker_price), NONE, 2),
    "ticker.book": Method(plainly(market_calls.ticker_book), NONE, 5),
    "v2/account.position": Method(plainly(account_calls.positions), SIGNED, 5),
    "account.position": Method(plainly(account_calls.positions_v1), SIGNED, 5),
    "v2/account.balance": Method(plainly(account_calls.balances), SIGNED, 5),
    "account.balance": Method(plainly(account_calls.balances), SIGNED, 5),
    "v2/account.status": Method(plainly(account_calls.account_status), SIGNED, 5),
    "account.status": Method(plainly(account_calls.account_status_v1), SIGNED, 5),
    "order.place": Method(plainly(order_calls.place_order), SIGNED, 0, 1),
    "order.cancel": Method(plainly(order_calls.cancel_order), SIGNED, 1),
    "order.status": Method(plainly(order_calls.query_order), SIGNED, 1),
    "algoOrder.place": Method(plainly(algo_calls.place), SIGNED, 0, 1),
    "algoOrder.cancel": Method(plainly(algo_calls.cancel), SIGNED, 1),
    "session.logon": Method(log_on, SIGNED, 2),
    "session.logout": Method(log_out, NONE, 2),
    "session.status": Method(session_status, NONE, 2),
    "userDataStream.start": Method(plainly(account_calls.listen_key_post), KEY, 1),
    "userDataStream.ping": Method(plainly(account_calls.listen_key_put), KEY, 1),
    "userDataStream.stop": Method(plainly(account_calls.listen_key_delete), KEY, 1),
}
