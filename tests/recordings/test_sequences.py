"""Recorded user streams through the decoder, the book and the reactor: straight, twice, torn and in another order.

The book after each account update is compared with the frame itself, the orders at the end with sums over the frames.
Client ids are replaced by ours where a sequence must look like our own trading; nothing else of a frame is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest

from streamhedge.domain.book import PositionBook, empty_book
from streamhedge.domain.events import AccountUpdate, PositionSide, Quarantined
from streamhedge.domain.order import Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from streamhedge.domain.values import Asset, ClientOrderId, Symbol
from streamhedge.reactor.exposure import open_exposure
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.wire.streams import decode_private
from tests.support.builders import policy
from tests.support.recordings import Recording, recording
from tests.support.shared import needs_shared

D = Decimal
pytestmark = needs_shared

SEQUENCES: dict[str, Recording] = {
    "lean limit cancelled": recording("sequences/lean_limitsubmittedcancelled.jsonl"),
    "lean limit filled": recording("sequences/lean_limitsubmittedfilled.jsonl"),
    "lean market filled": recording("sequences/lean_marketsubmittedfilled.jsonl"),
    "lean stop cancelled": recording("sequences/lean_stopmarketsubmittedcanceled.jsonl"),
    "ACH open and close": recording("sequences/log_achusdt_account_updates_2024.jsonl"),
    "AVAX two fills, BNB fee": recording("sequences/log_avaxusdt_partial_fills_bnb_fee_2024.jsonl"),
    "funding 2022": recording("sequences/log_funding_fee_2022.jsonl"),
    "hedge mode limit cancelled": recording("sequences/log_hedge_limit_new_canceled_2024.jsonl"),
    "hedge mode short": recording("sequences/log_hedge_short_account_update_2024.jsonl"),
    "listen key expired": recording("sequences/log_listen_key_expired_2019.jsonl"),
    "SEI one of many fills": recording("sequences/log_seiusdt_partial_fill_2024.jsonl"),
    "SOL market open": recording("sequences/log_solusdt_market_open_2026.jsonl"),
    "BTC on the test network": recording("sequences/log_testnet_btcusdt_market_fill.jsonl"),
    "transfers": recording("sequences/log_transfer_rows.jsonl"),
    "BNB 1": recording("sequences/metacodi_01.jsonl"),
    "BNB 2": recording("sequences/metacodi_02.jsonl"),
    "BNB 3": recording("sequences/metacodi_03.jsonl"),
    "BNB 4": recording("sequences/metacodi_04.jsonl"),
    "BNB 5, isolated": recording("sequences/metacodi_05.jsonl"),
    "DOT fast notice": recording("sequences/single_trade_lite_dotusdt_2026.jsonl"),
    "funding that names its symbol": recording("sequences/synthetic_funding_fee_with_symbol_2026.jsonl"),
}
REPORT = "ORDER_TRADE_UPDATE"
ENDS = {"FILLED": OrderStatus.FILLED, "CANCELED": OrderStatus.ENDED}

Frames = list[bytes]


def fields(frame: bytes) -> dict[str, Any]:
    """Return a frame as the test reads it, apart from the code under test."""
    read: dict[str, Any] = orjson.loads(frame)
    return read


def ours(frames: Frames) -> tuple[Frames, dict[str, dict[str, Any]]]:
    """Return the frames with client ids of our own, and per id the first report of that order."""
    names: dict[str, str] = {}
    first: dict[str, dict[str, Any]] = {}
    for frame in frames:
        said = fields(frame)
        if said["e"] == REPORT and said["o"]["c"] not in names:
            names[said["o"]["c"]] = f"sh-7f3a91c2-1-{len(names) + 1:06d}"
            first[names[said["o"]["c"]]] = said["o"]
    for theirs, mine in names.items():
        frames = [frame.replace(f'"{theirs}"'.encode(), f'"{mine}"'.encode()) for frame in frames]
    return frames, first


def registered(client_id: str, order: dict[str, Any]) -> Order:
    """Return the order as it stood when it had been sent."""
    limit = order["o"] == "LIMIT"
    return Order(
        client_order_id=ClientOrderId(client_id),
        symbol=Symbol(order["s"]),
        side=Side(order["S"]),
        quantity=D(order["q"]),
        type=OrderType(order["o"]),
        price=D(order["p"]) if limit else None,
        time_in_force=TimeInForce(order["f"]) if limit else None,
        reduce_only=order["R"],
        purpose=Purpose.HEDGE,
        decided_seq=0,
        decided_ns=0,
        target=D(0),
        position_before=D(0),
        decision_mark=D(1),
        reason="recorded",
        status=OrderStatus.PLANNED,
        sent_ns=0,
    )


def play(frames: Frames, orders: dict[str, dict[str, Any]]) -> Reactor:
    """Feed frames to a reactor that has sent these orders; the rules stay silent, for no book is live here."""
    machine = Reactor(State(instance="7f3a91c2", epoch=1), policy())
    for client_id, order in orders.items():
        made = registered(client_id, order)
        machine.state.orders[made.client_order_id] = made
        open_exposure(machine.core, made.symbol, made)
    now_ns = 0
    for number, frame in enumerate(frames):
        now_ns = max(now_ns, fields(frame)["E"] * 1_000_000)
        reaction = machine.react(number, now_ns, decode_private(frame))
        assert not any(type(command).__name__ == "PlaceOrder" for command in reaction.commands)
    return machine


def end_of(machine: Reactor) -> dict[str, Any]:
    """Return what must not depend on repetition or order: positions, balances, orders."""
    book = machine.state.book
    return {
        "positions": {
            key: (held.quantity, held.entry_price, held.realised_pnl, held.isolated_wallet, held.version_ms)
            for key, held in book.positions.items()
        },
        "balances": {
            asset: (held.wallet_balance, held.cross_wallet_balance, held.version_ms)
            for asset, held in book.balances.items()
        },
        "orders": {
            client_id: (
                order.status,
                order.filled,
                order.filled_quote,
                order.commission,
                order.realised_pnl,
                order.trade_ids,
            )
            for client_id, order in machine.state.orders.items()
        },
        "halted": machine.state.halted,
    }


# ---------------------------------------------------------------- decoder and book


@pytest.mark.parametrize("name", SEQUENCES)
def test_nothing_is_a_mystery(name: str) -> None:
    for frame in SEQUENCES[name].lines():
        assert not any(isinstance(event, Quarantined) for event in decode_private(frame))


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_book_holds_what_each_account_update_said(name: str) -> None:
    book = empty_book()
    for frame in SEQUENCES[name].lines():
        said = fields(frame)
        (event,) = decode_private(frame)
        if isinstance(event, AccountUpdate):
            book.apply_account_update(event, said["E"] * 1_000_000)
            check_book(book, said)


def check_book(book: PositionBook, said: dict[str, Any]) -> None:
    """Fail where a row of the frame is not in the book to the last digit."""
    for row in said["a"].get("P", []):
        held = book.positions[Symbol(row["s"]), PositionSide(row["ps"])]
        assert (held.quantity, held.entry_price) == (D(row["pa"]), D(row["ep"]))
        assert (held.realised_pnl, held.isolated, held.isolated_wallet) == (
            D(row["cr"]),
            row["mt"] == "isolated",
            D(row["iw"]),
        )
        assert held.break_even_price == (D(row["bep"]) if "bep" in row else None)
        assert (held.version_ms, held.source) == (said["T"], "ACCOUNT_UPDATE")
        if row["ps"] == "BOTH":
            assert book.quantity(Symbol(row["s"])) == D(row["pa"])
            assert book.is_isolated(Symbol(row["s"])) is (row["mt"] == "isolated" and D(row["pa"]) != 0)
    for row in said["a"].get("B", []):
        balance = book.balances[Asset(row["a"])]
        assert (balance.wallet_balance, balance.cross_wallet_balance) == (D(row["wb"]), D(row["cw"]))


# ---------------------------------------------------------------- orders


@pytest.mark.parametrize(
    "name", [name for name in SEQUENCES if any(REPORT.encode() in f for f in SEQUENCES[name].lines())]
)
def test_an_order_ends_as_its_last_report_said(name: str) -> None:
    frames, orders = ours(SEQUENCES[name].lines())
    machine = play(frames, orders)

    for client_id in orders:
        reports = [fields(frame)["o"] for frame in frames if fields(frame)["e"] == REPORT]
        reports = [report for report in reports if report["c"] == client_id]
        fills = [report for report in reports if D(report["l"]) > 0]
        order = machine.state.orders[ClientOrderId(client_id)]
        assert order.status is ENDS.get(reports[-1]["X"], OrderStatus.WORKING)
        assert order.order_id == reports[-1]["i"]
        assert order.filled == D(reports[-1]["z"])
        assert order.filled_quote == sum((D(f["l"]) * D(f["L"]) for f in fills), D(0))
        assert order.commission == sum((D(f.get("n", "0")) for f in fills), D(0))
        assert order.realised_pnl == sum((D(f["rp"]) for f in fills), D(0))
        assert (order.trade_ids or []) == [f["t"] for f in fills]
        if fills and order.filled == sum(D(f["l"]) for f in fills):
            # the venue rounds its average to the price's digits
            assert order.average_price is not None
            assert abs(order.average_price - D(reports[-1]["ap"])) <= D("0.0001")
    assert machine.state.halted is None


def test_the_fee_of_the_two_avax_fills_is_in_bnb() -> None:
    frames, orders = ours(SEQUENCES["AVAX two fills, BNB fee"].lines())
    (order,) = play(frames, orders).state.orders.values()

    assert (order.filled, order.average_price) == (D(2), D("32.4645"))
    assert (order.commission, order.commission_asset) == (D("0.00004252"), "BNB")


@pytest.mark.fault("O9")
def test_a_fill_seen_late_counts_by_its_total() -> None:
    """Of the SEI order only one of many reports is known; its total says how much is filled."""
    frames, orders = ours(SEQUENCES["SEI one of many fills"].lines())
    (order,) = play(frames, orders).state.orders.values()

    assert (order.status, order.filled, order.remaining) == (OrderStatus.WORKING, D(392), D(53))


@pytest.mark.fault("U10")
def test_funding_is_counted_and_moves_no_position() -> None:
    machine = play(SEQUENCES["funding 2022"].lines(), {})

    assert machine.state.book.positions == {}
    assert machine.state.book.balances[Asset("USDT")].wallet_balance == D("2939.93450056")


WHOLE = ("BNB 1", "BNB 2", "BNB 3", "BNB 4", "BNB 5, isolated")
"""Sequences in which every fill has its report and its account update, from a flat account on."""
BNBUSDT = Symbol("BNBUSDT")


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.fault("O9")
def test_fills_and_position_meet(name: str) -> None:
    frames, orders = ours(SEQUENCES[name].lines())
    updates = [number for number, frame in enumerate(frames) if fields(frame)["e"] == "ACCOUNT_UPDATE"]
    torn = [frame for number, frame in enumerate(frames) if number != updates[-1]]

    for played in (frames, swapped(frames), twice(frames)):
        assert play(played, orders).state.memory[BNBUSDT].exposure is None
    assert play(torn, orders).state.memory[BNBUSDT].exposure is not None


# ---------------------------------------------------------------- repeated, torn, in another order


def twice(frames: Frames) -> Frames:
    """Every frame arrives on two overlapping connections."""
    return [frame for frame in frames for _ in range(2)]


def again(frames: Frames) -> Frames:
    """The whole sequence comes again from a connection that lags."""
    return frames + frames


def without_notices(frames: Frames) -> Frames:
    """TRADE_LITE is lost, or was never asked for."""
    return [frame for frame in frames if fields(frame)["e"] != "TRADE_LITE"]


def swapped(frames: Frames) -> Frames:
    """The report of each fill comes before its account update, or the other way round where it did."""
    turned = list(frames)
    number = 0
    while number + 1 < len(turned):
        pair = {fields(turned[number])["e"], fields(turned[number + 1])["e"]}
        if pair == {"ACCOUNT_UPDATE", REPORT} and fields(turned[number])["T"] == fields(turned[number + 1])["T"]:
            turned[number], turned[number + 1] = turned[number + 1], turned[number]
            number += 1
        number += 1
    return turned


@pytest.mark.parametrize("change", [twice, again, without_notices, swapped])
@pytest.mark.parametrize("name", SEQUENCES)
def test_the_end_is_the_same(name: str, change: Callable[[Frames], Frames]) -> None:
    frames, orders = ours(SEQUENCES[name].lines())

    assert end_of(play(change(frames), orders)) == end_of(play(frames, orders))


def test_the_changes_change_something() -> None:
    frames = SEQUENCES["BTC on the test network"].lines()

    assert len(twice(frames)) == len(again(frames)) == 8
    assert len(without_notices(frames)) == 3
    assert [fields(frame)["e"] for frame in swapped(frames)] == [REPORT, "TRADE_LITE", "ACCOUNT_UPDATE", REPORT]
    assert swapped(SEQUENCES["BNB 1"].lines()) != SEQUENCES["BNB 1"].lines()


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.fault("U6")
def test_any_one_frame_replayed_at_the_end_changes_nothing(name: str) -> None:
    frames, orders = ours(SEQUENCES[name].lines())
    expected = end_of(play(frames, orders))
    changed = [n for n, frame in enumerate(frames) if end_of(play([*frames, frame], orders)) != expected]

    assert changed == []


@pytest.mark.parametrize("name", SEQUENCES)
def test_foreign_ids_lead_to_the_same_book(name: str) -> None:
    """The book knows no owners: the same frames under the ids they came with."""
    frames = SEQUENCES[name].lines()
    renamed, orders = ours(frames)

    theirs, mine = end_of(play(frames, {})), end_of(play(renamed, orders))
    assert (theirs["positions"], theirs["balances"]) == (mine["positions"], mine["balances"])
