"""What the venue tells of the account outside our orders: modes, leverage, contracts, snapshots; and what each stops."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.commands import Level, RequestSetup, RequestSnapshot
from streamhedge.domain.events import (
    AccountConfigUpdate,
    BalanceRow,
    BookStatusChanged,
    ContractInfo,
    ExecutionReport,
    MarginCall,
    MarginCallRow,
    OperatorVerb,
    PositionSide,
    VerbKind,
)
from streamhedge.domain.order import Side
from streamhedge.domain.values import Asset, Symbol
from streamhedge.reactor.state import TradeClock, symbol_state, trading_state
from streamhedge.rules.view import SymbolState, TradingState
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
ETHUSDT = Symbol("ETHUSDT")


def config(
    symbol: Symbol | None = None, *, leverage: int | None = None, multi: bool | None = None
) -> AccountConfigUpdate:
    return AccountConfigUpdate(event_time_ms=make.T0_MS, symbol=symbol, leverage=leverage, multi_assets=multi)


# ---------------------------------------------------------------- modes


@pytest.mark.fault("U13", "A3")
def test_hedge_mode_halts_at_set_up_and_when_a_position_shows_it() -> None:
    desk = Desk()
    desk.take(replace(make.setup(), dual_side=True))
    assert "hedge mode (dual side)" in (desk.state.halted or "")

    desk = Desk()
    update = make.account_update("-3", at_ms=desk.now_ms + 5)
    row = replace(update.positions[0], position_side=PositionSide.SHORT)
    flat = replace(row, quantity=D(0))
    elsewhere = replace(row, symbol=ETHUSDT)
    desk.take(replace(update, positions=(flat, elsewhere)), after_ms=5)
    assert desk.state.halted is None, "a flat row and a symbol that is not ours say nothing"
    desk.take(replace(update, positions=(row,)), after_ms=5)
    assert "BTCUSDT has a SHORT position" in (desk.state.halted or "")
    assert desk.float("+1") == []


@pytest.mark.fault("A4")
def test_multi_assets_mode_halts_at_set_up_and_when_it_is_switched_on() -> None:
    desk = Desk()
    desk.take(replace(make.setup(), multi_assets=True))
    assert "multi-assets mode" in (desk.state.halted or "")

    desk = Desk()
    desk.take(config(multi=False))
    assert desk.state.halted is None
    desk.take(config(multi=True))
    assert "multi-assets mode was switched on" in (desk.state.halted or "") and desk.state.book.multi_assets
    assert desk.float("+1") == []


def test_leverage_as_configured_wakes_nobody_and_any_other_does() -> None:
    desk = Desk()
    wanted = desk.machine.core.policy.hedges[0].leverage
    for leverage in (wanted, wanted + 1, wanted):
        desk.take(config(make.BTCUSDT, leverage=leverage))
    levels = [note.level for note in desk.notes if note.code == "leverage"]
    assert levels == [Level.INFO, Level.WARNING, Level.INFO]


def test_a_second_reason_to_halt_does_not_hide_the_first() -> None:
    desk = Desk()
    desk.take(replace(make.setup(), multi_assets=True, dual_side=True))
    assert "hedge mode" in (desk.state.halted or "")
    assert len(desk.said("halted")) == 1


@pytest.mark.fault("U14", "A4")
def test_leverage_above_the_limit_reduces_on_our_symbol_alone() -> None:
    desk = Desk()
    desk.take(config(ETHUSDT, leverage=50))
    assert trading_state(desk.state) is TradingState.ACTIVE and not desk.said("leverage")
    assert desk.state.book.leverage[ETHUSDT] == 50, "it is known all the same: the margin is shared"
    desk.take(config(make.BTCUSDT, leverage=6))
    assert trading_state(desk.state) is TradingState.REDUCING
    assert desk.float("+1") == []
    desk.take(config(make.BTCUSDT, leverage=5))
    assert trading_state(desk.state) is TradingState.ACTIVE


# ---------------------------------------------------------------- contracts


def test_contract_news_of_other_symbols_is_no_business_of_ours() -> None:
    desk = Desk()
    reaction = desk.take(ContractInfo(ETHUSDT, "PERPETUAL", "SETTLING", make.brackets(), make.T0_MS))
    assert not reaction.commands and not reaction.notes
    assert ETHUSDT not in desk.state.memory


@pytest.mark.fault("U14")
def test_new_brackets_have_the_accounts_own_read_again() -> None:
    desk = Desk()
    before = desk.state.book.instruments[make.BTCUSDT].brackets
    reaction = desk.take(ContractInfo(make.BTCUSDT, "PERPETUAL", "TRADING", make.brackets()[:2], make.T0_MS))
    assert [c for c in reaction.commands if isinstance(c, RequestSetup)]
    assert desk.state.book.instruments[make.BTCUSDT].brackets == before, "public brackets are not the account's"
    assert desk.memory.block is None


def test_contract_news_before_the_set_up_waits_for_it() -> None:
    machine = make.reactor()
    machine.react(1, make.T0_MS * 1_000_000, [ContractInfo(make.BTCUSDT, "PERPETUAL", "SETTLING", None, make.T0_MS)])
    assert machine.core.memory_of(make.BTCUSDT).block is None


@pytest.mark.fault("A8")
def test_a_contract_the_venue_does_not_list_blocks_with_what_to_correct() -> None:
    desk = Desk()
    del desk.state.book.instruments[make.BTCUSDT]
    desk.take(replace(make.setup(), instruments=()))
    assert desk.memory.block is not None and "correct hedge.BTC.symbol" in desk.memory.block.reason
    assert desk.memory.blocked is not None and desk.memory.blocked.cause == "contract", "status names it too"
    desk.take(make.setup())
    assert desk.memory.block is None


def test_a_set_up_with_too_much_leverage_blocks_the_symbol_until_it_is_lowered() -> None:
    desk = Desk()
    desk.take(replace(make.setup(), leverage={make.BTCUSDT: 6}))
    assert desk.memory.block is not None and "leverage of BTCUSDT is 6" in desk.memory.block.reason
    told = len(desk.said("blocked"))
    desk.take(replace(make.setup(), leverage={make.BTCUSDT: 6}))
    assert len(desk.said("blocked")) == told, "the same reason is not told twice"
    desk.take(make.setup())
    assert desk.memory.block is None and "the contract can carry the hedge again" in desk.said("unblocked")


# ---------------------------------------------------------------- snapshots, margin calls, money


@pytest.mark.parametrize("audit", [True, False])
@pytest.mark.fault("U11")
def test_a_snapshot_without_a_balance_is_asked_again_and_moves_nothing(audit: bool) -> None:
    desk = Desk()
    empty = replace(make.snapshot("0", at_ms=desk.now_ms + 50, audit=audit), balances=())
    reaction = desk.take(empty, after_ms=50)
    assert [c.audit for c in reaction.commands if isinstance(c, RequestSnapshot)] == [audit]
    assert desk.state.book.quantity(make.BTCUSDT) == D(-10)
    assert make.USDT in desk.state.book.balances


@pytest.mark.fault("U14")
def test_a_margin_call_asks_for_a_snapshot_at_once_and_names_the_symbols() -> None:
    desk = Desk()
    row = MarginCallRow(make.BTCUSDT, PositionSide.BOTH, D(-10), D("67121.4"), D(2_000))
    call = MarginCall(event_time_ms=desk.now_ms, cross_wallet_balance=None, positions=(row,))
    assert [c for c in desk.take(call).commands if isinstance(c, RequestSnapshot) and c.audit]
    assert "BTCUSDT" in desk.said("margin_call")[0]


def test_insurance_is_told_with_its_amount() -> None:
    desk = Desk()
    update = make.account_update("-10", at_ms=desk.now_ms + 5, reason="INSURANCE_CLEAR")
    rows = (BalanceRow(make.USDT, D(0), D(0), D("-12.5")),)
    desk.take(replace(update, balances=rows), after_ms=5)
    assert "-12.5" in desk.said("insurance")[0]


@pytest.mark.fault("U10", "A7")
def test_funding_in_another_asset_is_kept_out_of_the_sum_and_stands_in_the_ledger() -> None:
    desk = Desk()
    update = make.account_update("-10", at_ms=desk.now_ms + 5, reason="FUNDING_FEE")
    rows = (
        BalanceRow(make.USDT, D(400_012), D(400_012), D("12.5")),
        BalanceRow(Asset("BNB"), D(1), D(1), D("-0.002")),
    )
    reaction = desk.take(replace(update, balances=rows, positions=()), after_ms=5)
    assert desk.state.meter.funding == D("12.5")
    kept = {c.fields["asset"]: c.fields["amount"] for c in reaction.commands if getattr(c, "table", "") == "funding"}
    assert kept == {"USDT": "12.5", "BNB": "-0.002"}


def test_the_same_book_status_again_changes_only_its_reason() -> None:
    desk = Desk()
    since = desk.state.live_since_ns
    desk.take(BookStatusChanged(status="LIVE", reason="again"), after_ms=5)
    assert (desk.state.live_since_ns, desk.state.book_reason) == (since, "again")
    assert len(desk.said("book")) == 1


# ---------------------------------------------------------------- whose trade, whose clock


def test_a_trade_on_a_symbol_of_a_manual_table_is_nobodys_interference() -> None:
    table = make.hedge_params(asset=Asset("ETH"), symbol=ETHUSDT)
    desk = Desk(manual=(table,))
    desk.take(replace(make.foreign_fill(Side.BUY, "1"), symbol=ETHUSDT))
    assert not desk.said("external")
    desk.take(replace(make.foreign_fill(Side.BUY, "1", trade_id=901), symbol=make.BTCUSDT))
    assert desk.said("external")


def test_one_order_that_sweeps_many_levels_is_one_trade_of_a_persons() -> None:
    def fill(number: int, order_id: int) -> ExecutionReport:
        return replace(make.foreign_fill(Side.BUY, "0.001", trade_id=number), order_id=order_id)

    desk = Desk()
    for number in range(10):
        desk.take(fill(900 + number, 7))
    assert desk.memory.block is None
    for number in range(3):
        desk.take(fill(950 + number, 20 + number))
    assert desk.memory.block is not None and desk.memory.block.cause == "external"
    assert len(desk.said("external")) == 13


def test_a_trade_of_another_asset_keeps_its_clock_running() -> None:
    desk = Desk()
    other = TradeClock(trade_id=make.TradeId("eth-1"), asset=Asset("ETH"), recorded_ns=1)
    desk.state.trade_clocks.append(other)
    desk.float("+1")
    desk.fill(desk.order, trade_id=1)
    assert desk.state.trade_clocks == [other]
    assert [text for text in desk.said("hedged") if "eth-1" in text] == []


# ---------------------------------------------------------------- people


def test_resuming_one_symbol_leaves_the_others_stopped() -> None:
    ether = make.hedge_params(asset=Asset("ETH"), symbol=ETHUSDT)
    desk = Desk(hedges=(make.hedge_params(), ether))
    for kind in (VerbKind.HALT, VerbKind.REDUCE, VerbKind.FLATTEN):
        for symbol in (make.BTCUSDT, ETHUSDT):
            desk.take(OperatorVerb(kind=kind, symbol=symbol, reason="look", uid=7))
    desk.take(OperatorVerb(kind=VerbKind.RESUME, symbol=make.BTCUSDT, reason="looked", uid=7))
    other = desk.machine.core.memory_of(ETHUSDT)
    assert (symbol_state(desk.memory), desk.memory.flatten) == (SymbolState.OPEN, "")
    assert symbol_state(other) is SymbolState.BLOCKED and other.reduce_only and other.flatten
    desk.take(OperatorVerb(kind=VerbKind.RESUME, symbol=None, reason="all", uid=7))
    assert symbol_state(other) is SymbolState.BLOCKED and other.flatten, "a latched symbol is resumed by its name"


def test_a_funding_payment_that_comes_twice_or_late_counts_once() -> None:
    desk = Desk()
    first = make.account_update("-10", at_ms=desk.now_ms + 5)
    row = BalanceRow(Asset("USDT"), D("400010"), D("400010"), D("10"))
    paid = replace(first, reason="FUNDING_FEE", balances=(row,), positions=())
    later = replace(
        paid, transaction_time_ms=desk.now_ms + 9, balances=(replace(row, wallet_balance=D("400017"), change=D(7)),)
    )
    for event in (later, paid, paid, later):
        desk.take(event, after_ms=10)
    assert desk.state.meter.funding == D(17)
    assert desk.state.attribution.lines()["funding"] == D(17)
