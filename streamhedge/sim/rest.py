"""The REST door: one table of path, security, weight and handler."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from streamhedge.sim import account_calls, algo_calls, market_calls, order_calls
from streamhedge.sim.access import check_time
from streamhedge.sim.calls import KEY, NONE, SIGNED, Call, Endpoint, Reply
from streamhedge.sim.grammar import encode
from streamhedge.sim.refusals import Refusal

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange


PORTAL = "<html><body>Welcome to the hotel network. Please log in.</body></html>"


def answer(exchange: Exchange, *, method: str, path: str, query: str, body: str, api_key: str, now_ms: int) -> Reply:
    """Answer one request."""
    endpoint = TABLE.get((method, path))
    exchange.calls[f"{method} {path}"] = exchange.calls.get(f"{method} {path}", 0) + 1
    if exchange.in_maintenance(now_ms):
        return refusal(Refusal(-1016))
    if endpoint is None:
        known = any(name == path for _, name in TABLE)
        return Reply(
            404 if not known else 405, {}, encode({"code": -5000, "msg": f"Path {path}, Method {method} is invalid"})
        )
    if exchange.faults.take("S12", now_ms) is not None:
        return Reply(200, {"content-type": "text/html"}, PORTAL)
    params = {**dict(parse_qsl(body, keep_blank_values=True)), **dict(parse_qsl(query, keep_blank_values=True))}
    wait = exchange.limits.spend(endpoint.cost(params), endpoint.orders, now_ms)
    headers = exchange.limits.headers(now_ms, orders=endpoint.orders > 0)
    if wait is not None:
        return limited(exchange, wait, now_ms, headers)
    try:
        if endpoint.security != NONE:
            exchange.keys.known(api_key)
        if endpoint.security == SIGNED:
            _check(exchange, api_key, query, body, params, now_ms)
        found = endpoint.handler(exchange, Call(params, now_ms, path))
    except Refusal as error:
        return refusal(error, headers)
    if isinstance(found, Reply):
        return Reply(found.status, {**headers, **found.headers}, found.body, found.cut)
    return Reply(200, headers, encode(found))


def refusal(error: Refusal, headers: dict[str, str] | None = None) -> Reply:
    """Return a refusal as an answer."""
    return Reply(error.status, headers or {}, encode(error.body))


def limited(exchange: Exchange, wait_s: int, now_ms: int, headers: dict[str, str]) -> Reply:
    """Return the answer of who asked too much: 429, or 418 once banned, with how long to wait."""
    status, body = exchange.limits.words(now_ms)
    return Reply(status, {**headers, "retry-after": str(wait_s)}, encode(body))


def _check(exchange: Exchange, api_key: str, query: str, body: str, params: dict[str, str], now_ms: int) -> None:
    for name in ("timestamp", "signature"):
        if not params.get(name):
            raise Refusal(-1102, name)
    payload = _unsigned(query) + _unsigned(body)
    exchange.keys.check(api_key, payload.encode(), params["signature"])
    check_time(params["timestamp"], params.get("recvWindow", ""), now_ms)


def _unsigned(text: str) -> str:
    return "&".join(word for word in text.split("&") if not word.startswith("signature="))


TABLE: dict[tuple[str, str], Endpoint] = {
    ("GET", "/fapi/v1/ping"): Endpoint(market_calls.ping, NONE, 1),
    ("GET", "/fapi/v1/time"): Endpoint(market_calls.server_time, NONE, 1),
    ("GET", "/fapi/v1/exchangeInfo"): Endpoint(market_calls.exchange_info, NONE, 1),
    ("GET", "/fapi/v1/premiumIndex"): Endpoint(market_calls.premium_index, NONE, 10, weight_one=1),
    ("GET", "/fapi/v1/fundingInfo"): Endpoint(market_calls.funding_info, NONE, 0),
    ("GET", "/fapi/v1/fundingRate"): Endpoint(market_calls.funding_rates, NONE, 0),
    ("GET", "/fapi/v1/depth"): Endpoint(market_calls.depth, NONE, 10),
    ("GET", "/fapi/v1/ticker/price"): Endpoint(market_calls.ticker_price, NONE, 2, weight_one=1),
    ("GET", "/fapi/v2/ticker/price"): Endpoint(market_calls.ticker_price, NONE, 2, weight_one=1),
    ("GET", "/fapi/v1/ticker/bookTicker"): Endpoint(market_calls.ticker_book, NONE, 5, weight_one=2),
    ("GET", "/fapi/v1/leverageBracket"): Endpoint(account_calls.brackets, SIGNED, 1),
    ("GET", "/fapi/v1/commissionRate"): Endpoint(account_calls.commission, SIGNED, 20),
    ("GET", "/fapi/v1/accountConfig"): Endpoint(account_calls.account_config, SIGNED, 5),
    ("GET", "/fapi/v1/symbolConfig"): Endpoint(account_calls.symbol_config, SIGNED, 5),
    ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(account_calls.multi_assets_get, SIGNED, 30),
    ("GET", "/fapi/v1/positionSide/dual"): Endpoint(account_calls.position_mode_get, SIGNED, 30),
    ("GET", "/fapi/v1/rateLimit/order"): Endpoint(account_calls.order_limits, SIGNED, 1),
    ("GET", "/fapi/v3/positionRisk"): Endpoint(account_calls.positions, SIGNED, 5),
    ("GET", "/fapi/v2/positionRisk"): Endpoint(account_calls.positions_v1, SIGNED, 5),
    ("GET", "/fapi/v3/balance"): Endpoint(account_calls.balances, SIGNED, 5),
    ("GET", "/fapi/v2/balance"): Endpoint(account_calls.balances, SIGNED, 5),
    ("GET", "/fapi/v3/account"): Endpoint(account_calls.account_status, SIGNED, 5),
    ("GET", "/fapi/v2/account"): Endpoint(account_calls.account_status_v1, SIGNED, 5),
    ("POST", "/fapi/v1/leverage"): Endpoint(account_calls.leverage, SIGNED, 1),
    ("POST", "/fapi/v1/marginType"): Endpoint(account_calls.margin_type, SIGNED, 1),
    ("POST", "/fapi/v1/multiAssetsMargin"): Endpoint(account_calls.multi_assets_set, SIGNED, 1),
    ("POST", "/fapi/v1/positionSide/dual"): Endpoint(account_calls.position_mode_set, SIGNED, 1),
    ("POST", "/fapi/v1/listenKey"): Endpoint(account_calls.listen_key_post, KEY, 1),
    ("PUT", "/fapi/v1/listenKey"): Endpoint(account_calls.listen_key_put, KEY, 1),
    ("DELETE", "/fapi/v1/listenKey"): Endpoint(account_calls.listen_key_delete, KEY, 1),
    ("GET", "/fapi/v1/openOrders"): Endpoint(order_calls.open_orders, SIGNED, 40, weight_one=1),
    ("GET", "/fapi/v1/allOrders"): Endpoint(order_calls.all_orders, SIGNED, 5),
    ("GET", "/fapi/v1/openAlgoOrders"): Endpoint(algo_calls.open_algo_orders, SIGNED, 40, weight_one=1),
    ("GET", "/fapi/v1/algoOrder"): Endpoint(algo_calls.query, SIGNED, 1),
    ("POST", "/fapi/v1/algoOrder"): Endpoint(algo_calls.place, SIGNED, 0, orders=1),
    ("DELETE", "/fapi/v1/algoOrder"): Endpoint(algo_calls.cancel, SIGNED, 1),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Endpoint(algo_calls.cancel_all, SIGNED, 1),
    ("GET", "/fapi/v1/order"): Endpoint(order_calls.query_order, SIGNED, 1),
    ("GET", "/fapi/v1/userTrades"): Endpoint(order_calls.user_trades, SIGNED, 5),
    ("GET", "/fapi/v1/income"): Endpoint(order_calls.income, SIGNED, 30),
    ("POST", "/fapi/v1/order"): Endpoint(order_calls.place_order, SIGNED, 0, orders=1),
    ("DELETE", "/fapi/v1/order"): Endpoint(order_calls.cancel_order, SIGNED, 1),
    ("DELETE", "/fapi/v1/allOpenOrders"): Endpoint(order_calls.cancel_all, SIGNED, 1),
}
