"""Bugs planted in the product, one at a time: the worlds must catch each within a few seeds, by the right invariant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from streamhedge.domain.book import PositionBook
from streamhedge.domain.commands import PlaceOrder
from streamhedge.domain.events import FloatTradeRecorded, OutcomeKind
from streamhedge.domain.order import Report
from streamhedge.errors import StoreError
from streamhedge.reactor import decide, orders, reactor
from streamhedge.reactor.state import State
from streamhedge.rules import hedge
from streamhedge.rules.view import TradingState
from streamhedge.runtime import inputs
from streamhedge.runtime.pump import Pump
from streamhedge.wire import requests
from streamhedge.wire.session import Session
from streamhedge.world import world
from tests.simulation.worlds import first_violation

SEEDS = range(1, 41)
Plant = Callable[[pytest.MonkeyPatch], None]


def in_doubt_is_refused(patch: pytest.MonkeyPatch) -> None:
    honest = inputs.classify_order

    def classify(**said: Any) -> Any:
        found = honest(**said)
        if found.kind is OutcomeKind.IN_DOUBT:
            return replace(found, kind=OutcomeKind.REFUSED, report=Report.REFUSED)
        return found

    patch.setattr(inputs, "classify_order", classify)


def an_order_is_sent_twice(patch: pytest.MonkeyPatch) -> None:
    honest = Pump._place

    def place(self: Pump, command: PlaceOrder) -> None:
        honest(self, command)
        if self._hands is not None:  # a replay has none
            self._hands.perform(command, 0)

    patch.setattr(Pump, "_place", place)


def sent_although_the_ledger_refused(patch: pytest.MonkeyPatch) -> None:
    def place(self: Pump, command: PlaceOrder) -> None:
        if self._ledger is None or self._hands is None:  # a replay
            return
        self._hands.perform(command, 0)
        try:
            self._ledger.commit_intent(self.reactor.state.orders[command.client_order_id])
        except StoreError as error:
            self._say("store", {"what": "the ledger", "message": str(error)})

    patch.setattr(Pump, "_place", place)


def a_position_is_counted_wrongly(patch: pytest.MonkeyPatch) -> None:
    honest = PositionBook.apply_account_update

    def apply(self: PositionBook, event: Any, now_ns: int) -> Any:
        rows = tuple(replace(row, quantity=row.quantity.quantize(Decimal("0.01"))) for row in event.positions)
        return honest(self, replace(event, positions=rows), now_ns)

    patch.setattr(PositionBook, "apply_account_update", apply)


def snapshots_are_never_adopted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PositionBook, "_adopt_position", lambda self, *said: False)


def trade_ids_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    honest = reactor.on_execution_report

    def report(core: Any, event: Any) -> Any:
        core.state.seen_trades.clear()
        return honest(core, event)

    patch.setattr(reactor, "on_execution_report", report)


def a_halt_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "trading_state", lambda state: TradingState.ACTIVE)


def one_absence_is_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(orders, "ABSENCES_NEEDED", 1)


def absence_counts_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(orders, "quarantine_ns", lambda core: 0)


def a_closed_stream_is_no_reason_to_doubt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "_lose", lambda self, reason, now_ns: None)


def every_run_counts_from_epoch_one(patch: pytest.MonkeyPatch) -> None:
    honest = orders.client_order_id
    patch.setattr(orders, "client_order_id", lambda instance, epoch, number: honest(instance, 1, number))


def open_orders_are_forgotten_at_start(patch: pytest.MonkeyPatch) -> None:
    honest = world.World.__init__

    def build(self: Any, case: Any, recover: Any) -> None:
        def forgetful(*said: Any, **named: Any) -> State:
            state: State = recover(*said, **named)
            state.orders.clear()
            state.open_ids.clear()
            state.uncovered.clear()
            return state

        honest(self, case, forgetful)

    patch.setattr(world.World, "__init__", build)


def a_float_trade_counts_twice(patch: pytest.MonkeyPatch) -> None:
    honest = reactor.HANDLERS[FloatTradeRecorded]

    def twice(core: Any, event: Any) -> None:
        honest(core, event)
        honest(core, event)

    patch.setitem(reactor.HANDLERS, FloatTradeRecorded, twice)


def more_is_hedged_than_the_float(patch: pytest.MonkeyPatch) -> None:
    honest = hedge.policy_short
    patch.setattr(hedge, "policy_short", lambda **said: honest(**said) * Decimal("1.05"))
    patch.setattr("streamhedge.rules.limits._position", lambda draft, view, context: None)
    rows = tuple((n, c if n != "R3 position" else lambda d, v, x: None) for n, c in _checks())
    patch.setattr("streamhedge.rules.limits.CHECKS", rows)


def _checks() -> tuple[tuple[str, Any], ...]:
    from streamhedge.rules.limits import CHECKS

    return CHECKS


def orders_under_way_do_not_count(patch: pytest.MonkeyPatch) -> None:
    honest = decide.view_of

    def blind(core: Any, params: Any) -> Any:
        view = honest(core, params)
        zero = Decimal(0)
        if view is None:
            return None
        return replace(view, open_orders=0, doubt_orders=0, pending_low=zero, pending_high=zero)

    patch.setattr(decide, "view_of", blind)


def reductions_go_past_the_target(patch: pytest.MonkeyPatch) -> None:
    honest = hedge._reduce

    def reduce(view: Any, figures: Any, size: Decimal, side: Any) -> Any:
        draft = honest(view, figures, size, side)
        return replace(draft, quantity=min(draft.quantity * 2, abs(view.position), view.params.max_order_quantity))

    patch.setattr(hedge, "_reduce", reduce)


def reductions_lose_their_flag_on_the_wire(patch: pytest.MonkeyPatch) -> None:
    honest = requests.place_order
    patch.setattr(
        requests,
        "place_order",
        lambda command, *, recv_window_ms: honest(replace(command, reduce_only=False), recv_window_ms=recv_window_ms),
    )


def an_old_mark_is_good_enough(patch: pytest.MonkeyPatch) -> None:
    honest = decide.view_of
    patch.setattr(decide, "view_of", lambda core, params: (v := honest(core, params)) and replace(v, mark_age_ms=0))


def a_second_writer_is_welcome(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reactor, "_second_writer", lambda core, event: None)


def a_frame_it_does_not_know_kills_it(patch: pytest.MonkeyPatch) -> None:
    def refuse(core: Any, event: Any) -> None:
        raise KeyError(event.reason)

    patch.setitem(reactor.HANDLERS, reactor.Quarantined, refuse)


def it_does_not_replay(patch: pytest.MonkeyPatch) -> None:
    honest = reactor.Reactor.react
    counted = [0]

    def react(self: Any, seq: int, now_ns: int, events: Any) -> Any:
        counted[0] += 1  # outside the state: another run of the same inputs counts on
        self.core.state.meter.resyncs = counted[0]
        return honest(self, seq, now_ns, events)

    patch.setattr(reactor.Reactor, "react", react)


def refusals_lead_to_no_new_decision(patch: pytest.MonkeyPatch) -> None:
    honest = orders._after_refusal

    def forever(core: Any, order: Any, event: Any) -> None:
        honest(core, order, event)
        core.memory_of(order.symbol).retry_after_ns = core.now_ns + 10**18

    patch.setattr(orders, "_after_refusal", forever)


PLANTED: list[tuple[Plant, tuple[str, ...]]] = [
    (in_doubt_is_refused, ("UR", "3", "10")),
    (an_order_is_sent_twice, ("4",)),
    (sent_although_the_ledger_refused, ("4",)),
    (a_position_is_counted_wrongly, ("1", "7", "8", "9", "20", "23")),
    (snapshots_are_never_adopted, ("1", "7", "8", "9", "20", "5")),
    (trade_ids_are_not_checked, ("11",)),
    (a_halt_is_ignored, ("5", "17")),
    (one_absence_is_enough, ("UR", "3")),
    (absence_counts_at_once, ("UR", "3")),
    (a_closed_stream_is_no_reason_to_doubt, ("5", "20")),
    (every_run_counts_from_epoch_one, ("4", "16")),
    (open_orders_are_forgotten_at_start, ("4",)),
    (a_float_trade_counts_twice, ("F1", "9")),
    (more_is_hedged_than_the_float, ("9",)),
    (orders_under_way_do_not_count, ("3", "9")),
    (reductions_go_past_the_target, ("8", "20")),
    (reductions_lose_their_flag_on_the_wire, ("4",)),
    (an_old_mark_is_good_enough, ("12",)),
    (a_second_writer_is_welcome, ("17",)),
    (a_frame_it_does_not_know_kills_it, ("16",)),
    (it_does_not_replay, ("18",)),
    (refusals_lead_to_no_new_decision, ("20",)),
]


@pytest.mark.parametrize(("plant", "invariants"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_bug_is_caught(plant: Plant, invariants: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    outcome = first_violation(SEEDS)
    assert outcome is not None, f"{len(SEEDS)} worlds did not notice that {plant.__name__}"
    assert outcome.violation is not None
    assert outcome.violation.invariant in invariants, "\n".join([str(outcome.violation), *outcome.trail])
