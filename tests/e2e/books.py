"""What clients know of an account, and what exchange and ledger must say to it once the hedger is hedged."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from streamhedge.domain.events import FloatTrade
from streamhedge.domain.order import Order, Side
from streamhedge.store.ledger import Ledger
from tests.support.processes import Account, held, sent_twice

LIMITS = (
    "limits.max_orders_per_minute=600",
    "limits.max_intents_per_symbol_per_minute=600",
    "limits.external_trades_per_minute=600",
    # A treasury does not turn over so much in a day; what its limits do has tests of its own.
    "limits.max_turnover_per_day=10_000_000_000 USDT",
    "limits.hedge_loss_per_day=10_000_000 USDT",
)
START, BAND_USD, SLACK = Decimal(10), Decimal(100), Decimal("1.1")
LOOK_S = 0.02
HEDGED_S = 40.0


@dataclass(frozen=True, slots=True)
class Trade:
    """One float trade as a client asks for it."""

    name: str
    kind: str
    amount: str


@dataclass(slots=True)
class Clients:
    """The clients of one account: what they asked for, what they were told, and what was found wrong."""

    chance: random.Random
    acknowledged: dict[str, Decimal] = field(default_factory=dict)
    """The quantity of every trade that the program said it booked, by id."""
    doubled: set[str] = field(default_factory=set)
    """Client order ids that reached the exchange more than once."""
    lost: list[str] = field(default_factory=list)
    """Whatever else is not as it must be."""
    orders: int = 0
    asked: int = 0

    def next(self) -> Trade:
        """Return a trade that leads the float back to where it began."""
        self.asked += 1
        if sum(self.acknowledged.values()) <= 0:
            return Trade(f"t-{self.asked}", "buy", str(self.chance.randint(2_000, 60_000)))
        return Trade(f"t-{self.asked}", "sell", f"0.{self.chance.randint(10, 900):03d}")

    def told(self, trade: Trade, answer: dict[str, Any]) -> None:
        """Take an acknowledgement; whoever is told twice is told the same."""
        quantity = Decimal(answer["trade"]["quantity"])
        if self.acknowledged.setdefault(trade.name, quantity) != quantity:
            self.lost.append(f"{trade.name}: {quantity} now, {self.acknowledged[trade.name]} before")

    async def compare(self, account: Account, *, foreign: Decimal = Decimal(0)) -> None:
        """Hold exchange and ledger against each other and against what the clients know, while none of them trades.

        Args:
            account: Hedged, with nothing under way.
            foreign: What somebody else traded at the exchange, signed.
        """
        truth = await account.venue.truth()
        self.orders = len(truth["wire_posts"])
        self.doubled |= set(sent_twice(truth))
        orders = intents(account)
        unknown = set(truth["wire_posts"]) - {order.client_order_id for order in orders}
        if unknown:
            self.lost.append(f"on the wire and in no ledger: {sorted(unknown)}")
        still = [order.client_order_id for order in orders if order.is_open]
        if still:
            self.lost.append(f"hedged, and still open in the books: {still}")
        booked = [(trade.trade_id, trade.quantity) for trade in float_trades(account)]
        known = [("initial-BTC", START), *self.acknowledged.items()]
        if sorted(booked) != sorted(known):
            self.lost.append(f"acknowledged and booked differ: {sorted(set(booked) ^ set(known))} of {len(booked)}")
        position = held(truth).get("BTCUSDT", Decimal(0))
        filled = sum((order.filled if order.side is Side.BUY else -order.filled for order in orders), foreign)
        if filled != position:
            self.lost.append(f"the fills in the books come to {filled}, the position is {position}")
        gap_usd = abs(START + sum(self.acknowledged.values()) + position) * Decimal(truth["marks"]["BTCUSDT"])
        if gap_usd > BAND_USD * SLACK:
            self.lost.append(f"{gap_usd} USD are naked")


async def hedged(account: Account) -> None:
    """Wait for the first moment at which the book is live, in band, and the exchange's."""
    ends = time.monotonic() + HEDGED_S
    while await account.hedged() is None:
        assert time.monotonic() < ends, f"not hedged within {HEDGED_S} s: {await account.status()}"
        await asyncio.sleep(LOOK_S)


def intents(account: Account) -> list[Order]:
    """Return every order the ledger knows."""
    with closing(Ledger(account.book, read_only=True)) as ledger:
        return ledger.intents()


def in_doubt(account: Account) -> list[Order]:
    """Return the orders whose end the ledger does not know; none before there is a ledger."""
    if not account.book.exists():
        return []
    with closing(Ledger(account.book, read_only=True)) as ledger:
        return ledger.open_orders()


def float_trades(account: Account) -> list[FloatTrade]:
    """Return every float trade the ledger knows."""
    with closing(Ledger(account.book, read_only=True)) as ledger:
        return ledger.float_trades()


def spread(seconds: Sequence[float], limit_s: float | None = None) -> dict[str, float]:
    """Return how many, p50, p99, the most, and what p99 is held to, if anything; percentiles by nearest rank."""
    ordered = sorted(seconds)

    def at(percent: int) -> float:
        return round(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)], 3) if ordered else 0.0

    found = {"n": len(ordered), "p50": at(50), "p99": at(99), "max": at(100)}
    return found if limit_s is None else {**found, "limit": limit_s}


def row_of(name: str, figures: dict[str, float]) -> str:
    """Return a line of a table."""
    limit = f"   limit {figures['limit']:.1f}" if "limit" in figures else ""
    return f"  {name:<22} {figures['n']:>4}   p50 {figures['p50']:.3f}   p99 {figures['p99']:.3f}   max {figures['max']:.3f}{limit}"
