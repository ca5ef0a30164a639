"""Stream frames to events. Never raises: what cannot be decoded, or nobody told us about, becomes ``Quarantined``.

Extra fields are ignored. An unknown event type or enum member on the private stream is quarantined as private, so that
the book becomes SUSPECT (beside its event, where no figure hangs on the word); on a market stream it is only counted.
Source of the shapes: BINANCE_USDM §2, §3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from streamhedge.domain.events import (
    AccountConfigUpdate,
    AccountUpdate,
    AlgoUpdate,
    BalanceRow,
    ContractInfo,
    Event,
    ExecutionReport,
    ListenKeyExpired,
    MarginCall,
    MarginCallRow,
    MarkPriceUpdate,
    OtherMarketEvent,
    OtherUserEvent,
    Owner,
    PositionRow,
    PositionSide,
    Quarantined,
    TradeLite,
)
from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.order import Report, Side
from streamhedge.domain.values import ZERO, Asset, ClientOrderId, Symbol, decimal_from
from streamhedge.errors import ParseError

Frame = dict[str, Any]
USD_MARGINED = 1
COIN_MARGINED = 2
LEVERAGE_MOST = 1_000
"""Far above any the venue has (150); a leverage of 0 is no leverage, and figures are divided by it."""
NAME_MOST = 40
DIGITS = re.compile("-?[0-9]{1,19}")
SHOWN_MOST = 80
AHEAD_MOST_MS = 86_400_000
"""A time further ahead of our clock is no time: taken into the book it would outdate everything true for so long."""
HEAD_LENGTH = 200
MALFORMED = (ParseError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""Whatever reading a frame of any shape can raise; each of them means quarantine."""

Decoder = Callable[[Frame], Event]
TIME_MOST_MS = 4_102_444_800_000
"""2100-01-01: the bound where no clock is known."""

OWNER_PREFIXES: tuple[tuple[str, Owner], ...] = (
    ("sh-", Owner.OURS),
    ("autoclose-", Owner.LIQUIDATION),
    ("adl_autoclose", Owner.ADL),
    ("settlement_autoclose-", Owner.SETTLEMENT),
    ("delivery_autoclose-", Owner.SETTLEMENT),
)

REASONS = (
    *("", "DEPOSIT", "WITHDRAW", "ORDER", "FUNDING_FEE", "WITHDRAW_REJECT", "ADJUSTMENT", "INSURANCE_CLEAR"),
    *("ADMIN_DEPOSIT", "ADMIN_WITHDRAW", "MARGIN_TRANSFER", "MARGIN_TYPE_CHANGE", "ASSET_TRANSFER"),
    *("OPTIONS_PREMIUM_FEE", "OPTIONS_SETTLE_PROFIT", "AUTO_EXCHANGE", "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW"),
)
"""What ACCOUNT_UPDATE gives as its cause (BINANCE_USDM §3.3); empty where the field is missing."""
ORDER_TYPES = (
    *("LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"),
    "LIQUIDATION",
)
EXPIRY_REASONS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
ALGO_STATUSES = ("NEW", "TRIGGERING", "TRIGGERED", "FINISHED", "CANCELED", "REJECTED", "EXPIRED")

REPORTS: dict[tuple[str, str], Report] = {
    ("NEW", "NEW"): Report.ACCEPTED,
    ("NEW", "NEW_ADL"): Report.ACCEPTED,
    ("NEW", "NEW_INSURANCE"): Report.ACCEPTED,
    ("TRADE", "PARTIALLY_FILLED"): Report.FILL,
    ("TRADE", "FILLED"): Report.FILLED,
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
    ("AMENDMENT", "NEW"): Report.ACCEPTED,
    ("AMENDMENT", "PARTIALLY_FILLED"): Report.FILL,
    ("TRADE", "NEW_INSURANCE"): Report.FILL,
    ("TRADE", "NEW_ADL"): Report.FILL,
}


MARGIN_TYPES = {"cross": False, "crossed": False, "isolated": True}


def owner_of(client_order_id: str) -> Owner:
    """Return who acted, by the prefix of the client order id (BINANCE_USDM §3.5)."""
    for prefix, owner in OWNER_PREFIXES:
        if client_order_id.startswith(prefix):
            return owner
    return Owner.FOREIGN


def decode_market(raw: bytes, *, now_ms: int | None = None) -> list[Event]:
    """Return the events of one `/market` frame; COIN-M rows (st 2) are dropped.

    Args:
        raw: The frame.
        now_ms: When it came; a time far ahead of it is none. None: nobody knows.
    """
    return _decode(raw, MARKET, private=False, now_ms=now_ms)


