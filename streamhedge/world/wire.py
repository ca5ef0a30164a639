"""The virtual wire between one process and the exchange: latencies from the seed, order kept per socket, faults per request.

What a real network does to bytes happens here; what the venue does to requests happens in the exchange. A socket delivers
its frames in order; requests over REST may pass one another. A request that left is at the venue later, whatever
becomes of its sender.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from streamhedge.sim.exchange import Exchange
from streamhedge.sim.streams import LIFE_MS
from streamhedge.sim.wsapi import HANDSHAKE_WEIGHT, WsSession
from streamhedge.wire.requests import ALGO_PATH
from streamhedge.world.schedule import MS, Schedule

FRAME_MOST = 256 * 1024
"""A larger frame closes the socket, as it does in the live one."""
PING_DEAD_NS = 10_000 * MS
"""A socket whose pings nobody answers is given up by then (5 s + 5 s)."""


@dataclass(slots=True)
class Answer:
    """What came back of a REST request; ``status`` None when nothing did, ``sent`` False when not one byte left."""

    status: int | None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""
    sent: bool = True


@dataclass(slots=True)
class Socket:
    """One socket of the process: its side of the wire."""

    number: int
    stream: str
    frame: Callable[[bytes], None]
    closed: Callable[[str], None]
    venue_number: int = 0
    session: WsSession | None = None
    last_ns: int = 0
    open: bool = True
    dying: bool = False


class Tap(Protocol):
    """Who listens on the wire."""

    def order_sent(self, query: str) -> None:
        """An order's first byte leaves."""

    def stop_sent(self, query: str) -> None:
        """A stop's first byte leaves."""

    def cancel_sent(self, query: str) -> None:
        """A cancel's first byte leaves."""

    def order_at(self, point: str) -> None:
        """An order is at a point on the venue's side of the wire."""

    def asked(self, text: str) -> None:
        """A frame leaves for the WebSocket API."""

    def weight_used(self) -> None:
        """A request reached the venue."""


