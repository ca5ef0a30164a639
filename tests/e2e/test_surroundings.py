"""What a hedger needs from its host and does not get: disk, file descriptors, a reader, its own tasks.

It says what is missing, sends nothing it cannot remember, and hedges again once the host is well.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.books import LIMITS, hedged
from tests.support.processes import (
    REPOSITORY,
    Account,
    environment,
    exchange,
    held,
    room,
    running,
    until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FULL = "cannot be written"


def texts(err: str, code: str) -> list[str]:
    """Return the texts of the hedger's lines of one code."""
    said = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    return [line["text"] for line in said if line["code"] == code]


async def state(account: Account) -> str:
    """Return the trading state; empty when nobody answers."""
    status = await account.status()
    return str(status["trading_state"]) if status is not None else ""


# ---------------------------------------------------------------- disk


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of a few megabytes for the block."""
    folder.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "streamhedge-test", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, timeout=20, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user may mount no disk of its own; test_bad_input fills one by a limit on file sizes")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, timeout=20, check=False)


def fill(path: Path) -> None:
    """Write until there is no space left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC, error


@pytest.mark.fault("P3")
async def test_a_full_disk_halts_and_with_space_again_it_hedges_on() -> None:
    with room() as folder, small_disk(folder / "disk") as disk:
        async with exchange(folder, "--tape", "calm", "--speed", "20") as venue:
            account = Account(folder, venue, state=disk / "state", sets=LIMITS)
            async with account.run("--json") as program:
                await hedged(account)
                fill(disk / "ballast")

                async def halted() -> bool:
                    assert program.running, program.err[-3000:]
                    return await state(account) == "HALTED"

                await until("HALTED", halted)
                posts = (await venue.truth())["wire_posts"]
                status = await account.status()
                assert status is not None and FULL in status["trading_reasons"][0], status
                # Nothing is sent, a trade is booked for good or refused, no word gets it going while there is no memory.
                answers = [
                    await account.ask(verb="trade", id=f"full-{n}", kind="sell", amount="0.01") for n in range(30)
                ]
                assert all(answer is not None for answer in answers), program.err[-3000:]
                booked = [answer for answer in answers if answer is not None and "recorded" in answer]
                refused = [str(answer["error"]) for answer in answers if answer is not None and "error" in answer]
                assert len(booked) + len(refused) == 30 and refused, answers
                assert all("nothing was written" in text for text in refused), refused
                await venue.external("0.25")
                await until("the other trade is seen", _position(account, "-9.75"))
                resumed = await account.command("resume", "--reason", "never mind")
                assert resumed.code != 0 and "nothing was changed" in resumed.err, resumed
                assert await state(account) == "HALTED"
                assert (await venue.truth())["wire_posts"] == posts
                # Kill needs no disk: the process ends, and what could not be written is said.
                killed = await account.command("kill", "--reason", "disk full", "--json")
                report = json.loads(killed.out)
                assert "ended by" in report["process"] and "Traceback" not in killed.err, report
                assert report["halted"] or any("not latched" in text for text in report["problems"]), report
                await program.ended()
            assert texts(program.err, "halted"), program.err[-2000:]
            (disk / "ballast").unlink()
            async with account.run("--json") as program:
                await until("live", _live(account))
                if await state(account) == "HALTED":
                    assert (await account.command("resume", "--reason", "there is space again")).code == 0
                await hedged(account)
                for number in range(30):
                    answer = await account.ask(verb="trade", id=f"full-{number}", kind="sell", amount="0.01")
                    assert answer is not None and answer["recorded"], answer
                await hedged(account)
                assert held(await venue.truth()) == {"BTCUSDT": Decimal("-9.7")}, "each of them once"
                ended = await program.stopped()
            assert (ended.code, ended.json()["pass"]) == (0, True), ended.json()["reason"]


@pytest.mark.fault("P3")
async def test_a_recording_that_broke_is_not_traded_without() -> None:
    with room() as folder, small_disk(folder / "disk") as disk:
        async with exchange(folder, "--tape", "calm", "--speed", "20") as venue:
            account = Account(folder, venue, state=disk / "state")
            async with account.run("--json") as program:
                await hedged(account)
                fill(disk / "ballast")
                await until("HALTED", lambda: _is(account, "HALTED"))
                (disk / "ballast").unlink()
                # The latch is written as soon as it can be; this run records nothing any more, so it trades no more.
                resumed = await account.command("resume", "--reason", "there is space again")
                assert resumed.code == 2 and "restart" in resumed.err, resumed
                assert await state(account) == "HALTED"
                await program.stopped()
            async with account.run("--json") as program:
                status = await until("live", _live(account))
                assert status["trading_state"] == "HALTED" and FULL in status["trading_reasons"][0], status
                assert (await account.command("resume", "--reason", "there is space again")).code == 0
                assert (await account.trade("sell", "0.5", name="after")).code == 0
                await hedged(account)
                await program.stopped()


async def _is(account: Account, wanted: str) -> bool:
    return await state(account) == wanted


def _position(account: Account, wanted: str) -> Callable[[], Awaitable[bool]]:
    async def found() -> bool:
        status = await account.status()
        return status is not None and status["hedges"][0]["position"] == wanted

    return found


def _live(account: Account) -> Callable[[], Awaitable[dict[str, Any] | None]]:
    async def found() -> dict[str, Any] | None:
        status = await account.status()
        return status if status is not None and status["book_status"] == "LIVE" else None

    return found


