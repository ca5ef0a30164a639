"""Frames through a socket: a flood of mark prices, read as fast as they can be taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.frames import Frame, Opcode

from scripts.benchmark.frames import FRAME_STEP_NS
from scripts.benchmark.processes import apart, standing
from scripts.benchmark.rig import Rig
from scripts.benchmark.rows import Rows
from streamhedge.venue.sockets import open_socket


def measure(rows: Rows, frames: list[bytes], fresh: Callable[[], Path]) -> None:
    """Add how many frames a second are taken, and what one costs."""
    count = len(frames)
    with standing(blast, frames) as port:
        bare = apart(read_bare, port, count)
        ours = apart(read_ours, port, count, fresh())
    rows.add("frames through a socket", "frames/s", ours=count / ours[0], bare=count / bare[0], rate=True)
    rows.add("  CPU of a frame", "µs", ours=ours[1] / count * 1e6, bare=bare[1] / count * 1e6)


def blast(tell: Callable[[int], None], frames: list[bytes]) -> None:
    """Serve a WebSocket that writes all frames as fast as they are taken."""
    whole = [Frame(Opcode.TEXT, frame).serialize(mask=False) for frame in frames]
    chunks = [b"".join(whole[start : start + 100]) for start in range(0, len(whole), 100)]

    async def handler(connection: ServerConnection) -> None:
        for chunk in chunks:
            connection.transport.write(chunk)
            while connection.transport.get_write_buffer_size() > 1 << 20:
                await asyncio.sleep(0.001)
        await connection.wait_closed()

    async def serve() -> None:
        async with serve_websockets(handler, "127.0.0.1", 0, compression=None) as server:
            tell(next(iter(server.sockets)).getsockname()[1])
            await server.serve_forever()

    asyncio.run(serve())


class Stopwatch:
    """Wall and CPU seconds from the first frame taken to the last."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._began = (0.0, 0.0)
        self.read: asyncio.Future[tuple[float, float]] = asyncio.get_running_loop().create_future()

    def count(self) -> None:
        """Count one frame after it was taken."""
        if self._began[0] == 0.0:
            self._began = time.perf_counter(), time.process_time()
        self._left -= 1
        if self._left == 0:
            wall_s, cpu_s = self._began
            self.read.set_result((time.perf_counter() - wall_s, time.process_time() - cpu_s))


def read_bare(tell: Callable[[tuple[float, float]], None], port: int, count: int) -> None:
    """Read frames as anybody would: await, orjson, a dict of last prices."""

    async def read() -> tuple[float, float]:
        watch = Stopwatch(count)
        prices: dict[str, str] = {}
        async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as socket:
            async for frame in socket:
                row = orjson.loads(frame)["data"]
                prices[row["s"]] = row["p"]
                watch.count()
                if watch.read.done():
                    break
        assert len(prices) == 2, prices
        return await watch.read

    tell(uvloop.run(read()))


def read_ours(tell: Callable[[tuple[float, float]], None], port: int, count: int, folder: Path) -> None:
    """Read frames into a live pump with recording, ledger, a short of 10 BTC, ladder and hedge rule."""

    async def read() -> tuple[float, float]:
        rig = Rig(folder)
        watch = Stopwatch(count)

        def take(payload: bytes) -> None:
            rig.now_ns += FRAME_STEP_NS
            rig.pump.feed("market", rig.now_ns, payload)
            watch.count()

        def fail(error: BaseException) -> None:
            watch.read.set_exception(error)

        connection = await open_socket(f"ws://127.0.0.1:{port}", take, fail)
        found = await watch.read
        await connection.close()
        assert rig.pump.session.state.status == "LIVE", "the machine stayed live"
        rig.close()
        return found

    tell(uvloop.run(read()))
