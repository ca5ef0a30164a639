"""One pump with its tasks: the clock's tick, the hands' sockets and calls, and the watch over failures, in one TaskGroup.

Shared by the hedger and the read-only book. A bug in the pump ends the block that entered the machine: nothing is
decided on a state nobody understands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeVar

import orjson

from streamhedge.domain.values import NS_PER_MS, Symbol
from streamhedge.live.hands import SOURCE_OF, Hands
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.rules.params import Policy
from streamhedge.runtime.pump import Journal, Ledger, Observer, Pump
from streamhedge.settings.endpoints import Endpoints, is_loopback
from streamhedge.settings.secrets import Mask, Secret
from streamhedge.venue.clock import BootClock
from streamhedge.venue.http import RestClient
from streamhedge.wire.budget import Budget
from streamhedge.wire.session import Session, SessionState
from streamhedge.wire.signing import signer_of

Result = TypeVar("Result")
TICK_S = 0.1
TICK_NS = int(TICK_S * 1e9)
GAP_NS = 2_000 * NS_PER_MS
"""A tick that is so late means a suspend or a stopped process: what was in flight is in doubt (FAULTS C3)."""

STEP_MS = 250
"""A wall clock that was set by more than this is told and the venue's time asked again (FAULTS C2)."""


class Machine(AbstractAsyncContextManager["Machine"]):
    """A pump that lives. Entering starts its tasks, leaving ends them; a failure of one ends all."""

    def __init__(
        self,
        *,
        state: State,
        policy: Policy,
        symbols: Sequence[Symbol],
        endpoints: Endpoints,
        api_key: Secret,
        api_secret: Secret,
        clock: BootClock,
        journal: Journal | None = None,
        ledger: Ledger | None = None,
        observers: tuple[Observer, ...] = (),
    ) -> None:
        """Wire the parts; nothing moves before the machine is entered.

        Raises:
            ConfigError: the secret is no key that signs.
        """
        limits = policy.limits
        signer = signer_of(api_secret.reveal())
        self.clock = clock
        self.mask = Mask(api_key, api_secret)
        self.rest = RestClient(
            endpoints.rest,
            api_key=api_key,
            signer=signer,
            timeout_s=limits.request_timeout_ms / 1_000,
            simulated=is_loopback(endpoints.rest),
        )
        self.hands = Hands(
            symbols=symbols,
            hedges=policy.hedges,
            recv_window_ms=limits.recv_window_ms,
            endpoints=endpoints,
            rest=self.rest,
            api_key=api_key,
            signer=signer,
            clock=clock,
            mask=self.mask,
            fail=self.fail,
        )
        session = Session(
            SessionState(
                symbols=list(symbols),
                stale_after_ns=limits.stale_after_ms * NS_PER_MS,
                budget=Budget(silent_until_ns=state.silent_until_ns, banned=state.banned),
            )
        )
        self.pump = Pump(
            reactor=Reactor(state, policy),
            session=session,
            journal=journal,
            ledger=ledger,
            hands=self.hands,
            observers=observers,
        )
        self.ended = False
        self._between: Callable[[int], None] = lambda now_ns: None
        self._after_gap: Callable[[], None] = lambda: None
        self._ticked_ns = 0

    def between(self, work: Callable[[int], None]) -> None:
        """Name what is to be done between inputs, ten times a second, told the time; it must return at once."""
        self._between = work

    def after_gap(self, work: Callable[[], None]) -> None:
        """Name what else is to be dropped when the machine has slept."""
        self._after_gap = work

    async def __aenter__(self) -> Machine:
        """Start the tasks."""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self.hands.attach(self.feed, self._decided, self._group)
        self._ticked_ns = self.clock.now_ns()
        self._own = [self._group.create_task(self._tick()), self._group.create_task(self._watch())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send nothing more, take the answers under way, end every task.

        Raises:
            Exception: the failure that ended the machine, as it was raised.
        """
        await self.hands.close()
        self.ended = True
        for task in self._own:
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def finished(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something to its end even if whoever waits for it gives up; the machine does not end before it.

        What the work raises reaches the one who waits, and does not end the machine.
        """
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        async def do() -> None:
            try:
                outcome.set_result(await work)
            except Exception as error:
                outcome.set_exception(error)
            except BaseException:
                outcome.cancel()
                raise

        self._group.create_task(do())
        return await asyncio.shield(outcome)

    def feed(self, source: str, payload: bytes) -> None:
        """Hand one input to the pump at this moment; a bug in it ends the machine.

        No key, signature or listen key gets further than here, whoever said it: what is recorded, committed, shown and
        told comes from what the pump took.
        """
        if self.ended or self.pump.failed is not None:
            return
        now_ns = self.clock.now_ns()
        try:
            late_ns = now_ns - self._ticked_ns - TICK_NS
            if late_ns > GAP_NS:
                # Whatever the loop hands over first after a gap, it does not act on what was there before it.
                self._ticked_ns = now_ns
                self._slept(late_ns, now_ns)
                if source in SOURCE_OF.values():
                    return
            self.pump.feed(source, now_ns, self.mask.data(payload))
        except BaseException as error:
            self.fail(error)
            raise

    def _slept(self, gap_ns: int, now_ns: int) -> None:
        """Begin again as after a crash: no socket of before the gap is used after it (FAULTS C3)."""
        self.pump.feed("clock", now_ns, orjson.dumps({"gap_ms": gap_ns // NS_PER_MS}))
        self.hands.drop_idle()
        self._after_gap()

    def fail(self, error: BaseException) -> None:
        """Take what was raised where no task could see it; the watch ends the machine with it."""
        if not self._failed.done():
            self._failed.set_exception(error)

    def _decided(self, client_order_id: str) -> int:
        return self.pump.reactor.state.orders[client_order_id].decided_ns  # type: ignore[index]

    async def _watch(self) -> None:
        await self._failed

    async def _tick(self) -> None:
        """Move the machine's clock ten times a second, and tell it when time itself jumped."""
        told_ms = self.clock.drift_ns() // NS_PER_MS
        while True:
            await asyncio.sleep(TICK_S)
            now_ns = self.clock.now_ns()
            late_ns = now_ns - self._ticked_ns - TICK_NS
            drift_ms = self.clock.drift_ns() // NS_PER_MS
            if abs(drift_ms - told_ms) > STEP_MS:
                self._stepped(drift_ms - told_ms)
                told_ms = drift_ms
            self.feed("tick", orjson.dumps({"lag_ms": max(0, late_ns // NS_PER_MS)}))
            self._ticked_ns = now_ns
            # The venue's offset is known against our boot clock; requests carry wall time plus it.
            offset_ms = self.pump.session.offset_ms
            if offset_ms is not None:
                self.rest.offset_ms = offset_ms - drift_ms
            self._between(now_ns)

    def _stepped(self, step_ms: int) -> None:
        """Tell that the wall clock was set; far forward, it may be a virtual machine whose clocks all stood still."""
        self.feed("clock", orjson.dumps({"step_ms": step_ms}))
        if step_ms * NS_PER_MS > GAP_NS and not self.ended:
            self._slept(step_ms * NS_PER_MS, self.clock.now_ns())
