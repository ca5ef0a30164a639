"""Lines that break at random instants: no fill is lost, the book is LIVE within a second and in band within two.

The full figure is `scripts/soak disconnects`. Times are virtual, on a wire of 1–2 ms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from streamhedge.domain.book import PositionBook
from streamhedge.reactor import reactor
from streamhedge.wire.session import Session
from tests.simulation.disconnects import INSTANTS, Found, disconnects, share

WORLDS, EACH = range(1, 9), 10
LIVE_MS, BAND_MS = 1_000, 2_000
Plant = Callable[[pytest.MonkeyPatch], None]


@functools.cache
def found(seed: int) -> Found:
    return disconnects(seed, EACH)


@pytest.mark.parametrize("seed", WORLDS)
@pytest.mark.fault("U1", "S13")
def test_no_fill_is_lost(seed: int) -> None:
    one = found(seed)
    assert one.wrong == "", "\n".join([str(one), *one.trail])
    assert one.lost == 0 < one.fills
    assert len(one.disconnects) >= EACH


@pytest.mark.fault("U1")
def test_the_book_is_back_in_time_whenever_the_line_broke() -> None:
    every = [one for seed in WORLDS for one in found(seed).disconnects]
    assert [name for name in INSTANTS if name not in [one.instant for one in every]] == []
    assert all(one.live_ns and one.band_ns for one in every)
    assert share([one.live_ms for one in every], 99) <= LIVE_MS
    assert share([one.band_ms for one in every], 99) <= BAND_MS


def test_the_same_seed_is_the_same_world() -> None:
    assert disconnects(5, 3) == disconnects(5, 3)


# ---------------------------------------------------------------- bugs that must show here


def a_closed_stream_is_no_reason_to_doubt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "_lose", lambda self, reason, now_ns: None)


def snapshots_are_never_adopted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PositionBook, "_adopt_position", lambda self, *said: False)


def an_order_is_never_asked_about(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reactor, "query_doubtful", lambda core: None)
    honest = reactor.HANDLERS[reactor.OrderOutcome]

    def accepted(core: Any, event: Any) -> None:
        if event.filled == 0:
            honest(core, event)  # what filled is believed when a report says so, and no sooner

    patch.setitem(reactor.HANDLERS, reactor.OrderOutcome, accepted)


PLANTED: list[Plant] = [
    a_closed_stream_is_no_reason_to_doubt,
    snapshots_are_never_adopted,
    an_order_is_never_asked_about,
]


@pytest.mark.parametrize("plant", PLANTED, ids=[plant.__name__ for plant in PLANTED])
def test_a_planted_bug_shows(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in WORLDS:
        one = disconnects(seed, EACH)
        if one.wrong or one.lost:
            return
    pytest.fail(f"no world noticed that {plant.__name__}")
