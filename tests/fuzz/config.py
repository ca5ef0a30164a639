"""The door of the configuration: TOML files, environment and --set words through ``load_config``."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from random import Random
from typing import Any

from streamhedge.errors import ConfigError
from streamhedge.settings.config import Config, load_config
from tests.fuzz.cases import REFUSED, VALID, Finding, Verdict, watched
from tests.fuzz.machine import steering
from tests.fuzz.mutator import Mutator, Raw, Twice, places, plain
from tests.support.machines import DEMO

SECRET = "hunter2-canary"
UNITS = ("USDT", "BTC", "%", "s", "ms", "m", "h", "d", "", "USDC", "parsec", "％")
WRITTEN = (
    "0",
    "-1",
    "0.1",
    "1e5",
    "9" * 400,
    "1_000",
    "1__0",
    "_1",
    "NaN",
    "inf",
    "never",
    "１",
    "1.5.2",
    "250_000",
    " 7 ",
    "0x1F",
)
FOREIGN = (
    "nan",
    "-inf",
    "1e999",
    "0x1F",
    "1979-05-27T07:32:00Z",
    "[1, 2]",
    "{ env = 'X' }",
    "'''a\nb'''",
    '"\\u202e"',
    "true",
)
KEYS = (
    "band",
    "max_naked",
    "hedge",
    "limits",
    "keys",
    "__class__",
    "venue",
    "zz",
    "a.b",
    "\u202e",
    "leverage",
    "asset",
)
SETS = (
    *(
        "limits.max_naked",
        "hedge.BTC.band",
        "hedge.ETH.band",
        "hedge.band",
        "venue",
        "sim.faults",
        "a..b",
        "",
        "=",
        "keys.api_key",
    ),
    *("limits.max_naked.x", "hedge", "hedge.BTC", "ladder", "\x1b[2J.x", "sim.seed"),
)


class Door:
    """Bends the packaged demo's configuration."""

    def __init__(self, rng: Random, folder: Path) -> None:
        self.rng = rng
        self._mutator = Mutator(rng)
        self._path = folder / "bent.toml"
        self._whole = tomllib.loads(DEMO.read_text(encoding="utf-8"))
        self._whole["keys"] = {"api_key": {"env": "KEY"}, "api_secret": {"env": "SECRET"}}
        self._whole["alert"] = [{"url": {"env": "ALERT"}, "min": "warning"}]
        self._whole["record"] = {"dir": "recordings", "rotate": "1h", "keep": "7d"}
        self._whole["manual"] = [
            {
                "asset": "ETH",
                "symbol": "ETHUSDT",
                "max_short": "5 ETH",
                "max_order_quantity": "1 ETH",
                "leverage": 2,
                "margin": "cross",
            }
        ]

    def case(self) -> Verdict:
        """Bend one file, with now and then a --set word or a variable beside it."""
        frame = self._bent()
        rng = self.rng
        sets = [f"{rng.choice(SETS)}={self._said()}"] if rng.random() < 0.2 else []
        env = (
            {f"STREAMHEDGE__{rng.choice(SETS).upper().replace('.', '__')}": self._said()} if rng.random() < 0.1 else {}
        )
        shown = frame + f"\n# sets {sets} env {env}".encode("utf-8", "surrogatepass")
        self._path.write_bytes(frame)
        self._path.chmod(0o600)
        with watched(shown):
            try:
                found = load_config([self._path], sets, env)
            except ConfigError as error:
                self._check_words(str(error), shown)
                return Verdict(self._parses(frame), REFUSED)
            self._check(found, shown)
        return Verdict(True, VALID)

    def _said(self) -> str:
        return self.rng.choice((*WRITTEN, "50 USDT", "cross", "")) + self.rng.choice(("", " ", " USDT", "%"))

    def _bent(self) -> bytes:
        rng = self.rng
        whole = copy.deepcopy(self._whole)
        for _ in range(rng.choice((1, 1, 1, 2))):
            self._fault(whole)
        raw = toml(whole).encode("utf-8", "surrogatepass")
        if rng.random() < 0.08:
            return self._mutator.broken(raw)
        if rng.random() < 0.04:
            lines = raw.split(b"\n")
            rng.shuffle(lines)
            return b"\n".join(lines)
        return raw

    def _fault(self, whole: dict[str, Any]) -> None:
        rng = self.rng
        parent, key, value = rng.choice(places(whole))
        kind = rng.randrange(12)
        if kind >= 9 and isinstance(value, str | int | float) and not isinstance(value, bool):
            parent[key] = rng.choice(self._likely(str(value)))
            return
        if kind == 0:
            del parent[key]
        elif kind == 1:
            parent[key] = plain(self._mutator.strange())
        elif kind == 2:
            parent[key] = Raw(rng.choice(FOREIGN))
        elif kind == 3 and isinstance(parent, dict):
            parent[rng.choice(KEYS)] = rng.choice((value, 1, "x", True, ["y"]))
        elif kind == 4 and isinstance(parent, dict):
            parent[key] = Twice(value, value)
        elif kind == 5:
            whole["keys"] = rng.choice(
                (
                    {"api_key": SECRET},
                    {"api_key": {"env": "A", "file": SECRET}},
                    [SECRET],
                    {"api_secret": {"x": SECRET}},
                )
            )
        elif kind == 6 and isinstance(value, list):
            parent[key] = value * rng.choice((2, 50))
        else:
            parent[key] = f"{rng.choice(WRITTEN)} {rng.choice(UNITS)}"

    @staticmethod
    def _likely(said: str) -> tuple[str, ...]:
        """Return values that an operator might well have meant: another size, another way to write it."""
        number, _, unit = said.replace("_", "").partition(" ")
        return (
            f" {said} ",
            f"{number}{unit}",
            f"{number}.0 {unit}".strip(),
            f"1{said}",
            f"0{said}",
            said.lower(),
            said.upper(),
            number,
        )

    @staticmethod
    def _parses(frame: bytes) -> bool:
        try:
            tomllib.loads(frame.decode("utf-8"))
        except ValueError:
            return False
        return True

    @staticmethod
    def _check_words(said: str, frame: bytes) -> None:
        if SECRET in said:
            raise Finding("a message repeats what may be a secret", frame)
        if len(said) > 20_000:
            raise Finding(f"a message of {len(said)} characters", frame)

    @staticmethod
    def _check(found: Config, frame: bytes) -> None:
        """Hold an accepted configuration against what no accepted one may be: a limit that limits nothing."""
        policy = found.policy()
        json.dumps(found.canonical())
        found.hash()
        found.show()
        limits = policy.limits
        positive = (
            *(
                limits.max_order_notional,
                limits.max_turnover_per_day,
                limits.max_naked,
                limits.max_trade,
                limits.price_collar,
            ),
            *(limits.max_open_intents, limits.max_orders_per_minute, limits.stale_after_ms, limits.recv_window_ms),
            *(hedge.max_short for hedge in policy.hedges),
            *(hedge.max_order_quantity for hedge in (*policy.hedges, *policy.manual)),
        )
        if not policy.hedges or min(positive) <= 0 or limits.max_short_ratio > 1:
            raise Finding(f"accepted with a limit that is none: {positive}", frame)
        if any(steering(str(hedge.symbol)) for hedge in policy.hedges):
            raise Finding("accepted with a symbol that steers the terminal", frame)

    def close(self) -> None:
        """Leave nothing."""
        self._path.unlink(missing_ok=True)


def toml(whole: dict[str, Any]) -> str:
    """Return tables as TOML text; what has no TOML stands as JSON, which mostly is none."""
    plain_lines, tables = [], []
    for key, value in whole.items():
        if isinstance(value, dict):
            tables.append(f"[{_key(key)}]\n" + _lines(value))
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            tables += [f"[[{_key(key)}]]\n" + _lines(row) for row in value]
        else:
            plain_lines.append(_line(key, value))
    return "\n".join([*plain_lines, *tables]) + "\n"


def _lines(table: dict[str, Any]) -> str:
    return "\n".join(_line(key, value) for key, value in table.items())


def _line(key: str, value: Any) -> str:
    if isinstance(value, Twice):
        return f"{_line(key, value.first)}\n{_line(key, value.then)}"
    return f"{_key(key)} = {_value(value)}"


def _key(key: str) -> str:
    return key if key.replace("_", "").isalnum() and key.isascii() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, Twice):
        return _value(value.then)
    return json.dumps(value)
