"""The stops at the venue: where they belong, how they are replaced, and what each answer, event and list leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from streamhedge.domain.commands import (
    CancelStop,
    Level,
    Persist,
    PlaceOrder,
    PlaceStop,
    RequestOpenStops,
    RequestSnapshot,
)
from streamhedge.domain.events import (
    AlgoUpdate,
    BookStatusChanged,
    BudgetChanged,
    CallFailed,
    Event,
    IntentVoided,
    OpenStop,
    OpenStops,
    OperatorVerb,
    OutcomeKind,
    Owner,
    StopOutcome,
    Stopping,
    VerbKind,
)
from streamhedge.domain.order import Order, OrderType, Purpose, Report, Side
from streamhedge.domain.stop import Stop, StopStatus
from streamhedge.domain.values import ClientOrderId, exact
from streamhedge.errors import ConfigError
from streamhedge.ops.doctor.backstop import stops_check
from streamhedge.ops.doctor.finding import FAIL, OK, Check
from streamhedge.rules.backstop import CancelStep, PlaceStep, check_backstop, level, next_step
from streamhedge.rules.backstop import Level as Wanted
from streamhedge.rules.params import BackstopParams
from streamhedge.venue.http import Answer
from tests.support import builders as make
from tests.support.desk import Desk
from tests.support.views import view

D = Decimal
PARAMS = BackstopParams(distance=D("0.10"))
LP = D("106483.1015")
"""Of ten bitcoin short at 67 121.4 on 400 000."""


def resting(trigger: str, quantity: str = "10", *, name: str = "sh-1") -> Stop:
    return Stop(
        client_order_id=ClientOrderId(name),
        symbol=make.BTCUSDT,
        side=Side.BUY,
        quantity=D(quantity),
        trigger_price=D(trigger),
        decided_ns=0,
        status=StopStatus.RESTING,
    )


def wanted(*stops: Stop, price: Decimal | None = LP, params: BackstopParams | None = PARAMS, **said: Any) -> Wanted:
    with exact():
        return level(view(**said), params, liquidation_price=price, resting=stops)


# ---------------------------------------------------------------- the rule


def test_the_trigger_is_the_liquidation_price_over_one_and_the_distance() -> None:
    found = wanted()
    assert (found.trigger_price, found.quantities, found.left) == (D("96802.8"), (D(10),), 0)


def test_nothing_is_wanted_of_a_position_that_is_no_short_or_without_a_backstop() -> None:
    assert wanted(position=D(0), price=None).quantities == ()
    assert wanted(position=D(1)).quantities == () and wanted(params=None).quantities == ()
    assert wanted(price=None).hold == "unknown"


def test_a_stop_stays_until_the_liquidation_price_has_moved_by_more_than_a_hundredth() -> None:
    assert wanted(resting("96000")).trigger_price == D("96000"), "0.84 % away"
    assert wanted(resting("95800")).trigger_price == D("96802.8"), "1.05 % away"
    assert wanted(resting("97700")).trigger_price == D("97700") and wanted(resting("97900")).trigger_price != 97900


def test_no_stop_is_placed_where_the_mark_stands_already() -> None:
    assert wanted(mark_price=D("96802.8")).hold == "near" and wanted(mark_price=D("96802.7")).hold == ""
    assert next_step(wanted(mark_price=D(97_000)), [resting("90000")], overlap_refused=False) is None


def test_a_large_short_is_covered_in_pieces_no_larger_than_one_order_of_ours() -> None:
    small = make.limits(max_order_notional=D(400_000))
    found = wanted(limits=small)
    # 400 000 at 96 802.8 is 4.132 bitcoin.
    assert found.quantities == (D("4.132"), D("4.132"), D("1.736")) and found.left == 0
    many = wanted(limits=make.limits(max_order_notional=D(50_000)))
    assert len(many.quantities) == 10 and many.left == 10 - 10 * D("0.516")
    assert wanted(limits=make.limits(max_order_notional=D(1))).left == 10


def test_new_ones_are_placed_before_old_ones_go() -> None:
    old = resting("90000", "4", name="old")
    want = Wanted(D(95_000), (D(6), D(4)))
    six, four = resting("95000", "6", name="six"), resting("95000", "4", name="four")
    assert next_step(want, [old], overlap_refused=False) == PlaceStep(D(6), D(95_000))
    assert next_step(want, [old, six], overlap_refused=False) == PlaceStep(D(4), D(95_000))
    assert next_step(want, [old, six, four], overlap_refused=False) == CancelStep(ClientOrderId("old"))
    assert next_step(want, [six, four], overlap_refused=False) is None
    assert next_step(want, [old], overlap_refused=True) == CancelStep(ClientOrderId("old"))
    assert next_step(want, [], overlap_refused=True) == PlaceStep(D(6), D(95_000))
    assert next_step(Wanted(D(0), ()), [six, four], overlap_refused=False) == CancelStep(ClientOrderId("six"))


def test_two_of_one_size_cover_two_pieces_and_not_one_twice() -> None:
    want = Wanted(D(95_000), (D(5), D(5)))
    assert next_step(want, [resting("95000", "5")], overlap_refused=False) == PlaceStep(D(5), D(95_000))


def test_a_stop_that_would_come_before_the_ladder_is_refused_with_both_distances() -> None:
    check_backstop(PARAMS, make.ladder_params())
    with pytest.raises(ConfigError, match=r"25 % must be above 0 and below ladder\.close 20 %"):
        check_backstop(BackstopParams(distance=D("0.25")), make.ladder_params())


# ---------------------------------------------------------------- the reactor


class StopDesk(Desk):
    """A hedged desk with a backstop; the venue's list has been read unless said otherwise."""

    def __init__(self, *, listed: bool = True, **said: Any) -> None:
        whole = make.hedge_params(max_order_quantity=D(20))
        super().__init__(**{"backstop": PARAMS, "hedges": (whole,), **said})
        if listed:
            self.list()

    @property
    def stops(self) -> dict[str, Stop]:
        """Every stop known."""
        return {str(name): stop for name, stop in self.state.stops.items()}

    @property
    def newest(self) -> Stop:
        """The stop decided last."""
        return list(self.state.stops.values())[-1]

    def of(self, kind: type) -> list[Any]:
        """Return every command of a kind so far."""
        return [command for command in self.commands if isinstance(command, kind)]

    def quiet(self, after_ms: int = 100) -> None:
        """Let time pass with a mark."""
        self.mark(str(self.state.book.marks[make.BTCUSDT].mark_price), after_ms=after_ms)

    def list(self, *rows: Stop, after_ms: int = 5) -> None:
        """Answer the list that was asked last."""
        number = self.of(RequestOpenStops)[-1].number
        found = tuple(
            OpenStop(make.BTCUSDT, row.client_order_id, row.side, row.quantity, row.trigger_price) for row in rows
        )
        self.take(OpenStops(make.BTCUSDT, number, found), after_ms=after_ms)

    def answer(self, kind: OutcomeKind = OutcomeKind.ACCEPTED, code: int = 0, **said: Any) -> None:
        """Answer the newest stop's request."""
        status = 200 if kind is OutcomeKind.ACCEPTED else 503 if kind is OutcomeKind.IN_DOUBT else 400
        fields = {"client_order_id": self.newest.client_order_id, "retry_after_ms": None, "message": "said", **said}
        self.take(StopOutcome(kind=kind, status=status, code=code, **fields), after_ms=5)

    def news(self, status: str, stop: Stop | None = None, *, order_id: int | None = None, why: str = "") -> None:
        """Tell what became of a stop."""
        of = stop or self.newest
        self.take(algo(of, status, at_ms=self.now_ms + 5, order_id=order_id, why=why), after_ms=5)

    def verb(self, kind: VerbKind) -> None:
        """Give an operator's command."""
        self.take(OperatorVerb(kind=kind, symbol=None, reason="said", uid=0), after_ms=5)


