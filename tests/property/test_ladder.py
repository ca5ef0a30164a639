"""The ladder over random shorts and adversarial prices: what a cut restores, and how seldom it comes (HEDGING §3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamhedge.domain.order import Purpose, Side
from streamhedge.domain.values import exact
from streamhedge.rules.hedge import decide_hedge
from streamhedge.rules.liquidation import read_ladder
from streamhedge.rules.view import HedgeView, IntentDraft, LadderStep
from tests.support import builders as make
from tests.support.views import NOW_NS, view

D = Decimal
FEE = D("0.0005")
STEP = D("0.001")
ROOMY = make.limits(max_order_notional=D(10) ** 12)
UNSLICED = make.hedge_params(max_order_quantity=D(1_000), max_short=D(1_000))


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    with exact():
        yield


@st.composite
def shorts(draw: st.DrawFn) -> HedgeView:
    """Draw a short that has moved by up to a half against its entry, with any wallet behind it."""
    entry = draw(st.integers(10_000, 1_500_000)) / D(10)
    size = draw(st.integers(50, 900_000)) / D(1_000)
    mark = (entry * draw(st.integers(80, 160)) / 100).quantize(D("0.1"))
    # what is left behind it, as a share of its notional: below about 26 % the ladder fires
    left = (size * mark * draw(st.integers(1, 34)) / 100).quantize(D("0.01"))
    wallet = left + size * (mark - entry)
    return view(
        params=UNSLICED,
        limits=ROOMY,
        instrument=replace(make.instrument(), max_quantity=D(10_000), market_max_quantity=D(10_000)),
        position=-size,
        entry_price=entry,
        mark_price=mark,
        wallet=wallet,
        float_quantity=size,
        leverage=10,
    )


def filled(seen: HedgeView, draft: IntentDraft) -> HedgeView:
    """Return the account after a perfect fill at the mark."""
    signed = draft.side.sign * draft.quantity
    after, wallet, entry = seen.position + signed, seen.wallet, seen.entry_price
    if draft.reduce_only:
        wallet += -signed * (seen.mark_price - seen.entry_price)
    else:
        entry = (seen.position * seen.entry_price + signed * seen.mark_price) / after
    wallet -= draft.quantity * seen.mark_price * FEE
    return replace(seen, position=after, wallet=wallet, entry_price=entry)


def distance_of(seen: HedgeView) -> Decimal | None:
    return read_ladder(seen).distance


@given(shorts())
def test_after_a_cut_at_the_mark_the_distance_is_reopen_and_a_step_less_would_not_do(seen: HedgeView) -> None:
    verdict = read_ladder(seen)
    assume(verdict.draft is not None)
    assert verdict.draft is not None
    assert verdict.step in (LadderStep.REDUCE, LadderStep.CLOSE)
    after = distance_of(filled(seen, verdict.draft))
    assert after is None or after >= seen.ladder.reopen
    if verdict.draft.quantity > STEP and after is not None:
        less = distance_of(filled(seen, replace(verdict.draft, quantity=verdict.draft.quantity - STEP)))
        assert less is not None
        assert less < seen.ladder.reopen


@pytest.mark.fault("O11")
@given(shorts())
def test_a_cut_only_reduces_and_never_crosses_zero(seen: HedgeView) -> None:
    draft = read_ladder(seen).draft
    assume(draft is not None)
    assert draft is not None
    assert (draft.side, draft.reduce_only, draft.purpose) == (Side.BUY, True, Purpose.LADDER)
    assert 0 < draft.quantity <= -seen.position
    assert draft.target == seen.position + draft.quantity


@given(shorts(), st.integers(1, 100))
def test_a_raise_in_doubt_makes_the_cut_no_larger_than_what_is_certain(seen: HedgeView, percent: int) -> None:
    size = (-seen.position * percent / 1_000).quantize(STEP)
    draft = read_ladder(replace(seen, pending_low=-size, open_orders=1, doubt_orders=1, doubt_raises=True)).draft
    assume(draft is not None)
    assert draft is not None
    # What is certain is cut to what is to be kept, as if the doubtful part had filled; never through zero.
    assert seen.position + draft.quantity == draft.target <= 0
    alone = read_ladder(seen).draft
    assert alone is None or draft.quantity >= alone.quantity


@given(shorts())
def test_the_steps_are_nested(seen: HedgeView) -> None:
    verdict = read_ladder(seen)
    distance = verdict.distance
    assert distance is not None
    ladder = seen.ladder
    assert (verdict.step is LadderStep.CLOSE) == (distance <= ladder.close)
    assert (verdict.step is LadderStep.CLEAR) == (distance > ladder.warn)
    assert (verdict.draft is None) or distance <= ladder.reduce


# ---------------------------------------------------------------- paths


@dataclass
class Walk:
    """The two rules in a small loop with perfect fills, as the reactor runs them."""

    seen: HedgeView
    cuts: list[tuple[int, Decimal]] = field(default_factory=list)
    raises: list[tuple[int, Decimal, bool]] = field(default_factory=list)
    low_since_trade: Decimal = D(0)
    rises: list[Decimal] = field(default_factory=list)

    def tick(self, mark: Decimal, now_ns: int) -> bool:
        """Move the mark, let the rules act until they are quiet; False once the venue would liquidate."""
        self.low_since_trade = min(self.low_since_trade or mark, mark)
        self.see(mark_price=mark, index_price=mark, now_ns=now_ns)
        verdict = read_ladder(self.seen)
        if verdict.distance is not None and verdict.distance <= 0:
            return False
        if verdict.draft is not None:
            self.rises.append(mark / self.low_since_trade - 1)
            self.cuts.append((now_ns, mark))
            self.trade(verdict.draft, mark)
            self.see(paced=True, last_paced_ns=now_ns)
        self.see(warned=verdict.step is not LadderStep.CLEAR)
        hedge = decide_hedge(self.seen)
        if hedge.draft is not None:
            assert hedge.draft.side is Side.SELL
            if self.cuts:
                self.raises.append((now_ns, hedge.draft.quantity, hedge.pace_over))
            self.trade(hedge.draft, mark)
            self.see(last_paced_ns=now_ns)
        if hedge.pace_over:
            self.see(paced=False)
        return True

    def trade(self, draft: IntentDraft, mark: Decimal) -> None:
        self.seen = filled(self.seen, draft)
        self.low_since_trade = mark
        self.see()

    def see(self, **said: Any) -> None:
        """Change what is seen; the available balance follows."""
        seen = replace(self.seen, **said)
        free = seen.wallet + seen.position * (seen.mark_price - seen.entry_price)
        free -= abs(seen.position) * seen.mark_price / seen.leverage
        self.seen = replace(seen, available=max(D(0), free))


def walk_of(moves: list[tuple[int, int]], *, wallet: int) -> Walk:
    """Return the walk of HEDGING §10's short; a move is (tenths of a per cent of the mark, seconds)."""
    walk = Walk(view(params=UNSLICED, limits=ROOMY, wallet=D(wallet), leverage=10))
    mark, now_ns = D("67121.4"), NOW_NS
    for tenths, seconds in moves:
        mark = (mark * (1_000 + tenths) / 1_000).quantize(D("0.1"))
        now_ns += seconds * 1_000_000_000
        if not walk.tick(mark, now_ns):
            break
    return walk


