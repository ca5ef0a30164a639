"""Which accounts are held by a running process on this machine, read from the lock files without touching a lock."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from streamhedge.domain.values import record
from streamhedge.store.lock import lock_folder

PROC_LOCKS = Path("/proc/locks")


@record
class Instance:
    """One account's lock file: who wrote it last, and whether the kernel still holds the lock for somebody."""

    name: str
    pid: int | None
    folder: Path | None
    held: bool


def instances() -> list[Instance]:
    """Return every account that was ever held here, sorted by name."""
    locked = locked_inodes()
    found = []
    for path in sorted(lock_folder().glob("*.lock")):
        instance = read_instance(path, locked)
        if instance is not None:
            found.append(instance)
    return found


def running() -> list[Instance]:
    """Return the accounts that a process holds now."""
    return [instance for instance in instances() if instance.held]


def read_instance(path: Path, locked: frozenset[int] | None) -> Instance | None:
    """Return what a lock file says, None when it cannot be read."""
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            text = file.read(4096)
    except OSError:
        return None
    try:
        said = orjson.loads(text or b"{}")
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    pid = said.get("pid") if isinstance(said.get("pid"), int) else None
    folder = Path(said["state_dir"]) if isinstance(said.get("state_dir"), str) else None
    held = inode in locked if locked is not None else pid is not None and _alive(pid)
    return Instance(path.stem, pid, folder, held)


def locked_inodes() -> frozenset[int] | None:
    """Return the inodes that carry an advisory lock, None where the kernel does not list them.

    Asking flock itself would take the lock for a moment, and a process starting just then would be refused.
    """
    try:
        rows = PROC_LOCKS.read_text().splitlines()
    except OSError:
        return None
    return frozenset(int(row.split()[5].rpartition(":")[2]) for row in rows if " FLOCK " in row and "->" not in row)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
