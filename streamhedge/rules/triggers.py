"""Which open positions are within a distance of their liquidation, without looking at all of them on every tick.

A cross position is within distance d exactly when the slack of its margin group (margin balance minus all maintenance) is
at most its own K(d), HEDGING §3; one side of a symbol moves one K and the slack, so the group keeps its positions sorted by
K and compares one figure. An isolated one has a price of its own, which no tick moves. A tick costs O(log n + fired).
"""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Sequence
from dataclasses import field
from decimal import Decimal

from sortedcontainers import SortedKeyList

from streamhedge.domain.events import PositionSide
from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.margin import liquidation_price, maintenance_margin, trigger_slack
from streamhedge.domain.values import ONE, ZERO, Asset, Symbol, divide, record, state

SUMS = decimal.Context(prec=90, traps=[decimal.InvalidOperation, decimal.Overflow, decimal.FloatOperation])
"""Wide enough that sums of figures of 34 digits are exact: what was added comes out again without a trace."""


@record
class Holding:
    """One open position as the index needs it: signed quantity, base units; ``wallet`` only where it is isolated."""

    side: PositionSide
    quantity: Decimal
    entry_price: Decimal
    isolated: bool
    wallet: Decimal


@record
class Near:
    """A position within a distance: ``shortfall`` is the margin, quote units, that would put it there exactly."""

    symbol: Symbol
    side: PositionSide
    shortfall: Decimal


@record
class Rest:
    """What the other positions of a margin sum up to, quote units.

    ``needed`` is what the shorts among them take from the slack when all rise by the distance asked for; ``notional`` is
    their whole value, longs and shorts alike.
    """

    pnl: Decimal = ZERO
    maintenance: Decimal = ZERO
    needed: Decimal = ZERO
    notional: Decimal = ZERO


@state
class _Contract:
    """What the index knows of one symbol; ``key`` is K(d) of its cross side, None where it has no direction."""

    asset: Asset
    brackets: tuple[MarginBracket, ...]
    mark_price: Decimal
    holdings: tuple[Holding, ...]
    leverage: int
    pnl: Decimal = ZERO
    maintenance: Decimal = ZERO
    initial: Decimal = ZERO
    notional: Decimal = ZERO
    key: Decimal | None = None
    needs: dict[Decimal, Decimal] = field(default_factory=dict)
    """What its short legs take from the slack when they rise by each of the distances that raising asks for."""
    short: bool = False
    """True for a net short: a rise liquidates it, together with the others of its group."""
    isolated_prices: list[tuple[Holding, Decimal | None]] = field(default_factory=list)
    """Liquidation prices of isolated sides: a symbol has two at most, so they need no order, and no tick moves them."""


class _Group:
    """The cross positions of one margin asset."""

    def __init__(self) -> None:
        self.wallet = ZERO
        self.pnl = ZERO
        self.maintenance = ZERO
        self.initial = ZERO
        self.notional = ZERO
        self.joint_key = ZERO
        self.needs: dict[Decimal, Decimal] = {}
        self.legs = 0
        self.keys: SortedKeyList = SortedKeyList(key=_itself)

    @property
    def slack(self) -> Decimal:
        """Return margin balance minus maintenance, quote units."""
        return SUMS.subtract(SUMS.add(self.wallet, self.pnl), self.maintenance)


def _itself(entry: tuple[Decimal, Symbol]) -> tuple[Decimal, Symbol]:
    return entry


