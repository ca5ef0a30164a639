"""An order of ours from intent to its end: statuses, the transition table, application of venue reports.

One writer: the reactor. Invariants: a client order id is sent at most once; a terminal order never comes back to life
except as a *ghost* (a fill that arrives after we had closed it on evidence of absence), which is counted by the caller;
``filled`` never falls.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from streamhedge.domain.values import ZERO, Asset, ClientOrderId, Symbol, state


class Side(Enum):
    """Direction of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(Enum):
    """The two types the order endpoint takes since 2025-12-09."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"


class TimeInForce(Enum):
    """How long a LIMIT order lives."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"


class Purpose(Enum):
    """Why an order exists."""

    HEDGE = "hedge"
    LADDER = "ladder"
    FLATTEN = "flatten"
    MANUAL = "manual"
    BACKSTOP = "backstop"


class OrderStatus(Enum):
    """Life of an order as we know it."""

    PLANNED = "PLANNED"  # committed to the ledger and handed over; whether a byte left, only its answer says
    WORKING = "WORKING"  # the venue accepted it; it may be partly filled
    IN_DOUBT = "IN_DOUBT"  # anything may have happened
    FILLED = "FILLED"
    ENDED = "ENDED"  # cancelled or expired at the venue, possibly with fills
    REFUSED = "REFUSED"  # refused for certain
    ABSENT = "ABSENT"  # in doubt, then closed by the full absence rule


OPEN_STATUSES = (OrderStatus.PLANNED, OrderStatus.WORKING, OrderStatus.IN_DOUBT)
TERMINAL_STATUSES = (OrderStatus.FILLED, OrderStatus.ENDED, OrderStatus.REFUSED, OrderStatus.ABSENT)


class Report(Enum):
    """What can be learnt about an order, from any channel."""

    ACCEPTED = "accepted"  # reply or event says it exists and is open
    FILL = "fill"  # reply, status or event says it is partly filled and open
    FILLED = "filled"  # ... completely filled
    ENDED = "ended"  # ... cancelled or expired
    REFUSED = "refused"  # refused for certain, or it never left this machine
    DOUBT = "doubt"  # no answer, or an answer that proves nothing
    ABSENT = "absent"  # the full absence rule closed it


_S = OrderStatus
_R = Report

TRANSITIONS: dict[tuple[OrderStatus, Report], OrderStatus] = {
    (_S.PLANNED, _R.DOUBT): _S.IN_DOUBT,
    (_S.PLANNED, _R.REFUSED): _S.REFUSED,
    # what a slower channel says of an order the venue is known to have taken
    (_S.WORKING, _R.DOUBT): _S.WORKING,
    (_S.WORKING, _R.REFUSED): _S.WORKING,
    (_S.WORKING, _R.ABSENT): _S.ABSENT,
    (_S.IN_DOUBT, _R.DOUBT): _S.IN_DOUBT,
    (_S.IN_DOUBT, _R.REFUSED): _S.REFUSED,
    (_S.IN_DOUBT, _R.ABSENT): _S.ABSENT,
    # ghosts: evidence of life beats a close for lack of evidence
    (_S.ABSENT, _R.ACCEPTED): _S.WORKING,
    (_S.ABSENT, _R.FILL): _S.WORKING,
    (_S.ABSENT, _R.FILLED): _S.FILLED,
    (_S.ABSENT, _R.ENDED): _S.ENDED,
    (_S.REFUSED, _R.ACCEPTED): _S.WORKING,
    (_S.REFUSED, _R.FILL): _S.WORKING,
    (_S.REFUSED, _R.FILLED): _S.FILLED,
    (_S.REFUSED, _R.ENDED): _S.ENDED,
}
for _open in (_S.PLANNED, _S.WORKING, _S.IN_DOUBT):
    TRANSITIONS[_open, _R.ACCEPTED] = _S.WORKING
    TRANSITIONS[_open, _R.FILL] = _S.WORKING
    TRANSITIONS[_open, _R.FILLED] = _S.FILLED
    TRANSITIONS[_open, _R.ENDED] = _S.ENDED
TRANSITIONS[_S.PLANNED, _R.ABSENT] = _S.ABSENT
for _end in (_S.FILLED, _S.ENDED):
    for _report in Report:
        TRANSITIONS[_end, _report] = _end
TRANSITIONS[_S.ENDED, _R.FILLED] = _S.FILLED
for _quiet in (_R.DOUBT, _R.REFUSED, _R.ABSENT):
    TRANSITIONS[_S.REFUSED, _quiet] = _S.REFUSED
    TRANSITIONS[_S.ABSENT, _quiet] = _S.ABSENT
# a reply that refuses for certain after the absence rule had already closed it agrees with it
TRANSITIONS[_S.ABSENT, _R.REFUSED] = _S.REFUSED


@state
class Order:
    """One order of ours; written by the reactor only. Quantities are unsigned base units.

    ``filled_quote`` is what it filled for by the best knowledge; ``reported_quote`` only what execution reports added up to,
    because an `order.status` answer may come before, after or instead of them. ``beside`` is what everybody else is known
    to have filled on the symbol since it was decided, signed; ``unexplained`` what the position moved beyond that.
    ``filled_ms`` is the venue's time of its latest fill that we know of: a position of before that cannot show it.
    ``policy_hash`` names the limits and rules that were in force when it was decided.
    """

    client_order_id: ClientOrderId
    symbol: Symbol
    side: Side
    quantity: Decimal
    type: OrderType
    price: Decimal | None
    time_in_force: TimeInForce | None
    reduce_only: bool
    purpose: Purpose
    decided_seq: int
    decided_ns: int
    target: Decimal
    position_before: Decimal
    decision_mark: Decimal
    reason: str
    status: OrderStatus = OrderStatus.PLANNED
    filled: Decimal = ZERO
    filled_ms: int = 0
    filled_quote: Decimal = ZERO
    reported_quote: Decimal = ZERO
    commission: Decimal = ZERO
    commission_asset: Asset | None = None
    realised_pnl: Decimal = ZERO
    sent_ns: int | None = None
    ended_ns: int | None = None
    order_id: int | None = None
    error_code: int | None = None
    error_message: str = ""
    trade_ids: list[int] | None = None
    absences: int = 0
    last_absence_ns: int = 0
    last_query_ns: int = 0
    beside: Decimal = ZERO
    unexplained: Decimal = ZERO
    policy_hash: str = ""

    @property
    def is_open(self) -> bool:
        """True while it may still change the position."""
        return self.status in OPEN_STATUSES

    @property
    def in_doubt(self) -> bool:
        """True while anything may have happened to it."""
        return self.status is OrderStatus.IN_DOUBT

    @property
    def remaining(self) -> Decimal:
        """Quantity that may still fill, base units."""
        return self.quantity - self.filled if self.is_open else ZERO

    @property
    def average_price(self) -> Decimal | None:
        """Volume-weighted fill price, None before the first priced fill."""
        return None if self.filled == 0 or self.filled_quote == 0 else self.filled_quote / self.filled


def next_status(status: OrderStatus, report: Report) -> OrderStatus:
    """Return the status after a report; the table is total."""
    return TRANSITIONS[status, report]
