"""The backstop in whole worlds: stops under every fault, and a short that nobody watches in a rally."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from streamhedge.domain.stop import StopStatus
from streamhedge.live.recovery import recovered
from streamhedge.world.auditor import Violation
from streamhedge.world.schedule import MS
from streamhedge.world.script import Case, Happening, draw
from streamhedge.world.world import Outcome, World

D = Decimal
MINUTE_MS = 60_000
SAMPLE = (2, 4, 5, 7, 9, 14)


def under_faults(seed: int) -> Outcome:
    """Run the world of a seed with a backstop; all else is the seed's."""
    case = draw(seed, 3 * MINUTE_MS)
    case.options.backstop = True
    return World(case, recovered).run()


@pytest.mark.parametrize("seed", SAMPLE)
def test_stops_keep_to_what_they_promise_under_every_fault(seed: int) -> None:
    outcome = under_faults(seed)
    assert outcome.violation is None, "\n".join([str(outcome.violation), *outcome.trail])
    assert outcome.fired["stops sent"] >= 1


# ---------------------------------------------------------------- one short, one rally


def world(*happenings: Happening, backstop: bool = True, minutes: int = 4, wallet: int = 150_000) -> World:
    """Build a quiet world with a short of two bitcoin on little margin, and what happens in it."""
    case = draw(4, minutes * MINUTE_MS)
    options = case.options
    options.backstop, options.wallet, options.initial, options.ratio = backstop, wallet, "4", "1"
    options.latency_ms, options.mark_every_ms, options.step_millionths = (2, 4), 1_000, 0
    options.isolated, options.leverage, options.band, options.close_flattens = False, 3, 100, False
    options.max_order_quantity, options.max_order_notional = "10", 2_000_000
    return World(Case(options, list(happenings)), recovered)


def at(played: World, at_ms: int, action: Callable[[], None]) -> None:
    played.schedule.at(played.schedule.now_ns + at_ms * MS, action)


DEAD = Happening(40_000, "kill", "now 120000")
RALLY = Happening(50_000, "jump", "700 30")
"""Seventy per cent in half a minute, while nothing of ours runs."""


def test_while_nothing_of_ours_runs_the_stop_closes_the_short_before_it_is_liquidated() -> None:
    played = world(DEAD, RALLY)
    held: list[Decimal] = []
    at(played, 39_000, lambda: held.append(played.exchange.account.position("BTCUSDT").amount))
    at(played, 120_000, lambda: held.append(played.exchange.account.position("BTCUSDT").amount))
    outcome = played.run()
    assert outcome.violation is None, "\n".join([str(outcome.violation), *outcome.trail])
    assert held[0] < 0 and held[1] == 0
    assert played.exchange.account.liquidations == 0
    assert outcome.fired["stops sent"] >= 1
    stops = [stop for stop in played.process.pump.reactor.state.stops.values()] if played.process else []
    assert any(stop.status in (StopStatus.TRIGGERED, StopStatus.ENDED) for stop in stops)
    assert "gone from the venue" in " ".join(outcome.trail) or outcome.fired["note backstop"] >= 2


def test_without_it_the_same_rally_liquidates() -> None:
    played = world(DEAD, RALLY, backstop=False)
    played.run()
    assert played.exchange.account.liquidations >= 1


def test_a_stop_that_triggers_under_our_eyes_is_ours_and_raising_is_paced() -> None:
    halted, fast = Happening(45_000, "halt", "60"), Happening(46_000, "jump", "700 12")
    played = world(halted, fast, minutes=2)
    notes: list[str] = []
    at(played, 62_000, lambda: notes.extend(_state(played)))
    outcome = played.run()
    assert outcome.violation is None, "\n".join([str(outcome.violation), *outcome.trail])
    assert notes == ["0", "True", "backstop"], "flat, paced, and its order known for ours"
    assert played.exchange.account.liquidations == 0
    assert "external" not in outcome.fired and not outcome.fired.get("note external")


def _state(played: World) -> list[str]:
    assert played.process is not None
    state = played.process.pump.reactor.state
    memory = next(iter(state.memory.values()))
    orders = [order.purpose.value for order in state.orders.values() if order.purpose.value == "backstop"]
    return [str(state.book.quantity(memory.symbol)), str(memory.paced), *orders[:1]]


@pytest.mark.parametrize("fate", ["executed", "not_executed", "late"])
def test_a_stop_nobody_knows_about_is_settled_by_the_venues_list(fate: str) -> None:
    played = world(Happening(60_000, "buy", "0.5"), wallet=400_000)
    armed: list[str] = []

    def arm() -> None:
        """Hit the stop that follows the hedge, not the hedge."""
        algo = played.exchange.algo.waiting()
        if algo and not armed and played.exchange.account.position("BTCUSDT").amount < D("-4.4"):
            armed.append(algo[0].client_id)
            played.exchange.faults.arm(f"O1={fate}", played.exchange.now_ms)
        elif not armed:
            at(played, 1, arm)

    at(played, 60_000, arm)
    outcome = played.run()
    assert outcome.violation is None, "\n".join([str(outcome.violation), *outcome.trail])
    assert armed and outcome.fired["fault O1"] == 1
    assert outcome.fired["note in_doubt"] >= 1
    left = played.exchange.algo.waiting()
    assert sum(stop.quantity for stop in left) == D("4.5"), "they cover the short once"
    assert not [stop for stop in left if stop.client_id in armed], "the old one is gone"
    assert max(played.exchange.algo_posts.values()) == 1


# ---------------------------------------------------------------- the auditor sees what is broken


def test_the_auditor_sees_a_cancel_that_leaves_the_short_without_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamhedge.reactor import backstop
    from streamhedge.rules.backstop import CancelStep, PlaceStep
    from streamhedge.rules.backstop import next_step as right

    def old_first(wanted: object, resting: list[object], *, overlap_refused: bool) -> PlaceStep | CancelStep | None:
        return right(wanted, resting, overlap_refused=True)  # type: ignore[arg-type]

    monkeypatch.setattr(backstop, "next_step", old_first)
    found = [under_faults(seed).violation for seed in SAMPLE]
    assert "B" in [violation.invariant for violation in found if isinstance(violation, Violation)]


def test_the_auditor_sees_a_stop_that_is_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamhedge.world.hands import VirtualHands

    place = VirtualHands._place

    def twice(self: VirtualHands, command: object) -> None:
        place(self, command)  # type: ignore[arg-type]
        if type(command).__name__ == "PlaceStop":
            place(self, command)  # type: ignore[arg-type]

    monkeypatch.setattr(VirtualHands, "_place", twice)
    violation = under_faults(SAMPLE[0]).violation
    assert violation is not None and violation.invariant == "4"
