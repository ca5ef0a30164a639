"""A desk at the pure exchange: signed requests in, answers and frames out, and a clock that the test moves."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from streamhedge.sim.access import Keys
from streamhedge.sim.account import Position
from streamhedge.sim.calls import Reply
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import Tape
from streamhedge.sim.wsapi import WsSession

D = Decimal
KEY, SECRET = "k" * 64, "s" * 64
T0_MS = 1_795_161_600_000 + 1
"""A millisecond past a settlement, so that none is due by accident."""
BTC, ETH = "BTCUSDT", "ETHUSDT"


@dataclass(slots=True)
class Answer:
    """One answer, read."""

    status: int
    body: Any
    headers: dict[str, str]
    cut: bool = False

    @property
    def code(self) -> int:
        """The venue's code of a refusal, 0 without."""
        return int(self.body.get("code", 0)) if isinstance(self.body, dict) else 0


class Desk:
    """One exchange and one client's way of talking to it."""

    def __init__(self, *prices: tuple[int, str], wallet: str = "400000", speed: str = "1", **more: Any) -> None:
        points = prices or ((0, "67000"),)
        times, values = [at for at, _ in points], [D(price) for _, price in points]
        tape = Tape("test", [*times, times[-1] + 10**12], [*values, values[-1]])
        settings = Settings(tape, Keys(KEY, SECRET), wallet=D(wallet), speed=D(speed), **more)
        self.exchange = Exchange(settings, T0_MS)
        self.now_ms = T0_MS
        self.session = WsSession(connected_ms=T0_MS)

    # ------------------------------------------------------------ time and price

    def after(self, milliseconds: int) -> None:
        """Let time pass, in one step."""
        self.now_ms += milliseconds
        self.exchange.advance(self.now_ms)

    def price(self, bitcoin: str) -> None:
        """Let the price jump, now; ether follows in proportion."""
        tape = self.exchange.settings.tape
        tape.prices[:] = [D(bitcoin)] * len(tape.prices)
        self.exchange.advance(self.now_ms)

    def arm(self, faults: str) -> None:
        """Arm faults now, and let those happen that come by themselves."""
        self.exchange.faults.arm(faults, self.now_ms)
        self.exchange.advance(self.now_ms)

    # ------------------------------------------------------------ requests

    def rest(self, method: str, path: str, *, sign: bool = True, **params: Any) -> Answer:
        """Send one REST request, signed."""
        words: dict[str, Any] = {**params}
        if sign:
            words.setdefault("timestamp", self.now_ms)
        query = urlencode(words)
        if sign and "signature" not in words:
            query += f"&signature={signature(query)}"
        return self.raw(method, path, query=query)

    def raw(self, method: str, path: str, *, query: str = "", body: str = "", key: str = KEY) -> Answer:
        """Send one REST request as it stands."""
        found = self.exchange.rest(method=method, path=path, query=query, body=body, api_key=key, now_ms=self.now_ms)
        return read(found)

    def ws(self, method: str, *, sign: bool = True, **params: Any) -> dict[str, Any]:
        """Send one WebSocket-API request."""
        words: dict[str, Any] = {**params}
        if sign:
            words = {"timestamp": self.now_ms, **words, "apiKey": KEY}
            payload = "&".join(f"{name}={plain_word(words[name])}" for name in sorted(words))
            words["signature"] = signature(payload)
        text = self.exchange.ws_api(
            self.session, json.dumps({"id": "one", "method": method, "params": words}), self.now_ms
        )
        assert text is not None
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def order(self, side: str, quantity: str, price: str | None = None, **more: Any) -> Answer:
        """Place an order: LIMIT GTC with a price, MARKET without."""
        words: dict[str, Any] = {"symbol": BTC, "side": side, "quantity": quantity, "type": "MARKET"}
        if price is not None:
            words |= {"type": "LIMIT", "price": price, "timeInForce": "GTC"}
        return self.rest("POST", "/fapi/v1/order", **{**words, **more})

    def query(self, name: str, symbol: str = BTC) -> Any:
        """Return GET order by client id."""
        return self.rest("GET", "/fapi/v1/order", symbol=symbol, origClientOrderId=name).body

    def position(self, symbol: str = BTC) -> Position:
        """Return what is really held."""
        return self.exchange.account.position(symbol)

    # ------------------------------------------------------------ streams

    def listen(self, *, query: str = "", combined: bool = False) -> int:
        """Open the private stream with a fresh key and return the connection's number."""
        key = self.raw("POST", "/fapi/v1/listenKey").body["listenKey"]
        return self.connect(f"/private/{'stream' if combined else 'ws'}", f"listenKey={key}{query}")

    def connect(self, path: str, query: str = "") -> int:
        """Open a stream connection."""
        number = self.exchange.streams.open(path, query, self.now_ms)
        assert number is not None, path
        return number

    def say(self, number: int, text: str | dict[str, Any]) -> None:
        """Send a command on a connection."""
        self.exchange.streams.receive(number, text if isinstance(text, str) else json.dumps(text), self.now_ms)

    def texts(self, number: int) -> list[str]:
        """Take the frames of one connection as they stand, and forget all the others'."""
        outbox = self.exchange.streams.outbox
        found = [text for owner, text in outbox if owner == number]
        outbox.clear()
        return found

    def frames(self, number: int) -> list[Any]:
        """Take the frames of one connection."""
        return [json.loads(text) for text in self.texts(number)]


def read(reply: Reply) -> Answer:
    """Return an answer with its JSON read; other bodies stay text."""
    try:
        body = json.loads(reply.body)
    except ValueError:
        body = reply.body
    return Answer(reply.status, body, reply.headers, reply.cut)


def signature(payload: str) -> str:
    """Return the HMAC of a payload."""
    return hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()


def plain_word(value: Any) -> str:
    """Return a parameter as it is signed."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def kinds(frames: list[Any]) -> list[str]:
    """Return the event types, an order report with its execution type."""
    return [f["o"]["x"] if f["e"] == "ORDER_TRADE_UPDATE" else f["e"] for f in frames]


def reports(frames: list[Any]) -> list[dict[str, Any]]:
    """Return the order reports' bodies."""
    return [f["o"] for f in frames if f["e"] == "ORDER_TRADE_UPDATE"]


def accounts(frames: list[Any]) -> list[dict[str, Any]]:
    """Return the account updates' bodies."""
    return [f["a"] for f in frames if f["e"] == "ACCOUNT_UPDATE"]
