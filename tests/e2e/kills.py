"""SIGKILL after SIGKILL over a running hedger: what is killed, when, and what must be true after each restart.

One lane is one exchange, one account and its clients. A client repeats a float trade under its id until the program
acknowledges it, as the program tells people to do. After every kill the hedger starts again on the same books; once it
is hedged, the exchange's own truth and the ledger are held against what the clients know.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.books import HEDGED_S, LIMITS, Clients, Trade, hedged, in_doubt, spread
from tests.e2e.proxy import Relay, relay
from tests.support.processes import Account, Ended, Program, exchange, until

KINDS = ("any", "trade", "flight", "starting", "stopping", "sockets")
"""Where a kill is aimed.

any: uniform in time · trade: right after a float trade was handed over · flight: while an order is on its way, or its
answer lost · starting: before the book is live · stopping: after SIGTERM · sockets: all three cut at the same moment.
"""
LOST_ANSWERS = ("O1=executed", "O1=not_executed", "O1=late", "O15=executed", "O15=not_executed", "O1=executed,O6=1500")
RECORDED = (0, 5, 6)
"""Exit codes of a trade that is in the float: hedged, late, still naked for a named reason."""
REFUSED, NOT_RUNNING = 2, 3
RESTED_S = 90.0
"""A minute of the venue's, and the audit that shows it."""
CLEAR_LIMIT_S = 5.0
DOUBT_LIMIT_S = 2.0 + 3.0 + 2.0
"""Tq + 2 s, with Tq = recv_window (2 s) + 3 s."""


@dataclass(slots=True)
class Killed:
    """One kill: where it was aimed, and how many orders it left in doubt."""

    kind: str
    in_doubt: int


@dataclass(slots=True)
class Start:
    """One start after a kill, how long it took until it was hedged, and how much of that until our code ran."""

    killed: Killed
    seconds: float
    loading_s: float


@dataclass(slots=True)
class Found:
    """What a lane saw."""

    clients: Clients
    kills: dict[str, int] = field(default_factory=dict)
    """How many, by kind."""
    starts: list[Start] = field(default_factory=list)
    unanswered: int = 0
    """Trades that were handed over and not acknowledged: killed in between."""
    asked_again: int = 0
    """Of the trades that were asked again, how many stood booked already."""
    under_way: int = 0
    """Kills while an order was on its way or its answer lost."""
    stale: int = 0
    """Starts over a lock and a socket that a kill left behind."""


async def kill_again_and_again(folder: Path, kinds: Sequence[str], seed: int, found: Found) -> None:
    """Kill once for each kind named, in that order, and write down what was seen.

    Args:
        folder: A short private folder; locks and books stand below it.
        kinds: Words of KINDS.
        seed: Of the market.
        found: Where it is written down; it holds what was seen so far, whatever becomes of the rest.
    """
    async with (
        exchange(folder, "--tape", "calm", "--speed", "4", "--seed", str(seed)) as venue,
        relay(venue) as between,
    ):
        account = Account(folder, venue, endpoints=between.endpoints, sets=LIMITS)
        await Lane(account, between, found).play(kinds)


