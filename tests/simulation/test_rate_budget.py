"""The rate budget in whole worlds: bans are sat out in silence, other users of the limits are left room, and we earn none."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from streamhedge.domain.events import FloatTradeKind
from streamhedge.live.recovery import recovered
from streamhedge.sim.access import Limits
from streamhedge.world.schedule import MS
from streamhedge.world.script import Case, Happening, draw
from streamhedge.world.world import World

S_MS = 1_000
MINUTE_MS = 60_000


def world(*happenings: Happening, minutes: int = 4) -> World:
    case = draw(4, minutes * MINUTE_MS)
    options = case.options
    options.mark_every_ms = 1_000
    options.initial, options.ratio, options.latency_ms = "2", "1", (2, 4)
    return World(Case(options, list(happenings)), recovered)


def at(played: World, at_ms: int, action: Callable[[], None]) -> None:
    played.schedule.at(played.schedule.now_ns + at_ms * MS, action)


def asked(played: World) -> int:
    """Return how many requests have reached the venue."""
    return sum(played.exchange.calls.values()) + sum(played.exchange.ws_calls.values())


def ban(played: World, seconds: int) -> None:
    played.exchange.limits.banned_until_ms = played.schedule.now_ms + seconds * S_MS


@pytest.mark.parametrize("killed", [False, True], ids=["one run", "killed inside the ban"])
@pytest.mark.fault("O13")
def test_a_ban_is_sat_out_without_a_single_request_and_said_out_loud(killed: bool) -> None:
    happenings = [Happening(40_000, "buy", "1"), Happening(60_000, "S3", "ws_api"), Happening(70_000, "U2", "event")]
    if killed:
        happenings.append(Happening(80_000, "kill", "now 2000"))
    played = world(*happenings)
    counts: list[int] = []
    at(played, 30_000, lambda: ban(played, 100))
    at(played, 50_000, lambda: counts.append(asked(played)))
    at(played, 129_000, lambda: counts.append(asked(played)))
    outcome = played.run()
    assert outcome.violation is None, outcome.trail[-20:]
    assert counts[0] == counts[1], "the first answer was enough"
    assert outcome.fired["note banned"] >= 1
    assert played.exchange.limits.refused == Limits().refused, "nobody probed"
    decided = [order.decided_ns // MS - played.exchange.start_ms for order in played.ledger.intents()]
    since = [at_ms for at_ms in decided if at_ms > 30_000]
    assert since and min(since) > 130_000, "hedged once it was over, and not before"


def test_others_on_the_account_leave_raising_no_room_and_reducing_some() -> None:
    played = world(
        Happening(31_000, "buy", "0.4"), Happening(34_000, "sell", "1"), Happening(35_000, "buy", "0.7"), minutes=2
    )
    limits = played.exchange.limits

    def others() -> None:
        if played.schedule.now_ms < played.exchange.start_ms + 60_000:
            limits.orders.extend([played.schedule.now_ms] * max(0, 250 - limits.recent(played.schedule.now_ms)))
            at(played, 100, others)

    at(played, 20_000, others)
    at(played, 25_000, lambda: played.book(FloatTradeKind.SELL, Decimal("-0.1")))  # its answer brings the counts home
    outcome = played.run()
    assert outcome.violation is None, outcome.trail[-20:]
    assert not limits.refused
    orders = [(o.reduce_only, (o.decided_ns // MS - played.exchange.start_ms) / 1_000) for o in played.ledger.intents()]
    inside = [(reduces, when) for reduces, when in orders if 31 < when < 44]
    assert inside and all(reduces for reduces, _ in inside), orders
    assert any(not reduces and when > 44 for reduces, when in orders), "once the count is too old to hold us"


@pytest.mark.fault("O12")
def test_others_on_the_address_hold_our_own_questions_back_and_nobody_is_refused() -> None:
    played = world(minutes=3)
    limits = played.exchange.limits
    used: list[int] = []

    def others() -> None:
        if played.schedule.now_ms < played.exchange.start_ms + 120_000:
            limits.weights.append((played.schedule.now_ms, max(0, 1_930 - limits.weight)))
            used.append(limits.weight)
            at(played, 500, others)

    played.auditor.weight_used = lambda: None  # type: ignore[method-assign]  # that rule is for an address of our own
    at(played, 20_000, others)
    outcome = played.run()
    assert outcome.violation is None, outcome.trail[-20:]
    assert not limits.refused and max(used) < 1_990
