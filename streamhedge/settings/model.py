"""The shape of the configuration, typed and without defaults for limits. An unknown key is an error.

Where a value may be a secret, or lead to one, no message repeats it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from streamhedge.errors import ParseError
from streamhedge.settings.secrets import SOURCES
from streamhedge.settings.units import amount, fraction, milliseconds, split_unit, whole
from streamhedge.wire.streams import name_of

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def _money(value: object) -> Decimal:
    number, unit = split_unit(value)
    if unit not in ("", "USDT", "USDC", "USD"):
        raise ValueError(f"expected quote money like '50 USDT', got {value!r}")
    return number


def _never_or_milliseconds(value: object) -> int | None:
    return None if value in ("never", None) else milliseconds(value)


def _source(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f'say where it comes from, e.g. {{ env = "NAME" }}: one of {", ".join(SOURCES)}')
    ((kind, where),) = value.items()
    if kind not in SOURCES or not isinstance(where, str) or not where:
        raise ValueError(f"no such source: use one of {', '.join(SOURCES)} with a name")
    return {kind: where}


def _listen(value: str) -> str:
    host, _, port = value.rpartition(":")
    if host not in LOOPBACK_NAMES or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("expected a loopback address like '127.0.0.1:8787'; reach it from elsewhere through ssh -L")
    return value


def _symbol(value: str) -> str:
    try:
        return name_of(value)
    except ParseError as error:
        raise ValueError(f"expected a symbol as the venue writes it, like 'BTCUSDT': {error}") from error


def _unless_empty(value: object) -> object:
    return None if value == {} else value


def _shown(*examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"], "examples": list(examples)})


Money = Annotated[Decimal, BeforeValidator(_money), _shown("50 USDT")]
Base = Annotated[Decimal, _shown("10 BTC")]
Fraction = Annotated[Decimal, BeforeValidator(fraction), _shown("20 %", "0.2")]
Milliseconds = Annotated[int, BeforeValidator(milliseconds), _shown("250ms", "2s", "10m", "8h", "7d")]
OptionalMilliseconds = Annotated[int | None, BeforeValidator(_never_or_milliseconds), _shown("never", "5s")]
Whole = Annotated[int, BeforeValidator(whole)]
SymbolName = Annotated[str, AfterValidator(_symbol)]
Source = Annotated[dict[str, str], BeforeValidator(_source)]


class Part(BaseModel):
    """A table of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class HedgeTable(Part):
    """One ``[[hedge]]``."""

    asset: str = Field(pattern="^[A-Z0-9]+$")
    initial: Base = Field(ge=0)
    symbol: SymbolName
    ratio: Fraction = Field(gt=0, le=1)
    band: Money = Field(gt=0)
    max_short: Base = Field(gt=0)
    max_order_quantity: Base = Field(gt=0)
    leverage: Whole = Field(ge=1, le=150)
    margin: Literal["cross", "isolated"]
    naked_alert_after: Milliseconds

    @field_validator("initial", "max_short", "max_order_quantity", mode="before")
    @classmethod
    def _in_asset(cls, value: object, info: ValidationInfo) -> Decimal:
        return amount(value, unit=info.data["asset"]) if "asset" in info.data else split_unit(value)[0]


class ManualTable(Part):
    """One ``[[manual]]``: a symbol that no hedge steers and that a program may trade by hand, within these limits."""

    asset: str = Field(pattern="^[A-Z0-9]+$")
    symbol: SymbolName
    max_short: Base = Field(gt=0)
    max_order_quantity: Base = Field(gt=0)
    leverage: Whole = Field(ge=1, le=150)
    margin: Literal["cross", "isolated"]

    @field_validator("max_short", "max_order_quantity", mode="before")
    @classmethod
    def _in_asset(cls, value: object, info: ValidationInfo) -> Decimal:
        return amount(value, unit=info.data["asset"]) if "asset" in info.data else split_unit(value)[0]


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
    unacked_critical_after: Milliseconds = Field(gt=0)
    max_order_notional: Money = Field(gt=0)
    max_leverage: Whole = Field(ge=1)
    max_orders_per_minute: Whole = Field(ge=1, le=1200)
    max_turnover_per_day: Money = Field(gt=0)
    max_naked: Money = Field(gt=0)
    max_trade: Money = Field(gt=0)
    unrealised_loss_alarm: Money = Field(lt=0)
    hedge_loss_per_day: Money = Field(gt=0)
    price_collar: Fraction = Field(gt=0, lt=Decimal("0.05"))
    price_collar_urgent: Fraction | None = Field(default=None, gt=0, lt=Decimal("0.05"))
    external_trades_per_minute: Whole = Field(ge=0)
    repeated_same_side_fills: Whole = Field(ge=1)
    stale_after: Milliseconds = Field(gt=0)
    receive_lag: Milliseconds = Field(gt=0)
    request_timeout: Milliseconds = Field(gt=0)
    recv_window: Milliseconds = Field(gt=0, le=60_000)

    @model_validator(mode="after")
    def _urgent_is_wider(self) -> LimitsTable:
        if self.price_collar_urgent is not None and self.price_collar_urgent < self.price_collar:
            raise ValueError("price_collar_urgent is narrower than price_collar: an urgent order would fill less")
        return self


