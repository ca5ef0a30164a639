"""streamhedge keeps a bitcoin float delta-neutral with a perpetual-futures hedge. Importing it starts nothing.

Everything in ``__all__`` is loaded when it is first used: reading a price formula costs no event loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamhedge.domain.book import AccountView, FundingView, PositionView
    from streamhedge.domain.events import (
        AccountUpdate,
        ExecutionReport,
        FloatTrade,
        MarkPriceUpdate,
        Snapshot,
        TradeLite,
    )
    from streamhedge.domain.funding import funding_payment
    from streamhedge.domain.instrument import MarginBracket
    from streamhedge.domain.margin import liquidation_price, maintenance_margin
    from streamhedge.errors import (
        ApiError,
        AuthenticationError,
        CommandError,
        ConfigError,
        FilterViolation,
        InsufficientMargin,
        NetworkError,
        OutcomeUnknown,
        ParseError,
        RateLimited,
        ReplayDiverged,
        StoreError,
        StreamhedgeError,
        VenueError,
    )
    from streamhedge.live.attach import AttachedBook, attach
    from streamhedge.live.book_view import BookChange, BookView, FrozenBook, Lagged
    from streamhedge.live.hedger import Hedger
    from streamhedge.live.open_book import open_book
    from streamhedge.live.recordings import replay
    from streamhedge.live.results import HedgeResult, TradeResult
    from streamhedge.live.trades import Buy, Deposit, Sell, SetFloat, Withdraw

__version__ = "0.1.0"

_WHERE = {
    "streamhedge.domain.book": ("AccountView", "FundingView", "PositionView"),
    "streamhedge.domain.events": (
        *("AccountUpdate", "ExecutionReport", "FloatTrade", "MarkPriceUpdate", "Snapshot", "TradeLite"),
    ),
    "streamhedge.domain.funding": ("funding_payment",),
    "streamhedge.domain.instrument": ("MarginBracket",),
    "streamhedge.domain.margin": ("liquidation_price", "maintenance_margin"),
    "streamhedge.errors": (
        *("ApiError", "AuthenticationError", "CommandError", "ConfigError", "FilterViolation", "InsufficientMargin"),
        *("NetworkError", "OutcomeUnknown", "ParseError", "RateLimited", "ReplayDiverged", "StoreError"),
        *("StreamhedgeError", "VenueError"),
    ),
    "streamhedge.live.attach": ("AttachedBook", "attach"),
    "streamhedge.live.book_view": ("BookChange", "BookView", "FrozenBook", "Lagged"),
    "streamhedge.live.hedger": ("Hedger",),
    "streamhedge.live.open_book": ("open_book",),
    "streamhedge.live.recordings": ("replay",),
    "streamhedge.live.results": ("HedgeResult", "TradeResult"),
    "streamhedge.live.trades": ("Buy", "Deposit", "Sell", "SetFloat", "Withdraw"),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "AccountUpdate",
    "AccountView",
    "ApiError",
    "AttachedBook",
    "AuthenticationError",
    "BookChange",
    "BookView",
    "Buy",
    "CommandError",
    "ConfigError",
    "Deposit",
    "ExecutionReport",
    "FilterViolation",
    "FloatTrade",
    "FrozenBook",
    "FundingView",
    "HedgeResult",
    "Hedger",
    "InsufficientMargin",
    "Lagged",
    "MarginBracket",
    "MarkPriceUpdate",
    "NetworkError",
    "OutcomeUnknown",
    "ParseError",
    "PositionView",
    "RateLimited",
    "ReplayDiverged",
    "Sell",
    "SetFloat",
    "Snapshot",
    "StoreError",
    "StreamhedgeError",
    "TradeLite",
    "TradeResult",
    "VenueError",
    "Withdraw",
    "attach",
    "funding_payment",
    "liquidation_price",
    "maintenance_margin",
    "open_book",
    "replay",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'streamhedge' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    """List the public names although they are loaded late."""
    return sorted([*globals(), *__all__])