def algo(stop: Stop, status: str, *, at_ms: int, order_id: int | None = None, why: str = "") -> AlgoUpdate:
    return AlgoUpdate(
        event_time_ms=at_ms,
        symbol=stop.symbol,
        client_algo_id=stop.client_order_id,
        algo_id=1,
        status=status,
        side=stop.side,
        trigger_price=stop.trigger_price,
        quantity=stop.quantity,
        order_id=order_id,
        reject_reason=why,
    )


@pytest.fixture
def desk() -> StopDesk:
    """A desk whose stop rests."""
    found = StopDesk()
    found.answer()
    assert found.newest.status is StopStatus.RESTING
    return found


def test_without_a_backstop_nothing_is_asked_and_nothing_placed() -> None:
    desk = Desk()
    for _ in range(20):
        desk.mark("70000.0")
    kinds = {type(command) for command in desk.commands}
    assert not kinds & {PlaceStop, CancelStop, RequestOpenStops} and not desk.state.stops


def test_a_stop_is_placed_once_the_venue_has_said_what_rests() -> None:
    desk = StopDesk(listed=False)
    assert [c.number for c in desk.of(RequestOpenStops)] == [1] and not desk.of(PlaceStop)
    desk.list()
    (placed,) = desk.of(PlaceStop)
    assert (placed.side, placed.quantity, placed.trigger_price) == (Side.BUY, D(10), desk.newest.trigger_price)
    with exact():
        assert abs(desk.memory.liquidation_price / D("1.1") - placed.trigger_price) < D("0.1")  # type: ignore[operator]
    assert placed.client_order_id.startswith("sh-7f3a91c2-1-")
    desk.quiet()
    assert len(desk.of(PlaceStop)) == 1, "one request at a time"


