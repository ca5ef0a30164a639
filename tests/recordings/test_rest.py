"""REST bodies and headers as recorded or published: what this program reads of them, and that it asks for no others."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import orjson
import pytest

from streamhedge.domain.events import OutcomeKind
from streamhedge.domain.margin import maintenance_margin
from streamhedge.domain.order import Report
from streamhedge.domain.values import ClientOrderId
from streamhedge.errors import ParseError
from streamhedge.runtime.inputs import Calls, decode_input
from streamhedge.wire.answers import (
    balances_of,
    brackets_of,
    exact_json,
    instrument_of,
    listen_key_of,
    open_orders_of,
    positions_of,
    setup_of,
)
from streamhedge.wire.outcomes import classify_order, retry_after_ms
from tests.support.recordings import Recording, recording
from tests.support.shared import needs_shared
from tests.support.wire_requests import rest_requests

DOCUMENTED = recording("rest/docs_responses.jsonl")
FIXTURES = recording("rest/library_fixtures.jsonl")
POSITIONS = recording("rest/positions_recorded.jsonl")
HEADERS = recording("rest/response_headers.jsonl")
INFO_2023 = recording("rest/exchangeInfo_full_2023-12-16.json")
INFO_2026 = recording("rest/exchangeInfo_subset_2026-07-03.json")
FUNDING_INFO = recording("rest/fundingInfo_2026-07-04T1334.json")
BRACKETS = recording("rest/leverageBracket_2024-10.jsonl")
BRACKETS_2023 = recording("rest/leverageBracket_BTCUSDT_2023-03.json")
PREMIUM_INDEX = recording("rest/premiumIndex_all_2026-07-03.json")
FUNDING_RATES = {
    "BNBUSDT": recording("rest/fundingRate_BNBUSDT_limit20_2026-07.json"),
    "ETHUSDT": recording("rest/fundingRate_ETHUSDT_limit20_2026-07.json"),
    "SOLUSDT": recording("rest/fundingRate_SOLUSDT_limit20_2026-07.json"),
    "XRPUSDT": recording("rest/fundingRate_XRPUSDT_limit20_2026-07.json"),
}

D = Decimal
pytestmark = needs_shared

HOUR_MS = 3_600_000


def figure(value: object) -> Decimal:
    """Return a number of a body, as text or as a JSON number."""
    return D(str(value))


# ---------------------------------------------------------------- filters, brackets, intervals


@pytest.mark.parametrize(("info", "count"), [(INFO_2023, 293), (INFO_2026, 27)])
def test_every_symbol_of_exchange_info(info: Recording, count: int) -> None:
    rows = exact_json(info.raw())["symbols"]
    assert len(rows) == count
    for row in rows:
        read = instrument_of(row, brackets=(), fee={"takerCommissionRate": "0.0004"}, funding_interval_hours=4)
        filters = {item["filterType"]: item for item in row["filters"]}
        assert (read.symbol, read.status, read.contract_type) == (row["symbol"], row["status"], row["contractType"])
        assert (read.base_asset, read.margin_asset) == (row["baseAsset"], row["marginAsset"])
        assert read.tick_size == D(filters["PRICE_FILTER"]["tickSize"])
        assert read.step_size == D(filters["LOT_SIZE"]["stepSize"])
        assert read.min_quantity == D(filters["LOT_SIZE"]["minQty"])
        assert read.max_quantity == D(filters["LOT_SIZE"]["maxQty"])
        assert read.market_max_quantity == D(filters["MARKET_LOT_SIZE"]["maxQty"])
        assert read.min_notional == D(filters["MIN_NOTIONAL"]["notional"])
        assert read.multiplier_down == D(filters["PERCENT_PRICE"]["multiplierDown"])
        assert (read.taker_fee_rate, read.funding_interval_hours) == (D("0.0004"), 4)


def test_every_bracket_table() -> None:
    for line in BRACKETS.lines():
        body = exact_json(line)
        row = body[0] if isinstance(body, list) else body
        check_brackets(body, row)
    check_brackets(exact_json(BRACKETS_2023.raw()), exact_json(BRACKETS_2023.raw())[0])
    assert len(BRACKETS.lines()) == 174


def check_brackets(body: Any, row: dict[str, Any]) -> None:
    """Fail where a table is read otherwise than written, or its maintenance is not continuous across a boundary."""
    read = brackets_of(body, row["symbol"])
    assert [
        (b.notional_floor, b.notional_cap, b.maintenance_margin_rate, b.maintenance_amount, b.max_leverage)
        for b in read
    ] == [
        (
            figure(item["notionalFloor"]),
            figure(item["notionalCap"]),
            figure(item["maintMarginRatio"]),
            figure(item["cum"]),
            item["initialLeverage"],
        )
        for item in row["brackets"]
    ]
    for lower, upper in pairwise(read):
        edge = lower.notional_cap
        assert upper.notional_floor == edge
        gap = edge * (upper.maintenance_margin_rate - lower.maintenance_margin_rate)
        # the venue prints amounts with at most a few decimals
        assert abs(upper.maintenance_amount - lower.maintenance_amount - gap) <= D("0.01"), row["symbol"]
        assert maintenance_margin(notional=edge, brackets=read) == (
            edge * lower.maintenance_margin_rate - lower.maintenance_amount
        )


def test_brackets_of_another_symbol_are_not_taken() -> None:
    with pytest.raises(ParseError, match="no bracket of ETHUSDT"):
        brackets_of(exact_json(BRACKETS_2023.raw()), "ETHUSDT")


def test_a_set_up_of_every_recorded_symbol_takes_its_interval() -> None:
    """The whole set-up of July 2026 in one: intervals of fundingInfo where it lists a symbol, else 8 h."""
    info = exact_json(INFO_2026.raw())
    names = [row["symbol"] for row in info["symbols"]]
    table = exact_json(BRACKETS_2023.raw())[0]["brackets"]
    listed = {row["symbol"]: row["fundingIntervalHours"] for row in exact_json(FUNDING_INFO.raw())}
    done = setup_of(
        {
            "account_config": {"dualSidePosition": False, "multiAssetsMargin": True},
            "symbol_config": [{"symbol": name, "marginType": "ISOLATED", "leverage": 5} for name in names],
            "funding_info": exact_json(FUNDING_INFO.raw()),
            "exchange_info": info,
            "leverage_bracket": {name: {"symbol": name, "brackets": table} for name in names},
            "commission_rate": {},
        }
    )

    assert [item.symbol for item in done.instruments] == names
    intervals = {str(item.symbol): item.funding_interval_hours for item in done.instruments}
    assert intervals == {name: listed.get(name, 8) for name in names}
    assert set(listed.values()) == {1, 4, 8}
    assert (done.dual_side, done.multi_assets) == (False, True)
    assert set(done.leverage.values()) == {5}
    assert set(done.isolated.values()) == {True}
    # without commissionRate the published rate of the lowest tier stands in
    assert {item.taker_fee_rate for item in done.instruments} == {D("0.0005")}


# ---------------------------------------------------------------- documented answers

READ = {
    "POST /fapi/v1/order": "order",
    "DELETE /fapi/v1/order": "cancel",
    "GET /fapi/v1/openOrders": "open orders",
    "POST /fapi/v1/listenKey": "listen key",
    "GET /fapi/v1/fundingInfo": "funding info",
    "GET /fapi/v1/leverageBracket": "brackets",
    "POST /fapi/v1/leverage": "not read",
}
SAME_ROWS = {"GET /fapi/v2/balance": "balances"}
"""Never asked over REST, but the rows are those of the WebSocket API."""


def documented() -> list[Any]:
    """Return the documented answers, named by their call."""
    return [pytest.param(exact_json(line), id=exact_json(line)["endpoint"]) for line in DOCUMENTED.lines()]


JUDGED = ("DELETE /fapi/v1/algoOrder",)
"""Sent, and only judged by status and code: the venue's event says what became of the stop."""


