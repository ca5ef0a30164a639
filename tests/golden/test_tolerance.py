"""What the decoder cannot read raises nothing: a private frame makes the book suspect, a market frame is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from streamhedge.domain.events import AccountUpdate, MarkPriceUpdate, Quarantined
from streamhedge.errors import ParseError
from streamhedge.wire.answers import balances_of, decode_ws_api, exact_json, positions_of
from streamhedge.wire.streams import decode_market, decode_private

MARK = {
    "e": "markPriceUpdate",
    "E": 1795244400000,
    "s": "ETHUSDT",
    "p": "2611.4",
    "i": "2612.025",
    "r": "-0.000125",
    "T": 1795248000000,
    "st": 1,
}
POSITION = {"s": "ETHUSDT", "pa": "-12.4", "ep": "2609.11", "bep": "2607.8", "cr": "0", "mt": "cross", "iw": "0"}
BALANCE = {"a": "USDT", "wb": "51200.75", "cw": "48200.25", "bc": "0"}
ORDER = {
    **{"s": "ETHUSDT", "c": "sh-0badcafe-2-000007", "S": "BUY", "o": "LIMIT", "q": "2.5", "p": "2612", "x": "TRADE"},
    **{"X": "FILLED", "i": 881, "l": "2.5", "z": "2.5", "L": "2611.8", "n": "1", "N": "USDT", "t": 4411220, "rp": "0"},
}


def account_update(**position: object) -> dict[str, Any]:
    """Return an ACCOUNT_UPDATE whose one position says this."""
    body = {"m": "ORDER", "B": [BALANCE], "P": [{**POSITION, **position}]}
    return {"e": "ACCOUNT_UPDATE", "T": 1795244410000, "E": 1795244410004, "a": body}


def report(**order: object) -> dict[str, Any]:
    """Return an ORDER_TRADE_UPDATE whose order says this."""
    return {"e": "ORDER_TRADE_UPDATE", "T": 1795244411000, "E": 1795244411002, "o": {**ORDER, **order}}


def without(frame: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return a frame without one field."""
    copy = json.loads(json.dumps(frame))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return copy


BROKEN_BYTES = {
    "empty": b"",
    "blank": b"   ",
    "text": b"hello",
    "html": b"<html><head><title>502 Bad Gateway</title></head></html>",
    "truncated": b'{"e":"ACCOUNT_UPDATE","T":1795244410000,"E":17952444',
    "bad UTF-8": b'{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{"m":"\xff\xfe"}}',
    "lone surrogate": b'{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{"m":"\\ud800"}}',
    "NaN": b'{"e":"markPriceUpdate","E":1,"s":"ETHUSDT","p":NaN}',
    "Infinity": b'{"e":"markPriceUpdate","E":1,"s":"ETHUSDT","p":-Infinity}',
    "two values": b'{"result":null,"id":1}{"result":null,"id":2}',
    "null": b"null",
    "number": b"17",
    "string": b'"markPriceUpdate"',
    "list of numbers": b"[1,2,3]",
    "nobody's object": b'{"hello":"world"}',
    "event name of another type": b'{"e":["markPriceUpdate"],"E":1}',
    "event name null": b'{"e":null,"E":1}',
    "wrapper without a frame": b'{"stream":"ethusdt@markPrice","data":null}',
    "nested 400 kB": b"[" * 200_000 + b"]" * 200_000,
    "nested 400 kB in an event": b'{"e":"ACCOUNT_UPDATE","a":' + b'{"a":' * 80_000 + b"1" + b"}" * 80_000 + b"}",
    "20 000 digits": b'{"e":"markPriceUpdate","s":"ETHUSDT","p":"1","E":' + b"9" * 20_000 + b"}",
}

