"""The order an operator's `flatten` wants now: reduce-only MARKET slices until the position is gone (PRODUCT §6)."""

from __future__ import annotations

from streamhedge.domain.order import OrderType, Purpose, Side
from streamhedge.domain.values import ZERO
from streamhedge.rules.hedge import slice_quantity
from streamhedge.rules.view import HedgeView, IntentDraft


def flatten_draft(view: HedgeView) -> IntentDraft | None:
    """Return the next slice of a flatten, None while one is under way, nothing is left, or a pause runs.

    Args:
        view: The symbol at this moment; trading may be HALTED and the symbol BLOCKED.
    """
    if view.position == 0 or view.open_orders or view.now_ns < view.reduce_after_ns or not view.position_trusted:
        return None
    return IntentDraft(
        symbol=view.params.symbol,
        side=Side.BUY if view.position < 0 else Side.SELL,
        quantity=slice_quantity(view, abs(view.position), market=True),
        type=OrderType.MARKET,
        price=None,
        time_in_force=None,
        reduce_only=True,
        purpose=Purpose.FLATTEN,
        target=ZERO,
        reason=f"flatten: position {view.position} → 0",
    )
