"""One running hedger: recovery, float trades, operator verbs, status, and a clean end around a machine.

Start-up is recovery: ledger first, orders without an end come back in doubt, then streams, snapshot, set-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import orjson

from streamhedge import __version__
from streamhedge.domain.book import PositionView
from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import Level, Note, Reaction, SetLeverage
from streamhedge.domain.events import FloatTrade, FloatTradeKind, ManualOrder, VerbKind
from streamhedge.domain.order import Order, Side
from streamhedge.domain.spot import SpotFill, SpotPair, trade_id_of, trade_of
from streamhedge.domain.treasury import TradeLimits, TradeRequest, book_trade, repeats
from streamhedge.domain.values import NS_PER_MS, ZERO, Asset, Symbol, TradeId, decimal_from, exact, record
from streamhedge.errors import CommandError, ConfigError, StoreError
from streamhedge.live.book_view import BookView
from streamhedge.live.crash_loop import crash_loop, how_it_ended
from streamhedge.live.feed import Feed
from streamhedge.live.machine import Machine
from streamhedge.live.manual import (
    ClosedPosition,
    OpenedShort,
    check_by_hand,
    closing_order,
    funding_since_flat,
    outcome,
)
from streamhedge.live.recovery import boot_id, recovered
from streamhedge.live.results import TradeResult, hedge_result
from streamhedge.live.rollback import older_copy
from streamhedge.live.spot import SpotSource
from streamhedge.live.status import blocked_rows, core_status, core_summary, depeg_status, in_band
from streamhedge.live.upkeep import Upkeep
from streamhedge.reactor.decide import gate_context, view_of
from streamhedge.reactor.orders import quarantine_ns
from streamhedge.reactor.reactor import latches
from streamhedge.reactor.state import Core
from streamhedge.rules.may_buy import MayBuy, may_buy
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.reload import Reload, reload_of
from streamhedge.settings.config import Config, check_account, configured, load_config, spot_pairs
from streamhedge.settings.endpoints import DEMO, LIVE, Endpoints, checked
from streamhedge.settings.folders import default_state_dir
from streamhedge.settings.secrets import Secret, fingerprint, load_secret
from streamhedge.store.journal import JournalWriter
from streamhedge.store.ledger import Ledger, set_aside
from streamhedge.store.lock import InstanceLock
from streamhedge.venue.clock import BootClock
from streamhedge.wire.signing import signer_of

Written = TypeVar("Written")
TRADE_WAIT_S = 10.0
PASSING = ("stale", "price", "refused", "venue", "ramp")
"""Causes of being blocked that end by themselves, mostly within seconds: worth waiting for."""
FIRST_START = "first start on this account with an empty ledger: check the plan, then `streamhedge resume --reason …`"

NEW_BOOKS = (
    "new books begin with `initial` for the float and what the venue holds for the position: compare the float with the "
    "treasury's own records, correct it by `streamhedge trade set`, then `streamhedge resume --reason …`"
)


class Hedger(AbstractAsyncContextManager["Hedger"]):
    """A hedger of one account. Entering it starts it, leaving it stops it."""

    def __init__(
        self,
        config: Config,
        *,
        endpoints: Endpoints,
        api_key: Secret,
        api_secret: Secret,
        state_dir: Path,
        record_dir: Path | None = None,
        shadow: bool = False,
        resume: bool = False,
        takeover: bool = False,
        accept_venue_truth: bool = False,
        on_notes: Callable[[tuple[Note, ...], int], None] | None = None,
        spot_keys: tuple[Secret, Secret] | None = None,
    ) -> None:
        """Name what to hedge and where; nothing is opened before the hedger is entered.

        Args:
            config: The checked configuration.
            endpoints: Where the venue is.
            api_key, api_secret: The account's key; the secret may be an Ed25519 private key as PEM.
            state_dir: Where ledgers live; the account gets a folder of its own.
            record_dir: Where recordings go; the account's folder without.
            shadow: Rules run, orders are withheld.
            resume: Lift a halt that is latched, at the start.
            takeover: Go on where an older run still trades the account from elsewhere, instead of halting; that one halts
                at this one's first order. The lock of this host is not taken from anybody.
            accept_venue_truth: Where the ledger is damaged, set it aside and begin new books, REDUCING until a person has
                checked the float; without it such a ledger refuses to start.
            on_notes: Told the notes of each input and its receive time; must not block.
            spot_keys: The spot account's key and secret, where [spot] is configured; the account's own without.

        Raises:
            ConfigError: the key is not the account that the configuration means, or python runs with -O.
        """
        if not __debug__:
            raise ConfigError("python -O switches off the checks of our own invariants; run without it")
        check_account(config.settings, fingerprint(api_key))
        self.config = config
        self.policy = config.policy()
        self.venue = config.settings.venue
        self.account = fingerprint(api_key)
        self.folder = state_dir / f"{self.venue}-{self.account}"
        table = config.settings.record
        said = record_dir or (Path(table.dir) if table is not None else None)
        self.record_dir = said if said is not None else self.folder / "recordings"
        self.clock = BootClock()
        self._keys = api_key, api_secret
        self._spot_keys = spot_keys if spot_keys is not None else self._keys
        self._spot: SpotSource | None = None
        self._shadow = shadow
        self._resume = resume
        self._takeover = takeover
        self._accept_venue_truth = accept_venue_truth
        self._endpoints = endpoints
        self._on_notes = on_notes
        self._turn = asyncio.Event()
        self._trading = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._ids: list[str] = []
        self._winds_down_until_s: float | None = None
        self._last: Reaction | None = None

    @classmethod
    def from_config(
        cls, *paths: str | Path, state_dir: str | Path | None = None, env: Mapping[str, str] | None = None
    ) -> Hedger:
        """Return a hedger of a configuration whose venue is already there: demo, live, or sim with [endpoints].

        Args:
            paths: TOML files; later ones win.
            state_dir: Where ledgers live; the per-user state folder without.
            env: Where environment variables are looked up; the process's own without.

        Raises:
            ConfigError: the configuration or a key does not fit; nothing was started.
        """
        said = os.environ if env is None else env
        config = load_config([Path(path) for path in paths], (), said)
        keys = config.settings.keys
        if keys is None:
            raise ConfigError("a hedger needs [keys] with api_key and api_secret; nothing was started")
        return cls(
            config,
            endpoints=endpoints_of(config),
            api_key=load_secret("api_key", keys.api_key, said),
            api_secret=load_secret("api_secret", keys.api_secret, said),
            state_dir=Path(state_dir) if state_dir is not None else default_state_dir(said),
            spot_keys=spot_keys_of(config, said),
        )

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Hedger:
        """Start: lock, ledger, recovery, recording, streams.

        Raises:
            AlreadyRunning: another process holds the account.
            LedgerDamaged: the books cannot be read; nothing was started.
            ConfigError, StoreError: nothing was started.
        """
        async with AsyncExitStack() as stack:
            self.lock = InstanceLock(f"{self.venue}-{self.account}", state_dir=self.folder)
            stack.callback(self.lock.release)
            now_ns, boot = self.clock.now_ns(), boot_id()
            path, aside, wrong = self.folder / "ledger.sqlite", None, ""
            if self._accept_venue_truth:
                aside, wrong = set_aside(path, f"damaged-{_compact(now_ns)}")
            self.ledger = Ledger(path)
            stack.callback(self.ledger.close)
            older, above = older_copy(self.ledger, self.record_dir)
            if older:  # latched before anything else is written: a crash right after must not forget it
                self.ledger.set_state("halted", {"reason": older})
            looping = crash_loop(self.ledger, now_ns // NS_PER_MS)
            if self._resume:
                self.ledger.set_state("halted", {"reason": None})
            elif looping:
                self.ledger.set_state("halted", {"reason": looping})
            self.epoch = self.ledger.open_epoch(
                started_ms=now_ns // NS_PER_MS, boot_id=boot, version=__version__, above=above
            )
            seeded = {trade.asset: True for trade in self.ledger.float_trades()}
            if aside is not None:
                self.ledger.set_state("reduce", {"reason": NEW_BOOKS})
            elif not seeded and self.venue != "sim":
                self.ledger.set_state("reduce", {"reason": FIRST_START})
            name = f"{_compact(now_ns)}-e{self.epoch}"
            self.journal = self._journal(name)
            self.feed = Feed(self.journal, lambda: self.pump)
            state = recovered(self.ledger, self.policy, epoch=self.epoch, now_ns=now_ns, boot=boot, shadow=self._shadow)
            state.takeover = self._takeover
            self._machine = Machine(
                state=state,
                policy=self.policy,
                symbols=[hedge.symbol for hedge in (*self.policy.hedges, *self.policy.manual)],
                endpoints=self._endpoints,
                api_key=self._keys[0],
                api_secret=self._keys[1],
                clock=self.clock,
                journal=self.feed,
                ledger=self.ledger,
                observers=(self._observe,),
            )
            self.pump = self._machine.pump
            self.book = BookView(self.core, self.clock.now_ns)
            stack.callback(self.book.close)
            stack.push_async_exit(self._close_books)
            upkeep = Upkeep(self.journal, self.ledger, self.pump, keep_ms=self._keep_ms(), tell=self._tell)
            stack.callback(upkeep.close)
            await stack.enter_async_context(self._machine)
            self._machine.between(upkeep.between)
            self._machine.feed("tick", b'{"lag_ms":0}')
            if aside is not None:
                text = f"the ledger was damaged and stands in {aside} now ({wrong}); {NEW_BOOKS}"
                self._tell(text, code="new_books")
            elif self._accept_venue_truth:
                self._tell("the ledger is whole: nothing was set aside", code="new_books", level=Level.INFO)
            if self._takeover:
                text = f"this run, epoch {self.epoch}, takes the account over: an older one elsewhere halts at its first order"
                self._tell(text, code="takeover", level=Level.WARNING)
            self._seed([hedge for hedge in self.policy.hedges if hedge.asset not in seeded])
            if self.config.settings.spot is not None:
                await stack.enter_async_context(self._spot_followed())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: nothing new is decided, what is under way is settled for at most Tq, books are closed.

        A block that ends by an exception does not wait for evidence: the next start settles what is in doubt.

        Raises:
            Exception: what ended the machine, where something did.
        """
        if error is None:
            await self.wind_down("the run is over")
        self._ids = self.ledger.client_order_ids()
        await self._stack.__aexit__(kind, error, trace)

    async def wind_down(self, reason: str) -> None:
        """Decide nothing more, cancel what rests, and wait until what is open is settled, for at most Tq (FAULTS P7).

        Float trades are still booked and status answers; a second call waits no longer than the first one would.

        Args:
            reason: Stands in the recording.
        """
        loop = asyncio.get_running_loop()
        if self._winds_down_until_s is None:
            self._winds_down_until_s = loop.time() + quarantine_ns(self.core) / 1e9
            self._machine.feed("stop", orjson.dumps({"reason": reason}))
        while self.core.state.open_ids and not self._machine.ended:
            left_s = self._winds_down_until_s - loop.time()
            if left_s <= 0:
                return
            await self._next_turn(left_s)

    async def _close_books(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close recording and ledger after the last input; a full disk is told, not raised over a clean end."""
        try:
            self.journal.close(self.pump.last_ns)
            owed, refused = self.pump.owed, self.pump.write_owed()
            if refused:
                raise StoreError(f"{owed} row(s) that the ledger refused are lost with this run: {refused}")
            self.ledger.end_epoch(how_it_ended(error))
        except StoreError as failure:
            self._tell(str(failure))

    def _tell(self, text: str, *, code: str = "store", level: Level = Level.CRITICAL) -> None:
        """Say what goes on beside the pump: with the books, or on the spot account."""
        if self._on_notes is not None:
            note = Note(code=code, level=level, symbol=None, text=text, data={})
            self._on_notes((note,), self.clock.now_ns())

    def _journal(self, name: str) -> JournalWriter:
        table = self.config.settings.record
        return JournalWriter(
            self.record_dir,
            name,
            header=self._header,
            digest=lambda: self.pump.digest(),
            rotate_after_ns=table.rotate * NS_PER_MS if table is not None else None,
        )

    def _keep_ms(self) -> int | None:
        table = self.config.settings.record
        return table.keep if table is not None else None

    def _header(self) -> dict[str, object]:
        return {
            "seq": self.core.state.seq,
            "version": __version__,
            "epoch": self.epoch,
            "config": self.config.canonical(),
            "config_hash": self.config.hash(),
            "policy_hash": self.core.policy_hash,
            "state": self.pump.state(),
            "digest": self.pump.digest(),
        }

    def _observe(self, reaction: Reaction, recv_ns: int) -> None:
        if reaction.notes and self._on_notes is not None:
            try:
                self._on_notes(reaction.notes, recv_ns)
            except Exception as error:
                # A listener's fault must not end a hedger with a short open: it is told and not asked again.
                self._on_notes = None
                said = {"message": "on_notes raised and is not called any more", "exception": error}
                asyncio.get_running_loop().call_exception_handler(said)
        self.book.observe(reaction, recv_ns)
        self._last = reaction
        self._turn.set()

    def _seed(self, hedges: Sequence[HedgeParams]) -> None:
        """Book the initial float of assets that the ledger knows nothing of."""
        for hedge in hedges:
            trade = FloatTrade(
                trade_id=TradeId(f"initial-{hedge.asset}"),
                asset=hedge.asset,
                kind=FloatTradeKind.SET,
                quantity=hedge.initial,
                usd=ZERO,
                price=ZERO,
                time_ms=self.clock.now_ns() // NS_PER_MS,
                reason="initial float of an empty ledger",
            )
            self.ledger.record_float_trade(trade)
            self._machine.feed("trade", orjson.dumps(to_plain(trade)))

    # ------------------------------------------------------------ float trades

    async def execute_trade_with_hedge(self, request: TradeRequest, *, wait_s: float = TRADE_WAIT_S) -> TradeResult:
        """Book a float trade durably, then wait for its hedge.

        Args:
            request: What was asked, e.g. ``Buy(usd="10000", reason="rebalancing")``.
            wait_s: How long to wait for the hedge at most, seconds.

        Returns:
            The booked trade and what its hedge came to; a trade stays booked whatever became of the hedge.

        Raises:
            CommandError: nothing was booked; the message says why.
            StoreError: the ledger refused; nothing was booked.
        """
        hedge = self._hedge_of(request.asset)
        # Somebody who pastes a key into the reason must not find it in the books.
        request = replace(request, reason=self._machine.mask.text(request.reason))
        # What is booked is also fed, whoever stops waiting for it.
        booked = await self._machine.finished(self._book(request, hedge))
        neutral_ns = await self._settled(hedge, wait_s)
        return TradeResult(
            trade=booked.trade,
            duplicate=not booked.new,
            float_before=booked.float_before,
            float_after=self.core.state.floats[request.asset],
            hedge=hedge_result(
                self.core,
                hedge,
                since_ns=booked.fed_ns,
                position_before=booked.position_before,
                neutral_ns=neutral_ns,
            ),
        )

    async def _book(self, request: TradeRequest, hedge: HedgeParams) -> _Booked:
        """Book a trade durably and feed it, one after the other."""
        async with self._trading:
            state = self.core.state
            before, held = state.floats.get(request.asset, ZERO), state.book.quantity(hedge.symbol)
            trade = self._booked(request, hedge)
            new = await self._durably(self.ledger.record_float_trade, trade)
            fed_ns = self.clock.now_ns()
            if new:
                self._machine.feed("trade", orjson.dumps(to_plain(trade)))
            return _Booked(trade, new, fed_ns, before, held)

    # ------------------------------------------------------------ spot fills

    @contextlib.asynccontextmanager
    async def _spot_followed(self) -> AsyncIterator[None]:
        """Have the spot account's fills booked while the block runs; a bug in that ends the machine."""
        self._spot = source = SpotSource(
            url=self._endpoints.spot_ws_api,
            pairs=spot_pairs(self.config.settings),
            api_key=self._spot_keys[0],
            signer=signer_of(self._spot_keys[1].reveal()),
            recv_window_ms=self.policy.limits.recv_window_ms,
            venue_ms=self._machine.rest.venue_ms,
            clock=self.clock,
            books=self,
            tell=lambda text, level: self._tell(text, code="spot", level=level),
        )

        async def follow() -> None:
            try:
                await source.run()
            except Exception as error:
                self._machine.fail(error)

        self._machine.after_gap(source.drop)
        task = asyncio.create_task(follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def book_spot_fill(self, pair: SpotPair, fill: SpotFill) -> bool:
        """Book a fill of the spot account durably and feed it; False when it is booked already.

        It is a fact, not a request: neither max_trade nor the collar is asked.

        Raises:
            CommandError: it is more than the float has; nothing was booked.
            StoreError: the ledger refused; nothing was booked.
        """
        # What is booked is also fed, whoever stops waiting for it.
        return await self._machine.finished(self._book_spot_fill(pair, fill))

    async def _book_spot_fill(self, pair: SpotPair, fill: SpotFill) -> bool:
        async with self._trading:
            if self.ledger.float_trade(trade_id_of(fill)) is not None:
                return False
            trade = trade_of(fill, pair, time_ms=self.clock.now_ns() // NS_PER_MS)
            held = self.core.state.floats.get(pair.base, ZERO)
            if held + trade.quantity < 0:
                raise CommandError(f"it takes {-trade.quantity:f} {pair.base} out of a float of {held:f}")
            new = await self._durably(self.ledger.record_float_trade, trade)
            if new:
                self._machine.feed("trade", orjson.dumps(to_plain(trade)))
            return new

    def spot_past(self, symbol: Symbol) -> dict[str, Any] | None:
        """Return how far the fills of a spot symbol were handled, as ``remember_spot`` was told; None: never."""
        return self.ledger.states().get(f"spot-{symbol}")

    async def remember_spot(self, symbol: Symbol, fields: dict[str, object]) -> None:
        """Keep durably how far the fills of a spot symbol are handled; raises StoreError."""
        await self._durably(self.ledger.set_state, f"spot-{symbol}", fields)

    def _booked(self, request: TradeRequest, hedge: HedgeParams) -> FloatTrade:
        """Return the fact a request amounts to: the one booked before, where it says the same again."""
        already = self.ledger.float_trade(request.trade_id)
        if already is not None and repeats(already, request, stood=self._stood(already)):
            return already
        state = self.core.state
        mark = state.book.marks.get(hedge.symbol)
        limits = self.policy.limits
        return book_trade(
            request,
            float_quantity=state.floats.get(request.asset, ZERO),
            usd=state.usd,
            mark_price=mark.mark_price if mark is not None else None,
            limits=TradeLimits(max_trade=limits.max_trade, price_collar=limits.price_collar),
            time_ms=self.clock.now_ns() // NS_PER_MS,
            original=self.ledger.float_trade(request.voids) if request.voids is not None else None,
            voided_by=next(
                (trade.trade_id for trade in self.ledger.float_trades() if trade.voids == request.voids), None
            )
            if request.voids is not None
            else None,
        )

    def _stood(self, held: FloatTrade) -> Decimal | None:
        """Return the float (for `set`) or the USD (for `set-usd`) right before a trade was booked."""
        before = takewhile(lambda trade: trade.trade_id != held.trade_id, self.ledger.float_trades())
        if held.kind is FloatTradeKind.SET:
            return sum((trade.quantity for trade in before if trade.asset == held.asset), ZERO)
        return sum((trade.usd for trade in before), ZERO) if held.kind is FloatTradeKind.SET_USD else None

    def _hedge_of(self, asset: Asset) -> HedgeParams:
        for hedge in self.policy.hedges:
            if hedge.asset == asset:
                return hedge
        names = ", ".join(hedge.asset for hedge in self.policy.hedges)
        raise CommandError(f"no hedge for {asset}; this process holds {names}; nothing recorded")

    async def _settled(self, hedge: HedgeParams, wait_s: float) -> int | None:
        """Wait until a symbol is in band with nothing open, or blocked for a named reason; the time, or None."""
        core = self.core
        ends = asyncio.get_running_loop().time() + wait_s
        while True:
            under_way = any(o.symbol == hedge.symbol and o.is_open for o in core.state.orders.values())
            blocked = any(row["symbol"] == hedge.symbol and row["cause"] not in PASSING for row in blocked_rows(core))
            if not under_way and (in_band(core, hedge) or blocked or core.state.halted is not None):
                return self.clock.now_ns()
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            await self._next_turn(left)

    # ------------------------------------------------------------ by hand

    async def open_short(
        self, symbol: str, quantity: Decimal | str, leverage: int, *, reason: str = "by a program"
    ) -> OpenedShort:
        """Open (or add to) a short on a symbol that no hedge steers, through the same gate and ledger.

        Args:
            symbol: One that a [[manual]] table names.
            quantity: Base units, above zero.
            leverage: The symbol's leverage setting; changed first where it differs, at most max_leverage.
            reason: Stands in the recording.

        Raises:
            CommandError: refused here; nothing was sent.
            InsufficientMargin, FilterViolation, ApiError, RateLimited: the venue refused for certain.
            OutcomeUnknown: sent, and nothing is known yet.
        """
        name = Symbol(symbol)
        said = ManualOrder(name, Side.SELL, decimal_from(quantity), False, reason, os.getuid())
        try:
            check_by_hand(self.core, name)
        except CommandError:
            # The reactor refuses it too: that somebody asked stands in the recording.
            self._machine.feed("manual", orjson.dumps(to_plain(said)))
            raise
        await self._leverage(name, leverage)
        order = await self._by_hand(said)
        return OpenedShort(order.client_order_id, order.filled, order.average_price, order.commission)

    async def close_position(
        self, symbol: str, quantity: Decimal | str | None = None, *, reason: str = "by a program"
    ) -> ClosedPosition:
        """Close a position that no hedge steers, or so much of it, reduce-only; raises as ``open_short``."""
        name = Symbol(symbol)
        check_by_hand(self.core, name)
        funding = funding_since_flat(self.ledger, name)
        size = None if quantity is None else decimal_from(quantity)
        order = await self._by_hand(closing_order(self.core, name, size, reason, os.getuid()))
        gross, fees = order.realised_pnl, order.commission
        return ClosedPosition(order.client_order_id, order.filled, gross, fees, funding, gross - fees)

    async def _by_hand(self, said: ManualOrder) -> Order:
        self._machine.feed("manual", orjson.dumps(to_plain(said)))
        assert self._last is not None, "an input leads to a reaction"
        return await outcome(self.core, self._last.seq, self._last.notes, self._next_turn, TRADE_WAIT_S)

    async def _leverage(self, symbol: Symbol, leverage: int) -> None:
        """Have the venue set a leverage, and wait until its own event says so."""
        most = self.policy.limits.max_leverage
        if not 1 <= leverage <= most:
            raise CommandError(f"leverage {leverage} is outside 1 … max_leverage {most}; nothing was sent")
        if self.core.state.book.leverage.get(symbol) == leverage:
            return
        self._machine.hands.perform(SetLeverage(symbol, leverage), 0)
        try:
            async with asyncio.timeout(TRADE_WAIT_S):
                while self.core.state.book.leverage.get(symbol) != leverage:
                    await self._next_turn(TRADE_WAIT_S)
        except TimeoutError as error:
            raise CommandError(f"the venue did not set {symbol} to leverage {leverage}; nothing was sent") from error

    async def _next_turn(self, left_s: float) -> None:
        """Wait for the next input, but no longer than so many seconds."""
        self._turn.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._turn.wait()

    # ------------------------------------------------------------ operator verbs

    async def verb(self, kind: VerbKind, *, symbol: Symbol | None, reason: str, uid: int) -> dict[str, Any]:
        """Carry out an operator's halt, reduce, flatten or resume; what tightens is durable before it acts.

        Args:
            kind: What to do.
            symbol: One symbol; None means all.
            reason: Why; it stands in the recording and the ledger.
            uid: Who.

        Raises:
            CommandError: no reason, or a symbol nobody hedges; nothing was changed.
            StoreError: the ledger refused; nothing was changed.
        """
        symbols = [hedge.symbol for hedge in self.policy.hedges]
        if not reason.strip():
            raise CommandError(f"{kind.value} needs --reason: it stands in the recording; nothing was changed")
        if symbol is not None and symbol not in symbols:
            raise CommandError(f"{symbol} is no hedge of this process; nothing was changed")
        reason = self._machine.mask.text(reason)
        rows = latches(kind, symbol, [symbol] if symbol else symbols, f"uid {uid}: {reason}")
        said: dict[str, object] = {"kind": kind.value, "symbol": symbol, "reason": reason, "uid": uid}
        await self._machine.finished(self._act(rows, said))
        return self.status()

    def reload(self, config: Config, *, uid: int) -> Reload:
        """Take bands, tighter limits and the quote asset's price of a configuration that was read again, together.

        Returns:
            What was applied, and what needs a restart.
        """
        found = reload_of(self.core.policy, config.policy(), uid=uid)
        if found.applied:
            self._machine.feed("config", orjson.dumps(to_plain(found.event)))
            self.policy = self.core.policy
        was, wanted = self.config.settings.usd_per_quote, config.settings.usd_per_quote
        priced = (f"usd_per_quote {was} → {wanted}",) if wanted != was else ()
        if priced:  # it decides nothing: no input of the reactor's
            self.config = replace(
                self.config, settings=self.config.settings.model_copy(update={"usd_per_quote": wanted})
            )
            self._tell(priced[0], code="config", level=Level.INFO)
        waits = tuple(f"{name}: changing it needs a restart" for name in self.config.tables_changed(config))
        return replace(found, applied=found.applied + priced, refused=found.refused + waits)

    async def _act(self, rows: dict[str, dict[str, object]], said: dict[str, object]) -> None:
        """Write the latches durably, then let the verb act."""
        for key, fields in rows.items():
            await self._durably(self.ledger.set_state, key, fields)
        self._machine.feed("verb", orjson.dumps(said))

    async def _durably(self, write: Callable[..., Written], *said: object) -> Written:
        """Write off the loop; a ledger that refuses halts at once, whoever asked: no memory, no trading (FAULTS P3)."""
        try:
            return await asyncio.to_thread(write, *said)
        except StoreError as error:
            self._machine.feed("store", orjson.dumps({"what": "the ledger", "message": str(error)}))
            raise

    async def halt(self, reason: str) -> None:
        """Send no order any more, latched over restarts, until a person resumes."""
        await self.verb(VerbKind.HALT, symbol=None, reason=reason, uid=os.getuid())

    # ------------------------------------------------------------ reading

    @property
    def core(self) -> Core:
        """The reactor's state and policy; readers must not write."""
        return self.pump.reactor.core

    @property
    def sent_after_ns(self) -> Sequence[int]:
        """How long each order of this run took from its input to its first byte, nanoseconds, in order."""
        return self._machine.hands.sent_after_ns

    def get_position(self, symbol: str) -> PositionView | None:
        """Return one position of the account; None before the first snapshot."""
        return self.book.position(symbol)

    def get_funding_rate(self, symbol: str) -> Decimal | None:
        """Return the running funding rate of a symbol, a fraction of the next settlement; None before the first mark."""
        view = self.book.funding(symbol)
        return None if view is None else view.funding_rate

    def may_buy(self, usd: Decimal | str | int, *, asset: str = "BTC") -> MayBuy:
        """Return whether the treasury may buy for so many USD now, and why not; advice, not a reservation.

        Raises:
            CommandError: no such hedge, no mark yet, or no amount above zero.
        """
        hedge = self._hedge_of(Asset(asset))
        with exact():
            view = view_of(self.core, hedge)
            if view is None:
                raise CommandError(f"no mark price or filters of {hedge.symbol} are known yet; ask again in a second")
            return may_buy(view, gate_context(self.core, view), decimal_from(usd))

    def status(self) -> dict[str, Any]:
        """Return `status --json` (SURFACE §2)."""
        now_ns = self.clock.now_ns()
        session = self.pump.session.state
        streams: list[dict[str, object]] = []
        for link in session.links.values():
            seen = link.current.data_ns or link.current.opened_ns if link.current is not None else 0
            age = (now_ns - seen) // NS_PER_MS if seen else None
            streams.append({"name": link.name, "state": "open" if link.current else "closed", "age_ms": age})
        if self._spot is not None:
            streams.append(self._spot.row)
        return {
            **{"pid": os.getpid(), "version": __version__, "venue": self.venue, "epoch": self.epoch},
            "uptime_s": round((now_ns - self.core.state.meter.started_ns) / 1e9, 1),
            **core_status(self.core, now_ns),
            "depeg": depeg_status(self.core, self.config.settings.usd_per_quote),
            **{"streams": streams, "clock_offset_ms": self.pump.session.offset_ms},
            "rate": session.budget.shown(now_ns),
            "recording": str(self.journal.path),
            "ledger_owed": self.pump.owed,
        }

    def summary(self) -> dict[str, Any]:
        """Return what `run --json` knows before the verdict; also after the end."""
        waits = sorted(self._machine.hands.sent_after_ns)
        ids = self._ids if self._machine.ended else self.ledger.client_order_ids()
        return {
            **core_summary(self.core, self.clock.now_ns()),
            "depeg": depeg_status(self.core, self.config.settings.usd_per_quote),
            "event_to_sent_ms": {"p50": _share(waits, 50), "p99": _share(waits, 99)},
            "reconnects": self.pump.session.state.reconnects,
            "digest": self.pump.digest(),
            "client_order_ids": [name for name in ids if f"-{self.epoch}-" in name],
            "all_client_order_ids": ids,
            "recording": [str(path) for path in self.journal.paths],
        }


@record
class _Booked:
    """A float trade that stands in the ledger, and what was there right before it."""

    trade: FloatTrade
    new: bool
    fed_ns: int
    float_before: Decimal
    position_before: Decimal


def _compact(now_ns: int) -> str:
    """Return a time as it stands in names of files, UTC."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_ns // 1_000_000_000))


def _share(waits: list[int], percent: int) -> float | None:
    return None if not waits else round(waits[min(len(waits) - 1, len(waits) * percent // 100)] / 1e6, 3)


def spot_keys_of(config: Config, env: Mapping[str, str]) -> tuple[Secret, Secret] | None:
    """Return the spot account's own keys; None where it has none of its own.

    Raises:
        ConfigError: they cannot be read.
    """
    table = config.settings.spot
    if table is None or table.api_key is None or table.api_secret is None:
        return None
    return (
        load_secret("spot.api_key", table.api_key, env),
        load_secret("spot.api_secret", table.api_secret, env),
    )


def endpoints_of(config: Config) -> Endpoints:
    """Return where to connect: the configured endpoints, or the venue's own.

    Raises:
        ConfigError: a simulated venue without an exchange, or a host that is none of the venue's.
    """
    table = config.settings.endpoints
    if table is not None:
        return checked(configured(table))
    if config.settings.venue == "sim":
        raise ConfigError("venue sim without [endpoints] needs a running exchange; start one with `streamhedge sim`")
    return LIVE if config.settings.venue == "live" else DEMO
