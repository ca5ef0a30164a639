"""Contracts and their books: filters, brackets, a mark from the tape, and depth around it.

Figures: BTCUSDT and ETHUSDT filters as read 2026-09-30, brackets as read 2026-09-29 (public defaults).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

D = Decimal
Bracket = tuple[Decimal, Decimal, Decimal, Decimal, int]
"""(notional floor, notional cap, maintenance rate, cum, maximum leverage)"""

BTC_ROWS = (
    *(("300000", "0.004", 150, "0"), ("800000", "0.005", 100, "300"), ("3000000", "0.0065", 75, "1500")),
    *(("12000000", "0.01", 50, "12000"), ("70000000", "0.02", 25, "132000"), ("100000000", "0.025", 20, "482000")),
    *(("230000000", "0.05", 10, "2982000"), ("480000000", "0.1", 5, "14482000"), ("600000000", "0.125", 4, "26482000")),
    *(("800000000", "0.15", 3, "41482000"), ("1200000000", "0.25", 2, "121482000")),
    ("1800000000", "0.5", 1, "421482000"),
)
ETH_ROWS = (
    *(("300000", "0.004", 150, "0"), ("800000", "0.005", 100, "300"), ("3000000", "0.0065", 75, "1500")),
    *(("12000000", "0.01", 50, "12000"), ("50000000", "0.02", 25, "132000"), ("65000000", "0.025", 20, "382000")),
    *(("150000000", "0.05", 10, "2007000"), ("320000000", "0.1", 5, "9507000"), ("400000000", "0.125", 4, "17507000")),
    *(("530000000", "0.15", 3, "27507000"), ("800000000", "0.25", 2, "80507000")),
    ("1200000000", "0.5", 1, "280507000"),
)


def table(rows: tuple[tuple[str, str, int, str], ...]) -> list[Bracket]:
    """Return a bracket table with floors filled in."""
    floor = D(0)
    found = []
    for cap, rate, leverage, cum in rows:
        found.append((floor, D(cap), D(rate), D(cum), leverage))
        floor = D(cap)
    return found


def graded(rows: Sequence[tuple[Decimal, Decimal, int]]) -> list[Bracket]:
    """Return a bracket table of (cap, rate, leverage) with floors and the cum that makes it continuous."""
    floor = cum = last = D(0)
    found: list[Bracket] = []
    for cap, rate, leverage in rows:
        cum += floor * (rate - last) if found else D(0)
        found.append((floor, cap, rate, cum, leverage))
        floor, last = cap, rate
    return found


@dataclass(slots=True)
class Contract:
    """One perpetual with its market state."""

    symbol: str
    base: str
    tick: Decimal
    step: Decimal
    min_notional: Decimal
    min_price: Decimal
    max_quantity: Decimal
    market_max: Decimal
    brackets: list[Bracket]
    status: str = "TRADING"
    mark: Decimal = D(0)
    index: Decimal = D(0)
    funding_rate: Decimal = D("0.0001")
    next_funding_ms: int = 0
    level_size: Decimal = D(5)
    spread_ticks: int = 5
    level_ticks: int = 10
    update_id: int = 1
    multiplier_up: Decimal = D("1.05")
    multiplier_down: Decimal = D("0.95")
    take_bound: Decimal = D("0.05")
    margin_asset: str = "USDT"
    taker_fee: Decimal = D("0.0005")
    maker_fee: Decimal = D("0.0002")

    def levels(self, side: str, count: int = 40) -> list[tuple[Decimal, Decimal]]:
        """Return (price, quantity) of the side that an order of ``side`` meets, best first."""
        best = to_tick(self.mark, self.tick)
        direction = 1 if side == "BUY" else -1
        found = []
        for index in range(count):
            away = self.tick * (self.spread_ticks + index * self.level_ticks)
            found.append((best + direction * away, self.level_size))
        return found

    def maintenance(self, notional: Decimal) -> Decimal:
        """Return the maintenance margin of a notional by the row that holds it."""
        if notional <= 0:
            return D(0)
        for _, cap, rate, cum, _ in self.brackets:
            if notional <= cap:
                return notional * rate - cum
        _, _, rate, cum, _ = self.brackets[-1]
        return notional * rate - cum

    def ceiling(self, leverage: int) -> Decimal:
        """Return the largest notional allowed at a leverage."""
        return max((row[1] for row in self.brackets if row[4] >= leverage), default=D(0))


def to_tick(price: Decimal, tick: Decimal) -> Decimal:
    """Return the nearest price on the tick grid."""
    return (price / tick).to_integral_value() * tick


def contracts() -> dict[str, Contract]:
    """Return the contracts the exchange lists."""
    bitcoin = Contract("BTCUSDT", "BTC", D("0.1"), D("0.001"), D(50), D("556.8"), D(1000), D(120), table(BTC_ROWS))
    ether = Contract(
        *("ETHUSDT", "ETH", D("0.01"), D("0.001"), D(20), D("39.86"), D(10000), D(2000), table(ETH_ROWS)),
        level_size=D(80),
    )
    return {contract.symbol: contract for contract in (bitcoin, ether)}
