"""Quantities with units as people write them: "50 USDT", "250_000 USDT", "10 BTC", "2s", "10m", "20 %". Never floats."""

from __future__ import annotations

import re
from decimal import Decimal

from streamhedge.domain.values import CONTEXT, ONE, decimal_from

_QUANTITY = re.compile(r"^\s*([+-]?[0-9][0-9_]*(?:\.[0-9_]+)?)\s*([A-Za-z%]*)\s*$")
WHOLE_MOST = 10**12
MILLISECONDS_MOST = 3_650 * 86_400_000
"""Ten years: no timer of ours runs longer, and in nanoseconds it fits 64 bits."""
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def split_unit(value: object) -> tuple[Decimal, str]:
    """Return (number, unit) of a quantity; the unit is empty for a bare number.

    Raises:
        ValueError: no such quantity.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"expected a quantity like '50 USDT' or '2s', got {value!r}")
    found = _QUANTITY.match(f"{value:f}" if isinstance(value, Decimal) else str(value))
    if found is None:
        raise ValueError(f"expected a quantity like '50 USDT' or '2s', got {value!r}")
    return decimal_from(found.group(1).replace("_", "")), found.group(2)


def amount(value: object, *, unit: str) -> Decimal:
    """Return a quantity of one unit; a bare number counts as that unit.

    Raises:
        ValueError: another unit.
    """
    number, said = split_unit(value)
    if said not in ("", unit):
        raise ValueError(f"expected {unit}, got {value!r}")
    return number


def fraction(value: object) -> Decimal:
    """Return "20 %" as 0.20, and a bare 0.2 as it stands.

    Raises:
        ValueError: another unit, or a bare number above one, which is a percentage without its sign.
    """
    number, said = split_unit(value)
    if said not in ("", "%"):
        raise ValueError(f"expected a percentage like '20 %', got {value!r}")
    if said == "" and abs(number) > ONE:
        raise ValueError(f"{number} without a unit is {number * 100} %; write '{number} %' if that is meant")
    return CONTEXT.divide(number, Decimal(100)) if said == "%" else number


def whole(value: object) -> int:
    """Return a number without a fraction.

    Raises:
        ValueError: a unit, or a fraction.
    """
    number = amount(value, unit="")
    if number != int(number) or abs(number) > WHOLE_MOST:
        raise ValueError(f"expected a whole number of at most {WHOLE_MOST}, got {value!r}")
    return int(number)


def milliseconds(value: object) -> int:
    """Return a duration in milliseconds: "250ms", "2s", "10m", "8h", "7d".

    Raises:
        ValueError: no unit, an unknown one, or a negative or fractional result.
    """
    number, said = split_unit(value)
    if said not in _MILLISECONDS:
        raise ValueError(f"expected a duration like '250ms', '2s', '10m' or '8h', got {value!r}")
    total = CONTEXT.multiply(number, Decimal(_MILLISECONDS[said]))
    if not 0 <= total <= MILLISECONDS_MOST or total != int(total):
        raise ValueError(f"expected a duration of whole milliseconds, at most 3650 days, not negative, got {value!r}")
    return int(total)
