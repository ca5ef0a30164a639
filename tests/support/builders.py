"""Small builders of records for tests; every figure can be said, the rest is BTCUSDT on a quiet day."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from streamhedge.domain.events import (
    AccountUpdate,
    BalanceRow,
    BookStatusChanged,
    ExecutionReport,
    FloatTrade,
    FloatTradeKind,
    FloatTradeRecorded,
    MarkPriceUpdate,
    Owner,
    PositionRow,
    PositionSide,
    SetupDone,
    Snapshot,
    SnapshotBalance,
    SnapshotPosition,
)
from streamhedge.domain.instrument import Instrument, MarginBracket
from streamhedge.domain.order import Order, Report, Side
from streamhedge.domain.values import Asset, Symbol, TradeId, exact
from streamhedge.reactor.near import index_of
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.rules.params import CloseAction, HedgeParams, LadderParams, Limits, Policy

BTCUSDT = Symbol("BTCUSDT")
BTC = Asset("BTC")
USDT = Asset("USDT")
T0_MS = 1_795_161_600_000
D = Decimal

# BTCUSDT, public default, read 2026-09-29: cap, rate, maximum leverage, maintenance amount.
BRACKET_ROWS = (
    (300_000, "0.004", 150, 0),
    (800_000, "0.005", 100, 300),
    (3_000_000, "0.0065", 75, 1_500),
    (12_000_000, "0.01", 50, 12_000),
    (70_000_000, "0.02", 25, 132_000),
    (100_000_000, "0.025", 20, 482_000),
    (230_000_000, "0.05", 10, 2_982_000),
    (480_000_000, "0.10", 5, 14_482_000),
    (600_000_000, "0.125", 4, 26_482_000),
    (800_000_000, "0.15", 3, 41_482_000),
    (1_200_000_000, "0.25", 2, 121_482_000),
    (1_800_000_000, "0.50", 1, 421_482_000),
)


def brackets() -> tuple[MarginBracket, ...]:
    """Return BTCUSDT's maintenance table."""
    floor = D(0)
    rows = []
    for cap, rate, leverage, amount in BRACKET_ROWS:
        rows.append(MarginBracket(floor, D(cap), D(rate), D(amount), leverage))
        floor = D(cap)
    return tuple(rows)


def instrument(symbol: Symbol = BTCUSDT) -> Instrument:
    """Return BTCUSDT's filters as of 2026-09-30."""
    return Instrument(
        symbol=symbol,
        base_asset=BTC,
        quote_asset=USDT,
        margin_asset=USDT,
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
        brackets=brackets(),
    )


def contract(symbol: Symbol, margin_asset: Asset, table: tuple[MarginBracket, ...]) -> Instrument:
    """Return a contract that is margined in an asset and has brackets of its own."""
    return replace(instrument(symbol), margin_asset=margin_asset, quote_asset=margin_asset, brackets=table)


def hedge_params(**said: object) -> HedgeParams:
    """Return one BTC hedge."""
    fields: dict[str, object] = {
        "asset": BTC,
        "symbol": BTCUSDT,
        "initial": D(10),
        "ratio": D(1),
        "band": D(100),
        "max_short": D(20),
        "max_order_quantity": D(10),
        "leverage": 3,
        "isolated": False,
        "naked_alert_after_ms": 5_000,
        **said,
    }
    return HedgeParams(**fields)  # type: ignore[arg-type]


def ladder_params(**said: object) -> LadderParams:
    """Return the shipped ladder template."""
    fields: dict[str, object] = {
        "warn": D("0.30"),
        "reduce": D("0.25"),
        "close": D("0.20"),
        "reopen": D("0.30"),
        "rehedge": D("0.30"),
        "close_action": CloseAction.RESTORE,
        "cooldown_ms": 600_000,
        "raise_step": D("0.05"),
        "reopen_after_adl_ms": 5_000,
        "reopen_after_liquidation_ms": None,
        "reopen_after_settlement_ms": None,
        **said,
    }
    return LadderParams(**fields)  # type: ignore[arg-type]


