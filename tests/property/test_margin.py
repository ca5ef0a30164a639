"""The closed forms against their definitions, over random tables: bisection knows brackets only by the row that holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamhedge.domain.margin import (
    distance_of_size,
    isolated_size_at_distance,
    joint_distance,
    joint_share,
    liquidation_price,
    maintenance_margin,
    sell_and_post,
    size_after_cut,
    size_at_distance,
    top_up,
    trigger_slack,
    wallet_for_rally,
)
from streamhedge.domain.values import exact, floor_step
from tests.support.accounts import Table, held_by, tables

D = Decimal
STEP = D("0.001")
FEE = D("0.0005")
NEAR = D("1e-9")


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def amounts(low: int, high: int) -> st.SearchStrategy[Decimal]:
    """Draw decimals with three places between two whole numbers."""
    return st.integers(low * 1_000, high * 1_000).map(lambda number: D(number) / 1_000)


SIZES = amounts(1, 500).map(lambda size: max(size, STEP))
PRICES = amounts(1, 100_000)
WALLETS = amounts(-500_000, 20_000_000)
DISTANCES = st.integers(50, 600).map(lambda share: D(share) / 1_000)


def zero_of(rising: Callable[[Decimal], Decimal], low: Decimal, high: Decimal) -> Decimal:
    """Return where a function that is below zero at ``low`` and not at ``high`` crosses, by bisection."""
    assert rising(low) < 0 <= rising(high)
    for _ in range(120):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return high


def close_to(one: Decimal, two: Decimal) -> bool:
    return abs(one - two) <= NEAR * max(D(1), abs(one), abs(two))


@given(tables(), amounts(0, 40_000_000))
def test_maintenance_is_that_of_the_row_that_holds(table: Table, notional: Decimal) -> None:
    assert maintenance_margin(notional=notional, brackets=table) == held_by(notional, table)


@given(tables(), SIZES, PRICES, WALLETS, amounts(0, 10_000), amounts(-10_000, 10_000))
def test_a_short_is_liquidated_where_bisection_says(
    table: Table, size: Decimal, entry: Decimal, wallet: Decimal, others: Decimal, pnl: Decimal
) -> None:
    def missing(price: Decimal) -> Decimal:
        return held_by(size * price, table) - (wallet - others + pnl - size * (price - entry))

    found = liquidation_price(
        position_amount=-size,
        entry_price=entry,
        wallet_balance=wallet,
        brackets=table,
        other_maintenance_margin=others,
        other_unrealized_pnl=pnl,
    )
    assert found is not None
    if missing(D(0)) >= 0:
        assert found <= 0
    else:
        assert close_to(found, zero_of(missing, D(0), entry + (abs(wallet) + others + abs(pnl)) / size + 1))


@given(tables(), SIZES, PRICES, WALLETS)
def test_a_long_is_liquidated_where_bisection_says(
    table: Table, size: Decimal, entry: Decimal, wallet: Decimal
) -> None:
    def left(price: Decimal) -> Decimal:
        return wallet + size * (price - entry) - held_by(size * price, table)

    found = liquidation_price(position_amount=size, entry_price=entry, wallet_balance=wallet, brackets=table)
    if left(D(0)) >= 0:
        assert found is None
    else:
        assert found is not None
        assert close_to(found, zero_of(left, D(0), (entry + abs(wallet) / size) * 3))


@given(tables(), SIZES, SIZES, PRICES, PRICES, WALLETS)
def test_a_pair_is_liquidated_where_bisection_says(
    table: Table, long: Decimal, short: Decimal, long_entry: Decimal, short_entry: Decimal, wallet: Decimal
) -> None:
    assume(long != short)

    def left(price: Decimal) -> Decimal:
        equity = wallet + long * (price - long_entry) - short * (price - short_entry)
        return equity - held_by(long * price, table) - held_by(short * price, table)

    pair = [(long, long_entry), (-short, short_entry)]
    prices = [
        liquidation_price(
            position_amount=amount,
            entry_price=entry,
            wallet_balance=wallet,
            brackets=table,
            opposite_amount=other,
            opposite_entry_price=other_entry,
        )
        for (amount, entry), (other, other_entry) in (pair, pair[::-1])
    ]
    assert prices[0] == prices[1]
    found = prices[0]
    edges = sorted(row.notional_cap / size for row in table for size in (long, short))
    far = [*edges, (edges[-1] + long_entry + short_entry + abs(wallet) / abs(long - short)) * 1_000]
    if long < short:
        assert found is not None
        if left(D(0)) <= 0:
            assert found <= 0
        else:
            assert close_to(found, zero_of(lambda price: -left(price), D(0), far[-1]))
        return
    if left(D(0)) >= 0:
        assert found is None
        return
    safe = [price for price in far if left(price) >= 0]
    assume(safe)  # else no price saves it
    assert found is not None
    # Far out the price has few digits left: equity at a price of 1e14 is no longer exact to one part in 1e9.
    assert close_to(found, zero_of(left, D(0), safe[0]))


@given(tables(), SIZES, PRICES, amounts(0, 2_000_000), DISTANCES)
def test_slack_below_the_key_is_distance_below_the_threshold(
    table: Table, size: Decimal, mark: Decimal, free: Decimal, distance: Decimal
) -> None:
    notional = size * mark
    slack = free - held_by(notional, table)
    key = trigger_slack(notional=notional, distance=distance, brackets=table)
    assume(abs(slack - key) > NEAR * (abs(key) + 1))
    found = distance_of_size(free=free, notional=notional, brackets=table)
    assert (slack <= key) == (found <= distance)


@given(st.lists(st.tuples(amounts(1, 5_000_000), tables()), min_size=1, max_size=3), amounts(0, 10_000_000))
def test_the_joint_distance_uses_up_the_margin_exactly(shorts: list[tuple[Decimal, Table]], balance: Decimal) -> None:
    total = sum(notional for notional, _ in shorts)

    def missing(rise: Decimal) -> Decimal:
        return rise * total + sum(held_by(size * (1 + rise), table) for size, table in shorts) - balance

    found = joint_distance(margin_balance=balance, shorts=shorts)
    assert found is not None
    assert close_to(found, zero_of(missing, D(-2), balance / total + 1))


@given(st.lists(st.tuples(amounts(1, 5_000_000), tables()), min_size=1, max_size=3), amounts(0, 10_000_000), DISTANCES)
def test_the_joint_share_is_the_largest_that_keeps_the_distance(
    shorts: list[tuple[Decimal, Table]], balance: Decimal, distance: Decimal
) -> None:
    share = joint_share(margin_balance=balance, shorts=shorts, distance=distance)
    assert 0 <= share <= 1
    assume(share > D("0.000001"))

    def reached(part: Decimal) -> Decimal:
        found = joint_distance(margin_balance=balance, shorts=[(size * part, table) for size, table in shorts])
        assert found is not None
        return found

    assert reached(share) >= distance - NEAR
    if share < 1:
        assert reached(share * D("1.0001")) < distance


@given(tables(), SIZES, PRICES, amounts(0, 20_000_000), DISTANCES)
def test_raising_to_the_size_at_distance_keeps_it_and_one_step_more_would_not(
    table: Table, held: Decimal, mark: Decimal, free: Decimal, distance: Decimal
) -> None:
    said = {"held": held, "mark_price": mark, "distance": distance, "fee_rate": FEE, "brackets": table}
    size = floor_step(size_at_distance(free=free, **said), STEP)  # type: ignore[arg-type]
    assume(size >= held)

    def after(short: Decimal) -> Decimal:
        paid = (short - held) * mark * FEE
        return distance_of_size(free=free - paid, notional=short * mark, brackets=table)

    assert after(size) >= distance
    assert after(size + STEP) < distance


@given(tables(), SIZES, PRICES, amounts(0, 20_000_000), DISTANCES)
def test_cutting_to_the_size_after_cut_restores_and_one_step_less_would_not(
    table: Table, held: Decimal, mark: Decimal, free: Decimal, distance: Decimal
) -> None:
    said = {"held": held, "mark_price": mark, "distance": distance, "fee_rate": FEE, "brackets": table}
    size = floor_step(size_after_cut(free=free, **said), STEP)  # type: ignore[arg-type]
    assume(0 < size < held)

    def after(short: Decimal) -> Decimal:
        paid = (held - short) * mark * FEE
        return distance_of_size(free=free - paid, notional=short * mark, brackets=table)

    assert after(size) >= distance
    assert after(size + STEP) < distance


@given(tables(), SIZES, PRICES, amounts(0, 5_000_000), DISTANCES, st.integers(1, 20))
def test_an_isolated_short_raised_with_its_own_margin_keeps_the_distance(
    table: Table, held: Decimal, mark: Decimal, free: Decimal, distance: Decimal, leverage: int
) -> None:
    found = isolated_size_at_distance(
        free=free, held=held, mark_price=mark, distance=distance, leverage=leverage, fee_rate=FEE, brackets=table
    )
    size = floor_step(found, STEP)
    assume(size > held)

    def after(short: Decimal) -> Decimal:
        brought = (short - held) * mark * (D(1) / leverage - FEE)
        return distance_of_size(free=free + brought, notional=short * mark, brackets=table)

    assert after(size) >= distance - NEAR
    if found < table[-1].notional_cap / mark - STEP:
        assert after(size + STEP) < distance


@given(tables(), SIZES, PRICES, amounts(-1_000_000, 5_000_000), DISTANCES)
def test_the_remedies_restore_exactly_the_distance(
    table: Table, size: Decimal, mark: Decimal, free: Decimal, distance: Decimal
) -> None:
    said = {"size": size, "free": free, "mark_price": mark, "distance": distance, "brackets": table}
    added = top_up(**said)  # type: ignore[arg-type]
    sold = sell_and_post(**said)  # type: ignore[arg-type]
    notional = size * mark
    if added == 0:
        assert distance_of_size(free=free, notional=notional, brackets=table) >= distance - NEAR
        assert sold == 0
        return
    assert close_to(distance_of_size(free=free + added, notional=notional, brackets=table), distance)
    assume(sold < size)
    rest = (size - sold) * mark
    assert close_to(distance_of_size(free=free + sold * mark, notional=rest, brackets=table), distance)


@given(tables(), SIZES, PRICES, DISTANCES, DISTANCES)
def test_the_budget_of_a_rally_ends_it_at_the_distance(
    table: Table, size: Decimal, mark: Decimal, rally: Decimal, distance: Decimal
) -> None:
    wallet = wallet_for_rally(notional=size * mark, rally=rally, distance=distance, brackets=table)
    risen = mark * (1 + rally)
    free = wallet - size * (risen - mark)
    assert close_to(distance_of_size(free=free, notional=size * risen, brackets=table), distance)
