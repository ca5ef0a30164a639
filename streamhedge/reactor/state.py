"""Everything the reactor remembers, as plain records with a canonical form. One writer: the reactor.

The whole of ``State`` stands in the first line of every recording segment, so that any segment replays by itself.
"""

from __future__ import annotations

from dataclasses import field
from decimal import Decimal

from streamhedge.domain.attribution import Attribution
from streamhedge.domain.book import PositionBook, empty_book
from streamhedge.domain.commands import Command, Level, Note, Persist
from streamhedge.domain.events import AccountUpdate, BalanceRow, BudgetChanged, ExecutionReport
from streamhedge.domain.order import Order
from streamhedge.domain.stop import Stop
from streamhedge.domain.values import ZERO, Asset, ClientOrderId, Symbol, TradeId, state
from streamhedge.rules.params import HedgeParams, Policy
from streamhedge.rules.triggers import TriggerIndex
from streamhedge.rules.view import Blocked, BookStatus, LadderStep, SymbolState, TradingState

RECENT_ORDERS = 100
"""Terminal orders kept in memory for late reports; the ledger keeps all."""

HEARD_MOST = 256
"""Changes of balances remembered, so that none counts twice: days of them."""


@state
class Block:
    """Why a symbol is BLOCKED. ``latched`` also switches the ladder off and needs a person (PRODUCT §6)."""

    cause: str
    reason: str
    latched: bool
    until_ns: int | None


@state
class Exposure:
    """Position arithmetic of a symbol while orders of ours are open or fills are not yet visible in the position.

    ``base`` is the position it counts from, of venue time ``base_ms``; ``foreign`` what others filled since.
    ``ended_ns`` is set once no order is open any more; ``asked`` counts the snapshots asked to settle it. ``broken`` means
    that events may be missing from it: what does not add up is then nobody's fault.
    """

    base: Decimal
    base_ms: int
    order_ids: list[ClientOrderId]
    foreign: Decimal = ZERO
    ended_ns: int | None = None
    asked: int = 0
    disagreed: int = 0
    disagreed_ns: int = 0
    agreed_ns: int = 0
    last_asked_ns: int = 0
    broken: bool = False


@state
class Settlement:
    """What a symbol's last settlement was computed from, by the last frame before it; signed size, quote units."""

    time_ms: int
    quantity: Decimal
    mark_price: Decimal
    rate: Decimal


@state
class FundingMemory:
    """The funding-aware ratio in force and its counterfactual against the fixed ratio; quote units, + is a gain.

    ``saved`` is what the short not held would have paid, ``fees`` what the trades of its changes cost by fee and spread,
    ``opened_pnl`` what the exposure opened made.
    """

    ratio: Decimal
    looked_ns: int = 0
    settles_ms: int = 0
    reason: str = ""
    saved: Decimal = ZERO
    fees: Decimal = ZERO
    opened_pnl: Decimal = ZERO


