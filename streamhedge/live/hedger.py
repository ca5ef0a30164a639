"""One running hedger: recovery, the pump and its clock, float trades, operator verbs, status, and a clean end.

Start-up is recovery: ledger first, orders without an end come back in doubt, then streams, snapshot, set-up. A bug in
the pump ends the process: nothing is decided on a state nobody understands.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from streamhedge import __version__
from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import Level, Note, Reaction, RequestSetup
from streamhedge.domain.events import FloatTrade, FloatTradeKind, VerbKind
from streamhedge.domain.order import Order, OrderStatus
from streamhedge.domain.treasury import TradeLimits, TradeRequest, book_trade
from streamhedge.domain.values import NS_PER_MS, ZERO, Asset, Symbol, TradeId, divide
from streamhedge.errors import CommandError, ConfigError, StoreError
from streamhedge.live.hands import Hands
from streamhedge.live.status import blocked_rows, core_status, core_summary, in_band, slippage_basis_points
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import Block, State
from streamhedge.runtime.pump import Pump
from streamhedge.settings.config import Config
from streamhedge.settings.endpoints import DEMO, LIVE, Endpoints, checked
from streamhedge.settings.secrets import Secret, fingerprint
from streamhedge.store.journal import JournalWriter
from streamhedge.store.ledger import Ledger
from streamhedge.store.lock import InstanceLock
from streamhedge.venue.clock import BootClock
from streamhedge.venue.http import RestClient
from streamhedge.wire.session import Session, SessionState
from streamhedge.wire.signing import signer_of

TICK_S = 0.1
GAP_NS = 5_000 * NS_PER_MS
"""A tick that comes so late means a suspend or a stopped process: what was in flight is in doubt."""
TRADE_WAIT_S = 10.0
SEED_ID = "initial"


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
        on_notes: Callable[[tuple[Note, ...], int], None] | None = None,
    ) -> None:
        self.config = config
        self.policy = config.policy()
        self.venue = config.settings.venue
        self.account = fingerprint(api_key)
        self.folder = state_dir / f"{self.venue}-{self.account}"
        self.record_dir = record_dir if record_dir is not None else self.folder / "recordings"
        self.clock = BootClock()
        self.failed: asyncio.Future[None] | None = None
        self._shadow = shadow
        self._endpoints = endpoints
        self._api_key = api_key
        self._api_secret = api_secret
        self._on_notes = on_notes
        self._turn = asyncio.Event()
        self._trading = asyncio.Lock()
        self._stopped = False

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Hedger:
        """Start: lock, ledger, recovery, recording, streams.

        Raises:
            AlreadyRunning: another process holds the account.
            ConfigError, StoreError: nothing was started.
        """
        self.failed = asyncio.get_running_loop().create_future()
        signer = signer_of(self._api_secret.reveal())
        self.lock = InstanceLock(f"{self.venue}-{self.account}", state_dir=self.folder)
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        started_ms = self.clock.now_ns() // NS_PER_MS
        self.epoch = self.ledger.open_epoch(started_ms=started_ms, boot_id=_boot_id(), version=__version__)
        self.rest = RestClient(
            *(self._endpoints.rest,),
            api_key=self._api_key,
            signer=signer,
            timeout_s=self.policy.limits.request_timeout_ms / 1_000,
        )
        self.hands = Hands(
            policy=self.policy,
            endpoints=self._endpoints,
            rest=self.rest,
            api_key=self._api_key,
            signer=signer,
            clock=self.clock,
            fail=self._fail,
        )
        reactor = Reactor(self._recovered(), self.policy)
        symbols = [hedge.symbol for hedge in self.policy.hedges]
        stale_ns = self.policy.limits.stale_after_ms * NS_PER_MS
        session = Session(SessionState(symbols=symbols, stale_after_ns=stale_ns))
        name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(started_ms // 1_000))}-e{self.epoch}"
        self.journal = JournalWriter(self.record_dir, name, header=self._header, digest=lambda: self.pump.digest())
        self.pump = Pump(
            reactor=reactor,
            session=session,
            journal=self.journal,
            ledger=self.ledger,
            hands=self.hands,
            observers=(self._observe,),
        )
        self.hands.attach(self.feed, lambda name: reactor.state.orders[name].decided_ns)  # type: ignore[index]
        self._seed()
        self.hands.perform(RequestSetup(reason="start"), 0)
        self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: nothing new is sent, answers under way are taken, books closed."""
        await self.stop("stopped" if error is None else f"{type(error).__name__}")

    async def stop(self, how: str = "stopped") -> None:
        """Stop in order; safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        self.all_ids = self.ledger.client_order_ids()
        self._ticker.cancel()
        await asyncio.gather(self._ticker, return_exceptions=True)
        await self.hands.close()
        try:
            self.journal.close(self.pump.last_ns)
            self.ledger.end_epoch(how)
        except StoreError as error:
            if self._on_notes is not None:
                self._on_notes((_store_note(str(error)),), self.clock.now_ns())
        self.ledger.close()
        self.lock.release()

    def _fail(self, error: BaseException) -> None:
        if self.failed is not None and not self.failed.done():
            self.failed.set_exception(error)

    def feed(self, source: str, payload: bytes) -> None:
        """Hand one input to the pump at this moment; a bug in it ends the process."""
        if self._stopped and source not in ("rest", "private", "void"):
            return
        if self.pump.failed is not None:
            return
        self.pump.feed(source, self.clock.now_ns(), payload)

    def _observe(self, reaction: Reaction, recv_ns: int) -> None:
        if reaction.notes and self._on_notes is not None:
            self._on_notes(reaction.notes, recv_ns)
        self._turn.set()

    async def _tick(self) -> None:
        """Move the machine's clock ten times a second, and tell it when time itself jumped."""
        try:
            last_ns = self.clock.now_ns()
            while True:
                await asyncio.sleep(TICK_S)
                now_ns = self.clock.now_ns()
                late_ns = now_ns - last_ns - int(TICK_S * 1e9)
                last_ns = now_ns
                if late_ns > GAP_NS:
                    self.feed("clock", orjson.dumps({"gap_ms": late_ns // NS_PER_MS}))
                self.feed("tick", orjson.dumps({"lag_ms": max(0, late_ns // NS_PER_MS)}))
                # The venue's offset is known against our boot clock; requests carry wall time plus it.
                offset_ms = self.pump.session.offset_ms
                if offset_ms is not None:
                    self.rest.offset_ms = offset_ms - self.clock.drift_ns() // NS_PER_MS
        except Exception as error:
            self._fail(error)

    def _header(self) -> dict[str, object]:
        return {
            "seq": self.pump.reactor.state.seq,
            "version": __version__,
            "epoch": self.epoch,
            "config": self.config.canonical(),
            "config_hash": self.config.hash(),
            "state": self.pump.state(),
            "digest": self.pump.digest(),
        }

    # ------------------------------------------------------------ recovery

    def _recovered(self) -> State:
        """Return the state that the ledger leads to: floats, latches, and orders whose end nobody knows."""
        state = State(instance=self.ledger.instance, epoch=self.epoch, shadow=self._shadow)
        for trade in self.ledger.float_trades():
            state.floats[trade.asset] = state.floats.get(trade.asset, ZERO) + trade.quantity
            state.usd += trade.usd
        for order in self.ledger.open_orders():
            # It was committed; whether it left is unknown. Evidence settles it: events, order.status, absence.
            state.orders[order.client_order_id] = replace(order, status=OrderStatus.IN_DOUBT, absences=0)
        reactor = Reactor(state, self.policy)
        for key, fields in self.ledger.states().items():
            word, _, symbol = key.partition(":")
            if word == "halted" and fields.get("reason"):
                state.halted = str(fields["reason"])
            elif word == "block" and fields.get("cause"):
                cause, reason = str(fields["cause"]), str(fields.get("reason", "latched by an earlier run"))
                block = Block(cause=cause, reason=reason, latched=True, until_ns=None)
                reactor.core.memory_of(Symbol(symbol)).block = block
            elif word == "pace":
                reactor.core.memory_of(Symbol(symbol)).paced = bool(fields.get("paced"))
        return state

    def _seed(self) -> None:
        """Book the initial float of an empty ledger; a first start on real money waits for a person."""
        if self.ledger.float_trades():
            return
        for hedge in self.policy.hedges:
            now_ms = self.clock.now_ns() // NS_PER_MS
            trade = FloatTrade(
                trade_id=TradeId(f"{SEED_ID}-{hedge.asset}"),
                asset=hedge.asset,
                kind=FloatTradeKind.SET,
                quantity=hedge.initial,
                usd=ZERO,
                price=ZERO,
                time_ms=now_ms,
                reason="initial float of an empty ledger",
            )
            self.ledger.record_float_trade(trade)
            self.feed("trade", orjson.dumps(to_plain(trade)))
        if self.venue != "sim":
            self.pump.reactor.state.reducing["first_start"] = (
                "first start on this account with an empty ledger: check the plan, then `streamhedge resume --reason …`"
            )

    # ------------------------------------------------------------ verbs

    async def trade(self, request: TradeRequest, *, wait_s: float = TRADE_WAIT_S) -> dict[str, Any]:
        """Book a float trade durably, then wait for its hedge.

        Args:
            request: What was asked.
            wait_s: How long to wait for the hedge at most.

        Returns:
            HEDGING §6: recorded, duplicate, float before and after, and the hedge's status, fills and figures.

        Raises:
            CommandError: nothing was booked.
            StoreError: the ledger refused; nothing was booked.
        """
        async with self._trading:
            state = self.pump.reactor.state
            hedge = self._hedge_of(request.asset)
            mark = state.book.marks.get(hedge.symbol)
            before = state.floats.get(request.asset, ZERO)
            already = self.ledger.float_trade(request.trade_id)
            original = None
            if request.kind is FloatTradeKind.VOID:
                original = self.ledger.float_trade(request.voids) if request.voids is not None else None
            trade = already
            if already is None or not _repeats(already, request):
                trade = book_trade(
                    request,
                    float_quantity=before,
                    usd=state.usd,
                    mark_price=mark.mark_price if mark is not None else None,
                    limits=TradeLimits(
                        max_trade=self.policy.limits.max_trade, price_collar=self.policy.limits.price_collar
                    ),
                    time_ms=self.clock.now_ns() // NS_PER_MS,
                    original=original,
                )
            assert trade is not None, "either it stood there or it was made"
            new = await asyncio.to_thread(self.ledger.record_float_trade, trade)
            start_ns = self.clock.now_ns()
            held = state.book.quantity(hedge.symbol)
            if new:
                self.feed("trade", orjson.dumps(to_plain(trade)))
        result = {
            **{"recorded": True, "duplicate": not new, "trade": to_plain(trade)},
            **{"float_before": str(before), "float_after": str(state.floats[request.asset])},
        }
        done_ns = await self._settled(hedge.symbol, wait_s)
        return {**result, "hedge": self._hedged(hedge.symbol, start_ns, held, done_ns)}

    def _hedge_of(self, asset: Asset) -> Any:
        for hedge in self.policy.hedges:
            if hedge.asset == asset:
                return hedge
        names = ", ".join(hedge.asset for hedge in self.policy.hedges)
        raise CommandError(f"no hedge for {asset}; this process holds {names}; nothing recorded")

    async def _settled(self, symbol: Symbol, wait_s: float) -> int | None:
        """Wait until the symbol is in band with nothing open, or blocked for a named reason; the time, or None."""
        core = self.pump.reactor.core
        (hedge,) = [h for h in self.policy.hedges if h.symbol == symbol]
        ends = asyncio.get_running_loop().time() + wait_s
        while True:
            open_orders = [o for o in core.state.orders.values() if o.symbol == symbol and o.is_open]
            blocked = any(row["symbol"] == symbol for row in blocked_rows(core))
            if not open_orders and (in_band(core, hedge) or blocked or core.state.halted is not None):
                return self.clock.now_ns()
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            self._turn.clear()
            try:
                await asyncio.wait_for(self._turn.wait(), left)
            except TimeoutError:
                continue

    def _hedged(self, symbol: Symbol, start_ns: int, held: Decimal, done_ns: int | None) -> dict[str, Any]:
        core = self.pump.reactor.core
        memory = core.memory_of(symbol)
        (hedge,) = [h for h in self.policy.hedges if h.symbol == symbol]
        orders = [o for o in core.state.orders.values() if o.symbol == symbol and o.decided_ns >= start_ns]
        filled = sum((o.filled for o in orders), ZERO)
        quote = sum((o.filled_quote for o in orders), ZERO)
        average = divide(quote, filled) if filled else None
        doubt = [o.client_order_id for o in orders if o.in_doubt]
        reason, status = memory.hold, "pending"
        if doubt:
            status, reason = "in_doubt", f"outcome of {', '.join(doubt)} unknown"
        elif in_band(core, hedge):
            status = "hedged" if filled or memory.dust == 0 else "dust"
        elif memory.blocked is not None:
            status, reason = "blocked", memory.blocked.reason
        elif core.state.halted is not None:
            status, reason = "blocked", core.state.halted
        elif filled:
            status = "partial"
        return {
            **{"status": status, "reason": reason, "orders": [o.client_order_id for o in orders]},
            **{"filled": str(filled), "average_price": None if average is None else f"{average:.2f}"},
            "slippage_bps": None if average is None else f"{_slippage(orders[0], average):.3f}",
            "fees": str(sum((o.commission for o in orders), ZERO)),
            "realised_pnl": str(sum((o.realised_pnl for o in orders), ZERO)),
            **{"position_before": str(held), "position_after": str(core.state.book.quantity(symbol))},
            **{"target": str(memory.target), "gap": str(memory.gap_low), "naked_usd": f"{memory.naked_usd:.2f}"},
            **{"dust": str(memory.dust)},
            "time_to_neutral_ms": None if done_ns is None else round((done_ns - start_ns) / 1e6, 3),
        }

    async def verb(self, kind: VerbKind, *, symbol: Symbol | None, reason: str, uid: int) -> dict[str, Any]:
        """Carry out an operator's halt, reduce or resume; durable before it acts.

        Raises:
            CommandError: no reason, or a symbol nobody holds.
        """
        if not reason.strip():
            raise CommandError(f"{kind.value} needs --reason: it stands in the journal; nothing was changed")
        if symbol is not None and symbol not in [hedge.symbol for hedge in self.policy.hedges]:
            raise CommandError(f"{symbol} is no hedge of this process; nothing was changed")
        who = f"uid {uid}: {reason}"
        if kind is VerbKind.HALT and symbol is None:
            await asyncio.to_thread(self.ledger.set_state, "halted", {"reason": who})
        elif kind is VerbKind.HALT:
            fields: dict[str, object] = {"cause": "operator", "reason": who}
            await asyncio.to_thread(self.ledger.set_state, f"block:{symbol}", fields)
        elif kind is VerbKind.RESUME and symbol is None:
            await asyncio.to_thread(self.ledger.set_state, "halted", {"reason": None})
        fields = {"kind": kind.value, "symbol": symbol, "reason": reason, "uid": uid}
        self.feed("verb", orjson.dumps(fields))
        return self.status()

    # ------------------------------------------------------------ reading

    def status(self) -> dict[str, Any]:
        """Return `status --json` (SURFACE §2)."""
        now_ns = self.clock.now_ns()
        session = self.pump.session.state
        streams = []
        for link in session.links.values():
            seen = link.current.data_ns or link.current.opened_ns if link.current is not None else 0
            age = (now_ns - seen) // NS_PER_MS if seen else None
            streams.append({"name": link.name, "state": "open" if link.current else "closed", "age_ms": age})
        return {
            **{"pid": os.getpid(), "version": __version__, "venue": self.venue, "epoch": self.epoch},
            "uptime_s": round((now_ns - self.pump.reactor.state.meter.started_ns) / 1e9, 1),
            **core_status(self.pump.reactor.core, now_ns),
            **{"streams": streams, "clock_offset_ms": self.pump.session.offset_ms},
            "recording": str(self.journal.path),
        }

    def summary(self) -> dict[str, Any]:
        """Return what `run --json` knows before the verdict."""
        waits = sorted(self.hands.sent_after_ns)
        ids = self.ledger_ids if self._stopped else self.ledger.client_order_ids(epoch=self.epoch)
        return {
            **core_summary(self.pump.reactor.core, self.clock.now_ns()),
            "event_to_sent_ms": {"p50": _share(waits, 50), "p99": _share(waits, 99)},
            "reconnects": self.pump.session.state.reconnects,
            "digest": self.pump.digest(),
            "client_order_ids": ids,
            "all_client_order_ids": self.all_ids if self._stopped else self.ledger.client_order_ids(),
            "recording": [str(path) for path in self.journal.paths],
        }

    @property
    def ledger_ids(self) -> list[str]:
        """Client order ids of this run, from memory, once the ledger is closed."""
        return [name for name in self.pump.reactor.state.orders if f"-{self.epoch}-" in name]


def _repeats(held: FloatTrade, request: TradeRequest) -> bool:
    """True when a request says again what is booked under its id; judged without today's mark."""
    if held.kind is not request.kind or held.asset != request.asset:
        return False
    if request.kind is FloatTradeKind.VOID:
        return True
    return request.amount in (abs(held.quantity), abs(held.usd)) or request.kind in (
        *(FloatTradeKind.SET, FloatTradeKind.SET_USD),
    )


def _slippage(order: Order, average: Decimal) -> Decimal:
    sign = 1 if order.side.value == "BUY" else -1
    return slippage_basis_points(side_sign=sign, average=average, decision_mark=order.decision_mark)


def _share(waits: list[int], percent: int) -> float | None:
    return None if not waits else round(waits[min(len(waits) - 1, len(waits) * percent // 100)] / 1e6, 3)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(uuid.getnode())


def _store_note(text: str) -> Note:
    return Note(code="store", level=Level.CRITICAL, symbol=None, text=text, data={})


def endpoints_of(config: Config, fallback: Endpoints | None) -> Endpoints:
    """Return where to connect: the configured endpoints, the venue's own, or the child exchange's.

    Raises:
        ConfigError: a simulated venue without an exchange.
    """
    table = config.settings.endpoints
    if table is not None:
        return checked(Endpoints(rest=table.rest, stream=table.stream, ws_api=table.ws_api))
    if config.settings.venue == "sim":
        if fallback is None:
            raise ConfigError(
                "venue sim without [endpoints] needs a running exchange; start one with `streamhedge sim`"
            )
        return fallback
    return LIVE if config.settings.venue == "live" else DEMO
