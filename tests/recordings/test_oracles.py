"""Tables of worked results against our own arithmetic: one test per row, nothing dropped in silence.

Rows that say something other than our functions do are named where they are met, with what is compared instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from streamhedge.domain.book import empty_book
from streamhedge.domain.events import AccountUpdate, ExecutionReport, PositionSide
from streamhedge.domain.funding import funding_payment
from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.margin import distance_to, liquidation_price, maintenance_margin
from streamhedge.domain.order import Report
from streamhedge.domain.values import Asset, Symbol, ceil_step, exact, floor_step, plain_text
from streamhedge.sim.account import Account
from streamhedge.sim.market import Contract, contracts
from streamhedge.wire.streams import decode_private
from tests.support.recordings import Recording, recording
from tests.support.shared import needs_shared

D = Decimal
pytestmark = needs_shared

LIQUIDATION = recording("oracles/liquidation_price.jsonl").rows()
MAINTENANCE = recording("oracles/maintenance_margin.jsonl").rows()
BREAK_EVEN = recording("oracles/break_even.jsonl").rows()
FUNDING_FEE = recording("oracles/funding_fee.jsonl").rows()
FUNDING_WINDOW = recording("oracles/funding_window.jsonl").rows()
FILLS = recording("oracles/fill_transitions.jsonl").rows()
QUANTISATION = recording("oracles/ccxt_quantisation.jsonl").rows()
PARSED = recording("oracles/ccxt_parsed_order_reports.jsonl").rows()
POSITIONS = recording("rest/positions_recorded.jsonl").rows()

SEQUENCES: dict[str, Recording] = {
    found.name: found
    for found in (
        recording("sequences/lean_limitsubmittedcancelled.jsonl"),
        recording("sequences/lean_limitsubmittedfilled.jsonl"),
        recording("sequences/lean_marketsubmittedfilled.jsonl"),
        recording("sequences/log_avaxusdt_partial_fills_bnb_fee_2024.jsonl"),
        recording("sequences/log_hedge_limit_new_canceled_2024.jsonl"),
        recording("sequences/log_seiusdt_partial_fill_2024.jsonl"),
        recording("sequences/log_solusdt_market_open_2026.jsonl"),
        recording("sequences/log_testnet_btcusdt_market_fill.jsonl"),
        recording("sequences/metacodi_01.jsonl"),
        recording("sequences/metacodi_02.jsonl"),
        recording("sequences/metacodi_03.jsonl"),
        recording("sequences/metacodi_04.jsonl"),
        recording("sequences/metacodi_05.jsonl"),
    )
}


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def one_bracket(*, rate: str, amount: str = "0") -> tuple[MarginBracket, ...]:
    """Return a table of one row: the oracles give the rate and deduction of the bracket that binds, not the table."""
    return (MarginBracket(D(0), D(10) ** 12, D(rate), D(amount), 1),)


def sign_of(row: dict[str, Any]) -> int:
    return 1 if row["side"] == "LONG" else -1


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [str(row["id"]) for row in rows]


# ---------------------------------------------------------------- margin


@pytest.mark.parametrize("row", LIQUIDATION, ids=ids(LIQUIDATION))
def test_liquidation_price(row: dict[str, Any]) -> None:
    found = liquidation_price(
        position_amount=sign_of(row) * D(row["qty"]),
        entry_price=row["entry"],
        wallet_balance=row["wallet_balance"],
        brackets=one_bracket(rate=row["mmr"], amount=row["cum"]),
        other_maintenance_margin=row["maintenance_margin_of_other_positions"],
        other_unrealized_pnl=row["unrealised_pnl_of_other_positions"],
    )
    assert found is not None
    assert abs(found - D(row["expected_liquidation_price"])) <= D(row["tolerance"])


@pytest.mark.parametrize("row", MAINTENANCE, ids=ids(MAINTENANCE))
def test_maintenance_margin(row: dict[str, Any]) -> None:
    found = maintenance_margin(notional=row["notional"], brackets=one_bracket(rate=row["mmr"]))
    # The venue prints eight decimals, cut off.
    assert floor_step(found, D("0.00000001")) == D(row["expected_maintenance_margin"])


def recorded_position(number: int) -> dict[str, str]:
    found: dict[str, str] = POSITIONS[number]["response"][0]
    return found


def test_there_are_three_recorded_positions() -> None:
    assert len(POSITIONS) == 3


def test_recorded_position_isolated_long() -> None:
    row = recorded_position(0)
    table = bracket_rows(recording("rest/leverageBracket_BTCUSDT_2023-03.json").document()[0])
    amount, entry, mark = D(row["positionAmt"]), D(row["entryPrice"]), D(row["markPrice"])
    price = liquidation_price(
        position_amount=amount, entry_price=entry, wallet_balance=row["isolatedWallet"], brackets=table
    )
    assert price is not None
    assert price.quantize(D("0.00000001")) == D(row["liquidationPrice"])
    assert (amount * mark).quantize(D("0.00000001")) == D(row["notional"])
    pnl = (amount * (mark - entry)).quantize(D("0.00000001"))
    assert pnl == D(row["unRealizedProfit"])
    assert D(row["isolatedWallet"]) + pnl == D(row["isolatedMargin"])
    distance = distance_to(position_amount=amount, mark_price=mark, price=price)
    assert distance is not None
    assert D("0.25") < distance < D("0.26")


def test_recorded_position_cross_long_without_leverage_has_no_liquidation_price() -> None:
    row = recorded_position(1)
    assert row["liquidationPrice"] == "0"
    amount, entry = D(row["positionAmt"]), D(row["entryPrice"])
    # The wallet was not recorded; at leverage 1 it is at least the notional at entry.
    found = liquidation_price(
        position_amount=amount, entry_price=entry, wallet_balance=amount * entry, brackets=one_bracket(rate="0.004")
    )
    assert found is None
    pnl = amount * (D(row["markPrice"]) - entry)
    assert abs(pnl - D(row["unRealizedProfit"])) < D("0.00001")  # the entry was printed with fewer digits than kept


def test_recorded_position_account_row() -> None:
    row = recorded_position(2)
    found = maintenance_margin(notional=row["notional"], brackets=one_bracket(rate="0.004"))
    assert found == D(row["maintMargin"])
    # Commission of 0.05 % less the BNB discount of 10 %.
    assert D(row["entryPrice"]) * D("1.00045") == D(row["breakEvenPrice"])


def bracket_rows(symbol: dict[str, Any]) -> tuple[MarginBracket, ...]:
    return tuple(
        MarginBracket(
            D(row["notionalFloor"]),
            D(row["notionalCap"]),
            D(row["maintMarginRatio"]),
            D(row["cum"]),
            row["initialLeverage"],
        )
        for row in symbol["brackets"]
    )


# ---------------------------------------------------------------- break-even


@pytest.mark.parametrize("row", BREAK_EVEN, ids=ids(BREAK_EVEN))
def test_break_even_after_one_opening_fill(row: dict[str, Any]) -> None:
    # The hedger shows the venue's own figure; the simulated venue computes it.
    account, entry = Account(wallet=D(1_000_000)), D(row["entry"])
    contract = contract_at("BTCUSDT", entry)
    account.fill(contract, D(sign_of(row)), entry, entry * D(row["fee_rate"]), 0)
    assert account.position("BTCUSDT").break_even == D(row["expected_break_even"])


def contract_at(symbol: str, mark: Decimal) -> Contract:
    """Return a contract at a mark; its filters and brackets play no part in booking a fill."""
    return replace(contracts()["BTCUSDT"], symbol=symbol, mark=mark)


# ---------------------------------------------------------------- funding


@pytest.mark.parametrize("row", FUNDING_FEE, ids=ids(FUNDING_FEE))
def test_funding_fee(row: dict[str, Any]) -> None:
    found = funding_payment(
        position_amount=sign_of(row) * D(row["qty"]), mark_price=row["mark_price"], funding_rate=row["funding_rate"]
    )
    assert found == D(row["expected_balance_change"])


@pytest.mark.parametrize("row", FUNDING_WINDOW, ids=ids(FUNDING_WINDOW))
def test_funding_of_a_window(row: dict[str, Any]) -> None:
    # "Open at the settlement, both ends included" is their bookkeeping; at the venue whoever trades within a minute of
    # the settlement may or may not be charged. The amounts are what is compared: exact, one payment per settlement.
    found = sum(
        funding_payment(position_amount=sign_of(row) * D(row["qty"]), mark_price=at["mark"], funding_rate=at["rate"])
        for at in row["settlements"]
        if row["opened"] <= at["at"] <= row["closed"]
    )
    assert found == D(row["expected_total"])


# ---------------------------------------------------------------- fills

START_UNKNOWN = {
    "metacodi_01#3": "the first fill of its recording: size and wallet before are not known",
    "metacodi_04#4": "a deposit lies before it: the position before is not known",
    "metacodi_05#4": "the first fill after a transfer to isolated margin: the position before is not known",
    "log_testnet_btcusdt_market_fill#3": "a single fill: nothing before it is known",
}
"""Rows without a state before: they were flat, as their sizes after show; the wallet is compared where it is known."""
NO_COMMISSION = {"metacodi_03#7": D("0.0813")}
"""Its report carries no commission: 0.02 % (maker) of 1 BNB at 406.5."""


def test_rows_without_a_state_before_are_the_ones_named() -> None:
    assert {row["id"] for row in FILLS if row["before"]["qty"] is None} == set(START_UNKNOWN)
    assert {row["id"] for row in FILLS if row["fill"]["commission"] is None} == set(NO_COMMISSION)


@pytest.mark.parametrize("row", FILLS, ids=ids(FILLS))
def test_a_fill_moves_position_and_wallet(row: dict[str, Any]) -> None:
    before, fill, after = row["before"], row["fill"], row["after"]
    commission = D(fill["commission"]) if fill["commission"] is not None else NO_COMMISSION[row["id"]]
    quantity, price = D(fill["qty"]), D(fill["price"])
    account = Account(wallet=D(before["wallet"] or 0))
    held = account.position(row["symbol"])
    held.isolated, held.leverage = row["margin_type"] == "isolated", 2
    held.amount, held.entry = D(before["qty"] or 0), D(before["entry"] or 0)
    held.realised = D(before["accumulated_realised"] or 0)
    signed = quantity if fill["side"] == "BUY" else -quantity

    realised = account.fill(contract_at(row["symbol"], price), signed, price, commission, 0)

    assert held.amount == D(after["qty"])
    assert held.entry == D(after["entry"])
    assert realised == D(fill["realised"])
    if before["accumulated_realised"] is not None:
        assert held.realised == D(after["accumulated_realised"])
    if before["wallet"] is not None:
        assert account.wallet == D(after["wallet"])


@pytest.mark.parametrize("row", FILLS, ids=ids(FILLS))
def test_the_book_reads_the_state_after_a_fill_from_the_recorded_frame(row: dict[str, Any]) -> None:
    frames = SEQUENCES[row["sequence"]].lines()
    updates = [
        event for line in row["lines"] for event in decode_private(frames[line - 1]) if isinstance(event, AccountUpdate)
    ]
    (update,) = updates
    book = empty_book()
    book.apply_account_update(update, 0)
    held = book.positions[Symbol(row["symbol"]), PositionSide[row["position_side"]]]
    after = row["after"]
    assert (held.quantity, held.entry_price) == (D(after["qty"]), D(after["entry"]))
    assert held.realised_pnl == D(after["accumulated_realised"])
    assert book.balances[Asset(row["margin_asset"])].wallet_balance == D(after["wallet"])
    assert held.isolated is (row["margin_type"] == "isolated")
    if after["break_even"] is not None:
        assert held.break_even_price == D(after["break_even"])


# ---------------------------------------------------------------- rounding


@pytest.mark.parametrize("row", QUANTISATION, ids=ids(QUANTISATION))
def test_amounts_are_floored_and_prices_stay_on_the_grid(row: dict[str, Any]) -> None:
    assert floor_step(D(row["amount_in"]), D(row["stepSize"])) == D(row["amount_out_truncated"])
    assert plain_text(floor_step(D(row["amount_in"]), D(row["stepSize"]))) == row["amount_out_truncated"]
    # They round a price to the nearest tick, half away from zero; we round it inward, down for a buy and up for a sell.
    price, tick, nearest = D(row["price_in"]), D(row["tickSize"]), D(row["price_out_rounded"])
    down, up = floor_step(price, tick), ceil_step(price, tick)
    assert down <= price <= up
    assert up - down == (0 if price == down else tick)
    assert nearest == (up if price - down >= up - price else down)


# ---------------------------------------------------------------- order reports

STATUS = {Report.ACCEPTED: "open", Report.FILL: "open", Report.FILLED: "closed", Report.ENDED: "canceled"}


@pytest.mark.parametrize("row", PARSED, ids=ids(PARSED))
def test_order_reports_say_what_another_library_reads_in_them(row: dict[str, Any]) -> None:
    said = row["unified"]
    (event,) = decode_private(SEQUENCES[row["sequence"]].lines()[row["line"] - 1])
    assert isinstance(event, ExecutionReport)
    assert event.report is not None
    assert str(event.order_id) == said["id"]
    assert event.client_order_id == said["clientOrderId"]
    assert event.symbol == said["symbol"].split(":")[0].replace("/", "")
    assert event.order_type.lower() == said["type"]
    assert event.side.value.lower() == said["side"]
    assert event.reduce_only is said["reduceOnly"]
    assert event.quantity == D(said["amount"])
    assert event.cumulative_quantity == D(said["filled"])
    assert event.quantity - event.cumulative_quantity == D(said["remaining"])
    assert STATUS[event.report] == said["status"]
    assert event.average_price == D(said["average"] or 0)
    # A price of theirs is the limit, or the average where a market order has none.
    assert (event.price or event.average_price) == D(said["price"] or 0)
    assert event.average_price * event.cumulative_quantity == D(said["cost"] or 0)
    if said["fee"] is not None:
        assert event.commission == D(said["fee"]["cost"])
        assert event.commission_asset == said["fee"]["currency"]
    else:
        assert event.commission == 0