def test_it_is_replaced_by_alternating_when_the_size_changes(desk: StopDesk) -> None:
    old = desk.newest
    (order,) = desk.float("1")
    desk.fill(desk.state.orders[order.client_order_id], trade_id=1)
    desk.quiet()
    new = desk.newest
    assert new is not old and new.quantity == 11 and not desk.of(CancelStop)
    desk.quiet()
    assert not desk.of(CancelStop), "the new one does not rest yet"
    desk.answer()
    assert [c.client_order_id for c in desk.of(CancelStop)] == [old.client_order_id]
    desk.quiet()
    assert len(desk.of(CancelStop)) == 1 and len(desk.of(PlaceStop)) == 2
    desk.news("CANCELED", old)
    assert old.status is StopStatus.ENDED and len(desk.of(PlaceStop)) == 2


def test_an_id_names_a_stop_or_an_order_and_never_both(desk: StopDesk) -> None:
    (order,) = desk.float("1")
    assert order.client_order_id not in desk.stops
    assert desk.newest.client_order_id < order.client_order_id


def test_in_doubt_it_is_neither_placed_again_nor_replaced_until_the_list_has_it(desk: StopDesk) -> None:
    old = desk.newest
    (order,) = desk.float("1")
    desk.fill(desk.state.orders[order.client_order_id], trade_id=1)
    desk.quiet()
    desk.answer(OutcomeKind.IN_DOUBT)
    new = desk.newest
    assert new.status is StopStatus.IN_DOUBT
    for _ in range(12):
        desk.quiet()
    assert len(desk.of(PlaceStop)) == 2 and not desk.of(CancelStop)
    desk.list(old, new)
    assert new.status is StopStatus.RESTING
    assert [c.client_order_id for c in desk.of(CancelStop)] == [old.client_order_id]


def test_in_doubt_it_is_given_up_by_two_lists_after_tq_and_another_id_takes_its_place() -> None:
    desk = StopDesk()
    first = desk.newest
    desk.answer(OutcomeKind.IN_DOUBT)
    asked = 0
    for _ in range(80):
        desk.quiet()
        if len(desk.of(RequestOpenStops)) > asked:
            asked = len(desk.of(RequestOpenStops))
            early = desk.now_ms - make.T0_MS < 5_200
            desk.list()
            assert not (early and first.status is StopStatus.ABSENT)
    assert first.status is StopStatus.ABSENT
    assert desk.of(PlaceStop)[0].client_order_id == first.client_order_id
    assert len({c.client_order_id for c in desk.of(PlaceStop)}) == len(desk.of(PlaceStop)) == 2


def test_the_venues_word_beats_a_close_for_lack_of_evidence(desk: StopDesk) -> None:
    desk.newest.status = StopStatus.ABSENT
    desk.news("NEW")
    assert desk.newest.status is StopStatus.RESTING


