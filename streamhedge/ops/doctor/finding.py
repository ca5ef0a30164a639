"""One finding of the doctor."""

from __future__ import annotations

from typing import Any

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.values import record

OK, WARN, FAIL = "ok", "warn", "fail"
COLOURS = {OK: "\x1b[32m", WARN: "\x1b[33m", FAIL: "\x1b[1;31m"}


@record
class Check:
    """One finding: its name, ``ok``, ``warn`` or ``fail``, what was found, and what to do about it."""

    name: str
    verdict: str
    found: str
    repair: str
    data: dict[str, Any]

    def fields(self) -> dict[str, Any]:
        """Return the check, JSON-ready."""
        fields: dict[str, Any] = to_plain(self)
        return fields

    def line(self, *, colour: bool) -> str:
        """Return the check as text; the repair stands below what is not well."""
        word = f"{COLOURS[self.verdict]}{self.verdict:<4}\x1b[0m" if colour else f"{self.verdict:<4}"
        text = f"{word}  {self.name:<18} {self.found}"
        return text if self.verdict == OK or not self.repair else f"{text}\n{'':<25}-> {self.repair}"


def check(name: str, verdict: str, found: str, repair: str = "", **data: Any) -> Check:
    """Return one finding."""
    return Check(name, verdict, found, repair, data)
