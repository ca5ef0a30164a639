"""Disconnects over real sockets while float trades go on: what is cut, how, and how long until all is well again."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.e2e.books import HEDGED_S, LIMITS, LOOK_S, Clients, hedged, spread
from tests.e2e.proxy import STREAMS, Wires, wires
from tests.support.processes import Account, exchange

WAYS = ("closed", "reset")
"""closed: the exchange says goodbye · reset: the connection is gone."""
LIVE_LIMIT_S, BAND_LIMIT_S = 1.0, 2.0


@dataclass(slots=True)
class Cut:
    """One disconnect, and how long after it the stream was back and the book live, and then in band."""

    stream: str
    way: str
    live_s: float
    band_s: float


@dataclass(slots=True)
class Cuts:
    """What was seen."""

    clients: Clients
    cuts: list[Cut] = field(default_factory=list)
    foreign: int = 0
    """Trades of somebody else that fell into a gap of the private stream."""
    passed: str = ""
    """Why the run did not pass; empty when it did."""


async def cut_again_and_again(folder: Path, count: int, seed: int, found: Cuts) -> None:
    """Cut so many times, each stream both ways in turn, and write down what was seen.

    Args:
        folder: A short private folder; locks and books stand below it.
        count: How many.
        seed: Of the market.
        found: Where it is written down.
    """
    async with (
        exchange(folder, "--tape", "calm", "--speed", "4", "--seed", str(seed)) as venue,
        wires(venue) as between,
    ):
        account = Account(folder, venue, endpoints=between.endpoints, sets=LIMITS)
        async with account.run("--json") as program:
            await hedged(account)
            await Knife(account, between, found).play(count)
            ended = await program.stopped()
        summary = ended.json()
        found.passed = "" if (ended.code, summary["pass"]) == (0, True) else f"{ended.code} {summary['reason']}"


class Knife:
    """Cuts the streams of one hedger."""

    def __init__(self, account: Account, between: Wires, found: Cuts) -> None:
        self._account = account
        self._between = between
        self._found = found
        self._clients = found.clients
        self._chance: random.Random = found.clients.chance
        self._turn = asyncio.Lock()
        self._foreign = Decimal(0)

    async def play(self, count: int) -> None:
        """Cut and wait; a client trades all along."""
        client = asyncio.create_task(self._client())
        try:
            for number in range(count):
                stream = list(STREAMS)[number % len(STREAMS)]
                await asyncio.sleep(self._chance.uniform(0.0, 0.4))
                await self._cut(stream, WAYS[number // len(STREAMS) % len(WAYS)])
                if client.done():
                    client.result()
                async with self._turn:
                    await hedged(self._account)
                    await self._clients.compare(self._account, foreign=self._foreign)
        finally:
            client.cancel()
            await asyncio.gather(client, return_exceptions=True)

    async def _cut(self, stream: str, way: str) -> None:
        chance, opened = self._chance, self._between.opened[stream]
        trade = asyncio.create_task(self._trade()) if chance.random() < 0.5 else None
        await asyncio.sleep(chance.uniform(0.0, 0.02))
        cut_s = time.monotonic()
        if way == "reset":
            self._between.reset(stream)
        else:
            await self._account.venue.arm(f"S3={stream}")
        if stream == "private":
            # Nobody repeats what happens while nobody listens.
            quantity = Decimal(chance.choice((-1, 1)) * chance.randint(10, 90)) / 1_000
            await self._account.venue.external(str(quantity))
            self._foreign += quantity
            self._found.foreign += 1
        await self._live_again(stream, opened)
        live_s = time.monotonic() - cut_s
        await hedged(self._account)
        self._found.cuts.append(Cut(stream, way, live_s, time.monotonic() - cut_s))
        if trade is not None:
            await trade

    async def _live_again(self, stream: str, opened: int) -> None:
        """Wait until the stream was opened anew, all are open, and the book is live."""
        ends = time.monotonic() + HEDGED_S
        while True:
            status = await self._account.status()
            anew = self._between.opened[stream] > opened and status is not None and status["book_status"] == "LIVE"
            if anew and status is not None and all(row["state"] == "open" for row in status["streams"]):
                return
            assert time.monotonic() < ends, f"{stream} is not back: {status}"
            await asyncio.sleep(LOOK_S / 2)

    async def _client(self) -> None:
        """Book one trade after the other."""
        while True:
            await self._trade()
            await asyncio.sleep(self._chance.uniform(0.05, 0.3))

    async def _trade(self) -> None:
        async with self._turn:
            trade = self._clients.next()
            answer = await self._account.ask(verb="trade", id=trade.name, kind=trade.kind, amount=trade.amount)
            if answer is None or not answer.get("recorded"):
                self._clients.lost.append(f"{trade}: {answer}")
            else:
                self._clients.told(trade, answer)


def figures(found: Cuts) -> dict[str, Any]:
    """Return what was seen as one JSON object; ``missed`` names every limit that p99 is beyond."""
    live = {
        **{name: spread([cut.live_s for cut in found.cuts if cut.stream == name], LIVE_LIMIT_S) for name in STREAMS},
        "all": spread([cut.live_s for cut in found.cuts], LIVE_LIMIT_S),
    }
    band = spread([cut.band_s for cut in found.cuts], BAND_LIMIT_S)
    return {
        "cuts": len(found.cuts),
        "ways": {way: sum(cut.way == way for cut in found.cuts) for way in WAYS},
        **{"doubled": len(found.clients.doubled), "lost": len(found.clients.lost)},
        **{"trades": len(found.clients.acknowledged), "orders": found.clients.orders, "foreign": found.foreign},
        **{"passed": not found.passed, "live_s": live, "in_band_s": band},
        "missed": [name for name, row in (("live", live["all"]), ("in_band", band)) if row["p99"] > row["limit"]],
    }
