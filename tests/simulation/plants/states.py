"""Bugs planted in what may be trusted, and in HALTED, REDUCING and BLOCKED."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamhedge.reactor import decide, reactor
from streamhedge.reactor.state import Core
from streamhedge.rules.view import BookStatus, TradingState
from tests.simulation.planting import Planting, plant


@plant("a mark of any age is good enough", "12", kinds=("S2", "S10", "M1"))
def an_old_mark_is_good_enough(bug: Planting) -> None:
    bug.found(decide, "view_of", lambda view: replace(view, mark_age_ms=0))


@plant("a late loop raises all the same", "12", kinds=("stop",))
def a_late_loop_raises(bug: Planting) -> None:
    bug.found(decide, "view_of", lambda view: replace(view, lag_ms=0))


@plant("a SUSPECT book is traded on", "5", kinds=("S3", "S7", "stop", "U2", "external"))
def a_suspect_book_is_traded_on(bug: Planting) -> None:
    bug.found(decide, "view_of", lambda view: replace(view, book_status=BookStatus.LIVE, position_trusted=True))


@plant("HALTED is taken for ACTIVE", "5", "17", kinds=("halt",))
def a_halt_is_ignored(bug: Planting) -> None:
    def change(view: Any) -> Any:
        halted = view.trading_state is TradingState.HALTED
        return replace(view, trading_state=TradingState.ACTIVE) if halted else view

    bug.found(decide, "view_of", change)


@plant("REDUCING is taken for ACTIVE", "5", kinds=("reduce",))
def reducing_is_ignored(bug: Planting) -> None:
    def change(view: Any) -> Any:
        reducing = view.trading_state is TradingState.REDUCING
        return replace(view, trading_state=TradingState.ACTIVE) if reducing else view

    bug.found(decide, "view_of", change)


@plant("a second writer on the account is welcome", "17", kinds=("rival",))
def a_second_writer_is_welcome(bug: Planting) -> None:
    bug.instead(reactor, "_second_writer", lambda honest: lambda core, event: bug.ran())


@plant("what the venue closed is opened again at once", "A5", kinds=("A5",))
def a_venue_close_is_reopened_at_once(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def close(core: Core, memory: Any, event: Any) -> None:
            bug.ran()
            honest(core, memory, event)
            memory.reopen_at_ns = None
            memory.venue_closed = ""

        return close

    bug.instead(reactor, "_venue_close", build)


@plant("HALTED ends by itself", "19", kinds=("halt",))
def a_halt_ends_by_itself(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        begun: list[int] = []

        def housekeeping(core: Core) -> None:
            if core.state.halted is not None and begun and begun[-1] < core.state.seq:
                bug.ran()
                core.state.halted = None
            elif core.state.halted is not None:
                begun.append(core.state.seq)
            honest(core)

        return housekeeping

    bug.instead(reactor, "_housekeeping", build)


@plant("HALTED begins without a word", "22", kinds=("rival",))
def a_halt_is_not_told(bug: Planting) -> None:
    def halt(core: Core, reason: str, symbol: object = None) -> None:
        bug.ran()
        core.state.halted = core.state.halted or reason

    bug.instead(reactor, "halt", lambda honest: halt)


@plant("an order does not say which limits were in force", "19")
def an_order_without_its_limits(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def register(core: Core, draft: Any) -> Any:
            bug.ran()
            order = honest(core, draft)
            order.policy_hash = ""
            return order

        return register

    bug.instead(decide, "register", build)
