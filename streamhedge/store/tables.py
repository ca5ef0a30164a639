"""The books as rows for people and spreadsheets: one header line, then text; times in UTC, ISO 8601 with milliseconds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from streamhedge.domain.events import FloatTrade
from streamhedge.domain.order import Order
from streamhedge.domain.values import NS_PER_MS, utc_text

Table = list[list[str]]
_NUMBER = re.compile(r"[+-]?[0-9.]+(E[+-]?[0-9]+)?")

FLOAT_TRADE = ("time", "trade_id", "asset", "kind", "quantity", "usd", "price", "reason", "voids")
ORDER = (
    *("decided", "client_order_id", "order_id", "symbol", "side", "type", "time_in_force", "quantity", "price"),
    *("reduce_only", "purpose", "status", "filled", "average_price", "commission", "commission_asset", "realised_pnl"),
    *("target", "position_before", "decision_mark", "sent", "ended", "error_code", "error_message", "reason"),
)
FILL = ("client_order_id", "side", "quantity", "price", "commission", "commission_asset", "realised_pnl")
ATTRIBUTION = ("day", "run", "line", "amount")
FUNDING = ("symbol", "asset", "amount")


iso_utc = utc_text
DAY_MS = 86_400_000


def tables_of(
    float_trades: Iterable[FloatTrade],
    orders: Iterable[Order],
    fills: Iterable[tuple[str, dict[str, Any]]],
    funding: Iterable[tuple[str, dict[str, Any]]],
    attribution: Iterable[tuple[str, dict[str, Any]]],
) -> dict[str, Table]:
    """Return the tables by name, each with its header line first."""
    return {
        "float_trades": [list(FLOAT_TRADE), *(_trade(trade) for trade in float_trades)],
        "orders": [list(ORDER), *(_order(order) for order in orders)],
        "fills": [["time", "fill", *FILL], *(_row(key, fields, FILL) for key, fields in fills)],
        "funding": [["time", "payment", *FUNDING], *(_row(key, fields, FUNDING) for key, fields in funding)],
        "attribution": [list(ATTRIBUTION), *(line for _, fields in attribution for line in _lines(fields))],
    }


def _lines(fields: dict[str, Any]) -> Table:
    """Return one row per line of a day and run; days as ISO 8601, quote units, + is a gain."""
    day = iso_utc(fields["day"] * DAY_MS)[:10]
    return [[day, str(fields["epoch"]), name, _text(amount)] for name, amount in sorted(fields["lines"].items())]


def _trade(trade: FloatTrade) -> list[str]:
    times = {"time": iso_utc(trade.time_ms), "kind": trade.kind.value}
    return [times[name] if name in times else _text(getattr(trade, name)) for name in FLOAT_TRADE]


def _order(order: Order) -> list[str]:
    times = {"decided": order.decided_ns, "sent": order.sent_ns, "ended": order.ended_ns}
    found = []
    for name in ORDER:
        if name in times:
            at_ns = times[name]
            found.append("" if at_ns is None else iso_utc(at_ns // NS_PER_MS))
        else:
            value = getattr(order, name)
            found.append(_text(getattr(value, "value", value)))
    return found


def _row(key: str, fields: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [iso_utc(fields["time_ms"]), key, *(_text(fields.get(name)) for name in names)]


def _text(value: object) -> str:
    """Return a cell; words that a spreadsheet would run as a formula are made words."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = str(value)
    if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