@pytest.mark.parametrize(
    ("code", "pause_ms", "said"),
    [
        (-2021, 5_000, "the ladder acts"),
        (-2022, 1_000, "reading the position again"),
        (-4118, 1_000, "reading the position again"),
        (-4130, 60_000, "left alone"),
        (-4045, 60_000, "left alone"),
        (-2015, 60_000, "check key"),
    ],
)
def test_a_refusal_waits_and_then_another_stop_is_decided(code: int, pause_ms: int, said: str) -> None:
    desk = StopDesk()
    desk.answer(OutcomeKind.REFUSED, code)
    assert desk.newest.status is StopStatus.REFUSED and said in desk.said("backstop")[-1]
    assert bool(desk.of(RequestSnapshot)) == (code in (-2022, -4118))
    desk.quiet(pause_ms - 200)
    assert len(desk.of(PlaceStop)) == 1
    desk.quiet(300)
    assert len(desk.of(PlaceStop)) == 2


def test_where_the_venue_takes_no_two_the_old_one_goes_first(desk: StopDesk) -> None:
    old = desk.newest
    (order,) = desk.float("1")
    desk.fill(desk.state.orders[order.client_order_id], trade_id=1)
    desk.quiet()
    desk.answer(OutcomeKind.REFUSED, -4118)
    desk.quiet(1_100)
    assert [c.client_order_id for c in desk.of(CancelStop)] == [old.client_order_id]
    desk.answer(client_order_id=old.client_order_id, cancel=True)
    assert desk.newest.quantity == 11 and desk.newest.status is StopStatus.PLANNED
    desk.answer()
    assert not desk.state.backstops[make.BTCUSDT].overlap_refused


def test_refusals_in_a_row_wait_longer_and_longer() -> None:
    desk = StopDesk()
    for _ in range(3):
        desk.answer(OutcomeKind.REFUSED, -1000 - 130)
        desk.quiet(4_100)
    assert len(desk.of(PlaceStop)) == 4
    desk.answer(OutcomeKind.REFUSED, -1130)
    desk.quiet(4_100)
    assert len(desk.of(PlaceStop)) == 4


def test_what_the_outbox_did_not_send_is_decided_anew_under_another_id() -> None:
    desk = StopDesk()
    first = desk.newest
    desk.take(IntentVoided(client_order_id=first.client_order_id, reason="late"), after_ms=5)
    assert first.status is StopStatus.REFUSED
    desk.quiet(1_100)
    assert desk.newest is not first and desk.newest.status is StopStatus.PLANNED


# ---------------------------------------------------------------- cancels


def replaced(desk: StopDesk) -> Stop:
    """Bring a desk to the cancel of its old stop and return that one."""
    old = desk.newest
    (order,) = desk.float("1")
    desk.fill(desk.state.orders[order.client_order_id], trade_id=1)
    desk.quiet()
    desk.answer()
    assert desk.of(CancelStop)[-1].client_order_id == old.client_order_id
    return old


def test_a_cancel_without_an_answer_is_looked_up_and_sent_again_where_it_did_not_take(desk: StopDesk) -> None:
    old = replaced(desk)
    desk.answer(OutcomeKind.IN_DOUBT, client_order_id=old.client_order_id, cancel=True)
    for _ in range(25):
        desk.quiet()
    desk.list(old, desk.newest)
    assert [c.client_order_id for c in desk.of(CancelStop)] == [old.client_order_id] * 2
    desk.answer(OutcomeKind.REFUSED, -2011, client_order_id=old.client_order_id, cancel=True)
    desk.quiet(1_100)
    desk.list(desk.newest)
    assert old.status is StopStatus.ENDED and desk.newest.status is StopStatus.RESTING
    assert not [text for text in desk.said("backstop") if "not in the venue's list" in text], "we asked for it"


def test_a_refused_cancel_is_sent_again_after_a_second(desk: StopDesk) -> None:
    old = replaced(desk)
    desk.answer(OutcomeKind.REFUSED, -1008, client_order_id=old.client_order_id, cancel=True)
    desk.quiet(900)
    assert len(desk.of(CancelStop)) == 1
    desk.quiet(200)
    assert len(desk.of(CancelStop)) == 2


# ---------------------------------------------------------------- who leaves it alone, and who does not


@pytest.mark.parametrize("kind", [VerbKind.HALT, VerbKind.REDUCE])
def test_neither_halt_nor_reduce_takes_a_stop_away(desk: StopDesk, kind: VerbKind) -> None:
    desk.verb(kind)
    for _ in range(5):
        desk.quiet()
    assert desk.newest.status is StopStatus.RESTING and not desk.of(CancelStop)


