"""The routed stream paths: who is connected, what they asked for, and what each of them gets.

A stream on the wrong path, a misspelt one and a dead listen key are acknowledged and stay silent, as at the venue.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from streamhedge.sim.grammar import Message, encode

MARKET_STREAM = re.compile(
    r"^(?:[^@!]+@(?:markPrice(?:@1s)?|aggTrade|kline_\w+|miniTicker|ticker|forceOrder|compositeIndex|assetIndex)"
    r"|!markPrice@arr(?:@1s)?|!miniTicker@arr|!ticker@arr|!forceOrder@arr|!contractInfo|!assetIndex@arr|tradingSession)$"
)
PUBLIC_STREAM = re.compile(r"^(?:[^@!]+@(?:bookTicker|depth\w*(?:@\d+ms)?|rpiDepth@500ms)|!bookTicker)$")
MOST_STREAMS = 1_024
MESSAGES_PER_SECOND = 10
LIFE_MS = 24 * 3_600_000


@dataclass(slots=True)
class Connection:
    """One stream socket: its path, its subscriptions, and the events it lets through per listen key (empty = all)."""

    number: int
    route: str
    combined: bool
    streams: list[str] = field(default_factory=list)
    events: dict[str, list[str]] = field(default_factory=dict)
    opened_ms: int = 0
    muted: bool = False
    frozen: bool = False
    heard_ms: deque[int] = field(default_factory=deque)

    def takes(self, stream: str) -> bool:
        """True when the connection asked for the stream and its path carries it."""
        if self.muted or stream not in self.streams:
            return False
        if self.route == "market":
            return MARKET_STREAM.match(stream) is not None
        return self.route in ("public", "legacy") and PUBLIC_STREAM.match(stream) is not None


class Streams:
    """All stream connections of the exchange."""

    def __init__(self) -> None:
        self.connections: dict[int, Connection] = {}
        self.outbox: list[tuple[int, str]] = []
        self.closing: list[int] = []
        self.silent_symbol = ""
        self._next = 1

    def open(self, path: str, query: str, now_ms: int) -> int | None:
        """Accept a connection on a stream path; None when there is no such path."""
        parts = [part for part in path.split("/") if part]
        route = "legacy"
        if parts and parts[0] in ("public", "market", "private"):
            route = parts.pop(0)
        if not parts or parts[0] not in ("ws", "stream"):
            return None
        connection = Connection(self._next, route, parts[0] == "stream", opened_ms=now_ms)
        self._next += 1
        named = parts[1:]
        key = ""
        for word, value in parse_qsl(query):
            if word == "streams":
                named += value.split("/")
            elif word == "listenKey":
                key = value
                connection.events.setdefault(key, [])
            elif word == "events" and key:
                connection.events[key] = value.split("/")
        for name in named:
            self._subscribe(connection, name)
        self.connections[connection.number] = connection
        return connection.number

    @staticmethod
    def _subscribe(connection: Connection, name: str) -> None:
        if connection.route == "private":
            connection.events.setdefault(name, [])
        elif name not in connection.streams:
            connection.streams.append(name)

    def close(self, number: int) -> None:
        """Forget a connection."""
        self.connections.pop(number, None)

    def drop(self, route: str | None = None) -> None:
        """Cut every connection of a path, or all."""
        self.closing += [c.number for c in self.connections.values() if route in (None, c.route)]

    def retire(self, now_ms: int) -> None:
        """Cut the connections whose day is over."""
        for connection in self.connections.values():
            if connection.opened_ms <= now_ms - LIFE_MS:
                self.closing.append(connection.number)

    def freeze(self, route: str) -> None:
        """Stop writing to the connections of a path, for ever and without a word; new ones are well."""
        for connection in self.connections.values():
            connection.frozen = connection.frozen or connection.route == route

    def mute(self, route: str, muted: bool) -> None:
        """Make every connection of a path silent, or let it speak again."""
        for connection in self.connections.values():
            if connection.route == route:
                connection.muted = muted

    # ------------------------------------------------------------ commands

    def receive(self, number: int, text: str, now_ms: int) -> None:
        """Answer a command of a client; more than ten a second cut it off."""
        connection = self.connections[number]
        connection.heard_ms.append(now_ms)
        while connection.heard_ms[0] <= now_ms - 1_000:
            connection.heard_ms.popleft()
        if len(connection.heard_ms) > MESSAGES_PER_SECOND:
            self.closing.append(number)
            return
        try:
            request = json.loads(text)
        except ValueError:
            self._answer(number, {"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}})
            return
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            self._answer(number, {"error": {"code": 2, "msg": "Invalid request: missing field `method`"}})
            return
        answer = self._command(connection, request["method"], request.get("params") or [])
        self._answer(number, {**answer, "id": request.get("id")})

    def _command(self, connection: Connection, method: str, params: object) -> Message:
        names = [name for name in params if isinstance(name, str)] if isinstance(params, list) else []
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": self._listed(connection)}
        if method == "GET_PROPERTY":
            return {"result": connection.combined}
        if method == "SET_PROPERTY":
            if not isinstance(params, list) or len(params) != 2 or params[0] != "combined":
                return {"error": {"code": 0, "msg": "Unknown property"}}
            if not isinstance(params[1], bool):
                return {"error": {"code": 1, "msg": "Invalid value type: expected Boolean"}}
            connection.combined = params[1]
            return {"result": None}
        if method == "SUBSCRIBE":
            if len(connection.streams) + len(names) > MOST_STREAMS:
                return {"error": {"code": 2, "msg": "Invalid request: too many streams"}}
            for name in names:
                self._subscribe(connection, name)
            return {"result": None}
        if method == "UNSUBSCRIBE":
            for name in names:
                connection.events.pop(name, None)
                if name in connection.streams:
                    connection.streams.remove(name)
            return {"result": None}
        return {"error": {"code": 2, "msg": f"Invalid request: unknown variant `{method}`"}}

    @staticmethod
    def _listed(connection: Connection) -> list[str]:
        if connection.route != "private":
            return sorted(connection.streams)
        found = []
        for key, events in connection.events.items():
            found += [f"{key}@{event}" for event in events] if events else [key]
        return sorted(found)

    def _answer(self, number: int, message: Message) -> None:
        self._write(self.connections[number], encode(message))

    def _write(self, connection: Connection, text: str) -> None:
        if not connection.frozen:
            self.outbox.append((connection.number, text))

    # ------------------------------------------------------------ delivery

    def wanted(self, stream: str) -> bool:
        """True when anybody takes the stream."""
        return any(connection.takes(stream) for connection in self.connections.values())

    def publish(self, stream: str, payload: Message | list[Message]) -> None:
        """Deliver one frame of a market or public stream."""
        if self.silent_symbol and stream.partition("@")[0].upper() == self.silent_symbol:
            return
        text = ""
        for connection in self.connections.values():
            if connection.takes(stream):
                text = text or encode(payload)
                whole = f'{{"stream":{json.dumps(stream)},"data":{text}}}' if connection.combined else text
                self._write(connection, whole)

    def publish_private(self, key: str, message: Mapping[str, object]) -> None:
        """Deliver one user event to whoever listens with the key and lets its type through."""
        kind = str(message["e"])
        text = encode(dict(message))
        for connection in self.connections.values():
            if connection.muted or key not in connection.events:
                continue
            events = connection.events[key]
            if events and kind not in events:
                continue
            name = f"{key}@{kind}" if events else key
            whole = f'{{"stream":"{name}","data":{text}}}' if connection.combined else text
            self._write(connection, whole)

    def publish_raw(self, key: str, text: str) -> None:
        """Deliver a frame as it stands to everybody with the key, whatever it is."""
        for connection in self.connections.values():
            if key in connection.events and not connection.muted:
                self._write(connection, text)
