"""Bugs planted in how orders are decided, written down and sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamhedge.domain.commands import PlaceOrder
from streamhedge.domain.events import OrderOutcome, OutcomeKind
from streamhedge.domain.order import Purpose, Side
from streamhedge.errors import StoreError
from streamhedge.reactor import decide, orders
from streamhedge.runtime.pump import Pump
from streamhedge.wire import requests
from tests.simulation.planting import Planting, plant


@plant("every order is handed to the wire twice", "4", kinds=("external",))
def an_order_is_sent_twice(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def place(self: Pump, command: PlaceOrder) -> None:
            honest(self, command)
            if self._hands is not None:  # a replay has none
                bug.ran()
                self._hands.perform(command, 0)

        return place

    bug.instead(Pump, "_place", build)


@plant("the POST of an order without a certain answer is sent again", "4", kinds=("O1", "O15", "order-answer-lost"))
def a_post_is_retried(bug: Planting) -> None:
    sent: dict[str, PlaceOrder] = {}

    def build_place(honest: Any) -> Any:
        def place(self: Pump, command: PlaceOrder) -> None:
            sent[command.client_order_id] = command
            honest(self, command)

        return place

    def build_decode(honest: Any) -> Any:
        def decode(self: Pump, source: str, payload: bytes) -> Any:
            found = honest(self, source, payload)
            for event in found[0]:
                doubtful = isinstance(event, OrderOutcome) and event.kind is OutcomeKind.IN_DOUBT
                command = sent.pop(event.client_order_id, None) if doubtful else None
                if command is not None and self._hands is not None:
                    bug.ran()
                    self._hands.perform(replace(command, deadline_ns=self.last_ns + orders.DEADLINE_NS), 0)
            return found

        return decode

    bug.instead(Pump, "_place", build_place)
    bug.instead(Pump, "_decode", build_decode)


@plant(
    "the row of an intent is written after the order was sent", "4", kinds=("ledger-fails", "commit-fails", "external")
)
def the_row_is_written_after_the_send(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def place(self: Pump, command: PlaceOrder) -> None:
            if self._ledger is None or self._hands is None:  # a replay
                return
            bug.ran()
            self._hands.perform(command, 0)
            try:
                self._ledger.commit_intent(self.reactor.state.orders[command.client_order_id])
            except StoreError as error:
                self._say("store", {"what": "the ledger", "message": str(error)})

        return place

    bug.instead(Pump, "_place", build)


@plant("an order may leave long after it was decided", "14", kinds=("stall", "stop"))
def the_deadline_is_ignored(bug: Planting) -> None:
    bug.constant(orders, "DEADLINE_NS", 10**12)
    bug.instead(orders, "PlaceOrder", lambda honest: lambda **said: (bug.ran(), honest(**said))[1])


@plant("the wire leaves the reduce-only flag out", "4", kinds=("external",))
def the_wire_loses_the_reduce_only_flag(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def order(command: PlaceOrder, *, recv_window_ms: int) -> Any:
            if command.reduce_only:
                bug.ran()
            return honest(replace(command, reduce_only=False), recv_window_ms=recv_window_ms)

        return order

    bug.instead(requests, "place_order", build)


@plant("the ledger's row of a reducing order lacks the flag", "4", "7", kinds=("external",))
def the_ledger_loses_the_reduce_only_flag(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def place(self: Pump, command: PlaceOrder) -> None:
            order = self.reactor.state.orders[command.client_order_id]
            if order.reduce_only:
                bug.ran()
                self.reactor.state.orders[command.client_order_id] = replace(order, reduce_only=False)
            honest(self, command)

        return place

    bug.instead(Pump, "_place", build)


@plant("a reducing hedge is decided without reduce-only", "7", kinds=("external",))
def the_decision_loses_the_reduce_only_flag(bug: Planting) -> None:
    bug.given(
        decide, "register", lambda draft: replace(draft, reduce_only=False) if draft.purpose is Purpose.HEDGE else draft
    )


@plant("flatten closes with orders that may open", "6", "7", kinds=("flatten",))
def flatten_is_not_reduce_only(bug: Planting) -> None:
    bug.given(
        decide,
        "register",
        lambda draft: replace(draft, reduce_only=False) if draft.purpose is Purpose.FLATTEN else draft,
    )


@plant("the side of a raise is turned round", "7")
def a_hedge_buys(bug: Planting) -> None:
    bug.given(decide, "register", lambda draft: draft if draft.reduce_only else replace(draft, side=Side.BUY))
