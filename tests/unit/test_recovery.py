"""What a run finds of the one before it: every latch as it was left, orders in doubt, and caution after a reboot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import Persist
from streamhedge.domain.events import VerbKind
from streamhedge.domain.order import OrderStatus, Side
from streamhedge.domain.stop import Stop, StopStatus
from streamhedge.domain.values import NS_PER_MS, ClientOrderId, exact
from streamhedge.live.recovery import DAY_NS, boot_id, recovered
from streamhedge.reactor.orders import QUARANTINE_EXTRA_NS
from streamhedge.reactor.reactor import Reactor, latches
from streamhedge.reactor.state import Heard, State, SymbolMemory, symbol_state, trading_state
from streamhedge.rules.view import LadderStep, SymbolState, TradingState
from streamhedge.store.ledger import Ledger
from tests.support import builders as make
from tests.unit.test_ledger import order

D = Decimal
NOW_NS = make.T0_MS * NS_PER_MS


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    tmp_path.chmod(0o700)
    found = Ledger(tmp_path / "ledger.sqlite")
    yield found
    found.close()


def begin(ledger: Ledger, *, boot: str = "boot-1", now_ns: int = NOW_NS, shadow: bool = False) -> State:
    return recovered(ledger, make.policy(), epoch=2, now_ns=now_ns, boot=boot, shadow=shadow)


def memory(state: State) -> SymbolMemory:
    return state.memory[make.BTCUSDT]


def test_stops_come_back_as_the_venue_may_have_them(ledger: Ledger) -> None:
    stop = Stop(
        client_order_id=ClientOrderId("sh-7f3a91c2-1-000002"),
        symbol=make.BTCUSDT,
        side=Side.BUY,
        quantity=D(10),
        trigger_price=D("96802.8"),
        decided_ns=1,
        status=StopStatus.RESTING,
        resting_ns=5,
    )
    ledger.commit_stop(stop)
    ledger.commit_stop(replace(stop, client_order_id=ClientOrderId("sh-7f3a91c2-1-000003"), status=StopStatus.PLANNED))
    ledger.commit_stop(replace(stop, client_order_id=ClientOrderId("sh-7f3a91c2-1-000004"), status=StopStatus.ENDED))
    found = {name: (stop.status, stop.resting_ns) for name, stop in begin(ledger).stops.items()}
    assert found == {
        "sh-7f3a91c2-1-000002": (StopStatus.RESTING, 0),
        "sh-7f3a91c2-1-000003": (StopStatus.IN_DOUBT, 0),
    }, "nothing of it was heard by this run"


def test_a_first_run_finds_nothing(ledger: Ledger) -> None:
    state = begin(ledger, shadow=True)
    assert trading_state(state) is TradingState.ACTIVE and symbol_state(memory(state)) is SymbolState.OPEN
    assert (state.quarantine_until_ns, state.open_ids, state.shadow) == (0, [], True)


def test_a_silence_the_venue_asked_for_and_the_number_of_the_last_gap_come_back(ledger: Ledger) -> None:
    ledger.persist(Persist("state", "silence", {"until_ns": NOW_NS + 9, "banned": True}))
    ledger.persist(Persist("gap", "7", {"opened_ns": 1, "closed_ns": None}))
    ledger.persist(Persist("fill", "BTCUSDT:1", {"time_ms": 123}))
    ledger.persist(Persist("of_no_event", "1", {"amount": "5"}))
    state = begin(ledger)
    assert (state.silent_until_ns, state.banned, state.gaps) == (NOW_NS + 9, True, 7)
    assert state.heard == Heard(event="fill", event_time_ms=123, recv_ns=None)


@pytest.mark.fault("K7")
def test_a_ramp_outlives_the_run_that_began_it_or_was_to(ledger: Ledger) -> None:
    running = {"until_ns": NOW_NS + 4_000 * NS_PER_MS, "due": False}
    ledger.persist(Persist("state", "ramp", running))
    assert (begin(ledger).ramp_until_ns, begin(ledger).maintained) == (running["until_ns"], False)
    earlier = begin(ledger, now_ns=NOW_NS - 3_600_000 * NS_PER_MS)
    assert earlier.ramp_until_ns == NOW_NS - 3_590_000 * NS_PER_MS, "a clock that was set back makes it no longer"
    for key, fields in latches(VerbKind.RESUME, None, [], "uid 0: cause found").items():
        ledger.set_state(key, fields)
    assert begin(ledger).maintained, "the run ended before it could begin it"


def test_every_latch_comes_back_with_its_reason(ledger: Ledger) -> None:
    ledger.set_state("halted", {"reason": "disk"})
    ledger.set_state("reduce", {"reason": "look"})
    ledger.set_state("reduce:BTCUSDT", {"reason": "one symbol"})
    ledger.set_state("flatten:BTCUSDT", {"reason": "out"})
    ledger.set_state("block:BTCUSDT", {"cause": "effectiveness", "reason": "no effect"})
    ledger.set_state("venue_close:BTCUSDT", {"reason": "ADL", "until_ns": NOW_NS + 5})
    state = begin(ledger)
    assert state.halted == "disk" and state.reducing == {"operator": "look"}
    found = memory(state)
    assert (found.reduce_only, found.reduce_only_until_ns, found.flatten) == ("one symbol", None, "out")
    assert found.block is not None and found.block.latched and found.block.cause == "effectiveness"
    assert (found.venue_closed, found.reopen_at_ns) == ("ADL", NOW_NS + 5)


def test_a_block_that_was_not_latched_leaves_the_ladder_on(ledger: Ledger) -> None:
    ledger.set_state("block:BTCUSDT", {"cause": "external", "reason": "a person", "latched": False})
    found = memory(begin(ledger))
    assert found.block is not None and not found.block.latched


@pytest.mark.fault("O20", "P1")
def test_the_intents_of_the_last_minute_count_over_a_restart(ledger: Ledger) -> None:
    for number, ago_s in enumerate((61, 59, 1, -5)):
        name = ClientOrderId(f"sh-7f3a91c2-1-{number:06d}")
        ledger.commit_intent(replace(order(), client_order_id=name, decided_ns=NOW_NS - ago_s * 10**9))
    state = begin(ledger)
    counted = [NOW_NS - 59 * 10**9, NOW_NS - 10**9, NOW_NS]
    assert memory(state).intent_times_ns == state.meter.order_times_ns == counted, "a clock set back makes none longer"


def test_a_latch_that_was_lifted_stays_lifted(ledger: Ledger) -> None:
    for key in ("halted", "reduce", "reduce:BTCUSDT", "flatten:BTCUSDT", "block:BTCUSDT", "venue_close:BTCUSDT"):
        ledger.set_state(key, {"cause": "x", "reason": "before"})
        ledger.set_state(key, {"cause": None, "reason": None})
    state = begin(ledger)
    assert trading_state(state) is TradingState.ACTIVE
    found = memory(state)
    assert (found.block, found.reduce_only, found.flatten, found.reopen_at_ns) == (None, "", "", None)


def test_a_cut_that_had_begun_goes_on(ledger: Ledger) -> None:
    ledger.set_state("pace:BTCUSDT", {"paced": True, "cutting": "reduce", "cut_to": "7.5"})
    found = memory(begin(ledger))
    assert (found.paced, found.cutting, found.cut_to) == (True, LadderStep.REDUCE, D("7.5"))
    assert found.last_paced_ns == NOW_NS, "the cooldown begins anew"
    ledger.set_state("pace:BTCUSDT", {"paced": True, "cutting": None, "cut_to": "7.5"})
    found = memory(begin(ledger))
    assert (found.paced, found.cutting) == (True, None)


def test_the_days_counts_go_on_and_end_with_the_day(ledger: Ledger) -> None:
    ledger.set_state("day", {"day": NOW_NS // DAY_NS, "turnover": "123.5", "hedge_cost": "7"})
    meter = begin(ledger).meter
    assert (meter.turnover, meter.hedge_cost) == (D("123.5"), D(7))
    meter = begin(ledger, now_ns=NOW_NS + DAY_NS).meter
    assert (meter.turnover, meter.hedge_cost) == (D(0), D(0))


@pytest.mark.fault("P1")
def test_an_order_whose_end_nobody_learnt_is_in_doubt_and_may_be_anything(ledger: Ledger) -> None:
    machine = Reactor(State(instance=ledger.instance, epoch=1), make.policy())
    with exact():
        for number, event in enumerate((make.setup(), make.mark("67121.4"), make.snapshot("-10"), make.live())):
            machine.react(number + 1, NOW_NS, [event])
        machine.react(9, NOW_NS, [make.float_trade("11")])
    (order,) = machine.state.orders.values()
    ledger.open_epoch(started_ms=make.T0_MS, boot_id="boot-1", version="1")
    ledger.commit_intent(order)
    state = begin(ledger)
    assert [state.orders[name].status for name in state.open_ids] == [OrderStatus.IN_DOUBT]
    assert state.open_ids == state.uncovered == [order.client_order_id]


@pytest.mark.parametrize("status", [OrderStatus.ABSENT, OrderStatus.REFUSED])
def test_an_order_that_ended_without_a_trace_is_known_should_it_fill_after_all(
    ledger: Ledger, status: OrderStatus
) -> None:
    machine = Reactor(State(instance=ledger.instance, epoch=1), make.policy())
    with exact():
        for number, event in enumerate((make.setup(), make.mark("67121.4"), make.snapshot("-10"), make.live())):
            machine.react(number + 1, NOW_NS, [event])
        machine.react(9, NOW_NS, [make.float_trade("11")])
    (order,) = machine.state.orders.values()
    ledger.open_epoch(started_ms=make.T0_MS, boot_id="boot-1", version="1")
    ledger.commit_intent(order)
    ledger.persist(Persist("order", order.client_order_id, to_plain(replace(order, status=status))))
    state = begin(ledger, now_ns=NOW_NS + 60_000 * NS_PER_MS)
    assert (list(state.orders), state.open_ids, state.uncovered) == ([order.client_order_id], [], [])
    again = Reactor(state, make.policy())
    ghost = make.execution_report(order, last=str(order.quantity), trade_id=5, at_ms=make.T0_MS + 61_000)
    with exact():
        reaction = again.react(1, NOW_NS + 61_000 * NS_PER_MS, [ghost])
    assert state.orders[order.client_order_id].filled == order.quantity and state.meter.ghosts == 1
    assert ("order", order.client_order_id) in [
        (command.table, command.key) for command in reaction.commands if isinstance(command, Persist)
    ], "and the ledger learns it"
    assert begin(ledger, now_ns=NOW_NS + 3_600_000 * NS_PER_MS).orders == {}, "an hour later nothing can come of it"


WAITS_NS = make.policy().limits.recv_window_ms * NS_PER_MS + QUARANTINE_EXTRA_NS


@pytest.mark.fault("P1")
def test_after_a_reboot_nothing_is_raised_until_a_lost_request_is_dead(ledger: Ledger) -> None:
    """However long the visible rows have been silent: the one that was lost may be of the last moment."""
    ledger.open_epoch(started_ms=make.T0_MS - 3_600_000, boot_id="boot-1", version="1")
    assert begin(ledger, boot="boot-1").quarantine_until_ns == 0, "no boot came between"
    ledger.open_epoch(started_ms=make.T0_MS, boot_id="boot-2", version="1")
    state = begin(ledger, boot="boot-2")
    assert state.quarantine_until_ns == NOW_NS + WAITS_NS
    assert memory(state).confirm_after_ns == NOW_NS + WAITS_NS, "and the position counts from a snapshot after it"


def test_a_second_start_after_the_reboot_waits_for_the_rest(ledger: Ledger) -> None:
    ledger.open_epoch(started_ms=make.T0_MS - 10_000, boot_id="boot-1", version="1")
    ledger.open_epoch(started_ms=make.T0_MS, boot_id="boot-2", version="1")
    ledger.open_epoch(started_ms=make.T0_MS + 1_000, boot_id="boot-2", version="1")
    again = begin(ledger, boot="boot-2", now_ns=NOW_NS + 1_000 * NS_PER_MS)
    assert again.quarantine_until_ns == NOW_NS + NS_PER_MS + WAITS_NS
    later = begin(ledger, boot="boot-2", now_ns=NOW_NS + NS_PER_MS + WAITS_NS)
    assert later.quarantine_until_ns == 0


def test_a_run_that_noted_its_end_lost_nothing(ledger: Ledger) -> None:
    ledger.open_epoch(started_ms=make.T0_MS - 10_000, boot_id="boot-1", version="1")
    ledger.end_epoch("stopped")
    ledger.open_epoch(started_ms=make.T0_MS, boot_id="boot-2", version="1")
    assert begin(ledger, boot="boot-2").quarantine_until_ns == 0


def test_a_boot_has_one_name() -> None:
    assert boot_id() and boot_id() == boot_id()
