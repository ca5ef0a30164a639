"""Every input the reactor accepts, after decoding, and nothing else.

Times named ``*_ms`` are the venue's, milliseconds since the epoch; the receive time of an input is the pump's and is
passed beside the event. Quantities in positions are signed, in orders unsigned.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from streamhedge.domain.instrument import Instrument, MarginBracket
from streamhedge.domain.order import Report, Side
from streamhedge.domain.values import ZERO, Asset, ClientOrderId, Symbol, TradeId, record


class PositionSide(Enum):
    """BOTH in one-way mode, LONG or SHORT in hedge mode."""

    BOTH = "BOTH"
    LONG = "LONG"
    SHORT = "SHORT"


# ---------------------------------------------------------------- market streams


@record
class MarkPriceUpdate:
    """`<symbol>@markPrice@1s`: mark and index price, the running funding rate and the next settlement."""

    symbol: Symbol
    mark_price: Decimal
    index_price: Decimal
    funding_rate: Decimal | None
    next_funding_time_ms: int
    event_time_ms: int


@record
class ContractInfo:
    """`!contractInfo`: status of a contract; ``brackets`` only when they changed."""

    symbol: Symbol
    contract_type: str
    status: str
    brackets: tuple[MarginBracket, ...] | None
    event_time_ms: int


@record
class OtherMarketEvent:
    """A public event that is understood or counted but moves nothing."""

    name: str
    symbol: Symbol | None
    event_time_ms: int


# ---------------------------------------------------------------- user stream


@record
class BalanceRow:
    """One asset of ACCOUNT_UPDATE; absolute values, ``change`` excludes PnL and commission."""

    asset: Asset
    wallet_balance: Decimal
    cross_wallet_balance: Decimal
    change: Decimal


@record
class PositionRow:
    """One position of ACCOUNT_UPDATE; absolute values."""

    symbol: Symbol
    position_side: PositionSide
    quantity: Decimal
    entry_price: Decimal
    break_even_price: Decimal | None
    realised_pnl: Decimal
    isolated: bool
    isolated_wallet: Decimal
    margin_asset: Asset | None


@record
class AccountUpdate:
    """`ACCOUNT_UPDATE`; absent symbols and assets did not change."""

    event_time_ms: int
    transaction_time_ms: int
    reason: str
    balances: tuple[BalanceRow, ...]
    positions: tuple[PositionRow, ...]
    funding_symbol: Symbol | None


class Owner(Enum):
    """Who acted, read from the client order id."""

    OURS = "ours"
    FOREIGN = "foreign"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"


@record
class ExecutionReport:
    """`ORDER_TRADE_UPDATE`. ``report`` is what it says about the order; last_* describe this fill, 0 when none.

    ``trigger_price`` is of the conditional order that it comes from, 0 for any other.
    """

    event_time_ms: int
    transaction_time_ms: int
    symbol: Symbol
    client_order_id: ClientOrderId
    owner: Owner
    order_id: int
    side: Side
    position_side: PositionSide
    order_type: str
    execution_type: str
    order_status: str
    report: Report
    quantity: Decimal
    price: Decimal
    average_price: Decimal
    last_quantity: Decimal
    last_price: Decimal
    cumulative_quantity: Decimal
    commission: Decimal
    commission_asset: Asset | None
    trade_id: int
    realised_pnl: Decimal
    reduce_only: bool
    maker: bool
    expiry_reason: str
    trigger_price: Decimal = ZERO


@record
class TradeLite:
    """`TRADE_LITE`: the fastest fill notice; never moves the book."""

    event_time_ms: int
    transaction_time_ms: int
    symbol: Symbol
    client_order_id: ClientOrderId
    side: Side
    last_quantity: Decimal
    last_price: Decimal
    trade_id: int
    order_id: int


@record
class MarginCallRow:
    """One position named by a margin call."""

    symbol: Symbol
    position_side: PositionSide
    quantity: Decimal
    mark_price: Decimal
    maintenance_margin: Decimal


@record
class MarginCall:
    """`MARGIN_CALL`: advisory; may come when the venue is already liquidating."""

    event_time_ms: int
    cross_wallet_balance: Decimal | None
    positions: tuple[MarginCallRow, ...]


@record
class AccountConfigUpdate:
    """`ACCOUNT_CONFIG_UPDATE`: leverage of a symbol, or multi-assets mode."""

    event_time_ms: int
    symbol: Symbol | None
    leverage: int | None
    multi_assets: bool | None


@record
class AlgoUpdate:
    """`ALGO_UPDATE`: a conditional order changed."""

    event_time_ms: int
    symbol: Symbol
    client_algo_id: str
    algo_id: int
    status: str
    side: Side
    trigger_price: Decimal
    quantity: Decimal
    order_id: int | None
    reject_reason: str


@record
class ListenKeyExpired:
    """`listenKeyExpired`: the socket stays open and silent from here on."""

    event_time_ms: int
    handle: str


@record
class OtherUserEvent:
    """A private event that is understood but moves nothing (strategy and grid bots, deprecated notices)."""

    name: str
    event_time_ms: int


# ---------------------------------------------------------------- faults of grammar


@record
class Quarantined:
    """A frame that could not be decoded, or an enum member or event type nobody has told us about.

    ``private`` frames make the book SUSPECT. ``head`` is the start of the raw frame; the whole is in the recording.
    """

    source: str
    private: bool
    reason: str
    head: str


# ---------------------------------------------------------------- answers


@record
class SnapshotPosition:
    """One row of `v2/account.position`; the venue's own figures ride along for cross-checks."""

    symbol: Symbol
    position_side: PositionSide
    quantity: Decimal
    entry_price: Decimal
    break_even_price: Decimal | None
    mark_price: Decimal
    liquidation_price: Decimal
    isolated: bool
    isolated_wallet: Decimal
    maintenance_margin: Decimal
    initial_margin: Decimal
    margin_asset: Asset | None
    adl: int
    update_time_ms: int


