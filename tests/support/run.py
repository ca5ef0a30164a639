"""One recorded run of the real pump, session and reactor against a scripted far end, which answers at once."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import (
    Command,
    CreateListenKey,
    OpenStream,
    Persist,
    PlaceOrder,
    QueryOrder,
    RequestOpenOrders,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.order import Order, Side
from streamhedge.domain.values import NS_PER_MS
from streamhedge.errors import StoreError
from streamhedge.runtime.pump import Pump
from streamhedge.store.journal import JournalWriter
from streamhedge.wire.session import Session, SessionState
from tests.support import builders as make

D = Decimal
STEP_MS = 100


class Venue:
    """A scripted far end: answers are inputs that wait until the pump is free."""

    def __init__(self) -> None:
        self.inputs: deque[tuple[str, bytes]] = deque()
        self.now_ms = make.T0_MS
        self.position = D(0)
        self.trades = 0
        self.silent = False
        self.unanswered: list[PlaceOrder] = []

    def say(self, source: str, fields: dict[str, Any]) -> None:
        self.inputs.append((source, orjson.dumps(fields)))

    def perform(self, command: Command, call: int) -> None:
        """Answer a command at once, in the order a venue would."""
        if isinstance(command, CreateListenKey):
            self.rest("listen_key", {"listenKey": "lk1"})
        elif isinstance(command, OpenStream):
            self.say("conn", {"stream": command.stream, "connection": command.connection, "state": "open"})
        elif isinstance(command, RequestTime):
            self.say("wsapi", {"id": f"time-{call}", "status": 200, "result": {"serverTime": self.now_ms}})
        elif isinstance(command, RequestSnapshot):
            self.snapshot(call)
        elif isinstance(command, RequestOpenOrders):
            self.rest("open_orders", "[]")
        elif isinstance(command, QueryOrder):
            error = {"code": -2013, "msg": "Order does not exist."}
            self.say("wsapi", {"id": f"ord-{command.client_order_id}-{call}", "status": 400, "error": error})
        elif isinstance(command, PlaceOrder):
            self.order(command)

    def rest(self, label: str, body: object, *, name: str = "", status: int | None = 200) -> None:
        request = {"label": label, "client_order_id": name}
        self.say("rest", {"request": request, "status": status, "headers": {}, "body": body, "error": "", "sent": True})

    def snapshot(self, call: int) -> None:
        row = {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": str(self.position), "entryPrice": "67121.4"}
        row |= {"breakEvenPrice": "67121.4", "markPrice": "67121.4", "marginAsset": "USDT", "updateTime": self.now_ms}
        self.say("wsapi", {"id": f"pos-{call}", "status": 200, "result": [row] if self.position else []})
        wallet = {"balance": "400000", "crossWalletBalance": "400000", "availableBalance": "250000"}
        balance = {"asset": "USDT", **wallet, "updateTime": self.now_ms}
        self.say("wsapi", {"id": f"bal-{call}", "status": 200, "result": [balance]})

    def order(self, order: PlaceOrder) -> None:
        if self.silent:
            self.unanswered.append(order)
            self.rest("order", {"msg": "Unknown error"}, name=order.client_order_id, status=503)
            return
        self.fill(order)
        answer = {
            "orderId": self.trades,
            "symbol": "BTCUSDT",
            "status": "FILLED",
            "clientOrderId": order.client_order_id,
        }
        answer |= {"origQty": str(order.quantity), "executedQty": str(order.quantity), "cumQuote": "0"}
        self.rest("order", orjson.dumps(answer).decode(), name=order.client_order_id)

    def fill(self, order: PlaceOrder) -> None:
        self.trades += 1
        size = str(order.quantity)
        self.position += order.quantity * (1 if order.side is Side.BUY else -1)
        position = {"s": "BTCUSDT", "pa": str(self.position), "ep": "67121.4", "cr": "0", "up": "0", "mt": "cross"}
        position |= {"iw": "0", "ps": "BOTH", "ma": "USDT", "bep": "67121.4"}
        balance = {"a": "USDT", "wb": "400000", "cw": "400000", "bc": "0"}
        stamp = {"E": self.now_ms, "T": self.now_ms}
        self.say("private", {"e": "ACCOUNT_UPDATE", **stamp, "a": {"m": "ORDER", "B": [balance], "P": [position]}})
        report = {
            "s": "BTCUSDT",
            "c": order.client_order_id,
            "S": order.side.value,
            "o": "LIMIT",
            "f": "IOC",
            "q": size,
        }
        report |= {"p": str(order.price), "ap": "67121.4", "sp": "0", "x": "TRADE", "X": "FILLED", "i": self.trades}
        report |= {"l": size, "z": size, "L": "67121.4", "n": "1.5", "N": "USDT", "T": self.now_ms, "t": self.trades}
        report |= {"R": order.reduce_only, "ps": "BOTH", "ot": "LIMIT", "rp": "0", "m": False, "er": "0"}
        for _ in range(2):  # reports arrive twice
            self.say("private", {"e": "ORDER_TRADE_UPDATE", **stamp, "o": report})


def setup_body() -> dict[str, Any]:
    sizes = {"minQty": "0.001", "stepSize": "0.001"}
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "maxQty": "1000", **sizes},
        {"filterType": "MARKET_LOT_SIZE", "maxQty": "120", **sizes},
        {"filterType": "MIN_NOTIONAL", "notional": "50"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.05", "multiplierDown": "0.95"},
    ]
    symbol = {"symbol": "BTCUSDT", "contractType": "PERPETUAL", "status": "TRADING", "baseAsset": "BTC"}
    symbol |= {"quoteAsset": "USDT", "marginAsset": "USDT", "filters": filters}
    floor, brackets = 0, []
    for number, (cap, rate, leverage, amount) in enumerate(make.BRACKET_ROWS, 1):
        row = {
            "bracket": number,
            "initialLeverage": leverage,
            "notionalCap": cap,
            "notionalFloor": floor,
            "cum": amount,
        }
        brackets.append({**row, "maintMarginRatio": float(rate)})
        floor = cap
    return {
        "exchange_info": {"symbols": [symbol]},
        "funding_info": [],
        "account_config": {"dualSidePosition": False, "multiAssetsMargin": False},
        "symbol_config": [{"symbol": "BTCUSDT", "marginType": "CROSSED", "leverage": 3}],
        "leverage_bracket": {"BTCUSDT": [{"symbol": "BTCUSDT", "brackets": brackets}]},
        "commission_rate": {"BTCUSDT": {"symbol": "BTCUSDT", "takerCommissionRate": "0.000500"}},
    }


class FullLedger:
    """A ledger that commits so many intents, and then its disk is full."""

    def __init__(self, room: int) -> None:
        self.room = room

    def commit_intent(self, order: Order) -> None:
        if self.room == 0:
            raise StoreError("ledger: No space left on device")
        self.room -= 1

    def persist(self, row: Persist) -> None:
        pass


class Run:
    """One recorded run."""

    def __init__(self, folder: Path, *, intents: int | None = None) -> None:
        self.venue = Venue()
        self.journal = JournalWriter(folder, "run", header=self.header, digest=lambda: self.pump.digest())
        self.pump = Pump(
            reactor=make.reactor(),
            session=Session(SessionState(symbols=[make.BTCUSDT], stale_after_ns=3_000 * NS_PER_MS)),
            journal=self.journal,
            ledger=None if intents is None else FullLedger(intents),
            hands=self.venue,
        )

    def header(self) -> dict[str, object]:
        return {"seq": self.pump.reactor.state.seq, "state": self.pump.state(), "digest": self.pump.digest()}

    def feed(self, source: str, fields: dict[str, Any]) -> None:
        self.venue.say(source, fields)
        while self.venue.inputs:
            said, payload = self.venue.inputs.popleft()
            self.pump.feed(said, self.venue.now_ms * NS_PER_MS, payload)

    def mark(self, price: str) -> None:
        self.venue.now_ms += STEP_MS
        data = {"e": "markPriceUpdate", "E": self.venue.now_ms, "s": "BTCUSDT", "p": price, "i": price, "P": price}
        data |= {"r": "0.0001", "T": make.T0_MS + 3_600_000}
        self.feed("market", {"stream": "btcusdt@markPrice@1s", "data": data})
        self.feed("tick", {"lag_ms": 0})

    def marks(self, count: int) -> None:
        for number in range(count):
            self.mark(f"{D('67121.4') + (number * 37) % 50}")

    def trade(self, quantity: str, name: str) -> None:
        self.feed("trade", to_plain(make.float_trade(quantity, trade_id=name).trade))

    def rotate(self) -> None:
        assert self.journal.rotate(self.pump.last_ns) is not None

    def begin(self) -> None:
        self.feed("tick", {"lag_ms": 0})
        self.feed("setup", setup_body())
        self.marks(3)
        self.trade("10", "ft-1")
        self.marks(5)

    def close(self) -> list[Path]:
        self.journal.close(self.pump.last_ns)
        return self.journal.paths
