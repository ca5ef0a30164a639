"""The calls about conditional orders. One wears the faults of an order between its arrival and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamhedge.sim import grammar
from streamhedge.sim.algo import AlgoOrder
from streamhedge.sim.calls import Call, Reply
from streamhedge.sim.grammar import Message
from streamhedge.sim.order_calls import through_faults
from streamhedge.sim.refusals import Refusal

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange


def place(exchange: Exchange, call: Call) -> Message | Reply:
    """POST algoOrder, and algoOrder.place."""
    name = call.params.get("clientAlgoId", "")
    exchange.algo_posts[name] = exchange.algo_posts.get(name, 0) + 1
    reducing = "true" in (call.params.get(word, "").lower() for word in ("reduceOnly", "closePosition"))
    return through_faults(
        exchange,
        call,
        reducing=reducing,
        take=lambda at_ms: exchange.algo.place(call.params, at_ms),
        answer=lambda order: _row(exchange, order),
    )


def cancel(exchange: Exchange, call: Call) -> Message:
    """DELETE algoOrder, and algoOrder.cancel: the code is text here."""
    order = exchange.algo.cancel(call.params, call.now_ms)
    return {"algoId": order.algo_id, "clientAlgoId": order.client_id, "code": "200", "msg": "success"}


def cancel_all(exchange: Exchange, call: Call) -> Message:
    """DELETE algoOpenOrders of one symbol."""
    exchange.algo.cancel_all(exchange.engine.contract(call.params.get("symbol", "")).symbol, call.now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def query(exchange: Exchange, call: Call) -> Message:
    """GET algoOrder."""
    order = exchange.algo.find(call.params)
    if order is None:
        raise Refusal(-2013)
    return _row(exchange, order)


def open_algo_orders(exchange: Exchange, call: Call) -> list[Message]:
    """GET openAlgoOrders, of one symbol or of all."""
    named = call.params.get("symbol", "")
    symbol = exchange.engine.contract(named).symbol if named else None
    return [_row(exchange, order) for order in exchange.algo.waiting(symbol)]


def _row(exchange: Exchange, order: AlgoOrder) -> Message:
    return grammar.algo_row(order, exchange.contracts[order.symbol])