class Lane:
    """One account that is killed and started again."""

    def __init__(self, account: Account, between: Relay, found: Found) -> None:
        self.found = found
        self._account = account
        self._between = between
        self._clients = found.clients
        self._chance = found.clients.chance
        self._turn = asyncio.Lock()
        self._unanswered: list[Trade] = []
        self._handed: set[asyncio.Task[dict[str, Any] | None]] = set()
        self._at_once()

    async def play(self, kinds: Sequence[str]) -> None:
        """Kill and start again; a client trades all along."""
        client = asyncio.create_task(self._client())
        try:
            await self._play(kinds, client)
        finally:
            client.cancel()
            await asyncio.gather(client, *self._handed, return_exceptions=True)

    async def _play(self, kinds: Sequence[str], client: asyncio.Task[None]) -> None:
        killed: Killed | None = None
        for kind in (*kinds, "end"):
            started_s = time.monotonic()
            async with self._account.run("--json") as program:
                if kind != "starting":
                    await hedged(self._account)
                    if killed is not None:
                        self.found.starts.append(await self._started(killed, time.monotonic() - started_s, started_s))
                    await self._check()
                    if client.done():
                        client.result()
                    await self._rested()
                if kind == "end":
                    self._ended(await program.stopped())
                    return
                await self._aim(kind, program)
                killed = await self._kill(program, kind)

    async def _rested(self) -> None:
        """Wait while a start would find the address's rate budget spent: so many starts a minute no person makes."""

        async def room() -> bool:
            status = await self._account.status()
            return status is not None and 2 * status["rate"]["weight_1m"]["used"] < status["rate"]["weight_1m"]["limit"]

        await until("the rate budget has room for a start", room, ceiling_s=RESTED_S)

    async def _started(self, killed: Killed, seconds: float, started_s: float) -> Start:
        """Return a start with what the interpreter took of it: a busy machine shows there first."""
        status = await self._account.status()
        uptime_s = status["uptime_s"] if status is not None else 0.0
        return Start(killed, seconds, max(0.0, time.monotonic() - started_s - uptime_s))

    async def _kill(self, program: Program, kind: str) -> Killed:
        """Kill it, and read from its books how many orders are in doubt now."""
        self.found.under_way += self._between.under_way > 0
        ended = await program.killed()
        self.found.kills[kind] = self.found.kills.get(kind, 0) + 1
        if ended.code != -signal.SIGKILL and kind != "stopping":
            self._clients.lost.append(f"{kind}: ended by itself with {ended.code}: {ended.err[-500:]}")
        await self._account.venue.clear("O1", "O6", "O15")
        self._at_once()
        self.found.stale += self._account.place("lock").exists() and self._account.place("sock").exists()
        return Killed(kind, len(in_doubt(self._account)))

    def _at_once(self) -> None:
        """Let orders be on their way for a moment only."""
        self._between.order_delay_s = lambda: self._chance.uniform(0.0, 0.02)

    # ------------------------------------------------------------ moments

    async def _aim(self, kind: str, program: Program) -> None:
        """Bring about what the kill is aimed at."""
        chance, venue = self._chance, self._account.venue
        if kind == "any":
            await asyncio.sleep(chance.uniform(0.0, 1.5))
        elif kind == "starting":
            await asyncio.sleep(chance.uniform(0.0, 1.0))
        elif kind == "trade":
            self._hand_over()
            await asyncio.sleep(chance.choice((0.0, chance.uniform(0.0, 0.004), chance.uniform(0.0, 0.04))))
        elif kind == "flight":
            await self._lose_an_answer()
        elif kind == "stopping":
            self._hand_over()
            await asyncio.sleep(chance.uniform(0.0, 0.02))
            program.send(signal.SIGTERM)
            await asyncio.sleep(chance.uniform(0.0, 0.4))
        elif kind == "sockets":
            self._hand_over()
            await asyncio.sleep(chance.uniform(0.0, 0.02))
            await venue.arm("S3=market,S3=private,S3=ws_api")

    async def _lose_an_answer(self) -> None:
        """Hand a trade over whose order is slow on its way, or never answered."""
        chance, venue = self._chance, self._account.venue
        posts = len((await venue.truth())["wire_posts"])
        slow = chance.random() < 0.5
        if slow:
            delay_s = chance.uniform(0.2, 1.9)
            self._between.order_delay_s = lambda: delay_s
        else:
            await venue.arm(chance.choice(LOST_ANSWERS))
        self._hand_over()

        async def out() -> bool:
            return bool(self._between.under_way) if slow else len((await venue.truth())["wire_posts"]) > posts

        await until("an order is out", out, ceiling_s=HEDGED_S)
        await asyncio.sleep(chance.uniform(0.0, 0.2))

    # ------------------------------------------------------------ float trades

    def _hand_over(self) -> None:
        """Hand a trade to the running process and do not wait; its client will ask again."""
        trade = self._clients.next()
        self._unanswered.append(trade)
        task = asyncio.create_task(self._account.ask(verb="trade", id=trade.name, kind=trade.kind, amount=trade.amount))
        self._handed.add(task)
        task.add_done_callback(self._handed.discard)
        task.add_done_callback(self._answered(trade))

    def _answered(self, trade: Trade) -> Callable[[asyncio.Task[dict[str, Any] | None]], None]:
        def told(task: asyncio.Task[dict[str, Any] | None]) -> None:
            answer = None if task.cancelled() else task.result()
            if answer is None or not answer.get("recorded"):
                self.found.unanswered += 1
                return
            self._clients.told(trade, answer)

        return told

    async def _client(self) -> None:
        """Book one trade after the other, each until it is acknowledged."""
        while True:
            async with self._turn:
                await self._until_acknowledged(self._clients.next())
            await asyncio.sleep(self._chance.uniform(0.1, 0.6))

    async def _until_acknowledged(self, trade: Trade) -> None:
        while True:
            found = await self._account.trade(trade.kind, trade.amount, name=trade.name)
            if found.code in RECORDED:
                answer = found.json()
                self.found.asked_again += bool(answer["duplicate"])
                self._clients.told(trade, answer)
                return
            # Nobody runs, or the one that runs has no price yet: both say that nothing was recorded for certain,
            # or that nobody knows; in either case the same id is asked again.
            known = found.code == NOT_RUNNING or (found.code == REFUSED and "nothing recorded" in found.err)
            assert known, f"a trade may be recorded or not, never lost in an error: {found}"
            await asyncio.sleep(0.1)

    # ------------------------------------------------------------ what must be so

    async def _check(self) -> None:
        """Ask again for what was not answered, then compare, while nobody trades."""
        async with self._turn:
            while self._unanswered:
                await self._until_acknowledged(self._unanswered.pop(0))
            await hedged(self._account)
            await self._clients.compare(self._account)

    def _ended(self, ended: Ended) -> None:
        summary = ended.json()
        if (ended.code, summary["pass"]) != (0, True):
            self._clients.lost.append(f"the last run did not pass: {ended.code} {summary['reason']}")


