#!/usr/bin/env python3
"""How fast it is, each figure beside a bare loop of websockets, orjson and aiohttp measured in the same run.

scripts/bench [--quick] [--json] [--rounds N]

Bare loop and ours take turns (A, B, A, B), so that a busy machine slows both; only ratios of one run mean anything. Every
socket is on loopback, every far end and every reader a process of its own, every file in a folder that is removed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import multiprocessing
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web
from rich import box
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.frames import Frame, Opcode
from yarl import URL

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import (
    Command,
    CreateListenKey,
    OpenStream,
    PlaceOrder,
    RequestOpenOrders,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.events import FloatTrade, FloatTradeKind, PositionSide
from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, Asset, Symbol, TradeId, exact
from streamhedge.live.hedger import Hedger
from streamhedge.live.recordings import replay_files
from streamhedge.live.trades import Deposit
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.rules.triggers import Holding, TriggerIndex
from streamhedge.runtime.pump import Pump
from streamhedge.settings.config import load_config
from streamhedge.settings.endpoints import Endpoints, market_url, private_url
from streamhedge.settings.secrets import Secret
from streamhedge.sim import spot
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import Tape
from streamhedge.sim.wsapi import WsSession
from streamhedge.simserver.server import Server, wall_ms
from streamhedge.store.journal import JournalWriter
from streamhedge.store.ledger import Ledger
from streamhedge.venue.sockets import open_socket
from streamhedge.wire import requests
from streamhedge.wire.requests import RestRequest, WsApiRequest
from streamhedge.wire.session import PRIVATE, WS_API, Session, SessionState
from streamhedge.wire.signing import HmacSigner, encoded, signed_params, signed_query

BTCUSDT = Symbol("BTCUSDT")
KEY, SECRET = f"bench-{os.getpid()}", "bench-secret"
"""An account of its own for each run: a hedger locks its account on the machine."""
LOW, HIGH = Decimal(49_000), Decimal(51_000)
GAP = Decimal("0.002")
"""Between the two prices its worth crosses the demo's band of 100 USDT: 98 and 102."""
BOUGHT = Decimal("0.003")
"""What a spot fill of the bench buys or sells: more than the band's worth."""
MARKS, FILLS = "/__marks", "/__fills"
"""Doors of the bench's own exchange: one round each, begun by a mark price or by a spot fill."""
DEMO = Path(__file__).resolve().parents[1] / "streamhedge" / "settings" / "demo.toml"
SETS = (
    *("limits.max_intents_per_symbol_per_minute=1200", "limits.max_orders_per_minute=1200"),
    *("limits.max_order_notional=2_000_000 USDT", "limits.max_turnover_per_day=1_000_000_000 USDT"),
    *("limits.hedge_loss_per_day=1_000_000 USDT", "limits.unrealised_loss_alarm=-1_000_000 USDT"),
    *("limits.receive_lag=5s", "limits.stale_after=10s", "limits.recv_window=10s"),
)
"""On top of demo.toml (10 BTC, cross, the shipped ladder): limits that a bench would run into."""
FRAME_STEP_NS = NS_PER_MS // 10
AHEAD_MS = 3_600_000
"""Composed frames are stamped after anything a prepared machine has seen."""
CEILING_S = 120.0
PASSES = 51


# ---------------------------------------------------------------- processes


def _child(sender: Connection, work: Callable[..., None], said: tuple[Any, ...]) -> None:
    try:
        work(lambda value: sender.send((value, None)), *said)
    except BaseException:
        sender.send((None, traceback.format_exc()))


