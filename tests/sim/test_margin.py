"""Margin at the exchange: what orders and positions hold, the venue's worked liquidation prices, isolated wallets.

The figures of the worked examples are those of BINANCE_USDM §6.2; the exchange finds them by bisection on the definition
(its third, of hedge mode, is not played: the exchange trades one way only).
"""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from streamhedge.domain.margin import liquidation_price
from streamhedge.sim.account import Account, Position
from streamhedge.sim.market import BTC_ROWS, contracts, graded
from tests.sim.desk import BTC, ETH, Desk
from tests.support.builders import brackets

D = Decimal


def account(wallet: str, *positions: Position) -> Account:
    """Return an account that holds what it is told."""
    return Account(D(wallet), {p.symbol: p for p in positions})


# ---------------------------------------------------------------- liquidation prices


def test_an_isolated_long_is_liquidated_where_the_venue_says() -> None:
    market = contracts()
    market[BTC].mark = D(75_000)
    p = Position(BTC, D("4.2"), D(75_000), isolated=True, isolated_wallet=D(31_500), leverage=10)
    assert account("31500", p).liquidation_price(BTC, market) == D("67771.08433735")


def test_a_cross_short_is_liquidated_where_the_venue_says() -> None:
    market = contracts()
    market[BTC].mark, market[ETH].mark = D(75_000), D(2_450)
    held = account("20000", Position(BTC, D(-12), D(75_000)), Position(ETH, D(40), D(2_500)))
    assert held.liquidation_price(BTC, market) == D("76097.69829442")


def test_a_long_that_its_wallet_covers_to_zero_has_no_liquidation_price() -> None:
    market = contracts()
    market[BTC].mark = D(75_000)
    assert account("75001", Position(BTC, D(1), D(75_000))).liquidation_price(BTC, market) == 0
    assert account("75001").liquidation_price(BTC, market) == 0


def test_bisection_on_the_definition_agrees_with_the_hedgers_closed_form(seed: int) -> None:
    chance = random.Random(seed)
    rows = brackets()
    compared = 0
    for _ in range(300):
        mark = D(chance.randint(20_000, 120_000))
        entry = (mark * chance.randint(700, 1300) / 1000).quantize(D("0.1"))
        amount = D(chance.randint(1, 2_000_000)) / 1000 * chance.choice((1, -1))
        wallet = (abs(amount) * mark * chance.randint(20, 1500) / 1000).quantize(D("0.01"))
        market = contracts()
        market[BTC].mark = mark
        theirs = account(str(wallet), Position(BTC, amount, entry)).liquidation_price(BTC, market)
        ours = liquidation_price(position_amount=amount, entry_price=entry, wallet_balance=wallet, brackets=rows)
        if theirs == 0 or ours is None or ours <= 0:
            assert theirs == 0 or theirs < D("0.0001"), (amount, entry, wallet, theirs, ours)
            continue
        compared += 1
        assert abs(theirs - ours) <= D("0.000001"), (amount, entry, wallet, theirs, ours)
    assert compared > 150


def test_the_brackets_grow_continuously() -> None:
    rows = [(D(cap), D(rate), leverage) for cap, rate, leverage, _ in BTC_ROWS]
    assert graded(rows) == contracts()[BTC].brackets
    for contract in contracts().values():
        for row in contract.brackets[:-1]:
            below, above = contract.maintenance(row[1]), contract.maintenance(row[1] + D("1E-20"))
            assert abs(above - below) < D("1E-18"), (contract.symbol, row)


# ---------------------------------------------------------------- what orders hold


def test_open_orders_hold_initial_margin_until_they_end() -> None:
    desk = Desk()
    desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="10")
    desk.order("BUY", "2", "60000", newClientOrderId="a")
    row = desk.rest("GET", "/fapi/v3/positionRisk").body[0]
    assert row["positionAmt"] == "0.000"
    assert D(row["openOrderInitialMargin"]) == 12_000 and D(row["bidNotional"]) == 120_000
    balance = desk.rest("GET", "/fapi/v3/balance").body[0]
    assert D(balance["availableBalance"]) == 388_000 and D(balance["balance"]) == 400_000
    status = desk.rest("GET", "/fapi/v3/account").body
    assert D(status["totalOpenOrderInitialMargin"]) == 12_000 == D(status["totalInitialMargin"])
    desk.rest("DELETE", "/fapi/v1/order", symbol=BTC, origClientOrderId="a")
    assert D(desk.rest("GET", "/fapi/v3/balance").body[0]["availableBalance"]) == 400_000


@pytest.mark.parametrize(
    ("side", "quantity", "price", "held"),
    [
        ("SELL", "1", "68000", "6800"),  # adds to the short: all of it
        ("BUY", "1", "60000", "0"),  # closes it: nothing
        ("BUY", "5", "60000", "16600"),  # crosses: what the new long would need beyond the short's margin
    ],
)
def test_one_way_the_worse_side_counts(side: str, quantity: str, price: str, held: str) -> None:
    desk = Desk(wallet="1000000")
    desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="10")
    desk.order("SELL", "1")
    desk.order(side, quantity, price)
    # |N| = 67 000 stands for the short; the other side counts by |N + bids|.
    assert desk.exchange.engine.order_margin(BTC) == D(held)


