"""Price tapes: recorded minutes, their mirror image, users' files, and a calm random walk. Pure: lines, not files.

A tape is a list of (milliseconds from its start, price). Between two points the price is a straight line; inside a bar
the points are open, the nearer extreme, the other extreme, close: an interpolation, not a recording.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from streamhedge.errors import ConfigError

CALM = "calm"
CRASH = "crash-2021-05-19"
RALLY = "rally-2021-05-19"
BUILT_IN = (CALM, CRASH, RALLY)
CALM_START = Decimal(67_000)
CALM_STEPS = 7_200
EIGHT = Decimal("0.00000001")


@dataclass(slots=True)
class Tape:
    """A price over time; ``name`` says where it came from."""

    name: str
    times_ms: list[int]
    prices: list[Decimal]

    @property
    def length_ms(self) -> int:
        """How long the tape runs, milliseconds."""
        return self.times_ms[-1]

    def price_at(self, elapsed_ms: int) -> Decimal:
        """Return the price after that much tape time; the ends hold for ever."""
        if elapsed_ms <= 0:
            return self.prices[0]
        index = bisect_right(self.times_ms, elapsed_ms)
        if index >= len(self.times_ms):
            return self.prices[-1]
        before, after = self.times_ms[index - 1], self.times_ms[index]
        low, high = self.prices[index - 1], self.prices[index]
        return (low + (high - low) * (elapsed_ms - before) / (after - before)).quantize(EIGHT)


def calm(seed: int) -> Tape:
    """Return two hours of a quiet seeded random walk, one point a second."""
    chance = random.Random(seed)
    price = CALM_START
    prices = [price]
    for _ in range(CALM_STEPS):
        step = Decimal(chance.randint(-300, 300)) / 1_000_000
        price = (price * (1 + step * Decimal("0.2"))).quantize(Decimal("0.01"))
        prices.append(price)
    return Tape(CALM, [second * 1_000 for second in range(CALM_STEPS + 1)], prices)


def mirrored(tape: Tape, name: str) -> Tape:
    """Return the tape turned upside down by ratio: a fall of a third becomes a rise by a half."""
    first = tape.prices[0]
    return Tape(name, list(tape.times_ms), [(first * first / price).quantize(EIGHT) for price in tape.prices])


def parse(lines: Iterable[str], name: str) -> Tape:
    """Return the tape in the lines of a CSV.

    Takes ``time_ms,price`` or exchange klines ``open_time,open,high,low,close,…``, with or without header, times in ms
    or µs; lines that start with # are comments.

    Raises:
        ConfigError: names the file, the line and what is wrong with it.
    """
    times: list[int] = []
    prices: list[Decimal] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        cells = [cell.strip() for cell in text.split(",")]
        if not times and not _is_number(cells[0]):
            continue
        at_ms, found = _row(cells, name, number)
        for offset, price in found:
            if times and at_ms + offset <= times[-1]:
                raise ConfigError(f"tape {name}:{number}: time {at_ms} is not after the line before; sort the tape")
            times.append(at_ms + offset)
            prices.append(price)
    if len(times) < 2:
        raise ConfigError(f"tape {name}: fewer than two prices; expected lines of time_ms,price or klines")
    start = times[0]
    return Tape(name, [moment - start for moment in times], prices)


def _row(cells: Sequence[str], name: str, number: int) -> tuple[int, list[tuple[int, Decimal]]]:
    try:
        moment = int(cells[0])
        values = [Decimal(cell) for cell in cells[1:5]]
    except (ValueError, InvalidOperation) as error:
        raise ConfigError(f"tape {name}:{number}: not a number in {','.join(cells[:5])!r}") from error
    if moment > 10**14:
        moment //= 1_000
    if not values or any(not value.is_finite() or value <= 0 for value in values):
        raise ConfigError(f"tape {name}:{number}: a price is missing or not above zero: {','.join(cells[:5])!r}")
    if len(values) < 4:
        return moment, [(0, values[0])]
    opened, high, low, closed = values
    if not low <= min(opened, closed) or not high >= max(opened, closed):
        raise ConfigError(f"tape {name}:{number}: high and low do not enclose open and close")
    first, second = (high, low) if high - opened <= opened - low else (low, high)
    return moment, [(0, opened), (15_000, first), (40_000, second), (59_999, closed)]


def _is_number(cell: str) -> bool:
    try:
        Decimal(cell)
    except InvalidOperation:
        return False
    return True
