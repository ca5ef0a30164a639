"""The replica's arithmetic of numbers: what is repeated is skipped, what is missing is refused, what was held is handed on."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from streamhedge.errors import ReplayDiverged
from streamhedge.live import feed as module
from streamhedge.live.attach import AttachedBook
from streamhedge.live.feed import Feed
from streamhedge.reactor.reactor import Reactor
from streamhedge.runtime.pump import Pump
from streamhedge.wire.session import Session, SessionState
from tests.support import builders as make

T0_NS = make.T0_MS * 1_000_000


class Nothing:
    """A journal that keeps nothing."""

    def append(self, recv_ns: int, source: str, payload: bytes) -> None:
        """Take one input."""


class Room:
    """A pump whose inputs a feed hands on."""

    def __init__(self) -> None:
        self.feed = Feed(Nothing(), lambda: self.pump)
        reactor = Reactor(make.reactor().state, make.policy())
        self.pump = Pump(reactor=reactor, session=Session(SessionState(symbols=[make.BTCUSDT])), journal=self.feed)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.pump.feed("tick", T0_NS + self.pump.seq * 100_000_000, b'{"lag_ms":0}')


async def lines_of(room: Room, after: int | None) -> list[tuple[int, str]]:
    """Return number and source of what a reader gets at once."""
    stream = room.feed.follow(after)
    try:
        text = await asyncio.wait_for(anext(stream), 5)
    finally:
        await stream.aclose()
    rows = [line.split(b" ", 3) for line in text.splitlines()]
    return [(int(row[0]), row[2].decode()) for row in rows]


async def test_a_reader_goes_on_where_it_was_and_gets_the_state_where_it_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room()
    room.tick(5)
    assert await lines_of(room, None) == [(5, "header")]
    assert await lines_of(room, 2) == [(3, "tick"), (4, "tick"), (5, "tick")]
    assert await lines_of(room, 99) == [(5, "header")], "a number from another run"
    monkeypatch.setattr(room.feed, "_kept", type(room.feed._kept)(list(room.feed._kept)[-2:], maxlen=2))
    assert await lines_of(room, 2) == [(5, "header")], "too old"


async def test_a_reader_that_does_not_read_is_given_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MOST", 3)
    room = Room()
    room.tick()
    stream = room.feed.follow(None)
    await anext(stream)
    room.tick(10)
    text = await anext(stream)
    assert text.startswith(b"11 ") and b" header " in text
    await stream.aclose()


async def test_the_replica_has_the_same_state_and_refuses_a_gap() -> None:
    room = Room()
    room.tick(3)
    stream = room.feed.follow(None)
    header = (await anext(stream)).split(b" ", 3)[3]
    book = AttachedBook(orjson.loads(header))
    room.tick(3)
    lines = [line.split(b" ", 3) for line in (await anext(stream)).splitlines()]
    await stream.aclose()
    for seq, recv_ns, source, payload in lines:
        book.take(int(seq), int(recv_ns), source.decode(), payload)
        book.take(int(seq), int(recv_ns), source.decode(), payload)  # told twice
    assert (book.seq, book.digest()) == (room.pump.seq, room.pump.digest())
    with pytest.raises(ReplayDiverged, match="a gap"):
        book.take(book.seq + 2, T0_NS, "tick", b'{"lag_ms":0}')
    forged = {**orjson.loads(header), "digest": "0" * 32}
    with pytest.raises(ReplayDiverged, match="version"):
        AttachedBook(forged)
