"""What the published examples of the private stream decode to, written by hand."""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.events import (
    AccountConfigUpdate,
    AccountUpdate,
    AlgoUpdate,
    BalanceRow,
    Event,
    ExecutionReport,
    ListenKeyExpired,
    MarginCall,
    MarginCallRow,
    OtherUserEvent,
    Owner,
    PositionRow,
    PositionSide,
    TradeLite,
)
from streamhedge.domain.order import Report, Side
from streamhedge.domain.values import Asset, ClientOrderId, Symbol

D = Decimal
BTCUSDT = Symbol("BTCUSDT")
ETHUSDT = Symbol("ETHUSDT")
USDT = Asset("USDT")
LISTEN_KEY = "qW3nT8vZ1kLm0RyP5sUe7XoBc2DfGhJi4aQzNwEtYr6MpVbKxCuSd9HlAgFjOq0T"


def balance(wallet: str, cross: str, change: str) -> BalanceRow:
    """Return one USDT row."""
    return BalanceRow(USDT, D(wallet), D(cross), D(change))


def position(
    symbol: Symbol,
    quantity: str,
    entry: str,
    break_even: str,
    realised: str,
    *,
    side: PositionSide = PositionSide.BOTH,
    isolated_wallet: str | None = None,
) -> PositionRow:
    """Return one row on USDT margin; isolated where it has a wallet of its own."""
    return PositionRow(
        symbol=symbol,
        position_side=side,
        quantity=D(quantity),
        entry_price=D(entry),
        break_even_price=D(break_even),
        realised_pnl=D(realised),
        isolated=isolated_wallet is not None,
        isolated_wallet=D(isolated_wallet or "0"),
        margin_asset=USDT,
    )


def update(
    reason: str,
    at_ms: int,
    *,
    balances: tuple[BalanceRow, ...] = (),
    positions: tuple[PositionRow, ...] = (),
    symbol: Symbol | None = None,
) -> list[Event]:
    """Return an ACCOUNT_UPDATE pushed one millisecond after its transaction."""
    return [AccountUpdate(at_ms + 1, at_ms, reason, balances, positions, symbol)]


def report(
    client_order_id: str, owner: Owner, order_id: int, at_ms: int, meaning: Report, **said: object
) -> list[Event]:
    """Return an ORDER_TRADE_UPDATE: a resting SELL LIMIT 0.25 BTCUSDT without a fill where nothing else is said."""
    fields: dict[str, object] = {
        "event_time_ms": at_ms + 1,
        "transaction_time_ms": at_ms,
        "symbol": BTCUSDT,
        "client_order_id": ClientOrderId(client_order_id),
        "owner": owner,
        "order_id": order_id,
        "side": Side.SELL,
        "position_side": PositionSide.BOTH,
        "order_type": "LIMIT",
        "report": meaning,
        "quantity": D("0.25"),
        "price": D(76420),
        "average_price": D(0),
        "last_quantity": D(0),
        "last_price": D(0),
        "cumulative_quantity": D(0),
        "commission": D(0),
        "commission_asset": USDT,
        "trade_id": 0,
        "realised_pnl": D(0),
        "reduce_only": False,
        "maker": False,
        "expiry_reason": "0",
        **said,
    }
    return [ExecutionReport(**fields)]  # type: ignore[arg-type]


def algo(status: str, at_ms: int, **said: object) -> list[Event]:
    """Return an ALGO_UPDATE of the stop at 74 000."""
    fields: dict[str, object] = {
        "event_time_ms": at_ms + 6,
        "symbol": BTCUSDT,
        "client_algo_id": "sh-sl-7f3a91c2-0003",
        "algo_id": 3000000412345,
        "status": status,
        "side": Side.SELL,
        "trigger_price": D(74000),
        "quantity": D("0.25"),
        "order_id": None,
        "reject_reason": "",
        **said,
    }
    return [AlgoUpdate(**fields)]  # type: ignore[arg-type]


LEVERAGE: list[Event] = [AccountConfigUpdate(1795161600503, BTCUSDT, 20, None)]

