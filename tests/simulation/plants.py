"""The table of planted bugs: name, what is broken, which invariants may catch it, and what must happen for it to show.

A plant changes the product at one place and leaves the world and its auditor alone. Where the place has moved, planting
raises; ``Planting.ran`` counts how often the broken code ran, so that nothing counts as caught that was never at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from streamhedge.domain import book
from streamhedge.domain.book import PositionBook
from streamhedge.domain.commands import CancelOrder, PlaceOrder
from streamhedge.domain.events import (
    AccountUpdate,
    ExecutionReport,
    FloatTradeRecorded,
    OpenOrders,
    OrderOutcome,
    OutcomeKind,
    Owner,
    PositionSide,
    Quarantined,
    TradeLite,
)
from streamhedge.domain.order import TRANSITIONS, OrderStatus, Purpose, Report, Side
from streamhedge.domain.values import ZERO
from streamhedge.errors import StoreError
from streamhedge.live import recovery
from streamhedge.reactor import decide, meter, orders, reactor, reconcile
from streamhedge.reactor.state import Core, State
from streamhedge.rules import hedge, limits, liquidation
from streamhedge.rules.view import BookStatus, IntentDraft, LadderStep, TradingState
from streamhedge.runtime import inputs
from streamhedge.runtime.pump import Pump
from streamhedge.wire import requests, session
from streamhedge.wire.session import Session
from streamhedge.world.auditor import Violation
from streamhedge.world.script import draw
from streamhedge.world.world import World
from tests.simulation.worlds import MINUTES_MS

D = Decimal
Build = Callable[[Any], Any]


class Planting:
    """Puts one bug into the product and counts how often it was at work."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.times = 0

    def ran(self) -> None:
        """The broken code ran."""
        self.times += 1

    def instead(self, owner: Any, name: str, build: Build) -> None:
        """Put what ``build`` makes of the honest attribute in its place; AttributeError when there is none."""
        self.patch.setattr(owner, name, build(getattr(owner, name)))

    def at(self, table: Any, key: Any, build: Build) -> None:
        """Put what ``build`` makes of the honest entry in its place; KeyError when there is none."""
        self.patch.setitem(table, key, build(table[key]))

    def constant(self, owner: Any, name: str, value: Any) -> None:
        """Change a figure of the product; the planter says where it is at work."""
        assert getattr(owner, name) != value, f"{name} is {value} already: nothing would be planted"
        self.patch.setattr(owner, name, value)

    def without_check(self, *controls: str) -> None:
        """Take controls out of the gate, so that the rule beneath is what is tried."""
        names = [name for name, _ in limits.CHECKS]
        assert all(control in names for control in controls), f"the gate has {names}"
        kept = tuple((name, check) for name, check in limits.CHECKS if name not in controls)
        self.patch.setattr(limits, "CHECKS", kept)


@dataclass(frozen=True)
class Plant:
    """One bug. ``kinds`` are the happenings that may show it, empty: whatever a seed draws."""

    name: str
    broken: str
    invariants: tuple[str, ...]
    into: Callable[[Planting], None]
    kinds: tuple[str, ...] = ()
    minutes: int = 3
    crash: bool = False


@dataclass
class Hunt:
    """What became of one: ``violation`` None when no seed showed it; ``events`` of all worlds until then."""

    plant: Plant
    violation: Violation | None = None
    seeds: int = 0
    events: int = 0
    ran: int = 0
    trail: list[str] = field(default_factory=list)

    @property
    def fault(self) -> str:
        """Why this does not count as caught; empty when it does."""
        if not self.ran:
            return "the planted code never ran"
        if self.violation is None:
            return f"{self.seeds} worlds did not notice"
        if self.violation.invariant not in self.plant.invariants:
            return f"caught by the wrong invariant: {self.violation}"
        if self.violation.__cause__ is not None and not self.plant.crash:
            return f"it crashed: {self.violation}"
        return ""


PLANTS: dict[str, Plant] = {}


def plant(
    broken: str, *invariants: str, kinds: tuple[str, ...] = (), minutes: int = 3, crash: bool = False
) -> Callable[[Callable[[Planting], None]], Callable[[Planting], None]]:
    """Enter a function into the table under its own name."""

    def enter(into: Callable[[Planting], None]) -> Callable[[Planting], None]:
        name = into.__name__
        assert name not in PLANTS, f"{name} stands twice"
        PLANTS[name] = Plant(name, broken, invariants, into, kinds, minutes, crash)
        return into

    return enter


