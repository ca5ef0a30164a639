"""Somebody who is woken finds what it means: the README has a row for each line that may alert, each rule, each exit code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from streamhedge.ops import exits, runner
from streamhedge.reactor.controls import ERRORS
from tests.support.shared import REPOSITORY

README = (REPOSITORY / "README.md").read_text("utf-8")
PACKAGE = REPOSITORY / "streamhedge"
NOT_OURS = ("sim", "simserver", "world", "selftest")
"""The exchange and the worlds say nothing to an operator."""
SAYING = ("note", "_note", "Note", "write", "_line", "tell", "_tell")
"""What says a line: the reactor, the session, notes by hand, and the lines of ops."""
RULES = (PACKAGE / "ops" / "cli" / "files" / "prometheus.yml").read_text("utf-8")


def section(title: str) -> str:
    return README[README.index(f"### {title}") :].partition("\n##")[0]


def rows(text: str) -> set[str]:
    """Return what the first cells of tables name."""
    cells = re.findall(r"^\| (.+?) \|", text, re.M)
    return {name for cell in cells for name in re.findall(r"`?([A-Za-z_0-9]+)`?", cell)}


def loud(call: ast.Call) -> bool:
    said = [*call.args, *(word.value for word in call.keywords)]
    names = [part for value in said for part in ast.walk(value) if isinstance(part, ast.Attribute | ast.Name)]
    return any(getattr(part, "attr", getattr(part, "id", "")) in ("WARNING", "CRITICAL", "level") for part in names)


def loud_codes() -> Iterator[tuple[str, str]]:
    """Yield each code that is ever said as a warning or louder, with where."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if set(path.relative_to(PACKAGE).parts) & set(NOT_OURS):
            continue
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call) or not loud(call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            code = next(
                (word.value for word in call.keywords if word.arg == "code"), call.args[0] if call.args else None
            )
            if name in SAYING and isinstance(code, ast.Constant) and re.fullmatch(r"[a-z_]+", str(code.value)):
                yield str(code.value), f"{path.relative_to(REPOSITORY)}:{call.lineno}"


def test_every_line_that_may_alert_has_a_row() -> None:
    found = dict(loud_codes())
    assert {"naked", "halted", "budget", "alert_failed", "heartbeat", "book", "log", "config"} <= set(found)
    known = rows(section("What it says, and what to do"))
    said = {**found, ERRORS: "by name", "spot": "by name", "store": "by name"}
    assert {code: where for code, where in said.items() if code not in known} == {}


def test_every_rule_of_prometheus_has_a_row() -> None:
    alerts = set(re.findall(r"alert: (\w+)", RULES))
    assert len(alerts) >= 12 and alerts <= rows(section("What it says, and what to do"))


def test_every_exit_code_has_a_row() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert len(codes) == 9
    assert {str(code) for code in (*codes, runner.INTERRUPTED)} <= rows(section("Exit codes"))


def test_the_scan_sees_what_it_is_for(tmp_path: Path) -> None:
    (call,) = [
        part
        for part in ast.walk(ast.parse("core.note('x', Level.WARNING if bad else Level.INFO, None, '')"))
        if isinstance(part, ast.Call)
    ]
    assert loud(call)
    (quiet,) = [
        part for part in ast.walk(ast.parse("core.note('x', Level.INFO, None, '')")) if isinstance(part, ast.Call)
    ]
    assert not loud(quiet)
