"""The trigger index against the account counted from scratch: random books, ticks, sizes, wallets (HEDGING §3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamhedge.domain.events import PositionSide
from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.margin import liquidation_price, maintenance_margin
from streamhedge.domain.values import Asset, Symbol, exact
from streamhedge.rules.triggers import Holding, TriggerIndex
from tests.support import builders as make

D = Decimal
USDT, USDC = Asset("USDT"), Asset("USDC")
SYMBOLS = [Symbol(f"S{number}{asset}") for number in range(4) for asset in (USDT, USDC)]
WARN, FAR = D("0.30"), D("0.31")
STEEP = tuple(
    MarginBracket(
        row.notional_floor / 100, row.notional_cap / 100, row.maintenance_margin_rate, row.maintenance_amount / 100, 50
    )
    for row in make.brackets()
)


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


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
            if _asset(symbol) == asset and not one.isolated
        ]

    def left(self, asset: Asset, moved: dict[Symbol, Decimal]) -> Decimal:
        """Return margin balance minus maintenance when some marks are multiplied."""
        found = self.wallets.get(asset, D(0))
        for symbol, one in self.cross(asset):
            mark = self.marks[symbol] * moved.get(symbol, D(1))
            found += one.quantity * (mark - one.entry_price)
            found -= maintenance_margin(notional=abs(one.quantity) * mark, brackets=_table(symbol))
        return found

    def net(self, symbol: Symbol) -> Decimal:
        return sum((one.quantity for one in self.held.get(symbol, ()) if not one.isolated), D(0))

    def near(self, within: Decimal) -> list[str]:
        """Return what is within a distance, by moving the prices themselves."""
        found = []
        for symbol, all_of in self.held.items():
            asset, net = _asset(symbol), self.net(symbol)
            shorts = [name for name in self.held if _asset(name) == asset and self.net(name) < 0]
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
        return wallet <= maintenance_margin(notional=abs(one.quantity) * mark, brackets=_table(symbol))


def _asset(symbol: Symbol) -> Asset:
    return USDT if symbol.endswith("USDT") else USDC


def _table(symbol: Symbol) -> tuple[MarginBracket, ...]:
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


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wallet"), st.sampled_from([USDT, USDC]), amounts(-1_000, 60_000)),
        st.tuples(st.just("put"), st.sampled_from(SYMBOLS), holdings()),
        st.tuples(st.just("tick"), st.sampled_from(SYMBOLS), PRICES),
        st.tuples(st.just("move"), st.sampled_from(SYMBOLS), st.integers(-20, 20)),
    ),
    min_size=1,
    max_size=40,
)


def play(index: TriggerIndex, account: Account, step: tuple[str, object, object]) -> None:
    kind, name, value = step
    if kind == "wallet":
        account.wallets[name] = value  # type: ignore[index,assignment]
        index.set_wallet(name, value)  # type: ignore[arg-type]
        return
    symbol = name
    mark = account.marks.setdefault(symbol, D(100))  # type: ignore[arg-type]
    if kind == "put":
        kept = tuple(one for one in value if one.quantity != 0)  # type: ignore[attr-defined]
        account.held.pop(symbol, None)  # type: ignore[call-overload]
        if kept:
            account.held[symbol] = kept  # type: ignore[index]
        said = {"asset": _asset(symbol), "brackets": _table(symbol), "mark_price": mark, "holdings": value}  # type: ignore[arg-type]
        index.put(symbol, **said)  # type: ignore[arg-type]
        return
    price = value if kind == "tick" else mark * (100 + D(value)) / 100  # type: ignore[arg-type]
    account.marks[symbol] = price  # type: ignore[index,assignment]
    index.tick(symbol, price)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(STEPS)
def test_after_every_step_what_is_near_is_what_a_count_from_scratch_finds(
    steps: list[tuple[str, object, object]],
) -> None:
    index, account = TriggerIndex(FAR), Account()
    for step in steps:
        play(index, account, step)
        for asset in (USDT, USDC):
            assert index.slack(asset) == account.left(asset, {})
        for within in (FAR, WARN):
            assert sorted(f"{one.symbol} {one.side.value}" for one in index.near(within)) == account.near(within)


@settings(max_examples=60)
@given(STEPS)
def test_the_shortfall_posted_puts_a_position_where_it_is_asked_to_be(steps: list[tuple[str, object, object]]) -> None:
    index, account = TriggerIndex(FAR), Account()
    for step in steps:
        play(index, account, step)
    for one in list(index.near(WARN)):
        (held,) = (row for row in account.held[one.symbol] if row.side is one.side)
        if held.isolated or account.left(_asset(one.symbol), {}) <= 0:
            continue
        richer = Account({**account.wallets}, account.marks, account.held)
        asset = _asset(one.symbol)
        richer.wallets[asset] = richer.wallets.get(asset, D(0)) + one.shortfall
        assert f"{one.symbol} {one.side.value}" in richer.near(WARN)
        richer.wallets[asset] += D("0.0001")
        assert f"{one.symbol} {one.side.value}" not in richer.near(WARN)


@given(amounts(1, 50), PRICES, amounts(0, 60_000), PRICES)
def test_one_short_is_near_exactly_where_its_liquidation_price_is(
    size: Decimal, entry: Decimal, wallet: Decimal, mark: Decimal
) -> None:
    index = TriggerIndex(FAR)
    index.set_wallet(USDT, wallet)
    short = Holding(PositionSide.BOTH, -size, entry, False, D(0))
    index.put(SYMBOLS[0], asset=USDT, brackets=make.brackets(), mark_price=mark, holdings=[short])
    price = liquidation_price(position_amount=-size, entry_price=entry, wallet_balance=wallet, brackets=make.brackets())
    assert price is not None
    assert bool(list(index.near())) == (price <= mark * (1 + FAR))


def test_what_is_not_near_is_not_looked_at() -> None:
    """A tick of one symbol among many costs no walk over the others: only what fired is yielded."""
    index = TriggerIndex(FAR)
    index.set_wallet(USDT, D(10) ** 9)
    for number in range(2_000):
        short = Holding(PositionSide.BOTH, D(-1), D(100), False, D(0))
        index.put(Symbol(f"S{number}"), asset=USDT, brackets=make.brackets(), mark_price=D(100), holdings=[short])
    seen: list[object] = []
    original = index._contracts

    class Counted(dict[Symbol, object]):
        def __getitem__(self, name: Symbol) -> object:
            seen.append(name)
            return original[name]

    index._contracts = Counted(original)  # type: ignore[assignment]
    index.tick(Symbol("S7"), D(101))
    assert list(index.near()) == []
    assert len(seen) == 0, "the one that ticked is fetched, none else is looked at"