USER: dict[str, list[Event]] = {
    "control_list_subscriptions_response_private.json": [OtherUserEvent("ack", 0)],
    "user_account_config_leverage.json": LEVERAGE,
    "user_event_combined_wrapper.json": LEVERAGE,
    "user_account_config_multi_assets.json": [AccountConfigUpdate(1795161600603, None, None, True)],
    "user_account_update_deposit.json": update(
        "DEPOSIT", 1795161620000, balances=(balance("25144.54174912", "23944.58744205", "5000"),)
    ),
    "user_account_update_funding_cross.json": update(
        "FUNDING_FEE",
        1795161603246,
        balances=(balance("20144.58744205", "18944.58744205", "1.01453125"),),
        symbol=BTCUSDT,
    ),
    "user_account_update_funding_isolated.json": update(
        "FUNDING_FEE",
        1795161603251,
        balances=(balance("20144.54174912", "18944.58744205", "-0.04569293"),),
        positions=(position(ETHUSDT, "-1", "2468.4", "2466.91", "0", isolated_wallet="1199.95430707"),),
        symbol=ETHUSDT,
    ),
    "user_account_update_insurance_clear.json": update(
        "INSURANCE_CLEAR", 1795161630123, balances=(balance("19820.1044", "19820.1044", "-95.514375"),)
    ),
    "user_account_update_margin_transfer.json": update(
        "MARGIN_TRANSFER",
        1795161622000,
        balances=(balance("25144.54174912", "23444.58744205", "0"),),
        positions=(position(ETHUSDT, "-1", "2468.4", "2466.91", "0", isolated_wallet="1699.95430707"),),
    ),
    "user_account_update_margin_type_change.json": update(
        "MARGIN_TYPE_CHANGE",
        1795161621000,
        positions=(position(Symbol("SOLUSDT"), "0", "0", "0", "0", isolated_wallet="0"),),
    ),
    "user_account_update_order_hedge.json": update(
        "ORDER",
        1795161611000,
        balances=(balance("20139.7524158", "20139.7524158", "0"),),
        positions=(
            position(BTCUSDT, "0", "0", "0", "0"),
            position(BTCUSDT, "0.1", "76410", "76448.205", "0", side=PositionSide.LONG),
        ),
    ),
    "user_account_update_order_isolated_flat.json": update(
        "ORDER",
        1795161612000,
        balances=(balance("20244.1033194", "20244.1033194", "0"),),
        positions=(position(ETHUSDT, "0", "0", "0", "148.2155", isolated_wallet="0"),),
    ),
    "user_account_update_order_one_way.json": update(
        "ORDER",
        1795161610000,
        balances=(balance("20143.5729108", "20143.5729108", "0"),),
        positions=(position(BTCUSDT, "-0.25", "76409.9", "76371.69505", "312.4412"),),
    ),
    "user_algo_new.json": algo("NEW", 1795161605000),
    "user_algo_triggered.json": algo("TRIGGERED", 1795161633000, order_id=812345679300),
    "user_algo_finished.json": algo("FINISHED", 1795161633050, order_id=812345679300),
    "user_algo_rejected.json": algo(
        "REJECTED",
        1795161633060,
        client_algo_id="sh-sl-7f3a91c2-0004",
        algo_id=3000000412346,
        reject_reason="Reduce Only reject",
    ),
    "user_algo_trailing_activated.json": algo(
        "NEW", 1795161606000, client_algo_id="sh-tr-7f3a91c2-0001", algo_id=3000000412350, trigger_price=D(0)
    ),
    "user_conditional_order_trigger_reject_deprecated.json": [
        OtherUserEvent("CONDITIONAL_ORDER_TRIGGER_REJECT", 1795161600100)
    ],
    "user_grid_update_deprecated.json": [OtherUserEvent("GRID_UPDATE", 1795161600802)],
    "user_strategy_update.json": [OtherUserEvent("STRATEGY_UPDATE", 1795161600701)],
    "user_listen_key_expired.json": [ListenKeyExpired(1795165200123, LISTEN_KEY)],
    "user_margin_call.json": [
        MarginCall(
            event_time_ms=1795161628000,
            cross_wallet_balance=D("775.4026"),
            positions=(
                MarginCallRow(
                    symbol=BTCUSDT,
                    position_side=PositionSide.BOTH,
                    quantity=D("0.1"),
                    mark_price=D("69004.17127"),
                    maintenance_margin=D("27.60166851"),
                ),
            ),
        )
    ],
    "user_order_adl.json": report(
        "adl_autoclose",
        Owner.ADL,
        812345679200,
        1795161631000,
        Report.FILLED,
        side=Side.BUY,
        execution_type="CALCULATED",
        order_status="FILLED",
        price=D("74102.6"),
        average_price=D("74102.6"),
        last_quantity=D("0.25"),
        last_price=D("74102.6"),
        cumulative_quantity=D("0.25"),
        trade_id=6612350501,
        realised_pnl=D("576.825"),
    ),
    "user_order_amendment.json": report(
        "sh-7f3a91c2-000021",
        Owner.OURS,
        812345678970,
        1795161611200,
        Report.ACCEPTED,
        execution_type="AMENDMENT",
        order_status="NEW",
        price=D("76418.5"),
    ),
    "user_order_canceled.json": report(
        "sh-7f3a91c2-000017",
        Owner.OURS,
        812345678901,
        1795161610500,
        Report.ENDED,
        execution_type="CANCELED",
        order_status="CANCELED",
        average_price=D(76420),
        cumulative_quantity=D("0.1"),
    ),
    "user_order_expired_in_match_stp.json": report(
        "sh-7f3a91c2-000020",
        Owner.OURS,
        812345678961,
        1795161610800,
        Report.ENDED,
        execution_type="EXPIRED",
        order_status="EXPIRED_IN_MATCH",
        expiry_reason="1",
    ),
    "user_order_expired_ioc.json": report(
        "sh-7f3a91c2-000019",
        Owner.OURS,
        812345678960,
        1795161610700,
        Report.ENDED,
        execution_type="EXPIRED",
        order_status="EXPIRED",
        expiry_reason="2",
    ),
    "user_order_liquidation.json": report(
        "autoclose-1795161630000000017",
        Owner.LIQUIDATION,
        812345679100,
        1795161630000,
        Report.FILLED,
        order_type="LIQUIDATION",
        execution_type="CALCULATED",
        order_status="FILLED",
        quantity=D("0.1"),
        price=D("68121.4"),
        average_price=D("68233.1"),
        last_quantity=D("0.1"),
        last_price=D("68233.1"),
        cumulative_quantity=D("0.1"),
        commission=D("3.411655"),
        trade_id=6612349990,
        realised_pnl=D("-817.69"),
    ),
    "user_order_liquidation_new.json": report(
        "autoclose-1795161630000000017",
        Owner.LIQUIDATION,
        812345679100,
        1795161629990,
        Report.ACCEPTED,
        order_type="LIQUIDATION",
        execution_type="NEW",
        order_status="NEW",
        quantity=D("0.1"),
        price=D("68121.4"),
    ),
    "user_order_new.json": report(
        "sh-7f3a91c2-000017",
        Owner.OURS,
        812345678901,
        1795161609000,
        Report.ACCEPTED,
        execution_type="NEW",
        order_status="NEW",
    ),
    "user_order_settlement.json": report(
        "settlement_autoclose-1795161632000",
        Owner.SETTLEMENT,
        998877,
        1795161632000,
        Report.FILLED,
        symbol=Symbol("ABCUSDT"),
        order_type="MARKET",
        execution_type="CALCULATED",
        order_status="FILLED",
        quantity=D(1500),
        price=D(0),
        average_price=D("0.1832"),
        last_quantity=D(1500),
        last_price=D("0.1832"),
        cumulative_quantity=D(1500),
        trade_id=556677,
        realised_pnl=D("-12.45"),
    ),
    "user_order_trade_filled.json": report(
        "sh-7f3a91c2-000018",
        Owner.OURS,
        812345678955,
        1795161610000,
        Report.FILLED,
        order_type="MARKET",
        execution_type="TRADE",
        order_status="FILLED",
        price=D(0),
        average_price=D("76409.9"),
        last_quantity=D("0.25"),
        last_price=D("76409.9"),
        cumulative_quantity=D("0.25"),
        commission=D("9.5512375"),
        trade_id=6612345701,
    ),
    "user_order_trade_partial.json": report(
        "sh-7f3a91c2-000017",
        Owner.OURS,
        812345678901,
        1795161609500,
        Report.FILL,
        execution_type="TRADE",
        order_status="PARTIALLY_FILLED",
        average_price=D(76420),
        last_quantity=D("0.1"),
        last_price=D(76420),
        cumulative_quantity=D("0.1"),
        commission=D("1.5284"),
        trade_id=6612345678,
        maker=True,
    ),
    "user_order_triggered_stop.json": report(
        "sh-7f3a91c2-000030",
        Owner.OURS,
        812345679300,
        1795161633000,
        Report.ACCEPTED,
        order_type="MARKET",
        execution_type="NEW",
        order_status="NEW",
        price=D(0),
        reduce_only=True,
        trigger_price=D(74000),
    ),
    "user_trade_lite.json": [
        TradeLite(
            event_time_ms=1795161610001,
            transaction_time_ms=1795161610000,
            symbol=BTCUSDT,
            client_order_id=ClientOrderId("sh-7f3a91c2-000018"),
            side=Side.SELL,
            last_quantity=D("0.25"),
            last_price=D("76409.9"),
            trade_id=6612345701,
            order_id=812345678955,
        )
    ],
}

QUARANTINED = (
    "spot_balance_update.json",
    "spot_event_stream_terminated.json",
    "spot_execution_report_new.json",
    "spot_execution_report_trade.json",
    "spot_external_lock_update.json",
    "spot_outbound_account_position.json",
    "spot_server_shutdown.json",
)
"""Events of the spot account: this program never asks for them, so one on its private stream is a mystery."""
