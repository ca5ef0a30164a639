"""The outbox against a scripted venue on loopback: what leaves, how often, and what comes back as an input."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_socket

from streamhedge.domain.commands import (
    CancelOrder,
    CloseStream,
    Command,
    CreateListenKey,
    KeepSilent,
    OpenStream,
    PlaceOrder,
    RenewListenKey,
    RequestOpenOrders,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.order import OrderType, Side, TimeInForce
from streamhedge.domain.values import ClientOrderId
from streamhedge.live.hands import Hands
from streamhedge.settings.endpoints import Endpoints
from streamhedge.settings.secrets import Mask, Secret
from streamhedge.venue.clock import BootClock
from streamhedge.venue.http import BODY_MOST, RestClient
from streamhedge.venue.sockets import closed_reason, open_socket
from streamhedge.wire.session import MARKET, PRIVATE, WS_API
from streamhedge.wire.signing import signer_of
from tests.support import builders as make

KEY, SECRET = "k" * 32, "s" * 32
CEILING_S = 20.0
NAME = ClientOrderId("sh-7f3a91c2-1-000001")


@dataclass(slots=True)
class Venue:
    """What was asked of REST, and what each path answers."""

    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    peers: list[object] = field(default_factory=list)
    """From which connection each was asked."""
    holds: tuple[str, ...] = ()
    """What is not answered before it is released."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path, dict(request.query)))
        self.peers.append(request.get_extra_info("peername"))
        name = f"{request.method} {request.path}"
        if name in self.holds:
            self.held.set()
            await self.released.wait()
        status = self.statuses.get(name, 200)
        return web.Response(text=self.bodies.get(name, "{}"), status=status, headers=self.headers)

    def times(self, method: str, path: str) -> int:
        return sum((method, path) == asked[:2] for asked in self.asked)


@dataclass(slots=True)
class Outbox:
    """Hands with their inputs in a list."""

    hands: Hands
    venue: Venue
    inputs: list[tuple[str, Any]]
    news: asyncio.Event

    async def after(self, *commands: Command, inputs: int = 1) -> list[tuple[str, Any]]:
        """Perform and wait for so many inputs."""
        for number, command in enumerate(commands):
            self.hands.perform(command, number + 1)
        async with asyncio.timeout(CEILING_S):
            while len(self.inputs) < inputs:
                self.news.clear()
                await self.news.wait()
        return self.inputs


@asynccontextmanager
async def outbox(*, stream: str = "ws://127.0.0.1:9", **said: object) -> AsyncIterator[Outbox]:
    venue = Venue()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", venue.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None and isinstance(site._server, asyncio.Server)
    base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    signer, mask = signer_of(SECRET), Mask(Secret(KEY), Secret(SECRET))
    hands = Hands(
        symbols=[make.BTCUSDT],
        hedges=(make.hedge_params(**said),),
        recv_window_ms=2_000,
        endpoints=Endpoints(rest=base, stream=stream, ws_api=stream),
        rest=RestClient(base, api_key=Secret(KEY), signer=signer, timeout_s=5),
        api_key=Secret(KEY),
        signer=signer,
        clock=BootClock(),
        mask=mask,
        fail=_fail,
    )
    inputs: list[tuple[str, Any]] = []
    news = asyncio.Event()

    def feed(source: str, payload: bytes) -> None:
        payload = mask.data(payload)  # as the machine does
        try:
            inputs.append((source, json.loads(payload)))
        except ValueError:
            inputs.append((source, payload.decode()))
        news.set()

    async with asyncio.TaskGroup() as group:
        hands.attach(feed, lambda name: 0, group)
        try:
            yield Outbox(hands, venue, inputs, news)
        finally:
            await hands.close()
    await runner.cleanup()


def _fail(error: BaseException) -> None:
    raise error