def limits(**said: object) -> Limits:
    """Return generous limits."""
    fields: dict[str, object] = {
        "max_short_ratio": D(1),
        "max_intents_per_symbol_per_minute": 60,
        "max_open_intents": 10,
        "unacked_critical_after_ms": 60_000,
        "max_order_notional": D(2_000_000),
        "max_leverage": 5,
        "max_orders_per_minute": 120,
        "max_turnover_per_day": D(200_000_000),
        "max_naked": D(50_000),
        "max_trade": D(1_000_000),
        "unrealised_loss_alarm": D(-10_000),
        "hedge_loss_per_day": D(5_000),
        "price_collar": D("0.01"),
        "price_collar_urgent": None,
        "external_trades_per_minute": 3,
        "repeated_same_side_fills": 3,
        "stale_after_ms": 3_000,
        "receive_lag_ms": 250,
        "request_timeout_ms": 10_000,
        "recv_window_ms": 2_000,
        **said,
    }
    return Limits(**fields)  # type: ignore[arg-type]


def policy(**said: object) -> Policy:
    """Return a policy of one BTC hedge; ``said`` overrides whole parts."""
    fields: dict[str, object] = {
        "hedges": (hedge_params(),),
        "ladder": ladder_params(),
        "limits": limits(),
        "margin_asset": USDT,
        **said,
    }
    return Policy(**fields)  # type: ignore[arg-type]


def mark(
    price: str | Decimal, at_ms: int = T0_MS, *, index: str | None = None, rate: str = "0.0001"
) -> MarkPriceUpdate:
    """Return a mark-price frame."""
    return MarkPriceUpdate(
        symbol=BTCUSDT,
        mark_price=D(price),
        index_price=D(index if index is not None else price),
        funding_rate=D(rate),
        next_funding_time_ms=T0_MS + 3_600_000,
        event_time_ms=at_ms,
    )


def setup() -> SetupDone:
    """Return a finished set-up: cross, leverage 3, one-way."""
    return SetupDone(
        instruments=(instrument(),),
        dual_side=False,
        multi_assets=False,
        leverage={BTCUSDT: 3},
        isolated={BTCUSDT: False},
    )


def snapshot(
    position: str = "0",
    *,
    entry: str = "0",
    wallet: str = "400000",
    at_ms: int = T0_MS,
    requested_ns: int | None = None,
    audit: bool = False,
) -> Snapshot:
    """Return a complete snapshot of a BTCUSDT account."""
    rows = ()
    if D(position) != 0:
        rows = (
            SnapshotPosition(
                symbol=BTCUSDT,
                position_side=PositionSide.BOTH,
                quantity=D(position),
                entry_price=D(entry),
                break_even_price=None,
                mark_price=D(entry),
                liquidation_price=D(0),
                isolated=False,
                isolated_wallet=D(0),
                maintenance_margin=D(0),
                initial_margin=D(0),
                margin_asset=USDT,
                adl=1,
                update_time_ms=at_ms,
            ),
        )
    return Snapshot(
        positions=rows,
        balances=(SnapshotBalance(USDT, D(wallet), D(wallet), D(wallet), at_ms),),
        requested_ns=requested_ns if requested_ns is not None else at_ms * 1_000_000,
        audit=audit,
    )


def live() -> BookStatusChanged:
    """Return the session's word that the book may be trusted."""
    return BookStatusChanged(status="LIVE", reason="test")


def float_trade(quantity: str, *, trade_id: str = "ft-1", price: str = "67121.4") -> FloatTradeRecorded:
    """Return a booked change of the float."""
    kind = FloatTradeKind.BUY if D(quantity) > 0 else FloatTradeKind.SELL
    trade = FloatTrade(
        trade_id=TradeId(trade_id),
        asset=BTC,
        kind=kind,
        quantity=D(quantity),
        usd=-D(quantity) * D(price),
        price=D(price),
        time_ms=T0_MS,
        reason="test",
    )
    return FloatTradeRecorded(trade=trade)


def account_update(
    position: str, *, entry: str = "67121.4", wallet: str = "400000", at_ms: int = T0_MS, reason: str = "ORDER"
) -> AccountUpdate:
    """Return an ACCOUNT_UPDATE with one balance and one position row."""
    return AccountUpdate(
        event_time_ms=at_ms,
        transaction_time_ms=at_ms,
        reason=reason,
        balances=(BalanceRow(USDT, D(wallet), D(wallet), D(0)),),
        positions=(
            PositionRow(
                symbol=BTCUSDT,
                position_side=PositionSide.BOTH,
                quantity=D(position),
                entry_price=D(entry) if D(position) else D(0),
                break_even_price=None,
                realised_pnl=D(0),
                isolated=False,
                isolated_wallet=D(0),
                margin_asset=USDT,
            ),
        ),
        funding_symbol=None,
    )