def test_a_halt_places_nothing_either(desk: StopDesk) -> None:
    desk.verb(VerbKind.HALT)
    desk.take(make.account_update("-9", at_ms=desk.now_ms), after_ms=5)
    desk.quiet(30_000)
    assert len(desk.of(PlaceStop)) == 1 and not desk.of(CancelStop)


def test_stopping_leaves_it_where_it_is(desk: StopDesk) -> None:
    desk.take(Stopping(reason="said"), after_ms=5)
    desk.quiet()
    assert not desk.of(CancelStop) and desk.newest.status is StopStatus.RESTING


def test_flatten_takes_it_away_last(desk: StopDesk) -> None:
    desk.verb(VerbKind.HALT)
    desk.verb(VerbKind.FLATTEN)
    (order,) = [order for order in desk.state.orders.values() if order.purpose is Purpose.FLATTEN]
    assert not desk.of(CancelStop), "while anything is held it stays"
    desk.fill(order, trade_id=1)
    desk.quiet()
    assert desk.state.book.quantity(make.BTCUSDT) == 0
    assert [c.client_order_id for c in desk.of(CancelStop)] == [desk.newest.client_order_id]
    desk.answer(cancel=True)
    desk.quiet()
    assert desk.newest.status is StopStatus.ENDED and len(desk.of(PlaceStop)) == 1


def test_a_latched_block_keeps_it_up_to_date(desk: StopDesk) -> None:
    desk.take(OperatorVerb(kind=VerbKind.HALT, symbol=make.BTCUSDT, reason="said", uid=0), after_ms=5)
    desk.take(make.account_update("-9", at_ms=desk.now_ms + 5), after_ms=5)
    desk.take(make.foreign_fill(Side.BUY, "1"), after_ms=5)
    desk.quiet(9_000)
    assert desk.newest.quantity == 10, "it covers what is left: moved every ten seconds at most"
    desk.quiet(1_100)
    assert desk.newest.quantity == 9 and desk.newest.status is StopStatus.PLANNED


def test_shadow_places_nothing() -> None:
    desk = StopDesk(shadow=True)
    desk.quiet()
    assert not desk.of(PlaceStop)


# ---------------------------------------------------------------- triggered


def triggered_report(desk: StopDesk, name: str, *, last: str, trigger: bool, order_id: int = 100) -> Event:
    stop = desk.newest
    order = replace(triggered_order(desk), client_order_id=ClientOrderId(name))
    report = make.execution_report(order, last=last, trade_id=7 if D(last) else 0, at_ms=desk.now_ms)
    kind = report.report if D(last) else Report.ACCEPTED
    owner = Owner.OURS if name.startswith("sh-") else Owner.FOREIGN
    price = stop.trigger_price if trigger else D(0)
    return replace(report, owner=owner, trigger_price=price, order_id=order_id, report=kind)


def triggered_order(desk: StopDesk) -> Order:
    return Order(
        client_order_id=ClientOrderId(""),
        symbol=make.BTCUSDT,
        side=Side.BUY,
        quantity=desk.newest.quantity,
        type=OrderType.MARKET,
        price=None,
        time_in_force=None,
        reduce_only=True,
        purpose=Purpose.BACKSTOP,
        decided_seq=0,
        decided_ns=0,
        target=D(0),
        position_before=D(-10),
        decision_mark=D(1),
        reason="",
    )


def by_name(desk: StopDesk) -> Event:
    return triggered_report(desk, str(desk.newest.client_order_id), last="10", trigger=False)


def by_number(desk: StopDesk) -> Event:
    desk.news("TRIGGERED", order_id=555)
    return triggered_report(desk, "algo_9", last="10", trigger=False, order_id=555)


def by_price(desk: StopDesk) -> Event:
    return triggered_report(desk, "algo_9", last="10", trigger=True)


