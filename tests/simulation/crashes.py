"""One crash: a small world, a death at one point under one disk, and what the run after it makes of it.

A death at a point of recovery needs another one before it. The auditor judges every step; here is judged what a restart
owes: in band in time, every doubt closed in time, every durable float trade hedged, books that agree.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal

from streamhedge.domain.events import FloatTradeKind
from streamhedge.live.recovery import recovered
from streamhedge.world.auditor import EXCUSED, Violation
from streamhedge.world.crash import NAMED
from streamhedge.world.process import TICK_NS
from streamhedge.world.schedule import MS, S
from streamhedge.world.script import Case, Options
from streamhedge.world.world import World

D = Decimal
MODES = ("clean", "torn", "lost")
"""What the disk keeps: all that was written (the process died); all but a torn end of the log; only what was synced.

The last two are losses of power: the machine comes back with another boot id.
"""
DOUBLED = ("3", "4", "7", "8", "9")
LOST = ("1", "11", "F1", "UR", "10")
IN_BAND_NS = 5 * S
DOUBT_NS = 7 * S
"""Tq + 2 s, with a recv_window of 2 s: counted from LIVE, before which no absence counts."""
LIVE_NS = 3 * S
GIVE_UP_NS = 60 * S
HIDDEN_NS = 48 * S
"""A disk that lost rows leaves a fill that nobody remembers: an order in doubt that it could belong to is looked for as
long as the venue may hide one (FAULTS O6), and a note names it meanwhile. Nothing is doubled by waiting."""
STEADY_NS = 6 * S
FIRST = ("deciding", "committed", "handed", "leaving", "sent", "arrived", "executed", "told", "answered", "fill-row")
REMEMBERED = FIRST[1:-1]
"""Where a first death leaves an order in doubt, as long as its row is kept."""
DOUBTING = ("status-asked", "status-recorded", "doubting")


@dataclass(slots=True)
class Crash:
    """What became of one crash; times in virtual nanoseconds."""

    point: str
    seed: int
    mode: str
    hit: int = 0
    wrong: str = ""
    kind: str = ""
    recovery_ns: int = 0
    trail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"--point {self.point} --seed {self.seed} --mode {self.mode}: {self.wrong or 'well'}"


def options(chance: random.Random, seed: int) -> Options:
    """Return a small world with margin enough and a quiet market, so that nothing else keeps it from its hedge."""
    low = chance.choice((1, 2, 20))
    return Options(
        seed=seed,
        length_ms=60_000,
        kinds=[],
        pause_ms=1_000,
        latency_ms=(low, low * chance.choice((1, 3))),
        step_millionths=5,
        funding_every_ms=28_800_000,
        wallet=3_000_000,
        initial=chance.choice(("0.5", "3")),
        ratio=chance.choice(("1", "1", "0.8")),
        band=100,
        max_order_quantity=chance.choice(("0.7", "4")),
        max_order_notional=2_000_000,
        isolated=False,
        leverage=3,
        external_trades_per_minute=100,
        close_flattens=False,
        keep=seed % 5 == 0,
    )


class CrashWorld(World):
    """A world that dies where it is told."""

    def __init__(self, point: str, seed: int, mode: str) -> None:
        self.seeded = random.Random(f"crash-{point}-{seed}")
        super().__init__(Case(options(self.seeded, seed), []), recovered)
        self.point, self.mode = NAMED[point], mode
        self.crash = Crash(point, seed, mode)
        self.slow_tick_ns = TICK_NS
        self.early = self.point.phase in ("input", "order") and seed % 5 == 1
        self.second = ""
        self.changed_ns = 0
        self.doubtful = False
        self.doubt_until_ns = 0
        self.named = False

    @property
    def quiet(self) -> bool:
        """Never: time is not jumped, for what it takes is measured."""
        return False

    # ------------------------------------------------------------ the story

    def play(self) -> Crash:
        """Live, die, come back, and be judged."""
        try:
            self._live_and_die()
            self._come_back()
        except Violation as violation:
            self._violation = self._violation or violation
        found = self.crash
        found.hit = self.auditor.reached.get(f"killed {self.point.name}", 0)
        if self._violation is not None:
            found.wrong, found.kind = str(self._violation), kind_of(self._violation.invariant)
            found.trail = list(self.auditor.trail)
        return found

    def _live_and_die(self) -> None:
        if self.early:
            self.kill_next, self.kill_skip = self.point.name, 0
            self._disk(self.mode)
            self._disturb(self.point.name)
        self.start()
        self._beat()
        self._until(lambda: self._unsettled() is None, 20 * S)
        if not self.early:
            self._provoke()
        self._until(lambda: self.hits > 0 and self.process is not None, 20 * S)

    @property
    def hits(self) -> int:
        """How often it died where it was to."""
        return self.auditor.reached.get(f"killed {self.point.name}", 0)

    def _provoke(self) -> None:
        """Arm the death and do what leads to it."""
        chance, process = self.seeded, self.process
        assert process is not None, "a settled world has a process"
        point, first = self.point.name, self.point.name
        if self.point.phase == "start":
            first = chance.choice(REMEMBERED if point in DOUBTING else FIRST)
            self.kill_next, self.kill_skip = point, chance.randrange(2) if point in DOUBTING else 0
            # One of the two deaths is the disk's; a quarantine needs a power loss before it.
            again = point in DOUBTING or (chance.randrange(2) == 0 and point != "quarantine")
            self.second = self.mode if again else "clean"
            self._disk("clean" if again else "lost" if point == "quarantine" and self.mode == "clean" else self.mode)
        else:
            self._disk(self.mode)
        process.kill_at = first
        process.kill_skip = chance.randrange(12) if self.point.phase == "input" else 0
        self._disturb(first)
        if point in ("latch-durable", "latched"):
            self.verb(chance.choice(("halt", "reduce")))
            self.schedule.after(chance.randint(1, 4_000) * MS, self._resume)
            self.schedule.after(9 * S, self._resume)
            return
        self._trade()
        if point == "stop-begun":
            process.kill_skip = chance.randrange(3)
            self.schedule.after(chance.randint(0, 20 * MS), self.terminate)
        if chance.randrange(3) == 0:
            self.schedule.after(chance.randint(0, 300) * MS, self._trade)

    def _disturb(self, first: str) -> None:
        """Now and then something else is wrong as well."""
        chance = self.seeded
        if first == "report-first":
            self.exchange.faults.arm("U5=x*0", self.exchange.now_ms)
        if first == "fill-row" and chance.randrange(2) == 0:
            self.exchange.faults.arm("O7=50", self.exchange.now_ms)
        doubt = self.point.phase == "start" or first in ("sent", "arrived", "executed", "told")
        if doubt and chance.randrange(3) == 0:
            word = chance.choice(("O1=executed", "O1=not_executed", "O1=late", "O15=executed", "O15=not_executed"))
            self.exchange.faults.arm(word, self.exchange.now_ms)
        if first in ("sent", "arrived") and chance.randrange(3) == 0:
            self.wire.arm("order-slow", chance.randint(100, 4_000))
        if first == "sent" and chance.randrange(4) == 0:
            self.wire.arm("order-lost", 1)

    def _trade(self) -> None:
        chance = self.seeded
        sign = -1 if chance.randrange(3) == 0 and self.auditor.hearing.float > D(2) else 1
        quantity = sign * D(chance.randint(10, 1_500)) / 1_000
        self.changed_ns = self.schedule.now_ns
        self.book(FloatTradeKind.BUY if sign > 0 else FloatTradeKind.SELL, quantity)

    def _resume(self) -> None:
        self.changed_ns = self.schedule.now_ns
        self.verb("resume")

    def _disk(self, mode: str) -> None:
        """Say what the next death takes with it, and how long the machine is away."""
        self.power, self.torn = mode != "clean", mode == "torn"
        self.down_ms = self.seeded.choice((20, 300, 2_000))
        if self.power and "fast-boot" in EXCUSED:
            self.down_ms += 6_000

    # ------------------------------------------------------------ deaths and starts

    def _died(self, why: str) -> None:
        super()._died(why)
        if self.second:
            self._disk(self.second)
            self.second = ""

    def _dies_at_start(self, point: str) -> bool:
        power = self.power
        dies = super()._dies_at_start(point)
        if dies and power:
            self.boot += 1
        return dies

    def start(self) -> None:
        """Begin a run, and look at what it comes back with."""
        super().start()
        if self.hits:  # what the restart owes is judged without further faults
            self.exchange.faults.armed.clear()
            self.wire.armed.clear()
        if self.process is not None:
            state = self.process.pump.reactor.state
            self.changed_ns = self.schedule.now_ns
            self.doubtful = bool(state.open_ids or state.quarantine_until_ns)

    def _come_back(self) -> None:
        chance = self.seeded
        if not self.hits:
            return
        if chance.randrange(3) == 0:
            self._go(self.schedule.now_ns + chance.randint(0, 7_000) * MS)
            self._trade()
        self._until(lambda: self._unsettled() is None, GIVE_UP_NS)
        if self._violation is not None:
            return
        wrong = self._unsettled()
        if wrong is not None:
            raise Violation("20", f"{GIVE_UP_NS // S} s after the start: {wrong}")
        self.crash.recovery_ns = self.schedule.now_ns - self.changed_ns
        allowed = LIVE_NS + DOUBT_NS if self.doubtful else IN_BAND_NS
        if self.named:
            allowed = HIDDEN_NS
        if self.crash.recovery_ns > allowed:
            raise Violation("20", f"in band only after {self.crash.recovery_ns // MS} ms")
        self._go(self.schedule.now_ns + STEADY_NS)
        wrong = self._unsettled()
        if wrong is not None and self._violation is None:
            raise Violation("20", f"it was in band and no longer is: {wrong}")
        self.auditor.books_agree(self.ledger.intents())

    # ------------------------------------------------------------ time

    def _until(self, done: object, within_ns: int) -> None:
        """Let time pass until something is so."""
        assert callable(done)
        until_ns = self.schedule.now_ns + within_ns
        while not done() and self.schedule.now_ns < until_ns and self._violation is None:
            self._go(self.schedule.now_ns + 50 * MS)

    def _go(self, until_ns: int) -> None:
        while self.schedule.now_ns < until_ns and self._violation is None:
            self._play(min(until_ns, self.schedule.now_ns + 50 * MS))
            self._watch()

    def _watch(self) -> None:
        """Hold every doubt against its time: Tq + 2 s from LIVE, or from when it arose."""
        process = self.process
        if process is None:
            self.doubt_until_ns = 0
            return
        state, now_ns = process.pump.reactor.state, self.schedule.now_ns
        doubts = [state.orders[name] for name in state.open_ids if state.orders[name].in_doubt]
        if not doubts or state.book_status.value != "LIVE":
            self.doubt_until_ns = 0
        elif not self.doubt_until_ns:
            self.doubt_until_ns = now_ns + DOUBT_NS
        elif now_ns > self.doubt_until_ns:
            self.named = self.named or (self.mode != "clean" and all(order.unexplained for order in doubts))
            late_ns = now_ns - self.doubt_until_ns
            if not self.named or late_ns > HIDDEN_NS - DOUBT_NS:
                waited_s = (late_ns + DOUBT_NS) // S
                raise Violation("21", f"{doubts[0].client_order_id} is in doubt for {waited_s} s of a LIVE book")


def kind_of(invariant: str) -> str:
    """Return the column an invariant belongs to."""
    if invariant in DOUBLED:
        return "doubled"
    return "lost" if invariant in LOST else "late" if invariant in ("20", "21") else "other"


def crash(point: str, seed: int, mode: str) -> Crash:
    """Run one crash."""
    return CrashWorld(point, seed, mode).play()
