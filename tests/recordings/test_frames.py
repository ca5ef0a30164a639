"""Single frames as others recorded or published them: each of a known type decodes, to the figures in the frame."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest

from streamhedge.domain.events import (
    AccountConfigUpdate,
    AccountUpdate,
    AlgoUpdate,
    ExecutionReport,
    ListenKeyExpired,
    MarginCall,
    MarkPriceUpdate,
    OtherMarketEvent,
    Quarantined,
    TradeLite,
)
from streamhedge.domain.order import Report
from streamhedge.wire.streams import decode_market, decode_private
from tests.support.recordings import recording
from tests.support.shared import needs_shared

MARKET = recording("ws/market.jsonl")
USER = recording("ws/user_data.jsonl")
BUSY_MARKET = recording("sequences/market_stream_2021-07-22.jsonl")

D = Decimal
pytestmark = needs_shared

UNKNOWN_TO_US = ("trade",)
"""A stream that no list of the venue names; whoever subscribes to it is not this program."""

MEANING = {
    # execution type, status: what it says of the order
    ("NEW", "NEW"): Report.ACCEPTED,
    ("TRADE", "PARTIALLY_FILLED"): Report.FILL,
    ("TRADE", "FILLED"): Report.FILLED,
    ("CALCULATED", "FILLED"): Report.FILLED,
}
OWNERS = {
    "nautilus/order_update_calculated": "liquidation",
    "nautilus/ws_futures_order_update_liquidation": "liquidation",
    "nautilus/order_update_settlement": "settlement",
    "nautilus/ws_futures_order_update_adl_filled": "adl",
}


def cases(read: Any) -> list[Any]:
    """Return one case per line, named as the line names itself."""
    return [pytest.param(orjson.loads(line), id=orjson.loads(line)["id"]) for line in read.lines()]


def inner(row: dict[str, Any]) -> Any:
    """Return the event of a frame, out of its wrapper."""
    frame = row["frame"]
    return frame["data"] if isinstance(frame, dict) and "data" in frame else frame


def figure(value: object) -> Decimal:
    """Return a number of a frame, 0 where there is none."""
    return D(str(value)) if value not in (None, "") else D(0)


@pytest.mark.parametrize("row", cases(MARKET))
def test_market_frame(row: dict[str, Any]) -> None:
    said = inner(row)
    events = decode_market(orjson.dumps(row["frame"]))
    rows = said if isinstance(said, list) else [said]

    assert len(events) == len(rows)
    for event, item in zip(events, rows, strict=True):
        if item["e"] in UNKNOWN_TO_US:
            assert isinstance(event, Quarantined)
            assert not event.private
        elif item["e"] == "markPriceUpdate":
            assert isinstance(event, MarkPriceUpdate)
            assert (event.symbol, event.mark_price, event.event_time_ms) == (item["s"], D(item["p"]), item["E"])
            # in 2019 the frame had no index yet: the mark stands for it
            assert event.index_price == D(item.get("i", item["p"]))
            assert event.funding_rate == (D(item["r"]) if item["r"] else None)
            assert event.next_funding_time_ms == item["T"]
        else:
            assert event == OtherMarketEvent(item["e"], item.get("s"), item["E"])  # type: ignore[arg-type]


@pytest.mark.parametrize("row", cases(USER))
def test_user_frame(row: dict[str, Any]) -> None:
    said = inner(row)
    (event,) = decode_private(orjson.dumps(row["frame"]))

    assert event.event_time_ms == said["E"]  # type: ignore[union-attr]
    check = {
        "ACCOUNT_UPDATE": check_account_update,
        "ORDER_TRADE_UPDATE": check_report,
        "TRADE_LITE": check_trade_lite,
        "ALGO_UPDATE": check_algo,
        "MARGIN_CALL": check_margin_call,
        "ACCOUNT_CONFIG_UPDATE": check_config,
        "listenKeyExpired": check_expired,
    }[row["event"]]
    check(event, said, row["id"])


def check_account_update(event: object, said: dict[str, Any], name: str) -> None:
    """Compare an account update with its frame."""
    assert isinstance(event, AccountUpdate)
    body = said["a"]
    assert (event.reason, event.transaction_time_ms) == (body["m"], said["T"])
    assert [(b.asset, b.wallet_balance, b.cross_wallet_balance, b.change) for b in event.balances] == [
        (b["a"], D(b["wb"]), D(b["cw"]), figure(b.get("bc"))) for b in body["B"]
    ]
    assert [
        (p.symbol, p.position_side.value, p.quantity, p.entry_price, p.realised_pnl, p.isolated, p.isolated_wallet)
        for p in event.positions
    ] == [(p["s"], p["ps"], D(p["pa"]), D(p["ep"]), D(p["cr"]), p["mt"] == "isolated", D(p["iw"])) for p in body["P"]]
    assert [p.break_even_price for p in event.positions] == [D(p["bep"]) if "bep" in p else None for p in body["P"]]


def check_report(event: object, said: dict[str, Any], name: str) -> None:
    """Compare an execution report with its frame."""
    assert isinstance(event, ExecutionReport)
    order = said["o"]
    assert event.report is MEANING[order["x"], order["X"]]
    assert event.owner.value == OWNERS.get(name, "foreign")
    assert (event.symbol, event.client_order_id, event.side.value) == (order["s"], order["c"], order["S"])
    assert (event.position_side.value, event.order_id, event.trade_id) == (order["ps"], order["i"], order["t"])
    assert (event.quantity, event.price, event.average_price) == (D(order["q"]), D(order["p"]), D(order["ap"]))
    assert (event.last_quantity, event.last_price) == (D(order["l"]), D(order["L"]))
    assert event.cumulative_quantity == D(order["z"])
    assert (event.commission, event.commission_asset) == (figure(order.get("n")), order.get("N"))
    assert (event.realised_pnl, event.reduce_only, event.maker) == (D(order["rp"]), order["R"], order["m"])


def check_trade_lite(event: object, said: dict[str, Any], name: str) -> None:
    """Compare a fast fill notice with its frame: the price of the fill, not that of the order."""
    assert isinstance(event, TradeLite)
    assert (event.last_quantity, event.last_price) == (D(said["l"]), D(said["L"]))
    assert (event.trade_id, event.order_id, event.client_order_id) == (said["t"], said["i"], said["c"])


def check_algo(event: object, said: dict[str, Any], name: str) -> None:
    """Compare a conditional order with its frame."""
    assert isinstance(event, AlgoUpdate)
    order = said["o"]
    assert (event.client_algo_id, event.algo_id, event.status) == (order["caid"], order["aid"], order["X"])
    assert event.order_id == (int(order["ai"]) if order["ai"] else None)
    assert (event.trigger_price, event.quantity) == (D(order["tp"]), D(order["q"]))
    assert event.reject_reason == order.get("rm", "")


def check_margin_call(event: object, said: dict[str, Any], name: str) -> None:
    """Compare a margin call with its frame."""
    assert isinstance(event, MarginCall)
    assert event.cross_wallet_balance == D(said["cw"])
    assert [(p.symbol, p.quantity, p.mark_price, p.maintenance_margin) for p in event.positions] == [
        (p["s"], D(p["pa"]), D(p["mp"]), D(p["mm"])) for p in said["p"]
    ]


def check_config(event: object, said: dict[str, Any], name: str) -> None:
    """Compare a leverage change with its frame."""
    assert isinstance(event, AccountConfigUpdate)
    assert (event.symbol, event.leverage, event.multi_assets) == (said["ac"]["s"], said["ac"]["l"], None)


def check_expired(event: object, said: dict[str, Any], name: str) -> None:
    """Compare the end of a listen key; before 2023 the key was not named."""
    assert isinstance(event, ListenKeyExpired)
    assert event.handle == said.get("listenKey", "")


def test_a_busy_connection_holds_no_mystery() -> None:
    """One connection with four streams of two symbols: all understood, and nothing of it moves anything."""
    rows = BUSY_MARKET.rows()
    names = set()
    for row in rows:
        said = row["frame"]["data"]
        (event,) = decode_market(json.dumps(row["frame"], default=str).encode())
        assert event == OtherMarketEvent(said["e"], said["s"], said["E"])
        names.add(said["e"])

    assert len(rows) == 915
    assert names == {"depthUpdate", "bookTicker", "aggTrade", "kline"}
