"""The spot side of the exchange: balances, fills, and the user data stream on the spot WebSocket API.

Nobody trades here through the API: fills, transfers and ends come from the exchange's own door. The stream lives on the
connection that subscribed; there is no listen key (BINANCE_USDM §8). Letters of the flat ``executionReport`` are spot's:
``c`` is the client id and ``C`` the id of an order being cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from streamhedge.sim import market_calls
from streamhedge.sim.access import Limits
from streamhedge.sim.calls import NONE, SIGNED, Call
from streamhedge.sim.grammar import Message, eights, encode
from streamhedge.sim.refusals import Refusal
from streamhedge.sim.wsapi import Door, Method, WsSession, answer, log_on, log_out, plainly, session_status

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange

D = Decimal
PATH = "/ws-api/v3"
WEIGHT_MOST = 6_000
COMMISSION_RATE = D("0.001")
PAGE_USUAL, PAGE_MOST = 500, 1_000
FIRST_TRADE, FIRST_ORDER, FIRST_EXECUTION = 5_100_000_001, 54_300_000_001, 112_000_000_001
ENDS = ("terminated", "shutdown", "closed", "mute", "frozen")


@dataclass(slots=True)
class SpotSession(WsSession):
    """One connection: what ``WsSession`` holds, and its subscriptions; True marks one of the logged-on session."""

    number: int = 0
    subscriptions: dict[int, bool] = field(default_factory=dict)
    muted: bool = False


@dataclass(slots=True)
class SpotTrade:
    """One fill of ours."""

    symbol: str
    trade_id: int
    order_id: int
    buys: bool
    price: Decimal
    quantity: Decimal
    commission: Decimal
    commission_asset: str
    time_ms: int


class Spot:
    """The spot account: its balances, its trades, and who listens."""

    def __init__(self) -> None:
        self.free: dict[str, Decimal] = {"BTC": D(0), "ETH": D(0), "BNB": D(10), "USDT": D(1_000_000)}
        self.trades: list[SpotTrade] = []
        self.sessions: dict[int, SpotSession] = {}
        self.outbox: deque[tuple[int, str]] = deque()
        self.closing: list[int] = []
        self.calls: dict[str, int] = {}
        self.limits = Limits(weight_most=WEIGHT_MOST)
        self._connections = 0
        self._subscriptions = 0
        self._executions = FIRST_EXECUTION

    # ------------------------------------------------------------ connections

    def open(self, query: str, now_ms: int) -> SpotSession:
        """Take a connection."""
        self._connections += 1
        limited = "returnRateLimits=false" not in query
        session = SpotSession(connected_ms=now_ms, rate_limits=limited, number=self._connections)
        self.sessions[session.number] = session
        return session

    def close(self, number: int) -> None:
        """Forget a connection, and its subscriptions with it."""
        self.sessions.pop(number, None)

    def receive(self, exchange: Exchange, number: int, text: str, now_ms: int) -> None:
        """Answer one frame, after what was said before it."""
        session = self.sessions.get(number)
        if session is None or session.frozen:
            return
        said = answer(exchange, session, text, now_ms, Door(TABLE, self.limits, self.calls))
        if said is None:
            self.closing.append(number)
        else:
            self.outbox.append((number, said))

    def subscribe(self, session: SpotSession, *, logged_on: bool) -> Message:
        """Begin the user data stream on a connection."""
        number = self._subscriptions
        self._subscriptions += 1
        session.subscriptions[number] = logged_on
        return {"subscriptionId": number}

    def unsubscribe(self, session: SpotSession, numbers: list[int], now_ms: int) -> None:
        """End subscriptions, and say so on each."""
        for number in numbers:
            if session.subscriptions.pop(number, None) is not None:
                self._say(session, number, {"e": "eventStreamTerminated", "E": now_ms})

    def publish(self, event: Message, *, times: int = 1) -> None:
        """Send an event on every subscription, so many times."""
        for session in self.sessions.values():
            for number in session.subscriptions:
                for _ in range(times):
                    self._say(session, number, event)

    def _say(self, session: SpotSession, number: int, event: Message) -> None:
        if not session.muted and not session.frozen:
            self.outbox.append((session.number, encode({"subscriptionId": number, "event": event})))

    def end(self, how: str, now_ms: int) -> None:
        """End what is open: the subscriptions, the server, the sockets; or leave them open.

        A mute connection answers and brings no event; a frozen one does not even answer pings.

        Raises:
            ValueError: no such end.
        """
        if how not in ENDS:
            raise ValueError(f"end {how!r}: one of {', '.join(ENDS)}")
        for session in list(self.sessions.values()):
            if how == "terminated":
                self.unsubscribe(session, list(session.subscriptions), now_ms)
            elif how == "mute":
                session.muted = True
            elif how == "frozen":
                session.frozen = True
            else:
                if how == "shutdown":
                    self.outbox.append((session.number, encode({"event": {"e": "serverShutdown", "E": now_ms}})))
                self.closing.append(session.number)

    # ------------------------------------------------------------ what happens to the account

    def fill(
        self,
        symbol: str,
        side: str,
        quantity: Decimal,
        price: Decimal,
        now_ms: int,
        *,
        commission_asset: str = "",
        times: int = 1,
    ) -> SpotTrade:
        """Execute one market order whole, and tell it.

        Args:
            symbol: BTCUSDT or ETHUSDT.
            side: BUY or SELL.
            quantity: Base units.
            price: Quote per base.
            now_ms: When.
            commission_asset: What the commission is paid in; the asset received without, "none" for no commission.
            times: How often each event is sent; 0 loses them, as a connection does that nobody noticed was dead.

        Raises:
            Refusal: -1121 for no such symbol, -1130 for no such side, -2010 for more than there is.
        """
        base, quote = symbol[:3], symbol[3:]
        if base not in ("BTC", "ETH") or quote != "USDT":
            raise Refusal(-1121)
        if side not in ("BUY", "SELL") or quantity <= 0 or price <= 0:
            raise Refusal(-1130, "side, quantity or price")
        buys, value = side == "BUY", quantity * price
        paid_in = commission_asset or (base if buys else quote)
        amounts = {base: quantity, quote: value, "none": D(0), "BNB": value / 600}
        commission = (amounts[paid_in] * COMMISSION_RATE).quantize(D("0.00000001"))
        changes = {base: quantity if buys else -quantity, quote: -value if buys else value}
        if paid_in != "none":
            changes[paid_in] = changes.get(paid_in, D(0)) - commission
        after = {asset: self.free[asset] + change for asset, change in changes.items()}
        if min(after.values()) < 0:
            raise Refusal(-2010)
        self.free.update(after)
        number = len(self.trades)
        trade = SpotTrade(
            symbol=symbol,
            trade_id=FIRST_TRADE + number,
            order_id=FIRST_ORDER + number,
            buys=buys,
            price=price,
            quantity=quantity,
            commission=commission,
            commission_asset="" if paid_in == "none" else paid_in,
            time_ms=now_ms,
        )
        self.trades.append(trade)
        self.publish(self._report(trade, now_ms, kind="NEW"), times=times)
        self.publish(self._report(trade, now_ms, kind="TRADE"), times=times)
        self.publish(self._balances(list(changes), now_ms), times=times)
        return trade

    def transfer(self, asset: str, change: Decimal, now_ms: int) -> None:
        """Move money in or out: a deposit, a withdrawal, a transfer to or from futures."""
        if self.free.get(asset, D(0)) + change < 0:
            raise Refusal(-2010)
        self.free[asset] = self.free.get(asset, D(0)) + change
        self.publish({"e": "balanceUpdate", "E": now_ms, "a": asset, "d": eights(change), "T": now_ms})
        self.publish(self._balances([asset], now_ms))

    def list_status(self, symbol: str, now_ms: int) -> None:
        """Tell the end of an order list, which nobody here acts on."""
        stamp = {
            "E": now_ms,
            "T": now_ms,
            "s": symbol,
            "g": 1,
            "c": "OCO",
            "l": "ALL_DONE",
            "L": "ALL_DONE",
            "r": "NONE",
        }
        self.publish({"e": "listStatus", **stamp, "C": "list-1", "O": []})

    def _report(self, trade: SpotTrade, now_ms: int, *, kind: str) -> Message:
        self._executions += 1
        done = kind == "TRADE"
        size, value = trade.quantity if done else D(0), trade.quantity * trade.price if done else D(0)
        return {
            **{"e": "executionReport", "E": now_ms, "s": trade.symbol, "c": f"float-{trade.order_id}"},
            **{"S": "BUY" if trade.buys else "SELL", "o": "MARKET", "f": "GTC", "q": eights(trade.quantity)},
            **{"p": eights(D(0)), "P": eights(D(0)), "F": eights(D(0)), "g": -1, "C": "", "x": kind},
            **{"X": "FILLED" if done else "NEW", "r": "NONE", "i": trade.order_id, "l": eights(size)},
            **{"z": eights(size), "L": eights(trade.price if done else D(0))},
            **{"n": eights(trade.commission) if done else "0", "N": (trade.commission_asset or None) if done else None},
            **{"T": trade.time_ms, "t": trade.trade_id if done else -1, "I": self._executions, "w": not done},
            **{"m": False, "M": done, "O": trade.time_ms, "Z": eights(value), "Y": eights(value), "Q": eights(D(0))},
            **{"W": trade.time_ms, "V": "EXPIRE_MAKER"},
        }

    def _balances(self, assets: list[str], now_ms: int) -> Message:
        rows = [{"a": asset, "f": eights(self.free[asset]), "l": eights(D(0))} for asset in assets]
        return {"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": rows}

    def truth(self) -> Message:
        """Return what is really so."""
        return {
            "free": {asset: eights(amount) for asset, amount in self.free.items()},
            "trades": [trade.trade_id for trade in self.trades],
            "subscriptions": sum(len(session.subscriptions) for session in self.sessions.values()),
            "calls": dict(self.calls),
        }


# ---------------------------------------------------------------- methods

Handler = Callable[["Exchange", Call, SpotSession], Any]


def _on_spot(handler: Handler) -> Callable[[Exchange, Call, WsSession], Any]:
    def handle(exchange: Exchange, call: Call, session: WsSession) -> Any:
        assert isinstance(session, SpotSession), "the spot door opens spot sessions"
        return handler(exchange, call, session)

    return handle


def _subscribe_signed(exchange: Exchange, call: Call, session: SpotSession) -> Message:
    """userDataStream.subscribe.signature: any key type, no session."""
    return exchange.spot.subscribe(session, logged_on=False)


def _subscribe(exchange: Exchange, call: Call, session: SpotSession) -> Message:
    """userDataStream.subscribe: needs a session that is logged on."""
    if not session.api_key:
        raise Refusal(-1099)
    return exchange.spot.subscribe(session, logged_on=True)


def _unsubscribe(exchange: Exchange, call: Call, session: SpotSession) -> Message:
    """userDataStream.unsubscribe: one, or all."""
    if "subscriptionId" in call.params:
        numbers = [call.integer("subscriptionId", 0)]
    else:
        numbers = list(session.subscriptions)
    exchange.spot.unsubscribe(session, numbers, call.now_ms)
    return {}


def _subscriptions(exchange: Exchange, call: Call, session: SpotSession) -> list[Message]:
    return [{"subscriptionId": number} for number in session.subscriptions]


def _log_out(exchange: Exchange, call: Call, session: SpotSession) -> Message:
    """session.logout ends the session's own subscriptions only."""
    own = [number for number, logged_on in session.subscriptions.items() if logged_on]
    exchange.spot.unsubscribe(session, own, call.now_ms)
    return log_out(exchange, call, session)


