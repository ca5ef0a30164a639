"""Commands to requests: what goes on the wire, before the clock and the signature are added.

The whole list of REST calls this program makes is here (PRODUCT §9); everything else comes over streams or the
WebSocket API. An order is built once from its command and sent once.
"""

from __future__ import annotations

from streamhedge.domain.commands import PlaceOrder, PlaceStop
from streamhedge.domain.order import OrderType
from streamhedge.domain.values import ClientOrderId, Symbol, plain_text, record
from streamhedge.wire.signing import Params

ORDER_PATH = "/fapi/v1/order"
ALGO_PATH = "/fapi/v1/algoOrder"
LISTEN_KEY_PATH = "/fapi/v1/listenKey"
USER_EVENTS = (
    "ORDER_TRADE_UPDATE/ACCOUNT_UPDATE/ACCOUNT_CONFIG_UPDATE/MARGIN_CALL/ALGO_UPDATE/TRADE_LITE/listenKeyExpired"
)
"""The explicit allow-list of the private stream; a name left out is never delivered (BINANCE_USDM §1.4)."""


@record
class RestRequest:
    """One REST call. ``label`` names it in the recording; ``weight`` is request weight, ``orders`` order count."""

    label: str
    method: str
    path: str
    params: Params
    signed: bool
    weight: int = 1
    orders: int = 0
    client_order_id: str | None = None


def place_order(command: PlaceOrder, *, recv_window_ms: int) -> RestRequest:
    """Return the one request of an order. RESULT asks for the final state; self-trade prevention is said explicitly."""
    params = [
        ("symbol", command.symbol),
        ("side", command.side.value),
        ("type", command.type.value),
        ("quantity", plain_text(command.quantity)),
    ]
    if command.type is OrderType.LIMIT:
        assert command.price is not None and command.time_in_force is not None, "a LIMIT order has price and lifetime"
        params += [("price", plain_text(command.price)), ("timeInForce", command.time_in_force.value)]
        params += [("selfTradePreventionMode", "EXPIRE_TAKER")]
    if command.reduce_only:
        params.append(("reduceOnly", "true"))
    params += [
        ("newClientOrderId", command.client_order_id),
        ("newOrderRespType", "RESULT"),
        ("recvWindow", str(recv_window_ms)),
    ]
    return RestRequest("order", "POST", ORDER_PATH, params, True, 0, 1, command.client_order_id)


def cancel_order(symbol: Symbol, client_order_id: ClientOrderId, *, recv_window_ms: int) -> RestRequest:
    """Return the cancel of one open order of ours."""
    params = [("symbol", symbol), ("origClientOrderId", client_order_id), ("recvWindow", str(recv_window_ms))]
    return RestRequest("cancel", "DELETE", ORDER_PATH, params, True, 1, 0, client_order_id)


def place_stop(stop: PlaceStop, *, recv_window_ms: int) -> RestRequest:
    """Return the one request of a stop: on the mark, which liquidation follows, and never close-all."""
    params = [
        ("algoType", "CONDITIONAL"),
        ("symbol", stop.symbol),
        ("side", stop.side.value),
        ("type", "STOP_MARKET"),
        ("quantity", plain_text(stop.quantity)),
        ("triggerPrice", plain_text(stop.trigger_price)),
        ("workingType", "MARK_PRICE"),
        ("reduceOnly", "true"),
        ("clientAlgoId", stop.client_order_id),
        ("recvWindow", str(recv_window_ms)),
    ]
    return RestRequest("stop", "POST", ALGO_PATH, params, True, 0, 1, stop.client_order_id)


def cancel_stop(client_order_id: ClientOrderId, *, recv_window_ms: int) -> RestRequest:
    """Return the cancel of one stop of ours."""
    params = [("clientAlgoId", client_order_id), ("recvWindow", str(recv_window_ms))]
    return RestRequest("cancel_stop", "DELETE", ALGO_PATH, params, True, 1, 0, client_order_id)


def open_stops(symbol: Symbol, number: int, *, recv_window_ms: int) -> RestRequest:
    """Return openAlgoOrders of one symbol; no WebSocket method lists them. The recording names symbol and number."""
    params = [("symbol", symbol), ("recvWindow", str(recv_window_ms))]
    name = ClientOrderId(f"{symbol}:{number}")
    return RestRequest("open_stops", "GET", "/fapi/v1/openAlgoOrders", params, True, client_order_id=name)


