"""The session: connections, listen key, freshness, and how far the book can be trusted. Pure; time comes with inputs.

    COLD -> SYNCING -> LIVE <-> SUSPECT

LIVE needs: the private stream open, a snapshot asked after it opened, a fresh mark of every symbol, the set-up done.
SUSPECT and SYNCING end by a snapshot. An acknowledgement proves nothing: a stream is proven by its data, the private
stream (which has no cadence) by audits against an independent snapshot. Nothing is replayed by the venue after a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from streamhedge.domain.commands import (
    CancelOrder,
    CloseStream,
    Command,
    CreateListenKey,
    FollowSymbol,
    KeepSilent,
    Level,
    Note,
    OpenStream,
    RenewListenKey,
    RequestOpenOrders,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.events import (
    CLOCK_WARN_MS,
    AccountUpdate,
    BookStatusChanged,
    BudgetChanged,
    CallFailed,
    ClockOffset,
    ClockStepped,
    Event,
    ExecutionReport,
    ListenKeyExpired,
    ListenKeyReady,
    MarkPriceUpdate,
    Quarantined,
    RateNews,
    ResyncAsked,
    SetupDone,
    Snapshot,
    StreamClosed,
    StreamOpened,
    Tick,
    VenueTime,
    WallStepped,
)
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, Symbol, record, state
from streamhedge.wire.budget import Budget

MARKET, PRIVATE, WS_API = "market", "private", "ws_api"
RENEW_EVERY_NS = 20 * 60 * NS_PER_SECOND
"""A listen key lives 60 min (BINANCE_USDM §3.1); renewed three times as often."""
KEY_OVERDUE_NS = 50 * 60 * NS_PER_SECOND
RETRY_NS = 5 * NS_PER_SECOND
ROTATE_AFTER_NS = 23 * 3600 * NS_PER_SECOND
"""The venue drops a connection after 24 h."""
ROTATE_SPREAD_NS = 3600 * NS_PER_SECOND
"""Half of it earlier, half later, by the connection's jitter: not every stream in the same second (FAULTS C6)."""
OVERLAP_NS = 5 * NS_PER_SECOND
"""How long a connection that has a successor is still listened to: what was under way on it arrives."""
MARK_SILENT_NS = 10 * NS_PER_SECOND
AUDIT_EVERY_NS = 15 * NS_PER_SECOND
UNPROVEN_NS = 3 * AUDIT_EVERY_NS
"""The private stream has no cadence: without a snapshot for so long nothing proves that its silence is quiet."""
TIME_EVERY_NS = 60 * NS_PER_SECOND
SNAPSHOT_TIMEOUT_NS = 3 * NS_PER_SECOND
OPEN_ORDERS_EVERY_NS = 60 * NS_PER_SECOND
"""Asked with the first snapshot of a resync; it costs 40 of the minute's weight, so not for every one in a row."""
SETUP_TIMEOUT_NS = 30 * NS_PER_SECOND
SETUP_AGAIN_NS = 1 * NS_PER_SECOND
CLOCK_CODES = (-1021, -5028)
PROOF_NS = 5 * NS_PER_SECOND
"""A stream that was opened and has not delivered by then is named (FAULTS S2): an acknowledgement proves nothing."""
BACKOFF_FIRST_MS = 250
BACKOFF_MOST_MS = 30_000
HELD_MOST = 10_000
HOLDING = ("COLD", "SYNCING")
SNAPSHOT_RETRY_MOST_NS = 15 * NS_PER_SECOND
BAD_SPAN_NS = 60 * NS_PER_SECOND
BAD_FREE = 3
"""So many private frames a minute that nobody understood are answered by a snapshot each, at once (FAULTS S7)."""
BAD_RECONNECT = 10
"""Above so many a minute the private stream is opened anew, once a minute: it may be the connection."""
BAD_PAUSE_FIRST_NS, BAD_PAUSE_MOST_NS = 250 * NS_PER_MS, 5 * NS_PER_SECOND
OFFSETS_KEPT = 5
ROUND_TRIP_MOST_NS = 300 * NS_PER_MS