@record
class SnapshotBalance:
    """One row of `v2/account.balance`."""

    asset: Asset
    wallet_balance: Decimal
    cross_wallet_balance: Decimal
    available_balance: Decimal
    update_time_ms: int


@record
class Snapshot:
    """Positions and balances as the venue has them. Complete: an absent symbol is flat.

    ``audit`` snapshots are compared with a live book; others start or repair it. ``requested_ns`` and ``received_ns``
    are pump times of the request and of the last of its two answers.
    """

    positions: tuple[SnapshotPosition, ...]
    balances: tuple[SnapshotBalance, ...]
    requested_ns: int
    audit: bool


@record
class OpenOrder:
    """An order resting at the venue, from `openOrders`."""

    symbol: Symbol
    client_order_id: ClientOrderId
    owner: Owner
    side: Side
    quantity: Decimal
    filled: Decimal
    price: Decimal
    reduce_only: bool


@record
class OpenOrders:
    """The answer of `openOrders`, asked once at start and at resync."""

    orders: tuple[OpenOrder, ...]


class OutcomeKind(Enum):
    """What an answer (or its absence) to an order request proves."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    NOT_SENT = "not_sent"


@record
class OrderOutcome:
    """What came back for one order request; ``report`` refines ACCEPTED (accepted, fill, filled, ended).

    ``names`` is another order's id, where the answer to ours carries one: our picture of the wire is wrong.
    ``update_time_ms`` is when the venue changed the order last, 0 when it does not say.
    """

    client_order_id: ClientOrderId
    kind: OutcomeKind
    report: Report
    status: int
    code: int
    message: str
    filled: Decimal
    order_id: int | None
    retry_after_ms: int | None
    names: str = ""
    update_time_ms: int = 0


@record
class OpenStop:
    """A conditional order resting at the venue, from `openAlgoOrders`; quantity 0 for close-all."""

    symbol: Symbol
    client_order_id: ClientOrderId
    side: Side
    quantity: Decimal
    trigger_price: Decimal


@record
class OpenStops:
    """The answer of `openAlgoOrders` to the call of that number."""

    symbol: Symbol
    number: int
    stops: tuple[OpenStop, ...]


@record
class StopOutcome:
    """What came back for the placing of a stop, or for its ``cancel``. ``resting`` False: accepted, and triggered already."""

    client_order_id: ClientOrderId
    kind: OutcomeKind
    status: int
    code: int
    message: str
    retry_after_ms: int | None
    cancel: bool = False
    resting: bool = True


@record
class OrderStatusAnswer:
    """The answer of `order.status` by client order id; ``found`` False is one absence (-2013), nothing more.

    ``inconclusive`` is True when the answer proves nothing at all (error, timeout). ``update_time_ms`` is when the venue
    changed the order last, 0 when it does not say.
    """

    client_order_id: ClientOrderId
    found: bool
    inconclusive: bool
    report: Report | None
    filled: Decimal
    filled_quote: Decimal
    order_id: int | None
    message: str
    update_time_ms: int = 0


@record
class SetupDone:
    """Filters, brackets, modes and leverage were read (at start, or after an error that says they changed)."""

    instruments: tuple[Instrument, ...]
    dual_side: bool
    multi_assets: bool
    leverage: dict[Symbol, int]
    isolated: dict[Symbol, bool]


@record
class CallFailed:
    """A call other than an order did not succeed. ``what`` names it: snapshot, listen_key, time, setup, open_orders,
    open_stops.
    """

    what: str
    status: int
    code: int
    message: str
    retry_after_ms: int | None


@record
class ListenKeyReady:
    """A listen key was created or renewed; the key itself never enters, only its handle (lk1, lk2 …)."""

    handle: str
    renewed: bool


@record
class VenueTime:
    """The answer of the WebSocket API's `time`."""

    server_time_ms: int
    requested_ns: int


