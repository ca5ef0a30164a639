"""What a hostile reader did to the shell: a caller that gives up, a page where a body was due, books put back."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streamhedge import Buy
from streamhedge.domain.commands import Persist
from streamhedge.domain.events import FloatTrade
from streamhedge.domain.order import Side
from streamhedge.domain.values import NS_PER_MS, ClientOrderId, exact
from streamhedge.errors import ConfigError
from streamhedge.live import machine as live_machine
from streamhedge.live.recovery import recovered
from streamhedge.reactor.orders import client_order_id
from streamhedge.store.ledger import Ledger
from tests.support import builders as make
from tests.support.machines import KEY, hedger, venue

D = Decimal


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep locks and sockets away from whatever else runs here."""
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))


@pytest.mark.fault("P4", "F3")
async def test_a_caller_that_gives_up_while_the_trade_is_written_does_not_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = asyncio.Event()
    loop = asyncio.get_running_loop()
    record = Ledger.record_float_trade

    def slow_disk(self: Ledger, trade: FloatTrade) -> bool:
        loop.call_soon_threadsafe(writing.set)
        time.sleep(0.2)  # an fsync on a busy disk
        return record(self, trade)

    async with venue() as ready, hedger(tmp_path, ready) as machine:
        await machine.book.live(20)
        before = machine.core.state.floats["BTC"]  # type: ignore[index]
        monkeypatch.setattr(Ledger, "record_float_trade", slow_disk)
        trade = Buy(usd="10000", reason="rebalancing", trade_id="ft-lost")
        call = asyncio.create_task(machine.execute_trade_with_hedge(trade))
        await asyncio.wait_for(writing.wait(), 5)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        async with asyncio.timeout(5):
            while machine.ledger.float_trade(trade.trade_id) is None:
                await asyncio.sleep(0.02)
        # It is booked. The caller says it again, as the id invites to.
        again = await machine.execute_trade_with_hedge(trade)
        assert again.duplicate
        assert machine.core.state.floats["BTC"] > before, "booked, acknowledged, and never hedged in this run"  # type: ignore[index]


@pytest.mark.parametrize(
    "body", [b"<html>maintenance</html>", b'{"code":0}', b'{"symbols":[{}]}'], ids=["page", "object", "row"]
)
@pytest.mark.fault("S12")
async def test_a_page_where_the_filters_were_due_does_not_end_the_hedger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    async with venue() as ready, hedger(tmp_path, ready) as machine:
        await machine.book.live(20)
        rest = machine._machine.rest
        send = rest.send

        async def far_end(request: Any, **said: Any) -> Any:
            answer = await send(request, **said)
            if request.path.endswith("exchangeInfo"):
                answer.body = body
            return answer

        monkeypatch.setattr(rest, "send", far_end)
        machine._machine.hands._start(machine._machine.hands._set_up(), machine._machine.hands._tasks)
        await asyncio.sleep(0.5)
        monkeypatch.setattr(rest, "send", send)
        assert machine.pump.failed is None
        assert not machine._machine._group._aborting  # type: ignore[attr-defined]


@pytest.mark.fault("P2", "O2")
def test_books_put_back_from_a_backup_never_number_an_order_twice(tmp_path: Path) -> None:
    used: list[ClientOrderId] = []
    live, copy = tmp_path / "own" / "ledger.sqlite", tmp_path / "copy.sqlite"
    for run in range(2):
        ledger = Ledger(live)
        epoch = ledger.open_epoch(started_ms=make.T0_MS + run * 60_000, boot_id="b", version="1")
        if run == 0:
            ledger.backup(copy)
        used.append(client_order_id(ledger.instance, epoch, 1))
        ledger.close()
    for left in live.parent.iterdir():
        left.unlink()
    shutil.copy(copy, live)
    live.chmod(0o600)
    ledger = Ledger(live)
    epoch = ledger.open_epoch(started_ms=make.T0_MS + 600_000, boot_id="b", version="1")
    name = client_order_id(ledger.instance, epoch, 1)
    ledger.close()
    assert name not in used, "this id was on the wire before: order.status would answer with the old order"


