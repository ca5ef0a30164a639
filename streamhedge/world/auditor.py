"""The auditor: invariants of FAULTS §3, held against the exchange's truth and what crossed the virtual wire.

It shares no arithmetic with the product: it reads the bytes that were fed and sent, keeps its own books of positions,
floats and of which orders may still be alive, and compares. What the product says of itself is only ever compared, never
believed. The first violation stops the world.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import orjson

from streamhedge.domain.order import Order
from streamhedge.domain.stop import Stop
from streamhedge.reactor.state import State, SymbolMemory
from streamhedge.rules.params import Policy
from streamhedge.runtime.pump import Pump
from streamhedge.sim.exchange import Exchange
from streamhedge.world.fates import Fates, Meant, Misfit
from streamhedge.world.hearing import Hearing
from streamhedge.world.promises import Broken, Promises
from streamhedge.world.schedule import MS, S, Schedule

D = Decimal
ZERO = D(0)
STEP = D("0.001")
FULL_EVERY = 50
OPEN = ("PLANNED", "WORKING", "IN_DOUBT")
READ = ("private", "conn", "clock", "trade", "verb", "store", "void", "rest", "wsapi")
"""What is read of the inputs, beside ticks and marks."""
TRUTH_WITHIN_NS = 60 * S
"""An audit each 15 s, or 22.5 s where quiet times have a tick each 7.5 s; one answer lost, the next confirmed a tick later."""
UNTOLD_MOST_NS = 20 * S
"""The slowest frame takes 12 s; what comes later was lost, and an audit told it."""
EDGES = {
    "PLANNED": ("WORKING", "IN_DOUBT", "FILLED", "ENDED", "REFUSED", "ABSENT"),
    "WORKING": ("FILLED", "ENDED", "ABSENT"),
    "IN_DOUBT": ("WORKING", "FILLED", "ENDED", "REFUSED", "ABSENT"),
    "FILLED": (),
    "ENDED": ("FILLED",),
    "REFUSED": ("WORKING", "FILLED", "ENDED"),
    "ABSENT": ("WORKING", "FILLED", "ENDED", "REFUSED"),
}
"""The listed edges; out of REFUSED and ABSENT only ghosts come, and they are counted."""


EXCUSED: dict[str, str] = {}
"""Violations that are known and not mended yet, by name: each keeps a world away from where it would be found."""


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(invariant, text)
        self.invariant = invariant

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


class Auditor:
    """Watches one world from outside."""

    def __init__(self, exchange: Exchange, schedule: Schedule, policy: Policy, instance: str) -> None:
        self.exchange = exchange
        self.schedule = schedule
        self.policy = policy
        self.limits = policy.limits
        self.hedge = policy.hedges[0]
        self.prefix = f"sh-{instance}-"
        self.promises = Promises(exchange, schedule, policy)
        self.hearing = Hearing(schedule, policy.limits, self.prefix)
        self.fates = Fates(
            schedule,
            self.limits.recv_window_ms * MS + 3 * S,
            count=self.count,
            snapshot_asked_ns=lambda: self.hearing.snapshot_asked_ns,
            surprised=self._surprised,
        )
        self.inputs = 0
        self.reached: dict[str, int] = {}
        self.trail: deque[str] = deque(maxlen=50)
        self.step = STEP
        self.owed_rows = 0
        self.positions: dict[str, Decimal] = {}
        """By the venue's trades, signed, base units."""
        self._moved: dict[str, tuple[int, int]] = {}
        """When the venue moved a position last, by its own stamp (ms) and by the world's clock (ns)."""
        self.fees: dict[str, Decimal] = {}
        self.blind: dict[str, Decimal] = {}
        """How far the position moved that the product cannot have reckoned with and does not show yet, by symbol."""
        self.foreign: dict[str, int] = {}
        self.progressed: set[str] = set()
        """Own orders of which a fill brought the position nearer to where it should be."""
        self.blocks: set[str] = set()
        """Symbols of which a note said that they are blocked, and none that they no longer are."""
        self._freed: set[str] = set()
        self._trade_seen = 0
        self._filled = False
        self._started_ns = 0
        self._named: dict[str, str] = {}
        self._status: dict[str, str] = {}
        self._open: dict[str, None] = {}
        self._versions: dict[str, int] = {}
        self._wrong_since: dict[str, int] = {}
        self._commits: deque[tuple[int, str]] = deque()
        """Intents of the last minute: when, and which; without those that a power loss took."""

    def count(self, what: str) -> None:
        """Count something that really happened."""
        self.reached[what] = self.reached.get(what, 0) + 1

    def note(self, text: str) -> None:
        """Put one line on the trail."""
        self.trail.append(f"{(self.schedule.now_ns // MS) % 100_000_000 / 1000:.3f} {text}")

    def promised(self, check: Callable[[], None]) -> None:
        """Make a broken promise a violation."""
        try:
            check()
        except Broken as broken:
            raise Violation(broken.invariant, str(broken)) from None

    # ------------------------------------------------------------ runs

    def started(self, state: State, *, floats: Decimal, lost: list[str], power: bool) -> None:
        """A run begins on what the ledger still holds."""
        fates = self.fates
        self._started_ns = self.schedule.now_ns
        for meant in [meant for meant in fates.live.values() if fates.is_absent(meant)]:
            fates.give_up(meant)  # in the very step the run before died in
        # A latch of the product's own may be lost: to a power loss, or when it died while the ledger refused its rows.
        self.hearing.started(floats=floats, weak=power or self.owed_rows > 0)
        self.promises.started()
        self._versions.clear()
        self._wrong_since.clear()
        self._status = {name: order.status.value for name, order in state.orders.items()}
        self._open = {name: None for name, status in self._status.items() if status in OPEN}
        self._named.clear()
        self.blocks.clear()
        self._freed.clear()
        fates.restarted(lost)
        self._commits = deque(commit for commit in self._commits if commit[1] not in lost)
        if fates.live:
            self.count("restart with an order that may be alive")
        for meant in fates.live.values():
            known = meant.client_id in state.orders or meant.forgotten_until_ns
            if not known:
                raise Violation("4", f"{meant.client_id} may be alive and the new run does not know it")

    # ------------------------------------------------------------ what is fed

    def heard(self, source: str, payload: bytes) -> None:
        """Read an input before the product does."""
        self.inputs += 1
        if source == "tick":
            self.hearing.tick(payload)
            return
        if source == "market":
            self.hearing.market(payload)
            return
        self.note(f"> {source} {payload[:230].decode('utf-8', 'replace')}")
        if source not in READ:
            return
        try:
            fields = orjson.loads(payload)
        except ValueError:
            self.hearing.untrusted()
            return
        self.promises.heard(source, payload, fields)
        try:
            self.fates.heard(source, fields)
        except Misfit as misfit:
            raise Violation("4", str(misfit)) from None
        self.hearing.heard(source, fields)

    # ------------------------------------------------------------ what is decided and sent

    def committed(self, order: Order) -> None:
        """Judge an intent at the moment its row is durable."""
        name = order.client_order_id
        self.note(
            f"< {order.side.value} {order.quantity} @ {order.price} ro={order.reduce_only} {name}: {order.reason}"
        )
        foreign, unseen = self.foreign.get(order.symbol, 0), self.blind.get(order.symbol, ZERO) != 0
        meant = self.fates.committed(order, foreign_before=foreign, unseen=unseen)
        if name in self.fates.meant:
            raise Violation("4", f"{name} was decided before")
        self._check_state(meant)
        self._check_alive(meant)
        self._check_data(meant)
        self._check_limits(meant, order.price)
        self._check_direction(meant)
        told, _ = self.hearing.marks.get(order.symbol, (ZERO, 0))
        self.promised(lambda: self.promises.committed(order, wanted=self._cap(), sure=not unseen, told=told))
        self.fates.added(meant)
        self.count(f"{meant.purpose} {'reduces' if meant.reduce_only else 'raises'}")

    def _check_state(self, meant: Meant) -> None:
        halted = self.hearing.halted
        if halted and meant.purpose != "flatten":
            raise Violation("17" if halted == "rival" else "5", f"{meant.client_id} while halted ({halted})")
        if self.hearing.reducing and not meant.reduce_only:
            raise Violation("5", f"{meant.client_id} raises while REDUCING")
        if meant.symbol in self.hearing.reduced and not meant.reduce_only:
            raise Violation("5", f"{meant.client_id} raises, and a person reduced {meant.symbol}")

    def _check_alive(self, meant: Meant) -> None:
        others = [other for other in self.fates.live.values() if other.symbol == meant.symbol]
        for other in [other for other in others if self.fates.is_absent(other)]:
            # Given up in this very step, by the whole rule; its end is seen when the step is over.
            self.fates.give_up(other)
            others.remove(other)
        if not others:
            return
        names = ", ".join(other.client_id for other in others)
        ladder = meant.purpose == "ladder" and meant.reduce_only and len(others) == 1
        ladder = ladder and not others[0].reduce_only
        if not ladder:
            raise Violation("3", f"{meant.client_id} while {names} may be alive")
        self.count("ladder beside an order in doubt")

    def _check_data(self, meant: Meant) -> None:
        mark = self.hearing.mark(meant.symbol, reducing=meant.reduce_only)
        now_ns = self.schedule.now_ns
        if mark is None:
            raise Violation("12", f"{meant.client_id} without a mark")
        oldest = 10 * S if meant.reduce_only else self.limits.stale_after_ms * MS
        if meant.purpose != "flatten" and now_ns - mark[1] >= oldest + MS:  # ages are in whole milliseconds
            raise Violation("12", f"{meant.client_id} on a mark {(now_ns - mark[1]) // MS} ms old")
        if meant.reduce_only:
            return
        if self.hearing.lag_ms > self.limits.receive_lag_ms:
            raise Violation("12", f"{meant.client_id} raises {self.hearing.lag_ms} ms late")
        if not self.hearing.private or not self.hearing.snapshot_asked_ns:
            raise Violation("5", f"{meant.client_id} raises without a proven private stream")

    def _check_limits(self, meant: Meant, price: Decimal | None) -> None:
        now_ns, name = self.schedule.now_ns, meant.client_id
        told = self.hearing.mark(meant.symbol, reducing=True)
        assert told is not None, "its data were checked"
        mark = told[0]
        if not 0 < meant.quantity <= self.hedge.max_order_quantity or meant.quantity % STEP != 0:
            raise Violation("6", f"{name}: quantity {meant.quantity}")
        if meant.quantity * mark > self.limits.max_order_notional:
            raise Violation("6", f"{name}: notional {meant.quantity * mark}")
        if price is None and not meant.reduce_only:
            raise Violation("6", f"{name} raises at any price")
        if price is not None and abs(price - mark) > self.limits.price_collar * mark:
            raise Violation("6", f"{name}: {price} is outside the collar of {mark}")
        self._commits.append((now_ns, name))
        while self._commits[0][0] < now_ns - 60 * S:
            self._commits.popleft()
        most = self.limits.max_intents_per_symbol_per_minute
        if len(self._commits) > 2 * most + 1:
            raise Violation("23", f"{len(self._commits)} intents in a minute")

    def _check_direction(self, meant: Meant) -> None:
        """Worst cases of this order, and of those that may be alive, at the venue."""
        symbol, name = meant.symbol, meant.client_id
        held = self.exchange.account.position(symbol).amount
        blind = self.blind.get(symbol, ZERO)
        cap = self._cap()
        if not meant.reduce_only:
            if meant.side != "SELL":
                raise Violation("7", f"{name} opens a long")
            coming = sum((self.unfilled(other) for other in self.fates.live.values() if not other.reduce_only), ZERO)
            worst = -held + coming + meant.quantity
            if worst > cap + blind:
                raise Violation("9", f"{name}: the short could reach {worst}, {cap} is wanted ({blind} unseen)")
            return
        if meant.side == "BUY" and held - blind >= 0:
            raise Violation("7", f"{name} buys with {held} held")
        if meant.side == "SELL" and held + blind <= 0:
            raise Violation("7", f"{name} sells reduce-only with {held} held")
        if meant.purpose == "hedge" and meant.side == "BUY" and -held - meant.quantity < cap - blind - self.step:
            raise Violation("8", f"{name} buys {meant.quantity} with {held} held and {cap} wanted short")

    def _cap(self) -> Decimal:
        """Return the short that should be held, base units."""
        return min(
            self.hedge.ratio * self.hearing.float,
            self.limits.max_short_ratio * self.hearing.float,
            self.hedge.max_short,
        )

    def unfilled(self, meant: Meant) -> Decimal:
        """Return how much of an order may still execute at the venue."""
        order = self.exchange.engine.find(meant.symbol, {"origClientOrderId": meant.client_id})
        if order is None:
            return meant.quantity
        return order.left if order.open else ZERO

    def order_sent(self, query: str) -> None:
        """Judge an order whose first byte leaves."""
        now_ns = self.schedule.now_ns
        said = dict(parse_qsl(query))
        name = said["newClientOrderId"]
        meant = self.fates.meant.get(name)
        self.note(f"wire POST {name}")
        if meant is None:
            raise Violation("4", f"{name} is on the wire without a row")
        self.fates.wired[name] = self.fates.wired.get(name, 0) + 1
        if self.fates.wired[name] > 1:
            raise Violation("4", f"{name} is on the wire {self.fates.wired[name]} times")
        meant.sent_ns = now_ns
        if now_ns < self.hearing.banned_until_ns:
            raise Violation(
                "13", f"{name} leaves during a ban, {(self.hearing.banned_until_ns - now_ns) // MS} ms before its end"
            )
        if now_ns - meant.decided_ns > 200 * MS:
            raise Violation("14", f"{name} leaves {(now_ns - meant.decided_ns) // MS} ms after its decision")
        words = (said["symbol"], said["side"], D(said["quantity"]), said.get("reduceOnly", "false") == "true")
        if words != (meant.symbol, meant.side, meant.quantity, meant.reduce_only):
            raise Violation("4", f"{name} on the wire is {words}, the row says {meant}")
        self.promised(lambda: self.promises.sent(said))

    def stop_sent(self, query: str, rows: list[Stop]) -> None:
        """Judge a stop whose first byte leaves, against the ledger's rows of stops that may rest."""
        said = dict(parse_qsl(query))
        name = said["clientAlgoId"]
        self.note(f"wire POST stop {name}")
        self.count("stops sent")
        row = next((row for row in rows if row.client_order_id == name), None)
        if row is None:
            raise Violation("4", f"the stop {name} is on the wire without a row")
        self.fates.wired[name] = self.fates.wired.get(name, 0) + 1
        if self.fates.wired[name] > 1 or name in self.fates.meant:
            raise Violation("4", f"{name} is on the wire more than once")
        if self.schedule.now_ns - row.decided_ns > 200 * MS:
            raise Violation(
                "14", f"{name} leaves {(self.schedule.now_ns - row.decided_ns) // MS} ms after its decision"
            )
        words = (said["symbol"], said["side"], D(said["quantity"]), D(said["triggerPrice"]))
        if words != (row.symbol, row.side.value, row.quantity, row.trigger_price):
            raise Violation("4", f"{name} on the wire is {words}, the row says {row}")
        if said.get("reduceOnly") != "true" or "closePosition" in said or said["workingType"] != "MARK_PRICE":
            raise Violation("7", f"{name} is no reduce-only stop on the mark: {query}")

    def _stop_cancelled(self, name: str) -> None:
        """A stop goes only when another rests, when there is nothing to close, or when the venue takes no two."""
        algo = self.exchange.algo
        stop = algo.find({"clientAlgoId": name})
        if stop is None or not stop.open or self.exchange.faults.happened.get("O10"):
            return
        others = [o for o in algo.waiting(stop.symbol) if o is not stop and o.client_id.startswith(self.prefix)]
        held = self.exchange.account.position(stop.symbol).amount
        if held < 0 and not others and self.blind.get(stop.symbol, ZERO) == 0:
            raise Violation("B", f"the cancel of {name} leaves {held} without a stop")
        self.count("stops replaced" if others else "stops taken away")

    def cancel_sent(self, query: str) -> None:
        """Judge a cancel whose first byte leaves."""
        name = dict(parse_qsl(query)).get("clientAlgoId")
        if name:
            self._stop_cancelled(name)
        self.promised(lambda: self.promises.cancel_sent(query, self.prefix))

    def weight_used(self) -> None:
        """Hold the budget: half of the venue's, always."""
        limits = self.exchange.limits
        weight = limits.weight - sum(used for _, used in limits.tenants)
        restarted = self.schedule.now_ns - self._started_ns < 60 * S
        if weight > (2_400 if restarted else 1_200):
            raise Violation("13", f"{weight} of 2400 request weight in a minute")

    # ------------------------------------------------------------ what is

    def venue_moved(self) -> None:
        """Take the venue's new trades into the auditor's own positions."""
        trades = self.exchange.engine.trades
        if not trades or trades[-1].trade_id <= self._trade_seen:
            return
        self._filled = True
        self.fates.end_forgotten()
        fresh = []
        for trade in reversed(self.exchange.engine.trades):
            if trade.trade_id <= self._trade_seen:
                break
            fresh.append(trade)
        for trade in reversed(fresh):
            self._trade_seen = trade.trade_id
            symbol, signed = trade.order.symbol, trade.order.sign * trade.quantity
            self._moved[symbol] = (trade.time_ms, self.schedule.now_ns)
            before = self.positions.get(symbol, ZERO)
            after = self.positions[symbol] = before + signed
            name = trade.order.client_id
            self.fees[name] = self.fees.get(name, ZERO) + trade.fee
            self.note(f"venue {name} {signed:+f} {symbol}: {before} → {after}")
            meant = self.fates.meant.get(name)
            if meant is None or meant.ended:
                self._surprised(symbol, trade.quantity)
                if meant is not None and meant.gave_up:
                    self.count("fill after we gave it up")
            else:
                meant.fills.append((self.schedule.now_ns, trade.quantity))
            if meant is not None:
                self._own_fill(meant, before, after)

    def _surprised(self, symbol: str, quantity: Decimal) -> None:
        """The position moved in a way that nobody here can have reckoned with."""
        self.blind[symbol] = self.blind.get(symbol, ZERO) + quantity
        self.foreign[symbol] = self.foreign.get(symbol, 0) + 1

    def _own_fill(self, meant: Meant, before: Decimal, after: Decimal) -> None:
        if meant.symbol == self.hedge.symbol and abs(self.wanted() + after) < abs(self.wanted() + before):
            self.progressed.add(meant.client_id)
        raced = meant.foreign_before != self.foreign.get(meant.symbol, 0) or meant.unseen
        if before * after < 0 and not raced:
            raise Violation("7", f"{meant.client_id} took the position through zero: {before} → {after}")
        if meant.reduce_only and abs(after) >= abs(before):
            raise Violation("7", f"{meant.client_id} was to reduce: {before} → {after}")

    def settled(self, pump: Pump) -> None:
        """Judge the product's state after an input; all of it every so often, and after every fill."""
        state = pump.reactor.state
        self._check_open(state)
        self._check_truth(state)
        marked_ns = self.hearing.marks.get(self.hedge.symbol, (ZERO, 0))[1]
        self.promised(lambda: self.promises.settled(state, marked_ns=marked_ns))
        self._follow_states(state)
        if self.inputs % FULL_EVERY == 0 or self._filled:
            self._filled = False
            self.count("full audits")
            self._audit(state)

    def _audit(self, state: State) -> None:
        """Judge everything the product remembers."""
        for symbol, amount in self.positions.items():
            if amount != self.exchange.account.position(symbol).amount:
                raise Violation("11", f"{symbol}: fills lead to {amount}, the venue holds otherwise")
        if sum(state.floats.values(), ZERO) != self.hearing.float:
            raise Violation("F1", f"the float is {self.hearing.float}, the product counts {dict(state.floats)}")
        self._check_ended(state)
        for memory in state.memory.values():
            if memory.blocked is None:
                if memory.symbol in self._freed:
                    self.blocks.discard(memory.symbol)
            elif memory.symbol not in self.blocks:
                raise Violation("21", f"{memory.symbol} is blocked by {memory.blocked.cause}, and no note said so")
        for held in state.book.positions.values():
            key = f"{held.symbol}|{held.position_side.value}"
            if held.version_ms < self._versions.get(key, 0) and not self._set_back(held.symbol, held.version_ms, key):
                raise Violation("2", f"{key}: version fell from {self._versions[key]} to {held.version_ms}")
            self._versions[key] = held.version_ms
            told = self.hearing.told.get((held.symbol, held.version_ms), ())
            if held.source == "ACCOUNT_UPDATE" and held.quantity not in told:
                named = ", ".join(map(str, told)) or "nothing"
                raise Violation("1", f"{key}: the book took {held.quantity} of an update that said {named}")

    def _set_back(self, symbol: str, version_ms: int, key: str) -> bool:
        """True when the venue itself, asked after it had told the higher version, answered with a lower one: its clock went back."""
        shown_ms, asked_ns = self.hearing.shown.get(symbol, (0, 0))
        told_ns = self.hearing.told_ns.get((symbol, self._versions[key]))
        return told_ns is not None and asked_ns > told_ns and shown_ms <= version_ms

    def _check_open(self, state: State) -> None:
        """Follow every order that is open now or was after the last input."""
        if not state.open_ids and not self._open:
            return
        known = set(state.open_ids)
        for name in [*state.open_ids, *[name for name in self._open if name not in known]]:
            order = state.orders.get(name)  # type: ignore[call-overload]
            if order is None:
                raise Violation("10", f"{name} was open and is forgotten")
            was, now = self._status.get(name), order.status.value
            if was == now:
                continue
            self._status[name] = now
            if now in OPEN:
                self._open[name] = None
            else:
                self._open.pop(name, None)
            if was is None:
                continue
            self.count(f"{was}>{now}")
            if now not in EDGES[was]:
                raise Violation("10", f"{name}: {was} → {now}")
            self._check_end(name, now)

    def _follow_states(self, state: State) -> None:
        """Count each edge that the states take."""
        now = [("book", state.book_status.value), ("trading", trading(state))]
        for memory in state.memory.values():
            if memory.symbol == self.hedge.symbol:
                now += [("symbol", symbol_word(memory)), ("ladder", memory.ladder_step.value)]
        for what, word in now:
            was = self._named.get(what)
            if was != word:
                self._named[what] = word
                if was is not None:
                    self.count(f"{what} {was}>{word}")

    def noted(self, code: str, symbol: str | None, data: dict[str, Any]) -> None:
        """Take a note of the product's: what people see of it."""
        self.promises.noted(code)
        if symbol is not None and code in ("blocked", "external"):
            self.blocks.add(symbol)
            self._freed.discard(symbol)
        elif symbol is not None and code == "unblocked":
            self._freed.add(symbol)

    def _check_ended(self, state: State) -> None:
        """Hold what has ended to its end; only ghosts leave it."""
        for name in [n for n, s in self._status.items() if s not in OPEN]:
            order = state.orders.get(name)  # type: ignore[call-overload]
            if order is None:
                del self._status[name]
            elif order.status.value != self._status[name]:
                self.count(f"{self._status[name]}>{order.status.value}")
                if order.status.value not in EDGES[self._status[name]]:
                    raise Violation("10", f"{name}: {self._status[name]} → {order.status.value}")
                self._status[name] = order.status.value

    def _check_end(self, name: str, now: str) -> None:
        meant = self.fates.meant.get(name)
        if meant is None or now in OPEN:
            return
        if now != "ABSENT":
            if not meant.ended:
                raise Violation("UR", f"{name} is called {now}, and nothing that was said proves it")
            return
        if not meant.gave_up and not self.fates.is_absent(meant):
            raise Violation("UR", f"{name} is given up on {len(meant.absences)} absences")
        self.fates.give_up(meant)

    def _check_truth(self, state: State) -> None:
        now_ns = self.schedule.now_ns
        for symbol, held in self.positions.items():
            ours = state.book.quantity(symbol)  # type: ignore[arg-type]
            if ours == held:
                self._wrong_since.pop(symbol, None)
                moved_ms, moved_ns = self._moved[symbol]
                told = state.book.version_ms(symbol) >= moved_ms  # type: ignore[arg-type]
                if told or now_ns - moved_ns > UNTOLD_MOST_NS:  # there and back again is equal before it is told
                    self.blind[symbol] = ZERO
                for meant in self.fates.live.values():
                    if meant.symbol == symbol:
                        meant.fills.clear()
                continue
            since = self._wrong_since.setdefault(symbol, now_ns)
            if state.book_status.value != "LIVE":
                self._wrong_since[symbol] = now_ns
            elif now_ns - since > TRUTH_WITHIN_NS:
                raise Violation("1", f"{symbol}: the book says {ours}, the venue {held}, for {(now_ns - since) // S} s")

    def fault_seen(self) -> None:
        """A fault just hit: what is wrong now is wrong since now."""
        for symbol in self._wrong_since:
            self._wrong_since[symbol] = self.schedule.now_ns

    # ------------------------------------------------------------ the end

    def naked(self) -> tuple[Decimal, Decimal]:
        """Return (naked exposure, what may stay) in quote units, by the auditor's own books."""
        symbol = self.hedge.symbol
        mark = self.exchange.contracts[symbol].mark
        held = self.exchange.account.position(symbol).amount
        return abs(self.wanted() + held) * mark, max(self.hedge.band + self.step * mark, D(51))

    def wanted(self) -> Decimal:
        """Return the short that should be held, base units."""
        hedge, limits = self.hedge, self.limits
        return max(
            ZERO, min(hedge.ratio * self.hearing.float, limits.max_short_ratio * self.hearing.float, hedge.max_short)
        )

    def decided_since(self, since_ns: int) -> bool:
        """Tell whether anything was decided since a moment."""
        return any(meant.decided_ns >= since_ns for meant in self.fates.meant.values())

    def futile(self, since_ns: int) -> list[str]:
        """Return the intents since a moment that did not bring the position nearer to where it should be."""
        return [
            m.client_id
            for m in self.fates.meant.values()
            if m.decided_ns >= since_ns and m.client_id not in self.progressed
        ]

    def books_agree(self, rows: list[Order]) -> None:
        """Hold the ledger's fills against the venue's, order by order."""
        for row in rows:
            name = row.client_order_id
            meant = self.fates.meant[name]
            order = self.exchange.engine.find(meant.symbol, {"origClientOrderId": name})
            really, quote = (order.filled, order.quote) if order is not None else (ZERO, ZERO)
            if meant.gave_up and not row.filled and order is not None and order.update_ms > self.fates.last_ms(meant):
                self.count("ghost outside its window")  # nobody asks any more, and its event may be lost
                continue
            if row.filled != really:
                raise Violation("11", f"{name} filled {really}, the ledger says {row.filled}")
            if row.filled_quote > quote:
                raise Violation("11", f"{name} filled for {quote}, the ledger says {row.filled_quote}")
            if row.commission > self.fees.get(name, ZERO):
                raise Violation("11", f"{name} cost {self.fees.get(name)}, the ledger says {row.commission}")


def trading(state: State) -> str:
    """Name the global state by its latches."""
    return "HALTED" if state.halted else "REDUCING" if state.reducing else "ACTIVE"


def symbol_word(memory: SymbolMemory) -> str:
    """Name the state of a symbol by its latches."""
    return "BLOCKED" if memory.block else "REDUCE_ONLY" if memory.reduce_only else "OPEN"
