"""The spot WebSocket API: its requests, and its frames to fills, news and ends. Never raises on what a frame says.

Spot's letters are not those of futures: the report is flat, ``c`` is the client id (BINANCE_USDM §8). Nothing here
places an order: what can be asked is the user data stream and the account's past fills.
"""

from __future__ import annotations

from typing import Any

from streamhedge.domain.order import Side
from streamhedge.domain.spot import SpotFill
from streamhedge.domain.values import ZERO, Asset, Symbol, record
from streamhedge.errors import ParseError
from streamhedge.wire.answers import WsApiAnswer, decode_ws_api, exact_json
from streamhedge.wire.requests import WsApiRequest
from streamhedge.wire.streams import (
    HEAD_LENGTH,
    MALFORMED,
    Frame,
    name_of,
    number_or_zero,
    positive,
    side_of,
    text_of,
    whole,
)

PAGE_MOST = 1_000
"""Fills of one page of the past."""
QUIET = ("outboundAccountPosition", "listStatus")
"""What nobody acts on: balances say less than the fills do, and a list's orders report for themselves."""
MOVED = {"balanceUpdate": "transfer", "externalLockUpdate": "lock"}


@record
class SpotMoved:
    """Money came, left or was locked without a trade: no float trade, but worth saying."""

    text: str


@record
class SpotEnded:
    """The stream ends: only the subscription, or (``closing``) the connection with it."""

    closing: bool


@record
class SpotUnread:
    """A frame that could not be read, or that nobody told us about; the account's past says what it may have held."""

    reason: str


SpotFrame = WsApiAnswer | SpotFill | SpotMoved | SpotEnded | SpotUnread


def subscribe(*, recv_window_ms: int) -> WsApiRequest:
    """Return the request that begins the user data stream on its connection; any key type may sign it."""
    return WsApiRequest("userDataStream.subscribe.signature", {"recvWindow": recv_window_ms}, True, 2)


def my_trades(symbol: Symbol, *, from_id: int | None, recv_window_ms: int) -> WsApiRequest:
    """Return the request for a symbol's fills from a trade id on, oldest first; None asks for the latest one alone."""
    page: dict[str, str | int] = {"limit": 1} if from_id is None else {"fromId": from_id, "limit": PAGE_MOST}
    return WsApiRequest("myTrades", {"symbol": symbol, **page, "recvWindow": recv_window_ms}, True, 20)


def decode_spot(raw: bytes, *, now_ms: int = 0) -> SpotFrame | None:
    """Return what a frame says; None where nobody needs to act.

    Args:
        raw: The frame.
        now_ms: When it came.
    """
    try:
        frame = exact_json(raw)
        if not isinstance(frame, dict):
            raise ParseError("no object")
        event = frame.get("event")
        if event is None:
            return decode_ws_api(raw, now_ms=now_ms)
        return _event(event)
    except MALFORMED as error:
        head = raw[:HEAD_LENGTH].decode("utf-8", "replace")
        return SpotUnread(f"{type(error).__name__}: {error} in {head}")


def _event(event: Any) -> SpotFrame | None:
    kind = name_of(event["e"])
    if kind == "executionReport":
        return _report(event) if text_of(event["x"]) == "TRADE" else None
    if kind in MOVED:
        return SpotMoved(f"{MOVED[kind]} of {text_of(event['d'])} {name_of(event['a'])}")
    if kind in ("eventStreamTerminated", "serverShutdown"):
        return SpotEnded(closing=kind == "serverShutdown")
    return None if kind in QUIET else SpotUnread(f"an unknown event {kind}")


def _report(event: Frame) -> SpotFill:
    return SpotFill(
        symbol=Symbol(name_of(event["s"])),
        trade_id=whole(event["t"]),
        order_id=whole(event["i"]),
        side=side_of(event["S"]),
        quantity=positive(event["l"]),
        price=positive(event["L"]),
        **_commission(event["n"], event["N"]),
        time_ms=whole(event["T"]),
    )


def fills_of(result: object) -> list[SpotFill]:
    """Return the fills of a page of the past, in the order of their trade ids.

    Raises:
        ParseError: not such a page.
    """
    try:
        if not isinstance(result, list):
            raise ParseError("no list")
        return sorted((_row(row) for row in result), key=lambda fill: fill.trade_id)
    except MALFORMED as error:
        raise ParseError(f"no fills of the account: {type(error).__name__}: {error}") from error


def _row(row: Frame) -> SpotFill:
    if type(row["isBuyer"]) is not bool:
        raise ParseError(f"isBuyer {row['isBuyer']!r}")
    return SpotFill(
        symbol=Symbol(name_of(row["symbol"])),
        trade_id=whole(row["id"]),
        order_id=whole(row["orderId"]),
        side=Side.BUY if row["isBuyer"] else Side.SELL,
        quantity=positive(row["qty"]),
        price=positive(row["price"]),
        **_commission(row["commission"], row["commissionAsset"]),
        time_ms=whole(row["time"]),
    )


def _commission(amount: object, asset: object) -> dict[str, Any]:
    """Return a commission, below zero for a rebate; an asset without an amount is none."""
    taken = number_or_zero(amount)
    if taken == 0:
        return {"commission": ZERO, "commission_asset": None}
    return {"commission": taken, "commission_asset": Asset(name_of(asset))}