def place(hands: Hands, *, late: bool = False) -> PlaceOrder:
    now_ns = hands._clock.now_ns()
    return PlaceOrder(
        client_order_id=NAME,
        symbol=make.BTCUSDT,
        side=Side.SELL,
        type=OrderType.LIMIT,
        quantity=Decimal("0.5"),
        price=Decimal("67000.0"),
        time_in_force=TimeInForce.IOC,
        reduce_only=False,
        deadline_ns=now_ns - 5_000_000 if late else now_ns + 60_000_000_000,
    )


# ---------------------------------------------------------------- orders


async def test_nothing_leaves_while_the_venue_wants_silence_not_even_what_was_decided_before() -> None:
    async with outbox() as out:
        out.hands.perform(place(out.hands), 1)
        out.hands.perform(KeepSilent(until_ns=out.hands._clock.now_ns() + 60_000_000_000), 0)
        inputs = await out.after(CreateListenKey(), RequestSetup(reason="test"), inputs=3)
        assert [(said["status"], said["sent"]) for _, said in inputs] == [(None, False)] * 3
        assert all("asked for silence" in said["error"] for _, said in inputs)
        assert out.venue.asked == []


async def test_the_answer_that_asks_for_silence_is_recorded_with_its_jitter() -> None:
    async with outbox() as out:
        out.venue.statuses["POST /fapi/v1/order"] = 429
        out.venue.headers = {"Retry-After": "3", "X-MBX-ORDER-COUNT-10S": "299"}
        ((_, said),) = await out.after(place(out.hands))
        assert said["headers"] == {"retry-after": "3", "x-mbx-order-count-10s": "299"}
        assert 0 <= said["jitter_permille"] < 1_000


@pytest.mark.fault("O2")
async def test_an_order_leaves_once_and_its_answer_is_an_input() -> None:
    async with outbox() as out:
        ((source, said),) = await out.after(place(out.hands))
        assert (source, said["request"]["client_order_id"], said["status"]) == ("rest", NAME, 200)
        assert out.venue.times("POST", "/fapi/v1/order") == 1
        assert out.venue.asked[0][2]["newClientOrderId"] == NAME
        assert KEY not in json.dumps(said) and "signature" not in json.dumps(said)


