"""The session: what makes the book trusted, what loses that trust, and how it is won back. Time comes with events."""

from __future__ import annotations

import pytest

from streamhedge.domain.commands import (
    CloseStream,
    Command,
    CreateListenKey,
    OpenStream,
    RenewListenKey,
    RequestOpenOrders,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.events import (
    BookStatusChanged,
    CallFailed,
    ClockStepped,
    Event,
    ListenKeyExpired,
    ListenKeyReady,
    Quarantined,
    StreamClosed,
    StreamOpened,
    Tick,
    VenueTime,
)
from streamhedge.domain.values import NS_PER_SECOND, Symbol
from streamhedge.wire.session import MARKET, PRIVATE, WS_API, Session, SessionState, Step
from tests.support import builders as make

SECOND = NS_PER_SECOND
START = make.T0_MS * 1_000_000


class Line:
    """A session driven by hand: its clock, and everything it asked for."""

    def __init__(self, *symbols: str) -> None:
        names = [Symbol(name) for name in symbols or ("BTCUSDT",)]
        self.session = Session(SessionState(symbols=names))
        self.now = START
        self.asked: list[Command] = []
        self.passed: list[Event] = []
        self.said: list[str] = []

    def take(self, event: Event, *, after_s: float = 0) -> Step:
        self.now += int(after_s * SECOND)
        step = self.session.step(event, self.now)
        self.asked += step.commands
        self.passed += step.events
        self.said += [note.text for note in step.notes]
        return step

    def mark(self, symbol: str = "BTCUSDT", *, after_s: float = 0) -> Step:
        event = make.mark("67121.4", self.now // 1_000_000)
        event.symbol = Symbol(symbol)  # type: ignore[misc]
        return self.take(event, after_s=after_s)

    def quiet(self, seconds: float, *, marks: bool = True, answers: bool = True) -> None:
        """Let time pass in ticks of a second, with marks and answers unless they are missing."""
        for _ in range(int(seconds)):
            step = self.mark(after_s=1) if marks else self.take(Tick(), after_s=1)
            if answers and any(isinstance(found, RequestSnapshot) for found in step.commands):
                self.snapshot()
            if answers and any(isinstance(found, RenewListenKey) for found in step.commands):
                self.take(ListenKeyReady(handle="lk1", renewed=True))

    def snapshot(self, *, requested: int | None = None) -> Step:
        found = make.snapshot("-10", entry="67121.4", wallet="400000", at_ms=self.now // 1_000_000, audit=True)
        found.requested_ns = self.now if requested is None else requested  # type: ignore[misc]
        return self.take(found)

    def number(self, stream: str) -> int:
        return [found for found in self.asked if isinstance(found, OpenStream) and found.stream == stream][
            -1
        ].connection

    def up(self) -> Line:
        """Bring everything up to LIVE."""
        self.take(Tick())
        self.take(StreamOpened(MARKET, self.number(MARKET)))
        self.take(StreamOpened(WS_API, self.number(WS_API)))
        self.take(ListenKeyReady(handle="lk1", renewed=False))
        self.take(StreamOpened(PRIVATE, self.number(PRIVATE)))
        self.take(make.setup())
        self.mark()
        self.snapshot()
        return self

    def reopened(self) -> Line:
        """Let the sockets that were asked for last open."""
        for stream in (MARKET, WS_API, PRIVATE):
            self.take(StreamOpened(stream, self.number(stream)))
        return self

    def since(self, kind: type[Command]) -> int:
        return sum(isinstance(found, kind) for found in self.asked)

    @property
    def status(self) -> str:
        return self.session.state.status


@pytest.mark.fault("U1")
def test_start_asks_for_everything_and_decides_nothing() -> None:
    line = Line()
    line.take(Tick())
    kinds = [type(found) for found in line.asked]
    assert kinds == [OpenStream, OpenStream, CreateListenKey, RequestSetup]
    assert line.status == "COLD"


@pytest.mark.fault("S2", "U1")
def test_live_needs_every_part() -> None:
    line = Line().up()
    assert line.status == "LIVE"
    assert line.since(RequestOpenOrders) == 1, "open orders are listed once at start"


@pytest.mark.fault("S2", "M1")
def test_an_acknowledged_but_silent_market_stream_is_not_live_and_is_named() -> None:
    line = Line()
    line.take(Tick())
    line.take(StreamOpened(MARKET, line.number(MARKET)))
    line.take(StreamOpened(WS_API, line.number(WS_API)))
    line.take(ListenKeyReady(handle="lk1", renewed=False))
    line.take(StreamOpened(PRIVATE, line.number(PRIVATE)))
    line.take(make.setup())
    line.snapshot()
    assert line.status != "LIVE"
    assert "a fresh mark of BTCUSDT" in line.session.state.reason
    line.quiet(7, marks=False)
    assert any("/market BTCUSDT: no mark price" in text for text in line.said)
    opened = line.since(OpenStream)
    line.quiet(6, marks=False)
    assert line.since(OpenStream) == opened + 1, "the silent stream is opened again"


@pytest.mark.fault("S10")
def test_one_mute_symbol_of_two_is_found_although_the_other_speaks() -> None:
    line = Line("BTCUSDT", "ETHUSDT")
    line.up()
    assert line.status != "LIVE"
    line.mark("ETHUSDT")
    assert line.status == "LIVE"
    for _ in range(12):
        line.mark("BTCUSDT", after_s=1)
    assert any("/market ETHUSDT" in text for text in line.said)
    assert not any("/market BTCUSDT" in text for text in line.said)
    assert line.since(CloseStream) >= 1


@pytest.mark.fault("U1")
def test_events_before_the_snapshot_are_held_and_released_after_it_in_order() -> None:
    line = Line()
    line.take(Tick())
    line.take(StreamOpened(WS_API, line.number(WS_API)))
    line.take(ListenKeyReady(handle="lk1", renewed=False))
    line.take(StreamOpened(PRIVATE, line.number(PRIVATE)))
    first, second = make.account_update("-1"), make.account_update("-2")
    assert line.take(first).events == ()
    assert line.take(second).events == ()
    assert not line.session.quiet, "no segment of the recording may begin while events are held"
    released = [event for event in line.snapshot().events if not isinstance(event, BookStatusChanged)]
    assert released[1:] == [first, second]
    assert line.session.quiet


@pytest.mark.fault("U1", "U7")
def test_a_snapshot_asked_before_the_private_stream_opened_proves_nothing() -> None:
    line = Line().up()
    line.take(StreamClosed(PRIVATE, line.number(PRIVATE), "gone", 500))
    assert line.status == "SUSPECT"
    before = line.now
    line.take(StreamOpened(PRIVATE, line.number(PRIVATE)), after_s=0.2)
    line.snapshot(requested=before)
    assert line.status == "SUSPECT"
    line.snapshot()
    assert line.status == "LIVE"


@pytest.mark.fault("S4")
def test_back_off_is_full_jitter_and_bounded() -> None:
    line = Line().up()
    delays = []
    for _ in range(12):
        line.take(StreamClosed(MARKET, line.number(MARKET), "refused", 999))
        delays.append(line.asked[-1].delay_ms)  # type: ignore[union-attr]
    assert delays[0] < 250 and delays == sorted(delays) and max(delays) < 30_000
    line.take(StreamClosed(MARKET, line.number(MARKET), "refused", 0))
    assert line.asked[-1].delay_ms == 0  # type: ignore[union-attr]


@pytest.mark.fault("U2", "U3")
def test_an_expired_key_is_replaced_and_the_book_synced_again() -> None:
    line = Line().up()
    line.take(ListenKeyExpired(event_time_ms=1, handle="lk1"))
    assert line.status == "SUSPECT"
    assert isinstance(line.asked[-1], CreateListenKey) or line.since(CreateListenKey) == 2
    old = line.number(PRIVATE)
    line.take(ListenKeyReady(handle="lk2", renewed=False))
    line.take(StreamOpened(PRIVATE, line.number(PRIVATE)))
    assert CloseStream(PRIVATE, old, "rotated") in line.asked, "at once: its key is dead"
    line.snapshot()
    assert line.status == "LIVE"


def test_a_late_word_about_an_older_key_changes_nothing() -> None:
    line = Line().up()
    line.take(ListenKeyExpired(event_time_ms=1, handle="lk0"))
    assert line.status == "LIVE"


@pytest.mark.fault("U2", "U4")
def test_the_key_is_renewed_every_twenty_minutes_and_replaced_when_the_venue_forgot_it() -> None:
    line = Line().up()
    line.quiet(61 * 60)
    assert line.since(RenewListenKey) == 3
    assert line.since(CreateListenKey) == 1
    assert line.status == "LIVE"
    asked = line.since(CreateListenKey)
    line.take(CallFailed("listen_key", 400, -1125, "This listenKey does not exist.", None))
    assert line.since(CreateListenKey) == asked + 1
    assert line.status == "SUSPECT"


@pytest.mark.fault("U4", "O13")
def test_a_refused_key_waits_as_long_as_the_venue_asks() -> None:
    line = Line()
    line.take(Tick())
    line.take(CallFailed("listen_key", 418, -1003, "banned", 60_000))
    line.quiet(55, marks=False, answers=False)
    assert line.since(CreateListenKey) == 1
    line.quiet(10, marks=False, answers=False)
    assert line.since(CreateListenKey) == 2


def test_a_failed_setup_is_asked_again_after_the_wait() -> None:
    line = Line()
    line.take(Tick())
    line.take(CallFailed("setup", 429, -1003, "too many", 5_000))
    line.quiet(4, marks=False)
    assert line.since(RequestSetup) == 1
    line.quiet(2, marks=False)
    assert line.since(RequestSetup) == 2


@pytest.mark.fault("S3", "S11")
def test_connections_are_rotated_before_the_venue_drops_them_and_overlap() -> None:
    line = Line().up()
    line.quiet(23 * 3600 + 30)
    old = {name: link.current.number for name, link in line.session.state.links.items() if link.current is not None}
    assert set(old) == {MARKET, PRIVATE, WS_API}
    new = line.number(PRIVATE)
    assert new != old[PRIVATE], "the successor was asked for"
    assert not any(isinstance(found, CloseStream) for found in line.asked), "the old one still delivers"
    line.take(StreamOpened(PRIVATE, new))
    line.quiet(4)
    assert not any(isinstance(found, CloseStream) for found in line.asked), "what is under way on it still arrives"
    line.quiet(2)
    assert CloseStream(PRIVATE, old[PRIVATE], "rotated") in line.asked
    line.take(StreamClosed(PRIVATE, old[PRIVATE], "1000", 0))
    assert line.status == "LIVE" and not any(isinstance(found, BookStatusChanged) for found in line.passed[-10:])


@pytest.mark.fault("C6")
def test_the_hour_of_the_rotation_is_spread_by_each_connections_jitter() -> None:
    asked_after_s = []
    for jitter in (0, 999):
        line = Line()
        line.take(Tick())
        line.take(StreamOpened(MARKET, line.number(MARKET), jitter_permille=jitter))
        while line.number(MARKET) == 1:
            line.mark(after_s=5)
        asked_after_s.append((line.now - START) / SECOND / 3600)
    assert 22.5 <= asked_after_s[0] < 22.6 and 23.4 < asked_after_s[1] <= 23.6


def test_a_key_that_cannot_be_renewed_for_fifty_minutes_is_asked_anew_and_the_book_synced_before_it_dies() -> None:
    line = Line().up()
    failed = CallFailed("listen_key", 503, 0, "Service Unavailable.", None)
    told: list[int] = []
    created = line.since(CreateListenKey)
    for second in range(60 * 60):
        step = line.mark(after_s=1)
        if any(isinstance(found, RequestSnapshot) for found in step.commands):
            line.snapshot()
        if any(isinstance(found, RenewListenKey) for found in step.commands):
            told.append(second)
            line.take(failed)
        if line.since(CreateListenKey) > created:
            break
    assert told and told[0] <= 20 * 60 + 2, "the first failure is an input of its own, and the reactor says it"
    assert 50 * 60 - 2 <= second <= 50 * 60 + 10 and line.status == "LIVE"
    old = line.number(PRIVATE)
    line.take(ListenKeyReady(handle="lk1", renewed=False))
    assert line.number(PRIVATE) != old, "also where the venue extends the same key"
    snapshots = line.since(RequestSnapshot)
    line.take(StreamOpened(PRIVATE, line.number(PRIVATE)))
    assert line.since(RequestSnapshot) == snapshots + 1


@pytest.mark.fault("S1", "U2", "U8")
def test_the_private_stream_is_audited_and_unproven_without_answers() -> None:
    line = Line().up()
    line.quiet(40)
    assert line.since(RequestSnapshot) >= 3
    assert line.status == "LIVE"
    line.quiet(50, answers=False)
    assert line.status == "SUSPECT"
    assert "not proven" in line.session.state.reason
    line.snapshot()
    assert line.status == "LIVE"


@pytest.mark.fault("S7", "S8")
def test_what_nobody_understood_on_the_private_stream_loses_trust_and_on_market_does_not() -> None:
    line = Line().up()
    line.take(Quarantined("market", False, "unknown event type", "{}"))
    assert line.status == "LIVE"
    line.take(Quarantined("private", True, "unknown event type", "{}"))
    assert line.status == "SUSPECT"


@pytest.mark.fault("C3")
def test_a_clock_gap_is_a_crash() -> None:
    line = Line().up()
    old = {name: line.number(name) for name in (MARKET, WS_API, PRIVATE)}
    asked = line.take(ClockStepped(gap_ms=7_200_000)).commands
    assert line.status == "SUSPECT"
    assert {c.connection for c in asked if isinstance(c, CloseStream)} == set(old.values()), "every socket is dropped"
    assert [c.stream for c in asked if isinstance(c, OpenStream)] == [MARKET, WS_API, PRIVATE], "and opened anew"
    line.snapshot()
    assert line.status == "SUSPECT", "no private stream of after the gap proves it"
    for name, number in old.items():
        line.take(StreamClosed(name, number, "dropped", 500))
        assert line.number(name) > number and line.since(OpenStream) == 6, "its end is old news"
    line.reopened().snapshot()
    assert line.status == "SUSPECT", "nor does a price of before"
    line.mark()
    assert line.status == "LIVE"


@pytest.mark.fault("C3")
def test_a_gap_in_the_middle_of_a_rotation_drops_both_sockets() -> None:
    line = Line().up()
    old = line.number(MARKET)
    line.mark(after_s=24 * 3600)
    pending = line.number(MARKET)
    assert pending > old, "its successor is opening"
    asked = line.take(ClockStepped(gap_ms=5_000)).commands
    assert {c.connection for c in asked if isinstance(c, CloseStream) and c.stream == MARKET} == {old, pending}
    late = line.take(StreamOpened(MARKET, pending)).commands
    assert CloseStream(MARKET, pending, "superseded") in late, "what was opening before the gap is not taken after it"


@pytest.mark.fault("C3", "U2")
def test_a_gap_while_the_listen_key_is_dead_waits_for_the_next_key() -> None:
    line = Line().up()
    line.take(ListenKeyExpired(handle="lk1", event_time_ms=make.T0_MS))
    asked = line.take(ClockStepped(gap_ms=5_000)).commands
    assert [c.stream for c in asked if isinstance(c, OpenStream)] == [MARKET, WS_API]
    line.take(ListenKeyReady(handle="lk2", renewed=False))
    assert isinstance(line.asked[-1], OpenStream) and line.asked[-1].handle == "lk2"


@pytest.mark.fault("C5", "C1")
def test_the_offset_is_a_median_that_slow_answers_do_not_move() -> None:
    line = Line().up()
    for offset_ms, trip_ms in ((5, 20), (7, 20), (9_000, 900), (6, 20)):
        line.now += SECOND
        requested = line.now - trip_ms * 1_000_000
        middle_ms = (requested + trip_ms * 500_000) // 1_000_000
        line.take(VenueTime(server_time_ms=middle_ms + offset_ms, requested_ns=requested))
    assert line.session.offset_ms == 6
    assert line.since(RequestTime) >= 1


@pytest.mark.fault("S3")
def test_a_superseded_connection_is_closed() -> None:
    line = Line().up()
    line.take(StreamOpened(MARKET, 999))
    assert line.asked[-1] == CloseStream(MARKET, 999, "superseded")


def test_a_further_loss_before_the_first_is_mended_is_told_as_well() -> None:
    line = Line().up()
    line.take(ClockStepped(3_000))
    line.take(Quarantined("private", True, "unknown event type", "{}"))
    told = [found for found in line.passed if isinstance(found, BookStatusChanged) and found.status == "SUSPECT"]
    assert [found.reason for found in told] == ["clock gap of 3000 ms", "a private frame was not understood"]


def test_open_orders_that_were_refused_are_asked_again_and_each_resync_lists_them_once_a_minute() -> None:
    line = Line().up()
    line.take(CallFailed("open_orders", 503, 0, "Service Unavailable.", None))
    line.quiet(4)
    assert line.since(RequestOpenOrders) == 1
    line.quiet(2)
    assert line.since(RequestOpenOrders) == 2
    line.take(ClockStepped(3_000))
    line.reopened().snapshot()
    assert line.since(RequestOpenOrders) == 2, "a moment ago is good enough"
    line.quiet(61)
    line.take(ClockStepped(3_000))
    line.reopened()
    assert line.since(RequestOpenOrders) == 3


@pytest.mark.fault("S7", "S8")
def test_a_flood_of_broken_private_frames_spends_no_budget_and_has_the_stream_opened_again() -> None:
    line = Line().up()
    bad = Quarantined("private", True, "not JSON", "{")
    first = line.since(RequestSnapshot)
    step = line.take(bad, after_s=1)
    assert any(isinstance(asked, RequestSnapshot) for asked in step.commands), "the first is answered at once"
    line.snapshot()
    assert line.status == "LIVE"
    opened = line.since(OpenStream)
    for number in range(6_000):  # a hundred a second for a minute, each answer coming between two of them
        step = line.take(bad, after_s=0.01)
        if any(isinstance(asked, RequestSnapshot) for asked in step.commands):
            line.snapshot()
        if number % 100 == 0:
            line.mark()
    used = line.session.state.budget.shown(line.now)["weight_1m"]
    assert line.since(RequestSnapshot) - first < 30 and used["ours"] < used["limit"] // 4, used
    assert line.since(OpenStream) - opened == 1 and "opening the stream again" in " ".join(line.said)
    line.take(StreamOpened(PRIVATE, line.number(PRIVATE)))
    line.snapshot()
    line.mark()
    assert line.status == "LIVE", "and trust comes back with the first snapshot after it"


@pytest.mark.fault("S7")
def test_after_a_flood_the_next_snapshot_is_at_most_five_seconds_away() -> None:
    line = Line().up()
    for _ in range(200):
        if any(
            isinstance(asked, RequestSnapshot)
            for asked in line.take(Quarantined("private", True, "", "{"), after_s=0.01).commands
        ):
            line.snapshot()
    line.take(Quarantined("private", True, "", "{"), after_s=0.01)
    assert line.status == "SUSPECT"
    line.quiet(6)
    assert line.status == "LIVE"


@pytest.mark.fault("C6")
def test_what_falls_due_in_the_same_second_is_asked_once_each_and_within_the_budget() -> None:
    line = Line().up()
    before = len(line.asked)
    line.mark(after_s=49 * 60)  # key, audit, time and the list of orders, all overdue together
    line.take(StreamClosed(WS_API, line.number(WS_API), "1006", 0))
    line.take(StreamClosed(PRIVATE, line.number(PRIVATE), "1006", 0))
    line.take(StreamOpened(WS_API, line.number(WS_API)))
    line.take(StreamOpened(PRIVATE, line.number(PRIVATE)))
    for _ in range(5):
        line.mark(after_s=0.1)
    kinds = [type(asked) for asked in line.asked[before:] if not isinstance(asked, OpenStream | CloseStream)]
    assert sorted(kind.__name__ for kind in kinds if kinds.count(kind) > 2) == [], kinds
    assert {RenewListenKey, RequestSnapshot, RequestTime, RequestOpenOrders} <= set(kinds)
    used = line.session.state.budget.shown(line.now)["weight_1m"]
    assert used["ours"] < used["limit"] // 4
