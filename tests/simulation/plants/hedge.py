"""Bugs planted in the hedge rule: target, band, size, price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from streamhedge.domain.order import Side
from streamhedge.domain.values import ZERO
from streamhedge.reactor import decide
from streamhedge.rules import hedge
from tests.simulation.planting import Planting, plant


def _figures(bug: Planting, change: Callable[[Any, Any], Any]) -> None:
    """Change what a decision is computed from."""

    def build(honest: Any) -> Any:
        def figures(view: Any) -> Any:
            found = honest(view)
            changed = change(view, found)
            if changed != found:
                bug.ran()
            return changed

        return figures

    bug.instead(hedge, "_figures", build)


@plant("the target has the wrong sign", "8", "20")
def the_target_has_the_wrong_sign(bug: Planting) -> None:
    _figures(bug, lambda view, found: replace(found, target=-found.target))


@plant("the gap has the wrong sign", "8", "9", "20")
def the_gap_has_the_wrong_sign(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def following(view: Any, figures: Any, gap: Decimal) -> Any:
            bug.ran()
            return honest(view, figures, -gap)

        return following

    bug.instead(hedge, "_next_order", build)


@plant("more is hedged than the float holds", "9")
def more_is_hedged_than_the_float(bug: Planting) -> None:
    bug.without_check("R3 position")
    bug.instead(hedge, "policy_short", lambda honest: lambda **said: (bug.ran(), honest(**said) * Decimal("1.05"))[1])


@plant("the wanted short is rounded up to the step", "9")
def the_short_is_rounded_up(bug: Planting) -> None:
    bug.without_check("R3 position")

    def change(view: Any, found: Any) -> Any:
        step = view.instrument.step_size
        up = found.capped + step if found.policy > found.capped else found.capped
        if found.want != found.capped:
            return found
        return replace(found, capped=up, want=up, target=-up)

    _figures(bug, change)


@plant("the band is ignored: every difference is traded", "8", kinds=("crumb",))
def the_band_is_ignored(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def following(view: Any, figures: Any, gap: Decimal) -> Any:
            if gap != 0 and abs(gap) * view.mark_price < view.params.band:
                bug.ran()
            return honest(replace(view, params=replace(view.params, band=ZERO)), figures, gap)

        return following

    bug.instead(hedge, "_next_order", build)


@plant("what is below a step is sold as a whole step, then bought back", "8", "9", "23", kinds=("crumb",))
def dust_is_traded_to_and_fro(bug: Planting) -> None:
    bug.without_check("R3 position", "R10 direction", "R2 collar")

    def change(view: Any, found: Any) -> Any:
        dust = found.policy - found.capped
        step = view.instrument.step_size
        if dust <= 0 or view.open_orders or found.want != found.capped:
            return found
        short = -view.position
        to = found.capped + step if short <= found.capped else found.capped
        return replace(found, capped=to, want=to, target=-to)

    _figures(bug, change)

    def build(honest: Any) -> Any:
        def following(view: Any, figures: Any, gap: Decimal) -> Any:
            return honest(replace(view, params=replace(view.params, band=ZERO)), figures, gap)

        return following

    bug.instead(hedge, "_next_order", build)


@plant("a partial sale closes the whole hedge", "8", kinds=("withdraw",))
def a_partial_sale_closes_everything(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def reduce(view: Any, figures: Any, size: Decimal, side: Side) -> Any:
            if size != abs(view.position):
                bug.ran()
            return honest(view, figures, abs(view.position), side)

        return reduce

    bug.instead(hedge, "_reduce", build)


@plant("reductions are twice as large as the gap", "8", "20", kinds=("external",))
def reductions_go_past_the_target(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def reduce(view: Any, figures: Any, size: Decimal, side: Side) -> Any:
            draft = honest(view, figures, size, side)
            quantity = min(draft.quantity * 2, abs(view.position), view.params.max_order_quantity)
            if quantity != draft.quantity:
                bug.ran()
            return replace(draft, quantity=quantity)

        return reduce

    bug.instead(hedge, "_reduce", build)


@plant("a large gap goes in one order above the largest", "6")
def an_order_is_larger_than_the_largest(bug: Planting) -> None:
    bug.without_check("R1 size", "filters")

    def build(honest: Any) -> Any:
        def whole(view: Any, size: Decimal, *, market: bool) -> Decimal:
            found: Decimal = honest(view, size, market=market)
            if found < size - view.instrument.step_size:
                bug.ran()
                return size.quantize(view.instrument.step_size, rounding="ROUND_DOWN")
            return found

        return whole

    bug.instead(hedge, "slice_quantity", build)


@plant("quantities are not rounded to the step", "6")
def quantities_are_not_rounded(bug: Planting) -> None:
    bug.without_check("filters")
    bug.given(decide, "register", lambda draft: replace(draft, quantity=draft.quantity - Decimal("0.0003")))


@plant("limit prices leave the collar", "6")
def the_collar_is_ignored(bug: Planting) -> None:
    bug.without_check("R2 collar")

    def build(honest: Any) -> Any:
        def price(view: Any, side: Side) -> Decimal:
            bug.ran()
            return honest(replace(view, limits=replace(view.limits, price_collar=Decimal("0.04"))), side)  # type: ignore[no-any-return]

        return price

    bug.instead(hedge, "collar_price", build)
