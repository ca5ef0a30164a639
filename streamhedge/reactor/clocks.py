"""What clocks that do not agree lead to (FAULTS C1, C2): a warning, then no new hedge until they agree again.

Signed timestamps follow the venue's clock as it was last asked, so an offset by itself refuses nothing; one this large
says that something is wrong with a clock, and an answer that came late would be taken for it.
"""

from __future__ import annotations

from streamhedge.domain.commands import Level
from streamhedge.domain.events import CLOCK_WARN_MS, ClockOffset, WallStepped
from streamhedge.reactor.state import Block, Core

CAUSE = "clock"


def on_clock_offset(core: Core, event: ClockOffset) -> None:
    """Warn beyond 500 ms, block the hedges beyond half the receive window; both end with the offset."""
    offset_ms, most_ms = event.offset_ms, core.policy.limits.recv_window_ms // 2
    warned, core.state.clock_warned = core.state.clock_warned, abs(offset_ms) > CLOCK_WARN_MS
    if core.state.clock_warned and not warned:
        core.note(
            "clock", Level.WARNING, None, f"the venue's clock is {offset_ms:+d} ms from ours", offset_ms=offset_ms
        )
    elif warned and not core.state.clock_warned:
        core.note("clock", Level.INFO, None, f"the clocks agree again within {CLOCK_WARN_MS} ms", offset_ms=offset_ms)
    far = abs(offset_ms) > most_ms
    for hedge in core.policy.hedges:
        memory = core.memory_of(hedge.symbol)
        if far and memory.block is None:
            reason = f"the venue's clock is {offset_ms:+d} ms from ours, more than half of recv_window; set ours right"
            core.trip("R11")
            memory.block = Block(cause=CAUSE, reason=reason, latched=False, until_ns=None)
            core.note("blocked", Level.CRITICAL, hedge.symbol, f"{reason}: nothing is hedged, the ladder stays on")
        elif not far and memory.block is not None and memory.block.cause == CAUSE:
            memory.block = None
            core.note("unblocked", Level.INFO, hedge.symbol, "the clocks agree again")


def on_wall_stepped(core: Core, event: WallStepped) -> None:
    """Say that somebody set the clock; the venue's time is asked again."""
    core.note(
        "clock",
        Level.WARNING,
        None,
        f"the wall clock was set by {event.step_ms:+d} ms; durations do not follow it, the venue's time is asked again",
        step_ms=event.step_ms,
    )
