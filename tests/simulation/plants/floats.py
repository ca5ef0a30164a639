"""Bugs planted in what the float is counted as."""

from __future__ import annotations

from typing import Any

from streamhedge.domain.events import FloatTradeRecorded
from streamhedge.reactor import reactor
from streamhedge.reactor.state import Core
from streamhedge.runtime import inputs
from tests.simulation.planting import Planting, plant


@plant("a float trade counts twice", "F1", "9")
def a_float_trade_counts_twice(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def twice(core: Core, event: FloatTradeRecorded) -> None:
            bug.ran()
            honest(core, event)
            honest(core, event)

        return twice

    bug.at(reactor.HANDLERS, FloatTradeRecorded, build)


@plant("a sale of the float is lost", "F1", "9")
def a_sale_is_lost(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def lose(core: Core, event: FloatTradeRecorded) -> None:
            if event.trade.quantity < 0:
                bug.ran()
            else:
                honest(core, event)

        return lose

    bug.at(reactor.HANDLERS, FloatTradeRecorded, build)


@plant("a repeated submission of a float trade is booked and hedged again", "F1", "9")
def a_repeated_float_trade_is_hedged_again(bug: Planting) -> None:
    told: list[Any] = []

    def build(honest: Any) -> Any:
        def trade(payload: bytes, calls: Any, now_ns: int) -> list[Any]:
            events = [*told, *honest(payload, calls, now_ns)]
            if told:
                bug.ran()
            told[:] = events[-1:]
            return events

        return trade

    bug.at(inputs.SOURCES, "trade", build)
