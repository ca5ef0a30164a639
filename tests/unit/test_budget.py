"""The rate budget by hand: what is counted, what is kept for reducing, and how long the venue is left alone."""

from __future__ import annotations

import json

import pytest

from streamhedge.domain.commands import (
    CancelOrder,
    CloseStream,
    Command,
    FollowSymbol,
    KeepSilent,
    OpenStream,
    PlaceOrder,
    RequestSetup,
    RequestSnapshot,
)
from streamhedge.domain.events import CallFailed, Event, OrderOutcome, RateNews, StreamClosed, VenueTime
from streamhedge.domain.order import OrderType, Side
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ClientOrderId
from streamhedge.runtime.inputs import Calls, decode_input
from streamhedge.wire.budget import Budget, counts_of, limits_of
from streamhedge.wire.session import Session, SessionState
from tests.support import builders as make

S = NS_PER_SECOND
T0 = make.T0_MS * NS_PER_MS
AUDIT = RequestSnapshot(reason="audit", audit=True)
CANCEL = CancelOrder(symbol=make.BTCUSDT, client_order_id=ClientOrderId("sh-1"))
ORDER = PlaceOrder(
    client_order_id=ClientOrderId("sh-1"),
    symbol=make.BTCUSDT,
    side=Side.SELL,
    type=OrderType.MARKET,
    quantity=make.D(1),
    price=None,
    time_in_force=None,
    reduce_only=False,
    deadline_ns=0,
)


def news(*, status: int = 0, wait_ms: int | None = None, jitter: int = 0, **counts: int) -> RateNews:
    return RateNews(counts=counts, limits={}, status=status, wait_ms=wait_ms, jitter_permille=jitter)


def taken(budget: Budget, command: Command, now_ns: int, most: int = 10_000) -> int:
    """Return how often in a row a command may go."""
    return next((times for times in range(most) if not budget.take(command, 1, now_ns)), most)


def test_headers_and_rate_limits_are_read_and_what_is_none_of_them_is_left_out() -> None:
    headers = {"x-mbx-used-weight-1m": "58", "x-mbx-order-count-10s": "3", "x-mbx-order-count-1m": "7"}
    wrong = {"x-mbx-used-weight": "9", "x-mbx-used-weight-1d": "-1", "x-mbx-order-count-5m": "٣", "retry-after": "5"}
    assert counts_of({**headers, **wrong}) == {"weight_1m": 58, "orders_10s": 3, "orders_1m": 7}
    ten = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 4}
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400}
    odd = [{**ten, "intervalNum": True}, {**ten, "interval": "FORTNIGHT"}, {**ten, "rateLimitType": "RAW"}, 5, None]
    assert limits_of([ten, weight, *odd]) == ({"orders_10s": 4}, {"orders_10s": 300, "weight_1m": 2400})
    assert limits_of("none") == ({}, {})


@pytest.mark.fault("O12")
def test_without_any_word_of_the_venue_our_own_count_holds_us_to_half() -> None:
    budget = Budget()
    assert taken(budget, AUDIT, T0) == 120, "1,200 of 2,400"
    assert not budget.take(AUDIT, 1, T0 + 59 * S)
    assert taken(budget, CANCEL, T0 + 59 * S) == 1_200, "what cancels may use the rest, and no more than the limit"
    assert taken(budget, AUDIT, T0 + 60 * S) == 0, "those cancels count"
    assert taken(budget, AUDIT, T0 + 120 * S) == 120


def test_what_others_use_leaves_a_fifth_for_what_cancels() -> None:
    budget = Budget()
    budget.hear(news(weight_1m=1_900), T0)
    assert taken(budget, AUDIT, T0 + S) == 2, "up to 80 %"
    assert taken(budget, CANCEL, T0 + S) == 480
    assert budget.shown(T0 + S)["weight_1m"] == {"used": 2_400, "limit": 2_400, "ours": 500}
    budget = Budget()
    budget.hear(news(weight_1m=2_395), T0)
    assert taken(budget, AUDIT, T0 + 59 * S) == 1, "when nothing of ours is counted one call may go"
    assert budget.windows["weight_1m"].used(T0 + 60 * S) == 10, "a count is as old as its window at most"


@pytest.mark.fault("O12")
def test_orders_keep_a_fifth_for_reducing_and_the_limits_are_the_venues_own() -> None:
    budget = Budget()
    budget.hear(RateNews({"orders_10s": 70}, {"orders_10s": 100, "orders_1m": 1_000}, 0, None, 0), T0)
    assert budget.orders_left(T0, reducing=False) == 10 and budget.orders_left(T0, reducing=True) == 30
    for _ in range(10):
        assert budget.take(ORDER, 1, T0 + S)
    assert budget.orders_left(T0 + S, reducing=False) == 0 and budget.orders_left(T0 + S, reducing=True) == 20
    assert budget.orders_left(T0 + 12 * S, reducing=False) == 50, "as many as anybody asks for"


@pytest.mark.fault("O13")
def test_silence_lasts_as_long_as_the_venue_says_and_a_little_more() -> None:
    budget = Budget()
    budget.hear(news(status=429, wait_ms=5_000, jitter=999), T0)
    assert budget.silent_until_ns == T0 + 6_000 * NS_PER_MS and not budget.banned
    assert not budget.take(CANCEL, 1, T0 + 5 * S) and budget.orders_left(T0 + 5 * S, reducing=True) == 0
    assert budget.take(CANCEL, 1, T0 + 6 * S)
    assert budget.shake_hands(T0 + S) == 5_000 and budget.shake_hands(T0 + 7 * S) == 0


