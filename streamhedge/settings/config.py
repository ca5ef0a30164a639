"""TOML files, environment and --set to one checked configuration, and from there to what the rules read.

Later files win, then STREAMHEDGE__… variables, then --set. Every value knows where it came from. An unknown key, a missing
limit or a contradiction refuses to start, with file, line, key and what to do.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from streamhedge.domain.spot import USD_QUOTES, SpotPair, pair_of
from streamhedge.domain.values import ONE, Asset, Symbol, divide, plain_text, record
from streamhedge.errors import ConfigError
from streamhedge.rules.allocation import check_allocation
from streamhedge.rules.backstop import check_backstop
from streamhedge.rules.funding import check_funding
from streamhedge.rules.liquidation import check_ladder
from streamhedge.rules.params import (
    AllocationParams,
    BackstopParams,
    CloseAction,
    FundingParams,
    HedgeParams,
    LadderParams,
    Limits,
    Policy,
)
from streamhedge.settings.endpoints import Endpoints, checked
from streamhedge.settings.model import EndpointsTable, HedgeTable, Settings
from streamhedge.settings.places import Places, Source, explained

ENV_PREFIX = "STREAMHEDGE__"
PACKAGED = "demo.toml"
FAULTS_MOST = 40
COMPARED = ("hedge", "ladder", "limits", "funding_policy", "backstop", "usd_per_quote")
"""Tables whose changes a running hedger takes, or names key by key."""
LINE_MOST = 400
HEAD = "the configuration does not fit; nothing was started"


@record
class Config:
    """A checked configuration with the origin of each value."""

    settings: Settings
    origins: dict[str, str]

    def policy(self) -> Policy:
        """Return what the rules read."""
        return _policy(self.settings)

    def canonical(self) -> dict[str, Any]:
        """Return the effective values, JSON-ready; they hold no secret, only where secrets come from."""
        found: dict[str, Any] = orjson.loads(orjson.dumps(self.settings.model_dump(), default=_plain))
        return found

    def tables_changed(self, other: Config) -> list[str]:
        """Return what else differs but what a running hedger compares itself (``rules.reload``), as it is written."""
        here, there = self.canonical(), other.canonical()
        return [
            name if not isinstance(here[name] or there[name], dict | list) else f"[{name}]"
            for name in here
            if here[name] != there[name] and name not in COMPARED
        ]

    def hash(self) -> str:
        """Return 16 hex digits over the effective values; the same values give the same, however they were written."""
        return hashlib.sha256(orjson.dumps(self.canonical(), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def show(self) -> list[tuple[str, str, str]]:
        """Return (key, value, origin) of every value."""
        rows = []
        for key, value in _flat(self.canonical()).items():
            rows.append((key, str(value), self.origins.get(key, "default")))
        return rows


def load_config(paths: Sequence[Path], sets: Sequence[str], env: Mapping[str, str]) -> Config:
    """Return the effective configuration.

    Args:
        paths: TOML files, later wins; none means the packaged demo.
        sets: ``a.b=value`` words.
        env: The environment.

    Raises:
        ConfigError: says file, line, key, reason and what to do.
    """
    return config_of(_sources(paths), sets, env)


def config_of(sources: Sequence[Source], sets: Sequence[str], env: Mapping[str, str]) -> Config:
    """Return the configuration of texts that need not be files yet; as ``load_config``."""
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        table = _parse(source)
        _merge(merged, table)
        origins.update({key: source.name for key in _flat(table)})
    for word, value in _env_words(env):
        _assign(merged, word, value, origins, f"environment {ENV_PREFIX}{word.upper().replace('.', '__')}")
    for said in sets:
        word, equals, value = said.partition("=")
        if not equals:
            raise ConfigError(f"--set {said}: expected key=value, e.g. --set limits.max_naked='50_000 USDT'")
        _assign(merged, word.strip(), value.strip(), origins, "--set")
    places = Places(sources=sources, origins=origins, merged=merged)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        # Not chained: what did not fit may be a key that somebody pasted.
        raise ConfigError(_listed(explained(error, places))) from None
    faults = [f"{places.of(key)}: {reason}" for key, reason in _contradictions(settings)]
    if faults:
        raise ConfigError(_listed(faults))
    return Config(settings=settings, origins=origins)


def _listed(faults: Sequence[str]) -> str:
    """Return one line per fault, as many as a person reads."""
    more = [f"… and {len(faults) - FAULTS_MOST} more"] if len(faults) > FAULTS_MOST else []
    return HEAD + "".join(f"\n  {line[:LINE_MOST]}" for line in [*faults[:FAULTS_MOST], *more])


def check_account(settings: Settings, fingerprint: str) -> None:
    """Refuse an API key that is not the one the configuration means (FAULTS K2).

    Args:
        settings: The configuration; `live` must state ``keys.account``, the other venues may.
        fingerprint: Of the key that would be used.

    Raises:
        ConfigError: it is another account's, or a live configuration does not say whose.
    """
    said = settings.keys.account if settings.keys is not None else None
    if said is None and settings.venue == "live":
        raise ConfigError(
            f'venue live needs [keys] account, the fingerprint of the key that is meant; this key has "{fingerprint}": '
            "check that it is the right account, then write it; nothing was started"
        )
    if said is not None and said.strip().lower() != fingerprint:
        raise ConfigError(
            f'keys.account says "{said}", this key has the fingerprint "{fingerprint}": it is another account\'s; nothing '
            "was started"
        )


def _contradictions(settings: Settings) -> list[tuple[str, str]]:
    """Return (key, reason) of values that are well by themselves and do not go together."""
    found = []
    policy = _policy(settings)
    ladder = policy.ladder
    try:
        check_ladder(ladder)
    except ConfigError as error:
        found.append(("ladder", str(error)))
    if policy.backstop is not None:
        try:
            check_backstop(policy.backstop, ladder)
        except ConfigError as error:
            found.append(("backstop", str(error)))
    if policy.allocation is not None:
        try:
            check_allocation(policy.allocation)
        except ConfigError as error:
            found.append(("allocation", str(error)))
    if policy.funding is not None:
        try:
            check_funding(policy.funding, policy.hedges)
        except ConfigError as error:
            found.append(("funding_policy", str(error)))
    for index, row in enumerate(settings.hedge):
        for earlier in settings.hedge[:index]:
            for name in ("asset", "symbol"):
                if getattr(row, name) == getattr(earlier, name):
                    found.append((f"hedge.{row.asset}.{name}", f"two hedges of {name} {getattr(row, name)}"))
        if row.leverage > settings.limits.max_leverage:
            reason = f"hedge {row.asset}: leverage {row.leverage} is above limits.max_leverage {settings.limits.max_leverage}"
            found.append((f"hedge.{row.asset}.leverage", reason))
        if row.margin == "isolated" and divide(ONE, Decimal(row.leverage)) <= ladder.reopen:
            found.append((f"hedge.{row.asset}.leverage", _inside_its_ladder(row, ladder.reopen)))
    steered = [row.symbol for row in settings.hedge]
    for table in settings.manual:
        if table.symbol in steered:
            found.append(("manual", f"{table.symbol} is steered by a hedge: the rule would undo every order by hand"))
    if settings.endpoints is not None:
        said = settings.endpoints
        try:
            checked(configured(said), venue=settings.venue)
        except ConfigError as error:
            found.append(("endpoints", str(error)))
        if settings.spot is not None and not said.spot_ws_api:
            found.append(("endpoints", "[spot] needs spot_ws_api: where the spot WebSocket API is"))
    return [*found, *_of_spot(settings)]


def configured(table: EndpointsTable) -> Endpoints:
    """Return the addresses that ``[endpoints]`` says."""
    return Endpoints(rest=table.rest, stream=table.stream, ws_api=table.ws_api, spot_ws_api=table.spot_ws_api)


def spot_pairs(settings: Settings) -> dict[Symbol, SpotPair]:
    """Return the spot symbols whose fills become float trades."""
    symbols = settings.spot.symbols if settings.spot is not None else []
    found = [pair_of(symbol, [row.asset for row in settings.hedge]) for symbol in symbols]
    return {pair.symbol: pair for pair in found if pair is not None}


def _of_spot(settings: Settings) -> list[tuple[str, str]]:
    if settings.spot is None:
        return []
    pairs, symbols = spot_pairs(settings), settings.spot.symbols
    found = [
        (
            "spot.symbols",
            f"{symbol} is no float asset of a [[hedge]] against {', '.join(USD_QUOTES)}: its fills would move no float",
        )
        for symbol in symbols
        if symbol not in pairs
    ]
    twice = [symbol for number, symbol in enumerate(symbols) if symbol in symbols[:number]]
    return [*found, *(("spot.symbols", f"{symbol} is said twice") for symbol in twice)]


def _inside_its_ladder(row: HedgeTable, reopen: Decimal) -> str:
    """Say why an isolated short cannot be held: 1/leverage is the best case, maintenance margin and fees take from it."""
    most = max((n for n in range(1, row.leverage) if divide(ONE, Decimal(n)) > reopen), default=None)
    lower = f"leverage {most} or lower, or " if most is not None else ""
    return (
        f"hedge {row.asset}: an isolated {row.leverage}x short opens at most "
        f"{plain_text(round(divide(Decimal(100), Decimal(row.leverage)), 2))} % from liquidation, below reopen "
        f'{plain_text(reopen * 100)} %: it would be cut at once; use {lower}margin = "cross"'
    )


def _plain(value: object) -> str:
    return plain_text(value) if isinstance(value, Decimal) else str(value)


def _sources(paths: Sequence[Path]) -> list[Source]:
    if not paths:
        packaged = files("streamhedge.settings").joinpath(PACKAGED).read_text(encoding="utf-8")
        return [Source(f"packaged {PACKAGED}", packaged)]
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                    raise ConfigError(f"{path}: anybody may write to it, and it says what is traded: chmod o-w it")
                found.append(Source(str(path), file.read().decode("utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise ConfigError(f"{path}: {reason}; name a TOML file with -c") from error
    return found


def _parse(source: Source) -> dict[str, Any]:
    try:
        return tomllib.loads(source.text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        place = f"{source.name}:{at.group(1)}" if at else f"{source.name}:{len(source.text.splitlines())}"
        raise ConfigError(f"{place}: not TOML: {error}") from None


def _merge(target: dict[str, Any], table: Mapping[str, Any]) -> None:
    """Lay a later file over the earlier ones: tables key by key, hedges by their asset, other lists whole."""
    for key, value in table.items():
        held = target.get(key)
        if isinstance(value, dict) and isinstance(held, dict):
            _merge(held, value)
        elif key == "hedge" and isinstance(value, list) and isinstance(held, list):
            _merge_hedges(held, value)
        else:
            target[key] = value


def _merge_hedges(held: list[Any], rows: list[Any]) -> None:
    waiting = {row["asset"]: row for row in held if isinstance(row, dict) and "asset" in row}
    for row in rows:
        # Twice in one file stays twice, and is refused.
        earlier = waiting.pop(row["asset"], None) if isinstance(row, dict) and "asset" in row else None
        if earlier is None:
            held.append(row)
        else:
            _merge(earlier, row)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{key}."))
        elif isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            for index, row in enumerate(value):
                found.update(_flat(row, f"{prefix}{key}.{row.get('asset', index)}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _env_words(env: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        (name[len(ENV_PREFIX) :].lower().replace("__", "."), value)
        for name, value in sorted(env.items())
        if name.startswith(ENV_PREFIX)
    ]


def _assign(target: dict[str, Any], word: str, value: str, origins: dict[str, str], origin: str) -> None:
    """Set one value; ``hedge.BTC.band`` names an item of a list by its asset."""
    parts = word.split(".")
    said = f"{origin} {word}" if origin == "--set" else origin
    if not all(parts):
        raise ConfigError(f"{said}: expected table.key, e.g. limits.max_naked")
    *path, last = parts
    table: Any = target
    if path[:1] == ["hedge"] and len(path) == 2:
        asset = path[1].upper()
        hedges = target.get("hedge")
        tables = [row for row in hedges if isinstance(row, dict)] if isinstance(hedges, list) else []
        rows = [row for row in tables if str(row.get("asset", "")).upper() == asset]
        if not rows:
            raise ConfigError(f"{said}: there is no [[hedge]] for {asset}")
        table, path = rows[0], ["hedge", asset]
    else:
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                hint = "; name the item, e.g. hedge.BTC.band" if part == "hedge" else ""
                raise ConfigError(f"{said}: {part} is not a table{hint}")
    table[last] = [item for item in value.split(";") if item] if last == "faults" else value
    origins[".".join([*path, last])] = origin


def _policy(settings: Settings) -> Policy:
    ladder, limits = settings.ladder, settings.limits
    return Policy(
        hedges=tuple(
            HedgeParams(
                asset=Asset(row.asset),
                symbol=Symbol(row.symbol),
                initial=row.initial,
                ratio=row.ratio,
                band=row.band,
                max_short=row.max_short,
                max_order_quantity=row.max_order_quantity,
                leverage=row.leverage,
                isolated=row.margin == "isolated",
                naked_alert_after_ms=row.naked_alert_after,
            )
            for row in settings.hedge
        ),
        ladder=LadderParams(
            warn=ladder.warn,
            reduce=ladder.reduce,
            close=ladder.close,
            reopen=ladder.reopen,
            rehedge=ladder.rehedge if ladder.rehedge is not None else ladder.reopen,
            close_action=CloseAction(ladder.close_action),
            cooldown_ms=ladder.cooldown,
            raise_step=ladder.raise_step,
            reopen_after_adl_ms=ladder.reopen_after_adl,
            reopen_after_liquidation_ms=ladder.reopen_after_liquidation,
            reopen_after_settlement_ms=ladder.reopen_after_settlement,
        ),
        limits=Limits(
            max_short_ratio=limits.max_short_ratio,
            max_intents_per_symbol_per_minute=limits.max_intents_per_symbol_per_minute,
            max_open_intents=limits.max_open_intents,
            unacked_critical_after_ms=limits.unacked_critical_after,
            max_order_notional=limits.max_order_notional,
            max_leverage=limits.max_leverage,
            max_orders_per_minute=limits.max_orders_per_minute,
            max_turnover_per_day=limits.max_turnover_per_day,
            max_naked=limits.max_naked,
            max_trade=limits.max_trade,
            unrealised_loss_alarm=limits.unrealised_loss_alarm,
            hedge_loss_per_day=limits.hedge_loss_per_day,
            price_collar=limits.price_collar,
            price_collar_urgent=limits.price_collar_urgent,
            external_trades_per_minute=limits.external_trades_per_minute,
            repeated_same_side_fills=limits.repeated_same_side_fills,
            stale_after_ms=limits.stale_after,
            receive_lag_ms=limits.receive_lag,
            request_timeout_ms=limits.request_timeout,
            recv_window_ms=limits.recv_window,
        ),
        margin_asset=Asset("USDT"),
        manual=tuple(
            HedgeParams(
                asset=Asset(row.asset),
                symbol=Symbol(row.symbol),
                initial=Decimal(0),
                ratio=Decimal(0),
                band=Decimal(0),
                max_short=row.max_short,
                max_order_quantity=row.max_order_quantity,
                leverage=row.leverage,
                isolated=row.margin == "isolated",
                naked_alert_after_ms=0,
            )
            for row in settings.manual
        ),
        allocation=_allocation(settings),
        funding=_funding(settings),
        backstop=_backstop(settings),
    )


def _funding(settings: Settings) -> FundingParams | None:
    table = settings.funding_policy
    if table is None:
        return None
    return FundingParams(
        ratio_min=table.ratio_min,
        horizon_ms=table.horizon,
        risk_lambda=table.risk_lambda,
        volatility=table.volatility,
        half_spread=table.half_spread,
    )


def _backstop(settings: Settings) -> BackstopParams | None:
    table = settings.backstop
    return BackstopParams(distance=table.distance) if table is not None and table.enabled else None


def _allocation(settings: Settings) -> AllocationParams | None:
    table = settings.allocation
    if table is None:
        return None
    return AllocationParams(
        asset=Asset(settings.hedge[0].asset),
        target_usd=table.target_usd,
        threshold=table.threshold,
        floor=table.floor,
        ceiling=table.ceiling,
    )
