"""Bugs planted in the ladder before liquidation."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from streamhedge.reactor import decide
from streamhedge.rules import liquidation
from streamhedge.rules.view import LadderStep
from tests.simulation.planting import Planting, plant


@plant("the ladder never cuts", "L", kinds=("crash", "transfer"))
def the_ladder_is_disabled(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def read(view: Any) -> Any:
            found = honest(view)
            if found.draft is None:
                return found
            bug.ran()
            return replace(found, draft=None)

        return read

    bug.instead(decide, "read_ladder", build)


@plant("the ladder cuts again while its cut is under way", "3", kinds=("crash", "transfer", "order-answer-slow"))
def the_ladder_fires_twice(bug: Planting) -> None:
    bug.without_check("R5 single")

    def build(honest: Any) -> Any:
        def may_cut(view: Any, *, own_fired: bool) -> str:
            if view.open_orders:
                bug.ran()
            idle = replace(view, open_orders=0, doubt_orders=0, reduce_after_ns=0)
            return honest(idle, own_fired=own_fired)  # type: ignore[no-any-return]

        return may_cut

    bug.instead(liquidation, "_may_cut", build)


@plant("the ladder counts the PnL of the short with its sign turned", "L", kinds=("crash",))
def unrealised_pnl_has_the_wrong_sign(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def free(view: Any) -> Decimal:
            pnl = view.position * (view.mark_price - view.entry_price)
            if pnl != 0:
                bug.ran()
            return honest(view) - 2 * pnl  # type: ignore[no-any-return]

        return free

    bug.instead(liquidation, "free_margin", build)


@plant("a warning is cut like a reduction", "L", "20", kinds=("crash",))
def a_warning_is_cut(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def step(view: Any, reading: Decimal, held: Decimal) -> LadderStep:
            found: LadderStep = honest(view, reading, held)
            if found is LadderStep.CLEAR and reading < Decimal("0.8"):
                bug.ran()
                return LadderStep.CLOSE
            return found

        return step

    bug.instead(liquidation, "_step", build)
    bug.instead(liquidation, "_keep", lambda honest: lambda view, step, *, free, held: held / 2)
