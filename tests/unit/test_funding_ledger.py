"""The funding ledger: whose payment it is where the venue does not say, and its sums by day and month."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from streamhedge.domain.commands import Persist
from streamhedge.domain.events import AccountUpdate, BalanceRow
from streamhedge.domain.values import Symbol
from streamhedge.ops.report.attribution import attribution_rows, cost_of_hedge, summed
from streamhedge.ops.tables import funding_sums
from streamhedge.store.tables import tables_of
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
SETTLES_MS = make.T0_MS + 3_600_000
PAID = D("67.1214")
"""Ten bitcoin short at 67 121.4 and 0.01 %."""


def payment(amount: Decimal, *, at_ms: int, symbol: str | None = None) -> AccountUpdate:
    row = BalanceRow(make.USDT, D(400_000) + amount, D(400_000) + amount, amount)
    said = None if symbol is None else Symbol(symbol)
    return AccountUpdate(at_ms, at_ms, "FUNDING_FEE", (row,), (), said)


def settled() -> Desk:
    """A desk whose settlement has just passed."""
    desk = Desk()
    desk.now_ms = SETTLES_MS - 1_000
    desk.take(make.mark("67121.4", desk.now_ms))
    return desk


def next_frame(desk: Desk) -> None:
    desk.now_ms = SETTLES_MS + 300
    desk.take(replace(make.mark("67500", desk.now_ms), next_funding_time_ms=SETTLES_MS + 8 * 3_600_000))


def rows_of(desk: Desk) -> list[Persist]:
    return [c for c in desk.commands if isinstance(c, Persist) and c.table == "funding"]


@pytest.mark.parametrize("seen", [True, False], ids=["after the next frame", "before it"])
@pytest.mark.parametrize(("part", "fits"), [("1", True), ("1.009", True), ("1.011", False), ("-1", False)])
def test_a_payment_without_a_symbol_is_of_the_one_it_fits(seen: bool, part: str, fits: bool) -> None:
    desk = settled()
    if seen:
        next_frame(desk)
    desk.now_ms = SETTLES_MS + 2_000
    desk.take(payment(PAID * D(part), at_ms=desk.now_ms))
    (row,) = rows_of(desk)
    assert row.fields["symbol"] == ("BTCUSDT" if fits else None)
    assert desk.state.meter.funding == PAID * D(part), "the total is right whosever it is"


def test_a_payment_long_after_the_settlement_fits_nothing() -> None:
    desk = settled()
    next_frame(desk)
    desk.now_ms = SETTLES_MS + 61_000
    desk.take(payment(PAID, at_ms=desk.now_ms))
    assert rows_of(desk)[0].fields["symbol"] is None


def test_what_the_venue_says_stands_and_two_of_one_moment_are_two_rows() -> None:
    desk = settled()
    next_frame(desk)
    desk.take(payment(D(3), at_ms=SETTLES_MS + 400, symbol="ETHUSDT"), after_ms=100)
    desk.take(payment(D(4), at_ms=SETTLES_MS + 400), after_ms=1)
    desk.take(payment(D(5), at_ms=SETTLES_MS + 400), after_ms=1)
    rows = rows_of(desk)
    assert [row.fields["symbol"] for row in rows] == ["ETHUSDT", None, None]
    assert len({row.key for row in rows}) == 3


def test_sums_by_day_and_month_with_a_running_total() -> None:
    rows = [
        {"time": time, "symbol": symbol, "amount": amount, "asset": "USDT"}
        for time, symbol, amount in (
            ("2026-10-31T16:00:00.200Z", "BTCUSDT", "1.5"),
            ("2026-11-01T00:00:00.300Z", "BTCUSDT", "2"),
            ("2026-11-01T08:00:00.300Z", "BTCUSDT", "-0.25"),
            ("2026-11-01T08:00:00.300Z", "ETHUSDT", "10"),
        )
    ]
    days = funding_sums(rows, length=10)
    assert [(row["time"], row["symbol"], row["payments"], row["amount"], row["cumulative"]) for row in days] == [
        ("2026-10-31", "BTCUSDT", 1, "1.5", "1.5"),
        ("2026-11-01", "BTCUSDT", 2, "1.75", "3.25"),
        ("2026-11-01", "ETHUSDT", 1, "10", "13.25"),
    ]
    months = funding_sums(rows, length=7)
    assert [(row["time"], row["amount"]) for row in months] == [
        ("2026-10", "1.5"),
        ("2026-11", "1.75"),
        ("2026-11", "10"),
    ]


def test_the_attribution_as_tables() -> None:
    first, second = {"funding": D(5), "fees": D(-1), "policy_open": D(40)}, {"funding": D(2), "residual": D("1E-8")}
    rows = {(3, 20_000): first, (3, 20_001): second}
    found = attribution_rows(rows)
    assert found[0] == ("3", "2024-10-04", "fees", D(-1))
    assert ("3", "2024-10-04", "change of value", D(44)) in found
    assert found[-2:] == [
        ("3", "whole run", "residual", D("1E-8")),
        ("3", "whole run", "change of value", D("46.00000001")),
    ]
    assert cost_of_hedge(summed(rows)) == [("funding", D(7)), ("fees", D(-1)), ("cost of hedge", D(6))]
    written = {"day": 20_000, "epoch": 3, "lines": {"funding": "5", "fees": "-1"}}
    table = tables_of([], [], [], [], [("20000:3", written)])["attribution"]
    assert table == [
        ["day", "run", "line", "amount"],
        ["2024-10-04", "3", "fees", "-1"],
        ["2024-10-04", "3", "funding", "5"],
    ]
