"""What the rest of the account does to a hedge's margin: other assets, other legs, longs beside shorts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.book import PositionBook, empty_book
from streamhedge.domain.margin import joint_distance
from streamhedge.domain.values import Asset, Symbol, exact
from streamhedge.rules.liquidation import read_ladder
from streamhedge.rules.view import LadderStep, Leg
from tests.support import builders as make
from tests.support.views import view

D = Decimal
NOW_NS = make.T0_MS * 1_000_000
ETHUSDC = Symbol("ETHUSDC")
ETHUSDT = Symbol("ETHUSDT")


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def book(position: str = "-10") -> PositionBook:
    found = empty_book()
    found.instruments[make.BTCUSDT] = make.instrument()
    found.leverage[make.BTCUSDT] = 5
    found.apply_snapshot(make.snapshot(position, entry="67121.4"), NOW_NS)
    return found


def leg(quantity: str, symbol: Symbol = ETHUSDT, mark: str = "2500", *, cuts: bool = True) -> Leg:
    return Leg(
        symbol=symbol,
        quantity=D(quantity),
        entry_price=D(2_500),
        mark_price=D(mark),
        instrument=replace(make.instrument(symbol), base_asset=Asset("ETH")),
        cuts=cuts,
    )


# ---------------------------------------------------------------- available balance


def test_available_follows_the_mark_and_never_goes_below_zero() -> None:
    held = book()
    assert held.available(make.USDT) == 400_000, "without a mark nothing of the position is known"
    held.apply_mark(make.mark("67121.4"), NOW_NS)
    assert held.available(make.USDT) == 400_000 - D("67121.4") * 10 / 5
    held.apply_mark(make.mark("68121.4"), NOW_NS + 1)
    assert held.available(make.USDT) == 400_000 - 10_000 - D("68121.4") * 10 / 5
    held.leverage[make.BTCUSDT] = 1
    assert held.available(make.USDT) == 0


def test_an_asset_without_a_balance_has_nothing_available() -> None:
    assert book().available(Asset("USDC")) == 0


def test_a_position_margined_in_another_asset_takes_nothing_of_this_one() -> None:
    held = book()
    held.apply_mark(make.mark("67121.4"), NOW_NS)
    before = held.available(make.USDT)
    ours = make.snapshot("-10", entry="67121.4", requested_ns=NOW_NS + 1)
    row = replace(ours.positions[0], symbol=ETHUSDC, quantity=D(-1), entry_price=D(2_400), margin_asset=Asset("USDC"))
    held.instruments[ETHUSDC] = replace(make.instrument(ETHUSDC), margin_asset=Asset("USDC"))
    held.apply_snapshot(replace(ours, positions=(*ours.positions, row)), NOW_NS + 1)
    held.apply_mark(replace(make.mark("2500"), symbol=ETHUSDC), NOW_NS + 1)
    assert held.quantity(ETHUSDC) == -1
    assert held.available(make.USDT) == before
    held.instruments[ETHUSDC] = replace(make.instrument(ETHUSDC), margin_asset=make.USDT)
    assert held.available(make.USDT) == before - 100 - 2_500, "margined in USDT it would take its loss and its margin"


def test_a_flat_row_does_not_say_which_margin_type_the_symbol_has() -> None:
    """Symbols without a position are reported as cross whatever they are set to."""
    held = book()
    isolated = replace(make.snapshot("-3", entry="67121.4").positions[0], isolated=True, isolated_wallet=D(70_000))
    for number, row in enumerate((isolated, replace(isolated, quantity=D(0), isolated=False))):
        at_ms = make.T0_MS + number + 1
        said = replace(row, update_time_ms=at_ms)
        held.apply_snapshot(replace(make.snapshot(at_ms=at_ms), positions=(said,)), at_ms * 1_000_000)
        (found,) = (found for key, found in held.positions.items() if key[0] == make.BTCUSDT)
        assert found.isolated, "set to isolated by the first row"


# ---------------------------------------------------------------- the joint reading


def test_a_group_without_shorts_has_no_joint_distance() -> None:
    assert joint_distance(margin_balance=D(1_000), shorts=[]) is None
    assert joint_distance(margin_balance=D(10_000), shorts=[(D(10_000), make.brackets())]) is not None


def test_a_long_elsewhere_is_no_short_of_the_group() -> None:
    alone = read_ladder(view(wallet=D(200_000)))
    long = read_ladder(view(wallet=D(200_000), others=(leg("1"),)))
    short = read_ladder(view(wallet=D(200_000), others=(leg("-100"),)))
    assert alone.distance is not None and long.joint_distance is not None and short.joint_distance is not None
    assert long.joint_distance == long.distance, "nothing rises together with us"
    assert short.distance is not None and short.joint_distance < short.distance


def test_a_joint_reading_cuts_the_largest_short_and_leaves_longs_out_of_the_comparison() -> None:
    ripple = leg("400", Symbol("XRPUSDT"))
    largest = read_ladder(view(wallet=D(285_000), others=(leg("-200"), ripple)))
    assert largest.step is LadderStep.REDUCE and largest.draft is not None
    assert largest.distance is not None and largest.distance > D("0.3"), "alone it would not be cut"
    smaller = read_ladder(view(wallet=D(340_000), others=(leg("-300"),)))
    assert smaller.step is LadderStep.REDUCE
    assert (smaller.draft, smaller.hold) == (None, "joint"), "750 000 elsewhere against 671 214: the other is cut first"


def test_of_two_shorts_of_one_size_the_first_by_name_is_cut() -> None:
    twin = {"quantity": D(-10), "entry_price": D("67121.4"), "mark_price": D("67121.4")}
    for name, hold in (("AAAUSDT", "joint"), ("ZZZUSDT", "")):
        other = replace(leg("-1", Symbol(name)), **twin)
        found = read_ladder(view(wallet=D(320_000), others=(other,)))
        assert found.step is LadderStep.REDUCE and found.hold == hold, name


def test_a_short_that_no_hedge_steers_lets_nobody_off_the_cut() -> None:
    foreign = view(wallet=D(340_000), others=(leg("-300", cuts=False),))
    verdict = read_ladder(foreign)
    assert verdict.draft is not None, "750 000 elsewhere that no ladder of ours can cut: ours is what there is"
    assert verdict.helpless == ""
    both = replace(foreign, others=(leg("-300", cuts=False), leg("-280", Symbol("AAAUSDT"))))
    assert read_ladder(both).hold == "joint", "of our own two the larger is cut"


def test_a_joint_reading_that_only_somebody_elses_short_can_restore_is_told_as_such() -> None:
    # 5 000 ETH short at 2 500 are 12.5 million: all of our 671 214 bought back leaves them at 16 %
    verdict = read_ladder(view(wallet=D(2_150_000), others=(leg("-5000", cuts=False),)))
    assert verdict.step is LadderStep.CLOSE
    assert verdict.draft is not None and verdict.draft.quantity == 10, "it still helps a little"
    assert "ETHUSDT, which no hedge steers, still stands at" in verdict.helpless
    steered = read_ladder(view(wallet=D(2_150_000), others=(leg("-5000"),)))
    assert (steered.hold, steered.helpless) == ("joint", "")


def test_what_is_in_flight_elsewhere_counts_at_the_worst_end() -> None:
    quiet = read_ladder(view(wallet=D(400_000), others=(leg("-50"),)))
    raising = read_ladder(view(wallet=D(400_000), others=(replace(leg("-50"), pending_low=D(-150)),)))
    settled = read_ladder(view(wallet=D(400_000), others=(leg("-200"),)))
    assert quiet.joint_distance is not None and raising.joint_distance is not None
    assert raising.joint_distance == settled.joint_distance < quiet.joint_distance
