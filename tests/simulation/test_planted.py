"""Bugs planted in the product, one at a time: the worlds must catch each within a few seeds, by the right invariant.

`scripts/soak planted` prints the table of them with the seeds and events that each one needed.
"""

from __future__ import annotations

import pytest

from tests.simulation.planting import Plant, hunt
from tests.simulation.plants import PLANTS

SEEDS = range(1, 41)
KINDS_WANTED = 44


@pytest.mark.parametrize("planted", PLANTS.values(), ids=PLANTS)
def test_a_planted_bug_is_caught(planted: Plant) -> None:
    found = hunt(planted, SEEDS)
    assert not found.fault, "\n".join([f"{planted.name} ({planted.broken}): {found.fault}", *found.trail])


def test_there_are_enough_of_them() -> None:
    assert len(PLANTS) >= KINDS_WANTED
    assert len({planted.broken for planted in PLANTS.values()}) == len(PLANTS)


def test_a_place_that_is_not_there_is_not_planted() -> None:
    def nowhere(bug: object) -> None:
        from streamhedge.reactor import orders

        bug.instead(orders, "no_such_function", lambda honest: honest)  # type: ignore[attr-defined]

    with pytest.raises(AttributeError):
        hunt(Plant("nowhere", "nothing", ("1",), nowhere), range(1, 2))


def test_a_plant_that_never_ran_does_not_count() -> None:
    found = hunt(Plant("idle", "nothing", ("1",), lambda bug: None, kinds=("again",)), range(1, 2))
    assert found.fault == "the planted code never ran"
