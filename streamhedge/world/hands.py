"""The hands of a virtual process: commands to the virtual wire, and what came of them back as inputs.

They play the part of the live ones, input for input: an order is void past its deadline, sent once, and its answer is
recorded without key or signature; listen keys are handles; the set-up is one input. Requests are built and signed by the
product's own wire room. Nothing is fed while the pump is at work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import Any, Protocol
from urllib.parse import urlencode

import orjson

from streamhedge.domain.commands import (
    CancelOrder,
    CloseStream,
    Command,
    CreateListenKey,
    FollowSymbol,
    OpenStream,
    PlaceOrder,
    QueryOrder,
    RenewListenKey,
    RequestOpenOrders,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
    SetLeverage,
)
from streamhedge.domain.values import Symbol
from streamhedge.rules.params import HedgeParams, Policy
from streamhedge.settings.endpoints import Endpoints, mark_stream, market_url, private_url
from streamhedge.wire import requests
from streamhedge.wire.requests import RestRequest, WsApiRequest
from streamhedge.wire.session import MARKET, PRIVATE, WS_API
from streamhedge.wire.signing import Params, Signer, signed_params, signed_query
from streamhedge.wire.streams import isolated_of
from streamhedge.world.wire import MS, Answer, Socket, Wire

SOURCE_OF = {MARKET: "market", PRIVATE: "private", WS_API: "wsapi"}
NOWHERE = Endpoints(rest="http://127.0.0.1", stream="ws://127.0.0.1", ws_api="ws://127.0.0.1/ws-fapi/v1")
Feed = Callable[[str, bytes], None]
Script = Generator[RestRequest, Answer, bytes | None]


class Gate(Protocol):
    """Lets a process die between its steps."""

    def reached(self, point: str) -> None:
        """A point inside an input was reached at which a kill may be due; raises what kills the process."""

    def sent(self) -> None:
        """The first byte of an order has left; a kill may be due."""


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
        self.offset_ms = 0
        self.stall_ms = 0

    def venue_ms(self) -> int:
        """Return the venue's clock as the process knows it."""
        return self._wall_ms() + self.offset_ms

    # ------------------------------------------------------------ commands

    def perform(self, command: Command, call: int) -> None:
        """Plan a command and return at once; it begins when the loop comes round."""
        if isinstance(command, PlaceOrder):
            self._gate.reached("committed")
            stall_ms, self.stall_ms = self.stall_ms, 0
            self._soon(lambda: self._place(command), stall_ms * MS)
        elif isinstance(command, OpenStream):
            self._soon(lambda: self._open(command), command.delay_ms * MS)
        else:
            self._soon(lambda: self._begin(command, call), 0)

    def _soon(self, action: Callable[[], None], delay_ns: int) -> None:
        def begin() -> None:
            if self._alive():
                action()

        self._wire.schedule.after(delay_ns + self._chance.randint(1_000, 300_000), begin)

    def _begin(self, command: Command, call: int) -> None:
        window = self._window_ms
        if isinstance(command, CloseStream):
            socket = self._sockets.get(command.connection)
            if socket is not None:
                self._wire.hang_up(socket, "1000")
        elif isinstance(command, RequestSnapshot):
            self._ask(f"pos-{call}", requests.positions(recv_window_ms=window))
            self._ask(f"bal-{call}", requests.balances(recv_window_ms=window))
        elif isinstance(command, RequestTime):
            self._ask(f"time-{call}", requests.server_time())
        elif isinstance(command, QueryOrder):
            question = requests.order_status(command.symbol, command.client_order_id, recv_window_ms=window)
            self._ask(f"ord-{command.client_order_id}-{call}", question)
        elif isinstance(command, RequestSetup):
            self._run(self._set_up())
        elif isinstance(command, FollowSymbol):
            self._follow(command.symbol)
        else:
            self._call(self._request(command))

    def _request(self, command: Command) -> RestRequest:
        if isinstance(command, CancelOrder):
            return requests.cancel_order(command.symbol, command.client_order_id, recv_window_ms=self._window_ms)
        if isinstance(command, CreateListenKey):
            return requests.create_listen_key()
        if isinstance(command, RenewListenKey):
            return requests.renew_listen_key()
        if isinstance(command, SetLeverage):
            return requests.set_leverage(command.symbol, command.leverage, recv_window_ms=self._window_ms)
        assert isinstance(command, RequestOpenOrders), f"no hand for {type(command).__name__}"
        return requests.open_orders(recv_window_ms=self._window_ms)

    # ------------------------------------------------------------ REST

    def _place(self, command: PlaceOrder) -> None:
        late_ns = self._wire.schedule.now_ns - command.deadline_ns
        if late_ns > 0:
            said = {"client_order_id": command.client_order_id, "reason": f"decided too long ago ({late_ns // MS} ms)"}
            self._feed("void", orjson.dumps(said))
            return
        self._call(requests.place_order(command, recv_window_ms=self._window_ms))
        self._gate.sent()

    def _call(self, request: RestRequest) -> None:
        self._send(request, lambda answer: self._feed("rest", self._recorded(request, answer)))

    def _send(self, request: RestRequest, done: Callable[[Answer], None]) -> None:
        if request.signed:
            params: Params = [*request.params, ("timestamp", str(self.venue_ms()))]
            query = signed_query(params, self._signer)
        else:
            query = urlencode(request.params)

        def answered(answer: Answer) -> None:
            if self._alive():
                done(answer)

        self._wire.rest(request.method, request.path, query, self._api_key, request.label == "order", answered)

    def _recorded(self, request: RestRequest, answer: Answer) -> bytes:
        body: object = answer.body.decode("utf-8", "replace")
        if request.label == "listen_key" and answer.status == 200:
            key = orjson.loads(answer.body).get("listenKey")
            body = {"listenKey": self._keys.setdefault(key, f"lk{len(self._keys) + 1}")} if key else "unreadable"
        said = {"label": request.label, "client_order_id": request.client_order_id or ""}
        return orjson.dumps(
            {
                **{"request": said, "status": answer.status, "headers": answer.headers, "body": body},
                **{"error": answer.error, "sent": answer.sent},
            }
        )

    # ------------------------------------------------------------ set-up

    def _run(self, script: Script) -> None:
        """Play a script of calls, one after the other; what it returns is fed as the set-up."""

        def step(answer: Answer | None) -> None:
            try:
                request = next(script) if answer is None else script.send(answer)
            except StopIteration as end:
                if end.value is not None:
                    self._feed("setup", end.value)
                return
            self._send(request, step)

        step(None)

    def _set_up(self) -> Script:
        bodies = yield from self._read_setup()
        if bodies is not None and (yield from self._adjust(orjson.loads(bodies["symbol_config"]))):
            bodies = yield from self._read_setup()
        if bodies is None:
            return None
        return b"{" + b",".join(b'"%s":%s' % (name.encode(), body) for name, body in bodies.items()) + b"}"

    def _read_setup(self) -> Generator[RestRequest, Answer, dict[str, bytes] | None]:
        window = self._window_ms
        found: dict[str, bytes] = {}
        plain = {
            "exchange_info": requests.exchange_info(),
            "funding_info": requests.funding_info(),
            "account_config": requests.account_config(recv_window_ms=window),
            "symbol_config": requests.symbol_config(recv_window_ms=window),
        }
        for name, request in plain.items():
            answer = yield request
            if answer.status != 200:
                return self._failed(request.path, answer)
            found[name] = answer.body
        rows = orjson.loads(found["exchange_info"])["symbols"]
        found["exchange_info"] = orjson.dumps({"symbols": [row for row in rows if row["symbol"] in self._symbols]})
        for name, maker in (
            ("leverage_bracket", requests.leverage_bracket),
            ("commission_rate", requests.commission_rate),
        ):
            parts = []
            for symbol in list(self._symbols):
                answer = yield maker(symbol, recv_window_ms=window)
                if answer.status != 200:
                    return self._failed(name, answer)
                parts.append(b'"%s":%s' % (symbol.encode(), answer.body))
            found[name] = b"{" + b",".join(parts) + b"}"
        return found

    def _failed(self, path: str, answer: Answer) -> dict[str, bytes] | None:
        self._feed("rest", self._recorded(RestRequest("setup", "GET", path, [], False), answer))
        return None

    def _adjust(self, rows: list[dict[str, Any]]) -> Generator[RestRequest, Answer, bool]:
        changed = False
        configured = {row["symbol"]: row for row in rows}
        for hedge in self._hedges:
            row = configured.get(hedge.symbol)
            if row is None:
                continue
            window = self._window_ms
            if isolated_of(row["marginType"]) != hedge.isolated:
                answer = yield requests.set_margin_type(hedge.symbol, isolated=hedge.isolated, recv_window_ms=window)
                changed = answer.status == 200 or changed
            if row["leverage"] != hedge.leverage:
                answer = yield requests.set_leverage(hedge.symbol, hedge.leverage, recv_window_ms=window)
                changed = answer.status == 200 or changed
        return changed

    # ------------------------------------------------------------ streams

    def _open(self, command: OpenStream) -> None:
        source = SOURCE_OF[command.stream]

        def opened(socket: Socket) -> None:
            if not self._alive() or not socket.open:
                return
            self._sockets[command.connection] = socket
            said = {"stream": command.stream, "connection": command.connection, "state": "open"}
            self._feed("conn", orjson.dumps(said))

        def closed(reason: str) -> None:
            self._sockets.pop(command.connection, None)
            said = {"stream": command.stream, "connection": command.connection, "state": "closed", "reason": reason}
            if self._alive():
                self._feed("conn", orjson.dumps({**said, "jitter_permille": self._chance.randrange(1_000)}))

        taker = self._private if command.stream == PRIVATE else lambda body: self._feed(source, body)
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

    def _private(self, body: bytes) -> None:
        for key, handle in self._keys.items():
            body = body.replace(key.encode(), handle.encode())
        self._feed("private", body)

    def _follow(self, symbol: Symbol) -> None:
        if symbol in self._symbols:
            return
        self._symbols.append(symbol)
        frame = orjson.dumps({"method": "SUBSCRIBE", "params": [mark_stream(symbol)], "id": len(self._symbols)})
        for socket in list(self._sockets.values()):
            if socket.stream == MARKET:
                self._wire.ask(socket, frame.decode())
        self._run(self._set_up())

    def _ask(self, number: str, request: WsApiRequest) -> None:
        api = [socket for socket in self._sockets.values() if socket.stream == WS_API]
        if not api:
            return
        params: dict[str, str | int] = dict(request.params)
        if request.signed:
            params |= {"apiKey": self._api_key, "timestamp": self.venue_ms()}
            params = signed_params(params, self._signer)
        self._wire.ask(api[-1], orjson.dumps({"id": number, "method": request.method, "params": params}).decode())
