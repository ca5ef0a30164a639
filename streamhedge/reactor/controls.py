"""Controls that watch the program itself, and the count of every control's triggers (FAULTS §5).

R14, the error budget: what goes wrong in a minute (refusals, frames not understood, unknown outcomes, failed calls, lost
books) may be as often as one symbol may be tried in it; beyond that nothing is raised until a minute went by with less.
R15, the ramp: after a halt was lifted and after maintenance raising begins slowly. R12, what comes back must be of what
was decided: anything else says that our memory of this run is wrong.
"""

from __future__ import annotations

from streamhedge.domain.commands import Level
from streamhedge.domain.events import ExecutionReport
from streamhedge.domain.order import Order
from streamhedge.domain.values import NS_PER_SECOND, ClientOrderId, Symbol
from streamhedge.reactor.state import Core, SymbolMemory

MINUTE_NS = 60 * NS_PER_SECOND
ERRORS_KEPT = 1_000
RAMP_NS = 10 * NS_PER_SECOND
ERRORS = "errors"
MAINTENANCE_CODE = -1016
HELD_BACK = {
    **{"halted": "state", "reducing": "state", "blocked": "symbol", "in_doubt": "R5", "stale": "R11"},
    **{"price": "R2", "ramp": "R15"},
}
"""Words of the hedge rule, and the control that would have refused what it did not even ask for."""


def held_back(core: Core, memory: SymbolMemory, hold: str) -> None:
    """Count the control for whose reason the rule holds its order back, once as it begins to."""
    if hold in HELD_BACK and hold != memory.hold:
        core.trip(HELD_BACK[hold])


def halt(core: Core, reason: str, symbol: Symbol | None = None) -> None:
    """Latch HALTED and say so; the latch is persisted and a person re-arms it."""
    if core.state.halted is None:
        core.state.halted = reason
        core.state.last_halt_alarm_ns = core.now_ns
        core.persist("state", "halted", reason=reason)
        core.note("halted", Level.CRITICAL, symbol, f"HALTED: {reason}")


# ---------------------------------------------------------------- R14


def count_error(core: Core, code: int | None = None) -> None:
    """Count one thing that went wrong; ``code`` is the venue's, where it gave one."""
    hear_code(core, code)
    times = core.state.meter.error_times_ns
    times.append(core.now_ns)
    del times[:-ERRORS_KEPT]


def hear_code(core: Core, code: int | None) -> None:
    """Remember that the venue is closed for maintenance."""
    if code == MAINTENANCE_CODE and not core.state.maintained:
        core.state.maintained = True
        persist_ramp(core)


def watch_errors(core: Core) -> None:
    """Raise nothing while more went wrong in the last minute than the budget holds."""
    meter, most = core.state.meter, core.policy.limits.max_intents_per_symbol_per_minute
    if not meter.error_times_ns:
        return
    meter.error_times_ns = [t for t in meter.error_times_ns if t > core.now_ns - MINUTE_NS]
    found = len(meter.error_times_ns)
    if found <= most:
        if core.state.reducing.pop(ERRORS, None) is not None:
            core.note(ERRORS, Level.INFO, None, f"{found} errors in the last minute: inside the budget of {most} again")
    elif ERRORS not in core.state.reducing:
        said = f"more than {most} errors in a minute (refusals, unknown outcomes, frames, calls, lost books)"
        core.state.reducing[ERRORS] = said
        core.trip("R14")
        core.note(ERRORS, Level.CRITICAL, None, f"{said}: REDUCING until a minute goes by with less")


# ---------------------------------------------------------------- R15


def begin_ramp(core: Core) -> None:
    """Raise slowly from here on: nothing that waited may go out at once."""
    core.state.maintained = False
    core.state.ramp_until_ns = core.now_ns + RAMP_NS
    persist_ramp(core)


def back_from_maintenance(core: Core) -> None:
    """Begin the ramp once the book is LIVE again after the venue was closed, or where an earlier run could not."""
    if core.state.maintained:
        begin_ramp(core)


def ramp_row(*, until_ns: int = 0, due: bool) -> dict[str, object]:
    """Return the ledger's row of the ramp: a restart, however it came, must not be the way around it."""
    return {"until_ns": until_ns, "due": due}


def persist_ramp(core: Core) -> None:
    """Keep the ramp over a restart."""
    core.persist("state", "ramp", **ramp_row(until_ns=core.state.ramp_until_ns, due=core.state.maintained))


def is_first_of_ramp(core: Core, memory: SymbolMemory) -> bool:
    """Return whether a ramp runs and nothing was raised on the symbol since it began."""
    until_ns = core.state.ramp_until_ns
    return core.now_ns < until_ns and memory.raised_ns < until_ns - RAMP_NS


# ---------------------------------------------------------------- R12


def stray_order(core: Core, client_order_id: ClientOrderId, number: int | None, symbol: Symbol | None) -> None:
    """Halt on an order of this very run that was never decided: the wire carries what the reactor did not say."""
    if number is not None and number >= core.state.next_order:
        _disagree(core, symbol, f"order {client_order_id} is of this run, and this run never decided it")


def check_fills(core: Core, order: Order, event: ExecutionReport) -> None:
    """Halt on an own order that filled more than was asked."""
    if event.cumulative_quantity > order.quantity:
        said = f"{order.client_order_id} filled {event.cumulative_quantity} of {order.quantity}"
        _disagree(core, order.symbol, said)


def _disagree(core: Core, symbol: Symbol | None, what: str) -> None:
    core.trip("R12")
    halt(core, f"what came back is not what was decided: {what}", symbol)
