"""What a rule sees, built in one place: ten bitcoin hedged by a cross short, everything trusted, unless said otherwise."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from streamhedge.domain.values import ZERO, divide, exact
from streamhedge.rules.view import BookStatus, HedgeView, SymbolState, TradingState
from tests.support import builders as make

NOW_NS = make.T0_MS * 1_000_000


def view(**said: Any) -> HedgeView:
    """Return a view; the available balance follows from wallet, position and leverage unless it is said too."""
    fields: dict[str, Any] = {
        "params": make.hedge_params(),
        "ladder": make.ladder_params(),
        "limits": make.limits(),
        "instrument": make.instrument(),
        "float_quantity": Decimal(10),
        "position": Decimal(-10),
        "entry_price": Decimal("67121.4"),
        "pending_low": ZERO,
        "pending_high": ZERO,
        "open_orders": 0,
        "doubt_orders": 0,
        "mark_price": Decimal("67121.4"),
        "mark_age_ms": 0,
        "mark_suspicious": False,
        "isolated": False,
        "wallet": Decimal(400_000),
        "leverage": 3,
        "others": (),
        "trading_state": TradingState.ACTIVE,
        "symbol_state": SymbolState.OPEN,
        "book_status": BookStatus.LIVE,
        "position_trusted": True,
        "paced": False,
        "last_paced_ns": 0,
        "zero_fills": 0,
        "naked_since_ns": None,
        "retry_after_ns": 0,
        "raise_after_ns": 0,
        "warned": False,
        "now_ns": NOW_NS,
        **said,
    }
    mark = fields["mark_price"]
    fields.setdefault("index_price", mark)
    fields.setdefault("doubt_raises", fields["doubt_orders"] > 0 and fields["pending_low"] < 0)
    if "available" not in fields:
        with exact():
            free = fields["wallet"] + fields["position"] * (mark - fields["entry_price"])
            free -= divide(abs(fields["position"]) * mark, Decimal(fields["leverage"]))
            fields["available"] = max(ZERO, free)
    return HedgeView(**fields)
