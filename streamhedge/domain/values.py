"""Decimal policy, identifiers, the rounding helpers and the record decorator.

Invariants: no float enters the core; every division and every rounding says which way; times are integers with their
unit in the name. Correctness never rests on the caller's decimal context: the pump and the public functions run inside
``exact()``, a context of our own with 34 digits that refuses floats.
"""

from __future__ import annotations

import decimal
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import NewType, TypeVar, dataclass_transform

Symbol = NewType("Symbol", str)
Asset = NewType("Asset", str)
ClientOrderId = NewType("ClientOrderId", str)
TradeId = NewType("TradeId", str)

NS_PER_MS = 1_000_000
NS_PER_SECOND = 1_000_000_000

ZERO = Decimal(0)
ONE = Decimal(1)
CENT_MILLIONTH = Decimal("0.00000001")
"""One unit of the venue's eighth decimal, in which wallets and floats are kept."""

CONTEXT = decimal.Context(
    prec=34,
    rounding=ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.FloatOperation],
)

_NUMERIC = frozenset("0123456789+-.eE")
"""What a number is written with; Decimal itself would also take spaces, underscores and other scripts' digits."""
_T = TypeVar("_T")


def exact() -> AbstractContextManager[decimal.Context]:
    """Run the block in our own decimal context, whatever the caller's is."""
    return decimal.localcontext(CONTEXT)


@dataclass_transform(frozen_default=True)
def record(cls: type[_T]) -> type[_T]:
    """Make a slotted value class that the type checker treats as frozen (no run-time cost for the promise)."""
    return dataclass(slots=True)(cls)


@dataclass_transform()
def state(cls: type[_T]) -> type[_T]:
    """Make a slotted class whose single writer is named in its docstring."""
    return dataclass(slots=True)(cls)


def decimal_from(text: str | int | Decimal) -> Decimal:
    """Parse wire or user text into a finite Decimal.

    Raises:
        ValueError: not a number, not finite, or out of any sensible range.
    """
    if isinstance(text, str) and not (text.isascii() and _NUMERIC.issuperset(text)):
        raise ValueError(f"not a number: {_shown(text)}")
    value = finite_from(text)
    if value.adjusted() > 20 or (value.adjusted() < -20 and value != 0):
        raise ValueError(f"number out of range: {_shown(text)}")
    return value


def finite_from(text: str | int | Decimal) -> Decimal:
    """Return a figure of our own as a Decimal, however large: what is computed may leave the range of what is said.

    Raises:
        ValueError: not a number, or not finite.
    """
    try:
        value = CONTEXT.create_decimal(text)
    except (decimal.InvalidOperation, decimal.FloatOperation, decimal.Overflow, TypeError) as error:
        raise ValueError(f"not a number: {_shown(text)}") from error
    if not value.is_finite():
        raise ValueError(f"number out of range: {_shown(text)}")
    return value


def _shown(text: object) -> str:
    """Return what was said, short: it may be all of a message."""
    return repr(text)[:80]


def divide(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Divide at 34 digits, half to even; for ratios that are shown or compared, never for sizes that are sent."""
    return CONTEXT.divide(numerator, denominator)


def floor_step(value: Decimal, step: Decimal) -> Decimal:
    """Round down (toward minus infinity) to a multiple of the step."""
    return _to_step(value, step, ROUND_FLOOR)


def ceil_step(value: Decimal, step: Decimal) -> Decimal:
    """Round up (toward plus infinity) to a multiple of the step."""
    return _to_step(value, step, ROUND_CEILING)


def _to_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    assert step > 0, "a step is positive"
    units = CONTEXT.divide(value, step).to_integral_value(rounding=rounding, context=CONTEXT)
    return CONTEXT.multiply(units, step)


def utc_text(time_ms: int) -> str:
    """Write a time in milliseconds as 2026-11-24T10:02:11.318Z."""
    seconds, milliseconds = divmod(time_ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def plain_text(value: Decimal) -> str:
    """Write a Decimal without exponent and without trailing zeros, as the venue expects it."""
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
