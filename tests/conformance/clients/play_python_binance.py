"""python-binance at the cards: AsyncClient, its futures sockets and its WebSocket API; only addresses are changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal

from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException
from deck import Events, NotOffered, Settings, expect, is_report, play, reading

S = "BTCUSDT"
D = Decimal


def code_of(error: BaseException) -> int:
    """Return the venue's code of an error."""
    assert isinstance(error, BinanceAPIException), repr(error)
    return int(error.code)


class Player:
    """One client and its user stream."""

    def __init__(self, client: AsyncClient, stranger: AsyncClient, sockets: BinanceSocketManager, s: Settings) -> None:
        self.client, self.stranger, self.sockets, self.settings = client, stranger, sockets, s
        self.events = Events()

    async def _order(self, name: str, side: str, kind: str, quantity: str, **more: str) -> dict:
        return await self.client.futures_create_order(
            symbol=S, side=side, type=kind, quantity=quantity, newClientOrderId=name, **more
        )

    async def _amount(self) -> Decimal:
        rows = await self.client.futures_position_information(symbol=S)
        return sum((D(row["positionAmt"]) for row in rows), D(0))

    async def exchange_info(self) -> None:
        found = await self.client.futures_exchange_info()
        row = next(row for row in found["symbols"] if row["symbol"] == S)
        filters = {one["filterType"]: one for one in row["filters"]}
        assert row["status"] == "TRADING" and row["contractType"] == "PERPETUAL"
        assert D(filters["PRICE_FILTER"]["tickSize"]) == D("0.1")
        assert D(filters["LOT_SIZE"]["stepSize"]) == D("0.001")
        assert D(filters["MIN_NOTIONAL"]["notional"]) == 50

    async def mark_price_rest(self) -> None:
        assert D((await self.client.futures_mark_price(symbol=S))["markPrice"]) == 67_000

    async def mark_price_stream(self) -> None:
        async with self.sockets.symbol_mark_price_socket(S, fast=True) as socket:
            frame = await socket.recv()
        assert frame["data"]["e"] == "markPriceUpdate" and D(frame["data"]["p"]) == 67_000

    async def listen_key(self) -> None:
        key = await self.client.futures_stream_get_listen_key()
        assert len(key) == 64
        await self.client.futures_stream_keepalive(key)

    async def balances(self) -> None:
        rows = {row["asset"]: row for row in await self.client.futures_account_balance()}
        assert D(rows["USDT"]["balance"]) == 400_000 == D(rows["USDT"]["availableBalance"])

    async def flat(self) -> None:
        assert await self._amount() == 0

    async def market_sell(self) -> None:
        answer = await self._order("pb-open", "SELL", "MARKET", "0.5")
        assert answer["clientOrderId"] == "pb-open" and answer["status"] == "FILLED"
        assert await self._amount() == D("-0.5")

    async def fill_event(self) -> None:
        event = await self.events.find(lambda e: is_report(e, "pb-open", "TRADE", "FILLED"), "the fill")
        assert event["o"]["i"] > 0 and event["o"]["t"] > 0 and D(event["o"]["L"]) == D("66999.5")

    async def account_event(self) -> None:
        event = await self.events.find(lambda e: e.get("e") == "ACCOUNT_UPDATE", "the position")
        assert D(event["a"]["P"][0]["pa"]) == D("-0.5") and event["a"]["m"] == "ORDER"

    async def add(self) -> None:
        await self._order("pb-add", "SELL", "MARKET", "0.25")
        assert await self._amount() == D("-0.75")

    async def limit(self) -> None:
        placed = await self._order("pb-rest", "BUY", "LIMIT", "0.1", price="60000", timeInForce="GTC")
        assert placed["status"] == "NEW"
        listed = await self.client.futures_get_open_orders(symbol=S)
        assert [row["clientOrderId"] for row in listed] == ["pb-rest"]
        ended = await self.client.futures_cancel_order(symbol=S, origClientOrderId="pb-rest")
        assert ended["status"] == "CANCELED"
        assert await self.client.futures_get_open_orders(symbol=S) == []

    async def limit_events(self) -> None:
        await self.events.find(lambda e: is_report(e, "pb-rest", "NEW", "NEW"), "NEW")
        await self.events.find(lambda e: is_report(e, "pb-rest", "CANCELED", "CANCELED"), "CANCELED")

    async def post_only(self) -> None:
        work = self._order("pb-gtx", "SELL", "LIMIT", "0.1", price="66000", timeInForce="GTX")
        await expect(-5022, work, code_of)

    async def ioc(self) -> None:
        await self._order("pb-ioc", "BUY", "LIMIT", "7", price="67000.5", timeInForce="IOC")
        found = await self.client.futures_get_order(symbol=S, origClientOrderId="pb-ioc")
        assert found["status"] == "EXPIRED" and D(found["executedQty"]) == 5
        await self._order("pb-back", "SELL", "MARKET", "5")
        assert await self._amount() == D("-0.75")

    async def reduce_part(self) -> None:
        await self._order("pb-part", "BUY", "MARKET", "0.25", reduceOnly="true")
        assert await self._amount() == D("-0.5")

    async def no_flip(self) -> None:
        await self._order("pb-whole", "BUY", "MARKET", "3", reduceOnly="true")
        assert await self._amount() == 0

    async def reduce_flat(self) -> None:
        await expect(-2022, self._order("pb-none", "BUY", "MARKET", "1", reduceOnly="true"), code_of)

    async def leverage(self) -> None:
        assert (await self.client.futures_change_leverage(symbol=S, leverage=7))["leverage"] == 7

    async def leverage_event(self) -> None:
        event = await self.events.find(lambda e: e.get("e") == "ACCOUNT_CONFIG_UPDATE", "the leverage")
        assert event["ac"] == {"s": S, "l": 7}

    async def margin_type(self) -> None:
        await self.client.futures_change_margin_type(symbol=S, marginType="ISOLATED")
        await expect(-4046, self.client.futures_change_margin_type(symbol=S, marginType="ISOLATED"), code_of)

    async def margin_type_event(self) -> None:
        event = await self.events.find(lambda e: e.get("a", {}).get("m") == "MARGIN_TYPE_CHANGE", "the margin type")
        assert event["a"]["P"][0]["mt"] == "isolated"
        await self.client.futures_change_margin_type(symbol=S, marginType="CROSSED")

    async def subscribe(self) -> None:
        raise NotOffered("it names its streams in the address and sends no SUBSCRIBE")

    async def list_subscriptions(self) -> None:
        raise NotOffered("it sends no LIST_SUBSCRIPTIONS")

    async def unsubscribe(self) -> None:
        raise NotOffered("it sends no UNSUBSCRIBE")

    async def ws_place(self) -> None:
        answer = await self.client.ws_futures_create_order(
            symbol=S, side="SELL", type="MARKET", quantity="0.2", newClientOrderId="pb-ws"
        )
        assert answer["clientOrderId"] == "pb-ws" and answer["status"] == "FILLED"

    async def ws_status(self) -> None:
        found = await self.client.ws_futures_get_order(symbol=S, origClientOrderId="pb-ws")
        assert D(found["executedQty"]) == D("0.2") and D(found["avgPrice"]) == D("66999.5")

    async def ws_positions(self) -> None:
        rows = await self.client.ws_futures_v2_account_position(symbol=S)
        assert [D(row["positionAmt"]) for row in rows] == [D("-0.2")]
        rows = await self.client.ws_futures_account_position()
        assert {row["symbol"]: row["leverage"] for row in rows}[S] == "7"
        await self._order("pb-home", "BUY", "MARKET", "0.2", reduceOnly="true")

    async def old_timestamp(self) -> None:
        with self.settings.late():
            await expect(-1021, self.client.futures_account_balance(), code_of)

    async def bad_signature(self) -> None:
        await expect(-1022, self.stranger.futures_account_balance(), code_of)

    async def precision(self) -> None:
        await expect(-1111, self._order("pb-fine", "SELL", "MARKET", "0.1234"), code_of)

    async def bad_symbol(self) -> None:
        await expect(-1121, self.client.futures_mark_price(symbol="NOSUCHUSDT"), code_of)

    async def cancel_unknown(self) -> None:
        await expect(-2011, self.client.futures_cancel_order(symbol=S, origClientOrderId="nobody"), code_of)

    async def query_unknown(self) -> None:
        await expect(-2013, self.client.futures_get_order(symbol=S, origClientOrderId="nobody"), code_of)
        await expect(-2013, self.client.ws_futures_get_order(symbol=S, origClientOrderId="nobody"), code_of)

    async def too_small(self) -> None:
        work = self._order("pb-tiny", "BUY", "LIMIT", "0.001", price="40000", timeInForce="GTC")
        await expect(-4164, work, code_of)

    async def same_id(self) -> None:
        await self._order("pb-twin", "BUY", "LIMIT", "0.1", price="60000", timeInForce="GTC")
        work = self._order("pb-twin", "BUY", "LIMIT", "0.1", price="60000", timeInForce="GTC")
        await expect(-4116, work, code_of)
        await self.client.futures_cancel_all_open_orders(symbol=S)


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Player]:
    """Open the library's clients at the exchange's addresses."""

    class Client(AsyncClient):
        FUTURES_URL = f"{settings.rest}/fapi"
        WS_FUTURES_URL = settings.ws_api

    class Sockets(BinanceSocketManager):
        FSTREAM_URL = f"{settings.stream}/"

    client, stranger = Client(settings.key, settings.secret), Client(settings.key, "0" * 64)
    sockets = Sockets(client)
    player = Player(client, stranger, sockets, settings)
    async with sockets.futures_user_socket() as user, reading(user.recv, player.events):
        yield player
    for one in (client, stranger):
        await one.close_connection()


if __name__ == "__main__":
    asyncio.run(play(opened))