class Sleeping(BootClock):
    """A machine that sleeps for an hour once its order looked young enough: between that look and the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def now_ns(self) -> int:
        self.looks += 1
        return super().now_ns() + (3_600_000_000_000 if self.looks > 2 else 0)


@pytest.mark.parametrize("connected", [False, True], ids=["new connection", "kept connection"])
async def test_nothing_decided_before_a_gap_is_written_after_it(connected: bool) -> None:
    async with outbox() as out:
        if connected:
            await out.after(CreateListenKey())
        before = len(out.inputs)
        command = place(out.hands)
        clock = Sleeping()
        out.hands._clock = clock
        source, said = (await out.after(command, inputs=before + 1))[before]
        assert (source, said["request"]["client_order_id"]) == ("rest", NAME)
        assert (said["status"], said["sent"]) == (None, False) and "deadline" in said["error"]
        assert out.venue.times("POST", "/fapi/v1/order") == 0 and clock.looks >= 3


@pytest.mark.fault("C6")
async def test_an_order_waits_for_no_question_however_many_are_under_way() -> None:
    async with outbox() as out:
        out.venue.holds = ("PUT /fapi/v1/listenKey", "GET /fapi/v1/openOrders", "GET /fapi/v1/exchangeInfo")
        questions = [RenewListenKey(), RequestOpenOrders(), RequestSetup(reason="test")] * 7
        for number, question in enumerate(questions):  # far more than ever fall due together, and none is answered
            out.hands.perform(question, number)
        ((source, said),) = await out.after(place(out.hands))
        assert (source, said["request"]["client_order_id"], said["status"]) == ("rest", NAME, 200)
        out.venue.released.set()


@pytest.mark.fault("C4", "P4")
async def test_an_order_past_its_deadline_never_leaves() -> None:
    async with outbox() as out:
        ((source, said),) = await out.after(place(out.hands, late=True))
        assert (source, said["client_order_id"]) == ("void", NAME) and "decided too long ago (" in said["reason"]
        assert out.venue.asked == []


@pytest.mark.fault("P7")
async def test_after_the_end_began_an_order_is_void_and_nothing_else_moves() -> None:
    async with outbox() as out:
        await out.hands.close()
        ((source, said),) = await out.after(RequestOpenOrders(), CreateListenKey(), place(out.hands))
        assert (source, said["client_order_id"]) == ("void", NAME) and "stopping" in said["reason"]
        assert out.venue.asked == []


@pytest.mark.fault("O2", "O16")
async def test_a_server_error_is_passed_on_and_never_asked_again() -> None:
    async with outbox() as out:
        out.venue.statuses["POST /fapi/v1/order"] = 503
        ((_, said),) = await out.after(place(out.hands))
        assert (said["status"], said["sent"]) == (503, True)
        assert out.venue.times("POST", "/fapi/v1/order") == 1


@pytest.mark.fault("S9", "O5")
async def test_an_answer_larger_than_the_bound_is_no_answer_but_it_was_sent() -> None:
    async with outbox() as out:
        out.venue.bodies["POST /fapi/v1/order"] = "x" * (BODY_MOST + 1)
        ((_, said),) = await out.after(place(out.hands))
        assert (said["status"], said["sent"], said["body"]) == (None, True, "")
        assert "larger than" in said["error"]


async def test_a_cancel_names_the_order() -> None:
    async with outbox() as out:
        ((_, said),) = await out.after(CancelOrder(symbol=make.BTCUSDT, client_order_id=NAME))
        assert said["request"]["label"] == "cancel"
        ((method, path, query),) = out.venue.asked
        assert (method, path, query["origClientOrderId"]) == ("DELETE", "/fapi/v1/order", NAME)


# ---------------------------------------------------------------- listen keys


@pytest.mark.fault("X3")
async def test_a_listen_key_becomes_a_handle_before_it_is_an_input() -> None:
    async with outbox() as out:
        out.venue.bodies["POST /fapi/v1/listenKey"] = '{"listenKey":"very-secret-1"}'
        await out.after(CreateListenKey())
        out.venue.bodies["POST /fapi/v1/listenKey"] = '{"listenKey":"very-secret-2"}'
        await out.after(CreateListenKey(), inputs=2)
        out.venue.bodies["PUT /fapi/v1/listenKey"] = '{"listenKey":"very-secret-1"}'
        await out.after(RenewListenKey(), inputs=3)
        assert [said["body"] for _, said in out.inputs] == [{"listenKey": name} for name in ("lk1", "lk2", "lk1")]
        assert "very-secret" not in json.dumps(out.inputs)


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"listenKey":""}', '{"listenKey":7}'])
async def test_a_listen_key_that_is_none_is_recorded_as_unreadable(body: str) -> None:
    async with outbox() as out:
        out.venue.bodies["POST /fapi/v1/listenKey"] = body
        ((_, said),) = await out.after(CreateListenKey())
        assert said["body"] == "unreadable"


# ---------------------------------------------------------------- set-up


def symbol_config(margin: str, leverage: int) -> str:
    return json.dumps([{"symbol": "BTCUSDT", "marginType": margin, "leverage": leverage}, {"symbol": "ETHUSDT"}])


@pytest.mark.parametrize(
    ("margin", "leverage", "changes"),
    [
        ("CROSSED", 3, []),
        ("CROSSED", 20, ["/fapi/v1/leverage"]),
        ("ISOLATED", 3, ["/fapi/v1/marginType"]),
        ("ISOLATED", 20, ["/fapi/v1/marginType", "/fapi/v1/leverage"]),
    ],
)
async def test_settings_that_differ_are_set_and_read_again(margin: str, leverage: int, changes: list[str]) -> None:
    async with outbox() as out:
        out.venue.bodies["GET /fapi/v1/exchangeInfo"] = '{"symbols":[{"symbol":"BTCUSDT"},{"symbol":"XRPUSDT"}]}'
        out.venue.bodies["GET /fapi/v1/symbolConfig"] = symbol_config(margin, leverage)
        ((source, said),) = await out.after(RequestSetup(reason="test"))
        assert source == "setup" and said["exchange_info"]["symbols"] == [{"symbol": "BTCUSDT"}], "ours alone"
        assert [path for method, path, _ in out.venue.asked if method == "POST"] == changes
        assert out.venue.times("GET", "/fapi/v1/exchangeInfo") == (2 if changes else 1)


async def test_a_refused_change_is_left_as_it_is() -> None:
    async with outbox() as out:
        out.venue.bodies["GET /fapi/v1/exchangeInfo"] = '{"symbols":[{"symbol":"BTCUSDT"}]}'
        out.venue.bodies["GET /fapi/v1/symbolConfig"] = symbol_config("ISOLATED", 3)
        out.venue.statuses["POST /fapi/v1/marginType"] = 400
        ((source, said),) = await out.after(RequestSetup(reason="test"))
        assert (source, said["symbol_config"][0]["marginType"]) == ("setup", "ISOLATED"), "and judged by the reactor"
        assert out.venue.times("POST", "/fapi/v1/marginType") == 1


@pytest.mark.parametrize(
    "config",
    [
        *("<html>", "7", "[{}]", "[]"),
        '[{"symbol":"BTCUSDT"}]',
        '[{"symbol":"BTCUSDT","marginType":"OTHER","leverage":3}]',
    ],
)
async def test_settings_that_cannot_be_read_change_nothing(config: str) -> None:
    async with outbox() as out:
        out.venue.bodies["GET /fapi/v1/exchangeInfo"] = '{"symbols":[{"symbol":"BTCUSDT"}]}'
        out.venue.bodies["GET /fapi/v1/symbolConfig"] = config
        ((source, _),) = await out.after(RequestSetup(reason="test"))
        assert source == "setup", "the decoder says what is wrong with it"
        assert not [path for method, path, _ in out.venue.asked if method == "POST"]


@pytest.mark.parametrize("path", ["/fapi/v1/exchangeInfo", "/fapi/v1/symbolConfig", "/fapi/v1/commissionRate"])
async def test_a_part_that_is_refused_is_told_as_the_set_ups_failure(path: str) -> None:
    async with outbox() as out:
        out.venue.bodies["GET /fapi/v1/exchangeInfo"] = '{"symbols":[{"symbol":"BTCUSDT"}]}'
        out.venue.statuses[f"GET {path}"] = 418
        ((source, said),) = await out.after(RequestSetup(reason="test"))
        assert (source, said["request"]["label"], said["status"]) == ("rest", "setup", 418)


# ---------------------------------------------------------------- sockets


@pytest.mark.fault("S13")
async def test_a_message_in_fragments_is_one_input_and_control_frames_between_are_none() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send(['{"e":', '"markPrice', 'Update"}'])
        await connection.ping()
        await connection.send('{"whole":1}')
        await connection.send([b'{"bytes"', b":2}"])
        await connection.close(1001, "maintenance")

    async with serve_socket(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with outbox(stream=f"ws://127.0.0.1:{port}") as out:
            opened = OpenStream(stream=MARKET, connection=1, delay_ms=1)
            found = await out.after(opened, inputs=5)
            assert [said for source, said in found if source == "market"] == [
                {"e": "markPriceUpdate"},
                {"whole": 1},
                {"bytes": 2},
            ]
            states = [said for source, said in found if source == "conn"]
            assert [said["state"] for said in states] == ["open", "closed"]
            assert states[1]["reason"] == "code 1001 maintenance" and 0 <= states[1]["jitter_permille"] < 1_000


@pytest.mark.fault("P6")
async def test_what_the_taker_raises_is_told_and_ends_no_connection() -> None:
    async def talk(connection: ServerConnection) -> None:
        for number in range(3):
            await connection.send(str(number))

    errors: list[BaseException] = []
    taken: list[bytes] = []

    def taker(payload: bytes) -> None:
        if payload == b"1":
            raise ValueError("not one")
        taken.append(payload)

    async with serve_socket(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        connection = await open_socket(f"ws://127.0.0.1:{port}", taker, errors.append)
        reason = await asyncio.wait_for(closed_reason(connection), CEILING_S)
    assert taken == [b"0", b"2"] and [str(error) for error in errors] == ["not one"]
    assert reason.startswith("code 1000")


@pytest.mark.parametrize("stream", [MARKET, PRIVATE, WS_API])
@pytest.mark.fault("S12")
async def test_no_connection_is_told_with_a_reason(stream: str) -> None:
    async with outbox() as out:
        ((source, said),) = await out.after(OpenStream(stream=stream, connection=4, delay_ms=0, handle="lk1"))
        assert (source, said["connection"], said["state"]) == ("conn", 4, "closed")
        assert said["reason"].startswith("no connection: ")


async def test_questions_without_a_socket_are_not_asked() -> None:
    async with outbox() as out:
        for number, command in enumerate((RequestTime(), RequestSnapshot(reason="test", audit=True))):
            out.hands.perform(command, number)
        assert not out.hands._tasks and out.inputs == []


async def test_a_snapshot_asks_both_questions_under_one_number_and_signs_them() -> None:
    asked: list[dict[str, Any]] = []

    async def talk(connection: ServerConnection) -> None:
        async for frame in connection:
            asked.append(json.loads(frame))
            await connection.send(json.dumps({"id": asked[-1]["id"], "status": 200, "result": []}))

    async with serve_socket(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with outbox(stream=f"ws://127.0.0.1:{port}") as out:
            await out.after(OpenStream(stream=WS_API, connection=1, delay_ms=0))
            found = await out.after(RequestSnapshot(reason="test", audit=True), inputs=3)
            assert [said["id"] for source, said in found if source == "wsapi"] == ["pos-1", "bal-1"]
    assert [frame["params"]["apiKey"] for frame in asked] == [KEY, KEY]
    assert all(frame["params"]["signature"] for frame in asked)


# ---------------------------------------------------------------- after a gap


@pytest.mark.fault("C3")
async def test_a_socket_that_was_dropped_is_not_heard_any_more_whatever_waits_in_it() -> None:
    dropped = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        await connection.send('{"number":1}')
        await dropped.wait()
        await connection.send('{"number":2}')
        await connection.wait_closed()

    async with serve_socket(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with outbox(stream=f"ws://127.0.0.1:{port}") as out:
            await out.after(OpenStream(stream=WS_API, connection=1, delay_ms=0), inputs=2)
            out.hands.perform(CloseStream(WS_API, 1, "clock gap"), 0)
            dropped.set()
            ((_, said),) = (await out.after(inputs=3))[2:]
            assert (said["connection"], said["state"]) == (1, "closed"), "its farewell, and nothing of what it said"
            found = await out.after(OpenStream(stream=WS_API, connection=2, delay_ms=0), inputs=6)
            assert [fields["number"] for source, fields in found if source == "wsapi"] == [1, 1, 2]


@pytest.mark.fault("C3")
async def test_after_a_gap_no_kept_connection_is_used_and_what_was_under_way_has_no_answer() -> None:
    async with outbox() as out:
        await out.after(CreateListenKey())
        out.venue.holds = ("POST /fapi/v1/order",)
        out.hands.perform(place(out.hands), 1)
        await asyncio.wait_for(out.venue.held.wait(), CEILING_S)
        out.hands.drop_idle()
        out.venue.released.set()
        said = (await out.after(inputs=2))[1][1]
        assert (said["status"], said["sent"]) == (None, True), "in doubt, at once"
        await out.after(CreateListenKey(), inputs=3)
        key, order, again = out.venue.peers
        assert key == order != again, "a connection of before the gap may be dead and say so to nobody"


@pytest.mark.fault("C3", "P7")
async def test_a_gap_noticed_while_it_ends_opens_nothing_anew() -> None:
    async with outbox() as out:
        await out.hands.close()
        out.hands.drop_idle()
        assert not out.hands._tasks
