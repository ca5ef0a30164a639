"""The doors of the machine itself: the user stream, the market stream and the WebSocket API, through ``Pump.feed``."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import orjson

from streamhedge.domain.commands import RequestSnapshot
from streamhedge.domain.events import Quarantined
from tests.fuzz import samples
from tests.fuzz.cases import CHANGED, QUARANTINED, VALID, Verdict, parses, watched
from tests.fuzz.machine import COUNTED, Machine, differences
from tests.fuzz.mutator import Mutator

VARIANTS = ("hedged", "doubt")


class MachineDoor:
    """A door with a LIVE machine behind it; a fresh one every so many messages."""

    source = ""
    events: tuple[str, ...] = ()

    def __init__(self, rng: Random, folder: Path) -> None:
        self.rng = rng
        self.mutator = Mutator(rng, self.events)
        self._folder = folder
        self._last = b""
        self.machine = self._fresh()

    def _fresh(self) -> Machine:
        return Machine(self.rng, self._folder, self.rng.choice(VARIANTS))

    def case(self) -> Verdict:
        """Bend one message and put it in."""
        if self.machine.tired():
            self.machine.finish(self._last)
            self.machine = self._fresh()
        machine = self.machine
        with watched(self._last):
            self.settle()
        self._last = frame = self.draw()
        with watched(frame):
            verdict = self.put(frame)
            machine.venue.release()
            machine.answer()
        return verdict

    def settle(self) -> None:
        """Bring the machine to rest before a message."""
        self.machine.settle()

    def put(self, frame: bytes) -> Verdict:
        """Put a message in and say what became of it."""
        return self.verdict(frame, self.machine.take(self.source, frame))

    def draw(self) -> bytes:
        """Return a bent message."""
        found = self.samples()
        return self.mutator.bent(self.rng.choice(found), others=found)

    def samples(self) -> list[Any]:
        """Return valid messages of this moment."""
        raise NotImplementedError

    @property
    def order_id(self) -> str:
        """The last order of ours."""
        return next(reversed(self.machine.pump.reactor.state.orders))

    @property
    def position(self) -> str:
        """What the account holds."""
        return str(self.machine.venue.position)

    @staticmethod
    def verdict(frame: bytes, took: tuple[list[Any], dict[str, Any], dict[str, Any]]) -> Verdict:
        """Judge by the events, then by the state."""
        reactions, before, after = took
        if any(isinstance(event, Quarantined) for reaction in reactions for event in reaction.events):
            return Verdict(parses(frame), QUARANTINED)
        moved = [path for path in differences(before, after) if path not in COUNTED]
        return Verdict(parses(frame), CHANGED if moved else VALID)

    def close(self) -> None:
        """Check what only the end shows."""
        self.machine.finish(self._last)


class User(MachineDoor):
    """The private stream."""

    source = "private"
    events = samples.USER_EVENTS

    def samples(self) -> list[Any]:
        own = samples.user(self.machine.venue.now_ms, self.position, self.order_id)
        more = self.rng.choice((own, own, samples.composed("private"), samples.examples("user_")))
        return more or own


class Market(MachineDoor):
    """The market stream."""

    source = "market"
    events = samples.MARKET_EVENTS

    def samples(self) -> list[Any]:
        own = samples.market(self.machine.venue.now_ms)
        more = self.rng.choice((own, own, samples.composed("market"), samples.examples("market_")))
        return more or own


class WsApi(MachineDoor):
    """Answers of the WebSocket API to calls that are under way."""

    source = "wsapi"

    def settle(self) -> None:
        """Let the time come for a snapshot and for a time to be asked, and hold their answers back."""
        machine = self.machine
        machine.venue.holding = True
        machine.pass_time(18)
        machine.settle(after_ms=1)
        if self.rng.random() < 0.5 and self._open("snapshot"):
            # The other half is here already: what comes next makes the snapshot whole.
            half = {
                "id": f"bal-{self._open('snapshot')}",
                "status": 200,
                "result": [samples.balance_row(machine.venue.now_ms)],
            }
            machine.feed("wsapi", orjson.dumps(half))

    def _open(self, kind: str) -> int:
        wanted = kind == "snapshot"
        calls = [call for command, call in self.machine.venue.held if isinstance(command, RequestSnapshot) is wanted]
        return calls[-1] if calls else 0

    def samples(self) -> list[Any]:
        now_ms = self.machine.venue.now_ms
        own = samples.ws_api(now_ms, self.position, self.order_id, self._open("snapshot"), self._open("time"))
        own = [answer for answer in own if not str(answer["id"]).endswith("-0")]
        more = self.rng.choice((own, own, own, samples.examples("wsapi_")))
        return more or own