def _my_trades(exchange: Exchange, call: Call, session: SpotSession) -> list[Message]:
    """myTrades: from a trade id on, or the latest, oldest first."""
    symbol = call.params.get("symbol", "")
    if not symbol:
        raise Refusal(-1102, "symbol")
    if symbol not in exchange.contracts:
        raise Refusal(-1121)
    most = call.integer("limit", PAGE_USUAL)
    if not 1 <= most <= PAGE_MOST:
        raise Refusal(-1130, "limit")
    trades = [trade for trade in exchange.spot.trades if trade.symbol == symbol]
    if "fromId" in call.params:
        trades = [trade for trade in trades if trade.trade_id >= call.integer("fromId", 0)][:most]
    return [_row(trade) for trade in trades[-most:]]


def _row(trade: SpotTrade) -> Message:
    return {
        **{"symbol": trade.symbol, "id": trade.trade_id, "orderId": trade.order_id, "orderListId": -1},
        **{"price": eights(trade.price), "qty": eights(trade.quantity)},
        **{"quoteQty": eights(trade.price * trade.quantity), "commission": eights(trade.commission)},
        # The venue names an asset even where nothing was taken.
        **{"commissionAsset": trade.commission_asset or "BNB", "time": trade.time_ms},
        **{"isBuyer": trade.buys, "isMaker": False, "isBestMatch": True},
    }


TABLE: dict[str, Method] = {
    "ping": Method(plainly(market_calls.ping), NONE, 1),
    "time": Method(plainly(market_calls.server_time), NONE, 1),
    "session.logon": Method(log_on, SIGNED, 2),
    "session.logout": Method(_on_spot(_log_out), NONE, 2),
    "session.status": Method(session_status, NONE, 2),
    "session.subscriptions": Method(_on_spot(_subscriptions), NONE, 2),
    "userDataStream.subscribe": Method(_on_spot(_subscribe), NONE, 2),
    "userDataStream.subscribe.signature": Method(_on_spot(_subscribe_signed), SIGNED, 2),
    "userDataStream.unsubscribe": Method(_on_spot(_unsubscribe), NONE, 2),
    "myTrades": Method(_on_spot(_my_trades), SIGNED, 20),
}
