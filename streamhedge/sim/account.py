"""One futures account: wallets, positions, margin. The exchange's own arithmetic, by definition rather than by formula.

The liquidation price is found by bisection on the definition (equity meets maintenance), on purpose: the hedger uses
closed forms, and two ways that agree are worth more than one way used twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from streamhedge.sim.market import Contract

D = Decimal
EIGHT = D("0.00000001")
ASSUMING = D("1.0015")
CLOSE_ENOUGH = D("0.000000001")


def eight(value: Decimal) -> Decimal:
    """Return a value at the wallet's eight decimals."""
    return value.quantize(EIGHT, rounding=ROUND_HALF_EVEN)


@dataclass(slots=True)
class Position:
    """One one-way position."""

    symbol: str
    amount: Decimal = D(0)
    entry: Decimal = D(0)
    realised: Decimal = D(0)
    isolated: bool = False
    isolated_wallet: Decimal = D(0)
    leverage: int = 20
    update_ms: int = 0
    fees: Decimal = D(0)

    def pnl(self, mark: Decimal) -> Decimal:
        """Return unrealised PnL at a mark."""
        return self.amount * (mark - self.entry)

    @property
    def break_even(self) -> Decimal:
        """Return the entry price with this position's fees in it."""
        return D(0) if self.amount == 0 else (self.entry + self.fees / self.amount).quantize(EIGHT)


@dataclass(slots=True)
class Account:
    """The whole account of one key."""

    wallet: Decimal
    positions: dict[str, Position] = field(default_factory=dict)
    dual_side: bool = False
    multi_assets: bool = False
    update_ms: int = 0
    fees_paid: Decimal = D(0)
    funding: Decimal = D(0)
    transfers: Decimal = D(0)
    liquidations: int = 0
    adls: int = 0

    def position(self, symbol: str) -> Position:
        """Return the position of a symbol, made flat on first use."""
        return self.positions.setdefault(symbol, Position(symbol))

    @property
    def cross_wallet(self) -> Decimal:
        """Return the wallet without what stands isolated."""
        return self.wallet - sum((p.isolated_wallet for p in self.positions.values() if p.isolated), D(0))

    def cross(self) -> list[Position]:
        """Return the open cross positions."""
        return [p for p in self.positions.values() if p.amount != 0 and not p.isolated]

    def equity(self, contracts: dict[str, Contract]) -> Decimal:
        """Return cross wallet plus cross PnL."""
        return self.cross_wallet + sum((p.pnl(contracts[p.symbol].mark) for p in self.cross()), D(0))

    def maintenance(self, contracts: dict[str, Contract]) -> Decimal:
        """Return the maintenance margin of the cross positions."""
        total = D(0)
        for p in self.cross():
            contract = contracts[p.symbol]
            total += contract.maintenance(abs(p.amount) * contract.mark)
        return total

    def initial(self, contracts: dict[str, Contract]) -> Decimal:
        """Return the initial margin of the cross positions."""
        return sum((abs(p.amount) * contracts[p.symbol].mark / p.leverage for p in self.cross()), D(0))

    def fill(self, contract: Contract, signed: Decimal, price: Decimal, fee: Decimal, now_ms: int) -> Decimal:
        """Book one fill and return its realised PnL; the wallet moves by PnL minus fee."""
        p = self.position(contract.symbol)
        realised = D(0)
        before = p.amount
        closing = min(abs(signed), abs(before)) if before * signed < 0 else D(0)
        if closing:
            direction = 1 if before > 0 else -1
            realised = eight(direction * closing * (price - p.entry))
            if p.isolated:
                released = eight(p.isolated_wallet * closing / abs(before))
                p.isolated_wallet -= released
        opening = abs(signed) - closing
        after = before + signed
        if after == 0:
            p.entry, p.fees = D(0), D(0)
            if p.isolated:
                p.isolated_wallet = D(0)
        elif opening and closing:
            p.entry, p.fees = price, fee
        elif opening:
            p.entry = ((p.entry * abs(before) + price * opening) / abs(after)).quantize(EIGHT)
            p.fees += fee
        if opening and p.isolated:
            # Initial margin at the mark, plus what the fill loses against it, less the fee (three recorded rows).
            loss = max(D(0), price - contract.mark if signed > 0 else contract.mark - price)
            p.isolated_wallet += eight(opening * (contract.mark / p.leverage + loss)) - fee
        p.amount = after
        p.realised += realised
        p.update_ms = now_ms
        self.wallet = eight(self.wallet + realised - fee)
        self.fees_paid += fee
        self.update_ms = now_ms
        return realised

    def cost(self, contract: Contract, side: str, quantity: Decimal, price: Decimal) -> Decimal:
        """Return the margin that opening this much needs: initial margin, open loss, fee."""
        mark = contract.mark
        leverage = self.position(contract.symbol).leverage
        if side == "SELL":
            unit = max(mark, price) * ASSUMING / leverage + max(D(0), mark - price)
        else:
            unit = price / leverage + max(D(0), price - mark)
        return quantity * (unit + mark * contract.taker_fee)

    def opening(self, symbol: str, side: str, quantity: Decimal) -> Decimal:
        """Return how much of an order would open rather than close."""
        amount = self.position(symbol).amount
        against = amount > 0 if side == "SELL" else amount < 0
        return max(D(0), quantity - abs(amount)) if against else quantity

    def liquidation_price(self, symbol: str, contracts: dict[str, Contract]) -> Decimal:
        """Return the mark at which equity meets maintenance, by bisection; 0 when there is none."""
        p = self.position(symbol)
        contract = contracts[symbol]
        if p.amount == 0:
            return D(0)

        margin = p.isolated_wallet if p.isolated else self.cross_wallet
        for q in [] if p.isolated else self.cross():
            if q.symbol != symbol:
                other = contracts[q.symbol]
                margin += q.pnl(other.mark) - other.maintenance(abs(q.amount) * other.mark)
        size = abs(p.amount)

        def safe(mark: Decimal) -> bool:
            return margin + p.pnl(mark) > contract.maintenance(size * mark)

        if p.amount > 0 and safe(D("0.00000001")):
            return D(0)
        low, high = D(0), contract.mark * 2 + abs(self.wallet) / abs(p.amount) + 1
        while high - low > CLOSE_ENOUGH:
            middle = (low + high) / 2
            if safe(middle) == (p.amount < 0):
                low = middle
            else:
                high = middle
        return eight(high if p.amount > 0 else low)
