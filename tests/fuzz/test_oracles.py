"""The oracles can fail: with a fault planted in the program, a few hundred bent messages show it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streamhedge.domain.events import Quarantined
from streamhedge.ops import lines
from streamhedge.reactor import reactor
from streamhedge.wire import streams
from tests.fuzz.cases import Finding, drive
from tests.fuzz.doors import DOORS, seeded

MOST = 800
Plant = Callable[[pytest.MonkeyPatch], None]


def floats_for_figures(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(streams, "number", lambda value: Decimal(str(value)))


def names_as_they_come(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(streams, "name_of", streams.word)


def silence_about_private_frames(patch: pytest.MonkeyPatch) -> None:
    plain = streams._quarantined
    patch.setattr(streams, "_quarantined", lambda raw, reason, *, private: plain(raw, reason, private=False))


def a_reader_that_stops(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(streams, "MALFORMED", (streams.ParseError,))


def a_book_moved_by_what_was_not_read(patch: pytest.MonkeyPatch) -> None:
    plain = reactor.HANDLERS[Quarantined]

    def moving(core: Any, event: Any) -> None:
        plain(core, event)
        for held in core.state.book.positions.values():
            held.quantity += Decimal("0.001")

    patch.setitem(reactor.HANDLERS, Quarantined, moving)


def raw_text_on_the_terminal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lines, "inert", lambda text: text)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("door", "plant", "said"),
    [
        ("user", floats_for_figures, "escaped"),
        ("user", names_as_they_come, "steers|escaped|does not survive"),
        ("user", silence_about_private_frames, "still trusted|an invalid message changed|truth"),
        ("user", a_reader_that_stops, "escaped"),
        ("market", a_book_moved_by_what_was_not_read, "an invalid message changed reactor.book"),
        ("rest", raw_text_on_the_terminal, "steers the reader"),
    ],
)
def test_a_planted_fault_is_found(
    door: str, plant: Plant, said: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    make, _ = DOORS[door]
    with pytest.raises(Finding, match=said):
        drive(make, seeded(seed, door), tmp_path, lambda cases: cases < MOST)