@pytest.mark.fault("K7")
def test_a_block_that_only_a_person_lifts_outlives_a_restart(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "own" / "ledger.sqlite")
    ledger.open_epoch(started_ms=make.T0_MS, boot_id="b", version="1")
    machine = make.reactor()
    events = [
        make.setup(),
        make.mark("67121.4"),
        make.snapshot("-10", entry="67121.4"),
        make.float_trade("10"),
        make.live(),
    ]
    for number in range(5):
        fill = make.foreign_fill(Side.BUY, "0.001", trade_id=900 + number)
        events.append(replace(fill, order_id=50 + number))
    for seq, event in enumerate(events, 1):
        with exact():
            reaction = machine.react(seq, (make.T0_MS + seq) * NS_PER_MS, [event])
        for command in reaction.commands:
            if isinstance(command, Persist):
                ledger.persist(command)
    block = machine.core.memory_of(make.BTCUSDT).block
    assert block is not None and block.cause == "external" and block.until_ns is None
    now_ns = (make.T0_MS + 60_000) * NS_PER_MS
    epoch = ledger.open_epoch(started_ms=make.T0_MS + 60_000, boot_id="b", version="1")
    state = recovered(ledger, make.policy(), epoch=epoch, now_ns=now_ns, boot="b", shadow=False)
    ledger.close()
    assert state.memory[make.BTCUSDT].block is not None, "the restart goes on fighting the person"


@pytest.mark.fault("X3")
async def test_a_host_that_logs_everything_learns_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with venue() as ready, hedger(tmp_path, ready) as machine:
        await machine.book.live(20)
        keys = [KEY, *machine._machine.hands._keys]
    mine = "\n".join(line.getMessage() for line in caplog.records if line.name.startswith("websockets.client"))
    assert [key[:2] for key in keys if key in mine] == [], "API key, signature and listen key stand in the log"


@pytest.mark.fault("C3")
async def test_after_a_gap_it_lives_on_sockets_of_after_the_gap_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with venue() as ready, hedger(tmp_path, ready) as machine:
        await machine.book.live(20)
        links = machine.pump.session.state.links
        before = {name: link.current.number for name, link in links.items() if link.current is not None}
        heard: list[str] = []
        feed = machine.pump.feed
        monkeypatch.setattr(machine.pump, "feed", lambda source, *said: (heard.append(source), feed(source, *said))[1])
        clock, now_ns = machine.clock, machine.clock.now_ns
        monkeypatch.setattr(clock, "now_ns", lambda: now_ns() + 7_200_000_000_000)  # the lid was closed for two hours
        monkeypatch.setattr(clock, "drift_ns", lambda: 0)
        machine._machine.feed("market", b'{"e":"markPriceUpdate"}')  # the loop hands over what waited, before any timer
        assert heard == ["clock"], "the gap is noticed first, and what waited is not taken"
        assert machine.core.state.book_status.value == "SUSPECT"
        async with asyncio.timeout(20):
            while machine.core.state.book_status.value != "LIVE":
                await asyncio.sleep(0.02)
        after = {name: link.current.number for name, link in links.items() if link.current is not None}
        assert after.keys() == before.keys() and min(after.values()) > max(before.values())
        assert machine.summary()["reconnects"] == 3
        assert heard.count("clock") == 1


@pytest.mark.fault("K8")
async def test_a_simulated_exchange_that_answers_in_the_venues_place_ends_the_hedger_before_it_trades(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere, a tunnel, a proxy: the address is the venue's and the prices are not."""
    monkeypatch.setattr(live_machine, "is_loopback", lambda address: address == "elsewhere")
    async with venue() as ready:
        machine = hedger(tmp_path, ready)
        with pytest.raises(ConfigError, match="simulated exchange, not the venue"):
            async with machine:
                await machine.book.live(20)
        assert machine.pump.reactor.state.next_order == 1 and machine.pump.session.state.status == "COLD"
