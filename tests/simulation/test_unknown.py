"""Orders whose outcome nobody tells, in every way, with every fate: no exposure is doubled and every doubt closes in time.

The full figure is `scripts/soak unknown`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from streamhedge.domain.events import AccountUpdate, ExecutionReport, OutcomeKind, Owner
from streamhedge.domain.order import Report
from streamhedge.domain.values import ZERO
from streamhedge.reactor import orders, reactor
from streamhedge.reactor.state import Core
from streamhedge.runtime import inputs
from tests.simulation import unknowns as worlds
from tests.simulation.unknowns import FATES, WAYS, Found, unknowns

WORLDS, EACH = range(1, 17), 33
PLANT_WORLDS = range(1, 9)
Plant = Callable[[pytest.MonkeyPatch], None]


@functools.cache
def found(seed: int) -> Found:
    return unknowns(seed, EACH)


@pytest.mark.parametrize("seed", WORLDS)
@pytest.mark.fault("O1", "O2", "O6")
def test_no_exposure_is_doubled(seed: int) -> None:
    one = found(seed)
    assert one.wrong == "", "\n".join([str(one), *one.trail])
    assert len(one.unknowns) == EACH


def test_each_way_of_not_knowing_meets_each_fate() -> None:
    every = [unknown for seed in WORLDS for unknown in found(seed).unknowns]
    met = Counter((unknown.way, unknown.fate) for unknown in every)
    assert len(every) >= 500
    assert [(way, fate) for way in WAYS for fate in FATES if not met[way, fate]] == []
    assert any(unknown.hidden_ms > 7_000 for unknown in every)
    assert any(found(seed).ghosts for seed in WORLDS), "some executed after their quarantine"


# ---------------------------------------------------------------- bugs that must show here


def an_answer_that_proves_nothing_is_a_refusal(patch: pytest.MonkeyPatch) -> None:
    honest = inputs.classify_order

    def classify(**said: Any) -> Any:
        answer = honest(**said)
        if answer.kind is OutcomeKind.IN_DOUBT:
            return replace(answer, kind=OutcomeKind.REFUSED, report=Report.REFUSED)
        return answer

    patch.setattr(inputs, "classify_order", classify)


def a_request_is_sent_again(patch: pytest.MonkeyPatch) -> None:
    """What a client library does that retries on a broken connection."""
    honest = worlds.UnknownWire.rest

    def rest(self: Any, method: str, path: str, query: str, key: str, order: bool, done: Any) -> None:
        def again(answer: Any) -> None:
            if order and answer.status is None and "Disconnected" in answer.error:
                honest(self, method, path, query, key, order, done)
            else:
                done(answer)

        honest(self, method, path, query, key, order, again)

    patch.setattr(worlds.UnknownWire, "rest", rest)


def not_found_is_never_executed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(orders, "quarantine_ns", lambda core: 0)
    patch.setattr(orders, "ABSENCES_NEEDED", 1)


def a_doubt_is_never_asked_about(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(orders, "QUERY_EVERY_NS", 10**15)


def a_fill_after_the_quarantine_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What one would do who holds an order for dead because its window has passed."""

    def is_late(core: Core, symbol: str) -> bool:
        own = [order for order in core.state.orders.values() if order.symbol == symbol]
        return bool(own) and core.now_ns - own[-1].decided_ns > orders.quarantine_ns(core)

    def reported(core: Core, event: ExecutionReport) -> None:
        if event.owner is Owner.OURS and is_late(core, event.symbol):
            report = Report.ENDED if event.report is Report.FILLED else event.report
            event = replace(event, report=report, cumulative_quantity=ZERO, last_quantity=ZERO)
        honest_report(core, event)

    def updated(core: Core, event: AccountUpdate) -> None:
        if not any(is_late(core, row.symbol) for row in event.positions):
            honest_update(core, event)

    honest_report, honest_update = reactor.on_execution_report, reactor.HANDLERS[AccountUpdate]
    patch.setattr(reactor, "on_execution_report", reported)
    patch.setitem(reactor.HANDLERS, AccountUpdate, updated)


PLANTED: list[Plant] = [
    an_answer_that_proves_nothing_is_a_refusal,
    a_request_is_sent_again,
    not_found_is_never_executed,
    a_doubt_is_never_asked_about,
]


@pytest.mark.parametrize("plant", PLANTED, ids=[plant.__name__ for plant in PLANTED])
def test_a_planted_bug_shows(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert any(unknowns(seed, EACH).wrong for seed in PLANT_WORLDS), f"no world noticed that {plant.__name__}"


def test_forgetting_a_fill_after_the_quarantine_shows_as_doubled_exposure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what fills after an order was rightly given up, or in that very moment, counts as somebody else's."""
    a_fill_after_the_quarantine_is_forgotten(monkeypatch)
    assert any(unknowns(seed, EACH).kind == "doubled" for seed in PLANT_WORLDS)


def test_the_same_seed_is_the_same_world() -> None:
    assert unknowns(3, 5) == unknowns(3, 5)
