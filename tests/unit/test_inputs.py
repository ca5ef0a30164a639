"""Inputs of our own making and answers that are none: what ends the program, and what is only asked again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamhedge.domain.commands import QueryOrder, RequestSnapshot, RequestTime
from streamhedge.domain.events import CallFailed, Event
from streamhedge.domain.values import ClientOrderId
from streamhedge.errors import ParseError
from streamhedge.runtime.inputs import OPEN_CALLS_MOST, SOURCES, Calls, decode_input
from tests.support import builders as make

NOW_NS = make.T0_MS * 1_000_000


def read(source: str, payload: object) -> list[Event]:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return decode_input(source, raw, Calls(), NOW_NS)


def rest(label: str, body: str, *, status: int | None = 200, error: str = "", **headers: str) -> list[Event]:
    said: dict[str, Any] = {"label": label, "client_order_id": ""}
    return read(
        "rest", {"request": said, "status": status, "headers": headers, "body": body, "error": error, "sent": True}
    )


def test_an_unknown_source_is_a_fault_of_ours_and_not_ignored() -> None:
    with pytest.raises(ParseError, match="unknown input source 'gossip'"):
        read("gossip", {})


@pytest.mark.parametrize("source", ["conn", "tick", "trade", "verb", "manual", "store", "void", "clock"])
def test_an_input_of_ours_that_is_no_object_is_a_fault_of_ours(source: str) -> None:
    assert source in SOURCES
    with pytest.raises(ParseError, match="no JSON object"):
        read(source, [1, 2])


@pytest.mark.parametrize(
    ("label", "body"),
    [
        ("listen_key", "unreadable"),
        ("listen_key", "<html>"),
        ("open_orders", '{"code":0}'),
        ("open_orders", "[{}]"),
        ("open_orders", "<html>"),
    ],
)
def test_an_answer_of_200_that_is_none_is_a_failed_call(label: str, body: str) -> None:
    (found,) = rest(label, body)
    assert isinstance(found, CallFailed) and (found.what, found.status, found.code) == (label, 200, 0)
    assert found.message


def test_a_set_up_that_cannot_be_read_is_a_failed_call() -> None:
    for body in (b'{"exchange_info":{}}', b"<html>"):
        (found,) = read("setup", body)
        assert isinstance(found, CallFailed) and found.what == "setup" and found.message


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ('{"code":-1003,"msg":"slow down"}', -1003, "slow down"),
        ('{"code":"x"}', 0, "fallback"),
        ("[]", 0, "fallback"),
        ("<html>", 0, "fallback"),
        ("", 0, "fallback"),
    ],
)
def test_a_failed_call_says_what_is_known(body: str, code: int, message: str) -> None:
    (found,) = rest("listen_key", body, status=502, error="fallback")
    assert isinstance(found, CallFailed)
    assert (found.status, found.code, found.message) == (502, code, message)


def test_no_answer_at_all_is_status_zero() -> None:
    (found,) = rest("listen_key", "", status=None, error="TimeoutError")
    assert isinstance(found, CallFailed) and (found.status, found.message) == (0, "TimeoutError")


@pytest.mark.fault("O8")
def test_the_answer_to_a_cancel_decides_nothing() -> None:
    assert rest("cancel", '{"code":-2011,"msg":"Unknown order sent."}', status=400) == []


def test_calls_that_are_never_answered_are_forgotten_oldest_first() -> None:
    calls = Calls()
    first = calls.open(RequestSnapshot(reason="test", audit=True), NOW_NS)
    time = calls.open(RequestTime(), NOW_NS)
    last = first
    for _ in range(OPEN_CALLS_MOST):
        last = calls.open(RequestSnapshot(reason="test", audit=False), NOW_NS)
    assert len(calls.snapshots) == OPEN_CALLS_MOST
    assert first not in calls.snapshots and last in calls.snapshots and time in calls.times
    number = calls.open(QueryOrder(symbol=make.BTCUSDT, client_order_id=ClientOrderId("sh-1")), NOW_NS)
    assert number == last + 1, "every call has its own number"


def test_a_leverage_that_was_set_is_no_failed_call() -> None:
    assert rest("leverage", '{"leverage":4,"maxNotionalValue":"1000000","symbol":"BTCUSDT"}') == []
    (found,) = rest("leverage", '{"code":-4028,"msg":"Leverage 400 is not valid"}', status=400)
    assert isinstance(found, CallFailed) and found.code == -4028
