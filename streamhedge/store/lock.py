"""One instance per account: an advisory lock that the kernel drops with the process, however it dies.

The lock file sits in a fixed per-user folder and is named by venue and key fingerprint, so that two state directories
cannot hide two instances from each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

import orjson

from streamhedge.errors import AlreadyRunning, ConfigError


def lock_folder() -> Path:
    """Return the per-user folder of locks and short sockets, made 0700.

    Raises:
        ConfigError: somebody else owns it, or others may write to it.
    """
    folder = Path(tempfile.gettempdir()) / f"streamhedge-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022 or folder.is_symlink():
        raise ConfigError(
            f"{folder} is not ours alone (owner {found.st_uid}, mode {found.st_mode & 0o777:o}): remove it"
        )
    return folder


class InstanceLock:
    """Held for the life of the process."""

    def __init__(self, name: str, *, state_dir: Path) -> None:
        """Take the lock.

        Raises:
            AlreadyRunning: another process holds it; the message names it.
        """
        self.path = lock_folder() / f"{name}.lock"
        flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._holder()
            os.close(self._file)
            raise AlreadyRunning(
                f"another streamhedge holds this account: pid {holder.get('pid', 'unknown')}, state "
                f"{holder.get('state_dir', 'unknown')}. This one did nothing; see it with `streamhedge status`, "
                "or stop it"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, orjson.dumps({"pid": os.getpid(), "state_dir": str(state_dir)}), 0)

    def _holder(self) -> dict[str, object]:
        try:
            found = orjson.loads(os.pread(self._file, 4096, 0))
            return found if isinstance(found, dict) else {}
        except (ValueError, OSError):
            return {}

    def release(self) -> None:
        """Let go; the file stays, the lock does not."""
        with contextlib.suppress(OSError):
            os.close(self._file)
