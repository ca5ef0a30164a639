"""Callers that give up, and machines that end, while something is being written."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from streamhedge.store.ledger import Ledger
from tests.support.machines import hedger, venue


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep locks and sockets away from whatever else runs here."""
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))


async def test_a_caller_that_gives_up_while_a_halt_is_written_has_halted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = asyncio.Event()
    loop = asyncio.get_running_loop()
    write = Ledger.set_state

    def slow_disk(self: Ledger, key: str, fields: dict[str, object]) -> None:
        loop.call_soon_threadsafe(writing.set)
        time.sleep(0.2)
        write(self, key, fields)

    async with venue() as ready, hedger(tmp_path, ready) as machine:
        await machine.book.live(20)
        monkeypatch.setattr(Ledger, "set_state", slow_disk)
        call = asyncio.create_task(machine.halt("stop"))
        await asyncio.wait_for(writing.wait(), 5)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        async with asyncio.timeout(5):
            while "halted" not in machine.ledger.states():
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert machine.core.state.halted is not None, "the ledger says HALTED, and orders go on being sent"


async def test_a_machine_that_ends_leaves_nobody_waiting(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.sleep(60)

    async with venue() as ready:
        machine = hedger(tmp_path, ready)
        with contextlib.suppress(RuntimeError):
            async with machine:
                waiting = asyncio.create_task(machine._machine.finished(work()))
                await asyncio.wait_for(started.wait(), 5)
                machine._machine.fail(RuntimeError("a bug in the pump"))
                await asyncio.sleep(5)
        done, _ = await asyncio.wait([waiting], timeout=2)
        waiting.cancel()
        assert done, "the control socket's caller, or a program's task, never returns"