BROKEN_EVENTS: dict[str, dict[str, Any]] = {
    "unknown type": {"e": "POSITION_MODE_UPDATE", "E": 1, "T": 1},
    "unknown product family": {**account_update(), "st": 3},
    "product family as text": {**account_update(), "st": "1"},
    "quantity out of range": account_update(pa="1e999"),
    "quantity vanishing": account_update(pa="1e-999"),
    "quantity NaN": account_update(pa="NaN"),
    "quantity infinite": account_update(pa="Infinity"),
    "quantity as binary float": account_update(pa=0.25),
    "quantity null": account_update(pa=None),
    "quantity a list": account_update(pa=["1"]),
    "quantity true": account_update(pa=True),
    "quantity empty": account_update(pa=""),
    "entry missing": {**account_update(), "a": {"m": "ORDER", "P": [without(POSITION, "ep")]}},
    "unknown position side": account_update(ps="NET"),
    "unknown margin type": account_update(mt="portfolio"),
    "margin type null": account_update(mt=None),
    "symbol a number": account_update(s=7),
    "a row is no object": {**account_update(), "a": {"m": "ORDER", "P": [7]}},
    "rows are no list": {**account_update(), "a": {"m": "ORDER", "P": 7}},
    "body missing": without(account_update(), "a"),
    "body null": {**account_update(), "a": None},
    "cause a number": {**account_update(), "a": {"m": 7}},
    "time missing": without(account_update(), "T"),
    "time a float": {**account_update(), "T": 1795244410000.5},
    "time of 30 digits": {**account_update(), "E": 10**30},
    "time with a superscript": {**account_update(), "E": "17952²"},
    "order missing": without(report(), "o"),
    "client id missing": without(report(), "o", "c"),
    "client id null": report(c=None),
    "unknown execution": report(x="RESTATED"),
    "unknown status": report(X="PAUSED"),
    "execution and status that never met": report(x="NEW", X="FILLED"),
    "unknown side": report(S="SHORT"),
    "side null": report(S=None),
    "order id a word": report(i="881x"),
    "cumulative a word": report(z="two"),
    "leverage of nothing": {"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "T": 1, "ac": {}},
    "mode in words": {"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "T": 1, "ai": {"j": "true"}},
    "configuration of nothing": {"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "T": 1},
    "margin call of a word": {"e": "MARGIN_CALL", "E": 1, "p": "ETHUSDT"},
    "algo id missing": {"e": "ALGO_UPDATE", "E": 1, "T": 1, "o": {"caid": "x", "s": "ETHUSDT", "X": "NEW", "S": "BUY"}},
}

BROKEN_MARKS: dict[str, dict[str, Any]] = {
    "unknown type": {"e": "markPriceUpdate2", "E": 1, "s": "ETHUSDT"},
    "price missing": without(MARK, "p"),
    "price zero": {**MARK, "p": "0"},
    "price negative": {**MARK, "p": "-2611.4"},
    "price a float": {**MARK, "p": 2611.4},
    "price out of range": {**MARK, "p": "1e999"},
    "rate a word": {**MARK, "r": "soon"},
    "symbol missing": without(MARK, "s"),
    "time missing": without(MARK, "E"),
    "next funding null": {**MARK, "T": None},
    "unknown product family": {**MARK, "st": 7},
    "status missing": {"e": "contractInfo", "E": 1, "s": "ETHUSDT", "ct": "PERPETUAL"},
    "bracket without a rate": {
        "e": "contractInfo",
        "E": 1,
        "s": "ETHUSDT",
        "cs": "TRADING",
        "bks": [{"bnf": 0, "bnc": 1}],
    },
    "brackets of a word": {"e": "contractInfo", "E": 1, "s": "ETHUSDT", "cs": "TRADING", "bks": "many"},
}


@pytest.mark.parametrize("name", BROKEN_BYTES)
@pytest.mark.fault("S7", "S9")
def test_broken_bytes_on_the_private_stream(name: str) -> None:
    raw = BROKEN_BYTES[name]
    (event,) = decode_private(raw)

    assert isinstance(event, Quarantined)
    assert (event.private, event.source) == (True, "private")
    assert event.head == raw[:200].decode("utf-8", "replace")
    assert 0 < len(event.reason) <= 200


@pytest.mark.parametrize("name", BROKEN_BYTES)
@pytest.mark.fault("S7", "S9")
def test_broken_bytes_on_a_market_stream(name: str) -> None:
    (event,) = decode_market(BROKEN_BYTES[name])

    assert isinstance(event, Quarantined)
    assert (event.private, event.source) == (False, "market")


@pytest.mark.parametrize("name", BROKEN_EVENTS)
@pytest.mark.fault("S7")
def test_broken_private_event(name: str) -> None:
    raw = json.dumps(BROKEN_EVENTS[name]).encode()
    (event,) = decode_private(raw)

    assert isinstance(event, Quarantined)
    assert event.private
    assert event.head == raw[:200].decode()


@pytest.mark.parametrize("name", BROKEN_MARKS)
@pytest.mark.fault("S7")
def test_broken_market_event(name: str) -> None:
    (event,) = decode_market(json.dumps(BROKEN_MARKS[name]).encode())

    assert isinstance(event, Quarantined)
    assert not event.private


def test_the_planted_frames_are_whole() -> None:
    """What the broken ones are cut from decodes, so that each is broken by what its name says."""
    assert isinstance(decode_private(json.dumps(account_update()).encode())[0], AccountUpdate)
    assert type(decode_private(json.dumps(report()).encode())[0]).__name__ == "ExecutionReport"
    assert isinstance(decode_market(json.dumps(MARK).encode())[0], MarkPriceUpdate)


def test_a_bad_row_of_an_array_does_not_cost_the_others() -> None:
    frame = [MARK, {**MARK, "s": "SOLUSDT", "p": "oops"}, {**MARK, "s": "XRPUSDT"}, {**MARK, "p": "0"}]
    first, second, bad = decode_market(json.dumps(frame).encode())

    assert isinstance(first, MarkPriceUpdate)
    assert isinstance(second, MarkPriceUpdate)
    assert (first.symbol, second.symbol) == ("ETHUSDT", "XRPUSDT")
    assert isinstance(bad, Quarantined)
    assert "oops" in bad.reason


def test_a_number_that_only_the_second_reading_refuses_is_quarantined() -> None:
    """Brackets are read once more without binary floats; there a number may vanish that had passed before."""
    raw = (
        b'{"e":"contractInfo","E":1,"s":"ETHUSDT","cs":"TRADING","x":1e-99999999999999999999,'
        b'"bks":[{"bnf":0,"bnc":1,"mmr":0.01,"cf":0,"ma":5}]}'
    )
    (event,) = decode_market(raw)

    assert isinstance(event, Quarantined)


# ---------------------------------------------------------------- WebSocket API


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"id":"pos-1"}',
        b'{"id":"pos-1","status":"200"}',
        b'{"id":"pos-1","status":null}',
        b'{"id":"pos-1","status":200,"result":1e-99999999999999999999}',
        b"[" * 200_000,
        b'{"status":200,"id":"\xff"}',
        b'{"id":"pos-1","status":400,"error":{"code":-1,"msg":"\\ud800"}}',  # text that nothing of ours could write
        b'{"id":"pos-1","status":200,"result":NaN}',
        b'{"id":"time-1","status":200,"result":{"serverTime":9223372036854775808}}',
    ],
)
@pytest.mark.fault("S7")
def test_a_broken_answer_is_a_parse_error(raw: bytes) -> None:
    with pytest.raises(ParseError):
        decode_ws_api(raw)


