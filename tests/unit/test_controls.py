"""Controls that watch the program itself (FAULTS §5): the error budget, the slow beginning, and what nobody decided."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.commands import Persist, PlaceOrder
from streamhedge.domain.events import (
    BookStatusChanged,
    CallFailed,
    ConfigReloaded,
    OperatorVerb,
    OrderOutcome,
    OutcomeKind,
    Owner,
    Quarantined,
    VerbKind,
)
from streamhedge.domain.order import Report, Side
from streamhedge.domain.values import NS_PER_SECOND, ClientOrderId, Symbol
from streamhedge.reactor.state import trading_state
from streamhedge.rules.view import TradingState
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
NEVER_MADE = ClientOrderId("sh-7f3a91c2-1-000999")
STRANGE = Quarantined(source="private", reason="no object", head="[", private=False)
LARGEST = {
    "hedges": (make.hedge_params(max_order_quantity=D(4)),),
    "limits": make.limits(max_order_notional=D(250_000)),
}
"""Of 67 121.4 each, 250 000 holds 3.724: a quarter of that is 0.931."""


def verb(kind: VerbKind) -> OperatorVerb:
    return OperatorVerb(kind=kind, symbol=None, reason="test", uid=0)


def lifted(desk: Desk) -> Desk:
    """Halt, want five more bitcoin short, and lift the halt."""
    desk.take(verb(VerbKind.HALT))
    assert desk.float("+5") == []
    desk.take(verb(VerbKind.RESUME), after_ms=10)
    return desk


# ---------------------------------------------------------------- R14


def test_too_many_errors_in_a_minute_reduce_until_a_minute_has_fewer() -> None:
    desk = Desk(limits=make.limits(max_intents_per_symbol_per_minute=3))
    for _ in range(3):
        desk.take(STRANGE, after_ms=1_000)
    assert trading_state(desk.state) is TradingState.ACTIVE
    desk.take(CallFailed("snapshot", 500, -1001, "disconnected", None), after_ms=1_000)
    assert trading_state(desk.state) is TradingState.REDUCING
    assert desk.state.meter.triggers["R14"] == 1
    assert "more than 3 errors in a minute" in desk.said("errors")[0]
    desk.take(STRANGE, after_ms=1_000)
    assert desk.state.meter.triggers["R14"] == 1, "once an episode"
    desk.mark(after_ms=55_900)
    assert trading_state(desk.state) is TradingState.REDUCING
    desk.mark(after_ms=2_000)
    assert trading_state(desk.state) is TradingState.ACTIVE


def test_refusals_doubts_and_a_lost_book_are_errors() -> None:
    desk = Desk()
    assert desk.float("+1")
    desk.refuse(-2019)
    desk.take(BookStatusChanged(status="SUSPECT", reason="test"), after_ms=10)
    assert len(desk.state.meter.error_times_ns) == 2
    desk.take(BookStatusChanged(status="SYNCING", reason="test"), after_ms=10)
    assert len(desk.state.meter.error_times_ns) == 2, "one loss is one error"


# ---------------------------------------------------------------- R15


def test_after_a_halt_the_first_raise_is_a_quarter_and_the_next_wait_a_second() -> None:
    desk = lifted(Desk(**LARGEST))
    first = desk.order
    assert first.quantity == D("0.931")
    assert desk.fill(first, trade_id=1) == [], "one a second"
    assert desk.memory.hold == "ramp" and desk.state.meter.triggers["R15"] == 1
    assert desk.memory.blocked is not None and desk.memory.blocked.cause == "ramp"
    assert desk.mark(after_ms=800) == []
    (second,) = desk.mark(after_ms=300)
    assert second.quantity > D("0.931"), "only the first is so small"
    desk.fill(desk.order, trade_id=2)
    (third,) = desk.mark(after_ms=9_000)
    assert desk.fill(desk.order, trade_id=3) == []
    assert third.quantity + second.quantity + first.quantity == D("5")


def test_reducing_does_not_wait_for_the_ramp() -> None:
    desk = lifted(Desk(**LARGEST))
    desk.fill(desk.order, trade_id=1)
    (sale,) = desk.float("-12")
    assert (sale.side, sale.reduce_only) == (Side.BUY, True)
    assert sale.quantity > D("0.931")


def test_the_ramp_ends_after_ten_seconds_and_no_halt_means_none() -> None:
    desk = Desk(**LARGEST)
    desk.take(verb(VerbKind.REDUCE))
    desk.take(verb(VerbKind.RESUME), after_ms=10)
    (free,) = desk.float("+5")
    assert free.quantity == D("2.5")
    late = Desk(**LARGEST)
    late.take(verb(VerbKind.HALT))
    late.take(verb(VerbKind.RESUME), after_ms=10)
    late.mark(after_ms=10_000)
    (order,) = late.float("+5")
    assert order.quantity == D("2.5")


def ramp_rows(desk: Desk) -> list[dict[str, object]]:
    return [dict(c.fields) for c in desk.commands if isinstance(c, Persist) and (c.table, c.key) == ("state", "ramp")]


def test_the_ledger_knows_of_a_ramp_that_runs_and_of_one_that_is_due() -> None:
    desk = Desk(**LARGEST)
    desk.take(verb(VerbKind.RESUME))
    assert ramp_rows(desk)[-1] == {"until_ns": 0, "due": False}, "nothing was halted, so nothing begins slowly"
    lifted(desk)
    until_ns = desk.state.ramp_until_ns
    assert until_ns and ramp_rows(desk)[-1] == {"until_ns": until_ns, "due": False}
    for _ in range(2):
        desk.take(CallFailed("listen_key", 503, -1016, "no longer available", None), after_ms=10)
    assert ramp_rows(desk)[-1] == {"until_ns": until_ns, "due": True}
    assert sum(bool(row["due"]) for row in ramp_rows(desk)) == 3, "said once by the maintenance, once by each resume"


@pytest.mark.fault("M3")
def test_maintenance_ends_with_a_ramp() -> None:
    desk = Desk(**LARGEST)
    desk.take(BookStatusChanged(status="SYNCING", reason="sockets closed"))
    desk.take(CallFailed("listen_key", 503, -1016, "no longer available", None), after_ms=10)
    desk.take(make.float_trade("+5", trade_id="ft-1"), after_ms=10)
    snapshot = make.snapshot("-10", entry="67121.4", at_ms=desk.now_ms, requested_ns=(desk.now_ms + 1) * 1_000_000)
    desk.take(snapshot, after_ms=10)
    desk.take(make.mark("67121.4", desk.now_ms), make.live())
    assert desk.order.quantity == D("0.931")
    assert desk.state.ramp_until_ns == desk.now_ms * 1_000_000 + 10 * NS_PER_SECOND
    assert not desk.state.maintained


# ---------------------------------------------------------------- R12, R13, R17


def test_an_order_of_this_run_that_was_never_decided_halts() -> None:
    fill = replace(make.foreign_fill(Side.SELL, "1"), owner=Owner.OURS, client_order_id=NEVER_MADE)
    reply = OrderOutcome(NEVER_MADE, OutcomeKind.ACCEPTED, Report.FILLED, 200, 0, "", D(1), 100, None, "")
    for event in (fill, reply):
        desk = Desk()
        desk.take(event, after_ms=5)
        assert "this run never decided it" in (desk.state.halted or "")
        assert desk.state.meter.triggers["R12"] == 1


def test_an_order_that_filled_more_than_was_asked_halts() -> None:
    desk = Desk()
    assert desk.float("+1")
    desk.take(make.execution_report(desk.order, last="1.5", cumulative="1.5", at_ms=desk.now_ms + 2), after_ms=2)
    assert "filled 1.5 of 1" in (desk.state.halted or "")


def test_orders_carry_the_policy_that_was_in_force() -> None:
    desk = Desk()
    assert desk.float("+1")
    before = desk.order.policy_hash
    assert len(before) == 16 and before == desk.machine.core.policy_hash
    desk.fill(desk.order, trade_id=1)
    desk.take(ConfigReloaded(bands={Symbol("BTCUSDT"): D(200)}, naked_alert_after_ms={}, limits={}, uid=0))
    assert desk.float("+1")
    assert desk.order.policy_hash not in ("", before)
    assert desk.state.meter.triggers["R17"] == 2


def test_a_refusal_of_the_gate_is_counted_once_while_it_stands() -> None:
    desk = Desk(limits=make.limits(max_turnover_per_day=D(1)))
    assert not [c for c in desk.commands if isinstance(c, PlaceOrder)]
    desk.float("+1")
    desk.mark()
    desk.mark()
    assert desk.state.meter.triggers["R8"] == 1
