"""The spot side of the exchange: the stream on the WebSocket API, its events in spot's letters, and the past by trade id."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import WSMsgType
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from streamhedge.sim.refusals import Refusal
from streamhedge.sim.spot import SpotSession
from streamhedge.wire.signing import Ed25519Signer, HmacSigner, Signer, signed_params
from tests.sim.desk import BTC, KEY, SECRET, Desk
from tests.sim.test_server import CEILING_S, answered, closed, served, silent

D = Decimal
HMAC = HmacSigner(SECRET)


class Client:
    """One connection to the spot API of a desk's exchange."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.spot = desk.exchange.spot
        self.session: SpotSession = self.spot.open("", desk.now_ms)

    def ask(self, method: str, *, signer: Signer | None = HMAC, key: str = KEY, **params: Any) -> dict[str, Any]:
        """Send a request and return its answer; events that came before it stay."""
        if signer is not None:
            params = signed_params({**params, "apiKey": key, "timestamp": self.desk.now_ms}, signer)
        frame = json.dumps({"id": "q", "method": method, "params": params})
        self.desk.exchange.spot_api(self.session.number, frame, self.desk.now_ms)
        for number, text in self.spot.outbox:
            if number == self.session.number and json.loads(text).get("id") == "q":
                self.spot.outbox.remove((number, text))
                return dict(json.loads(text))
        raise AssertionError("no answer")

    def subscribe(self) -> int:
        """Begin the stream."""
        return int(self.ask("userDataStream.subscribe.signature")["result"]["subscriptionId"])

    def events(self) -> list[dict[str, Any]]:
        """Take what came: the inner events."""
        found = [json.loads(text) for number, text in self.spot.outbox if number == self.session.number]
        self.spot.outbox.clear()
        assert all(set(frame) <= {"subscriptionId", "event"} for frame in found)
        return [frame["event"] for frame in found]


def bought(client: Client, quantity: str = "0.12", price: str = "76380", **more: Any) -> list[dict[str, Any]]:
    """Have the account buy, and return the events."""
    client.spot.fill(BTC, "BUY", D(quantity), D(price), client.desk.now_ms, **more)
    return client.events()


# ---------------------------------------------------------------- subscribing


def test_a_signed_subscription_needs_no_session() -> None:
    client = Client(Desk())
    answer = client.ask("userDataStream.subscribe.signature")
    assert (answer["status"], answer["result"]) == (200, {"subscriptionId": 0})
    assert answer["rateLimits"][0]["limit"] == 6000 and answer["rateLimits"][0]["count"] == 2
    assert client.ask("session.subscriptions", signer=None)["result"] == [{"subscriptionId": 0}]


def test_an_ed25519_key_may_sign_or_log_on() -> None:
    client = Client(Desk())
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    client.desk.exchange.keys.ed25519["ed"] = public
    signer = Ed25519Signer(private)
    assert client.ask("userDataStream.subscribe.signature", signer=signer, key="ed")["status"] == 200
    assert client.ask("userDataStream.subscribe", signer=None)["error"]["code"] == -1099
    assert client.ask("session.logon", signer=signer, key="ed")["status"] == 200
    assert client.ask("userDataStream.subscribe", signer=None)["result"] == {"subscriptionId": 1}
    client.ask("session.logout", signer=None)
    assert [event["e"] for event in client.events()] == ["eventStreamTerminated"]
    assert client.ask("session.subscriptions", signer=None)["result"] == [{"subscriptionId": 0}], "the signed one lives"


@pytest.mark.parametrize(
    ("signer", "key", "code"), [(HmacSigner("another"), KEY, -1022), (HMAC, "unknown", -2015), (None, KEY, -1102)]
)
def test_who_may_not_listen(signer: Signer | None, key: str, code: int) -> None:
    client = Client(Desk())
    assert client.ask("userDataStream.subscribe.signature", signer=signer, key=key)["error"]["code"] == code
    assert bought(client) == []


def test_an_hmac_key_does_not_log_on_and_a_listen_key_is_gone() -> None:
    client = Client(Desk())
    assert client.ask("session.logon")["error"]["code"] == -1099
    assert client.ask("userDataStream.start", signer=None)["status"] == 404


# ---------------------------------------------------------------- events