# ---------------------------------------------------------------- figures


def figures(lanes: Sequence[Found]) -> dict[str, Any]:
    """Return what some lanes saw as one JSON object; ``missed`` names every limit that p99 is beyond."""
    starts = [start for lane in lanes for start in lane.starts]
    cold = {
        name: spread([s.seconds for s in starts if (s.killed.in_doubt > 0) is doubtful], limit_s)
        for name, limit_s, doubtful in (("clear", CLEAR_LIMIT_S, False), ("in_doubt", DOUBT_LIMIT_S, True))
    }
    kinds = {kind: sum(lane.kills.get(kind, 0) for lane in lanes) for kind in KINDS}
    return {
        **{"kills": sum(kinds.values()), "kinds": kinds},
        **{
            "doubled": sum(len(lane.clients.doubled) for lane in lanes),
            "lost": sum(len(lane.clients.lost) for lane in lanes),
        },
        "trades": sum(len(lane.clients.acknowledged) for lane in lanes),
        "unanswered": sum(lane.unanswered for lane in lanes),
        "asked_again": sum(lane.asked_again for lane in lanes),
        "orders": sum(lane.clients.orders for lane in lanes),
        "killed_under_way": sum(lane.under_way for lane in lanes),
        "stale_lock_and_socket": sum(lane.stale for lane in lanes),
        **{"cold_start_s": cold, "loading_s": spread([start.loading_s for start in starts])},
        "missed": [name for name, row in cold.items() if row["p99"] > row["limit"]],
    }
