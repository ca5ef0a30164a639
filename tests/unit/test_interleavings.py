"""Every order of the few messages around one hedge order, against a venue that knows the truth.

A SELL of 1 BTC is under way from -10 to -11. The venue decides at once what becomes of it and of one fill of somebody
else; what it says about that arrives in every possible order: account updates, order events and the reply are three
lanes, each in order. Then all is quiet: snapshots and queries are answered by the truth, new orders fill. In the end the
position is the target, no id went out twice, no order went out beside an open one, and the short was never too large.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.commands import Command, PlaceOrder, QueryOrder, RequestSnapshot
from streamhedge.domain.events import Event, OrderOutcome, OrderStatusAnswer, OutcomeKind, Owner, Tick
from streamhedge.domain.order import Order, Purpose, Report, Side
from streamhedge.domain.values import NS_PER_MS, ClientOrderId, exact
from tests.support import builders as make

D = Decimal
FILLS = {"filled": ["1"], "two fills": ["0.4", "0.6"], "part": ["0.4"], "nothing": [], "never there": []}
REPLIES = ("final", "accepted", "doubt", "none")
QUIET_TURNS = 60
"""Turns of 300 ms: longer than Tq and the second snapshot after it."""


class World:
    """The reactor and the truth beside it."""

    def __init__(self, fills: list[str], *, exists: bool, reply: str, other: str, lost: tuple[str, int] | None) -> None:
        self.machine = make.reactor()
        self.now_ms, self.seq, self.trade = make.T0_MS, 0, 0
        self.position, self.version_ms, self.wallet = D(-10), make.T0_MS, 400_000
        self.sent: list[Order] = []
        self.known: dict[ClientOrderId, tuple[Report, Decimal]] = {}
        self.asked: list[tuple[int, Command]] = []
        for event in (
            make.setup(),
            make.mark("67121.4", self.now_ms),
            make.snapshot("-10", entry="67121.4", at_ms=self.now_ms),
            make.float_trade("10"),
            make.live(),
            make.float_trade("1", trade_id="ft-2"),
        ):
            self.take(event)
        (self.order,) = self.sent
        self.lanes = self._messages(fills, exists=exists, reply=reply, other=other)
        if lost is not None:
            del self.lanes[lost[0]][lost[1]]

    def take(self, event: Event, after_ms: int = 1) -> None:
        self.now_ms += after_ms
        self.seq += 1
        with exact():
            reaction = self.machine.react(self.seq, self.now_ms * NS_PER_MS, [event])
        make.check_invariants(self.machine)
        for command in reaction.commands:
            if isinstance(command, PlaceOrder):
                self._place(self.machine.state.orders[command.client_order_id])
            elif isinstance(command, RequestSnapshot | QueryOrder):
                self.asked.append((self.now_ms, command))

    def _place(self, order: Order) -> None:
        assert order.client_order_id not in [found.client_order_id for found in self.sent], "one id, one order"
        beside = [name for name in self.machine.state.open_ids if name != order.client_order_id]
        assert not beside or order.purpose is Purpose.LADDER, "nothing is sent beside an order under way"
        self.sent.append(order)

    def fill(self, signed: Decimal, at_ms: int) -> Event:
        self.position += signed
        self.version_ms = at_ms
        self.wallet -= 1
        assert self.position >= D(-11), "never short more than the float"
        return make.account_update(str(self.position), at_ms=at_ms, wallet=str(self.wallet))

    def _messages(self, fills: list[str], *, exists: bool, reply: str, other: str) -> dict[str, list[Event]]:
        account: list[Event] = []
        orders: list[Event] = []
        at_ms, total = self.now_ms + 1, D(0)

        def others() -> None:
            account.append(self.fill(D("0.5"), at_ms))
            fill = make.foreign_fill(Side.BUY, "0.5")
            owner = Owner.ADL if other.startswith("adl") else Owner.FOREIGN
            orders.append(replace(fill, transaction_time_ms=at_ms, event_time_ms=at_ms, owner=owner))

        if other.endswith("before"):
            others()
            at_ms += 1
        for quantity in fills:
            total += D(quantity)
            account.append(self.fill(-D(quantity), at_ms))
            orders.append(self.report(self.order, quantity, total, at_ms))
        end = Report.FILLED if total == 1 else Report.ENDED
        if exists and end is Report.ENDED:
            orders.append(make.execution_report(self.order, last="0", cumulative=str(total), report=end, at_ms=at_ms))
        if other.endswith("after"):
            others()
        if exists:
            self.known[self.order.client_order_id] = end, total
        return {"account": account, "order": orders, "reply": self._reply(reply, end, total)}

    def report(self, order: Order, last: str, total: Decimal, at_ms: int) -> Event:
        self.trade += 1
        return make.execution_report(order, last=last, cumulative=str(total), trade_id=self.trade, at_ms=at_ms)

    def _reply(self, reply: str, end: Report, total: Decimal) -> list[Event]:
        if reply == "none":
            return []
        kind = OutcomeKind.IN_DOUBT if reply == "doubt" else OutcomeKind.ACCEPTED
        report = {"doubt": Report.DOUBT, "accepted": Report.ACCEPTED, "final": end}[reply]
        filled = total if reply == "final" else D(0)
        return [OrderOutcome(self.order.client_order_id, kind, report, 200, 0, "", filled, None, None)]

    def quiet(self) -> None:
        """Let the venue answer everything, and time pass."""
        for turn in range(QUIET_TURNS):
            if turn == 10 and self.order.is_open:
                self.take(OrderOutcome(self.order.client_order_id, OutcomeKind.IN_DOUBT, Report.DOUBT, 0, 0, "", D(0), None, None))  # fmt: skip
            for order in self.sent:
                if order is not self.order and order.client_order_id not in self.known:
                    self.known[order.client_order_id] = Report.FILLED, order.quantity
                    self.take(self.fill(order.side.sign * order.quantity, self.now_ms))
                    self.take(self.report(order, str(order.quantity), order.quantity, self.now_ms))
            waiting, self.asked = self.asked, []
            for asked_ms, command in waiting:
                self.take(self._answer(asked_ms, command))
            self.take(make.mark("67121.4", self.now_ms) if turn % 3 == 0 else Tick(), after_ms=300)

    def _answer(self, asked_ms: int, command: Command) -> Event:
        if isinstance(command, RequestSnapshot):
            asked_ns = asked_ms * NS_PER_MS
            held = str(self.position)
            return make.snapshot(held, entry="67121.4", at_ms=self.version_ms, requested_ns=asked_ns, audit=True)
        assert isinstance(command, QueryOrder)
        report, filled = self.known.get(command.client_order_id, (None, D(0)))
        there = report is not None
        return OrderStatusAnswer(command.client_order_id, there, False, report, filled, D(0), None, "")


def interleavings(counts: dict[str, int]) -> Iterator[tuple[str, ...]]:
    if not any(counts.values()):
        yield ()
    for lane, left in counts.items():
        if left:
            for rest in interleavings({**counts, lane: left - 1}):
                yield (lane, *rest)


def play(outcome: str, reply: str, other: str, step_ms: int, lost: tuple[str, int] | None = None) -> int:
    """Play every order of the messages to the end; return how many there were."""
    said = {"exists": outcome != "never there", "reply": reply, "other": other, "lost": lost}
    counts = {lane: len(found) for lane, found in World(FILLS[outcome], **said).lanes.items()}  # type: ignore[arg-type]
    played = 0
    for order in interleavings(counts):
        world = World(FILLS[outcome], **said)  # type: ignore[arg-type]
        lanes = {lane: deque(found) for lane, found in world.lanes.items()}
        for lane in order:
            world.take(lanes[lane].popleft(), after_ms=step_ms)
        world.quiet()
        memory = world.machine.core.memory_of(make.BTCUSDT)
        where = f"{outcome}, {reply}, other {other or 'none'}, {step_ms} ms: {' '.join(order)}"
        assert memory.block is None, f"{where}: {memory.block.reason}"
        assert world.position == D(-11), f"{where}: {world.position}, hold {memory.hold}"
        assert memory.exposure is None and not world.machine.state.open_ids, where
        played += 1
    return played


@pytest.mark.parametrize("outcome", FILLS)
@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.fault("U5", "O4")
def test_one_order_ends_at_the_target_in_every_order_of_its_messages(outcome: str, reply: str) -> None:
    if outcome == "never there" and reply in ("final", "accepted"):
        reply = "doubt"
    assert play(outcome, reply, "", 1) == play(outcome, reply, "", 70) >= 1


@pytest.mark.parametrize("outcome", ["filled", "part", "nothing"])
@pytest.mark.parametrize("other", ["foreign before", "foreign after", "adl before"])
@pytest.mark.fault("U5", "A1")
def test_so_does_one_beside_a_fill_of_somebody_else(outcome: str, other: str) -> None:
    assert play(outcome, "final", other, 7) >= 10


@pytest.mark.parametrize("lane", ["account", "order"])
@pytest.mark.fault("U8")
def test_so_does_one_of_whose_messages_one_is_lost(lane: str) -> None:
    assert play("filled", "final", "", 7, lost=(lane, 0)) >= 2
    assert play("filled", "doubt", "", 70, lost=(lane, 0)) >= 2
    assert play("two fills", "final", "", 7, lost=(lane, 1)) >= 2


@pytest.mark.fault("U8")
def test_so_does_one_beside_a_fill_of_somebody_else_whose_report_is_lost() -> None:
    assert play("filled", "final", "foreign before", 7, lost=("order", 0)) >= 2