@pytest.mark.parametrize("row", documented())
def test_documented_answer(row: dict[str, Any]) -> None:
    ours = {f"{request.method} {request.path}" for request in rest_requests().values()}
    kind = READ.get(row["endpoint"]) or SAME_ROWS.get(row["endpoint"])
    assert (row["endpoint"] in ours) is (row["endpoint"] in READ or row["endpoint"] in JUDGED)
    if kind is not None:
        CHECKS[kind](row["response"])


def check_order(body: Any) -> None:
    """An answer to our order, and to nobody else's."""
    for name, kind in (("testOrder", OutcomeKind.ACCEPTED), ("sh-0badcafe-2-000007", OutcomeKind.IN_DOUBT)):
        outcome = classify_order(
            client_order_id=ClientOrderId(name),
            status=200,
            headers={},
            body=orjson.dumps(body),
            sent=True,
            error="",
            now_ms=0,
        )
        assert outcome.kind is kind
    assert (body["clientOrderId"], body["status"]) == ("testOrder", "NEW")


def check_cancel(body: Any) -> None:
    """The answer to a cancel moves nothing: the stream tells."""
    recorded = orjson.dumps({"request": {"label": "cancel"}, "status": 200, "body": body})
    assert decode_input("rest", recorded, Calls(), 0) == []


