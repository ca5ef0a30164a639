"""REST bodies and WebSocket API frames to records. Raises ParseError; the caller decides what that means."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from streamhedge.domain.events import (
    OpenOrder,
    OpenOrders,
    OrderStatusAnswer,
    SetupDone,
    SnapshotBalance,
    SnapshotPosition,
)
from streamhedge.domain.instrument import Instrument, MarginBracket
from streamhedge.domain.values import ZERO, Asset, ClientOrderId, Symbol, record
from streamhedge.errors import ParseError
from streamhedge.wire.outcomes import STATUS_REPORTS
from streamhedge.wire.streams import (
    flag,
    isolated_of,
    number,
    number_or_zero,
    owner_of,
    position_side_of,
    side_of,
    whole,
    word,
)

Row = dict[str, Any]
DEFAULT_TAKER_FEE = Decimal("0.0005")
"""VIP 0 list rate as published 2026-10-12; used only until commissionRate has answered."""


@record
class WsApiAnswer:
    """One WebSocket API frame. ``id`` None is a revoked session: everything in flight fails."""

    id: str | None
    status: int
    result: Any
    code: int
    message: str
    retry_after_ms: int | None
    rate_limits: Any = None


EPOCH_MS_LEAST = 10**12
"""From here on a ``retryAfter`` is a moment (as spot documents it), below it a length."""


def decode_ws_api(raw: bytes, *, now_ms: int = 0) -> WsApiAnswer:
    """Return the answer in a frame.

    Args:
        raw: The frame.
        now_ms: Receive time, against which a moment to wait for is measured where the frame has no time of its own.

    Raises:
        ParseError: no JSON object with a status.
    """
    frame = exact_json(raw)
    if not isinstance(frame, dict) or not isinstance(frame.get("status"), int):
        raise ParseError("WebSocket API frame without a status")
    said = _object(frame.get("error"))
    data = _object(said.get("data"))
    name, code, wait = frame.get("id"), said.get("code"), data.get("retryAfter")
    return WsApiAnswer(
        id=None if name is None else str(name),
        status=frame["status"],
        result=frame.get("result"),
        code=code if isinstance(code, int) else 0,
        message=str(said.get("msg") or ""),
        retry_after_ms=_wait_ms(wait, data.get("serverTime"), now_ms),
        rate_limits=frame.get("rateLimits"),
    )


def _wait_ms(wait: object, server_time: object, now_ms: int) -> int | None:
    if type(wait) is not int or wait < 0:
        return None
    if wait < EPOCH_MS_LEAST:
        return wait
    return max(0, wait - (server_time if type(server_time) is int else now_ms))


def _object(value: object) -> Row:
    return value if isinstance(value, dict) else {}


def rows_of(result: object) -> Sequence[Row]:
    """Return a list of objects.

    Raises:
        ParseError: anything else.
    """
    if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
        raise ParseError("expected a list of objects")
    return result


def positions_of(result: object) -> tuple[SnapshotPosition, ...]:
    """Return the rows of `v2/account.position`; isolated is read from a wallet of its own."""
    return tuple(_position(row) for row in rows_of(result))


def _position(row: Row) -> SnapshotPosition:
    try:
        wallet = number_or_zero(row.get("isolatedWallet"))
        asset = row.get("marginAsset")
        return SnapshotPosition(
            symbol=Symbol(word(row["symbol"])),
            position_side=position_side_of(row.get("positionSide")),
            quantity=number(row["positionAmt"]),
            entry_price=number(row["entryPrice"]),
            break_even_price=number(row["breakEvenPrice"]) if row.get("breakEvenPrice") else None,
            mark_price=number_or_zero(row.get("markPrice")),
            liquidation_price=number_or_zero(row.get("liquidationPrice")),
            isolated=wallet != 0,
            isolated_wallet=wallet,
            maintenance_margin=number_or_zero(row.get("maintMargin")),
            initial_margin=number_or_zero(row.get("initialMargin")),
            margin_asset=Asset(asset) if isinstance(asset, str) and asset else None,
            adl=whole(row.get("adl", 0)),
            update_time_ms=whole(row.get("updateTime", 0)),
        )
    except KeyError as error:
        raise ParseError(f"position row without {error}") from error


def balances_of(result: object) -> tuple[SnapshotBalance, ...]:
    """Return the rows of `v2/account.balance`."""
    try:
        return tuple(
            SnapshotBalance(
                asset=Asset(word(row["asset"])),
                wallet_balance=number(row["balance"]),
                cross_wallet_balance=number(row["crossWalletBalance"]),
                available_balance=number_or_zero(row.get("availableBalance")),
                update_time_ms=whole(row.get("updateTime", 0)),
            )
            for row in rows_of(result)
        )
    except KeyError as error:
        raise ParseError(f"balance row without {error}") from error


def order_status_of(client_order_id: ClientOrderId, answer: WsApiAnswer) -> OrderStatusAnswer:
    """Return what an `order.status` answer says; only -2013 counts as an absence, errors prove nothing."""
    absent = answer.status == 400 and answer.code == -2013
    result = answer.result
    if answer.status != 200 or not isinstance(result, dict):
        return _status(client_order_id, found=False, inconclusive=not absent, message=answer.message)
    report = STATUS_REPORTS.get(str(result.get("status")))
    if report is None or result.get("clientOrderId") != client_order_id:
        return _status(client_order_id, found=False, inconclusive=True, message="names another order or status")
    try:
        return OrderStatusAnswer(
            client_order_id=client_order_id,
            found=True,
            inconclusive=False,
            report=report,
            filled=number_or_zero(result.get("executedQty")),
            filled_quote=number_or_zero(result.get("cumQuote")),
            order_id=whole(result.get("orderId", 0)) or None,
            message="",
        )
    except ParseError as error:
        return _status(client_order_id, found=False, inconclusive=True, message=str(error))


def _status(client_order_id: ClientOrderId, *, found: bool, inconclusive: bool, message: str) -> OrderStatusAnswer:
    return OrderStatusAnswer(
        client_order_id=client_order_id,
        found=found,
        inconclusive=inconclusive,
        report=None,
        filled=ZERO,
        filled_quote=ZERO,
        order_id=None,
        message=message,
    )


def open_orders_of(body: object) -> OpenOrders:
    """Return the answer of GET openOrders."""
    try:
        return OpenOrders(
            orders=tuple(
                OpenOrder(
                    symbol=Symbol(word(row["symbol"])),
                    client_order_id=ClientOrderId(word(row["clientOrderId"])),
                    owner=owner_of(word(row["clientOrderId"])),
                    side=side_of(row["side"]),
                    quantity=number(row["origQty"]),
                    filled=number_or_zero(row.get("executedQty")),
                    price=number_or_zero(row.get("price")),
                    reduce_only=row.get("reduceOnly") is True,
                )
                for row in rows_of(body)
            )
        )
    except KeyError as error:
        raise ParseError(f"open order without {error}") from error


# ---------------------------------------------------------------- set-up


def exact_json(body: bytes) -> Any:
    """Return a body's value with every fractional JSON number as Decimal (leverageBracket carries numbers).

    Raises:
        ParseError: no JSON, or an integer that does not fit 64 bits.
    """
    try:
        orjson.loads(body)  # the strict one: no NaN, no lone surrogates, no bottomless nesting
        return json.loads(body, parse_float=Decimal, parse_int=whole)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ParseError(f"no JSON: {error}") from error


def setup_of(bodies: Mapping[str, Any]) -> SetupDone:
    """Return instruments and modes from the answers of the set-up calls.

    Args:
        bodies: ``exchange_info`` cut to our symbols, ``leverage_bracket`` and ``commission_rate`` by symbol,
            ``funding_info``, ``account_config``, ``symbol_config``.

    Raises:
        ParseError: a part is missing or malformed; the message names it.
    """
    try:
        account = bodies["account_config"]
        configured = {row["symbol"]: row for row in rows_of(bodies["symbol_config"])}
        intervals = {row["symbol"]: row.get("fundingIntervalHours", 8) for row in rows_of(bodies["funding_info"])}
        instruments = tuple(
            instrument_of(
                row,
                brackets=brackets_of(bodies["leverage_bracket"][row["symbol"]], row["symbol"]),
                fee=bodies["commission_rate"].get(row["symbol"]),
                funding_interval_hours=whole(intervals.get(row["symbol"], 8)),
            )
            for row in rows_of(bodies["exchange_info"]["symbols"])
        )
        return SetupDone(
            instruments=instruments,
            dual_side=flag(account["dualSidePosition"]),
            multi_assets=flag(account.get("multiAssetsMargin", False)),
            leverage={Symbol(name): whole(row["leverage"]) for name, row in configured.items()},
            isolated={Symbol(name): isolated_of(row["marginType"]) for name, row in configured.items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ParseError(f"set-up answer without {error}") from error


def instrument_of(
    row: Row, *, brackets: tuple[MarginBracket, ...], fee: Row | None, funding_interval_hours: int
) -> Instrument:
    """Return one symbol of exchangeInfo with its brackets and fee."""
    filters = {item["filterType"]: item for item in row["filters"]}
    lot, market = filters["LOT_SIZE"], filters.get("MARKET_LOT_SIZE", filters["LOT_SIZE"])
    percent = filters.get("PERCENT_PRICE", {"multiplierUp": "1.05", "multiplierDown": "0.95"})
    return Instrument(
        symbol=Symbol(word(row["symbol"])),
        base_asset=Asset(word(row["baseAsset"])),
        quote_asset=Asset(word(row["quoteAsset"])),
        margin_asset=Asset(word(row["marginAsset"])),
        contract_type=word(row["contractType"]),
        status=word(row["status"]),
        tick_size=number(filters["PRICE_FILTER"]["tickSize"]),
        step_size=number(lot["stepSize"]),
        min_quantity=number(lot["minQty"]),
        max_quantity=number(lot["maxQty"]),
        market_max_quantity=number(market["maxQty"]),
        min_notional=number(filters["MIN_NOTIONAL"]["notional"]) if "MIN_NOTIONAL" in filters else ZERO,
        multiplier_up=number(percent["multiplierUp"]),
        multiplier_down=number(percent["multiplierDown"]),
        taker_fee_rate=number(fee["takerCommissionRate"]) if fee is not None else DEFAULT_TAKER_FEE,
        brackets=brackets,
        funding_interval_hours=funding_interval_hours,
    )


def brackets_of(body: object, symbol: str) -> tuple[MarginBracket, ...]:
    """Return a symbol's table from leverageBracket: an array, or a single object when the symbol was sent.

    Raises:
        ParseError: the symbol is not in it, or a row is malformed.
    """
    rows = body if isinstance(body, list) else [body]
    for row in rows:
        if isinstance(row, dict) and row.get("symbol") == symbol:
            brackets = tuple(_bracket(item) for item in rows_of(row["brackets"]))
            if brackets:
                return brackets
    raise ParseError(f"leverageBracket lists no bracket of {symbol}")


def _bracket(item: Row) -> MarginBracket:
    return MarginBracket(
        notional_floor=number(item["notionalFloor"]),
        notional_cap=number(item["notionalCap"]),
        maintenance_margin_rate=number(item["maintMarginRatio"]),
        maintenance_amount=number(item["cum"]),
        max_leverage=whole(item["initialLeverage"]),
    )


def listen_key_of(body: bytes | str) -> str:
    """Return the listen key in an answer, empty where a PUT answered `{}`.

    Raises:
        ParseError: no JSON object.
    """
    try:
        fields = orjson.loads(body)
    except ValueError as error:
        raise ParseError("listenKey answer is no JSON") from error
    return str(fields.get("listenKey") or "") if isinstance(fields, dict) else ""
