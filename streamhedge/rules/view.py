"""What a rule sees of one hedged symbol at one moment, and what it answers. Built by the reactor, never kept."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from streamhedge.domain.instrument import Instrument
from streamhedge.domain.order import OrderType, Purpose, Side, TimeInForce
from streamhedge.domain.values import ZERO, Symbol, record
from streamhedge.rules.params import HedgeParams, LadderParams, Limits
from streamhedge.rules.triggers import Rest


class TradingState(Enum):
    """Global state, PRODUCT §6."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class SymbolState(Enum):
    """State of one symbol, PRODUCT §6."""

    OPEN = "OPEN"
    REDUCE_ONLY = "REDUCE_ONLY"
    BLOCKED = "BLOCKED"


class BookStatus(Enum):
    """How far the book can be trusted."""

    COLD = "COLD"
    SYNCING = "SYNCING"
    LIVE = "LIVE"
    SUSPECT = "SUSPECT"


@record
class Leg:
    """Another position that shares the margin of a hedge (cross, same margin asset).

    ``pending_low`` is what our open orders there may still add, at most 0; ``cuts`` is True where a hedge of ours steers
    it and its ladder is on.
    """

    symbol: Symbol
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    instrument: Instrument
    pending_low: Decimal = ZERO
    cuts: bool = False

    @property
    def short_notional(self) -> Decimal:
        """Return the value of the short at the worst end of what is open, 0 for a long; quote units."""
        return max(ZERO, -(self.quantity + self.pending_low)) * self.mark_price


@record
class Peer:
    """Another hedge on the same margin: the short it is to hold, whether it does or not; base units."""

    symbol: Symbol
    wanted: Decimal
    mark_price: Decimal
    instrument: Instrument


@record
class HedgeView:
    """One hedged symbol as the rules see it.

    Args:
        params, ladder, limits: What the operator said.
        instrument: Filters and brackets.
        float_quantity: Float of the asset, base units.
        position: Confirmed position, signed, base units.
        entry_price: Entry price of the position, 0 when flat.
        pending_low, pending_high: What our open orders may still add to the position, signed; equal when nothing is
            open. In doubt or in flight SELL of n: (-n, 0).
        open_orders: How many of our orders on the symbol are not terminal.
        doubt_orders: How many of those are in doubt.
        mark_price, index_price: The latest frame's, 0 before the first.
        mark_age_ms: Age of that frame by receive time.
        mark_suspicious: True while a mark that jumped waits for its confirmation (HEDGING §3, outliers).
        isolated: Margin type of the symbol.
        wallet: Isolated wallet of the position, or the cross wallet of the margin asset, quote units.
        available: Available balance by the latest knowledge, quote units.
        leverage: The symbol's leverage setting.
        others: The other cross positions that share the margin, marked.
        rest: What the positions that no hedge steers sum up to, where ``others`` leaves them out because they are many and
            nothing on the margin is near its liquidation; then the joint reading is not computed.
        peers: The other hedges on the same margin.
        trading_state, symbol_state, book_status: Trust and permission at this moment.
        position_trusted: The position was confirmed by a snapshot since the last gap.
        paced: True after a cut until the hedge is whole again.
        last_paced_ns: Receive time of the last cut or raise while paced.
        zero_fills: Fills of zero in a row on this symbol (IOC outside the book).
        naked_since_ns: When naked exposure last went above the band; None while inside.
        retry_after_ns: No raising before this receive time (back-off after a refusal or a zero fill).
        reduce_after_ns: No reducing before this receive time; a refused raise does not set it.
        raise_after_ns: No raising before this receive time (what the venue closed, or the start-up quarantine).
        warned: True while the ladder's warning stands; it resolves one percentage point above ``warn``.
        now_ns: Receive time of the input that is being reacted to.
        lag_ms: How late the loop ran when it was last measured.
        unmarked: Other cross positions and hedges whose mark or brackets are not known: the margin cannot be computed.
        cutting: The step of a cut that has begun and is not finished; it goes on below its own threshold.
        cut_to: The short that cut is to leave, base units.
        ramp_until_ns: Until then raising is slow: after a halt was lifted, and after maintenance.
        ramp_first: True while nothing was raised since that began.
        raised_ns: When the last raising order was decided.
        polled_age_ms: Age of the mark when a position row gave it, because its stream is mute; None where none did.
        missing: How much less margin the venue sees behind this short while a margin call stands, quote units.
        stepped_up: True while a margin call has had no answer for too long: the ladder acts one step up.
        doubt_raises: True when what is in doubt would raise the short: only beside such an order may the ladder act.
    """

    params: HedgeParams
    ladder: LadderParams
    limits: Limits
    instrument: Instrument
    float_quantity: Decimal
    position: Decimal
    entry_price: Decimal
    pending_low: Decimal
    pending_high: Decimal
    open_orders: int
    doubt_orders: int
    mark_price: Decimal
    index_price: Decimal
    mark_age_ms: int
    mark_suspicious: bool
    isolated: bool
    wallet: Decimal
    available: Decimal
    leverage: int
    others: tuple[Leg, ...]
    trading_state: TradingState
    symbol_state: SymbolState
    book_status: BookStatus
    position_trusted: bool
    paced: bool
    last_paced_ns: int
    zero_fills: int
    naked_since_ns: int | None
    retry_after_ns: int
    raise_after_ns: int
    warned: bool
    now_ns: int
    lag_ms: int = 0
    unmarked: tuple[Symbol, ...] = ()
    cutting: LadderStep | None = None
    cut_to: Decimal = ZERO
    reduce_after_ns: int = 0
    doubt_raises: bool = False
    peers: tuple[Peer, ...] = ()
    rest: Rest | None = None
    ramp_until_ns: int = 0
    ramp_first: bool = False
    raised_ns: int = 0
    polled_age_ms: int | None = None
    missing: Decimal = ZERO
    stepped_up: bool = False

    @property
    def reducing_mark_age_ms(self) -> int:
        """Return the age of the mark that reducing and the ladder may use: a polled one counts for them."""
        return self.mark_age_ms if self.polled_age_ms is None else min(self.mark_age_ms, self.polled_age_ms)


