"""Worlds dense in unknown outcomes: nearly every order meets a way of not knowing, a fate at the venue, and a hiding place.

A trade follows the next as soon as the last one is hedged, and now and then while its order is still in doubt. What the
auditor calls doubled is doubled exposure; how long each doubt stood is measured.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import orjson

from streamhedge.domain.events import FloatTradeKind
from streamhedge.live.recovery import recovered
from streamhedge.sim.order_calls import HTML, UNKNOWN
from streamhedge.sim.refusals import UNKNOWN_STATUS, Refusal
from streamhedge.world.auditor import Violation
from streamhedge.world.schedule import MS, S
from streamhedge.world.script import Case
from streamhedge.world.wire import Answer, Wire
from streamhedge.world.world import World
from tests.simulation.crashes import DOUBT_NS, GIVE_UP_NS, kind_of, options

D = Decimal
WAYS = ("503", "-1006", "-1007", "408", "5xx", "timeout", "reset", "garbage", "answer-lost", "killed")
FATES = ("executed", "not executed", "late")
LATE_MOST_MS = 10_000
HIDDEN_MOST_MS = 30_000
QUARANTINE_NS = 5 * S
"""Tq: what executes later than that is a ghost, adopted as somebody else's trade would be."""
GARBAGE = (b"", b"<html>200 OK</html>", b'{"orderId":4000000', b"[]", b'"FILLED"', b'{"code":200}', b"\xff\xfe\x00")
SHOWN_NS = 2 * S
LOOKED_FOR_NS = 54 * S
"""For so long the product looks for an order that the position speaks for: 40 s, then until the next snapshot."""
STEP_NS = 100 * MS


@dataclass(slots=True)
class Unknown:
    """One order whose outcome nobody told; times in virtual nanoseconds, 0 for not yet."""

    name: str
    way: str
    fate: str
    hidden_ms: int
    sent_ns: int
    executed_ns: int = 0
    closed_ns: int = 0

    @property
    def shown_ns(self) -> int:
        """When the venue begins to show it; 0 when it has not executed.

        Until then its fill stands in the position alone, and evidence of the order itself cannot be had.
        """
        return self.executed_ns + self.hidden_ms * MS if self.executed_ns else 0


@dataclass(slots=True)
class Found:
    """What a world of unknown outcomes led to."""

    seed: int
    unknowns: list[Unknown] = field(default_factory=list)
    ghosts: int = 0
    wrong: str = ""
    kind: str = ""
    trail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"--seed {self.seed}: {self.wrong or 'well'}"


class UnknownWire(Wire):
    """A wire on which orders leave and nobody tells what became of them."""

    inject: Callable[[str], Unknown | None]
    die: Callable[[], None]

    def rest(
        self, method: str, path: str, query: str, api_key: str, order: bool, done: Callable[[Answer], None]
    ) -> None:
        """Send a request; an order's answer tells nothing."""
        params = dict(parse_qsl(query))
        unknown = self.inject(params["newClientOrderId"]) if order else None
        if unknown is None:
            super().rest(method, path, query, api_key, order, done)
            return
        self.tap.order_sent(query)
        self.schedule.after(self.latency_ns(), lambda: self._arrive(unknown, params))
        if unknown.way == "killed":
            self.schedule.after(self._chance.randint(0, 3 * MS), self.die)
            return
        silent = unknown.way in ("timeout", "answer-lost")
        wait_ns = self.timeout_ns if silent else 2 * self.latency_ns() + self._chance.choice((0, 0, 500, 3_000)) * MS
        self.schedule.after(wait_ns, lambda: done(self._answer(unknown.way)))

    def _arrive(self, unknown: Unknown, params: dict[str, str]) -> None:
        if unknown.fate == "not executed":
            return
        late_ms = self._chance.randint(0, LATE_MOST_MS) if unknown.fate == "late" else 0
        self.exchange.advance(self.schedule.now_ms)
        self.exchange.later(self.schedule.now_ms + late_ms, lambda now_ms: self._execute(unknown, params, now_ms))
        self.schedule.after(late_ms * MS, self.beat)

    def _execute(self, unknown: Unknown, params: dict[str, str], now_ms: int) -> None:
        with suppress(Refusal):
            self.exchange.engine.place(params, now_ms)
        order = self.exchange.engine.find(params["symbol"], {"origClientOrderId": unknown.name})
        if order is not None:
            order.visible_ms = now_ms + unknown.hidden_ms
            unknown.executed_ns = self.schedule.now_ns
        self.tap.weight_used()
        self.flush()

    def _answer(self, way: str) -> Answer:
        if way in ("timeout", "answer-lost"):
            return Answer(None, error="TimeoutError: ")
        if way == "reset":
            return Answer(None, error=self._chance.choice(("ServerDisconnectedError: ", "ConnectionResetError: ")))
        if way == "503":
            return Answer(503, {}, orjson.dumps({"msg": UNKNOWN}))
        if way == "-1006":
            said = "An unexpected response was received from the message bus. Execution status unknown."
            return Answer(self._chance.choice((400, 503)), {}, orjson.dumps({"code": -1006, "msg": said}))
        if way == "-1007":
            said = {"code": -1007, "msg": UNKNOWN_STATUS}
            return Answer(self._chance.choice((400, 408, 503)), {}, orjson.dumps(said))
        if way == "408":
            return Answer(408, {}, b"")
        if way == "5xx":
            return Answer(self._chance.choice((500, 502, 504, 520)), {}, HTML.encode())
        assert way == "garbage", f"no way of not knowing is called {way}"
        return Answer(200, {}, self._chance.choice(GARBAGE))


