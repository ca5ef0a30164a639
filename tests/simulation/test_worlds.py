"""A sample of seeded worlds: under faults every invariant holds, and once healed the hedge comes back.

`streamhedge simulate --seeds 1..2000 --hours 6` looks further; a failing world it writes becomes a case here.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest

from streamhedge.world.happen import APPLY
from streamhedge.world.script import KINDS, Case, Happening, draw
from streamhedge.world.shrink import shrink
from streamhedge.world.world import Outcome
from tests.simulation.worlds import MINUTES_MS, run_case, run_seed
from tests.support.fault_table import WORLD_ROWS

CASES = Path(__file__).parent / "cases"
SAMPLE = (*range(1, 30), 71)
"""In the last one the ladder cuts."""


@functools.cache
def sampled(seed: int) -> Outcome:
    return run_seed(seed)


@pytest.mark.fault(*WORLD_ROWS)
@pytest.mark.parametrize("seed", SAMPLE)
def test_the_invariants_hold(seed: int) -> None:
    outcome = sampled(seed)
    said = "\n".join([f"seed {seed}: {outcome.violation}", *outcome.trail])
    assert outcome.violation is None, said


@pytest.mark.parametrize("path", sorted(CASES.glob("*.json")), ids=lambda path: path.stem)
def test_a_written_world_holds(path: Path) -> None:
    outcome = run_case(Case.of(json.loads(path.read_text())))
    assert outcome.violation is None, "\n".join([str(outcome.violation), *outcome.trail])


def test_the_same_seed_is_the_same_world() -> None:
    case = draw(4, 3 * MINUTES_MS)
    case.options.keep = True
    first, second = run_case(case), run_case(case)
    assert (first.events, first.virtual_ms, first.fired, first.trail) == (
        second.events,
        second.virtual_ms,
        second.fired,
        second.trail,
    )
    assert first.lines == second.lines
    assert first.lines, "this world keeps its recording"


def test_every_kind_of_happening_can_be_done() -> None:
    assert list(KINDS) == [kind for kind in KINDS if kind in APPLY]
    assert sorted(APPLY) == sorted(KINDS)


def test_a_world_reaches_what_it_is_about() -> None:
    """Each kind of happening, and each way an order can go, occurs somewhere in the sample."""
    reached: dict[str, int] = {}
    for seed in SAMPLE:
        for name, times in sampled(seed).fired.items():
            reached[name] = reached.get(name, 0) + times
    wanted = [
        *("PLANNED>FILLED", "PLANNED>IN_DOUBT", "PLANNED>REFUSED", "IN_DOUBT>FILLED", "IN_DOUBT>ABSENT"),
        *("hedge raises", "hedge reduces", "ladder reduces", "killed committed", "killed sent", "killed now"),
        *("restart with an order that may be alive", "answer that proves nothing", "note in_doubt", "note adopted"),
        *("book COLD>SYNCING", "book SYNCING>LIVE", "book LIVE>SUSPECT", "book SUSPECT>LIVE"),
        *("trading ACTIVE>HALTED", "trading HALTED>ACTIVE", "trading ACTIVE>REDUCING", "trading REDUCING>ACTIVE"),
        *("symbol OPEN>BLOCKED", "symbol BLOCKED>OPEN", "full audits"),
        *("fault O1", "fault O15", "fault S3", "fault U6", "fault U8", "fault A5", "fault order-lost"),
    ]
    assert [name for name in wanted if not reached.get(name)] == []
    assert [kind for kind in KINDS if not reached.get(f"happened {kind}")] == []


def test_a_case_survives_its_own_json() -> None:
    case = draw(11, 2 * MINUTES_MS)
    assert Case.of(json.loads(json.dumps(case.json()))) == case


def test_what_fails_shrinks_to_what_makes_it_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A float trade that is counted twice needs one float trade; the other happenings go."""
    from streamhedge.live.recovery import recovered
    from streamhedge.reactor import reactor

    honest = reactor.HANDLERS[reactor.FloatTradeRecorded]

    def twice(core: object, event: reactor.FloatTradeRecorded) -> None:
        honest(core, event)  # type: ignore[arg-type]
        if event.trade.kind.value == "sell":
            honest(core, event)  # type: ignore[arg-type]

    monkeypatch.setitem(reactor.HANDLERS, reactor.FloatTradeRecorded, twice)
    outcome = run_seed(5)
    assert outcome.violation is not None
    many = len(outcome.case.happenings)
    small = shrink(outcome, recovered)
    assert small.violation is not None and small.violation.invariant == outcome.violation.invariant
    assert "sell" in [happening.kind for happening in small.case.happenings]
    assert len(small.case.happenings) <= 2 < many


def test_a_world_without_happenings_is_quiet() -> None:
    case = draw(7, 10 * MINUTES_MS)
    case.happenings = [Happening(5_000, "buy", "0.5")]
    outcome = run_case(case)
    assert outcome.violation is None
    assert outcome.events < 4_000, "quiet time is jumped"