# ---------------------------------------------------------------- the world around us


@record
class StreamOpened:
    """A socket finished its handshake. That proves nothing about data.

    ``jitter_permille`` is a random number 0..999 drawn by the shell: not every stream is replaced in the same second.
    """

    stream: str
    connection: int
    jitter_permille: int = 500


@record
class StreamClosed:
    """A socket ended; ``jitter_permille`` is a random number 0..999 drawn by the shell for back-off."""

    stream: str
    connection: int
    reason: str
    jitter_permille: int


@record
class Tick:
    """The clock moved; sent by the shell every 100 ms. ``lag_ms`` is how late the loop ran it."""

    lag_ms: int = 0


@record
class ClockStepped:
    """Wall and boot clock parted, or the machine slept: everything in flight is in doubt."""

    gap_ms: int


@record
class WallStepped:
    """Somebody set the wall clock; ``step_ms`` by how much. Durations do not follow it, signed timestamps do."""

    step_ms: int


CLOCK_WARN_MS = 500
"""Clocks further apart than this are worth a warning (FAULTS C1)."""


@record
class ClockOffset:
    """Venue clock minus ours after one more answer of `time`: the median of the last five, milliseconds."""

    offset_ms: int


class FloatTradeKind(Enum):
    """What a float trade does."""

    BUY = "buy"
    SELL = "sell"
    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    SET = "set"
    VOID = "void"
    DEPOSIT_USD = "deposit-usd"
    WITHDRAW_USD = "withdraw-usd"
    SET_USD = "set-usd"


@record
class FloatTrade:
    """A fact about the float, durable before anybody acts on it.

    Args:
        trade_id: Chosen by the submitter, or generated and printed before sending.
        asset: Float asset, e.g. BTC.
        kind: What happened.
        quantity: Change of the float, signed, base units (8 decimals); for `set`, the change it amounts to.
        usd: Change of the treasury's USD, signed.
        price: Quote per base the trade was booked at.
        time_ms: When it was recorded.
        reason: The submitter's words.
        voids: For `void`, the id of the trade whose inverse this is.
    """

    trade_id: TradeId
    asset: Asset
    kind: FloatTradeKind
    quantity: Decimal
    usd: Decimal
    price: Decimal
    time_ms: int
    reason: str
    voids: TradeId | None = None


