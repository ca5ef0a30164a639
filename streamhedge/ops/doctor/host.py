"""What the doctor finds on this machine: interpreter, libraries, files, disk, locks."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from streamhedge.errors import ConfigError
from streamhedge.ops.doctor.finding import FAIL, OK, WARN, Check, check
from streamhedge.settings.config import Config
from streamhedge.store.lock import lock_folder

FLOORS = {"orjson": (3, 11, 6), "aiohttp": (3, 14, 3), "websockets": (16,)}
BROKEN_WEBSOCKETS = (17, 0)
"""Its server breaks under uvloop; 17.1 and later do not."""
DISK_LEAST = 1 << 30


def program() -> list[Check]:
    """Check interpreter and libraries."""
    here = ".".join(map(str, sys.version_info[:3]))
    found = [
        check("python", OK if sys.version_info >= (3, 11) else FAIL, here, "use Python 3.11 or newer"),
        check(
            "assertions",
            FAIL if sys.flags.optimize else OK,
            "off: python -O" if sys.flags.optimize else "on",
            "start without -O and PYTHONOPTIMIZE: invariants are asserted",
        ),
    ]
    return [*found, *(floor(name, least) for name, least in FLOORS.items())]


def floor(name: str, least: tuple[int, ...]) -> Check:
    """Check that a library is new enough, and not the one known to be broken."""
    wanted = f">={'.'.join(map(str, least))}"
    try:
        said = version(name)
    except PackageNotFoundError:
        return check(name, FAIL, "not installed", f"pip install '{name}{wanted}'")
    numbers = tuple(int(part) for part in said.split(".") if part.isdigit())
    broken = name == "websockets" and numbers[:2] == BROKEN_WEBSOCKETS
    fits = numbers >= least and not broken
    return check(name, OK if fits else FAIL, said, f"pip install '{name}{wanted}{',!=17.0' if broken else ''}'")


def configuration_files(paths: Sequence[Path]) -> list[Check]:
    """Check that nobody else may write what tells us what to trade."""
    found = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            found.append(check("permissions", FAIL, f"{path} may be written by others", f"chmod go-w {path}"))
    return found


def machine(state_dir: Path) -> list[Check]:
    """Check state folder, disk and the folder of locks."""
    found = [_folder(state_dir)]
    there = next(path for path in (state_dir, *state_dir.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found.append(
        check(
            "disk",
            OK if free >= DISK_LEAST else WARN,
            f"{free / (1 << 30):.1f} GiB free below {there}",
            "free some: without disk nothing is recorded, and without memory nothing is traded",
            free_bytes=free,
        )
    )
    try:
        found.append(check("lock folder", OK, str(lock_folder())))
    except (ConfigError, OSError) as error:
        found.append(check("lock folder", FAIL, str(error), "remove the folder; it is made anew"))
    return found


def _folder(path: Path) -> Check:
    if not path.exists():
        return check("state folder", OK, f"{path} is made at the first start")
    about = path.stat()
    if about.st_uid != os.getuid():
        return check(
            "state folder", FAIL, f"{path} belongs to uid {about.st_uid}", "chown it, or name another --state-dir"
        )
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or path.is_symlink():
        return check(
            "state folder", FAIL, f"{path} is not ours alone (mode {about.st_mode & 0o777:o})", f"chmod 700 {path}"
        )
    if not os.access(path, os.W_OK | os.X_OK):
        return check("state folder", FAIL, f"{path} cannot be written", f"chmod u+rwx {path}")
    return check("state folder", OK, str(path))


def user(config: Config) -> Check:
    """Check who runs it: real money is refused to root."""
    if os.getuid() != 0:
        return check("user", OK, f"uid {os.getuid()}")
    verdict = {"sim": OK, "demo": WARN}.get(config.settings.venue, FAIL)
    return check("user", verdict, "root", "run it as a user of its own; venue live is refused as root")
