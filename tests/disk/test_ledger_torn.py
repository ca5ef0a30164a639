"""The ledger's log cut at any byte, changed in any frame, or without what was never flushed: a prefix of what was committed.

Copies are what a crash leaves: the file with its log, taken while the ledger is open. What was flushed (float trades,
latches, epochs) is in every copy that is cut after its flush.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from streamhedge.domain.commands import Persist
from streamhedge.domain.order import OrderStatus
from streamhedge.errors import LedgerUnwritable
from streamhedge.live.recovery import recovered
from streamhedge.store.ledger import Ledger
from tests.support.builders import T0_MS, policy
from tests.support.shared import REPOSITORY
from tests.unit.test_ledger import ended, opened, order, trade

PAGE = 4_096
HEADER, FRAME = 32, PAGE + 24


@dataclass
class Copy:
    """What a crash would leave now, and all that had been committed until then."""

    folder: Path
    held: list[tuple[str, ...]]
    """What stands in the ledger after each commit, in order."""
    ends: list[int]
    """How long the log was after each commit; 0 for those in the file itself."""
    flushed: list[int] = field(default_factory=list)
    """Numbers of the commits that were flushed."""

    @property
    def log(self) -> Path:
        return self.folder / "ledger.sqlite-wal"


def standing(books: Ledger) -> tuple[str, ...]:
    """Return all that is committed, as names."""
    return (
        *(f"epoch {row['number']}" for row in books.epochs()),
        *(f"trade {row.trade_id}" for row in books.float_trades()),
        *(f"intent {row.client_order_id} {row.status.value}" for row in books.intents()),
        *(f"state {key}" for key in books.states()),
        *(f"fill {key}" for key, _ in books.rows("fill")),
    )


def write(books: Ledger, log: Path, *, fold_at: int | None = None, count: int = 12) -> Iterator[Copy]:
    """Commit one thing after the other as a run does; yield what is known after each."""
    copy = Copy(log.parent, [(), standing(books)], [0, log.stat().st_size], [0, 1])
    for number in range(count):
        if number == fold_at:
            books.checkpoint()
            copy.ends = [0] * len(copy.ends)
        name = f"sh-1-{number}"
        kind = number % 5
        if kind == 0:
            books.record_float_trade(trade(name=f"ft-{number}"))
        elif kind == 1:
            books.commit_intent(order(name))
        elif kind == 2:
            books.persist(ended(order(f"sh-1-{number - 1}"), OrderStatus.FILLED))
        elif kind == 3:
            books.persist(Persist("fill", f"BTCUSDT:{number}", {"price": "1" * 3_000, "time_ms": T0_MS}))
        else:
            books.set_state(f"block:{number}", {"reason": "look"})
        copy.held.append(standing(books))
        copy.ends.append(log.stat().st_size)
        if kind in (0, 4):
            copy.flushed.append(len(copy.held) - 1)
        yield copy


def taken(path: Path, to: Path, copy: Copy, *, shm: bool) -> Copy:
    """Copy the files as they stand while the ledger is open."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(mode=0o700)
    for suffix in ("", "-wal", *(("-shm",) if shm else ())):
        shutil.copy(f"{path}{suffix}", f"{to}/ledger.sqlite{suffix}")
        os.chmod(f"{to}/ledger.sqlite{suffix}", 0o600)
    return Copy(to, list(copy.held), list(copy.ends), list(copy.flushed))


def opens_as(copy: Copy, cut: int) -> int:
    """Open a copy and return how many of the commits it holds; fail when it holds anything else."""
    with opened(copy.folder / "ledger.sqlite") as books:
        found = standing(books)
        assert books.verify() == []
        books.open_epoch(started_ms=T0_MS * 2, boot_id="b", version="1")
        books.commit_intent(order(f"sh-9-{cut}"))
    assert found in copy.held, f"cut at {cut}: {found}"
    return copy.held.index(found)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> list[Copy]:
    """Three crashes: in a fresh log, with the reader's index beside it, and in a log that is written from its start again."""
    made = []
    for name, fold_at, shm in (("fresh", None, False), ("index", None, True), ("folded", 8, False)):
        folder = tmp_path_factory.mktemp(name)
        path = folder / "own" / "ledger.sqlite"
        with opened(path) as books:
            books.open_epoch(started_ms=T0_MS, boot_id="b", version="1")
            for now in write(books, path.with_name("ledger.sqlite-wal"), fold_at=fold_at):
                copy = now
            made.append(taken(path, folder / "copy", copy, shm=shm))
    return made


