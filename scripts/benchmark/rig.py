"""A real machine and the real exchange joined by bytes alone, without a socket between them."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import orjson

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import (
    Command,
    CreateListenKey,
    OpenStream,
    PlaceOrder,
    RequestOpenOrders,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
)
from streamhedge.domain.events import FloatTrade, FloatTradeKind
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, Asset, Symbol, TradeId
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.runtime.pump import Pump
from streamhedge.settings.config import load_config
from streamhedge.settings.endpoints import Endpoints, market_url, private_url
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import Tape
from streamhedge.sim.wsapi import WsSession
from streamhedge.store.journal import JournalWriter
from streamhedge.store.ledger import Ledger
from streamhedge.wire import requests
from streamhedge.wire.requests import RestRequest, WsApiRequest
from streamhedge.wire.session import PRIVATE, WS_API, Session, SessionState
from streamhedge.wire.signing import HmacSigner, encoded, signed_params, signed_query

BTCUSDT = Symbol("BTCUSDT")
KEY, SECRET = f"bench-{os.getpid()}", "bench-secret"
"""An account of its own for each run: a hedger locks its account on the machine."""
LOW = Decimal(49_000)
SETS = (
    *("limits.max_intents_per_symbol_per_minute=1200", "limits.max_orders_per_minute=1200"),
    *("limits.max_order_notional=2_000_000 USDT", "limits.max_turnover_per_day=1_000_000_000 USDT"),
    *("limits.hedge_loss_per_day=1_000_000 USDT", "limits.unrealised_loss_alarm=-1_000_000 USDT"),
    *("limits.receive_lag=5s", "limits.stale_after=10s", "limits.recv_window=10s"),
)
"""On top of demo.toml (10 BTC, cross, the shipped ladder): limits that a bench would run into."""


@dataclass(slots=True)
class Level(Tape):
    """A tape that stands at the price it was last set to."""

    price: Decimal = LOW

    def price_at(self, elapsed_ms: int) -> Decimal:
        """Return the price."""
        return self.price


def tape() -> Level:
    """Return a tape at the low price."""
    return Level("level", [0, 1], [LOW, LOW])


class Rig:
    """A real pump and the real exchange joined by bytes alone; time moves when told."""

    def __init__(self, folder: Path, *, journal: bool = True, ledger: bool = True) -> None:
        self.now_ns = time.time_ns()
        self._trades = itertools.count(1)
        self._signer = HmacSigner(SECRET)
        self._key = ""
        self._waiting: deque[tuple[Command, int]] = deque()
        self._sources: dict[int, str] = {}
        self._api = WsSession(connected_ms=self.now_ms)
        self.exchange = Exchange(Settings(tape(), Keys(KEY, SECRET)), self.now_ms)
        policy = load_config([], SETS, {}).policy()
        self.ledger = Ledger(folder / "ledger.sqlite") if ledger else None
        self.journal: JournalWriter | None = None
        if journal:
            parts = {"header": self._header, "digest": lambda: self.pump.digest()}
            self.journal = JournalWriter(folder / "recordings", "bench", **parts)
        stale_ns = policy.limits.stale_after_ms * NS_PER_MS
        self.pump = Pump(
            reactor=Reactor(State(instance="7f3a91c2", epoch=1), policy),
            session=Session(SessionState(symbols=[BTCUSDT], stale_after_ns=stale_ns)),
            journal=self.journal,
            ledger=self.ledger,
            hands=self,
        )
        self.feed("tick", b'{"lag_ms":0}')
        self.trade(Decimal(10))
        for _ in range(3):
            self.second()
        state = self.pump.reactor.state
        assert self.pump.session.state.status == "LIVE", self.pump.session.state.reason
        assert state.book.quantity(BTCUSDT) == -10 and state.halted is None, state.memory[BTCUSDT].blocked

    @property
    def now_ms(self) -> int:
        """The time in milliseconds."""
        return self.now_ns // NS_PER_MS

    def _header(self) -> dict[str, object]:
        seq = self.pump.reactor.state.seq
        return {"seq": seq, "state": self.pump.state(), "digest": self.pump.digest()}

    def feed(self, source: str, payload: bytes) -> None:
        """Feed one input, and then what the exchange answers to what it led to."""
        self.pump.feed(source, self.now_ns, payload)
        self.settle()

    def second(self, *, ticks: int = 0) -> None:
        """Let a second pass, with so many ticks and one mark price a symbol."""
        for _ in range(ticks):
            self.now_ns += NS_PER_SECOND // ticks
            self.feed("tick", b'{"lag_ms":0}')
        if not ticks:
            self.now_ns += NS_PER_SECOND
        self.exchange.advance(self.now_ms)
        self.settle()

    def trade_payload(self, quantity: Decimal) -> bytes:
        """Return a float trade that nobody has fed yet."""
        trade = FloatTrade(
            trade_id=TradeId(f"bench-{next(self._trades)}"),
            asset=Asset("BTC"),
            kind=FloatTradeKind.DEPOSIT if quantity > 0 else FloatTradeKind.WITHDRAW,
            quantity=quantity,
            usd=ZERO,
            price=LOW,
            time_ms=self.now_ms,
            reason="bench",
        )
        return orjson.dumps(to_plain(trade))

    def trade(self, quantity: Decimal) -> None:
        """Change the float, and settle the hedge."""
        self.feed("trade", self.trade_payload(quantity))

    def orders(self, count: int) -> None:
        """Trade to and fro until so many orders more have ended."""
        for number in range(count):
            self.trade(Decimal("0.1") * (-1) ** number)
            self.second()

    def close(self) -> None:
        """Close the books."""
        if self.journal is not None:
            self.journal.close(self.now_ns)
        if self.ledger is not None:
            self.ledger.close()

    # ------------------------------------------------------------ the pump's hands

    def perform(self, command: Command, call: int) -> None:
        """Take a command; ``settle`` carries it out."""
        self._waiting.append((command, call))

    def settle(self) -> None:
        """Carry out what was asked and feed what comes back, until all is quiet."""
        outbox = self.exchange.streams.outbox
        while self._waiting or outbox:
            if self._waiting:
                self._carry_out(*self._waiting.popleft())
            said, outbox[:] = list(outbox), []
            for number, text in said:
                self.pump.feed(self._sources[number], self.now_ns, text.encode())

    def _carry_out(self, command: Command, call: int) -> None:
        window = 10_000
        if isinstance(command, PlaceOrder):
            self._answer(requests.place_order(command, recv_window_ms=window))
        elif isinstance(command, OpenStream):
            self._open(command)
        elif isinstance(command, CreateListenKey):
            self._key = orjson.loads(self._body(requests.create_listen_key()))["listenKey"]
            self._recorded(requests.create_listen_key(), 200, '{"listenKey":"lk1"}')
        elif isinstance(command, RequestSetup):
            self._set_up(window)
        elif isinstance(command, RequestSnapshot):
            self._ask(f"pos-{call}", requests.positions(recv_window_ms=window))
            self._ask(f"bal-{call}", requests.balances(recv_window_ms=window))
        elif isinstance(command, RequestTime):
            self._ask(f"time-{call}", requests.server_time())
        else:
            assert isinstance(command, RequestOpenOrders), f"a quiet day asks for no {type(command).__name__}"
            self._answer(requests.open_orders(recv_window_ms=window))

    def _open(self, command: OpenStream) -> None:
        nowhere = Endpoints(rest="", stream="", ws_api="")
        if command.stream != WS_API:
            private = command.stream == PRIVATE
            url = private_url(nowhere, self._key, requests.USER_EVENTS) if private else market_url(nowhere, [BTCUSDT])
            path, _, query = url.partition("?")
            number = self.exchange.streams.open(path, query, self.now_ms)
            assert number is not None, f"the exchange has no {path}"
            self._sources[number] = "private" if private else "market"
        said = {"stream": command.stream, "connection": command.connection, "state": "open"}
        self.pump.feed("conn", self.now_ns, orjson.dumps(said))

    def _set_up(self, window: int) -> None:
        self._body(requests.set_leverage(BTCUSDT, 3, recv_window_ms=window))
        rows = orjson.loads(self._body(requests.exchange_info()))["symbols"]
        parts = {
            "exchange_info": json.dumps({"symbols": [row for row in rows if row["symbol"] == BTCUSDT]}),
            "funding_info": self._body(requests.funding_info()),
            "account_config": self._body(requests.account_config(recv_window_ms=window)),
            "symbol_config": self._body(requests.symbol_config(recv_window_ms=window)),
        }
        by_symbol = {
            "leverage_bracket": self._body(requests.leverage_bracket(BTCUSDT, recv_window_ms=window)),
            "commission_rate": self._body(requests.commission_rate(BTCUSDT, recv_window_ms=window)),
        }
        parts |= {name: f'{{"{BTCUSDT}":{body}}}' for name, body in by_symbol.items()}
        payload = ",".join(f'"{name}":{body}' for name, body in parts.items())
        self.pump.feed("setup", self.now_ns, f"{{{payload}}}".encode())

    def _call(self, request: RestRequest) -> tuple[int, str]:
        params = request.params
        query = encoded(params)
        if request.signed:
            query = signed_query([*params, ("timestamp", str(self.now_ms))], self._signer)
        said = {"method": request.method, "path": request.path, "query": query, "body": "", "api_key": KEY}
        reply = self.exchange.rest(**said, now_ms=self.now_ms)
        return reply.status, reply.body

    def _body(self, request: RestRequest) -> str:
        status, body = self._call(request)
        assert status == 200, body
        return body

    def _answer(self, request: RestRequest) -> None:
        self._recorded(request, *self._call(request))

    def _recorded(self, request: RestRequest, status: int, body: str) -> None:
        said = {"label": request.label, "client_order_id": request.client_order_id or ""}
        answer = {"request": said, "status": status, "headers": {}, "body": body, "error": "", "sent": True}
        self.pump.feed("rest", self.now_ns, orjson.dumps(answer))

    def _ask(self, number: str, request: WsApiRequest) -> None:
        params: dict[str, str | int] = dict(request.params)
        if request.signed:
            params = signed_params({**params, "apiKey": KEY, "timestamp": self.now_ms}, self._signer)
        frame = orjson.dumps({"id": number, "method": request.method, "params": params}).decode()
        text = self.exchange.ws_api(self._api, frame, self.now_ms)
        assert text is not None, "the exchange answers"
        self.pump.feed("wsapi", self.now_ns, text.encode())
