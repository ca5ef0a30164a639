"""Bugs planted in the machine as such: it dies, or it does not replay."""

from __future__ import annotations

from typing import Any

from streamhedge.domain.events import Quarantined
from streamhedge.reactor import reactor
from streamhedge.reactor.state import Core
from tests.simulation.planting import Planting, plant


@plant("a frame it does not know kills it", "16", kinds=("S7", "S8"), crash=True)
def an_unknown_frame_kills_it(bug: Planting) -> None:
    def refuse(core: Core, event: Quarantined) -> None:
        bug.ran()
        raise KeyError(event.reason)

    bug.at(reactor.HANDLERS, Quarantined, lambda honest: refuse)


@plant("something outside the state takes part in it", "18")
def it_does_not_replay(bug: Planting) -> None:
    counted = [0]

    def build(honest: Any) -> Any:
        def react(self: Any, seq: int, now_ns: int, events: Any) -> Any:
            bug.ran()
            counted[0] += 1  # another run of the same inputs counts on
            self.core.state.meter.resyncs = counted[0]
            return honest(self, seq, now_ns, events)

        return react

    bug.instead(reactor.Reactor, "react", build)
