"""The live book of a hedger that runs in another process: the same type, the same figures, fed input by input.

The replica takes the whole state once and then every input by its number through the same pump, without hands and
without a ledger. A hole in the numbers is refused and the state asked for again; a broken connection goes on from the
last number where the other side still has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson

from streamhedge.errors import AuthenticationError, CommandError, ConfigError, NotRunning, ReplayDiverged
from streamhedge.live.book_view import BookView
from streamhedge.runtime.pump import Observer, Pump, restore
from streamhedge.store.journal import original

LINE_MOST = 64 * 1024 * 1024
"""The whole state is one line."""
AGAIN_S = 0.25


class AttachedBook(BookView):
    """A position book that follows another process. ``lag_ms`` is how old its newest input is."""

    def __init__(self, header: dict[str, object]) -> None:
        self._pump = _restored(header, self.observe)
        super().__init__(self._pump.reactor.core, time.time_ns)
        self.resumed = 0
        self.restarted = 0
        self.connected = True

    @property
    def seq(self) -> int:
        """Number of the last input."""
        return self._pump.seq

    @property
    def lag_ms(self) -> int:
        """Age of the newest input, milliseconds; an input comes ten times a second."""
        return max(0, (time.time_ns() - self._pump.last_ns) // 1_000_000)

    def digest(self) -> str:
        """Return the digest of the state, to compare with the other process's."""
        return self._pump.digest()

    def take(self, seq: int, recv_ns: int, source: str, payload: bytes) -> None:
        """Take the next input.

        Raises:
            ReplayDiverged: it is not the next one, or the state that came is not what it says.
        """
        if source == "header":
            self._pump = _restored(orjson.loads(payload), self.observe)
            self._core = self._pump.reactor.core
            return
        if seq <= self._pump.seq:
            return
        if seq != self._pump.seq + 1:
            raise ReplayDiverged(seq, f"input {self._pump.seq + 1}", f"input {seq}: a gap")
        self._pump.feed(source, recv_ns, original(payload))


def _restored(header: dict[str, object], observe: Observer) -> Pump:
    """Return the pump that a state line describes.

    Raises:
        ReplayDiverged: its digest is another one: the other process runs another version.
    """
    state, digest = header["state"], str(header["digest"])
    assert isinstance(state, dict), "a state is an object"
    pump = restore(state, observers=(observe,))
    if pump.digest() != digest:
        raise ReplayDiverged(pump.seq, digest, f"{pump.digest()}; the process runs version {header.get('version')}")
    return pump


@asynccontextmanager
async def attach(
    where: str | Path, *, token: str | None = None, timeout_s: float = 10.0
) -> AsyncIterator[AttachedBook]:
    """Follow the book of a running hedger.

    Args:
        where: Its control socket (a path), or the address of its page (http://127.0.0.1:8787), which needs the token.
        token: The page's token.
        timeout_s: How long to wait for the first state, and without any input before the connection counts as broken.

    Yields:
        The book. It goes on by itself when the connection breaks; ``connected`` and ``lag_ms`` tell.

    Raises:
        NotRunning: nobody answers there.
        AuthenticationError: the token is refused.
        ConfigError: the address is no loopback address.
    """
    link = _Link(str(where), token)
    lines = link.lines(None)
    try:
        async with asyncio.timeout(timeout_s):
            first = await anext(lines)
    except (OSError, TimeoutError, StopAsyncIteration, aiohttp.ClientError) as error:
        await lines.aclose()
        raise NotRunning(f"nobody answers at {where}; start it with `streamhedge run`") from error
    _, _, source, payload = _parts(first)
    if source != "header":
        await lines.aclose()
        raise NotRunning(f"{where} answers, but not with a book: {first[:200].decode('utf-8', 'replace')}")
    book = AttachedBook(orjson.loads(payload))
    following = asyncio.create_task(_follow(book, link, lines, timeout_s))
    try:
        yield book
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await following
        book.close()


async def _follow(book: AttachedBook, link: _Link, lines: AsyncGenerator[bytes, None], timeout_s: float) -> None:
    """Take inputs for ever; go on from the last number after a break, from the whole state after a gap."""
    while True:
        after: int | None = book.seq
        try:
            while True:
                async with asyncio.timeout(timeout_s):
                    line = await anext(lines)
                seq, recv_ns, source, payload = _parts(line)
                if source == "header":
                    book.restarted += 1
                book.take(seq, recv_ns, source, payload)
                book.connected = True
        except ReplayDiverged:
            after = None
        except (OSError, TimeoutError, StopAsyncIteration, ValueError, aiohttp.ClientError):
            after = book.seq
        finally:
            with contextlib.suppress(Exception):
                await lines.aclose()
        book.connected = False
        await asyncio.sleep(AGAIN_S)
        book.resumed += 1
        lines = link.lines(after)


class _Link:
    """Where the inputs come from."""

    def __init__(self, where: str, token: str | None) -> None:
        self._where = where
        self._token = token
        if where.startswith(("http://", "https://")) and not where.startswith(
            ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")
        ):
            raise ConfigError(f"{where}: only loopback addresses; reach it from elsewhere through ssh -L")

    async def lines(self, after: int | None) -> AsyncGenerator[bytes, None]:
        """Yield lines from one connection until it breaks."""
        if self._where.startswith("http://"):
            async for line in self._from_page(after):
                yield line
            return
        path = Path(self._where)
        if not path.exists():
            raise ConnectionRefusedError(f"no socket at {path}")
        if path.stat().st_uid != os.getuid():
            raise ConfigError(f"{path} is not ours")
        reader, writer = await asyncio.open_unix_connection(str(path), limit=LINE_MOST)
        try:
            writer.write(orjson.dumps({"verb": "follow", "after": after}) + b"\n")
            await writer.drain()
            while line := await reader.readline():
                yield line
        finally:
            writer.close()

    async def _from_page(self, after: int | None) -> AsyncIterator[bytes]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        headers = {"Authorization": f"Bearer {self._token or ''}"}
        query = {} if after is None else {"after": str(after)}
        async with (
            aiohttp.ClientSession(trust_env=False, timeout=timeout, read_bufsize=LINE_MOST) as session,
            session.get(f"{self._where.rstrip('/')}/follow", headers=headers, params=query) as answer,
        ):
            if answer.status in (401, 403):
                raise AuthenticationError(answer.status, 0, "the page refuses the token; say the one of [web] token")
            answer.raise_for_status()
            async for line in answer.content:
                yield line


def _parts(line: bytes) -> tuple[int, int, str, bytes]:
    """Return number, receive time, source and payload of a line.

    Raises:
        CommandError: it is an error that the other side said.
        ValueError: it is cut off.
    """
    if line.startswith(b"{"):
        raise CommandError(str(orjson.loads(line).get("error")))
    if not line.endswith(b"\n"):
        raise ValueError("the line is cut off")
    seq, recv_ns, source, payload = line[:-1].split(b" ", 3)
    return int(seq), int(recv_ns), source.decode(), payload
