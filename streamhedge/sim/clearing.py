"""What the venue does to an account by itself: margin call, liquidation, deleveraging, settlement, funding.

Invariant: a liquidated position costs no more than the margin it stood on; the insurance fund bears the rest.
"""

from __future__ import annotations

from decimal import Decimal

from streamhedge.sim import grammar
from streamhedge.sim.account import Position, eight
from streamhedge.sim.algo import AlgoService
from streamhedge.sim.engine import Engine
from streamhedge.sim.grammar import Message
from streamhedge.sim.market import to_tick
from streamhedge.sim.orders import SimOrder

D = Decimal
LIQUIDATED = "5"
LIQUIDATION_FEE = D("0.0125")
CALL_AT, CALL_AGAIN_BELOW = D("0.8"), D("0.7")
"""Risk ratio (maintenance over margin balance) that calls for margin, and the one that ends the call: our choice."""


class Clearing:
    """Watches one account's margin and acts on it."""

    def __init__(self, engine: Engine, algo: AlgoService) -> None:
        self.engine = engine
        self.algo = algo
        self.account = engine.account
        self.contracts = engine.contracts
        self.forced: list[SimOrder] = []
        self._called: dict[str, bool] = {}

    # ------------------------------------------------------------ margin call

    def warn(self, now_ms: int) -> None:
        """Call for margin once when the risk ratio of the cross account or of an isolated position is high."""
        account = self.account
        for p in account.positions.values():
            if p.isolated and (p.amount != 0 or self._called.get(p.symbol)):
                need, equity = self._isolated(p)
                self._call(p.symbol, need if p.amount else D(0), equity, [p], now_ms)
        cross = account.cross()
        if cross or self._called.get(""):
            self._call("", account.maintenance(self.contracts), account.equity(self.contracts), cross, now_ms)

    def _call(self, name: str, need: Decimal, equity: Decimal, positions: list[Position], now_ms: int) -> None:
        called = self._called.get(name, False)
        if not called and positions and need >= CALL_AT * equity:
            self._called[name] = True
            rows = [(p, self.contracts[p.symbol]) for p in positions]
            wallet = None if name else self.account.cross_wallet
            self.engine.emit(grammar.margin_call(rows, now_ms=now_ms, cross_wallet=wallet))
        elif called and need < CALL_AGAIN_BELOW * equity:
            self._called[name] = False

    def _isolated(self, p: Position) -> tuple[Decimal, Decimal]:
        """Return an isolated position's maintenance margin and its margin balance."""
        contract = self.contracts[p.symbol]
        return contract.maintenance(abs(p.amount) * contract.mark), p.isolated_wallet + p.pnl(contract.mark)

    # ------------------------------------------------------------ liquidation

    def liquidate(self, now_ms: int) -> None:
        """Close what its margin no longer carries."""
        account = self.account
        for p in list(account.positions.values()):
            if p.amount != 0 and p.isolated:
                need, equity = self._isolated(p)
                if equity <= need:
                    self.close_all(p.symbol, now_ms)
        while account.cross() and account.equity(self.contracts) <= account.maintenance(self.contracts):
            worst = max(account.cross(), key=lambda p: abs(p.amount) * self.contracts[p.symbol].mark)
            self.close_all(worst.symbol, now_ms)

    def close_all(self, symbol: str, now_ms: int) -> None:
        """Liquidate one position: orders die, an autoclose order takes it, the clearance fee goes."""
        contract, p, account = self.contracts[symbol], self.account.position(symbol), self.account
        for order in self.engine.resting():
            self.engine.end(order, "EXPIRED", LIQUIDATED, now_ms)
        self.algo.expire_all(now_ms)
        amount, isolated = p.amount, p.isolated
        stake = p.isolated_wallet if isolated else account.cross_wallet
        before = account.wallet
        order = self.venue_order("autoclose-", "LIQUIDATION", symbol, abs(amount), now_ms, free=False)
        self.forced.append(order)
        account.liquidations += 1
        left = stake + account.wallet - before
        if not isolated and account.cross():
            left = max(left, D(0))  # the other positions still stand on this wallet
        # What the margin cannot bear the insurance fund pays; what is left of it pays the clearance fee.
        fee = left if left < 0 else min(eight(abs(amount) * contract.mark * LIQUIDATION_FEE), left)
        if fee:
            self.engine.transfer(-fee, "INSURANCE_CLEAR", now_ms)

    def deleverage(self, symbol: str, quantity: Decimal, now_ms: int) -> None:
        """Close part of a position against a bankrupt counterparty, without fee; its open orders are cancelled."""
        if quantity > 0:
            self.engine.cancel_all(symbol, now_ms)
            self.venue_order("adl_autoclose", "LIMIT", symbol, quantity, now_ms, free=True)
            self.account.adls += 1

    def settle(self, symbol: str, now_ms: int) -> None:
        """Close a position because its contract settles."""
        amount = abs(self.account.position(symbol).amount)
        self.engine.cancel_all(symbol, now_ms)
        if amount:
            self.venue_order("settlement_autoclose-", "MARKET", symbol, amount, now_ms, free=True)

    def venue_order(
        self, prefix: str, kind: str, symbol: str, quantity: Decimal, now_ms: int, *, free: bool
    ) -> SimOrder:
        """Make and fill an order of the venue's own against this account, at the mark."""
        contract = self.contracts[symbol]
        price = to_tick(contract.mark, contract.tick)
        number = self.engine.number()
        order = SimOrder(
            order_id=number,
            client_id=prefix if prefix == "adl_autoclose" else f"{prefix}{now_ms}{number % 1000}",
            symbol=symbol,
            side="BUY" if self.account.position(symbol).amount < 0 else "SELL",
            type=kind,
            time_in_force="GTC" if kind == "LIMIT" else "IOC",
            quantity=quantity,
            price=D(0) if kind == "MARKET" else price,
            reduce_only=False,
            prevention="EXPIRE_MAKER",
            time_ms=now_ms,
            update_ms=now_ms,
        )
        self.engine.admit(order, now_ms)
        self.engine.execute(
            order, contract, quantity=quantity, price=price, now_ms=now_ms, maker=False, venue=True, free=free
        )
        return order

    # ------------------------------------------------------------ funding

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
        self.engine.book_income("FUNDING_FEE", symbol, paid, now_ms)
        return self.engine.account_update(
            "FUNDING_FEE", now_ms, symbols=[symbol] if p.isolated else [], change=paid, cause=symbol
        )
