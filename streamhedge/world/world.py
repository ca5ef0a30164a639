"""One world: a real exchange, a real product over virtual time, wire and disk, and everything that befalls them.

First a phase under faults, in which safety must hold after every step; then all faults are healed, and the product must
come back to its hedge within a bound and stay there. The same case gives the same run, byte for byte.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import Reaction
from streamhedge.domain.events import FloatTrade, FloatTradeKind, VerbKind
from streamhedge.domain.order import Order
from streamhedge.domain.values import Asset, Symbol, TradeId
from streamhedge.errors import StoreError
from streamhedge.reactor.reactor import latches
from streamhedge.reactor.state import State
from streamhedge.rules.params import Policy
from streamhedge.runtime.replay import replay_lines
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.store.journal import Line
from streamhedge.wire.signing import signer_of
from streamhedge.world.auditor import STEP, Auditor, Violation
from streamhedge.world.disk import VirtualLedger
from streamhedge.world.happen import APPLY, set_multi_assets
from streamhedge.world.process import QUIET_TICK_NS, SLOW_TICK_NS, TICK_NS, Process
from streamhedge.world.schedule import MS, S, Schedule
from streamhedge.world.script import BTCUSDT, Case, Happening
from streamhedge.world.tape import MovedTape
from streamhedge.world.wire import Wire

D = Decimal
START_MS = 1_795_161_600_000 + 1
"""A millisecond past a settlement."""
INSTANCE = "0f0f0f0f"
API_KEY, API_SECRET = "k" * 64, "s" * 64
_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PRIVATE_PEM = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_PEM = _KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
OPERATOR_EVERY_NS = 5 * S
OPERATOR_WAITS_NS = 20 * S
HEALED_WITHIN_NS = 90 * S
PATIENCE_NS = 300 * S
"""How long when the product names a limit of its configuration as what it waits for."""
STEADY_NS = 30 * S
NEWS_NS = 5 * S
"""How long the news of the healing (margin, a contract that trades again) takes at most to be acted on."""
BEAT_NS = 1_000 * MS
BUSY_NS = 1 * S
"""How long a happening keeps the clock from jumping, whatever comes of it."""
SETTLE_NS = 2 * S
"""How long a stop waits for answers under way, as in the live hands."""


class Recover(Protocol):
    """Start-up: from the ledger to the state a run begins with."""

    def __call__(self, ledger: Any, policy: Policy, *, epoch: int, now_ns: int, boot: str, shadow: bool) -> State:
        """Return the state."""


@dataclass(slots=True)
class Outcome:
    """What became of a world."""

    case: Case
    violation: Violation | None
    events: int
    virtual_ms: int
    fired: dict[str, int]
    trail: list[str]
    lines: list[Line] = field(default_factory=list)
    found: str = ""
    """The violation as it was found, before this world was made small."""
    options: dict[str, Any] = field(default_factory=dict)


class World:
    """One world, built and not yet run."""

    def __init__(self, case: Case, recover: Recover) -> None:
        self.case = case
        self.options = options = case.options
        self.recover = recover
        self.policy = options.policy()
        self.schedule = Schedule(START_MS * MS)
        self.chance = random.Random(f"process-{options.seed}")
        length_ms = options.length_ms + (PATIENCE_NS + STEADY_NS) // MS + 60_000
        self.tape = MovedTape(options.seed, length_ms, options.step_millionths, options.mark_every_ms)
        secret, public = (PRIVATE_PEM, {API_KEY: PUBLIC_PEM}) if options.ed25519 else (API_SECRET, {})
        settings = Settings(
            self.tape,
            Keys(API_KEY, API_SECRET, public),
            wallet=D(options.wallet),
            seed=options.seed,
            funding_every_ms=options.funding_every_ms,
            mark_every_ms=options.mark_every_ms,
        )
        self.exchange = Exchange(settings, START_MS)
        self.auditor = Auditor(self.exchange, self.schedule, self.policy, INSTANCE)
        self.ledger = VirtualLedger(INSTANCE, self._committed)
        self.ledger.gate = self._gate
        self.wire = Wire(
            self.exchange, self.schedule, options.seed, options.latency_ms, self, self.policy.limits.request_timeout_ms
        )
        self.signer = signer_of(secret)
        self.process: Process | None = None
        self.boot = 0
        self.down_ms = 0
        self.power = False
        self.torn = False
        self.kill_next = ""
        """The point at which the next run dies, if it gets there; the first two lie before there is a process."""
        self.kill_skip = 0
        self.healing = False
        self.healed_ns = 0
        self.lines: list[Line] = []
        self.busy_until_ns = 0
        self.slow_tick_ns = SLOW_TICK_NS
        self.cut_snapshot_ns = 0
        self._lost_known = 0
        self._trades = 0
        self._blocked_since_ns: int | None = None
        self._violation: Violation | None = None

    # ------------------------------------------------------------ taps

    def order_sent(self, query: str) -> None:
        """An order's first byte leaves."""
        self._judge(lambda: self.auditor.order_sent(query))

    def stop_sent(self, query: str) -> None:
        """A stop's first byte leaves."""
        self._judge(lambda: self.auditor.stop_sent(query, self.ledger.stops()))

    def cancel_sent(self, query: str) -> None:
        """A cancel's first byte leaves."""
        self._judge(lambda: self.auditor.cancel_sent(query))

    def order_at(self, point: str) -> None:
        """An order is at a point on the venue's side of the wire."""
        if self.process is not None:
            self.process.passed(point)

    def asked(self, text: str) -> None:
        """A frame leaves for the WebSocket API."""
        self.auditor.hearing.asked(text)
        process = self.process
        if process is not None and not process.pump.session.state.synced and '"pos-' in text:
            self.exchange.replica = None  # no replica lags behind a whole reconnect

    def weight_used(self) -> None:
        """A request reached the venue."""
        self._judge(self.auditor.weight_used)
        self._judge(self.auditor.venue_moved)

    def _committed(self, order: Order) -> None:
        self._judge(lambda: self.auditor.committed(order))

    def _gate(self, point: str) -> None:
        if self.process is not None:
            self.process.reached(point)

    def _judge(self, check: Callable[[], None]) -> None:
        """Keep the first violation; it ends the world after this step."""
        if self._violation is None:
            try:
                check()
            except Violation as violation:
                self._violation = violation

    # ------------------------------------------------------------ runs of the product

    def start(self) -> None:
        """Begin a run on what the ledger holds."""
        now_ns = self.schedule.now_ns
        ledger, boot = self.ledger, f"boot-{self.boot}"
        epoch = ledger.open_epoch(started_ms=self.schedule.now_ms, boot_id=boot)
        if self._dies_at_start("epoch-opened"):
            return
        fresh = not ledger.float_trades()
        state = self.recover(ledger, self.policy, epoch=epoch, now_ns=now_ns, boot=boot, shadow=False)
        floats = sum((trade.quantity for trade in ledger.float_trades()), D(0))
        lost = ledger.lost_ids[self._lost_known :]
        self._lost_known = len(ledger.lost_ids)
        self._judge(lambda: self.auditor.started(state, floats=floats, lost=lost, power=self.power))
        self.power = False
        if self._dies_at_start("restored"):
            return
        kill_at, self.kill_next = self.kill_next, ""
        self.process = process = Process(
            state=state,
            policy=self.policy,
            symbols=[BTCUSDT],
            ledger=ledger,
            wire=self.wire,
            api_key=API_KEY,
            signer=self.signer,
            chance=self.chance,
            keep=self.options.keep,
            observers=(self._observe,),
            heard=lambda source, payload: self._judge(lambda: self.auditor.heard(source, payload)),
            settled=self._settled,
            died=self._died,
            failed=self._failed,
            kill_at=kill_at,
            kill_skip=self.kill_skip,
        )
        self.auditor.note(f"epoch {epoch} begins")
        if fresh:
            self.book(FloatTradeKind.SET, D(self.options.initial))
        else:
            process.feed("tick", b'{"lag_ms":0}')
        self._tick(process)

    def _tick(self, process: Process) -> None:
        """Let a run's clock go, fast while something is under way, slower in quiet times."""
        if not process.alive:
            return
        if not process.suspended:
            process.tick(0)
        if self.quiet:
            wait_ns = QUIET_TICK_NS
        else:  # the longer nothing but time passes, the fewer ticks tell it
            wait_ns = max(TICK_NS, min((self.schedule.now_ns - process.heard_ns) // 2, self.slow_tick_ns))
        self.schedule.after(wait_ns, lambda: self._tick(process))

    @property
    def quiet(self) -> bool:
        """True while nothing is under way anywhere."""
        now_ns = self.schedule.now_ns
        still = self.process is not None and self.process.alive and self.process.quiet
        return still and not self.healing and self.wire.in_flight == 0 and now_ns >= self.busy_until_ns

    def _dies_at_start(self, point: str) -> bool:
        if self.kill_next != point:
            return False
        self.kill_next = ""
        self.auditor.note(f"killed ({point})")
        self.auditor.count(f"killed {point}")
        self.schedule.after(self.down_ms * MS, self._again)
        return True

    def terminate(self) -> None:
        """End the run as SIGTERM does: nothing new is sent, answers are waited for; and begin another after a while."""
        process = self.process
        if process is None:
            return
        process.stop()
        self.schedule.after(SETTLE_NS, lambda: self.kill("stop") if process is self.process else None)

    def kill(self, why: str) -> None:
        """End the run as SIGKILL does, and begin another after a while."""
        process = self.process
        if process is None:
            return
        process.alive = False
        self._died(why)

    def _died(self, why: str) -> None:
        process, self.process = self.process, None
        assert process is not None, "only a living process dies"
        self.auditor.note(f"killed ({why}){' by power' if self.power else ''}")
        self.auditor.count(f"killed {why}")
        self.auditor.owed_rows = process.pump.owed
        if self.power:
            process.journal.lose(self.chance, torn=self.torn)
        self._collect(process, whole=False)
        self.wire.abandon()
        if self.power:
            if self.torn:
                self.ledger.tear(self.chance)
            else:
                self.ledger.lose_power()
            self.boot += 1
        self.schedule.after(self.down_ms * MS, self._again)

    def _again(self) -> None:
        if self.process is None:
            self.start()

    def _failed(self, error: BaseException) -> None:
        def raised() -> None:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = "" if trace is None else f" at {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
            raise Violation("16", f"{type(error).__name__}: {error}{where}") from error

        self._judge(raised)

    def _collect(self, process: Process, *, whole: bool) -> None:
        """Keep the run's recording; one that was cut inside a step ends without a checkpoint."""
        if whole:
            process.journal.close(self.schedule.now_ns)
        self.lines = list(process.journal.read())
        if self.options.keep:
            self._judge(self._check_replay)

    def _check_replay(self) -> None:
        found = replay_lines(self.lines)
        if found.diverged is not None:
            raise Violation("18", f"the recording replays otherwise: {found.diverged}")

    def _observe(self, reaction: Reaction, recv_ns: int) -> None:
        for note in reaction.notes:
            self.auditor.count(f"note {note.code}")
            self.auditor.noted(note.code, note.symbol, note.data)
            self.auditor.note(f"  {note.code}: {note.text[:200]}")

    def _settled(self) -> None:
        if self.process is not None:
            pump = self.process.pump
            self._judge(self.auditor.venue_moved)
            self._judge(lambda: self.auditor.settled(pump))
            self.auditor.hearing.holding = not pump.session.quiet or pump.session.state.status in ("COLD", "SYNCING")

    # ------------------------------------------------------------ people

    def book(self, kind: FloatTradeKind, quantity: Decimal) -> None:
        """Book a float trade durably, then tell the run that lives."""
        self._trades += 1
        trade = FloatTrade(
            trade_id=TradeId(f"ft-{self._trades}"),
            asset=Asset("BTC"),
            kind=kind,
            quantity=quantity,
            usd=D(0),
            price=D(0),
            time_ms=self.schedule.now_ms,
            reason="a world",
        )
        try:
            self.ledger.record_float_trade(trade)
        except StoreError:
            self.auditor.count("float trade refused by the disk")
            return
        if self.process is not None:
            self.process.passed("trade-durable")
        if self.process is not None:
            self.process.feed("trade", orjson.dumps(to_plain(trade)))

    def verb(self, kind: str, symbol: str | None = None) -> None:
        """Give an operator's command, its latch durable first."""
        rows = latches(VerbKind(kind), Symbol(symbol) if symbol else None, [Symbol(BTCUSDT)], "a world")
        process = self.process
        if process is None or process.suspended:
            return
        try:
            for key, fields in rows.items():
                self.ledger.set_state(key, fields)
        except StoreError:
            self.auditor.count("verb refused by the disk")
            return
        process.passed("latch-durable")
        said = {"kind": kind, "symbol": symbol, "reason": "a world", "uid": 0}
        process.feed("verb", orjson.dumps(said))

    def _operate(self) -> None:
        """A patient operator: looks now and then, and resumes what has stood still for a while."""
        self.schedule.after(OPERATOR_EVERY_NS, self._operate)
        process = self.process
        if process is None or process.suspended or self.ledger.failing:
            return
        state = process.pump.reactor.state
        stuck = bool(state.halted or state.reducing.get("operator"))
        symbols = [m.symbol for m in state.memory.values() if m.block or m.flatten or m.venue_closed or m.reduce_only]
        now_ns = self.schedule.now_ns
        if not stuck and not symbols:
            self._blocked_since_ns = None
            return
        self._blocked_since_ns = self._blocked_since_ns or now_ns
        if now_ns - self._blocked_since_ns < (OPERATOR_EVERY_NS if self.healing else OPERATOR_WAITS_NS):
            return
        self._blocked_since_ns = None
        if stuck:
            self.verb("resume")
        for symbol in symbols:
            self.verb("resume", symbol)

    # ------------------------------------------------------------ the whole life

    def run(self) -> Outcome:
        """Play the world to its end or to its first violation."""
        start_ns = self.schedule.now_ns
        self.start()
        self._beat()
        self._operate()
        for happening in self.case.happenings:
            self.schedule.at(start_ns + happening.at_ms * MS, lambda happening=happening: self._happen(happening))  # type: ignore[misc]
        healthy = self._play(start_ns + self.options.length_ms * MS)
        if healthy:
            self._judge(self._converge)
        if self.process is not None:
            self._collect(self.process, whole=self._violation is None)
        return Outcome(
            case=self.case,
            violation=self._violation,
            events=self.auditor.inputs,
            virtual_ms=(self.schedule.now_ns - start_ns) // MS,
            fired=self._fired(),
            trail=list(self.auditor.trail),
            lines=self.lines,
        )

    def _play(self, until_ns: int) -> bool:
        """Let time pass; False when an invariant broke."""
        while self._violation is None and self.schedule.step(until_ns):
            pass
        return self._violation is None

    def _beat(self) -> None:
        """Let the exchange's own time pass: when something of its own is due, each second while something is under way."""
        self.wire.beat()
        self._judge(self.auditor.venue_moved)
        most_ns = QUIET_TICK_NS if self.quiet else BEAT_NS
        wait_ns = self.exchange.next_ms() * MS - self.schedule.now_ns
        self.schedule.after(max(MS, min(wait_ns, most_ns)), self._beat)

    def _happen(self, happening: Happening) -> None:
        if self.healing or self._violation is not None:
            return
        self.busy_until_ns = max(self.busy_until_ns, self.schedule.now_ns + BUSY_NS)
        self.auditor.note(f"*** {happening.kind} {happening.value}")
        self.auditor.count(f"happened {happening.kind}")
        self.auditor.fault_seen()
        APPLY[happening.kind](self, happening.kind, happening.value)
        self.wire.beat()
        self._judge(self.auditor.venue_moved)

    def _fired(self) -> dict[str, int]:
        fired = dict(self.auditor.reached)
        for name, times in [*self.exchange.faults.happened.items(), *self.wire.fired.items()]:
            fired[f"fault {name}"] = fired.get(f"fault {name}", 0) + times
        return dict(sorted(fired.items()))

    # ------------------------------------------------------------ healing

    def heal(self) -> None:
        """End every fault and bring what a good operator would bring: a run, margin, a quiet network."""
        self.healing = True
        self.healed_ns = self.schedule.now_ns
        self.auditor.note("*** heal")
        self.exchange.faults.armed.clear()
        self.exchange.streams.silent_symbol = ""
        self.exchange.replica = None
        self.exchange.limits.banned_until_ms = 0
        self.exchange.account.dual_side = False
        if self.exchange.account.multi_assets:
            set_multi_assets(self, False)
        contract = self.exchange.contracts[BTCUSDT]
        contract.tick, contract.step, contract.level_size, contract.level_ticks = D("0.1"), STEP, D(5), 10
        self.wire.armed.clear()
        self.wire.repeating = self.wire.noise_ms = 0
        self.wire.refusing_until_ns = 0
        self.ledger.failing = self.ledger.refusing_intents = 0
        for symbol in self.exchange.contracts:
            if self.exchange.contracts[symbol].status != "TRADING":
                self.exchange.change_contract(symbol, self.schedule.now_ms, status="TRADING")
        position = self.exchange.account.position(BTCUSDT)
        needed = abs(position.amount) * position.entry + D(20) * self.exchange.contracts[BTCUSDT].mark
        self.exchange.engine.transfer(
            max(D(0), needed * 2 - self.exchange.account.wallet), "DEPOSIT", self.schedule.now_ms
        )
        self.tape.settle(self.schedule.now_ms - self.exchange.start_ms)
        process = self.process
        if process is not None:  # else the next run is planned already
            process.kill_at = ""
            if process.suspended:
                process.resume(0, frames_first=True)
            self.verb("resume")
            self.verb("resume", BTCUSDT)

    def _converge(self) -> None:
        """Safety is shown; now liveness."""
        self.heal()
        healed_ns = self.schedule.now_ns
        limited_ns = 0
        while (wrong := self._unsettled()) is not None:
            if not self._play(self.schedule.now_ns + 100 * MS):
                return
            waited_ns = self.schedule.now_ns - healed_ns
            if self._is_limited():
                limited_ns = self.schedule.now_ns
            patience_ns = PATIENCE_NS if self.schedule.now_ns - limited_ns < 60 * S else HEALED_WITHIN_NS
            if waited_ns > patience_ns + 3 * self.options.mark_every_ms * MS:
                raise Violation("20", f"{waited_ns // S} s after the faults ended: {wrong}")
        took_ms = (self.schedule.now_ns - healed_ns) // MS
        self.auditor.note(f"converged after {took_ms} ms")
        self.auditor.count(f"converged within {2 ** max(0, (took_ms // 1000)).bit_length()} s")
        steady_ns = self.schedule.now_ns
        if not self._play(steady_ns + STEADY_NS):
            return
        futile = self.auditor.futile(steady_ns)
        if len(futile) > 3:
            what = f"{len(futile)} intents that lead nowhere in {STEADY_NS // S} s in which nothing happened"
            raise Violation("23", f"{what}: {', '.join(futile)}")
        if (wrong := self._unsettled()) is not None and not self.auditor.decided_since(steady_ns):
            raise Violation("20", f"it was in band and no longer is: {wrong}")
        self.auditor.books_agree(self.ledger.intents())
        self.auditor.promised(lambda: self.auditor.promises.rows_agree(self.ledger.now.rows))

    def _is_limited(self) -> bool:
        blocked = None if self.process is None else self.process.pump.reactor.state.memory[BTCUSDT].blocked
        return blocked is not None and blocked.cause == "limit"

    def _unsettled(self) -> str | None:
        """Return what is not as it should be in a world without faults."""
        process = self.process
        if process is None:
            return "nothing runs"
        state = process.pump.reactor.state
        if state.halted:
            return f"HALTED: {state.halted}"
        if state.book_status.value != "LIVE":
            return f"the book is {state.book_status.value}: {process.pump.session.state.reason}"
        if state.open_ids:
            return f"still open: {', '.join(state.open_ids)}"
        held = self.exchange.account.position(BTCUSDT).amount
        if state.book.quantity(BTCUSDT) != held:
            return f"the book says {state.book.quantity(BTCUSDT)}, the venue {held}"
        naked, allowed = self.auditor.naked()
        if naked > allowed:
            memory = state.memory[BTCUSDT]
            told = self.schedule.now_ns - self.healed_ns > NEWS_NS
            if self.options.isolated and told and memory.blocked is not None and memory.blocked.cause == "margin":
                return None  # money in the wallet does not reach an isolated position
            why = memory.blocked.reason if memory.blocked is not None else memory.hold or "no reason given"
            return f"{naked:.0f} naked ({why})"
        return None
