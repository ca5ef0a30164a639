"""The hands of a virtual process: commands to the virtual wire, and what came of them back as inputs.

They play the part of the live ones, input for input: an order is void past its deadline, sent once, and its answer is
recorded without key or signature; listen keys are handles; the set-up is one input. Requests are built and signed by the
product's own wire room. Nothing is fed while the pump is at work.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlencode

import orjson

from streamhedge.domain.commands import (
    CloseStream,
    Command,
    CreateListenKey,
    FollowSymbol,
    KeepSilent,
    OpenStream,
    PlaceOrder,
    PlaceStop,
    QueryOrder,
    RequestOpenOrders,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.values import Symbol
from streamhedge.rules.params import HedgeParams, Policy
from streamhedge.settings.endpoints import Endpoints, mark_stream, market_url, private_url
from streamhedge.wire import requests
from streamhedge.wire.calls import HELD_BACK, Answered, SetupFailed, call_of, placing_of, recorded, set_up
from streamhedge.wire.requests import RestRequest, WsApiRequest
from streamhedge.wire.session import MARKET, PRIVATE, WS_API
from streamhedge.wire.signing import Params, Signer, signed_params, signed_query
from streamhedge.world.schedule import MS
from streamhedge.world.wire import Answer, Socket, Wire

SOURCE_OF = {MARKET: "market", PRIVATE: "private", WS_API: "wsapi"}
NOWHERE = Endpoints(rest="http://127.0.0.1", stream="ws://127.0.0.1", ws_api="ws://127.0.0.1/ws-fapi/v1")


class Feed(Protocol):
    """Hands an input to the process."""

    def __call__(self, source: str, payload: bytes, listening: Callable[[], bool] = ..., /) -> None:
        """Feed it; ``listening`` says, when it is taken, whether its socket still counts."""


ASKED: dict[type, str] = {
    CreateListenKey: "key-asked",
    RequestSetup: "setup-asked",
    RequestOpenOrders: "orders-asked",
    QueryOrder: "status-asked",
}


class Gate(Protocol):
    """Lets a process die between its steps."""

    def reached(self, point: str) -> None:
        """A point inside an input was reached at which a kill may be due; raises what kills the process."""

    def passed(self, point: str) -> None:
        """A point between inputs was passed at which a kill may be due; afterwards the process may be dead."""


class VirtualHands:
    """The outbox of one virtual process."""

    def __init__(
        self,
        *,
        symbols: list[Symbol],
        policy: Policy,
        wire: Wire,
        api_key: str,
        signer: Signer,
        wall_ms: Callable[[], int],
        feed: Feed,
        alive: Callable[[], bool],
        gate: Gate,
        chance: random.Random,
    ) -> None:
        self._symbols = symbols
        self._hedges: tuple[HedgeParams, ...] = policy.hedges
        self._window_ms = policy.limits.recv_window_ms
        self._wire = wire
        self._api_key = api_key
        self._signer = signer
        self._wall_ms = wall_ms
        self._feed = feed
        self._alive = alive
        self._gate = gate
        self._chance = chance
        self._keys: dict[str, str] = {}
        self._sockets: dict[int, Socket] = {}
        self._dropped: set[int] = set()
        self.offset_ms = 0
        self.stall_ms = 0
        self.closing = False
        self._silent_until_ns = 0

    def venue_ms(self) -> int:
        """Return the venue's clock as the process knows it."""
        return self._wall_ms() + self.offset_ms

    # ------------------------------------------------------------ commands

    def perform(self, command: Command, call: int) -> None:
        """Plan a command and return at once; it begins when the loop comes round."""
        if isinstance(command, PlaceOrder | PlaceStop):
            self._gate.reached("committed")
            stall_ms, self.stall_ms = self.stall_ms, 0
            begin = self._refuse if self.closing else self._place
            self._soon(lambda: begin(command), stall_ms * MS)
            self._gate.reached("handed")
        elif isinstance(command, KeepSilent):
            self._silent_until_ns = max(self._silent_until_ns, command.until_ns)
        elif self.closing:
            return
        elif isinstance(command, CloseStream):
            self._dropped.add(command.connection)
            socket = self._sockets.pop(command.connection, None)
            self._soon(lambda: self._wire.hang_up(socket, "1000") if socket is not None else None, 0)
        elif isinstance(command, OpenStream):
            self._soon(lambda: self._open(command), command.delay_ms * MS)
        else:
            self._soon(lambda: self._begin(command, call), 0)
            self._gate.reached(self._asked(command))

    @staticmethod
    def _asked(command: Command) -> str:
        if isinstance(command, RequestSnapshot):
            return "" if command.audit else "snapshot-asked"
        return ASKED.get(type(command), "")

    def _soon(self, action: Callable[[], None], delay_ns: int) -> None:
        def begin() -> None:
            if self._alive():
                action()

        self._wire.schedule.after(delay_ns + self._chance.randint(1_000, 300_000), begin)

    def _begin(self, command: Command, call: int) -> None:
        window = self._window_ms
        if isinstance(command, RequestSnapshot):
            self._ask(f"pos-{call}", requests.positions(recv_window_ms=window))
            self._ask(f"bal-{call}", requests.balances(recv_window_ms=window))
        elif isinstance(command, RequestTime):
            self._ask(f"time-{call}", requests.server_time())
        elif isinstance(command, QueryOrder):
            question = requests.order_status(command.symbol, command.client_order_id, recv_window_ms=window)
            self._ask(f"ord-{command.client_order_id}-{call}", question)
        elif isinstance(command, RequestSetup):
            self._set_up()
        elif isinstance(command, FollowSymbol):
            self._follow(command.symbol)
        else:
            self._call(call_of(command, recv_window_ms=window))

    # ------------------------------------------------------------ REST

    def _place(self, command: PlaceOrder | PlaceStop) -> None:
        late_ns = self._wire.schedule.now_ns - command.deadline_ns
        if late_ns > 0:
            self._void(command, f"decided too long ago ({late_ns // MS} ms)")
            return
        self._gate.passed("leaving")
        if self._alive():
            self._call(placing_of(command, recv_window_ms=self._window_ms))
            self._gate.passed("sent")

    def _refuse(self, command: PlaceOrder | PlaceStop) -> None:
        self._void(command, "the program is stopping")

    def _void(self, command: PlaceOrder | PlaceStop, reason: str) -> None:
        self._feed("void", orjson.dumps({"client_order_id": command.client_order_id, "reason": reason}))

    def _call(self, request: RestRequest) -> None:
        def answered(answer: Answered) -> None:
            if request.label == "order":
                self._gate.passed("answered")
            self._feed("rest", self._recorded(request, answer))

        self._send(request, answered)

    @property
    def _silent(self) -> bool:
        return self._wire.schedule.now_ns < self._silent_until_ns

    def _send(self, request: RestRequest, done: Callable[[Answered], None]) -> None:
        if self._silent:
            self._soon(lambda: done(HELD_BACK), 0)
            return
        if request.signed:
            params: Params = [*request.params, ("timestamp", str(self.venue_ms()))]
            query = signed_query(params, self._signer)
        else:
            query = urlencode(request.params)

        def answered(answer: Answer) -> None:
            if self._alive():
                done(answer)

        self._wire.rest(request.method, request.path, query, self._api_key, request.label == "order", answered)

    def _recorded(self, request: RestRequest, answer: Answered) -> bytes:
        body: object = answer.body.decode("utf-8", "replace")
        if request.label == "listen_key" and answer.status == 200:
            body = self._hide_key(answer.body)
        jitter = self._chance.randrange(1_000) if answer.status in (418, 429) else 0
        return recorded(request, answer, body, jitter_permille=jitter)

    def _hide_key(self, body: bytes) -> object:
        try:
            fields = orjson.loads(body)
        except ValueError:
            return "unreadable"
        key = fields.get("listenKey") if isinstance(fields, dict) else None
        return {"listenKey": self._keys.setdefault(key, f"lk{len(self._keys) + 1}")} if key else "unreadable"

    # ------------------------------------------------------------ set-up

    def _set_up(self) -> None:
        """Play the set-up's calls, one after the other; one input for all of them."""
        script = set_up(self._symbols, self._hedges, recv_window_ms=self._window_ms)

        def step(answer: Answered | None) -> None:
            try:
                request = next(script) if answer is None else script.send(answer)
            except StopIteration as end:
                found: bytes | SetupFailed = end.value
                if isinstance(found, SetupFailed):
                    self._feed("rest", self._recorded(found.request, found))
                else:
                    self._feed("setup", found)
                return
            self._send(request, step)

        step(None)

    # ------------------------------------------------------------ streams

    def _open(self, command: OpenStream) -> None:
        source = SOURCE_OF[command.stream]

        def opened(socket: Socket) -> None:
            if not self._alive() or not socket.open:
                return
            self._sockets[command.connection] = socket
            said = {"stream": command.stream, "connection": command.connection, "state": "open"}
            jitter = random.Random(f"rotation-{command.connection}").randrange(1_000)
            self._feed("conn", orjson.dumps({**said, "jitter_permille": jitter}))

        def closed(reason: str) -> None:
            self._sockets.pop(command.connection, None)
            said = {"stream": command.stream, "connection": command.connection, "state": "closed", "reason": reason}
            if self._alive():
                self._feed("conn", orjson.dumps({**said, "jitter_permille": self._chance.randrange(1_000)}))

        def taker(body: bytes) -> None:
            frame = self._with_handles(body) if command.stream == PRIVATE else body
            self._feed(source, frame, lambda: command.connection not in self._dropped)

        self._wire.connect(
            self._url(command), command.stream, command.connection, opened=opened, frame=taker, closed=closed
        )

    def _url(self, command: OpenStream) -> str:
        if command.stream == MARKET:
            return market_url(NOWHERE, self._symbols)
        if command.stream == WS_API:
            return NOWHERE.ws_api
        key = next((key for key, handle in self._keys.items() if handle == command.handle), "")
        return private_url(NOWHERE, key, requests.USER_EVENTS)

    def _with_handles(self, body: bytes) -> bytes:
        for key, handle in self._keys.items():
            body = body.replace(key.encode(), handle.encode())
        return body

    def _follow(self, symbol: Symbol) -> None:
        if symbol in self._symbols:
            return
        self._symbols.append(symbol)
        frame = orjson.dumps({"method": "SUBSCRIBE", "params": [mark_stream(symbol)], "id": len(self._symbols)})
        for socket in list(self._sockets.values()):
            if socket.stream == MARKET:
                self._wire.ask(socket, frame.decode())
        self._set_up()

    def _ask(self, number: str, request: WsApiRequest) -> None:
        api = [socket for socket in self._sockets.values() if socket.stream == WS_API]
        if not api or self._silent:
            return
        params: dict[str, str | int] = dict(request.params)
        if request.signed:
            params |= {"apiKey": self._api_key, "timestamp": self.venue_ms()}
            params = signed_params(params, self._signer)
        self._wire.ask(api[-1], orjson.dumps({"id": number, "method": request.method, "params": params}).decode())
