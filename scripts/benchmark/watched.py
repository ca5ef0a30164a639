"""A mark tick of the trigger index, by how many cross positions share the margin."""

from __future__ import annotations

import statistics
import time
from collections import deque
from decimal import Decimal

from streamhedge.domain.events import PositionSide
from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.values import ZERO, Asset, Symbol, exact
from streamhedge.rules.triggers import Holding, TriggerIndex


def measure(counts: list[int], ticks: int, rounds: int) -> list[dict[str, float]]:
    """Return µs of one mark tick of the trigger index, by how many cross positions share the margin; none is near."""
    indexes = {count: short_index(count) for count in counts}
    taken: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(max(3, rounds)):
        for count, index in indexes.items():  # in turns, so that a busy machine slows all of them
            moves = [(Symbol(f"S{number % count}"), Decimal(100 + number % 7)) for number in range(ticks)]
            began = time.perf_counter()
            for symbol, price in moves:
                index.tick(symbol, price)
                deque(index.near(), maxlen=0)
            taken[count].append((time.perf_counter() - began) / ticks * 1e6)
    least = statistics.median(taken[counts[0]])
    return [
        {
            "positions": count,
            "tick_us": statistics.median(taken[count]),
            "ratio": statistics.median(taken[count]) / least,
        }
        for count in counts
    ]


def short_index(count: int) -> TriggerIndex:
    """Return an index of so many small cross shorts on a margin that carries them all."""
    index = TriggerIndex(Decimal("0.31"))
    index.set_wallet(Asset("USDT"), Decimal(1_000 * count))
    table = (
        MarginBracket(ZERO, Decimal(50_000), Decimal("0.004"), ZERO, 125),
        MarginBracket(Decimal(50_000), Decimal(10_000_000), Decimal("0.01"), Decimal(300), 50),
    )
    with exact():
        for number in range(count):
            short = Holding(PositionSide.BOTH, Decimal(-1) - Decimal(number % 97) / 100, Decimal(100), False, ZERO)
            said = {"asset": Asset("USDT"), "brackets": table, "mark_price": Decimal(100), "holdings": [short]}
            index.put(Symbol(f"S{number}"), **said)
    return index
