"""The matching engine of one account: orders, fills, margin, liquidation, deleveraging, funding, and their events.

Events leave in the venue's order: NEW first, then TRADE_LITE, ACCOUNT_UPDATE, ORDER_TRADE_UPDATE per fill. Invariants:
a reduce-only order never opens; the wallet moves by realised PnL minus fee; every change of a position is an event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from streamhedge.sim import grammar
from streamhedge.sim.account import Account, eight
from streamhedge.sim.faults import Faults
from streamhedge.sim.grammar import Message, Refusal
from streamhedge.sim.market import Contract, to_tick
from streamhedge.sim.orders import SimOrder, check_margin, matches, parse_order, reducible

D = Decimal
LIQUIDATION_FEE = D("0.0125")
IOC_REMAINDER, DISPLACED, LIQUIDATED, MARKET_REMAINDER = "2", "4", "5", "9"
Emit = Callable[[Message], None]


class Engine:
    """Matches one account's orders against the contracts' books."""

    def __init__(self, contracts: dict[str, Contract], account: Account, faults: Faults, emit: Emit) -> None:
        self.contracts = contracts
        self.account = account
        self.faults = faults
        self.emit = emit
        self.orders: dict[int, SimOrder] = {}
        self.next_order = 4_000_000_001
        self.next_trade = 900_000_001
        self.closed_by_venue: list[Message] = []

    # ------------------------------------------------------------ lookup

    def resting(self, symbol: str | None = None) -> list[SimOrder]:
        """Return the open orders, oldest first."""
        return [o for o in self.orders.values() if o.open and symbol in (None, o.symbol)]

    def find(self, symbol: str, params: Mapping[str, str]) -> SimOrder | None:
        """Return the order that `orderId` or `origClientOrderId` names; of several with one client id the newest."""
        if params.get("orderId"):
            order = self.orders.get(int(params["orderId"]))
            return order if order is not None and order.symbol == symbol else None
        name = params.get("origClientOrderId", "")
        found = [o for o in self.orders.values() if o.client_id == name and o.symbol == symbol]
        return found[-1] if found else None

    def contract(self, symbol: str) -> Contract:
        """Return a contract or refuse with -1121."""
        if symbol not in self.contracts:
            raise Refusal(-1102, "symbol") if not symbol else Refusal(-1121)
        return self.contracts[symbol]

    # ------------------------------------------------------------ orders

    def place(self, params: Mapping[str, str], now_ms: int) -> SimOrder:
        """Take one order: check it, match it, rest what may rest.

        Raises:
            Refusal: the venue's code; nothing has happened.
        """
        contract = self.contract(params.get("symbol", ""))
        client_id = params.get("newClientOrderId") or f"web_{self.next_order}"
        order = parse_order(
            params, contract, self.account, order_id=self.next_order, now_ms=now_ms, client_id=client_id
        )
        if any(o.client_id == client_id for o in self.resting()):
            raise Refusal(-4116)
        if len(self.resting(order.symbol)) >= 200:
            raise Refusal(-2025)
        if order.reduce_only:
            room = reducible(order, self.account)
            if room == 0:
                raise Refusal(-2022)
            order.quantity = min(order.quantity, room)
        elif self.faults.take("O14", now_ms) is not None:
            raise Refusal(-2019)
        check_margin(order, contract, self.account, self.contracts)
        crossing = matches(order, contract, order.quantity)
        if order.time_in_force == "GTX" and crossing:
            raise Refusal(-5022)
        if order.time_in_force == "FOK" and sum((q for _, q in crossing), D(0)) < order.quantity:
            raise Refusal(-5021)
        if order.type == "MARKET" and not crossing:
            raise Refusal(-4131)
        self.next_order += 1
        self.orders[order.order_id] = order
        self.emit(grammar.order_trade_update(order, execution="NEW", now_ms=now_ms))
        self._take(order, contract, now_ms)
        return order

    def _take(self, order: SimOrder, contract: Contract, now_ms: int) -> None:
        most = order.quantity
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
        lie = not venue and self.faults.take("X1", now_ms) is not None
        realised = D(0)
        if not lie:
            realised = self.account.fill(contract, order.sign * quantity, price, fee, now_ms)
        order.filled += quantity
        order.quote += quantity * price
        order.status = "FILLED" if order.left == 0 else "PARTIALLY_FILLED"
        order.update_ms = now_ms
        trade = self.next_trade
        self.next_trade += 1
        if not venue and self.faults.take("U9", now_ms) is None:
            self.emit(
                grammar.trade_lite(
                    order, contract, last=quantity, price=price, trade_id=trade, maker=maker, now_ms=now_ms
                )
            )
        update = self.account_update("ORDER", now_ms, symbols=[order.symbol])
        if lie:
            row = update["a"]["P"][0]
            row["pa"] = grammar.plain(D(row["pa"]) + order.sign * quantity)
        report = grammar.order_trade_update(
            order,
            execution="CALCULATED" if venue else "TRADE",
            now_ms=now_ms,
            last=quantity,
            price=price,
            fee=fee,
            realised=realised,
            trade_id=trade,
            maker=maker,
        )
        swapped = self.faults.take("U5", now_ms) is not None
        for message in (report, update) if swapped else (update, report):
            self.emit(message)
        self._trim(order.symbol, now_ms)

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
        self.emit(grammar.order_trade_update(order, execution=status, now_ms=now_ms, reason=reason))

    def cancel(self, params: Mapping[str, str], now_ms: int) -> SimOrder:
        """Cancel one open order, or refuse with -2011."""
        order = self.find(self.contract(params.get("symbol", "")).symbol, params)
        if order is None or not order.open:
            raise Refusal(-2011)
        self.end(order, "CANCELED", "0", now_ms)
        return order

    def sweep(self, now_ms: int) -> None:
        """Fill resting orders that the price has reached, at their own price, as makers."""
        for order in self.resting():
            contract = self.contracts[order.symbol]
            best = contract.levels(order.side, 1)[0][0]
            if best <= order.price if order.side == "BUY" else best >= order.price:
                self.execute(order, contract, quantity=order.left, price=order.price, now_ms=now_ms, maker=True)

    # ------------------------------------------------------------ what the venue does by itself

    def liquidate(self, now_ms: int) -> None:
        """Close what its margin no longer carries."""
        account = self.account
        for p in list(account.positions.values()):
            if p.amount == 0 or not p.isolated:
                continue
            contract = self.contracts[p.symbol]
            need = contract.maintenance(abs(p.amount) * contract.mark)
            if p.isolated_wallet + p.pnl(contract.mark) <= need:
                self.close_all(p.symbol, now_ms)
        while account.cross() and account.equity(self.contracts) <= account.maintenance(self.contracts):
            worst = max(account.cross(), key=lambda p: abs(p.amount) * self.contracts[p.symbol].mark)
            self.close_all(worst.symbol, now_ms)

    def close_all(self, symbol: str, now_ms: int) -> None:
        """Liquidate one position: orders die, an autoclose order takes it, the clearance fee goes."""
        contract = self.contracts[symbol]
        for order in self.resting():
            self.end(order, "EXPIRED", LIQUIDATED, now_ms)
        amount = self.account.position(symbol).amount
        self.venue_order("autoclose-", "LIQUIDATION", symbol, abs(amount), now_ms, free=False)
        self.account.liquidations += 1
        fee = min(eight(abs(amount) * contract.mark * LIQUIDATION_FEE), max(self.account.wallet, D(0)))
        if self.account.wallet < 0:
            fee = self.account.wallet  # the insurance fund bears what is missing
        self.transfer(-fee, "INSURANCE_CLEAR", now_ms)

    def deleverage(self, symbol: str, quantity: Decimal, now_ms: int) -> None:
        """Close part of a position against a bankrupt counterparty, without fee."""
        if quantity > 0:
            self.venue_order("adl_autoclose", "LIMIT", symbol, quantity, now_ms, free=True)
            self.account.adls += 1

    def settle(self, symbol: str, now_ms: int) -> None:
        """Close a position because its contract settles."""
        amount = abs(self.account.position(symbol).amount)
        if amount:
            self.venue_order("settlement_autoclose-", "MARKET", symbol, amount, now_ms, free=True)

    def venue_order(self, prefix: str, kind: str, symbol: str, quantity: Decimal, now_ms: int, *, free: bool) -> None:
        """Make and fill an order of the venue's own against this account."""
        contract = self.contracts[symbol]
        number = self.next_order
        self.next_order += 1
        name = prefix if prefix == "adl_autoclose" else f"{prefix}{now_ms}{number % 1000}"
        order = SimOrder(
            order_id=number,
            client_id=name,
            symbol=symbol,
            side="BUY" if self.account.position(symbol).amount < 0 else "SELL",
            type=kind,
            time_in_force="GTC" if kind == "LIMIT" else "IOC",
            quantity=quantity,
            price=to_tick(contract.mark, contract.tick),
            reduce_only=False,
            prevention="NONE",
            time_ms=now_ms,
            update_ms=now_ms,
        )
        self.orders[number] = order
        self.emit(grammar.order_trade_update(order, execution="NEW", now_ms=now_ms))
        self.execute(
            *(order, contract),
            quantity=quantity,
            price=to_tick(contract.mark, contract.tick),
            now_ms=now_ms,
            maker=False,
            venue=True,
            free=free,
        )
        self.closed_by_venue.append({"client_id": name, "symbol": symbol, "quantity": grammar.plain(quantity)})

    def external(self, symbol: str, signed: Decimal, now_ms: int) -> None:
        """Trade as somebody else with the same account would: a MARKET order under a foreign client id."""
        side = "BUY" if signed > 0 else "SELL"
        words = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": grammar.plain(abs(signed))}
        self.place({**words, "newClientOrderId": f"web_{self.next_order}"}, now_ms)

    def fund(self, symbol: str, mark: Decimal, now_ms: int) -> Message | None:
        """Pay funding on a position at a mark; return the event to deliver, None when flat."""
        p = self.account.position(symbol)
        if p.amount == 0:
            return None
        paid = eight(-p.amount * mark * self.contracts[symbol].funding_rate)
        self.account.wallet += paid
        self.account.funding += paid
        self.account.update_ms = now_ms
        if p.isolated:
            p.isolated_wallet += paid
            p.update_ms = now_ms
        return self.account_update(
            "FUNDING_FEE", now_ms, symbols=[symbol] if p.isolated else [], change=paid, cause=symbol
        )

    def transfer(self, amount: Decimal, reason: str, now_ms: int) -> None:
        """Move money in or out of the wallet and say so."""
        self.account.wallet = eight(self.account.wallet + amount)
        self.account.transfers += amount
        self.account.update_ms = now_ms
        self.emit(self.account_update(reason, now_ms, change=amount))

    def account_update(
        self,
        reason: str,
        now_ms: int,
        *,
        symbols: list[str] | None = None,
        change: Decimal = D(0),
        cause: str | None = None,
    ) -> Message:
        """Return ACCOUNT_UPDATE of the state now."""
        account = self.account
        return grammar.account_update(
            reason,
            now_ms=now_ms,
            wallet=account.wallet,
            cross_wallet=account.cross_wallet,
            change=change,
            positions=[(account.position(symbol), self.contracts[symbol]) for symbol in symbols or []],
            symbol=cause,
        )
