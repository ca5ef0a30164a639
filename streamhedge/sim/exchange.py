"""The exchange: clock, tape, engine, streams and doors put together. No sockets: time and requests come in, frames go out.

Invariants: nothing happens between calls; the same seed, tape, times and requests give the same frames; the tape's
speed compresses prices, never clocks.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from streamhedge.sim import account_calls, grammar, rest, wsapi
from streamhedge.sim.access import Keys, Limits, ListenKey
from streamhedge.sim.account import Account
from streamhedge.sim.algo import AlgoService
from streamhedge.sim.calls import Call, Reply
from streamhedge.sim.clearing import Clearing
from streamhedge.sim.engine import Engine
from streamhedge.sim.faults import Faults
from streamhedge.sim.grammar import Message, plain
from streamhedge.sim.market import Bracket, contracts
from streamhedge.sim.refusals import Refusal
from streamhedge.sim.spot import Spot
from streamhedge.sim.streams import Streams
from streamhedge.sim.tapes import Tape

D = Decimal
ETHER_PART = D("0.0373")
"""ETHUSDT moves with the tape at this part of the bitcoin price."""
EIGHT = D("0.00000001")
MARK_MOST_MS, MARK_LEAST_MS = 1_000, 10
FUNDING_LATE_MS = (200, 3_000)
EIGHT_HOURS_MS = 8 * 3_600_000
SETTLEMENTS_MOST = 10_000
STATUSES = (
    *("PENDING_TRADING", "TRADING", "PRE_DELIVERING", "DELIVERING", "DELIVERED", "PRE_SETTLE", "SETTLING"),
    "CLOSE",
)


@dataclass(slots=True)
class Settings:
    """What an exchange is made of."""

    tape: Tape
    keys: Keys
    wallet: Decimal = D(400_000)
    speed: Decimal = D(1)
    seed: int = 7
    funding_every_ms: int = EIGHT_HOURS_MS
    mark_every_ms: int = MARK_MOST_MS


class Exchange:
    """One exchange with one account."""

    def __init__(self, settings: Settings, start_ms: int) -> None:
        self.settings = settings
        self.keys = settings.keys
        self.funding_every_ms = settings.funding_every_ms
        self.chance = random.Random(settings.seed)
        self.contracts = contracts()
        self.account = Account(settings.wallet, update_ms=start_ms)  # 0 says "not valid" to clients
        self.faults = Faults()
        self.limits = Limits()
        self.listen_key = ListenKey(random.Random(settings.seed + start_ms))
        self.streams = Streams()
        self.spot = Spot()
        self.engine = Engine(self.contracts, self.account, self.faults, self.emit)
        self.algo = AlgoService(self.engine, self.faults, self.emit)
        self.clearing = Clearing(self.engine, self.algo)
        self.settlements: deque[tuple[str, Decimal, Decimal, int]] = deque(maxlen=SETTLEMENTS_MOST)
        self.calls: dict[str, int] = {}
        self.ws_calls: dict[str, int] = {}
        self.wire_posts: dict[str, int] = {}
        self.algo_posts: dict[str, int] = {}
        self.replica: tuple[int, list[Message]] | None = None
        self.drop_ws_api = False
        self.freeze_ws_api = False
        self._maintained_until_ms = 0
        self.start_ms = start_ms
        self.now_ms = start_ms
        self._later: list[tuple[int, int, Callable[[int], None]]] = []
        self._scheduled = 0
        self._muting = False
        self._next_mark_ms = start_ms
        self._next_slow_mark_ms = start_ms
        self._move(start_ms)
        for contract in self.contracts.values():
            contract.next_funding_ms = (start_ms // self.funding_every_ms + 1) * self.funding_every_ms

    # ------------------------------------------------------------ time

    @property
    def mark_every_ms(self) -> int:
        """How often marks go out: faster tapes more often, within bounds."""
        most = self.settings.mark_every_ms
        return min(most, max(MARK_LEAST_MS, int(most / max(self.settings.speed, D("0.001")))))

    def next_ms(self) -> int:
        """Return when something will happen by itself."""
        return min(self._next_mark_ms, self._later[0][0] if self._later else self._next_mark_ms)

    def later(self, at_ms: int, action: Callable[[int], None]) -> None:
        """Do something at a time."""
        self._scheduled += 1
        heapq.heappush(self._later, (at_ms, self._scheduled, action))

    def advance(self, now_ms: int) -> None:
        """Let time pass: prices, faults, liquidation, resting orders, funding, marks."""
        self.now_ms = max(now_ms, self.now_ms)
        self._move(self.now_ms)
        while self._later and self._later[0][0] <= self.now_ms:
            _, _, action = heapq.heappop(self._later)
            action(self.now_ms)
        self._happen(self.now_ms)
        self.streams.retire(self.now_ms)
        if not self.in_maintenance(self.now_ms):
            self.clearing.warn(self.now_ms)
            self.clearing.liquidate(self.now_ms)
            self._tell_forced(self.now_ms)
            self.algo.watch(self.now_ms)  # a mark that jumps past both liquidates
            self.engine.sweep(self.now_ms)
            self._fund(self.now_ms)
        if self.now_ms >= self._next_mark_ms:
            self._next_mark_ms = self.now_ms + self.mark_every_ms
            self.publish_marks(self.now_ms)
        if self.listen_key.key and not self.listen_key.alive(self.now_ms):
            self.end_listen_key(self.now_ms, said=True)

    def _move(self, now_ms: int) -> None:
        price = self.settings.tape.price_at(int((now_ms - self.start_ms) * self.settings.speed))
        for contract in self.contracts.values():
            part = ETHER_PART if contract.base == "ETH" else D(1)
            contract.mark = (price * part).quantize(EIGHT)
            contract.index = contract.mark

    def publish_marks(self, now_ms: int) -> None:
        """Send a frame of marks on every stream of them."""
        if self.faults.switch("M1", now_ms) is not None:
            return
        self.streams.silent_symbol = self.faults.switch("S10", now_ms) or ""
        slow = now_ms >= self._next_slow_mark_ms
        if slow:
            self._next_slow_mark_ms = now_ms + 3 * self.mark_every_ms
        rows = [grammar.mark_price_update(contract, now_ms) for contract in self.contracts.values()]
        wrong = self.faults.take("M2", now_ms)
        if wrong is not None:
            rows = [_outlier(row, wrong) for row in rows]
            # One wrong frame among the venue's, which come each second, however seldom this exchange sends them.
            self._next_mark_ms = min(self._next_mark_ms, now_ms + MARK_MOST_MS)
        for row in rows:
            name = row["s"].lower()
            self.streams.publish(f"{name}@markPrice@1s", row)
            if slow:
                self.streams.publish(f"{name}@markPrice", row)
        self.streams.publish("!markPrice@arr@1s", rows)
        if slow:
            self.streams.publish("!markPrice@arr", rows)
        for contract in self.contracts.values():
            if self.streams.wanted(f"{contract.symbol.lower()}@bookTicker"):
                self.streams.publish(f"{contract.symbol.lower()}@bookTicker", grammar.book_ticker(contract, now_ms))

    def _fund(self, now_ms: int) -> None:
        for symbol, contract in self.contracts.items():
            if now_ms < contract.next_funding_ms:
                continue
            settled_ms = contract.next_funding_ms
            contract.next_funding_ms = (now_ms // self.funding_every_ms + 1) * self.funding_every_ms
            self.settlements.append((symbol, contract.funding_rate, contract.mark, settled_ms))
            message = self.clearing.fund(symbol, contract.mark, settled_ms)
            if message is not None:
                # Told late, like at the venue; what it says is true at the time it is told.
                delay = self.chance.randint(*FUNDING_LATE_MS)
                delay = min(delay, max(200, self.funding_every_ms // 4))
                change = D(message["a"]["B"][0]["bc"])
                isolated = [symbol] if message["a"]["P"] else []
                self.later(now_ms + delay, partial(self._tell, symbol, change, isolated))

    def _tell(self, symbol: str, change: Decimal, isolated: list[str], now_ms: int) -> None:
        self.emit(self.engine.account_update("FUNDING_FEE", now_ms, symbols=isolated, change=change, cause=symbol))

    def _tell_forced(self, now_ms: int) -> None:
        for order in self.clearing.forced:
            row = grammar.force_order(order, now_ms)
            for stream in (f"{order.symbol.lower()}@forceOrder", "!forceOrder@arr"):
                self.streams.publish(stream, row)
        self.clearing.forced.clear()

    def change_contract(
        self, symbol: str, now_ms: int, *, status: str | None = None, brackets: list[Bracket] | None = None
    ) -> None:
        """Change a contract's status or its brackets and publish the news.

        Raises:
            Refusal: -1121 for no such contract, -1130 for no such status.
        """
        contract = self.engine.contract(symbol)
        if status is not None:
            if status not in STATUSES:
                raise Refusal(-1130, "status")
            contract.status = status
        if brackets is not None:
            contract.brackets = brackets
        self.streams.publish("!contractInfo", grammar.contract_info(contract, now_ms, brackets=brackets is not None))

    # ------------------------------------------------------------ faults that come by themselves

    def _happen(self, now_ms: int) -> None:
        if not self.faults.armed and not self._muting:
            return
        self._muting = bool(self.faults.armed)  # once more after the last one, to end what it switched
        for name, action in HAPPENINGS.items():
            value = self.faults.take(name, now_ms)
            if value is not None:
                action(self, value, now_ms)
        for route in ("market", "private"):
            value = self.faults.switch("S2", now_ms)
            self.streams.mute(route, value == route)

    def end_listen_key(self, now_ms: int, *, said: bool) -> None:
        """Kill the listen key; its sockets stay open and are silent from now on."""
        key = self.listen_key.key
        if key and said:
            self.streams.publish_private(key, {"e": "listenKeyExpired", "E": now_ms, "listenKey": key})
        self.listen_key.end()

    def in_maintenance(self, now_ms: int) -> bool:
        """True while every call is refused with -1016 and no socket is accepted (fault M3)."""
        return now_ms < self._maintained_until_ms

    def maintain(self, seconds: Decimal, now_ms: int) -> None:
        """Close for maintenance: open orders are cancelled, every socket is cut."""
        self._maintained_until_ms = now_ms + int(seconds * 1_000)
        self.engine.cancel_all(None, now_ms)
        self.streams.drop()
        self.drop_ws_api = True
        self.spot.end("closed", now_ms)

    def emit(self, message: Message) -> None:
        """Send a user event, through the faults that events meet."""
        now_ms = self.now_ms
        key = self.listen_key.key
        if not key:
            return
        if message["e"] in ("ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE") and self.faults.take("U8", now_ms) is not None:
            return
        self.streams.publish_private(key, message)
        if self.faults.take("U6", now_ms) is not None:
            self.streams.publish_private(key, message)

    # ------------------------------------------------------------ doors

    def handshake(self, now_ms: int, *, weight: int = 0) -> Reply | None:
        """Return why a socket is not accepted; None when it is. The WebSocket API's handshake costs weight."""
        self.advance(now_ms)
        if self.in_maintenance(now_ms):
            return rest.refusal(Refusal(-1016))
        wait_s = self.limits.spend(weight, 0, now_ms) if weight else None
        return None if wait_s is None else rest.limited(self, wait_s, now_ms, {})

    def rest(self, *, method: str, path: str, query: str, body: str, api_key: str, now_ms: int) -> Reply:
        """Answer a REST request."""
        self.advance(now_ms)
        at_ms = now_ms + self.clock_error_ms(now_ms)
        return rest.answer(self, method=method, path=path, query=query, body=body, api_key=api_key, now_ms=at_ms)

    def ws_api(self, session: wsapi.WsSession, text: str, now_ms: int) -> str | None:
        """Answer a frame of the WebSocket API; None closes the connection instead."""
        self.advance(now_ms)
        return wsapi.answer(self, session, text, now_ms + self.clock_error_ms(now_ms))

    def spot_api(self, number: int, text: str, now_ms: int) -> None:
        """Answer a frame of the spot WebSocket API, on the connection of that number."""
        self.advance(now_ms)
        self.spot.receive(self, number, text, now_ms + self.clock_error_ms(now_ms))

    def clock_error_ms(self, now_ms: int) -> int:
        """How far the venue's clock is off, by fault."""
        return int(self.faults.switch("C1", now_ms) or 0)

    def truth(self) -> Message:
        """Return what is really so: positions, wallet, orders, and what the venue has seen."""
        return {
            "now_ms": self.now_ms,
            "positions": {p.symbol: plain(p.amount) for p in self.account.positions.values() if p.amount != 0},
            "marks": {symbol: plain(contract.mark) for symbol, contract in self.contracts.items()},
            "wallet": plain(self.account.wallet),
            "fees": plain(self.account.fees_paid),
            "funding": plain(self.account.funding),
            "open_orders": [order.client_id for order in self.engine.resting()],
            "algo_orders": [grammar.algo_row(o, self.contracts[o.symbol]) for o in self.algo.waiting()],
            "liquidations": self.account.liquidations,
            "adls": self.account.adls,
            "wire_posts": dict(self.wire_posts),
            "algo_posts": dict(self.algo_posts),
            "rest_calls": dict(self.calls),
            "ws_calls": dict(self.ws_calls),
            "faults": dict(self.faults.happened),
            "spot": self.spot.truth(),
        }


