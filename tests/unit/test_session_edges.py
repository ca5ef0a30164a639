"""Edges of the session: more events than it holds while it waits, keys that come and go while a socket is opening."""

from __future__ import annotations

import pytest

from streamhedge.domain.commands import CloseStream, Command, CreateListenKey, OpenStream
from streamhedge.domain.events import Event, ListenKeyExpired, ListenKeyReady, StreamOpened, Tick
from streamhedge.domain.values import NS_PER_MS, Symbol
from streamhedge.wire.session import HELD_MOST, MARKET, PRIVATE, WS_API, Session, SessionState, Step
from tests.support import builders as make


class Line:
    """A session and the numbers of the connections it asked for."""

    def __init__(self) -> None:
        self.session = Session(SessionState(symbols=[Symbol("BTCUSDT")]))
        self.now_ns = make.T0_MS * NS_PER_MS
        self.asked: list[Command] = []
        self.take(Tick())

    def take(self, event: Event, *, after_ms: int = 1) -> Step:
        self.now_ns += after_ms * NS_PER_MS
        step = self.session.step(event, self.now_ns)
        self.asked += step.commands
        return step

    def opened(self, stream: str) -> list[int]:
        return [c.connection for c in self.asked if isinstance(c, OpenStream) and c.stream == stream]

    def closed(self, stream: str) -> list[int]:
        return [c.connection for c in self.asked if isinstance(c, CloseStream) and c.stream == stream]

    def syncing(self) -> Line:
        self.take(ListenKeyReady(handle="lk1", renewed=False))
        for name in (MARKET, WS_API, PRIVATE):
            self.take(StreamOpened(stream=name, connection=self.opened(name)[-1]))
        self.take(make.setup())
        self.take(make.mark("67121.4"))
        assert self.session.state.status == "SYNCING"
        return self

    def snapshot(self) -> Step:
        return self.take(make.snapshot("-10", entry="67121.4", requested_ns=self.now_ns))


@pytest.mark.fault("U1")
def test_events_of_the_account_wait_for_the_snapshot_and_follow_it_in_order() -> None:
    line = Line().syncing()
    updates = [make.account_update(str(-11 - number)) for number in range(3)]
    assert all(line.take(update).events == () for update in updates)
    events = line.snapshot().events
    assert list(events[1:4]) == updates and line.session.state.status == "LIVE"


@pytest.mark.fault("U1", "S6")
def test_too_many_of_them_are_dropped_together_and_a_newer_snapshot_is_needed() -> None:
    line = Line().syncing()
    asked_ns = line.now_ns
    update = make.account_update("-11")
    for _ in range(HELD_MOST):
        line.take(update, after_ms=0)
    line.take(update)
    line.now_ns += NS_PER_MS
    late = line.take(make.snapshot("-10", entry="67121.4", requested_ns=asked_ns))
    assert line.session.state.status == "SYNCING" and update not in late.events, "it was asked before they were lost"
    events = line.snapshot().events
    assert line.session.state.status == "LIVE"
    assert update not in events, "what was dropped does not come back in part"


@pytest.mark.fault("U3")
def test_the_end_of_a_key_that_is_not_in_use_changes_nothing() -> None:
    line = Line().syncing()
    line.snapshot()
    before = len(line.asked)
    line.take(ListenKeyExpired(event_time_ms=make.T0_MS, handle="lk0"))
    assert line.session.state.status == "LIVE" and len(line.asked) == before
    line.take(ListenKeyExpired(event_time_ms=make.T0_MS, handle="lk1"))
    assert line.session.state.status == "SUSPECT"
    assert [c for c in line.asked[before:] if isinstance(c, CreateListenKey)]


def test_a_second_key_closes_the_socket_that_still_opens_with_the_first() -> None:
    line = Line()
    line.take(ListenKeyReady(handle="lk1", renewed=False))
    (first,) = line.opened(PRIVATE)
    line.take(ListenKeyReady(handle="lk1", renewed=True))
    assert line.opened(PRIVATE) == [first], "the same key again needs no other socket"
    line.take(ListenKeyReady(handle="lk2", renewed=False))
    assert first in line.closed(PRIVATE) and len(line.opened(PRIVATE)) == 2
    second = line.opened(PRIVATE)[-1]
    line.take(StreamOpened(stream=PRIVATE, connection=first))
    assert line.session.state.links[PRIVATE].current is None, "the first came up all the same, and is not taken"
    line.take(StreamOpened(stream=PRIVATE, connection=second))
    current = line.session.state.links[PRIVATE].current
    assert current is not None and current.number == second