@contextlib.contextmanager
def standing(work: Callable[..., None], *said: Any) -> Iterator[Any]:
    """Run ``work(tell, *said)`` in a process of its own, yield the first thing it tells, end it with the block."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, work, said), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(CEILING_S):
            raise TimeoutError(f"{work.__name__} said nothing for {CEILING_S:.0f} s")
        value, fault = receiver.recv()
        if fault is not None:
            raise RuntimeError(f"{work.__name__} failed:\n{fault}")
        yield value
    finally:
        process.terminate()
        process.join()
        receiver.close()


def apart(work: Callable[..., None], *said: Any) -> Any:
    """Run ``work`` in a process of its own and return what it tells."""
    with standing(work, *said) as value:
        return value


# ---------------------------------------------------------------- a machine and an exchange without sockets


@dataclass(slots=True)
class Level(Tape):
    """A tape that stands at the price it was last set to."""

    price: Decimal = LOW

    def price_at(self, elapsed_ms: int) -> Decimal:
        """Return the price."""
        return self.price


def tape() -> Level:
    """Return a tape at the low price."""
    return Level("level", [0, 1], [LOW, LOW])


class Rig:
    """A real pump and the real exchange joined by bytes alone; time moves when told."""

    def __init__(self, folder: Path, *, journal: bool = True, ledger: bool = True) -> None:
        self.now_ns = time.time_ns()
        self._trades = itertools.count(1)
        self._signer = HmacSigner(SECRET)
        self._key = ""
        self._waiting: deque[tuple[Command, int]] = deque()
        self._sources: dict[int, str] = {}
        self._api = WsSession(connected_ms=self.now_ms)
        self.exchange = Exchange(Settings(tape(), Keys(KEY, SECRET)), self.now_ms)
        policy = load_config([], SETS, {}).policy()
        self.ledger = Ledger(folder / "ledger.sqlite") if ledger else None
        self.journal: JournalWriter | None = None
        if journal:
            parts = {"header": self._header, "digest": lambda: self.pump.digest()}
            self.journal = JournalWriter(folder / "recordings", "bench", **parts)
        stale_ns = policy.limits.stale_after_ms * NS_PER_MS
        self.pump = Pump(
            reactor=Reactor(State(instance="7f3a91c2", epoch=1), policy),
            session=Session(SessionState(symbols=[BTCUSDT], stale_after_ns=stale_ns)),
            journal=self.journal,
            ledger=self.ledger,
            hands=self,
        )
        self.feed("tick", b'{"lag_ms":0}')
        self.trade(Decimal(10))
        for _ in range(3):
            self.second()
        state = self.pump.reactor.state
        assert self.pump.session.state.status == "LIVE", self.pump.session.state.reason
        assert state.book.quantity(BTCUSDT) == -10 and state.halted is None, state.memory[BTCUSDT].blocked

    @property
    def now_ms(self) -> int:
        """The time in milliseconds."""
        return self.now_ns // NS_PER_MS

    def _header(self) -> dict[str, object]:
        seq = self.pump.reactor.state.seq
        return {"seq": seq, "state": self.pump.state(), "digest": self.pump.digest()}

    def feed(self, source: str, payload: bytes) -> None:
        """Feed one input, and then what the exchange answers to what it led to."""
        self.pump.feed(source, self.now_ns, payload)
        self.settle()

    def second(self, *, ticks: int = 0) -> None:
        """Let a second pass, with so many ticks and one mark price a symbol."""
        for _ in range(ticks):
            self.now_ns += NS_PER_SECOND // ticks
            self.feed("tick", b'{"lag_ms":0}')
        if not ticks:
            self.now_ns += NS_PER_SECOND
        self.exchange.advance(self.now_ms)
        self.settle()

    def trade_payload(self, quantity: Decimal) -> bytes:
        """Return a float trade that nobody has fed yet."""
        trade = FloatTrade(
            trade_id=TradeId(f"bench-{next(self._trades)}"),
            asset=Asset("BTC"),
            kind=FloatTradeKind.DEPOSIT if quantity > 0 else FloatTradeKind.WITHDRAW,
            quantity=quantity,
            usd=ZERO,
            price=LOW,
            time_ms=self.now_ms,
            reason="bench",
        )
        return orjson.dumps(to_plain(trade))

    def trade(self, quantity: Decimal) -> None:
        """Change the float, and settle the hedge."""
        self.feed("trade", self.trade_payload(quantity))

    def orders(self, count: int) -> None:
        """Trade to and fro until so many orders more have ended."""
        for number in range(count):
            self.trade(Decimal("0.1") * (-1) ** number)
            self.second()

    def close(self) -> None:
        """Close the books."""
        if self.journal is not None:
            self.journal.close(self.now_ns)
        if self.ledger is not None:
            self.ledger.close()

    # ------------------------------------------------------------ the pump's hands

    def perform(self, command: Command, call: int) -> None:
        """Take a command; ``settle`` carries it out."""
        self._waiting.append((command, call))

    def settle(self) -> None:
        """Carry out what was asked and feed what comes back, until all is quiet."""
        outbox = self.exchange.streams.outbox
        while self._waiting or outbox:
            if self._waiting:
                self._carry_out(*self._waiting.popleft())
            said, outbox[:] = list(outbox), []
            for number, text in said:
                self.pump.feed(self._sources[number], self.now_ns, text.encode())

    def _carry_out(self, command: Command, call: int) -> None:
        window = 10_000
        if isinstance(command, PlaceOrder):
            self._answer(requests.place_order(command, recv_window_ms=window))
        elif isinstance(command, OpenStream):
            self._open(command)
        elif isinstance(command, CreateListenKey):
            self._key = orjson.loads(self._body(requests.create_listen_key()))["listenKey"]
            self._recorded(requests.create_listen_key(), 200, '{"listenKey":"lk1"}')
        elif isinstance(command, RequestSetup):
            self._set_up(window)
        elif isinstance(command, RequestSnapshot):
            self._ask(f"pos-{call}", requests.positions(recv_window_ms=window))
            self._ask(f"bal-{call}", requests.balances(recv_window_ms=window))
        elif isinstance(command, RequestTime):
            self._ask(f"time-{call}", requests.server_time())
        else:
            assert isinstance(command, RequestOpenOrders), f"a quiet day asks for no {type(command).__name__}"
            self._answer(requests.open_orders(recv_window_ms=window))

    def _open(self, command: OpenStream) -> None:
        nowhere = Endpoints(rest="", stream="", ws_api="")
        if command.stream != WS_API:
            private = command.stream == PRIVATE
            url = private_url(nowhere, self._key, requests.USER_EVENTS) if private else market_url(nowhere, [BTCUSDT])
            path, _, query = url.partition("?")
            number = self.exchange.streams.open(path, query, self.now_ms)
            assert number is not None, f"the exchange has no {path}"
            self._sources[number] = "private" if private else "market"
        said = {"stream": command.stream, "connection": command.connection, "state": "open"}
        self.pump.feed("conn", self.now_ns, orjson.dumps(said))

    def _set_up(self, window: int) -> None:
        self._body(requests.set_leverage(BTCUSDT, 3, recv_window_ms=window))
        rows = orjson.loads(self._body(requests.exchange_info()))["symbols"]
        parts = {
            "exchange_info": json.dumps({"symbols": [row for row in rows if row["symbol"] == BTCUSDT]}),
            "funding_info": self._body(requests.funding_info()),
            "account_config": self._body(requests.account_config(recv_window_ms=window)),
            "symbol_config": self._body(requests.symbol_config(recv_window_ms=window)),
        }
        by_symbol = {
            "leverage_bracket": self._body(requests.leverage_bracket(BTCUSDT, recv_window_ms=window)),
            "commission_rate": self._body(requests.commission_rate(BTCUSDT, recv_window_ms=window)),
        }
        parts |= {name: f'{{"{BTCUSDT}":{body}}}' for name, body in by_symbol.items()}
        payload = ",".join(f'"{name}":{body}' for name, body in parts.items())
        self.pump.feed("setup", self.now_ns, f"{{{payload}}}".encode())

    def _call(self, request: RestRequest) -> tuple[int, str]:
        params = request.params
        query = encoded(params)
        if request.signed:
            query = signed_query([*params, ("timestamp", str(self.now_ms))], self._signer)
        said = {"method": request.method, "path": request.path, "query": query, "body": "", "api_key": KEY}
        reply = self.exchange.rest(**said, now_ms=self.now_ms)
        return reply.status, reply.body

    def _body(self, request: RestRequest) -> str:
        status, body = self._call(request)
        assert status == 200, body
        return body

    def _answer(self, request: RestRequest) -> None:
        self._recorded(request, *self._call(request))

    def _recorded(self, request: RestRequest, status: int, body: str) -> None:
        said = {"label": request.label, "client_order_id": request.client_order_id or ""}
        answer = {"request": said, "status": status, "headers": {}, "body": body, "error": "", "sent": True}
        self.pump.feed("rest", self.now_ns, orjson.dumps(answer))

    def _ask(self, number: str, request: WsApiRequest) -> None:
        params: dict[str, str | int] = dict(request.params)
        if request.signed:
            params = signed_params({**params, "apiKey": KEY, "timestamp": self.now_ms}, self._signer)
        frame = orjson.dumps({"id": number, "method": request.method, "params": params}).decode()
        text = self.exchange.ws_api(self._api, frame, self.now_ms)
        assert text is not None, "the exchange answers"
        self.pump.feed("wsapi", self.now_ns, text.encode())


# ---------------------------------------------------------------- frames


def mark_frames(count: int) -> list[bytes]:
    """Compose mark-price frames of two symbols in turn, as the combined stream sends them."""
    start_ms = wall_ms() + AHEAD_MS
    frames = []
    for number in range(count):
        symbol, price = (("BTCUSDT", 49_000), ("ETHUSDT", 1_830))[number % 2]
        mark = f"{price + number % 100 / 10:.8f}"
        row = {
            **{
                "e": "markPriceUpdate",
                "E": start_ms + number,
                "s": symbol,
                "p": mark,
                "ap": mark,
                "P": mark,
                "i": mark,
            },
            **{"r": "0.00010000", "T": start_ms + 7_200_000, "st": 1},
        }
        frames.append(orjson.dumps({"stream": f"{symbol.lower()}@markPrice@1s", "data": row}))
    return frames


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


def bare_frames(frames: list[bytes]) -> float:
    """Return µs a frame of orjson and a dict alone; over so often that it takes about as long as the pump does."""
    prices: dict[str, str] = {}
    passes = []
    for _ in range(PASSES):
        began = time.perf_counter()
        for frame in frames:
            row = orjson.loads(frame)["data"]
            prices[row["s"]] = row["p"]
        passes.append((time.perf_counter() - began) / len(frames) * 1e6)
    return statistics.median(passes)


def fed_frames(rig: Rig, frames: list[bytes]) -> float:
    """Return µs a frame of ``pump.feed``."""
    feed, now_ns = rig.pump.feed, rig.now_ns
    began = time.perf_counter()
    for number, frame in enumerate(frames):
        feed("market", now_ns + number * FRAME_STEP_NS, frame)
    taken = time.perf_counter() - began
    rig.now_ns = now_ns + len(frames) * FRAME_STEP_NS
    return taken / len(frames) * 1e6


# ---------------------------------------------------------------- event to decision


def decisions(folder: Path, count: int) -> dict[str, list[float]]:
    """Return µs from a float trade to its committed order, and of a bare row committed, in turns."""
    rig = Rig(folder)
    bare = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    for word in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0"):
        bare.execute(f"PRAGMA {word}")
    bare.execute("CREATE TABLE intent (name TEXT PRIMARY KEY, body TEXT NOT NULL)")
    last: dict[str, str] = {}
    found: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(count):
        payload = rig.trade_payload(Decimal("0.1") * (-1) ** number)
        began = time.perf_counter_ns()
        trade = orjson.loads(payload)
        last[trade["asset"]] = trade["quantity"]
        bare.execute("BEGIN IMMEDIATE")
        bare.execute("INSERT INTO intent VALUES (?, ?)", (trade["trade_id"], payload.decode()))
        bare.execute("COMMIT")
        found["bare"].append((time.perf_counter_ns() - began) / 1e3)
        decided = rig.pump.decisions
        began = time.perf_counter_ns()
        rig.pump.feed("trade", rig.now_ns, payload)
        found["ours"].append((time.perf_counter_ns() - began) / 1e3)
        assert rig.pump.decisions == decided + 1, "each trade leads to one order"
        rig.settle()
        rig.second()
    bare.close()
    rig.close()
    return found


# ---------------------------------------------------------------- mark price, or spot fill, to order on the wire


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


def serve_venue(tell: Callable[[str], None]) -> None:
    """Serve the exchange until the process is ended; a mark every 10 ms."""

    async def serve() -> None:
        level = tape()
        exchange = Exchange(Settings(level, Keys(KEY, SECRET), speed=Decimal(100)), wall_ms())
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


def trigger_ours(tell: Callable[[list[float]], None], host: str, count: int, folder: Path, door: str) -> None:
    """Have a whole hedger answer each high mark, or each spot fill, with the order that its gap asks for."""

    async def run() -> list[float]:
        endpoints = Endpoints(
            rest=f"http://{host}",
            stream=f"ws://{host}",
            ws_api=f"ws://{host}/ws-fapi/v1",
            spot_ws_api=f"ws://{host}{spot.PATH}",
        )
        keys = {"api_key": Secret(KEY), "api_secret": Secret(SECRET)}
        with_spot = folder / "spot.toml"
        with_spot.write_text(f'[spot]\nsymbols = ["{BTCUSDT}"]\n')
        paths = [DEMO, with_spot] if door == FILLS else []
        hedger = Hedger(load_config(paths, SETS, {}), endpoints=endpoints, **keys, state_dir=folder)

        def listens() -> bool:
            return (
                door != FILLS
                or {"spot": "open"}.items() <= {row["name"]: row["state"] for row in hedger.status()["streams"]}.items()
            )

        def level() -> bool:
            state = hedger.core.state
            mark = state.book.marks.get(BTCUSDT)
            resting = state.memory[BTCUSDT].exposure is None and mark is not None and mark.mark_price == LOW
            return resting and state.book.quantity(BTCUSDT) == -state.floats[Asset("BTC")]

        async with hedger, aiohttp.ClientSession(trust_env=False) as session:
            found = []
            await _until(listens)
            for _ in range(count):
                await _until(level)
                if door == MARKS:
                    await hedger.execute_trade_with_hedge(Deposit(GAP))
                found.append(await _round(session, host, door))
            await _until(level)
        return found

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


# ---------------------------------------------------------------- replay, and what is remembered


def record(folder: Path, seconds: int) -> list[Path]:
    """Record so many seconds at the cadence of a live run: ten ticks and a mark a second, a trade every half minute."""
    rig = Rig(folder)
    for second in range(seconds):
        rig.second(ticks=10)
        if second % 30 == 0:
            rig.trade(Decimal("0.1") * (-1) ** (second // 30))
    rig.close()
    assert rig.journal is not None, "the rig records"
    return rig.journal.paths


def replay_ours(paths: list[Path]) -> float:
    """Return inputs a second."""
    began = time.perf_counter()
    found = replay_files(paths)
    taken = time.perf_counter() - began
    assert found.diverged is None and found.decisions > 0, found
    return found.events / taken


def replay_bare(paths: list[Path]) -> float:
    """Return lines a second, read and parsed."""
    lines = 0
    began = time.perf_counter()
    for path in paths:
        for line in path.read_bytes().splitlines():
            orjson.loads(line.split(b" ", 2)[2])
            lines += 1
    return lines / (time.perf_counter() - began)


def remembered(folder: Path, frames: list[bytes], counts: list[int], rounds: int) -> list[dict[str, float]]:
    """Return µs a frame and ms a digest, by how many ended orders are remembered."""
    found = []
    for count in counts:
        # A rig of its own: composed frames are stamped ahead, and the exchange's own would be old news after them.
        rig = Rig(folder, journal=False, ledger=False)
        rig.orders(count)
        taken = statistics.median(fed_frames(rig, frames) for _ in range(rounds))
        began = time.perf_counter()
        rig.pump.digest()
        digest_ms = (time.perf_counter() - began) * 1e3
        found.append({"orders": len(rig.pump.reactor.state.orders), "frame_us": taken, "digest_ms": digest_ms})
    return found


def watched(counts: list[int], ticks: int, rounds: int) -> list[dict[str, float]]:
    """Return µs of one mark tick of the trigger index, by how many cross positions share the margin; none is near."""
    indexes = {count: short_index(count) for count in counts}
    taken: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(max(3, rounds)):
        for count, index in indexes.items():  # in turns, so that a busy machine slows all of them
            moves = [(Symbol(f"S{number % count}"), Decimal(100 + number % 7)) for number in range(ticks)]
            began = time.perf_counter()
            for symbol, price in moves:
                index.tick(symbol, price)
                deque(index.near(), maxlen=0)
            taken[count].append((time.perf_counter() - began) / ticks * 1e6)
    least = statistics.median(taken[counts[0]])
    return [
        {
            "positions": count,
            "tick_us": statistics.median(taken[count]),
            "ratio": statistics.median(taken[count]) / least,
        }
        for count in counts
    ]


def short_index(count: int) -> TriggerIndex:
    """Return an index of so many small cross shorts on a margin that carries them all."""
    index = TriggerIndex(Decimal("0.31"))
    index.set_wallet(Asset("USDT"), Decimal(1_000 * count))
    table = (
        MarginBracket(ZERO, Decimal(50_000), Decimal("0.004"), ZERO, 125),
        MarginBracket(Decimal(50_000), Decimal(10_000_000), Decimal("0.01"), Decimal(300), 50),
    )
    with exact():
        for number in range(count):
            short = Holding(PositionSide.BOTH, Decimal(-1) - Decimal(number % 97) / 100, Decimal(100), False, ZERO)
            said = {"asset": Asset("USDT"), "brackets": table, "mark_price": Decimal(100), "holdings": [short]}
            index.put(Symbol(f"S{number}"), **said)
    return index


# ---------------------------------------------------------------- the table


@dataclass(slots=True)
class Row:
    """One figure, ours and bare, a value a round. ``rate``: more is better; else it is a time."""

    name: str
    unit: str
    rate: bool = False
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return the row JSON-ready; ``ratio`` says how many times as long as the bare loop ours takes."""
        ours, bare = statistics.median(self.ours), statistics.median(self.bare)
        return {
            **{"name": self.name, "unit": self.unit, "ours": spread(self.ours), "bare": spread(self.bare)},
            "ratio": bare / ours if self.rate else ours / bare,
        }


