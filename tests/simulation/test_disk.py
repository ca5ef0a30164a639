"""The virtual disk keeps the real one's promises: the same recovery from both, and a power loss forgets only the unsynced."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import Persist
from streamhedge.domain.events import FloatTrade, FloatTradeKind
from streamhedge.domain.order import Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from streamhedge.domain.values import Asset, ClientOrderId, TradeId
from streamhedge.errors import LedgerUnwritable
from streamhedge.live.recovery import recovered
from streamhedge.reactor.state import State
from streamhedge.store.ledger import Ledger
from streamhedge.world.disk import VirtualLedger
from streamhedge.world.script import draw, without
from streamhedge.world.world import World
from tests.simulation.worlds import MINUTES_MS
from tests.support.builders import BTCUSDT

D = Decimal


class Tee(VirtualLedger):
    """A virtual ledger that writes everything into a real one as well."""

    def __init__(self, real: Ledger, virtual: VirtualLedger) -> None:
        super().__init__(virtual.instance, virtual._committed)
        self.gate = virtual.gate
        self.real = real
        real.instance = virtual.instance

    def open_epoch(self, *, started_ms: int, boot_id: str) -> int:
        number = super().open_epoch(started_ms=started_ms, boot_id=boot_id)
        assert self.real.open_epoch(started_ms=started_ms, boot_id=boot_id, version="test") == number
        return number

    def record_float_trade(self, trade: FloatTrade) -> bool:
        new = super().record_float_trade(trade)
        assert self.real.record_float_trade(trade) == new
        return new

    def set_state(self, key: str, fields: dict[str, object]) -> None:
        super().set_state(key, fields)
        self.real.set_state(key, fields)

    def commit_intent(self, order: Order) -> None:
        super().commit_intent(order)
        self.real.commit_intent(order)

    def persist(self, row: Persist) -> None:
        super().persist(row)
        self.real.persist(row)


@pytest.mark.parametrize("seed", [3, 17, 31])
def test_recovery_from_the_virtual_ledger_is_recovery_from_the_real_one(seed: int, tmp_path: Path) -> None:
    starts = []

    def recover(ledger: Any, params: Any, **said: Any) -> State:
        state = recovered(ledger, params, **said)
        assert to_plain(state) == to_plain(recovered(ledger.real, params, **said))
        starts.append(len(state.open_ids))
        return state

    case = draw(seed, 3 * MINUTES_MS)
    case.happenings.append(case.happenings[0])
    world = World(without(case, ("power", "ledger-fails")), recover)
    for number in range(1, 8):
        world.schedule.after(number * 20_000_000_000, lambda: world.kill("now"))
    world.down_ms = 500
    real = Ledger(tmp_path / "state" / "ledger.sqlite")
    try:
        world.ledger = Tee(real, world.ledger)
        assert world.run().violation is None
    finally:
        real.close()
    assert len(starts) >= 8


def order(number: int) -> Order:
    return Order(
        client_order_id=ClientOrderId(f"sh-0f0f0f0f-1-{number:06d}"),
        symbol=BTCUSDT,
        side=Side.SELL,
        quantity=D(1),
        type=OrderType.LIMIT,
        price=D(66_000),
        time_in_force=TimeInForce.IOC,
        reduce_only=False,
        purpose=Purpose.HEDGE,
        decided_seq=number,
        decided_ns=number,
        target=D(-1),
        position_before=D(0),
        decision_mark=D(67_000),
        reason="a test",
    )


def trade(name: str) -> FloatTrade:
    return FloatTrade(TradeId(name), Asset("BTC"), FloatTradeKind.BUY, D(1), D(0), D(0), 1, "a test")


def test_a_power_loss_forgets_what_came_after_the_last_durable_write() -> None:
    ledger = VirtualLedger("0f0f0f0f", lambda order: None)
    ledger.open_epoch(started_ms=1, boot_id="a")
    ledger.commit_intent(order(1))
    ledger.record_float_trade(trade("one"))
    ledger.commit_intent(order(2))
    ledger.lose_power()
    assert [row.client_order_id for row in ledger.intents()] == ["sh-0f0f0f0f-1-000001"]
    assert [row.trade_id for row in ledger.float_trades()] == ["one"]
    assert ledger.lost_ids == ["sh-0f0f0f0f-1-000002"]


def test_a_refused_write_has_written_nothing() -> None:
    ledger = VirtualLedger("0f0f0f0f", lambda order: None)
    ledger.fail(2)
    with pytest.raises(LedgerUnwritable):
        ledger.commit_intent(order(1))
    with pytest.raises(LedgerUnwritable):
        ledger.record_float_trade(trade("one"))
    assert (ledger.intents(), ledger.float_trades()) == ([], [])
    ledger.commit_intent(order(1))
    assert ledger.open_orders()[0].status is OrderStatus.PLANNED
