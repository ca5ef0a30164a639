"""Bad input and broken surroundings: one clear error, the right exit code, nothing lost, nothing sent."""

from __future__ import annotations

import json
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.support.processes import DEMO, Account, Program, command, exchange, held, room, running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FILE_MOST = 640 * 1024
"""Beyond this a full disk begins: room for ledger and header, not for long."""


def one_error(err: str, *words: str) -> None:
    """Require one error line that says all the words, and no traceback."""
    assert "Traceback" not in err, err
    found = [line for line in err.splitlines() if line.lower().startswith("error")]
    assert len(found) == 1, err
    assert all(word in found[0] for word in words), (words, found[0])


@pytest.mark.fault("X6")
async def test_wrong_keys_are_refused_at_the_start() -> None:
    with room() as folder:
        async with exchange(folder) as venue:
            for name, wrong in (("secret", {"secret": "f" * 64}), ("key", {"key": "e" * 64})):
                own = folder / name
                own.mkdir()
                found = await Account(own, venue, **wrong).command("run", "--duration", "5s", ceiling_s=20)
                assert found.code == 4, (name, found.code, found.err[-2000:])
                assert "Traceback" not in found.err and "api" in found.err.lower()
            assert (await venue.truth())["wire_posts"] == {}


@pytest.mark.fault("K1")
async def test_a_missing_key_and_an_unknown_word_of_the_config() -> None:
    with room() as folder:
        async with exchange(folder) as venue:
            account = Account(folder, venue)
            account.env.pop("E2E_SECRET")
            found = await account.command("run", "--duration", "5s")
            assert found.code == 4, found.err
            one_error(found.err, "E2E_SECRET")
            (folder / "typo").mkdir()
            typo = Account(folder / "typo", venue, more="[limitz]\nmax_leverage = 5\n")
            found = await typo.command("run", "--duration", "5s")
            assert found.code == 4, found.err
            assert "limitz" in found.err and "limits" in found.err and "nothing was started" in found.err, found.err
            assert not (folder / "typo" / "state").exists(), "nothing was begun"


async def test_the_exchange_says_what_is_wrong_with_port_tape_and_fault() -> None:
    with room() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, said in (
            (("--port", port), (port, "--port")),
            (("--tape", str(folder / "none.csv")), ("none.csv", "crash-2021-05-19")),
            (("--fault", "Z9=x"), ("Z9=x", "ID=value")),
        ):
            found = await command(folder, "sim", *words)
            assert (found.code, found.out) == (4, ""), found
            one_error(found.err, *said)
        bad = folder / "bad.csv"
        bad.write_text("time_ms,price\n1,100\n0,100\n")
        found = await command(folder, "run", "--duration", "5s", "--tape", str(bad), "--state-dir", str(folder / "s"))
        assert found.code == 4 and "bad.csv:3" in found.err, found


async def test_what_is_no_recording_is_not_replayed() -> None:
    with room() as folder:
        (folder / "text.rec").write_text("dear diary\n")
        (folder / "packed.rec.zst").write_bytes(b"not zstandard")
        for name in ("text.rec", "packed.rec.zst", "missing.rec"):
            found = await command(folder, "replay", str(folder / name), "--json")
            assert found.code == 1, (name, found)
            one_error(found.err, name)


async def test_an_empty_file_is_no_recording() -> None:
    with room() as folder:
        (folder / "empty.rec").write_bytes(b"")
        found = await command(folder, "replay", str(folder / "empty.rec"), "--json")
        assert found.code == 1, found
        one_error(found.err, "empty.rec", "nothing to replay")


@pytest.mark.fault("S7")
async def test_a_malformed_private_frame_costs_a_resync() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run("--json") as program:
                await until("hedged", account.hedged)
                await venue.arm("S7=x")
                await until("the frame is quarantined", _says(program, "quarantined"))
                assert (await account.trade("buy", "50000", name="after")).code == 0
                await until("hedged", account.hedged)
                ended = await program.stopped()
            summary = ended.json()
            assert (ended.code, summary["pass"], summary["quarantined"]) == (0, True, 1), summary["reason"]
            books = [line["text"] for line in lines(program) if line["code"] == "book"]
            assert any("→ SUSPECT" in text for text in books) and "→ LIVE" in books[-1], books