MOVES = st.lists(
    st.tuples(st.integers(-45, 45), st.sampled_from([1, 3, 60, 599, 600, 601, 3_600])), min_size=1, max_size=120
)
WALLETS = st.integers(200_000, 330_000)


@given(MOVES, WALLETS)
def test_between_two_cuts_the_mark_rises_by_almost_the_hysteresis(moves: list[tuple[int, int]], wallet: int) -> None:
    walk = walk_of(moves, wallet=wallet)
    for rise in walk.rises[1:]:
        assert rise >= D("0.039")


@given(MOVES, WALLETS)
def test_cuts_are_bounded_by_the_moves_up(moves: list[tuple[int, int]], wallet: int) -> None:
    walk = walk_of(moves, wallet=wallet)
    ups = sum(max(0, tenths) for tenths, _ in moves)
    assert len(walk.cuts) <= 1 + D(ups) / 39


@given(MOVES, WALLETS)
def test_raises_after_a_cut_are_bounded_by_the_cooldown(moves: list[tuple[int, int]], wallet: int) -> None:
    walk = walk_of(moves, wallet=wallet)
    cooldown_ns = walk.seen.ladder.cooldown_ms * 1_000_000
    for number, (cut_ns, _) in enumerate(walk.cuts):
        until_ns = walk.cuts[number + 1][0] if number + 1 < len(walk.cuts) else walk.seen.now_ns
        between = [(now_ns, last) for now_ns, _, last in walk.raises if cut_ns <= now_ns <= until_ns]
        # the last one may come at once, because the margin carries the whole hedge
        assert len(between) <= 1 + D(until_ns - cut_ns) / cooldown_ns
        paced = [cut_ns, *(now_ns for now_ns, whole in between if not whole)]
        assert all(late - early >= cooldown_ns for early, late in pairwise(paced))


@given(MOVES, WALLETS)
def test_after_every_tick_the_short_stands_outside_the_ladder(moves: list[tuple[int, int]], wallet: int) -> None:
    walk = Walk(view(params=UNSLICED, limits=ROOMY, wallet=D(wallet), leverage=10))
    mark, now_ns = D("67121.4"), NOW_NS
    for tenths, seconds in moves:
        mark, now_ns = (mark * (1_000 + tenths) / 1_000).quantize(D("0.1")), now_ns + seconds * 1_000_000_000
        # a mark that rises by less than `reduce` between two ticks never reaches the liquidation price
        assert walk.tick(mark, now_ns)
        distance = distance_of(walk.seen)
        assert distance is None or distance > walk.seen.ladder.reduce


def test_a_zigzag_around_the_trigger_cuts_once() -> None:
    """A margin cap inside the target would trade on each of these ticks."""
    moves = [(93, 60)] + [(-5, 1), (5, 1)] * 200
    walk = walk_of(moves, wallet=250_000)
    assert (len(walk.cuts), len(walk.raises)) == (1, 0)


def test_a_violent_round_trip_cuts_and_raises_again() -> None:
    up = [(30, 60)] * 9
    walk = walk_of([*up, *[(-30, 700)] * 12], wallet=250_000)
    assert len(walk.cuts) >= 2
    assert len(walk.raises) >= 2
    assert walk.seen.position == -10
    assert not walk.seen.paced