def decode_private(raw: bytes, *, now_ms: int | None = None) -> list[Event]:
    """Return the events of one `/private` frame; ``now_ms`` as above."""
    return _decode(raw, PRIVATE, private=True, now_ms=now_ms)


def _decode(raw: bytes, table: dict[str, Decoder], *, private: bool, now_ms: int | None) -> list[Event]:
    latest_ms = TIME_MOST_MS if now_ms is None else now_ms + AHEAD_MOST_MS
    try:
        rows = _rows(orjson.loads(raw))
        if any(isinstance(row, dict) and row.get("bks") for row in rows):
            rows = _rows(json.loads(raw, parse_float=Decimal))  # brackets carry JSON numbers, some of them fractional
    except (ValueError, ArithmeticError, RecursionError) as error:
        return [_quarantined(raw, f"{type(error).__name__}: {error}", private=private)]
    events: list[Event] = []
    faults: list[str] = []
    for row in rows:
        try:
            found = _row(row, table, private=private)
            for event in found:
                _check_time(event, latest_ms)
        except MALFORMED as error:
            faults.append(f"{type(error).__name__}: {error}")
            continue
        events += found
        # Its figures hold whatever a new word means; what else it means, a snapshot has to say.
        faults += [strange for event in found if (strange := _strange_word(event)) is not None]
    if faults:
        events.append(_quarantined(raw, faults[0], private=private))
    return events


def _rows(frame: Any) -> list[Any]:
    """Return the event objects of a frame: out of its combined-stream wrapper, and always as a list."""
    if isinstance(frame, dict) and "data" in frame and "stream" in frame:
        frame = frame["data"]
    return frame if isinstance(frame, list) else [frame]


def _row(row: Frame, table: dict[str, Decoder], *, private: bool) -> list[Event]:
    if not isinstance(row, dict):
        raise ParseError(f"expected an object, got {type(row).__name__}")
    name = row.get("e")
    if name is None:
        return [_control(row, private=private)]
    family = row.get("st", USD_MARGINED)
    if family == COIN_MARGINED:
        return []
    if family != USD_MARGINED:
        raise ParseError(f"unknown product family {shown(family)}")
    decoder = table.get(name)
    if decoder is None:
        raise ParseError(f"unknown event type {shown(name)}")
    return [decoder(row)]


def _check_time(event: Event, latest_ms: int) -> None:
    """Refuse times that no later event could follow."""
    for name in ("event_time_ms", "transaction_time_ms"):
        time_ms = getattr(event, name, 0)
        if time_ms > latest_ms:
            raise ParseError(f"{name} {time_ms} lies more than a day ahead of us")


def _strange_word(event: Event) -> str | None:
    """Return the enum member of a private event that nobody has told us about and no figure hangs on."""
    if isinstance(event, AccountUpdate) and event.reason not in REASONS:
        return f"unknown account update reason {event.reason!r}"
    if isinstance(event, ExecutionReport) and event.order_type not in ORDER_TYPES:
        return f"unknown order type {event.order_type!r}"
    if isinstance(event, ExecutionReport) and event.expiry_reason not in EXPIRY_REASONS:
        return f"unknown expiry reason {event.expiry_reason!r}"
    if isinstance(event, AlgoUpdate) and event.status not in ALGO_STATUSES:
        return f"unknown algo status {event.status!r}"
    return None


def _control(row: Frame, *, private: bool) -> Event:
    """`{"result":null,"id":1}` and its kin: an acknowledgement proves nothing, an error is worth a name."""
    if not ({"result", "error", "code", "id"} & row.keys()):
        raise ParseError("neither an event nor a control answer")
    name = "error" if "error" in row or "code" in row else "ack"
    return OtherUserEvent(name, 0) if private else OtherMarketEvent(name, None, 0)


def _quarantined(raw: bytes, reason: str, *, private: bool) -> Quarantined:
    head = raw[:HEAD_LENGTH].decode("utf-8", "replace")
    return Quarantined(source="private" if private else "market", private=private, reason=reason[:200], head=head)


# ---------------------------------------------------------------- field readers


def shown(value: object) -> str:
    """Return a value for a message, short; a nested one by its type, for a bottomless one has no text at all."""
    plain = value is None or isinstance(value, str | int | float | Decimal)
    return repr(value)[:SHOWN_MOST] if plain else f"a {type(value).__name__}"