def _full_disk() -> None:
    """No file of this process grows beyond FILE_MOST: writing fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MOST, FILE_MOST))


@pytest.mark.fault("P3")
async def test_a_full_disk_halts_and_sends_nothing_more() -> None:
    with room() as folder:
        # Marks a hundred times a second fill the recording soon.
        async with exchange(folder, "--tape", "calm", "--speed", "100") as venue:
            account = Account(folder, venue)
            async with account.run("--json", before=_full_disk) as program:
                await until("hedged", account.hedged)
                await until("the disk is full", _says(program, "halted"), ceiling_s=150)
                posts = dict((await venue.truth())["wire_posts"])
                status = await account.status()
                assert status is not None and status["trading_state"] == "HALTED", status
                # A float trade meanwhile is refused or booked, but no order leaves.
                trade = await account.trade("sell", "0.5", name="full")
                assert trade.code != 0, trade
                assert "Traceback" not in trade.err, trade.err
                assert (await venue.truth())["wire_posts"] == posts, "nothing is sent after the halt"
                ended = await program.stopped()
            assert ended.code != 0, "a run whose recording is not whole has not passed"
            halted = [line["text"] for line in lines(program) if line["code"] == "halted"]
            assert "recording" in halted[0] and "disk" in halted[0], halted
            assert "Traceback" not in ended.err, ended.err[-3000:]
            # The latch outlives the process; with space again, and a person's word, it hedges on.
            async with account.run("--json") as program:
                status = await until("live", _live(account))
                assert status["trading_state"] == "HALTED", status
                assert "recording" in status["trading_reasons"][0] and "disk" in status["trading_reasons"][0], status
                assert (await venue.truth())["wire_posts"] == posts, "HALTED sends nothing"
                assert (await account.command("resume", "--reason", "there is space again")).code == 0
                await until("hedged", account.hedged)
                trade = await account.trade("sell", "0.5", name="full")
                assert trade.code == 0 and trade.json()["duplicate"], "booked then, hedged now"
                assert held(await venue.truth()) == {"BTCUSDT": Decimal("-9.5")}
                ended = await program.stopped()
            assert (ended.code, ended.json()["pass"]) == (0, True), ended.json()["reason"]


def _live(account: Account) -> Callable[[], Awaitable[dict[str, Any] | None]]:
    async def found() -> dict[str, Any] | None:
        status = await account.status()
        return status if status is not None and status["book_status"] == "LIVE" else None

    return found


DRIVER = """
import asyncio, os, sys
from pathlib import Path
from streamhedge.live.hedger import Hedger, endpoints_of
from streamhedge.settings.config import load_config
from streamhedge.settings.secrets import Secret

class Planted(Hedger):
    def _observe(self, reaction, recv_ns):
        super()._observe(reaction, recv_ns)
        if any(note.code == "filled" for note in reaction.notes):
            raise RuntimeError("planted behind the pump")

async def main():
    config = load_config([Path(name) for name in sys.argv[2:]], (), os.environ)
    async with Planted(
        config,
        endpoints=endpoints_of(config),
        api_key=Secret(os.environ["E2E_KEY"]),
        api_secret=Secret(os.environ["E2E_SECRET"]),
        state_dir=Path(sys.argv[1]),
    ):
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.fault("P6")
async def test_an_exception_in_the_pump_ends_the_process() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            (folder / "driver.py").write_text(DRIVER)
            words = (str(account.state_dir), str(DEMO), str(account.config))
            async with running(
                folder, *words, env=account.env, command=(sys.executable, str(folder / "driver.py"))
            ) as program:
                ended = await program.ended()
            assert ended.code != 0
            assert "planted behind the pump" in ended.err, ended.err[-3000:]
            # Three slices were to be sold; the first fill ended it: nothing is decided on a state nobody understands.
            posts = (await venue.truth())["wire_posts"]
            assert 1 <= len(posts) <= 2, posts
            # The orders it had made are known to the ledger of the next start, which hedges on.
            async with account.run("--json") as program:
                await until("hedged", account.hedged)
                ended = await program.stopped()
            assert (ended.code, ended.json()["pass"]) == (0, True), ended.json()["reason"]
            assert set((await venue.truth())["wire_posts"]) > set(posts)


def _says(program: Program, code: str) -> Callable[[], Awaitable[bool]]:
    async def said() -> bool:
        assert program.running, program.err[-3000:]
        return f'"code":"{code}"' in program.err

    return said


def lines(program: Program) -> list[dict[str, str]]:
    """Return the JSON lines of stderr."""
    return [json.loads(line) for line in program.err.splitlines() if line.startswith("{")]
