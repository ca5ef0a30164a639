"""The strangers' own environment: `.venv` beside this file, made from the hashed lock when it is first needed.

Their libraries pin what the project does not want, so they never meet ours. One process makes it at a time; an
unchanged lock, place and interpreter use it again.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LOCK = FOLDER / "requirements.txt"
VENV = FOLDER / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".stamp"
UNREACHABLE = (
    "NewConnectionError",
    "ConnectionError",
    "ReadTimeoutError",
    "ConnectTimeoutError",
    "from versions: none",
)
"""What pip says when there is no registry to ask; anything else is a fault of the lock."""


class Unreachable(Exception):
    """The packages cannot be fetched here; the text is pip's last word."""


def wanted() -> str:
    """Return what an environment must have been made from to be used again."""
    words = [str(VENV), sys.version, sys.executable, hashlib.sha256(LOCK.read_bytes()).hexdigest()]
    return "\n".join(words)


def python() -> Path:
    """Return the environment's interpreter, making the environment first where need be.

    Raises:
        Unreachable: no registry answers.
        RuntimeError: pip refused the lock.
    """
    with (FOLDER / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not STAMP.is_file() or STAMP.read_text() != wanted():
            _make()
    return PYTHON


def _make() -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True, timeout=120)
    words = ["install", "-q", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes"]
    words += ["--only-binary", ":all:", "--retries", "1", "-r", str(LOCK)]
    done = subprocess.run(
        [str(PYTHON), "-m", "pip", *words], capture_output=True, text=True, timeout=480, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        said = done.stderr.strip()
        if any(word in said for word in UNREACHABLE):
            raise Unreachable(said.splitlines()[-1])
        raise RuntimeError(f"pip refused {LOCK.name}:\n{said[-3000:]}")
    STAMP.write_text(wanted())
