"""A venue whose clock was set back, and a replica that lags: who is believed, and for how long the book may be wrong."""

from __future__ import annotations

from streamhedge.domain.commands import RequestSnapshot
from streamhedge.domain.events import BookStatusChanged, Tick
from tests.support import builders as make
from tests.support.desk import Desk

HOUR_MS = 3_600_000
AUDIT_MS, BOUND_MS = 15_000, 20_000


def audit(desk: Desk, position: str, *, stamped_ms: int, wallet: str = "400000", after_ms: int = 1_000) -> None:
    """Answer an audit asked a moment ago; ``stamped_ms`` before now by the venue's clock."""
    desk.now_ms += after_ms
    found = make.snapshot(position, entry="67121.4", wallet=wallet, at_ms=desk.now_ms - stamped_ms, audit=True)
    found.requested_ns = (desk.now_ms - 5) * 1_000_000  # type: ignore[misc]
    desk.take(found)


def stepped_back() -> Desk:
    """Return a desk whose book knows -10 by an update of now, and whose venue has set its clock back by an hour since."""
    desk = Desk()
    desk.take(make.account_update("-10", at_ms=desk.now_ms), after_ms=100)
    desk.take(make.account_update("-9", wallet="399000", at_ms=desk.now_ms - HOUR_MS), after_ms=1_000)
    assert desk.state.book.quantity(make.BTCUSDT) == -10, "by its stamp it is an old one come again"
    return desk


def test_a_book_behind_a_clock_that_was_set_back_is_right_again_within_the_bound_of_the_audit() -> None:
    desk = stepped_back()
    start_ms = desk.now_ms
    audit(desk, "-9", stamped_ms=HOUR_MS, wallet="399000", after_ms=AUDIT_MS)
    assert desk.state.book.quantity(make.BTCUSDT) == -10, "one may come from a replica that lags"
    while desk.state.book.quantity(make.BTCUSDT) == -10:
        asked = desk.take(Tick(), after_ms=500).commands
        if any(isinstance(command, RequestSnapshot) for command in asked):
            audit(desk, "-9", stamped_ms=HOUR_MS, wallet="399000", after_ms=10)
        assert desk.now_ms - start_ms <= BOUND_MS + 1_000
    assert desk.state.book.balances[make.USDT].wallet_balance == 399_000, "the wallet with it"
    desk.take(make.account_update("-8", wallet="398000", at_ms=desk.now_ms - HOUR_MS), after_ms=50)
    assert desk.state.book.quantity(make.BTCUSDT) == -8, "and from then on the venue's clock is the clock"
    assert desk.state.book.balances[make.USDT].wallet_balance == 398_000


def test_a_replica_that_lags_and_catches_up_moves_nothing() -> None:
    desk = Desk()
    desk.take(make.account_update("-9", at_ms=desk.now_ms), after_ms=100)
    for _ in range(4):
        audit(desk, "-10", stamped_ms=desk.now_ms + 2_000 - make.T0_MS)  # the row as it was before the update
        assert desk.state.book.quantity(make.BTCUSDT) == -9
    audit(desk, "-9", stamped_ms=0)
    assert desk.state.book.quantity(make.BTCUSDT) == -9
    assert not [text for text in desk.said("adopted") if "several audits" in text]
    assert not desk.state.differences


def test_two_old_answers_that_do_not_agree_with_each_other_win_nothing() -> None:
    desk = stepped_back()
    for number in range(10):
        audit(desk, str(-11 - number % 2), stamped_ms=HOUR_MS, after_ms=3_000)
    assert desk.state.book.quantity(make.BTCUSDT) == -10


def test_a_snapshot_after_a_gap_that_says_otherwise_with_an_older_stamp_holds_raising_until_it_is_decided() -> None:
    desk = stepped_back()
    desk.take(BookStatusChanged("SUSPECT", "test"))
    at_ms, asked_ns = desk.now_ms - HOUR_MS, desk.now_ms * 1_000_000
    found = make.snapshot("-9", entry="67121.4", at_ms=at_ms, requested_ns=asked_ns)
    desk.take(found, after_ms=50)
    desk.take(make.live())
    assert not desk.memory.position_trusted
    gap = desk.state.last_gap
    assert gap is not None and any("second snapshot" in text for text in gap.residual)
    for _ in range(7):
        audit(desk, "-9", stamped_ms=HOUR_MS + 1_000)
    assert desk.state.book.quantity(make.BTCUSDT) == -9 and desk.memory.position_trusted


def test_a_mark_with_an_older_stamp_is_a_repeat_at_first_and_the_newest_there_is_after_two_seconds() -> None:
    desk = Desk()
    desk.mark("67000", after_ms=1_000)
    old = make.mark("66000", desk.now_ms - HOUR_MS)
    desk.take(old, after_ms=500)
    assert desk.state.book.marks[make.BTCUSDT].mark_price == 67_000
    desk.take(old, after_ms=1_600)
    held = desk.state.book.marks[make.BTCUSDT]
    assert held.mark_price == 66_000 and held.recv_ns == desk.now_ms * 1_000_000
    desk.take(make.mark("66100", desk.now_ms - HOUR_MS), after_ms=1_000)
    assert desk.state.book.marks[make.BTCUSDT].mark_price == 66_100


def test_our_own_fill_and_one_answer_of_the_venue_suffice_whatever_the_stamp() -> None:
    desk = Desk()
    desk.take(make.account_update("-10", at_ms=desk.now_ms), after_ms=100)
    desk.float("1")
    order = desk.order
    after = str(-10 - order.quantity)
    desk.take(make.account_update(after, at_ms=desk.now_ms - HOUR_MS), after_ms=5)
    desk.take(make.execution_report(order, last=str(order.quantity), at_ms=desk.now_ms - HOUR_MS), after_ms=5)
    assert desk.state.book.quantity(make.BTCUSDT) == -10
    audit(desk, after, stamped_ms=HOUR_MS)
    assert desk.state.book.quantity(make.BTCUSDT) == make.D(after)
