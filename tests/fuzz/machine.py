"""A machine that is LIVE, a far end that answers it, and what must hold of it after every message, however bent.

Before each message the machine is brought to rest at one moment; the message arrives at that same moment, so whatever
differs afterwards is its doing.
"""

from __future__ import annotations

import functools
from decimal import Decimal
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import orjson

from streamhedge.domain.canonical import digest
from streamhedge.domain.commands import CancelOrder, Command, PlaceOrder, Reaction, RequestSnapshot, RequestTime
from streamhedge.domain.events import (
    AccountConfigUpdate,
    AccountUpdate,
    ContractInfo,
    ExecutionReport,
    MarkPriceUpdate,
    OpenOrders,
    OrderOutcome,
    OrderStatusAnswer,
    Quarantined,
    SetupDone,
    Snapshot,
)
from streamhedge.domain.order import Side
from streamhedge.domain.values import NS_PER_MS, ONE
from streamhedge.ops.lines import Lines
from streamhedge.runtime.pump import Pump, restore
from streamhedge.runtime.replay import replay_lines
from streamhedge.store.journal import JournalWriter, read_lines
from streamhedge.wire.session import BAD_PAUSE_MOST_NS
from tests.fuzz.cases import Finding, steps, watched
from tests.support import builders as make
from tests.support.run import Run, Venue

D = Decimal
NEUTRAL = b'{"result":null,"id":1}'
"""A frame that says nothing: an acknowledgement."""
PRICE = D("67121.4")
EPISODE = 40
"""Messages that one machine takes before its recording is replayed and a new one begins."""
STEPS_EACH, STEPS_PER_BYTE = 30_000, 60
HEAL_S = 30
BOOK = (AccountUpdate, MarkPriceUpdate, Snapshot, SetupDone, ContractInfo, AccountConfigUpdate)
ORDERS = (ExecutionReport, OrderOutcome, OrderStatusAnswer, OpenOrders, Snapshot)

LOST = (
    *("session.status", "session.reason", "session.synced", "session.lost_ns", "session.snapshot_asked_ns"),
    # A flood of them puts the next snapshot off, and has the stream opened anew.
    *("session.bad_ns", "session.bad_reconnect_ns", "session.resync_after_ns", "session.reconnects"),
    *("session.links.private", "session.connections"),
    *(
        "session.audit_ns",
        "session.seen_ns",
        "calls.next",
        "calls.snapshots",
        "reactor.book_status",
        "reactor.book_reason",
        "reactor.gaps",
    ),
)
FAILED_CALL = (
    *("session.snapshot_failures", "session.snapshot_asked_ns", "session.time_asked_ns", "session.key_after_ns"),
    *(
        "session.setup_failed",
        "session.setup_after_ns",
        "session.open_orders_again_ns",
        "calls.next",
        "calls.snapshots",
        "calls.times",
    ),
)
HEARD = ("reactor.heard.event", "reactor.heard.event_time_ms", "reactor.heard.recv_ns")
ERROR_BUDGET = (
    *("reactor.meter.error_times_ns", "reactor.maintained", "reactor.reducing", "reactor.reducing.errors"),
    "reactor.meter.triggers",
)
COUNTED = ("reactor.seq", "reactor.meter.quarantined", *HEARD, *ERROR_BUDGET)
SHOWN = ("blocked", "cause", "hold", "refused_by", "naked_since_ns", "naked_alerted", "naked_too_large")
"""What a symbol's memory shows of a book that cannot be trusted: words, no figure that an order is made of."""


class Patient(Venue):
    """The scripted far end; while ``holding`` it leaves snapshots and times unanswered, for somebody else to answer."""

    def __init__(self, position: Decimal, now_ms: int) -> None:
        super().__init__()
        self.position = position
        self.now_ms = now_ms
        self.holding = False
        self.held: list[tuple[Command, int]] = []

    def perform(self, command: Command, call: int) -> None:
        """Answer a command, or keep it."""
        if self.holding and isinstance(command, RequestSnapshot | RequestTime):
            self.held.append((command, call))
        else:
            super().perform(command, call)

    def release(self) -> None:
        """Answer what was held."""
        self.holding = False
        for command, call in self.held:
            self.perform(command, call)
        self.held.clear()


@functools.cache
def _states() -> dict[str, tuple[bytes, Decimal, int]]:
    """Return machines at rest, as JSON: hedged with nothing open, with an order in doubt, and out of its band."""
    found: dict[str, tuple[bytes, Decimal, int]] = {}
    run = _RunInMemory()
    run.begin()
    assert run.venue.position == -10 and run.pump.session.state.status == "LIVE"
    found["hedged"] = (orjson.dumps(run.pump.state()), run.venue.position, run.venue.now_ms)
    run.venue.silent = True
    run.trade("0.75", "ft-2")
    run.marks(2)
    assert [order.in_doubt for order in run.pump.reactor.core.open_orders()] == [True]
    found["doubt"] = (orjson.dumps(run.pump.state()), run.venue.position, run.venue.now_ms)
    return found


