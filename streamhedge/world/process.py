"""One virtual process: a real pump with virtual hands, its clock's tick, and the ways it can stop.

It can be killed between any two steps, also inside one (after the ledger's commit, after the first byte), stopped for a
while and continued, and it can be late. What arrives while it is stopped waits in its sockets.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import orjson

from streamhedge.domain.values import NS_PER_MS, Symbol
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.rules.params import Policy
from streamhedge.runtime.pump import Observer, Pump
from streamhedge.wire.budget import Budget
from streamhedge.wire.session import Session, SessionState
from streamhedge.wire.signing import Signer
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


class Killed(BaseException):
    """The process is dead from here on: SIGKILL, or the power went."""


class Process:
    """One run of the product.

    Args:
        state: What recovery led to, or an empty state.
        heard: Told every input before the pump takes it.
        settled: Told after every input that the pump took to its end.
        died: Told when a kill that was due inside a step has happened.
        failed: Told when the pump raised: a bug.
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
    ) -> None:
        self.alive = True
        self.kill_at = ""
        self.suspended = False
        self.heard_ns = wire.schedule.now_ns
        self._waiting: list[tuple[str, bytes]] = []
        self._schedule = wire.schedule
        self._heard, self._settled, self._died, self._failed = heard, settled, died, failed
        self.hands = VirtualHands(
            symbols=symbols,
            policy=policy,
            wire=wire,
            api_key=api_key,
            signer=signer,
            wall_ms=lambda: self._schedule.now_ms,
            feed=self.feed,
            alive=lambda: self.alive,
            gate=self,
            chance=chance,
        )
        limits = policy.limits
        session = Session(
            SessionState(
                symbols=list(symbols),
                stale_after_ns=limits.stale_after_ms * NS_PER_MS,
                budget=Budget(silent_until_ns=state.silent_until_ns, banned=state.banned),
            )
        )
        self.journal = VirtualJournal(self._header, lambda: self.pump.digest(), keep=keep)
        self.pump = Pump(
            reactor=Reactor(state, policy),
            session=session,
            journal=self.journal,
            ledger=ledger,
            hands=self.hands,
            observers=observers,
        )

    def _header(self) -> dict[str, object]:
        return {"seq": self.pump.reactor.state.seq, "state": self.pump.state(), "digest": self.pump.digest()}

    # ------------------------------------------------------------ inputs

    def feed(self, source: str, payload: bytes) -> None:
        """Hand one input to the pump now; it waits while the process is stopped."""
        if not self.alive:
            return
        if self.suspended:
            self._waiting.append((source, payload))
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

    def tick(self, late_ns: int) -> None:
        """Move the process's clock, and tell it when time itself jumped."""
        if late_ns > GAP_NS:
            self.feed("clock", orjson.dumps({"gap_ms": late_ns // NS_PER_MS}))
        self.feed("tick", orjson.dumps({"lag_ms": max(0, late_ns // NS_PER_MS)}))
        offset_ms = self.pump.session.offset_ms
        if offset_ms is not None:
            self.hands.offset_ms = offset_ms

    # ------------------------------------------------------------ stops

    def reached(self, point: str) -> None:
        """Die here when a kill is due at this point."""
        if self.kill_at == point:
            self.kill_at = ""
            raise Killed(point)

    def sent(self) -> None:
        """Die between an order's first byte and its answer when that is due."""
        if self.kill_at == "sent" and self.alive:
            self.kill_at = ""
            self.alive = False
            self._died("sent")

    def resume(self, late_ns: int, *, frames_first: bool) -> None:
        """Continue after a stop: the tick that notices, and what waited in the sockets, in either order."""
        self.suspended = False
        waiting, self._waiting = self._waiting, []
        if not frames_first:
            self.tick(late_ns)
        for source, payload in waiting:
            self.feed(source, payload)
        if frames_first:
            self.tick(late_ns)

    @property
    def quiet(self) -> bool:
        """True while nothing is under way that a slower clock would delay."""
        state = self.pump.reactor.state
        if state.open_ids or state.book_status.value != "LIVE" or state.differences:
            return False
        return all(m.exposure is None and not m.confirm_after_ns and m.position_trusted for m in state.memory.values())