@pytest.mark.parametrize("told", [by_name, by_number, by_price])
def test_its_fill_is_ours_by_name_by_number_or_by_what_it_waited_for(
    desk: StopDesk, told: Callable[[StopDesk], Event]
) -> None:
    desk.take(make.account_update("0", at_ms=desk.now_ms + 5), after_ms=5)
    report = told(desk)
    desk.take(report, after_ms=1)
    stop = desk.newest
    assert stop.status is StopStatus.TRIGGERED
    (order,) = [order for order in desk.state.orders.values() if order.purpose is Purpose.BACKSTOP]
    assert (order.filled, order.is_open) == (10, False)
    assert not desk.said("external"), "nobody else traded"
    assert [row.fields["client_order_id"] for row in desk.commands if getattr(row, "table", "") == "fill"] == [
        order.client_order_id
    ]
    (note,) = [note for note in desk.notes if note.code == "backstop" and note.level is Level.CRITICAL]
    assert "Raising is paced" in note.text
    paced = [c.fields["paced"] for c in desk.commands if isinstance(c, Persist) and c.key == "pace:BTCUSDT"]
    assert paced[0] is True and desk.state.halted is None
    assert desk.state.book.quantity(make.BTCUSDT) == 0, "its fill is in the position, once"


def test_raising_again_waits_for_the_cooldown(desk: StopDesk) -> None:
    closed = make.account_update("0", wallet="102000", at_ms=desk.now_ms + 5)
    desk.take(make.mark("96900.0", desk.now_ms + 5), closed, by_price(desk), after_ms=5)
    for _ in range(20):
        desk.mark("96900.0", after_ms=1_000)
    assert not desk.of(PlaceOrder) and desk.memory.hold == "pace" and desk.memory.paced
    for _ in range(600):
        desk.mark("96900.0", after_ms=1_000)
    assert desk.of(PlaceOrder)[0].side is Side.SELL, "the cooldown is over: what the margin carries is sold again"


def test_a_foreign_order_at_another_price_stays_foreign(desk: StopDesk) -> None:
    stop = desk.newest
    desk.take(replace(make.foreign_fill(Side.BUY, "1"), trigger_price=stop.trigger_price + 1, reduce_only=True))
    assert stop.status is StopStatus.RESTING and desk.said("external")


def test_one_that_the_venue_rejects_is_told_and_replaced_after_a_minute(desk: StopDesk) -> None:
    desk.news("REJECTED", why="Reduce Only reject")
    assert desk.newest.status is StopStatus.ENDED and "Reduce Only reject" in desk.said("backstop")[-1]
    desk.quiet(59_000)
    assert len(desk.of(PlaceStop)) == 1
    desk.quiet(1_200)
    assert len(desk.of(PlaceStop)) == 2


# ---------------------------------------------------------------- the list, after a gap


def again_live(desk: StopDesk) -> None:
    desk.take(BookStatusChanged("SUSPECT", "a gap"), after_ms=5)
    desk.take(make.snapshot("-10", entry="67121.4", wallet="400000", at_ms=desk.now_ms), after_ms=5)
    desk.take(make.live(), after_ms=5)
    desk.quiet()


def test_after_a_gap_the_list_is_asked_before_anything_is_placed(desk: StopDesk) -> None:
    desk.take(BookStatusChanged("SUSPECT", "a gap"), after_ms=5)
    stale = desk.of(RequestOpenStops)[-1].number
    desk.take(OpenStops(make.BTCUSDT, stale, ()), after_ms=5)
    assert desk.newest.status is StopStatus.RESTING, "what was asked before the gap proves nothing"
    again_live(desk)
    assert desk.of(RequestOpenStops)[-1].number == stale + 1
    desk.list(desk.newest)
    desk.quiet()
    assert desk.newest.status is StopStatus.RESTING and len(desk.of(PlaceStop)) == 1


def test_a_stop_that_went_unseen_with_the_position_counts_as_triggered(desk: StopDesk) -> None:
    desk.take(BookStatusChanged("SUSPECT", "a gap"), after_ms=5)
    desk.take(make.snapshot("0", wallet="100000", at_ms=desk.now_ms), after_ms=5)
    desk.take(make.live(), after_ms=5)
    desk.quiet()
    desk.list()
    assert desk.newest.status is StopStatus.ENDED and desk.memory.paced
    assert "gone from the venue" in desk.said("backstop")[-1]


