"""The algo service: conditional orders beside the matching engine, since 2025-12-09 the only place for them.

They rest here, hold no margin, and become a MARKET order of the engine when their price is reached. Close-all orders
(GTE_GTC) expire with the position; a reduce-only one with a quantity stays, and is rejected if nothing is left to reduce
when it triggers. At most one close-all stop and one close-all take-profit a symbol and side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from streamhedge.sim import grammar
from streamhedge.sim.engine import Emit, Engine
from streamhedge.sim.faults import Faults
from streamhedge.sim.market import Contract
from streamhedge.sim.orders import CLIENT_ID, SimOrder, check_filters, decimal_param
from streamhedge.sim.refusals import Refusal, whole

D = Decimal
TYPES = ("STOP_MARKET", "TAKE_PROFIT_MARKET")
WORKING_TYPES = ("MARK_PRICE", "CONTRACT_PRICE")
OPEN_MOST = 200
"""Open conditional orders of an account, over all symbols."""
HISTORY_MOST = 10_000
YES = "true"


@dataclass(slots=True)
class AlgoOrder:
    """One conditional order; quantity 0 for close-all. ``order`` is what it became."""

    algo_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    quantity: Decimal
    trigger_price: Decimal
    working_type: str
    close_position: bool
    reduce_only: bool
    price_protect: bool
    time_ms: int
    update_ms: int
    status: str = "NEW"
    trigger_ms: int = 0
    order: SimOrder | None = None
    reject_reason: str = ""

    @property
    def open(self) -> bool:
        """True while it waits for its price."""
        return self.status == "NEW"

    @property
    def time_in_force(self) -> str:
        """A close-all order lives as long as the position does."""
        return "GTE_GTC" if self.close_position else "GTC"

    def reached(self, price: Decimal) -> bool:
        """True when a price triggers it: a stop by a price that runs away, a take-profit by one that comes."""
        upward = (self.side == "BUY") == (self.type == "STOP_MARKET")
        return price >= self.trigger_price if upward else price <= self.trigger_price

    def closes(self, amount: Decimal) -> bool:
        """True when a position is there for it to reduce."""
        return amount < 0 if self.side == "BUY" else amount > 0


class AlgoService:
    """Holds one account's conditional orders and triggers them."""

    def __init__(self, engine: Engine, faults: Faults, emit: Emit) -> None:
        self.engine = engine
        self.faults = faults
        self.emit = emit
        self.orders: dict[int, AlgoOrder] = {}
        self._open: dict[int, AlgoOrder] = {}
        self._next = 3_000_000_000_001

    # ------------------------------------------------------------ lookup

    def waiting(self, symbol: str | None = None) -> list[AlgoOrder]:
        """Return the open conditional orders, oldest first."""
        return [order for order in self._open.values() if symbol in (None, order.symbol)]

    def find(self, params: Mapping[str, str]) -> AlgoOrder | None:
        """Return the order that `algoId` or `clientAlgoId` names; of several with one client id the newest."""
        number, name = params.get("algoId", ""), params.get("clientAlgoId", "")
        if not number and not name:
            raise Refusal(-1102, "algoId")
        if number:
            return self.orders.get(whole(number, -1102, "algoId"))
        return next((order for order in reversed(self.orders.values()) if order.client_id == name), None)

    # ------------------------------------------------------------ orders

    def place(self, params: Mapping[str, str], now_ms: int) -> AlgoOrder:
        """Take one conditional order; no margin is checked before it triggers.

        Raises:
            Refusal: the venue's code; nothing has happened.
        """
        order = self._parse(params, now_ms)
        contract = self.engine.contracts[order.symbol]
        others = self.waiting()
        if any(other.client_id == order.client_id for other in others):
            raise Refusal(-4116)
        if len(others) >= OPEN_MOST:
            raise Refusal(-4045)
        if order.close_position and any(_same_close(order, other) for other in others):
            raise Refusal(-4130)
        reducing = order.close_position or order.reduce_only
        if reducing and not order.closes(self.engine.account.position(order.symbol).amount):
            raise Refusal(-2022)
        refused = self.faults.take("O10", now_ms) if reducing else None
        if refused is not None:
            raise Refusal(-int(refused))
        if order.reached(self._price(order, contract)):
            raise Refusal(-2021)
        self._next += 1
        self.orders[order.algo_id] = self._open[order.algo_id] = order
        if len(self.orders) > HISTORY_MOST:
            oldest = next(iter(self.orders.values()))
            if not oldest.open:
                del self.orders[oldest.algo_id]
        self._tell(order, now_ms)
        return order

    def _parse(self, params: Mapping[str, str], now_ms: int) -> AlgoOrder:
        contract = self.engine.contract(params.get("symbol", ""))
        if params.get("algoType", "") != "CONDITIONAL":
            raise Refusal(-1102 if not params.get("algoType") else -1130, "algoType")
        kind, side = params.get("type", ""), params.get("side", "")
        working = params.get("workingType", "CONTRACT_PRICE")
        for name, value, known in (
            *(("side", side, ("BUY", "SELL")), ("type", kind, TYPES)),
            ("workingType", working, WORKING_TYPES),
        ):
            if value not in known:
                raise Refusal(-1102 if not value else -1130, name)
        if self.engine.account.dual_side or params.get("positionSide", "BOTH") != "BOTH":
            raise Refusal(-4061)
        client_id = params.get("clientAlgoId") or f"algo_{self._next}"
        if not CLIENT_ID.match(client_id):
            raise Refusal(-4015)
        close = params.get("closePosition", "").lower() == YES
        reduce_only = params.get("reduceOnly", "").lower() == YES
        for name in ("quantity", "reduceOnly"):
            if close and params.get(name):
                raise Refusal(-1106, name)
        quantity = D(0) if close else decimal_param(params, "quantity")
        if not close:
            check_filters(contract, quantity=quantity, price=D(0), kind="MARKET", side=side, reduce_only=reduce_only)
        trigger = decimal_param(params, "triggerPrice")
        if trigger < contract.min_price:
            raise Refusal(-4013, contract.min_price)
        if trigger % contract.tick != 0:
            raise Refusal(-4014)
        return AlgoOrder(
            algo_id=self._next,
            client_id=client_id,
            symbol=contract.symbol,
            side=side,
            type=kind,
            quantity=quantity,
            trigger_price=trigger,
            working_type=working,
            close_position=close,
            reduce_only=reduce_only or close,
            price_protect=params.get("priceProtect", "").lower() == YES,
            time_ms=now_ms,
            update_ms=now_ms,
        )

    def cancel(self, params: Mapping[str, str], now_ms: int) -> AlgoOrder:
        """Cancel one open conditional order, or refuse with -2011."""
        order = self.find(params)
        if order is None or not order.open:
            raise Refusal(-2011)
        self._end(order, "CANCELED", now_ms)
        return order

    def cancel_all(self, symbol: str, now_ms: int) -> None:
        """Cancel the open conditional orders of a symbol."""
        for order in self.waiting(symbol):
            self._end(order, "CANCELED", now_ms)

    def expire_all(self, now_ms: int) -> None:
        """End every conditional order: the account is being liquidated."""
        for order in self.waiting():
            self._end(order, "EXPIRED", now_ms)

    # ------------------------------------------------------------ triggering

    def watch(self, now_ms: int) -> None:
        """Trigger what its price has reached, oldest first, and expire close-all orders whose position is gone."""
        for order in self.waiting():
            amount = self.engine.account.position(order.symbol).amount
            if order.close_position and not order.closes(amount):
                self._end(order, "EXPIRED", now_ms)
            elif order.reached(self._price(order, self.engine.contracts[order.symbol])):
                self._trigger(order, now_ms)

    @staticmethod
    def _price(order: AlgoOrder, contract: Contract) -> Decimal:
        """Return what triggers it: the mark, or the price at which the contract trades on its side."""
        return contract.mark if order.working_type == "MARK_PRICE" else contract.levels(order.side, 1)[0][0]

    def _trigger(self, order: AlgoOrder, now_ms: int) -> None:
        """Become a MARKET order. The order's own events come before the word that it triggered, as observed."""
        order.trigger_ms = now_ms
        self._step(order, "TRIGGERING", now_ms)
        self._open.pop(order.algo_id, None)
        amount = abs(self.engine.account.position(order.symbol).amount)
        quantity = amount if order.close_position else order.quantity
        words = {"symbol": order.symbol, "side": order.side, "type": "MARKET", "quantity": grammar.plain(quantity)}
        if order.reduce_only:
            words["reduceOnly"] = YES
        words["newClientOrderId"] = f"algo_{order.algo_id}"
        try:
            order.order = self.engine.place(words, now_ms, stop=order)
        except Refusal as refusal:
            reason = "Reduce Only reject" if refusal.code == -2022 else str(refusal.body["msg"])
            order.reject_reason = reason
            self._end(order, "REJECTED", now_ms)
            return
        self._step(order, "TRIGGERED", now_ms)
        self._step(order, "FINISHED", now_ms)

    def _step(self, order: AlgoOrder, status: str, now_ms: int) -> None:
        order.status = status
        order.update_ms = now_ms
        self._tell(order, now_ms)

    def _end(self, order: AlgoOrder, status: str, now_ms: int) -> None:
        self._open.pop(order.algo_id, None)
        self._step(order, status, now_ms)

    def _tell(self, order: AlgoOrder, now_ms: int) -> None:
        self.emit(grammar.algo_update(order, now_ms))


def _same_close(order: AlgoOrder, other: AlgoOrder) -> bool:
    same = (order.symbol, order.side, order.type) == (other.symbol, other.side, other.type)
    return same and other.close_position