def spread(values: list[float]) -> dict[str, float]:
    """Return median and extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def share(values: list[float], percent: int) -> float:
    """Return a percentile."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


@dataclass(slots=True)
class Size:
    """How much is measured."""

    rounds: int
    frames: int
    trades: int
    orders: int
    seconds: int
    remembered: list[int]
    positions: list[int]
    ticks: int


WHOLE = Size(
    rounds=5,
    frames=10_000,
    trades=200,
    orders=60,
    seconds=300,
    remembered=[0, 100, 400],
    positions=[10, 1_000, 10_000],
    ticks=20_000,
)
QUICK = Size(rounds=1, frames=400, trades=10, orders=5, seconds=31, remembered=[0, 10], positions=[10, 100], ticks=500)
WARM = 2
"""Orders of a round that open connections and are left out."""


class Bench:
    """One run: rows fill round by round."""

    def __init__(self, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._folders = itertools.count(1)
        self._rows: dict[str, Row] = {}
        self._frames = mark_frames(size.frames)
        self.real_time: list[float] = []

    def _fresh(self) -> Path:
        path = self._folder / f"{next(self._folders):03d}"
        path.mkdir(mode=0o700)
        return path

    def _add(self, name: str, unit: str, *, ours: float, bare: float, rate: bool = False) -> None:
        row = self._rows.setdefault(name, Row(name, unit, rate))
        row.ours.append(ours)
        row.bare.append(bare)

    def run(self, said: Callable[[str], None]) -> dict[str, Any]:
        """Measure everything and return it."""
        size = self._size
        paths = record(self._fresh(), size.seconds)
        for number in range(size.rounds):
            said(f"round {number + 1} of {size.rounds}")
            self._sockets()
            self._feed()
            self._decide()
            self._wire()
            ours = replay_ours(paths)
            self._add("replay", "inputs/s", ours=ours, bare=replay_bare(paths), rate=True)
            inputs = sum(path.read_bytes().count(b"\n") for path in paths)
            self.real_time.append(size.seconds / (inputs / ours))
        said("what is remembered")
        table = remembered(self._fresh(), self._frames[:2_000], size.remembered, size.rounds)
        said("positions that are watched")
        return {
            "watched": watched(size.positions, size.ticks, size.rounds),
            "rows": [row.plain() for row in self._rows.values()],
            "replay_times_real_time": statistics.median(self.real_time),
            "remembered": table,
        }

    def _sockets(self) -> None:
        count = self._size.frames
        with standing(blast, self._frames) as port:
            bare = apart(read_bare, port, count)
            ours = apart(read_ours, port, count, self._fresh())
        self._add("frames through a socket", "frames/s", ours=count / ours[0], bare=count / bare[0], rate=True)
        self._add("  CPU of a frame", "µs", ours=ours[1] / count * 1e6, bare=bare[1] / count * 1e6)

    def _feed(self) -> None:
        for name, kept in (("pump.feed of a frame", False), ("  recorded", True)):
            rig = Rig(self._fresh(), journal=kept, ledger=kept)
            bare = bare_frames(self._frames)
            self._add(name, "µs", ours=fed_frames(rig, self._frames), bare=bare)
            rig.close()

    def _decide(self) -> None:
        found = decisions(self._fresh(), self._size.trades)
        for percent in (50, 99):
            name = f"event → committed decision, p{percent}"
            self._add(name, "µs", ours=share(found["ours"], percent), bare=share(found["bare"], percent))

    def _wire(self) -> None:
        count = self._size.orders + WARM
        for door, what in ((MARKS, "mark price"), (FILLS, "spot fill")):
            with standing(serve_venue) as host:
                bare = apart(trigger_bare, host, count, door)[WARM:]
            with standing(serve_venue) as host:
                ours = apart(trigger_ours, host, count, self._fresh(), door)[WARM:]
            for percent in (50, 99):
                name = f"{what} → order on the wire, p{percent}"
                self._add(name, "µs", ours=share(ours, percent), bare=share(bare, percent))


def shown(found: dict[str, Any]) -> None:
    """Print the table, in a form that a README takes."""

    def cell(values: dict[str, float]) -> str:
        digits = 0 if values["median"] >= 100 else 1
        return " ".join(
            (f"{values['median']:,.{digits}f}", f"({values['min']:,.{digits}f} … {values['max']:,.{digits}f})")
        )

    console = Console(width=130, highlight=False)
    console.print(f"{found['date']}, `{found['command']}`, {found['machine']}\n")
    table = Table(box=box.MARKDOWN)
    for name in ("figure", "unit", "streamhedge (min … max)", "bare loop (min … max)", "time ÷ bare"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for row in found["rows"]:
        table.add_row(row["name"], row["unit"], cell(row["ours"]), cell(row["bare"]), f"{row['ratio']:.1f}")
    console.print(table)
    console.print(f"replay runs {found['replay_times_real_time']:,.0f} times as fast as the time it recorded\n")
    table = Table(box=box.MARKDOWN)
    for name in ("ended orders remembered", "pump.feed of a frame, µs", "digest of the whole state, ms"):
        table.add_column(name, justify="right")
    for line in found["remembered"]:
        table.add_row(f"{line['orders']:.0f}", f"{line['frame_us']:.1f}", f"{line['digest_ms']:.2f}")
    console.print(table)
    table = Table(box=box.MARKDOWN)
    for name in ("cross positions watched", "mark tick of the trigger index, µs", "times the first row"):
        table.add_column(name, justify="right")
    for line in found["watched"]:
        table.add_row(f"{line['positions']:,.0f}", f"{line['tick_us']:.1f}", f"{line['ratio']:.2f}")
    console.print(table)


def main() -> int:
    """Measure and print."""
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--quick", action="store_true", help="seconds instead of minutes: shows that it works, no more")
    words.add_argument("--json", action="store_true", help="one JSON object on stdout")
    words.add_argument("--rounds", type=int, help="how often each figure is taken")
    said = words.parse_args()
    size = QUICK if said.quick else WHOLE
    if said.rounds is not None:
        if said.rounds < 1:
            words.error("--rounds must be at least 1")
        size.rounds = said.rounds
    with tempfile.TemporaryDirectory(prefix="streamhedge-bench-") as folder:
        found = Bench(size, Path(folder)).run(lambda text: print(f"bench: {text}", file=sys.stderr, flush=True))
    found = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": " ".join(["scripts/bench", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, CPython {platform.python_version()}",
        **found,
    }
    if said.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        shown(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
