"""Error bodies as people pasted them, and the venue's table of codes: what each proves about an order."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streamhedge.domain.events import OutcomeKind
from streamhedge.domain.order import Report
from streamhedge.domain.values import ClientOrderId
from streamhedge.wire.answers import decode_ws_api, order_status_of
from streamhedge.wire.outcomes import classify_order
from tests.support.recordings import recording
from tests.support.shared import needs_shared

BODIES = recording("errors/error_bodies.jsonl")
CODES = recording("errors/error_codes.jsonl")

pytestmark = needs_shared

OURS = ClientOrderId("sh-0badcafe-2-000007")
REFUSED, IN_DOUBT = OutcomeKind.REFUSED, OutcomeKind.IN_DOUBT

PROVES: dict[str, tuple[OutcomeKind, int, int | None]] = {
    # id: kind, code, wait in ms when received 10 s before the end of that ban
    "min-notional-5": (REFUSED, -4164, None),
    "min-notional-100": (REFUSED, -4164, None),
    "quantity-zero": (REFUSED, -4003, None),
    "reduce-only-in-hedge-mode": (REFUSED, -1106, None),
    "ip-banned-until": (REFUSED, -1003, 10_000),
    "http-502-nginx": (IN_DOUBT, 0, None),
    "http-403-cloudfront": (REFUSED, 0, None),
    "key-rejected": (REFUSED, -2015, None),
    "key-format": (REFUSED, -2014, None),
}
ON_THE_WEBSOCKET = "wsapi-key-rejected"
NOW_MS = 1_660_090_413_228

UNKNOWN_STATUS = (-1000, -1006, -1007)


def rows() -> list[Any]:
    """Return the recorded bodies, named as they name themselves."""
    read = [orjson.loads(line) for line in BODIES.lines()]
    return [pytest.param(row, id=row["id"]) for row in read]


@pytest.mark.parametrize("row", rows())
def test_recorded_body(row: dict[str, Any]) -> None:
    if row["id"] == ON_THE_WEBSOCKET:
        answer = decode_ws_api(orjson.dumps(row["body"]))
        assert (answer.id, answer.status, answer.code) == ("1", 401, -2015)
        assert answer.message == row["body"]["error"]["msg"]
        assert order_status_of(OURS, answer).inconclusive
        return
    kind, code, wait_ms = PROVES[row["id"]]
    body = row["body_text"].encode() if "body_text" in row else orjson.dumps(row["body"])
    outcome = classify_order(
        client_order_id=OURS,
        status=row["http_status"],
        headers={},
        body=body,
        sent=True,
        error="",
        now_ms=NOW_MS,
    )

    assert (outcome.kind, outcome.code, outcome.retry_after_ms) == (kind, code, wait_ms)
    assert outcome.report is (Report.DOUBT if kind is IN_DOUBT else Report.REFUSED)
    assert outcome.message == row.get("body", {}).get("msg", "")


@pytest.mark.parametrize("status", [400, 401])
def test_every_code_of_the_table_refuses_except_the_unknown_three(status: int) -> None:
    table = CODES.rows()
    assert len(table) == 100
    for row in table:
        for message in row["messages"]:
            outcome = classify_order(
                client_order_id=OURS,
                status=status,
                headers={},
                body=orjson.dumps({"code": row["code"], "msg": message}),
                sent=True,
                error="",
                now_ms=NOW_MS,
            )
            doubtful = row["code"] in UNKNOWN_STATUS
            assert outcome.kind is (IN_DOUBT if doubtful else REFUSED), (row["code"], message)
            assert (outcome.code, outcome.message) == (row["code"], message)


def test_no_code_of_the_table_settles_a_timeout_or_a_server_error() -> None:
    """Behind 408 and 5xx a code proves nothing, but for the two that say the order was not accepted."""
    for row in CODES.rows():
        for status in (408, 500, 502, 503, 504):
            outcome = classify_order(
                client_order_id=OURS,
                status=status,
                headers={},
                body=orjson.dumps({"code": row["code"], "msg": row["messages"][0]}),
                sent=True,
                error="",
                now_ms=NOW_MS,
            )
            not_processed = status == 503 and row["code"] in (-1001, -1008)
            assert outcome.kind is (REFUSED if not_processed else IN_DOUBT), (status, row["code"])
