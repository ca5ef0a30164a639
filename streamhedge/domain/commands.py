"""Every output the core can ask for, and nothing else. The shell carries them out; results come back as inputs."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from streamhedge.domain.events import Event
from streamhedge.domain.order import OrderType, Side, TimeInForce
from streamhedge.domain.values import ClientOrderId, Symbol, record


@record
class PlaceOrder:
    """Send one order, once. Its ledger row is committed before the first byte; past ``deadline_ns`` it is void."""

    client_order_id: ClientOrderId
    symbol: Symbol
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    time_in_force: TimeInForce | None
    reduce_only: bool
    deadline_ns: int


@record
class CancelOrder:
    """Cancel one open order of ours by client order id."""

    symbol: Symbol
    client_order_id: ClientOrderId


@record
class QueryOrder:
    """Ask `order.status` for one client order id."""

    symbol: Symbol
    client_order_id: ClientOrderId


@record
class PlaceStop:
    """Send one reduce-only stop on the mark, once, as an order is sent; it may go on resting when we are gone."""

    client_order_id: ClientOrderId
    symbol: Symbol
    side: Side
    quantity: Decimal
    trigger_price: Decimal
    deadline_ns: int


@record
class CancelStop:
    """Cancel one stop of ours."""

    symbol: Symbol
    client_order_id: ClientOrderId


@record
class RequestOpenStops:
    """Ask `openAlgoOrders` of one symbol; ``number`` tells its answer from an older one's."""

    symbol: Symbol
    number: int


@record
class RequestSnapshot:
    """Ask `v2/account.position` and `v2/account.balance`."""

    reason: str
    audit: bool


@record
class RequestTime:
    """Ask the WebSocket API's `time`."""


@record
class RequestOpenOrders:
    """Ask `openOrders`; once at start and at resync."""


@record
class RequestSetup:
    """Read filters, brackets and modes, at start or because an error or an event says that they changed."""

    reason: str


@record
class SetLeverage:
    """Set a symbol's leverage; ACCOUNT_CONFIG_UPDATE says that it is so."""

    symbol: Symbol
    leverage: int


@record
class FollowSymbol:
    """Subscribe to the mark price of one more symbol and read its brackets: a position there shares our margin."""

    symbol: Symbol


@record
class CreateListenKey:
    """POST a listen key (the same key comes back while one is active)."""


@record
class RenewListenKey:
    """PUT the listen key."""


@record
class OpenStream:
    """Open a socket (`market`, `private`, `ws_api`) after a delay; the connection number names it in later inputs."""

    stream: str
    connection: int
    delay_ms: int
    handle: str | None = None


@record
class CloseStream:
    """Drop a socket of ours: nothing that still arrives on it is taken."""

    stream: str
    connection: int
    reason: str


@record
class KeepSilent:
    """Send no request before then, not even one that was decided already: the venue asked for it (429, 418)."""

    until_ns: int


@record
class Persist:
    """Write one row to the ledger (orders after their intent, fills, funding, states); never delays an order.

    ``table`` is one of: order, stop, fill, funding, state, venue_close, gap, attribution; ``fields`` is JSON-ready.
    """

    table: str
    key: str
    fields: dict[str, object]


class Level(Enum):
    """How loud a note is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@record
class Note:
    """Something worth showing: a code from a fixed list, a level, what it is about, and its figures (JSON-ready)."""

    code: str
    level: Level
    symbol: Symbol | None
    text: str
    data: dict[str, object]


Command = (
    PlaceOrder
    | CancelOrder
    | QueryOrder
    | PlaceStop
    | CancelStop
    | RequestOpenStops
    | RequestSnapshot
    | RequestTime
    | RequestOpenOrders
    | RequestSetup
    | FollowSymbol
    | SetLeverage
    | CreateListenKey
    | RenewListenKey
    | OpenStream
    | CloseStream
    | KeepSilent
    | Persist
)


@record
class Reaction:
    """What one input led to: its number, the events the reactor saw, the commands in order, the notes."""

    seq: int
    events: tuple[Event, ...]
    commands: tuple[Command, ...]
    notes: tuple[Note, ...]