@state
class SymbolMemory:
    """What the rules must remember of one hedged symbol between inputs.

    ``call_ns`` is the last margin call, ``call_waits_ns`` since when one has no answer; ``missing`` is how much less margin
    the venue sees than we do while one stands, quote units.
    """

    symbol: Symbol
    exposure: Exposure | None = None
    block: Block | None = None
    paced: bool = False
    last_paced_ns: int = 0
    cutting: LadderStep | None = None
    cut_to: Decimal = ZERO
    zero_fills: int = 0
    retry_after_ns: int = 0
    reduce_after_ns: int = 0
    refusal_streak: int = 0
    refusal_times_ns: list[int] = field(default_factory=list)
    refusal_code: int = 0
    reopen_at_ns: int | None = None
    venue_closed: str = ""
    external_times_ns: list[int] = field(default_factory=list)
    external_order_id: int = 0
    intent_times_ns: list[int] = field(default_factory=list)
    reduce_only: str = ""
    reduce_only_until_ns: int | None = None
    flatten: str = ""
    refused_by: str = ""
    withheld: str = ""
    withheld_ns: int = 0
    mismatches: int = 0
    adoption_times_ns: list[int] = field(default_factory=list)
    fruitless_fills: int = 0
    fruitless_side: str = ""
    unproven_fill: Decimal = ZERO
    """What the last own fill moved the position by, signed, until an audit has seen it."""
    confirm_after_ns: int = 0
    raised_ns: int = 0
    shows_from_ms: int = 0
    trust_anyway_ns: int = 0
    naked_since_ns: int | None = None
    naked_alerted: bool = False
    naked_too_large: bool = False
    loss_alarmed: bool = False
    naked: Decimal = ZERO
    naked_usd: Decimal = ZERO
    cause: str = ""
    ladder_step: LadderStep = LadderStep.CLEAR
    ladder_helpless: bool = False
    ladder_off_ns: int = 0
    call_ns: int = 0
    call_waits_ns: int = 0
    call_asked_ns: int = 0
    missing: Decimal = ZERO
    mark_mute: bool = False
    queue_told: bool = False
    leverage_high: bool = False
    blocked: Blocked | None = None
    policy_short: Decimal = ZERO
    target: Decimal = ZERO
    gap_low: Decimal = ZERO
    gap_high: Decimal = ZERO
    dust: Decimal = ZERO
    hold: str = ""
    liquidation_price: Decimal | None = None
    distance: Decimal | None = None
    joint_distance: Decimal | None = None
    position_trusted: bool = False
    funding: FundingMemory | None = None

    def distrust(self, confirm_after_ns: int) -> None:
        """Trust the position again only by a snapshot asked after a moment; a later moment that stands is kept."""
        self.position_trusted = False
        self.confirm_after_ns = max(self.confirm_after_ns, confirm_after_ns)


@state
class Backstop:
    """What is known of one symbol's stops beside themselves.

    ``listed`` is False until the venue's list has been read since the book became live; ``overlap_refused`` that the venue did
    not take a new stop beside an old one; ``replacing`` that requests go out until all rest where they should;
    ``uncovered`` the part of the short for which there are too few; ``foreign`` the conditional orders of others that were
    named.
    """

    listed: bool = False
    list_number: int = 0
    asked_ns: int = 0
    answered: bool = True
    list_pause_ns: int = 0
    retry_after_ns: int = 0
    refusals: int = 0
    refused_by: str = ""
    overlap_refused: bool = False
    replacing: bool = False
    replace_after_ns: int = 0
    uncovered: Decimal = ZERO
    foreign: list[str] = field(default_factory=list)


@state
class Heard:
    """An event of the account: its name, the venue's time, and when we received it (None: an earlier run did)."""

    event: str
    event_time_ms: int
    recv_ns: int | None


@state
class Question:
    """Evidence asked for: how often, when first and last, and when the last answer came (None: not yet)."""

    what: str
    times: int
    first_ns: int
    last_ns: int
    answered_ns: int | None = None


@state
class Difference:
    """A figure that a snapshot changed while the gap was open; ``before`` None when none was known."""

    what: str
    before: Decimal | None
    after: Decimal


@state
class Gap:
    """The certificate of a gap: from the loss of the book's trust until the evidence was in; closed once, never re-opened.

    ``expected`` is where book and fills led at the opening, empty after a restart; ``filled`` what each order had filled
    by then, ``foreign`` what others were seen to fill since. ``residual`` names what the evidence leaves unexplained.
    """

    number: int
    epoch: int
    causes: list[str]
    opened_ns: int
    opened_seq: int
    restart: bool
    closed_ns: int | None = None
    closed_seq: int | None = None
    before: Heard | None = None
    after: Heard | None = None
    asked: list[Question] = field(default_factory=list)
    found: list[Difference] = field(default_factory=list)
    orders: list[ClientOrderId] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    residual: list[str] = field(default_factory=list)
    expected: dict[str, Decimal] = field(default_factory=dict)
    filled: dict[ClientOrderId, Decimal] = field(default_factory=dict)
    foreign: dict[Symbol, Decimal] = field(default_factory=dict)


