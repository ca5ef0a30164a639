"""The spot stream's frames, composed here and as published, with everything they decode to."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streamhedge.domain.order import Side
from streamhedge.domain.spot import SpotFill
from streamhedge.domain.values import Asset, Symbol
from streamhedge.errors import ParseError
from streamhedge.wire import spot
from streamhedge.wire.answers import WsApiAnswer
from streamhedge.wire.spot import SpotEnded, SpotMoved, SpotUnread, decode_spot, fills_of
from tests.support.shared import SHARED, needs_shared

D = Decimal
FOLDER = Path() if SHARED is None else SHARED / "protocol" / "examples"
REPORT: dict[str, Any] = {
    **{"e": "executionReport", "E": 1795161700003, "s": "ETHUSDC", "c": "mine", "S": "SELL", "o": "MARKET", "f": "GTC"},
    **{"q": "2.00000000", "p": "0.00000000", "g": -1, "C": "", "x": "TRADE", "X": "FILLED", "r": "NONE", "i": 71},
    **{"l": "1.50000000", "z": "2.00000000", "L": "2801.25000000", "n": "4.20187500", "N": "USDC", "t": 9, "I": 12},
    **{"T": 1795161700001, "w": False, "m": False, "O": 1795161700000, "Z": "5602.50000000", "Y": "4201.87500000"},
}
FILL = SpotFill(
    symbol=Symbol("ETHUSDC"),
    trade_id=9,
    order_id=71,
    side=Side.SELL,
    quantity=D("1.5"),
    price=D("2801.25"),
    commission=D("4.201875"),
    commission_asset=Asset("USDC"),
    time_ms=1795161700001,
)
ROW: dict[str, Any] = {
    **{"symbol": "ETHUSDC", "id": 9, "orderId": 71, "orderListId": -1, "price": "2801.25000000", "qty": "1.50000000"},
    **{"quoteQty": "4201.87500000", "commission": "4.20187500", "commissionAsset": "USDC", "time": 1795161700001},
    **{"isBuyer": False, "isMaker": False, "isBestMatch": True},
}
FREE = {"n": "0", "N": None}


def framed(**event: Any) -> bytes:
    """Return an event in its wrapper."""
    return json.dumps({"subscriptionId": 3, "event": event}).encode()


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (REPORT, FILL),
        ({**REPORT, "W": 1, "V": "EXPIRE_MAKER", "j": 1, "d": 4, "NEW": {}}, FILL),
        ({**REPORT, "x": "NEW", "l": "0.00000000", "t": -1}, None),
        ({**REPORT, "x": "CANCELED", "l": "0.00000000", "t": -1}, None),
        ({"e": "outboundAccountPosition", "E": 1, "u": 1, "B": []}, None),
        ({"e": "listStatus", "E": 1, "s": "BTCUSDT", "C": "x", "O": []}, None),
        (
            {"e": "balanceUpdate", "E": 1, "a": "BTC", "d": "-0.50000000", "T": 1},
            SpotMoved("transfer of -0.50000000 BTC"),
        ),
        (
            {"e": "externalLockUpdate", "E": 1, "a": "BTC", "d": "1.00000000", "T": 1},
            SpotMoved("lock of 1.00000000 BTC"),
        ),
        ({"e": "eventStreamTerminated", "E": 1}, SpotEnded(closing=False)),
        ({"e": "serverShutdown", "E": 1}, SpotEnded(closing=True)),
    ],
)
def test_events(event: dict[str, Any], found: object) -> None:
    assert decode_spot(framed(**event)) == found


def test_a_fill_without_commission() -> None:
    found = decode_spot(framed(**{**REPORT, **FREE}))
    assert isinstance(found, SpotFill) and (found.commission, found.commission_asset) == (0, None)


@pytest.mark.parametrize(
    "event",
    [
        {"e": "brandNew", "E": 1},
        {**REPORT, "l": "0"},
        {**REPORT, "L": "NaN"},
        {**REPORT, "t": "x"},
        {**REPORT, "S": "LEND"},
        {**REPORT, "n": "1", "N": None},
        {**REPORT, "s": ""},
        {"E": 1},
        {"e": None},
    ],
)
def test_what_is_not_understood_is_said_and_raises_nothing(event: dict[str, Any]) -> None:
    assert isinstance(decode_spot(framed(**event)), SpotUnread)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"event":[]}',
        b'{"event":"x"}',
        b"[" * 5_000,
        b'{"id":1}',
        b"\xff",
        b'{"status":"x"}',
    ],
)
def test_no_frame_at_all(raw: bytes) -> None:
    assert isinstance(decode_spot(raw), SpotUnread)


def test_answers_have_an_id_and_events_have_none() -> None:
    found = decode_spot(b'{"id":"spot-1","status":200,"result":{"subscriptionId":0}}')
    assert isinstance(found, WsApiAnswer) and (found.id, found.status) == ("spot-1", 200)


# ---------------------------------------------------------------- the past


def test_the_past_says_the_same_as_the_stream() -> None:
    assert fills_of([{**ROW, "id": 10}, ROW])[0] == FILL, "in the order of trade ids"
    (free,) = fills_of([{**ROW, "commission": "0.00000000", "commissionAsset": "BNB"}])
    assert free.commission_asset is None


@pytest.mark.parametrize(
    "page", [None, {}, [None], [{}], [{**ROW, "isBuyer": "false"}], [{**ROW, "qty": "-1"}], [{**ROW, "id": None}]]
)
def test_no_page_of_the_past(page: object) -> None:
    with pytest.raises(ParseError):
        fills_of(page)


# ---------------------------------------------------------------- as published


@needs_shared
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("balance_update", SpotMoved("transfer of -5000.00000000 USDT")),
        ("event_stream_terminated", SpotEnded(closing=False)),
        ("execution_report_new", None),
        ("external_lock_update", SpotMoved("lock of 0.10000000 BTC")),
        ("outbound_account_position", None),
        ("server_shutdown", SpotEnded(closing=True)),
        (
            "execution_report_trade",
            SpotFill(
                symbol=Symbol("BTCUSDT"),
                trade_id=5123456789,
                order_id=54321098765,
                side=Side.BUY,
                quantity=D("0.12"),
                price=D(76380),
                commission=D("0.00012"),
                commission_asset=Asset("BTC"),
                time_ms=1795161640002,
            ),
        ),
    ],
)
def test_published_events(name: str, found: object) -> None:
    assert decode_spot((FOLDER / f"spot_{name}.json").read_bytes()) == found


@needs_shared
def test_the_published_subscription() -> None:
    published = json.loads((FOLDER / "spot_subscribe_signature_request.json").read_bytes())
    ours = spot.subscribe(recv_window_ms=5_000)
    assert ours.method == published["method"]
    assert {*ours.params, "apiKey", "timestamp", "signature"} == set(published["params"])
    assert ours.params["recvWindow"] == published["params"]["recvWindow"]
    answer = decode_spot((FOLDER / "spot_subscribe_signature_response.json").read_bytes())
    assert isinstance(answer, WsApiAnswer) and answer.result == {"subscriptionId": 0}
