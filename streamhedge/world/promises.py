"""Promises of the product that need the venue's own figures to judge: ladder, venue closes, bans, clock, keys, rows.

A part of the auditor, with the same rule: nothing here shares arithmetic with the product. Margin is counted by the
exchange's account, money by its trades, time by its clock.

| invariant | what is promised |
|---|---|
| L | well below ``reduce`` the ladder acts within seconds; with room to spare it does not cut |
| A1 | a foreign order is never cancelled |
| A5 | what the venue closed is raised again only after the configured wait, or by a person |
| U2 | a listen key never dies of age |
| 2 | a frame that was heard before changes nothing |
| 8 | no hedge inside the band |
| 11 | every fill and funding row of the ledger says what the venue booked |
| 13 | no order while the venue asks to wait |
| 14 | a signed timestamp is within half a window of the venue's time |
| 19 | every order says which limits were in force; what is latched ends by a person alone |
| 22 | HALTED is told as it begins |
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from streamhedge.domain.order import Order
from streamhedge.reactor.state import State
from streamhedge.rules.params import CloseAction, Policy
from streamhedge.sim.exchange import Exchange
from streamhedge.world.schedule import MS, S, Schedule

D = Decimal
ZERO = D(0)
STEP = D("0.001")
TOLD_APART = D("1.05")
"""A mark so far above the venue's own was an outlier."""
COARSE_STEP = D("0.002")
"""What the venue's step may have been for a while, and may be still as the product knows: less cannot be cut."""
LADDER_WITHIN_NS = 6 * S
"""A refused cut waits 4 s at most."""
ROOM = D("0.35")
"""Farther from liquidation than this (``reopen`` is 0.30) no cut is needed."""
FRESH_NS = 3 * S
KEY_LEFT_MS = 60_000
MEASUREMENTS = 5
"""How many of its measurements of the venue's clock the product goes by."""
VENUE_CLOSES = {"adl_autoclose": "adl", "autoclose-": "liquidation", "settlement_autoclose-": "settlement"}
FOREVER_NS = 2**62


