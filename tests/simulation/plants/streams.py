"""Bugs planted in streams, clocks and what is asked of the venue."""

from __future__ import annotations

from typing import Any

from streamhedge.domain.commands import CancelOrder
from streamhedge.domain.events import OpenOrders, Owner, Quarantined
from streamhedge.reactor import reactor
from streamhedge.reactor.state import Core
from streamhedge.runtime import inputs
from streamhedge.wire import session
from streamhedge.wire.session import Session
from tests.simulation.planting import Planting, plant


@plant("a private stream that closed is no reason to doubt the book", "5", "20", kinds=("S3", "U2", "net-down"))
def a_closed_stream_is_no_reason_to_doubt(bug: Planting) -> None:
    bug.instead(Session, "_lose", lambda honest: lambda self, reason, now_ns: bug.ran())


@plant("a private frame nobody can read changes nothing", "5", kinds=("S7", "S8"))
def an_unreadable_private_frame_is_ignored(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def take(self: Session, event: Any, now_ns: int) -> None:
            if isinstance(event, Quarantined) and event.private:
                bug.ran()
                return
            honest(self, event, now_ns)

        return take

    bug.instead(Session, "_take", build)


@plant("a suspended machine goes on as if nothing was", "5", kinds=("stop",))
def a_suspend_is_ignored(bug: Planting) -> None:
    bug.at(inputs.SOURCES, "clock", lambda honest: lambda *said: (bug.ran(), [])[1])


@plant("the listen key is never renewed", "U2", kinds=("external",), minutes=64)
def the_listen_key_is_never_renewed(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def watch(self: Session, now_ns: int) -> None:
            if self.state.handle_dead:
                honest(self, now_ns)
            else:
                bug.ran()

        return watch

    bug.instead(Session, "_watch_key", build)


@plant("the clock offset is applied with its sign turned", "14", kinds=("C1", "kill"))
def the_clock_offset_has_the_wrong_sign(bug: Planting) -> None:
    def offset(self: Session) -> int | None:
        bug.ran()
        found = sorted(self.state.offsets_ms)
        return -found[len(found) // 2] if found else None

    bug.instead(Session, "offset_ms", lambda honest: property(offset))


@plant("the position is asked for with every tick", "13")
def the_weight_of_requests_is_ignored(bug: Planting) -> None:
    bug.constant(session, "AUDIT_EVERY_NS", 100_000_000)
    bug.instead(Session, "_watch_snapshot", lambda honest: lambda self, now_ns: (bug.ran(), honest(self, now_ns))[1])


@plant("foreign orders that rest are cancelled", "A1", kinds=("foreign-rests", "kill"))
def foreign_orders_are_cancelled(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def listed(core: Core, event: OpenOrders) -> None:
            for order in event.orders:
                if order.owner is not Owner.OURS:
                    bug.ran()
                    core.commands.append(CancelOrder(symbol=order.symbol, client_order_id=order.client_order_id))
            honest(core, event)

        return listed

    bug.at(reactor.HANDLERS, OpenOrders, build)
