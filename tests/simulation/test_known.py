"""What the worlds found and the product does not mend yet: each excuse of the auditor, held open by its smallest world.

When one of these begins to pass, the product is mended: take the excuse out of the auditor and the mark from here, and
the world stays as an ordinary case.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamhedge.world.auditor import EXCUSED
from streamhedge.world.script import Case
from tests.simulation.worlds import run_case

KNOWN = sorted((Path(__file__).parent / "known").glob("*.json"))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.xfail(strict=True, reason=EXCUSED.get(path.stem, "no excuse any more")))
        for path in KNOWN
    ],
    ids=[path.stem for path in KNOWN],
)
def test_a_known_violation(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(EXCUSED, path.stem, raising=False)
    outcome = run_case(Case.of(json.loads(path.read_text())))
    assert outcome.violation is None, str(outcome.violation)


def test_every_excuse_has_its_world() -> None:
    assert sorted(EXCUSED) == [path.stem for path in KNOWN]
