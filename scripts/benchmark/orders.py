"""From a mark price, or a spot fill, to the order on the wire: a whole hedger over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import random
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web
from websockets.asyncio.client import connect
from yarl import URL

from scripts.benchmark.processes import CEILING_S, apart, standing
from scripts.benchmark.rig import BTCUSDT, KEY, LOW, SECRET, SETS, Level, tape
from scripts.benchmark.rows import Rows, share
from streamhedge.domain.values import Asset
from streamhedge.live.hedger import Hedger
from streamhedge.live.trades import Deposit
from streamhedge.settings.config import load_config
from streamhedge.settings.endpoints import Endpoints
from streamhedge.settings.secrets import Secret
from streamhedge.sim import spot
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.simserver.server import Server, wall_ms
from streamhedge.wire import requests
from streamhedge.wire.signing import HmacSigner, signed_params

HIGH = Decimal(51_000)
GAP = Decimal("0.002")
"""Between the two prices its worth crosses the demo's band of 100 USDT: 98 and 102."""
BOUGHT = Decimal("0.003")
"""What a spot fill of the bench buys or sells: more than the band's worth."""
MARKS, FILLS = "/__marks", "/__fills"
"""Doors of the bench's own exchange: one round each, begun by a mark price or by a spot fill."""
DEMO = Path(__file__).resolve().parents[2] / "streamhedge" / "settings" / "demo.toml"
WARM = 2
"""Orders of a round that open connections and are left out."""


def measure(rows: Rows, orders: int, fresh: Callable[[], Path]) -> None:
    """Add the middle and the slow end of so many orders, by what begins them."""
    count = orders + WARM
    for door, what in ((MARKS, "mark price"), (FILLS, "spot fill")):
        with standing(serve_venue) as host:
            bare = apart(trigger_bare, host, count, door)[WARM:]
        with standing(serve_venue) as host:
            ours = apart(trigger_ours, host, count, fresh(), door)[WARM:]
        for percent in (50, 99):
            name = f"{what} → order on the wire, p{percent}"
            rows.add(name, "µs", ours=share(ours, percent), bare=share(bare, percent))