def create_listen_key() -> RestRequest:
    """Return POST listenKey; the same key comes back while one is active."""
    return RestRequest("listen_key", "POST", LISTEN_KEY_PATH, [], False)


def renew_listen_key() -> RestRequest:
    """Return PUT listenKey."""
    return RestRequest("listen_key", "PUT", LISTEN_KEY_PATH, [], False)


def open_orders(*, recv_window_ms: int) -> RestRequest:
    """Return openOrders of the whole account; no WebSocket method lists them."""
    return RestRequest(
        "open_orders", "GET", "/fapi/v1/openOrders", [("recvWindow", str(recv_window_ms))], True, weight=40
    )


def exchange_info() -> RestRequest:
    """Return exchangeInfo: filters of every symbol."""
    return RestRequest("exchange_info", "GET", "/fapi/v1/exchangeInfo", [], False)


def leverage_bracket(symbol: Symbol, *, recv_window_ms: int) -> RestRequest:
    """Return the account's maintenance brackets of one symbol."""
    params = [("symbol", symbol), ("recvWindow", str(recv_window_ms))]
    return RestRequest("leverage_bracket", "GET", "/fapi/v1/leverageBracket", params, True)


def commission_rate(symbol: Symbol, *, recv_window_ms: int) -> RestRequest:
    """Return the account's fee rates of one symbol."""
    params = [("symbol", symbol), ("recvWindow", str(recv_window_ms))]
    return RestRequest("commission_rate", "GET", "/fapi/v1/commissionRate", params, True, weight=20)


def funding_info() -> RestRequest:
    """Return fundingInfo: symbols whose interval or caps differ from 8 h."""
    return RestRequest("funding_info", "GET", "/fapi/v1/fundingInfo", [], False, weight=0)


def account_config(*, recv_window_ms: int) -> RestRequest:
    """Return the account's modes."""
    params = [("recvWindow", str(recv_window_ms))]
    return RestRequest("account_config", "GET", "/fapi/v1/accountConfig", params, True, weight=5)


def symbol_config(*, recv_window_ms: int) -> RestRequest:
    """Return leverage and margin type of every symbol."""
    params = [("recvWindow", str(recv_window_ms))]
    return RestRequest("symbol_config", "GET", "/fapi/v1/symbolConfig", params, True, weight=5)


def set_leverage(symbol: Symbol, leverage: int, *, recv_window_ms: int) -> RestRequest:
    """Return the change of a symbol's leverage."""
    params = [("symbol", symbol), ("leverage", str(leverage)), ("recvWindow", str(recv_window_ms))]
    return RestRequest("leverage", "POST", "/fapi/v1/leverage", params, True)


def set_margin_type(symbol: Symbol, *, isolated: bool, recv_window_ms: int) -> RestRequest:
    """Return the change of a symbol's margin type."""
    word = "ISOLATED" if isolated else "CROSSED"
    params = [("symbol", symbol), ("marginType", word), ("recvWindow", str(recv_window_ms))]
    return RestRequest("margin_type", "POST", "/fapi/v1/marginType", params, True)


@record
class WsApiRequest:
    """One WebSocket API call; INT parameters stay integers, decimals are strings."""

    method: str
    params: dict[str, str | int]
    signed: bool
    weight: int


def positions(*, recv_window_ms: int) -> WsApiRequest:
    """Return `v2/account.position`: symbols with a position or open orders."""
    return WsApiRequest("v2/account.position", {"recvWindow": recv_window_ms}, True, 5)


def balances(*, recv_window_ms: int) -> WsApiRequest:
    """Return `v2/account.balance`."""
    return WsApiRequest("v2/account.balance", {"recvWindow": recv_window_ms}, True, 5)


def order_status(symbol: Symbol, client_order_id: ClientOrderId, *, recv_window_ms: int) -> WsApiRequest:
    """Return `order.status` by client order id."""
    params: dict[str, str | int] = {
        "symbol": symbol,
        "origClientOrderId": client_order_id,
        "recvWindow": recv_window_ms,
    }
    return WsApiRequest("order.status", params, True, 1)


def server_time() -> WsApiRequest:
    """Return `time`."""
    return WsApiRequest("time", {}, False, 1)
