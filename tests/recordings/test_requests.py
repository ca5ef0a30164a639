"""Order requests of another client on the same venue: where both would say the same, ours says the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from streamhedge.domain.order import OrderType, Side, TimeInForce
from streamhedge.domain.values import Symbol
from streamhedge.wire.requests import order_status, place_order
from tests.support.recordings import recording
from tests.support.shared import needs_shared
from tests.support.wire_requests import place, rest_requests

REQUESTS = recording("requests/ccxt_usdm_requests.jsonl")

pytestmark = needs_shared

OURS_TOO = (
    "ccxt/limit-buy-truncated-1",
    "ccxt/market-buy",
    "ccxt/limit-buy",
    "ccxt/reduce-only-limit-buy",
    "ccxt/post-only-limit-buy",
)
"""One-way LIMIT and MARKET orders on /fapi/v1/order."""
OTHER_WAYS: dict[str, str] = {
    "ccxt/hedged-reduce-only-market-buy": "hedge mode is read, not traded",
    "ccxt/algo-stop": "no conditional orders are built here",
    "ccxt/algo-stop-loss": "no conditional orders are built here",
    "ccxt/algo-stop-btc": "no conditional orders are built here",
    "ccxt/batch-create": "one intent, one request",
    "ccxt/edit-by-client-id": "an order is never amended",
    "ccxt/fetch-by-client-id": "asked over the WebSocket API",
}
OUR_OWN = {"selfTradePreventionMode", "newClientOrderId", "recvWindow"}
"""What this program says beyond the other client."""


def rows() -> list[Any]:
    """Return the recorded requests, named as they name themselves."""
    read = [orjson.loads(line) for line in REQUESTS.lines()]
    return [pytest.param(row, id=row["id"]) for row in read]


@pytest.mark.parametrize("row", rows())
def test_recorded_request(row: dict[str, Any]) -> None:
    expected = row["expected"]
    path = urlsplit(expected["url"]).path
    if row["id"] in OTHER_WAYS:
        check_not_built(row["id"], expected, path)
        return
    assert row["id"] in OURS_TOO
    said = expected["params"]
    lifetimes = {lifetime.value: lifetime for lifetime in TimeInForce}
    if said.get("timeInForce", "IOC") not in lifetimes:
        assert said["timeInForce"] == "GTX", "post-only is the one lifetime this program never uses"
        return
    request = place_order(
        place(
            symbol=Symbol(said["symbol"]),
            side=Side(said["side"]),
            type=OrderType(said["type"]),
            quantity=Decimal(said["quantity"]),
            price=Decimal(said["price"]) if "price" in said else None,
            time_in_force=lifetimes[said["timeInForce"]] if "timeInForce" in said else None,
            reduce_only=said.get("reduceOnly") == "true",
        ),
        recv_window_ms=5000,
    )

    assert (request.method, request.path) == (expected["http"], path)
    assert {name: value for name, value in request.params if name not in OUR_OWN} == said


def check_not_built(name: str, expected: dict[str, Any], path: str) -> None:
    """Fail where this program could send the same call after all."""
    ours = {(request.method, request.path) for request in rest_requests().values()}
    if name == "ccxt/hedged-reduce-only-market-buy":
        built = [dict(request.params) for request in rest_requests().values()]
        assert not any("positionSide" in params for params in built)
        return
    if path.endswith("/algoOrder"):
        # A stop of ours goes the same way; which kinds there are is another matter.
        (built,) = [dict(r.params) for r in rest_requests().values() if (r.method, r.path) == (expected["http"], path)]
        assert {"symbol", "side", "type", "algoType", "triggerPrice"} <= set(built) & set(expected["params"])
        return
    assert (expected["http"], path) not in ours
    if name == "ccxt/fetch-by-client-id":
        question = order_status(Symbol("LTCUSDT"), place().client_order_id, recv_window_ms=5000)
        assert set(expected["params"]) == set(question.params) - {"recvWindow"}


def test_every_recorded_request_is_judged() -> None:
    assert {row["id"] for row in REQUESTS.rows()} == {*OURS_TOO, *OTHER_WAYS}
