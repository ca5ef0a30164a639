"""Bugs planted in what one run leaves to the next."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from streamhedge.live import recovery
from streamhedge.reactor import orders, reactor
from streamhedge.reactor.state import Core, State
from tests.simulation.planting import Planting, plant


@plant("the counter of order ids begins anew with every LIVE", "4", kinds=("S3",))
def the_id_counter_is_volatile(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def status(core: Core, event: Any) -> None:
            honest(core, event)
            if event.status == "LIVE" and core.state.next_order > 1:
                bug.ran()
                core.state.next_order = 1

        return status

    bug.at(reactor.HANDLERS, reactor.BookStatusChanged, build)


@plant("every run counts from epoch one", "4", kinds=("kill",))
def the_epoch_does_not_advance(bug: Planting) -> None:
    bug.instead(
        orders,
        "client_order_id",
        lambda honest: lambda instance, epoch, number: (bug.ran(), honest(instance, 1, number))[1],
    )


def _recovery(bug: Planting, change: Callable[[State], None]) -> None:
    """Change what a run begins with."""

    def build(honest: Any) -> Any:
        def recover(*said: Any, **named: Any) -> State:
            state: State = honest(*said, **named)
            change(state)
            return state

        return recover

    bug.instead(recovery, "recovered", build)


@plant("a start forgets the orders that were open", "4", kinds=("kill", "order-answer-slow"))
def open_orders_are_forgotten_at_start(bug: Planting) -> None:
    def change(state: State) -> None:
        if state.open_ids:
            bug.ran()
        state.orders.clear()
        state.open_ids.clear()
        state.uncovered.clear()

    _recovery(bug, change)


@plant("after a power loss nothing is waited for", "3", kinds=("power", "order-answer-slow"))
def the_quarantine_is_skipped(bug: Planting) -> None:
    bug.instead(recovery, "_quarantine_until", lambda honest: lambda *said, **named: (bug.ran(), 0)[1])


@plant("the latch of HALTED is not written", "17", kinds=("rival", "kill"))
def a_latch_is_not_written(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def persist(self: Core, table: str, key: str, **fields: object) -> None:
            if (table, key) == ("state", "halted"):
                bug.ran()
                return
            honest(self, table, key, **fields)

        return persist

    bug.instead(Core, "persist", build)


@plant("a start counts the last float trade again", "F1", "9", kinds=("kill",))
def a_start_counts_a_float_trade_again(bug: Planting) -> None:
    def change(state: State) -> None:
        for asset in state.floats:
            bug.ran()
            state.floats[asset] += Decimal("0.001")

    _recovery(bug, change)
