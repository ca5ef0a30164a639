"""What the operator configured, as plain records. Limits have no defaults; every value here was said by a person."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from streamhedge.domain.values import Asset, Symbol, record


class CloseAction(Enum):
    """What the ladder does at ``close``."""

    RESTORE = "restore"
    FLATTEN = "flatten"


@record
class HedgeParams:
    """One float asset and the perpetual that hedges it. Quantities in base units, money in quote units."""

    asset: Asset
    symbol: Symbol
    initial: Decimal
    ratio: Decimal
    band: Decimal
    max_short: Decimal
    max_order_quantity: Decimal
    leverage: int
    isolated: bool
    naked_alert_after_ms: int


@record
class LadderParams:
    """Liquidation-distance thresholds as fractions (0.30 = 30 %), HEDGING §3. A reopen of None means never."""

    warn: Decimal
    reduce: Decimal
    close: Decimal
    reopen: Decimal
    rehedge: Decimal
    close_action: CloseAction
    cooldown_ms: int
    raise_step: Decimal
    reopen_after_adl_ms: int | None
    reopen_after_liquidation_ms: int | None
    reopen_after_settlement_ms: int | None


@record
class Limits:
    """Pre-trade controls; a missing one refuses to start."""

    max_short_ratio: Decimal
    max_intents_per_symbol_per_minute: int
    max_open_intents: int
    unacked_critical_after_ms: int
    max_order_notional: Decimal
    max_leverage: int
    max_orders_per_minute: int
    max_turnover_per_day: Decimal
    max_naked: Decimal
    max_trade: Decimal
    unrealised_loss_alarm: Decimal
    hedge_loss_per_day: Decimal
    price_collar: Decimal
    price_collar_urgent: Decimal | None
    external_trades_per_minute: int
    repeated_same_side_fills: int
    stale_after_ms: int
    receive_lag_ms: int
    request_timeout_ms: int
    recv_window_ms: int


@record
class BackstopParams:
    """Stops at the venue: they trigger at liquidation price / (1 + distance), a fraction."""

    distance: Decimal


@record
class AllocationParams:
    """The float policy: shares as fractions, floor and ceiling of the float in base units."""

    asset: Asset
    target_usd: Decimal
    threshold: Decimal
    floor: Decimal
    ceiling: Decimal


@record
class FundingParams:
    """The funding-aware ratio. ``volatility`` is yearly; ``risk_lambda`` is the price of one standard deviation."""

    ratio_min: Decimal
    horizon_ms: int
    risk_lambda: Decimal
    volatility: Decimal
    half_spread: Decimal


@record
class Policy:
    """Everything the rules read. ``manual`` allows orders by hand on symbols that no hedge steers, within its limits."""

    hedges: tuple[HedgeParams, ...]
    ladder: LadderParams
    limits: Limits
    margin_asset: Asset
    manual: tuple[HedgeParams, ...] = ()
    allocation: AllocationParams | None = None
    funding: FundingParams | None = None
    backstop: BackstopParams | None = None