class Wire:
    """The network between the exchange and whoever is connected."""

    def __init__(
        self, exchange: Exchange, schedule: Schedule, seed: int, latency_ms: tuple[int, int], tap: Tap, timeout_ms: int
    ) -> None:
        self.exchange = exchange
        self.schedule = schedule
        self.tap = tap
        self.latency_ms = latency_ms
        self.timeout_ns = timeout_ms * MS
        self.armed: dict[str, list[int]] = {}
        self.fired: dict[str, int] = {}
        self.sockets: list[Socket] = []
        self.in_flight = 0
        self.repeating = 0
        self.noise_ms = 0
        """By how much a question's way up may be longer than its answer's way down."""
        self.refusing_until_ns = 0
        self._process = 0
        self._chance = random.Random(f"wire-{seed}")

    # ------------------------------------------------------------ time

    def latency_ns(self) -> int:
        """Draw one way's latency."""
        low, high = self.latency_ms
        return self._chance.randint(low * MS, high * MS)

    def take(self, name: str) -> int | None:
        """Use up one armed fault of the wire; its value, None when none is armed."""
        waiting = self.armed.get(name)
        if not waiting:
            return None
        self.fired[name] = self.fired.get(name, 0) + 1
        return waiting.pop(0)

    def arm(self, name: str, value: int) -> None:
        """Arm a fault of the wire for the next thing it can hit."""
        self.armed.setdefault(name, []).append(value)

    # ------------------------------------------------------------ REST

    def rest(
        self, method: str, path: str, query: str, api_key: str, order: bool, done: Callable[[Answer], None]
    ) -> None:
        """Send one request and hand on what came of it, once."""
        name = "order" if order else "call"
        refused = self.schedule.now_ns < self.refusing_until_ns or self.take(f"{name}-refused") is not None
        if refused:
            self.schedule.after(
                self.latency_ns(), lambda: done(Answer(None, error="no connection: refused", sent=False))
            )
            return
        if order:
            self.tap.order_sent(query)
        elif method == "POST" and path == ALGO_PATH:
            self.tap.stop_sent(query)
        if method == "DELETE":
            self.tap.cancel_sent(query)
        self.in_flight += 1
        waiting = [True]

        def finish(answer: Answer) -> None:
            if waiting:
                waiting.clear()
                self.in_flight -= 1
                done(answer)

        self.schedule.after(self.timeout_ns, lambda: finish(Answer(None, error="TimeoutError: ")))
        if self.take(f"{name}-lost") is not None:
            return
        up_ns = self.latency_ns() + (self.take(f"{name}-slow") or 0) * MS

        def arrive() -> None:
            if order:
                self.tap.order_at("arrived")
            reply = self.exchange.rest(
                method=method, path=path, query=query, body="", api_key=api_key, now_ms=self.schedule.now_ms
            )
            if order:
                self.tap.order_at("executed")
            self.tap.weight_used()
            self.flush()
            if order:
                self.tap.order_at("told")
            if self.take(f"{name}-answer-lost") is not None:
                return
            down_ns = self.latency_ns() + (self.take(f"{name}-answer-slow") or 0) * MS
            if reply.cut:
                self.schedule.after(down_ns, lambda: finish(Answer(None, error="ServerDisconnectedError: ")))
                return
            kept = {key: value for key, value in reply.headers.items() if key == "retry-after" or key[:6] == "x-mbx-"}
            answer = Answer(reply.status, kept, reply.body.encode())
            self.schedule.after(down_ns, lambda: finish(answer))

        self.schedule.after(up_ns, arrive)

    # ------------------------------------------------------------ sockets

    def connect(
        self,
        url: str,
        stream: str,
        number: int,
        *,
        opened: Callable[[Socket], None],
        frame: Callable[[bytes], None],
        closed: Callable[[str], None],
    ) -> None:
        """Open a socket; ``opened``, every ``frame`` and ``closed`` come as they would."""
        socket = Socket(number, stream, frame, closed)
        parts = urlsplit(url)
        if self.schedule.now_ns < self.refusing_until_ns:
            self.schedule.after(self.latency_ns(), lambda: closed("no connection: OSError"))
            return
        status = self.take("S4")
        if status is not None:
            reason = f"InvalidStatus {status}" if status else "ConnectionRefusedError"
            self.schedule.after(self.latency_ns(), lambda: closed(f"no connection: {reason}"))
            return

        process = self._process

        def arrive() -> None:
            if process != self._process:
                return
            now_ms = self.schedule.now_ms
            api = parts.path.rstrip("/") == "/ws-fapi/v1"
            refused = self.exchange.handshake(now_ms, weight=HANDSHAKE_WEIGHT if api else 0)
            number = None if api or refused is not None else self.exchange.streams.open(parts.path, parts.query, now_ms)
            if refused is not None or (not api and number is None):
                self._later(socket, lambda: closed("no connection: InvalidStatus"))
                return
            if api:
                socket.session = WsSession(connected_ms=now_ms)
            socket.venue_number = number or 0
            self.sockets.append(socket)
            self._later(socket, lambda: opened(socket))
            self.flush()

        self.schedule.after(self.latency_ns(), arrive)

    def _later(self, socket: Socket, action: Callable[[], None], extra_ns: int = 0) -> None:
        """Deliver on a socket, after everything delivered before."""
        at_ns = max(self.schedule.now_ns + self.latency_ns() + extra_ns, socket.last_ns + 1)
        socket.last_ns = at_ns
        self.in_flight += 1

        def deliver() -> None:
            self.in_flight -= 1
            action()

        self.schedule.at(at_ns, deliver)

    def ask(self, socket: Socket, text: str) -> None:
        """Send a frame to the venue."""
        if not socket.open:
            return
        if socket.session is not None:
            self.tap.asked(text)
        if self.take("ask-lost") is not None:
            return

        def arrive() -> None:
            self.in_flight -= 1
            now_ms = self.schedule.now_ms
            if socket.session is None:
                if socket.venue_number in self.exchange.streams.connections:
                    self.exchange.streams.receive(socket.venue_number, text, now_ms)
                    self.flush()
                return
            if socket.session.frozen or socket not in self.sockets:
                return
            answer = self.exchange.ws_api(socket.session, text, now_ms)
            self.tap.weight_used()
            self.flush()
            if answer is None:
                self._cut(socket, "1006")
            elif not socket.session.frozen and self.take("ask-answer-lost") is None:
                body = answer.encode()
                self._later(socket, lambda: self._frame(socket, body), (self.take("ask-answer-slow") or 0) * MS)

        self.in_flight += 1
        noise_ns = self._chance.randint(0, self.noise_ms) * MS if self.noise_ms else 0
        self.schedule.after(self.latency_ns() + noise_ns, arrive)

    def _frame(self, socket: Socket, body: bytes) -> None:
        if socket.open:
            socket.frame(body)

    def hang_up(self, socket: Socket, reason: str) -> None:
        """Close a socket from our side."""
        if socket in self.sockets:
            self.sockets.remove(socket)
            if socket.session is None:
                self.exchange.streams.close(socket.venue_number)
        if socket.open:
            socket.open = False
            self.schedule.after(MS, lambda: socket.closed(reason))

    def break_off(self, socket: Socket, reason: str) -> None:
        """End a socket in the middle of a message: what is under way on it never arrives."""
        self.hang_up(socket, reason)

    def _cut(self, socket: Socket, reason: str) -> None:
        """Close a socket from the venue's side; what is under way still arrives."""
        if socket in self.sockets:
            self.sockets.remove(socket)
            if socket.session is None:
                self.exchange.streams.close(socket.venue_number)
            self._later(socket, lambda: self._end(socket, reason))

    @staticmethod
    def _end(socket: Socket, reason: str) -> None:
        if socket.open:
            socket.open = False
            socket.closed(reason)

    def abandon(self) -> None:
        """The process is dead: its sockets go without a word."""
        self._process += 1
        for socket in list(self.sockets):
            socket.open = False
            if socket.session is None:
                self.exchange.streams.close(socket.venue_number)
        self.sockets.clear()

    # ------------------------------------------------------------ the exchange's side

    def flush(self) -> None:
        """Put on the wire what the exchange said, and cut what it wants cut."""
        streams = self.exchange.streams
        by_number = {socket.venue_number: socket for socket in self.sockets if socket.session is None}
        for number, text in streams.outbox:
            socket = by_number.get(number)
            if socket is not None:
                self._publish(socket, text.encode())
        streams.outbox.clear()
        for number in dict.fromkeys(streams.closing):
            if number in by_number:
                self._cut(by_number[number], "1001")
            streams.close(number)
        streams.closing.clear()
        self._flush_api()
        self._watch_frozen()

    def _publish(self, socket: Socket, body: bytes) -> None:
        if len(body) > FRAME_MOST:
            self.break_off(socket, "1009 message too big")
            return
        extra = 0
        if socket.stream == "private":
            self._repeat(socket, body)
            if self.take("frame-lost") is not None:
                return
            extra = (self.take("frame-slow") or 0) * MS
        self._later(socket, lambda: self._frame(socket, body), extra)

    def _repeat(self, socket: Socket, body: bytes) -> None:
        """Deliver a frame once more, later and out of turn, while that fault lasts."""
        if self.repeating > 0:
            self.repeating -= 1
            self.fired["frames-again"] = self.fired.get("frames-again", 0) + 1
            self.schedule.after(
                self.latency_ns() + self._chance.randint(0, 3_000) * MS, lambda: self._frame(socket, body)
            )

    def _flush_api(self) -> None:
        exchange = self.exchange
        for socket in [socket for socket in self.sockets if socket.session is not None]:
            assert socket.session is not None, "only sessions were picked"
            socket.session.frozen = socket.session.frozen or exchange.freeze_ws_api
            if exchange.drop_ws_api or socket.session.connected_ms <= exchange.now_ms - LIFE_MS:
                self._cut(socket, "1001")
        exchange.drop_ws_api = exchange.freeze_ws_api = False

    def _watch_frozen(self) -> None:
        """Pings find out that nobody is there."""
        for socket in self.sockets:
            connection = self.exchange.streams.connections.get(socket.venue_number)
            frozen = socket.session.frozen if socket.session is not None else connection is None or connection.frozen
            if frozen and not socket.dying:
                socket.dying = True
                self.schedule.after(PING_DEAD_NS, lambda socket=socket: self._give_up(socket))  # type: ignore[misc]

    def _give_up(self, socket: Socket) -> None:
        if socket in self.sockets:
            self.hang_up(socket, "1011 keepalive ping timeout")

    def beat(self) -> None:
        """Let the exchange's own time pass."""
        self.exchange.advance(self.schedule.now_ms)
        self.flush()
