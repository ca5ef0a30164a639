"""What the venue does by itself: margin call, liquidation, deleveraging, settlement, funding, and their events."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.sim.desk import BTC, ETH, Desk, accounts, kinds, reports

D = Decimal
EIGHT_HOURS_MS = 8 * 3_600_000


def short(wallet: str = "10000", quantity: str = "1") -> tuple[Desk, int]:
    """Return a desk with a short and its private stream, quiet again."""
    desk = Desk(wallet=wallet)
    desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage="20")
    number = desk.listen()
    desk.order("SELL", quantity)
    desk.frames(number)
    return desk, number


# ---------------------------------------------------------------- margin call


def test_a_high_risk_ratio_calls_for_margin_once_and_again_after_it_was_met() -> None:
    desk, number = short()
    desk.price("76000")
    assert desk.frames(number) == []
    desk.price("76600")  # maintenance 306 of a margin balance of 366
    (call,) = desk.frames(number)
    assert call["e"] == "MARGIN_CALL" and D(call["cw"]) == desk.exchange.account.cross_wallet
    assert (call["p"][0]["s"], call["p"][0]["mt"], call["p"][0]["iw"]) == (BTC, "CROSSED", "0")
    assert D(call["p"][0]["mm"]) == D("306.4")
    desk.price("76610")
    assert desk.frames(number) == []
    desk.price("70000")
    desk.price("76600")
    assert kinds(desk.frames(number)) == ["MARGIN_CALL"]


def test_an_isolated_position_is_called_without_the_cross_wallet() -> None:
    desk = Desk()
    desk.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    number = desk.listen()
    desk.order("SELL", "1")
    desk.frames(number)
    desk.price("70000")
    (call,) = desk.frames(number)
    assert "cw" not in call and call["p"][0]["mt"] == "ISOLATED"


# ---------------------------------------------------------------- liquidation


def test_a_liquidation_ends_orders_then_closes_then_takes_its_fee() -> None:
    desk, number = short()
    desk.order("BUY", "0.1", "60000", newClientOrderId="resting")
    desk.frames(number)
    before = desk.exchange.account.liquidation_price(BTC, desk.exchange.contracts)
    desk.price(str(before + 1))
    frames = [f for f in desk.frames(number) if f["e"] != "MARGIN_CALL"]
    assert kinds(frames) == ["EXPIRED", "NEW", "ACCOUNT_UPDATE", "CALCULATED", "ACCOUNT_UPDATE"]
    resting, opened, closed = reports(frames)
    assert (resting["c"], resting["er"]) == ("resting", "5")
    assert opened["c"] == closed["c"] and closed["c"].startswith("autoclose-")
    assert (closed["o"], closed["ot"], closed["f"], closed["X"]) == ("LIQUIDATION", "LIQUIDATION", "IOC", "FILLED")
    position, clearance = accounts(frames)
    assert position["P"][0]["pa"] == "0" and clearance["m"] == "INSURANCE_CLEAR" and clearance["P"] == []
    assert D(clearance["B"][0]["bc"]) < 0
    assert desk.position().amount == 0 and desk.exchange.account.wallet >= 0
    assert desk.exchange.truth()["liquidations"] == 1


def test_a_price_just_before_the_liquidation_price_liquidates_nothing() -> None:
    desk, _ = short()
    at = desk.exchange.account.liquidation_price(BTC, desk.exchange.contracts)
    desk.price(str(at - D("0.01")))
    assert desk.position().amount == -1
    desk.price(str(at + D("0.01")))
    assert desk.position().amount == 0


def test_a_jump_beyond_bankruptcy_leaves_an_empty_wallet_not_a_debt() -> None:
    desk, number = short()
    desk.price("90000")
    assert desk.exchange.account.wallet == 0
    assert D(accounts(desk.frames(number))[-1]["B"][0]["bc"]) > 0  # the insurance fund pays the rest


def test_an_isolated_liquidation_costs_its_own_wallet_and_no_more() -> None:
    desk = Desk()
    desk.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    desk.order("SELL", "1")
    account, stake = desk.exchange.account, desk.position().isolated_wallet
    rest = account.cross_wallet
    desk.price("90000")
    assert desk.position().amount == 0 and account.wallet == rest == account.cross_wallet
    assert stake > 0 and account.liquidations == 1


def test_cross_liquidation_goes_largest_first_until_the_account_stands_or_is_empty() -> None:
    desk = Desk(wallet="12000")
    number = desk.listen()
    desk.order("SELL", "1")
    desk.order("SELL", "1", symbol=ETH)
    desk.frames(number)
    desk.price("78250")
    closed = [report["s"] for report in reports(desk.frames(number)) if report["x"] == "CALCULATED"]
    # The clearance fee of the first leaves nothing for the second to stand on.
    assert closed == [BTC, ETH] and desk.exchange.account.wallet == 0


def test_the_public_hears_of_a_liquidation() -> None:
    desk, _ = short()
    public = desk.connect("/market/ws/!forceOrder@arr")
    desk.price("90000")
    (notice,) = [f for f in desk.frames(public) if f["e"] == "forceOrder"]
    assert (notice["o"]["s"], notice["o"]["S"], notice["o"]["z"]) == (BTC, "BUY", "1")


# ---------------------------------------------------------------- deleveraging, settlement


def test_deleveraging_is_free_cancels_orders_and_bears_its_name() -> None:
    desk, number = short(wallet="400000", quantity="2")
    desk.order("BUY", "1", "60000", newClientOrderId="resting")
    desk.frames(number)
    wallet = desk.exchange.account.wallet
    desk.price("60500")
    desk.exchange.clearing.deleverage(BTC, D("0.5"), desk.now_ms)
    frames = desk.frames(number)
    assert kinds(frames) == ["CANCELED", "NEW", "ACCOUNT_UPDATE", "CALCULATED"]
    closed = reports(frames)[-1]
    assert (closed["c"], closed["o"], closed["S"], closed["n"]) == ("adl_autoclose", "LIMIT", "BUY", "0")
    assert desk.position().amount == D("-1.5")
    assert desk.exchange.account.wallet == wallet + (D("66999.5") - 60_500) / 2


def test_settlement_closes_the_position_by_name() -> None:
    desk, number = short()
    desk.exchange.clearing.settle(BTC, desk.now_ms)
    closed = reports(desk.frames(number))[-1]
    assert closed["c"].startswith("settlement_autoclose-") and (closed["o"], closed["p"]) == ("MARKET", "0")
    assert desk.position().amount == 0
    desk.exchange.clearing.settle(BTC, desk.now_ms)
    assert desk.frames(number) == []


# ---------------------------------------------------------------- funding


def test_a_short_receives_positive_funding_late_and_by_symbol() -> None:
    desk, number = short(wallet="400000")
    wallet, due = desk.exchange.account.wallet, desk.exchange.contracts[BTC].next_funding_ms
    desk.after(due - desk.now_ms - 1)
    assert desk.exchange.account.wallet == wallet
    desk.after(1)
    assert desk.exchange.account.wallet == wallet + D("6.7")  # 1 BTC, mark 67 000, rate 0.01 %
    assert desk.exchange.contracts[BTC].next_funding_ms == due + EIGHT_HOURS_MS
    assert accounts(desk.frames(number)) == []
    number = desk.listen()  # the key of the first has run out by now
    for _ in range(40):
        desk.after(100)
    (update,) = accounts(desk.frames(number))
    assert (update["m"], update["S"], update["P"], update["B"][0]["bc"]) == ("FUNDING_FEE", BTC, [], "6.7")
    desk.after(EIGHT_HOURS_MS)
    assert desk.exchange.account.wallet == wallet + D("13.4")


def test_funding_of_an_isolated_position_moves_its_own_wallet() -> None:
    desk = Desk()
    desk.rest("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    desk.order("BUY", "1")
    stake, due = desk.position().isolated_wallet, desk.exchange.contracts[BTC].next_funding_ms
    desk.after(due - desk.now_ms)
    assert desk.position().isolated_wallet == stake - D("6.7")
    number = desk.listen()
    for _ in range(40):
        desk.after(100)
    (update,) = accounts(desk.frames(number))
    assert D(update["P"][0]["iw"]) == stake - D("6.7") and update["m"] == "FUNDING_FEE"


def test_settlements_are_kept_and_a_flat_account_pays_nothing() -> None:
    desk = Desk()
    due = desk.exchange.contracts[BTC].next_funding_ms
    desk.after(due - desk.now_ms)
    assert desk.exchange.account.wallet == 400_000
    rows = desk.rest("GET", "/fapi/v1/fundingRate", symbol=BTC).body
    assert rows == [
        {
            **{"symbol": BTC, "fundingRate": "0.00010000", "fundingTime": due, "markPrice": "67000.00000000"},
            "rateType": "Regular",
        }
    ]


@pytest.mark.parametrize(("every_ms", "hours"), [(3_600_000, 1), (4 * 3_600_000, 4)])
def test_another_interval_is_listed_and_kept(every_ms: int, hours: int) -> None:
    desk = Desk(funding_every_ms=every_ms)
    assert desk.rest("GET", "/fapi/v1/fundingInfo").body[0]["fundingIntervalHours"] == hours
    assert desk.exchange.contracts[BTC].next_funding_ms - desk.now_ms == every_ms - 1
    assert Desk().rest("GET", "/fapi/v1/fundingInfo").body == []
