"""Disconnects at random instants on a loopback-like wire: what was under way is lost, and the book must come back whole.

Each is timed: until the book is LIVE again on three open streams, and until the hedge stands. A fill is lost when the
ledger's order and the venue's differ at the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from streamhedge.domain.events import FloatTradeKind
from streamhedge.live.recovery import recovered
from streamhedge.world.auditor import Violation
from streamhedge.world.process import TICK_NS
from streamhedge.world.schedule import MS, S
from streamhedge.world.script import Case
from streamhedge.world.world import World
from tests.simulation.crashes import GIVE_UP_NS, options

D = Decimal
INSTANTS = ("quiet", "decided", "flight", "executed", "told", "snapshot", "handshake")
"""When the line breaks: at rest, at a trade, as an order leaves, as it executes, as its events are under way, as a
snapshot is asked, as a socket is being opened."""
STREAMS = ("private", "private", "market", "ws_api", "all", "all")
LOOPBACK_MS = (1, 2)
STEP_NS = 5 * MS
AUDIT_NS = 16 * S
"""The next snapshot of a quiet book is asked by then."""


@dataclass(slots=True)
class Disconnect:
    """One broken line; times in virtual nanoseconds."""

    instant: str
    streams: str
    at_ns: int = 0
    live_ns: int = 0
    band_ns: int = 0

    @property
    def live_ms(self) -> int:
        """How long it took to be LIVE again."""
        return (self.live_ns - self.at_ns) // MS

    @property
    def band_ms(self) -> int:
        """How long it took to be in band again."""
        return (self.band_ns - self.at_ns) // MS


@dataclass(slots=True)
class Found:
    """What a world of disconnects led to."""

    seed: int
    disconnects: list[Disconnect] = field(default_factory=list)
    fills: int = 0
    lost: int = 0
    wrong: str = ""
    trail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"--seed {self.seed}: {self.wrong or 'well'}"


class DisconnectWorld(World):
    """A world whose lines break so many times."""

    def __init__(self, seed: int, most: int) -> None:
        self.seeded = random.Random(f"disconnect-{seed}")
        said = replace(options(self.seeded, seed), latency_ms=LOOPBACK_MS, keep=seed % 10 == 0)
        super().__init__(Case(said, []), recovered)
        self.most = most
        self.found = Found(seed)
        self.slow_tick_ns = TICK_NS
        self.waiting = ""
        """The instant at which the line is to break."""
        self.streams = ""
        self.again = self.planned = False
        """Whether another break follows the next one, and whether it is on its way."""
        self.standing: list[Disconnect] = []

    @property
    def quiet(self) -> bool:
        """Never: marks come each second, as the venue sends them, for how soon the book is LIVE depends on them."""
        return False

    # ------------------------------------------------------------ instants

    def order_sent(self, query: str) -> None:
        """An order's first byte leaves."""
        super().order_sent(query)
        self._reached("flight", 3 * MS)

    def order_at(self, point: str) -> None:
        """An order is at a point on the venue's side of the wire."""
        super().order_at(point)
        if point in ("executed", "told"):
            self._reached(point, 0 if point == "executed" else 2 * MS)

    def asked(self, text: str) -> None:
        """A frame leaves for the WebSocket API."""
        super().asked(text)
        if '"id":"pos-' in text:
            self._reached("snapshot", 4 * MS)

    def _reached(self, instant: str, within_ns: int) -> None:
        if self.waiting != instant:
            return
        self.waiting = ""
        if within_ns:
            self.schedule.after(self.seeded.randint(1, within_ns), lambda: self._cut(instant))
        else:
            self._cut(instant)

    def _cut(self, instant: str) -> None:
        """Break lines: whatever is under way on them is lost, both ways."""
        broken = [socket for socket in self.wire.sockets if self.streams in ("all", socket.stream)]
        for socket in broken:
            self.wire.hang_up(socket, "1006")
        if broken or instant != "handshake":
            one = Disconnect(instant, self.streams, self.schedule.now_ns)
            self.auditor.note(f"*** cut {self.streams} ({instant})")
            self.auditor.fault_seen()
            self.found.disconnects.append(one)
            self.standing.append(one)
        if self.again:  # and once more while the next sockets are opening
            self.again = False
            self.planned = True
            self.schedule.after(self.seeded.randint(1, 200) * MS, self._cut_opening)

    def _cut_opening(self) -> None:
        self.planned = False
        self._cut("handshake")

    # ------------------------------------------------------------ the story

    def play(self) -> Found:
        """Trade and break lines until there were enough, then hold the books against the venue's."""
        found = self.found
        try:
            self.start()
            self._beat()
            self._wait(lambda: self._unsettled() is None, 50 * MS)
            while len(found.disconnects) < self.most and self._violation is None:
                self._break()
            self._play(self.schedule.now_ns + S)
            if self._violation is None:
                self.auditor.books_agree(self.ledger.intents())
        except Violation as violation:
            self._violation = self._violation or violation
        found.fills = len(self.exchange.engine.trades)
        found.lost = sum(self._is_lost(row.client_order_id, row.filled) for row in self.ledger.intents())
        if self._violation is not None:
            found.wrong, found.trail = str(self._violation), list(self.auditor.trail)
        return found

    def _is_lost(self, name: str, filled: Decimal) -> bool:
        order = self.exchange.engine.find("BTCUSDT", {"origClientOrderId": name})
        return filled != (order.filled if order is not None else D(0))

    def _break(self) -> None:
        """Lead up to one instant, break the line there, and wait until all is well."""
        chance, many = self.seeded, len(self.found.disconnects)
        instant = chance.choice(INSTANTS)
        self.streams = chance.choice(STREAMS)
        self.again = instant == "handshake" or chance.randrange(8) == 0
        self._play(self.schedule.now_ns + chance.randint(0, 1_500 * MS))
        if instant in ("quiet", "handshake") or (instant == "snapshot" and chance.randrange(2)):
            if instant != "snapshot":
                self._cut("quiet")
            else:
                self.waiting = instant
        else:
            if instant == "decided":
                self.schedule.after(chance.randint(1, 3 * MS), lambda: self._cut(instant))
            else:
                self.waiting = instant
            self._trade()
        self._wait(lambda: len(self.found.disconnects) > many, 50 * MS)
        self._wait(lambda: not self.standing and not self.planned, STEP_NS)

    def _trade(self) -> None:
        chance, held = self.seeded, self.auditor.hearing.float
        sign = 1 if held < 2 or (held < 12 and chance.randrange(2) == 0) else -1
        quantity = sign * D(chance.randint(10, 1_500)) / 1_000
        self.book(FloatTradeKind.BUY if sign > 0 else FloatTradeKind.SELL, quantity)

    def _wait(self, done: Callable[[], bool], step_ns: int) -> None:
        until_ns = self.schedule.now_ns + GIVE_UP_NS
        while not done() and self._violation is None:
            self._play(self.schedule.now_ns + step_ns)
            if self.standing:
                self._watch()
            if self.schedule.now_ns > until_ns:
                raise Violation("20", f"{GIVE_UP_NS // S} s later: {self._unsettled() or 'nothing happened'}")

    def _watch(self) -> None:
        assert self.process is not None, "nobody dies here"
        session, now_ns = self.process.pump.session.state, self.schedule.now_ns
        if session.status != "LIVE" or any(link.current is None for link in session.links.values()):
            return
        settled = self._unsettled() is None
        for one in [*self.standing]:
            # The machine hears of it a millisecond later.
            if now_ns - one.at_ns > 2 * MS:
                one.live_ns = one.live_ns or now_ns
                if settled:
                    one.band_ns = now_ns
                    self.standing.remove(one)


def disconnects(seed: int, most: int) -> Found:
    """Run one world of so many disconnects."""
    return DisconnectWorld(seed, most).play()


def share(figures: list[int], percent: int) -> int:
    """Return a percentile."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
