"""What it costs to be looked at: orders with page, metrics, attach and recording on over all off, and readers' CPU.

Everything on is what `run` serves: lines, page with a browser's feed, metrics scraped each second, the control socket
with a reader that runs the whole book, and the recording. Off is the same process with none of it. Both take turns in
short blocks of one hedger's life, so that what differs between two processes or two minutes is in both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from scripts.benchmark.orders import MARKS, WARM, answered, endpoints_at, serve_venue
from scripts.benchmark.processes import CEILING_S, apart, standing
from scripts.benchmark.rig import KEY, SECRET, SETS
from scripts.benchmark.rows import share
from streamhedge.live.attach import attach
from streamhedge.live.hedger import Hedger
from streamhedge.ops.control import served as socket_served
from streamhedge.ops.control import socket_path
from streamhedge.ops.lines import Lines
from streamhedge.ops.metrics import figures, rendered
from streamhedge.ops.web.server import served as page_served
from streamhedge.ops.web.watch import Watch
from streamhedge.ops.words import Words
from streamhedge.settings.config import load_config
from streamhedge.settings.secrets import Secret
from streamhedge.store.journal import JournalWriter

READERS = 10
SCRAPED_S = 1.0
PAIRS = 4
"""Blocks of each kind in a round."""
APART_S = 0.09
"""From one order to the next, over a block: half of the 300 that the venue takes in 10 s is what a hedger uses."""
Blocks = list[list[float]]
"""By block, the µs of its orders."""


class Watched(Hedger):
    """A hedger whose notes reach lines and page, as in `run`, and whose inputs are recorded, while it is ``seen``."""

    def __init__(self, *said: Any, **more: Any) -> None:
        self.seen = True
        self.watch = Watch()
        self.lines = Lines(json=True, out=Path(os.devnull).open("w"))  # noqa: SIM115 - as long as the process
        super().__init__(*said, **more, on_notes=self._heard)
        self.watch.hedger = self

    def _heard(self, notes: Any, recv_ns: int) -> None:
        if self.seen:
            self.lines.notes(notes, recv_ns)
            self.watch.notes(notes, recv_ns)

    def _journal(self, name: str) -> JournalWriter:
        journal = super()._journal(name)
        append = journal.append

        def appended(recv_ns: int, source: str, payload: bytes) -> None:
            if self.seen:
                append(recv_ns, source, payload)

        journal.append = appended  # type: ignore[method-assign]
        return journal


@contextlib.asynccontextmanager
async def all_on(hedger: Watched) -> AsyncIterator[None]:
    """Record, serve page, metrics and socket, with one reader of each in a process of its own."""
    name = f"{hedger.venue}-{hedger.account}"
    async with (
        socket_served(name, Words(hedger).answer),
        page_served(hedger.watch, host="127.0.0.1", port=0, token=None) as address,
    ):
        sampling = asyncio.create_task(_sampled(hedger))
        async with reading("follow", str(socket_path(name)), "1"), reading("look", address), reading("scrape", address):
            hedger.seen = True
            try:
                yield
            finally:
                hedger.seen = False
                sampling.cancel()


async def _sampled(hedger: Watched) -> None:
    while True:
        hedger.watch.sample(hedger.clock.now_ns())
        await asyncio.sleep(1.0)


@contextlib.asynccontextmanager
async def reading(*words: str) -> AsyncIterator[None]:
    """Run one of the readers below in a process of its own, from its first look on."""
    reader = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.benchmark.watching", *words), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert reader.stdout is not None
        assert await asyncio.wait_for(reader.stdout.readline(), CEILING_S / 4) == b"reads\n", words
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            reader.kill()
        await reader.wait()


async def follow(path: str, books: str) -> None:
    """Attach so many books and keep them."""
    async with contextlib.AsyncExitStack() as kept:
        for _ in range(int(books)):
            await kept.enter_async_context(attach(path))
        print("reads", flush=True)
        await asyncio.Event().wait()


async def look(address: str) -> None:
    """Read the page's feed, as a browser does."""
    async with aiohttp.ClientSession(trust_env=False) as session, session.get(f"{address}/feed") as feed:
        assert feed.status == 200, feed.status
        await feed.content.readany()
        print("reads", flush=True)
        async for _ in feed.content.iter_any():
            pass