@state
class TradeClock:
    """A float trade whose hedge is still on its way."""

    trade_id: TradeId
    asset: Asset
    recorded_ns: int


@state
class Meter:
    """Running figures of this run; quote units, base units where named."""

    started_ns: int = 0
    last_ns: int = 0
    naked_usd_seconds: dict[str, Decimal] = field(default_factory=dict)
    max_naked_usd: Decimal = ZERO
    min_distance: Decimal | None = None
    hedges: int = 0
    orders_sent: int = 0
    refused: int = 0
    doubted: int = 0
    ghosts: int = 0
    fees: Decimal = ZERO
    fees_other: dict[Asset, Decimal] = field(default_factory=dict)
    funding: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    quarantined: int = 0
    venue_closes: int = 0
    liquidations: int = 0
    adoptions: int = 0
    resyncs: int = 0
    day: int = 0
    turnover: Decimal = ZERO
    hedge_cost: Decimal = ZERO
    order_times_ns: list[int] = field(default_factory=list)
    error_times_ns: list[int] = field(default_factory=list)
    triggers: dict[str, int] = field(default_factory=dict)
    """How often each control acted, by its id in FAULTS §5."""


@state
class State:
    """The reactor's whole memory.

    ``open_ids`` names the orders that are not terminal, so that no input walks those that are. ``uncovered`` are the open
    ones that no arithmetic counts: of earlier runs, or ghosts. ``gaps`` numbers the certificates over all runs; ``gap`` is the
    one that is open, ``last_gap`` the one closed last, ``heard`` the last event of the account. ``takeover``: a person said
    that this run takes the account over from an older one that may still live.
    ``budget`` is the session's last word on the rate budget; until ``silent_until_ns`` the venue must not hear from us, over a
    restart too.
    """

    instance: str
    epoch: int
    seq: int = 0
    next_order: int = 1
    book: PositionBook = field(default_factory=empty_book)
    book_status: BookStatus = BookStatus.COLD
    book_reason: str = "not started"
    live_since_ns: int = 0
    setup_done: bool = False
    floats: dict[Asset, Decimal] = field(default_factory=dict)
    usd: Decimal = ZERO
    orders: dict[ClientOrderId, Order] = field(default_factory=dict)
    open_ids: list[ClientOrderId] = field(default_factory=list)
    uncovered: list[ClientOrderId] = field(default_factory=list)
    memory: dict[Symbol, SymbolMemory] = field(default_factory=dict)
    trade_clocks: list[TradeClock] = field(default_factory=list)
    halted: str | None = None
    reducing: dict[str, str] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)
    differences: dict[str, int] = field(default_factory=dict)
    seen_trades: dict[str, int] = field(default_factory=dict)
    quarantine_until_ns: int = 0
    shadow: bool = False
    stopping: str = ""
    clock_warned: bool = False
    last_halt_alarm_ns: int = 0
    lag_ms: int = 0
    followed: list[Symbol] = field(default_factory=list)
    gaps: int = 0
    gap: Gap | None = None
    last_gap: Gap | None = None
    heard: Heard | None = None
    previous_epoch: int | None = None
    """The run before this one in the ledger; None where nobody says, as in a recording of an earlier version."""
    takeover: bool = False
    attribution: Attribution = field(default_factory=Attribution)
    heard_changes: dict[str, int] = field(default_factory=dict)
    budget: BudgetChanged | None = None
    silent_until_ns: int = 0
    banned: bool = False
    settlements: dict[Symbol, Settlement] = field(default_factory=dict)
    ramp_until_ns: int = 0
    maintained: bool = False
    """True until the book is LIVE: since a refusal for maintenance, or a resume that an earlier run did not live to see."""
    polled_ns: int = 0
    audit_asked_ns: int = 0
    """When an audit was last asked to confirm something, however long its answer takes."""
    near: list[str] = field(default_factory=list)
    """Positions that no hedge steers and that a person was told are near their liquidation."""
    stops: dict[ClientOrderId, Stop] = field(default_factory=dict)
    backstops: dict[Symbol, Backstop] = field(default_factory=dict)


