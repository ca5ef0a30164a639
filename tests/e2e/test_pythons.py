"""The same digests and a passing demo under every Python that is supported, each with exactly the locked packages.

The interpreter that runs the suite is one of them; the others are looked for on PATH and below pyenv's folder and get an
environment each in `.pythons/`, kept until requirements.lock or the interpreter changes. Absent ones skip with the reason.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Ended, command, environment, room
from tests.support.shared import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
VERSIONS = ("3.11", "3.12", "3.13")
LOCK = REPOSITORY / "requirements.lock"
KEPT = Path(__file__).parent / ".pythons"
INSTALL_CEILING_S = 400.0
OFFLINE = ("connection", "timed out", "name resolution", "max retries")
"""What pip says when nobody answers; anything else it says is a fault of the lock."""


def short_run(folder: Path) -> tuple[str, ...]:
    """Return what is said to `run` so that everything stays below the folder."""
    return (
        *("--duration", "5s", "--json"),
        *("--state-dir", str(folder / "state"), "--record", str(folder / "recording")),
    )


@pytest.fixture(scope="module")
def recorded() -> Iterator[tuple[Path, dict[str, Any]]]:
    """One short run by the interpreter of the suite: its recording and its summary."""
    with room() as folder:
        ended = subprocess.run(
            [sys.executable, "-m", "streamhedge", "run", *short_run(folder)],
            cwd=REPOSITORY,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=120,
        )
        found = Ended(ended.returncode, ended.stdout, ended.stderr)
        assert found.code == 0, found.err[-3000:]
        yield folder / "recording", found.json()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_recording_replays_to_the_same_digest(version: str, recorded: tuple[Path, dict[str, Any]]) -> None:
    recording, summary = recorded
    with room() as folder:
        found = await _streamhedge(version, folder, "replay", str(recording), "--json")
    assert found.code == 0, found.err[-3000:]
    replayed = found.json()
    assert (replayed["diverged"], replayed["digest"]) == (None, summary["digest"])
    assert replayed["events"] > 100 and replayed["decisions"] >= 1, "nothing was replayed"


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_demo_passes_and_the_suites_interpreter_replays_it(version: str) -> None:
    with room() as folder:
        found = await _streamhedge(version, folder, "run", *short_run(folder))
        assert found.code == 0, found.err[-3000:]
        summary = found.json()
        assert summary["pass"], summary["reason"]
        assert (summary["duplicate_client_ids"], summary["in_doubt"]) == (0, 0)
        again = await command(folder, "replay", str(folder / "recording"), "--json")
    assert again.code == 0, again.err[-3000:]
    assert (again.json()["diverged"], again.json()["digest"]) == (None, summary["digest"])


async def _streamhedge(version: str, folder: Path, *arguments: str) -> Ended:
    """Run our code, straight from the tree, under another interpreter."""
    python = str(interpreter(version))
    said = await command(folder, "-c", "import sys; print(*sys.version_info[:2], sep='.')", command=(python,))
    assert said.out.strip() == version, f"{python} is {said.out.strip()}"
    # Coverage stays out: the branches of another interpreter's bytecode do not add up with those of the suite's own.
    env = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "COVERAGE_PROCESS_CONFIG": ""}
    return await command(folder, *arguments, env=env, command=(python, "-m", "streamhedge"), ceiling_s=120)


# ---------------------------------------------------------------- interpreters and their environments


@functools.cache
def interpreter(version: str) -> Path:
    """Return an interpreter of that version with the locked packages, or skip the test with the reason."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return Path(sys.executable)
    base = _found(version)
    if base is None:
        pytest.skip(f"no Python {version} with venv, neither on PATH nor below pyenv's folder")
    folder = KEPT / version
    KEPT.mkdir(exist_ok=True)
    with (KEPT / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (
            f"{folder} {_said(base, 'import sys; print(sys.version)')} {hashlib.sha256(LOCK.read_bytes()).hexdigest()}"
        )
        stamp = folder / "stamp"
        if not stamp.is_file() or stamp.read_text() != wanted:
            _install(base, folder)
            stamp.write_text(wanted)
    return folder / "bin" / "python"


def _found(version: str) -> Path | None:
    """Return the first interpreter of that version that starts; a pyenv shim may stand on PATH and not start."""
    on_path = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [Path(on_path)] if on_path else []
    candidates += sorted(pyenv.glob(f"{version}.*/bin/python"))
    test = f"import ensurepip, sys; sys.exit('{version}' != '%d.%d' % sys.version_info[:2])"
    return next((candidate for candidate in candidates if _said(candidate, test) is not None), None)


def _said(python: Path, code: str) -> str | None:
    """Return what one line of code prints, or None when the interpreter does not start or the code fails."""
    try:
        ended = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


def _install(base: Path, folder: Path) -> None:
    """Make the environment anew from the lock, every hash checked."""
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True, capture_output=True, timeout=120)
    pip = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-input",
        "--retries=2",
    ]
    try:
        ended = subprocess.run(
            [*pip, "--no-deps", "--require-hashes", "-r", LOCK],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=INSTALL_CEILING_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{folder.name}: the package registry was too slow ({INSTALL_CEILING_S:.0f} s)")
    if ended.returncode and any(word in ended.stderr.lower() for word in OFFLINE):
        pytest.skip(f"{folder.name}: the package registry cannot be reached")
    assert ended.returncode == 0, f"requirements.lock does not install under {folder.name}:\n{ended.stderr[-3000:]}"
