"""Audits that go on finding another position: adopted three times in ten minutes, then the symbol is blocked."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.commands import PlaceOrder
from streamhedge.domain.events import BookStatusChanged, Tick
from streamhedge.domain.values import NS_PER_MS, exact
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
MINUTE_MS = 60_000


@pytest.mark.fault("U15")
@pytest.mark.parametrize(("apart_ms", "blocked"), [(10_000, True), (4 * MINUTE_MS, False)], ids=["often", "rarely"])
def test_a_book_that_must_be_corrected_a_fourth_time_blocks_the_symbol(apart_ms: int, blocked: bool) -> None:
    machine = make.reactor()
    start = [
        make.setup(),
        make.mark("67121.4"),
        make.snapshot("-10", entry="67121.4"),
        make.float_trade("10"),
        make.live(),
    ]
    sent: list[PlaceOrder] = []

    def react(event: object, at_ms: int) -> None:
        with exact():
            reaction = machine.react(machine.state.seq + 1, (make.T0_MS + at_ms) * NS_PER_MS, [event])  # type: ignore[list-item]
        sent.extend(command for command in reaction.commands if isinstance(command, PlaceOrder))

    for event in start:
        react(event, 0)
    memory = machine.core.memory_of(make.BTCUSDT)
    for number in range(4):
        assert memory.block is None, number
        theirs = ("-10.001", "-10.000")[number % 2]  # inside the band: no order meddles
        for again_ms in (0, 1_500):
            at_ms = (number + 1) * apart_ms + again_ms
            react(make.snapshot(theirs, entry="67121.4", audit=True, at_ms=make.T0_MS + at_ms), at_ms)
        assert str(machine.state.book.quantity(make.BTCUSDT)) == theirs, "two audits that agree are believed"
    assert machine.state.meter.adoptions == 4
    assert (memory.block is not None) == blocked
    if blocked:
        assert memory.block is not None and memory.block.cause == "audit" and memory.block.until_ns is not None
        sent.clear()
        react(make.mark("67121.5"), 4 * apart_ms + 2_000)
        react(make.float_trade("1", trade_id="ft-2"), 4 * apart_ms + 2_001)
        assert sent == []


@pytest.mark.parametrize("really", ["-10", "0"])
def test_a_row_that_is_gone_after_a_reconnect_is_believed_only_twice(really: str) -> None:
    desk = Desk()
    desk.take(BookStatusChanged(status="SUSPECT", reason="the private stream closed"), after_ms=10)
    gone = make.snapshot("-10", entry="67121.4", wallet="400000", at_ms=desk.now_ms)
    desk.take(replace(gone, positions=(), audit=False), after_ms=10)
    desk.take(make.live(), after_ms=5)
    for _ in range(5):
        assert desk.mark(after_ms=100) == [], "one answer that lacks a row sells the hedge again"
    after = make.snapshot(really, entry="67121.4", wallet="400000", at_ms=desk.now_ms + 600)
    rows = after.positions if really != "0" else ()
    sent = []
    for _ in range(4):
        now = replace(after, positions=rows, audit=True, requested_ns=desk.now_ms * 1_000_000 + 500_000_000)
        sent += desk.sent(now, after_ms=1_100)
        sent += desk.mark(after_ms=100)
    assert desk.state.book.quantity(make.BTCUSDT) == D(really)
    assert bool(sent) is (really == "0"), "what is really gone is hedged again, once it is sure"


@pytest.mark.parametrize(("previous_epoch", "waits"), [(3, True), (0, False), (None, False)])
def test_a_first_snapshot_without_the_row_is_believed_at_once_only_where_no_run_was_before(
    previous_epoch: int | None, waits: bool
) -> None:
    machine = make.reactor()
    machine.state.previous_epoch = previous_epoch
    sent: list[PlaceOrder] = []

    def react(event: object, at_ms: int) -> None:
        with exact():
            now_ns = (make.T0_MS + at_ms) * NS_PER_MS
            reaction = machine.react(machine.state.seq + 1, now_ns, [event])  # type: ignore[list-item]
        sent.extend(command for command in reaction.commands if isinstance(command, PlaceOrder))

    empty = make.snapshot()
    for event in (make.setup(), make.mark("67121.4"), empty, make.float_trade("10"), make.live()):
        react(event, 0)
    assert bool(sent) is not waits
    react(replace(empty, requested_ns=(make.T0_MS + 1_100) * NS_PER_MS, audit=True), 1_150)
    react(make.mark("67121.4", make.T0_MS + 1_200), 1_200)
    assert sent, "what is really flat is hedged a second later"


def test_a_first_snapshot_is_the_first_however_often_one_was_asked_in_vain() -> None:
    """Recovery doubts the position and asks; the venue is away; its first answer lacks the row."""
    machine = make.reactor()
    machine.state.previous_epoch = 3
    machine.core.memory_of(make.BTCUSDT).distrust(make.T0_MS * NS_PER_MS)
    sent: list[PlaceOrder] = []

    def react(event: object, at_ms: int) -> None:
        with exact():
            now_ns = (make.T0_MS + at_ms) * NS_PER_MS
            reaction = machine.react(machine.state.seq + 1, now_ns, [event])  # type: ignore[list-item]
        sent.extend(command for command in reaction.commands if isinstance(command, PlaceOrder))

    asked_in_vain = (Tick(), Tick(), Tick())
    for number, event in enumerate(asked_in_vain):
        react(event, 2_000 * number)
    empty = make.snapshot(at_ms=make.T0_MS + 5_000)
    for event in (make.setup(), make.mark("67121.4", make.T0_MS + 5_000), empty, make.float_trade("10"), make.live()):
        react(event, 5_000)
    assert sent == []
    react(make.snapshot("-10", entry="67121.4", at_ms=make.T0_MS + 6_100, audit=True), 6_150)
    react(make.mark("67121.4", make.T0_MS + 6_200), 6_200)
    assert sent == [], "the hedge was there all the time"
