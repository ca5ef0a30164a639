"""Signals at the worst moment: stopped and continued, asked to end, hung up on, interrupted twice, killed while stopped.

Whatever comes, no order is lost or sent twice, and what a signal ends says what it leaves behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import signal
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from streamhedge.store.ledger import Ledger
from tests.e2e.books import LIMITS, Clients, Trade, hedged, in_doubt, intents
from tests.e2e.proxy import Relay, relay
from tests.support.processes import REPOSITORY, Account, Ended, Program, environment, exchange, room, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(slots=True)
class Bench:
    """One account behind a relay, and its client."""

    account: Account
    between: Relay
    clients: Clients
    again: list[Trade] = field(default_factory=list)
    """Trades without an acknowledgement: to be asked again."""

    def hand_over(self) -> asyncio.Task[None]:
        """Hand a float trade to the running process; its acknowledgement is taken when it comes."""
        return asyncio.create_task(self._ask(self.clients.next()))

    async def _ask(self, trade: Trade) -> None:
        answer = await self.account.ask(verb="trade", id=trade.name, kind=trade.kind, amount=trade.amount)
        if answer is not None and answer.get("recorded"):
            self.clients.told(trade, answer)
        else:
            self.again.append(trade)

    async def order_held(self) -> asyncio.Task[None]:
        """Hand a float trade over and hold its order on its way."""
        self.between.passes.clear()
        asking = self.hand_over()
        await until("an order on its way", self._under_way)
        return asking

    async def _under_way(self) -> bool:
        return self.between.under_way > 0

    async def compare(self) -> None:
        """Ask again for what was not acknowledged, then hold the books against the exchange."""
        for trade in [self.again.pop() for _ in list(self.again)]:
            await self._ask(trade)
        assert not self.again, self.again
        await hedged(self.account)
        await self.clients.compare(self.account)
        assert (self.clients.doubled, self.clients.lost) == (set(), [])


@pytest.fixture
async def bench(seed: int) -> AsyncIterator[Bench]:
    """Serve an exchange behind a relay."""
    with room() as folder:
        async with exchange(folder, "--tape", "calm", "--speed", "4") as venue, relay(venue) as between:
            account = Account(folder, venue, endpoints=between.endpoints, sets=LIMITS)
            yield Bench(account, between, Clients(random.Random(seed)))


def lines(program: Program, code: str) -> list[str]:
    """Return the texts of the hedger's lines of one code."""
    said = [json.loads(line) for line in program.err.splitlines() if line.startswith("{")]
    return [line["text"] for line in said if line["code"] == code]


def in_order(program: Program, ended: Ended) -> None:
    """Require an orderly end: one closing line that names the position left behind, and no traceback."""
    assert ended.code == 0, (ended.code, ended.err[-3000:])
    (last,) = lines(program, "stop")
    assert "BTCUSDT -" in last, last
    assert "Traceback" not in ended.err, ended.err[-3000:]


# ---------------------------------------------------------------- stopped and continued


@pytest.mark.fault("C3", "C4")
async def test_a_process_that_was_stopped_comes_back_as_from_a_crash(bench: Bench) -> None:
    async with bench.account.run("--json") as program:
        await hedged(bench.account)
        asking = await bench.order_held()
        program.send(signal.SIGSTOP)
        await asyncio.sleep(5)
        program.send(signal.SIGCONT)

        async def doubted() -> bool:
            status = await bench.account.status()
            return status is not None and bool(status["hedges"][0]["in_doubt"])

        await until("what was in flight is in doubt", doubted)
        assert len(await _posts(bench)) == len(intents(bench.account)) - 1, "nothing else is sent meanwhile"
        assert not lines(program, "wedged"), "a process that was stopped is not wedged"
        (gap,) = lines(program, "clock")
        assert "treated as a crash" in gap
        books = lines(program, "book")
        assert any("→ SUSPECT: clock gap" in text for text in books), books
        bench.between.passes.set()
        await asking
        await bench.compare()
        # Stopped right after a trade, wherever that is between decision and order, for longer than the window an order
        # names: only what had passed its last look at the deadline may still leave, and the exchange refuses it.
        late: list[str] = []
        for _ in range(6):
            asking = bench.hand_over()
            await asyncio.sleep(bench.clients.chance.uniform(0.0, 0.006))
            program.send(signal.SIGSTOP)
            stopped_ns = time.time_ns()
            await asyncio.sleep(2.2)
            continued_ns = time.time_ns()
            program.send(signal.SIGCONT)
            await asking
            await bench.compare()
            late += [
                bench.between.answered.get(order.client_order_id, "on its way")
                for order in intents(bench.account)
                if order.decided_ns < stopped_ns
                and bench.between.arrived_ns.get(order.client_order_id, 0) > continued_ns
            ]
        assert all('"code":-1021' in answer for answer in late) and len(late) <= 1, (
            "decided before the gap, sent after it"
        )
        in_order(program, await program.stopped())


async def _posts(bench: Bench) -> dict[str, int]:
    return dict((await bench.account.venue.truth())["wire_posts"])


# ---------------------------------------------------------------- asked to end


