"""A stop decides nothing more, settles what is in doubt while it may, and says what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.support.processes import Account, Ended, Program, Venue, exchange, held, room, sent_twice, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@asynccontextmanager
async def hedged() -> AsyncIterator[tuple[Account, Venue, Program]]:
    """A hedger of ten bitcoin in band, and the account it runs on."""
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run("--json") as program:
                await until("hedged", account.hedged)
                yield account, venue, program


def doubted(program: Program) -> Callable[[], Awaitable[bool]]:
    async def said() -> bool:
        return '"code":"in_doubt"' in program.err

    return said


def said(text: str, code: str) -> list[dict[str, Any]]:
    """Return the lines of a code."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["code"] == code]


async def hedged_again(account: Account, posts_before: dict[str, int]) -> None:
    """The next start settles what was left and hedges, with no id on the wire twice."""
    async with account.run():
        await until("hedged again", account.hedged)
    truth = await account.venue.truth()
    assert held(truth) == {"BTCUSDT": Decimal("-9.5")}
    assert sent_twice(truth) == {} and set(posts_before) <= set(truth["wire_posts"])


@pytest.mark.fault("P7")
async def test_a_stop_waits_for_evidence_and_answers_with_what_it_found() -> None:
    async with hedged() as (account, venue, program):
        # Answered "unknown"; it executes a while later.
        await venue.arm("O1=late")
        waiting = asyncio.create_task(account.trade("sell", "0.5", name="cut"))
        await until("the order is in doubt", doubted(program))
        ended = await program.stopped()
        trade = await waiting
        assert ended.code == 0, ended.err[-3000:]
        assert said(ended.err, "stopping"), "it says that it stops deciding"
        assert trade.code == 0, trade
        assert trade.json()["hedge"]["status"] == "hedged", "the client waits for what was found"
        (last,) = said(ended.err, "stop")
        assert "in doubt" not in last["text"] and "net exposure" in last["text"]
        assert held(await venue.truth()) == {"BTCUSDT": Decimal("-9.5")}
        assert ended.json()["in_doubt"] == 0 and ended.json()["pass"], ended.json()["reason"]


@pytest.mark.fault("P7")
async def test_what_nothing_settles_is_named_and_nothing_new_is_sent() -> None:
    async with hedged() as (account, venue, program):
        await venue.arm("O1=not_executed")
        waiting = asyncio.create_task(account.trade("sell", "0.5", name="cut"))
        await until("the order is in doubt", doubted(program))
        posts = (await venue.truth())["wire_posts"]
        program.send(signal.SIGTERM)

        async def stopping() -> bool:
            return '"code":"stopping"' in program.err

        await until("it stops deciding", stopping)
        # The float moves on, and so does the account: neither leads to an order any more.
        late = asyncio.create_task(account.trade("sell", "0.25", name="late"))
        await venue.external("0.3")
        ended = await program.ended()
        trade, other = await waiting, await late
        assert ended.code == 0, ended.err[-3000:]
        assert (await venue.truth())["wire_posts"] == posts
        (order,) = [name for name in posts if name in ended.json()["unresolved"]["in_doubt"]]
        (last,) = said(ended.err, "stop")
        assert order in last["text"] and "settled at the next start" in last["text"] and "net exposure" in last["text"]
        assert trade.code == 3 and "stays booked" in trade.err, trade
        assert other.code != 0, other
        assert "Traceback" not in ended.err


async def test_a_second_interrupt_ends_it_at_once_and_the_books_hold() -> None:
    async with hedged() as (account, venue, program):
        await venue.arm("O1=not_executed")
        waiting = asyncio.create_task(account.trade("sell", "0.5", name="cut"))
        await until("the order is in doubt", doubted(program))
        posts = (await venue.truth())["wire_posts"]
        program.send(signal.SIGINT)

        async def stopping() -> bool:
            return '"code":"stopping"' in program.err

        await until("it stops deciding", stopping)
        program.send(signal.SIGINT)
        ended: Ended = await program.ended()
        await waiting
        assert ended.code == 128 + signal.SIGINT
        assert said(ended.err, "stop") == [], "it did not wait for the rest"
        await hedged_again(account, posts)
