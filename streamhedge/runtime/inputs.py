"""Recorded inputs to events: one decoder per source of SURFACE §6. Never raises on what the venue said.

``Calls`` remembers the requests whose answers carry only a number: which snapshot, asked when. It is part of the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

import orjson

from streamhedge.domain.canonical import from_plain
from streamhedge.domain.commands import Command, QueryOrder, RequestSnapshot, RequestTime
from streamhedge.domain.events import (
    CallFailed,
    ClockStepped,
    ConfigReloaded,
    Event,
    FloatTrade,
    FloatTradeRecorded,
    IntentVoided,
    LedgerCaughtUp,
    ListenKeyReady,
    ManualOrder,
    OperatorVerb,
    Quarantined,
    RateNews,
    Snapshot,
    SnapshotBalance,
    SnapshotPosition,
    Stopping,
    StoreFailed,
    StreamClosed,
    StreamOpened,
    Tick,
    VenueTime,
    WallStepped,
)
from streamhedge.domain.values import NS_PER_MS, ClientOrderId, record, state
from streamhedge.errors import ParseError
from streamhedge.wire import answers
from streamhedge.wire.budget import counts_of, limits_of
from streamhedge.wire.outcomes import classify_order, classify_stop, retry_after_ms
from streamhedge.wire.streams import decode_market, decode_private, text_of

OPEN_CALLS_MOST = 64


@state
class SnapshotCall:
    """A snapshot under way: two answers make one."""

    requested_ns: int
    audit: bool
    positions: tuple[SnapshotPosition, ...] | None = None
    balances: tuple[SnapshotBalance, ...] | None = None


@state
class Calls:
    """Requests under way on the WebSocket API, by number."""

    next: int = 1
    snapshots: dict[int, SnapshotCall] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)

    def open(self, command: Command, now_ns: int) -> int:
        """Number a request and remember what its answer will need."""
        call = self.next
        self.next += 1
        if isinstance(command, RequestSnapshot):
            self.snapshots[call] = SnapshotCall(requested_ns=now_ns, audit=command.audit)
        elif isinstance(command, RequestTime):
            self.times[call] = now_ns
        else:
            assert isinstance(command, QueryOrder), "only these calls are numbered"
        for table in (self.snapshots, self.times):
            while len(table) > OPEN_CALLS_MOST:
                table.pop(next(iter(table)))
        return call


@record
class RestAnswer:
    """A REST answer as recorded. ``status`` None: no answer; ``sent`` False: not one byte left this machine."""

    label: str
    client_order_id: str
    status: int | None
    headers: dict[str, str]
    body: bytes
    error: str
    sent: bool
    jitter_permille: int = 500


def decode_input(source: str, payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    """Return the events of one input.

    Args:
        source: A source of SURFACE §6.
        payload: What came.
        calls: Requests under way; answers are taken out of it.
        now_ns: Receive time.

    Raises:
        ParseError: an input of our own making is malformed: a bug, or a recording that was edited.
    """
    decoder = SOURCES.get(source)
    if decoder is None:
        raise ParseError(f"unknown input source {source!r}")
    try:
        return decoder(payload, calls, now_ns)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ParseError(f"a malformed {source} input of ours: {type(error).__name__} {str(error)[:200]}") from error


def _market(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    return decode_market(payload, now_ms=now_ns // NS_PER_MS)


def _private(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    return decode_private(payload, now_ms=now_ns // NS_PER_MS)


# ---------------------------------------------------------------- WebSocket API


def _ws_api(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    try:
        answer = answers.decode_ws_api(payload, now_ms=now_ns // NS_PER_MS)
        news = _rate_news(*limits_of(answer.rate_limits), answer.status, answer.retry_after_ms)
        if answer.id is None:
            return [*news, CallFailed("session", answer.status, answer.code, answer.message, None)]
        kind, _, rest = answer.id.partition("-")
        handler = WS_ANSWERS.get(kind)
        return [*news, *(handler(rest, answer, calls) if handler is not None else ())]
    except (ParseError, ValueError) as error:
        head = payload[:200].decode("utf-8", "replace")
        return [Quarantined(source="wsapi", private=False, reason=str(error), head=head)]


def _rate_news(
    counts: dict[str, int], limits: dict[str, int], status: int | None, wait_ms: int | None, jitter_permille: int = 500
) -> list[Event]:
    refused = status if status in (418, 429) else 0
    return [RateNews(counts, limits, refused or 0, wait_ms, jitter_permille)] if counts or limits or refused else []


def _snapshot_part(rest: str, answer: answers.WsApiAnswer, calls: Calls, *, positions: bool) -> list[Event]:
    number = int(rest)
    call = calls.snapshots.get(number)
    if call is None:
        return []
    if answer.status != 200:
        del calls.snapshots[number]
        return [CallFailed("snapshot", answer.status, answer.code, answer.message, answer.retry_after_ms)]
    try:
        if positions:
            call.positions = answers.positions_of(answer.result)
        else:
            call.balances = answers.balances_of(answer.result)
    except ParseError as error:
        del calls.snapshots[number]
        return [CallFailed("snapshot", 200, 0, str(error), None)]
    if call.positions is None or call.balances is None:
        return []
    del calls.snapshots[number]
    return [Snapshot(call.positions, call.balances, call.requested_ns, call.audit)]


def _positions(rest: str, answer: answers.WsApiAnswer, calls: Calls) -> list[Event]:
    return _snapshot_part(rest, answer, calls, positions=True)


def _balances(rest: str, answer: answers.WsApiAnswer, calls: Calls) -> list[Event]:
    return _snapshot_part(rest, answer, calls, positions=False)


def _time(rest: str, answer: answers.WsApiAnswer, calls: Calls) -> list[Event]:
    requested_ns = calls.times.pop(int(rest), None)
    result = answer.result
    if requested_ns is None or not isinstance(result, dict) or not isinstance(result.get("serverTime"), int):
        return []
    return [VenueTime(server_time_ms=result["serverTime"], requested_ns=requested_ns)]


def _order(rest: str, answer: answers.WsApiAnswer, calls: Calls) -> list[Event]:
    client_order_id, _, _ = rest.rpartition("-")
    return [answers.order_status_of(ClientOrderId(client_order_id), answer)]


WS_ANSWERS: dict[str, Callable[[str, answers.WsApiAnswer, Calls], list[Event]]] = {
    "pos": _positions,
    "bal": _balances,
    "time": _time,
    "ord": _order,
}


# ---------------------------------------------------------------- REST


def rest_answer(payload: bytes) -> RestAnswer:
    """Return the recorded answer of a REST call."""
    fields = _object(payload)
    request = fields["request"]
    body = fields.get("body")
    return RestAnswer(
        label=request["label"],
        client_order_id=request.get("client_order_id") or "",
        status=fields.get("status"),
        headers=fields.get("headers") or {},
        body=body.encode() if isinstance(body, str) else b"" if body is None else orjson.dumps(body),
        error=fields.get("error") or "",
        sent=fields.get("sent", True),
        jitter_permille=fields.get("jitter_permille", 500),
    )


def _rest(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    answer = rest_answer(payload)
    wait_ms = _failed(answer, now_ns).retry_after_ms if answer.status in (418, 429) else None
    news = _rate_news(counts_of(answer.headers), {}, answer.status, wait_ms, answer.jitter_permille)
    return [*news, *_rest_events(answer, now_ns)]


def _rest_events(answer: RestAnswer, now_ns: int) -> list[Event]:
    if answer.label in ("order", "stop", "cancel_stop"):
        client_order_id = ClientOrderId(answer.client_order_id)
        said: dict[str, Any] = {"status": answer.status, "headers": answer.headers, "body": answer.body}
        said |= {"sent": answer.sent, "error": answer.error, "now_ms": now_ns // NS_PER_MS}
        if answer.label == "order":
            return [classify_order(client_order_id=client_order_id, **said)]
        return [classify_stop(client_order_id=client_order_id, cancel=answer.label == "cancel_stop", **said)]
    if answer.label == "cancel":
        return []
    if answer.status == 200:
        try:
            if answer.label == "listen_key":
                return [ListenKeyReady(handle=answers.listen_key_of(answer.body), renewed=False)]
            if answer.label == "open_orders":
                return [answers.open_orders_of(answers.exact_json(answer.body))]
            if answer.label == "open_stops":
                return [answers.open_stops_of(answer.client_order_id, answers.exact_json(answer.body))]
            if answer.label == "leverage":
                return []  # ACCOUNT_CONFIG_UPDATE says that it is so
        except ParseError as error:
            return [CallFailed(answer.label, 200, 0, str(error), None)]
    return [_failed(answer, now_ns)]


def _failed(answer: RestAnswer, now_ns: int) -> CallFailed:
    try:
        fields = orjson.loads(answer.body or b"{}")
    except ValueError:
        fields = {}
    code = fields.get("code", 0) if isinstance(fields, dict) else 0
    message = text_of(fields.get("msg")) if isinstance(fields, dict) else ""
    return CallFailed(
        what=answer.label,
        status=answer.status or 0,
        code=code if isinstance(code, int) else 0,
        message=message or answer.error,
        retry_after_ms=retry_after_ms(answer.headers, message, now_ms=now_ns // NS_PER_MS),
    )


def _setup(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    try:
        parts = answers.exact_json(payload)
        found = answers.setup_of(parts)
        counts = counts_of(parts.get("headers", {}))
        return [*_rate_news(counts, limits_of(parts["exchange_info"].get("rateLimits"))[1], None, None), found]
    except ParseError as error:
        return [CallFailed("setup", 0, 0, str(error), None)]


# ---------------------------------------------------------------- our own


def _object(payload: bytes) -> dict[str, Any]:
    fields = orjson.loads(payload)
    if not isinstance(fields, dict):
        raise ParseError("an input of ours is no JSON object")
    return fields


def _conn(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    fields = _object(payload)
    if fields["state"] == "open":
        jitter = fields.get("jitter_permille", 500)
        return [StreamOpened(stream=fields["stream"], connection=fields["connection"], jitter_permille=jitter)]
    return [
        from_plain(StreamClosed, {key: fields[key] for key in ("stream", "connection", "reason", "jitter_permille")})
    ]


def _tick(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    return [from_plain(Tick, _object(payload))]


def _trade(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    return [FloatTradeRecorded(trade=from_plain(FloatTrade, _object(payload)))]


def _verb(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    return [from_plain(OperatorVerb, _object(payload))]


def _manual(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    return [from_plain(ManualOrder, _object(payload))]


def _store(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    fields = _object(payload)
    return [from_plain(LedgerCaughtUp if "written" in fields else StoreFailed, fields)]


def _stop(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    return [from_plain(Stopping, _object(payload))]


def _config(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    return [from_plain(ConfigReloaded, _object(payload))]


def _void(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    return [from_plain(IntentVoided, _object(payload))]


def _clock(payload: bytes, calls: Calls, now_ns: int) -> list[Event]:
    fields = _object(payload)
    return [from_plain(WallStepped if "step_ms" in fields else ClockStepped, fields)]


SOURCES: dict[str, Callable[[bytes, Calls, int], list[Event]]] = {
    "market": _market,
    "private": _private,
    "wsapi": _ws_api,
    "rest": _rest,
    "setup": _setup,
    "conn": _conn,
    "tick": _tick,
    "trade": _trade,
    "verb": _verb,
    "config": _config,
    "manual": _manual,
    "store": _store,
    "void": _void,
    "stop": _stop,
    "clock": _clock,
}