def execution_report(
    order: Order,
    *,
    last: str,
    cumulative: str | None = None,
    price: str = "67121.4",
    report: Report | None = None,
    trade_id: int = 1,
    at_ms: int = T0_MS,
) -> ExecutionReport:
    """Return an ORDER_TRADE_UPDATE of one of our orders."""
    total = D(cumulative if cumulative is not None else last)
    found = report or (Report.FILLED if total == order.quantity else Report.FILL)
    return ExecutionReport(
        event_time_ms=at_ms,
        transaction_time_ms=at_ms,
        symbol=order.symbol,
        client_order_id=order.client_order_id,
        owner=Owner.OURS,
        order_id=100,
        side=order.side,
        position_side=PositionSide.BOTH,
        order_type=order.type.value,
        execution_type="TRADE" if D(last) else "EXPIRED",
        order_status=found.name,
        report=found,
        quantity=order.quantity,
        price=order.price or D(0),
        average_price=D(price),
        last_quantity=D(last),
        last_price=D(price),
        cumulative_quantity=total,
        commission=D(0),
        commission_asset=USDT,
        trade_id=trade_id if D(last) else 0,
        realised_pnl=D(0),
        reduce_only=order.reduce_only,
        maker=False,
        expiry_reason="0",
    )


def foreign_fill(side: Side, quantity: str, *, owner: Owner = Owner.FOREIGN, trade_id: int = 900) -> ExecutionReport:
    """Return a fill of somebody else, or of the venue itself."""
    names = {Owner.FOREIGN: "web_x", Owner.ADL: "adl_autoclose", Owner.LIQUIDATION: "autoclose-1"}
    return ExecutionReport(
        event_time_ms=T0_MS,
        transaction_time_ms=T0_MS,
        symbol=BTCUSDT,
        client_order_id=names[owner],  # type: ignore[arg-type]
        owner=owner,
        order_id=7,
        side=side,
        position_side=PositionSide.BOTH,
        order_type="MARKET",
        execution_type="TRADE",
        order_status="FILLED",
        report=Report.FILLED,
        quantity=D(quantity),
        price=D(0),
        average_price=D("67121.4"),
        last_quantity=D(quantity),
        last_price=D("67121.4"),
        cumulative_quantity=D(quantity),
        commission=D(0),
        commission_asset=USDT,
        trade_id=trade_id,
        realised_pnl=D(0),
        reduce_only=False,
        maker=False,
        expiry_reason="0",
    )


def reactor(**said: object) -> Reactor:
    """Return a reactor that has seen nothing."""
    return Reactor(State(instance="7f3a91c2", epoch=1), policy(**said))


def oldest_open(machine: Reactor) -> Order:
    """Return the first order that is not terminal."""
    return next(order for order in machine.state.orders.values() if order.is_open)


def check_invariants(machine: Reactor) -> None:
    """Assert what holds of the reactor's memory after every input."""
    state = machine.state
    open_ids = [name for name, order in state.orders.items() if order.is_open]
    assert sorted(state.open_ids) == sorted(open_ids), "the index of open orders is exact"
    covered = [name for memory in state.memory.values() if memory.exposure for name in memory.exposure.order_ids]
    assert not [name for name in open_ids if name not in covered and name not in state.uncovered], "each is counted"
    with exact():
        fresh, kept = index_of(machine.core), machine.core.triggers
        assert kept is not None
        assert sorted(kept.near(), key=str) == sorted(fresh.near(), key=str), "the trigger index is that of the book"
        for asset in state.book.balances:
            assert kept.slack(asset) == fresh.slack(asset)
        assert bool(kept.unmarked) == bool(state.book.unmarked(Symbol("")))
    for memory in state.memory.values():
        at_once = [name for name in open_ids if state.orders[name].symbol == memory.symbol]
        assert len(at_once) <= 2, "one order on a symbol, and the ladder beside one in doubt"
