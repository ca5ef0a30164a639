"""Start-up is recovery: from the ledger to the state a run begins with. What is open at the venue is settled by evidence.

The ledger says what we meant; the venue will say what is. Orders whose end nobody learnt come back in doubt, latches come
back latched, and after a change of boot (power loss may have taken the newest intents) nothing is raised until a request
that nobody remembers can no longer be accepted.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Any

from streamhedge.domain.order import OrderStatus
from streamhedge.domain.stop import StopStatus
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, Symbol
from streamhedge.reactor.controls import RAMP_NS
from streamhedge.reactor.orders import QUARANTINE_EXTRA_NS
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import RECENT_ORDERS, Block, Heard, State
from streamhedge.rules.params import Policy
from streamhedge.rules.view import LadderStep
from streamhedge.store.ledger import Ledger

DAY_NS = 86_400 * NS_PER_SECOND
MINUTE_NS = 60 * NS_PER_SECOND
GHOSTS_NS = 600 * NS_PER_SECOND
"""How far back an order that ended without a trace is remembered over a restart: a ghost comes within a minute (O18)."""


def boot_id() -> str:
    """Return what names this boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(uuid.getnode())


def recovered(ledger: Ledger, policy: Policy, *, epoch: int, now_ns: int, boot: str, shadow: bool) -> State:
    """Return the state that the ledger leads to.

    Args:
        ledger: The account's books.
        policy: What the operator configured.
        epoch: Number of this run.
        now_ns: The time, nanoseconds since the epoch.
        boot: Name of this boot.
        shadow: True when orders are withheld.
    """
    state = State(instance=ledger.instance, epoch=epoch, shadow=shadow)
    state.previous_epoch = max((int(run["number"]) for run in ledger.epochs() if run["number"] < epoch), default=0)
    state.meter.started_ns = now_ns
    state.gaps = ledger.last_gap()
    known = ledger.last_row()
    if known is not None:
        # When an earlier run received it, its recording says.
        state.heard = Heard(event=known[0], event_time_ms=int(known[1]["time_ms"]), recv_ns=None)
    for trade in ledger.float_trades():
        state.floats[trade.asset] = state.floats.get(trade.asset, ZERO) + trade.quantity
        state.usd += trade.usd
    for order in ledger.open_orders():
        # It was committed; whether it left is unknown. Evidence settles it: events, order.status, absence.
        state.orders[order.client_order_id] = replace(order, status=OrderStatus.IN_DOUBT, absences=0)
        state.open_ids.append(order.client_order_id)
        state.uncovered.append(order.client_order_id)
    for order in ledger.intents(since_ms=(now_ns - GHOSTS_NS) // NS_PER_MS)[-RECENT_ORDERS:]:
        if order.status in (OrderStatus.ABSENT, OrderStatus.REFUSED):
            state.orders[order.client_order_id] = order  # should it have executed after all, its fill is known for ours
    reactor = Reactor(state, policy)
    for order in ledger.intents(since_ms=(now_ns - MINUTE_NS) // NS_PER_MS):
        # What a minute may hold it may hold over restarts too; a wall clock that was set back makes it no longer.
        at_ns = min(order.decided_ns, now_ns)
        state.meter.order_times_ns.append(at_ns)
        if order.symbol in state.memory:
            state.memory[order.symbol].intent_times_ns.append(at_ns)
    for stop in ledger.stops():
        # It rests, or may: the venue's list settles it, against nothing this run has heard.
        resting = stop.status is StopStatus.RESTING
        status = StopStatus.RESTING if resting else StopStatus.IN_DOUBT
        state.stops[stop.client_order_id] = replace(stop, status=status, resting_ns=0, absences=0)
    for key, fields in ledger.states().items():
        _restore(reactor, key, fields, now_ns)
    quarantine_ns = _quarantine_until(ledger, policy, now_ns=now_ns, boot=boot)
    if quarantine_ns > now_ns:
        state.quarantine_until_ns = quarantine_ns
        for memory in state.memory.values():
            memory.distrust(quarantine_ns)
    return state


def _restore(reactor: Reactor, key: str, fields: dict[str, Any], now_ns: int) -> None:
    """Put one latch back."""
    state = reactor.state
    word, _, symbol = key.partition(":")
    if word == "day" and fields.get("day") == now_ns // DAY_NS:
        state.meter.day = fields["day"]
        state.meter.turnover = Decimal(fields["turnover"])
        state.meter.hedge_cost = Decimal(fields["hedge_cost"])
        return
    memory = reactor.core.memory_of(Symbol(symbol)) if symbol else None
    if word == "pace" and memory is not None:
        memory.paced = bool(fields.get("paced"))
        memory.last_paced_ns = now_ns
        if fields.get("cutting"):
            memory.cutting = LadderStep(fields["cutting"])
            memory.cut_to = Decimal(fields["cut_to"])
    if word == "silence":
        # A ban outlives the run that earned it; the first request after a restart must not be a probe.
        state.silent_until_ns = int(fields["until_ns"])
        state.banned = bool(fields["banned"])
    if word == "ramp":
        # A wall clock that was set back must not make it longer; what was raised in it is not known, so it begins anew.
        state.ramp_until_ns = min(int(fields["until_ns"]), now_ns + RAMP_NS)
        state.maintained = bool(fields["due"])
    reason = fields.get("reason")
    if not reason:
        return
    if word == "halted":
        state.halted = str(reason)
    elif word == "reduce" and memory is None:
        state.reducing["operator"] = str(reason)
    elif word == "reduce" and memory is not None:
        memory.reduce_only = str(reason)
    elif word == "flatten" and memory is not None:
        memory.flatten = str(reason)
    elif word == "block" and memory is not None:
        latched = bool(fields.get("latched", True))
        memory.block = Block(cause=str(fields["cause"]), reason=str(reason), latched=latched, until_ns=None)
    elif word == "venue_close" and memory is not None:
        memory.venue_closed = str(reason)
        memory.reopen_at_ns = int(fields["until_ns"])


def _quarantine_until(ledger: Ledger, policy: Policy, *, now_ns: int, boot: str) -> int:
    """Return when an order that a lost ledger entry does not remember can no longer be accepted; 0 when none can be.

    What a power loss took may be newer than anything that is still visible, and so may its request: only the first start
    of this boot bounds it. A run that noted its end, durably and last of all, lost nothing.
    """
    epochs = ledger.epochs()
    of_this_boot = list(takewhile(lambda run: run["boot_id"] == boot, reversed(epochs)))
    before = epochs[: len(epochs) - len(of_this_boot)]
    if not before or before[-1]["ended"] is not None:
        return 0
    began_ns = int(of_this_boot[-1]["started_ms"]) * NS_PER_MS if of_this_boot else now_ns
    waits_ns = policy.limits.recv_window_ms * NS_PER_MS + QUARANTINE_EXTRA_NS
    # Started milliseconds are rounded down; a wall clock that was set back must not hold us for longer.
    return min(began_ns + NS_PER_MS, now_ns) + waits_ns