def test_a_stop_that_somebody_took_away_is_placed_again_after_a_minute(desk: StopDesk) -> None:
    again_live(desk)
    desk.list()
    assert "not in the venue's list" in desk.said("backstop")[-1] and not desk.memory.paced
    desk.quiet(59_000)
    assert len(desk.of(PlaceStop)) == 1
    desk.quiet(1_500)
    assert len(desk.of(PlaceStop)) == 2


def test_one_of_ours_that_the_ledger_lost_is_adopted_and_a_foreign_one_left_alone() -> None:
    desk = StopDesk(listed=False)
    ours = resting("60000", name="sh-7f3a91c2-0-000009")
    desk.list(ours, resting("61000", name="web_somebody"), resting("61000", name="sh-00000000-1-000009"))
    assert set(desk.stops) >= {"sh-7f3a91c2-0-000009"} and "web_somebody" not in desk.stops
    assert len(desk.said("foreign_order")) == 2
    desk.answer()
    assert [c.client_order_id for c in desk.of(CancelStop)] == [ours.client_order_id]


def test_a_list_that_fails_is_asked_again_after_five_seconds() -> None:
    desk = StopDesk(listed=False)
    desk.take(CallFailed("open_stops", 503, 0, "said", None), after_ms=5)
    desk.quiet(4_900)
    assert len(desk.of(RequestOpenStops)) == 1
    desk.quiet(200)
    assert len(desk.of(RequestOpenStops)) == 2


def test_a_backstop_that_is_configured_no_more_is_taken_away() -> None:
    desk = Desk()
    old = resting("80000", name="sh-7f3a91c2-0-000009")
    desk.state.stops[old.client_order_id] = old
    desk.mark()
    asked = [c for c in desk.commands if isinstance(c, RequestOpenStops)]
    row = OpenStop(make.BTCUSDT, old.client_order_id, old.side, old.quantity, old.trigger_price)
    desk.take(OpenStops(make.BTCUSDT, asked[-1].number, (row,)), after_ms=5)
    assert [c.client_order_id for c in desk.commands if isinstance(c, CancelStop)] == [old.client_order_id]


def test_the_gate_judges_a_stop_as_the_order_it_would_become() -> None:
    desk = StopDesk(listed=False)
    desk.state.budget = BudgetChanged(raises_left=5, reduces_left=0, silent_until_ns=0, banned=False)
    desk.list()
    assert not desk.of(PlaceStop) and "R4 rate" in desk.said("backstop")[-1]
    desk.take(BudgetChanged(raises_left=5, reduces_left=1, silent_until_ns=0, banned=False), after_ms=5)
    assert len(desk.of(PlaceStop)) == 1


def test_while_the_venue_wants_silence_or_does_not_trade_nothing_goes_out() -> None:
    desk = StopDesk(listed=False)
    desk.state.silent_until_ns = desk.now_ms * 1_000_000 + 10**9
    desk.list()
    assert not desk.of(PlaceStop)
    paused = StopDesk(listed=False)
    book = paused.state.book.instruments
    book[make.BTCUSDT] = replace(book[make.BTCUSDT], status="BREAK")
    paused.list()
    assert not paused.of(PlaceStop)


# ---------------------------------------------------------------- what the doctor says


def row(name: object, **said: object) -> dict[str, object]:
    return {
        **{"clientAlgoId": name, "side": "BUY", "quantity": "10.000", "triggerPrice": "96802.80", "createTime": 1_000},
        **said,
    }


def found(status: int | None, body: object) -> Check:
    answer = Answer(status, {}, orjson.dumps(body), error="", sent=True)
    return stops_check(make.BTCUSDT, PARAMS, answer, venue_ms=61_000)


def test_the_doctor_names_our_stops_with_price_quantity_id_and_age() -> None:
    said = found(200, [row("sh-7f3a91c2-1-000002"), row("web_somebody")])
    assert said.verdict == OK and "liquidation price / 1.1;" in said.found
    assert said.data["stops"] == ["BUY 10 at 96802.8 (sh-7f3a91c2-1-000002, 60 s old)"]
    assert found(200, []).found.endswith("none")


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, {}), (200, [{}]), (200, [row(None)]), (200, [row("sh-1", quantity="x")]), (400, {"code": -2015, "msg": ""})],
)
def test_the_doctor_says_so_where_the_list_is_not_to_be_had(status: int, body: object) -> None:
    assert found(status, body).verdict == FAIL