def trading_state(memory: State) -> TradingState:
    """Return the global state: a halt wins, then any named reason to reduce."""
    if memory.halted is not None:
        return TradingState.HALTED
    return TradingState.REDUCING if memory.reducing else TradingState.ACTIVE


def symbol_state(memory: SymbolMemory) -> SymbolState:
    """Return the state of one symbol."""
    if memory.block is not None:
        return SymbolState.BLOCKED
    return SymbolState.REDUCE_ONLY if memory.reduce_only else SymbolState.OPEN


@state
class Core:
    """The state together with what one reaction collects. Lives for one reaction at a time."""

    state: State
    policy: Policy
    now_ns: int = 0
    commands: list[Command] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    policy_hash: str = ""
    """Names the policy in force; it stands on every order (R17)."""
    triggers: TriggerIndex | None = None
    """Derived from the book, see near.py."""

    def note(self, code: str, level: Level, symbol: Symbol | None, text: str, **data: object) -> None:
        """Add a note; figures ride in ``data`` as JSON-ready values."""
        self.notes.append(Note(code=code, level=level, symbol=symbol, text=text, data=data))

    def trip(self, control: str) -> None:
        """Count a control that acted."""
        triggers = self.state.meter.triggers
        triggers[control] = triggers.get(control, 0) + 1

    def persist(self, table: str, key: str, **fields: object) -> None:
        """Ask for a ledger row."""
        self.commands.append(Persist(table=table, key=key, fields=fields))

    def persist_pace(self, memory: SymbolMemory) -> None:
        """Ask for the row that keeps the pace of a symbol over a restart."""
        self.persist(
            "state",
            f"pace:{memory.symbol}",
            paced=memory.paced,
            cutting=memory.cutting.value if memory.cutting is not None else None,
            cut_to=str(memory.cut_to),
        )

    def open_orders(self) -> list[Order]:
        """Return our orders that may still change a position, oldest first."""
        return [self.state.orders[client_id] for client_id in self.state.open_ids]

    def hears_first(self, who: str, event: AccountUpdate, row: BalanceRow) -> bool:
        """Return whether one reader hears a change of a balance for the first time.

        The same change comes twice over two sockets, and late after a newer one: it counts once, whenever it comes.
        """
        heard = self.state.heard_changes
        name = (
            f"{who}:{event.transaction_time_ms}:{event.reason}:{event.funding_symbol or ''}:{row.asset}:{row.change}:"
            f"{row.wallet_balance}"
        )
        if name in heard:
            return False
        heard[name] = event.transaction_time_ms
        if len(heard) > HEARD_MOST:
            heard.pop(next(iter(heard)))
        return True

    def hedge_of(self, symbol: Symbol) -> HedgeParams | None:
        """Return the hedge that steers a symbol, None for other symbols."""
        for hedge in self.policy.hedges:
            if hedge.symbol == symbol:
                return hedge
        return None

    def knows_trade(self, event: ExecutionReport) -> bool:
        """Return whether a fill was told before: lately, or ever of an order of ours that is still remembered."""
        if f"{event.symbol}:{event.trade_id}" in self.state.seen_trades:
            return True
        order = self.state.orders.get(event.client_order_id)
        return order is not None and event.trade_id in (order.trade_ids or ())

    def memory_of(self, symbol: Symbol) -> SymbolMemory:
        """Return the memory of a symbol, made on first use."""
        memory = self.state.memory.get(symbol)
        if memory is None:
            memory = self.state.memory[symbol] = SymbolMemory(symbol=symbol)
        return memory