@state
class Connection:
    """One socket of ours. ``opened_ns`` 0 means not open yet."""

    number: int
    opened_ns: int = 0
    data_ns: int = 0
    rotate_ns: int = 0


@state
class Link:
    """One of the three streams: the connection in use, the one that is to replace it, the one replaced, failures in a row."""

    name: str
    current: Connection | None = None
    next: Connection | None = None
    failures: int = 0
    retiring: int | None = None
    retire_ns: int = 0


@state
class SessionState:
    """Everything the session remembers."""

    symbols: list[Symbol]
    links: dict[str, Link] = field(default_factory=dict)
    connections: int = 0
    handle: str = ""
    handle_dead: bool = True
    rekeyed: bool = False
    key_ns: int = 0
    key_asked_ns: int = 0
    key_after_ns: int = 0
    status: str = "COLD"
    reason: str = "not started"
    synced: bool = False
    setup_done: bool = False
    setup_failed: bool = False
    setup_after_ns: int = 0
    private_open_ns: int = 0
    lost_ns: int = 0
    snapshot_asked_ns: int = 0
    snapshot_failures: int = 0
    audit_ns: int = 0
    seen_ns: int = 0
    time_asked_ns: int = 0
    marks_ns: dict[Symbol, int] = field(default_factory=dict)
    stale_after_ns: int = 3 * NS_PER_SECOND
    offsets_ms: list[int] = field(default_factory=list)
    reconnects: int = 0
    silent: list[str] = field(default_factory=list)
    started: bool = False
    budget: Budget = field(default_factory=Budget)
    told: BudgetChanged | None = None
    follow_later: list[Symbol] = field(default_factory=list)
    open_orders_ns: int = 0
    open_orders_again_ns: int = 0
    bad_ns: list[int] = field(default_factory=list)
    bad_reconnect_ns: int = 0
    resync_after_ns: int = 0


@record
class Step:
    """What one event led to: the events the reactor may see, commands, notes."""

    events: tuple[Event, ...]
    commands: tuple[Command, ...]
    notes: tuple[Note, ...]