class UnknownWorld(World):
    """A world in which so many orders go out and nobody tells what became of them."""

    def __init__(self, seed: int, most: int) -> None:
        self.seeded = random.Random(f"unknown-{seed}")
        super().__init__(Case(replace(options(self.seeded, seed), keep=seed % 20 == 0), []), recovered)
        wire = UnknownWire(
            *(self.exchange, self.schedule, seed, self.options.latency_ms, self),
            self.policy.limits.request_timeout_ms,
        )
        wire.inject, wire.die = self._inject, self._kill
        self.wire = wire
        self.slow_tick_ns = 250 * MS
        self.most = most
        self.found = Found(seed)
        self.doubts: dict[str, int] = {}
        self.standing: dict[str, Unknown] = {}

    @property
    def quiet(self) -> bool:
        """Never: time is not jumped, for what it takes is measured."""
        return False

    def _inject(self, name: str) -> Unknown | None:
        chance = self.seeded
        if len(self.found.unknowns) >= self.most or chance.randrange(20) == 0:
            return None
        way = chance.choice(WAYS)
        hidden_ms = chance.choice((0, 0, 400, 3_000, chance.randint(0, HIDDEN_MOST_MS)))
        unknown = Unknown(name, way, chance.choice(FATES), hidden_ms, self.schedule.now_ns)
        self.found.unknowns.append(unknown)
        self.standing[name] = unknown
        if chance.randrange(3) == 0:
            self.schedule.after(chance.randint(1, 6_000) * MS, self._trade)
        return unknown

    def _kill(self) -> None:
        self.down_ms = self.seeded.choice((20, 300, 1_500))
        self.kill("sent")

    def _trade(self) -> None:
        chance, held = self.seeded, self.auditor.hearing.float
        sign = 1 if held < 1 or (held < 12 and chance.randrange(2) == 0) else -1
        quantity = sign * min(D(chance.randint(10, 1_500)) / 1_000, held if sign < 0 else D(9))
        self.book(FloatTradeKind.BUY if sign > 0 else FloatTradeKind.SELL, quantity)

    # ------------------------------------------------------------ the story

    def play(self) -> Found:
        """Let the orders go out until there were enough unknown outcomes, then let the last ones close."""
        found = self.found
        try:
            self.start()
            self._beat()
            self._wait()
            while len(found.unknowns) < self.most and self._violation is None:
                self._trade()
                self._wait()
            self._wait()
            if self._violation is None:
                self.auditor.books_agree(self.ledger.intents())
        except Violation as violation:
            self._violation = self._violation or violation
        found.ghosts = self.auditor.reached.get("fill after we gave it up", 0)
        if self._violation is not None:
            found.wrong, found.kind = str(self._violation), kind_of(self._violation.invariant)
            found.trail = list(self.auditor.trail)
        return found

    def _wait(self) -> None:
        """Let time pass until the hedge stands; every doubt is held against its time."""
        until_ns = self.schedule.now_ns + 3 * GIVE_UP_NS
        while self._violation is None:
            self._play(self.schedule.now_ns + STEP_NS)
            self._watch()
            wrong = self._unsettled()
            if wrong is None:
                return
            if self.schedule.now_ns > until_ns:
                raise Violation("20", f"{3 * GIVE_UP_NS // S} s after the last trade: {wrong}")

    def _watch(self) -> None:
        process, now_ns = self.process, self.schedule.now_ns
        if process is None:
            return
        state = process.pump.reactor.state
        for name, unknown in list(self.standing.items()):
            order: Any = state.orders.get(name)  # type: ignore[call-overload]
            if order is None or not order.is_open:
                unknown.closed_ns = now_ns
                del self.standing[name]
                self.doubts.pop(name, None)
            elif not order.in_doubt or state.book_status.value != "LIVE" or now_ns < unknown.shown_ns + SHOWN_NS:
                self.doubts.pop(name, None)
            elif now_ns - self.doubts.setdefault(name, now_ns) > self._allowed_ns(unknown):
                raise Violation("21", f"{name} is in doubt for {(now_ns - self.doubts[name]) // S} s: {unknown}")

    def _allowed_ns(self, unknown: Unknown) -> int:
        """Return how long a doubt may stand on a LIVE book.

        A ghost that moved the position meanwhile looks like this order's fill, hidden: that is waited for.
        """
        ghosts = [one for one in self.found.unknowns if one.executed_ns > one.sent_ns + QUARANTINE_NS]
        moved = any(one.executed_ns > unknown.sent_ns for one in ghosts)
        return LOOKED_FOR_NS if moved else DOUBT_NS


def unknowns(seed: int, most: int) -> Found:
    """Run one world of so many unknown outcomes."""
    return UnknownWorld(seed, most).play()
