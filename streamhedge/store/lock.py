"""One instance per account: an advisory lock that the kernel drops with the process, however it dies.

The lock file sits in a fixed per-user folder and is named by venue and key fingerprint, so that two state directories
cannot hide two instances from each other. The folder is locked too (shared): a cleaner of old temporary files leaves
what is locked, and a lock file that was removed would let a second instance in.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

import orjson

from streamhedge.errors import AlreadyRunning, ConfigError


def lock_folder() -> Path:
    """Return the per-user folder of locks and short sockets, made 0700.

    It does not follow TMPDIR: two instances started from different shells must see each other. STREAMHEDGE_LOCK_DIR
    moves it, for tests and for hosts without a shared /tmp.

    Raises:
        ConfigError: somebody else owns it, others may write to it, or it is no folder.
    """
    folder = Path(os.environ.get("STREAMHEDGE_LOCK_DIR", "/tmp")) / f"streamhedge-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}: it must be a folder of ours; nothing was started") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ConfigError(
            f"{folder} is not ours alone (owner {found.st_uid}, mode {found.st_mode & 0o777:o}): remove it; nothing was "
            "started"
        )
    return folder


class InstanceLock:
    """Held for the life of the process."""

    def __init__(self, name: str, *, state_dir: Path) -> None:
        """Take the lock.

        Raises:
            AlreadyRunning: another process holds it; the message names it.
            ConfigError: the lock file is a link, not ours, or cannot be made.
        """
        folder = lock_folder()
        self.path = folder / f"{name}.lock"
        try:
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            with contextlib.suppress(
                BlockingIOError
            ):  # a cleaner at work this moment: it meets the file's lock instead
                fcntl.flock(self._folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._file = os.open(self.path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, orjson.dumps({"pid": os.getpid(), "state_dir": str(state_dir)}), 0)
        except BlockingIOError as error:
            holder = self._holder()
            self.release()
            raise AlreadyRunning(
                f"another streamhedge holds this account: pid {holder.get('pid', 'unknown')}, state "
                f"{holder.get('state_dir', 'unknown')}. This one did nothing; see it with `streamhedge status`, "
                "or stop it"
            ) from error
        except OSError as error:
            self.release()
            raise ConfigError(f"lock {self.path}: {error.strerror}: remove it; nothing was started") from error

    def _holder(self) -> dict[str, object]:
        try:
            found = orjson.loads(os.pread(self._file, 4096, 0))
            return found if isinstance(found, dict) else {}
        except (ValueError, OSError):
            return {}

    def release(self) -> None:
        """Let go; the file stays, the lock does not. Safe to call twice."""
        for name in ("_file", "_folder"):
            handle = self.__dict__.pop(name, None)
            if handle is not None:
                os.close(handle)
