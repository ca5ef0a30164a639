"""REST calls as they are played: one per command, the set-up as a script of many, and what of each is recorded.

Whoever plays the script sends each request it yields and hands the answer back, over real sockets or virtual ones.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

import orjson

from streamhedge.domain.commands import (
    CancelOrder,
    CancelStop,
    Command,
    CreateListenKey,
    PlaceOrder,
    PlaceStop,
    RenewListenKey,
    RequestOpenOrders,
    RequestOpenStops,
    SetLeverage,
)
from streamhedge.domain.values import Symbol, record
from streamhedge.errors import ParseError
from streamhedge.rules.params import HedgeParams
from streamhedge.wire import requests
from streamhedge.wire.requests import RestRequest
from streamhedge.wire.streams import isolated_of

BODY_SHOWN = 2_000


class Answered(Protocol):
    """What came back of a call: ``status`` None when nothing did, ``sent`` False when not one byte left."""

    @property
    def status(self) -> int | None: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def error(self) -> str: ...
    @property
    def sent(self) -> bool: ...


@record
class SetupFailed:
    """The answer that ended a set-up, and the call it belongs to."""

    request: RestRequest
    status: int | None
    headers: Mapping[str, str]
    body: bytes
    error: str
    sent: bool


@record
class NothingSent:
    """The answer to a request that was not sent."""

    error: str
    status: int | None
    headers: Mapping[str, str]
    body: bytes
    sent: bool


HELD_BACK = NothingSent("held back: the venue asked for silence", None, {}, b"", False)

SetupScript = Generator[RestRequest, Answered, bytes | SetupFailed]


def placing_of(command: PlaceOrder | PlaceStop, *, recv_window_ms: int) -> RestRequest:
    """Return the one request of an order or a stop."""
    if isinstance(command, PlaceStop):
        return requests.place_stop(command, recv_window_ms=recv_window_ms)
    return requests.place_order(command, recv_window_ms=recv_window_ms)


def call_of(command: Command, *, recv_window_ms: int) -> RestRequest:
    """Return the REST call of a command that is one call and no order."""
    if isinstance(command, CancelOrder):
        return requests.cancel_order(command.symbol, command.client_order_id, recv_window_ms=recv_window_ms)
    if isinstance(command, CancelStop):
        return requests.cancel_stop(command.client_order_id, recv_window_ms=recv_window_ms)
    if isinstance(command, RequestOpenStops):
        return requests.open_stops(command.symbol, command.number, recv_window_ms=recv_window_ms)
    if isinstance(command, CreateListenKey):
        return requests.create_listen_key()
    if isinstance(command, RenewListenKey):
        return requests.renew_listen_key()
    if isinstance(command, SetLeverage):
        return requests.set_leverage(command.symbol, command.leverage, recv_window_ms=recv_window_ms)
    assert isinstance(command, RequestOpenOrders), f"no REST call for {type(command).__name__}"
    return requests.open_orders(recv_window_ms=recv_window_ms)


def set_up(symbols: Sequence[Symbol], hedges: Sequence[HedgeParams], *, recv_window_ms: int) -> SetupScript:
    """Read filters, brackets, fees and modes; set margin type and leverage where they differ, then read again.

    Returns:
        The one input that ``setup_of`` understands, or what a part was refused with.
    """
    bodies = yield from _read(symbols, recv_window_ms)
    if isinstance(bodies, dict) and (yield from _adjust(bodies["symbol_config"], hedges, recv_window_ms)):
        bodies = yield from _read(symbols, recv_window_ms)
    return _object(bodies) if isinstance(bodies, dict) else bodies


def recorded(request: RestRequest, answer: Answered, body: object, *, jitter_permille: int) -> bytes:
    """Return what the recording holds of a call: neither key nor signature.

    Args:
        request: The call.
        answer: What came back.
        body: What of the answer's body may be kept.
        jitter_permille: A random number 0..999, kept where the answer asks for silence.
    """
    jitter = {"jitter_permille": jitter_permille} if answer.status in (418, 429) else {}
    said = {"label": request.label, "client_order_id": request.client_order_id or ""}
    return orjson.dumps(
        {
            **{"request": said, "status": answer.status, "headers": answer.headers, "body": body},
            **{"error": answer.error, "sent": answer.sent},
            **jitter,
        }
    )


def _read(
    symbols: Sequence[Symbol], recv_window_ms: int
) -> Generator[RestRequest, Answered, dict[str, bytes] | SetupFailed]:
    found: dict[str, bytes] = {}
    plain = {
        "exchange_info": requests.exchange_info(),
        "funding_info": requests.funding_info(),
        "account_config": requests.account_config(recv_window_ms=recv_window_ms),
        "symbol_config": requests.symbol_config(recv_window_ms=recv_window_ms),
    }
    for name, request in plain.items():
        answer = yield request
        if answer.status != 200:
            return _failed(request.path, answer)
        found[name] = answer.body
        found["headers"] = orjson.dumps(dict(answer.headers))
        if name == "exchange_info":
            try:
                # Thousands of symbols; the recording keeps ours.
                info = orjson.loads(answer.body)
                kept = [row for row in info["symbols"] if row["symbol"] in symbols]
                limits = info.get("rateLimits", [])
                # What nests too deep to be written again is a TypeError here.
                found[name] = orjson.dumps({"symbols": kept, "rateLimits": limits})
            except (ValueError, KeyError, TypeError) as error:
                return _failed(request.path, answer, f"HTTP 200 with no exchangeInfo: {type(error).__name__}")
    for name, maker in (
        ("leverage_bracket", requests.leverage_bracket),
        ("commission_rate", requests.commission_rate),
    ):
        parts: dict[str, bytes] = {}
        for symbol in list(symbols):
            answer = yield maker(symbol, recv_window_ms=recv_window_ms)
            if answer.status != 200:
                return _failed(name, answer)
            parts[symbol] = answer.body
            found["headers"] = orjson.dumps(dict(answer.headers))
        found[name] = _object(parts)
    return found


def _adjust(body: bytes, hedges: Sequence[HedgeParams], recv_window_ms: int) -> Generator[RestRequest, Answered, bool]:
    """Set what differs and tell whether anything was set; refusals are told by the next read.

    A body, or a row, that cannot be read is left to the decoder, which says so; nothing is set by it.
    """
    changed = False
    try:
        rows: dict[Any, Any] = {row["symbol"]: row for row in orjson.loads(body)}
        wanted = [
            (hedge, isolated_of(rows[hedge.symbol]["marginType"]), rows[hedge.symbol]["leverage"])
            for hedge in hedges
            if hedge.symbol in rows
        ]
    except (ValueError, KeyError, TypeError, ParseError):
        return False
    for hedge, isolated, leverage in wanted:
        if isolated != hedge.isolated:
            answer = yield requests.set_margin_type(
                hedge.symbol, isolated=hedge.isolated, recv_window_ms=recv_window_ms
            )
            changed = answer.status == 200 or changed
        if leverage != hedge.leverage:
            answer = yield requests.set_leverage(hedge.symbol, hedge.leverage, recv_window_ms=recv_window_ms)
            changed = answer.status == 200 or changed
    return changed


def _failed(path: str, answer: Answered, error: str = "") -> SetupFailed:
    request = RestRequest("setup", "GET", path, [], False)
    body = answer.body[:BODY_SHOWN] if error else answer.body
    return SetupFailed(request, answer.status, answer.headers, body, error or answer.error, answer.sent)


def _object(parts: Mapping[str, bytes]) -> bytes:
    """Return a JSON object of bodies as they were received, byte for byte."""
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), body) for name, body in parts.items()) + b"}"
