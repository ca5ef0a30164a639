"""A real hedger under a service manager that only listens: what it is told, and when the watchdog is fed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.support.processes import Account, exchange, room, until


class Manager:
    """The socket that NOTIFY_SOCKET names."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.told: list[dict[str, str]] = []

    def read(self) -> list[dict[str, str]]:
        """Return everything told so far."""
        while True:
            try:
                text = self._socket.recv(65_536).decode()
            except BlockingIOError:
                return self.told
            self.told.append(dict(line.split("=", 1) for line in text.splitlines()))

    def heard(self, name: str) -> list[str]:
        """Return every value told for a name."""
        return [fields[name] for fields in self.read() if name in fields]


async def test_the_manager_hears_ready_status_watchdog_and_stopping() -> None:
    with room() as folder:
        manager = Manager(folder)
        async with exchange(folder, "--tape", "calm") as venue:
            env = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "3000000"}
            account = Account(folder, venue, env=env)
            async with account.run("--json") as program:
                await until("hedged", account.hedged)

                async def fed() -> bool:
                    return len(manager.heard("WATCHDOG")) >= 3

                await until("the watchdog is fed", fed)
                assert manager.heard("READY") == ["1"]

                async def live() -> bool:
                    return any("ACTIVE; book LIVE; BTCUSDT -10" in text for text in manager.heard("STATUS"))

                await until("the status says so", live)
                os.kill(program.pid, signal.SIGSTOP)
                try:
                    await asyncio.sleep(0.2)  # what was under way has arrived
                    before = len(manager.heard("WATCHDOG"))
                    await asyncio.sleep(2.5)
                    assert len(manager.heard("WATCHDOG")) == before, "a stopped loop feeds nothing"
                finally:
                    os.kill(program.pid, signal.SIGCONT)

                async def fed_again() -> bool:
                    return len(manager.heard("WATCHDOG")) > before

                await until("the watchdog is fed again", fed_again)
                await program.stopped()
        assert manager.heard("STOPPING") == ["1"]


WEDGEABLE = """
import signal, time
from streamhedge.live.loop_watch import LoopWatch
from streamhedge.__main__ import main

def wedge(*said):
    time.sleep(600)

LoopWatch.__init__.__kwdefaults__.update(wedged_s=1.0, dead_s=4.0)  # a test has less patience
signal.signal(signal.SIGUSR1, wedge)
main()
"""


@pytest.mark.fault("C4", "P12")
async def test_a_wedged_loop_ends_the_process_and_the_next_start_recovers() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run("--json", command=(sys.executable, "-c", WEDGEABLE)) as program:
                await until("hedged", account.hedged)
                program.send(signal.SIGUSR1)
                ended = await program.ended()
                assert ended.code == 1, "whoever started it starts it again"
                said = [json.loads(line) for line in ended.err.splitlines() if '"wedged"' in line]
                assert len(said) >= 2 and all(line["level"] == "critical" for line in said)
                assert all("wedge (" in line["text"] for line in said[-2:]), said
                assert said[-1]["text"].endswith("; ending")
            with contextlib.closing(sqlite3.connect(account.book)) as book:
                (ends,) = book.execute("SELECT ended FROM epoch").fetchone()
            assert ends.startswith("bug: "), "three of these in a row start halted"
            async with account.run("--json") as program:
                await until("hedged again", account.hedged)
                await program.stopped()
