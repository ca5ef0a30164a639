"""What an answer to an order request proves: accepted, refused for certain, never sent, or in doubt.

Classified by status *and* message (BINANCE_USDM §5.6). Whatever is not listed is in doubt: silence, a reset connection,
HTML of an edge network, a body that names another order. No POST of an order is ever sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from streamhedge.domain.events import OrderOutcome, OutcomeKind
from streamhedge.domain.order import Report
from streamhedge.domain.values import ZERO, ClientOrderId
from streamhedge.errors import (
    ApiError,
    AuthenticationError,
    FilterViolation,
    InsufficientMargin,
    ParseError,
    RateLimited,
)
from streamhedge.wire.streams import number_or_zero

STATUS_REPORTS = {
    "NEW": Report.ACCEPTED,
    "PARTIALLY_FILLED": Report.FILL,
    "FILLED": Report.FILLED,
    "CANCELED": Report.ENDED,
    "EXPIRED": Report.ENDED,
    "EXPIRED_IN_MATCH": Report.ENDED,
    "REJECTED": Report.ENDED,
}
UNKNOWN_CODES = (-1000, -1006, -1007)
"""Execution status unknown whatever the HTTP status says."""
NOT_PROCESSED = ("Service Unavailable.", "Internal error; unable to process your request. Please try again.")
"""503 texts that mean the order did not execute; a 503 with any other text is in doubt."""
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
) -> OrderOutcome:
    """Return what came back for one order request.

    Args:
        client_order_id: The id that was sent.
        status: HTTP status, None where no answer came.
        headers: Lower-case names; only retry-after is read.
        body: Body as received, None where there was none.
        sent: False only when not one byte of the request left this machine.
        error: What the transport said, empty when it worked.
    """
    if status is None:
        kind = OutcomeKind.IN_DOUBT if sent else OutcomeKind.NOT_SENT
        return _outcome(client_order_id, kind, status=0, message=error or "no answer")
    fields = _object(body)
    code = fields.get("code") if isinstance(fields.get("code"), int) else 0
    message = str(fields.get("msg", "")) or error
    if status == 200:
        return _accepted(client_order_id, fields, message)
    if _certainly_refused(status, int(code or 0), message, fields):
        return _outcome(
            client_order_id,
            OutcomeKind.REFUSED,
            status=status,
            code=int(code or 0),
            message=message,
            retry_after_ms=retry_after_ms(headers, message),
        )
    return _outcome(client_order_id, OutcomeKind.IN_DOUBT, status=status, code=int(code or 0), message=message)


def _certainly_refused(status: int, code: int, message: str, fields: dict[str, Any]) -> bool:
    if code in UNKNOWN_CODES or "execution status unknown" in message.lower():
        return False
    if status in (418, 429):
        return True
    if status == 503:
        return message in NOT_PROCESSED or (code == -1008)
    if status == 403 or status == 404:
        return True
    return 400 <= status < 500 and status != 408 and code < 0 and "code" in fields


def _accepted(client_order_id: ClientOrderId, fields: dict[str, Any], message: str) -> OrderOutcome:
    """A 200 counts only when it names our order and a status we know."""
    report = STATUS_REPORTS.get(str(fields.get("status")))
    if report is None or fields.get("clientOrderId") != client_order_id:
        said = "a body that names another order or no known status"
        return _outcome(client_order_id, OutcomeKind.IN_DOUBT, status=200, message=f"HTTP 200 with {said}")
    try:
        filled = number_or_zero(fields.get("executedQty"))
    except ParseError as error:
        return _outcome(client_order_id, OutcomeKind.IN_DOUBT, status=200, message=str(error))
    order_id = fields.get("orderId")
    return OrderOutcome(
        client_order_id=client_order_id,
        kind=OutcomeKind.ACCEPTED,
        report=report,
        status=200,
        code=0,
        message=message,
        filled=filled,
        order_id=order_id if isinstance(order_id, int) else None,
        retry_after_ms=None,
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


def retry_after_ms(headers: Mapping[str, str], message: str, *, now_ms: int | None = None) -> int | None:
    """Return how long the venue asks to wait: Retry-After, else the epoch in a -1003 message, else None."""
    said = headers.get("retry-after", "")
    if said.isdigit():
        return int(said) * 1000
    _, banned, tail = message.partition("banned until ")
    digits = tail.split(".")[0].split(" ")[0]
    if banned and digits.isdigit() and now_ms is not None:
        return max(0, int(digits) - now_ms)
    return None


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
