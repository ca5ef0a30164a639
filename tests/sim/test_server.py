"""The exchange on real sockets: frozen and cut connections, maintenance, and its own doors. Loopback only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import WSMsgType

from streamhedge.errors import ConfigError
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import Tape
from streamhedge.simserver.server import serve, wall_ms
from tests.sim.desk import BTC, KEY, SECRET, signature

D = Decimal
CEILING_S = 20
SILENCE_S = 0.3


@dataclass(slots=True)
class Served:
    """A served exchange and a client session."""

    exchange: Exchange
    ready: dict[str, Any]
    http: aiohttp.ClientSession
    open: list[Any] = field(default_factory=list)

    async def door(self, path: str, **said: Any) -> tuple[int, Any]:
        """Knock at one of the exchange's own doors."""
        async with self.http.post(f"{self.ready['rest']}{path}", json=said) as answer:
            return answer.status, await answer.json()

    async def call(self, method: str, path: str, **params: Any) -> tuple[int, Any]:
        """Send a signed request."""
        query = urlencode({**params, "timestamp": wall_ms()})
        url = f"{self.ready['rest']}{path}?{query}&signature={signature(query)}"
        async with self.http.request(method, url, headers={"X-MBX-APIKEY": KEY}) as answer:
            return answer.status, await answer.json(content_type=None)

    async def sell(self, name: str = "a") -> tuple[int, Any]:
        """Sell one bitcoin."""
        words = {"symbol": BTC, "side": "SELL", "type": "MARKET", "quantity": "1", "newClientOrderId": name}
        return await self.call("POST", "/fapi/v1/order", **words)

    async def socket(self, address: str) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket that hands pongs to the test."""
        socket = await self.http.ws_connect(address, autoping=False)
        self.open.append(socket)
        return socket

    async def private(self) -> aiohttp.ClientWebSocketResponse:
        """Open the private stream."""
        _, found = await self.call("POST", "/fapi/v1/listenKey")
        return await self.socket(f"{self.ready['stream']}/private/ws?listenKey={found['listenKey']}")

    def position(self) -> Decimal:
        """Return what is really held."""
        return self.exchange.account.position(BTC).amount


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Served]:
    """Serve an exchange with a standing price on a free port."""
    tape = Tape("still", [0, 10**12], [D(67_000), D(67_000)])
    exchange = Exchange(Settings(tape, Keys(KEY, SECRET)), wall_ms())
    told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(serve(exchange, port=0, ready=told.set_result, stop=stop.wait))
    try:
        ready = await asyncio.wait_for(told, CEILING_S)
        async with aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=CEILING_S)) as http:
            found = Served(exchange, ready, http)
            yield found
            for socket in found.open:
                await asyncio.wait_for(socket.close(), CEILING_S)
    finally:
        stop.set()
        await asyncio.wait_for(task, CEILING_S)


async def answered(socket: aiohttp.ClientWebSocketResponse, kind: WSMsgType) -> Any:
    """Wait for a frame of a kind and return what it holds."""
    async with asyncio.timeout(CEILING_S):
        while True:
            message = await socket.receive()
            if message.type is kind:
                return message.data


async def silent(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Require that a socket is open and says nothing."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SILENCE_S):
            await socket.receive()


async def closed(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Require that a socket is closed by the exchange."""
    async with asyncio.timeout(CEILING_S):
        while not socket.closed:
            await socket.receive()


# ---------------------------------------------------------------- sockets


async def test_a_ping_is_answered_with_its_payload_until_the_socket_freezes() -> None:
    async with served() as venue:
        private = await venue.private()
        api = await venue.socket(venue.ready["ws_api"])
        for socket in (private, api):
            await socket.ping(b"alive?")
            assert bytes(await answered(socket, WSMsgType.PONG)) == b"alive?"
        assert (await venue.door("/__fault", fault="S1=private,S1=ws_api"))[0] == 200
        async with asyncio.timeout(CEILING_S):
            while venue.exchange.faults.happened.get("S1") != 2:  # one knob of a name a beat
                await asyncio.sleep(0.01)
        for socket in (private, api):
            await socket.ping(b"alive?")
            await socket.send_str('{"method":"time","id":1}')
            await silent(socket)
        fresh = await venue.private()
        assert (await venue.sell())[0] == 200
        assert "ORDER_TRADE_UPDATE" in await answered(fresh, WSMsgType.TEXT)
        await silent(private)


@pytest.mark.parametrize(("word", "held"), [("executed", "-1"), ("not_executed", "0")])
async def test_the_connection_closes_as_the_order_is_read(word: str, held: str) -> None:
    async with served() as venue:
        await venue.door("/__fault", fault=f"O15={word}")
        with pytest.raises(aiohttp.ClientConnectionError):
            await venue.sell()
        assert venue.position() == D(held)
        assert venue.exchange.wire_posts == {"a": 1}
        assert (await venue.sell("b"))[0] == 200


