"""An older copy of the ledger in its place: noticed, HALTED with the reason, and no order number comes twice.

The evidence: the mark of durable writes beside the ledger, recordings of later runs, and at the venue an id of ours from
a run that the ledger does not know.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamhedge import Buy, Hedger
from streamhedge.domain.commands import PlaceOrder
from streamhedge.domain.events import Owner, VerbKind
from streamhedge.domain.order import Side
from streamhedge.domain.values import exact
from streamhedge.live.rollback import older_copy
from streamhedge.reactor.orders import client_order_id
from streamhedge.store.journal import compress
from streamhedge.store.ledger import EPOCH_ZERO_S, MARK
from tests.support import builders as make
from tests.support.machines import hedger, venue
from tests.unit.test_ledger import opened, order, trade
from tests.unit.test_replay import tell

START_MS = (EPOCH_ZERO_S + 1_000) * 1_000


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep locks and sockets away from whatever else runs here."""
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))


def copied(path: Path, to: Path) -> Path:
    """Copy what a person copies: the ledger and its log."""
    to.mkdir(mode=0o700)
    for each in path.parent.glob(f"{path.name}*"):
        shutil.copy(each, to / each.name)
    return to / path.name


def put_back(copy: Path, path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    for each in copy.parent.glob(f"{path.name}*"):
        shutil.copy(each, path.parent / each.name)
        (path.parent / each.name).chmod(0o600)


# ---------------------------------------------------------------- the mark


@pytest.mark.fault("P2", "A2")
@pytest.mark.parametrize("after", ["a trade", "a latch", "a run", "the end of a run"])
def test_a_copy_that_misses_one_durable_write_is_an_older_copy(tmp_path: Path, after: str) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    with opened(path) as books:
        books.open_epoch(started_ms=START_MS, boot_id="b", version="1")
        books.record_float_trade(trade(name="ft-1"))
        copy = copied(path, tmp_path / "copy")
        if after == "a trade":
            books.record_float_trade(trade(name="ft-2"))
        elif after == "a latch":
            books.set_state("halted", {"reason": "look"})
        elif after == "a run":
            books.open_epoch(started_ms=START_MS, boot_id="b", version="1")
        else:
            books.end_epoch("stopped")
    with opened(path) as books:
        assert books.rolled_back == "" and books.verify() == []
    put_back(copy, path)
    with opened(path, read_only=True) as books:
        assert "is an older copy: it holds 2 of the 3 durable writes that were made" in books.rolled_back
        assert books.verify() == [books.rolled_back]
    with opened(path) as books:
        assert books.rolled_back
        books.set_state("halted", {"reason": books.rolled_back})
    with opened(path) as books:
        assert books.rolled_back == "", "it is told once; the latch keeps it"


@pytest.mark.fault("P2")
def test_a_copy_that_misses_only_what_a_power_loss_may_take_is_none(tmp_path: Path) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    with opened(path) as books:
        books.open_epoch(started_ms=START_MS, boot_id="b", version="1")
        copy = copied(path, tmp_path / "copy")
        books.commit_intent(order())
    put_back(copy, path)
    with opened(path) as books:
        assert books.rolled_back == "" and books.intents() == []


@pytest.mark.fault("P2")
@pytest.mark.parametrize("mark", [b"", b"\0" * 42, b"nothing", b"5", "link"])
def test_a_mark_that_says_nothing_accuses_nobody(tmp_path: Path, mark: bytes | str) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    with opened(path) as books:
        books.open_epoch(started_ms=START_MS, boot_id="b", version="1")
    (path.parent / MARK).unlink()
    if isinstance(mark, bytes):
        (path.parent / MARK).write_bytes(mark)
    else:
        (tmp_path / "foreign").write_text("99999999999999999999 99999999999999999999\n")
        (path.parent / MARK).symlink_to(tmp_path / "foreign")
    with opened(path) as books:
        assert books.rolled_back == ""
        assert books.open_epoch(started_ms=START_MS, boot_id="b", version="1") == 1_001
    if mark == "link":
        assert (tmp_path / "foreign").read_text().startswith("999"), "the link was not written through"


@pytest.mark.fault("A2", "P2")
@pytest.mark.parametrize("clock_ms", [START_MS, START_MS - 900_000, 0])
def test_no_run_has_a_number_that_was_used_whatever_the_clock_says(tmp_path: Path, clock_ms: int) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    with opened(path) as books:
        copy = copied(path, tmp_path / "copy")
        used = [books.open_epoch(started_ms=START_MS, boot_id="b", version="1") for _ in range(3)]
    put_back(copy, path)
    with opened(path) as books:
        assert books.open_epoch(started_ms=clock_ms, boot_id="b", version="1") > max(used)


@pytest.mark.fault("P2")
def test_a_ledger_that_is_gone_is_no_first_start(tmp_path: Path) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    with opened(path) as books:
        books.open_epoch(started_ms=START_MS, boot_id="b", version="1")
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    with opened(path) as books:
        assert "holds 0 of the 1 durable writes" in books.rolled_back


# ---------------------------------------------------------------- recordings


@pytest.mark.fault("P2", "A2")
@pytest.mark.parametrize("packed", [False, True])
def test_a_recording_of_a_later_run_tells_too(tmp_path: Path, packed: bool) -> None:
    (path, *_), _, _ = tell(tmp_path / "recordings")
    later = path.rename(path.with_name("20261125T000000-e1005-0001.rec"))
    later = compress(later) if packed else later
    with opened(tmp_path / "own" / "ledger.sqlite") as books:
        books.open_epoch(started_ms=START_MS, boot_id="b", version="1")
        assert older_copy(books, later.parent) == ("", 1_000), "the recording is of another installation"
        books.instance = make.reactor().state.instance
        said, newest = older_copy(books, later.parent)
        assert f"its last run is 1000, {later} was recorded by run 1005" in said and newest == 1_005
        assert books.open_epoch(started_ms=START_MS, boot_id="b", version="1", above=newest) == 1_006
        assert older_copy(books, later.parent) == ("", 1_006)
        assert older_copy(books, tmp_path / "none") == ("", 1_006)


# ---------------------------------------------------------------- the venue


@pytest.mark.fault("A2", "P2")
def test_an_order_of_a_run_the_ledger_does_not_know_halts() -> None:
    machine = make.reactor()
    machine.state.epoch, machine.state.previous_epoch = 9, 5
    machine.state.meter.started_ns = make.T0_MS * 1_000_000
    events = [
        make.setup(),
        make.mark("67121.4"),
        make.snapshot("-10", entry="67121.4"),
        make.float_trade("10"),
        make.live(),
    ]
    sent: list[PlaceOrder] = []

    def react(event: Any) -> None:
        with exact():
            seq = machine.state.seq + 1
            reaction = machine.react(seq, (make.T0_MS + seq) * 1_000_000, [event])
        sent.extend(command for command in reaction.commands if isinstance(command, PlaceOrder))

    for event in events:
        react(event)
    for epoch, halted in ((5, False), (4, False), (7, True)):
        name = client_order_id(machine.state.instance, epoch, 900)
        fill = make.foreign_fill(Side.BUY, "0.001", trade_id=100 + epoch)
        react(replace(fill, owner=Owner.OURS, client_order_id=name))
        assert (machine.state.halted is not None) == halted, epoch
    assert "no run between 5 and 9: it is an older copy" in str(machine.state.halted)
    before = len(sent)
    react(make.mark("67121.5"))
    react(make.float_trade("1", trade_id="ft-9"))
    assert len(sent) == before


# ---------------------------------------------------------------- the whole hedger


async def posts(ready: dict[str, Any]) -> dict[str, int]:
    async with aiohttp.ClientSession(trust_env=False) as session, session.get(f"{ready['rest']}/__truth") as answer:
        found: dict[str, int] = (await answer.json())["wire_posts"]
        return found


async def hedged(machine: Hedger) -> None:
    await machine.book.live(20)
    result = await machine.execute_trade_with_hedge(Buy(usd="10000", reason="rebalancing"))
    assert result.hedge is not None


@pytest.mark.fault("P2", "A2")
@pytest.mark.parametrize("evidence", ["mark", "recording"])
async def test_the_hedger_starts_halted_on_an_older_copy_and_numbers_no_order_twice(
    tmp_path: Path, evidence: str
) -> None:
    async with venue() as ready:
        async with hedger(tmp_path, ready) as machine:
            await hedged(machine)
            path = machine.folder / "ledger.sqlite"
        copy = copied(path, tmp_path / "copy")
        async with hedger(tmp_path, ready) as machine:
            await hedged(machine)
            used = set(machine.ledger.client_order_ids())
        before = await posts(ready)
        assert set(before) == used and len(used) >= 3
        put_back(copy, path)
        if evidence == "recording":
            (path.parent / MARK).unlink()
        async with hedger(tmp_path, ready) as machine:
            await machine.book.live(20)
            assert len(machine.ledger.float_trades()) == 2, "one purchase is missing in the copy"
            status = machine.status()
            assert status["trading_state"] == "HALTED" and "is an older copy" in str(status["trading_reasons"])
            again = await machine.execute_trade_with_hedge(Buy(usd="5000", reason="while halted"), wait_s=0.5)
            assert again.trade in machine.ledger.float_trades()
            assert await posts(ready) == before, "nothing was sent"
            await machine.verb(VerbKind.RESUME, symbol=None, reason="the missing purchase is booked by hand", uid=0)
            await hedged(machine)
        after = await posts(ready)
        assert len(after) > len(before) and set(after.values()) == {1}
        async with hedger(tmp_path, ready) as machine:
            assert machine.core.state.halted is None, "a person has judged it; it is not asked again"


@pytest.mark.fault("P2")
def test_a_latch_written_from_elsewhere_counts_too(tmp_path: Path) -> None:
    """`kill` writes the HALTED latch from its own process while another holds the ledger."""
    path = tmp_path / "own" / "ledger.sqlite"
    with opened(path) as books, opened(path) as other:
        books.open_epoch(started_ms=START_MS, boot_id="b", version="1")
        other.set_state("halted", {"reason": "kill"})
        books.record_float_trade(trade())
    with opened(path) as books:
        assert books.rolled_back == ""
    assert (path.parent / MARK).read_text().split() == [f"{3:020d}", f"{1_000:020d}"]
