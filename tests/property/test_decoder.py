"""Frames bent where it hurts: the decoder never raises and never lets a figure through that no book could hold.

Mutations know the structure (random bytes die in the parser): a key goes, a type changes, an enum gets a new member,
a number turns extreme, a part moves where another was.
"""

from __future__ import annotations

import copy
import json
import typing
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import event as observed
from hypothesis import given, settings
from hypothesis import strategies as st

from streamhedge.domain.canonical import from_plain, to_plain
from streamhedge.domain.events import Event, Quarantined
from streamhedge.runtime.inputs import Calls, SnapshotCall, decode_input
from streamhedge.wire.streams import decode_market, decode_private

FRAMES = Path(__file__).parents[1] / "golden" / "frames"
EVENTS = typing.get_args(Event)
Address = tuple[str | int, ...]


def frames(door: str) -> list[Any]:
    """Return the composed frames of one door."""
    return [case["frame"] for case in json.loads((FRAMES / f"{door}.json").read_text(encoding="utf-8"))]


MARKET, PRIVATE = frames("market"), frames("private")

POSITION = {
    **{"symbol": "ETHUSDT", "positionSide": "BOTH", "positionAmt": "-12.400", "entryPrice": "2609.11", "adl": 1},
    **{"breakEvenPrice": "2607.8", "markPrice": "2611.4", "liquidationPrice": "3100", "isolatedWallet": "0"},
    **{"maintMargin": "130", "initialMargin": "8000", "marginAsset": "USDT", "updateTime": 1795244410000},
}
BALANCE = {
    **{"asset": "USDT", "balance": "51200.75", "crossWalletBalance": "48200.25", "availableBalance": "40000"},
    "updateTime": 1795244410000,
}
ORDER = {"clientOrderId": "sh-0badcafe-2-000007", "status": "FILLED", "executedQty": "2.5", "cumQuote": "6529.5"}
ANSWERS: list[Any] = [
    {"id": "pos-1", "status": 200, "result": [POSITION]},
    {"id": "bal-1", "status": 200, "result": [BALANCE]},
    {"id": "ord-sh-0badcafe-2-000007-3", "status": 200, "result": {**ORDER, "orderId": 8812}},
    {"id": "ord-sh-0badcafe-2-000007-3", "status": 400, "error": {"code": -2013, "msg": "Order does not exist."}},
    {"id": "time-1", "status": 200, "result": {"serverTime": 1795244410000}},
    {"id": None, "status": 401, "error": {"code": -2015, "msg": "Invalid API-key", "data": {"retryAfter": 5}}},
]

EXTREMES = st.sampled_from(
    [
        *(
            "1e999",
            "1e-999",
            "-1e21",
            "NaN",
            "sNaN",
            "Infinity",
            "-0",
            "0",
            "",
            " ",
            "1_000",
            "0x10",
            "１２",
            "²",
            "--5",
        ),
        *(0, -1, 2**53 + 1, 2**63, -(2**63), 2**64, 10**40, True, False, None, 0.1, -0.0, 1e308, 5e-324),
        *("9" * 400, "0." + "0" * 400 + "1", "9" * 40 + ".5"),
    ]
)
WORDS = st.sampled_from(
    [
        "NEW_2027",
        "FILLED",
        "LONG",
        "SELL",
        "TRADE",
        "isolated",
        "ORDER",
        "ACCOUNT_UPDATE",
        "markPriceUpdate",
        "\x00",
        "😀",
    ]
)
SHAPES = st.sampled_from(
    [[], {}, [[]], [None], {"": None}, {"data": {}, "stream": "x"}, {"e": "TRADE_LITE"}, [7], "[]"]
)
VALUES = EXTREMES | WORDS | SHAPES


def paths(value: object, here: Address = ()) -> list[Address]:
    """Return the address of every part of a frame, its root first."""
    found: list[Address] = [here]
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*here, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, (*here, index))
    return found


def at(value: Any, path: Address) -> Any:
    """Return the part at an address."""
    for key in path:
        value = value[key]
    return value


