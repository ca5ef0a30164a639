"""Commands to the world and its answers back: sockets, REST calls, listen keys, set-up. Each order is sent once.

Nothing here decides. What comes back enters the pump as an input of its own; listen keys are handles before that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import orjson

from streamhedge.domain.commands import (
    CloseStream,
    Command,
    FollowSymbol,
    KeepSilent,
    OpenStream,
    PlaceOrder,
    PlaceStop,
    QueryOrder,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.values import Symbol
from streamhedge.rules.params import HedgeParams
from streamhedge.settings.endpoints import Endpoints, mark_stream, market_url, private_url
from streamhedge.settings.secrets import Mask, Secret
from streamhedge.venue.clock import BootClock
from streamhedge.venue.http import RestClient
from streamhedge.venue.sockets import CONNECT_ERRORS, SEND_ERRORS, DirectConnection, closed_reason, open_socket
from streamhedge.wire import requests
from streamhedge.wire.calls import HELD_BACK, Answered, SetupFailed, call_of, placing_of, recorded, set_up
from streamhedge.wire.requests import RestRequest, WsApiRequest
from streamhedge.wire.session import MARKET, PRIVATE, WS_API
from streamhedge.wire.signing import Signer, signed_params

SOURCE_OF = {MARKET: "market", PRIVATE: "private", WS_API: "wsapi"}
SETTLE_S = 2.0
"""How long a stop waits for orders under way: their answers belong into the recording."""
Feed = Callable[[str, bytes], None]


def _unheard(payload: bytes) -> None:
    """Take a frame of a socket that was dropped."""


class Hands:
    """The outbox of one account."""

    def __init__(
        self,
        *,
        symbols: Sequence[Symbol],
        hedges: Sequence[HedgeParams],
        recv_window_ms: int,
        endpoints: Endpoints,
        rest: RestClient,
        api_key: Secret,
        signer: Signer,
        clock: BootClock,
        mask: Mask,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._hedges = hedges
        self._symbols = list(symbols)
        self._window_ms = recv_window_ms
        self._endpoints = endpoints
        self._rest = rest
        self._api_key = api_key
        self._signer = signer
        self._clock = clock
        self._mask = mask
        self._fail = fail
        self.feed: Feed = self._too_early
        self.sent_after_ns: list[int] = []
        self._decided: Callable[[str], int] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._sockets: dict[int, DirectConnection] = {}
        self._dropped: dict[int, DirectConnection] = {}
        self._names: dict[int, str] = {}
        self._keys: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders: set[asyncio.Task[None]] = set()
        self._closing = False
        self._silent_until_ns = 0

    @staticmethod
    def _too_early(source: str, payload: bytes) -> None:
        raise AssertionError("the hands move before the pump is there")

    def attach(self, feed: Feed, decided: Callable[[str], int], group: asyncio.TaskGroup) -> None:
        """Name where inputs go, how to learn when an order was decided, and whose tasks ours are."""
        self.feed = feed
        self._decided = decided
        self._group = group

    # ------------------------------------------------------------ commands

    def perform(self, command: Command, call: int) -> None:
        """Start a command and return at once."""
        if self._closing:
            if isinstance(command, PlaceOrder | PlaceStop):
                self._void_later(command, "the program is stopping")
            return
        if isinstance(command, PlaceOrder | PlaceStop):
            self._start(self._place(command), self._orders)
        elif isinstance(command, KeepSilent):
            self._silent_until_ns = max(self._silent_until_ns, command.until_ns)
        elif isinstance(command, OpenStream):
            self._start(self._stream(command), self._tasks)
        elif isinstance(command, CloseStream):
            self._drop(command.connection)
        elif isinstance(command, RequestSnapshot):
            self._ask(f"pos-{call}", requests.positions(recv_window_ms=self._window_ms))
            self._ask(f"bal-{call}", requests.balances(recv_window_ms=self._window_ms))
        elif isinstance(command, RequestTime):
            self._ask(f"time-{call}", requests.server_time())
        elif isinstance(command, QueryOrder):
            question = requests.order_status(command.symbol, command.client_order_id, recv_window_ms=self._window_ms)
            self._ask(f"ord-{command.client_order_id}-{call}", question)
        elif isinstance(command, RequestSetup):
            self._start(self._set_up(), self._tasks)
        elif isinstance(command, FollowSymbol):
            self._start(self._follow(command.symbol), self._tasks)
        else:
            self._start(self._call(call_of(command, recv_window_ms=self._window_ms)), self._tasks)

    def _start(self, work: Coroutine[Any, Any, None], kind: set[asyncio.Task[None]]) -> None:
        assert self._group is not None, "the hands move only once they are attached"
        task = self._group.create_task(work)
        kind.add(task)
        task.add_done_callback(kind.discard)

    # ------------------------------------------------------------ orders and calls

    async def _place(self, command: PlaceOrder | PlaceStop) -> None:
        now_ns = self._clock.now_ns()
        if now_ns > command.deadline_ns:
            self._void(command, f"decided too long ago ({(now_ns - command.deadline_ns) // 1_000_000} ms past)")
            return
        if self._decided is not None and isinstance(command, PlaceOrder):
            self.sent_after_ns.append(now_ns - self._decided(command.client_order_id))
        request = placing_of(command, recv_window_ms=self._window_ms)
        answer = await self._send_once(request, too_late=lambda: self._clock.now_ns() > command.deadline_ns)
        self.feed("rest", self._recorded(request, answer))

    def _void(self, command: PlaceOrder | PlaceStop, reason: str) -> None:
        self.feed("void", orjson.dumps({"client_order_id": command.client_order_id, "reason": reason}))

    def _void_later(self, command: PlaceOrder | PlaceStop, reason: str) -> None:
        asyncio.get_running_loop().call_soon(self._void, command, reason)

    async def _call(self, request: RestRequest) -> None:
        self.feed("rest", self._recorded(request, await self._send_once(request)))

    @property
    def _silent(self) -> bool:
        return self._clock.now_ns() < self._silent_until_ns

    async def _send_once(self, request: RestRequest, *, too_late: Callable[[], bool] = lambda: False) -> Answered:
        """Send a request, or nothing while the venue wants silence: what was decided before it said so included."""
        return HELD_BACK if self._silent else await self._rest.send(request, too_late=too_late)

    def _recorded(self, request: RestRequest, answer: Answered) -> bytes:
        """Return what the recording holds of a call; a listen key in it is its handle."""
        body: object = answer.body.decode("utf-8", "replace")
        if request.label == "listen_key" and answer.status == 200:
            body = self._hide_key(answer.body)
        return recorded(request, answer, body, jitter_permille=random.randrange(1_000))

    def _hide_key(self, body: bytes) -> object:
        try:
            fields = orjson.loads(body)
        except ValueError:
            return "unreadable"
        key = fields.get("listenKey") if isinstance(fields, dict) else None
        if not isinstance(key, str) or not key:
            return "unreadable"
        handle = self._keys.setdefault(key, f"lk{len(self._keys) + 1}")
        self._mask.hide(key, handle)
        return {"listenKey": handle}

    async def _set_up(self) -> None:
        """Play the set-up's calls; one input for all of them."""
        script = set_up(self._symbols, self._hedges, recv_window_ms=self._window_ms)
        try:
            request = next(script)
            while True:
                request = script.send(await self._send_once(request))
        except StopIteration as end:
            found: bytes | SetupFailed = end.value
        if isinstance(found, SetupFailed):
            self.feed("rest", self._recorded(found.request, found))
        else:
            self.feed("setup", found)

    # ------------------------------------------------------------ streams

    async def _stream(self, command: OpenStream) -> None:
        if command.delay_ms:
            await asyncio.sleep(command.delay_ms / 1_000)
        source = SOURCE_OF[command.stream]
        try:
            connection = await open_socket(self._url(command), lambda payload: self.feed(source, payload), self._fail)
        except CONNECT_ERRORS as error:
            self._closed(command, f"no connection: {type(error).__name__}")
            return
        self._sockets[command.connection] = connection
        self._names[command.connection] = command.stream
        said: dict[str, object] = {"stream": command.stream, "connection": command.connection, "state": "open"}
        self._conn({**said, "jitter_permille": random.randrange(1_000)})
        reason = await closed_reason(connection)
        for table in (self._sockets, self._dropped, self._names):
            table.pop(command.connection, None)
        self._closed(command, reason)

    def _url(self, command: OpenStream) -> str:
        if command.stream == MARKET:
            return market_url(self._endpoints, self._symbols)
        if command.stream == WS_API:
            return self._endpoints.ws_api
        key = next((key for key, handle in self._keys.items() if handle == command.handle), "")
        return private_url(self._endpoints, key, requests.USER_EVENTS)

    def _conn(self, fields: dict[str, object]) -> None:
        if not self._closing:
            self.feed("conn", orjson.dumps(fields))

    def _closed(self, command: OpenStream, reason: str) -> None:
        self._conn(
            {
                **{"stream": command.stream, "connection": command.connection, "state": "closed", "reason": reason},
                "jitter_permille": random.randrange(1_000),
            }
        )

    async def _follow(self, symbol: Symbol) -> None:
        """Subscribe to one more symbol's mark price, now and at every reconnect, and read the set-up with it."""
        if symbol in self._symbols:
            return
        self._symbols.append(symbol)
        frame = orjson.dumps({"method": "SUBSCRIBE", "params": [mark_stream(symbol)], "id": len(self._symbols)})
        for number, stream in list(self._names.items()):
            if stream == MARKET:
                await self._send(self._sockets[number], frame.decode())
        await self._set_up()

    def _drop(self, number: int) -> None:
        """Take no further frame of a socket, now; the farewell may take its time."""
        connection = self._sockets.pop(number, None)
        self._names.pop(number, None)
        if connection is not None:
            connection.taker = _unheard
            self._dropped[number] = connection
            self._start(connection.close(), self._tasks)

    def drop_idle(self) -> None:
        """Let every kept connection of before a gap go, with the requests under way on it: they are in doubt."""
        if not self._closing:
            self._start(self._rest.renew(), self._tasks)

    def _ask(self, number: str, request: WsApiRequest) -> None:
        api = [self._sockets[name] for name, stream in self._names.items() if stream == WS_API]
        if not api or self._silent:
            return
        params: dict[str, str | int] = dict(request.params)
        if request.signed:
            params |= {"apiKey": self._api_key.reveal(), "timestamp": self._rest.venue_ms()}
            params = signed_params(params, self._signer)
        frame = orjson.dumps({"id": number, "method": request.method, "params": params}).decode()
        self._start(self._send(api[-1], frame), self._tasks)

    @staticmethod
    async def _send(connection: DirectConnection, frame: str) -> None:
        try:
            await connection.send(frame)
        except SEND_ERRORS:
            return

    # ------------------------------------------------------------ the end

    async def close(self) -> None:
        """Send nothing more; wait a little for orders under way, then cut everything."""
        self._closing = True
        if self._orders:
            await asyncio.wait(set(self._orders), timeout=SETTLE_S)
        for task in [*self._orders, *self._tasks]:
            task.cancel()
        await asyncio.gather(*self._orders, *self._tasks, return_exceptions=True)
        for connection in [*self._sockets.values(), *self._dropped.values()]:
            await connection.close()
        await self._rest.close()
