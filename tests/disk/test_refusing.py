"""A disk that is full, fails, is read-only or slow, below the real ledger and the real recording: not committed, not sent.

The kernel refuses: system calls of a process of its own fail from one moment on (tests/support/refusing.py), or a real
device is full (/dev/full). What left is judged by the hands' own record.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import aiohttp
import pytest

from streamhedge import Buy
from streamhedge.domain.order import Order
from streamhedge.errors import StoreError
from streamhedge.store.journal import JournalWriter, read_lines
from streamhedge.store.ledger import Ledger
from tests.support.machines import hedger, venue
from tests.support.refusing import needs_refusing, run_apart
from tests.unit.test_replay import Run

DISK = """
    import sys
    from pathlib import Path
    from streamhedge.domain.commands import PlaceOrder
    from streamhedge.errors import LedgerUnwritable, StoreError
    from streamhedge.store.ledger import Ledger
    from tests.support.refusing import refuse
    from tests.unit.test_ledger import order, trade
    from tests.unit.test_replay import Run

    folder, number, *calls = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    books = Ledger(folder / "own" / "ledger.sqlite")
    books.open_epoch(started_ms=1, boot_id="b", version="1")

    class Watched(Run):
        def __init__(self, folder):
            super().__init__(folder)
            self.pump._ledger = books
            self.asked = []
            perform = self.venue.perform

            def performed(command, call):
                self.asked.append(command)
                perform(command, call)

            self.venue.perform = performed

        @property
        def orders(self):
            return [command for command in self.asked if isinstance(command, PlaceOrder)]
"""

FAILING = (
    DISK
    + """
    run = Watched(folder / "recordings")
    run.begin()
    sent, recorded = len(run.orders), len(books.intents())
    assert sent == recorded >= 1 and run.pump.reactor.state.halted is None
    if calls.pop() == "ledger":
        run.pump._journal = None  # the recording would halt it first
    refuse(number, calls)
    run.trade("1.5", "ft-2")
    for price in ("67121.4", "67000", "67500"):
        run.mark(price)
    halted = run.pump.reactor.state.halted
    assert halted is not None and "cannot be written" in halted, halted
    assert len(run.orders) == sent, "what was not committed was sent"
    assert len(books.intents()) == recorded
    try:
        books.record_float_trade(trade(name="ft-3"))
    except LedgerUnwritable as error:
        print(error)
    assert books.float_trade("ft-3") is None
    # What needs no memory still works: asking, cancelling, looking.
    asked = len(run.asked)
    run.feed("conn", {"stream": "private", "connection": 3, "state": "closed", "reason": "x", "jitter_permille": 1})
    assert len(run.asked) > asked
    print("halted:", halted)
"""
)


@needs_refusing
@pytest.mark.fault("P3")
@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT], ids=lambda number: errno.errorcode[number]
)
@pytest.mark.parametrize("first", ["recording", "ledger"])
def test_a_write_the_kernel_refuses_halts_and_sends_nothing(tmp_path: Path, number: int, first: str) -> None:
    said = run_apart(FAILING, tmp_path, str(number), "write", "pwrite64", first)
    assert "nothing was written. Free or repair the disk, then restart" in said
    assert said.splitlines()[-1].startswith(f"halted: the {first} cannot be written")
    # The recording ends with a whole line, the ledger holds what was committed before.
    (path,) = (tmp_path / "recordings").iterdir()
    assert [line.source for line in read_lines(path)][-1] not in ("sum", "header")
    books = Ledger(tmp_path / "own" / "ledger.sqlite")
    assert books.verify() == [] and len(books.intents()) >= 1 and books.float_trades() == []
    books.close()


FLUSH = (
    DISK
    + """
    books.commit_intent(order("sh-1-1"))
    refuse(number, calls)
    books.commit_intent(order("sh-1-2"))  # not flushed, so not hindered
    said = []
    for write in (
        lambda: books.record_float_trade(trade(name="ft-1")),
        lambda: books.record_float_trade(trade(name="ft-1")),
        lambda: books.set_state("halted", {"reason": "x"}),
        lambda: books.commit_intent(order("sh-1-3")),
    ):
        try:
            write()
            said.append("wrote")
        except LedgerUnwritable as error:
            said.append(str(error))
    assert books.float_trades() == [] and books.states() == {} and len(books.intents()) == 2
    print("\\n".join(said))
