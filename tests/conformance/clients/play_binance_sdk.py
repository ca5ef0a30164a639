"""Binance's own SDK at the cards: its REST, WebSocket API and streams with their strict models; only addresses changed."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from binance_sdk_derivatives_trading_usds_futures.websocket_api.models import (
    NewOrderSideEnum as WsSide,
)
from binance_sdk_derivatives_trading_usds_futures.websocket_api.models import (
    NewOrderTypeEnum as WsType,
)
from binance_sdk_derivatives_trading_usds_futures.websocket_streams.models import MarkPriceStreamUpdateSpeedEnum
from deck import Events, Settings, expect, is_report, play

S = "BTCUSDT"
SECOND = MarkPriceStreamUpdateSpeedEnum.UPDATE_SPEED_1s
D = Decimal


class Refused(Exception):
    """The WebSocket API said no; the SDK returns that instead of raising it."""


def code_of(error: BaseException) -> int:
    """Return the venue's code: REST errors carry it as ``status_code``, the WebSocket API as a dictionary."""
    if isinstance(error, Refused):
        return int(error.args[0]["code"])
    return int(getattr(error, "status_code", 0) or 0)


class Player:
    """One client with its three sides."""

    def __init__(self, sdk: DerivativesTradingUsdsFutures, stranger: Any, api: Any, streams: Any, s: Settings) -> None:
        self.rest, self.stranger, self.api, self.streams, self.settings = sdk.rest_api, stranger, api, streams, s
        self.events, self.frames = Events(), Events()
        self.ether: Any = None

    async def _call(self, method: Callable[..., Any], **params: Any) -> Any:
        """Call REST in a thread, and have its answer pass the SDK's own model."""
        answer = await asyncio.to_thread(method, **params)
        return await asyncio.to_thread(answer.data)

    async def _ws(self, method: Callable[..., Any], **params: Any) -> Any:
        """Call the WebSocket API, and have its answer pass the SDK's own model."""
        found = (await method(**params)).data()
        if isinstance(found, dict):
            raise Refused(found["error"])
        return found.result

    async def _order(self, name: str, side: str, kind: str, quantity: float, **more: Any) -> Any:
        params = {"symbol": S, "side": side, "type": kind, "quantity": quantity, "new_client_order_id": name}
        return await self._call(self.rest.new_order, **params, **more)

    async def _amount(self) -> Decimal:
        rows = await self._call(self.rest.position_information_v3, symbol=S)
        return sum((D(row.position_amt) for row in rows), D(0))

    def hear(self, event: Any) -> None:
        """Take a user event; one that the SDK's model refuses comes as a raw dictionary and is marked."""
        one = event.actual_instance
        if isinstance(one, dict):
            self.events.broken += f" unparsed {one.get('e')}"
        else:
            kind = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(one).__name__).upper()  # the model leaves `e` out
            self.events.add({**one.model_dump(by_alias=True), "e": kind})

    async def exchange_info(self) -> None:
        found = await self._call(self.rest.exchange_information)
        row = next(row for row in found.symbols if row.symbol == S)
        filters = {one.filter_type: one for one in row.filters}
        assert row.status == "TRADING" and row.contract_type == "PERPETUAL"
        assert D(filters["PRICE_FILTER"].tick_size) == D("0.1") and D(filters["LOT_SIZE"].step_size) == D("0.001")
        assert D(filters["MIN_NOTIONAL"].notional) == 50

    async def mark_price_rest(self) -> None:
        found = await self._call(self.rest.mark_price, symbol=S)
        assert D(found.actual_instance.mark_price) == 67_000

    async def mark_price_stream(self) -> None:
        handle = await self.streams.mark_price_stream(symbol=S.lower(), update_speed=SECOND.value)
        handle.on("message", lambda frame: self.frames.add(frame.model_dump(by_alias=True)))
        frame = await self.frames.find(lambda e: e.get("s") == S, "a mark price")
        assert frame["e"] == "markPriceUpdate" and D(frame["p"]) == 67_000

    async def listen_key(self) -> None:
        key = (await self._call(self.rest.start_user_data_stream)).listen_key
        assert len(key) == 64
        assert (await self._call(self.rest.keepalive_user_data_stream)).listen_key == key
        # The SDK opens /private/stream and subscribes to the key as if it were a stream.
        handle = await self.streams.user_data(key)
        handle.on("message", self.hear)

    async def balances(self) -> None:
        rows = {row.asset: row for row in await self._call(self.rest.futures_account_balance_v3)}
        assert D(rows["USDT"].balance) == 400_000 == D(rows["USDT"].available_balance)
        found = await self._call(self.rest.account_information_v3)
        assert D(found.total_wallet_balance) == 400_000

    async def flat(self) -> None:
        assert await self._amount() == 0

    async def market_sell(self) -> None:
        answer = await self._order("sdk-open", "SELL", "MARKET", 0.5)
        assert answer.client_order_id == "sdk-open" and answer.status == "FILLED"
        assert await self._amount() == D("-0.5")

    async def fill_event(self) -> None:
        event = await self.events.find(lambda e: is_report(e, "sdk-open", "TRADE", "FILLED"), "the fill")
        assert event["o"]["i"] > 0 and event["o"]["t"] > 0 and D(event["o"]["L"]) == D("66999.5")

    async def account_event(self) -> None:
        event = await self.events.find(lambda e: e.get("e") == "ACCOUNT_UPDATE", "the position")
        assert D(event["a"]["P"][0]["pa"]) == D("-0.5") and event["a"]["m"] == "ORDER"

    async def add(self) -> None:
        await self._order("sdk-add", "SELL", "MARKET", 0.25)
        assert await self._amount() == D("-0.75")

    async def limit(self) -> None:
        placed = await self._order("sdk-rest", "BUY", "LIMIT", 0.1, price=60_000, time_in_force="GTC")
        assert placed.status == "NEW"
        listed = await self._call(self.rest.current_all_open_orders, symbol=S)
        assert [row.client_order_id for row in listed] == ["sdk-rest"]
        ended = await self._call(self.rest.cancel_order, symbol=S, orig_client_order_id="sdk-rest")
        assert ended.status == "CANCELED"
        assert await self._call(self.rest.current_all_open_orders, symbol=S) == []

    async def limit_events(self) -> None:
        await self.events.find(lambda e: is_report(e, "sdk-rest", "NEW", "NEW"), "NEW")
        await self.events.find(lambda e: is_report(e, "sdk-rest", "CANCELED", "CANCELED"), "CANCELED")

    async def post_only(self) -> None:
        work = self._order("sdk-gtx", "SELL", "LIMIT", 0.1, price=66_000, time_in_force="GTX")
        await expect(-5022, work, code_of)

    async def ioc(self) -> None:
        await self._order("sdk-ioc", "BUY", "LIMIT", 7, price=67_000.5, time_in_force="IOC")
        found = await self._call(self.rest.query_order, symbol=S, orig_client_order_id="sdk-ioc")
        assert found.status == "EXPIRED" and D(found.executed_qty) == 5
        await self._order("sdk-back", "SELL", "MARKET", 5)
        assert await self._amount() == D("-0.75")

    async def reduce_part(self) -> None:
        await self._order("sdk-part", "BUY", "MARKET", 0.25, reduce_only="true")
        assert await self._amount() == D("-0.5")

    async def no_flip(self) -> None:
        await self._order("sdk-whole", "BUY", "MARKET", 3, reduce_only="true")
        assert await self._amount() == 0

    async def reduce_flat(self) -> None:
        await expect(-2022, self._order("sdk-none", "BUY", "MARKET", 1, reduce_only="true"), code_of)

    async def leverage(self) -> None:
        assert (await self._call(self.rest.change_initial_leverage, symbol=S, leverage=7)).leverage == 7

    async def leverage_event(self) -> None:
        event = await self.events.find(lambda e: e.get("e") == "ACCOUNT_CONFIG_UPDATE", "the leverage")
        assert event["ac"]["s"] == S and event["ac"]["l"] == 7

    async def margin_type(self) -> None:
        await self._call(self.rest.change_margin_type, symbol=S, margin_type="ISOLATED")
        again = self._call(self.rest.change_margin_type, symbol=S, margin_type="ISOLATED")
        await expect(-4046, again, code_of)

    async def margin_type_event(self) -> None:
        wanted = self.events.find(lambda e: (e.get("a") or {}).get("m") == "MARGIN_TYPE_CHANGE", "the margin type")
        event = await wanted
        assert event["a"]["P"][0]["mt"] == "isolated"
        await self._call(self.rest.change_margin_type, symbol=S, margin_type="CROSSED")

    async def subscribe(self) -> None:
        self.ether = await self.streams.mark_price_stream(symbol="ethusdt", update_speed=SECOND.value)
        self.ether.on("message", lambda frame: self.frames.add(frame.model_dump(by_alias=True)))
        await self.frames.find(lambda e: e.get("s") == "ETHUSDT", "a mark price")

    async def list_subscriptions(self) -> None:
        found = await self.streams.list_subscribe()
        assert sorted(found["result"]) == ["btcusdt@markPrice@1s", "ethusdt@markPrice@1s"]

    async def unsubscribe(self) -> None:
        await self.ether.unsubscribe()
        found = await self.streams.list_subscribe()
        assert found["result"] == ["btcusdt@markPrice@1s"]

    async def ws_place(self) -> None:
        answer = await self.api.new_order(
            symbol=S, side=WsSide.SELL.value, type=WsType.MARKET.value, quantity=0.2, new_client_order_id="sdk-ws"
        )
        found = answer.data().result
        assert found.client_order_id == "sdk-ws" and found.status == "FILLED"
        assert [limit.count > 0 for limit in answer.rate_limits] == [True, True]

    async def ws_status(self) -> None:
        found = await self._ws(self.api.query_order, symbol=S, orig_client_order_id="sdk-ws")
        assert D(found.executed_qty) == D("0.2") and D(found.avg_price) == D("66999.5")

    async def ws_positions(self) -> None:
        rows = await self._ws(self.api.position_information_v2, symbol=S)
        assert [D(row.position_amt) for row in rows] == [D("-0.2")]
        rows = await self._ws(self.api.position_information)
        assert {row.symbol: row.leverage for row in rows}[S] == "7"
        await self._order("sdk-home", "BUY", "MARKET", 0.2, reduce_only="true")

    async def old_timestamp(self) -> None:
        with self.settings.late():
            await expect(-1021, self._call(self.rest.futures_account_balance_v3), code_of)

    async def bad_signature(self) -> None:
        await expect(-1022, self._call(self.stranger.futures_account_balance_v3), code_of)

    async def precision(self) -> None:
        await expect(-1111, self._order("sdk-fine", "SELL", "MARKET", 0.1234), code_of)

    async def bad_symbol(self) -> None:
        await expect(-1121, self._call(self.rest.mark_price, symbol="NOSUCHUSDT"), code_of)

    async def cancel_unknown(self) -> None:
        await expect(-2011, self._call(self.rest.cancel_order, symbol=S, orig_client_order_id="nobody"), code_of)

    async def query_unknown(self) -> None:
        await expect(-2013, self._call(self.rest.query_order, symbol=S, orig_client_order_id="nobody"), code_of)
        await expect(-2013, self._ws(self.api.query_order, symbol=S, orig_client_order_id="nobody"), code_of)

    async def too_small(self) -> None:
        work = self._order("sdk-tiny", "BUY", "LIMIT", 0.001, price=40_000, time_in_force="GTC")
        await expect(-4164, work, code_of)

    async def same_id(self) -> None:
        await self._order("sdk-twin", "BUY", "LIMIT", 0.1, price=60_000, time_in_force="GTC")
        work = self._order("sdk-twin", "BUY", "LIMIT", 0.1, price=60_000, time_in_force="GTC")
        await expect(-4116, work, code_of)
        await self._call(self.rest.cancel_all_open_orders, symbol=S)


def client_at(settings: Settings, secret: str) -> DerivativesTradingUsdsFutures:
    """Return the SDK's client with the exchange's addresses."""
    keys = {"api_key": settings.key, "api_secret": secret}
    return DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(base_path=settings.rest, timeout=5_000, **keys),
        config_ws_api=ConfigurationWebSocketAPI(stream_url=settings.ws_api, **keys),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=settings.stream),
    )


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Player]:
    """Open the SDK's sockets."""
    sdk, stranger = client_at(settings, settings.secret), client_at(settings, "0" * 64)
    api = await sdk.websocket_api.create_connection()
    streams = await sdk.websocket_streams.create_connection()
    try:
        yield Player(sdk, stranger.rest_api, sdk.websocket_api, sdk.websocket_streams, settings)
    finally:
        for side in (api, streams):
            await side.close_connection(close_session=True)


if __name__ == "__main__":
    asyncio.run(play(opened))