class BackstopTable(Part):
    """``[backstop]``: stops at the venue; ``distance`` is how far below liquidation they trigger."""

    enabled: bool
    distance: Fraction = Field(default=Decimal("0.10"), gt=0, lt=1)


class EndpointsTable(Part):
    """``[endpoints]``: hosts of ours instead of the venue's."""

    rest: str
    stream: str
    ws_api: str
    spot_ws_api: str = ""


class KeysTable(Part):
    """``[keys]``: where the keys come from, never the keys themselves; ``account`` is the fingerprint they must have."""

    api_key: Source
    api_secret: Source
    account: str | None = None


class SpotTable(Part):
    """``[spot]``: whose fills become float trades. The keys may be the spot account's own; without, those of [keys]."""

    symbols: list[str] = Field(min_length=1)
    api_key: Source | None = None
    api_secret: Source | None = None

    @model_validator(mode="after")
    def _keys_together(self) -> SpotTable:
        if (self.api_key is None) != (self.api_secret is None):
            raise ValueError("api_key and api_secret go together: say both, or neither for the keys of [keys]")
        return self


class AllocationTable(Part):
    """``[allocation]``: the float policy of the first hedge's asset; it suggests, it never trades."""

    target_usd: Fraction = Field(gt=0, lt=1)
    threshold: Fraction = Field(gt=0, lt=1)
    floor: Base = Field(ge=0)
    ceiling: Base = Field(gt=0)

    @field_validator("floor", "ceiling", mode="before")
    @classmethod
    def _number(cls, value: object) -> Decimal:
        return split_unit(value)[0]


class FundingPolicyTable(Part):
    """``[funding_policy]``: hedge less while funding costs more than trading and risk; every figure must be said."""

    ratio_min: Fraction = Field(ge=0, le=1)
    horizon: Milliseconds = Field(gt=0)
    risk_lambda: Decimal = Field(ge=0)
    volatility: Fraction = Field(ge=0)
    half_spread: Fraction = Field(ge=0)


class RecordTable(Part):
    """``[record]``."""

    dir: str = Field(min_length=1)
    rotate: Milliseconds = Field(default=3_600_000, gt=0)
    keep: Milliseconds = 7 * 86_400_000


class AlertTable(Part):
    """One ``[[alert]]``: a channel and the lowest level it hears. Read by the alerts (ops)."""

    url: Source
    min: Literal["info", "warning", "critical"] = "warning"


class HeartbeatTable(Part):
    """``[heartbeat]``: a dead man's switch somewhere else, and how often it is told that all is well (ops)."""

    url: Source
    every: Milliseconds = Field(default=60_000, ge=1_000)


class WebTable(Part):
    """``[web]``: where the local page listens, on loopback only; it acts only with a token. Read by the page (ops)."""

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:8787"
    token: Source | None = None


class SimTable(Part):
    """``[sim]``: the built-in exchange that ``venue = "sim"`` starts."""

    tape: str = "calm"
    speed: Whole = Field(default=1, ge=1, le=1000)
    seed: Whole = 7
    wallet: Money = Decimal(400_000)
    funding_every: Milliseconds = Field(default=8 * 3_600_000, gt=0)
    faults: list[str] = []


class Settings(Part):
    """The whole configuration."""

    venue: Literal["sim", "demo", "live"]
    usd_per_quote: Decimal | None = Field(default=None, gt=0, le=2)
    hedge: list[HedgeTable] = Field(min_length=1)
    ladder: LadderTable
    limits: LimitsTable
    endpoints: Annotated[EndpointsTable | None, BeforeValidator(_unless_empty)] = None
    keys: KeysTable | None = None
    manual: list[ManualTable] = []
    allocation: AllocationTable | None = None
    funding_policy: FundingPolicyTable | None = None
    spot: SpotTable | None = None
    backstop: BackstopTable | None = None
    alert: list[AlertTable] = []
    heartbeat: HeartbeatTable | None = None
    web: WebTable | None = None
    record: RecordTable | None = None
    sim: SimTable = SimTable()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file."""
    return Settings.model_json_schema()
