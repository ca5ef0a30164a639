"""The self-test trips every control for real, and names the one that does not act."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamhedge.ops.selftest import report_text, run_selftest
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
    assert [row["control"] for row in rows if row["count"] < 1] == ["flatten"], "an act of a person has no count"


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


async def _nothing(bench: object) -> str:
    return "done"
