"""The table of faults is that of the tests there are: every row, no other, with its knobs, its tests or a reason."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamhedge.sim.faults import KNOWN
from streamhedge.world.script import KINDS
from tests.support.fault_table import (
    KIND_ROWS,
    NO_ROW_OF_THE_CATALOGUE,
    OPEN,
    REASONS,
    ROWS,
    TABLE,
    marked,
    rendered,
    results_in,
    without_results,
)
from tests.support.shared import REPOSITORY, SHARED, needs_shared

pytestmark = pytest.mark.timeout(300)
WRITE = "pytest --collect-only --fault-table writes it again; pytest -m fault --fault-table runs its tests too"
LINE = re.compile(r"^\| \**([A-Z][0-9]{1,2})\b", re.MULTILINE)


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The table as the tests that can be collected now would have it."""
    path = tmp_path_factory.mktemp("table") / "faults.md"
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", f"--fault-table={path}"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=280)
    assert path.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    return path.read_text("utf-8")


def test_the_committed_table_has_the_rows_knobs_and_tests_of_today(collected: str) -> None:
    committed = TABLE.read_text("utf-8")
    assert without_results(committed) == without_results(collected), WRITE


def test_every_row_has_a_test_or_a_reason_and_never_both(collected: str) -> None:
    rows = {line.split(" | ")[0][2:]: line for line in collected.splitlines() if LINE.match(line)}
    assert list(rows) == [row for letter in "SUOAMCPKXF" for row in ROWS if row.startswith(letter)]
    without = {row for row, line in rows.items() if "not covered: " in line}
    assert without == set(REASONS), "a row without tests has a reason, and a row with tests has none"
    assert not without & set(OPEN), "what is not covered at all is not covered in part"
    assert not [row for row in without if f"`--fault {row}`" in rows[row]], "what can be injected is shown"


def test_no_test_of_the_table_failed_when_it_last_ran() -> None:
    said = results_in(TABLE.read_text("utf-8"))
    assert [name for name, word in said.items() if word == "failed"] == []
    assert list(said.values()).count("passed") > len(ROWS)


def test_the_rows_are_ninety_seven_and_seven() -> None:
    counted = {letter: sum(row.startswith(letter) for row in ROWS) for letter in "SUOAMCPKXF"}
    assert counted == {"S": 13, "U": 15, "O": 20, "A": 8, "M": 5, "C": 6, "P": 12, "K": 8, "X": 10, "F": 7}


def test_every_knob_belongs_to_a_row() -> None:
    assert [name for name in KNOWN if name not in ROWS] == [] and set(NO_ROW_OF_THE_CATALOGUE) <= set(KNOWN)
    assert [kind for kind, rows in KIND_ROWS.items() if kind not in KINDS or not set(rows) <= set(ROWS)] == []


@needs_shared
def test_the_ids_are_those_of_the_catalogue() -> None:
    assert SHARED is not None
    text = (SHARED / "design" / "FAULTS.md").read_text("utf-8")
    (catalogue,) = re.findall(r"^## 2\. .*?(?=^### 2\.9 )", text, re.MULTILINE | re.DOTALL)
    (trades,) = re.findall(r"^## 6\. .*", text, re.MULTILINE | re.DOTALL)
    assert LINE.findall(catalogue) + LINE.findall(trades) == sorted_as(ROWS, catalogue + trades)


def sorted_as(rows: dict[str, str], text: str) -> list[str]:
    """Return our ids in the order of a text; one it lacks stands last."""
    order = LINE.findall(text)
    return sorted(rows, key=lambda row: order.index(row) if row in order else len(order))


# ---------------------------------------------------------------- the table itself


def test_a_mark_of_no_row_ends_the_collection(tmp_path: Path) -> None:
    class Item:
        nodeid = "tests/unit/test_x.py::test_y[1]"

        def iter_markers(self, name: str) -> list[pytest.Mark]:
            return [pytest.mark.fault("S1", "Z9").mark]

    with pytest.raises(pytest.UsageError, match="Z9"):
        marked([Item()])  # type: ignore[list-item]


def test_what_a_test_said_comes_back_out_of_the_table() -> None:
    tests = {row: ["unit/test_x.py::test_a", "unit/test_x.py::test_b"] if row == "S1" else [] for row in ROWS}
    said = {"unit/test_x.py::test_a": "passed", "unit/test_x.py::test_b": "failed"}
    text = rendered(tests, said)
    assert "| S1 | a socket that is half open" in text and "| 1 passed, 1 failed |" in text
    assert results_in(text) == said
    assert results_in(rendered(tests, {})) == {}
    assert without_results(text) == without_results(rendered(tests, {}))
    other = {**tests, "S2": ["unit/test_x.py::test_a"]}
    assert without_results(rendered(other, said)) != without_results(text)
