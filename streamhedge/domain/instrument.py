"""What the venue says about a symbol: filters and margin brackets. Written at start and on contract news only."""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.values import Asset, Symbol, decimal_from, record


@record
class MarginBracket:
    """One row of the maintenance table; it holds notionals in (notional_floor, notional_cap].

    Args:
        notional_floor, notional_cap: Quote units; Decimal, or text or an integer that is one.
        maintenance_margin_rate: A fraction, 0.004 = 0.4 %.
        maintenance_amount: What makes the table continuous (the venue's ``cum``), quote units.
        max_leverage: The largest leverage setting whose positions may reach into this row.

    Raises:
        ValueError: a malformed number.
    """

    notional_floor: Decimal
    notional_cap: Decimal
    maintenance_margin_rate: Decimal
    maintenance_amount: Decimal
    max_leverage: int

    def __post_init__(self) -> None:
        for name in ("notional_floor", "notional_cap", "maintenance_margin_rate", "maintenance_amount"):
            object.__setattr__(self, name, decimal_from(getattr(self, name)))


@record
class Instrument:
    """Trading filters of one perpetual contract, in base and quote units."""

    symbol: Symbol
    base_asset: Asset
    quote_asset: Asset
    margin_asset: Asset
    contract_type: str
    status: str
    tick_size: Decimal
    step_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    market_max_quantity: Decimal
    min_notional: Decimal
    multiplier_up: Decimal
    multiplier_down: Decimal
    taker_fee_rate: Decimal
    brackets: tuple[MarginBracket, ...]
    funding_interval_hours: int = 8