def check_open_orders(body: Any) -> None:
    """A resting order of somebody else."""
    (order,) = open_orders_of(body).orders
    row = body[0]
    assert (order.symbol, order.client_order_id, order.owner.value) == (row["symbol"], row["clientOrderId"], "foreign")
    assert (order.quantity, order.filled, order.price) == (D(row["origQty"]), D(row["executedQty"]), D(row["price"]))
    assert (order.side.value, order.reduce_only) == (row["side"], row["reduceOnly"])


def check_listen_key(body: Any) -> None:
    """A key as it stands."""
    assert listen_key_of(orjson.dumps(body)) == body["listenKey"]


def check_funding_info(body: Any) -> None:
    """One listed symbol with its interval."""
    assert [(row["symbol"], row["fundingIntervalHours"]) for row in body] == [("BLZUSDT", 8)]


def check_empty_brackets(body: Any) -> None:
    """The published example lists no bracket: no margin can be computed from that."""
    with pytest.raises(ParseError, match="no bracket of ETHUSDT"):
        brackets_of(body, "ETHUSDT")


def check_balances(body: Any) -> None:
    """Balances to the last decimal."""
    read = balances_of(body)
    assert [(b.asset, b.wallet_balance, b.cross_wallet_balance, b.available_balance) for b in read] == [
        (r["asset"], D(r["balance"]), D(r["crossWalletBalance"]), D(r["availableBalance"])) for r in body
    ]


CHECKS = {
    "order": check_order,
    "cancel": check_cancel,
    "open orders": check_open_orders,
    "listen key": check_listen_key,
    "funding info": check_funding_info,
    "brackets": check_empty_brackets,
    "balances": check_balances,
    "not read": lambda body: None,
}


# ---------------------------------------------------------------- fixtures of other libraries


def fixtures() -> list[Any]:
    """Return the fixtures, named as their line names them."""
    return [pytest.param(exact_json(line), id=exact_json(line)["name"]) for line in FIXTURES.lines()]


def check_symbol_config(body: Any) -> None:
    """Margin type and leverage of each symbol."""
    bodies = {
        "account_config": {"dualSidePosition": True},
        "symbol_config": body,
        "funding_info": [],
        "exchange_info": {"symbols": []},
    }
    done = setup_of(bodies)
    assert done.dual_side
    assert {str(name): isolated for name, isolated in done.isolated.items()} == {
        row["symbol"]: row["marginType"] == "ISOLATED" for row in body
    }
    assert {str(name): leverage for name, leverage in done.leverage.items()} == {
        row["symbol"]: row["leverage"] for row in body
    }


def check_positions(body: Any) -> None:
    """Rows of an older version: the same position, without what that version lacks."""
    for read, row in zip(positions_of(body), body, strict=True):
        assert (read.symbol, read.quantity) == (row["symbol"], D(row["positionAmt"]))
        assert (read.entry_price, read.liquidation_price) == (D(row["entryPrice"]), D(row["liquidationPrice"]))
        assert read.mark_price == D(row["markPrice"])
        assert read.margin_asset == row.get("marginAsset")


def check_own_order(body: Any) -> None:
    """An answer under the id that was sent."""
    row = body[0] if isinstance(body, list) else body
    outcome = classify_order(
        client_order_id=ClientOrderId(row["clientOrderId"]),
        status=200,
        headers={},
        body=orjson.dumps(row),
        sent=True,
        error="",
        now_ms=0,
    )
    assert (outcome.kind, outcome.report) == (OutcomeKind.ACCEPTED, Report.ACCEPTED)
    assert (outcome.order_id, outcome.filled) == (row["orderId"], D(row["executedQty"]))


def check_interval(body: Any) -> None:
    """Each row names its symbol and whole hours."""
    assert all(row["fundingIntervalHours"] in (1, 4, 8) for row in body)


def check_fee(body: Any) -> None:
    """The taker rate enters the instrument."""
    row = exact_json(INFO_2026.raw())["symbols"][0]
    read = instrument_of(row, brackets=(), fee=body, funding_interval_hours=8)
    assert read.taker_fee_rate == D(body["takerCommissionRate"])