@pytest.mark.fault("O13")
def test_where_the_venue_does_not_say_how_long_429_doubles_and_418_is_two_minutes() -> None:
    budget = Budget()
    waits = []
    for _ in range(8):
        at_ns = budget.silent_until_ns or T0
        budget.hear(news(status=429), at_ns)
        waits.append((budget.silent_until_ns - at_ns) // S)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    budget.hear(news(weight_1m=3), budget.silent_until_ns)
    at_ns = budget.silent_until_ns
    budget.hear(news(status=418), at_ns)
    assert budget.banned and (budget.silent_until_ns - at_ns) // S == 120
    budget.hear(news(status=429, wait_ms=1_000), at_ns)
    assert (budget.silent_until_ns - at_ns) // S == 120, "a shorter wait does not end a longer one"


def read(source: str, said: dict[str, object]) -> list[Event]:
    return decode_input(source, json.dumps(said).encode(), Calls(times={1: T0}), T0)


def test_counts_and_silence_come_with_the_recorded_answers() -> None:
    request = {"label": "order", "client_order_id": "sh-7f3a91c2-1-000001"}
    headers = {"x-mbx-order-count-10s": "3", "retry-after": "7"}
    found = read("rest", {"request": request, "status": 429, "headers": headers, "body": "", "jitter_permille": 12})
    assert found[0] == RateNews({"orders_10s": 3}, {}, 429, 7_000, 12) and isinstance(found[1], OrderOutcome)
    body = {"code": -1003, "msg": f"Way too many requests; IP banned until {make.T0_MS + 90_000}. Please"}
    found = read("rest", {"request": {"label": "open_orders"}, "status": 418, "headers": {}, "body": body})
    assert found[0] == RateNews({}, {}, 418, 90_000, 500) and isinstance(found[1], CallFailed)
    rows = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6_000, "count": 41}]
    found = read("wsapi", {"id": "time-1", "status": 200, "result": {"serverTime": make.T0_MS}, "rateLimits": rows})
    assert found[0] == RateNews({"weight_1m": 41}, {"weight_1m": 6_000}, 0, None, 500) and isinstance(
        found[1], VenueTime
    )


@pytest.mark.parametrize(
    ("data", "wait_ms"),
    [
        ({"serverTime": make.T0_MS - 50_000, "retryAfter": make.T0_MS + 10_000}, 60_000),
        ({"retryAfter": make.T0_MS + 10_000}, 10_000),
        ({"retryAfter": make.T0_MS - 1}, 0),
        ({"retryAfter": 61_000}, 61_000),
        ({"retryAfter": True}, None),
        ({}, None),
    ],
)
def test_a_frame_says_how_long_as_a_moment_or_a_length(data: dict[str, object], wait_ms: int | None) -> None:
    error = {"code": -1003, "msg": "Way too many", "data": data}
    (found,) = read("wsapi", {"id": "none-1", "status": 418, "error": error})
    assert isinstance(found, RateNews) and (found.status, found.wait_ms) == (418, wait_ms)


def test_what_the_reactor_asks_without_room_is_left_out_said_and_made_up_for() -> None:
    session = Session(SessionState(symbols=[make.BTCUSDT]))
    session.step(make.mark("1"), T0)
    session.step(news(status=429, wait_ms=30_000), T0 + S)
    closing = CloseStream("market", 1, "test")
    asked: list[Command] = [RequestSetup(reason="filters"), FollowSymbol(make.BTCUSDT), CANCEL, AUDIT, ORDER, closing]
    kept, notes = session.pass_on(asked, T0 + 2 * S)
    assert kept == [ORDER, closing], "an order is the gate's to judge; closing a socket is no request"
    assert [note.code for note in notes] == ["budget"] * 4
    later: list[Command] = []
    for second in range(3, 40):
        later += session.step(make.mark("1"), T0 + second * S).commands
        if second < 31:
            assert not [c for c in later if isinstance(c, (RequestSetup, FollowSymbol))], second
    assert [type(c).__name__ for c in later].count("FollowSymbol") == 1
    assert any(isinstance(c, RequestSetup) for c in later)
    assert any(type(c).__name__ == "RequestOpenOrders" for c in later), "the cancel is found again by the list"


def test_silence_reaches_the_hands_and_the_next_handshake_waits_for_its_end() -> None:
    session = Session(SessionState(symbols=[make.BTCUSDT]))
    first = session.step(make.mark("1"), T0).commands
    number = next(c.connection for c in first if isinstance(c, OpenStream) and c.stream == "ws_api")
    asked = session.step(news(status=418, wait_ms=120_000), T0 + S).commands
    assert KeepSilent(until_ns=T0 + 121 * S + NS_PER_MS) in asked
    again = session.step(StreamClosed("ws_api", number, "1006", 0), T0 + 21 * S).commands
    (opened,) = [c for c in again if isinstance(c, OpenStream)]
    assert opened.stream == "ws_api" and opened.delay_ms == 100_001, "a handshake is a request"
