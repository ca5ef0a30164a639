"""The calls about orders and trades. An order wears its faults here, between its arrival and its answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from streamhedge.sim import grammar
from streamhedge.sim.calls import Call, Reply
from streamhedge.sim.grammar import Message, encode
from streamhedge.sim.refusals import ERRORS, UNKNOWN_STATUS, Refusal

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange
    from streamhedge.sim.orders import SimOrder

UNKNOWN = "Unknown error, please check your request or try again later."
UNAVAILABLE = "Service Unavailable."
INTERNAL = "Internal error; unable to process your request. Please try again."
HTML = "<html><head><title>502 Bad Gateway</title></head><body>upstream sent garbage</body></html>"
LATE_MS = 1_500
Taken = TypeVar("Taken")
ROWS_MOST, ROWS_USUAL = 1_000, 500


def place_order(exchange: Exchange, call: Call) -> Message | Reply:
    """POST order, with the faults an order can meet on its way."""
    name = call.params.get("newClientOrderId", "")
    exchange.wire_posts[name] = exchange.wire_posts.get(name, 0) + 1

    def answer(order: SimOrder) -> Message:
        hidden = exchange.faults.take("O6", call.now_ms)
        if hidden is not None:
            order.visible_ms = call.now_ms + int(hidden)
        return grammar.order_reply(order, exchange.contracts[order.symbol])

    return through_faults(
        exchange,
        call,
        reducing=call.params.get("reduceOnly", "").lower() == "true",
        take=lambda at_ms: exchange.engine.place(call.params, at_ms),
        answer=answer,
    )


def through_faults(
    exchange: Exchange,
    call: Call,
    *,
    reducing: bool,
    take: Callable[[int], Taken],
    answer: Callable[[Taken], Message],
) -> Message | Reply:
    """Take an order through what can befall it between its arrival and its answer.

    Args:
        exchange: The exchange.
        call: The request.
        reducing: Whether it only reduces: overload spares it.
        take: Takes the order at a time.
        answer: Makes the reply of one that was taken at once.
    """
    faults, now_ms = exchange.faults, call.now_ms
    refused = None if reducing and faults.peek("O3", now_ms) == "throttled" else faults.take("O3", now_ms)
    if refused is not None:
        return _refused(refused, call)
    cut = faults.take("O15", now_ms)
    if cut == "not_executed":
        return Reply(0, {}, "", cut=True)
    doubt = faults.take("O1", now_ms)
    if doubt == "not_executed":
        return _unknown(call)
    if doubt == "late":
        exchange.later(now_ms + LATE_MS, lambda at_ms: _quietly(take, at_ms))
        return _unknown(call)
    ghost = faults.take("O18", now_ms)
    if ghost is not None:
        exchange.later(now_ms + int(ghost) * 1_000, lambda at_ms: _quietly(take, at_ms))
        return _unknown(call)
    reply = answer(take(now_ms))
    if cut is not None:
        return Reply(0, {}, "", cut=True)
    if doubt is not None:
        return _unknown(call)
    if faults.take("O5", now_ms) is not None:
        return Reply(502, {"content-type": "text/html"}, HTML)
    return reply


def _quietly(take: Callable[[int], object], now_ms: int) -> None:
    """Take an order whose sender has long been told that nobody knows."""
    with suppress(Refusal):
        take(now_ms)


def _unknown(call: Call) -> Reply:
    """Answer that nobody knows; the WebSocket API says it with a code, REST without."""
    if not call.path.startswith("/"):
        return Reply(503, {}, encode({"code": -1007, "msg": UNKNOWN_STATUS}))
    return Reply(503, {}, encode({"timestamp": call.now_ms, "path": call.path, "msg": UNKNOWN}))


def _refused(word: str, call: Call) -> Reply:
    if word == "429":
        return Reply(429, {"retry-after": "1"}, encode({"code": -1003, "msg": ERRORS[-1003][1]}))
    if word == "throttled":
        return Reply(503, {}, encode({"code": -1008, "msg": ERRORS[-1008][1]}))
    if word == "internal":
        return Reply(503, {}, encode({"code": -1001, "msg": INTERNAL}))
    return Reply(503, {}, encode({"timestamp": call.now_ms, "path": call.path, "msg": UNAVAILABLE}))


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
    symbol = _symbol(exchange, call)
    return [grammar.order_query(o, exchange.contracts[o.symbol]) for o in exchange.engine.resting(symbol)]


def all_orders(exchange: Exchange, call: Call) -> list[Message]:
    """GET allOrders: whatever their state, oldest first."""
    symbol = _symbol(exchange, call)
    found = [o for o in exchange.engine.orders.values() if symbol in (None, o.symbol)]
    return [grammar.order_query(o, exchange.contracts[o.symbol]) for o in found[-_limit(call) :]]


def cancel_all(exchange: Exchange, call: Call) -> Message:
    """DELETE allOpenOrders of one symbol."""
    exchange.engine.cancel_all(exchange.engine.contract(call.params.get("symbol", "")).symbol, call.now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def user_trades(exchange: Exchange, call: Call) -> list[Message]:
    """GET userTrades of one symbol, of one order where ``orderId`` names it."""
    symbol = exchange.engine.contract(call.params.get("symbol", "")).symbol
    number = call.params.get("orderId", "")
    found = [
        trade
        for trade in exchange.engine.trades
        if trade.order.symbol == symbol
        and number in ("", str(trade.order.order_id))
        and _within(call, trade.time_ms)
        and trade.trade_id >= call.integer("fromId", 0)
    ]
    return [grammar.trade_row(trade) for trade in found[-_limit(call) :]]


def income(exchange: Exchange, call: Call) -> list[Message]:
    """GET income: every change of the wallet, oldest first."""
    symbol, kind = _symbol(exchange, call), call.params.get("incomeType", "")
    found = [
        row
        for row in exchange.engine.income
        if symbol in (None, row.symbol) and kind in ("", row.kind) and _within(call, row.time_ms)
    ]
    return [grammar.income_row(row) for row in found[-_limit(call) :]]


def _symbol(exchange: Exchange, call: Call) -> str | None:
    named = call.params.get("symbol", "")
    return exchange.engine.contract(named).symbol if named else None


def _limit(call: Call) -> int:
    said = call.integer("limit", ROWS_USUAL)
    if not 1 <= said <= ROWS_MOST:
        raise Refusal(-1130, "limit")
    return said


def _within(call: Call, time_ms: int) -> bool:
    return call.integer("startTime", 0) <= time_ms <= call.integer("endTime", time_ms)
