"""The matching engine of one account: orders, fills, margin, and their events.

Events leave in the venue's order: NEW first, then TRADE_LITE, ACCOUNT_UPDATE, ORDER_TRADE_UPDATE per fill. Invariants:
a reduce-only order never opens, over its whole life; the wallet moves by realised PnL minus fee; every change of a
position is an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from streamhedge.sim import grammar
from streamhedge.sim.account import Account, eight
from streamhedge.sim.faults import Faults
from streamhedge.sim.grammar import Message
from streamhedge.sim.market import Contract
from streamhedge.sim.orders import SimOrder, check_margin, matches, parse_order, reaches, reducible
from streamhedge.sim.refusals import Refusal, whole

D = Decimal
IOC_REMAINDER, DISPLACED, MARKET_REMAINDER, PREVENTED = "2", "4", "9", "1"
OPEN_MOST = 200
HISTORY_MOST = 100_000
"""Ended orders, trades and income rows kept; older ones are forgotten, as at the venue after some days."""
Emit = Callable[[Message], None]


class Stop(Protocol):
    """What an order tells of the conditional order it comes from."""

    type: str
    trigger_price: Decimal
    working_type: str
    close_position: bool
    price_protect: bool


@dataclass(slots=True)
class Trade:
    """One fill, as userTrades and income tell it."""

    order: SimOrder
    trade_id: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    realised: Decimal
    maker: bool
    time_ms: int


@dataclass(slots=True)
class Income:
    """One change of the wallet, as income tells it."""

    kind: str
    symbol: str
    amount: Decimal
    time_ms: int
    number: int
    trade_id: str = ""


class Engine:
    """Matches one account's orders against the contracts' books."""

    def __init__(self, contracts: dict[str, Contract], account: Account, faults: Faults, emit: Emit) -> None:
        self.contracts = contracts
        self.account = account
        self.faults = faults
        self.emit = emit
        self.orders: dict[int, SimOrder] = {}
        self.trades: deque[Trade] = deque(maxlen=HISTORY_MOST)
        self.income: deque[Income] = deque(maxlen=HISTORY_MOST)
        self._open: dict[int, SimOrder] = {}
        self._named: dict[tuple[str, str], int] = {}
        self._next_order = 4_000_000_001
        self._next_trade = 900_000_001
        self._next_income = 9_700_000_000_001

    # ------------------------------------------------------------ lookup

    def resting(self, symbol: str | None = None) -> list[SimOrder]:
        """Return the open orders, oldest first."""
        return [o for o in self._open.values() if symbol in (None, o.symbol)]

    def find(self, symbol: str, params: Mapping[str, str]) -> SimOrder | None:
        """Return the order that `orderId` or `origClientOrderId` names; of several with one client id the newest."""
        number, name = params.get("orderId", ""), params.get("origClientOrderId", "")
        if not number and not name:
            raise Refusal(-1102, "orderId")
        if number:
            order = self.orders.get(whole(number, -1102, "orderId"))
            return order if order is not None and order.symbol == symbol else None
        return self.orders.get(self._named.get((symbol, name), 0))

    def contract(self, symbol: str) -> Contract:
        """Return a contract or refuse with -1121."""
        if symbol not in self.contracts:
            raise Refusal(-1102, "symbol") if not symbol else Refusal(-1121)
        return self.contracts[symbol]

    # ------------------------------------------------------------ margin

    def open_notional(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the notional of the open buy and sell orders that may open, each at its price."""
        bids = asks = D(0)
        for order in self.resting(symbol):
            if not order.reduce_only:
                bids += order.left * order.price if order.side == "BUY" else 0
                asks += order.left * order.price if order.side == "SELL" else 0
        return bids, asks

    def order_margin(self, symbol: str) -> Decimal:
        """Return the initial margin that open orders hold: one way, the worse of both sides filling.

        Formula: (max(|N + bids|, |N - asks|) - |N|) / leverage, N the signed notional at the mark.
        """
        bids, asks = self.open_notional(symbol)
        if not bids and not asks:
            return D(0)
        p = self.account.position(symbol)
        notional = p.amount * self.contracts[symbol].mark
        worst = max(abs(notional + bids), abs(notional - asks))
        return max(D(0), worst - abs(notional)) / p.leverage

    def orders_margin(self) -> Decimal:
        """Return what all open orders hold."""
        return sum((self.order_margin(symbol) for symbol in self.contracts), D(0))

    def available(self) -> Decimal:
        """Return what new orders may use: cross equity less the initial margin of positions and open orders."""
        account = self.account
        return max(D(0), account.equity(self.contracts) - account.initial(self.contracts) - self.orders_margin())

    # ------------------------------------------------------------ orders

    def place(self, params: Mapping[str, str], now_ms: int, *, stop: Stop | None = None) -> SimOrder:
        """Take one order: check it, match it, rest what may rest.

        Args:
            params: The request's.
            now_ms: The time.
            stop: The conditional order it comes from.

        Raises:
            Refusal: the venue's code; nothing has happened.
        """
        contract = self.contract(params.get("symbol", ""))
        client_id = params.get("newClientOrderId") or f"web_{self._next_order}"
        order = parse_order(
            params, contract, self.account, order_id=self._next_order, now_ms=now_ms, client_id=client_id
        )
        if stop is not None:
            order.origin, order.stop_price, order.working_type = stop.type, stop.trigger_price, stop.working_type
            order.close_position, order.price_protect = stop.close_position, stop.price_protect
        rivals = self.resting()
        if any(o.client_id == client_id for o in rivals):
            raise Refusal(-4116)
        rivals = [o for o in rivals if o.symbol == order.symbol]
        if len(rivals) >= OPEN_MOST:
            raise Refusal(-2025)
        if order.reduce_only:
            room = reducible(order, self.account)
            if room == 0:
                raise Refusal(-2022)
            order.quantity = min(order.quantity, room)
        elif self.faults.take("O14", now_ms) is not None:
            raise Refusal(-2019)
        queued = sum((o.left for o in rivals if o.side == order.side and not o.reduce_only), D(0))
        check_margin(order, contract, self.account, queued=queued, available=self.available())
        crossing = matches(order, contract, order.quantity)
        if order.time_in_force == "GTX" and (crossing or self._own_met(order, contract)):
            raise Refusal(-5022)
        if order.time_in_force == "FOK" and sum((q for _, q in crossing), D(0)) < order.quantity:
            raise Refusal(-5021)
        if order.type == "MARKET" and not crossing:
            raise Refusal(-4131)
        self.admit(order, now_ms)
        self._take(order, contract, now_ms)
        return order

    def number(self) -> int:
        """Return the next order's id."""
        return self._next_order

    def admit(self, order: SimOrder, now_ms: int) -> None:
        """Give an order its place among the open ones and say NEW."""
        self._next_order += 1
        self.orders[order.order_id] = self._open[order.order_id] = order
        self._named[order.symbol, order.client_id] = order.order_id
        if len(self.orders) > HISTORY_MOST:
            oldest = next(iter(self.orders.values()))
            if not oldest.open:
                del self.orders[oldest.order_id]
                if self._named[oldest.symbol, oldest.client_id] == oldest.order_id:
                    del self._named[oldest.symbol, oldest.client_id]
        self.emit(grammar.order_trade_update(order, execution="NEW", now_ms=now_ms))

    def _own_met(self, order: SimOrder, contract: Contract) -> list[SimOrder]:
        """Return the account's own open orders that an order would meet before the book, best first."""
        best = contract.levels(order.side, 1)[0][0]
        own = [
            o
            for o in self.resting(order.symbol)
            if o is not order
            and o.side != order.side
            and reaches(order, o.price)
            and (o.price <= best if order.side == "BUY" else o.price >= best)
        ]
        return sorted(own, key=lambda o: (o.price * order.sign, o.order_id))

    def _prevent(self, order: SimOrder, contract: Contract, now_ms: int) -> None:
        """Apply self-trade prevention, by the incoming order's mode."""
        for resting in self._own_met(order, contract):
            if not order.open:
                return
            if order.prevention == "NONE":
                quantity = min(order.left, resting.left)
                for one, maker in ((resting, True), (order, False)):
                    self.execute(one, contract, quantity=quantity, price=resting.price, now_ms=now_ms, maker=maker)
                continue
            if order.prevention != "EXPIRE_TAKER":
                self.end(resting, "EXPIRED_IN_MATCH", PREVENTED, now_ms)
            if order.prevention != "EXPIRE_MAKER":
                self.end(order, "EXPIRED_IN_MATCH", PREVENTED, now_ms)

    def _take(self, order: SimOrder, contract: Contract, now_ms: int) -> None:
        self._prevent(order, contract, now_ms)
        if not order.open:
            return
        most = order.left
        part = self.faults.take("O7", now_ms)
        if part is not None:
            most = (order.quantity * D(part) / 100) // contract.step * contract.step
        for price, quantity in matches(order, contract, most):
            self.execute(order, contract, quantity=quantity, price=price, now_ms=now_ms, maker=False)
        if order.open and (order.type == "MARKET" or order.time_in_force == "IOC"):
            self.end(order, "EXPIRED", MARKET_REMAINDER if order.type == "MARKET" else IOC_REMAINDER, now_ms)

    def execute(
        self,
        order: SimOrder,
        contract: Contract,
        *,
        quantity: Decimal,
        price: Decimal,
        now_ms: int,
        maker: bool,
        venue: bool = False,
        free: bool = False,
    ) -> None:
        """Fill part of an order and say so in three events; ``venue`` marks a liquidation or deleveraging."""
        rate = D(0) if free else contract.maker_fee if maker else contract.taker_fee
        fee = eight(quantity * price * rate)
        told = None if venue else self.faults.take("X1", now_ms)
        lie = told is not None
        realised = D(0)
        if not lie:
            realised = self.account.fill(contract, order.sign * quantity, price, fee, now_ms)
        order.filled += quantity
        order.quote += quantity * price
        order.status = "FILLED" if order.left == 0 else "PARTIALLY_FILLED"
        order.update_ms = now_ms
        if not order.open:
            self._open.pop(order.order_id, None)
        trade = Trade(order, self._next_trade, price, quantity, fee, realised, maker, now_ms)
        self._next_trade += 1
        self._remember(trade)
        if not venue and self.faults.take("U9", now_ms) is None:
            self.emit(grammar.trade_lite(trade, contract))
        update = self.account_update("ORDER", now_ms, symbols=[order.symbol])
        if lie and told != "report":
            row = update["a"]["P"][0]
            self.account.position(order.symbol).update_ms = now_ms
            row["pa"] = grammar.plain(D(row["pa"]) + order.sign * quantity)
        report = grammar.order_trade_update(
            order,
            execution="CALCULATED" if venue else "TRADE",
            now_ms=now_ms,
            last=quantity,
            price=price,
            fee=fee,
            realised=realised,
            trade_id=trade.trade_id,
            maker=maker,
        )
        swapped = self.faults.take("U5", now_ms) is not None
        for message in (report, update) if swapped else (update, report):
            self.emit(message)
        self._trim(order.symbol, now_ms)

    def _remember(self, trade: Trade) -> None:
        self.trades.append(trade)
        for kind, amount in (("REALIZED_PNL", trade.realised), ("COMMISSION", -trade.fee)):
            if amount:
                self.book_income(kind, trade.order.symbol, amount, trade.time_ms, str(trade.trade_id))

    def book_income(self, kind: str, symbol: str, amount: Decimal, now_ms: int, trade_id: str = "") -> None:
        """Note one change of the wallet."""
        self.income.append(Income(kind, symbol, amount, now_ms, self._next_income, trade_id))
        self._next_income += 1

    def _trim(self, symbol: str, now_ms: int) -> None:
        """Keep resting reduce-only orders within the position, newest first to go."""
        for order in reversed(self.resting(symbol)):
            if not order.reduce_only:
                continue
            room = reducible(order, self.account)
            if room == 0:
                self.end(order, "EXPIRED", DISPLACED, now_ms)
            elif order.left > room:
                order.quantity = order.filled + room

    def end(self, order: SimOrder, status: str, reason: str, now_ms: int) -> None:
        """End an open order without a fill."""
        order.status = status
        order.update_ms = now_ms
        self._open.pop(order.order_id, None)
        execution = "EXPIRED" if status == "EXPIRED_IN_MATCH" else status
        self.emit(grammar.order_trade_update(order, execution=execution, now_ms=now_ms, reason=reason))

    def cancel(self, params: Mapping[str, str], now_ms: int) -> SimOrder:
        """Cancel one open order, or refuse with -2011."""
        order = self.find(self.contract(params.get("symbol", "")).symbol, params)
        if order is None or not order.open:
            raise Refusal(-2011)
        self.end(order, "CANCELED", "0", now_ms)
        return order

    def cancel_all(self, symbol: str | None, now_ms: int) -> None:
        """Cancel the open orders of a symbol, or all."""
        for order in self.resting(symbol):
            self.end(order, "CANCELED", "0", now_ms)

    def sweep(self, now_ms: int) -> None:
        """Fill resting orders that the price has reached, at their own price, as makers."""
        for order in self.resting():
            contract = self.contracts[order.symbol]
            # One fill may end or trim the next order: reduce-only holds for an order's whole life.
            if order.open and reaches(order, contract.levels(order.side, 1)[0][0]):
                self.execute(order, contract, quantity=order.left, price=order.price, now_ms=now_ms, maker=True)

    def external(
        self, symbol: str, signed: Decimal, now_ms: int, *, price: Decimal | None = None, client_id: str | None = None
    ) -> None:
        """Trade as somebody else with the same account would, under a foreign client id unless one is said.

        Without a price a MARKET order, with one a LIMIT order that rests until it is reached or cancelled.
        """
        side = "BUY" if signed > 0 else "SELL"
        words = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": grammar.plain(abs(signed))}
        if price is not None:
            words |= {"type": "LIMIT", "timeInForce": "GTC", "price": grammar.plain(price)}
        self.place({**words, "newClientOrderId": client_id or f"web_{self._next_order}"}, now_ms)

    # ------------------------------------------------------------ money

    def transfer(self, amount: Decimal, reason: str, now_ms: int) -> None:
        """Move money in or out of the wallet and say so."""
        self.account.wallet = eight(self.account.wallet + amount)
        self.account.transfers += amount
        self.account.update_ms = now_ms
        kind = "INSURANCE_CLEAR" if reason == "INSURANCE_CLEAR" else "TRANSFER"
        self.book_income(kind, "", amount, now_ms)
        self.emit(self.account_update(reason, now_ms, change=amount))

    def account_update(
        self,
        reason: str,
        now_ms: int,
        *,
        symbols: list[str] | None = None,
        change: Decimal = D(0),
        cause: str | None = None,
        balances: bool = True,
    ) -> Message:
        """Return ACCOUNT_UPDATE of the state now; ``balances`` False where none changed."""
        account = self.account
        message = grammar.account_update(
            reason,
            now_ms=now_ms,
            wallet=account.wallet,
            cross_wallet=account.cross_wallet,
            change=change,
            positions=[(account.position(symbol), self.contracts[symbol]) for symbol in symbols or []],
            symbol=cause,
        )
        if not balances:
            message["a"]["B"] = []
        return message