# ---------------------------------------------------------------- happenings


def _outlier(row: Message, word: str) -> Message:
    """Return a frame of marks that is wrong."""
    if word == "basis":
        return {**row, "i": plain(D(row["i"]) * 2)}
    said = {"x10": plain(D(row["p"]) * 10), "zero": "0", "negative": "-" + row["p"], "nan": "NaN"}
    return {**row, "p": said[word]}


def _monster(exchange: Exchange, value: str, now_ms: int) -> None:
    text = "[" * 2_000 + "]" * 2_000 if value == "deep" else f'{{"e":"ACCOUNT_UPDATE","x":"{"x" * 300_000}"}}'
    exchange.streams.publish_raw(exchange.listen_key.key, text)


def _unacted(exchange: Exchange, value: str, now_ms: int) -> None:
    for kind in ("STRATEGY_UPDATE", "GRID_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT"):
        exchange.emit({"e": kind, "T": now_ms, "E": now_ms})
    exchange.emit({"e": "MARGIN_CALL", "E": now_ms, "cw": plain(exchange.account.cross_wallet), "p": []})


def _remember_rows(exchange: Exchange, value: str, now_ms: int) -> None:
    exchange.replica = (now_ms, account_calls.positions(exchange, Call({}, now_ms, "")))


def _drop(exchange: Exchange, value: str, now_ms: int) -> None:
    if value == "ws_api":
        exchange.drop_ws_api = True
    else:
        exchange.streams.drop(value)


