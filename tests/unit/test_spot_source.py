"""A hedger that follows the spot account of a served exchange: every fill is booked once, whatever the connection does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamhedge import Hedger
from streamhedge.domain.commands import Level, Note
from streamhedge.domain.events import FloatTrade
from streamhedge.live import spot
from streamhedge.live.recordings import replay_files
from streamhedge.live.trades import SetFloat
from tests.support.machines import hedger, venue

D = Decimal
SPOT = '[spot]\nsymbols = ["BTCUSDT"]\n'
CEILING_S = 30


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for the past often, come back soon, and keep locks away from whatever else runs here."""
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(spot, "AUDIT_S", 0.3)
    monkeypatch.setattr(spot, "BACKOFF_S", (0.05,))


class Follower:
    """A hedger with a spot source, and the exchange's door."""

    def __init__(self, machine: Hedger, ready: dict[str, Any]) -> None:
        self.machine = machine
        self.ready = ready
        self.notes: list[Note] = []
        machine._on_notes = lambda notes, recv_ns: self.notes.extend(notes)

    @property
    def booked(self) -> list[FloatTrade]:
        """The float trades that spot fills became."""
        return [trade for trade in self.machine.ledger.float_trades() if trade.trade_id.startswith("spot-")]

    @property
    def float(self) -> Decimal:
        """The float as the machine holds it."""
        return self.machine.core.state.floats["BTC"]  # type: ignore[index]

    def said(self, text: str, level: Level) -> bool:
        """Return whether something was said about the spot account, at that level."""
        return any(note.code == "spot" and text in note.text and note.level is level for note in self.notes)

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait for something to become so."""
        async with asyncio.timeout(CEILING_S):
            while not ready():
                await asyncio.sleep(0.01)

    async def holds(self, quantity: str) -> None:
        """Wait until the machine holds so much float; a fill is in the ledger before it is."""
        await self.until(lambda: self.float == D(quantity))

    async def open(self) -> None:
        """Wait until the stream delivers."""
        await self.until(lambda: {"spot": "open"}.items() <= self.streams.items())

    @property
    def streams(self) -> dict[str, str]:
        """The streams of `status` by name."""
        return {row["name"]: row["state"] for row in self.machine.status()["streams"]}

    async def buys(self, quantity: str = "0.15", side: str = "BUY", **more: Any) -> int:
        """Have the account trade, and return how many trades it has made so far."""
        return len((await door(self.ready, side=side, quantity=quantity, **more))["trades"])


async def door(ready: dict[str, Any], **said: Any) -> dict[str, Any]:
    """Let something happen to the exchange's spot account."""
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.post(f"{ready['rest']}/__spot", json=said) as answer,
    ):
        found: dict[str, Any] = await answer.json()
        assert answer.status == 200, found
        return found


@asynccontextmanager
async def followed(tmp_path: Path, ready: dict[str, Any], more: str = SPOT, **env: str) -> AsyncIterator[Follower]:
    """Run a hedger that follows the spot account."""
    machine = hedger(tmp_path, ready, more=more, **env)
    found = Follower(machine, ready)
    async with machine:
        yield found


async def test_a_fill_is_booked_net_hedged_and_once_however_often_it_is_told(tmp_path: Path) -> None:
    async with venue() as ready, followed(tmp_path, ready) as ours:
        await ours.machine.book.live(CEILING_S)
        await ours.open()
        await ours.until(lambda: ours.machine.core.state.book.quantity("BTCUSDT") == D(-10))  # type: ignore[arg-type]
        await ours.buys(times=2)
        await ours.until(lambda: ours.machine.core.state.book.quantity("BTCUSDT") == D("-10.149"))  # type: ignore[arg-type]
        assert (len(ours.booked), ours.float) == (1, D("10.14985"))
        await door(ready, asset="BTC", change="20")
        await ours.until(lambda: ours.said("transfer of 20.00000000 BTC", Level.INFO))
        await ours.buys(
            "10", side="SELL", commission_asset="BNB", times=2
        )  # a second such sale would be beyond the float
        await ours.holds("0.14985")  # the transfer is no trade, and BNB is none of the float
        await ours.buys("0.01", commission_asset="none")
        await ours.holds("0.15985")
        assert len(ours.booked) == 3
        assert not any(note.code == "spot" and note.level is not Level.INFO for note in ours.notes)
        paths = ours.machine.journal.paths
    assert replay_files(paths).diverged is None, "a fill is an input like any other trade"


