"""Thirty hours of one process: every stream is replaced while trades go on, and not one event is lost or counted twice."""

from __future__ import annotations

from decimal import Decimal

import pytest

from streamhedge.domain.commands import Reaction
from streamhedge.domain.events import ExecutionReport
from streamhedge.live.recovery import recovered
from streamhedge.sim.refusals import Refusal
from streamhedge.world.schedule import MS
from streamhedge.world.script import Case, draw
from streamhedge.world.world import World

HOUR_MS = 3_600_000
BURST_MS, EVERY_MS = 12_000, 40
STEP = Decimal("0.001")


class Rollover(World):
    """A world in which somebody else trades fast whenever a stream is being replaced."""

    def __init__(self, case: Case) -> None:
        super().__init__(case, recovered)
        self.heard: list[int] = []
        self.rotated: list[str] = []
        self.opened: list[tuple[str, int]] = []
        self.most_open = 0
        self._sign = 1

    def _observe(self, reaction: Reaction, recv_ns: int) -> None:
        super()._observe(reaction, recv_ns)
        self.heard += [
            event.trade_id for event in reaction.events if isinstance(event, ExecutionReport) and event.trade_id
        ]
        self.most_open = max(self.most_open, sum(socket.stream == "private" for socket in self.wire.sockets))
        for note in reaction.notes:
            if note.code == "rotate":
                self.rotated.append(note.text.partition(" ")[0])
                self._burst(self.schedule.now_ms + BURST_MS)

    def _burst(self, until_ms: int) -> None:
        if self.schedule.now_ms >= until_ms:
            return
        try:
            self.exchange.engine.external("BTCUSDT", self._sign * STEP, self.schedule.now_ms)
            self._sign = -self._sign
        except Refusal:
            pass
        self.wire.flush()
        self.auditor.venue_moved()
        self.schedule.after(EVERY_MS * MS, lambda: self._burst(until_ms))


@pytest.mark.timeout(900)
def test_thirty_hours_with_every_stream_replaced_and_no_event_lost() -> None:
    case = draw(1, 30 * HOUR_MS)
    options = case.options
    # The band is wider than what the others trade back and forth; frames take 10 to 50 ms.
    options.band, options.external_trades_per_minute, options.latency_ms, options.keep = 500, 10**6, (10, 50), False
    options.mark_every_ms = 1_000
    options.initial, options.ratio, options.wallet = "3", "1", 400_000
    options.funding_every_ms, options.step_millionths = 8 * HOUR_MS, 5
    played = Rollover(Case(options, []))
    outcome = played.run()
    assert outcome.violation is None, outcome.trail[-30:]
    assert sorted(played.rotated) == ["market", "private", "ws_api"], "each once, none twice"
    assert played.most_open == 2, "the successor is open before the old one closes"
    traded = [trade.trade_id for trade in played.exchange.engine.trades]
    assert len(traded) > 3 * BURST_MS // EVERY_MS - 10
    assert not [number for number in traded if number not in played.heard], "an event was lost"
    assert len(played.ledger.gaps()) == 1, "no gap but the start"
    fills = [key for table, key in played.ledger.now.rows if table == "fill"]
    assert len(fills) == len(dict.fromkeys(fills))
    state = played.process.pump.reactor.state if played.process is not None else None
    assert state is not None and state.meter.adoptions == 0