def check_time(body: Any) -> None:
    """The clock is asked over the WebSocket API, with the same result."""
    calls = Calls(next=2, times={1: 77})
    (event,) = decode_input("wsapi", orjson.dumps({"id": "time-1", "status": 200, "result": body}), calls, 0)
    assert (event.server_time_ms, event.requested_ns) == (1620099477465, 77)  # type: ignore[union-attr]


FIXTURE_CHECKS = {
    "balance": check_balances,
    "order_response": check_own_order,
    "position_risk": check_positions,
    "http_futures_account_orders": check_open_orders,
    "http_futures_account_positions_one_way": check_positions,
    "http_futures_account_symbol_config": check_symbol_config,
    "http_futures_wallet_commission_rate_btcusdt": check_fee,
    "http_futures_wallet_commission_rate_btcusdt_quarterly": check_fee,
    "http_futures_wallet_commission_rate_ethusdt": check_fee,
    "swap createOrders answer (demo)": check_own_order,
    "market order accepted, answer to POST /fapi/v1/order (2024-05-28)": check_own_order,
    "GET /fapi/v1/fundingInfo?": check_interval,
    "GET /fapi/v1/time?": check_time,
}
NOT_OURS = (
    "account_info_v2",
    "open_algo_orders",
    "http_futures_account_position_side_dual",
    "http_futures_market_funding_rate",
    "http_futures_market_global_long_short_account_ratio",
    "http_futures_market_mark_price_klines",
    "http_futures_market_premium_index",
    "http_futures_market_top_long_short_account_ratio",
    "FutureAlgoStopLimit order placed",
    "FutureAlgoStopMarket order placed",
    "funding fee row of the income ledger",
    "GET /fapi/v1/fundingRate?endTime=1602820102&limit=1&startTime=1602816502&symbol=LTCUSDT",
    "GET /fapi/v1/fundingRate?endTime=1580515200000&limit=1000&startTime=1577836800000&symbol=BTCUSDT",
    "GET /fapi/v1/fundingRate?endTime=1580515200000&limit=1&startTime=1577836800000&symbol=LTCUSDT",
    "GET /fapi/v1/premiumIndex?symbol=BTCUSDT",
    "GET /fapi/v1/ticker/price?symbol=BTCUSDT",
)
"""Answers of calls this program does not make."""


@pytest.mark.parametrize("row", fixtures())
def test_library_fixture(row: dict[str, Any]) -> None:
    check = FIXTURE_CHECKS.get(row["name"])
    assert (check is None) is (row["name"] in NOT_OURS), f"unjudged: {row['name']}"
    if check is not None:
        check(row["response"])


@pytest.mark.parametrize("line", [pytest.param(line, id=str(n)) for n, line in enumerate(POSITIONS.lines())])
def test_recorded_position(line: bytes) -> None:
    row = exact_json(line)
    if row["endpoint"].startswith("GET /fapi/v2/account"):
        with pytest.raises(ParseError, match="without 'symbol'"):
            positions_of(row["response"])  # a row of another call, whose symbol the source did not print
        return
    check_positions(row["response"])
    (read,) = positions_of(row["response"])
    assert read.isolated is (row["response"][0]["marginType"] == "isolated")


# ---------------------------------------------------------------- calls we never make, and headers


def test_no_request_asks_for_premium_index_or_past_funding() -> None:
    """Both come by stream; the recordings serve the simulation, and their stamps show why no stamp is a key."""
    paths = {request.path for request in rest_requests().values()}
    assert not {"/fapi/v1/premiumIndex", "/fapi/v1/fundingRate"} & paths
    assert len(exact_json(PREMIUM_INDEX.raw())) > 500
    late = 0
    for symbol, read in FUNDING_RATES.items():
        rows = exact_json(read.raw())
        assert {row["symbol"] for row in rows} == {symbol}
        late = max(late, *(row["fundingTime"] % HOUR_MS for row in rows))
    assert 0 < late < 1_000


def test_headers_come_in_lower_case_and_ask_for_no_wait() -> None:
    """Public answers name their weight, or, from the funding pool, none; Retry-After stands on refusals only."""
    weights = []
    for row in HEADERS.rows():
        headers = row["headers"]
        assert all(name == name.lower() for name in headers)
        assert retry_after_ms(headers, "", now_ms=0) is None
        weights.append(headers.get("x-mbx-used-weight-1m"))
    assert len(weights) == 9
    assert sorted(int(weight) for weight in weights if weight) == [2, 5, 66, 78]
