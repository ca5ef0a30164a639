"""Loopback relays between hedger and exchange: everything passes as it is, but what a test wants done otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import WSMsgType, web
from yarl import URL

from tests.support.processes import Venue

KEPT = ("x-mbx-apikey", "content-type", "user-agent")
PASSED = ("x-mbx", "retry", "content-type")
STREAMS = {"market": b"/market", "private": b"/private", "ws_api": b"/ws-fapi"}
"""How each of the three streams is asked for."""


class Relay:
    """Relays REST, streams and the WebSocket API of one exchange."""

    def __init__(self, venue: Venue, session: aiohttp.ClientSession) -> None:
        self.doubled: list[str] = []
        self.double_next_order = False
        self.order_delay_s: Callable[[], float] = lambda: 0.0
        """How long an order is on its way; it arrives even when its sender is dead by then."""
        self.under_way = 0
        self.passes = asyncio.Event()
        """Orders wait for it on their way."""
        self.passes.set()
        self.arrived_ns: dict[str, int] = {}
        """When each order came by, wall time, by client order id."""
        self.answered: dict[str, str] = {}
        """What the exchange said of each order, by client order id."""
        self.endpoints: dict[str, str] = {}
        self.heard: list[str] = []
        """Every address and every message that came from the hedger, and every listen key that went back."""
        self._venue = venue
        self._session = session

    async def route(self, request: web.Request) -> web.StreamResponse:
        """Take one request from the hedger."""
        self.heard.append(request.raw_path)
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._socket(request)
        body = await request.read()
        if (request.method, request.path) != ("POST", "/fapi/v1/order"):
            return await self._call(request, body)
        name = request.query.get("newClientOrderId", "")
        self.arrived_ns[name] = time.time_ns()
        self.under_way += 1
        await asyncio.sleep(self.order_delay_s())
        await self.passes.wait()
        self.under_way -= 1
        if self.double_next_order:
            self.double_next_order = False
            self.doubled.append(name)
            await self._call(request, body)
        answer = await self._call(request, body)
        self.answered[name] = answer.text or ""
        return answer

    async def _call(self, request: web.Request, body: bytes) -> web.Response:
        address = URL(self._venue.rest + request.raw_path, encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() in KEPT}
        try:
            async with self._session.request(request.method, address, data=body or None, headers=headers) as answer:
                kept = {n: v for n, v in answer.headers.items() if n.lower().startswith(PASSED)}
                said = await answer.read()
                if request.path.endswith("/listenKey"):
                    self.heard.append(said.decode())
                return web.Response(status=answer.status, body=said, headers=kept)
        except aiohttp.ClientError:
            # The exchange cut the connection: so does its relay.
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        near = web.WebSocketResponse(compress=False)
        await near.prepare(request)
        base = self._venue.ready["stream"]
        async with self._session.ws_connect(URL(base + request.raw_path, encoded=True), compress=0) as far:

            async def back() -> None:
                async for message in far:
                    if message.type is WSMsgType.TEXT:
                        await near.send_str(message.data)
                await near.close()

            pump = asyncio.create_task(back())
            async for message in near:
                if message.type is WSMsgType.TEXT:
                    self.heard.append(message.data)
                    await far.send_str(message.data)
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        return near


@contextlib.asynccontextmanager
async def relay(venue: Venue, kind: type[Relay] = Relay) -> AsyncIterator[Relay]:
    """Serve a relay to the venue for the block."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        found = kind(venue, session)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", found.route)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            found.endpoints = _addresses(runner.addresses[0][1])
            yield found
        finally:
            await runner.cleanup()


class Wires:
    """A relay of bare connections to one exchange: it knows which of the three streams each one is, and resets them."""

    def __init__(self, venue: Venue) -> None:
        self.endpoints: dict[str, str] = {}
        self.opened: dict[str, int] = dict.fromkeys(STREAMS, 0)
        """How often each stream was opened, by name."""
        self._port = URL(venue.rest).port
        self._open: dict[str, list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]]] = {name: [] for name in STREAMS}

    def reset(self, stream: str) -> None:
        """Cut every connection of a stream the way a router does that forgot it: both ends are told RST."""
        for pair in self._open[stream]:
            for end in pair:
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        """Carry one connection until either end closes it."""
        far: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n")
            back, far = await asyncio.open_connection("127.0.0.1", self._port)
            far.write(head)
            stream = next((name for name, path in STREAMS.items() if head.startswith(b"GET " + path)), None)
            if stream is not None:
                self.opened[stream] += 1
                self._open[stream].append((near, far))
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_one_way(reader, far))
                ways.create_task(_one_way(back, near))
        except (OSError, asyncio.IncompleteReadError, ExceptionGroup):
            pass
        finally:
            for pairs in self._open.values():
                pairs[:] = [pair for pair in pairs if pair[0] is not near]
            for end in (near, far):
                if end is not None:
                    end.close()


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65_536):
        writer.write(part)
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def wires(venue: Venue) -> AsyncIterator[Wires]:
    """Serve bare connections to the venue for the block."""
    found = Wires(venue)
    server = await asyncio.start_server(found.carry, "127.0.0.1", 0)
    found.endpoints = _addresses(server.sockets[0].getsockname()[1])
    try:
        yield found
    finally:
        server.close()
        for stream in STREAMS:
            found.reset(stream)


def _addresses(port: int) -> dict[str, str]:
    """Return the endpoints of a venue that is reached through one loopback port."""
    return {
        "rest": f"http://127.0.0.1:{port}",
        "stream": f"ws://127.0.0.1:{port}",
        "ws_api": f"ws://127.0.0.1:{port}/ws-fapi/v1",
    }
