"""The trigger index against the account counted from scratch: random books, ticks, sizes, wallets (HEDGING §3)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamhedge.domain.events import PositionSide
from streamhedge.domain.margin import liquidation_price
from streamhedge.domain.values import Symbol, exact
from streamhedge.rules.triggers import Holding, TriggerIndex
from tests.support import builders as make
from tests.support.accounts import PRICES, SYMBOLS, USDC, USDT, Account, amounts, asset_of, holdings, table_of

D = Decimal
WARN, FAR = D("0.30"), D("0.31")


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


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
        said = {"asset": asset_of(symbol), "brackets": table_of(symbol), "mark_price": mark, "holdings": value}  # type: ignore[arg-type]
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
        if held.isolated or account.left(asset_of(one.symbol), {}) <= 0:
            continue
        richer = Account({**account.wallets}, account.marks, account.held)
        asset = asset_of(one.symbol)
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


@pytest.mark.parametrize(("distance", "near"), [("0.39", 0), ("0.3939", 2)])
def test_two_shorts_that_are_far_alone_are_near_together(distance: str, near: int) -> None:
    """HEDGING §10: each stands at 78.8 % alone, both together at 39.38 %."""
    index = TriggerIndex(D(distance))
    index.set_wallet(USDT, D(300_000))
    for symbol, size, price in (("BTCUSDT", -5, 75_000), ("ETHUSDT", -150, 2_500)):
        short = Holding(PositionSide.BOTH, D(size), D(price), False, D(0))
        index.put(Symbol(symbol), asset=USDT, brackets=make.brackets(), mark_price=D(price), holdings=[short])
        index.tick(Symbol(symbol), D(price))
    assert len(list(index.near())) == near
    assert index.is_near(Symbol("BTCUSDT"), USDT) is bool(near)
