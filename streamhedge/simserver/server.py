"""One loopback port for everything: /fapi, the routed streams, /ws-fapi/v1, spot's /ws-api/v3, and our own /__ doors.

The exchange is pure; this drives its clock and carries its frames. Each socket has one writer, so order is kept.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal

from aiohttp import WSMsgType, web

from streamhedge.errors import ConfigError
from streamhedge.sim import spot
from streamhedge.sim.calls import Reply
from streamhedge.sim.exchange import Exchange
from streamhedge.sim.grammar import Message, encode
from streamhedge.sim.market import graded
from streamhedge.sim.refusals import Refusal
from streamhedge.sim.streams import LIFE_MS
from streamhedge.sim.wsapi import HANDSHAKE_WEIGHT, WsSession

BEAT_S = 0.1
"""How long the exchange sleeps at most: late orders and key expiry need no finer clock than marks do."""
FRAMES_WAITING_MOST = 20_000
BODY_MOST = 1 << 20
WATERMARK = "X-Streamhedge-Simulated"
"""In the head of every answer and handshake: nobody may take these prices for real ones (FAULTS K8)."""


def wall_ms() -> int:
    """Return the wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    response.headers[WATERMARK] = "1"


class Server:
    """The exchange behind sockets."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._queues: dict[int, asyncio.Queue[str]] = {}
        self._sockets: dict[int, web.WebSocketResponse] = {}
        self._api_sockets: list[tuple[web.WebSocketResponse, WsSession]] = []
        self._spot: dict[int, tuple[web.WebSocketResponse, asyncio.Queue[str]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """Return the application with its one route."""
        app = web.Application(client_max_size=BODY_MOST)
        app.router.add_route("*", "/{path:.*}", self._route)
        app.on_response_prepare.append(_mark)
        return app

    async def beat(self) -> None:
        """Drive the exchange's clock for ever."""
        while True:
            self.exchange.advance(wall_ms())
            self.flush()
            wait = (self.exchange.next_ms() - wall_ms()) / 1_000
            await asyncio.sleep(min(max(wait, 0.001), BEAT_S))

    def flush(self) -> None:
        """Hand what the exchange said to the writers, and cut what it wants cut."""
        streams = self.exchange.streams
        for number, text in streams.outbox:
            queue = self._queues.get(number)
            if queue is not None:
                if queue.qsize() >= FRAMES_WAITING_MOST:
                    streams.closing.append(number)
                else:
                    queue.put_nowait(text)
        streams.outbox.clear()
        for number in streams.closing:
            socket = self._sockets.pop(number, None)
            self._queues.pop(number, None)
            streams.close(number)
            if socket is not None:
                self._spawn(self._cut(socket))
        streams.closing.clear()
        self._flush_api()
        self._flush_spot()

    def _flush_api(self) -> None:
        exchange = self.exchange
        for socket, session in self._api_sockets:
            session.frozen = session.frozen or exchange.freeze_ws_api
            if exchange.drop_ws_api or session.connected_ms <= exchange.now_ms - LIFE_MS:
                self._spawn(self._cut(socket))
        exchange.drop_ws_api = exchange.freeze_ws_api = False

    def _flush_spot(self) -> None:
        book = self.exchange.spot
        for number, text in book.outbox:
            if number in self._spot:
                self._spot[number][1].put_nowait(text)
        book.outbox.clear()
        aged = [s.number for s in book.sessions.values() if s.connected_ms <= self.exchange.now_ms - LIFE_MS]
        for number in (*book.closing, *aged):
            book.close(number)
            socket, queue = self._spot.pop(number, (None, None))
            if socket is not None and queue is not None:
                self._spawn(self._cut_after(socket, queue))
        book.closing.clear()

    async def _cut_after(self, socket: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:
        """Cut a socket once what was said on it before is written."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await queue.join()
        await self._cut(socket)

    @staticmethod
    async def _cut(socket: web.WebSocketResponse) -> None:
        with suppress(ConnectionError, RuntimeError):
            await socket.close(code=1001, message=b"dropped")

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ doors

    async def _route(self, request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/fapi/"):
            return await self._rest(request, path, query)
        if path.startswith("/__"):
            return await self._own(request, path)
        if request.headers.get("upgrade", "").lower() == "websocket":
            if path.rstrip("/") == "/ws-fapi/v1":
                return await self._ws_api(request, query)
            if path.rstrip("/") == spot.PATH:
                return await self._spot_api(request, query)
            return await self._stream(request, path, query)
        return web.json_response({"code": -5000, "msg": f"Path {path} is invalid"}, status=404)

    async def _rest(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        body = (await request.read()).decode("utf-8", "replace")
        reply = self.exchange.rest(
            method=request.method,
            path=path,
            query=query,
            body=body,
            api_key=request.headers.get("X-MBX-APIKEY", ""),
            now_ms=wall_ms(),
        )
        self.flush()
        if reply.cut and request.transport is not None:
            request.transport.abort()
            return web.Response()
        return _response(reply)

    async def _ws_api(self, request: web.Request, query: str) -> web.StreamResponse:
        refused = self.exchange.handshake(wall_ms(), weight=HANDSHAKE_WEIGHT)
        if refused is not None:
            return _response(refused)
        socket = _socket()
        await socket.prepare(request)
        session = WsSession(connected_ms=wall_ms(), rate_limits="returnRateLimits=false" not in query)
        self._api_sockets.append((socket, session))
        try:
            async for message in socket:
                if session.frozen:
                    continue
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    answer = self.exchange.ws_api(session, message.data, wall_ms())
                    self.flush()
                    if answer is None:
                        break
                    if not session.frozen:
                        await socket.send_str(answer)
        except ConnectionError:
            pass
        finally:
            self._api_sockets.remove((socket, session))
        return socket

    async def _spot_api(self, request: web.Request, query: str) -> web.StreamResponse:
        book = self.exchange.spot
        refused = self.exchange.handshake(wall_ms())
        if refused is not None:
            return _response(refused)
        socket = _socket()
        await socket.prepare(request)
        session = book.open(query, wall_ms())
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._spot[session.number] = socket, queue
        writer = asyncio.create_task(self._write_spot(socket, queue))
        try:
            async for message in socket:
                if session.frozen:
                    continue
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    self.exchange.spot_api(session.number, message.data, wall_ms())
                    self.flush()
        except ConnectionError:
            pass
        finally:
            writer.cancel()
            self._spot.pop(session.number, None)
            book.close(session.number)
        return socket

    @staticmethod
    async def _write_spot(socket: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:
        with suppress(ConnectionError, RuntimeError):
            while True:
                text = await queue.get()
                try:
                    await socket.send_str(text)
                finally:
                    queue.task_done()

    async def _stream(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        streams = self.exchange.streams
        refused = self.exchange.handshake(wall_ms())
        if refused is not None:
            return _response(refused)
        number = streams.open(path, query, wall_ms())
        if number is None:
            return web.json_response({"code": -5000, "msg": f"Path {path} is invalid"}, status=404)
        socket = _socket()
        await socket.prepare(request)
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._queues[number] = queue
        self._sockets[number] = socket
        writer = asyncio.create_task(self._write(socket, queue))
        try:
            async for message in socket:
                connection = streams.connections.get(number)
                if connection is None or connection.frozen:
                    continue
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    streams.receive(number, message.data, wall_ms())
                    self.flush()
        except ConnectionError:
            pass
        finally:
            writer.cancel()
            self._queues.pop(number, None)
            self._sockets.pop(number, None)
            streams.close(number)
        return socket

    @staticmethod
    async def _write(socket: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:
        with suppress(ConnectionError, RuntimeError):
            while True:
                await socket.send_str(await queue.get())

    # ------------------------------------------------------------ the exchange's own doors

    async def _own(self, request: web.Request, path: str) -> web.StreamResponse:
        handler = OWN.get((request.method, path))
        if handler is None:
            return web.json_response({"error": f"no such door: {request.method} {path}"}, status=404)
        try:
            said = json.loads(await request.read() or b"{}")
            if not isinstance(said, dict):
                raise ValueError("a door takes one JSON object")
            self.exchange.advance(wall_ms())
            found = handler(self.exchange, said)
            self.exchange.advance(wall_ms())
        except (ConfigError, Refusal, ValueError, KeyError, TypeError, ArithmeticError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        self.flush()
        return web.Response(body=encode(found).encode(), content_type="application/json")


def _socket() -> web.WebSocketResponse:
    """Return a socket whose pings we answer ourselves, so that a frozen one can leave them unanswered."""
    return web.WebSocketResponse(max_msg_size=BODY_MOST, compress=False, autoping=False)


def _response(reply: Reply) -> web.Response:
    headers = {"content-type": "application/json;charset=UTF-8", **reply.headers}
    return web.Response(status=reply.status, body=reply.body.encode(), headers=headers)


def _truth(exchange: Exchange, said: Message) -> Message:
    return exchange.truth()


def _fault(exchange: Exchange, said: Message) -> Message:
    """Arm the faults in {"fault": "O1=executed,U2=event"}; take one back with {"clear": "C1"}."""
    if "clear" in said:
        exchange.faults.disarm(said["clear"])
    if "fault" in said:
        exchange.faults.arm(said["fault"], exchange.now_ms)
    return {"armed": [f"{fault.name}={fault.value}" for fault in exchange.faults.armed]}


def _external(exchange: Exchange, said: Message) -> Message:
    """Trade as somebody else: {"symbol": "BTCUSDT", "quantity": "-1"}, with "price" one that rests; {"cancel": symbol}."""
    if "cancel" in said:
        exchange.engine.cancel_all(said["cancel"], exchange.now_ms)
        return exchange.truth()
    price = Decimal(said["price"]) if "price" in said else None
    exchange.engine.external(
        said.get("symbol", "BTCUSDT"),
        Decimal(said["quantity"]),
        exchange.now_ms,
        price=price,
        client_id=said.get("client_id"),
    )
    return exchange.truth()


def _wallet(exchange: Exchange, said: Message) -> Message:
    """Move money: {"change": "-1000"}."""
    change = Decimal(said["change"])
    exchange.engine.transfer(change, "DEPOSIT" if change > 0 else "WITHDRAW", exchange.now_ms)
    return exchange.truth()


def _contract(exchange: Exchange, said: Message) -> Message:
    """Change a contract, with its news.

    {"symbol": "BTCUSDT", "status": "SETTLING"}, or "brackets": [["300000", "0.004", 150], …] as cap, rate, leverage.
    """
    rows = said.get("brackets")
    brackets = None if rows is None else graded([(Decimal(cap), Decimal(rate), int(most)) for cap, rate, most in rows])
    exchange.change_contract(said["symbol"], exchange.now_ms, status=said.get("status"), brackets=brackets)
    return exchange.truth()


def _spot_door(exchange: Exchange, said: Message) -> Message:
    """Let something happen to the spot account.

    {"side": "BUY", "quantity": "0.15", "price": "67000", "commission_asset": "BNB", "times": 2} fills an order; price is
    the index without, times is how often each event is sent (0 loses them). {"asset": "USDT", "change": "-5000"} moves
    money. {"end": "terminated" | "shutdown" | "closed" | "mute" | "frozen"} ends what is open. {"list": "BTCUSDT"} tells a list.
    """
    book, now_ms = exchange.spot, exchange.now_ms
    if "side" in said:
        symbol = said.get("symbol", "BTCUSDT")
        price = Decimal(said["price"]) if "price" in said else round(exchange.engine.contract(symbol).index, 2)
        more = {"commission_asset": said.get("commission_asset", ""), "times": int(said.get("times", 1))}
        book.fill(symbol, said["side"], Decimal(said["quantity"]), price, now_ms, **more)
    if "change" in said:
        book.transfer(said["asset"], Decimal(said["change"]), now_ms)
    if "list" in said:
        book.list_status(said["list"], now_ms)
    if "end" in said:
        book.end(said["end"], now_ms)
    return book.truth()


OWN: dict[tuple[str, str], Callable[[Exchange, Message], Message]] = {
    ("GET", "/__truth"): _truth,
    ("POST", "/__fault"): _fault,
    ("POST", "/__external"): _external,
    ("POST", "/__contract"): _contract,
    ("POST", "/__wallet"): _wallet,
    ("POST", "/__spot"): _spot_door,
}


async def serve(
    exchange: Exchange, *, port: int, ready: Callable[[Message], None], stop: Callable[[], Awaitable[object]]
) -> None:
    """Serve the exchange on 127.0.0.1 until ``stop`` returns.

    Args:
        exchange: The exchange.
        port: The port; 0 takes a free one.
        ready: Told the addresses once connections are accepted.
        stop: Awaited; its return ends the service.

    Raises:
        ConfigError: the port is taken.
    """
    server = Server(exchange)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            f"port {port} on 127.0.0.1 cannot be used: {error.strerror}; name another with --port"
        ) from error
    bound = runner.addresses[0][1]
    beat = asyncio.create_task(server.beat())
    stopping = asyncio.ensure_future(stop())
    try:
        ready(
            {
                **{"rest": f"http://127.0.0.1:{bound}", "stream": f"ws://127.0.0.1:{bound}"},
                **{"ws_api": f"ws://127.0.0.1:{bound}/ws-fapi/v1", "api_key": exchange.keys.api_key},
                "spot_ws_api": f"ws://127.0.0.1:{bound}{spot.PATH}",
                **{"api_secret": exchange.keys.api_secret, "symbols": list(exchange.contracts)},
            }
        )
        await asyncio.wait({beat, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if beat.done():
            beat.result()
    finally:
        for task in (beat, stopping):
            task.cancel()
        await runner.cleanup()