@record
class FloatTradeRecorded:
    """The ledger holds this trade now."""

    trade: FloatTrade


class VerbKind(Enum):
    """Operator commands that change the trading state."""

    HALT = "halt"
    REDUCE = "reduce"
    RESUME = "resume"
    FLATTEN = "flatten"


@record
class OperatorVerb:
    """An operator command, with who gave it and why; durable before it gets here."""

    kind: VerbKind
    symbol: Symbol | None
    reason: str
    uid: int


@record
class ManualOrder:
    """An order a program asks for by hand, on a symbol no hedge steers; quantity unsigned, base units."""

    symbol: Symbol
    side: Side
    quantity: Decimal
    reduce_only: bool
    reason: str
    uid: int


@record
class ConfigReloaded:
    """Bands and limits were read again while running: the new values by hedge symbol, and the changed limits by name."""

    bands: dict[Symbol, Decimal]
    naked_alert_after_ms: dict[Symbol, int]
    limits: dict[str, object]
    uid: int


@record
class Stopping:
    """The program ends: nothing is decided any more, what rests is cancelled, evidence on the rest is asked for."""

    reason: str


@record
class StoreFailed:
    """The ledger or the recording failed: nothing may be sent any more."""

    what: str
    message: str


@record
class LedgerCaughtUp:
    """The ledger works again: every row it had refused is written, but those that did not fit into what is kept."""

    written: int
    given_up: int


@record
class IntentVoided:
    """The outbox did not send an intent: its commit failed or its deadline had passed. It never left."""

    client_order_id: ClientOrderId
    reason: str


@record
class BookStatusChanged:
    """The session's word on how far the book can be trusted: COLD, SYNCING, LIVE or SUSPECT, and why."""

    status: str
    reason: str


@record
class ResyncAsked:
    """The session asked for evidence after a loss: ``what`` is snapshot or open_orders."""

    what: str


@record
class RateNews:
    """What an answer said of the venue's rate limits, by window (weight_1m, orders_10s, orders_1m).

    ``status`` 429 or 418 asks for silence, for ``wait_ms`` where it says so; ``jitter_permille`` is a random number 0..999
    drawn by the shell.
    """

    counts: dict[str, int]
    limits: dict[str, int]
    status: int
    wait_ms: int | None
    jitter_permille: int


@record
class BudgetChanged:
    """The session's word on how many orders may still go out, raising and reducing, and until when nothing may (0: now).

    ``banned``: the address is banned (418), not only asked to slow down.
    """

    raises_left: int
    reduces_left: int
    silent_until_ns: int
    banned: bool


Event = (
    MarkPriceUpdate
    | ContractInfo
    | OtherMarketEvent
    | AccountUpdate
    | ExecutionReport
    | TradeLite
    | MarginCall
    | AccountConfigUpdate
    | AlgoUpdate
    | ListenKeyExpired
    | OtherUserEvent
    | Quarantined
    | Snapshot
    | OpenOrders
    | OrderOutcome
    | OpenStops
    | StopOutcome
    | OrderStatusAnswer
    | SetupDone
    | CallFailed
    | ListenKeyReady
    | VenueTime
    | StreamOpened
    | StreamClosed
    | Tick
    | ClockStepped
    | WallStepped
    | ClockOffset
    | FloatTradeRecorded
    | OperatorVerb
    | ManualOrder
    | Stopping
    | ConfigReloaded
    | StoreFailed
    | LedgerCaughtUp
    | IntentVoided
    | BookStatusChanged
    | ResyncAsked
    | RateNews
    | BudgetChanged
)