@pytest.mark.fault("P7")
async def test_it_ends_in_order_wherever_it_is_asked_to(bench: Bench) -> None:
    chance = bench.clients.chance
    for moment in ("starting", "idle", "trade", "in flight", "in doubt"):
        async with bench.account.run("--json") as program:
            if moment == "starting":
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                ended = await program.stopped()
                assert ended.code in (0, -signal.SIGTERM), ended
                assert "Traceback" not in ended.err and len(lines(program, "stop")) <= 1, ended.err
                continue
            await hedged(bench.account)
            await bench.compare()
            asking = await _brought_to(bench, moment)
            program.send(signal.SIGTERM)
            await asyncio.sleep(0.2)
            bench.between.passes.set()
            in_order(program, await program.ended())
            if asking is not None:
                await asking
    async with bench.account.run("--json") as program:
        await hedged(bench.account)
        await bench.compare()
        in_order(program, await program.stopped())


async def _brought_to(bench: Bench, moment: str) -> asyncio.Task[None] | None:
    if moment == "trade":
        asking = bench.hand_over()
        await asyncio.sleep(bench.clients.chance.uniform(0.0, 0.01))
        return asking
    if moment == "in flight":
        return await bench.order_held()
    if moment == "in doubt":
        await bench.account.venue.arm("O1=executed,O6=1500,U8=x*4")
        asking = bench.hand_over()

        async def doubted() -> bool:
            return bool(in_doubt(bench.account))

        await until("an order in doubt", doubted)
        return asking
    return None


@pytest.mark.fault("P7", "P9")
async def test_a_hang_up_and_a_reader_that_has_gone(bench: Bench) -> None:
    # A terminal that closes hangs up on what runs in it, and takes no word any more.
    async with _on_a_terminal(bench.account) as (process, hang_up):
        await hedged(bench.account)
        hang_up()
        assert await asyncio.wait_for(process.wait(), 30) in (0, 1), "it ended by itself, and by no signal"
    assert in_doubt(bench.account) == []
    assert _ended(bench.account) == "stopped"
    # `run 2>&1 | head -1`: the reader goes, the hedger goes on.
    near, far = os.pipe()
    process = await _spawned(bench.account, far)
    os.close(far)
    try:
        await hedged(bench.account)
        os.close(near)
        asking = bench.hand_over()
        await asking
        await bench.compare()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) in (0, 1)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert _ended(bench.account) == "stopped"


def _ended(account: Account) -> str | None:
    """Return how the ledger says the last run ended; None: it was killed."""
    with contextlib.closing(Ledger(account.book, read_only=True)) as ledger:
        return str(ledger.epochs()[-1]["ended"])


@contextlib.asynccontextmanager
async def _on_a_terminal(account: Account) -> AsyncIterator[tuple[asyncio.subprocess.Process, Callable[[], None]]]:
    """Run the hedger in a terminal of its own; yield it and what closes the terminal."""
    near, far = os.openpty()
    loop = asyncio.get_running_loop()
    loop.add_reader(near, lambda: os.read(near, 65_536))
    process = await _spawned(account, far, lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0))
    os.close(far)
    shut = False

    def hang_up() -> None:
        nonlocal shut
        if not shut:
            shut = True
            loop.remove_reader(near)
            os.close(near)

    try:
        yield process, hang_up
    finally:
        hang_up()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _spawned(
    account: Account, out: int, before: Callable[[], object] = lambda: None
) -> asyncio.subprocess.Process:
    """Run the hedger with both outputs in one descriptor, as the leader of a session."""

    def prepared() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup says to ignore it
        before()

    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamhedge", *account.words("run")),
        cwd=REPOSITORY,
        env=environment(account.folder, account.env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        start_new_session=True,
        preexec_fn=prepared,
    )


# ---------------------------------------------------------------- ended at once


@pytest.mark.fault("P7", "P1")
async def test_a_second_interrupt_and_a_kill_while_stopped_leave_the_truth_in_the_books(bench: Bench) -> None:
    async with bench.account.run("--json") as program:
        await hedged(bench.account)
        asking = await bench.order_held()
        program.send(signal.SIGINT)
        await until("it stops taking words", lambda: _silent(bench.account))
        assert program.running, "it waits for the order that is on its way"
        program.send(signal.SIGINT)
        ended = await program.ended()
        assert (ended.code, ended.out) == (130, ""), ended
        assert "Traceback" not in ended.err, ended.err[-2000:]
        assert len(in_doubt(bench.account)) == 1, "the ledger knows that it left"
        bench.between.passes.set()
        await asking
    async with bench.account.run("--json") as program:
        await hedged(bench.account)
        await bench.compare()
        asking = await bench.order_held()
        program.send(signal.SIGSTOP)
        bench.between.passes.set()
        killed = await bench.account.command("kill", "--reason", "drill", "--json")
        report = json.loads(killed.out)
        assert report["halted"] and "SIGKILL" in report["process"], report
        assert (await program.ended()).code == -signal.SIGKILL
        await asking
    async with bench.account.run("--json") as program:
        posts = await _posts(bench)
        status = await until("live", lambda: _live(bench.account))
        assert status["trading_state"] == "HALTED" and "drill" in status["trading_reasons"][0], status
        await until("the order is settled", lambda: _settled(bench.account))
        assert await _posts(bench) == posts, "HALTED sends nothing"
        assert (await bench.account.command("resume", "--reason", "the drill is over")).code == 0
        await hedged(bench.account)
        await bench.compare()
        in_order(program, await program.stopped())


async def _silent(account: Account) -> bool:
    return await account.status() is None


async def _live(account: Account) -> dict[str, Any] | None:
    status = await account.status()
    return status if status is not None and status["book_status"] == "LIVE" else None


async def _settled(account: Account) -> bool:
    return not in_doubt(account)
