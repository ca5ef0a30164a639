"""A hedger killed with a short open, and a rally: the stop at the venue closes it, and the next start knows what it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, cast

import pytest

from streamhedge.ops.verdict import ALLOWED_REST
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import Tape
from streamhedge.simserver.server import serve
from tests.support.processes import Account, Program, Venue, held, room, sent_twice, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
BACKSTOP = "[backstop]\nenabled = true\n"
FOREVER_MS = 10**12


@asynccontextmanager
async def venue(wallet: str) -> AsyncIterator[tuple[Exchange, Venue]]:
    """Serve an exchange from here, so that its price moves when the test says so."""
    tape = Tape("said", [0, FOREVER_MS], [Decimal(67_000)] * 2)
    settings = Settings(tape, Keys("k" * 64, "s" * 64), wallet=Decimal(wallet))
    exchange = Exchange(settings, time.time_ns() // 1_000_000)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(exchange, port=0, ready=ready.set_result, stop=stop.wait))
    try:
        said: dict[str, Any] = await asyncio.wait_for(ready, 10)
        yield exchange, Venue(said, cast("Program", None))
    finally:
        stop.set()
        await task


async def rally(exchange: Exchange, to: int) -> None:
    """Raise the price in steps of a hundredth, each seen by the exchange's clock."""
    price = int(exchange.settings.tape.prices[0])
    while price < to:
        price += price // 100
        exchange.settings.tape.prices[:] = [Decimal(price)] * 2
        exchange.advance(time.time_ns() // 1_000_000)
        await asyncio.sleep(0)


async def test_a_killed_hedger_leaves_a_stop_that_closes_the_short_before_it_is_liquidated() -> None:
    with room() as folder:
        async with venue("400000") as (exchange, place):
            account = Account(folder, place, more=BACKSTOP)
            async with account.run("--no-web") as program:

                async def stopped() -> Any:
                    found = await account.hedged()
                    stops = found["hedges"][0]["stops"] if found is not None else []
                    resting = found is not None and all(row["status"] == "RESTING" for row in stops)
                    covered = sum(Decimal(row["quantity"]) for row in stops)
                    return found if resting and stops and covered == -Decimal(found["hedges"][0]["position"]) else None

                status = await until("a short with its stop", stopped)
                stop = status["hedges"][0]["stops"][0]
                low = Decimal(status["hedges"][0]["liquidation_price"]) / Decimal("1.1")
                assert abs(Decimal(stop["trigger_price"]) - low) < low / 100 and stop["age_ms"] >= 0
                doctor = await account.command("doctor", "--json")
                said = next(row for row in doctor.json()["checks"] if row["name"].endswith("backstop"))
                assert stop["client_order_id"] in said["found"] and stop["trigger_price"] in said["found"]
                await program.killed()
            await rally(exchange, 130_000)
            truth = await place.truth()
            assert held(truth) == {} and truth["liquidations"] == 0
            assert set(truth["rest_calls"]) <= ALLOWED_REST
            assert not sent_twice(truth) and set(truth["algo_posts"].values()) == {1}
            async with account.run("--no-web") as program:

                async def told() -> bool:
                    return "gone from the venue" in program.err

                await until("the stop that closed it is told", told)
                assert "external" not in program.err
                await program.stopped()


async def test_without_a_backstop_the_same_rally_liquidates_and_no_conditional_call_is_made() -> None:
    with room() as folder:
        async with venue("400000") as (exchange, place):
            account = Account(folder, place)
            async with account.run("--no-web") as program:
                await until("a short", account.hedged)
                await program.killed()
            assert not [call for call in (await place.truth())["rest_calls"] if "lgo" in call]
            await rally(exchange, 130_000)
            assert (await place.truth())["liquidations"] == 1
