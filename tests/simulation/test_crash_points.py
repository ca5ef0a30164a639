"""Every point of `crash.POINTS` under every disk, a few seeds each: no doubled order, nothing lost, in band in time.

The full figure is `scripts/soak crash`; a line it prints can be run again with `--point`, `--seed` and `--mode`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from streamhedge.live import recovery
from streamhedge.reactor import orders
from streamhedge.reactor.state import State
from streamhedge.world.crash import POINTS, Point
from streamhedge.world.disk import VirtualLedger
from streamhedge.world.world import World
from tests.simulation.crashes import MODES, crash

SEEDS = (1, 2)
PLANT_SEEDS = range(1, 6)
Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
@pytest.mark.fault("P1", "F3")
def test_it_comes_back_right_from_a_death(point: Point) -> None:
    found = [crash(point.name, seed, mode) for mode in MODES for seed in SEEDS]
    assert [str(one) for one in found if one.wrong] == [], "\n".join(next(one.trail for one in found if one.wrong))
    assert [str(one) for one in found if not one.hit] == [], "it never died there"


def test_there_are_points_enough_and_each_has_one_name() -> None:
    names = [point.name for point in POINTS]
    assert len(names) == len(set(names)) >= 24
    assert {point.phase for point in POINTS} == {"start", "input", "order", "person", "stop"}


def test_the_same_crash_is_the_same_crash() -> None:
    assert crash("executed", 3, "torn") == crash("executed", 3, "torn")


# ---------------------------------------------------------------- bugs that must show here


def an_intent_is_written_with_its_first_row(patch: pytest.MonkeyPatch) -> None:
    """The commit is said to be done and is not: the row comes when something is known of the order."""
    honest_put, honest_persist = VirtualLedger._put, VirtualLedger.persist

    def put(self: Any, name: str, fields: Any) -> None:
        if name not in self.now.intents:
            self.__dict__.setdefault("late", {})[name] = fields
            return
        honest_put(self, name, fields)

    def persist(self: Any, row: Any) -> None:
        for name, fields in self.__dict__.pop("late", {}).items():
            honest_put(self, name, fields)
        honest_persist(self, row)

    patch.setattr(VirtualLedger, "_put", put)
    patch.setattr(VirtualLedger, "persist", persist)


def open_orders_are_forgotten_at_start(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(VirtualLedger, "open_orders", lambda self: [])


def a_lost_intent_is_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "_quarantine_until", lambda *said, **named: 0)


def _recovering(patch: pytest.MonkeyPatch, spoil: Callable[[State], None]) -> None:
    """Spoil every state that a start recovers."""
    honest = World.__init__

    def build(self: Any, case: Any, recover: Any) -> None:
        def spoiled(*said: Any, **named: Any) -> State:
            state: State = recover(*said, **named)
            spoil(state)
            return state

        honest(self, case, spoiled)

    patch.setattr(World, "__init__", build)


def an_open_order_counts_as_never_sent(patch: pytest.MonkeyPatch) -> None:
    def spoil(state: State) -> None:
        state.open_ids.clear()
        state.uncovered.clear()

    _recovering(patch, spoil)


def the_float_comes_back_rounded(patch: pytest.MonkeyPatch) -> None:
    def spoil(state: State) -> None:
        for asset in state.floats:
            state.floats[asset] = state.floats[asset].quantize(Decimal("0.1"))

    _recovering(patch, spoil)


def the_numbers_of_orders_begin_anew(patch: pytest.MonkeyPatch) -> None:
    honest = orders.client_order_id
    patch.setattr(orders, "client_order_id", lambda instance, epoch, number: honest(instance, 1, number))


PLANTED: list[tuple[Plant, tuple[str, ...]]] = [
    (an_intent_is_written_with_its_first_row, ("leaving", "sent", "told")),
    (open_orders_are_forgotten_at_start, ("sent", "executed", "told")),
    (a_lost_intent_is_not_waited_for, ("sent", "quarantine", "restored")),
    (an_open_order_counts_as_never_sent, ("sent", "committed")),
    (the_float_comes_back_rounded, ("trade-durable", "trade-counted")),
    (the_numbers_of_orders_begin_anew, ("sent", "told")),
]


@pytest.mark.parametrize(("plant", "points"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_bug_shows(plant: Plant, points: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    tried = ((name, seed, mode) for seed in PLANT_SEEDS for name in points for mode in MODES)
    assert any(crash(*one).wrong for one in tried), f"no crash noticed that {plant.__name__}"


@pytest.mark.parametrize(
    ("point", "seed", "mode"),
    [
        # The answer for an older order shortened the quarantine that a lost intent needs.
        *(
            ("answered", 67, "torn"),
            ("answer-applied", 99, "torn"),
            ("update-first", 15, "torn"),
            ("fill-row", 27, "torn"),
        ),
        # A fill of a lost intent is looked for under an older order's name, and named meanwhile.
        *(("setup-asked", 25, "torn"), ("snapshot-half", 62, "lost")),
    ],
)
def test_what_the_whole_figure_found(point: str, seed: int, mode: str) -> None:
    found = crash(point, seed, mode)
    assert found.wrong == "", str(found)