class TriggerIndex:
    """All open positions of an account, sorted by what brings them within one distance of liquidation.

    Args:
        distance: A fraction of the mark, above 0.
        raising: Distances at which sums over all shorts are kept, for the size that margin carries.
    """

    def __init__(self, distance: Decimal, raising: Sequence[Decimal] = ()) -> None:
        self.distance = distance
        self._raising = tuple(raising)
        self._groups: dict[Asset, _Group] = {}
        self._contracts: dict[Symbol, _Contract] = {}
        self._isolated_near: dict[Symbol, list[Holding]] = {}
        self.unmarked: dict[Symbol, None] = {}
        """Symbols with a cross position whose mark or brackets are not known; whoever fills the index says so."""
        self.suspicious: dict[Symbol, None] = {}
        """Symbols whose mark jumped and was not confirmed when it was last heard; said by the same."""

    # ------------------------------------------------------------ writing

    def set_wallet(self, asset: Asset, amount: Decimal) -> None:
        """Say the cross wallet of a margin asset, quote units."""
        self._group(asset).wallet = amount

    def knows(self, symbol: Symbol) -> bool:
        """Return whether a position of the symbol is in the index."""
        return symbol in self._contracts

    def put(
        self,
        symbol: Symbol,
        *,
        asset: Asset,
        brackets: tuple[MarginBracket, ...],
        mark_price: Decimal,
        holdings: Sequence[Holding],
        leverage: int = 1,
    ) -> None:
        """Replace all that is known of a symbol; no holdings: it is flat."""
        self._take_out(symbol)
        held = tuple(holding for holding in holdings if holding.quantity != 0)
        if not held:
            return
        contract = _Contract(asset=asset, brackets=brackets, mark_price=mark_price, holdings=held, leverage=leverage)
        self._contracts[symbol] = contract
        for holding in held:
            if holding.isolated:
                price = liquidation_price(
                    position_amount=holding.quantity,
                    entry_price=holding.entry_price,
                    wallet_balance=holding.wallet,
                    brackets=brackets,
                )
                contract.isolated_prices.append((holding, price))
        self._measure(symbol, contract)

    def tick(self, symbol: Symbol, mark_price: Decimal) -> None:
        """Move the mark of a symbol; one without a position costs nothing."""
        contract = self._contracts.get(symbol)
        if contract is None:
            return
        self._subtract(symbol, contract)
        contract.mark_price = mark_price
        self._measure(symbol, contract)

    def _take_out(self, symbol: Symbol) -> None:
        contract = self._contracts.pop(symbol, None)
        self._isolated_near.pop(symbol, None)
        if contract is not None:
            self._subtract(symbol, contract)

    def _group(self, asset: Asset) -> _Group:
        group = self._groups.get(asset)
        if group is None:
            group = self._groups[asset] = _Group()
        return group

    def _measure(self, symbol: Symbol, contract: _Contract) -> None:
        """Compute what the mark makes of a contract, and add it to its group."""
        mark, brackets = contract.mark_price, contract.brackets
        contract.pnl = contract.maintenance = contract.initial = contract.notional = net = ZERO
        contract.needs = dict.fromkeys(self._raising, ZERO)
        for holding in contract.holdings:
            if not holding.isolated:
                notional = abs(holding.quantity) * mark
                contract.pnl += holding.quantity * (mark - holding.entry_price)
                contract.maintenance += maintenance_margin(notional=notional, brackets=brackets)
                contract.initial += divide(notional, Decimal(contract.leverage))
                contract.notional += notional
                net += holding.quantity
                if holding.quantity < 0:
                    for distance in self._raising:
                        contract.needs[distance] += trigger_slack(
                            notional=notional, distance=distance, brackets=brackets
                        )
        contract.short = net < 0
        contract.key = self._key_of(contract, self.distance) if net != 0 else None
        group = self._group(contract.asset)
        group.pnl = SUMS.add(group.pnl, contract.pnl)
        group.maintenance = SUMS.add(group.maintenance, contract.maintenance)
        group.initial = SUMS.add(group.initial, contract.initial)
        group.notional = SUMS.add(group.notional, contract.notional)
        group.legs += len(contract.holdings)
        for distance, needed in contract.needs.items():
            group.needs[distance] = SUMS.add(group.needs.get(distance, ZERO), needed)
        if contract.key is not None:
            group.keys.add((contract.key, symbol))
            if contract.short:
                group.joint_key = SUMS.add(group.joint_key, contract.key)
        self._isolated_near.pop(symbol, None)
        near = [holding for holding, price in contract.isolated_prices if _reaches(holding, price, mark, self.distance)]
        if near:
            self._isolated_near[symbol] = near

    def _subtract(self, symbol: Symbol, contract: _Contract) -> None:
        group = self._group(contract.asset)
        group.pnl = SUMS.subtract(group.pnl, contract.pnl)
        group.maintenance = SUMS.subtract(group.maintenance, contract.maintenance)
        group.initial = SUMS.subtract(group.initial, contract.initial)
        group.notional = SUMS.subtract(group.notional, contract.notional)
        group.legs -= len(contract.holdings)
        for distance, needed in contract.needs.items():
            group.needs[distance] = SUMS.subtract(group.needs[distance], needed)
        if contract.key is not None:
            group.keys.remove((contract.key, symbol))
            if contract.short:
                group.joint_key = SUMS.subtract(group.joint_key, contract.key)

    def _key_of(self, contract: _Contract, distance: Decimal) -> Decimal:
        """Return K(d) of the cross side: what the move against it by d takes from the group's slack, quote units."""
        moved = ONE + distance if contract.short else ONE - distance
        taken = ZERO
        for holding in contract.holdings:
            if not holding.isolated:
                notional = abs(holding.quantity) * contract.mark_price
                taken -= holding.quantity * contract.mark_price * (moved - ONE)
                taken += maintenance_margin(notional=notional * moved, brackets=contract.brackets)
        return taken - contract.maintenance

    # ------------------------------------------------------------ reading

    def near(self, within: Decimal | None = None) -> Iterator[Near]:
        """Yield what is near by itself, and every short of a group whose shorts together are.

        Args:
            within: A fraction of the mark, at most the index's own distance; None means that.
        """
        distance = self.distance if within is None else within
        assert distance <= self.distance, "what is further away was not kept"
        for group in self._groups.values():
            yield from self._near_in(group, distance)
        for symbol, holdings in self._isolated_near.items():
            contract = self._contracts[symbol]
            for holding, price in contract.isolated_prices:
                if holding in holdings and _reaches(holding, price, contract.mark_price, distance):
                    yield Near(symbol, holding.side, _isolated_shortfall(contract, holding, distance))

    def slack(self, asset: Asset) -> Decimal:
        """Return margin balance minus all maintenance of a margin group, quote units."""
        return self._group(asset).slack

    def available(self, asset: Asset) -> Decimal:
        """Return cross wallet plus PnL minus initial margin, quote units, at least 0."""
        group = self._group(asset)
        return max(ZERO, SUMS.subtract(SUMS.add(group.wallet, group.pnl), group.initial))

    def legs(self, asset: Asset) -> int:
        """Return how many positions stand on a margin, isolated ones beside it included."""
        return self._group(asset).legs

    def is_near(self, symbol: Symbol, asset: Asset) -> bool:
        """Return whether a cross position is near, by itself or with the other shorts of its group, at O(1)."""
        group, contract = self._group(asset), self._contracts.get(symbol)
        slack = group.slack
        if slack <= 0 or group.joint_key >= slack:
            return True
        return contract is not None and contract.key is not None and contract.key >= slack

    def without(self, asset: Asset, symbols: Sequence[Symbol], distance: Decimal) -> Rest:
        """Return what a margin group sums up to when some symbols are left out; ``distance`` is one of ``raising``."""
        group = self._group(asset)
        pnl, maintenance, needed = group.pnl, group.maintenance, group.needs.get(distance, ZERO)
        notional = group.notional
        for symbol in symbols:
            contract = self._contracts.get(symbol)
            if contract is not None and contract.asset == asset:
                pnl = SUMS.subtract(pnl, contract.pnl)
                maintenance = SUMS.subtract(maintenance, contract.maintenance)
                needed = SUMS.subtract(needed, contract.needs[distance])
                notional = SUMS.subtract(notional, contract.notional)
        return Rest(pnl, maintenance, needed, notional)

    def _near_in(self, group: _Group, distance: Decimal) -> Iterator[Near]:
        slack = group.slack
        together = SUMS.subtract(group.joint_key, slack)
        if slack > 0 and together < 0:
            entries = list(group.keys.irange_key(min_key=(slack, "")))
        else:
            entries = list(group.keys)
            if distance != self.distance:
                shorts = [self._contracts[symbol] for _, symbol in entries if self._contracts[symbol].short]
                together = SUMS.subtract(sum((self._key_of(one, distance) for one in shorts), ZERO), slack)
        for key, symbol in entries:
            contract = self._contracts[symbol]
            kept = key if distance == self.distance else self._key_of(contract, distance)
            missing = SUMS.subtract(kept, slack)
            if contract.short:
                missing = max(missing, together)
            if missing >= 0 or slack <= 0:
                for holding in contract.holdings:
                    if not holding.isolated:
                        yield Near(symbol, holding.side, max(ZERO, missing))


def _reaches(holding: Holding, price: Decimal | None, mark: Decimal, distance: Decimal) -> bool:
    """Return whether a move of that share of the mark reaches a liquidation price."""
    if price is None:
        return False
    return price <= mark * (ONE + distance) if holding.quantity < 0 else price >= mark * (ONE - distance)


def _isolated_shortfall(contract: _Contract, holding: Holding, distance: Decimal) -> Decimal:
    """Return what added to an isolated wallet puts its position at the distance, quote units, at least 0."""
    price = contract.mark_price * (ONE + distance if holding.quantity < 0 else ONE - distance)
    left = holding.wallet + holding.quantity * (price - holding.entry_price)
    return max(ZERO, maintenance_margin(notional=abs(holding.quantity) * price, brackets=contract.brackets) - left)
