"""`streamhedge selftest`: trips every control once against the simulated exchange and says what the program did."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamhedge.errors import StreamhedgeError
from streamhedge.ops.selftest.bench import Bench, standing
from streamhedge.ops.selftest.plan import STEPS, Step, wrong_key
from streamhedge.ops.selftest.stranger import turned_away

STEP_S = 60.0
ACCESS = ("R18", "access", "a second hedger with a key the venue does not know")
STRANGER = ("R18", "another user", "another user of the machine tries to halt, to signal and to write the books")
Named = tuple[str, str, str]
"""Control, name, and how it is tripped."""
UNCOUNTED = ("flatten",)
"""An act of a person, not a check: it has no count."""


@dataclass(frozen=True, slots=True)
class Row:
    """One control's line of the report."""

    control: str
    name: str
    how: str
    did: str
    count: int
    passed: bool
    took_ms: int
    skipped: bool = False

    def json(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {name: getattr(self, name) for name in self.__slots__}


async def run_selftest(folder: Path, *, plan: Sequence[Step] = STEPS, access: bool = True) -> list[Row]:
    """Trip the controls of a plan one after the other and return a row for each.

    Args:
        folder: Where this self-test's own books go; nobody else's are touched.
        plan: What is tripped; all of them by default.
        access: Whether a start with a wrong key, and another user of the machine, are tried, too.
    """
    async with standing(folder) as bench:
        rows = [await _tripped(bench, step) for step in plan]
        if access:
            rows.append(await _access(bench, ACCESS, wrong_key))
            rows.append(await _access(bench, STRANGER, turned_away) if os.geteuid() == 0 else _no_other_user())
    return rows


async def _tripped(bench: Bench, step: Step) -> Row:
    began, before = time.monotonic(), bench.triggers(step.control)
    passed = False
    try:
        async with asyncio.timeout(STEP_S):
            did = await step.act(bench)
        passed = True
    except (StreamhedgeError, TimeoutError) as error:
        did = str(error) or f"not done within {STEP_S:.0f} s"
        await _recover(bench)
    count = bench.triggers(step.control) - before
    if passed and count < 1 and step.control not in UNCOUNTED:
        passed, did = False, f"its own count did not move; {did}"
    return Row(step.control, step.name, step.how, did, count, passed, _ms(began))


async def _recover(bench: Bench) -> None:
    """Bring the bench back after a step that failed, so that the next ones are judged by themselves."""
    try:
        await bench.heal()
        await bench.whole()
    except StreamhedgeError:
        return


async def _access(bench: Bench, named: Named, tried: Callable[[Bench], Awaitable[tuple[str, int]]]) -> Row:
    """Try an access that must be refused; it counts its refusals itself."""
    began = time.monotonic()
    try:
        did, count = await tried(bench)
    except StreamhedgeError as error:
        did, count = str(error), 0
    return Row(*named, did, count, count > 0, _ms(began))


def _no_other_user() -> Row:
    return Row(*STRANGER, "skipped: only root can become another user", 0, True, 0, skipped=True)


def _ms(began: float) -> int:
    return int((time.monotonic() - began) * 1_000)


def report_text(rows: Sequence[Row]) -> str:
    """Return the report for people."""
    found = [f"{'':<5}{'control':<9}{'count':>5}  {'took':>6}  what"]
    for row in rows:
        word = "skip" if row.skipped else "ok" if row.passed else "FAIL"
        found.append(f"{word:<5}{row.control:<9}{row.count:>5}  {row.took_ms / 1_000:>5.1f}s  {row.name}")
        found.append(f"{'':<29}tripped: {row.how}")
        found.append(f"{'':<29}did:     {row.did}")
    failed = [row.control for row in rows if not row.passed]
    tripped = sum(not row.skipped for row in rows)
    left = f", {len(rows) - tripped} skipped" if tripped < len(rows) else ""
    said = f"{tripped} controls tripped, all acted{left}" if not failed else f"NOT TRIPPED: {', '.join(failed)}"
    return "\n".join([*found, said])


__all__ = ["Row", "report_text", "run_selftest"]
