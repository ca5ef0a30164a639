"""The position book: what the account holds, as far as we know, with source and age of every figure.

One writer: the reactor. Invariants: the version of a row (venue time, ms) falls only where several audits agree on an older
one (the venue's clock was set back); absolute values win and fills
only explain them; a symbol missing from an event is unchanged, a symbol missing from a complete snapshot is flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from decimal import Decimal

from streamhedge.domain.canonical import digest
from streamhedge.domain.events import (
    AccountUpdate,
    BalanceRow,
    MarkPriceUpdate,
    PositionRow,
    PositionSide,
    Snapshot,
    SnapshotBalance,
    SnapshotPosition,
)
from streamhedge.domain.funding import HOUR_MS, annualised, funding_payment, infer_interval_ms
from streamhedge.domain.instrument import Instrument
from streamhedge.domain.margin import liquidation_price, maintenance_margin
from streamhedge.domain.values import NS_PER_MS, ZERO, Asset, Symbol, divide, record, state


@state
class HeldPosition:
    """One position row. ``version_ms`` is the venue time of the figures, ``recv_ns`` when we learnt them.

    ``liquidation_drift`` is how far the venue's liquidation price was from ours in the last snapshot, a fraction;
    ``drift_told`` while that is an alarm.
    """

    symbol: Symbol
    position_side: PositionSide
    quantity: Decimal = ZERO
    entry_price: Decimal = ZERO
    break_even_price: Decimal | None = None
    realised_pnl: Decimal = ZERO
    isolated: bool = False
    isolated_wallet: Decimal = ZERO
    version_ms: int = 0
    recv_ns: int = 0
    source: str = ""
    venue_liquidation_price: Decimal | None = None
    adl: int = 0
    liquidation_drift: Decimal | None = None
    drift_told: bool = False


@state
class HeldBalance:
    """One asset."""

    asset: Asset
    wallet_balance: Decimal = ZERO
    cross_wallet_balance: Decimal = ZERO
    version_ms: int = 0
    recv_ns: int = 0


@state
class Mark:
    """The latest mark-price frame of a symbol. A jump waits in ``candidate`` until the next agrees or 2 s pass."""

    symbol: Symbol
    mark_price: Decimal
    index_price: Decimal
    funding_rate: Decimal | None
    next_funding_time_ms: int
    event_time_ms: int
    recv_ns: int
    funding_interval_ms: int = 8 * HOUR_MS
    suspicious_since_ns: int | None = None
    polled_ns: int = 0
    """When the price last came from a position row, because the stream was mute; never makes raising possible."""

    def apply_polled(self, price: Decimal, now_ns: int) -> None:
        """Take the mark of a position row; one that jumps waits for the next row as it would on the stream."""
        self.doubt(price, apart=False, now_ns=now_ns)
        self.mark_price = price
        self.polled_ns = now_ns

    def doubt(self, price: Decimal, *, apart: bool, now_ns: int) -> None:
        """Mark a price that jumped, or stands apart from its index, as one that waits for a frame that agrees."""
        jumped = abs(price - self.mark_price) >= self.mark_price * OUTLIER_JUMP
        since = self.suspicious_since_ns
        # The frame that agrees with a suspicious one confirms it, and 2 s without agreement end the wait anyway:
        # liquidation follows the mark, however odd.
        settled = since is not None and (not jumped or now_ns - since >= OUTLIER_WAIT_NS)
        if (jumped or apart) and not settled:
            self.suspicious_since_ns = now_ns if since is None else since
        else:
            self.suspicious_since_ns = None

    def is_suspicious(self, now_ns: int) -> bool:
        """Return whether the mark still waits for the frame that confirms it; 2 s are the longest wait."""
        return self.suspicious_since_ns is not None and now_ns - self.suspicious_since_ns < OUTLIER_WAIT_NS


@record
class PositionView:
    """One position as readers get it; prices and PnL in quote units, quantity signed base units."""

    symbol: Symbol
    position_side: PositionSide
    quantity: Decimal
    entry_price: Decimal
    break_even_price: Decimal | None
    mark_price: Decimal | None
    notional: Decimal | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal
    maintenance_margin: Decimal | None
    liquidation_price: Decimal | None
    liquidation_distance: Decimal | None
    venue_liquidation_price: Decimal | None
    isolated: bool
    leverage: int | None
    adl: int
    source: str
    event_time_ms: int
    age_ms: int


@record
class AccountView:
    """The margin account of one asset, quote units."""

    asset: Asset
    wallet_balance: Decimal
    cross_wallet_balance: Decimal
    margin_balance: Decimal
    maintenance_margin: Decimal
    margin_ratio: Decimal | None
    available: Decimal
    age_ms: int


@record
class FundingView:
    """Funding of one symbol: the running rate, its settlement, and the payment if the position is held until then."""

    symbol: Symbol
    funding_rate: Decimal | None
    next_funding_time_ms: int
    interval_ms: int
    next_payment_if_held: Decimal | None
    annualised: Decimal | None


BookKey = tuple[Symbol, PositionSide]

HEARD_MOST = 128
"""Account updates remembered by name: far more than two overlapping connections repeat."""
OUTLIER_JUMP = Decimal("0.10")
"""A mark this far from the last one waits for the next frame (HEDGING §3)."""
OUTLIER_BASIS = Decimal("0.05")
"""... and so does a mark this far from its index."""
OUTLIER_WAIT_NS = 2_000_000_000
MARK_REPEATS_NS = 2_000_000_000
"""Two connections that overlap are never so far apart: marks come each second."""


@state
class PositionBook:
    """All rows of one account; written by the reactor only.

    ``heard`` names the account updates that came lately: a second connection repeats them, and one that comes again must
    undo nothing, neither a fill of the same millisecond nor what a venue whose clock was set back has said since.
    """

    positions: dict[BookKey, HeldPosition]
    balances: dict[Asset, HeldBalance]
    marks: dict[Symbol, Mark]
    instruments: dict[Symbol, Instrument]
    leverage: dict[Symbol, int]
    isolated: dict[Symbol, bool]
    dual_side: bool = False
    multi_assets: bool = False
    snapshot_ns: int = 0
    heard: dict[str, int] = field(default_factory=dict)

    # ------------------------------------------------------------ writing (reactor only)

    def apply_mark(self, event: MarkPriceUpdate, now_ns: int) -> bool:
        """Store a mark; False when it is older than the one held.

        Older by its stamp, but alone for seconds, it is the newest there is: the venue's clock was set back.
        """
        held = self.marks.get(event.symbol)
        apart = abs(event.mark_price - event.index_price) > event.index_price * OUTLIER_BASIS
        if held is None:
            self.marks[event.symbol] = Mark(
                symbol=event.symbol,
                mark_price=event.mark_price,
                index_price=event.index_price,
                funding_rate=event.funding_rate,
                next_funding_time_ms=event.next_funding_time_ms,
                event_time_ms=event.event_time_ms,
                recv_ns=now_ns,
                funding_interval_ms=self._interval_ms(event.symbol),
                suspicious_since_ns=now_ns if apart else None,
            )
            return True
        if event.event_time_ms < held.event_time_ms and now_ns - held.recv_ns < MARK_REPEATS_NS:
            return False
        held.doubt(event.mark_price, apart=apart, now_ns=now_ns)
        held.funding_interval_ms = infer_interval_ms(
            known_ms=held.funding_interval_ms,
            previous_ms=held.next_funding_time_ms,
            next_ms=event.next_funding_time_ms,
            event_time_ms=event.event_time_ms,
        )
        held.mark_price = event.mark_price
        held.index_price = event.index_price
        held.funding_rate = event.funding_rate
        held.next_funding_time_ms = event.next_funding_time_ms
        held.event_time_ms = event.event_time_ms
        held.recv_ns = now_ns
        return True

    def apply_account_update(self, event: AccountUpdate, now_ns: int) -> list[HeldPosition]:
        """Apply absolute rows that are not older than what is held; return the positions that changed size."""
        changed: list[HeldPosition] = []
        name = digest(event)[:16]
        if name in self.heard:
            return changed
        self.heard[name] = event.transaction_time_ms
        if len(self.heard) > HEARD_MOST:
            self.heard.pop(next(iter(self.heard)))
        for balance in event.balances:
            self._apply_balance(balance, event, now_ns)
        for row in event.positions:
            held = self._apply_position(row, event, now_ns)
            if held is not None:
                changed.append(held)
        return changed

    def _apply_balance(self, row: BalanceRow, event: AccountUpdate, now_ns: int) -> None:
        held = self.balances.setdefault(row.asset, HeldBalance(asset=row.asset))
        if event.transaction_time_ms < held.version_ms:
            return
        held.wallet_balance = row.wallet_balance
        held.cross_wallet_balance = row.cross_wallet_balance
        held.version_ms = event.transaction_time_ms
        held.recv_ns = now_ns

    def _apply_position(self, row: PositionRow, event: AccountUpdate, now_ns: int) -> HeldPosition | None:
        held = self._row(row.symbol, row.position_side)
        if event.transaction_time_ms < held.version_ms:
            return None
        moved = held.quantity != row.quantity
        held.quantity = row.quantity
        held.entry_price = row.entry_price
        held.break_even_price = row.break_even_price
        held.realised_pnl = row.realised_pnl
        held.isolated = row.isolated
        held.isolated_wallet = row.isolated_wallet
        held.version_ms = event.transaction_time_ms
        held.recv_ns = now_ns
        held.source = "ACCOUNT_UPDATE"
        return held if moved else None

    def apply_snapshot(
        self,
        snapshot: Snapshot,
        now_ns: int,
        *,
        unconfirmed: Sequence[BookKey] = (),
        confirmed: Sequence[BookKey | Asset] = (),
    ) -> list[BookKey]:
        """Adopt a complete snapshot where it is not older than the rows held; return keys whose size it changed.

        Args:
            snapshot: What the venue says.
            now_ns: Receive time.
            unconfirmed: Rows to leave as they are held, until a further snapshot agrees.
            confirmed: Positions and assets to adopt even where their stamp is older than what is held.
        """
        changed: list[BookKey] = []
        seen = dict.fromkeys(unconfirmed, True)
        for row in snapshot.positions:
            key = (row.symbol, row.position_side)
            forced = key in confirmed
            if key not in unconfirmed and self._adopt_position(row, snapshot.requested_ns, now_ns, forced=forced):
                changed.append(key)
            seen[key] = True
        for key, held in self.positions.items():
            # Absent from a complete snapshot is flat, unless an event newer than the request says otherwise.
            if key not in seen and held.quantity != 0 and held.recv_ns < snapshot.requested_ns:
                held.quantity = ZERO
                held.entry_price = ZERO
                held.isolated_wallet = ZERO
                held.recv_ns = now_ns
                held.source = "snapshot"
                changed.append(key)
        for balance in snapshot.balances:
            self._adopt_balance(balance, snapshot.requested_ns, now_ns, forced=balance.asset in confirmed)
        self.snapshot_ns = now_ns
        return changed

    def differences(self, snapshot: Snapshot) -> list[tuple[BookKey, Decimal, Decimal]]:
        """Return (key, ours, theirs) for every size a complete snapshot sees otherwise, unless we learnt ours after asking.

        Also where the snapshot's stamp is older: that is a replica that lags, or a venue whose clock was set back.
        """
        found: list[tuple[BookKey, Decimal, Decimal]] = []
        theirs = {(row.symbol, row.position_side): row for row in snapshot.positions}
        for key, row in theirs.items():
            held = self.positions.get(key)
            ours = held.quantity if held is not None else ZERO
            newer = held is not None and held.recv_ns > snapshot.requested_ns
            if ours != row.quantity and not newer:
                found.append((key, ours, row.quantity))
        for key, held in self.positions.items():
            if key not in theirs and held.quantity != 0 and held.recv_ns < snapshot.requested_ns:
                found.append((key, held.quantity, ZERO))
        return found

    def older_wallets(self, snapshot: Snapshot) -> list[tuple[Asset, Decimal]]:
        """Return (asset, theirs) for every wallet a snapshot sees otherwise with an older stamp, learnt before asking."""
        found = []
        for row in snapshot.balances:
            held = self.balances.get(row.asset)
            if held is None or held.recv_ns > snapshot.requested_ns or row.update_time_ms >= held.version_ms:
                continue
            if (held.wallet_balance, held.cross_wallet_balance) != (row.wallet_balance, row.cross_wallet_balance):
                found.append((row.asset, row.wallet_balance))
        return found

    def is_stamped_older(self, snapshot: Snapshot, key: BookKey) -> bool:
        """Return whether a snapshot's row of a position bears an older stamp than what is held."""
        held = self.positions.get(key)
        rows = [row for row in snapshot.positions if (row.symbol, row.position_side) == key]
        return held is not None and any(row.update_time_ms < held.version_ms for row in rows)

    def _adopt_position(self, row: SnapshotPosition, requested_ns: int, now_ns: int, *, forced: bool) -> bool:
        held = self._row(row.symbol, row.position_side)
        held.venue_liquidation_price = row.liquidation_price if row.liquidation_price > 0 else None
        held.adl = row.adl
        if not forced and _is_older(row.update_time_ms, held, requested_ns):
            return False
        moved = held.quantity != row.quantity
        held.quantity = row.quantity
        held.entry_price = row.entry_price
        held.break_even_price = row.break_even_price
        if row.isolated or row.quantity != 0:
            held.isolated = row.isolated
        held.isolated_wallet = row.isolated_wallet
        held.version_ms = row.update_time_ms
        held.recv_ns = now_ns
        held.source = "snapshot"
        return moved

    def _adopt_balance(self, row: SnapshotBalance, requested_ns: int, now_ns: int, *, forced: bool) -> None:
        held = self.balances.setdefault(row.asset, HeldBalance(asset=row.asset))
        if not forced and _is_older(row.update_time_ms, held, requested_ns):
            return
        held.wallet_balance = row.wallet_balance
        held.cross_wallet_balance = row.cross_wallet_balance
        held.version_ms = row.update_time_ms
        held.recv_ns = now_ns

    def _row(self, symbol: Symbol, side: PositionSide) -> HeldPosition:
        return self.positions.setdefault((symbol, side), HeldPosition(symbol=symbol, position_side=side))

    def _interval_ms(self, symbol: Symbol) -> int:
        instrument = self.instruments.get(symbol)
        return (instrument.funding_interval_hours if instrument else 8) * HOUR_MS

    # ------------------------------------------------------------ reading

    def quantity(self, symbol: Symbol) -> Decimal:
        """Return the one-way position of a symbol, signed base units."""
        held = self.positions.get((symbol, PositionSide.BOTH))
        return held.quantity if held is not None else ZERO

    def version_ms(self, symbol: Symbol) -> int:
        """Return the venue time of the one-way position's figures, 0 before any."""
        held = self.positions.get((symbol, PositionSide.BOTH))
        return held.version_ms if held is not None else 0

    def entry_price(self, symbol: Symbol) -> Decimal:
        """Return the entry price of the one-way position, 0 when flat."""
        held = self.positions.get((symbol, PositionSide.BOTH))
        return held.entry_price if held is not None else ZERO

    def is_isolated(self, symbol: Symbol) -> bool:
        """Return the margin type of a symbol: the open position's, else the account's setting."""
        held = self.positions.get((symbol, PositionSide.BOTH))
        if held is not None and held.quantity != 0:
            return held.isolated
        return self.isolated.get(symbol, False)

    def cross_others(
        self, symbol: Symbol, margin_asset: Asset, *, among: Sequence[Symbol] | None = None
    ) -> list[HeldPosition]:
        """Return the other open cross positions on the same margin asset whose mark and brackets are known.

        Args:
            symbol: What is left out.
            margin_asset: The margin.
            among: Only one-way positions of these symbols; None means all.
        """
        found: list[HeldPosition] = []
        keys = None if among is None else [(name, PositionSide.BOTH) for name in among]
        rows = self.positions.values() if keys is None else [self.positions[k] for k in keys if k in self.positions]
        for held in rows:
            instrument = self.instruments.get(held.symbol)
            if held.symbol == symbol or held.quantity == 0 or held.isolated or instrument is None:
                continue
            if instrument.margin_asset == margin_asset and held.symbol in self.marks:
                found.append(held)
        return found

    def available(self, asset: Asset) -> Decimal:
        """Return cross wallet plus cross PnL minus initial margin of the cross positions, quote units, at least 0.

        The snapshot's own figure is stale as soon as the mark moves; this one follows it. Orders of ours are IOC and
        hold none.
        """
        balance = self.balances.get(asset)
        if balance is None:
            return ZERO
        free = balance.cross_wallet_balance
        for held in self.positions.values():
            instrument = self.instruments.get(held.symbol)
            mark = self.marks.get(held.symbol)
            if held.quantity == 0 or held.isolated or instrument is None or mark is None:
                continue
            if instrument.margin_asset == asset:
                leverage = Decimal(self.leverage.get(held.symbol, 1))
                free += held.quantity * (mark.mark_price - held.entry_price)
                free -= divide(abs(held.quantity) * mark.mark_price, leverage)
        return max(ZERO, free)

    def unmarked(self, symbol: Symbol) -> list[Symbol]:
        """Return the other symbols with an open cross position whose mark or brackets are not known yet."""
        return [
            held.symbol
            for held in self.positions.values()
            if held.quantity != 0
            and not held.isolated
            and held.symbol != symbol
            and (held.symbol not in self.marks or held.symbol not in self.instruments)
        ]

    def wallet(self, symbol: Symbol, margin_asset: Asset) -> Decimal:
        """Return the wallet that stands behind a symbol: its isolated wallet, or the asset's cross wallet."""
        held = self.positions.get((symbol, PositionSide.BOTH))
        if held is not None and held.isolated and held.quantity != 0:
            return held.isolated_wallet
        balance = self.balances.get(margin_asset)
        return balance.cross_wallet_balance if balance is not None else ZERO

    def unrealised_pnl(self, held: HeldPosition) -> Decimal | None:
        """Return quantity times (mark minus entry), None before the first mark."""
        mark = self.marks.get(held.symbol)
        return None if mark is None else held.quantity * (mark.mark_price - held.entry_price)

    def maintenance(self, held: HeldPosition) -> Decimal | None:
        """Return the maintenance margin of a position at its mark, None while mark or brackets are unknown."""
        mark = self.marks.get(held.symbol)
        instrument = self.instruments.get(held.symbol)
        if mark is None or instrument is None:
            return None
        return maintenance_margin(notional=abs(held.quantity) * mark.mark_price, brackets=instrument.brackets)

    def liquidation_price_of(self, held: HeldPosition) -> Decimal | None:
        """Return the exact liquidation price of a one-way or hedge-mode position, None when it cannot be liquidated."""
        instrument = self.instruments.get(held.symbol)
        if instrument is None or held.quantity == 0:
            return None
        if held.isolated:
            return liquidation_price(
                position_amount=held.quantity,
                entry_price=held.entry_price,
                wallet_balance=held.isolated_wallet,
                brackets=instrument.brackets,
            )
        others = self.cross_others(held.symbol, instrument.margin_asset)
        opposite = self._opposite(held)
        return liquidation_price(
            position_amount=held.quantity,
            entry_price=held.entry_price,
            wallet_balance=self.wallet(held.symbol, instrument.margin_asset),
            brackets=instrument.brackets,
            other_maintenance_margin=sum((self.maintenance(other) or ZERO for other in others), ZERO),
            other_unrealized_pnl=sum((self.unrealised_pnl(other) or ZERO for other in others), ZERO),
            opposite_amount=opposite.quantity if opposite is not None else ZERO,
            opposite_entry_price=opposite.entry_price if opposite is not None else ZERO,
        )

    def _opposite(self, held: HeldPosition) -> HeldPosition | None:
        pairs = {PositionSide.LONG: PositionSide.SHORT, PositionSide.SHORT: PositionSide.LONG}
        side = pairs.get(held.position_side)
        return self.positions.get((held.symbol, side)) if side is not None else None

    def position_view(self, symbol: Symbol, side: PositionSide, now_ns: int) -> PositionView | None:
        """Return one position with everything derived from the latest mark; flat where no row is held.

        None before a first snapshot: then absence says nothing.
        """
        held = self.positions.get((symbol, side))
        if held is None:
            if self.snapshot_ns == 0:
                return None
            held = HeldPosition(
                symbol=symbol, position_side=side, recv_ns=self.snapshot_ns, source="absent from the snapshot"
            )
        mark = self.marks.get(symbol)
        price = self.liquidation_price_of(held)
        distance = None
        if price is not None and mark is not None:
            gap = price - mark.mark_price if held.quantity < 0 else mark.mark_price - price
            distance = divide(gap, mark.mark_price)
        return PositionView(
            symbol=symbol,
            position_side=side,
            quantity=held.quantity,
            entry_price=held.entry_price,
            break_even_price=held.break_even_price,
            mark_price=mark.mark_price if mark else None,
            notional=abs(held.quantity) * mark.mark_price if mark else None,
            unrealized_pnl=self.unrealised_pnl(held),
            realized_pnl=held.realised_pnl,
            maintenance_margin=self.maintenance(held),
            liquidation_price=price,
            liquidation_distance=distance,
            venue_liquidation_price=held.venue_liquidation_price,
            isolated=held.isolated,
            leverage=self.leverage.get(symbol),
            adl=held.adl,
            source=held.source,
            event_time_ms=held.version_ms,
            age_ms=(now_ns - held.recv_ns) // NS_PER_MS,
        )

    def account_view(self, asset: Asset, now_ns: int) -> AccountView | None:
        """Return wallet, margin balance, maintenance and ratio of the cross group of one margin asset."""
        balance = self.balances.get(asset)
        if balance is None:
            return None
        group = self.cross_others(Symbol(""), asset)
        maintenance = sum((self.maintenance(held) or ZERO for held in group), ZERO)
        margin = balance.cross_wallet_balance + sum((self.unrealised_pnl(held) or ZERO for held in group), ZERO)
        return AccountView(
            asset=asset,
            wallet_balance=balance.wallet_balance,
            cross_wallet_balance=balance.cross_wallet_balance,
            margin_balance=margin,
            maintenance_margin=maintenance,
            margin_ratio=divide(maintenance, margin) if margin > 0 else None,
            available=self.available(asset),
            age_ms=(now_ns - balance.recv_ns) // NS_PER_MS,
        )

    def funding_view(self, symbol: Symbol) -> FundingView | None:
        """Return the running funding of a symbol; nothing accrues, whoever holds at the settlement pays all of it."""
        mark = self.marks.get(symbol)
        if mark is None:
            return None
        payment = yearly = None
        if mark.funding_rate is not None:
            payment = funding_payment(
                position_amount=self.quantity(symbol), mark_price=mark.mark_price, funding_rate=mark.funding_rate
            )
            yearly = annualised(funding_rate=mark.funding_rate, interval_ms=mark.funding_interval_ms)
        return FundingView(
            symbol=symbol,
            funding_rate=mark.funding_rate,
            next_funding_time_ms=mark.next_funding_time_ms,
            interval_ms=mark.funding_interval_ms,
            next_payment_if_held=payment,
            annualised=yearly,
        )


def _is_older(update_time_ms: int, held: HeldPosition | HeldBalance, requested_ns: int) -> bool:
    """Return whether a snapshot's row says less than what is held; of one millisecond, what came after the request wins."""
    if update_time_ms == held.version_ms:
        return held.recv_ns > requested_ns
    return update_time_ms < held.version_ms


def empty_book() -> PositionBook:
    """Return a book that knows nothing."""
    return PositionBook(positions={}, balances={}, marks={}, instruments={}, leverage={}, isolated={})