@record
class IntentDraft:
    """An order a rule wants; the gate decides, the reactor numbers it."""

    symbol: Symbol
    side: Side
    quantity: Decimal
    type: OrderType
    price: Decimal | None
    time_in_force: TimeInForce | None
    reduce_only: bool
    purpose: Purpose
    target: Decimal
    reason: str


@record
class Remedy:
    """What would let the whole hedge stand again, HEDGING §3."""

    top_up: Decimal
    sell_quantity: Decimal
    sell_and_post_quantity: Decimal


@record
class Blocked:
    """Why a hedge is not at its policy short: a short cause word, a sentence for people, and the remedy if money is."""

    cause: str
    reason: str
    remedy: Remedy | None


@record
class HedgeVerdict:
    """Where the hedge stands and what to do now. Quantities signed base units except the shorts (sizes).

    ``draft`` None means nothing to send; ``hold`` then says why in one word (band, dust, in_flight, in_doubt, stale,
    state, margin, pace, retry, price …), and ``blocked`` is set when naked exposure above the band has a named reason.
    ``pace_over`` says that raising needs no pacing any more: the hedge is whole, or the margin carries all of it.
    """

    policy_short: Decimal
    capped: Decimal
    raisable: Decimal
    want: Decimal
    target: Decimal
    gap_low: Decimal
    gap_high: Decimal
    naked: Decimal
    dust: Decimal
    draft: IntentDraft | None
    hold: str
    blocked: Blocked | None
    pace_over: bool


class LadderStep(Enum):
    """The highest threshold that fires."""

    CLEAR = "clear"
    WARN = "warn"
    REDUCE = "reduce"
    CLOSE = "close"


@record
class LadderVerdict:
    """What the ladder reads and wants. Distances are fractions of the mark, signed; None when nothing can be liquidated.

    ``helpless`` says why no cut of this hedge brings the reading back to ``reopen``, empty where one does.
    """

    step: LadderStep
    liquidation_price: Decimal | None
    distance: Decimal | None
    joint_distance: Decimal | None
    cut_target: Decimal | None
    draft: IntentDraft | None
    hold: str
    remedy: Remedy | None
    helpless: str = ""
