"""The shape of the configuration, typed and without defaults for limits. An unknown key is an error."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from streamhedge.settings.units import amount, fraction, milliseconds, split_unit


def _money(value: object) -> Decimal:
    number, unit = split_unit(value)
    if unit not in ("", "USDT", "USDC", "USD"):
        raise ValueError(f"expected quote money like '50 USDT', got {value!r}")
    return number


def _base(value: object) -> Decimal:
    return split_unit(value)[0]


def _never_or_milliseconds(value: object) -> int | None:
    return None if value in ("never", None) else milliseconds(value)


Money = Annotated[Decimal, BeforeValidator(_money)]
Base = Annotated[Decimal, BeforeValidator(_base)]
Fraction = Annotated[Decimal, BeforeValidator(fraction)]
Milliseconds = Annotated[int, BeforeValidator(milliseconds)]
OptionalMilliseconds = Annotated[int | None, BeforeValidator(_never_or_milliseconds)]
Whole = Annotated[int, BeforeValidator(lambda value: int(amount(value, unit="")) if isinstance(value, str) else value)]


class Part(BaseModel):
    """A table of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class HedgeTable(Part):
    """One ``[[hedge]]``."""

    asset: str
    initial: Base = Field(ge=0)
    symbol: str
    ratio: Fraction = Field(gt=0, le=1)
    band: Money = Field(gt=0)
    max_short: Base = Field(gt=0)
    max_order_quantity: Base = Field(gt=0)
    leverage: Whole = Field(ge=1, le=150)
    margin: Literal["cross", "isolated"]
    naked_alert_after: Milliseconds


class LadderTable(Part):
    """``[ladder]``."""

    warn: Fraction
    reduce: Fraction
    close: Fraction
    reopen: Fraction
    rehedge: Fraction | None = None
    close_action: Literal["restore", "flatten"]
    cooldown: Milliseconds
    raise_step: Fraction
    reopen_after_adl: OptionalMilliseconds
    reopen_after_liquidation: OptionalMilliseconds
    reopen_after_settlement: OptionalMilliseconds


class LimitsTable(Part):
    """``[limits]``: every one must be said."""

    max_short_ratio: Fraction = Field(gt=0, le=1)
    max_intents_per_symbol_per_minute: Whole = Field(ge=1)
    max_open_intents: Whole = Field(ge=1)
    unacked_critical_after: Milliseconds
    max_order_notional: Money = Field(gt=0)
    max_leverage: Whole = Field(ge=1)
    max_orders_per_minute: Whole = Field(ge=1, le=1200)
    max_turnover_per_day: Money = Field(gt=0)
    max_naked: Money = Field(gt=0)
    max_trade: Money = Field(gt=0)
    unrealised_loss_alarm: Money = Field(lt=0)
    hedge_loss_per_day: Money = Field(gt=0)
    price_collar: Fraction = Field(gt=0, lt=Decimal("0.05"))
    price_collar_urgent: Fraction | None = None
    external_trades_per_minute: Whole = Field(ge=0)
    repeated_same_side_fills: Whole = Field(ge=1)
    stale_after: Milliseconds
    receive_lag: Milliseconds
    request_timeout: Milliseconds
    recv_window: Milliseconds


class EndpointsTable(Part):
    """``[endpoints]``: hosts of ours instead of the venue's."""

    rest: str
    stream: str
    ws_api: str


class KeysTable(Part):
    """``[keys]``: where the keys come from, never the keys themselves."""

    api_key: dict[str, str]
    api_secret: dict[str, str]
    account: str | None = None


class RecordTable(Part):
    """``[record]``."""

    dir: str
    rotate: Milliseconds = 3_600_000
    keep: Milliseconds = 7 * 86_400_000


class SimTable(Part):
    """``[sim]``: the built-in exchange that ``venue = "sim"`` starts."""

    tape: str = "calm"
    speed: Whole = Field(default=1, ge=1, le=1000)
    seed: Whole = 7
    wallet: Money = Decimal(400_000)
    funding_every: Milliseconds = 8 * 3_600_000
    faults: list[str] = []


class Settings(Part):
    """The whole configuration."""

    venue: Literal["sim", "demo", "live"]
    hedge: list[HedgeTable] = Field(min_length=1)
    ladder: LadderTable
    limits: LimitsTable
    endpoints: EndpointsTable | None = None
    keys: KeysTable | None = None
    record: RecordTable | None = None
    sim: SimTable = SimTable()