class Session:
    """The session of one account; ``step`` is its only entrance."""

    def __init__(self, memory: SessionState) -> None:
        self.state = memory
        self._held: list[Event] = []
        self._commands: list[Command] = []
        self._notes: list[Note] = []
        self._events: list[Event] = []
        self._now_ns = 0
        self._spent = True

    @property
    def quiet(self) -> bool:
        """True while no event is held back: a segment of the recording may begin here."""
        return not self._held

    @property
    def offset_ms(self) -> int | None:
        """Venue clock minus ours, milliseconds, the median of the last five; None before the first."""
        found = sorted(self.state.offsets_ms)
        return found[len(found) // 2] if found else None

    @property
    def _clock_known(self) -> bool:
        """True when the offset is settled and small: else it is asked each second."""
        return len(self.state.offsets_ms) > 2 and abs(self.offset_ms or 0) <= CLOCK_WARN_MS

    def step(self, event: Event, now_ns: int) -> Step:
        """Take one event.

        Args:
            event: Decoded input.
            now_ns: Its receive time.
        """
        self._commands, self._notes, self._events = [], [], []
        self._now_ns = now_ns
        if not self.state.started:
            self._start(now_ns)
        self._take(event, now_ns)
        self._watch(now_ns)
        self._judge(now_ns)
        if self._spent or isinstance(event, Tick):
            self._tell_budget(now_ns)
        return Step(tuple(self._events), tuple(self._commands), tuple(self._notes))

    # ------------------------------------------------------------ the rate budget

    def pass_on(self, commands: Sequence[Command], now_ns: int) -> tuple[list[Command], list[Note]]:
        """Count what the reactor wants sent, and leave out what the rate budget has no room for; a note says so.

        Whoever asks again by himself does; the rest is made up for here.
        """
        self._now_ns, self._notes = now_ns, []
        kept = [command for command in commands if self._may(command) or not self._left_out(command)]
        return kept, self._notes

    def _may(self, command: Command) -> bool:
        """Count a command against the budget, or tell that there is no room for it."""
        self._spent = True
        return self.state.budget.take(command, len(self.state.symbols), self._now_ns)

    def _free_ns(self) -> int:
        """Return when to try again what the budget had no room for."""
        return max(self.state.budget.silent_until_ns, self._now_ns + RETRY_NS)

    def _left_out(self, command: Command) -> bool:
        memory = self.state
        if isinstance(command, FollowSymbol):
            memory.follow_later.append(command.symbol)
        elif isinstance(command, RequestSetup):
            memory.setup_failed, memory.setup_after_ns = True, self._free_ns()
        elif isinstance(command, CancelOrder):
            # The list says once more what rests, and its answer leads to the cancel.
            memory.open_orders_again_ns = self._free_ns()
        self._note(
            "budget", Level.WARNING, f"{type(command).__name__} held back: the rate budget has no room for it now"
        )
        return True

    def _rate_news(self, event: RateNews, now_ns: int) -> None:
        budget = self.state.budget
        before_ns = budget.silent_until_ns
        budget.hear(event, now_ns)
        self._spent = True
        if budget.silent_until_ns > before_ns:
            self._commands.append(KeepSilent(until_ns=budget.silent_until_ns))
            seconds = (budget.silent_until_ns - now_ns) // NS_PER_SECOND
            self._note("silence", Level.WARNING, f"HTTP {event.status}: no request goes out for {seconds} s")

    def _tell_budget(self, now_ns: int) -> None:
        """Tell the reactor what may still go out, when that has changed."""
        budget = self.state.budget
        self._spent = False
        if not budget.silent(now_ns):
            budget.silent_until_ns, budget.banned = 0, False
        found = BudgetChanged(
            raises_left=budget.orders_left(now_ns, reducing=False),
            reduces_left=budget.orders_left(now_ns, reducing=True),
            silent_until_ns=budget.silent_until_ns,
            banned=budget.banned,
        )
        if found != self.state.told:
            self.state.told = found
            self._events.append(found)

    # ------------------------------------------------------------ events

    def _take(self, event: Event, now_ns: int) -> None:
        memory = self.state
        if isinstance(event, StreamOpened):
            self._opened(event, now_ns)
        elif isinstance(event, StreamClosed):
            self._closed(event, now_ns)
        elif isinstance(event, ListenKeyReady):
            self._key_ready(event, now_ns)
        elif isinstance(event, ListenKeyExpired):
            self._key_expired(event, now_ns)
        elif isinstance(event, MarkPriceUpdate):
            self._mark(event, now_ns)
        elif isinstance(event, Snapshot):
            self._snapshot(event, now_ns)
            return
        elif isinstance(event, SetupDone):
            memory.setup_done = True
            memory.setup_failed = False
        elif isinstance(event, VenueTime):
            self._time(event, now_ns)
        elif isinstance(event, RateNews):
            self._rate_news(event, now_ns)
            return
        elif isinstance(event, CallFailed):
            self._call_failed(event, now_ns)
        elif isinstance(event, Quarantined) and event.private:
            self._lose("a private frame was not understood", now_ns)
            self._bad_frame(now_ns)
        elif isinstance(event, WallStepped):
            memory.time_asked_ns = now_ns
            self._commands.append(RequestTime())
        elif isinstance(event, ClockStepped):
            self._begin_again(f"clock gap of {event.gap_ms} ms", now_ns)
        elif isinstance(event, AccountUpdate | ExecutionReport) and not memory.synced and memory.status in HOLDING:
            # Held until the snapshot; absolute rows older than it are dropped by the book itself.
            self._held.append(event)
            if len(self._held) > HELD_MOST:
                self._held.clear()
                self._lose("too many events while syncing", now_ns)
            return
        self._events.append(event)

    def _start(self, now_ns: int) -> None:
        self.state.started = True
        for name in (MARKET, WS_API, PRIVATE):
            self.state.links.setdefault(name, Link(name=name))
        self._open(MARKET, 0)
        self._open(WS_API, 0)
        self._ask_key(now_ns)
        self._ask_setup(now_ns, "start")

    def _ask_setup(self, now_ns: int, reason: str) -> None:
        command = RequestSetup(reason=reason)
        if self._may(command):
            self.state.setup_after_ns = now_ns + SETUP_TIMEOUT_NS
            self._commands.append(command)
        else:
            self._left_out(command)

    def _open(self, name: str, delay_ms: int) -> None:
        self.state.connections += 1
        link = self.state.links[name]
        link.next = Connection(number=self.state.connections)
        handle = self.state.handle if name == PRIVATE else None
        if name == WS_API:
            delay_ms = max(delay_ms, self.state.budget.shake_hands(self._now_ns))
        self._commands.append(OpenStream(stream=name, connection=link.next.number, delay_ms=delay_ms, handle=handle))

    def _opened(self, event: StreamOpened, now_ns: int) -> None:
        link = self.state.links[event.stream]
        if link.next is None or link.next.number != event.connection:
            self._commands.append(CloseStream(event.stream, event.connection, "superseded"))
            return
        link.next.opened_ns = now_ns
        spread_ns = ROTATE_SPREAD_NS * (event.jitter_permille - 500) // 1_000
        link.next.rotate_ns = now_ns + ROTATE_AFTER_NS + spread_ns
        replaced = link.current
        link.current, link.next = link.next, None
        if replaced is not None:
            self._retire(link)
            link.retiring, link.retire_ns = replaced.number, now_ns + OVERLAP_NS
            if event.stream == PRIVATE and self.state.rekeyed:
                self._retire(link)  # its key is dead, nothing is under way on it
        if event.stream == PRIVATE:
            link.failures = 0
            self.state.rekeyed = False
            if self.state.status == "COLD":
                self._change("SYNCING", "waiting for a snapshot")
            self.state.private_open_ns = now_ns
            self.state.synced = False
            self.state.snapshot_asked_ns = 0
            self.state.resync_after_ns = 0
        elif event.stream == MARKET and self.state.setup_done and replaced is None:
            # Contract news of the gap are not repeated: status, filters and brackets are read again.
            self._ask_setup(now_ns, "the market stream was away")
        elif event.stream == WS_API:
            link.failures = 0
            self.state.time_asked_ns = 0
            self.state.snapshot_asked_ns = 0

    def _retire(self, link: Link) -> None:
        """Close the connection that was replaced, if there is one."""
        if link.retiring is not None:
            self._commands.append(CloseStream(link.name, link.retiring, "rotated"))
            link.retiring = None

    def _closed(self, event: StreamClosed, now_ns: int) -> None:
        link = self.state.links[event.stream]
        if link.retiring == event.connection:
            link.retiring = None
        current = link.current is not None and link.current.number == event.connection
        awaited = link.next is not None and link.next.number == event.connection
        if not current and not awaited:
            return
        if current:
            link.current = None
        if awaited:
            link.next = None
        if link.next is not None:
            if current and event.stream == PRIVATE:
                self._lose(f"the private stream closed ({event.reason})", now_ns)
            return
        self.state.reconnects += 1
        delay = self._backoff_ms(link.failures, event.jitter_permille)
        link.failures += 1
        if event.stream == PRIVATE:
            self._lose(f"the private stream closed ({event.reason})", now_ns)
            if self.state.handle_dead:
                return
        self._note("reconnect", Level.WARNING, f"{event.stream} closed ({event.reason}); opening again in {delay} ms")
        self._open(event.stream, delay)

    @staticmethod
    def _backoff_ms(failures: int, jitter_permille: int) -> int:
        """Full jitter: a random part of 0.25 s doubled per failure, at most 30 s; the first try is quick."""
        most = min(BACKOFF_FIRST_MS << min(failures, 10), BACKOFF_MOST_MS)
        return most * jitter_permille // 1000

    def _key_ready(self, event: ListenKeyReady, now_ns: int) -> None:
        memory = self.state
        memory.key_ns = now_ns
        reopen = memory.handle != event.handle or memory.handle_dead
        memory.rekeyed = memory.rekeyed or memory.handle not in ("", event.handle)
        memory.handle = event.handle
        memory.handle_dead = False
        link = memory.links[PRIVATE]
        if not reopen and (link.current is not None or link.next is not None):
            return
        if link.next is not None:
            self._commands.append(CloseStream(PRIVATE, link.next.number, "new listen key"))
        self._open(PRIVATE, 0)

    def _key_expired(self, event: ListenKeyExpired, now_ns: int) -> None:
        if event.handle != self.state.handle:
            return
        self._key_dead()
        self._note("listen_key", Level.WARNING, f"listen key {event.handle} expired: the private stream is silent now")
        self._lose("the listen key expired", now_ns)
        self._ask_key(now_ns)

    def _key_dead(self) -> None:
        """Hold the connection for silent too: only one opened with the next key proves a snapshot."""
        self.state.handle_dead = True
        self.state.private_open_ns = 0

    def _ask_key(self, now_ns: int) -> None:
        command = CreateListenKey()
        if not self._may(command):
            self.state.key_after_ns = self._free_ns()
            return
        self.state.key_asked_ns = now_ns
        self._commands.append(command)

    def _mark(self, event: MarkPriceUpdate, now_ns: int) -> None:
        if event.symbol in self.state.symbols:
            self.state.marks_ns[event.symbol] = now_ns
        link = self.state.links[MARKET]
        if link.current is not None:
            link.current.data_ns = now_ns
            link.failures = 0

    def _snapshot(self, event: Snapshot, now_ns: int) -> None:
        memory = self.state
        memory.seen_ns = now_ns
        memory.snapshot_failures = 0
        late = event.requested_ns < max(memory.private_open_ns, memory.lost_ns) or memory.private_open_ns == 0
        memory.snapshot_asked_ns = 0
        if not memory.synced and late:
            return
        if not memory.synced:
            self._events.append(event if not event.audit else _sync(event))
            memory.synced = bool(event.balances)
            self._events.extend(self._held)
            self._held.clear()
            return
        self._events.append(event)

    def _time(self, event: VenueTime, now_ns: int) -> None:
        round_trip = now_ns - event.requested_ns
        if round_trip > ROUND_TRIP_MOST_NS:
            return
        middle_ms = (event.requested_ns + round_trip // 2) // NS_PER_MS
        self.state.offsets_ms = [*self.state.offsets_ms, event.server_time_ms - middle_ms][-OFFSETS_KEPT:]
        assert self.offset_ms is not None, "one answer makes an offset"
        self._events.append(ClockOffset(self.offset_ms))

    def _call_failed(self, event: CallFailed, now_ns: int) -> None:
        wait_ns = (event.retry_after_ms or 0) * NS_PER_MS
        if event.what == "listen_key" and event.code == -1125:
            self._key_dead()
            self._lose("the venue does not know the listen key", now_ns)
            self._ask_key(now_ns)
        elif event.what == "listen_key":
            self.state.key_after_ns = now_ns + max(wait_ns, RETRY_NS)
        elif event.what == "snapshot":
            # Doubling: a clock outside the window refuses every one, and a snapshot costs ten of the minute's weight.
            backoff_ns = min((250 * NS_PER_MS) << min(self.state.snapshot_failures, 8), SNAPSHOT_RETRY_MOST_NS)
            self.state.snapshot_failures += 1
            self.state.snapshot_asked_ns = now_ns - SNAPSHOT_TIMEOUT_NS + max(wait_ns, backoff_ns)
            if event.code in CLOCK_CODES:
                self._ask_time(now_ns)
        elif event.what == "open_orders":
            self.state.open_orders_again_ns = now_ns + max(wait_ns, RETRY_NS)
        elif event.what == "setup":
            self.state.setup_failed = True
            self.state.setup_after_ns = now_ns + max(wait_ns, SETUP_AGAIN_NS)

    def _lose(self, reason: str, now_ns: int) -> None:
        """The book can no longer be trusted: a snapshot must be asked again."""
        if self.state.status == "LIVE":
            self._change("SUSPECT", reason)
        elif self.state.status != "COLD":
            # A further loss while the first one is not mended belongs to the same gap, and is told.
            self.state.reason = reason
            self._events.append(BookStatusChanged(status=self.state.status, reason=reason))
        self.state.synced = False
        self.state.lost_ns = now_ns
        self.state.snapshot_asked_ns = 0

    def _bad_frame(self, now_ns: int) -> None:
        """Keep a flood of frames that nobody understands from spending the rate budget on snapshots, one for each."""
        memory = self.state
        memory.bad_ns = [*[t for t in memory.bad_ns if t > now_ns - BAD_SPAN_NS][-BAD_RECONNECT:], now_ns]
        found = len(memory.bad_ns)
        if found > BAD_FREE:
            pause_ns = min(BAD_PAUSE_FIRST_NS << (found - BAD_FREE - 1), BAD_PAUSE_MOST_NS)
            memory.resync_after_ns = memory.audit_ns + pause_ns
        link = memory.links[PRIVATE]
        lately = memory.bad_reconnect_ns and now_ns - memory.bad_reconnect_ns < BAD_SPAN_NS
        if found > BAD_RECONNECT and not lately and link.next is None and not memory.handle_dead:
            memory.bad_reconnect_ns = now_ns
            memory.reconnects += 1
            text = f"{BAD_RECONNECT} private frames in a minute were not understood; opening the stream again"
            self._note("reconnect", Level.WARNING, text)
            self._open(PRIVATE, 0)

    def _begin_again(self, reason: str, now_ns: int) -> None:
        """Treat a gap as a crash (FAULTS C3): no connection and no word of before it counts, everything is opened anew.

        A connection that slept may be half open and say so to nobody, and what waits in it is as old as the gap.
        """
        memory = self.state
        self._lose(reason, now_ns)
        memory.private_open_ns = 0
        memory.marks_ns.clear()
        memory.offsets_ms = memory.offsets_ms[-1:]
        for link in memory.links.values():
            if link.current is not None:
                memory.reconnects += 1
            for number in (link.retiring, *(one.number for one in (link.current, link.next) if one is not None)):
                if number is not None:
                    self._commands.append(CloseStream(link.name, number, reason))
            link.current = link.next = link.retiring = None
            if link.name != PRIVATE or not memory.handle_dead:
                self._open(link.name, 0)

    # ------------------------------------------------------------ time

    def _watch(self, now_ns: int) -> None:
        memory = self.state
        self._watch_key(now_ns)
        self._watch_market(now_ns)
        for link in memory.links.values():
            if link.retiring is not None and now_ns >= link.retire_ns:
                self._retire(link)
            old = link.current is not None and now_ns > link.current.rotate_ns
            if old and link.next is None and not (link.name == PRIVATE and memory.handle_dead):
                self._note("rotate", Level.INFO, f"{link.name} is 23 h old: opening its successor before closing it")
                self._open(link.name, 0)
        if (memory.setup_failed or not memory.setup_done) and now_ns >= memory.setup_after_ns:
            self._ask_setup(now_ns, "again")
        if memory.follow_later and self._may(FollowSymbol(memory.follow_later[0])):
            self._commands.append(FollowSymbol(memory.follow_later.pop(0)))
        if memory.open_orders_again_ns and now_ns >= memory.open_orders_again_ns:
            self._ask_open_orders(now_ns)
        if memory.links[WS_API].current is None:
            return
        if now_ns - memory.time_asked_ns > (TIME_EVERY_NS if self._clock_known else NS_PER_SECOND):
            self._ask_time(now_ns)
        self._watch_snapshot(now_ns)

    def _watch_key(self, now_ns: int) -> None:
        memory = self.state
        since = now_ns - memory.key_asked_ns
        if now_ns < memory.key_after_ns:
            return
        if memory.handle_dead or now_ns - memory.key_ns > KEY_OVERDUE_NS:
            if since > RETRY_NS:
                memory.handle_dead = memory.handle_dead or now_ns - memory.key_ns > KEY_OVERDUE_NS
                self._ask_key(now_ns)
        elif now_ns - memory.key_ns > RENEW_EVERY_NS and since > RETRY_NS * 12:
            command = RenewListenKey()
            if self._may(command):
                memory.key_asked_ns = now_ns
                self._commands.append(command)

    def _watch_market(self, now_ns: int) -> None:
        """A symbol without a mark is named after 5 s and its connection replaced after 10 s, whatever the others do."""
        link = self.state.links[MARKET]
        current = link.current
        if current is None or link.next is not None:
            return
        ages = {
            symbol: now_ns - max(self.state.marks_ns.get(symbol, 0), current.opened_ns) for symbol in self.state.symbols
        }
        proof_ns = max(PROOF_NS, self.state.stale_after_ns)  # a slower stream than usual was configured for
        mute = [symbol for symbol, age_ns in ages.items() if age_ns > proof_ns]
        for symbol in mute:
            if symbol not in self.state.silent:
                self._note(
                    "silent", Level.WARNING, f"/market {symbol}: no mark price for {ages[symbol] // NS_PER_MS} ms"
                )
        self.state.silent = [str(symbol) for symbol in mute]
        silent_ns = max(MARK_SILENT_NS, 2 * self.state.stale_after_ns)
        if any(age_ns > silent_ns for age_ns in ages.values()):
            names, seconds = ", ".join(mute), silent_ns // NS_PER_SECOND
            self._note(
                "silent", Level.WARNING, f"/market: nothing of {names} for {seconds} s; opening the stream again"
            )
            self._commands.append(CloseStream(MARKET, current.number, "silent"))
            link.current = None
            self.state.reconnects += 1
            self._open(MARKET, self._backoff_ms(link.failures, 500))
            link.failures += 1

    def _watch_snapshot(self, now_ns: int) -> None:
        memory = self.state
        if memory.links[PRIVATE].current is None or memory.private_open_ns == 0:
            return
        waiting = memory.snapshot_asked_ns and now_ns - memory.snapshot_asked_ns < SNAPSHOT_TIMEOUT_NS
        if not memory.synced and not waiting and now_ns >= memory.resync_after_ns:
            sync = RequestSnapshot(reason="sync", audit=False)
            if not self._may(sync):
                return
            memory.snapshot_asked_ns = now_ns
            memory.audit_ns = now_ns
            self._ask_evidence(sync, "snapshot")
            if not memory.open_orders_ns or now_ns - memory.open_orders_ns > OPEN_ORDERS_EVERY_NS:
                self._ask_open_orders(now_ns)
        elif memory.synced and now_ns - memory.audit_ns > AUDIT_EVERY_NS:
            audit = RequestSnapshot(reason="audit", audit=True)
            if self._may(audit):
                memory.audit_ns = now_ns
                self._commands.append(audit)

    def _ask_open_orders(self, now_ns: int) -> None:
        command = RequestOpenOrders()
        self.state.open_orders_ns = now_ns
        self.state.open_orders_again_ns = 0
        if self._may(command):
            self._ask_evidence(command, "open_orders")
        else:
            self.state.open_orders_again_ns = self._free_ns()

    def _ask_time(self, now_ns: int) -> None:
        command = RequestTime()
        if self._may(command):
            self.state.time_asked_ns = now_ns
            self._commands.append(command)

    def _ask_evidence(self, command: Command, what: str) -> None:
        self._commands.append(command)
        self._events.append(ResyncAsked(what=what))

    def _judge(self, now_ns: int) -> None:
        """Name the status that the facts allow."""
        memory = self.state
        if not memory.synced:
            return
        if memory.status == "LIVE":
            if now_ns - memory.seen_ns > UNPROVEN_NS:
                self._lose(
                    f"no snapshot for {UNPROVEN_NS // NS_PER_SECOND} s: the private stream is not proven", now_ns
                )
            return
        missing = [
            f"a fresh mark of {symbol}"
            for symbol in memory.symbols
            if now_ns - memory.marks_ns.get(symbol, 0) > memory.stale_after_ns
        ]
        if not memory.setup_done:
            missing.append("the set-up (filters, brackets, modes)")
        if memory.links[PRIVATE].current is None:
            missing.append("the private stream")
        if memory.handle_dead:
            missing.append("a listen key")
        if missing:
            memory.reason = f"waiting for {', '.join(missing)}"
        else:
            self._change("LIVE", "snapshot taken, streams proven")

    def _change(self, status: str, reason: str) -> None:
        self.state.reason = reason
        if self.state.status == status:
            return
        self.state.status = status
        self._events.append(BookStatusChanged(status=status, reason=reason))

    def _note(self, code: str, level: Level, text: str) -> None:
        self._notes.append(Note(code=code, level=level, symbol=None, text=text, data={}))


def _sync(event: Snapshot) -> Snapshot:
    return Snapshot(event.positions, event.balances, event.requested_ns, False)
