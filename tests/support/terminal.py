"""A shell in a pseudo-terminal, for tests that type what a person types and read what a person reads."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PROMPT = "$ "
CEILING_S = 45.0
ROWS, COLUMNS = 50, 150


class Terminal:
    """One terminal with a shell in it."""

    def __init__(self, pid: int, handle: int) -> None:
        self.pid = pid
        self._handle = handle
        self.screen = ""
        """Everything that stood on it, oldest first."""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._handle, text.encode())

    def until(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Wait until something stands on the screen, beginning so far into what stood on it, and return it."""
        ends = time.monotonic() + CEILING_S
        while True:
            found = re.compile(pattern, re.M).search(self.screen, after)
            if found:
                return found
            assert time.monotonic() < ends, f"not within {CEILING_S} s: {pattern}\n{self.screen[-3000:]}"
            self._read(0.2)

    def run(self, command: str) -> str:
        """Type a command and return what it wrote, once the shell asks for the next one."""
        start = len(self.screen)
        self.type(command + "\n")
        end = self.until(r"^\$ \Z", after=start + len(command) + 1)
        return self.screen[start : end.start()].partition("\n")[2]

    def _read(self, wait_s: float) -> None:
        ready, _, _ = select.select([self._handle], [], [], wait_s)
        if ready:
            with contextlib.suppress(OSError):  # the shell has ended
                self.screen += os.read(self._handle, 65_536).decode("utf-8", "replace").replace("\r\n", "\n")


@contextlib.contextmanager
def terminal(folder: Path, env: Mapping[str, str]) -> Iterator[Terminal]:
    """Open a terminal with a shell in a folder; it hangs up at the end, as a closed window does."""
    pid, handle = pty.fork()
    if pid == 0:
        os.chdir(folder)
        plain = {"TERM": "dumb", "NO_COLOR": "1", "PS1": PROMPT, "HISTFILE": ""}
        os.execvpe("bash", ["bash", "--noprofile", "--norc", "--noediting", "-i"], {**env, **plain})
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    found = Terminal(pid, handle)
    try:
        found.until(r"^\$ \Z")
        yield found
    finally:
        os.close(handle)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