"""
)


@needs_refusing
@pytest.mark.fault("P3")
def test_a_flush_the_kernel_refuses_is_fatal_and_never_asked_for_again(tmp_path: Path) -> None:
    first, *others = run_apart(FLUSH, tmp_path, str(errno.EIO), "fsync", "fdatasync").splitlines()
    assert "disk I/O error; nothing was written" in first
    assert len(others) == 3
    assert all(
        "an fsync failed before, what is on the disk is not known; nothing more is written" in text for text in others
    )
    books = Ledger(tmp_path / "own" / "ledger.sqlite")
    assert [row.client_order_id for row in books.intents()] == ["sh-1-1", "sh-1-2"] and books.verify() == []
    books.close()


@needs_refusing
@pytest.mark.fault("P3")
def test_a_fold_that_cannot_be_flushed_is_fatal_too(tmp_path: Path) -> None:
    code = (
        DISK
        + """
    books.record_float_trade(trade(name="ft-1"))
    refuse(number, calls)
    for write in (books.checkpoint, lambda: books.commit_intent(order("sh-1-1"))):
        try:
            write()
            print("wrote")
        except LedgerUnwritable as error:
            print(error)
    assert len(books.float_trades()) == 1
    """
    )
    fold, intent = run_apart(code, tmp_path, str(errno.EIO), "fsync", "fdatasync").splitlines()
    assert "checkpoint: disk I/O error" in fold and "an fsync failed before" in intent


@needs_refusing
@pytest.mark.fault("P3")
def test_nothing_is_begun_where_no_file_can_be_made(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from streamhedge.errors import LedgerUnwritable
    from streamhedge.store.ledger import Ledger
    from tests.support.refusing import refuse
    folder = Path(sys.argv[1])
    Ledger(folder / "own" / "ledger.sqlite").close()
    refuse(int(sys.argv[2]), ["write", "pwrite64"])
    try:
        books = Ledger(folder / "own" / "ledger.sqlite")
        books.open_epoch(started_ms=1, boot_id="b", version="1")
        print("began")
    except LedgerUnwritable as error:
        print(error)
    """
    for number in (errno.EROFS, errno.ENOSPC):
        said = run_apart(code, tmp_path, str(number))
        assert "ledger.sqlite" in said and "began" not in said
        assert "nothing was started" in said or "nothing was written" in said


# ---------------------------------------------------------------- the recording alone


@pytest.mark.fault("P3")
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_recording_on_a_full_device_halts_before_the_next_order(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.begin()
    sent = run.venue.trades
    run.rotate()
    run.journal._disk = lambda path: open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - the writer closes it
    run.trade("1.5", "ft-2")
    run.marks(3)
    halted = run.pump.reactor.state.halted
    assert halted is not None and "No space left on device" in halted and "the recording" in halted
    assert run.venue.trades == sent, "an order left that no recording explains"


@pytest.mark.fault("P3")
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_the_writer_says_what_the_device_says(tmp_path: Path) -> None:
    journal = JournalWriter(
        *(tmp_path, "run"),
        header=lambda: {},
        digest=lambda: "",
        disk=lambda path: open("/dev/full", "wb", buffering=0),  # noqa: SIM115 - the writer closes it
    )
    with pytest.raises(
        StoreError, match=r"No space left on device; nothing more is recorded\. Free or repair the disk"
    ):
        journal.append(1, "tick", b"{}")


# ---------------------------------------------------------------- slow


@pytest.mark.fault("P4", "C4")
async def test_an_order_whose_commit_took_too_long_is_void(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))
    committed: list[str] = []
    honest = Ledger.commit_intent

    def slow(self: Ledger, order: Order) -> None:
        honest(self, order)
        if len(committed) < 2:
            time.sleep(0.35)  # a disk that flushes for somebody else
        committed.append(order.client_order_id)

    async with venue() as ready, hedger(tmp_path, ready) as machine:
        await machine.book.live(20)
        await machine.execute_trade_with_hedge(Buy(usd="1000", reason="before"))
        monkeypatch.setattr(Ledger, "commit_intent", slow)
        await machine.execute_trade_with_hedge(Buy(usd="10000", reason="rebalancing"))
        async with aiohttp.ClientSession(trust_env=False) as session, session.get(f"{ready['rest']}/__truth") as answer:
            posts: dict[str, int] = (await answer.json())["wire_posts"]
        assert len(committed) >= 3, "the hedge was decided again"
        assert not {*committed[:2]} & set(posts), "a void order left"
        assert set(committed[2:]) <= set(posts) and set(posts.values()) == {1}
        statuses = {order.client_order_id: order.status.value for order in machine.ledger.intents()}
        assert {statuses[name] for name in committed[:2]} == {"REFUSED"}, "certainly not sent"
        assert machine.core.state.halted is None


@pytest.mark.fault("P4")
async def test_a_float_trade_that_is_written_slowly_stalls_no_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))
    honest = Ledger.record_float_trade

    def slow(self: Ledger, trade: object) -> bool:
        time.sleep(1.0)
        return honest(self, trade)  # type: ignore[arg-type]

    async with venue() as ready, hedger(tmp_path, ready) as machine:
        await machine.book.live(20)
        monkeypatch.setattr(Ledger, "record_float_trade", slow)
        before = machine.core.state.seq
        result = await machine.execute_trade_with_hedge(Buy(usd="10000", reason="rebalancing"))
        assert not result.duplicate and machine.core.state.seq > before + 5, "inputs went on meanwhile"
        assert machine.core.state.lag_ms < 500
