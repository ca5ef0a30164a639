"""streamhedge keeps a bitcoin float delta-neutral with a perpetual-futures hedge. Importing it starts nothing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Hedger": "streamhedge.live.hedger",
    "MarginBracket": "streamhedge.domain.margin",
    "FloatTrade": "streamhedge.domain.events",
    "liquidation_price": "streamhedge.domain.margin",
    "maintenance_margin": "streamhedge.domain.margin",
    "open_book": "streamhedge.live.open_book",
    "replay": "streamhedge.live.recordings",
}
__all__ = ["FloatTrade", "Hedger", "MarginBracket", "liquidation_price", "maintenance_margin", "open_book", "replay"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'streamhedge' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
