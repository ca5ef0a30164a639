"""What an answer to an order proves: the table of BINANCE_USDM §5.5 and §5.6 and FAULTS O1, O3, O5, row by row."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest

from streamhedge.domain.events import OrderOutcome, OutcomeKind
from streamhedge.domain.order import Report
from streamhedge.domain.values import ClientOrderId
from streamhedge.errors import (
    ApiError,
    AuthenticationError,
    FilterViolation,
    InsufficientMargin,
    RateLimited,
)
from streamhedge.runtime.inputs import Calls, decode_input
from streamhedge.wire.outcomes import api_error, classify_order, retry_after_ms

D = Decimal
OURS = ClientOrderId("sh-0badcafe-2-000007")
NOW_MS = 1_795_244_400_000
UNKNOWN_503 = "Unknown error, please check your request or try again later."
UNAVAILABLE = "Service Unavailable."
INTERNAL = "Internal error; unable to process your request. Please try again."
THROTTLED = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
)
TIMED_OUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\nnginx\r\n</body>\r\n</html>"

REFUSED = OutcomeKind.REFUSED
IN_DOUBT = OutcomeKind.IN_DOUBT


def classify(
    status: int | None,
    body: bytes | None = b"",
    *,
    headers: dict[str, str] | None = None,
    sent: bool = True,
    error: str = "",
) -> OrderOutcome:
    """Return the outcome of our order."""
    return classify_order(
        client_order_id=OURS, status=status, headers=headers or {}, body=body, sent=sent, error=error, now_ms=NOW_MS
    )


def said(code: int | None, message: str | None) -> bytes:
    """Return an error body; None leaves a part out."""
    fields = {"code": code, "msg": message}
    return orjson.dumps({key: value for key, value in fields.items() if value is not None})


# ---------------------------------------------------------------- no answer


@pytest.mark.parametrize("error", ["read timeout", "connection reset", "server disconnected", ""])
@pytest.mark.fault("O1", "O15")
def test_no_answer_after_a_first_byte_is_in_doubt(error: str) -> None:
    outcome = classify(None, None, sent=True, error=error)

    assert (outcome.kind, outcome.report, outcome.status) == (IN_DOUBT, Report.DOUBT, 0)
    assert outcome.message == (error or "no answer")
    assert outcome.client_order_id == OURS


@pytest.mark.parametrize("error", ["connection refused", "no such host", "certificate has expired"])
@pytest.mark.fault("O3")
def test_without_a_first_byte_nothing_happened(error: str) -> None:
    outcome = classify(None, None, sent=False, error=error)

    assert (outcome.kind, outcome.report, outcome.message) == (OutcomeKind.NOT_SENT, Report.REFUSED, error)
    assert outcome.retry_after_ms is None


# ---------------------------------------------------------------- refusals and doubt, by status, code and text

TABLE = {
    # rejected: 400/401 with a code
    "400 margin": (400, said(-2019, "Margin is insufficient."), REFUSED),
    "400 min notional": (400, said(-4164, "Order's notional must be no smaller than 50."), REFUSED),
    "400 clock": (400, said(-1021, "Timestamp for this request is outside of the recvWindow."), REFUSED),
    "400 engine clock": (400, said(-5028, "Timestamp for this request is outside of the ME recvWindow."), REFUSED),
    "400 reduce-only": (400, said(-2022, "ReduceOnly Order is rejected."), REFUSED),
    "400 duplicate id": (400, said(-4116, "ClientOrderId is duplicated."), IN_DOUBT),
    "400 liquidating": (400, said(-2023, "User in liquidation mode now."), REFUSED),
    "400 an unknown parameter is no unknown outcome": (400, said(-1103, "An unknown parameter was sent."), REFUSED),
    "400 internal, not processed": (400, said(-1001, INTERNAL), REFUSED),
    "400 code alone": (400, said(-4003, None), REFUSED),
    "401 key": (401, said(-2015, "Invalid API-key, IP, or permissions for action."), REFUSED),
    "401 key format": (401, said(-2014, "API-key format invalid."), REFUSED),
    # ... without one proves nothing
    "400 without a code": (400, said(None, "Bad Request"), IN_DOUBT),
    "400 of an edge network": (400, HTML, IN_DOUBT),
    "400 empty": (400, b"", IN_DOUBT),
    "400 code as text": (400, b'{"code":"-2019","msg":"Margin is insufficient."}', IN_DOUBT),
    "400 code of success": (400, said(200, "success"), IN_DOUBT),
    "401 without a code": (401, HTML, IN_DOUBT),
    "409 without a code": (409, b"{}", IN_DOUBT),
    # the firewall, wrong paths, limits
    "403 firewall page": (403, HTML, REFUSED),
    "403 empty": (403, b"", REFUSED),
    "404": (404, b"", REFUSED),
    "429 weight": (429, said(-1003, "Too many requests; current limit is 2400 requests per minute."), REFUSED),
    "429 orders": (429, said(-1015, "Too many new orders; current limit is 300 orders per TEN_SECONDS."), REFUSED),
    "429 page": (429, HTML, REFUSED),
    "418": (418, said(-1003, "Way too many requests; IP banned until 1795244700000."), REFUSED),
    # 408 and 5xx
    "408 timeout": (408, said(-1007, TIMED_OUT), IN_DOUBT),
    "408 with a code of refusal": (408, said(-2019, "Margin is insufficient."), IN_DOUBT),
    "408 empty": (408, b"", IN_DOUBT),
    "503 unknown, no code": (503, said(None, UNKNOWN_503), IN_DOUBT),
    "503 unknown with -1000": (503, said(-1000, UNKNOWN_503), IN_DOUBT),
    "503 timeout": (503, said(-1007, TIMED_OUT), IN_DOUBT),
    "503 unavailable": (503, said(None, UNAVAILABLE), REFUSED),
    "503 internal": (503, said(-1001, INTERNAL), REFUSED),
    "503 internal, no code": (503, said(None, INTERNAL), REFUSED),
    "503 throttled": (503, said(-1008, THROTTLED), REFUSED),
    "503 throttled, older words": (503, said(-1008, "Server is currently overloaded with other requests."), REFUSED),
    "503 throttled, no words": (503, said(-1008, None), REFUSED),
    "503 maintenance": (503, said(-1016, "This service is no longer available."), IN_DOUBT),
    "503 page": (503, HTML, IN_DOUBT),
    "503 empty": (503, b"", IN_DOUBT),
    "500": (500, said(-1000, "An unknown error occurred while processing the request."), IN_DOUBT),
    "500 throttled": (500, said(-1008, THROTTLED), IN_DOUBT),
    "502 page": (502, HTML, IN_DOUBT),
    "504": (504, b"", IN_DOUBT),
    "520 occurs unknown": (520, said(None, "Request occur unknown error."), IN_DOUBT),
    "400 occurs unknown": (400, said(-1001, "Request occur unknown error."), IN_DOUBT),
    # the right text with a wrong code, the right code with a wrong text
    "503 unavailable with a foreign code": (503, said(-2019, UNAVAILABLE), IN_DOUBT),
    "503 unavailable with -1007": (503, said(-1007, UNAVAILABLE), IN_DOUBT),
    "503 unavailable with -1006": (503, said(-1006, UNAVAILABLE), IN_DOUBT),
    "503 internal with -1000": (503, said(-1000, INTERNAL), IN_DOUBT),
    "503 internal with a foreign code": (503, said(-1003, INTERNAL), IN_DOUBT),
    "503 -1001 with foreign words": (503, said(-1001, "Please try again."), IN_DOUBT),
    "503 -1008 that says unknown": (503, said(-1008, UNKNOWN_503), IN_DOUBT),
    "503 -1008 that says status unknown": (503, said(-1008, TIMED_OUT), IN_DOUBT),
    "503 refusal words": (503, said(-2019, "Margin is insufficient."), IN_DOUBT),
    "503 nearly the words": (503, said(None, "Service Unavailable"), IN_DOUBT),
    "400 refusal that says unknown": (400, said(-2010, TIMED_OUT), IN_DOUBT),
    "400 -1007 with words of refusal": (400, said(-1007, "Margin is insufficient."), IN_DOUBT),
    "400 -1000 in other words": (400, said(-1000, "Please contact customer service."), IN_DOUBT),
    "400 -1006": (400, said(-1006, "An unexpected response was received from the message bus."), IN_DOUBT),
    "429 -1007": (429, said(-1007, TIMED_OUT), IN_DOUBT),
    "403 that says unknown": (403, said(None, UNKNOWN_503), IN_DOUBT),
    # anything else
    "201": (201, said(-2019, "Margin is insufficient."), IN_DOUBT),
    "204": (204, b"", IN_DOUBT),
    "302": (302, HTML, IN_DOUBT),
    "999": (999, said(-2019, "Margin is insufficient."), IN_DOUBT),
}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.fault("O1", "O3", "S12")
def test_status_and_body(name: str) -> None:
    status, body, kind = TABLE[name]
    outcome = classify(status, body)

    assert outcome.kind is kind
    assert outcome.report is (Report.DOUBT if kind is IN_DOUBT else Report.REFUSED)
    assert (outcome.status, outcome.filled, outcome.order_id) == (status, 0, None)


def test_code_and_text_are_kept() -> None:
    outcome = classify(400, said(-2019, "Margin is insufficient."))

    assert (outcome.code, outcome.message) == (-2019, "Margin is insufficient.")


def test_the_transport_speaks_where_the_body_says_nothing() -> None:
    assert classify(502, HTML, error="body is no JSON").message == "body is no JSON"
    assert classify(400, b'{"code":-1,"msg":null}').message == ""


# ---------------------------------------------------------------- how long to wait


@pytest.mark.parametrize(
    ("status", "headers", "message", "wait_ms"),
    [
        (429, {"retry-after": "7"}, "Too many requests.", 7_000),
        (418, {"retry-after": "120"}, "Way too many requests; IP banned until 1795244700000.", 120_000),
        (418, {}, "Way too many requests; IP banned until 1795244700000. Please use the websocket.", 300_000),
        (418, {}, "Way too much request weight used; IP banned until 1795244460123. Please", 60_123),
        (418, {}, "IP banned until 1795244399000.", 0),
        (418, {"retry-after": "soon"}, "IP banned until 1795244401000", 1_000),
        (418, {"retry-after": "²"}, "banned", None),
        (418, {"retry-after": "-5"}, "banned", None),
        (418, {"retry-after": "9" * 5_000}, "banned", None),
        (418, {}, "IP banned until further notice.", None),
        (418, {}, "IP banned until " + "9" * 5_000, None),
        (429, {}, "Too many requests.", None),
    ],
)
@pytest.mark.fault("O13")
def test_the_venue_says_how_long(status: int, headers: dict[str, str], message: str, wait_ms: int | None) -> None:
    assert classify(status, said(-1003, message), headers=headers).retry_after_ms == wait_ms
    assert retry_after_ms(headers, message, now_ms=NOW_MS) == wait_ms


def test_nothing_is_waited_for_while_in_doubt() -> None:
    assert classify(503, said(None, UNKNOWN_503), headers={"retry-after": "9"}).retry_after_ms is None


@pytest.mark.fault("O13")
def test_the_receive_time_of_the_recorded_answer_counts_the_ban() -> None:
    recorded = orjson.dumps(
        {
            "request": {"label": "order", "client_order_id": OURS},
            "status": 418,
            "headers": {},
            "body": {"code": -1003, "msg": "Way too many requests; IP banned until 1795244700000."},
            "sent": True,
        }
    )
    _, outcome = decode_input("rest", recorded, Calls(), (NOW_MS + 1_000) * 1_000_000)

    assert isinstance(outcome, OrderOutcome)
    assert outcome.retry_after_ms == 299_000


# ---------------------------------------------------------------- 200


def accepted(**fields: object) -> bytes:
    """Return the answer to our order, 2.5 of it filled where nothing else is said."""
    body = {
        "clientOrderId": OURS,
        "symbol": "ETHUSDT",
        "orderId": 881,
        "status": "FILLED",
        "executedQty": "2.500",
        **fields,
    }
    return orjson.dumps({key: value for key, value in body.items() if value is not ...})


@pytest.mark.parametrize(
    ("status", "report"),
    [
        ("NEW", Report.ACCEPTED),
        ("PARTIALLY_FILLED", Report.FILL),
        ("FILLED", Report.FILLED),
        ("CANCELED", Report.ENDED),
        ("EXPIRED", Report.ENDED),
        ("EXPIRED_IN_MATCH", Report.ENDED),
        ("REJECTED", Report.ENDED),
    ],
)
def test_a_200_that_names_our_order_is_accepted(status: str, report: Report) -> None:
    outcome = classify(200, accepted(status=status))

    assert (outcome.kind, outcome.report) == (OutcomeKind.ACCEPTED, report)
    assert (outcome.filled, outcome.order_id, outcome.status, outcome.code) == (D("2.5"), 881, 200, 0)


def test_an_order_id_may_be_missing() -> None:
    assert classify(200, accepted(orderId=...)).order_id is None


@pytest.mark.fault("O7")
def test_an_expired_remainder_keeps_its_fill() -> None:
    assert classify(200, accepted(status="EXPIRED", executedQty="0.700")).filled == D("0.7")
    assert classify(200, accepted(status="EXPIRED", executedQty=...)).filled == 0


@pytest.mark.parametrize(
    "body",
    [
        accepted(clientOrderId="sh-0badcafe-2-000008"),
        accepted(clientOrderId=...),
        accepted(clientOrderId=None),
        accepted(status="PENDING_CANCEL"),
        accepted(status=...),
        accepted(status=["FILLED"]),
        accepted(executedQty="lots"),
        accepted(executedQty="1e999"),
        accepted(executedQty=2.5),
        accepted(executedQty=["2.5"]),
        accepted(orderId=2**63),
        accepted(orderId="8x"),
        b"[" + accepted() + b"]",
        said(-2022, "ReduceOnly Order is rejected."),
        b"{}",
        b"null",
        b"",
        b"OK",
        HTML,
        accepted()[:-10],
        b'{"clientOrderId":"' + OURS.encode() + b'","status":"FILLED","x":"\xff"}',
        b"[" * 200_000,
    ],
)
@pytest.mark.fault("O5")
def test_any_other_200_is_in_doubt(body: bytes) -> None:
    outcome = classify(200, body)

    assert (outcome.kind, outcome.report, outcome.filled, outcome.order_id) == (IN_DOUBT, Report.DOUBT, 0, None)


def test_a_body_that_never_came_is_in_doubt() -> None:
    assert classify(200, None, error="connection reset").kind is IN_DOUBT


# ---------------------------------------------------------------- typed errors of other calls


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, -2015, AuthenticationError),
        (401, -2014, AuthenticationError),
        (400, -2017, AuthenticationError),
        (400, -1022, AuthenticationError),
        (400, -2019, InsufficientMargin),
        (400, -2018, InsufficientMargin),
        (400, -4050, InsufficientMargin),
        (400, -4051, InsufficientMargin),
        (400, -4164, FilterViolation),
        (400, -1111, FilterViolation),
        (400, -4131, FilterViolation),
        (400, -1130, ApiError),
        (500, 0, ApiError),
    ],
)
def test_a_refusal_has_a_type(status: int, code: int, kind: type[ApiError]) -> None:
    error = api_error(status, code, "said so")

    assert type(error) is kind
    assert isinstance(error, ApiError)
    assert (error.status, error.code, error.message) == (status, code, "said so")


@pytest.mark.parametrize("status", [418, 429])
def test_a_limit_has_a_type_and_a_wait(status: int) -> None:
    error = api_error(status, -2019, "slow down", wait_ms=61_000)

    assert isinstance(error, RateLimited)
    assert error.retry_after_ms == 61_000
