"""Every published example message, and what we make of it. A file without an expectation fails its case."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from streamhedge.domain.events import CallFailed, ListenKeyReady, OutcomeKind, Quarantined, SetupDone, StopOutcome
from streamhedge.domain.instrument import Instrument, MarginBracket
from streamhedge.domain.order import Report
from streamhedge.domain.values import Asset, ClientOrderId, Symbol
from streamhedge.errors import ParseError
from streamhedge.runtime.inputs import Calls, decode_input
from streamhedge.wire.answers import (
    balances_of,
    decode_ws_api,
    exact_json,
    listen_key_of,
    order_status_of,
    positions_of,
    setup_of,
)
from streamhedge.wire.outcomes import classify_order
from streamhedge.wire.streams import decode_market, decode_private
from tests.golden.expected_answers import (
    ANSWERS,
    BALANCE_LISTS,
    BALANCES,
    FAILED_CALLS,
    LISTEN_KEYS,
    NOT_ASKED,
    NOT_READ,
    ORDER_ANSWERS,
    POSITIONS,
    REFUSALS,
    REQUESTS,
    SETUP,
    STOPS,
)
from tests.golden.expected_market import MARKET, SENT_BY_US
from tests.golden.expected_user import QUARANTINED, USER
from tests.support.shared import SHARED, needs_shared
from tests.support.wire_requests import rest_requests, ws_requests

D = Decimal
FOLDER = Path() if SHARED is None else SHARED / "protocol" / "examples"
FILES = sorted(path.name for path in FOLDER.glob("*.json")) if SHARED is not None else []
NOW_MS = 1_795_161_610_000

EXPECTED = {
    *MARKET,
    *SENT_BY_US,
    *USER,
    *QUARANTINED,
    *ANSWERS,
    *REQUESTS,
    *POSITIONS,
    *BALANCE_LISTS,
    *ORDER_ANSWERS,
    *SETUP,
    *LISTEN_KEYS,
    *FAILED_CALLS,
    *NOT_READ,
    *NOT_ASKED,
    *STOPS,
    "rest_error_bodies.json",
    "sign_vectors.json",  # tests/unit/test_wire_signing.py
}

pytestmark = needs_shared


def raw(name: str) -> bytes:
    """Return an example as one frame."""
    return (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_the_example_has_an_expectation(name: str) -> None:
    assert name in EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_expectation_has_an_example(name: str) -> None:
    assert name in FILES


@pytest.mark.parametrize("name", sorted(MARKET))
def test_market(name: str) -> None:
    assert decode_market(raw(name)) == MARKET[name]


@pytest.mark.parametrize("name", sorted(USER))
def test_private(name: str) -> None:
    assert decode_private(raw(name)) == USER[name]


@pytest.mark.parametrize("name", sorted(QUARANTINED))
def test_an_event_of_another_account_is_a_mystery(name: str) -> None:
    (event,) = decode_private(raw(name))

    assert isinstance(event, Quarantined)
    assert event.private
    assert event.head == raw(name)[:200].decode()


@pytest.mark.parametrize("name", sorted(SENT_BY_US))
def test_a_stream_command_is_taken_for_no_event(name: str) -> None:
    (event,) = decode_market(raw(name))

    assert (type(event).__name__, event.name, event.symbol) == ("OtherMarketEvent", "ack", None)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_answer(name: str) -> None:
    answer = decode_ws_api(raw(name))

    assert (answer.id, answer.status, answer.code, answer.message) == ANSWERS[name]
    assert answer.retry_after_ms is None
    assert answer.result == json.loads(raw(name)).get("result")


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_a_request_is_no_answer(name: str) -> None:
    with pytest.raises(ParseError, match="without a status"):
        decode_ws_api(raw(name))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("wsapi_position_v2_request_logged_on.json", "positions"),
        ("wsapi_balance_v2_request.json", "balances"),
        ("wsapi_order_status_request.json", "order_status"),
    ],
)
def test_our_request_is_the_published_one(name: str, ours: str) -> None:
    published = json.loads(raw(name))
    params = published["params"]
    del params["timestamp"]
    request = ws_requests()[ours]

    assert request.method == published["method"]
    assert request.params.keys() == params.keys()
    assert {key: type(value) for key, value in request.params.items()} == {k: type(v) for k, v in params.items()}


@pytest.mark.parametrize("name", sorted(POSITIONS))
def test_positions(name: str) -> None:
    body = exact_json(raw(name))

    assert positions_of(body["result"] if name.startswith("wsapi") else body) == POSITIONS[name]


@pytest.mark.parametrize("name", BALANCE_LISTS)
def test_balances(name: str) -> None:
    body = exact_json(raw(name))

    assert balances_of(body["result"] if name.startswith("wsapi") else body) == BALANCES


def test_a_found_order() -> None:
    found = order_status_of(ClientOrderId("sh-7f3a91c2-000018"), decode_ws_api(raw("wsapi_order_status_response.json")))

    assert (found.found, found.inconclusive, found.report) == (True, False, Report.FILLED)
    assert (found.filled, found.filled_quote, found.order_id) == (D("0.25"), D("19102.475"), 812345678955)


def test_an_absent_order_is_one_absence() -> None:
    answer = decode_ws_api(raw("wsapi_order_status_error_not_found.json"))
    absent = order_status_of(ClientOrderId("sh-7f3a91c2-000099"), answer)

    assert (absent.found, absent.inconclusive, absent.report, absent.filled) == (False, False, None, 0)


@pytest.mark.parametrize(
    "name",
    [
        "wsapi_error_rate_limited.json",
        "wsapi_order_place_error_unknown_status.json",
        "wsapi_order_cancel_error_unknown_order.json",
        "wsapi_order_status_response.json",  # names another order than the one asked for
    ],
)
def test_any_other_answer_proves_nothing(name: str) -> None:
    said = order_status_of(ClientOrderId("sh-7f3a91c2-000099"), decode_ws_api(raw(name)))

    assert (said.found, said.inconclusive) == (False, True)


@pytest.mark.parametrize("name", sorted(ORDER_ANSWERS))
def test_order_answer(name: str) -> None:
    client_order_id, kind, report, filled, order_id = ORDER_ANSWERS[name]
    outcome = classify_order(
        client_order_id=ClientOrderId(client_order_id),
        status=200,
        headers={},
        body=raw(name),
        sent=True,
        error="",
        now_ms=NOW_MS,
    )

    assert (outcome.kind, outcome.report, outcome.filled, outcome.order_id) == (kind, report, filled, order_id)


def test_error_bodies() -> None:
    said = json.loads(raw("rest_error_bodies.json"))
    assert len(said) == len(REFUSALS)
    for entry, (status, code, text, kind) in zip(said, REFUSALS, strict=True):
        outcome = classify_order(
            client_order_id=ClientOrderId("sh-7f3a91c2-000018"),
            status=entry["http"],
            headers={},
            body=orjson.dumps(entry["body"]),
            sent=True,
            error="",
            now_ms=NOW_MS,
        )

        assert (outcome.status, outcome.code, outcome.kind) == (status, code, kind), entry
        assert outcome.message.startswith(text)
        # The ban ends at the epoch in its text, 290 s from now; no other answer names a time.
        assert outcome.retry_after_ms == (290_000 if status == 418 else None)


def test_set_up() -> None:
    bodies = {
        "account_config": exact_json(raw("rest_account_config_response.json")),
        "symbol_config": exact_json(raw("rest_symbol_config_response.json")),
        "funding_info": exact_json(raw("rest_funding_info_response.json")),
        "exchange_info": exact_json(raw("rest_exchange_info_excerpt.json")),
        "leverage_bracket": {"BTCUSDT": exact_json(raw("rest_leverage_bracket_response.json"))},
        "commission_rate": {"BTCUSDT": exact_json(raw("rest_commission_rate_response.json"))},
    }

    assert setup_of(bodies) == SetupDone(
        instruments=(
            Instrument(
                symbol=Symbol("BTCUSDT"),
                base_asset=Asset("BTC"),
                quote_asset=Asset("USDT"),
                margin_asset=Asset("USDT"),
                contract_type="PERPETUAL",
                status="TRADING",
                tick_size=D("0.1"),
                step_size=D("0.001"),
                min_quantity=D("0.001"),
                max_quantity=D(1000),
                market_max_quantity=D(120),
                min_notional=D(50),
                multiplier_up=D("1.05"),
                multiplier_down=D("0.95"),
                taker_fee_rate=D("0.0005"),
                brackets=(
                    MarginBracket(D(0), D(300000), D("0.004"), D(0), 150),
                    MarginBracket(D(300000), D(800000), D("0.005"), D(300), 100),
                    MarginBracket(D(800000), D(3000000), D("0.0065"), D(1500), 75),
                ),
                funding_interval_hours=8,
            ),
        ),
        dual_side=False,
        multi_assets=False,
        leverage={Symbol("BTCUSDT"): 20},
        isolated={Symbol("BTCUSDT"): False},
    )


@pytest.mark.parametrize("name", sorted(LISTEN_KEYS))
def test_listen_key(name: str) -> None:
    assert listen_key_of(raw(name)) == LISTEN_KEYS[name]


def answered(label: str, status: int, name: str) -> bytes:
    """Return the recorded input of a REST call that was answered with an example."""
    return orjson.dumps({"request": {"label": label}, "status": status, "body": raw(name).decode(), "sent": True})


@pytest.mark.parametrize("name", sorted(FAILED_CALLS))
def test_failed_call(name: str) -> None:
    label, code, message = FAILED_CALLS[name]

    events = decode_input("rest", answered(label, 400, name), Calls(), NOW_MS * 1_000_000)
    assert events == [CallFailed(label, 400, code, message, None)]


@pytest.mark.parametrize("name", sorted(NOT_READ))
def test_a_call_whose_answer_is_not_read_is_one_of_ours(name: str) -> None:
    ours = {f"{request.method} {request.path}" for request in rest_requests().values()}

    assert NOT_READ[name] in ours


@pytest.mark.parametrize("name", sorted(STOPS))
def test_the_answer_about_a_stop_says_that_it_is_so(name: str) -> None:
    label, cancel = STOPS[name]
    said = orjson.loads(answered(label, 200, name))
    for asked, kind in (("sh-sl-7f3a91c2-0003", OutcomeKind.ACCEPTED), ("sh-other", OutcomeKind.IN_DOUBT)):
        said["request"]["client_order_id"] = asked
        (found,) = decode_input("rest", orjson.dumps(said), Calls(), NOW_MS * 1_000_000)
        assert isinstance(found, StopOutcome)
        assert (found.kind, found.cancel, found.client_order_id) == (kind, cancel, asked)


def test_the_answer_of_a_cancel_moves_nothing() -> None:
    recorded = answered("cancel", 200, "rest_order_cancel_response.json")

    assert decode_input("rest", recorded, Calls(), NOW_MS * 1_000_000) == []


def test_a_listen_key_enters_as_its_handle_only() -> None:
    recorded = orjson.dumps({"request": {"label": "listen_key"}, "status": 200, "body": {"listenKey": "lk1"}})

    assert decode_input("rest", recorded, Calls(), 0) == [ListenKeyReady(handle="lk1", renewed=False)]


@pytest.mark.parametrize("name", sorted(NOT_ASKED))
def test_no_request_of_ours_asks_for_the_rest(name: str) -> None:
    ours = {(request.method, request.path) for request in rest_requests().values()}

    assert NOT_ASKED[name] not in ours
