"""What an answer to an order request proves: accepted, refused for certain, never sent, or in doubt.

Classified by status *and* message (BINANCE_USDM §5.6). Whatever is not listed is in doubt: silence, a reset connection,
HTML of an edge network, a body that names another order. No POST of an order is ever sent again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson

from streamhedge.domain.events import OrderOutcome, OutcomeKind, StopOutcome
from streamhedge.domain.order import Report
from streamhedge.domain.values import ZERO, ClientOrderId, record
from streamhedge.errors import (
    ApiError,
    AuthenticationError,
    FilterViolation,
    InsufficientMargin,
    ParseError,
    RateLimited,
)
from streamhedge.wire.streams import number_or_zero, text_of, whole

STATUS_REPORTS = {
    "NEW": Report.ACCEPTED,
    "PARTIALLY_FILLED": Report.FILL,
    "FILLED": Report.FILLED,
    "CANCELED": Report.ENDED,
    "EXPIRED": Report.ENDED,
    "EXPIRED_IN_MATCH": Report.ENDED,
    "REJECTED": Report.ENDED,
}
STOP_TRIGGERED = ("TRIGGERING", "TRIGGERED", "FINISHED")
UNKNOWN_CODES = (-1000, -1006, -1007)
"""Execution status unknown whatever the HTTP status says."""
UNKNOWN_TEXTS = ("status unknown", "unknown error")
"""... and so is what says so in words, whatever code stands beside it."""
THROTTLED = -1008
"""Overload: not accepted, under every wording it has had."""
NOT_PROCESSED: dict[str, tuple[int, ...]] = {
    "Service Unavailable.": (0,),
    "Internal error; unable to process your request. Please try again.": (0, -1001),
}
"""503 texts that mean the order did not execute, with the codes they come with (0: none); any other 503 is in doubt."""
RETRY_AFTER = re.compile("([0-9]{1,9})")
BANNED_UNTIL = re.compile("banned until ([0-9]{13})(?![0-9])")
WAIT_MOST_MS = 3 * 86_400_000
"""The longest ban of the venue, three days (BINANCE_USDM §5): a longer wait was not meant, or not said by it."""
DUPLICATE_ID = -4116
"""An order under this very id is open: that is evidence of life, not a refusal."""
AUTHENTICATION = (-2014, -2015, -2017, -1022)
MARGIN = (-2018, -2019, -4050, -4051)
FILTERS = (-1111, -4002, -4003, -4004, -4005, -4013, -4014, -4016, -4023, -4024, -4164, -4131)


def classify_order(
    *,
    client_order_id: ClientOrderId,
    status: int | None,
    headers: Mapping[str, str],
    body: bytes | None,
    sent: bool,
    error: str,
    now_ms: int,
) -> OrderOutcome:
    """Return what came back for one order request.

    Args:
        client_order_id: The id that was sent.
        status: HTTP status, None where no answer came.
        headers: Lower-case names; only retry-after is read.
        body: Body as received, None where there was none.
        sent: False only when not one byte of the request left this machine.
        error: What the transport said, empty when it worked.
        now_ms: When it came, milliseconds since the epoch; a ban is told as the time of its end.
    """
    found = _read(status, headers, body, sent=sent, error=error, now_ms=now_ms)
    if found.kind is None:
        return _accepted(client_order_id, found.fields, found.message)
    return _outcome(
        client_order_id,
        found.kind,
        status=found.status,
        code=found.code,
        message=found.message,
        retry_after_ms=found.wait_ms,
    )


def classify_stop(
    *,
    client_order_id: ClientOrderId,
    cancel: bool,
    status: int | None,
    headers: Mapping[str, str],
    body: bytes | None,
    sent: bool,
    error: str,
    now_ms: int,
) -> StopOutcome:
    """Return what came back for the placing or the cancel of a stop; the arguments are those of ``classify_order``."""
    found = _read(status, headers, body, sent=sent, error=error, now_ms=now_ms)
    kind, resting = found.kind, False
    if kind is None:
        said = found.fields.get("algoStatus")
        resting = said == "NEW"
        known = cancel or resting or said in STOP_TRIGGERED
        ours = found.fields.get("clientAlgoId") == client_order_id
        kind = OutcomeKind.ACCEPTED if known and ours else OutcomeKind.IN_DOUBT
    return StopOutcome(
        client_order_id, kind, found.status, found.code, found.message, found.wait_ms, cancel, resting=resting
    )


@record
class _Read:
    """What an answer says whatever was asked; ``kind`` None: HTTP 200, and its body decides."""

    kind: OutcomeKind | None
    status: int
    code: int
    message: str
    wait_ms: int | None
    fields: dict[str, Any]


def _read(
    status: int | None, headers: Mapping[str, str], body: bytes | None, *, sent: bool, error: str, now_ms: int
) -> _Read:
    if status is None:
        kind = OutcomeKind.IN_DOUBT if sent else OutcomeKind.NOT_SENT
        return _Read(kind, 0, 0, error or "no answer", None, {})
    fields = _object(body)
    said = fields.get("code")
    message = text_of(fields.get("msg")) or error
    if status == 200:
        return _Read(None, status, 0, message, None, fields)
    code = said if isinstance(said, int) else 0
    if _certainly_refused(status, code, message):
        wait_ms = retry_after_ms(headers, message, now_ms=now_ms)
        return _Read(OutcomeKind.REFUSED, status, code, message, wait_ms, fields)
    return _Read(OutcomeKind.IN_DOUBT, status, code, message, None, fields)


def _certainly_refused(status: int, code: int, message: str) -> bool:
    if code in UNKNOWN_CODES or code == DUPLICATE_ID or any(text in message.lower() for text in UNKNOWN_TEXTS):
        return False
    if status in (403, 404, 418, 429):
        return True
    if status == 503:
        return code == THROTTLED or code in NOT_PROCESSED.get(message, ())
    return 400 <= status < 500 and status != 408 and code < 0


def _accepted(client_order_id: ClientOrderId, fields: dict[str, Any], message: str) -> OrderOutcome:
    """A 200 counts only when it names our order and a status we know."""
    report = STATUS_REPORTS.get(text_of(fields.get("status")))
    named = fields.get("clientOrderId")
    if report is None or named != client_order_id:
        said = "a body that names another order or no known status"
        found = _outcome(client_order_id, OutcomeKind.IN_DOUBT, status=200, message=f"HTTP 200 with {said}")
        return replace(found, names=named) if isinstance(named, str) and named != client_order_id else found
    try:
        filled = number_or_zero(fields.get("executedQty"))
        order_id = whole(fields.get("orderId", 0)) or None
        update_time_ms = whole(fields.get("updateTime", 0))
    except ParseError as error:
        return _outcome(client_order_id, OutcomeKind.IN_DOUBT, status=200, message=str(error))
    return OrderOutcome(
        client_order_id=client_order_id,
        kind=OutcomeKind.ACCEPTED,
        report=report,
        status=200,
        code=0,
        message=message,
        filled=filled,
        order_id=order_id,
        retry_after_ms=None,
        update_time_ms=update_time_ms,
    )


def _outcome(
    client_order_id: ClientOrderId,
    kind: OutcomeKind,
    *,
    status: int,
    code: int = 0,
    message: str = "",
    retry_after_ms: int | None = None,
) -> OrderOutcome:
    return OrderOutcome(
        client_order_id=client_order_id,
        kind=kind,
        report=Report.DOUBT if kind is OutcomeKind.IN_DOUBT else Report.REFUSED,
        status=status,
        code=code,
        message=message,
        filled=Decimal(ZERO),
        order_id=None,
        retry_after_ms=retry_after_ms,
    )


def _object(body: bytes | None) -> dict[str, Any]:
    try:
        fields = orjson.loads(body or b"")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def retry_after_ms(headers: Mapping[str, str], message: str, *, now_ms: int) -> int | None:
    """Return how long the venue asks to wait: Retry-After, else until the epoch in a -1003 message, else None.

    Args:
        headers: Lower-case names.
        message: The venue's text.
        now_ms: Receive time, milliseconds since the epoch.
    """
    seconds = RETRY_AFTER.fullmatch(headers.get("retry-after", ""))
    if seconds is not None:
        return min(int(seconds[1]) * 1000, WAIT_MOST_MS)
    banned = BANNED_UNTIL.search(message)
    return min(max(0, int(banned[1]) - now_ms), WAIT_MOST_MS) if banned is not None else None


def api_error(status: int, code: int, message: str, *, wait_ms: int | None = None) -> ApiError | RateLimited:
    """Return the typed error of a definite refusal."""
    if status in (418, 429):
        return RateLimited(wait_ms, message)
    for codes, kind in (
        (AUTHENTICATION, AuthenticationError),
        (MARGIN, InsufficientMargin),
        (FILTERS, FilterViolation),
    ):
        if code in codes:
            return kind(status, code, message)
    return ApiError(status, code, message)
