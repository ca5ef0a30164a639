"""Every file under recordings/ is read by a test: nothing that was collected lies about unproven."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.recordings import FOLDER
from tests.support.shared import REPOSITORY, needs_shared


def names_read(source: str) -> set[str]:
    """Return the files a module names by ``recording("…")``; a bare call that drops its result does not count."""
    tree = ast.parse(source)
    dropped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return {
        argument.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "recording"
        for argument in node.args
        if id(node) not in dropped and isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def read_by_tests(folder: Path) -> set[str]:
    """Return the files that the test modules under a folder name."""
    return {name for module in folder.rglob("test_*.py") for name in names_read(module.read_text(encoding="utf-8"))}


def test_only_kept_literals_count() -> None:
    source = 'KEPT = recording("a/b.jsonl")\nrecording("a/dropped.jsonl")\nvariable = recording(name)\n'

    assert names_read(source) == {"a/b.jsonl"}


@needs_shared
def test_no_recording_is_left_unread() -> None:
    assert FOLDER is not None
    there = {
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("*")
        if path.is_file() and path.name != "SOURCES.md"
    }

    assert sorted(there - read_by_tests(REPOSITORY / "tests")) == []
