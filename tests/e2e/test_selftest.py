"""The self-test trips every control for real, and names the one that does not act."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamhedge.ops import control
from streamhedge.ops.selftest import Row, report_text, run_selftest
from streamhedge.ops.selftest.plan import STEPS, Step
from streamhedge.reactor import manual
from streamhedge.rules import limits
from tests.support.processes import command

CATALOGUE = {f"R{number}" for number in range(1, 19)}


def step(control: str) -> Step:
    return next(step for step in STEPS if step.control == control)


@pytest.mark.fault("K6", "K7", "O20", "K3", "A6", "M2", "M1", "X6")
async def test_every_control_trips_and_acts(tmp_path: Path) -> None:
    done = await command(tmp_path, "selftest", "--json", ceiling_s=180)
    assert done.code == 0, done.out + done.err
    answer = json.loads(done.out)
    assert answer["pass"] is True
    rows = answer["controls"]
    assert {row["control"] for row in rows} >= CATALOGUE
    assert all(row["passed"] and row["did"] for row in rows)
    skipped = [row["name"] for row in rows if row["skipped"]]
    assert skipped == ([] if os.geteuid() == 0 else ["another user"]), "only root can become somebody else"
    counted = [row for row in rows if not row["skipped"]]
    assert [row["control"] for row in counted if row["count"] < 1] == ["flatten"], "an act of a person has no count"


async def test_a_control_that_does_not_act_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_size(draft: Any, view: Any, context: Any) -> limits.Approved | limits.Refused:
        verdict = limits.gate(draft, view, context)
        passes = isinstance(verdict, limits.Refused) and verdict.control == "R1 size"
        return limits.Approved(draft) if passes else verdict

    monkeypatch.setattr(manual, "gate", without_size)
    idle = replace(step("R13"), how="nothing at all", act=_nothing)
    rows = await run_selftest(tmp_path, plan=(step("R1"), step("filters"), idle), access=False)
    assert [(row.control, row.passed) for row in rows] == [("R1", False), ("filters", True), ("R13", False)]
    assert rows[0].did == "not refused by R1: it was sent"
    assert "its own count did not move" in rows[2].did
    assert report_text(rows).splitlines()[-1] == "NOT TRIPPED: R1, R13"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.fault("X1")
async def test_a_socket_that_hears_anybody_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (_, stranger) = await run_selftest(tmp_path / "good", plan=())
    assert (stranger.name, stranger.count, stranger.passed) == ("another user", 4, True), stranger.did
    assert "uid 65534 is not welcome here" in stranger.did and stranger.did.count("permission denied") == 3
    monkeypatch.setattr(control, "peer_uid", lambda connection: os.getuid())
    (_, stranger) = await run_selftest(tmp_path / "bad", plan=())
    assert not stranger.passed and "another user halted the hedger" in stranger.did


def test_what_cannot_be_tried_is_told_and_counts_as_no_failure() -> None:
    row = Row("R18", "another user", "how", "skipped: only root can become another user", 0, True, 0, skipped=True)
    lines = report_text([row, replace(row, did="done", count=1, skipped=False)]).splitlines()
    assert lines[1].startswith("skip R18") and lines[-1] == "1 controls tripped, all acted, 1 skipped"


async def _nothing(bench: object) -> str:
    return "done"