def test_a_fill_is_told_flat_with_its_commission_in_base() -> None:
    client = Client(Desk())
    client.subscribe()
    new, trade, balances = bought(client)
    assert (new["e"], new["x"], new["t"], new["N"], new["n"]) == ("executionReport", "NEW", -1, None, "0")
    assert (trade["x"], trade["X"], trade["S"], trade["l"], trade["L"]) == (
        *("TRADE", "FILLED", "BUY"),
        *("0.12000000", "76380.00000000"),
    )
    assert (trade["n"], trade["N"], trade["z"], trade["Z"]) == ("0.00012000", "BTC", "0.12000000", "9165.60000000")
    assert balances["e"] == "outboundAccountPosition"
    assert {"a": "BTC", "f": "0.11988000", "l": "0.00000000"} in balances["B"], "net of the commission"


def test_a_sale_pays_in_quote_and_no_more_than_there_is_is_sold() -> None:
    client = Client(Desk())
    client.subscribe()
    bought(client, commission_asset="none")
    client.spot.fill(BTC, "SELL", D("0.02"), D(70000), client.desk.now_ms)
    assert (client.events()[1]["n"], client.spot.free["BTC"]) == ("1.40000000", D("0.10"))
    with pytest.raises(Refusal):
        client.spot.fill(BTC, "SELL", D("0.2"), D(70000), client.desk.now_ms)


def test_events_come_twice_or_not_at_all_and_the_past_is_asked_by_trade_id() -> None:
    client = Client(Desk())
    client.subscribe()
    assert len(bought(client, times=2)) == 6
    assert bought(client, times=0) == []
    first = client.spot.trades[0].trade_id
    rows = client.ask("myTrades", symbol=BTC, fromId=first + 1)["result"]
    assert [row["id"] for row in rows] == [first + 1]
    assert (rows[0]["isBuyer"], rows[0]["qty"], rows[0]["commission"], rows[0]["commissionAsset"]) == (
        *(True, "0.12000000"),
        *("0.00012000", "BTC"),
    )
    assert [row["id"] for row in client.ask("myTrades", symbol=BTC, limit=1)["result"]] == [first + 1], "the latest"
    assert client.ask("myTrades", symbol="NONE")["error"]["code"] == -1121
    assert client.ask("myTrades")["error"]["code"] == -1102


def test_transfers_and_lists_are_told() -> None:
    client = Client(Desk())
    client.subscribe()
    client.spot.transfer("USDT", D(-5000), client.desk.now_ms)
    client.spot.list_status(BTC, client.desk.now_ms)
    moved, balances, listed = client.events()
    assert (moved["e"], moved["a"], moved["d"]) == ("balanceUpdate", "USDT", "-5000.00000000")
    assert (balances["e"], listed["e"]) == ("outboundAccountPosition", "listStatus")


# ---------------------------------------------------------------- ends


def test_a_subscription_ends_with_its_event() -> None:
    client = Client(Desk())
    client.subscribe()
    client.spot.end("terminated", client.desk.now_ms)
    assert [event["e"] for event in client.events()] == ["eventStreamTerminated"]
    assert bought(client) == []
    client.subscribe()
    client.ask("userDataStream.unsubscribe", signer=None)
    assert [event["e"] for event in client.events()] == ["eventStreamTerminated"]


async def test_on_sockets_the_stream_comes_falls_silent_and_ends() -> None:
    async with served() as venue:
        address = venue.ready["spot_ws_api"]
        now_ms = venue.exchange.now_ms
        request = signed_params({"apiKey": KEY, "timestamp": now_ms}, HMAC)
        frame = json.dumps({"id": 1, "method": "userDataStream.subscribe.signature", "params": request})
        sockets = [await venue.socket(address) for _ in range(2)]
        for number, socket in enumerate(sockets):
            await socket.send_str(frame)
            assert json.loads(await answered(socket, WSMsgType.TEXT))["result"] == {"subscriptionId": number}
        status, truth = await venue.door("/__spot", side="BUY", quantity="0.15")
        assert (status, truth["subscriptions"], truth["free"]["BTC"]) == (200, 2, "0.14985000")
        for socket in sockets:
            kinds = [json.loads(await answered(socket, WSMsgType.TEXT))["event"]["e"] for _ in range(3)]
            assert kinds == ["executionReport", "executionReport", "outboundAccountPosition"]
        await sockets[0].close()
        async with asyncio.timeout(CEILING_S):
            while len(venue.exchange.spot.sessions) != 1:
                await asyncio.sleep(0.01)
        await venue.door("/__spot", end="mute")
        await venue.door("/__spot", side="BUY", quantity="0.15")
        await silent(sockets[1])
        await venue.door("/__spot", end="shutdown")
        assert json.loads(await answered(sockets[1], WSMsgType.TEXT)) == {
            "event": {"e": "serverShutdown", "E": venue.exchange.now_ms}
        }
        await closed(sockets[1])
        assert (await venue.door("/__spot", end="wrong"))[0] == 400
