"""A reactor brought to LIVE with ten bitcoin and their hedge, driven event by event; its invariants hold after each."""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.commands import Command, Note, PlaceOrder, Reaction
from streamhedge.domain.events import Event, OrderOutcome, OutcomeKind
from streamhedge.domain.order import Order, Report
from streamhedge.domain.values import NS_PER_MS, exact
from streamhedge.reactor.state import SymbolMemory
from tests.support import builders as make


class Desk:
    """One machine, its clock, and everything it said."""

    def __init__(self, *, position: str = "-10", wallet: str = "400000", shadow: bool = False, **said: object) -> None:
        self.machine = make.reactor(**said)
        self.state = self.machine.state
        self.state.shadow = shadow
        self.now_ms = make.T0_MS
        self.commands: list[Command] = []
        self.notes: list[Note] = []
        self.take(make.setup())
        self.take(make.mark("67121.4", self.now_ms))
        self.take(make.snapshot(position, entry="67121.4", wallet=wallet, at_ms=self.now_ms))
        self.take(make.float_trade("10", trade_id="ft-0"))
        self.take(make.live())

    def take(self, *events: Event, after_ms: int = 0) -> Reaction:
        """React to events that arrive so much later."""
        self.now_ms += after_ms
        with exact():
            reaction = self.machine.react(self.state.seq + 1, self.now_ms * NS_PER_MS, list(events))
        make.check_invariants(self.machine)
        self.commands += reaction.commands
        self.notes += reaction.notes
        return reaction

    def sent(self, *events: Event, after_ms: int = 0) -> list[PlaceOrder]:
        """React and return the orders that go out."""
        return [c for c in self.take(*events, after_ms=after_ms).commands if isinstance(c, PlaceOrder)]

    def float(self, quantity: str) -> list[PlaceOrder]:
        """Book a change of the float."""
        return self.sent(make.float_trade(quantity, trade_id=f"ft-{self.state.seq}"), after_ms=10)

    def mark(self, price: str = "67121.4", *, after_ms: int = 100) -> list[PlaceOrder]:
        """Take a mark price of this moment."""
        self.now_ms += after_ms
        return self.sent(make.mark(price, self.now_ms))

    def fill(self, order: Order, *, trade_id: int) -> list[PlaceOrder]:
        """Fill an order completely, the position first, as the venue does."""
        after = self.state.book.quantity(order.symbol) + order.side.sign * order.quantity
        sent = self.sent(make.account_update(str(after), at_ms=self.now_ms + 2), after_ms=2)
        report = make.execution_report(order, last=str(order.quantity), trade_id=trade_id, at_ms=self.now_ms)
        return sent + self.sent(report)

    def refuse(self, code: int, *, status: int = 400, after_ms: int = 5, retry_after_ms: int | None = None) -> Reaction:
        """Refuse the oldest open order for certain."""
        outcome = OrderOutcome(
            client_order_id=self.order.client_order_id,
            kind=OutcomeKind.REFUSED,
            report=Report.REFUSED,
            status=status,
            code=code,
            message="said",
            filled=Decimal(0),
            order_id=None,
            retry_after_ms=retry_after_ms,
        )
        return self.take(outcome, after_ms=after_ms)

    @property
    def order(self) -> Order:
        """The oldest order that is not terminal."""
        return make.oldest_open(self.machine)

    @property
    def memory(self) -> SymbolMemory:
        """What the rules remember of BTCUSDT."""
        return self.machine.core.memory_of(make.BTCUSDT)

    def said(self, code: str) -> list[str]:
        """Return the texts of every note of a code so far."""
        return [note.text for note in self.notes if note.code == code]