async def scrape(address: str) -> None:
    """Scrape the metrics each second."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        while True:
            async with session.get(f"{address}/metrics") as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()
            print("reads", flush=True)
            await asyncio.sleep(SCRAPED_S)


def latencies(tell: Callable[[dict[str, Blocks]], None], host: str, folder: Path, orders: int) -> None:
    """Tell the µs from mark to order of a hedger, in blocks with all of it on and as many with all off, in turns."""

    async def run() -> dict[str, Blocks]:
        keys = {"api_key": Secret(KEY), "api_secret": Secret(SECRET)}
        hedger = Watched(load_config([], SETS, {}), endpoints=endpoints_at(host), **keys, state_dir=folder)
        found: dict[str, Blocks] = {"off": [], "on": []}
        async with hedger, aiohttp.ClientSession(trust_env=False) as session:
            await hedger.book.live(30)
            hedger.seen = False
            for number in range(PAIRS):
                for kind in ("off", "on") if number % 2 == 0 else ("on", "off"):
                    over = asyncio.create_task(asyncio.sleep(APART_S * (orders + WARM)))
                    async with all_on(hedger) if kind == "on" else contextlib.nullcontext():
                        taken = await answered(hedger, session, host, MARKS, orders + WARM)
                        found[kind].append(taken[WARM:])
                    await over
        return found

    tell(uvloop.run(run()))


def ratios(blocks: dict[str, Blocks], percent: int) -> dict[str, float]:
    """Return what all on costs over all off at a percentile, and where nine of ten such runs would find the ratio."""

    def over(numbers: Sequence[int]) -> float:
        on, off = ([us for number in numbers for us in blocks[kind][number]] for kind in ("on", "off"))
        return share(on, percent) / share(off, percent)

    pairs = range(len(blocks["on"]))
    chance = random.Random(1)
    again = [over(chance.choices(pairs, k=len(pairs))) for _ in range(400)]
    return {"ratio": over(pairs), "least": share(again, 5), "most": share(again, 95)}


def spent(tell: Callable[[dict[str, float]], None], host: str, folder: Path, seconds: float) -> None:
    """Tell the CPU of a hedger without readers, with them, and without again, each for so long under the same load."""

    async def run() -> dict[str, float]:
        keys = {"api_key": Secret(KEY), "api_secret": Secret(SECRET)}
        hedger = Hedger(load_config([], SETS, {}), endpoints=endpoints_at(host), **keys, state_dir=folder)
        name = f"{hedger.venue}-{hedger.account}"

        async def window() -> tuple[float, int]:
            cpu, seq, began = time.process_time(), hedger.core.state.seq, time.monotonic()
            await asyncio.sleep(seconds)
            return (time.process_time() - cpu) / (time.monotonic() - began), hedger.core.state.seq - seq

        async with hedger, socket_served(name, Words(hedger).answer):
            await hedger.book.live(30)
            await asyncio.sleep(1.0)
            before, inputs = await window()
            async with reading("follow", str(socket_path(name)), str(READERS)):
                await asyncio.sleep(0.5)
                read, _ = await window()
            await asyncio.sleep(0.5)
            after, _ = await window()
        return {"without": (before + after) / 2, "with": read, "inputs": inputs / seconds}

    tell(uvloop.run(run()))


def scraped(tell: Callable[[dict[str, float]], None], host: str, folder: Path, count: int) -> None:
    """Tell the CPU of a scrape: what the loop copies, and the text that a thread makes of it beside the loop."""

    async def run() -> dict[str, float]:
        keys = {"api_key": Secret(KEY), "api_secret": Secret(SECRET)}
        hedger = Watched(load_config([], SETS, {}), endpoints=endpoints_at(host), **keys, state_dir=folder)
        copied, written = [], []
        async with hedger:
            await hedger.book.live(30)
            for _ in range(count):
                began = time.thread_time_ns()
                found = figures(hedger.watch)
                copied.append((time.thread_time_ns() - began) / 1e3)
                began = time.thread_time_ns()
                rendered(found)
                written.append((time.thread_time_ns() - began) / 1e3)
                await asyncio.sleep(0.01)
        return {"loop_us": share(copied, 50), "loop_p99_us": share(copied, 99), "text_us": share(written, 50)}

    tell(uvloop.run(run()))


def measure(orders: int, rounds: int, seconds: dict[int, float], fresh: Callable[[], Path]) -> dict[str, Any]:
    """Return latencies with all on and all off, their ratios, and the hedger's CPU with and without readers.

    Args:
        orders: How many in a block.
        rounds: How many hedgers, each with as many blocks on as off.
        seconds: By marks a second, how long CPU is counted.
        fresh: Makes a folder.
    """
    blocks: dict[str, Blocks] = {"off": [], "on": []}
    for _ in range(rounds):
        with standing(serve_venue) as host:
            for kind, taken in apart(latencies, host, fresh(), orders).items():
                blocks[kind] += taken
    spends = []
    for marks, length in seconds.items():
        with standing(serve_venue, marks) as host:
            spends.append({"marks": marks, **apart(spent, host, fresh(), length)})
    with standing(serve_venue, 1) as host:
        scrape_us = apart(scraped, host, fresh(), orders * 5)
    return {
        "scrape": scrape_us,
        "latency": [
            {
                "percent": percent,
                **{f"{kind}_us": share([us for block in blocks[kind] for us in block], percent) for kind in blocks},
                **ratios(blocks, percent),
            }
            for percent in (50, 90, 99)
        ],
        "readers": READERS,
        "cpu": [
            {**row, "points": 100 * (row["with"] - row["without"]), "ratio": row["with"] / row["without"]}
            for row in spends
        ],
    }


def shown(console: Console, found: dict[str, Any]) -> None:
    """Print both tables, as a README takes them."""
    table = Table(box=box.MARKDOWN)
    for name in ("mark price → order on the wire", "all off, µs", "all on, µs", "on ÷ off", "nine of ten"):
        table.add_column(name, justify="right")
    for row in found["latency"]:
        us = (f"{row[name]:,.0f}" for name in ("off_us", "on_us"))
        table.add_row(f"p{row['percent']}", *us, f"{row['ratio']:.2f}", f"{row['least']:.2f} to {row['most']:.2f}")
    console.print(table)
    us = found["scrape"]
    console.print(
        f"a scrape: {us['loop_us']:.0f} µs of the loop (p99 {us['loop_p99_us']:.0f}), {us['text_us']:.0f} µs of a thread\n"
    )
    table = Table(box=box.MARKDOWN)
    many = f"with {found['readers']} books attached"
    for name in ("marks a second", "inputs a second", "CPU of the hedger", many, "more", "times"):
        table.add_column(name, justify="right")
    for row in found["cpu"]:
        cpus = (f"{100 * row[name]:.2f} %" for name in ("without", "with"))
        table.add_row(
            f"{row['marks']}", f"{row['inputs']:.0f}", *cpus, f"{row['points']:.2f} points", f"{row['ratio']:.2f}"
        )
    console.print(table)


if __name__ == "__main__":
    uvloop.run({"follow": follow, "look": look, "scrape": scrape}[sys.argv[1]](*sys.argv[2:]))
