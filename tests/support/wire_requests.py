"""Every request this program can build, called with figures of a quiet day; a new builder is found by itself."""

from __future__ import annotations

import inspect
from decimal import Decimal

from streamhedge.domain.commands import PlaceOrder, PlaceStop
from streamhedge.domain.order import OrderType, Side, TimeInForce
from streamhedge.domain.values import ClientOrderId, Symbol
from streamhedge.wire import requests
from streamhedge.wire.requests import RestRequest, WsApiRequest

D = Decimal


def place(**said: object) -> PlaceOrder:
    """Return the command of a SELL LIMIT IOC 0.25 BTCUSDT where nothing else is said."""
    fields: dict[str, object] = {
        "client_order_id": ClientOrderId("sh-7f3a91c2-1-000018"),
        "symbol": Symbol("BTCUSDT"),
        "side": Side.SELL,
        "type": OrderType.LIMIT,
        "quantity": D("0.250"),
        "price": D("76409.90"),
        "time_in_force": TimeInForce.IOC,
        "reduce_only": False,
        "deadline_ns": 0,
        **said,
    }
    return PlaceOrder(**fields)  # type: ignore[arg-type]


ARGUMENTS: dict[str, object] = {
    "command": place(),
    "stop": PlaceStop(
        client_order_id=ClientOrderId("sh-7f3a91c2-1-000019"),
        symbol=Symbol("BTCUSDT"),
        side=Side.BUY,
        quantity=D("0.250"),
        trigger_price=D("96802.80"),
        deadline_ns=0,
    ),
    "number": 3,
    "symbol": Symbol("BTCUSDT"),
    "client_order_id": ClientOrderId("sh-7f3a91c2-1-000018"),
    "recv_window_ms": 3000,
    "leverage": 3,
    "isolated": True,
}


def every_request() -> dict[str, RestRequest | WsApiRequest]:
    """Return what each public builder of wire/requests.py makes, by its name."""
    found = {}
    for name, builder in vars(requests).items():
        if inspect.isfunction(builder) and builder.__module__ == requests.__name__ and not name.startswith("_"):
            wanted = inspect.signature(builder).parameters
            found[name] = builder(**{parameter: ARGUMENTS[parameter] for parameter in wanted})
    return found


def rest_requests() -> dict[str, RestRequest]:
    """Return the REST requests of ``every_request``."""
    return {name: request for name, request in every_request().items() if isinstance(request, RestRequest)}


def ws_requests() -> dict[str, WsApiRequest]:
    """Return the WebSocket API requests of ``every_request``."""
    return {name: request for name, request in every_request().items() if isinstance(request, WsApiRequest)}
