"""Another user of the machine at a hedger that is not its own: what it is refused (R18, FAULTS X1).

Run as a program it is that user: it gives up root, tries, and prints what came of each attempt. It needs nothing but the
standard library, for whoever it has become may not read our files.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable

from streamhedge.ops.control import served
from streamhedge.ops.selftest.bench import Bench, Untripped
from streamhedge.ops.words import Words

NOBODY = 65534
WAIT_S = 20.0
PR_SET_DUMPABLE = 4
HALT = {"verb": "halt", "reason": "a stranger at the socket"}


async def turned_away(bench: Bench) -> tuple[str, int]:
    """Let another user try to halt, to signal and to write the books; return what it met, and how often it was refused.

    Raises:
        Untripped: an attempt came through.
    """
    async with served(f"selftest-{os.getpid()}", Words(bench.hedger).answer) as path:
        # Its modes alone keep others out; whoever gets past them, by a handle it was given, is still told apart by its uid.
        door = os.open(path, os.O_PATH)
        os.chmod(path, 0o666)
        try:
            said = [str(path), str(door), str(os.getpid()), str(bench.hedger.folder / "ledger.sqlite")]
            answers = await _as_somebody_else(said, door)
        finally:
            os.close(door)
    if bench.hedger.core.state.halted is not None:
        raise Untripped(f"another user halted the hedger: {bench.hedger.core.state.halted}")
    through = [f"{what}: {answer}" for what, answer in answers.items() if not _refused(answer)]
    if through or not answers:
        raise Untripped(f"another user got through: {'; '.join(through)}")
    return "; ".join(f"{what}: {answer}" for what, answer in answers.items()), len(answers)


def _refused(answer: str) -> bool:
    return answer == "permission denied" or f"uid {NOBODY} is not welcome" in answer


async def _as_somebody_else(said: list[str], door: int) -> dict[str, str]:
    words = (sys.executable, "-m", "streamhedge.ops.selftest.stranger", *said)
    child = await asyncio.create_subprocess_exec(
        *words, pass_fds=(door,), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(WAIT_S):
            told, troubles = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        raise Untripped("another user was left waiting") from None
    if child.returncode != 0:
        raise Untripped(f"nobody else could be asked: {troubles.decode(errors='replace')[-200:]}")
    found: dict[str, str] = json.loads(told)
    return found


# ---------------------------------------------------------------- the other user


def _drop() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    # Without it the kernel keeps our own handles from us after the change of user.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def _ask(path: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(WAIT_S / 2)
        connection.connect(path)
        with contextlib.suppress(BrokenPipeError):  # who is not welcome is told so before it has spoken
            connection.sendall(json.dumps(HALT).encode() + b"\n")
        return connection.recv(65_536).decode()


def _write(path: str) -> str:
    with open(path, "ab"):
        return "the books can be written"


def _signal(process: int) -> str:
    os.kill(process, 0)
    return "the process can be signalled"


def _met(attempt: Callable[[], str]) -> str:
    try:
        return attempt()
    except PermissionError:
        return "permission denied"


def main(path: str, door: str, process: str, books: str) -> None:
    """Give up root, try everything, and print what came of it."""
    _drop()
    attempts: dict[str, Callable[[], str]] = {
        "halt at the socket": lambda: _ask(path),
        "halt past its modes": lambda: _ask(f"/proc/self/fd/{door}"),
        "signal": lambda: _signal(int(process)),
        "books": lambda: _write(books),
    }
    print(json.dumps({what: _met(attempt) for what, attempt in attempts.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
