"""Where the treasury's value went: every change of it booked to one cause, by an identity that leaves nothing over.

    V = sum F*I + U + W + sum q*(M - E)

F float, I index price, U the treasury's cash, W the futures wallet of the margin asset, q position, M mark, E entry
price. One writer: the reactor. Invariants: after every event the lines add up to V minus the value it began with; a
figure of the venue's that no event explains is booked to ``unclassified``, its rounding to ``residual``, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from decimal import Decimal

from streamhedge.domain.values import ZERO, Asset, Symbol, divide, state

POLICY_OPEN = "policy_open"
BASIS = "basis"
SPOT_EXECUTION = "spot_execution"
FUNDING = "funding"
FEES = "fees"
VENUE = "venue"
EXTERNAL = "external"
UNCLASSIFIED = "unclassified"
RESIDUAL = "residual"
NAKED = "naked."
"""Followed by the cause that was in force (HEDGING §6)."""
EXECUTION = "execution."
"""Followed by who traded: own, foreign or venue."""
DUST = "dust"
OTHER = "other"
"""The cause of exposure in a contract that hedges nothing."""
ROUNDING = Decimal("0.000001")
"""The venue books at eight decimals: what each event may leave over, quote units per unit of size."""
REASONS = {"FUNDING_FEE": FUNDING, "INSURANCE_CLEAR": VENUE}
"""Balance changes that are not a transfer by a person."""


@state
class AttributedLeg:
    """One contract as the events lead to it: signed size, entry price, and the prices of its last frame."""

    quantity: Decimal = ZERO
    entry_price: Decimal = ZERO
    mark_price: Decimal | None = None
    index_price: Decimal | None = None


@state
class AttributedFloat:
    """One float asset and the index price it is valued at."""

    quantity: Decimal = ZERO
    index_price: Decimal = ZERO


@state
class Attribution:
    """The running identity of one margin asset; ``days`` holds the lines of each UTC day (days since the epoch).

    ``closed`` sums the days that are written and over. ``differs_ns`` is since when the book may see other figures than
    the events lead to, 0 while they agree; ``touched`` names the contracts where it may, in the order of the news, and
    ``compared`` says that nothing was heard since the two were last held against each other.
    """

    began: bool = False
    value_at_start: Decimal = ZERO
    usd: Decimal = ZERO
    wallet: Decimal = ZERO
    floats: dict[Asset, AttributedFloat] = field(default_factory=dict)
    legs: dict[Symbol, AttributedLeg] = field(default_factory=dict)
    days: dict[int, dict[str, Decimal]] = field(default_factory=dict)
    closed: dict[str, Decimal] = field(default_factory=dict)
    events: int = 0
    differs_ns: int = 0
    written_ns: int = 0
    touched: list[Symbol] = field(default_factory=list)
    compared: bool = False

    # ------------------------------------------------------------ reading

    def value(self) -> Decimal:
        """Return V, quote units."""
        found = self.usd + self.wallet
        for held in self.floats.values():
            found += held.quantity * held.index_price
        for leg in self.legs.values():
            found += _unrealised(leg)
        return found

    def lines(self) -> dict[str, Decimal]:
        """Return the sum of every line over all days of this run."""
        found = dict(self.closed)
        for lines in self.days.values():
            for name, amount in lines.items():
                found[name] = found.get(name, ZERO) + amount
        return found

    # ------------------------------------------------------------ events

    def begin(self) -> None:
        """Take the value now as the one to explain from."""
        self.began = True
        self.value_at_start = self.value()

    def frame(
        self,
        *,
        day: int,
        symbol: Symbol,
        asset: Asset | None,
        mark_price: Decimal,
        index_price: Decimal,
        policy_short: Decimal,
        cause: str,
    ) -> None:
        """Book what a mark-price frame changed.

        Args:
            day: UTC day it belongs to.
            symbol: The contract.
            asset: The float asset that it hedges, None when it hedges none.
            mark_price: New mark, quote units.
            index_price: New index, quote units.
            policy_short: What configuration wanted short since the frame before, base units >= 0.
            cause: Why the hedge was not at it, in one word; empty when only dust was missing.
        """
        leg = self.legs.setdefault(symbol, AttributedLeg())
        floating = self.floats.get(asset) if asset is not None else None
        if leg.mark_price is not None and leg.index_price is not None:
            index_move = index_price - leg.index_price
            if floating is not None:
                self._book(day, POLICY_OPEN, (floating.quantity - policy_short) * index_move)
                self._book(day, NAKED + (cause or DUST), (policy_short + leg.quantity) * index_move)
            else:
                self._book(day, NAKED + OTHER, leg.quantity * index_move)
            self._book(day, BASIS, leg.quantity * (mark_price - leg.mark_price - index_move))
        elif leg.quantity != 0:
            # A position of before its first frame was valued at its entry until now.
            self._book(day, UNCLASSIFIED, leg.quantity * (mark_price - leg.entry_price))
        leg.mark_price, leg.index_price = mark_price, index_price
        if floating is not None:
            floating.index_price = index_price

    def fill(
        self,
        *,
        day: int,
        symbol: Symbol,
        quantity: Decimal,
        price: Decimal,
        who: str,
        commission: Decimal,
        commission_price: Decimal | None,
    ) -> None:
        """Book one fill of the account's.

        Args:
            day: UTC day it belongs to.
            symbol: The contract.
            quantity: Signed, base units.
            price: Quote units.
            who: own, foreign or venue.
            commission: Paid, in its own asset; negative when earned.
            commission_price: Quote per unit of that asset; None when it is the margin asset itself.
        """
        self.events += 1
        leg = self.legs.setdefault(symbol, AttributedLeg())
        if leg.mark_price is None:
            leg.mark_price = leg.index_price = price
        self._book(day, EXECUTION + who, quantity * (leg.mark_price - price))
        self.wallet += _trade(leg, quantity, price)
        if commission_price is None:
            self.wallet -= commission
            self._book(day, FEES, -commission)
            return
        # Paid from a balance that is not part of V: the cost is ours, and comes from outside.
        self._book(day, FEES, -commission * commission_price)
        self._book(day, EXTERNAL, commission * commission_price)

    def balance_change(self, *, day: int, reason: str, amount: Decimal) -> None:
        """Book a change of the futures wallet that is no trade: funding, clearance, or a transfer from outside."""
        self.events += 1
        self.wallet += amount
        self._book(day, REASONS.get(reason, EXTERNAL), amount)

    def float_trade(self, *, day: int, asset: Asset, quantity: Decimal, usd: Decimal) -> None:
        """Book a float trade; one that moves both asset and USD was a purchase or a sale, any other came from outside."""
        held = self.floats.setdefault(asset, AttributedFloat())
        worth = quantity * held.index_price + usd
        held.quantity += quantity
        self.usd += usd
        self._book(day, SPOT_EXECUTION if quantity != 0 and usd != 0 else EXTERNAL, worth)

    # ------------------------------------------------------------ the venue's own figures

    def touch(self, symbols: Iterable[Symbol]) -> None:
        """Note that the book may now see these contracts, or the wallet, otherwise than the events lead to."""
        self.touched = list(dict.fromkeys([*self.touched, *symbols]))
        self.compared = False

    def agrees(self, *, wallet: Decimal, legs: dict[Symbol, tuple[Decimal, Decimal]]) -> bool:
        """Return whether the book has the sizes the events lead to, and money but for the venue's rounding.

        Args:
            wallet: The book's wallet balance, quote units.
            legs: The book's (signed size, entry price) of each touched contract; (0, 0) where it has no position.
        """
        size = sum((abs(quantity) for quantity, _ in legs.values()), ZERO)
        room = ROUNDING * (1 + self.events) * max(Decimal(1), size)
        moved = wallet - self.wallet
        for symbol, (quantity, entry) in legs.items():
            leg = self.legs.get(symbol)
            if quantity != (leg.quantity if leg is not None else ZERO):
                return False
            if leg is not None:
                moved += quantity * (leg.entry_price - entry)
        return abs(moved) <= room

    def adopt(self, *, day: int, line: str, wallet: Decimal, legs: dict[Symbol, tuple[Decimal, Decimal]]) -> Decimal:
        """Take the book's figures as they are, book what that changes, and return it.

        Args:
            day: UTC day it belongs to.
            line: RESIDUAL when the two agree but for rounding, UNCLASSIFIED when events are missing.
            wallet, legs: As for ``agrees``.
        """
        changed = wallet - self.wallet
        self.wallet = wallet
        for symbol, (quantity, entry) in legs.items():
            if quantity == 0 and symbol not in self.legs:
                continue
            leg = self.legs.setdefault(symbol, AttributedLeg())
            changed -= _unrealised(leg)
            leg.quantity, leg.entry_price = quantity, entry
            changed += _unrealised(leg)
        self._book(day, line, changed)
        self.events = 0
        self.touched = []
        return changed

    def close(self, day: int) -> None:
        """Fold a day that is over into the run's sum."""
        for name, amount in self.days.pop(day, {}).items():
            self.closed[name] = self.closed.get(name, ZERO) + amount

    def _book(self, day: int, name: str, amount: Decimal) -> None:
        if amount != 0:
            lines = self.days.setdefault(day, {})
            lines[name] = lines.get(name, ZERO) + amount


def _unrealised(leg: AttributedLeg) -> Decimal:
    """Return what a leg is worth above its entry, quote units; 0 before its first frame."""
    if leg.quantity == 0 or leg.mark_price is None:
        return ZERO
    return leg.quantity * (leg.mark_price - leg.entry_price)


def _trade(leg: AttributedLeg, quantity: Decimal, price: Decimal) -> Decimal:
    """Move a leg by a fill and return the realised PnL: growing averages the entry, shrinking realises, a flip does both."""
    held = leg.quantity
    leg.quantity = held + quantity
    if held * quantity >= 0:
        leg.entry_price = divide(held * leg.entry_price + quantity * price, leg.quantity)
        return ZERO
    closed = quantity if abs(quantity) <= abs(held) else -held
    realised = -closed * (price - leg.entry_price)
    if leg.quantity == 0:
        leg.entry_price = ZERO
    elif held * leg.quantity < 0:
        leg.entry_price = price
    return realised
