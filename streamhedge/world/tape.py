"""A price that the world moves: a seeded walk, and ramps on top of it that happenings begin."""

from __future__ import annotations

import random
from decimal import Decimal

from streamhedge.sim.tapes import Tape

D = Decimal
EIGHT = D("0.00000001")
MILLIONTH = D("0.000001")
START = D(67_000)
LEAST, MOST = D(15_000), D(200_000)


class MovedTape(Tape):
    """A walk times a factor; a ramp moves the factor by so many permille over so many milliseconds."""

    def __init__(self, seed: int, length_ms: int, step_millionths: int, every_ms: int) -> None:
        chance = random.Random(f"tape-{seed}")
        times, prices, price = [0], [START], START
        while times[-1] < length_ms:
            times.append(times[-1] + every_ms)
            move = chance.randint(-step_millionths, step_millionths)
            price = max(D(1_000), price * (1 + move * MILLIONTH)).quantize(D("0.01"))
            prices.append(price)
        super().__init__("world", times, prices)
        self.ramps: list[tuple[int, int, Decimal]] = []
        self.factor = D(1)
        self._every_ms = every_ms

    def ramp(self, at_ms: int, over_ms: int, permille: int) -> None:
        """Begin a ramp at a moment of the tape; those that have ended become one factor."""
        for ramp in [ramp for ramp in self.ramps if ramp[0] + ramp[1] <= at_ms]:
            self.ramps.remove(ramp)
            self.factor *= 1 + ramp[2]
        self.ramps.append((at_ms, max(1, over_ms), D(permille) / 1_000))

    def settle(self, elapsed_ms: int) -> None:
        """End every ramp where it stands."""
        self.ramps = [
            (
                at_ms,
                max(1, min(over_ms, elapsed_ms - at_ms)),
                share * min(over_ms, max(0, elapsed_ms - at_ms)) / over_ms,
            )
            for at_ms, over_ms, share in self.ramps
        ]

    def steady_at(self, elapsed_ms: int) -> Decimal:
        """Return the walk alone."""
        index, part_ms = divmod(max(0, elapsed_ms), self._every_ms)
        if index >= len(self.prices) - 1:
            return self.prices[-1]
        low = self.prices[index]
        return low + (self.prices[index + 1] - low) * part_ms / self._every_ms

    def price_at(self, elapsed_ms: int) -> Decimal:
        """Return the price after that much tape time."""
        price = self.steady_at(elapsed_ms) * self.factor
        for at_ms, over_ms, share in self.ramps:
            if elapsed_ms > at_ms:
                price *= 1 + share * min(over_ms, elapsed_ms - at_ms) / over_ms
        return min(MOST, max(LEAST, price)).quantize(EIGHT)
