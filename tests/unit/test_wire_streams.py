"""The venue's vocabulary, word by word: what an execution means, who acted, why the account moved, what is understood."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streamhedge.domain.events import (
    AccountUpdate,
    AlgoUpdate,
    ExecutionReport,
    OtherMarketEvent,
    OtherUserEvent,
    Owner,
    Quarantined,
)
from streamhedge.domain.order import Report
from streamhedge.wire.streams import decode_market, decode_private, owner_of

MEANING = {
    ("NEW", "NEW"): Report.ACCEPTED,
    ("NEW", "NEW_INSURANCE"): Report.ACCEPTED,
    ("NEW", "NEW_ADL"): Report.ACCEPTED,
    ("AMENDMENT", "NEW"): Report.ACCEPTED,
    ("AMENDMENT", "PARTIALLY_FILLED"): Report.FILL,
    ("TRADE", "PARTIALLY_FILLED"): Report.FILL,
    ("TRADE", "FILLED"): Report.FILLED,
    ("TRADE", "NEW_INSURANCE"): Report.FILL,
    ("TRADE", "NEW_ADL"): Report.FILL,
    ("CALCULATED", "NEW"): Report.ACCEPTED,
    ("CALCULATED", "PARTIALLY_FILLED"): Report.FILL,
    ("CALCULATED", "FILLED"): Report.FILLED,
    ("CALCULATED", "CANCELED"): Report.ENDED,
    ("CALCULATED", "EXPIRED"): Report.ENDED,
    ("CANCELED", "CANCELED"): Report.ENDED,
    ("EXPIRED", "EXPIRED"): Report.ENDED,
    ("EXPIRED", "EXPIRED_IN_MATCH"): Report.ENDED,
    ("EXPIRED", "CANCELED"): Report.ENDED,
    ("REJECTED", "REJECTED"): Report.ENDED,
}
EXECUTIONS = sorted({execution for execution, _ in MEANING})
STATUSES = sorted({status for _, status in MEANING})


def report(execution: str, status: str) -> bytes:
    """Return an ORDER_TRADE_UPDATE with these two words."""
    order = {"s": "ETHUSDT", "c": "sh-0badcafe-2-000007", "S": "BUY", "o": "MARKET", "q": "1", "i": 1}
    body = {"e": "ORDER_TRADE_UPDATE", "T": 1, "E": 2, "o": {**order, "x": execution, "X": status}}
    return orjson.dumps(body)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_what_an_execution_means(execution: str, status: str) -> None:
    (event,) = decode_private(report(execution, status))
    meaning = MEANING.get((execution, status))

    if meaning is None:
        assert isinstance(event, Quarantined)
        assert execution in event.reason
        assert status in event.reason
    else:
        assert isinstance(event, ExecutionReport)
        assert event.report is meaning


@pytest.mark.parametrize(
    ("client_order_id", "owner"),
    [
        ("sh-0badcafe-2-000007", Owner.OURS),
        ("sh-", Owner.OURS),
        ("SH-0badcafe-2-000007", Owner.FOREIGN),
        ("autoclose-1795161630000000017", Owner.LIQUIDATION),
        ("autoclose", Owner.FOREIGN),
        ("adl_autoclose", Owner.ADL),
        ("adl_autoclose-123", Owner.ADL),
        ("settlement_autoclose-1795161632000", Owner.SETTLEMENT),
        ("delivery_autoclose-9", Owner.SETTLEMENT),
        ("web_autoclose-1", Owner.FOREIGN),
        ("", Owner.FOREIGN),
    ],
)
def test_who_acted(client_order_id: str, owner: Owner) -> None:
    assert owner_of(client_order_id) is owner


@pytest.mark.parametrize(
    "reason",
    [
        *("DEPOSIT", "WITHDRAW", "ORDER", "FUNDING_FEE", "WITHDRAW_REJECT", "ADJUSTMENT", "INSURANCE_CLEAR"),
        *("ADMIN_DEPOSIT", "ADMIN_WITHDRAW", "MARGIN_TRANSFER", "MARGIN_TYPE_CHANGE", "ASSET_TRANSFER"),
        *("OPTIONS_PREMIUM_FEE", "OPTIONS_SETTLE_PROFIT", "AUTO_EXCHANGE", "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW"),
    ],
)
def test_why_the_account_moved(reason: str) -> None:
    (event,) = decode_private(orjson.dumps({"e": "ACCOUNT_UPDATE", "T": 1, "E": 2, "a": {"m": reason}}))

    assert isinstance(event, AccountUpdate)
    assert event.reason == reason


def test_an_account_update_without_a_cause_is_taken() -> None:
    """A frame was once printed with its cause beside the body; its figures are as good as any."""
    (event,) = decode_private(orjson.dumps({"e": "ACCOUNT_UPDATE", "T": 1, "E": 2, "m": "ORDER", "a": {}}))

    assert event == AccountUpdate(2, 1, "", (), (), None)


ORDER = {"s": "ETHUSDT", "c": "web_1", "S": "BUY", "o": "MARKET", "q": "1", "i": 1, "x": "NEW", "X": "NEW"}
ALGO = {"s": "ETHUSDT", "caid": "x", "aid": 1, "S": "BUY", "X": "NEW"}


def event_of(name: str, body: dict[str, Any]) -> bytes:
    """Return a private event around an order."""
    return orjson.dumps({"e": name, "T": 1, "E": 2, "o": body})


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("ORDER_TRADE_UPDATE", {**ORDER, "o": word}, None)
        for word in ("LIMIT", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
    ]
    + [("ORDER_TRADE_UPDATE", {**ORDER, "o": "LIQUIDATION"}, None)]
    + [("ORDER_TRADE_UPDATE", {**ORDER, "er": str(number)}, None) for number in range(10)]
    + [
        ("ALGO_UPDATE", {**ALGO, "X": status}, None)
        for status in ("NEW", "TRIGGERING", "TRIGGERED", "FINISHED", "CANCELED", "REJECTED", "EXPIRED")
    ]
    + [
        ("ORDER_TRADE_UPDATE", {**ORDER, "o": "ICEBERG"}, "unknown order type 'ICEBERG'"),
        ("ORDER_TRADE_UPDATE", {**ORDER, "er": "10"}, "unknown expiry reason '10'"),
        ("ALGO_UPDATE", {**ALGO, "X": "PAUSED"}, "unknown algo status 'PAUSED'"),
    ],
)
@pytest.mark.fault("S8")
def test_a_new_word_that_no_figure_hangs_on_is_taken_and_doubted(
    name: str, body: dict[str, Any], words: str | None
) -> None:
    """The report counts at once, and the book is checked against a snapshot as after any unknown word."""
    event, *doubt = decode_private(event_of(name, body))

    assert isinstance(event, ExecutionReport | AlgoUpdate)
    assert [said.reason for said in doubt if isinstance(said, Quarantined)] == ([] if words is None else [words])


@pytest.mark.parametrize("name", ["STRATEGY_UPDATE", "GRID_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT"])
@pytest.mark.fault("U14")
def test_private_events_that_move_nothing(name: str) -> None:
    assert decode_private(orjson.dumps({"e": name, "E": 5, "T": 4})) == [OtherUserEvent(name, 5)]


@pytest.mark.parametrize(
    "name",
    [
        *("bookTicker", "forceOrder", "aggTrade", "kline", "continuous_kline", "24hrMiniTicker", "24hrTicker"),
        *("depthUpdate", "compositeIndex", "assetIndexUpdate", "EquityUpdate", "CommodityUpdate", "FXUpdate"),
        *("KR_EquityUpdate", "HK_EquityUpdate", "CN_EquityUpdate"),
    ],
)
def test_market_events_that_move_nothing(name: str) -> None:
    assert decode_market(orjson.dumps({"e": name, "E": 5, "s": "X"})) == [OtherMarketEvent(name, "X", 5)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ({"result": None, "id": 1}, "ack"),
        ({"result": ["btcusdt@markPrice@1s"], "id": 2}, "ack"),
        ({"result": True, "id": "6f1c"}, "ack"),
        ({"code": 2, "msg": "Invalid request"}, "error"),
        ({"error": {"code": 3, "msg": "Invalid JSON"}}, "error"),
        ({"error": {"code": 1, "msg": "bad"}, "id": 3}, "error"),
    ],
)
def test_what_a_stream_command_is_answered(frame: dict[str, Any], name: str) -> None:
    raw = orjson.dumps(frame)

    assert decode_private(raw) == [OtherUserEvent(name, 0)]
    assert decode_market(raw) == [OtherMarketEvent(name, None, 0)]


def test_doors_do_not_share_their_events() -> None:
    """A private event on a market stream, or the other way round, is a mystery on that door."""
    update = orjson.dumps({"e": "ACCOUNT_UPDATE", "T": 1, "E": 2, "a": {"m": "ORDER"}})
    mark = orjson.dumps({"e": "markPriceUpdate", "E": 1, "s": "ETHUSDT", "p": "1", "T": 2})

    assert isinstance(decode_market(update)[0], Quarantined)
    assert isinstance(decode_private(mark)[0], Quarantined)