def test_a_reduce_only_order_holds_nothing() -> None:
    desk = Desk()
    desk.order("SELL", "1")
    desk.order("BUY", "1", "60000", reduceOnly="true")
    assert desk.exchange.engine.orders_margin() == 0


def test_what_is_held_cannot_be_used_twice() -> None:
    desk = Desk(wallet="10000")
    desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="10")
    assert desk.order("SELL", "1", "68000", newClientOrderId="a").status == 200
    assert desk.order("SELL", "1").code == -2019
    desk.rest("DELETE", "/fapi/v1/order", symbol=BTC, origClientOrderId="a")
    assert desk.order("SELL", "1").status == 200


def test_opening_a_short_costs_margin_open_loss_and_fee() -> None:
    # 0.15 % assumed on top of the mark, the loss of selling half a USDT below it, the taker fee: HEDGING §1.
    need = D(67_000) * D("1.0015") / 20 + D("0.5") + D(67_000) * D("0.0005")
    short, enough = Desk(wallet=str(need - D("0.01"))), Desk(wallet=str(need))
    assert short.order("SELL", "1").code == -2019
    assert enough.order("SELL", "1").status == 200


def test_closing_needs_no_margin() -> None:
    desk = Desk(wallet="4000")
    desk.order("SELL", "1")
    assert desk.order("BUY", "1").status == 200 and desk.position().amount == 0


def test_leverage_bounds_the_notional() -> None:
    desk = Desk(wallet="100000000")
    desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="150")
    assert desk.order("SELL", "4.4").status == 200
    assert desk.order("SELL", "0.1").code == -2027  # 4.5 BTC are 301 500 of 300 000
    desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="100")
    assert desk.order("SELL", "0.1").status == 200
    assert desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="150").code == -2027
    assert desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="151").code == -4028


# ---------------------------------------------------------------- isolated


def isolated(wallet: str = "400000", leverage: str = "10") -> Desk:
    desk = Desk(wallet=wallet)
    desk.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage=leverage)
    return desk


def test_an_isolated_wallet_is_initial_margin_and_open_loss_less_the_fee() -> None:
    desk = isolated()
    desk.order("SELL", "2")
    fee = 2 * D("66999.5") * D("0.0005")
    assert desk.position().isolated_wallet == 2 * (D(6_700) + D("0.5")) - fee
    account = desk.exchange.account
    assert account.cross_wallet == account.wallet - desk.position().isolated_wallet


def test_a_partial_close_releases_its_part_of_the_wallet() -> None:
    desk = isolated()
    desk.order("SELL", "2")
    before = desk.position().isolated_wallet
    desk.order("BUY", "0.5", reduceOnly="true")
    assert desk.position().isolated_wallet == before * 3 / 4
    desk.order("BUY", "1.5", reduceOnly="true")
    assert desk.position().isolated_wallet == 0


def test_the_margin_type_holds_while_anything_is_open() -> None:
    desk = Desk()
    desk.order("BUY", "1", "60000", newClientOrderId="a")
    assert desk.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED").code == -4047
    desk.rest("DELETE", "/fapi/v1/order", symbol=BTC, origClientOrderId="a")
    desk.order("SELL", "1")
    assert desk.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED").code == -4048
    assert desk.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="CROSSED").code == -4046
    assert desk.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="SPLIT").code == -1130


def test_isolated_leverage_does_not_fall_under_an_open_position() -> None:
    desk = isolated(leverage="10")
    desk.order("SELL", "1")
    assert desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="5").code == -4161
    assert desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="20").status == 200


def test_position_mode_changes_only_when_nothing_is_open_and_tells_nobody() -> None:
    desk = Desk()
    number = desk.listen()
    path = "/fapi/v1/positionSide/dual"
    assert desk.rest("POST", path, dualSidePosition="false").code == -4059
    desk.order("BUY", "1", "60000", newClientOrderId="a")
    assert desk.rest("POST", path, dualSidePosition="TRUE").code == -4067
    desk.rest("DELETE", "/fapi/v1/order", symbol=BTC, origClientOrderId="a")
    desk.order("SELL", "1")
    assert desk.rest("POST", path, dualSidePosition="true").code == -4068
    desk.order("BUY", "1")
    desk.frames(number)
    assert desk.rest("POST", path, dualSidePosition="true").status == 200
    assert desk.frames(number) == []
    assert desk.rest("GET", path).body == {"dualSidePosition": True}
    assert desk.order("SELL", "1").code == -4061


def test_asset_mode_tells_its_change() -> None:
    desk = Desk()
    number = desk.listen()
    assert desk.rest("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true").status == 200
    assert desk.frames(number)[0]["ai"] == {"j": True}
    assert desk.rest("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true").code == -4171
    assert desk.rest("GET", "/fapi/v1/multiAssetsMargin").body == {"multiAssetsMargin": True}
