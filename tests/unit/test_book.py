"""The position book: what wins, what is derived, and the funding of a symbol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.book import PositionBook, empty_book
from streamhedge.domain.events import AccountUpdate, PositionSide
from streamhedge.domain.funding import HOUR_MS, annualised, funding_payment, infer_interval_ms
from streamhedge.domain.values import Asset, Symbol, exact
from tests.support import builders as make

D = Decimal
T = make.T0_MS
MS = 1_000_000
SECOND = 1_000 * MS


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def book_with(*updates: AccountUpdate) -> PositionBook:
    book = empty_book()
    book.instruments[make.BTCUSDT] = make.instrument()
    for number, update in enumerate(updates):
        book.apply_account_update(update, T * MS + number)
    return book


def pair(long: str, short: str) -> AccountUpdate:
    """Return a hedge-mode update: an empty one-way row, a long and a short (BINANCE_USDM §3.3)."""
    base = make.account_update("0", wallet="15000")
    row = base.positions[0]
    sides = (
        replace(row, position_side=PositionSide.LONG, quantity=D(long), entry_price=D(74_000)),
        replace(row, position_side=PositionSide.SHORT, quantity=D(short), entry_price=D(77_000)),
    )
    return replace(base, positions=(row, *sides))


# ---------------------------------------------------------------- what wins


@pytest.mark.fault("U6", "U7")
def test_absolute_values_win_and_older_ones_never_do() -> None:
    book = book_with(make.account_update("-2", at_ms=T + 5), make.account_update("-1", wallet="1", at_ms=T + 4))
    assert book.quantity(make.BTCUSDT) == -2
    assert book.balances[make.USDT].wallet_balance == 400_000


@pytest.mark.fault("U6")
def test_fills_of_one_millisecond_apply_in_order_and_a_repetition_undoes_nothing() -> None:
    # One match, three fills, one T: 0.02, 0.04, 1; a second connection tells it all again, one event behind.
    story = [
        make.account_update(size, wallet=wallet, at_ms=T)
        for size, wallet in (("-0.02", "9"), ("-0.04", "8"), ("-1", "7"))
    ]
    for again in range(3):
        book = book_with(*story, *story[: again + 1])
        assert book.quantity(make.BTCUSDT) == -1
        assert book.balances[make.USDT].wallet_balance == 7


@pytest.mark.fault("U6", "C1")
def test_a_repetition_undoes_nothing_that_a_venue_said_after_its_clock_was_set_back() -> None:
    before = make.account_update("-3", wallet="9", at_ms=T + 100)
    book = book_with(before)
    asked_ns = (T + 1) * MS
    said = make.snapshot("-7", entry="67000", wallet="8", at_ms=T + 50, requested_ns=asked_ns)
    book.apply_snapshot(said, asked_ns + MS, confirmed=[(make.BTCUSDT, PositionSide.BOTH), make.USDT])
    assert book.quantity(make.BTCUSDT) == -7 and book.version_ms(make.BTCUSDT) == T + 50
    assert book.apply_account_update(before, asked_ns + 2 * MS) == []
    assert book.quantity(make.BTCUSDT) == -7 and book.balances[make.USDT].wallet_balance == 8
    assert book.apply_account_update(make.account_update("-8", at_ms=T + 60), asked_ns + 3 * MS), "what is new is taken"


def test_a_return_to_an_earlier_size_within_one_millisecond_is_not_taken_for_a_repetition() -> None:
    there = make.account_update("-1", wallet="100", at_ms=T)
    away = make.account_update("0", wallet="99", at_ms=T)
    back = make.account_update("-1", wallet="98", at_ms=T)
    book = book_with(there, away, back)
    assert book.quantity(make.BTCUSDT) == -1
    assert book.balances[make.USDT].wallet_balance == 98


@pytest.mark.fault("U11", "U13")
def test_a_row_not_named_is_unchanged_and_a_flat_one_way_row_closes_no_hedge_side() -> None:
    book = book_with(pair("3", "-1"))
    flat = make.account_update("0", at_ms=T + 1)
    book.apply_account_update(replace(flat, balances=()), T * MS)
    assert book.positions[make.BTCUSDT, PositionSide.LONG].quantity == 3
    assert book.positions[make.BTCUSDT, PositionSide.SHORT].quantity == -1
    assert book.balances[make.USDT].wallet_balance == 15_000


def test_only_a_size_that_changed_is_reported() -> None:
    book = book_with(make.account_update("-1"))
    assert book.apply_account_update(make.account_update("-1", wallet="5", at_ms=T + 1), T * MS) == []
    (moved,) = book.apply_account_update(make.account_update("-2", at_ms=T + 2), T * MS)
    assert moved.quantity == -2


@pytest.mark.fault("U11")
def test_absent_from_a_complete_snapshot_is_flat_unless_an_event_is_newer() -> None:
    book = book_with(make.account_update("-1"))
    asked_before = make.snapshot(at_ms=T, requested_ns=T * MS)
    assert book.apply_snapshot(asked_before, T * MS + 1) == []
    asked_after = make.snapshot(at_ms=T, requested_ns=T * MS + 1)
    assert book.apply_snapshot(asked_after, T * MS + 2) == [(make.BTCUSDT, PositionSide.BOTH)]
    assert book.quantity(make.BTCUSDT) == 0


@pytest.mark.fault("U7")
def test_a_snapshot_older_than_the_row_keeps_it_and_refreshes_the_venues_columns() -> None:
    book = book_with(make.account_update("-2", at_ms=T + 10))
    old = make.snapshot("-1", entry="67000", at_ms=T + 9, requested_ns=T * MS - 1)
    (row,) = old.positions
    old = replace(old, positions=(replace(row, liquidation_price=D(90_000), adl=3),))
    assert book.apply_snapshot(old, T * MS) == []
    held = book.positions[make.BTCUSDT, PositionSide.BOTH]
    assert (held.quantity, held.adl, held.venue_liquidation_price) == (D(-2), 3, D(90_000))
    assert book.differences(old) == [], "learnt after it was asked"
    asked_after = make.snapshot("-1", entry="67000", at_ms=T + 9, requested_ns=(T + 11) * MS)
    assert book.differences(asked_after) == [((make.BTCUSDT, PositionSide.BOTH), D(-2), D(-1))], "a lag, or a clock"
    assert book.is_stamped_older(asked_after, (make.BTCUSDT, PositionSide.BOTH))
    assert book.apply_snapshot(asked_after, (T + 12) * MS) == [] and book.quantity(make.BTCUSDT) == -2
    newer = make.snapshot("-1", entry="67000", at_ms=T + 10, requested_ns=T * MS + 10)
    assert book.differences(newer) == [((make.BTCUSDT, PositionSide.BOTH), D(-2), D(-1))]


# ---------------------------------------------------------------- derived figures


def test_a_short_is_shown_with_everything_derived_from_its_mark() -> None:
    book = book_with(make.account_update("-10", wallet="250000"))
    book.apply_mark(make.mark("73350.0", T), T * MS)
    seen = book.position_view(make.BTCUSDT, PositionSide.BOTH, T * MS + 5 * MS)
    assert seen is not None
    assert (seen.notional, seen.unrealized_pnl) == (D("733500.0"), D("-62286.0"))
    assert seen.maintenance_margin == D("733500") * D("0.005") - 300
    assert seen.liquidation_price is not None
    assert seen.liquidation_distance is not None
    assert seen.liquidation_price.quantize(D("0.0001")) == D("91675.5092")
    assert (seen.liquidation_distance * 100).quantize(D("0.01")) == D("24.98")
    assert seen.age_ms == 5
    account = book.account_view(make.USDT, T * MS)
    assert account is not None
    assert account.margin_balance == 187_714
    assert account.margin_ratio is not None
    assert (account.margin_ratio * 100).quantize(D("0.001")) == D("1.794")


def test_cross_positions_of_the_same_margin_asset_enter_each_others_price() -> None:
    eth, usdc = Symbol("ETHUSDT"), Symbol("BTCUSDC")
    base = make.account_update("-12", entry="75000", wallet="20000")
    row = base.positions[0]
    other = replace(row, symbol=eth, quantity=D(40), entry_price=D(2_500))
    foreign = replace(row, symbol=usdc, quantity=D(40), entry_price=D(2_500))
    book = book_with(replace(base, positions=(row, other, foreign)))
    book.instruments[eth] = make.instrument(eth)
    book.instruments[usdc] = replace(make.instrument(usdc), margin_asset=Asset("USDC"))
    for symbol in (eth, usdc):
        book.apply_mark(replace(make.mark("2450", T), symbol=symbol), T * MS)
    price = book.liquidation_price_of(book.positions[make.BTCUSDT, PositionSide.BOTH])
    assert price is not None
    assert price.quantize(D("0.0001")) == D("76097.6983")


def test_both_sides_of_a_hedge_mode_pair_show_one_price() -> None:
    book = book_with(pair("3", "-1"))
    prices = [book.liquidation_price_of(held) for held in book.positions.values() if held.quantity != 0]
    assert [price and price.quantize(D("0.0001")) for price in prices] == [D("65524.1935")] * 2


def test_an_isolated_position_stands_on_its_own_wallet() -> None:
    row = replace(make.account_update("4.2", entry="75000").positions[0], isolated=True, isolated_wallet=D(31_500))
    book = book_with(replace(make.account_update("4.2", wallet="1"), positions=(row,)))
    price = book.liquidation_price_of(book.positions[make.BTCUSDT, PositionSide.BOTH])
    assert price is not None
    assert price.quantize(D("0.0001")) == D("67771.0843")


# ---------------------------------------------------------------- marks


@pytest.mark.fault("M2")
def test_a_mark_that_jumps_waits_for_the_one_that_agrees() -> None:
    book = book_with()
    frames = [("60000", False), ("65999", False), ("72600", True), ("72000", False), ("79199", False)]
    for number, (price, suspicious) in enumerate(frames):
        assert book.apply_mark(make.mark(price, T + number), T * MS + number)
        assert (book.marks[make.BTCUSDT].suspicious_since_ns is not None) is suspicious, price


@pytest.mark.fault("M2")
def test_a_mark_far_from_its_index_waits_from_the_very_first_frame() -> None:
    book = book_with()
    book.apply_mark(make.mark("60000", T, index="57000"), T * MS)
    assert book.marks[make.BTCUSDT].suspicious_since_ns == T * MS
    book.apply_mark(make.mark("60001", T + 1, index="57000"), T * MS + 1)
    assert book.marks[make.BTCUSDT].suspicious_since_ns is None


@pytest.mark.fault("M2")
def test_a_mark_that_goes_on_jumping_is_believed_after_two_seconds() -> None:
    book = book_with()
    for second, price in enumerate(("60000", "70000", "80000")):
        book.apply_mark(make.mark(price, T + second), T * MS + second * SECOND)
    assert book.marks[make.BTCUSDT].suspicious_since_ns == T * MS + SECOND
    book.apply_mark(make.mark("90000", T + 3), T * MS + 3 * SECOND)
    assert book.marks[make.BTCUSDT].suspicious_since_ns is None


def test_without_another_frame_the_wait_ends_by_itself() -> None:
    book = book_with()
    book.apply_mark(make.mark("60000", T, index="57000"), T * MS)
    mark = book.marks[make.BTCUSDT]
    assert mark.is_suspicious(T * MS + 2 * SECOND - 1)
    assert not mark.is_suspicious(T * MS + 2 * SECOND)


def test_an_older_mark_is_not_taken() -> None:
    book = book_with()
    assert book.apply_mark(make.mark("60000", T), T * MS)
    assert not book.apply_mark(make.mark("59000", T - 1), T * MS)
    assert book.marks[make.BTCUSDT].mark_price == 60_000


# ---------------------------------------------------------------- funding


def test_a_positive_rate_is_received_by_a_short() -> None:
    # BINANCE_USDM §6.5, HEDGING §5
    assert funding_payment(position_amount="-0.25", mark_price="76409.81", funding_rate="0.00005311") == D(
        "1.014531252275"
    )
    assert funding_payment(position_amount=D(-10), mark_price=D(67_000), funding_rate="0.0001") == D("67.0000")
    assert funding_payment(position_amount="10", mark_price="67000", funding_rate="0.0001") == -67
    with pytest.raises(ValueError, match="not a number"):
        funding_payment(position_amount="ten", mark_price="1", funding_rate="1")


@pytest.mark.parametrize(("rate", "hours"), [("0.0001", 8), ("0.00005", 4), ("0.0000125", 1)])
def test_the_same_yearly_rate_at_each_interval(rate: str, hours: int) -> None:
    assert annualised(funding_rate=rate, interval_ms=hours * HOUR_MS) == D("0.1095")


def test_a_year_of_ten_bitcoin_at_one_basis_point() -> None:
    assert annualised(funding_rate="0.0001", interval_ms=8 * HOUR_MS) * 670_000 == 73_365
    with pytest.raises(ValueError, match="above zero"):
        annualised(funding_rate="0.0001", interval_ms=0)


H = HOUR_MS


@pytest.mark.parametrize(
    ("known", "previous", "following", "event", "found"),
    [
        (8, 8, 8, 7 * H, 8),  # nothing moved
        (8, 0, 11, 10 * H, 8),  # the first frame
        (8, 8, 0, 7 * H, 8),  # a contract without funding
        (8, 8, 16, 8 * H, 8),  # rolled over
        (8, 8, 12, 8 * H + 1, 4),  # ... into a shorter interval
        (4, 8, 16, 8 * H + 1, 8),  # ... into a longer one
        (8, 8, 9, 8 * H, 1),
        (8, 8, 24, 17 * H, 8),  # frames missed over one settlement
        (4, 8, 16, 13 * H, 4),
        (1, 8, 11, 10 * H + 5, 1),
        (8, 16, 13, 12 * H + 60_000, 1),  # moved earlier: the cap was hit, hourly now
        (8, 16, 12, 10 * H, 4),  # earlier, and too far for hourly
        (1, 13, 16, 12 * H + 900_000, 4),  # moved later without passing: quiet again, the next 4 h slot
        (1, 16, 16, 15 * H, 1),
    ],
)
def test_the_interval_is_inferred_from_the_settlement_that_moves(
    known: int, previous: int, following: int, event: int, found: int
) -> None:
    jitter = 47
    said = infer_interval_ms(
        known_ms=known * H,
        previous_ms=previous * H,
        next_ms=following * H + (jitter if following else 0),
        event_time_ms=event,
    )
    assert said == found * H


def test_the_book_follows_the_interval_and_says_what_is_paid_if_held() -> None:
    book = book_with(make.account_update("-10"))
    frame = replace(make.mark("67000", T), next_funding_time_ms=T + H)
    book.apply_mark(frame, T * MS)
    later = replace(frame, event_time_ms=T + H, next_funding_time_ms=T + 5 * H)
    book.apply_mark(later, T * MS)
    seen = book.funding_view(make.BTCUSDT)
    assert seen is not None
    assert (seen.interval_ms, seen.next_payment_if_held, seen.annualised) == (4 * H, D(67), D("0.219"))
    book.apply_mark(replace(later, event_time_ms=T + H + 1, funding_rate=None, next_funding_time_ms=0), T * MS)
    seen = book.funding_view(make.BTCUSDT)
    assert seen is not None
    assert (seen.next_payment_if_held, seen.annualised) == (None, None)
    assert book.funding_view(Symbol("ETHUSDT")) is None
