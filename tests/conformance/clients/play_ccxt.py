"""ccxt at the cards: ccxt.pro.binanceusdm with its unified calls and streams; only addresses and options are changed.

Refusals that the unified calls would round away go through the library's own raw calls (`fapiPrivatePostOrder`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import ccxt.pro
from deck import Event, Events, NotOffered, Settings, expect, play, reading

S, U = "BTCUSDT", "BTC/USDT:USDT"
D = Decimal


def code_of(error: BaseException) -> int:
    """Return the venue's code, which ccxt keeps as JSON behind the exchange's name."""
    found = json.loads(str(error).partition(" ")[2])
    return int(found.get("error", found)["code"])


def last(watch: Callable[[], Awaitable[list[dict[str, Any]]]], kind: str) -> Callable[[], Awaitable[Event]]:
    """Return the newest update of a watched list, as an event."""

    async def receive() -> Event:
        while not (found := await watch()):  # the snapshot of a flat account
            pass
        return {"e": kind, **found[-1]}

    return receive


class Player:
    """One client and what it watches."""

    def __init__(self, client: Any, stranger: Any, settings: Settings) -> None:
        self.client, self.stranger, self.settings = client, stranger, settings
        self.events = Events()
        self.found: dict[str, str] = {}

    async def _order(self, name: str, side: str, kind: str, quantity: float, price: float | None = None, **more: Any):
        return await self.client.create_order(U, kind, side, quantity, price, {"newClientOrderId": name, **more})

    async def _raw(self, **params: Any) -> Any:
        return await self.client.fapiPrivatePostOrder({"symbol": S, **params})

    async def _amount(self) -> Decimal:
        rows = await self.client.fetch_positions([U])
        return sum((D(row["info"]["positionAmt"]) for row in rows), D(0))

    async def exchange_info(self) -> None:
        market = (await self.client.load_markets())[U]
        assert (
            market["active"]
            and market["linear"]
            and market["precision"]
            == {
                **market["precision"],
                **{"price": 0.1, "amount": 0.001},
            }
        )
        assert market["limits"]["cost"]["min"] == 50

    async def mark_price_rest(self) -> None:
        assert (await self.client.fetch_mark_price(U))["markPrice"] == 67_000

    async def mark_price_stream(self) -> None:
        assert (await self.client.watch_mark_price(U))["markPrice"] == 67_000

    async def listen_key(self) -> None:
        # Made by `authenticate` when the first watch began; kept alive by the call it makes every twenty minutes.
        key = self.client.options["linear"]["listenKey"]
        assert len(key) == 64
        await self.client.keep_alive_listen_key()
        assert self.client.options["linear"]["listenKey"] == key

    async def balances(self) -> None:
        found = await self.client.fetch_balance()
        assert found["USDT"]["total"] == 400_000 == found["USDT"]["free"]

    async def flat(self) -> None:
        assert await self._amount() == 0

    async def market_sell(self) -> None:
        answer = await self._order("cx-open", "sell", "market", 0.5)
        assert answer["clientOrderId"] == "cx-open" and answer["status"] == "closed"
        self.found["open"] = answer["id"]
        assert await self._amount() == D("-0.5")

    async def fill_event(self) -> None:
        trade = await self.events.find(lambda e: e["e"] == "trade" and e["order"] == self.found["open"], "the fill")
        assert int(trade["id"]) > 0 and trade["price"] == 66_999.5 and trade["info"]["c"] == "cx-open"

    async def account_event(self) -> None:
        row = await self.events.find(lambda e: e["e"] == "position" and e["symbol"] == U, "the position")
        assert row["contracts"] == 0.5 and row["side"] == "short"

    async def add(self) -> None:
        await self._order("cx-add", "sell", "market", 0.25)
        assert await self._amount() == D("-0.75")

    async def limit(self) -> None:
        placed = await self._order("cx-rest", "buy", "limit", 0.1, 60_000)
        self.found["rest"] = placed["id"]
        assert placed["status"] == "open"
        assert [row["id"] for row in await self.client.fetch_open_orders(U)] == [placed["id"]]
        ended = await self.client.cancel_order(placed["id"], U)
        assert ended["status"] == "canceled"
        assert await self.client.fetch_open_orders(U) == []

    async def limit_events(self) -> None:
        for status in ("open", "canceled"):
            await self.events.find(
                lambda e, status=status: (
                    (e["e"], e.get("id"), e.get("status")) == ("order", self.found["rest"], status)
                ),
                status,
            )

    async def post_only(self) -> None:
        await expect(-5022, self._order("cx-gtx", "sell", "limit", 0.1, 66_000, timeInForce="GTX"), code_of)

    async def ioc(self) -> None:
        placed = await self._order("cx-ioc", "buy", "limit", 7, 67_000.5, timeInForce="IOC")
        found = await self.client.fetch_order(placed["id"], U)
        assert found["status"] == "expired" and found["filled"] == 5
        await self._order("cx-back", "sell", "market", 5)
        assert await self._amount() == D("-0.75")

    async def reduce_part(self) -> None:
        await self._order("cx-part", "buy", "market", 0.25, reduceOnly=True)
        assert await self._amount() == D("-0.5")

    async def no_flip(self) -> None:
        await self._order("cx-whole", "buy", "market", 3, reduceOnly=True)
        assert await self._amount() == 0

    async def reduce_flat(self) -> None:
        await expect(-2022, self._order("cx-none", "buy", "market", 1, reduceOnly=True), code_of)

    async def leverage(self) -> None:
        assert (await self.client.set_leverage(7, U))["leverage"] == 7

    async def leverage_event(self) -> None:
        raise NotOffered("it drops ACCOUNT_CONFIG_UPDATE")

    async def margin_type(self) -> None:
        await self.client.set_margin_mode("isolated", U)
        again = self.client.fapiPrivatePostMarginType({"symbol": S, "marginType": "ISOLATED"})
        await expect(-4046, again, code_of)
        assert (await self.client.fetch_margin_mode(U))["marginMode"] == "isolated"

    async def margin_type_event(self) -> None:
        await self.events.find(lambda e: e["e"] == "position" and e["marginMode"] == "isolated", "the margin type")
        await self.client.set_margin_mode("cross", U)

    async def subscribe(self) -> None:
        assert (await self.client.watch_mark_price("ETH/USDT:USDT"))["markPrice"] > 0

    async def list_subscriptions(self) -> None:
        raise NotOffered("it sends no LIST_SUBSCRIPTIONS")

    async def unsubscribe(self) -> None:
        await self.client.un_watch_mark_price("ETH/USDT:USDT")
        assert "ETH/USDT:USDT" not in self.client.tickers

    async def ws_place(self) -> None:
        answer = await self.client.create_order_ws(U, "market", "sell", 0.2, None, {"newClientOrderId": "cx-ws"})
        self.found["ws"] = answer["id"]
        assert answer["clientOrderId"] == "cx-ws" and answer["status"] == "closed"

    async def ws_status(self) -> None:
        found = await self.client.fetch_order_ws(self.found["ws"], U)
        assert found["filled"] == 0.2 and found["average"] == 66_999.5

    async def ws_positions(self) -> None:
        (row,) = await self.client.fetch_positions_ws([U])
        assert row["contracts"] == 0.2 and row["side"] == "short" and row["leverage"] == 7
        (row,) = await self.client.fetch_positions_ws([U], {"method": "v2/account.position"})
        assert row["contracts"] == 0.2
        await self._order("cx-home", "buy", "market", 0.2, reduceOnly=True)

    async def old_timestamp(self) -> None:
        with self.settings.late():
            await expect(-1021, self.client.fetch_balance(), code_of)

    async def bad_signature(self) -> None:
        await expect(-1022, self.stranger.fapiPrivateV3GetBalance(), code_of)

    async def precision(self) -> None:
        await expect(-1111, self._raw(side="SELL", type="MARKET", quantity="0.1234"), code_of)

    async def bad_symbol(self) -> None:
        await expect(-1121, self.client.fapiPublicGetPremiumIndex({"symbol": "NOSUCHUSDT"}), code_of)

    async def cancel_unknown(self) -> None:
        await expect(-2011, self.client.cancel_order("1", U), code_of)

    async def query_unknown(self) -> None:
        await expect(-2013, self.client.fetch_order("1", U), code_of)
        await expect(-2013, self.client.fetch_order_ws("1", U), code_of)

    async def too_small(self) -> None:
        await expect(-4164, self._order("cx-tiny", "buy", "limit", 0.001, 40_000), code_of)

    async def same_id(self) -> None:
        await self._order("cx-twin", "buy", "limit", 0.1, 60_000)
        await expect(-4116, self._order("cx-twin", "buy", "limit", 0.1, 60_000), code_of)
        await self.client.cancel_all_orders(U)


def client_at(settings: Settings, secret: str) -> Any:
    """Return the library's client with the exchange's addresses."""
    client = ccxt.pro.binanceusdm({"apiKey": settings.key, "secret": secret, "enableRateLimit": False})
    client.options["fetchCurrencies"] = False  # asks the spot side, which is not here
    rest = client.urls["api"]
    for name in ("", "V2", "V3"):
        rest[f"fapiPublic{name}"] = rest[f"fapiPrivate{name}"] = f"{settings.rest}/fapi/{name.lower() or 'v1'}"
    rest["ws"]["linear"] = f"{settings.stream}/ws"
    rest["ws"]["ws-api"]["linear"] = settings.ws_api
    return client


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Player]:
    """Open the clients and watch orders, trades and positions."""
    client, stranger = client_at(settings, settings.secret), client_at(settings, "0" * 64)
    player = Player(client, stranger, settings)
    try:
        await client.load_markets()
        await client.authenticate({"type": "linear"})
        async with contextlib.AsyncExitStack() as stack:
            for watch, kind in (
                *((client.watch_orders, "order"), (client.watch_my_trades, "trade")),
                (client.watch_positions, "position"),
            ):
                await stack.enter_async_context(reading(last(watch, kind), player.events))
            while not client.clients:
                await asyncio.sleep(0)
            await asyncio.gather(*[one.connected for one in client.clients.values() if "/private/" in one.url])
            yield player
    finally:
        for one in (client, stranger):
            await one.close()


if __name__ == "__main__":
    asyncio.run(play(opened))
