"""Fills that move the position by another amount than they say must stop the symbol (HEDGING 8 a), whichever way."""

from __future__ import annotations

from decimal import Decimal

import pytest

from streamhedge.domain.commands import PlaceOrder
from streamhedge.domain.events import Event, Tick
from streamhedge.domain.values import NS_PER_MS, exact
from tests.support import builders as make

D = Decimal


@pytest.mark.parametrize("scale", [D(0), D(-1), D(2)])
@pytest.mark.fault("K3", "O20")
def test_fills_that_move_the_position_by_another_factor_stop_after_few_orders(scale: Decimal) -> None:
    machine = make.reactor()
    now_ms, seq, sent = make.T0_MS, 0, 0

    def take(event: Event, after_ms: int = 1) -> None:
        nonlocal now_ms, seq, sent
        now_ms += after_ms
        seq += 1
        with exact():
            reaction = machine.react(seq, now_ms * NS_PER_MS, [event])
        sent += sum(isinstance(command, PlaceOrder) for command in reaction.commands)

    take(make.setup())
    take(make.mark("67121.4", now_ms))
    take(make.snapshot("-10", entry="67121.4", at_ms=now_ms))
    take(make.float_trade("11"))
    take(make.live())
    truth, at_ms = D(-10), now_ms
    for turn in range(60):
        if machine.state.open_ids:
            order = make.oldest_open(machine)
            truth, at_ms = truth + scale * order.side.sign * order.quantity, now_ms
            take(make.account_update(str(truth), at_ms=at_ms, wallet=str(400_000 - turn)))
            take(make.execution_report(order, last=str(order.quantity), trade_id=turn + 1, at_ms=at_ms))
        take(make.mark("67121.4", now_ms), after_ms=1_100)
        take(Tick(), after_ms=100)
        asked_ns = now_ms * NS_PER_MS
        take(make.snapshot(str(truth), entry="67121.4", at_ms=at_ms, requested_ns=asked_ns, audit=True))
    assert machine.core.memory_of(make.BTCUSDT).block is not None, f"{sent} orders, no end, position {truth}"
    assert sent <= 2
