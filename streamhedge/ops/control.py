"""The unix control socket: one JSON object per line in, one out; 0600, and only our own user is heard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from streamhedge.errors import NotRunning, StreamhedgeError
from streamhedge.ops.exits import FAILURE, exit_of
from streamhedge.store.lock import lock_folder

LINE_MOST = 64 * 1024
LINE_S = 5.0
TALKING_MOST = 32
PATH_MOST = 100
"""A unix socket's path has at most 107 bytes."""
STOPPING = (
    "the process stops; what you asked for stays booked if it got that far: `streamhedge status` tells after the next "
    "start, and the same id asks again without booking twice"
)
STALL_S = 10.0
Answer = dict[str, Any] | AsyncGenerator[bytes, None]
"""One object, or lines for as long as somebody follows."""
Handler = Callable[[dict[str, Any], int], Awaitable[Answer]]


def socket_path(name: str) -> Path:
    """Return where the socket of an account stands: in the per-user folder, named like its lock."""
    path = lock_folder() / f"{name}.sock"
    return (
        path if len(os.fsencode(path)) <= PATH_MOST else Path("/tmp") / f"streamhedge-{os.getuid()}-{name[-12:]}.sock"
    )


def peer_uid(connection: socket.socket) -> int:
    """Return the uid at the other end."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", raw)
    return int(uid)


@contextlib.asynccontextmanager
async def served(name: str, handler: Handler) -> Any:
    """Serve the control socket of an account while the block runs."""
    path = socket_path(name)
    path.unlink(missing_ok=True)
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        talks.add(me)
        try:
            uid = peer_uid(writer.get_extra_info("socket"))
            if len(talks) > TALKING_MOST:
                writer.write(
                    orjson.dumps({"error": f"{TALKING_MOST} conversations are open; ask again", "exit": 3}) + b"\n"
                )
                return
            if uid != os.getuid():
                writer.write(orjson.dumps({"error": f"uid {uid} is not welcome here", "exit": 4}) + b"\n")
                return
            answer = await _answer(await _line(reader), uid, handler)
            if isinstance(answer, bytes):
                writer.write(answer + b"\n")
                await writer.drain()
                return
            async with contextlib.aclosing(answer) as lines:
                async for line in lines:
                    if writer.is_closing():  # a reader that was killed; to write to it would raise
                        return
                    writer.write(line)
                    if writer.transport.get_write_buffer_size():
                        async with asyncio.timeout(STALL_S):
                            await writer.drain()
        except OSError:  # a TimeoutError too: whoever follows and does not read is let go
            return
        except asyncio.CancelledError:
            if not writer.is_closing():
                writer.write(orjson.dumps({"error": STOPPING, "exit": 3}) + b"\n")
        finally:
            talks.discard(me)
            writer.close()

    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(talk, path=str(path), limit=LINE_MOST)
    finally:
        os.umask(before)
    try:
        yield path
    finally:
        server.close()
        path.unlink(missing_ok=True)
        for waiting in talks:
            waiting.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return one line; empty when it is too long, or does not come."""
    try:
        async with asyncio.timeout(LINE_S):
            return await reader.readline()
    except (TimeoutError, ValueError):
        return b""


async def _answer(line: bytes, uid: int, handler: Handler) -> bytes | AsyncGenerator[bytes, None]:
    try:
        request = orjson.loads(line)
        if not isinstance(request, dict):
            raise ValueError("not an object")
        if any(isinstance(value, dict | list) for value in request.values()):
            raise ValueError("a value is no plain one")
    except ValueError as error:
        said = f"expected one JSON object per line, at most {LINE_MOST} bytes, within {LINE_S:.0f} s: {error}"
        return orjson.dumps({"error": said, "exit": 2})
    try:
        found = await handler(request, uid)
        return orjson.dumps(found) if isinstance(found, dict) else found
    except StreamhedgeError as error:
        return orjson.dumps({"error": str(error), "exit": exit_of(error)})
    except Exception as error:
        # A fault of ours: whoever asks hears of it, the loop's handler tells the log, and the others are served on.
        asyncio.get_running_loop().call_exception_handler({"message": "a control request failed", "exception": error})
        said = f"the request failed ({type(error).__name__}); whether it acted shows in `streamhedge status`"
        return orjson.dumps({"error": said, "exit": FAILURE})


def ask(name: str, request: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Send one request to the running process and return its answer.

    Raises:
        NotRunning: nobody listens, or no answer came in time.
    """
    path = socket_path(name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.sendall(orjson.dumps(request) + b"\n")
            received = b""
            while not received.endswith(b"\n"):
                part = connection.recv(65_536)
                if not part:
                    break
                received += part
        except (FileNotFoundError, ConnectionError) as error:
            raise NotRunning("no streamhedge runs for this account; start it with `streamhedge run`") from error
        except TimeoutError as error:
            raise NotRunning(
                f"the process did not answer within {timeout_s:.0f} s; look at `streamhedge status`"
            ) from error
    if not received.endswith(b"\n"):
        raise NotRunning("the process hung up without an answer; whether it acted shows in `streamhedge status`")
    answer = orjson.loads(received)
    return answer if isinstance(answer, dict) else {}
