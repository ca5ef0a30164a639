"""The control socket against whatever a local program may send: every line gets an answer, nobody holds it for others."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from streamhedge.errors import CommandError, NotRunning
from streamhedge.ops import control
from streamhedge.ops.control import ask, served

NAME = "sim-0123456789ab"


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A short folder of our own: a unix socket's path has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="shctl-") as folder:
        monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", folder)
        yield


async def handler(request: dict[str, Any], uid: int) -> dict[str, Any]:
    """Answer as the program does: refuse some, echo the rest."""
    if request.get("verb") == "no":
        raise CommandError("refused; nothing was done")
    return {"echo": request, "uid": uid}


@pytest_asyncio.fixture
async def path() -> AsyncIterator[Path]:
    async with served(NAME, handler) as found:
        yield found


async def send(path: Path, line: bytes, *, close: bool = False) -> dict[str, Any]:
    """Send bytes and return the answer."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(line)
        if close:
            writer.write_eof()
        return orjson.loads(await asyncio.wait_for(reader.readline(), 60))  # type: ignore[no-any-return]
    finally:
        writer.close()


@pytest.mark.fault("X1")
async def test_an_object_is_answered_and_its_sender_known(path: Path) -> None:
    assert await send(path, b'{"verb":"status"}\n') == {"echo": {"verb": "status"}, "uid": os.getuid()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "line", [b'{"verb":[]}\n', b"\n", b"{\n", b"[]\n", b'"x"\n', b"\xff\xfe\n", b"{}{}\n", b"x" * (1 << 20) + b"\n"]
)
async def test_anything_else_is_a_usage_error(path: Path, line: bytes) -> None:
    found = await send(path, line)
    assert found["exit"] == 2 and "one JSON object per line" in found["error"]


async def test_half_a_line_is_answered(path: Path) -> None:
    assert (await send(path, b'{"verb":"sta', close=True))["exit"] == 2


async def test_a_refusal_carries_its_exit_code(path: Path) -> None:
    assert await send(path, b'{"verb":"no"}\n') == {"error": "refused; nothing was done", "exit": 2}


@pytest.mark.fault("X1")
async def test_a_silent_client_is_let_go_and_hinders_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LINE_S", 0.05)
    reader, writer = await asyncio.open_unix_connection(str(path))
    assert (await send(path, b'{"verb":"status"}\n'))["echo"] == {"verb": "status"}
    assert orjson.loads(await asyncio.wait_for(reader.readline(), 60))["exit"] == 2
    writer.close()


@pytest.mark.fault("X1")
async def test_too_many_conversations_are_refused_until_they_end(path: Path) -> None:
    silent = [await asyncio.open_unix_connection(str(path)) for _ in range(control.TALKING_MOST)]
    found = await send(path, b'{"verb":"status"}\n')
    assert found["exit"] == 3 and "conversations are open" in found["error"]
    for _, writer in silent:
        writer.close()

    async def answered() -> bool:
        return "echo" in await send(path, b'{"verb":"status"}\n')

    async with asyncio.timeout(60):
        while not await answered():
            await asyncio.sleep(0.01)


async def test_asking_from_a_command(path: Path) -> None:
    answer = await asyncio.to_thread(ask, NAME, {"verb": "status"}, timeout_s=60.0)
    assert answer["echo"] == {"verb": "status"}


def test_nobody_there() -> None:
    with pytest.raises(NotRunning, match="no streamhedge runs"):
        ask(NAME, {"verb": "status"}, timeout_s=1.0)