def text_of(value: object) -> str:
    """Return words for people, or a number as text; empty where it is neither."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def number(value: object) -> Decimal:
    """Return a wire number; the venue writes them as strings.

    Raises:
        ParseError: anything that is no finite number of sensible size.
    """
    if not isinstance(value, str | int | Decimal) or isinstance(value, bool):
        raise ParseError(f"expected a number in a string, got {shown(value)}")
    try:
        return decimal_from(value)
    except ValueError as error:
        raise ParseError(str(error)) from error


def positive(value: object) -> Decimal:
    """Return a wire number above zero: a step, a price, a size that something is divided by.

    Raises:
        ParseError: anything else.
    """
    found = number(value)
    if found <= 0:
        raise ParseError(f"expected a number above zero, got {shown(value)}")
    return found


def number_or_zero(value: object) -> Decimal:
    """Return a wire number, 0 where it is missing or empty."""
    return ZERO if value is None or value == "" else number(value)


def whole(value: object) -> int:
    """Return a wire integer.

    Raises:
        ParseError: anything but an integer (or its digits) that fits 64 bits.
    """
    if isinstance(value, str) and DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise ParseError(f"expected an integer, got {shown(value)}")
    return value


def leverage_of(value: object) -> int:
    """Return a leverage.

    Raises:
        ParseError: anything but an integer from 1 to 1000.
    """
    leverage = whole(value)
    if not 1 <= leverage <= LEVERAGE_MOST:
        raise ParseError(f"no leverage: {leverage}")
    return leverage


def word(value: object) -> str:
    """Return a wire string.

    Raises:
        ParseError: anything else.
    """
    if not isinstance(value, str):
        raise ParseError(f"expected a string, got {shown(value)}")
    return value


def name_of(value: object) -> str:
    """Return the name of a symbol or an asset; since 2025 it may hold any script.

    Raises:
        ParseError: anything else: empty, long, unprintable, or with a mark that separates names in our own keys.
    """
    name = word(value)
    if not 0 < len(name) <= NAME_MOST or not name.isprintable() or any(mark in name for mark in "|: "):
        raise ParseError(f"no name: {name[:NAME_MOST]!r}")
    return name


def flag(value: object) -> bool:
    """Return a wire boolean.

    Raises:
        ParseError: anything else, the words "true" and "false" among it.
    """
    if not isinstance(value, bool):
        raise ParseError(f"expected true or false, got {shown(value)}")
    return value


def isolated_of(value: object) -> bool:
    """Return whether a margin type means isolated; every call of the venue spells it its own way.

    Raises:
        ParseError: an unknown margin type.
    """
    known = MARGIN_TYPES.get(word(value).lower())
    if known is None:
        raise ParseError(f"unknown margin type {shown(value)}")
    return known


def side_of(value: object) -> Side:
    """Return BUY or SELL.

    Raises:
        ParseError: another word.
    """
    try:
        return Side(value)
    except ValueError as error:
        raise ParseError(f"unknown side {shown(value)}") from error


def position_side_of(value: object) -> PositionSide:
    """Return BOTH, LONG or SHORT; missing means BOTH.

    Raises:
        ParseError: another word.
    """
    try:
        return PositionSide(value if value is not None else "BOTH")
    except ValueError as error:
        raise ParseError(f"unknown position side {shown(value)}") from error


def bracket_of(*, floor: object, cap: object, rate: object, amount: object, leverage: object) -> MarginBracket:
    """Return one row of a maintenance table.

    Raises:
        ParseError: a malformed number, or a row that no position could be in.
    """
    found = MarginBracket(
        notional_floor=number(floor),
        notional_cap=positive(cap),
        maintenance_margin_rate=number(rate),
        maintenance_amount=number(amount),
        max_leverage=leverage_of(leverage),
    )
    inside = 0 <= found.notional_floor < found.notional_cap and 0 < found.maintenance_margin_rate < 1
    if not inside or found.maintenance_amount < 0:
        raise ParseError(f"no bracket: {found}")
    return found


# ---------------------------------------------------------------- market


def _mark_price(row: Frame) -> Event:
    """`{"e":"markPriceUpdate","E":…,"s":"BTCUSDT","p":"76412.3","i":"76441.07","r":"0.00005312","T":…,"st":1}`"""
    mark = number(row["p"])
    index = number_or_zero(row.get("i"))
    if mark <= 0:
        raise ParseError(f"mark price {mark} is not above zero")
    rate = row.get("r")
    return MarkPriceUpdate(
        symbol=Symbol(name_of(row["s"])),
        mark_price=mark,
        index_price=index if index > 0 else mark,
        funding_rate=number(rate) if rate not in (None, "") else None,
        next_funding_time_ms=whole(row.get("T", 0)),
        event_time_ms=whole(row["E"]),
    )


def _contract_info(row: Frame) -> Event:
    """`{"e":"contractInfo","E":…,"s":"BTCUSDT","ct":"PERPETUAL","cs":"TRADING","bks":[{"bs":1,"bnf":0,"bnc":300000,…}]}`"""
    brackets = tuple(_bracket(item) for item in row["bks"]) if row.get("bks") else None
    return ContractInfo(
        symbol=Symbol(name_of(row["s"])),
        contract_type=word(row.get("ct", "")),
        status=word(row["cs"]),
        brackets=brackets,
        event_time_ms=whole(row["E"]),
    )


def _bracket(item: Frame) -> MarginBracket:
    return bracket_of(floor=item["bnf"], cap=item["bnc"], rate=item["mmr"], amount=item["cf"], leverage=item["ma"])


def _other_market(row: Frame) -> Event:
    symbol = row.get("s")
    return OtherMarketEvent(word(row["e"]), Symbol(symbol) if isinstance(symbol, str) else None, whole(row["E"]))


# ---------------------------------------------------------------- user


def _account_update(row: Frame) -> Event:
    """`{"e":"ACCOUNT_UPDATE","T":…,"E":…,"a":{"m":"ORDER","B":[{"a","wb","cw","bc"}],"P":[{"s","pa","ep",…}],"S"?}}`"""
    body = row["a"]
    named = body.get("S")
    return AccountUpdate(
        event_time_ms=whole(row["E"]),
        transaction_time_ms=whole(row["T"]),
        reason=word(body.get("m", "")),
        balances=tuple(_balance_row(item) for item in body.get("B") or ()),
        positions=tuple(_position_row(item) for item in body.get("P") or ()),
        funding_symbol=Symbol(name_of(named)) if named else None,
    )


def _balance_row(item: Frame) -> BalanceRow:
    return BalanceRow(
        asset=Asset(name_of(item["a"])),
        wallet_balance=number(item["wb"]),
        cross_wallet_balance=number(item["cw"]),
        change=number_or_zero(item.get("bc")),
    )


def _position_row(item: Frame) -> PositionRow:
    asset = item.get("ma")
    return PositionRow(
        symbol=Symbol(name_of(item["s"])),
        position_side=position_side_of(item.get("ps")),
        quantity=number(item["pa"]),
        entry_price=number(item["ep"]),
        break_even_price=number(item["bep"]) if item.get("bep") not in (None, "") else None,
        realised_pnl=number_or_zero(item.get("cr")),
        isolated=isolated_of(item.get("mt", "cross")),
        isolated_wallet=number_or_zero(item.get("iw")),
        margin_asset=Asset(name_of(asset)) if asset else None,
    )


def _order_trade_update(row: Frame) -> Event:
    """`{"e":"ORDER_TRADE_UPDATE","T","E","o":{"s","c","S","o","q","p","ap","x","X","i","l","z","L","N","n","T","t",…}}`"""
    order = row["o"]
    execution, status = word(order["x"]), word(order["X"])
    report = REPORTS.get((execution, status))
    if report is None:
        raise ParseError(f"unknown execution {execution!r} with status {status!r}")
    client_id = word(order["c"])
    asset = order.get("N")
    return ExecutionReport(
        event_time_ms=whole(row["E"]),
        transaction_time_ms=whole(row["T"]),
        symbol=Symbol(name_of(order["s"])),
        client_order_id=ClientOrderId(client_id),
        owner=owner_of(client_id),
        order_id=whole(order["i"]),
        side=side_of(order["S"]),
        position_side=position_side_of(order.get("ps")),
        order_type=word(order["o"]),
        execution_type=execution,
        order_status=status,
        report=report,
        quantity=number(order["q"]),
        price=number_or_zero(order.get("p")),
        average_price=number_or_zero(order.get("ap")),
        last_quantity=number_or_zero(order.get("l")),
        last_price=number_or_zero(order.get("L")),
        cumulative_quantity=number_or_zero(order.get("z")),
        commission=number_or_zero(order.get("n")),
        commission_asset=Asset(name_of(asset)) if asset else None,
        trade_id=whole(order.get("t", 0)),
        realised_pnl=number_or_zero(order.get("rp")),
        reduce_only=order.get("R") is True,
        maker=order.get("m") is True,
        expiry_reason=text_of(order.get("er")) or "0",
        trigger_price=number_or_zero(order.get("sp")),
    )


def _trade_lite(row: Frame) -> Event:
    """`{"e":"TRADE_LITE","E","T","s","q","p","m","c","S","L","l","t","i"}`: p is 0 on market orders, use L and l."""
    return TradeLite(
        event_time_ms=whole(row["E"]),
        transaction_time_ms=whole(row["T"]),
        symbol=Symbol(name_of(row["s"])),
        client_order_id=ClientOrderId(word(row["c"])),
        side=side_of(row["S"]),
        last_quantity=number(row["l"]),
        last_price=number(row["L"]),
        trade_id=whole(row["t"]),
        order_id=whole(row["i"]),
    )


def _margin_call(row: Frame) -> Event:
    """`{"e":"MARGIN_CALL","E","cw"?,"p":[{"s","ps","pa","mt","iw","mp","up","mm"}]}`: cw may be missing, no T."""
    return MarginCall(
        event_time_ms=whole(row["E"]),
        cross_wallet_balance=number(row["cw"]) if row.get("cw") not in (None, "") else None,
        positions=tuple(
            MarginCallRow(
                symbol=Symbol(name_of(item["s"])),
                position_side=position_side_of(item.get("ps")),
                quantity=number(item["pa"]),
                mark_price=number_or_zero(item.get("mp")),
                maintenance_margin=number_or_zero(item.get("mm")),
            )
            for item in row.get("p") or ()
        ),
    )


def _account_config(row: Frame) -> Event:
    """`{"e":"ACCOUNT_CONFIG_UPDATE","E","T","ac":{"s","l"}}` or `"ai":{"j":true}`"""
    symbol = row.get("ac")
    account = row.get("ai")
    if symbol is None and account is None:
        raise ParseError("ACCOUNT_CONFIG_UPDATE with neither ac nor ai")
    return AccountConfigUpdate(
        event_time_ms=whole(row["E"]),
        symbol=Symbol(name_of(symbol["s"])) if symbol is not None else None,
        leverage=leverage_of(symbol["l"]) if symbol is not None else None,
        multi_assets=flag(account["j"]) if account is not None else None,
    )


def _algo_update(row: Frame) -> Event:
    """`{"e":"ALGO_UPDATE","T","E","o":{"caid","aid","s","S","q","X","ai":"" until triggered,"tp","rm"?,…}}`"""
    order = row["o"]
    resulting = order.get("ai") or None
    return AlgoUpdate(
        event_time_ms=whole(row["E"]),
        symbol=Symbol(name_of(order["s"])),
        client_algo_id=word(order["caid"]),
        algo_id=whole(order["aid"]),
        status=word(order["X"]),
        side=side_of(order["S"]),
        trigger_price=number_or_zero(order.get("tp")),
        quantity=number_or_zero(order.get("q")),
        order_id=whole(resulting) if resulting is not None else None,
        reject_reason=text_of(order.get("rm")),
    )


def _listen_key_expired(row: Frame) -> Event:
    """`{"e":"listenKeyExpired","E":…,"listenKey":"lk1"}`: the shell has replaced the key by its handle."""
    return ListenKeyExpired(event_time_ms=whole(row["E"]), handle=word(row.get("listenKey", "")))


def _other_user(row: Frame) -> Event:
    return OtherUserEvent(word(row["e"]), whole(row["E"]))


MARKET: dict[str, Decoder] = {
    "markPriceUpdate": _mark_price,
    "contractInfo": _contract_info,
    **{
        name: _other_market
        for name in (
            *("bookTicker", "forceOrder", "aggTrade", "kline", "continuous_kline", "24hrMiniTicker", "24hrTicker"),
            *("depthUpdate", "compositeIndex", "assetIndexUpdate", "EquityUpdate", "CommodityUpdate", "FXUpdate"),
            *("KR_EquityUpdate", "HK_EquityUpdate", "CN_EquityUpdate"),
        )
    },
}

PRIVATE: dict[str, Decoder] = {
    "ACCOUNT_UPDATE": _account_update,
    "ORDER_TRADE_UPDATE": _order_trade_update,
    "TRADE_LITE": _trade_lite,
    "MARGIN_CALL": _margin_call,
    "ACCOUNT_CONFIG_UPDATE": _account_config,
    "ALGO_UPDATE": _algo_update,
    "listenKeyExpired": _listen_key_expired,
    **{name: _other_user for name in ("STRATEGY_UPDATE", "GRID_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT")},
}