class _RunInMemory(Run):
    """A run that is not recorded."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))
        self.pump._journal = None


class Machine:
    """One LIVE machine with its recording, its far end and its log."""

    def __init__(self, rng: Random, folder: Path, variant: str) -> None:
        plain, position, now_ms = _states()[variant]
        self.rng = rng
        self.variant = variant
        self.frames = 0
        self.ahead = False
        self.reactions: list[Reaction] = []
        self.venue = Patient(position, now_ms)
        self.venue.silent = variant == "doubt"
        self.venue.trades = 100
        self.log, self.json_log = Text(), Text()
        self._lines = Lines(json=False, verbose=True, colour=False, out=self.log, waiting_most=10**6)
        self._json = Lines(json=True, verbose=True, out=self.json_log, waiting_most=10**6)
        self.journal = JournalWriter(folder, "run", header=self._header, digest=lambda: self.pump.digest())
        self.pump: Pump = restore(
            orjson.loads(plain), journal=self.journal, hands=self.venue, observers=(self._observe,)
        )

    def _header(self) -> dict[str, object]:
        return {"seq": self.pump.reactor.state.seq, "state": self.pump.state(), "digest": self.pump.digest()}

    def _observe(self, reaction: Reaction, recv_ns: int) -> None:
        self.reactions.append(reaction)
        self._lines.notes(reaction.notes, recv_ns)
        self._json.notes(reaction.notes, recv_ns)

    @property
    def now_ns(self) -> int:
        """The moment."""
        return self.venue.now_ms * NS_PER_MS

    def tired(self) -> bool:
        """True when the next message deserves a fresh machine."""
        memory = self.pump.reactor.core.memory_of(make.BTCUSDT)
        stopped = self.pump.reactor.state.halted is not None or (memory.block is not None and memory.block.latched)
        return self.frames >= EPISODE or stopped

    # ------------------------------------------------------------ rest, message, reaction

    def settle(self, *, after_ms: int | None = None) -> None:
        """Move on in time with a true mark, let the far end answer everything, and come to rest at this moment."""
        self.venue.now_ms += self.rng.choice((1, 20, 100, 300, 1_100)) if after_ms is None else after_ms
        self.feed("market", orjson.dumps(self.mark()))
        self.feed("tick", b'{"lag_ms":0}')
        self.answer()
        for _ in range(3):
            self.feed("market", NEUTRAL)
        self.answer()
        self.reactions.clear()

    def pass_time(self, seconds: int) -> None:
        """Let time go by with a true mark every three seconds."""
        for _ in range(seconds // 3):
            self.venue.now_ms += 3_000
            self.feed("market", orjson.dumps(self.mark()))
            self.answer()

    def mark(self) -> dict[str, Any]:
        """Return a true mark of this moment, always the same price."""
        stamp = {"E": self.venue.now_ms, "T": make.T0_MS + 3_600_000}
        return {
            "e": "markPriceUpdate",
            **stamp,
            "s": "BTCUSDT",
            "p": str(PRICE),
            "i": str(PRICE),
            "P": "0",
            "r": "0.0001",
        }

    def answer(self) -> None:
        """Let the far end answer, a bounded number of times."""
        for _ in range(200):
            if not self.venue.inputs:
                return
            self.feed(*self.venue.inputs.popleft())
        raise Finding("the machine and an honest far end never come to rest", b"")

    def feed(self, source: str, payload: bytes) -> None:
        """Put one input in."""
        self.pump.feed(source, self.now_ns, payload)

    def take(self, source: str, frame: bytes) -> tuple[list[Reaction], dict[str, Any], dict[str, Any]]:
        """Put a bent message in; return the reactions and the state before and after.

        Raises:
            Finding: whatever holds of every message does not.
        """
        self.frames += 1
        before = self.pump.state()
        self.reactions.clear()
        # Calls are counted for what is large: there the effort shows, and counting is slow.
        if len(frame) > 20_000:
            took = steps(lambda: self.feed(source, frame))
            if took > STEPS_EACH + STEPS_PER_BYTE * len(frame):
                raise Finding(f"{took} calls for {len(frame)} bytes", frame)
        else:
            self.feed(source, frame)
        after = self.pump.state()
        reactions = list(self.reactions)
        self.check(source, frame, reactions, before, after)
        return reactions, before, after

    # ------------------------------------------------------------ oracles

    def check(
        self, source: str, frame: bytes, reactions: list[Reaction], before: dict[str, Any], after: dict[str, Any]
    ) -> None:
        """Hold a reaction against what must be true of every one."""
        if self.pump.failed is not None:
            raise Finding(f"the pump failed: {self.pump.failed!r}", frame)
        events = [event for reaction in reactions for event in reaction.events]
        commands = [command for reaction in reactions for command in reaction.commands]
        changed = differences(before, after)
        for command in commands:
            if isinstance(command, PlaceOrder):
                self._check_order(command, frame)
        understood = [event for event in events if not isinstance(event, Quarantined)]
        if not understood or all(type(event).__name__ in ("CallFailed", "BookStatusChanged") for event in understood):
            self._check_untouched(source, events, commands, changed, frame)
        for name in ("reactor.floats", "reactor.usd", "reactor.epoch", "reactor.instance", "reactor.shadow", "policy"):
            if any(within(path, name) for path in changed):
                raise Finding(f"{name} changed: {changed}", frame)
        if not any(isinstance(event, BOOK) for event in events):
            moved = [path for path in changed if within(path, "reactor.book")]
            if moved and any(path != "reactor.book.snapshot_ns" for path in moved):
                raise Finding(f"the book moved without an event that says so: {moved}", frame)
        if not any(isinstance(event, ORDERS) for event in events) and not any(
            isinstance(c, PlaceOrder) for c in commands
        ):
            moved = [
                path
                for path in changed
                if within(path, "reactor.orders") and not path.endswith(("absences", "last_query_ns"))
            ]
            if moved:
                raise Finding(f"orders moved without an event that says so: {moved}", frame)
        self._check_state(after, frame)
        # A wait the venue asked for is honoured, however long: nothing heals before it is over.
        budget = self.pump.session.state.budget
        waits = budget.silent(self.now_ns + 1) or any(window.told > 0 for window in budget.windows.values())
        self.ahead = self.ahead or waits or any(_time_of(event) > self.venue.now_ms for event in events)

    def _check_untouched(
        self, source: str, events: list[Any], commands: list[Any], changed: list[str], frame: bytes
    ) -> None:
        """What was not understood leads to its note, its count, a resync of a private stream, and nothing else."""
        private = source == "private" and any(isinstance(event, Quarantined) for event in events)
        failed = any(type(event).__name__ == "CallFailed" for event in events)
        answered = (
            ("calls", "session.budget", "session.audit_ns", "session.time_asked_ns")
            if source in ("wsapi", "rest")
            else ()
        )
        allowed = (*COUNTED, *answered, *(LOST if private else ()), *(FAILED_CALL if failed else ()))
        budget = any(path.startswith("reactor.reducing") for path in changed)
        for path in changed:
            memory = path.startswith("reactor.memory.") and (private or failed or budget)
            shown = memory and (path.rsplit(".", 1)[-1] in SHOWN or "exposure.broken" in path or ".blocked" in path)
            absences = (private or failed) and path.startswith("reactor.orders.") and path.endswith(".absences")
            halted = failed and path in ("reactor.halted", "reactor.last_halt_alarm_ns")
            key = (
                failed
                and path.startswith("session.")
                and path.split(".")[1] in ("handle_dead", "private_open_ns", "key_asked_ns")
            )
            lost = failed and any(within(path, name) for name in LOST)
            certified = (private or failed) and path.split(".")[1] in ("gap", "gaps", "next_gap")
            if not (
                certified or any(within(path, name) for name in allowed) or shown or absences or halted or key or lost
            ):
                raise Finding(f"an invalid message changed {path}", frame)
        acts = [command for command in commands if isinstance(command, PlaceOrder | CancelOrder)]
        if acts:
            raise Finding(f"an invalid message led to {acts}", frame)
        if private and self.pump.session.state.synced:
            raise Finding("a private frame was not understood and the book is still trusted", frame)
        put_off_ns = self.pump.session.state.resync_after_ns - self.now_ns
        put_off = 0 < put_off_ns <= BAD_PAUSE_MOST_NS  # by a flood; then the clock asks
        if private and not put_off and not any(isinstance(command, RequestSnapshot) for command in commands):
            raise Finding("a private frame was not understood and no snapshot was asked", frame)

    def _check_order(self, order: PlaceOrder, frame: bytes) -> None:
        """Hold an order against the operator's limits, with the book as it was just decided on."""
        limits, params = make.limits(), make.hedge_params()
        state = self.pump.reactor.state
        position, mark = state.book.quantity(order.symbol), state.book.marks[order.symbol].mark_price
        faults = []
        if order.symbol != make.BTCUSDT:
            faults.append("of a symbol nobody hedges")
        if not 0 < order.quantity <= params.max_order_quantity:
            faults.append("above max_order_quantity")
        if order.quantity * mark > limits.max_order_notional:
            faults.append("above max_order_notional")
        if order.price is not None and abs(order.price - mark) > mark * limits.price_collar:
            faults.append("outside the price collar")
        if order.reduce_only and (position * order.side.sign >= 0 or order.quantity > abs(position)):
            faults.append("reduce-only and does not only reduce")
        if not order.reduce_only:
            most = min(params.max_short, limits.max_short_ratio * state.floats[make.BTC])
            if order.side is not Side.SELL or position > 0 or -position + order.quantity > most * ONE:
                faults.append("raises past the float")
            if order.price is None:
                faults.append("raises at any price")
            if state.book_status.value != "LIVE" or state.halted is not None or state.reducing:
                faults.append("raises on a book or in a state that forbids it")
        if faults:
            raise Finding(f"{order} at position {position}, mark {mark}: {', '.join(faults)}", frame)

    def _check_state(self, after: dict[str, Any], frame: bytes) -> None:
        try:
            text = orjson.dumps(after, option=orjson.OPT_SORT_KEYS)
        except (TypeError, ValueError) as error:
            raise Finding(f"the state has no canonical form any more: {error}", frame) from error
        if self.frames % 10 == 0:
            if restore(orjson.loads(text)).digest() != digest(after):
                raise Finding("the state does not survive being written and read", frame)
            make.check_invariants(self.pump.reactor)

    # ------------------------------------------------------------ the end

    def finish(self, frame: bytes) -> None:
        """Heal, replay the recording, and read what the log would have done to a terminal.

        Raises:
            Finding: the book did not come back to the venue's truth, the replay parts, or a character steers the reader.
        """
        with watched(frame):
            if not self.ahead:
                self._heal(frame)
            self.journal.close(self.pump.last_ns)
            lines = chain.from_iterable(read_lines(path) for path in self.journal.paths)
            found = replay_lines(lines)
            if found.diverged is not None or found.digest != self.pump.digest():
                raise Finding(f"the recording replays to another state: {found.diverged}", frame)
            for path in self.journal.paths:
                path.unlink()
            for lines_, log in ((self._lines, self.log), (self._json, self.json_log)):
                lines_.close()
                for line in log.text.split("\n"):
                    bad = steering(line)
                    if bad:
                        raise Finding(f"the log line {line[:300]!r} steers the reader with {bad!r}", frame)

    def _heal(self, frame: bytes) -> None:
        """Only true messages from here on: the book must come back to what the venue has, whatever was said before."""
        self.venue.silent = False
        for _ in range(HEAL_S):
            self.settle(after_ms=1_000)
        state = self.pump.reactor.state
        if self.pump.session.state.status != "LIVE":
            raise Finding(f"no way back to LIVE: {self.pump.session.state.reason}", frame)
        held = state.book.quantity(make.BTCUSDT)
        if held != self.venue.position:
            raise Finding(f"the book holds {held}, the venue {self.venue.position}, after {HEAL_S} s of truth", frame)
        if state.book.marks[make.BTCUSDT].mark_price != PRICE:
            raise Finding(f"the mark stays {state.book.marks[make.BTCUSDT].mark_price}, the venue says {PRICE}", frame)