def cuts(copy: Copy) -> list[int]:
    """Return where to cut: at, before and behind the borders of frames and commits, and somewhere inside."""
    size = copy.log.stat().st_size
    borders = [HEADER + FRAME * number for number in range(0, size // FRAME + 1, 3)]
    near = {border + off for border in borders + copy.ends for off in (-1, 0, 24)}
    return sorted(at for at in {0, 1, 31, 33, size - 7, *near} if 0 <= at <= size)


def again(copy: Copy, folder: Path) -> Copy:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(copy.folder, folder)
    return Copy(folder, copy.held, copy.ends, copy.flushed)


@pytest.mark.fault("P1", "P2", "P3")
@pytest.mark.parametrize("which", [0, 1, 2], ids=["fresh", "index", "folded"])
def test_a_log_cut_at_any_place_holds_a_prefix_of_the_commits(crashed: list[Copy], tmp_path: Path, which: int) -> None:
    whole = crashed[which]
    seen = set()
    for cut in cuts(whole)[:: 4 if which == 1 else 1]:
        copy = again(whole, tmp_path / "cut")
        if which != 2:
            os.truncate(copy.log, cut)
        else:
            # A log that was begun again holds older frames behind the newer ones; a tear leaves those, not an end.
            raw = copy.log.read_bytes()
            torn = min(len(raw), cut + 512)
            copy.log.write_bytes(raw[:cut] + b"\0" * (torn - cut) + raw[torn:])
        held = opens_as(copy, cut)
        seen.add(held)
        must = max(number for number, end in enumerate(whole.ends) if end <= cut or number == 0)
        if which != 2:
            assert held == must, f"cut at {cut}"
        else:
            assert held >= 8, "what was folded into the file is there"
    assert len(seen) > 4


@pytest.mark.fault("P1", "P2")
def test_frames_that_never_reached_the_disk_cost_no_flushed_write(crashed: list[Copy], tmp_path: Path) -> None:
    """Power loss: of the pages written since the last flush any may be missing, in any order."""
    whole = crashed[0]
    raw = whole.log.read_bytes()
    chance = random.Random(11)
    results = set()
    for number in range(40):
        flushed = chance.choice(whole.flushed)
        later = [end for end in whole.ends if end > whole.ends[flushed]]
        until = chance.choice([whole.ends[flushed], *later])
        torn = bytearray(raw[:until])
        first = (whole.ends[flushed] - HEADER) // FRAME
        for frame in range(first, (until - HEADER) // FRAME):
            if chance.randrange(3) == 0:
                start = HEADER + frame * FRAME
                torn[start : start + FRAME] = b"\0" * FRAME if chance.randrange(2) else chance.randbytes(FRAME)
        copy = again(whole, tmp_path / "lost")
        copy.log.write_bytes(torn)
        held = opens_as(copy, number)
        assert held >= flushed, (number, held, flushed)
        results.add(held - flushed)
    assert len(results) > 1


@pytest.mark.fault("P2")
def test_a_changed_bit_in_the_log_ends_it_there(crashed: list[Copy], tmp_path: Path) -> None:
    whole = crashed[0]
    raw = whole.log.read_bytes()
    for offset in range(3, len(raw), len(raw) // 45):
        changed = bytearray(raw)
        changed[offset] ^= 1 << (offset % 8)
        copy = again(whole, tmp_path / "bit")
        copy.log.write_bytes(changed)
        held = opens_as(copy, offset)
        assert held <= max(number for number, end in enumerate(whole.ends) if end <= offset or number == 0)


WRITING = """
    import itertools, sys
    from pathlib import Path
    from streamhedge.store.ledger import Ledger
    from tests.disk.test_ledger_torn import write
    path = Path(sys.argv[1])
    books = Ledger(path)
    books.open_epoch(started_ms=1, boot_id="b", version="1")
    print("open", flush=True)
    for copy in write(books, path.with_name("ledger.sqlite-wal"), fold_at=5, count=100_000):
        print("|".join(copy.held[-1][-400:]), flush=True)
        del copy.held[:-1], copy.ends[:-1]
"""


@pytest.mark.fault("P1")
def test_a_writer_that_is_killed_has_lost_nothing_it_was_told_is_committed(tmp_path: Path) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    words = [sys.executable, "-c", textwrap.dedent(WRITING), str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    told = said[-1] if said[-1].endswith("\n") else said[-2]
    with opened(path) as books:
        assert set(told.strip().split("|")) - {"open"} <= set(standing(books)) | {
            f"intent {row.client_order_id} PLANNED" for row in books.intents()
        }
        assert books.verify() == [] and books.rolled_back == ""


# ---------------------------------------------------------------- pages


@pytest.mark.fault("P2", "P3")
def test_a_damaged_page_in_the_middle_starts_nothing_and_names_the_repair(tmp_path: Path) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    with opened(path) as books:
        books.open_epoch(started_ms=T0_MS, boot_id="b", version="1")
        books.record_float_trade(trade())
        for number in range(30):
            books.commit_intent(order(f"sh-1-{number}", reason="x" * 900))
            books.persist(Persist("fill", f"BTCUSDT:{number}", {"price": "1" * 900, "time_ms": T0_MS}))
        books.backup(tmp_path / "good")
        whole = standing(books)
    raw = path.read_bytes()
    refused = told = harmless = 0
    for page in range(len(raw) // PAGE):
        for kind in ("ones", "shifted"):
            changed = bytearray(raw)
            at = slice(page * PAGE, (page + 1) * PAGE)
            changed[at] = b"\xff" * PAGE if kind == "ones" else raw[at][1:] + b"\0"
            path.write_bytes(changed)
            try:
                books = Ledger(path)
            except LedgerUnwritable as error:
                refused += 1
                assert str(path) in str(error)
                continue
            try:
                recovered(books, policy(), epoch=9, now_ns=T0_MS * 1_000_000, boot="b", shadow=False)
                told += books.verify() != []
                same = books.verify() != [] or standing(books) == whole
                harmless += books.verify() == []
                assert same, (page, kind)
            except LedgerUnwritable as error:
                refused += 1
                assert str(path) in str(error)
                assert "`streamhedge ledger verify`" in str(error) and "`streamhedge ledger backup`" in str(error)
            finally:
                books.close()
    assert refused > 10 and told > 3, (refused, told, harmless)
    shutil.copy(tmp_path / "good", path)
    path.chmod(0o600)
    with opened(path) as books:
        assert standing(books) == whole and books.verify() == []


@pytest.mark.fault("P2")
def test_a_changed_digit_of_the_float_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    with opened(path) as books:
        books.record_float_trade(trade("0.148983"))
        books.commit_intent(order())
    raw = path.read_bytes()
    places = [at for at in range(len(raw)) if raw.startswith(b"0.148983", at)]
    assert len(places) == 2, "in its column and in its body"
    for at in places:
        path.write_bytes(raw[: at + 7] + b"9" + raw[at + 8 :])
        with opened(path) as books:
            for read in (books.float_trades, lambda books=books: books.float_trade(trade().trade_id)):
                with pytest.raises(
                    LedgerUnwritable, match=r"float_trade ft-1: its body says .*streamhedge ledger verify"
                ):
                    read()
            assert books.verify() == ["float_trade ft-1: body and row differ"]
    at = raw.index(b'"client_order_id":"sh-1-1"') + len(b'"client_order_id":"sh-1-')
    path.write_bytes(raw[:at] + b"2" + raw[at + 1 :])
    with opened(path) as books:
        with pytest.raises(LedgerUnwritable, match="intent sh-1-1: its body is of sh-1-2"):
            books.open_orders()
        assert books.verify() == ["intent sh-1-1: body and row differ"]
