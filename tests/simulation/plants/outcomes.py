"""Bugs planted in what the answer to an order is taken for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from streamhedge.domain.events import OrderOutcome, OutcomeKind
from streamhedge.domain.order import TRANSITIONS, OrderStatus, Report
from streamhedge.reactor import orders
from streamhedge.reactor.state import Core
from streamhedge.rules import hedge
from streamhedge.runtime import inputs
from tests.simulation.planting import Planting, plant


def _outcomes(bug: Planting, kinds: Callable[[OrderOutcome, dict[str, Any]], OutcomeKind | None]) -> None:
    """Give some answers another meaning."""

    def build(honest: Any) -> Any:
        def classify(**said: Any) -> OrderOutcome:
            found: OrderOutcome = honest(**said)
            kind = kinds(found, said)
            if kind is None or kind is found.kind:
                return found
            bug.ran()
            report = Report.ACCEPTED if kind is OutcomeKind.ACCEPTED else Report.REFUSED
            return replace(found, kind=kind, report=report)

        return classify

    bug.instead(inputs, "classify_order", build)


@plant("no answer in time counts as a refusal", "UR", kinds=("order-lost", "order-answer-lost"))
def a_timeout_is_a_refusal(bug: Planting) -> None:
    _outcomes(bug, lambda found, said: OutcomeKind.REFUSED if said["status"] is None and said["sent"] else None)


@plant("HTTP 503 'Unknown error' counts as a refusal", "UR", "3", kinds=("O1",))
def an_unknown_error_is_a_refusal(bug: Planting) -> None:
    _outcomes(bug, lambda found, said: OutcomeKind.REFUSED if said["status"] == 503 else None)


@plant("an answer nobody can read counts as a refusal", "UR", kinds=("O5",))
def an_unreadable_answer_is_a_refusal(bug: Planting) -> None:
    _outcomes(bug, lambda found, said: OutcomeKind.REFUSED if said["status"] == 502 else None)


@plant("a refusal is taken for an acceptance", "20", kinds=("O3", "O14"))
def a_refusal_is_an_acceptance(bug: Planting) -> None:
    _outcomes(bug, lambda found, said: OutcomeKind.ACCEPTED if found.kind is OutcomeKind.REFUSED else None)


@plant("an order that ended is in doubt again when its answer fails", "10", kinds=("order-answer-lost", "O5"))
def a_late_doubt_opens_what_has_ended(bug: Planting) -> None:
    bug.at(TRANSITIONS, (OrderStatus.FILLED, Report.DOUBT), lambda honest: OrderStatus.IN_DOUBT)

    def build(honest: Any) -> Any:
        def step(status: OrderStatus, report: Report) -> OrderStatus:
            if (status, report) == (OrderStatus.FILLED, Report.DOUBT):
                bug.ran()
            return honest(status, report)  # type: ignore[no-any-return]

        return step

    bug.instead(orders, "next_status", build)


@plant("a refused order leads to no new decision", "20", kinds=("O3", "order-refused"))
def a_refusal_is_the_end(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def after(core: Core, order: Any, event: Any) -> None:
            bug.ran()
            honest(core, order, event)
            core.memory_of(order.symbol).retry_after_ns = core.now_ns + 10**18

        return after

    bug.instead(orders, "_after_refusal", build)


@plant("a gap goes in crumbs, and no rate holds them", "23", kinds=("external",))
def the_rate_limits_are_ignored(bug: Planting) -> None:
    bug.without_check("O20 intents", "R4 rate")

    def build(honest: Any) -> Any:
        def crumb(view: Any, size: Decimal, *, market: bool) -> Decimal:
            bug.ran()
            return min(Decimal("0.008"), honest(view, size, market=market))

        return crumb

    bug.instead(hedge, "slice_quantity", build)
