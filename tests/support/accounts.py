"""Random accounts without any shortcut: every question about margin walks all positions and moves the prices themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import strategies as st

from streamhedge.domain.events import PositionSide
from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.margin import maintenance_margin
from streamhedge.domain.values import Asset, Symbol
from streamhedge.rules.triggers import Holding
from tests.support import builders as make

D = Decimal
Table = tuple[MarginBracket, ...]
USDT, USDC = Asset("USDT"), Asset("USDC")
SYMBOLS = [Symbol(f"S{number}{asset}") for number in range(4) for asset in (USDT, USDC)]
STEEP = tuple(
    MarginBracket(
        row.notional_floor / 100, row.notional_cap / 100, row.maintenance_margin_rate, row.maintenance_amount / 100, 50
    )
    for row in make.brackets()
)


@dataclass
class Account:
    """The same account without any index: every question walks all of it."""

    wallets: dict[Asset, Decimal] = field(default_factory=dict)
    marks: dict[Symbol, Decimal] = field(default_factory=dict)
    held: dict[Symbol, tuple[Holding, ...]] = field(default_factory=dict)

    def cross(self, asset: Asset) -> list[tuple[Symbol, Holding]]:
        return [
            (symbol, one)
            for symbol, all_of in self.held.items()
            for one in all_of
            if asset_of(symbol) == asset and not one.isolated
        ]

    def left(self, asset: Asset, moved: dict[Symbol, Decimal]) -> Decimal:
        """Return margin balance minus maintenance when some marks are multiplied."""
        found = self.wallets.get(asset, D(0))
        for symbol, one in self.cross(asset):
            mark = self.marks[symbol] * moved.get(symbol, D(1))
            found += one.quantity * (mark - one.entry_price)
            found -= maintenance_margin(notional=abs(one.quantity) * mark, brackets=table_of(symbol))
        return found

    def net(self, symbol: Symbol) -> Decimal:
        return sum((one.quantity for one in self.held.get(symbol, ()) if not one.isolated), D(0))

    def near(self, within: Decimal) -> list[str]:
        """Return what is within a distance, by moving the prices themselves."""
        found = []
        for symbol, all_of in self.held.items():
            asset, net = asset_of(symbol), self.net(symbol)
            shorts = [name for name in self.held if asset_of(name) == asset and self.net(name) < 0]
            up = D(1) + within
            for one in all_of:
                if one.isolated:
                    if self.isolated_near(symbol, one, within):
                        found.append(f"{symbol} {one.side.value}")
                    continue
                if net == 0:
                    continue
                moved = {symbol: up if net < 0 else D(1) - within}
                fires = self.left(asset, {}) <= 0 or self.left(asset, moved) <= 0
                if net < 0:
                    fires = fires or self.left(asset, dict.fromkeys(shorts, up)) <= 0
                if fires:
                    found.append(f"{symbol} {one.side.value}")
        return sorted(found)

    def isolated_near(self, symbol: Symbol, one: Holding, within: Decimal) -> bool:
        mark = self.marks[symbol] * (1 + within if one.quantity < 0 else 1 - within)
        wallet = one.wallet + one.quantity * (mark - one.entry_price)
        return wallet <= maintenance_margin(notional=abs(one.quantity) * mark, brackets=table_of(symbol))


def asset_of(symbol: Symbol) -> Asset:
    return USDT if symbol.endswith("USDT") else USDC


def table_of(symbol: Symbol) -> tuple[MarginBracket, ...]:
    return STEEP if "1" in symbol else make.brackets()


def amounts(low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low * 1_000, high * 1_000).map(lambda number: D(number) / 1_000)


PRICES = amounts(1, 2_000)
SIGNED = amounts(-50, 50)
ISOLATED = st.tuples(st.booleans(), amounts(0, 20_000))


@st.composite
def holdings(draw: st.DrawFn) -> tuple[Holding, ...]:
    """Draw one side in one-way mode, or both in hedge mode, each cross or isolated."""
    if draw(st.booleans()):
        isolated, wallet = draw(ISOLATED)
        return (Holding(PositionSide.BOTH, draw(SIGNED), draw(PRICES), isolated, wallet if isolated else D(0)),)
    isolated, wallet = draw(ISOLATED)
    money = wallet if isolated else D(0)
    return (
        Holding(PositionSide.LONG, abs(draw(SIGNED)), draw(PRICES), isolated, money),
        Holding(PositionSide.SHORT, -abs(draw(SIGNED)), draw(PRICES), isolated, money),
    )


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw a continuous, convex table of one to eight rows."""
    count = draw(st.integers(1, 8))
    rates = sorted(draw(st.lists(st.integers(2, 500), min_size=count, max_size=count, unique=True)))
    caps = sorted(draw(st.lists(st.integers(1, 2_000), min_size=count, max_size=count, unique=True)))
    rows: list[MarginBracket] = []
    floor, amount, before = D(0), D(0), D(0)
    for number, (rate, cap) in enumerate(zip(rates, caps, strict=True)):
        share = D(rate) / 1_000
        amount += floor * (share - before) if number else 0
        rows.append(MarginBracket(floor, D(cap) * 10_000, share, amount, 125 - number))
        floor, before = D(cap) * 10_000, share
    return tuple(rows)


def held_by(notional: Decimal, table: Table) -> Decimal:
    """Return maintenance by the row that holds the notional; the last row goes on for ever."""
    if notional <= 0:
        return D(0)
    row = next((row for row in table if row.notional_floor < notional <= row.notional_cap), table[-1])
    return notional * row.maintenance_margin_rate - row.maintenance_amount
