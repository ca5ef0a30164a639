"""feed(source, recv_ns, payload): number -> record -> decode -> session -> react -> outbox. Nothing awaits.

The same object drives live, replay and simulation. Invariants: an input is in the recording before anybody acts on it;
an intent is in the ledger before its command reaches the hands, and before it every row the ledger refused; a failed
commit means not sent, and HALTED. What the outbox has to say enters as inputs of its own, after the input that caused it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from streamhedge.domain.canonical import digest, from_plain, to_plain
from streamhedge.domain.commands import (
    Command,
    Persist,
    PlaceOrder,
    PlaceStop,
    QueryOrder,
    Reaction,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.events import Event
from streamhedge.domain.order import Order
from streamhedge.domain.stop import Stop
from streamhedge.domain.values import exact, state
from streamhedge.errors import StoreError
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.rules.params import Policy
from streamhedge.runtime.inputs import Calls, decode_input
from streamhedge.runtime.owed import Owed
from streamhedge.wire.session import Session, SessionState


class Journal(Protocol):
    """Where inputs are recorded."""

    def append(self, recv_ns: int, source: str, payload: bytes) -> None:
        """Record one input; raises StoreError when it cannot."""


class Ledger(Protocol):
    """Where intents are committed and rows kept."""

    def commit_intent(self, order: Order) -> None:
        """Commit one intent; raises StoreError when it cannot."""

    def commit_stop(self, stop: Stop) -> None:
        """Commit one stop; raises StoreError when it cannot."""

    def persist(self, row: Persist) -> None:
        """Write one row that no order waits for; raises StoreError when it cannot."""


class Hands(Protocol):
    """Who carries commands out. ``call`` numbers the request a command makes, so that its answer finds its way back."""

    def perform(self, command: Command, call: int) -> None:
        """Start the command and return at once."""


class Observer(Protocol):
    """Who watches reactions; must not block and must not raise."""

    def __call__(self, reaction: Reaction, recv_ns: int) -> None:
        """Take one reaction."""


@state
class Input:
    """One input waiting to be fed."""

    source: str
    payload: bytes


class Pump:
    """One account's machine: session, reactor, recording, ledger and hands around one counter."""

    def __init__(
        self,
        *,
        reactor: Reactor,
        session: Session,
        calls: Calls | None = None,
        journal: Journal | None = None,
        ledger: Ledger | None = None,
        hands: Hands | None = None,
        observers: tuple[Observer, ...] = (),
    ) -> None:
        self.reactor = reactor
        self.session = session
        self.calls = calls if calls is not None else Calls()
        self.seq = reactor.state.seq
        self.last_ns = 0
        self.decisions = 0
        self.failed: BaseException | None = None
        self._journal = journal
        self._ledger = ledger
        self._hands = hands
        self._observers = observers
        self._after: deque[Input] = deque()
        self._busy = False
        self._owed = Owed(rows={})

    # ------------------------------------------------------------ the five steps

    def feed(self, source: str, recv_ns: int, payload: bytes) -> None:
        """Take one input to its end, then whatever the outbox had to say about it.

        Args:
            source: One of the sources of SURFACE §6 (market, private, wsapi, rest, tick, conn, trade, verb …).
            recv_ns: When it arrived; a time before the last one is raised to the last one.
            payload: The frame as received, or one JSON object.
        """
        assert self.failed is None, "a pump that failed takes no further input"
        assert not self._busy, "the pump is not re-entrant: inputs come one after the other"
        self._busy = True
        try:
            with exact():
                self._step(source, recv_ns, payload)
                while self._after:
                    waiting = self._after.popleft()
                    self._step(waiting.source, recv_ns, waiting.payload)
        except BaseException as error:
            self.failed = error
            raise
        finally:
            self._busy = False

    def _step(self, source: str, recv_ns: int, payload: bytes) -> None:
        self.last_ns = max(recv_ns, self.last_ns)
        if not self._recorded(source, payload):
            # HALTED before the input counts: what it would lead to must not leave, for no recording would explain it.
            waiting = self._after.pop()
            self._take(waiting.source, waiting.payload)
        if source == "tick" and self._owed:
            self._write_owed()
        self._take(source, payload)

    def _take(self, source: str, payload: bytes) -> None:
        self.seq += 1
        events, commands, notes = self._decode(source, payload)
        reaction = self.reactor.react(self.seq, self.last_ns, events)
        kept, held_back = self.session.pass_on(reaction.commands, self.last_ns)
        reaction = Reaction(
            seq=self.seq,
            events=reaction.events,
            commands=(*commands, *kept),
            notes=(*notes, *reaction.notes, *held_back),
        )
        self._send(reaction)
        for observer in self._observers:
            observer(reaction, self.last_ns)

    def _recorded(self, source: str, payload: bytes) -> bool:
        """Record one input; False when the recording has just ended, and why stands last in what is to be said."""
        if self._journal is None:
            return True
        try:
            self._journal.append(self.last_ns, source, payload)
            return True
        except StoreError as error:
            # The input still counts: the account moved. Nothing more is recorded, and nothing more is sent.
            self._journal = None
            self._say("store", {"what": "the recording", "message": str(error)})
            return False

    def _decode(self, source: str, payload: bytes) -> tuple[list[Event], list[Command], list[Any]]:
        passed: list[Event] = []
        commands: list[Command] = []
        notes: list[Any] = []
        for event in decode_input(source, payload, self.calls, self.last_ns):
            step = self.session.step(event, self.last_ns)
            passed.extend(step.events)
            commands.extend(step.commands)
            notes.extend(step.notes)
        return passed, commands, notes

    def _send(self, reaction: Reaction) -> None:
        for command in reaction.commands:
            if isinstance(command, Persist):
                self._persist(command)
            elif isinstance(command, PlaceOrder | PlaceStop):
                self._place(command)
            else:
                self._perform(command)

    def _perform(self, command: Command) -> None:
        call = 0
        if isinstance(command, RequestSnapshot | RequestTime | QueryOrder):
            call = self.calls.open(command, self.last_ns)
        if self._hands is not None:
            self._hands.perform(command, call)

    def _place(self, command: PlaceOrder | PlaceStop) -> None:
        self.decisions += 1
        if self._ledger is not None:
            refused = self._write_owed() if self._owed else ""
            try:
                if refused:
                    raise StoreError(refused)
                if isinstance(command, PlaceStop):
                    self._ledger.commit_stop(self.reactor.state.stops[command.client_order_id])
                else:
                    self._ledger.commit_intent(self.reactor.state.orders[command.client_order_id])
            except StoreError as error:
                self._say("void", {"client_order_id": command.client_order_id, "reason": f"not committed: {error}"})
                self._say("store", {"what": "the ledger", "message": str(error)})
                return
        if self._hands is not None:
            self._hands.perform(command, 0)

    @property
    def recording(self) -> bool:
        """False without a recording, or since it could not be written; it does not begin again in this run."""
        return self._journal is not None

    # ------------------------------------------------------------ rows that no order waits for

    @property
    def owed(self) -> int:
        """Rows that the ledger refused and that are to be written when it works again."""
        return len(self._owed)

    def _persist(self, row: Persist) -> None:
        if self._ledger is None:
            return
        if self._owed:
            self._owed.keep(row)
            message = self._write_owed()
            if message and self.reactor.state.halted is None:
                self._say("store", {"what": "the ledger", "message": message})
            return
        try:
            self._ledger.persist(row)
        except StoreError as error:
            self._owed.keep(row)
            self._say("store", {"what": "the ledger", "message": str(error)})

    def _write_owed(self) -> str:
        """Write what the ledger refused before, and say it once all is there; return why something is still owed."""
        message = self.write_owed()
        if not message:
            self._say("store", {"written": self._owed.written, "given_up": self._owed.given_up})
            self._owed = Owed(rows={})
        return message

    def write_owed(self) -> str:
        """Write, at the end of a run, what is owed; return why rows are left, empty when none is."""
        return self._owed.write(self._ledger.persist) if self._ledger is not None else ""

    def _say(self, source: str, fields: dict[str, object]) -> None:
        self._after.append(Input(source=source, payload=orjson.dumps(fields)))

    # ------------------------------------------------------------ the whole state

    def state(self) -> dict[str, Any]:
        """Return the canonical state, JSON-ready: what the first line of a recording segment holds."""
        return {
            "policy": to_plain(self.reactor.core.policy),
            "reactor": to_plain(self.reactor.state),
            "session": to_plain(self.session.state),
            "calls": to_plain(self.calls),
        }

    def digest(self) -> str:
        """Return the digest of the canonical state."""
        return digest(self.state())


def restore(plain: dict[str, Any], **parts: Any) -> Pump:
    """Build a pump from what ``Pump.state`` returned; ``parts`` are the pump's other arguments."""
    policy = from_plain(Policy, plain["policy"])
    reactor = Reactor(from_plain(State, plain["reactor"]), policy)
    session = Session(from_plain(SessionState, plain["session"]))
    return Pump(reactor=reactor, session=session, calls=from_plain(Calls, plain["calls"]), **parts)


Feed = Callable[[str, int, bytes], None]