def _freeze(exchange: Exchange, value: str, now_ms: int) -> None:
    if value == "ws_api":
        exchange.freeze_ws_api = True
    else:
        exchange.streams.freeze(value)


def _maintain(exchange: Exchange, value: str, now_ms: int) -> None:
    exchange.maintain(D(value or "10"), now_ms)


def _delete_key(exchange: Exchange, value: str, now_ms: int) -> None:
    exchange.end_listen_key(now_ms, said=True)


def _expire(exchange: Exchange, value: str, now_ms: int) -> None:
    exchange.end_listen_key(now_ms, said=value != "silent")


def _garble(exchange: Exchange, value: str, now_ms: int) -> None:
    exchange.streams.publish_raw(exchange.listen_key.key, '{"e":"ORDER_TRADE_UPDATE","E":17951')


def _novelty(exchange: Exchange, value: str, now_ms: int) -> None:
    exchange.streams.publish_raw(exchange.listen_key.key, f'{{"e":"BRAND_NEW_EVENT","E":{now_ms},"x":1}}')


def _external(exchange: Exchange, value: str, now_ms: int) -> None:
    try:
        exchange.engine.external("BTCUSDT", D(value), now_ms)
    except Refusal:
        return


def _venue_acts(exchange: Exchange, value: str, now_ms: int) -> None:
    p = exchange.account.position("BTCUSDT")
    if p.amount == 0:
        return
    if value == "liquidate":
        exchange.clearing.close_all("BTCUSDT", now_ms)
    elif value == "settle":
        exchange.clearing.settle("BTCUSDT", now_ms)
    else:
        step = exchange.contracts["BTCUSDT"].step
        exchange.clearing.deleverage("BTCUSDT", (abs(p.amount) / 2) // step * step, now_ms)


HAPPENINGS: dict[str, Callable[[Exchange, str, int], None]] = {
    "M3": _maintain,
    "S1": _freeze,
    "S3": _drop,
    "S7": _garble,
    "S8": _novelty,
    "S9": _monster,
    "U7": _remember_rows,
    "U14": _unacted,
    "U2": _expire,
    "U3": _delete_key,
    "A1": _external,
    "A5": _venue_acts,
}
