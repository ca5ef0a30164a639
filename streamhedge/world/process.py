"""One virtual process: a real pump with virtual hands, its clock's tick, and the ways it can stop.

It can be killed at every point of ``crash.POINTS``, between inputs and inside one, stopped for a while and continued, and
it can be late. What arrives while it is stopped waits in its sockets. The points are seen through what the pump is built
of (recording, ledger, hands, observers, session, reactor); the pump itself knows nothing of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import orjson

from streamhedge.domain.commands import Reaction
from streamhedge.domain.events import (
    BookStatusChanged,
    Event,
    FloatTradeRecorded,
    OperatorVerb,
    OrderOutcome,
    Snapshot,
    StreamOpened,
)
from streamhedge.domain.values import NS_PER_MS, Symbol
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.rules.params import Policy
from streamhedge.runtime.pump import Observer, Pump
from streamhedge.wire.budget import Budget
from streamhedge.wire.session import PRIVATE, Session, SessionState, Step
from streamhedge.wire.signing import Signer
from streamhedge.world.crash import Killed
from streamhedge.world.disk import VirtualJournal, VirtualLedger
from streamhedge.world.hands import VirtualHands
from streamhedge.world.wire import Wire

TICK_NS = 100 * NS_PER_MS
SLOW_TICK_NS = 1_000 * NS_PER_MS
QUIET_TICK_NS = 7_500 * NS_PER_MS
GAP_NS = 2_000 * NS_PER_MS
"""A tick so much too late means a suspend, as in the live machine."""


TIME = ("tick", "market")
"""Inputs that tell of time and prices alone."""
Listening = Callable[[], bool]
"""Whether the socket is still listened to on which an input came; asked when it is taken."""
Reached = Callable[[str], None]
"""Told the name of a point inside an input; raises what kills the process."""


class WatchedSession(Session):
    """The session, and the point right before it judges."""

    def __init__(self, memory: SessionState, reached: Reached) -> None:
        super().__init__(memory)
        self._reached = reached

    def step(self, event: Event, now_ns: int) -> Step:
        """Take one event."""
        self._reached("decoded")
        return super().step(event, now_ns)


class WatchedReactor(Reactor):
    """The reactor, and the points before and after it moves the state."""

    def __init__(self, state: State, policy: Policy, reached: Reached) -> None:
        super().__init__(state, policy)
        self._reached = reached

    def react(self, seq: int, now_ns: int, events: list[Event]) -> Reaction:
        """Apply the events of one input; what has moved is not written and not sent yet."""
        self._reached("judged")
        reaction = super().react(seq, now_ns, events)
        for event in events:
            point = self._point(event)
            if point:
                self._reached(point)
        self._reached("reacted")
        return reaction

    @staticmethod
    def _point(event: Event) -> str:
        if isinstance(event, Snapshot):
            return "" if event.audit else "snapshot-adopted"
        if isinstance(event, BookStatusChanged):
            return "live" if event.status == "LIVE" else ""
        if isinstance(event, StreamOpened):
            return "private-open" if event.stream == PRIVATE else ""
        return MOVED.get(type(event), "")


MOVED: dict[type, str] = {
    OrderOutcome: "answer-applied",
    FloatTradeRecorded: "trade-counted",
    OperatorVerb: "latched",
}


class Process:
    """One run of the product.

    Args:
        state: What recovery led to, or an empty state.
        heard: Told every input before the pump takes it.
        settled: Told after every input that the pump took to its end.
        died: Told when a kill that was due at a point has happened.
        failed: Told when the pump raised: a bug.
        kill_at: The point to die at; none when empty.
        kill_skip: How many times it is let pass before.
    """

    def __init__(
        self,
        *,
        state: State,
        policy: Policy,
        symbols: list[Symbol],
        ledger: VirtualLedger,
        wire: Wire,
        api_key: str,
        signer: Signer,
        chance: random.Random,
        keep: bool,
        observers: tuple[Observer, ...],
        heard: Callable[[str, bytes], None],
        settled: Callable[[], None],
        died: Callable[[str], None],
        failed: Callable[[BaseException], None],
        kill_at: str = "",
        kill_skip: int = 0,
    ) -> None:
        self.alive = True
        self.kill_at = kill_at
        self.kill_skip = kill_skip
        self.suspended = False
        self.heard_ns = wire.schedule.now_ns
        self._account_ms = 0
        self.step_ms = 0
        """By how much the wall clock was stepped since this run began; the boot clock, which times inputs, never is."""
        self._waiting: list[tuple[str, bytes, Listening]] = []
        self._schedule = wire.schedule
        self._heard, self._settled, self._died, self._failed = heard, settled, died, failed
        self.hands = VirtualHands(
            symbols=symbols,
            policy=policy,
            wire=wire,
            api_key=api_key,
            signer=signer,
            wall_ms=lambda: self._schedule.now_ms + self.step_ms,
            feed=self.feed,
            alive=lambda: self.alive,
            gate=self,
            chance=chance,
        )
        limits = policy.limits
        memory = SessionState(
            symbols=list(symbols),
            stale_after_ns=limits.stale_after_ms * NS_PER_MS,
            budget=Budget(silent_until_ns=state.silent_until_ns, banned=state.banned),
        )
        self.journal = VirtualJournal(self._header, lambda: self.pump.digest(), keep=keep, gate=self.reached)
        self.pump = Pump(
            reactor=WatchedReactor(state, policy, self.reached),
            session=WatchedSession(memory, self.reached),
            journal=self.journal,
            ledger=ledger,
            hands=self.hands,
            observers=(lambda reaction, recv_ns: self.reached("carried-out"), *observers),
        )

    def _header(self) -> dict[str, object]:
        return {"seq": self.pump.reactor.state.seq, "state": self.pump.state(), "digest": self.pump.digest()}

    # ------------------------------------------------------------ inputs

    def feed(self, source: str, payload: bytes, listening: Listening = lambda: True) -> None:
        """Hand one input to the pump now; it waits while the process is stopped."""
        if not self.alive or not listening():
            return
        if self.suspended:
            self._waiting.append((source, payload, listening))
            return
        if source not in TIME:
            self.heard_ns = self._schedule.now_ns
        self._heard(source, payload)
        try:
            self.pump.feed(source, self._schedule.now_ns, payload)
        except Killed as killed:
            self.alive = False
            self._died(str(killed))
            return
        except Exception as error:
            self.alive = False
            self._failed(error)
            return
        self._settled()
        if self.kill_at and self.alive:
            self._between(source, payload)

    def tick(self, late_ns: int) -> None:
        """Move the process's clock."""
        self.feed("tick", orjson.dumps({"lag_ms": max(0, late_ns // NS_PER_MS)}))
        offset_ms = self.pump.session.offset_ms
        if offset_ms is not None:
            self.hands.offset_ms = offset_ms - self.step_ms

    # ------------------------------------------------------------ stops

    def reached(self, point: str) -> None:
        """Die here, inside an input, when a kill is due at this point."""
        if self.kill_at and self.kill_at == point and self._is_due():
            raise Killed(point)

    def passed(self, point: str) -> None:
        """Die here, between two inputs, when a kill is due at this point."""
        if self.kill_at and self.kill_at == point and self.alive and self._is_due():
            self.alive = False
            self._died(point)

    def _is_due(self) -> bool:
        self.kill_skip -= 1
        if self.kill_skip >= 0:
            return False
        self.kill_at = ""
        return True

    def _between(self, source: str, payload: bytes) -> None:
        """Pass the points that lie between this input and the next."""
        state = self.pump.reactor.state
        if source == "private":
            self._between_events(payload)
        elif source == "wsapi" and payload.startswith((b'{"id":"pos-', b'{"id":"bal-')):
            if not self.pump.session.state.synced:
                self.passed("snapshot-half")
        elif source == "tick":
            if state.quarantine_until_ns > self._schedule.now_ns:
                self.passed("quarantine")
            if any(state.orders[name].in_doubt for name in state.open_ids):
                self.passed("doubting")
        if self.hands.closing:
            self.passed("stop-begun")
        self.passed("now")

    def _between_events(self, payload: bytes) -> None:
        """Pass the points between the frames of one fill."""
        try:
            said = orjson.loads(payload)
        except ValueError:
            return
        kind = said.get("e")
        if kind == "TRADE_LITE":
            self.passed("trade-lite")
        elif kind == "ACCOUNT_UPDATE" and said["a"]["m"] == "ORDER":
            self._account_ms = said["T"]
            self.passed("update-first")
        elif kind == "ORDER_TRADE_UPDATE" and said["o"]["x"] == "TRADE" and said["T"] != self._account_ms:
            self.passed("report-first")

    def stop(self) -> None:
        """Begin an orderly stop: nothing new is sent, answers under way are still taken."""
        self.hands.closing = True

    def resume(self, late_ns: int, *, frames_first: bool) -> None:
        """Continue after a stop: a gap is noticed first; then the tick and what waited in the sockets, in either order."""
        self.suspended = False
        waiting, self._waiting = self._waiting, []
        if late_ns > GAP_NS:
            self.feed("clock", orjson.dumps({"gap_ms": late_ns // NS_PER_MS}))
        if not frames_first:
            self.tick(late_ns)
        for source, payload, listening in waiting:
            self.feed(source, payload, listening)
        if frames_first:
            self.tick(late_ns)

    @property
    def quiet(self) -> bool:
        """True while nothing is under way that a slower clock would delay."""
        state = self.pump.reactor.state
        if state.open_ids or state.book_status.value != "LIVE" or state.differences:
            return False
        return all(m.exposure is None and not m.confirm_after_ns and m.position_trusted for m in state.memory.values())
