"""Bugs planted in fills, fees and funding: the books of money."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamhedge.domain.events import AccountUpdate, ExecutionReport, Owner
from streamhedge.domain.order import Report
from streamhedge.reactor import meter, reactor
from streamhedge.reactor.state import Core
from tests.simulation.planting import Planting, plant


@plant("a fill event seen twice counts twice", "11", kinds=("frames-again", "U6"))
def trade_ids_are_not_checked(bug: Planting) -> None:
    bug.instead(Core, "knows_trade", lambda honest: lambda *said: (bug.ran(), False)[1])


@plant("the quantity of the last fill is taken for the total", "11", kinds=("thin", "order-answer-lost", "O15", "O5"))
def the_last_fill_is_taken_for_the_total(bug: Planting) -> None:
    def change(event: ExecutionReport) -> ExecutionReport:
        return replace(event, cumulative_quantity=event.last_quantity) if event.last_quantity else event

    bug.given(reactor, "on_execution_report", change)


@plant(
    "a partial fill is taken for the end of its order",
    "3",
    "UR",
    kinds=("thin", "order-answer-slow", "order-answer-lost"),
)
def a_partial_fill_ends_its_order(bug: Planting) -> None:
    bug.given(
        reactor,
        "on_execution_report",
        lambda event: replace(event, report=Report.ENDED) if event.report is Report.FILL else event,
    )


@plant("an order that expired in part counts as filled whole", "11", "20", kinds=("O7",))
def the_rest_of_a_partial_fill_is_forgotten(bug: Planting) -> None:
    def change(event: ExecutionReport) -> ExecutionReport:
        if event.report is Report.ENDED and event.owner is Owner.OURS:
            return replace(event, cumulative_quantity=event.quantity)
        return event

    bug.given(reactor, "on_execution_report", change)


@plant("the realised PnL of a fill is booked with its sign turned", "11", kinds=("external",))
def realised_pnl_has_the_wrong_sign(bug: Planting) -> None:
    bug.given(reactor, "on_execution_report", lambda event: replace(event, realised_pnl=-event.realised_pnl))


@plant("commissions are booked twice", "11")
def commissions_count_twice(bug: Planting) -> None:
    bug.given(reactor, "on_execution_report", lambda event: replace(event, commission=2 * event.commission))


@plant("funding is booked with its sign turned", "11", kinds=("external",))
def funding_has_the_wrong_sign(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def count(core: Core, event: AccountUpdate) -> None:
            if event.reason == "FUNDING_FEE":
                bug.ran()
                event = replace(event, balances=tuple(replace(row, change=-row.change) for row in event.balances))
            honest(core, event)

        return count

    bug.instead(meter, "count_funding", build)