class Venue(Server):
    """The exchange's server, which stamps when a mark that must trigger leaves and when the order for it arrives."""

    def __init__(self, exchange: Exchange, level: Level) -> None:
        super().__init__(exchange)
        self._level = level
        self._left_ns: int | None = None
        self._arrived: asyncio.Future[int] | None = None
        self._low = asyncio.Event()
        self._buys = True

    async def _write(self, socket: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:  # type: ignore[override]
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                text = await queue.get()
                if self._left_ns is None and f'"s":"BTCUSDT","p":"{HIGH}.' in text:
                    self._left_ns = time.monotonic_ns()
                await socket.send_str(text)
                if f'"s":"BTCUSDT","p":"{LOW}.' in text:
                    self._low.set()

    async def _write_spot(self, socket: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:  # type: ignore[override]
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                text = await queue.get()
                if self._left_ns is None and '"x":"TRADE"' in text:
                    self._left_ns = time.monotonic_ns()
                await socket.send_str(text)
                queue.task_done()

    async def _rest(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        arrived_ns = time.monotonic_ns()
        answer = await super()._rest(request, path, query)
        waiting = self._arrived
        if request.method == "POST" and path == requests.ORDER_PATH and waiting is not None and not waiting.done():
            assert answer.status == 200, answer.body
            waiting.set_result(arrived_ns)
        return answer

    async def _own(self, request: web.Request, path: str) -> web.StreamResponse:
        if path not in (MARKS, FILLS):
            return await super()._own(request, path)
        return web.json_response({"ns": await self._round(self._raise if path == MARKS else self._fill)})

    async def _raise(self) -> None:
        """Raise the price, once its fall has been told: who waits for it answers each rise once."""
        self._low.clear()
        await self._low.wait()
        self._left_ns = None
        self._level.price = HIGH

    async def _fill(self) -> None:
        self._left_ns = None
        side = "BUY" if self._buys else "SELL"
        self._buys = not self._buys
        self.exchange.spot.fill(BTCUSDT, side, BOUGHT, LOW, wall_ms(), commission_asset="none")
        self.flush()

    async def _round(self, happen: Callable[[], Awaitable[None]]) -> int:
        """Let something happen, wait for the order, lower the price again; return the nanoseconds from frame to order."""
        self._arrived = asyncio.get_running_loop().create_future()
        await asyncio.sleep(random.uniform(0.01, 0.02))
        await happen()
        arrived_ns = await asyncio.wait_for(self._arrived, CEILING_S / 4)
        self._level.price = LOW
        assert self._left_ns is not None, "an order follows a frame"
        return arrived_ns - self._left_ns


def serve_venue(tell: Callable[[str], None], speed: int = 100) -> None:
    """Serve the exchange until the process is ended; so many marks a second."""

    async def serve() -> None:
        level = tape()
        exchange = Exchange(Settings(level, Keys(KEY, SECRET), speed=Decimal(speed)), wall_ms())
        venue = Venue(exchange, level)
        runner = web.AppRunner(venue.application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        beat = asyncio.create_task(venue.beat())
        tell(f"127.0.0.1:{runner.addresses[0][1]}")
        await beat

    uvloop.run(serve())


async def _round(session: aiohttp.ClientSession, host: str, door: str) -> float:
    async with session.get(f"http://{host}{door}") as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["ns"] / 1e3


async def _until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(CEILING_S / 4):
        while not ready():
            await asyncio.sleep(0.002)


def endpoints_at(host: str) -> Endpoints:
    """Return the addresses of the bench's own exchange."""
    return Endpoints(
        rest=f"http://{host}",
        stream=f"ws://{host}",
        ws_api=f"ws://{host}/ws-fapi/v1",
        spot_ws_api=f"ws://{host}{spot.PATH}",
    )


async def answered(hedger: Hedger, session: aiohttp.ClientSession, host: str, door: str, count: int) -> list[float]:
    """Have a running hedger answer so many high marks, or spot fills; return the µs of each from frame to order."""

    def level() -> bool:
        state = hedger.core.state
        mark = state.book.marks.get(BTCUSDT)
        resting = state.memory[BTCUSDT].exposure is None and mark is not None and mark.mark_price == LOW
        return resting and state.book.quantity(BTCUSDT) == -state.floats[Asset("BTC")]

    found = []
    for _ in range(count):
        await _until(level)
        if door == MARKS:
            await hedger.execute_trade_with_hedge(Deposit(GAP))
        found.append(await _round(session, host, door))
    await _until(level)
    return found


def trigger_ours(tell: Callable[[list[float]], None], host: str, count: int, folder: Path, door: str) -> None:
    """Have a whole hedger answer each high mark, or each spot fill, with the order that its gap asks for."""

    async def run() -> list[float]:
        keys = {"api_key": Secret(KEY), "api_secret": Secret(SECRET)}
        with_spot = folder / "spot.toml"
        with_spot.write_text(f'[spot]\nsymbols = ["{BTCUSDT}"]\n')
        paths = [DEMO, with_spot] if door == FILLS else []
        hedger = Hedger(load_config(paths, SETS, {}), endpoints=endpoints_at(host), **keys, state_dir=folder)

        def listens() -> bool:
            return (
                door != FILLS
                or {"spot": "open"}.items() <= {row["name"]: row["state"] for row in hedger.status()["streams"]}.items()
            )

        async with hedger, aiohttp.ClientSession(trust_env=False) as session:
            await _until(listens)
            return await answered(hedger, session, host, door, count)

    tell(uvloop.run(run()))


def trigger_bare(tell: Callable[[list[float]], None], host: str, count: int, door: str) -> None:
    """Answer each high mark, or each spot fill, with one signed order, and know nothing else."""

    def query(number: int) -> str:
        words = (
            f"symbol=BTCUSDT&side=SELL&type=LIMIT&quantity={GAP}&price=50490&timeInForce=IOC&newClientOrderId=bare-{number}"
            f"&newOrderRespType=RESULT&recvWindow=10000&timestamp={wall_ms()}"
        )
        return f"{words}&signature={hmac.new(SECRET.encode(), words.encode(), hashlib.sha256).hexdigest()}"

    def called(said: dict[str, Any]) -> bool:
        if door == FILLS:
            return said["event"].get("x") == "TRADE"
        row = said["data"]
        return row["e"] == "markPriceUpdate" and float(row["p"]) > 50_000

    async def run() -> list[float]:
        marks = f"ws://{host}/market/stream?streams=btcusdt@markPrice@1s/!contractInfo"
        url = marks if door == MARKS else f"ws://{host}{spot.PATH}"
        found: list[float] = []
        answered, before = 0, False

        async def ask(session: aiohttp.ClientSession) -> None:
            for _ in range(count):
                found.append(await _round(session, host, door))

        timeout = aiohttp.ClientTimeout(total=10)
        async with (
            aiohttp.ClientSession(trust_env=False) as outside,
            aiohttp.ClientSession(trust_env=False, timeout=timeout) as orders,
            connect(url, compression=None, proxy=None) as socket,
        ):
            if door == FILLS:
                signed = signed_params({"apiKey": KEY, "timestamp": wall_ms()}, HmacSigner(SECRET))
                await socket.send(
                    json.dumps({"id": 1, "method": "userDataStream.subscribe.signature", "params": signed})
                )
                orjson.loads(await socket.recv())
            asking = asyncio.create_task(ask(outside))
            async for frame in socket:
                now = called(orjson.loads(frame))
                rises, before = now and not before, now
                if rises:
                    address = URL(f"http://{host}{requests.ORDER_PATH}?{query(answered)}", encoded=True)
                    async with orders.post(address, headers={"X-MBX-APIKEY": KEY}) as answer:
                        orjson.loads(await answer.read())
                    answered += 1
                if answered == count:
                    break
            await asking
        return found

    tell(uvloop.run(run()))
