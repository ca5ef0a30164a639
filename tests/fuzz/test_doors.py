"""Ten thousand bent messages at nine doors: nothing escapes, nothing hangs, and what is not understood changes nothing.

TEST_SEED moves them; ``scripts/soak fuzz`` runs as many as there is time for.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.cases import Finding, drive, told
from tests.fuzz.doors import DOORS, SAMPLE, seeded


def test_a_run_has_ten_thousand_messages() -> None:
    assert SAMPLE >= 10_000


@pytest.mark.timeout(300)  # seconds on an idle machine; a case that hangs is told by its own watchdog
@pytest.mark.parametrize("door", DOORS)
def test_bent_messages(door: str, seed: int, tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    make, count = DOORS[door]
    try:
        tally = drive(make, seeded(seed, door), tmp_path, lambda cases: cases < count)
    except Finding as found:
        pytest.fail(told(found, door=door, seed=str(seed)))
    record_property("tally", tally.row())
    assert tally.frames == count
    assert tally.parsed * 2 >= count, "most of them must get past the parser, else they test the parser"
    assert len(tally.made) >= 2, f"all of them met one fate: {tally.row()}"
