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
    OpenStop,
    OpenStops,
    OrderStatusAnswer,
    SetupDone,
    SnapshotBalance,
    SnapshotPosition,
)
from streamhedge.domain.instrument import Instrument, MarginBracket
from streamhedge.domain.values import ZERO, Asset, ClientOrderId, Symbol, record
from streamhedge.errors import ParseError
from streamhedge.wire.outcomes import STATUS_REPORTS, WAIT_MOST_MS
from streamhedge.wire.streams import (
    bracket_of,
    flag,
    isolated_of,
    leverage_of,
    name_of,
    number,
    number_or_zero,
    owner_of,
    position_side_of,
    positive,
    side_of,
    text_of,
    whole,
    word,
)

Row = dict[str, Any]
FUNDING_HOURS_MOST = 24
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


def decode_ws_api(raw: bytes, *, now_ms: int = 0) -> WsApiAnswer:
    """Return the answer in a frame.

    Args:
        raw: The frame.
        now_ms: When it came, milliseconds since the epoch: a wait may be told as the time of its end.

    Raises:
        ParseError: no JSON object with a status.
    """
    frame = exact_json(raw)
    if not isinstance(frame, dict) or not isinstance(frame.get("status"), int):
        raise ParseError("WebSocket API frame without a status")
    said = _object(frame.get("error"))
    data = _object(said.get("data"))
    name, code = frame.get("id"), said.get("code")
    return WsApiAnswer(
        id=None if name is None else text_of(name),
        status=frame["status"],
        result=frame.get("result"),
        code=code if isinstance(code, int) else 0,
        message=text_of(said.get("msg")),
        retry_after_ms=_wait_ms(data, now_ms),
        rate_limits=frame.get("rateLimits"),
    )


def _wait_ms(data: Row, now_ms: int) -> int | None:
    """Return how long `retryAfter` asks to wait: a time of the venue's clock, else a length; at most the longest ban."""
    until = data.get("retryAfter")
    if type(until) is not int or until < 0:
        return None
    if until > WAIT_MOST_MS:
        server = data.get("serverTime")
        until -= server if type(server) is int else now_ms
    return min(max(0, until), WAIT_MOST_MS)


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
            symbol=Symbol(name_of(row["symbol"])),
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
                asset=Asset(name_of(row["asset"])),
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
    report = STATUS_REPORTS.get(text_of(result.get("status")))
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
            update_time_ms=whole(result.get("updateTime", 0)),
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
                    symbol=Symbol(name_of(row["symbol"])),
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


def open_stops_of(name: str, body: object) -> OpenStops:
    """Return the answer of GET openAlgoOrders to a call named like BTCUSDT:3."""
    symbol, _, count = name.rpartition(":")
    try:
        return OpenStops(
            symbol=Symbol(symbol),
            number=int(count),
            stops=tuple(
                OpenStop(
                    symbol=Symbol(name_of(row["symbol"])),
                    client_order_id=ClientOrderId(word(row["clientAlgoId"])),
                    side=side_of(row["side"]),
                    quantity=number_or_zero(row.get("quantity")),
                    trigger_price=number_or_zero(row.get("triggerPrice")),
                )
                for row in rows_of(body)
            ),
        )
    except KeyError as error:
        raise ParseError(f"open conditional order without {error}") from error


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
            leverage={Symbol(name): leverage_of(row["leverage"]) for name, row in configured.items()},
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
        symbol=Symbol(name_of(row["symbol"])),
        base_asset=Asset(name_of(row["baseAsset"])),
        quote_asset=Asset(name_of(row["quoteAsset"])),
        margin_asset=Asset(name_of(row["marginAsset"])),
        contract_type=word(row["contractType"]),
        status=word(row["status"]),
        tick_size=positive(filters["PRICE_FILTER"]["tickSize"]),
        step_size=positive(lot["stepSize"]),
        min_quantity=number(lot["minQty"]),
        max_quantity=positive(lot["maxQty"]),
        market_max_quantity=positive(market["maxQty"]),
        min_notional=number(filters["MIN_NOTIONAL"]["notional"]) if "MIN_NOTIONAL" in filters else ZERO,
        multiplier_up=positive(percent["multiplierUp"]),
        multiplier_down=positive(percent["multiplierDown"]),
        taker_fee_rate=number(fee["takerCommissionRate"]) if fee is not None else DEFAULT_TAKER_FEE,
        brackets=brackets,
        funding_interval_hours=_interval(funding_interval_hours),
    )


def _interval(hours: int) -> int:
    if not 1 <= hours <= FUNDING_HOURS_MOST:
        raise ParseError(f"no funding interval: {hours} h")
    return hours


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
    return bracket_of(
        floor=item["notionalFloor"],
        cap=item["notionalCap"],
        rate=item["maintMarginRatio"],
        amount=item["cum"],
        leverage=item["initialLeverage"],
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
    return text_of(fields.get("listenKey")) if isinstance(fields, dict) else ""