class Text:
    """A stream that keeps what is written."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    @property
    def text(self) -> str:
        """Everything so far."""
        return "".join(self.parts)

    def write(self, text: str) -> int:
        """Keep a text."""
        self.parts.append(text)
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def isatty(self) -> bool:
        """No terminal."""
        return False


def steering(line: str) -> str:
    """Return the characters of a line that would act on a terminal or turn its reading direction."""
    return "".join(
        char
        for char in line
        if ord(char) < 32
        or 127 <= ord(char) < 160
        or char in "\u061c\u200e\u200f"
        or "\u202a" <= char <= "\u202e"
        or "\u2066" <= char <= "\u2069"
    )


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Return the paths of what differs between two states, whole dicts and records entered, lists not."""
    if before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[str] = []
        for key in {**before, **after}:
            here = f"{path}.{key}" if path else str(key)
            if key not in before or key not in after:
                found.append(here)
            else:
                found += differences(before[key], after[key], here)
        return found
    return [path]


def within(path: str, name: str) -> bool:
    """Return whether a path is a place or below it."""
    return path == name or path.startswith(f"{name}.")


def _time_of(event: Any) -> int:
    """Return the latest venue time that an event carries, 0 where it has none."""
    times = [getattr(event, name, 0) for name in ("event_time_ms", "transaction_time_ms", "server_time_ms")]
    rows = [
        row.update_time_ms
        for name in ("positions", "balances")
        for row in getattr(event, name, ())
        if hasattr(row, "update_time_ms")
    ]
    return max((*times, *rows))
