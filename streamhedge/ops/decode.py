"""One raw frame in, one typed event out, or the reason why there is none: market, private and WebSocket API by shape.

The decoders are the live ones. What tells the routes apart is in the frame: an event name of the private stream, a
``status`` of the WebSocket API, and anything else is a market frame. A WebSocket API answer carries no name of its
method, so its result says by its shape what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.events import Event, Quarantined
from streamhedge.domain.values import ClientOrderId, exact, record
from streamhedge.errors import ParseError
from streamhedge.store.journal import original
from streamhedge.wire.answers import (
    WsApiAnswer,
    balances_of,
    decode_ws_api,
    order_status_of,
    positions_of,
)
from streamhedge.wire.streams import MARKET, PRIVATE, decode_market, decode_private, whole

LINE_MOST = 1 << 20
Fields = dict[str, Any]


@record
class WsApiError:
    """An error answer of the WebSocket API; ``id`` None is a revoked session."""

    id: str | None
    status: int
    code: int
    message: str
    retry_after_ms: int | None


@record
class WsApiResult:
    """An answer whose result has no shape that moves anything (a logon, a ping)."""

    id: str | None
    status: int


@record
class ServerTime:
    """The answer of `time`."""

    server_time_ms: int


@record
class Positions:
    """The answer of `v2/account.position`."""

    positions: tuple[Any, ...]


@record
class Balances:
    """The answer of `v2/account.balance`."""

    balances: tuple[Any, ...]


def decode_lines(lines: Iterable[bytes]) -> Iterator[Fields]:
    """Yield one object per event of each line; empty lines are passed over."""
    for line in lines:
        raw = line.strip()
        if raw:
            yield from decode_frame(raw)


def decode_frame(raw: bytes) -> list[Fields]:
    """Return what one frame says: ``{"event": name, …}``, or ``{"quarantined": reason}``; never empty."""
    if len(raw) > LINE_MOST:
        return [{"quarantined": f"frame of {len(raw)} bytes, at most {LINE_MOST}"}]
    with exact():
        try:
            events = _events(original(raw))
        except (ParseError, ValueError) as error:
            return [{"quarantined": str(error)}]
        return [_row(event) for event in events] or [{"quarantined": "not a USD-margined contract (st is not 1)"}]


def _row(event: object) -> Fields:
    if isinstance(event, Quarantined):
        return {"quarantined": event.reason}
    return {"event": type(event).__name__, **to_plain(event)}


def _events(raw: bytes) -> list[Event] | list[object]:
    try:
        frame = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ParseError(f"not JSON: {error}") from error
    body = frame.get("data", frame) if isinstance(frame, dict) and "stream" in frame else frame
    name = body.get("e") if isinstance(body, dict) else None
    if name is None and isinstance(frame, dict) and isinstance(frame.get("status"), int):
        return [_answer(decode_ws_api(raw))]
    private = isinstance(name, str) and name in PRIVATE
    if isinstance(name, str) and not private and name not in MARKET:
        raise ParseError(f"unknown event type {name!r}")
    return decode_private(raw) if private else decode_market(raw)


def _answer(answer: WsApiAnswer) -> object:
    if answer.status != 200 or answer.id is None:
        return WsApiError(answer.id, answer.status, answer.code, answer.message, answer.retry_after_ms)
    shapes = (shape(answer) for fits, shape in SHAPES if fits(answer))
    return next(shapes, WsApiResult(answer.id, answer.status))


def _rows_with(answer: WsApiAnswer, key: str, ours: str) -> bool:
    """True for a list of such rows; an empty one says by our own id what was asked."""
    rows = answer.result
    if rows == []:
        return (answer.id or "").startswith(ours)
    return isinstance(rows, list) and all(isinstance(row, dict) and key in row for row in rows)


def _names(answer: WsApiAnswer, key: str) -> bool:
    return isinstance(answer.result, dict) and key in answer.result


SHAPES: tuple[tuple[Callable[[WsApiAnswer], bool], Callable[[WsApiAnswer], object]], ...] = (
    (lambda said: _rows_with(said, "positionAmt", "pos-"), lambda said: Positions(positions_of(said.result))),
    (lambda said: _rows_with(said, "balance", "bal-"), lambda said: Balances(balances_of(said.result))),
    (
        lambda said: _names(said, "clientOrderId"),
        lambda said: order_status_of(ClientOrderId(str(said.result["clientOrderId"])), said),
    ),
    (lambda said: _names(said, "serverTime"), lambda said: ServerTime(whole(said.result["serverTime"]))),
)
