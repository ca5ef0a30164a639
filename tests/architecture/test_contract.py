"""The rooms' import contract holds, and would be broken by the imports it exists to refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.shared import REPOSITORY

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def run_lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT_IMPORTS), "--no-logo", "--no-cache", "--config", "pyproject.toml"]
    wide = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}  # one verdict a line, without colours
    return subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, timeout=60, check=False)


def contracts() -> list[dict[str, object]]:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    found = settings["tool"]["importlinter"]["contracts"]
    assert isinstance(found, list)
    return found


def rooms() -> list[str]:
    """Return the layers' names, without the marks for optional and independent ones."""
    layers = next(contract["layers"] for contract in contracts() if contract["type"] == "layers")
    assert isinstance(layers, list)
    return [name.strip(" ()") for layer in layers for name in layer.split("|")]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Return a folder with our contract and an empty package of the same rooms."""
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for room in rooms():
        (tmp_path / "streamhedge" / room).mkdir(parents=True)
        (tmp_path / "streamhedge" / room / "__init__.py").touch()
    (tmp_path / "streamhedge" / "__init__.py").touch()
    return tmp_path


def plant(toy: Path, *, room: str, line: str) -> None:
    (toy / "streamhedge" / room / "planted.py").write_text(line + "\n", encoding="utf-8")


@pytest.mark.fault("X10")
def test_the_package_keeps_the_contract() -> None:
    absent = [room for room in rooms() if not list((REPOSITORY / "streamhedge").glob(f"{room}*"))]
    if absent:
        pytest.skip(f"rooms not built yet: {', '.join(absent)}")
    result = run_lint(REPOSITORY)
    assert result.returncode == 0, result.stdout + result.stderr


def test_empty_rooms_keep_the_contract(toy: Path) -> None:
    result = run_lint(toy)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("room", "line", "broken"),
    [
        ("domain", "import streamhedge.rules", "Every arrow points down"),
        ("wire", "import streamhedge.reactor", "Every arrow points down"),
        ("runtime", "import streamhedge.sim", "Every arrow points down"),
        ("rules", "import asyncio", "neither clock, nor chance"),
        ("wire", "from random import random", "neither clock, nor chance"),
        ("sim", "import time", "The simulated exchange is pure too"),
        ("sim", "import streamhedge.domain", "shares no code with what it judges"),
        ("simserver", "import streamhedge.wire", "knows the exchange and nothing else"),
    ],
)
def test_a_forbidden_import_is_refused(toy: Path, room: str, line: str, broken: str) -> None:
    plant(toy, room=room, line=line)
    result = run_lint(toy)
    assert result.returncode == 1
    verdicts = [row for row in result.stdout.splitlines() if broken in row and row.endswith("BROKEN")]
    assert verdicts, result.stdout


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("sim", "import random"),
        ("sim", "import streamhedge.errors"),
        ("simserver", "import asyncio, streamhedge.sim, streamhedge.errors"),
        ("ops", "import streamhedge.live, streamhedge.domain"),
    ],
)
def test_an_allowed_import_is_not_refused(toy: Path, room: str, line: str) -> None:
    plant(toy, room=room, line=line)
    result = run_lint(toy)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_room_outside_the_contract_is_refused(toy: Path) -> None:
    (toy / "streamhedge" / "utils.py").touch()
    result = run_lint(toy)
    assert result.returncode == 1
    assert "streamhedge.utils" in result.stdout