# ---------------------------------------------------------------- file descriptors


STANDARD = 3
"""Descriptors that are always taken: input and the two outputs."""


@pytest.mark.fault("P5")
async def test_without_file_descriptors_it_stays_up_and_says_so() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm", "--speed", "4") as venue:
            account = Account(folder, venue)
            async with account.run("--json") as program:
                await hedged(account)
                before = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
                # What is open stays open; below this number nothing becomes free, so nothing more can be opened.
                resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (STANDARD, before[1]))
                await venue.arm("S3=market,S3=private,S3=ws_api")

                async def said() -> bool:
                    assert program.running, program.err[-3000:]
                    return any("no connection" in text for text in texts(program.err, "reconnect"))

                await until("it says that it cannot connect", said)
                await venue.external("0.5")
                resource.prlimit(program.pid, resource.RLIMIT_NOFILE, before)
                await until("hedged again", account.hedged)
                ended = await program.stopped()
            assert (ended.code, ended.json()["pass"]) == (0, True), ended.json()["reason"]
            assert "Traceback" not in ended.err, ended.err[-3000:]


# ---------------------------------------------------------------- a reader that reads nothing


FEW_WAIT = """
import sys
from streamhedge.ops.cli import main
from streamhedge.ops.lines import Lines

Lines.__init__.__kwdefaults__["waiting_most"] = 16
main(sys.argv[1:])
"""


@pytest.mark.fault("P9")
async def test_nobody_reads_what_it_says() -> None:
    with room() as folder:
        (folder / "few.py").write_text(FEW_WAIT)
        async with exchange(folder, "--tape", "calm", "--speed", "4") as venue:
            account = Account(folder, venue)
            out_near, out_far = os.pipe()
            err_near, err_far = os.pipe()
            fcntl.fcntl(err_far, fcntl.F_SETPIPE_SZ, 4096)
            _stuff(out_far)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(folder / "few.py"), *account.words("run", "--json")),
                cwd=REPOSITORY,
                env=environment(folder, account.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out_far,
                stderr=err_far,
                start_new_session=True,
            )
            os.close(out_far)
            os.close(err_far)
            try:
                await until("hedged", account.hedged)
                for _ in range(60):
                    await _say_something(account)
                trade = await account.trade("sell", "0.5", name="unread")
                assert trade.code == 0, trade
                await until("hedged", account.hedged)
                reading = [asyncio.create_task(asyncio.to_thread(_all_of, end)) for end in (out_near, err_near)]
                await asyncio.sleep(0.5)
                assert (await account.trade("buy", "20000", name="read")).code == 0
                process.send_signal(15)
                await asyncio.wait_for(process.wait(), 60)
                out, err = await asyncio.gather(*reading)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
                os.close(out_near)
                os.close(err_near)
    assert json.loads(out.splitlines()[-1])["positions"]["BTCUSDT"].startswith("-9."), out[-500:]
    (told,) = texts(err, "dropped")
    assert int(told.split()[0]) > 0 and "the reader did not keep up" in told, told


def _stuff(end: int) -> None:
    """Fill a pipe to its brim."""
    os.set_blocking(end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(end, b"\n" * 4096)
    os.set_blocking(end, True)


async def _say_something(account: Account) -> None:
    """Have the hedger write one line that changes nothing."""
    answer = await account.ask(verb="resume", symbol="BTCUSDT", reason="nobody reads this")
    assert answer is not None and "error" not in answer, answer


def _all_of(end: int) -> str:
    found = b""
    while part := os.read(end, 65_536):
        found += part
    return found.decode("utf-8", "replace")


# ---------------------------------------------------------------- a task that dies

PLANT = """
import importlib, sys
from streamhedge.ops.cli import main

place, name = sys.argv[1].rsplit(".", 1)
module, kind = place.rsplit(".", 1)
owner = getattr(importlib.import_module(module), kind)
real = getattr(owner, name)
calls = 0

async def planted(*said, **named):
    global calls
    calls += 1
    if calls > int(sys.argv[2]):
        raise RuntimeError("planted in " + name)
    return await real(*said, **named)

setattr(owner, name, planted)
main(sys.argv[3:])
"""
TASKS = {
    "streamhedge.live.machine.Machine._tick": 0,
    "streamhedge.live.hands.Hands._stream": 1,
    "streamhedge.live.hands.Hands._call": 1,
    "streamhedge.live.hands.Hands._place": 1,
    "streamhedge.live.hands.Hands._set_up": 0,
}
"""Each kind of task that a hedger cannot be without, and how often it works before it dies."""


@pytest.mark.fault("P6")
async def test_a_task_that_dies_ends_the_process_and_is_named() -> None:
    async def one(place: str, works: int) -> None:
        with room() as folder:
            (folder / "plant.py").write_text(PLANT)
            async with exchange(folder, "--tape", "calm") as venue:
                account = Account(folder, venue)
                words = (str(folder / "plant.py"), place, str(works), *account.words("run", "--json"))
                async with running(folder, *words, env=account.env, command=(sys.executable,)) as program:
                    ended = await program.ended()
            name = place.rsplit(".", 1)[1]
            assert ended.code not in (0, None) and f"planted in {name}" in ended.err, (place, ended)

    await asyncio.gather(*(one(place, works) for place, works in TASKS.items()))
