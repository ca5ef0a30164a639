"""The inputs of a running machine, handed on as they are recorded: what a reader in another process follows.

A reader gets the whole state once and every input after it, by number. It runs the same pump over them, so that its book is
ours, and it notices a hole by the numbers. A reader that is too slow is given the state again; it costs us nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable

import orjson

from streamhedge import __version__
from streamhedge.domain.values import state
from streamhedge.runtime.pump import Journal, Pump
from streamhedge.store.journal import one_line

KEPT_MOST = 4_096
"""So many inputs back a reader that was cut off may go on without the whole state: minutes."""


@state
class _Reader:
    """One who follows; ``behind`` means that its lines were dropped and it needs the state again."""

    waiting: deque[bytes]
    wake: asyncio.Event
    behind: bool = False


def _line(seq: int, recv_ns: int, source: str, payload: bytes) -> bytes:
    return b"%d %d %s %s\n" % (seq, recv_ns, source.encode(), one_line(payload))


class Feed:
    """A journal that hands on what it records."""

    def __init__(self, journal: Journal, pump: Callable[[], Pump]) -> None:
        self._journal = journal
        self._pump = pump
        self._kept: deque[tuple[int, int, str, bytes]] = deque(maxlen=KEPT_MOST)
        self._readers: list[_Reader] = []

    def append(self, recv_ns: int, source: str, payload: bytes) -> None:
        """Record one input; then hand it on."""
        self._journal.append(recv_ns, source, payload)
        seq = self._pump().seq + 1  # the pump numbers an input once it is recorded
        self._kept.append((seq, recv_ns, source, payload))
        if not self._readers:
            return  # a line is written when there is somebody to read it, not before an order
        line = _line(seq, recv_ns, source, payload)
        for reader in self._readers:
            if len(reader.waiting) >= KEPT_MOST:
                reader.waiting.clear()
                reader.behind = True
            elif not reader.behind:
                reader.waiting.append(line)
            reader.wake.set()

    async def follow(self, after: int | None) -> AsyncGenerator[bytes, None]:
        """Yield lines for ever: the state where it is needed, then every input by number.

        Args:
            after: The last input the reader has; None, or one that is too old, begins with the whole state.
        """
        reader = _Reader(deque(), asyncio.Event())
        known = [_line(*kept) for kept in self._kept if after is not None and kept[0] > after]
        whole = after is not None and after <= self._pump().seq and len(known) == self._pump().seq - after
        if whole:
            reader.waiting.extend(known)
        else:
            reader.behind = True
        reader.wake.set()
        self._readers.append(reader)
        try:
            while True:
                await reader.wake.wait()
                reader.wake.clear()
                if reader.behind:
                    # Between inputs: what comes after this state has the next number.
                    reader.behind = False
                    reader.waiting.clear()
                    yield self._state()
                while reader.waiting and not reader.behind:
                    lines = b"".join(reader.waiting)
                    reader.waiting.clear()
                    yield lines
        finally:
            self._readers.remove(reader)

    def _state(self) -> bytes:
        pump = self._pump()
        header = {"seq": pump.seq, "version": __version__, "state": pump.state(), "digest": pump.digest()}
        return b"%d %d header %s\n" % (pump.seq, pump.last_ns, orjson.dumps(header))
