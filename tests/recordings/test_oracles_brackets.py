"""Every recorded bracket table: continuous, increasing, and the closed form of a liquidation on it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.margin import joint_distance, liquidation_price, maintenance_margin, position_ceiling
from streamhedge.domain.values import exact
from streamhedge.wire.answers import brackets_of
from tests.support.recordings import recording
from tests.support.shared import needs_shared

D = Decimal
pytestmark = needs_shared

TABLES: list[dict[str, Any]] = [
    *recording("rest/leverageBracket_2024-10.jsonl").rows(),
    *(recording("rest/leverageBracket_BTCUSDT_2023-03.json").document() or []),
]
NAMES = [f"{number}-{row['symbol']}" for number, row in enumerate(TABLES)]


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


def test_there_are_175_tables() -> None:
    assert len(TABLES) == 175


@pytest.mark.parametrize("body", TABLES, ids=NAMES)
def test_the_table_is_continuous_convex_and_ordered(body: dict[str, Any]) -> None:
    rows = brackets_of([body], body["symbol"])
    assert len(rows) == len(body["brackets"])
    assert rows[0].notional_floor == 0 == rows[0].maintenance_amount
    for low, high in pairwise(rows):
        assert high.notional_floor == low.notional_cap
        assert high.maintenance_margin_rate > low.maintenance_margin_rate
        assert high.max_leverage < low.max_leverage
        step = high.maintenance_margin_rate - low.maintenance_margin_rate
        assert high.maintenance_amount == low.maintenance_amount + high.notional_floor * step


@pytest.mark.parametrize("body", TABLES, ids=NAMES)
def test_maintenance_and_ceiling_are_those_of_the_row_that_holds_the_notional(body: dict[str, Any]) -> None:
    rows = brackets_of([body], body["symbol"])
    for row in rows:
        middle = (row.notional_floor + row.notional_cap) / 2
        for notional in (middle, row.notional_cap):
            said = notional * row.maintenance_margin_rate - row.maintenance_amount
            assert maintenance_margin(notional=notional, brackets=rows) == said
        assert position_ceiling(leverage=row.max_leverage, brackets=rows) == row.notional_cap


@pytest.mark.parametrize("body", TABLES, ids=NAMES)
@pytest.mark.parametrize("side", [1, -1])
def test_the_liquidation_price_meets_its_definition_in_every_bracket(body: dict[str, Any], side: int) -> None:
    rows = brackets_of([body], body["symbol"])
    for row in rows:
        size, entry = (row.notional_floor + row.notional_cap) / 2, D(1)
        wallet = size / 2 / max(row.max_leverage, 2)
        price = liquidation_price(position_amount=side * size, entry_price=entry, wallet_balance=wallet, brackets=rows)
        assert price is not None
        assert abs(equity(side * size, entry, wallet, price, rows)) < D("1e-18") * size
        inside = price * (1 - side * D("0.0001"))
        assert equity(side * size, entry, wallet, inside, rows) < 0


def equity(
    amount: Decimal, entry: Decimal, wallet: Decimal, price: Decimal, rows: tuple[MarginBracket, ...]
) -> Decimal:
    """Return margin balance minus maintenance at a price, by the row that holds the notional."""
    notional = abs(amount) * price
    row = next((row for row in rows if notional <= row.notional_cap), rows[-1])
    return wallet + amount * (price - entry) - (notional * row.maintenance_margin_rate - row.maintenance_amount)


@pytest.mark.parametrize("body", TABLES, ids=NAMES)
def test_one_short_alone_has_the_joint_distance_of_its_own(body: dict[str, Any]) -> None:
    rows = brackets_of([body], body["symbol"])
    for row in rows:
        notional = row.notional_cap
        price = liquidation_price(position_amount=-notional, entry_price=1, wallet_balance=notional / 3, brackets=rows)
        joint = joint_distance(margin_balance=notional / 3, shorts=[(notional, rows)])
        assert price is not None
        assert joint is not None
        assert abs(price - 1 - joint) < D("1e-25")