@pytest.mark.parametrize("how", ["terminated", "closed", "shutdown", "mute"])
async def test_what_happens_while_the_stream_is_gone_is_booked_when_it_is_back(tmp_path: Path, how: str) -> None:
    async with venue() as ready, followed(tmp_path, ready) as ours:
        await ours.open()
        await ours.buys("0.01")
        await door(ready, end=how)
        await ours.buys("0.02")
        await ours.until(lambda: len(ours.booked) == 2)
        if how == "mute":
            await ours.until(lambda: ours.said("it did not tell of BTCUSDT fill(s)", Level.WARNING))
        await ours.open()
        await ours.buys("0.03")
        await ours.until(lambda: len(ours.booked) == 3)
        await ours.holds("10.05994")
        assert len({trade.trade_id for trade in ours.booked}) == 3
        # An ended subscription is begun again where it was; everything else costs the connection.
        assert ours.said("the spot stream is down", Level.WARNING) is (how != "terminated")


async def test_an_event_that_is_lost_is_found_in_the_past(tmp_path: Path) -> None:
    async with venue() as ready, followed(tmp_path, ready) as ours:
        await ours.open()
        await ours.buys("0.02", times=0)
        await ours.until(lambda: len(ours.booked) == 1)
        await ours.until(lambda: ours.said("it did not tell of BTCUSDT fill(s)", Level.WARNING))
        await ours.open()
        assert len(ours.booked) == 1


async def test_the_first_start_books_nothing_of_before_and_a_restart_books_what_it_missed(tmp_path: Path) -> None:
    async with venue() as ready:
        await door(ready, side="BUY", quantity="1")
        async with followed(tmp_path, ready) as ours:
            await ours.open()
            assert ours.booked == []
            await ours.buys("0.01")
            await ours.until(lambda: len(ours.booked) == 1)
        await door(ready, side="BUY", quantity="0.02")
        async with followed(tmp_path, ready) as ours:
            await ours.open()
            assert len(ours.booked) == 2 and ours.said("1 missed fill(s) booked", Level.INFO)
            await ours.holds("10.02997")


async def test_a_sale_beyond_the_float_is_said_loudly_and_never_booked_later(tmp_path: Path) -> None:
    async with venue() as ready:
        await door(ready, asset="BTC", change="20")
        async with followed(tmp_path, ready) as ours:
            await ours.open()
            await ours.buys("12", side="SELL")
            await ours.until(lambda: ours.said("correct it with `trade set`", Level.CRITICAL))
            assert ours.booked == [] and ours.float == 10
            await ours.machine.book.live(CEILING_S)
            await ours.machine.execute_trade_with_hedge(SetFloat("15", reason="audited", confirmed=True), wait_s=0)
        async with followed(tmp_path, ready) as ours:
            await ours.open()
            await ours.buys("0.01", side="SELL")
            await ours.until(lambda: len(ours.booked) == 1)
            await ours.holds("14.99")  # what was audited is not taken off once more


async def test_a_key_that_is_refused_is_said_loudly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spot, "DOWN_MOST_NS", 100_000_000)
    own = SPOT + 'api_key = { env = "KEY" }\napi_secret = { env = "OTHER" }\n'
    async with venue() as ready, followed(tmp_path, ready, own, OTHER="wrong") as ours:
        await ours.until(lambda: ours.said("-1022", Level.WARNING))
        await ours.until(lambda: ours.said("are not booked and not hedged", Level.CRITICAL))
        assert ours.streams["spot"] == "closed"
        warned = [note for note in ours.notes if note.code == "spot" and note.level is Level.WARNING]
        assert len(warned) == 1, "once for each reason"
        await ours.machine.book.live(CEILING_S)


async def test_without_the_table_nobody_asks(tmp_path: Path) -> None:
    async with venue() as ready, followed(tmp_path, ready, more="") as ours:
        await ours.machine.book.live(CEILING_S)
        assert "spot" not in ours.streams
        assert (await door(ready))["calls"] == {}
