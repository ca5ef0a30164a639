"""What the shell may not use of asyncio, because it does otherwise than it says on a Python that we support."""

from __future__ import annotations

import ast

from tests.support.shared import REPOSITORY


def test_nothing_waits_in_a_way_that_swallows_a_cancellation() -> None:
    """Before 3.12 `wait_for` can return instead of raising when it is cancelled as its work ends; `timeout` cannot."""
    found = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for path in sorted((REPOSITORY / "streamhedge").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.alias)
        and (getattr(node, "attr", None) or getattr(node, "name", None)) == "wait_for"
    ]
    assert found == []
