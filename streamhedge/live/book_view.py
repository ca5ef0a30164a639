"""The position book as readers get it: the same object for a hedger's own book and for one that is only read.

Readers never lock and never write. What they hold is computed from the book when they ask, with its age; ``changes``
hands every change over in order, and tells a reader who is too slow how many it missed.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

from streamhedge.domain.book import AccountView, FundingView, PositionBook, PositionView
from streamhedge.domain.commands import Reaction
from streamhedge.domain.events import (
    AccountConfigUpdate,
    AccountUpdate,
    BookStatusChanged,
    ContractInfo,
    Event,
    ExecutionReport,
    MarkPriceUpdate,
    PositionSide,
    SetupDone,
    Snapshot,
)
from streamhedge.domain.values import Asset, Symbol, exact, record
from streamhedge.reactor.state import Core

CHANGES_WAITING_MOST = 1_000
CHANGING = (
    *(MarkPriceUpdate, AccountUpdate, ExecutionReport, Snapshot),
    *(BookStatusChanged, AccountConfigUpdate, ContractInfo, SetupDone),
)
"""Events that change the book or explain a change of it."""


@record
class BookChange:
    """One event that the book took: its input number, when it arrived (ns since the epoch), and the event itself."""

    seq: int
    recv_ns: int
    event: Event


@record
class Lagged:
    """The reader was too slow: so many changes were dropped before the next one."""

    missed: int


@record
class FrozenBook:
    """Every figure of one moment; it does not change any more. Keys as in the book."""

    seq: int
    status: str
    reason: str
    positions: dict[tuple[Symbol, PositionSide], PositionView]
    accounts: dict[Asset, AccountView]
    funding: dict[Symbol, FundingView]


class _Reader:
    """One iterator over changes."""

    def __init__(self) -> None:
        self.waiting: deque[BookChange] = deque()
        self.missed = 0
        self.wake = asyncio.Event()

    def take(self, change: BookChange) -> None:
        if len(self.waiting) >= CHANGES_WAITING_MOST:
            self.waiting.popleft()
            self.missed += 1
        self.waiting.append(change)
        self.wake.set()


class BookView:
    """Reads a live position book. Quantities signed base units, money and prices in quote units, all Decimal."""

    def __init__(self, core: Core, now_ns: Callable[[], int]) -> None:
        self._core = core
        self._now_ns = now_ns
        self._readers: list[_Reader] = []
        self._turn = asyncio.Event()
        self._ended = False

    # ------------------------------------------------------------ now

    @property
    def status(self) -> str:
        """COLD, SYNCING, LIVE or SUSPECT."""
        return self._core.state.book_status.value

    @property
    def reason(self) -> str:
        """Why the status is what it is."""
        return self._core.state.book_reason

    def position(self, symbol: str, side: str = "BOTH") -> PositionView | None:
        """Return one position with liquidation price, distance and age; flat when the venue holds none.

        Args:
            symbol: E.g. ``BTCUSDT``.
            side: BOTH in one-way mode, LONG or SHORT in hedge mode.

        Returns:
            The position; None before the first snapshot.
        """
        with exact():
            return self._book.position_view(Symbol(symbol), PositionSide(side), self._now_ns())

    def positions(self) -> list[PositionView]:
        """Return every position that is not flat."""
        with exact():
            views = [self._book.position_view(symbol, side, self._now_ns()) for symbol, side in self._book.positions]
        return [view for view in views if view is not None and view.quantity != 0]

    def account(self, asset: str = "USDT") -> AccountView | None:
        """Return wallet, margin balance, maintenance and ratio of one margin asset; None before the first snapshot."""
        with exact():
            return self._book.account_view(Asset(asset), self._now_ns())

    def funding(self, symbol: str) -> FundingView | None:
        """Return the running funding rate, its settlement and the payment if held; None before the first mark."""
        with exact():
            return self._book.funding_view(Symbol(symbol))

    def mark_price(self, symbol: str) -> Decimal | None:
        """Return the latest mark price; None before the first."""
        mark = self._book.marks.get(Symbol(symbol))
        return None if mark is None else mark.mark_price

    def freeze(self) -> FrozenBook:
        """Return every figure of this moment, to be kept."""
        with exact():
            book, now_ns = self._book, self._now_ns()
            positions = {key: book.position_view(*key, now_ns) for key in book.positions}
            accounts = {asset: book.account_view(asset, now_ns) for asset in book.balances}
            funding = {symbol: book.funding_view(symbol) for symbol in book.marks}
        return FrozenBook(
            seq=self._core.state.seq,
            status=self.status,
            reason=self.reason,
            positions={key: copy.copy(view) for key, view in positions.items() if view is not None},
            accounts={asset: view for asset, view in accounts.items() if view is not None},
            funding={symbol: view for symbol, view in funding.items() if view is not None},
        )

    @property
    def _book(self) -> PositionBook:
        return self._core.state.book

    # ------------------------------------------------------------ from now on

    async def live(self, timeout_s: float | None = None) -> None:
        """Wait until the book is LIVE: snapshot taken, streams proven by their data.

        Raises:
            TimeoutError: not live within ``timeout_s`` seconds; ``reason`` says what is missing.
        """
        async with asyncio.timeout(timeout_s):
            while self.status != "LIVE":
                self._turn.clear()
                await self._turn.wait()

    async def changes(self) -> AsyncIterator[BookChange | Lagged]:
        """Yield every change from now on, in order, until the book is closed."""
        reader = _Reader()
        self._readers.append(reader)
        try:
            while not self._ended or reader.waiting:
                if reader.missed:
                    missed, reader.missed = reader.missed, 0
                    yield Lagged(missed)
                elif reader.waiting:
                    yield reader.waiting.popleft()
                else:
                    reader.wake.clear()
                    await reader.wake.wait()
        finally:
            self._readers.remove(reader)

    def observe(self, reaction: Reaction, recv_ns: int) -> None:
        """Take one reaction; called by the pump after each input."""
        self._turn.set()
        if not self._readers:
            return
        for event in reaction.events:
            if isinstance(event, CHANGING):
                change = BookChange(seq=reaction.seq, recv_ns=recv_ns, event=event)
                for reader in self._readers:
                    reader.take(change)

    def close(self) -> None:
        """End every iterator over changes once it has what came."""
        self._ended = True
        for reader in self._readers:
            reader.wake.set()
