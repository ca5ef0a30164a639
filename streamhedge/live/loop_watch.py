"""A thread that sees whether the loop still turns (FAULTS C4): it says where a wedged one stands, and ends the process.

A wedged loop decides nothing, answers nothing and takes no signal. Crash = start: ending the process gives whoever
started it, or a person with `streamhedge run`, the chance to begin again. Time in which this thread did not run either
(a suspended machine, a stopped process) is not counted: that is a gap, and the machine comes back from it by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from streamhedge.domain.commands import Level

LOOK_S = 0.05
STALL_S = 0.25
"""A turn that took longer is counted."""
WEDGED_S = 2.0
"""Then the stack is said. When the loop turns again, the machine takes so long a stall for a gap: nothing is raised
before a new snapshot."""
DEAD_S = 30.0
"""Then it does not come back. Well above what a full disk, a name server or a frozen terminal costs."""
LAST_WORDS_S = 1.0
TOLD_EVERY_S = 60.0
FRAMES_MOST = 12
Say = Callable[[str, Level], None]


class LoopWatch(AbstractAsyncContextManager["LoopWatch"]):
    """Watches the loop that enters it, until it is left."""

    def __init__(
        self,
        *,
        say: Say,
        tell: Say,
        end: Callable[[str], None],
        wedged_s: float = WEDGED_S,
        dead_s: float = DEAD_S,
    ) -> None:
        """Name who is told.

        Args:
            say: Called in the watching thread, while the loop stands; must not wait for the loop.
            tell: Called on the loop, once it turns again.
            end: Called in the watching thread with the reason when the loop does not come back; ends the process.
            wedged_s, dead_s: How long it stands until then, seconds.
        """
        self._say, self._tell, self._end = say, tell, end
        self._wedged_s, self._dead_s = wedged_s, dead_s
        self._turns = 0
        self._left = threading.Event()
        self._stalls, self._longest_s = 0, 0.0

    async def __aenter__(self) -> LoopWatch:
        """Begin to watch."""
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._turning = asyncio.create_task(self._turn())
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no longer."""
        self._left.set()
        self._turning.cancel()
        await asyncio.gather(self._turning, return_exceptions=True)

    async def _turn(self) -> None:
        """Turn with the loop, and tell each minute how often it stood."""
        told_s = self._loop.time()
        while True:
            self._turns += 1
            await asyncio.sleep(LOOK_S)
            if self._stalls and self._loop.time() - told_s >= TOLD_EVERY_S:
                stalls, longest_s = self._stalls, self._longest_s
                self._stalls, self._longest_s, told_s = 0, 0.0, self._loop.time()
                text = (
                    f"the loop stood {stalls} time(s) for more than {STALL_S * 1_000:.0f} ms, at most {longest_s:.1f} s"
                )
                self._tell(text, Level.INFO)

    def _watch(self) -> None:
        seen, stood_s, said = -1, 0.0, False
        last_s = time.monotonic()
        while not self._left.wait(LOOK_S):
            now_s = time.monotonic()
            passed_s, last_s = now_s - last_s, now_s
            if self._turns != seen:
                self._came_back(stood_s, said)
                seen, stood_s, said = self._turns, 0.0, False
                continue
            stood_s += min(passed_s, 2 * LOOK_S)
            if stood_s >= self._wedged_s and not said:
                said = True
                self._say(f"the loop has not turned for {stood_s:.1f} s: nothing is hedged; it stands in {self._where()}",
                          Level.CRITICAL)  # fmt: skip
            if stood_s >= self._dead_s:
                self._end(f"the loop has not turned for {stood_s:.0f} s; it stands in {self._where()}")
                return

    def _came_back(self, stood_s: float, said: bool) -> None:
        if stood_s < STALL_S:
            return
        self._stalls += 1
        self._longest_s = max(self._longest_s, stood_s)
        if said:
            text = f"the loop stood for {stood_s:.1f} s and turns again"
            with contextlib.suppress(RuntimeError):  # it was closed meanwhile
                self._loop.call_soon_threadsafe(self._tell, text, Level.WARNING)

    def _where(self) -> str:
        """Return where the loop's thread stands, innermost call last."""
        frame = sys._current_frames().get(self._watched)
        if frame is None:
            return "no frame"
        calls = traceback.extract_stack(frame)[-FRAMES_MOST:]
        return " > ".join(f"{call.name} ({call.filename.rpartition('/')[2]}:{call.lineno})" for call in calls)
