"""TOML files, environment and --set to one checked configuration, and from there to what the rules read.

Later files win, then STREAMHEDGE__… variables, then --set. Every value knows where it came from. An unknown key, a missing
limit or a contradiction refuses to start, with file, line, key and what to do.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from streamhedge.domain.values import Asset, Symbol, record
from streamhedge.errors import ConfigError
from streamhedge.rules.liquidation import check_ladder
from streamhedge.rules.params import CloseAction, HedgeParams, LadderParams, Limits, Policy
from streamhedge.settings.model import Settings

ENV_PREFIX = "STREAMHEDGE__"
PACKAGED = "demo.toml"


@record
class Config:
    """A checked configuration with the origin of each value."""

    settings: Settings
    origins: dict[str, str]

    def policy(self) -> Policy:
        """Return what the rules read.

        Raises:
            ConfigError: thresholds that contradict each other.
        """
        policy = _policy(self.settings)
        check_ladder(policy.ladder)
        return policy

    def canonical(self) -> dict[str, Any]:
        """Return the effective values, JSON-ready; they hold no secret, only where secrets come from."""
        found: dict[str, Any] = orjson.loads(orjson.dumps(self.settings.model_dump(), default=str))
        return found

    def hash(self) -> str:
        """Return 16 hex digits over the effective values."""
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
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    texts: list[tuple[str, str]] = []
    for name, text in _texts(paths):
        texts.append((name, text))
        _merge(merged, _parse(name, text), origins, name)
    for word, value in _env_words(env):
        _assign(merged, word, value, origins, f"environment {ENV_PREFIX}{word.upper().replace('.', '__')}")
    for said in sets:
        word, equals, value = said.partition("=")
        if not equals:
            raise ConfigError(f"--set {said}: expected key=value, e.g. --set limits.max_naked='50_000 USDT'")
        _assign(merged, word.strip(), value.strip(), origins, "--set")
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explained(error, texts, origins)) from error
    config = Config(settings=settings, origins=origins)
    config.policy()
    return config


def _texts(paths: Sequence[Path]) -> list[tuple[str, str]]:
    if not paths:
        return [(f"packaged {PACKAGED}", files("streamhedge.settings").joinpath(PACKAGED).read_text())]
    found = []
    for path in paths:
        try:
            found.append((str(path), path.read_text()))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: {getattr(error, 'strerror', None) or error}; name a TOML file with -c"
            ) from error
    return found


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not TOML: {error}") from error


def _merge(target: dict[str, Any], source: Mapping[str, Any], origins: dict[str, str], origin: str) -> None:
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value, origins, origin)
        else:
            target[key] = value
    for key in _flat(source):
        origins[key] = origin


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{key}."))
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for row in value:
                found.update(_flat(row, f"{prefix}{key}.{row.get('asset', '?')}."))
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
    parts = word.split(".")
    table: Any = target
    for index, part in enumerate(parts[:-1]):
        if part == "hedge" and index == 0 and len(parts) == 3:
            rows = [row for row in target.get("hedge", []) if str(row.get("asset", "")).upper() == parts[1].upper()]
            if not rows:
                raise ConfigError(f"{origin} {word}: there is no [[hedge]] for {parts[1]}")
            table = rows[0]
            break
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{origin} {word}: {part} is not a table")
    table[parts[-1]] = [item for item in value.split(";") if item] if parts[-1] == "faults" else value
    key = word if parts[0] != "hedge" else f"hedge.{parts[1].upper()}.{parts[-1]}"
    origins[key] = origin


def _explained(error: ValidationError, texts: Sequence[tuple[str, str]], origins: Mapping[str, str]) -> str:
    """Write every fault of the configuration as one line: where, key, reason, what to do."""
    lines = []
    for fault in error.errors():
        location = fault["loc"]
        key = ".".join(str(part) for part in location)
        last = str(location[-1])
        where = _where(last, texts, origins)
        if fault["type"] == "missing":
            lines.append(f"{key} is missing: it has no default, say it (in {texts[-1][0] if texts else 'a file'})")
        elif fault["type"] == "extra_forbidden":
            known = _known(location)
            guess = difflib.get_close_matches(last, known, n=1)
            hint = f"; did you mean {guess[0]}?" if guess else f"; known here: {', '.join(known)}"
            lines.append(f"{where}: unknown key {key}{hint}")
        else:
            reason = str(fault["msg"]).removeprefix("Value error, ")
            lines.append(f"{where}: {key}: {reason} (got {fault.get('input')!r})")
    return "the configuration does not fit; nothing was started\n  " + "\n  ".join(lines)


def _where(key: str, texts: Sequence[tuple[str, str]], origins: Mapping[str, str]) -> str:
    for word, origin in origins.items():
        if word.split(".")[-1] == key and (origin.startswith("environment") or origin == "--set"):
            return f"{origin} ({word})"
    for name, text in reversed(texts):
        for number, line in enumerate(text.splitlines(), 1):
            if re.match(rf"\s*\[*\s*{re.escape(key)}\s*[=\].]", line):
                return f"{name}:{number}"
    return texts[-1][0] if texts else "configuration"


def _known(location: Sequence[Any]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, str):
            model = _model_of(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_of(annotation: Any) -> Any:
    for inner in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return Settings


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
    )