@st.composite
def bent(draw: st.DrawFn, whole: list[Any]) -> bytes:
    """Draw a frame with one to three faults."""
    frame = copy.deepcopy(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(frame)))
        fault = draw(st.sampled_from(["replace", "drop", "add", "move", "repeat", "wrap"]))
        if not path or fault == "wrap":
            frame = draw(
                st.sampled_from([[frame, frame], {"stream": "s", "data": frame}, {"data": frame, **_own(frame)}])
            )
            continue
        parent, key = at(frame, path[:-1]), path[-1]
        if fault == "replace":
            parent[key] = copy.deepcopy(draw(VALUES))
        elif fault == "drop":
            del parent[key]
        elif fault == "move":
            parent[key] = copy.deepcopy(at(frame, draw(st.sampled_from(paths(frame)))))
        elif fault == "add" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["st", "e", "data", "stream", "S", "zz", "id"]))] = copy.deepcopy(draw(VALUES))
        elif fault == "repeat":
            parent[key] = [parent[key], parent[key]]
    observed(f"faults on {type(frame).__name__}")
    return json.dumps(frame, ensure_ascii=False).encode()


def _own(frame: object) -> dict[str, Any]:
    return dict(frame) if isinstance(frame, dict) else {}


def check_figures(value: object) -> None:
    """Fail on a figure that is not finite, out of any range, or no 64-bit integer."""
    if isinstance(value, Decimal):
        assert value.is_finite()
        assert value == 0 or -20 <= value.adjusted() <= 20
    elif isinstance(value, int) and not isinstance(value, bool):
        assert -(2**63) <= value < 2**63
    elif isinstance(value, tuple):
        for item in value:
            check_figures(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            check_figures(getattr(value, name))
    else:
        assert not isinstance(value, float)


def check_events(events: list[Event], *, private: bool, raw: bytes) -> None:
    """Fail on anything but sound events, with at most one quarantine, last."""
    for event in events:
        assert isinstance(event, EVENTS)
        check_figures(event)
        plain = orjson.loads(orjson.dumps(to_plain(event)))
        assert from_plain(type(event), plain) == event
        if isinstance(event, Quarantined):
            assert event is events[-1]
            assert event.private is private
            assert raw.startswith(event.head.encode("utf-8", "replace")[:50])


@pytest.mark.fault("S7")
@settings(max_examples=1_500)
@given(bent(MARKET + PRIVATE))
def test_a_bent_frame_on_a_market_stream(raw: bytes) -> None:
    check_events(decode_market(raw), private=False, raw=raw)


@pytest.mark.fault("S7")
@settings(max_examples=1_500)
@given(bent(PRIVATE + MARKET))
def test_a_bent_frame_on_the_private_stream(raw: bytes) -> None:
    check_events(decode_private(raw), private=True, raw=raw)


@pytest.mark.fault("S7")
@settings(max_examples=500)
@given(st.sampled_from(MARKET + PRIVATE), st.data())
def test_a_broken_byte(frame: Any, data: st.DataObject) -> None:
    raw = bytearray(json.dumps(frame).encode())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position : position + data.draw(st.integers(1, 9))] = data.draw(st.binary(max_size=6))

    for decode in (decode_market, decode_private):
        for event in decode(bytes(raw)):
            assert isinstance(event, EVENTS)
            check_figures(event)


@pytest.mark.fault("S7")
@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_noise(raw: bytes) -> None:
    for decode in (decode_market, decode_private):
        assert all(isinstance(event, EVENTS) for event in decode(raw))


@settings(max_examples=1_500)
@given(bent(ANSWERS))
def test_a_bent_answer(raw: bytes) -> None:
    calls = Calls(next=2, snapshots={1: SnapshotCall(requested_ns=0, audit=False)}, times={1: 0})
    for event in decode_input("wsapi", raw, calls, 0):
        assert isinstance(event, EVENTS)
        check_figures(event)
        orjson.dumps(to_plain(event))
