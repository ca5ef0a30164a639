"""Bends valid messages where it hurts: the structure is known, so most of them pass the JSON parser and meet the decoder.

Everything is drawn from one seeded generator; the same seed bends the same samples in the same way.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

Address = tuple[str | int, ...]
DEPTH_MOST = 2_000
ARRAY_MOST = 3_000
TEXT_MOST = 60_000


@dataclass(frozen=True, slots=True)
class Raw:
    """A part written as it stands: what no Python value says, such as NaN, 1e999 or a bottomless nesting."""

    text: str


@dataclass(frozen=True, slots=True)
class Twice:
    """A value whose key is written twice, first with another value: readers of JSON differ on which one counts."""

    first: Any
    then: Any


NUMBERS = (
    *(
        Raw("NaN"),
        Raw("Infinity"),
        Raw("-Infinity"),
        Raw("1e999"),
        Raw("-1E+999"),
        Raw("1e-999"),
        Raw("-0"),
        Raw("-0.0"),
    ),
    *(
        Raw("0.1"),
        Raw("1e20"),
        Raw("-1e21"),
        Raw("5e-324"),
        Raw("1" * 400),
        Raw("9" * 5_000),
        Raw("0." + "0" * 400 + "1"),
    ),
    *(0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**40),
)
WRITTEN = (
    *(
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "1e-999",
        "-0",
        "0",
        "-1",
        "",
        " ",
        "1_000",
        "0x10",
        "--5",
        "+7",
    ),
    *(
        "1e20",
        "-1e20",
        "9" * 20,
        "9" * 21,
        "-" + "9" * 20 + ".5",
        "0.00000000000000000001",
        "1E-20",
        "67121.4",
        "0.001",
    ),
    *("１２", "²", "1,5", "1.2.3", "9" * 400, "0." + "0" * 400 + "1", "null", "true", "1e5", "999999999", "10000000"),
)
WORDS = (
    *("NEW_2027", "FILLED", "NEW", "TRADE", "EXPIRED", "CANCELED", "CALCULATED", "AMENDMENT", "LONG", "SHORT", "BOTH"),
    *(
        "BUY",
        "SELL",
        "isolated",
        "cross",
        "ORDER",
        "FUNDING_FEE",
        "LIQUIDATION",
        "SETTLING",
        "TRADING",
        "USDT",
        "BNB",
        "lk1",
    ),
    *(
        "BTCUSDT",
        "ETHUSDT",
        "btcusdt",
        "BTCUSDT ",
        "BTCUSDC",
        "１000SATSUSDT",
        "",
        "sh-7f3a91c2-1-000001",
        "sh-ffffffff-9-000001",
    ),
    *(
        "sh-7f3a91c2-99-000001",
        "autoclose-1",
        "adl_autoclose",
        "settlement_autoclose-1",
        "web_x",
        "sh-",
        "sh----",
        "sh-a-²-１",
    ),
)
INERT_NEEDED = (
    *(
        "\x1b[2J\x1b[H",
        "\x1b]0;owned\x07",
        "\x9b31m",
        "\u202eTDSUCTB",
        "\u2066x",
        "a\rb",
        "a\nerror: b",
        "\x00",
        "\x7f",
        "\u0085",
    ),
    *("\u2028", "\u200f", "\ufeff", "é😀", "%s%n{0}", "</script><script>", "=cmd|' /C calc'!A0", "../../etc/passwd"),
)
BROKEN_TEXT = (Raw('"\\ud800"'), Raw('"\\udfff\\ud800x"'), Raw('"\\u0000"'), Raw('"\\x41"'), Raw('"\t"'))
SHAPES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        [],
        {},
        [[]],
        [None],
        {"": None},
        {"data": {}, "stream": "x"},
        {"e": "TRADE_LITE"},
        [7],
        "[]",
        [{}],
    ),
)
KEYS = (
    *(
        "e",
        "E",
        "T",
        "s",
        "st",
        "data",
        "stream",
        "id",
        "status",
        "result",
        "error",
        "code",
        "a",
        "o",
        "S",
        "zz",
        "",
        "\x1b[",
    ),
    *("__proto__", "B", "P", "ac", "ai", "bks", "msg", "clientOrderId"),
)
TIME_KEYS = ("E", "T", "updateTime", "serverTime", "time", "transactTime", "u")
SYMBOL_KEYS = ("s", "symbol")


class Mutator:
    """Draws bent messages.

    Args:
        rng: The one source of chance.
        events: Words that an event's name is swapped with.
    """

    def __init__(self, rng: Random, events: Sequence[str] = ()) -> None:
        self.rng = rng
        self._events = tuple(events) or ("x",)
        self._faults: tuple[tuple[int, Callable[[Any], Any]], ...] = (
            (22, self._replace),
            (14, self._scale),
            (9, self._drop),
            (8, self._retype),
            (6, self._add),
            (6, self._time),
            (5, self._word),
            (5, self._move),
            (4, self._symbol),
            (4, self._twice),
            (4, self._terminal),
            (3, self._rename),
            (3, self._repeat),
            (3, self._swap_event),
            (2, self._grow),
            (2, self._wrap),
            (1, self._nest),
        )

    def bent(self, sample: Any, *, others: Sequence[Any] = ()) -> bytes:
        """Return a sample as JSON with one to three faults, and now and then with broken bytes.

        Args:
            sample: A valid message; it is left as it is.
            others: Messages that may be put beside it in one array.
        """
        if self.rng.random() < 0.03:
            return written(sample)
        found = copy.deepcopy(sample)
        if others and self.rng.random() < 0.03:
            found = [found, copy.deepcopy(self.rng.choice(others))]
        weights = [weight for weight, _ in self._faults]
        for _ in range(self.rng.choice((1, 1, 1, 2, 2, 3))):
            (_, fault), *_rest = self.rng.choices(self._faults, weights)
            found = fault(found)
        raw = written(found)
        return self.broken(raw) if self.rng.random() < 0.12 else raw

    def broken(self, raw: bytes) -> bytes:
        """Return bytes with one fault below the grammar: cut, flipped, put in, no UTF-8, something before or behind."""
        rng = self.rng
        at = rng.randrange(len(raw)) if raw else 0
        kind = rng.randrange(8)
        if kind == 0:
            return raw[:at]
        if kind <= 2 and raw:
            return raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]
        if kind == 3:
            return (
                raw[:at] + rng.choice((b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\n", b"\r\n")) + raw[at:]
            )
        if kind == 4:
            return rng.choice((b"\xef\xbb\xbf", b" ", b"\n", b"null", b"[")) + raw
        if kind == 5:
            return raw + rng.choice((b"\n", b"  ", b"}", b"{}", b",", b"\x00", raw[:at]))
        if kind == 6:
            return raw[:at] + rng.randbytes(rng.randrange(1, 9)) + raw[at + rng.randrange(9) :]
        return rng.choice((b"", b" ", b"null", b"[]", b"{}", b"0", b'""', b"<html>502</html>", rng.randbytes(40)))

    # ------------------------------------------------------------ faults of the structure

    def _place(self, whole: Any, want: Callable[[str | int, Any], bool] | None = None) -> tuple[Any, str | int] | None:
        """Return a container and a key in it, drawn among those that fit; None where there is none."""
        found = [
            (parent, key)
            for parent, key, value in places(whole)
            if want is None or (not isinstance(value, Raw | Twice) and want(key, value))
        ]
        return self.rng.choice(found) if found else None

    def strange(self) -> Any:
        """Return a value that does not belong where it will stand."""
        pool = self.rng.choice((NUMBERS, NUMBERS, WRITTEN, WRITTEN, WORDS, INERT_NEEDED, BROKEN_TEXT, SHAPES))
        return copy.deepcopy(self.rng.choice(pool))

    def _replace(self, whole: Any) -> Any:
        place = self._place(whole)
        if place is None:
            return self.strange()
        parent, key = place
        parent[key] = self.strange()
        return whole

    def _scale(self, whole: Any) -> Any:
        """Bend a number and leave it one: sign, size, digits; these are read, and the rules see them."""
        place = self._place(whole, lambda key, value: _numeric(value))
        if place is None:
            return whole
        parent, key = place
        said = str(parent[key])
        text = self.rng.choice(
            (
                *(
                    said[1:] if said.startswith("-") else f"-{said}",
                    f"{said}0000",
                    f"{said}e3",
                    f"{said}E-9",
                    "0",
                    "-0",
                ),
                *(
                    f"0.{said.replace('.', '').replace('-', '')}",
                    f"{said}00000000000000000000",
                    f"000{said}",
                    said[:-1] or "0",
                ),
                *(f"{said}.0" if "." not in said else f"{said}1234567890123456789", f"{said}e12"),
            )
        )
        parent[key] = text if isinstance(parent[key], str) else Raw(text)
        return whole

    def _drop(self, whole: Any) -> Any:
        place = self._place(whole)
        if place is not None:
            del place[0][place[1]]
        return whole

    def _retype(self, whole: Any) -> Any:
        """Say the same in another type: a number for a string, text for a number, an array around it."""
        place = self._place(whole)
        if place is None:
            return [whole]
        parent, key = place
        value = parent[key]
        if isinstance(value, str) and _numeric(value):
            parent[key] = Raw(value)
        elif isinstance(value, bool | int | float) or value is None:
            parent[key] = self.rng.choice((str(value), [value], {"value": value}, str(value).lower()))
        else:
            parent[key] = self.rng.choice(([value], {"0": value}, json.dumps(plain(value)), None))
        return whole

    def _add(self, whole: Any) -> Any:
        held = [value for *_, value in places(whole) if isinstance(value, dict)]
        if isinstance(whole, dict):
            held.append(whole)
        if held:
            self.rng.choice(held)[self.rng.choice(KEYS)] = self.strange()
        return whole

    def _time(self, whole: Any) -> Any:
        place = self._place(whole, lambda key, value: key in TIME_KEYS)
        if place is None:
            return whole
        parent, key = place
        value = parent[key]
        now = value if isinstance(value, int) else 0
        later = (now + 1, now - 1, now + 60_000, now - 86_400_000, now + 400 * 86_400_000)
        parent[key] = self.rng.choice(
            (*later, -1, 0, now * 1_000, now * 10**6, 2**62, -now, 253_402_300_800_000, 10**18)
        )
        return whole

    def _word(self, whole: Any) -> Any:
        place = self._place(whole, lambda key, value: isinstance(value, str) and not _numeric(value))
        if place is not None:
            place[0][place[1]] = self.rng.choice(WORDS)
        return whole

    def _symbol(self, whole: Any) -> Any:
        place = self._place(whole, lambda key, value: key in SYMBOL_KEYS)
        if place is not None:
            place[0][place[1]] = self.rng.choice(
                ("ETHUSDT", "BTCUSDC", "btcusdt", "BTCUSDT\u202e", "", "BTC|USDT", "x" * 300)
            )
        return whole

    def _terminal(self, whole: Any) -> Any:
        place = self._place(whole, lambda key, value: isinstance(value, str))
        if place is not None:
            parent, key = place
            parent[key] = self.rng.choice((parent[key], "")) + self.rng.choice(INERT_NEEDED)
        return whole

    def _move(self, whole: Any) -> Any:
        to, source = self._place(whole), self._place(whole)
        if to is not None and source is not None:
            to[0][to[1]] = copy.deepcopy(source[0][source[1]])
        return whole

    def _twice(self, whole: Any) -> Any:
        place = self._place(whole)
        if place is not None and isinstance(place[0], dict):
            parent, key = place
            parent[key] = (
                Twice(self.strange(), parent[key]) if self.rng.random() < 0.5 else Twice(parent[key], self.strange())
            )
        return whole

    def _rename(self, whole: Any) -> Any:
        place = self._place(whole)
        if place is not None and isinstance(place[0], dict):
            parent, key = place
            text = str(key)
            parent[
                self.rng.choice((text.upper(), text.lower(), f"{text} ", f"{text}\u200b", self.rng.choice(KEYS)))
            ] = parent.pop(key)
        return whole

    def _repeat(self, whole: Any) -> Any:
        """Write rows of an array many times over."""
        place = self._place(whole, lambda key, value: isinstance(value, list) and bool(value))
        if place is None:
            return [whole, copy.deepcopy(whole)]
        parent, key = place
        parent[key] = parent[key] * self.rng.choice((2, 3, 50))
        return whole

    def _swap_event(self, whole: Any) -> Any:
        place = self._place(whole, lambda key, value: key == "e")
        if place is not None:
            place[0][place[1]] = self.rng.choice(self._events)
        return whole

    def _grow(self, whole: Any) -> Any:
        """Put a huge text or array where something small was, or say the whole thing many times in one frame."""
        kind = self.rng.randrange(4)
        if kind == 0:
            size = len(written(whole)) or 1
            return [whole] * min(ARRAY_MOST, 200_000 // size + 1)
        place = self._place(whole)
        if place is None:
            return whole
        size = self.rng.choice((1_000, TEXT_MOST))
        huge: tuple[Any, ...] = ("9" * size, "A" * size, [self.strange()] * self.rng.choice((100, ARRAY_MOST)))
        place[0][place[1]] = self.rng.choice(huge)
        return whole

    def _wrap(self, whole: Any) -> Any:
        own = whole if isinstance(whole, dict) else {}
        wrapped: tuple[Any, ...] = (
            *([whole], {"stream": "s", "data": whole}, {"data": whole, **own}, {"stream": "s", "data": [whole, whole]}),
            {"stream": "s", "data": {"stream": "s", "data": whole}},
        )
        return self.rng.choice(wrapped)

    def _nest(self, whole: Any) -> Any:
        depth = self.rng.choice((100, 900, 1_023, 1_024, 1_100, DEPTH_MOST))
        deep = Raw("[" * depth + "]" * depth) if self.rng.random() < 0.5 else Raw('{"a":' * depth + "1" + "}" * depth)
        place = self._place(whole)
        if place is None or self.rng.random() < 0.2:
            return deep
        place[0][place[1]] = deep
        return whole


def places(value: Any) -> list[tuple[Any, str | int, Any]]:
    """Return (container, key, value) of every part of a message, itself apart."""
    found: list[tuple[Any, str | int, Any]] = []
    if isinstance(value, dict):
        for key, item in value.items():
            found.append((value, key, item))
            found += places(item)
    elif isinstance(value, list):
        for index, item in enumerate(value[:50]):
            found.append((value, index, item))
            found += places(item)
    return found


def plain(value: Any) -> Any:
    """Return a message without the parts that only stand as text."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Twice):
        return plain(value.then)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def written(value: Any) -> bytes:
    """Return a message as bytes; lone surrogates stay escapes, everything else is UTF-8."""
    return _text(value).encode("utf-8", "surrogatepass")


def _text(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(_pair(key, item) for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    if isinstance(value, Twice):
        return _text(value.then)
    return json.dumps(value, ensure_ascii=False)


def _pair(key: str, item: Any) -> str:
    name = json.dumps(key, ensure_ascii=False)
    if isinstance(item, Twice):
        return f"{name}:{_text(item.first)},{name}:{_text(item.then)}"
    return f"{name}:{_text(item)}"


def _numeric(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return True
    return (
        isinstance(value, str) and bool(value) and value.lstrip("-").replace(".", "", 1).isdigit() and value.isascii()
    )
