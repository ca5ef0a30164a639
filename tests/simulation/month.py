"""Thirty days of a treasury between the real exchange and the real reactor, and both sides' books at the end of them.

Time goes in frames of ten minutes, with a few more around each settlement. The funding interval changes, payments come late
and without their symbol, positions of somebody else share the margin, the line breaks, money comes and goes.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import orjson

from streamhedge.domain.attribution import RESIDUAL, UNCLASSIFIED
from streamhedge.domain.commands import Persist, PlaceOrder, RequestSnapshot
from streamhedge.domain.events import (
    BookStatusChanged,
    Event,
    PositionSide,
    Snapshot,
    SnapshotBalance,
    SnapshotPosition,
)
from streamhedge.domain.values import NS_PER_MS, Asset, Symbol, exact
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.sim import grammar
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.wire.streams import decode_market, decode_private
from streamhedge.world.tape import MovedTape
from tests.support import builders as make

D = Decimal
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
FRAME_MS = 10 * MINUTE_MS
START_MS = make.T0_MS // DAY_MS * DAY_MS + 1
"""A millisecond past midnight."""
INTERVALS = {6: 4, 12: 1, 18: 8, 24: 1, 27: 4}
"""Day and the hours from one settlement to the next that the venue changes to."""
LATE_MS = 45_000
TINY = D("0.00001")


class Told(Exchange):
    """The exchange, whose user events are kept for whoever carries them."""

    told: deque[dict[str, Any]]

    def emit(self, message: grammar.Message) -> None:
        """Keep an event in the order of its telling."""
        self.told.append(message)


@dataclass(slots=True)
class Books:
    """What both sides say after a month."""

    venue_funding: Decimal
    our_funding: Decimal
    venue_days: dict[int, Decimal]
    our_days: dict[int, Decimal]
    payments: int
    unassigned: int
    intervals: list[int]
    gained: Decimal
    lines: dict[str, Decimal]
    residual_days: dict[int, Decimal] = field(default_factory=dict)
    venue_wallets: dict[str, Decimal] = field(default_factory=dict)
    our_wallets: dict[str, Decimal] = field(default_factory=dict)

    def wrong(self) -> list[str]:
        """Return what does not agree; nothing when all does."""
        found = []
        if self.venue_funding != self.our_funding:
            found.append(f"funding: the venue {self.venue_funding}, we {self.our_funding}")
        if self.venue_days != self.our_days:
            found.append("funding: the days differ")
        if self.venue_wallets != self.our_wallets:
            found.append(f"wallets: the venue {self.venue_wallets}, we {self.our_wallets}")
        if self.unassigned > self.payments // 50:  # one that fits two symbols is of none; the total is right
            found.append(f"{self.unassigned} of {self.payments} payments of no symbol")
        if abs(sum(self.lines.values()) - self.gained) > TINY:
            found.append(f"attribution: {sum(self.lines.values())} explained of {self.gained}")
        if self.lines.get(UNCLASSIFIED):
            found.append(f"unclassified {self.lines[UNCLASSIFIED]}")
        found += [f"residual of day {day}: {left}" for day, left in self.residual_days.items() if abs(left) > TINY]
        return found


class Month:
    """One month, from its seed; ``isolated`` names the symbols that stand on a wallet of their own."""

    def __init__(self, seed: int, *, days: int = 30, isolated: tuple[str, ...] = ()) -> None:
        self.chance = random.Random(f"month-{seed}")
        self.days = days
        self.isolated = isolated
        tape = MovedTape(seed, days * DAY_MS + HOUR_MS, 400, FRAME_MS)
        Told.told = deque()
        settings = Settings(tape, Keys("k", "s"), wallet=D(2_000_000), seed=seed, mark_every_ms=FRAME_MS)
        self.exchange = Told(settings, START_MS)
        self.exchange.told = deque()
        loose = make.limits(max_intents_per_symbol_per_minute=1_000, external_trades_per_minute=100)
        hedge = make.hedge_params(max_short=D(100), isolated="BTCUSDT" in isolated, leverage=2 if isolated else 3)
        said = {"limits": loose, "hedges": (hedge,)}
        self.reactor = Reactor(State(instance="7f3a91c2", epoch=1), make.policy(**said))
        self.now_ms = START_MS
        self.rows: list[Persist] = []
        self.late: list[tuple[int, dict[str, Any]]] = []
        self.intervals: list[int] = []
        self.ended_days: dict[int, dict[str, Decimal]] = {}
        self._trades = 0

    # ------------------------------------------------------------ between the two

    def hear(self, *events: Event) -> None:
        """Let the reactor have events, and do what it asks."""
        with exact():
            state = self.reactor.state
            reaction = self.reactor.react(state.seq + 1, self.now_ms * NS_PER_MS, list(events))
        asked = []
        for command in reaction.commands:
            if isinstance(command, Persist) and command.table == "funding":
                self.rows.append(command)
            elif isinstance(command, Persist) and command.table == "attribution":
                lines = command.fields["lines"]
                assert isinstance(lines, dict)
                self.ended_days[int(str(command.fields["day"]))] = {k: D(v) for k, v in lines.items()}
            elif isinstance(command, PlaceOrder):
                self.place(command)
            elif isinstance(command, RequestSnapshot):
                asked.append(command)
        if asked:
            self.carry()
            self.hear(self.snapshot(audit=asked[0].audit))

    def place(self, order: PlaceOrder) -> None:
        """Carry an order to the exchange; its events say what became of it."""
        words = {"symbol": order.symbol, "side": order.side.value, "type": order.type.value}
        words |= {"quantity": grammar.plain(order.quantity), "newClientOrderId": order.client_order_id}
        if order.price is not None and order.time_in_force is not None:
            words |= {"price": grammar.plain(order.price), "timeInForce": order.time_in_force.value}
        if order.reduce_only:
            words["reduceOnly"] = "true"
        self.exchange.engine.place(words, self.now_ms)

    def carry(self) -> None:
        """Bring what the exchange told; payments may be late, and may not say whose they are."""
        while self.exchange.told:
            message = self.exchange.told.popleft()
            body = message.get("a", {})
            if body.get("m") == "FUNDING_FEE":
                if self.chance.random() < 0.5:
                    body.pop("S", None)
                if self.chance.random() < 0.3:
                    self.late.append((self.now_ms + self.chance.randint(1_000, LATE_MS), message))
                    continue
            self.deliver(message)

    def deliver(self, message: dict[str, Any]) -> None:
        """Decode one event as the private socket's reader does."""
        self.hear(*decode_private(grammar.encode(message).encode()))

    def frame(self, now_ms: int) -> None:
        """Let time pass to a moment and bring the marks of it."""
        while self.late and min(self.late)[0] <= now_ms:
            at_ms, message = min(self.late, key=lambda row: row[0])
            self.late.remove((at_ms, message))
            self.now_ms = max(self.now_ms, at_ms)
            self.exchange.advance(self.now_ms)
            self.deliver(message)
        self.now_ms = now_ms
        self.exchange.advance(now_ms)
        self.carry()
        rows = [grammar.mark_price_update(contract, now_ms) for contract in self.exchange.contracts.values()]
        self.hear(*decode_market(grammar.encode(rows).encode()))
        self.carry()

    def snapshot(self, *, audit: bool) -> Snapshot:
        """Return the exchange's account as its answer says it."""
        account = self.exchange.account
        rows = tuple(
            SnapshotPosition(
                symbol=Symbol(p.symbol),
                position_side=PositionSide.BOTH,
                quantity=p.amount,
                entry_price=p.entry,
                break_even_price=None,
                mark_price=self.exchange.contracts[p.symbol].mark,
                liquidation_price=D(0),
                isolated=p.isolated,
                isolated_wallet=p.isolated_wallet,
                maintenance_margin=D(0),
                initial_margin=D(0),
                margin_asset=make.USDT,
                adl=1,
                update_time_ms=p.update_ms,
            )
            for p in account.positions.values()
            if p.amount
        )
        available = self.exchange.engine.available()
        wallet = account.wallet
        balance = SnapshotBalance(make.USDT, wallet, account.cross_wallet, available, account.update_ms)
        return Snapshot(rows, (balance,), requested_ns=self.now_ms * NS_PER_MS, audit=audit)

    # ------------------------------------------------------------ a month

    def begin(self) -> None:
        """Bring the reactor to LIVE on a flat account."""
        setup, account = make.setup(), self.exchange.account
        ether = make.instrument(Symbol("ETHUSDT"))
        account.position("BTCUSDT").leverage = account.position("ETHUSDT").leverage = 2 if self.isolated else 3
        for symbol in self.isolated:
            account.position(symbol).isolated = True
        read = {"leverage": {}, "isolated": {}, "instruments": (*setup.instruments, ether)}
        for symbol in ("BTCUSDT", "ETHUSDT"):
            read["leverage"][Symbol(symbol)] = account.position(symbol).leverage
            read["isolated"][Symbol(symbol)] = account.position(symbol).isolated
        self.hear(replace(setup, **read))
        self.frame(self.now_ms)
        self.hear(self.snapshot(audit=False))
        self.trade("10")
        self.hear(BookStatusChanged(status="LIVE", reason="a month"))
        self.carry()

    def trade(self, quantity: str) -> None:
        """Book a float trade."""
        self._trades += 1
        self.hear(make.float_trade(quantity, trade_id=f"ft-{self._trades}"))
        self.carry()

    def happen(self) -> None:
        """Let people do something now and then, and let the line break."""
        draw = self.chance.random()
        if draw < 0.03:
            self.trade(self.chance.choice(("0.4", "-0.35", "1.2", "-0.8", "0.00037")))
        elif draw < 0.04:
            self.exchange.engine.external("ETHUSDT", D(self.chance.choice((-3, 3, 5, -5))), self.now_ms)
        elif draw < 0.045:
            self.exchange.engine.external("BTCUSDT", D(self.chance.choice(("-0.2", "0.3"))), self.now_ms)
        elif draw < 0.05:
            self.exchange.engine.transfer(D(self.chance.choice((-1_000, 2_500))), "DEPOSIT", self.now_ms)
        elif draw < 0.06 and not self.late:
            self.hear(BookStatusChanged(status="SYNCING", reason="the line broke"))
            self.now_ms += 2_000
            self.exchange.advance(self.now_ms)
            self.carry()
            self.hear(self.snapshot(audit=False))
            self.hear(BookStatusChanged(status="LIVE", reason="it is back"))
        self.carry()
        if self.chance.random() < 0.1:
            for contract in self.exchange.contracts.values():
                contract.funding_rate = D(self.chance.randint(-75, 75)) / 100_000

    def run(self) -> Books:
        """Live through it and return both sides' books."""
        self.begin()
        for day in range(self.days):
            for number in range(DAY_MS // FRAME_MS):
                at_ms = START_MS + day * DAY_MS + (number + 1) * FRAME_MS
                if number == 50 and day in INTERVALS:
                    self.change_interval(INTERVALS[day])
                settles_ms = self.exchange.contracts["BTCUSDT"].next_funding_ms
                if settles_ms <= at_ms:
                    for after_ms in (-5_000, 200, 5_000, LATE_MS + 10_000):
                        if self.now_ms < settles_ms + after_ms < at_ms + 2 * MINUTE_MS:
                            self.frame(settles_ms + after_ms)
                self.frame(max(at_ms, self.now_ms + 1_000))
                self.happen()
            view = self.reactor.state.book.funding_view(make.BTCUSDT)
            assert view is not None
            self.intervals.append(view.interval_ms // HOUR_MS)
        self.frame(self.now_ms + LATE_MS + MINUTE_MS)
        self.frame(self.now_ms + MINUTE_MS)
        return self.books()

    def change_interval(self, hours: int) -> None:
        """Settle from now on each so many hours: the next settlement moves, earlier or later."""
        self.exchange.funding_every_ms = hours * HOUR_MS
        for contract in self.exchange.contracts.values():
            contract.next_funding_ms = (self.now_ms // (hours * HOUR_MS) + 1) * hours * HOUR_MS

    def books(self) -> Books:
        """Return what both sides say now."""
        state, account = self.reactor.state, self.exchange.account
        venue_days: dict[int, Decimal] = {}
        for row in self.exchange.engine.income:
            if row.kind == "FUNDING_FEE":
                venue_days[row.time_ms // DAY_MS] = venue_days.get(row.time_ms // DAY_MS, D(0)) + row.amount
        our_days: dict[int, Decimal] = {}
        for paid in self.rows:
            day = int(str(paid.fields["time_ms"])) // DAY_MS
            our_days[day] = our_days.get(day, D(0)) + D(str(paid.fields["amount"]))
        with exact():
            value = account.wallet + state.usd
            value += state.floats[Asset("BTC")] * state.book.marks[make.BTCUSDT].index_price
            for symbol, mark in state.book.marks.items():
                held = account.position(symbol)
                value += held.amount * (mark.mark_price - held.entry)
            lines = state.attribution.lines()
            gained = value - state.attribution.value_at_start
        days = {**self.ended_days, **state.attribution.days}
        return Books(
            venue_funding=account.funding,
            our_funding=state.meter.funding,
            venue_days={day: paid for day, paid in venue_days.items() if paid},
            our_days={day: paid for day, paid in our_days.items() if paid},
            payments=len(self.rows),
            unassigned=sum(row.fields["symbol"] is None for row in self.rows),
            intervals=self.intervals,
            gained=gained,
            lines=lines,
            residual_days={day: found.get(RESIDUAL, D(0)) for day, found in days.items()},
            venue_wallets={
                "all": account.wallet,
                "cross": account.cross_wallet,
                **{p.symbol: p.isolated_wallet for p in account.positions.values() if p.amount},
            },
            our_wallets={
                "all": state.book.balances[make.USDT].wallet_balance,
                "cross": state.book.balances[make.USDT].cross_wallet_balance,
                **{held.symbol: held.isolated_wallet for held in state.book.positions.values() if held.quantity},
            },
        )


def as_json(books: Books) -> str:
    """Return the figures of a month as one line."""
    said = {"funding": str(books.our_funding), "payments": books.payments, "intervals": books.intervals}
    said |= {"gained": str(books.gained), "residual": str(books.lines.get(RESIDUAL, D(0))), "wrong": books.wrong()}
    return orjson.dumps(said).decode()
