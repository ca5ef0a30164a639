"""Bugs planted in orders in doubt, and in what ends the doubt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamhedge.domain.order import Report
from streamhedge.domain.values import ZERO
from streamhedge.reactor import decide, orders, reactor, reconcile
from streamhedge.reactor.state import Core
from streamhedge.rules.view import HedgeView
from tests.simulation.planting import Planting, plant


@plant("one 'does not exist' ends the doubt", "UR", "3", kinds=("order-lost", "O1", "O6"))
def one_absence_is_enough(bug: Planting) -> None:
    bug.constant(orders, "ABSENCES_NEEDED", 1)
    bug.instead(orders, "close_absent", lambda honest: lambda core, **said: (bug.ran(), honest(core, **said))[1])
    bug.instead(reconcile, "close_absent", lambda honest: orders.close_absent)


@plant("absence counts from the first answer on, before Tq", "UR", "3", kinds=("order-lost", "O1", "O6"))
def absence_counts_before_the_quarantine(bug: Planting) -> None:
    bug.instead(orders, "quarantine_ns", lambda honest: lambda core: (bug.ran(), 0)[1])


@plant("two absences end the doubt without a snapshot", "UR", "3", kinds=("order-lost", "O1", "O6"))
def absence_needs_no_snapshot(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def answer(core: Core, event: Any) -> None:
            honest(core, event)
            order = core.state.orders.get(event.client_order_id)
            if order is not None and order.in_doubt and order.absences >= orders.ABSENCES_NEEDED:
                bug.ran()
                orders._move(core, order, Report.ABSENT)

        return answer

    bug.at(reactor.HANDLERS, reactor.OrderStatusAnswer, build)


@plant("orders in doubt do not count as open", "3", kinds=("order-lost", "order-answer-lost", "O1", "external"))
def orders_in_doubt_do_not_count(bug: Planting) -> None:
    bug.found(decide, "view_of", lambda view: _with_nothing_open(view) if view.doubt_orders else view)


@plant("orders under way do not count", "3", "9", kinds=("external",))
def orders_under_way_do_not_count(bug: Planting) -> None:
    bug.found(decide, "view_of", lambda view: _with_nothing_open(view) if view.open_orders else view)


def _with_nothing_open(view: HedgeView) -> HedgeView:
    return replace(view, open_orders=0, doubt_orders=0, pending_low=ZERO, pending_high=ZERO)