def hunt(planted: Plant, seeds: Iterable[int]) -> Hunt:
    """Plant one bug and look for it, seed after seed, until a world shows a violation."""
    found = Hunt(planted)
    with pytest.MonkeyPatch.context() as patch:
        bug = Planting(patch)
        planted.into(bug)
        for seed in seeds:
            case = draw(seed, planted.minutes * MINUTES_MS, kinds=planted.kinds)
            outcome = World(case, lambda *said, **named: recovery.recovered(*said, **named)).run()
            found.seeds += 1
            found.events += outcome.events
            if outcome.violation is not None:
                found.violation, found.trail = outcome.violation, outcome.trail
                break
        found.ran = bug.times
    return found


# ---------------------------------------------------------------- sending


@plant("every order is handed to the wire twice", "4", kinds=("external",))
def an_order_is_sent_twice(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def place(self: Pump, command: PlaceOrder) -> None:
            honest(self, command)
            if self._hands is not None:  # a replay has none
                bug.ran()
                self._hands.perform(command, 0)

        return place

    bug.instead(Pump, "_place", build)


@plant("the POST of an order without a certain answer is sent again", "4", kinds=("O1", "O15", "order-answer-lost"))
def a_post_is_retried(bug: Planting) -> None:
    sent: dict[str, PlaceOrder] = {}

    def build_place(honest: Any) -> Any:
        def place(self: Pump, command: PlaceOrder) -> None:
            sent[command.client_order_id] = command
            honest(self, command)

        return place

    def build_decode(honest: Any) -> Any:
        def decode(self: Pump, source: str, payload: bytes) -> Any:
            found = honest(self, source, payload)
            for event in found[0]:
                doubtful = isinstance(event, OrderOutcome) and event.kind is OutcomeKind.IN_DOUBT
                command = sent.pop(event.client_order_id, None) if doubtful else None
                if command is not None and self._hands is not None:
                    bug.ran()
                    self._hands.perform(replace(command, deadline_ns=self.last_ns + orders.DEADLINE_NS), 0)
            return found

        return decode

    bug.instead(Pump, "_place", build_place)
    bug.instead(Pump, "_decode", build_decode)


@plant(
    "the row of an intent is written after the order was sent",
    "4",
    kinds=("ledger-fails", "commit-fails", "external"),
)
def the_row_is_written_after_the_send(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def place(self: Pump, command: PlaceOrder) -> None:
            if self._ledger is None or self._hands is None:  # a replay
                return
            bug.ran()
            self._hands.perform(command, 0)
            try:
                self._ledger.commit_intent(self.reactor.state.orders[command.client_order_id])
            except StoreError as error:
                self._say("store", {"what": "the ledger", "message": str(error)})

        return place

    bug.instead(Pump, "_place", build)


@plant("an order may leave long after it was decided", "14", kinds=("stall", "stop"))
def the_deadline_is_ignored(bug: Planting) -> None:
    bug.constant(orders, "DEADLINE_NS", 10**12)
    bug.instead(orders, "PlaceOrder", lambda honest: lambda **said: (bug.ran(), honest(**said))[1])


@plant("the wire leaves the reduce-only flag out", "4", kinds=("external",))
def the_wire_loses_the_reduce_only_flag(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def order(command: PlaceOrder, *, recv_window_ms: int) -> Any:
            if command.reduce_only:
                bug.ran()
            return honest(replace(command, reduce_only=False), recv_window_ms=recv_window_ms)

        return order

    bug.instead(requests, "place_order", build)


@plant("the ledger's row of a reducing order lacks the flag", "4", "7", kinds=("external",))
def the_ledger_loses_the_reduce_only_flag(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def place(self: Pump, command: PlaceOrder) -> None:
            order = self.reactor.state.orders[command.client_order_id]
            if order.reduce_only:
                bug.ran()
                self.reactor.state.orders[command.client_order_id] = replace(order, reduce_only=False)
            honest(self, command)

        return place

    bug.instead(Pump, "_place", build)


def _drafts(bug: Planting, change: Callable[[IntentDraft], IntentDraft]) -> None:
    """Change what the gate has approved, on its way to becoming an order."""

    def build(honest: Any) -> Any:
        def register(core: Core, draft: IntentDraft) -> Any:
            changed = change(draft)
            if changed != draft:
                bug.ran()
            return honest(core, changed)

        return register

    bug.instead(decide, "register", build)


@plant("a reducing hedge is decided without reduce-only", "7", kinds=("external",))
def the_decision_loses_the_reduce_only_flag(bug: Planting) -> None:
    _drafts(bug, lambda draft: replace(draft, reduce_only=False) if draft.purpose is Purpose.HEDGE else draft)


@plant("flatten closes with orders that may open", "6", "7", kinds=("flatten",))
def flatten_is_not_reduce_only(bug: Planting) -> None:
    _drafts(bug, lambda draft: replace(draft, reduce_only=False) if draft.purpose is Purpose.FLATTEN else draft)


@plant("the side of a raise is turned round", "7")
def a_hedge_buys(bug: Planting) -> None:
    _drafts(bug, lambda draft: draft if draft.reduce_only else replace(draft, side=Side.BUY))


# ---------------------------------------------------------------- outcomes


def _outcomes(bug: Planting, kinds: Callable[[OrderOutcome, dict[str, Any]], OutcomeKind | None]) -> None:
    """Give some answers another meaning."""

    def build(honest: Any) -> Any:
        def classify(**said: Any) -> OrderOutcome:
            found: OrderOutcome = honest(**said)
            kind = kinds(found, said)
            if kind is None or kind is found.kind:
                return found
            bug.ran()
            report = Report.ACCEPTED if kind is OutcomeKind.ACCEPTED else Report.REFUSED
            return replace(found, kind=kind, report=report)

        return classify

    bug.instead(inputs, "classify_order", build)


@plant("no answer in time counts as a refusal", "UR", kinds=("order-lost", "order-answer-lost"))
def a_timeout_is_a_refusal(bug: Planting) -> None:
    _outcomes(bug, lambda found, said: OutcomeKind.REFUSED if said["status"] is None and said["sent"] else None)


@plant("HTTP 503 'Unknown error' counts as a refusal", "UR", "3", kinds=("O1",))
def an_unknown_error_is_a_refusal(bug: Planting) -> None:
    _outcomes(bug, lambda found, said: OutcomeKind.REFUSED if said["status"] == 503 else None)


@plant("an answer nobody can read counts as a refusal", "UR", kinds=("O5",))
def an_unreadable_answer_is_a_refusal(bug: Planting) -> None:
    _outcomes(bug, lambda found, said: OutcomeKind.REFUSED if said["status"] == 502 else None)


@plant("a refusal is taken for an acceptance", "20", kinds=("O3", "O14"))
def a_refusal_is_an_acceptance(bug: Planting) -> None:
    _outcomes(bug, lambda found, said: OutcomeKind.ACCEPTED if found.kind is OutcomeKind.REFUSED else None)


@plant("an order that ended is in doubt again when its answer fails", "10", kinds=("order-answer-lost", "O5"))
def a_late_doubt_opens_what_has_ended(bug: Planting) -> None:
    bug.at(TRANSITIONS, (OrderStatus.FILLED, Report.DOUBT), lambda honest: OrderStatus.IN_DOUBT)

    def build(honest: Any) -> Any:
        def step(status: OrderStatus, report: Report) -> OrderStatus:
            if (status, report) == (OrderStatus.FILLED, Report.DOUBT):
                bug.ran()
            return honest(status, report)  # type: ignore[no-any-return]

        return step

    bug.instead(orders, "next_status", build)


@plant("a refused order leads to no new decision", "20", kinds=("O3", "order-refused"))
def a_refusal_is_the_end(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def after(core: Core, order: Any, event: Any) -> None:
            bug.ran()
            honest(core, order, event)
            core.memory_of(order.symbol).retry_after_ns = core.now_ns + 10**18

        return after

    bug.instead(orders, "_after_refusal", build)


@plant("a gap goes in crumbs, and no rate holds them", "23", kinds=("external",))
def the_rate_limits_are_ignored(bug: Planting) -> None:
    bug.without_check("O20 intents", "R4 rate")

    def build(honest: Any) -> Any:
        def crumb(view: Any, size: Decimal, *, market: bool) -> Decimal:
            bug.ran()
            return min(D("0.008"), honest(view, size, market=market))

        return crumb

    bug.instead(hedge, "slice_quantity", build)


# ---------------------------------------------------------------- doubt and its end


@plant("one 'does not exist' ends the doubt", "UR", "3", kinds=("order-lost", "O1", "O6"))
def one_absence_is_enough(bug: Planting) -> None:
    bug.constant(orders, "ABSENCES_NEEDED", 1)
    bug.instead(orders, "close_absent", lambda honest: lambda core, **said: (bug.ran(), honest(core, **said))[1])
    bug.instead(reconcile, "close_absent", lambda honest: orders.close_absent)


@plant("absence counts from the first answer on, before Tq", "UR", "3", kinds=("order-lost", "O1", "O6"))
def absence_counts_before_the_quarantine(bug: Planting) -> None:
    bug.instead(orders, "quarantine_ns", lambda honest: lambda core: (bug.ran(), 0)[1])


@plant("two absences end the doubt without a snapshot", "UR", "3", kinds=("order-lost", "O1", "O6"))
def absence_needs_no_snapshot(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def answer(core: Core, event: Any) -> None:
            honest(core, event)
            order = core.state.orders.get(event.client_order_id)
            if order is not None and order.in_doubt and order.absences >= orders.ABSENCES_NEEDED:
                bug.ran()
                orders._move(core, order, Report.ABSENT)

        return answer

    bug.at(reactor.HANDLERS, reactor.OrderStatusAnswer, build)


@plant("orders in doubt do not count as open", "3", kinds=("order-lost", "order-answer-lost", "O1", "external"))
def orders_in_doubt_do_not_count(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def view(core: Core, params: Any, **said: Any) -> Any:
            found = honest(core, params, **said)
            if found is None or not found.doubt_orders:
                return found
            bug.ran()
            return replace(found, open_orders=0, doubt_orders=0, pending_low=ZERO, pending_high=ZERO)

        return view

    bug.instead(decide, "view_of", build)


@plant("orders under way do not count", "3", "9", kinds=("external",))
def orders_under_way_do_not_count(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def view(core: Core, params: Any, **said: Any) -> Any:
            found = honest(core, params, **said)
            if found is None or not found.open_orders:
                return found
            bug.ran()
            return replace(found, open_orders=0, doubt_orders=0, pending_low=ZERO, pending_high=ZERO)

        return view

    bug.instead(decide, "view_of", build)


# ---------------------------------------------------------------- fills


def _reports(bug: Planting, change: Callable[[ExecutionReport], ExecutionReport]) -> None:
    """Misread execution reports."""

    def build(honest: Any) -> Any:
        def report(core: Core, event: ExecutionReport) -> Any:
            changed = change(event)
            if changed != event:
                bug.ran()
            return honest(core, changed)

        return report

    bug.instead(reactor, "on_execution_report", build)


@plant("a fill event seen twice counts twice", "11", kinds=("frames-again", "U6"))
def trade_ids_are_not_checked(bug: Planting) -> None:
    bug.instead(Core, "knows_trade", lambda honest: lambda *said: (bug.ran(), False)[1])


@plant(
    "the quantity of the last fill is taken for the total",
    "11",
    kinds=("thin", "order-answer-lost", "O15", "O5"),
)
def the_last_fill_is_taken_for_the_total(bug: Planting) -> None:
    _reports(
        bug, lambda event: replace(event, cumulative_quantity=event.last_quantity) if event.last_quantity else event
    )


@plant(
    "a partial fill is taken for the end of its order",
    "3",
    "UR",
    kinds=("thin", "order-answer-slow", "order-answer-lost"),
)
def a_partial_fill_ends_its_order(bug: Planting) -> None:
    _reports(bug, lambda event: replace(event, report=Report.ENDED) if event.report is Report.FILL else event)


@plant("an order that expired in part counts as filled whole", "11", "20", kinds=("O7",))
def the_rest_of_a_partial_fill_is_forgotten(bug: Planting) -> None:
    def change(event: ExecutionReport) -> ExecutionReport:
        if event.report is Report.ENDED and event.owner is Owner.OURS:
            return replace(event, cumulative_quantity=event.quantity)
        return event

    _reports(bug, change)


@plant("the realised PnL of a fill is booked with its sign turned", "11", kinds=("external",))
def realised_pnl_has_the_wrong_sign(bug: Planting) -> None:
    _reports(bug, lambda event: replace(event, realised_pnl=-event.realised_pnl))


@plant("commissions are booked twice", "11")
def commissions_count_twice(bug: Planting) -> None:
    _reports(bug, lambda event: replace(event, commission=2 * event.commission))


@plant("funding is booked with its sign turned", "11", kinds=("external",))
def funding_has_the_wrong_sign(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def count(core: Core, event: AccountUpdate) -> None:
            if event.reason == "FUNDING_FEE":
                bug.ran()
                event = replace(event, balances=tuple(replace(row, change=-row.change) for row in event.balances))
            honest(core, event)

        return count

    bug.instead(meter, "count_funding", build)


# ---------------------------------------------------------------- the book


def _rows(bug: Planting, change: Callable[[Any], Any]) -> None:
    """Misread the rows of account updates."""

    def build(honest: Any) -> Any:
        def apply(self: PositionBook, event: AccountUpdate, now_ns: int) -> Any:
            rows = tuple(change(row) for row in event.positions)
            if rows != event.positions:
                bug.ran()
            return honest(self, replace(event, positions=rows), now_ns)

        return apply

    bug.instead(PositionBook, "apply_account_update", build)


@plant(
    "positions pass through binary floats",
    "1",
    "8",
    "9",
)
def the_book_counts_in_floats(bug: Planting) -> None:
    _rows(bug, lambda row: replace(row, quantity=D.from_float(float(row.quantity))))


@plant(
    "positions are rounded to two decimals",
    "1",
    "8",
    "9",
)
def the_book_rounds(bug: Planting) -> None:
    _rows(bug, lambda row: replace(row, quantity=row.quantity.quantize(D("0.01"))))


@plant(
    "the rows of a snapshot are never taken", "1", "5", "8", "9", "20", kinds=("frame-lost", "U8", "external", "kill")
)
def snapshots_are_never_adopted(bug: Planting) -> None:
    bug.instead(PositionBook, "_adopt_position", lambda honest: lambda self, *said, **named: (bug.ran(), False)[1])


@plant("a snapshot overwrites rows of later events", "2", "8", "9", kinds=("ask-answer-slow", "external"))
def old_snapshots_overwrite(bug: Planting) -> None:
    bug.instead(book, "_is_older", lambda honest: lambda *said: (bug.ran(), False)[1] if honest(*said) else False)


@plant(
    "an update seen twice is applied twice",
    "2",
    kinds=("frames-again", "U6", "thin"),
)
def updates_are_applied_twice(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def is_news(held: Any, event: AccountUpdate) -> bool:
            if event in held.applied and event.transaction_time_ms >= held.version_ms:
                bug.ran()
                return True
            return honest(held, event)  # type: ignore[no-any-return]

        return is_news

    bug.instead(book, "_is_news", build)


@plant("a symbol that an update does not name is read as flat", "1", "8", "9", kinds=("transfer", "external-eth"))
def an_absent_symbol_is_flat(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def apply(self: PositionBook, event: AccountUpdate, now_ns: int) -> Any:
            changed = honest(self, event, now_ns)
            named = [(row.symbol, row.position_side) for row in event.positions]
            for key, held in self.positions.items():
                if key not in named and held.quantity != 0:
                    bug.ran()
                    held.quantity = ZERO
            return changed

        return apply

    bug.instead(PositionBook, "apply_account_update", build)


@plant(
    "TRADE_LITE moves the position, and the update after it again",
    "1",
    "2",
    "8",
    "9",
)
def trade_lite_moves_the_book(bug: Planting) -> None:
    def move(core: Core, event: TradeLite) -> None:
        held = core.state.book.positions.get((event.symbol, PositionSide.BOTH))
        if held is not None:
            bug.ran()
            held.quantity += event.side.sign * event.last_quantity
            held.source = "ACCOUNT_UPDATE"

    assert TradeLite not in reactor.HANDLERS, "TRADE_LITE moves nothing in the honest product"
    bug.patch.setitem(reactor.HANDLERS, TradeLite, move)


# ---------------------------------------------------------------- the float


@plant(
    "a float trade counts twice",
    "F1",
    "9",
)
def a_float_trade_counts_twice(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def twice(core: Core, event: FloatTradeRecorded) -> None:
            bug.ran()
            honest(core, event)
            honest(core, event)

        return twice

    bug.at(reactor.HANDLERS, FloatTradeRecorded, build)


@plant(
    "a sale of the float is lost",
    "F1",
    "9",
)
def a_sale_is_lost(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def lose(core: Core, event: FloatTradeRecorded) -> None:
            if event.trade.quantity < 0:
                bug.ran()
            else:
                honest(core, event)

        return lose

    bug.at(reactor.HANDLERS, FloatTradeRecorded, build)


@plant("a repeated submission of a float trade is booked and hedged again", "F1", "9")
def a_repeated_float_trade_is_hedged_again(bug: Planting) -> None:
    told: list[Any] = []

    def build(honest: Any) -> Any:
        def trade(payload: bytes, calls: Any, now_ns: int) -> list[Any]:
            events = [*told, *honest(payload, calls, now_ns)]
            if told:
                bug.ran()
            told[:] = events[-1:]
            return events

        return trade

    bug.at(inputs.SOURCES, "trade", build)


# ---------------------------------------------------------------- the hedge rule


def _figures(bug: Planting, change: Callable[[Any, Any], Any]) -> None:
    """Change what a decision is computed from."""

    def build(honest: Any) -> Any:
        def figures(view: Any) -> Any:
            found = honest(view)
            changed = change(view, found)
            if changed != found:
                bug.ran()
            return changed

        return figures

    bug.instead(hedge, "_figures", build)


@plant("the target has the wrong sign", "8", "20")
def the_target_has_the_wrong_sign(bug: Planting) -> None:
    _figures(bug, lambda view, found: replace(found, target=-found.target))


@plant("the gap has the wrong sign", "8", "9", "20")
def the_gap_has_the_wrong_sign(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def following(view: Any, figures: Any, gap: Decimal) -> Any:
            bug.ran()
            return honest(view, figures, -gap)

        return following

    bug.instead(hedge, "_next_order", build)


@plant("more is hedged than the float holds", "9")
def more_is_hedged_than_the_float(bug: Planting) -> None:
    bug.without_check("R3 position")
    bug.instead(hedge, "policy_short", lambda honest: lambda **said: (bug.ran(), honest(**said) * D("1.05"))[1])


@plant("the wanted short is rounded up to the step", "9")
def the_short_is_rounded_up(bug: Planting) -> None:
    bug.without_check("R3 position")

    def change(view: Any, found: Any) -> Any:
        step = view.instrument.step_size
        up = found.capped + step if found.policy > found.capped else found.capped
        if found.want != found.capped:
            return found
        return replace(found, capped=up, want=up, target=-up)

    _figures(bug, change)


@plant(
    "the band is ignored: every difference is traded",
    "8",
    kinds=("crumb",),
)
def the_band_is_ignored(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def following(view: Any, figures: Any, gap: Decimal) -> Any:
            if gap != 0 and abs(gap) * view.mark_price < view.params.band:
                bug.ran()
            return honest(replace(view, params=replace(view.params, band=ZERO)), figures, gap)

        return following

    bug.instead(hedge, "_next_order", build)


@plant(
    "what is below a step is sold as a whole step, then bought back",
    "8",
    "9",
    "23",
    kinds=("crumb",),
)
def dust_is_traded_to_and_fro(bug: Planting) -> None:
    bug.without_check("R3 position", "R10 direction", "R2 collar")

    def change(view: Any, found: Any) -> Any:
        dust = found.policy - found.capped
        step = view.instrument.step_size
        if dust <= 0 or view.open_orders or found.want != found.capped:
            return found
        short = -view.position
        to = found.capped + step if short <= found.capped else found.capped
        return replace(found, capped=to, want=to, target=-to)

    _figures(bug, change)

    def build(honest: Any) -> Any:
        def following(view: Any, figures: Any, gap: Decimal) -> Any:
            return honest(replace(view, params=replace(view.params, band=ZERO)), figures, gap)

        return following

    bug.instead(hedge, "_next_order", build)


@plant("a partial sale closes the whole hedge", "8", kinds=("withdraw",))
def a_partial_sale_closes_everything(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def reduce(view: Any, figures: Any, size: Decimal, side: Side) -> Any:
            if size != abs(view.position):
                bug.ran()
            return honest(view, figures, abs(view.position), side)

        return reduce

    bug.instead(hedge, "_reduce", build)


@plant("reductions are twice as large as the gap", "8", "20", kinds=("external",))
def reductions_go_past_the_target(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def reduce(view: Any, figures: Any, size: Decimal, side: Side) -> Any:
            draft = honest(view, figures, size, side)
            quantity = min(draft.quantity * 2, abs(view.position), view.params.max_order_quantity)
            if quantity != draft.quantity:
                bug.ran()
            return replace(draft, quantity=quantity)

        return reduce

    bug.instead(hedge, "_reduce", build)


@plant("a large gap goes in one order above the largest", "6")
def an_order_is_larger_than_the_largest(bug: Planting) -> None:
    bug.without_check("R1 size", "filters")

    def build(honest: Any) -> Any:
        def whole(view: Any, size: Decimal, *, market: bool) -> Decimal:
            found: Decimal = honest(view, size, market=market)
            if found < size - view.instrument.step_size:
                bug.ran()
                return size.quantize(view.instrument.step_size, rounding="ROUND_DOWN")
            return found

        return whole

    bug.instead(hedge, "slice_quantity", build)


@plant("quantities are not rounded to the step", "6")
def quantities_are_not_rounded(bug: Planting) -> None:
    bug.without_check("filters")
    _drafts(bug, lambda draft: replace(draft, quantity=draft.quantity - D("0.0003")))


@plant("limit prices leave the collar", "6")
def the_collar_is_ignored(bug: Planting) -> None:
    bug.without_check("R2 collar")

    def build(honest: Any) -> Any:
        def price(view: Any, side: Side) -> Decimal:
            bug.ran()
            return honest(replace(view, limits=replace(view.limits, price_collar=D("0.04"))), side)  # type: ignore[no-any-return]

        return price

    bug.instead(hedge, "collar_price", build)


# ---------------------------------------------------------------- trust and states


def _views(bug: Planting, change: Callable[[Any], Any]) -> None:
    """Let the rules see something else."""

    def build(honest: Any) -> Any:
        def view(core: Core, params: Any, **said: Any) -> Any:
            found = honest(core, params, **said)
            if found is None:
                return None
            changed = change(found)
            if changed != found:
                bug.ran()
            return changed

        return view

    bug.instead(decide, "view_of", build)


@plant("a mark of any age is good enough", "12", kinds=("S2", "S10", "M1"))
def an_old_mark_is_good_enough(bug: Planting) -> None:
    _views(bug, lambda view: replace(view, mark_age_ms=0))


@plant("a late loop raises all the same", "12", kinds=("stop",))
def a_late_loop_raises(bug: Planting) -> None:
    _views(bug, lambda view: replace(view, lag_ms=0))


@plant("a SUSPECT book is traded on", "5", kinds=("S3", "S7", "stop", "U2", "external"))
def a_suspect_book_is_traded_on(bug: Planting) -> None:
    _views(bug, lambda view: replace(view, book_status=BookStatus.LIVE, position_trusted=True))


@plant("HALTED is taken for ACTIVE", "5", "17", kinds=("halt",))
def a_halt_is_ignored(bug: Planting) -> None:
    def change(view: Any) -> Any:
        halted = view.trading_state is TradingState.HALTED
        return replace(view, trading_state=TradingState.ACTIVE) if halted else view

    _views(bug, change)


@plant("REDUCING is taken for ACTIVE", "5", kinds=("reduce",))
def reducing_is_ignored(bug: Planting) -> None:
    def change(view: Any) -> Any:
        reducing = view.trading_state is TradingState.REDUCING
        return replace(view, trading_state=TradingState.ACTIVE) if reducing else view

    _views(bug, change)


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


# ---------------------------------------------------------------- the ladder


@plant(
    "the ladder never cuts",
    "L",
    kinds=("crash", "transfer"),
)
def the_ladder_is_disabled(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def read(view: Any) -> Any:
            found = honest(view)
            if found.draft is None:
                return found
            bug.ran()
            return replace(found, draft=None)

        return read

    bug.instead(decide, "read_ladder", build)


@plant("the ladder cuts again while its cut is under way", "3", kinds=("crash", "transfer", "order-answer-slow"))
def the_ladder_fires_twice(bug: Planting) -> None:
    bug.without_check("R5 single")

    def build(honest: Any) -> Any:
        def may_cut(view: Any, *, own_fired: bool) -> str:
            if view.open_orders:
                bug.ran()
            idle = replace(view, open_orders=0, doubt_orders=0, reduce_after_ns=0)
            return honest(idle, own_fired=own_fired)  # type: ignore[no-any-return]

        return may_cut

    bug.instead(liquidation, "_may_cut", build)


@plant(
    "the ladder counts the PnL of the short with its sign turned",
    "L",
    kinds=("crash",),
)
def unrealised_pnl_has_the_wrong_sign(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def free(view: Any) -> Decimal:
            pnl = view.position * (view.mark_price - view.entry_price)
            if pnl != 0:
                bug.ran()
            return honest(view) - 2 * pnl  # type: ignore[no-any-return]

        return free

    bug.instead(liquidation, "free_margin", build)


@plant(
    "a warning is cut like a reduction",
    "L",
    "20",
    kinds=("crash",),
)
def a_warning_is_cut(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def step(view: Any, reading: Decimal, held: Decimal) -> LadderStep:
            found: LadderStep = honest(view, reading, held)
            if found is LadderStep.CLEAR and reading < D("0.8"):
                bug.ran()
                return LadderStep.CLOSE
            return found

        return step

    bug.instead(liquidation, "_step", build)
    bug.instead(liquidation, "_keep", lambda honest: lambda view, step, *, free, held: held / 2)


# ---------------------------------------------------------------- streams


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


# ---------------------------------------------------------------- runs


@plant("the counter of order ids begins anew with every LIVE", "4", kinds=("S3",))
def the_id_counter_is_volatile(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def status(core: Core, event: Any) -> None:
            honest(core, event)
            if event.status == "LIVE" and core.state.next_order > 1:
                bug.ran()
                core.state.next_order = 1

        return status

    bug.at(reactor.HANDLERS, reactor.BookStatusChanged, build)


@plant("every run counts from epoch one", "4", kinds=("kill",))
def the_epoch_does_not_advance(bug: Planting) -> None:
    bug.instead(
        orders,
        "client_order_id",
        lambda honest: lambda instance, epoch, number: (bug.ran(), honest(instance, 1, number))[1],
    )


def _recovery(bug: Planting, change: Callable[[State], None]) -> None:
    """Change what a run begins with."""

    def build(honest: Any) -> Any:
        def recover(*said: Any, **named: Any) -> State:
            state: State = honest(*said, **named)
            change(state)
            return state

        return recover

    bug.instead(recovery, "recovered", build)


@plant("a start forgets the orders that were open", "4", kinds=("kill", "order-answer-slow"))
def open_orders_are_forgotten_at_start(bug: Planting) -> None:
    def change(state: State) -> None:
        if state.open_ids:
            bug.ran()
        state.orders.clear()
        state.open_ids.clear()
        state.uncovered.clear()

    _recovery(bug, change)


@plant("after a power loss nothing is waited for", "3", kinds=("power", "order-answer-slow"))
def the_quarantine_is_skipped(bug: Planting) -> None:
    bug.instead(recovery, "_quarantine_until", lambda honest: lambda *said, **named: (bug.ran(), 0)[1])


@plant("the latch of HALTED is not written", "17", kinds=("rival", "kill"))
def a_latch_is_not_written(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def persist(self: Core, table: str, key: str, **fields: object) -> None:
            if (table, key) == ("state", "halted"):
                bug.ran()
                return
            honest(self, table, key, **fields)

        return persist

    bug.instead(Core, "persist", build)


@plant("a start counts the last float trade again", "F1", "9", kinds=("kill",))
def a_start_counts_a_float_trade_again(bug: Planting) -> None:
    def change(state: State) -> None:
        for asset in state.floats:
            bug.ran()
            state.floats[asset] += D("0.001")

    _recovery(bug, change)


# ---------------------------------------------------------------- bugs as such


@plant("a frame it does not know kills it", "16", kinds=("S7", "S8"), crash=True)
def an_unknown_frame_kills_it(bug: Planting) -> None:
    def refuse(core: Core, event: Quarantined) -> None:
        bug.ran()
        raise KeyError(event.reason)

    bug.at(reactor.HANDLERS, Quarantined, lambda honest: refuse)


@plant("something outside the state takes part in it", "18")
def it_does_not_replay(bug: Planting) -> None:
    counted = [0]

    def build(honest: Any) -> Any:
        def react(self: Any, seq: int, now_ns: int, events: Any) -> Any:
            bug.ran()
            counted[0] += 1  # another run of the same inputs counts on
            self.core.state.meter.resyncs = counted[0]
            return honest(self, seq, now_ns, events)

        return react

    bug.instead(reactor.Reactor, "react", build)
