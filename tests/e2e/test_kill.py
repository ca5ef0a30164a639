"""SIGKILL at ten random moments of a run that hedges; float trades come in all along; nothing is lost, nothing twice.

One exchange runs through it all. A client repeats a trade under its id until the program acknowledges it, as the
program tells people to do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from streamhedge.ops.verdict import ALLOWED_REST
from tests.e2e.proxy import Relay, relay
from tests.support.processes import Account, exchange, held, room, sent_twice, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
KILLS = 10
CLIENTS = 3
LIMITS = ("limits.max_orders_per_minute=600", "limits.max_intents_per_symbol_per_minute=600")
RECORDED = (0, 5, 6)
"""Exit codes of a trade that is in the float: hedged, late, still naked for a named reason."""
REFUSED, NOT_RUNNING = 2, 3


@dataclass(slots=True)
class Book:
    """What the clients know: the quantity of each trade that was acknowledged, by id."""

    acknowledged: dict[str, Decimal] = field(default_factory=dict)
    duplicates: int = 0
    over: bool = False


async def client(account: Account, book: Book, number: int, chance: random.Random) -> None:
    """Book one trade after the other, each until it is acknowledged."""
    count = 0
    while not book.over:
        count += 1
        name = f"c{number}-{count}"
        kind, amount = ("buy", str(chance.randint(2_000, 60_000))) if chance.random() < 0.5 else (
            *("sell", f"0.{chance.randint(10, 900):03d}"),
        )  # fmt: skip
        while True:
            found = await account.trade(kind, amount, name=name)
            if found.code in RECORDED:
                answer = found.json()
                assert answer["recorded"], answer
                book.duplicates += answer["duplicate"]
                book.acknowledged[name] = Decimal(answer["trade"]["quantity"])
                break
            # Nobody runs, or the one that runs has no price yet: both say that nothing was recorded for certain,
            # or that nobody knows; in either case the same id is asked again.
            known = found.code == NOT_RUNNING or (found.code == REFUSED and "nothing recorded" in found.err)
            assert known, f"a trade may be recorded or not, never lost in an error: {found}"
            await asyncio.sleep(0.1)


async def test_ten_kills_lose_nothing_and_send_nothing_twice(seed: int) -> None:
    chance = random.Random(seed)
    moments = [round(chance.uniform(0.0, 1.6), 3) for _ in range(KILLS)]
    print(f"seed={seed} killed so many seconds after the book was live: {moments}")
    with room() as folder:
        async with exchange(folder, "--tape", "calm", "--speed", "4") as venue, relay(venue) as between:
            # Orders take a while on their way, so that some kills come while one is there; it arrives all the same.
            between.order_delay_s = lambda: chance.uniform(0.0, 0.3)
            account = Account(folder, venue, endpoints=between.endpoints, sets=LIMITS)
            book = Book()
            clients = [
                asyncio.create_task(client(account, book, number, random.Random(seed + number)))
                for number in range(CLIENTS)
            ]
            pids: list[int] = []
            in_the_air = 0
            for number, moment in enumerate(moments):
                async with account.run() as program:
                    pids.append(program.pid)

                    async def live() -> bool:
                        assert program.running, program.err[-3000:]
                        status = await account.status()
                        return status is not None and status["book_status"] == "LIVE"

                    await until("a live book", live)
                    await asyncio.sleep(moment)
                    if number % 3 == 0:
                        await until("an order on its way", _under_way(between))
                    assert program.running, program.err[-3000:]
                    in_the_air += between.under_way
                    assert (await program.killed()).code == -9
            async with account.run("--json") as program:
                await until("three more trades", _grows(book, clients, len(book.acknowledged) + 3))
                book.over = True
                await asyncio.gather(*clients)
                status = await until("at rest and equal to the exchange", account.hedged, ceiling_s=90)
                truth = await venue.truth()
                ended = await program.stopped()

    print(
        f"{len(book.acknowledged)} trades, {book.duplicates} of them asked again, {len(truth['wire_posts'])} orders, "
        f"{in_the_air} kills with an order on its way"
    )
    assert len(set(pids)) == KILLS
    assert (ended.code, ended.json()["pass"]) == (0, True), ended.json()["reason"]
    # The book is the exchange's; naked is inside the band or has its reason.
    (hedge,) = status["hedges"]
    assert held(truth) == {"BTCUSDT": Decimal(hedge["position"])}
    assert hedge["in_band"] or status["blocked"]
    # Every acknowledged trade is in the float once; nothing else is.
    assert Decimal(hedge["float"]) == 10 + sum(book.acknowledged.values())
    assert sent_twice(truth) == {}
    assert len(truth["wire_posts"]) > KILLS, "hedging went on all the time"
    assert in_the_air >= KILLS // 3, "some kills came while an order was on its way"
    assert set(truth["rest_calls"]) <= ALLOWED_REST


def _under_way(between: Relay) -> Callable[[], Awaitable[bool]]:
    async def found() -> bool:
        return between.under_way > 0

    return found


def _grows(book: Book, clients: list[asyncio.Task[None]], size: int) -> Callable[[], Awaitable[bool]]:
    async def grown() -> bool:
        for task in clients:
            if task.done():
                task.result()
        return len(book.acknowledged) >= size

    return grown
