"""`python -O` would strip the checks of our own invariants: it is refused before anything is sent."""

from __future__ import annotations

import sys

import pytest

from tests.support.processes import command, room


@pytest.mark.fault("P11")
@pytest.mark.parametrize("switch", ["-O", "-OO"])
async def test_python_without_its_assertions_is_refused(switch: str) -> None:
    with room() as folder:
        words = ("run", "--duration", "1s", "--json", "--state-dir", str(folder / "state"))
        ended = await command(folder, *words, command=(sys.executable, switch, "-m", "streamhedge"))
        assert ended.code == 4
        assert "python -O switches off the checks of our own invariants; run without it" in ended.err
        assert not (folder / "state").exists()
