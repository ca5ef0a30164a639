"""A stop of ours at the venue's algo service, from its decision to its end.

One writer: the reactor. Invariants: an id is sent at most once, and is of the same numbering as orders'; no answer means in
doubt; a stop that ended comes back to life only on the venue's own word.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from streamhedge.domain.order import Side
from streamhedge.domain.values import ClientOrderId, Symbol, state


class StopStatus(Enum):
    """Life of a stop as we know it."""

    PLANNED = "PLANNED"  # committed to the ledger, no answer yet
    IN_DOUBT = "IN_DOUBT"  # anything may have happened
    RESTING = "RESTING"  # the venue has it
    TRIGGERED = "TRIGGERED"  # the venue made an order of it
    ENDED = "ENDED"  # cancelled, expired or rejected at the venue
    REFUSED = "REFUSED"  # refused for certain, or it never left this machine
    ABSENT = "ABSENT"  # in doubt, then not in the venue's list when it had to be


OPEN_STOPS = (StopStatus.PLANNED, StopStatus.IN_DOUBT, StopStatus.RESTING)


@state
class Stop:
    """One stop of ours: reduce-only, with a quantity, triggered by the mark. Quantity unsigned, base units.

    ``resting_ns`` is when the venue was known to have it first, 0 before; ``cancel_ns`` when its cancel was decided, 0 while
    none is under way; ``order_id`` is of the order it became.
    """

    client_order_id: ClientOrderId
    symbol: Symbol
    side: Side
    quantity: Decimal
    trigger_price: Decimal
    decided_ns: int
    status: StopStatus = StopStatus.PLANNED
    resting_ns: int = 0
    cancel_ns: int = 0
    order_id: int | None = None
    absences: int = 0
    ended_ns: int | None = None
    why: str = ""

    @property
    def is_open(self) -> bool:
        """True while it may trigger."""
        return self.status in OPEN_STOPS

    @property
    def under_way(self) -> bool:
        """True while a request about it is not answered for certain."""
        return self.status in (StopStatus.PLANNED, StopStatus.IN_DOUBT) or (self.is_open and self.cancel_ns > 0)
