"""What a long run needs between inputs: segments ended, packed and thrown away in time, the ledger folded together.

Deciding is cheap and happens on the loop; the work itself runs in one thread and never delays an order.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND
from streamhedge.errors import StoreError
from streamhedge.runtime.pump import Pump
from streamhedge.store.journal import JournalWriter, compress, prune
from streamhedge.store.ledger import Ledger

FOLD_EVERY_NS = 30 * NS_PER_SECOND


class Upkeep:
    """The upkeep of one run's recording and ledger."""

    def __init__(
        self, journal: JournalWriter, ledger: Ledger, pump: Pump, *, keep_ms: int | None, tell: Callable[[str], None]
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._pump = pump
        self._keep_ms = keep_ms
        self._tell = tell
        self._folded_ns = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="upkeep")
        self._doing: Future[None] | None = None

    def between(self, now_ns: int) -> None:
        """Start what is due; called between inputs, ten times a second."""
        if self._doing is not None and not self._doing.done():
            return
        try:
            if self._doing is not None:
                done, self._doing = self._doing, None
                done.result()
            self._start(now_ns)
        except StoreError as error:
            self._tell(str(error))

    def _start(self, now_ns: int) -> None:
        if self._journal.wants_rotation(now_ns) and self._pump.session.quiet:
            ended = self._journal.rotate(self._pump.last_ns)
            self._doing = self._thread.submit(self._pack, ended, now_ns)
        elif now_ns - self._folded_ns >= FOLD_EVERY_NS:
            self._folded_ns = now_ns
            self._doing = self._thread.submit(self._ledger.checkpoint)

    def _pack(self, ended: Path | None, now_ns: int) -> None:
        if ended is None:
            return
        compress(ended)
        if self._keep_ms is not None:
            prune(ended.parent, now_ns - self._keep_ms * NS_PER_MS)

    def close(self) -> None:
        """Wait for what is being done."""
        self._thread.shutdown(wait=True)
