"""The attribution's identity: the worked example to four decimals, and random lives in which nothing is left over."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from streamhedge.domain.attribution import RESIDUAL, UNCLASSIFIED, AttributedFloat, AttributedLeg, Attribution
from streamhedge.domain.events import OrderOutcome, OutcomeKind
from streamhedge.domain.order import Report
from streamhedge.domain.values import Asset, Symbol, exact
from streamhedge.live.status import depeg_status
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
BTC, BTCUSDT, ETHUSDT = Asset("BTC"), Symbol("BTCUSDT"), Symbol("ETHUSDT")
FOUR = D("0.0001")


def begun(*, float_quantity: str = "10", wallet: str = "400000", short: str = "10") -> Attribution:
    found = Attribution(usd=D(1_000_000), wallet=D(wallet))
    found.floats[BTC] = AttributedFloat(D(float_quantity), D("67130"))
    found.legs[BTCUSDT] = AttributedLeg(-D(short), D("67000"), D("67121.4"), D("67130"))
    found.begin()
    return found


def frame(book: Attribution, mark: str, index: str, *, short: Decimal, cause: str = "", day: int = 1) -> None:
    book.frame(
        day=day,
        symbol=BTCUSDT,
        asset=BTC,
        mark_price=D(mark),
        index_price=D(index),
        policy_short=short,
        cause=cause,
    )


def test_the_worked_example() -> None:
    with exact():
        book = begun()
        frame(book, "67200", "67205", short=D(10))
        book.float_trade(day=1, asset=BTC, quantity=D("0.14878738"), usd=D(-10_000))
        frame(book, "67230", "67240", short=D("10.14878738"), cause="in_flight")
        book.fill(
            day=1,
            symbol=BTCUSDT,
            quantity=D("-0.148"),
            price=D("67226"),
            who="own",
            commission=D("4.974724"),
            commission_price=None,
        )
        book.balance_change(day=1, reason="FUNDING_FEE", amount=D("10.148") * D("67230") * D("0.0001"))
        frame(book, "67100", "67104", short=D("10.14878738"))
        book.balance_change(day=1, reason="DEPOSIT", amount=D(5_000))
        found = {name: amount.quantize(FOUR) for name, amount in book.lines().items()}
        assert found == {
            "basis": D("-46.8880"),
            "naked.in_flight": D("5.2076"),
            "naked.dust": D("-0.1071"),
            "execution.own": D("-0.5920"),
            "spot_execution": D("-0.7441"),
            "fees": D("-4.9747"),
            "funding": D("68.2250"),
            "external": D("5000.0000"),
        }
        moved = book.value() - book.value_at_start
        assert moved.quantize(FOUR) == D("5020.1266")
        assert abs(moved - sum(book.lines().values())) < D("1e-9")


@pytest.mark.parametrize("number", range(20))
@pytest.mark.fault("F7")
def test_every_change_of_value_is_in_a_line(number: int, seed: int) -> None:
    chance = random.Random(f"attribution-{seed}-{number}")
    with exact():
        book, mark, index = begun(), D("67121.4"), D("67130")
        for _ in range(500):
            what = chance.randrange(6)
            if what <= 1:
                mark = max(D(1_000), mark + D(chance.randint(-30_000, 30_000)) / 100)
                index = mark + D(chance.randint(-500, 500)) / 100
                frame(book, str(mark), str(index), short=D(chance.randint(0, 12)), cause=chance.choice(("", "margin")))
            elif what <= 3:
                paid_in_bnb = chance.randrange(4) == 0
                book.fill(
                    day=chance.randint(1, 3),
                    symbol=chance.choice((BTCUSDT, BTCUSDT, ETHUSDT)),
                    quantity=D(chance.randint(1, 25_000)) / 1_000 * chance.choice((1, -1)),
                    price=mark + D(chance.randint(-1_000, 1_000)) / 100,
                    who=chance.choice(("own", "foreign", "venue")),
                    commission=D(chance.randint(-100, 9_000)) / 1_000,
                    commission_price=D(600) if paid_in_bnb else None,
                )
            elif what == 4:
                amount = D(chance.randint(-50_000, 50_000)) / 7
                book.balance_change(day=1, reason=chance.choice(("FUNDING_FEE", "DEPOSIT")), amount=amount)
            else:
                quantity = D(chance.randint(-1_000, 1_000)) / 1_000
                book.float_trade(day=2, asset=BTC, quantity=quantity, usd=-quantity * mark * chance.choice((0, 1)))
        moved = book.value() - book.value_at_start
        assert abs(moved - sum(book.lines().values())) < D("1e-11")


def test_realised_profit_follows_growing_shrinking_and_flipping() -> None:
    with exact():
        book = Attribution()
        for quantity, price in (("-2", "100"), ("-2", "110"), ("1", "90"), ("-1", "95"), ("6", "120"), ("-2", "130")):
            book.fill(
                day=1,
                symbol=BTCUSDT,
                quantity=D(quantity),
                price=D(price),
                who="own",
                commission=D(0),
                commission_price=None,
            )
        # entry 105 short 4; +1 at 90 earns 15; -1 at 95 leaves short 4 at 102.5; 6 at 120 loses 70, long 2 at 120; +20.
        assert book.wallet == D(15) - D(70) + D(20)
        assert (book.legs[BTCUSDT].quantity, book.legs[BTCUSDT].entry_price) == (0, 0)


def test_deleveraging_fills_above_a_crashed_mark_and_that_is_the_venues_line() -> None:
    # HEDGING §3: 4 BTC at 60 500, mark 60 000
    with exact():
        book = begun()
        frame(book, "60000", "60000", short=D(10))
        fill = {"quantity": D(4), "price": D(60_500), "who": "venue", "commission": D(0), "commission_price": None}
        book.fill(day=1, symbol=BTCUSDT, **fill)
        (line,) = [amount for name, amount in book.lines().items() if "execution" in name and "venue" in name]
        assert line == -2_000


def test_the_venues_rounding_is_residual_and_what_no_event_explains_is_unclassified() -> None:
    with exact():
        book = begun()
        same = {BTCUSDT: (D(-10), D("67000.00000001"))}
        assert book.agrees(wallet=D(400_000), legs=same)
        assert book.adopt(day=1, line=RESIDUAL, wallet=D(400_000), legs=same) == D("1e-7")
        for wallet, legs in (
            (D(400_000), {BTCUSDT: (D("-9.999"), D(67_000))}),
            (D(400_000), {BTCUSDT: (D(0), D(0))}),
            (D(399_990), same),
            (D(400_000), {**same, ETHUSDT: (D(1), D(2_000))}),
        ):
            assert not book.agrees(wallet=wallet, legs=legs)
        changed = book.adopt(day=1, line=UNCLASSIFIED, wallet=D(399_990), legs={BTCUSDT: (D(-9), D(67_000))})
        assert changed == D(-10) + D("121.4") - D("1e-7")
        assert sum(book.lines().values()) == book.value() - book.value_at_start


def test_half_of_a_pair_is_waited_for_however_long_something_was_under_way() -> None:
    desk = Desk()
    desk.mark(after_ms=100)
    desk.float("+1")
    order = desk.order
    desk.take(make.snapshot("-10", entry="67121.4", wallet="400000", at_ms=desk.now_ms), after_ms=100)
    for _ in range(400):  # the order stays in flight for longer than a difference may stand
        desk.mark(after_ms=100)
    desk.take(
        OrderOutcome(
            client_order_id=order.client_order_id,
            kind=OutcomeKind.ACCEPTED,
            report=Report.FILLED,
            status=200,
            code=0,
            message="",
            filled=order.quantity,
            order_id=1,
            retry_after_ms=None,
        )
    )
    after = desk.state.book.quantity(order.symbol) - order.quantity
    desk.take(make.account_update(str(after), at_ms=desk.now_ms + 2), after_ms=2)
    desk.mark(after_ms=100)
    assert desk.said("unclassified") == []


@pytest.mark.parametrize(("rate", "loss"), [("0.95", "-46060.50"), ("1", "0.00"), ("1.0004", "368.48")])
def test_a_depeg_takes_its_share_of_float_and_wallet_and_not_of_the_cash(rate: str, loss: str) -> None:
    desk = Desk()
    desk.state.attribution = attribution = Attribution()
    assert depeg_status(desk.machine.core, D(rate)) is None, "nothing is valued before the first snapshot"
    attribution.usd, attribution.wallet = D(1_000_000), D(250_000)
    attribution.floats[BTC] = AttributedFloat(D(10), D(67_121))
    attribution.legs[BTCUSDT] = AttributedLeg(D(-10), D(67_000), D(67_000), D(67_000))
    attribution.begin()
    assert depeg_status(desk.machine.core, None) is None
    said = depeg_status(desk.machine.core, D(rate))
    assert said == {"usd_per_quote": rate, "value": "921210", "depeg_usd": loss}