class Broken(Exception):
    """A promise does not hold; the auditor makes it a violation."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(text)
        self.invariant = invariant


class Promises:
    """Holds one world's product to what it promises."""

    def __init__(self, exchange: Exchange, schedule: Schedule, policy: Policy) -> None:
        self.exchange = exchange
        self.schedule = schedule
        self.policy = policy
        self.hedge = policy.hedges[0]
        self._frames: dict[bytes, None] = {}
        self._repeated = False
        self._image: dict[str, Decimal] = {}
        self._closes: dict[str, int] = {}
        """Symbol to when it may be raised again after a close of the venue's."""
        self._close_trades: dict[int, None] = {}
        self._wait_until_ns = 0
        self._mute_until_ns = 0
        """While the venue told anybody but an order to wait: nothing can be sent, and nothing is judged for it."""
        self._near_since_ns = 0
        self._wallet_held: Decimal | None = None
        self._limits = ""
        self._latched: dict[str, bool] = {}
        """What was latched after the last input: HALTED ("") and symbols; empty at the start of a run."""
        self._resumed = False
        self._codes: list[str] = []
        self._funding: dict[str, Decimal] = {}
        self.stepped_ms = 0
        """How far the wall clock was set since the run began."""
        self._measured: deque[int] = deque(maxlen=MEASUREMENTS)
        """How far the venue's clock was before ours when it was asked, milliseconds."""

    def started(self) -> None:
        """A run begins; what the one before knew without having written it may be lost."""
        self._frames.clear()
        self._repeated = False
        self._image.clear()
        self._closes.clear()
        self._close_trades.clear()
        self._wait_until_ns = self._mute_until_ns = self._near_since_ns = 0
        self._wallet_held, self._resumed = None, False
        self._latched.clear()
        self._codes.clear()
        self.stepped_ms = 0
        self._measured.clear()

    # ------------------------------------------------------------ what is heard

    def heard(self, source: str, payload: bytes, fields: Any) -> None:
        """Take an input, decoded."""
        self._repeated = False
        if not isinstance(fields, dict):
            return
        if source == "private":
            self._repeated = payload in self._frames
            self._frames[payload] = None
            self._hear_private(fields)
        elif source == "rest":
            self._hear_wait(fields)
        elif source == "wsapi":
            self._hear_ws(fields)
        elif source == "verb" and fields["kind"] == "resume":
            self._closes.clear()
            self._resumed = True

    def noted(self, code: str) -> None:
        """Take the code of a note that the input led to."""
        self._codes.append(code)

    def _hear_private(self, fields: dict[str, Any]) -> None:
        if fields.get("e") == "ACCOUNT_UPDATE" and fields["a"]["m"] == "FUNDING_FEE":
            for row in fields["a"]["B"]:
                self._funding[f"{fields['T']}:{row['a']}:{fields['a'].get('S') or ''}"] = D(row["bc"])
        if fields.get("e") != "ORDER_TRADE_UPDATE" or D(fields["o"].get("l", "0")) == 0:
            return
        order = fields["o"]
        owner = next((owner for prefix, owner in VENUE_CLOSES.items() if order["c"].startswith(prefix)), None)
        if owner is None or order["t"] in self._close_trades:
            return
        self._close_trades[order["t"]] = None
        ladder = self.policy.ladder
        waits = {
            "adl": ladder.reopen_after_adl_ms,
            "liquidation": ladder.reopen_after_liquidation_ms,
            "settlement": ladder.reopen_after_settlement_ms,
        }
        wait_ms = waits[owner]
        self._closes[order["s"]] = FOREVER_NS if wait_ms is None else self.schedule.now_ns + wait_ms * MS

    def _hear_wait(self, fields: dict[str, Any]) -> None:
        if fields["status"] not in (418, 429):
            return
        until_ns = self.schedule.now_ns + int((fields["headers"] or {}).get("retry-after", "0")) * S
        self._mute_until_ns = max(self._mute_until_ns, until_ns)
        if fields["request"]["label"] == "order":
            self._wait_until_ns = max(self._wait_until_ns, until_ns)

    def _hear_ws(self, fields: dict[str, Any]) -> None:
        if "serverTime" in (fields.get("result") or ()):
            self._measured.append(self._venue_ahead_ms())
        said = (fields.get("error") or {}).get("data") or {}
        if fields.get("status") in (418, 429) and "retryAfter" in said:
            length_ms = said["retryAfter"] - said["serverTime"]
            self._mute_until_ns = max(self._mute_until_ns, self.schedule.now_ns + length_ms * MS)

    # ------------------------------------------------------------ what is decided and sent

    def committed(self, order: Order, *, wanted: Decimal, sure: bool, told: Decimal) -> None:
        """Judge an intent.

        Args:
            order: What was decided.
            wanted: The short that should be held.
            sure: True when the product can know the position.
            told: The mark it was told last: a wrong one that nothing contradicts is acted on after a while.
        """
        now_ns, name = self.schedule.now_ns, order.client_order_id
        if not order.reduce_only and now_ns < self._closes.get(order.symbol, 0):
            raise Broken("A5", f"{name} raises what the venue closed before it may")
        self._limits = self._limits or order.policy_hash
        if not order.policy_hash or order.policy_hash != self._limits:
            raise Broken("19", f"{name} says limits {order.policy_hash!r}, {self._limits!r} are in force")
        if not sure:
            return
        held = self.exchange.account.position(order.symbol).amount
        mark = self.exchange.contracts[order.symbol].mark
        gap = abs(wanted + held) + COARSE_STEP
        if order.purpose.value == "hedge" and gap * max(mark, told) < self.hedge.band * D("0.98") and wanted >= STEP:
            raise Broken("8", f"{name} hedges {order.quantity} with {held} held and {wanted} wanted: inside the band")
        flat = self.policy.ladder.close_action is CloseAction.FLATTEN
        clear = self._alone(order.symbol) and self._knows_wallet() and not flat
        clear = clear and told < mark * TOLD_APART
        if order.purpose.value == "ladder" and clear and self.left_after(order.symbol, ROOM) > 0:
            raise Broken("L", f"{name} cuts with more than {ROOM * 100:f} % to liquidation")

    def sent(self, said: Mapping[str, str]) -> None:
        """Judge an order whose first byte leaves."""
        name = said["newClientOrderId"]
        if self.schedule.now_ns < self._wait_until_ns:
            raise Broken("13", f"{name} leaves while the venue asks to wait")
        # A clock that was set since it was asked is not known to be: what was true then is no fault.
        ahead_ms = int(said["timestamp"]) - self.schedule.now_ms - self.stepped_ms
        off_ms = min((ahead_ms - known for known in (self._venue_ahead_ms(), *self._measured)), key=abs)
        if abs(off_ms) > self.policy.limits.recv_window_ms // 2:
            raise Broken("14", f"{name} is signed {off_ms} ms from the venue's time")

    def _venue_ahead_ms(self) -> int:
        return self.exchange.clock_error_ms(self.schedule.now_ms) - self.stepped_ms

    def cancel_sent(self, query: str, prefix: str) -> None:
        """Judge a cancel."""
        said = dict(parse_qsl(query))
        name = said.get("origClientOrderId") or said.get("clientAlgoId", "")
        if not name.startswith(prefix):
            raise Broken("A1", f"a cancel of {name!r}, which is not ours")

    # ------------------------------------------------------------ what is

    def settled(self, state: State, *, marked_ns: int) -> None:
        """Judge the product after an input; ``marked_ns`` is when it heard the hedge symbol's mark last."""
        image = {f"{held.symbol}|{held.position_side.value}": held.quantity for held in state.book.positions.values()}
        if self._repeated and image != self._image:
            raise Broken("2", f"a frame heard before changed the book from {self._image} to {image}")
        self._repeated = False
        self._image = image
        key = self.exchange.listen_key
        if key.key and key.ends_ms - self.schedule.now_ms < KEY_LEFT_MS:
            raise Broken("U2", f"the listen key lives {key.ends_ms - self.schedule.now_ms} ms more: nobody renews it")
        self._check_latches(state)
        self._check_ladder(state, marked_ns)

    def _check_latches(self, state: State) -> None:
        """Follow HALTED and the latched blocks from input to input."""
        now = {str(m.symbol): m.block is not None and m.block.latched for m in state.memory.values()}
        now[""] = state.halted is not None
        for what, was in self._latched.items():
            if was and not now[what] and not self._resumed:
                raise Broken("19", f"{what or 'HALTED'} was latched and no longer is, and no person resumed it")
        begun = now[""] and self._latched.get("") is False
        if begun and "halted" not in self._codes and "operator" not in self._codes:
            raise Broken("22", f"HALTED ({state.halted}) begins and nobody is told")
        self._latched, self._resumed = now, False
        self._codes.clear()

    def _check_ladder(self, state: State, marked_ns: int) -> None:
        symbol, now_ns = self.hedge.symbol, self.schedule.now_ns
        balance = state.book.balances.get(self.policy.margin_asset)
        account = self.exchange.account
        self._wallet_held = balance.cross_wallet_balance if balance is not None else None
        memory = state.memory[symbol]
        able = (
            state.halted is None
            and state.book_status.value == "LIVE"
            and not state.open_ids
            and memory.position_trusted
            and memory.block is None
            and now_ns - marked_ns < FRESH_NS
            and self.exchange.contracts[symbol].status == "TRADING"
            and now_ns >= self._mute_until_ns
            and self._knows_wallet()
            and self._alone(symbol)
            and abs(account.position(symbol).amount) >= COARSE_STEP
        )
        ladder = self.policy.ladder
        near = (ladder.reduce + ladder.close) / 2
        if not able or self.left_after(symbol, near) >= 0:
            self._near_since_ns = 0
            return
        self._near_since_ns = self._near_since_ns or now_ns
        if now_ns - self._near_since_ns > LADDER_WITHIN_NS:
            raise Broken("L", f"below {near * 100:f} % to liquidation for {LADDER_WITHIN_NS // S} s and nothing is cut")

    def _knows_wallet(self) -> bool:
        """Tell whether the product, at its last input, had the wallet that the venue has now."""
        return self._wallet_held == self.exchange.account.cross_wallet

    def _alone(self, symbol: str) -> bool:
        """Tell whether the symbol's position is a cross short that shares its margin with no other."""
        cross = self.exchange.account.cross()
        return len(cross) == 1 and cross[0].symbol == symbol and cross[0].amount < 0

    def left_after(self, symbol: str, rise: Decimal) -> Decimal:
        """Return equity less maintenance after a rise of the mark, by the exchange's own account, quote units."""
        account, contract = self.exchange.account, self.exchange.contracts[symbol]
        p = account.position(symbol)
        mark = contract.mark * (1 + rise)
        return account.cross_wallet + p.pnl(mark) - contract.maintenance(abs(p.amount) * mark)

    # ------------------------------------------------------------ the end

    def rows_agree(self, rows: Mapping[tuple[str, str], bytes]) -> None:
        """Hold the ledger's fill and funding rows against what the venue booked and said."""
        trades = {f"{t.order.symbol}:{t.trade_id}": t for t in self.exchange.engine.trades}
        for (table, key), body in rows.items():
            row = json.loads(body)
            if table == "fill":
                trade = trades[key]
                told = (trade.order.side, trade.quantity, trade.price, trade.fee, trade.realised)
                words = ("quantity", "price", "commission", "realised_pnl")
                booked = (row["side"], *(D(row[word]) for word in words))
                if booked != told:
                    raise Broken("11", f"fill {key}: the venue booked {told}, the ledger {booked}")
            elif table == "funding" and key in self._funding and D(row["amount"]) != self._funding[key]:
                raise Broken("11", f"funding {key}: the venue paid {self._funding[key]}, the ledger {row['amount']}")