@pytest.mark.parametrize(
    "error", ['"gone"', "7", "[]", "null", "{}", '{"code":"-1003"}', '{"code":-1.5}', '{"data":"x"}', '{"msg":null}']
)
def test_an_error_of_any_shape_keeps_the_status(error: str) -> None:
    answer = decode_ws_api(b'{"id":"pos-1","status":503,"error":' + error.encode() + b"}")

    assert (answer.id, answer.status, answer.code, answer.message) == ("pos-1", 503, 0, "")
    assert answer.retry_after_ms is None


def test_the_wait_inside_an_error_is_read() -> None:
    frame = {"id": 9, "status": 418, "error": {"code": -1003, "msg": "Way too many", "data": {"retryAfter": 61000}}}
    answer = decode_ws_api(json.dumps(frame).encode())

    assert (answer.id, answer.code, answer.message, answer.retry_after_ms) == ("9", -1003, "Way too many", 61000)


@pytest.mark.parametrize("read", [positions_of, balances_of])
@pytest.mark.parametrize("result", [None, 7, "x", {}, [7], [{}], [{"symbol": "ETHUSDT"}], [{"asset": "USDT"}]])
def test_a_malformed_list_is_a_parse_error(read: Callable[[object], object], result: object) -> None:
    with pytest.raises(ParseError):
        read(result)


def test_an_empty_list_is_a_flat_account() -> None:
    assert positions_of(exact_json(b"[]")) == ()
