"""A kernel that refuses: system calls of this process fail with an errno from a moment on. For a process of its own only.

The real thing below SQLite and below our own files: a seccomp filter (Linux, x86-64 and arm64), which nobody can lift
again. Calls on the standard streams pass, so that the process can say what it saw.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.shared import REPOSITORY

NUMBERS = {
    "x86_64": {"write": 1, "pwrite64": 18, "fsync": 74, "fdatasync": 75, "openat": 257, "ftruncate": 77},
    "aarch64": {"write": 64, "pwrite64": 68, "fsync": 82, "fdatasync": 83, "openat": 56, "ftruncate": 46},
}
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
LOAD, EQUAL, GREATER, RETURN = 0x20, 0x15, 0x25, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16

needs_refusing = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in NUMBERS, reason="system calls are refused by seccomp, on Linux"
)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def refuse(errno: int, calls: Sequence[str]) -> None:
    """Let these calls fail with this errno in this process from now on, except on file descriptors 0 to 2."""
    numbers = [NUMBERS[platform.machine()][call] for call in calls]
    count = len(numbers)
    steps = [(LOAD, 0, 0, NUMBER_AT)]
    steps += [(EQUAL, count - index, 0, number) for index, number in enumerate(numbers)]
    steps += [(RETURN, 0, 0, ALLOW), (LOAD, 0, 0, FIRST_ARGUMENT_AT), (GREATER, 1, 0, 2)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | errno)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    system = ctypes.CDLL(None, use_errno=True)
    for words in ((NO_NEW_PRIVILEGES, 1, 0, 0, 0), (SECCOMP, FILTER, ctypes.byref(program), 0, 0)):
        if system.prctl(*words) != 0:
            raise OSError(ctypes.get_errno(), "this kernel takes no filter")


def run_apart(code: str, *arguments: str | Path) -> str:
    """Run Python code in a process of its own and return its stdout; what it raises fails the test."""
    words = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=REPOSITORY)
    if "takes no filter" in done.stderr:
        pytest.skip("this kernel takes no seccomp filter from us")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()
