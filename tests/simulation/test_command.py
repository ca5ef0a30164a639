"""`streamhedge simulate`: its last line, its exit codes, and what it leaves of a world that fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from streamhedge.ops.cli import cli
from streamhedge.reactor import reactor
from streamhedge.store.journal import read_lines


def simulate(*words: str) -> Any:
    return CliRunner().invoke(cli, ["simulate", *words])


def test_worlds_that_hold_end_with_figures_and_zero(tmp_path: Path) -> None:
    found = simulate("--seeds", "1..2", "--hours", "0.03", "--json", "--out", str(tmp_path))
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert sorted(said) == ["events", "fired", "hours", "seconds", "violations", "worlds"]
    assert (said["worlds"], said["violations"]) == (2, 0)
    assert said["events"] > 100 and said["fired"]
    assert list(tmp_path.iterdir()) == []


def test_a_world_that_fails_is_written_and_fails_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = reactor.HANDLERS[reactor.FloatTradeRecorded]

    def twice(core: Any, event: Any) -> None:
        honest(core, event)
        honest(core, event)

    monkeypatch.setitem(reactor.HANDLERS, reactor.FloatTradeRecorded, twice)
    found = simulate("--seeds", "4", "--hours", "0.03", "--json", "--out", str(tmp_path))
    assert found.exit_code == 1, found.output
    assert json.loads(found.stdout)["violations"] == 1
    for word in ("seed 4 breaks invariant", "options:", "the last", "written:"):
        assert word in found.stderr
    case = tmp_path / "world-4.json"
    assert json.loads(case.read_text())["options"]["seed"] == 4
    assert next(line.source for line in read_lines(tmp_path / "world-4.rec")) == "header"
    again = simulate("--case", str(case), "--out", str(tmp_path))
    assert again.exit_code == 1, again.output
    monkeypatch.undo()
    mended = simulate("--case", str(case), "--out", str(tmp_path))
    assert mended.exit_code == 0, mended.output


@pytest.mark.parametrize(
    "words", [("--seeds", "x"), ("--seeds", "9..3"), ("--hours", "0"), ("--hours", "a day"), ("--case", "nowhere.json")]
)
def test_what_is_no_world_is_refused(words: tuple[str, ...]) -> None:
    assert simulate(*words).exit_code == 2