async def test_an_order_over_the_websocket_api_can_lose_its_connection_too() -> None:
    async with served() as venue:
        socket = await venue.socket(venue.ready["ws_api"])
        await venue.door("/__fault", fault="O15=executed")
        words = {"apiKey": KEY, "quantity": "1", "side": "SELL", "symbol": BTC, "type": "MARKET"}
        params = {**words, "timestamp": wall_ms()}
        params["signature"] = signature("&".join(f"{name}={params[name]}" for name in sorted(params)))
        await socket.send_json({"id": 1, "method": "order.place", "params": params})
        await closed(socket)
        assert venue.position() == -1


async def test_maintenance_closes_the_sockets_and_lets_nobody_in() -> None:
    async with served() as venue:
        private, api = await venue.private(), await venue.socket(venue.ready["ws_api"])
        await venue.door("/__fault", fault="M3=3600")
        for socket in (private, api):
            await closed(socket)
        assert (await venue.sell()) == (503, {"code": -1016, "msg": "This service is no longer available."})
        for address in (f"{venue.ready['stream']}/market/ws/btcusdt@markPrice", venue.ready["ws_api"]):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await venue.socket(address)
            assert refused.value.status == 503


async def test_the_websocket_api_handshake_costs_weight() -> None:
    async with served() as venue:
        await venue.socket(venue.ready["ws_api"])
        await venue.socket(f"{venue.ready['stream']}/market/ws/btcusdt@markPrice")
        assert venue.exchange.limits.weight == 5


async def test_who_talks_too_fast_is_cut_off() -> None:
    async with served() as venue:
        socket = await venue.socket(f"{venue.ready['stream']}/market/ws")
        for number in range(200):
            if socket.closed:
                break
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        await closed(socket)


async def test_paths_that_are_none_are_404() -> None:
    async with served() as venue:
        for path in ("/", "/fapi/v1/nothing", "/__nothing", "/market/ws"):
            async with venue.http.get(f"{venue.ready['rest']}{path}") as answer:
                assert answer.status == 404
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await venue.socket(f"{venue.ready['stream']}/nowhere/ws")
        assert refused.value.status == 404


async def test_a_port_that_is_taken_is_named() -> None:
    async with served() as venue:
        port = int(venue.ready["rest"].rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 cannot be used"):
            await serve(venue.exchange, port=port, ready=lambda ready: None, stop=asyncio.Event().wait)


# ---------------------------------------------------------------- the exchange's own doors


async def test_the_doors_for_money_trades_and_truth() -> None:
    async with served() as venue:
        private = await venue.private()
        assert (await venue.door("/__wallet", change="-1000"))[1]["wallet"] == "399000"
        assert '"m":"WITHDRAW"' in await answered(private, WSMsgType.TEXT)
        status, truth = await venue.door("/__external", quantity="-1.5")
        assert status == 200 and truth["positions"] == {BTC: "-1.5"}
        async with venue.http.get(f"{venue.ready['rest']}/__truth") as answer:
            assert (await answer.json())["positions"] == {BTC: "-1.5"}


async def test_the_door_for_contracts_brings_news() -> None:
    async with served() as venue:
        news = await venue.socket(f"{venue.ready['stream']}/market/ws/!contractInfo")
        assert (await venue.door("/__contract", symbol=BTC, status="SETTLING"))[0] == 200
        assert '"cs":"SETTLING"' in await answered(news, WSMsgType.TEXT)
        rows = [["100000", "0.01", 50], ["1000000", "0.05", 10]]
        assert (await venue.door("/__contract", symbol=BTC, brackets=rows))[0] == 200
        assert '"bnc":1000000,"mmr":0.05,"cf":4000,"mi":1,"ma":10' in await answered(news, WSMsgType.TEXT)
        status, found = await venue.sell()
        assert (status, found["code"]) == (400, -4141)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/__fault", {"fault": "Z9=1"}),
        ("/__external", {"quantity": "some"}),
        ("/__external", {}),
        ("/__external", {"quantity": "1", "symbol": "NOSUCHUSDT"}),
        ("/__wallet", {"change": "much"}),
        ("/__contract", {"symbol": "NOSUCHUSDT", "status": "CLOSE"}),
        ("/__contract", {"symbol": BTC, "status": "ASLEEP"}),
        ("/__contract", {"symbol": BTC, "brackets": [["1", "x", 1]]}),
    ],
)
async def test_a_door_says_what_is_wrong_and_changes_nothing(path: str, said: dict[str, Any]) -> None:
    async with served() as venue:
        status, found = await venue.door(path, **said)
        assert status == 400 and found["error"]
        truth = venue.exchange.truth()
        assert (truth["positions"], truth["wallet"]) == ({}, "400000")
        assert venue.exchange.contracts[BTC].status == "TRADING"


async def test_a_body_that_is_no_json_is_refused_at_a_door() -> None:
    async with served() as venue:
        for body in (b"{", b"[]", b"7"):
            async with venue.http.post(f"{venue.ready['rest']}/__fault", data=body) as answer:
                assert answer.status == 400, body
