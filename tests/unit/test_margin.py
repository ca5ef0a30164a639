"""Margin arithmetic by worked numbers: HEDGING §1, §2, §3, §6, §10 and the venue's three examples (BINANCE_USDM §6.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

import pytest

from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.margin import (
    distance_of_size,
    distance_to,
    joint_distance,
    joint_share,
    liquidation_price,
    maintenance_margin,
    opening_distance,
    position_ceiling,
    sell_and_post,
    size_after_cut,
    size_at_distance,
    size_by_initial_margin,
    top_up,
    trigger_slack,
    wallet_for_rally,
)
from streamhedge.domain.values import exact, floor_step
from tests.support import builders as make

D = Decimal
TABLE = make.brackets()
STEP = D("0.001")
FEE = D("0.0005")
# ETHUSDT equals BTCUSDT up to bracket 4 (BINANCE_USDM §6.3); the examples stay below.
ETH_TABLE = TABLE[:4]


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    """The rules run inside our own decimal context; so do their figures here."""
    with exact():
        yield


def rounded(value: Decimal | None, places: int = 4) -> Decimal:
    assert value is not None
    return value.quantize(D(1).scaleb(-places), rounding=ROUND_HALF_EVEN)


def percent(value: Decimal | None, places: int = 2) -> Decimal:
    assert value is not None
    return rounded(value * 100, places)


# ---------------------------------------------------------------- the venue's examples


def test_example_1_an_isolated_long_lands_in_the_bracket_of_its_liquidation() -> None:
    price = liquidation_price(position_amount="4.2", entry_price="75000", wallet_balance="31500", brackets=TABLE)
    assert rounded(price) == D("67771.0843")
    assert price is not None
    equity = 31_500 + D("4.2") * (price - 75_000)
    assert rounded(equity) == D("1138.5542")
    assert rounded(maintenance_margin(notional=D("4.2") * price, brackets=TABLE)) == D("1138.5542")


def test_example_2_a_cross_short_beside_another_position() -> None:
    other = maintenance_margin(notional="98000", brackets=ETH_TABLE)
    assert other == 392
    price = liquidation_price(
        position_amount="-12",
        entry_price="75000",
        wallet_balance="20000",
        brackets=TABLE,
        other_maintenance_margin=other,
        other_unrealized_pnl="-2000",
    )
    assert rounded(price) == D("76097.6983")
    assert price is not None
    equity = 20_000 - 2_000 - 12 * (price - 75_000)
    assert rounded(equity) == D("4827.6205")
    assert rounded(392 + maintenance_margin(notional=12 * price, brackets=TABLE)) == D("4827.6205")


@pytest.mark.parametrize(
    ("amount", "entry", "opposite", "opposite_entry"),
    [("3", "74000", "-1", "77000"), ("-1", "77000", "3", "74000")],
)
def test_example_3_both_sides_of_a_cross_pair_share_one_price(
    amount: str, entry: str, opposite: str, opposite_entry: str
) -> None:
    price = liquidation_price(
        position_amount=amount,
        entry_price=entry,
        wallet_balance="15000",
        brackets=TABLE,
        opposite_amount=opposite,
        opposite_entry_price=opposite_entry,
    )
    assert rounded(price) == D("65524.1935")
    assert price is not None
    equity = 15_000 + 3 * (price - 74_000) + (77_000 - price)
    assert rounded(equity) == D("1048.3871") == rounded(4 * price * D("0.004"))


# ---------------------------------------------------------------- which price, and none


def test_a_short_that_is_already_liquidatable_gets_its_number_even_below_zero() -> None:
    price = liquidation_price(position_amount=-1, entry_price=50_000, wallet_balance=-60_000, brackets=TABLE)
    assert rounded(price) == D("-9960.1594")


@pytest.mark.parametrize(
    "said",
    [
        {"position_amount": 0, "entry_price": 0, "wallet_balance": 1_000},
        {"position_amount": 1, "entry_price": 50_000, "wallet_balance": 60_000},
        {
            "position_amount": 2,
            "entry_price": 74_000,
            "wallet_balance": 1_000,
            "opposite_amount": -2,
            "opposite_entry_price": 74_500,
        },
        {
            "position_amount": 3,
            "entry_price": 74_000,
            "wallet_balance": 400_000,
            "opposite_amount": -1,
            "opposite_entry_price": 77_000,
        },
    ],
    ids=["flat", "long without leverage", "pair of equal sides", "net long without leverage"],
)
def test_what_cannot_be_liquidated_has_no_price(said: dict[str, int]) -> None:
    assert liquidation_price(brackets=TABLE, **said) is None


def test_a_net_long_pair_is_liquidated_by_a_fall_though_its_maintenance_grows_past_its_gain_in_a_rally() -> None:
    small = (
        MarginBracket(D(0), D(10_000), D("0.02"), D(0), 50),
        MarginBracket(D(10_000), D(100_000), D("0.50"), D(4_800), 1),
    )
    price = liquidation_price(
        position_amount=30,
        entry_price=100,
        wallet_balance=120,
        brackets=small,
        opposite_amount=-25,
        opposite_entry_price=100,
    )
    # 120 + 5*(P - 100) = 55*P*0.02  =>  P = 380 / 3.9
    assert price == D(380) / D("3.9")


def test_a_price_needs_brackets() -> None:
    with pytest.raises(ValueError, match="brackets"):
        liquidation_price(position_amount=1, entry_price=1, wallet_balance=1, brackets=())
    with pytest.raises(ValueError, match="notional >= 0"):
        maintenance_margin(notional="-1", brackets=TABLE)


def test_distance_is_signed() -> None:
    price = D("91675.5092")
    assert distance_to(position_amount=D(-10), mark_price=D(100_000), price=price) == D("-0.083244908")
    assert distance_to(position_amount=D(1), mark_price=D(100), price=D(80)) == D("0.2")
    assert distance_to(position_amount=D(0), mark_price=D(100), price=D(80)) is None
    assert distance_to(position_amount=D(1), mark_price=D(100), price=None) is None


@pytest.mark.parametrize(
    ("notional", "row"),
    [(300_000, 0), (300_001, 1), (800_000, 1), (70_000_000, 4), (70_000_001, 5), (1_800_000_000, 11)],
)
def test_maintenance_is_the_row_that_holds_the_notional(notional: int, row: int) -> None:
    found = TABLE[row]
    assert found.notional_floor < notional <= found.notional_cap
    said = notional * found.maintenance_margin_rate - found.maintenance_amount
    assert maintenance_margin(notional=notional, brackets=TABLE) == said


# ---------------------------------------------------------------- HEDGING §10: one short, 250 000 USDT, 10 BTC

ENTRY = D("67121.4")
WALLET = D(250_000)


def free_at(mark: str, *, wallet: Decimal = WALLET, size: Decimal = D(10), entry: Decimal = ENTRY) -> Decimal:
    """Return C of one cross short."""
    return wallet - size * (D(mark) - entry)


def distance_at(mark: str, *, wallet: Decimal = WALLET, size: Decimal = D(10)) -> Decimal:
    return distance_of_size(free=free_at(mark, wallet=wallet, size=size), notional=size * D(mark), brackets=TABLE)


def test_liquidation_price_and_distance_at_entry() -> None:
    price = liquidation_price(position_amount=-10, entry_price=ENTRY, wallet_balance=WALLET, brackets=TABLE)
    assert rounded(price) == D("91675.5092")
    assert percent(distance_at("67121.4"), 4) == D("36.5816")


@pytest.mark.parametrize(("distance", "mark"), [("0.30", "70519.6225"), ("0.25", "73340.4074"), ("0.20", "76396.2577")])
def test_the_marks_at_which_the_ladder_fires(distance: str, mark: str) -> None:
    price = liquidation_price(position_amount=-10, entry_price=ENTRY, wallet_balance=WALLET, brackets=TABLE)
    assert price is not None
    assert rounded(price / (1 + D(distance))) == D(mark)
    slack = free_at(mark) - maintenance_margin(notional=10 * D(mark), brackets=TABLE)
    key = trigger_slack(notional=10 * D(mark), distance=D(distance), brackets=TABLE)
    assert abs(slack - key) < D("0.01")


def test_just_above_reduce_nothing_fires_and_just_below_it_does() -> None:
    assert percent(distance_at("73300.0")) == D("25.07")
    assert percent(distance_at("73350.0")) == D("24.98")


def test_the_smallest_cut_that_restores_reopen() -> None:
    mark = D("73350.0")
    free = free_at("73350.0")
    assert free == 187_714
    kept = size_after_cut(free=free, held=D(10), mark_price=mark, distance=D("0.30"), fee_rate=FEE, brackets=TABLE)
    keep = floor_step(kept, STEP)
    assert keep == D("8.360")
    wallet, price, distance = after_buy(D("1.640"), mark)
    assert rounded(wallet, 3) == D("239724.949")
    assert rounded(price) == D("95355.7396")
    assert percent(distance, 4) == D("30.0010")
    assert percent(after_buy(D("1.639"), mark)[2], 4) == D("29.9974")


def after_buy(quantity: Decimal, mark: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """Return wallet, liquidation price and distance after buying part of the 10 BTC back at the mark."""
    wallet = WALLET - quantity * (mark - ENTRY) - quantity * mark * FEE
    price = liquidation_price(position_amount=quantity - 10, entry_price=ENTRY, wallet_balance=wallet, brackets=TABLE)
    assert price is not None
    return wallet, price, (price - mark) / mark


CUT_WALLET = D("239724.949")
CUT_SIZE = D("8.360")


def raisable_after_cut(mark: str) -> Decimal:
    return size_at_distance(
        free=free_at(mark, wallet=CUT_WALLET, size=CUT_SIZE),
        held=CUT_SIZE,
        mark_price=D(mark),
        distance=D("0.30"),
        fee_rate=FEE,
        brackets=TABLE,
    )


def test_the_first_raise_after_the_cut() -> None:
    # raise_step 5 % of 10 BTC: 8.86 fits from 72 329.52 down
    assert floor_step(raisable_after_cut("72329.52"), STEP) == D("8.860")
    assert floor_step(raisable_after_cut("72329.53"), STEP) == D("8.859")
    assert floor_step(raisable_after_cut("72000.0"), STEP) == D("9.024")
    sold = D("0.664")
    wallet = CUT_WALLET - sold * 72_000 * FEE
    entry = (CUT_SIZE * ENTRY + sold * 72_000) / (CUT_SIZE + sold)
    price = liquidation_price(
        position_amount=-(CUT_SIZE + sold), entry_price=entry, wallet_balance=wallet, brackets=TABLE
    )
    assert percent(distance_to(position_amount=D(-1), mark_price=D(72_000), price=price), 4) == D("30.0011")
    # the whole 10 fits from 70 103.75 down
    assert raisable_after_cut("70103.75") >= 10 > raisable_after_cut("70103.76")


def test_the_remedies() -> None:
    free = free_at("73350")
    said = {"size": D(10), "free": free, "mark_price": D(73_350), "distance": D("0.30"), "brackets": TABLE}
    assert rounded(top_up(**said), 2) == D("37034.08")  # type: ignore[arg-type]
    sold = sell_and_post(**said)  # type: ignore[arg-type]
    assert rounded(sold) == D("0.3859")
    assert rounded(sold * 73_350, 2) == D("28303.78")


def test_a_jump_past_close_restores_with_one_larger_cut() -> None:
    mark = D("76500.0")
    assert percent(distance_at("76500.0")) == D("19.84")
    kept = size_after_cut(
        free=free_at("76500.0"), held=D(10), mark_price=mark, distance=D("0.30"), fee_rate=FEE, brackets=TABLE
    )
    assert floor_step(kept, STEP) == D("6.669")
    assert percent(after_buy(D("3.331"), mark)[2], 4) == D("30.0033")


def test_the_joint_distance_is_half_of_what_each_short_reads_alone() -> None:
    shorts: list[tuple[Decimal, Sequence[MarginBracket]]] = [(D(375_000), TABLE), (D(375_000), ETH_TABLE)]
    maintenance = [maintenance_margin(notional=notional, brackets=table) for notional, table in shorts]
    for (notional, table), other in zip(shorts, reversed(maintenance), strict=True):
        own = distance_of_size(free=300_000 - other, notional=notional, brackets=table)
        assert percent(own, 4) == D("78.7662")
        assert trigger_slack(notional=notional, distance=D("0.25"), brackets=table) == D("94218.75")
    assert percent(joint_distance(margin_balance=D(300_000), shorts=shorts), 4) == D("39.3831")
    slack = 300_000 - sum(maintenance)
    assert slack == 296_850
    # the joint 25 % fires exactly at a slack of both keys together
    at_trigger = joint_distance(margin_balance=D("188437.50") + sum(maintenance), shorts=shorts)
    assert rounded(at_trigger, 20) == D("0.25")


# ---------------------------------------------------------------- HEDGING §2, §3, §6


def test_hedges_that_share_margin_are_scaled_alike() -> None:
    shorts: list[tuple[Decimal, Sequence[MarginBracket]]] = [(D(375_000), TABLE), (D(375_000), ETH_TABLE)]
    share = joint_share(margin_balance=D(220_000), shorts=shorts, distance=D("0.30"))
    assert rounded(share, 6) == D("0.959652")
    assert floor_step(5 * share, STEP) == D("4.798")
    assert rounded(150 * share, 3) == D("143.948")
    scaled = [(notional * share, table) for notional, table in shorts]
    assert rounded(joint_distance(margin_balance=D(220_000), shorts=scaled), 20) == D("0.30")


@pytest.mark.parametrize(("wallet", "share"), [(1_000_000, 1), (0, 0), (-5, 0)])
def test_the_joint_share_stays_between_nothing_and_all(wallet: int, share: int) -> None:
    assert joint_share(margin_balance=D(wallet), shorts=[(D(375_000), TABLE)], distance=D("0.3")) == share
    assert joint_share(margin_balance=D(wallet), shorts=[(D(0), TABLE)], distance=D("0.3")) == 1


@pytest.mark.parametrize(
    ("leverage", "said"),
    [(2, ("49.4", "48.7", "47.0", "40.3", "34.5")), (3, ("32.8", "32.2", "30.8", "25.1", "21.2"))],
)
def test_the_table_of_isolated_opening_distances(leverage: int, said: tuple[str, ...]) -> None:
    found = [
        str(percent(opening_distance(leverage=leverage, notional=D(67_000) * size, brackets=TABLE), 1))
        for size in (1, 100, 1_000, 5_000, 10_000)
    ]
    assert tuple(found) == said


@pytest.mark.parametrize(
    ("distance", "leverage"), [("0.20", "4.88"), ("0.25", "3.92"), ("0.30", "3.28"), ("0.40", "2.47")]
)
def test_the_effective_leverage_at_a_distance(distance: str, leverage: str) -> None:
    carried = top_up(size=D(1), free=D(0), mark_price=D(100_000), distance=D(distance), brackets=TABLE[:1])
    assert rounded(100_000 / carried, 2) == D(leverage)


@pytest.mark.parametrize(("rally", "share"), [("0.1", "38"), ("0.2", "51"), ("0.3", "64"), ("0.5", "89"), ("1", "152")])
def test_the_margin_budget_of_a_rally(rally: str, share: str) -> None:
    flat = (MarginBracket(D(0), D(10) ** 9, D("0.0065"), D(0), 75),)
    wallet = wallet_for_rally(notional=D(1_000_000), rally=D(rally), distance=D("0.25"), brackets=flat)
    assert percent(wallet / 1_000_000, 0) == D(share)


def test_the_margin_budget_is_what_the_closed_form_of_the_cut_needs() -> None:
    wallet = wallet_for_rally(notional=D(671_214), rally=D("0.1"), distance=D("0.25"), brackets=TABLE)
    mark = D("67121.4") * D("1.1")
    assert distance_of_size(free=wallet - 10 * (mark - ENTRY), notional=10 * mark, brackets=TABLE) == D("0.25")


def test_sizes_by_initial_margin_charge_the_open_loss() -> None:
    # SELL at the collar's price: 67 121.4 * 1.0015 / 3 + 671.2 + 33.5607 per BTC
    available = 400_000 - 10 * ENTRY / 3
    size = size_by_initial_margin(
        held=D(10), available=available, mark_price=ENTRY, price=D("66450.2"), leverage=3, fee_rate=FEE
    )
    assert floor_step(size - 10, STEP) == D("7.626")
    # HEDGING §4: open loss of 3.7 BTC sold one per cent below the mark
    assert rounded(D("3.7") * (ENTRY - D("66450.2")), 0) == 2_483


def test_a_larger_leverage_lowers_the_ceiling() -> None:
    assert position_ceiling(leverage=3, brackets=TABLE) == 800_000_000
    assert position_ceiling(leverage=25, brackets=TABLE) == 70_000_000
    assert position_ceiling(leverage=151, brackets=TABLE) == 0
