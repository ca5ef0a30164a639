"""The ledger: booked once, committed once, all or nothing, ours alone, and what is kept of it."""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import Persist
from streamhedge.domain.events import FloatTrade, FloatTradeKind
from streamhedge.domain.order import OPEN_STATUSES, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from streamhedge.domain.stop import OPEN_STOPS, Stop, StopStatus
from streamhedge.domain.values import NS_PER_MS, ClientOrderId, Symbol, TradeId
from streamhedge.errors import CommandError, LedgerUnwritable, StoreError
from streamhedge.store.ledger import Ledger
from tests.support.builders import BTC, BTCUSDT, T0_MS, USDT, float_trade

REPOSITORY = Path(__file__).resolve().parents[2]
D = Decimal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sim-abc" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    books = Ledger(path)
    books.open_epoch(started_ms=T0_MS, boot_id="boot", version="0.1.0")
    yield books
    books.close()


@contextmanager
def opened(path: Path, *, read_only: bool = False) -> Iterator[Ledger]:
    books = Ledger(path, read_only=read_only)
    try:
        yield books
    finally:
        books.close()


def trade(quantity: str = "0.5", *, name: str = "ft-1") -> FloatTrade:
    return float_trade(quantity, trade_id=name).trade


def order(name: str = "sh-1-1", *, decided_ms: int = T0_MS, **said: object) -> Order:
    fields: dict[str, object] = {
        "client_order_id": ClientOrderId(name),
        "symbol": BTCUSDT,
        "side": Side.SELL,
        "quantity": D("0.148"),
        "type": OrderType.LIMIT,
        "price": D("66450.2"),
        "time_in_force": TimeInForce.IOC,
        "reduce_only": False,
        "purpose": Purpose.HEDGE,
        "decided_seq": 7,
        "decided_ns": decided_ms * NS_PER_MS,
        "target": D("-10.148"),
        "position_before": D(-10),
        "decision_mark": D("67121.4"),
        "reason": "float bought",
        **said,
    }
    return Order(**fields)  # type: ignore[arg-type]


def ended(committed: Order, status: OrderStatus) -> Persist:
    return Persist("order", committed.client_order_id, to_plain(replace(committed, status=status)))


# ---------------------------------------------------------------- float trades


@pytest.mark.fault("F1")
def test_a_float_trade_is_booked_once(ledger: Ledger) -> None:
    assert ledger.record_float_trade(trade()) is True
    assert ledger.record_float_trade(trade()) is False
    assert ledger.record_float_trade(replace(trade(), time_ms=T0_MS + 60_000)) is False
    assert ledger.float_trades() == [trade()]
    assert ledger.float_trade(TradeId("ft-1")) == trade()
    assert ledger.float_trade(TradeId("ft-2")) is None


@pytest.mark.parametrize(
    "other",
    [
        {"quantity": D("0.6")},
        {"usd": D(-1)},
        {"price": D(67000)},
        {"asset": "ETH"},
        {"reason": "another"},
        {"kind": FloatTradeKind.DEPOSIT},
        {"voids": TradeId("ft-0")},
    ],
    ids=lambda other: next(iter(other)),
)
@pytest.mark.fault("F1")
def test_the_same_id_with_other_content_is_refused_and_changes_nothing(
    ledger: Ledger, other: dict[str, object]
) -> None:
    ledger.record_float_trade(trade())
    with pytest.raises(
        CommandError, match=r"ft-1 is already booked as buy \+0\.5 BTC at 67121\.4; .* Nothing was changed"
    ):
        ledger.record_float_trade(replace(trade(), **other))  # type: ignore[arg-type]
    assert ledger.float_trades() == [trade()]


def test_float_trades_stand_in_the_order_they_were_booked_also_after_reopening(ledger: Ledger, path: Path) -> None:
    for name, time_ms in (("ft-2", 3), ("ft-1", 2), ("ft-3", 1)):
        ledger.record_float_trade(replace(trade(name=name), time_ms=time_ms))
    with opened(path) as again:
        assert [held.trade_id for held in again.float_trades()] == ["ft-2", "ft-1", "ft-3"]
        assert again.record_float_trade(replace(trade(name="ft-2"), time_ms=9)) is False


def test_two_threads_book_one_trade_once(ledger: Ledger) -> None:
    found: list[bool] = []
    start = threading.Barrier(8)

    def book() -> None:
        start.wait()
        found.append(ledger.record_float_trade(trade()))

    threads = [threading.Thread(target=book) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 7 + [True]


# ---------------------------------------------------------------- intents


@pytest.mark.fault("O2")
def test_an_intent_is_committed_once_ever(ledger: Ledger, path: Path) -> None:
    ledger.commit_intent(order())
    ledger.persist(ended(order(), OrderStatus.FILLED))
    with pytest.raises(LedgerUnwritable, match="nothing was written"):
        ledger.commit_intent(order(quantity=D(9)))
    with opened(path) as again:
        again.open_epoch(started_ms=T0_MS, boot_id="boot", version="0.1.0")
        with pytest.raises(LedgerUnwritable, match="nothing was written"):
            again.commit_intent(order())
        assert [held.quantity for held in again.intents()] == [D("0.148")]


def test_a_committed_intent_is_seen_by_another_process_at_once(ledger: Ledger, path: Path) -> None:
    ledger.commit_intent(order())
    code = "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT client_order_id FROM intent').fetchall())"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('sh-1-1',)]"


@pytest.mark.parametrize("status", list(OrderStatus))
def test_orders_whose_end_is_unknown_come_back(ledger: Ledger, path: Path, status: OrderStatus) -> None:
    ledger.commit_intent(order())
    if status is not OrderStatus.PLANNED:
        ledger.persist(ended(order(), status))
    with opened(path) as again:
        assert again.open_orders() == ([replace(order(), status=status)] if status in OPEN_STATUSES else [])


def test_a_stop_is_committed_once_ever_and_comes_back_while_it_may_rest(ledger: Ledger, path: Path) -> None:
    stop = Stop(
        client_order_id=ClientOrderId("sh-1-2"),
        symbol=Symbol("BTCUSDT"),
        side=Side.BUY,
        quantity=D(10),
        trigger_price=D("96802.8"),
        decided_ns=1,
    )
    ledger.commit_stop(stop)
    with pytest.raises(LedgerUnwritable, match="nothing was written"):
        ledger.commit_stop(replace(stop, quantity=D(9)))
    with opened(path) as again:
        assert again.stops() == [stop]
        for status in StopStatus:
            ledger.persist(Persist("stop", stop.client_order_id, to_plain(replace(stop, status=status))))
            assert bool(again.stops()) == (status in OPEN_STOPS), status
    other = replace(stop, client_order_id=ClientOrderId("sh-1-3"), status=StopStatus.RESTING)
    ledger.persist(Persist("stop", other.client_order_id, to_plain(other)))
    assert ledger.stops() == [other], "one of ours that the venue told of"


def test_intents_by_time_and_by_run(ledger: Ledger) -> None:
    for hour in (2, 0, 1):
        ledger.commit_intent(order(f"sh-1-{hour}", decided_ms=T0_MS + hour * 3_600_000))
    epoch = ledger.open_epoch(started_ms=T0_MS, boot_id="boot", version="0.1.0")
    ledger.commit_intent(order("sh-2-1", decided_ms=T0_MS + 5 * 3_600_000))
    names = [each.client_order_id for each in ledger.intents()]
    assert names == ["sh-1-0", "sh-1-1", "sh-1-2", "sh-2-1"] == ledger.client_order_ids()
    assert ledger.client_order_ids(epoch=epoch) == ["sh-2-1"]
    hour_ms = 3_600_000
    assert [o.client_order_id for o in ledger.intents(T0_MS + hour_ms, T0_MS + 2 * hour_ms)] == ["sh-1-1"]
    assert [o.client_order_id for o in ledger.intents(since_ms=T0_MS + 2 * hour_ms)] == ["sh-1-2", "sh-2-1"]
    assert [o.client_order_id for o in ledger.intents(until_ms=T0_MS + 1)] == ["sh-1-0"]


def test_rows_are_kept_once_by_key_and_in_order(ledger: Ledger) -> None:
    for key, price in (("BTCUSDT:2", "1"), ("BTCUSDT:1", "2"), ("BTCUSDT:2", "3")):
        ledger.persist(Persist("fill", key, {"price": price}))
    ledger.persist(Persist("funding", "BTCUSDT:2", {"amount": "4"}))
    assert ledger.rows("fill") == [("BTCUSDT:2", {"price": "1"}), ("BTCUSDT:1", {"price": "2"})]
    assert ledger.rows("funding") == [("BTCUSDT:2", {"amount": "4"})]
    assert ledger.rows("venue_close") == []


# ---------------------------------------------------------------- runs and latches


def test_epochs_rise_and_those_before_are_known(path: Path) -> None:
    with opened(path) as books:
        assert books.epochs() == []
        assert books.open_epoch(started_ms=1, boot_id="a", version="0.1.0") == 1
        books.end_epoch("stopped")
        instance = books.instance
    with opened(path) as books:
        (before,) = books.epochs()
        assert before == {"number": 1, "started_ms": 1, "boot_id": "a", "version": "0.1.0", "ended": "stopped"}
        assert books.open_epoch(started_ms=2, boot_id="b", version="0.1.0") == 2
    with opened(path) as books:
        assert [(each["number"], each["ended"]) for each in books.epochs()] == [(1, "stopped"), (2, None)]
        assert books.instance == instance and len(instance) == 8


def test_latches_from_both_ways_stand_after_reopening(ledger: Ledger, path: Path) -> None:
    ledger.set_state("halted", {"reason": "uid 0: look"})
    ledger.persist(Persist("state", "block:BTCUSDT", {"cause": "operator"}))
    ledger.set_state("halted", {"reason": None})
    with opened(path) as again:
        assert again.states() == {"block:BTCUSDT": {"cause": "operator"}, "halted": {"reason": None}}


# ---------------------------------------------------------------- failure


def test_what_has_no_plain_form_leaves_no_transaction_open(ledger: Ledger) -> None:
    with pytest.raises(TypeError):
        ledger.commit_intent(order(reason=object()))
    with pytest.raises(TypeError):
        ledger.persist(Persist("fill", "k", {"x": object()}))
    with pytest.raises(TypeError):
        ledger.record_float_trade(replace(trade(), reason=object()))  # type: ignore[arg-type]
    ledger.commit_intent(order())
    assert ledger.record_float_trade(trade()) is True
    assert [each.reason for each in ledger.intents()] == ["float bought"]


def test_another_writer_that_does_not_let_go_is_one_clear_error(ledger: Ledger, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnwritable, match=r"database is locked; nothing was written"):
            ledger.commit_intent(order())
        other.execute("ROLLBACK")
    ledger.commit_intent(order())


FILLING = """
    import os, resource, sys
    from dataclasses import replace
    from pathlib import Path
    sys.path.insert(0, {repository!r})
    from tests.unit.test_ledger import order, trade
    from streamhedge.domain.commands import Persist
    from streamhedge.errors import LedgerUnwritable
    from streamhedge.store.ledger import Ledger
    books = Ledger(Path({path!r}))
    books.open_epoch(started_ms=1, boot_id="b", version="0")
    wal = os.path.getsize({path!r} + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 40_000, wal + 40_000))
    committed, refused = 0, []
    for number in range(100):
        try:
            books.commit_intent(order(f"sh-1-{{number}}", reason="x" * 3_000))
            committed += 1
        except LedgerUnwritable as error:
            refused.append(str(error))
    large = "x" * 60_000
    for write in (
        lambda: books.record_float_trade(replace(trade(), reason=large)),
        lambda: books.set_state("halted", {{"reason": large}}),
        lambda: books.persist(Persist("fill", "BTCUSDT:1", {{"reason": large}})),
    ):
        try:
            write()
            print("wrote")
        except LedgerUnwritable as error:
            refused.append(str(error))
    assert refused and committed < 100, committed
    assert all("nothing was written. Free or repair the disk" in text for text in refused), refused
    assert len(books.intents()) == committed == len(books.open_orders())
    assert books.float_trades() == [] and books.states() == {{}} and books.rows("fill") == []
    print(committed)
"""


@pytest.mark.fault("P3")
def test_a_full_disk_commits_nothing_by_half(path: Path) -> None:
    code = textwrap.dedent(FILLING).format(repository=str(REPOSITORY), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with opened(path) as books:
        assert len(books.intents()) == int(done.stdout)
        assert books.verify() == []
        books.commit_intent(order("sh-2-0"))


def run_as_nobody(code: str, folder: Path) -> str:
    """Run code as somebody who is not root: permissions do not bind root."""
    as_root = os.getuid() == 0
    drop = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n" if as_root else ""
    head = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\nfrom pathlib import Path\n"
    imports = "from streamhedge.errors import LedgerUnwritable\nfrom streamhedge.store.ledger import Ledger\n"
    if as_root:
        for each in (folder, *folder.rglob("*")):
            os.chown(each, 65534, 65534)
    source = head + imports + drop + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.fault("P3")
def test_a_read_only_folder_is_one_clear_error() -> None:
    folder = Path(tempfile.mkdtemp(prefix="streamhedge-read-only-"))
    try:
        folder.chmod(0o500)
        said = run_as_nobody(
            f"""
            try:
                Ledger(Path({str(folder)!r}) / "ledger.sqlite")
            except LedgerUnwritable as error:
                print(error)
            """,
            folder,
        )
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
    assert said.count("\n") == 0
    assert "ledger.sqlite cannot be opened: [Errno 13] Permission denied" in said and "nothing was started" in said


# ---------------------------------------------------------------- whose file it is


def test_file_and_folder_are_ours_alone(ledger: Ledger, path: Path) -> None:
    ledger.commit_intent(order())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    names = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "written.mark")
    assert found == dict.fromkeys(names, 0o600)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
@pytest.mark.fault("X8")
def test_a_ledger_that_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    with opened(path):
        pass
    path.chmod(mode)
    with pytest.raises(LedgerUnwritable, match=rf"ledger\.sqlite is not ours alone \(owner \d+, mode {mode:o}\)"):
        Ledger(path)
    with pytest.raises(LedgerUnwritable, match="not ours alone"):
        Ledger(path, read_only=True)


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    with opened(path):
        pass
    path.parent.chmod(mode)
    with pytest.raises(LedgerUnwritable, match="sim-abc is not ours alone"):
        Ledger(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.fault("X8")
def test_somebody_elses_ledger_is_refused(path: Path) -> None:
    with opened(path):
        pass
    os.chown(path, 65534, 65534)
    with pytest.raises(LedgerUnwritable, match=r"not ours alone \(owner 65534"):
        Ledger(path)


@pytest.mark.parametrize("target", ["real.sqlite", "gone.sqlite"])
@pytest.mark.fault("X8")
def test_a_link_is_refused_and_not_followed(path: Path, tmp_path: Path, target: str) -> None:
    with opened(tmp_path / "elsewhere" / "real.sqlite"):
        pass
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere" / target)
    with pytest.raises(LedgerUnwritable, match="it is a link"):
        Ledger(path)
    assert not (tmp_path / "elsewhere" / "gone.sqlite").exists()


def test_no_ledger_is_no_ledger(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(LedgerUnwritable, match="no file"):
        Ledger(path)
    path.rmdir()
    path.write_bytes(b"hello, I am a text\n" * 100)
    path.chmod(0o600)
    path.parent.chmod(0o700)
    with pytest.raises(LedgerUnwritable, match="file is not a database"):
        Ledger(path)
    assert path.read_bytes().startswith(b"hello")


@pytest.mark.fault("P10")
def test_the_ledger_of_a_newer_program_is_left_alone(path: Path) -> None:
    with opened(path):
        pass
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version=3")
    with pytest.raises(LedgerUnwritable, match="version 3, this program knows 2"):
        Ledger(path)


@pytest.mark.fault("P10")
def test_a_ledger_from_before_the_certificates_is_read_as_it_is_and_brought_up_to_date_when_written(path: Path) -> None:
    with opened(path) as books:
        books.record_float_trade(trade())
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE gap")
        other.execute("PRAGMA user_version=1")
    looking = Ledger(path, read_only=True)
    assert looking.gaps() == [] and looking.last_gap() == 0 and len(looking.float_trades()) == 1
    looking.close()
    with opened(path) as books:
        books.persist(Persist("gap", "1", {"number": 1, "opened_ns": 5, "closed_ns": None}))
        books.persist(Persist("gap", "1", {"number": 1, "opened_ns": 5, "closed_ns": 9}))
        assert books.gaps() == [{"number": 1, "opened_ns": 5, "closed_ns": 9}], "one row, the newest word"
        assert books.last_gap() == 1 and len(books.float_trades()) == 1
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (2,)


def test_looking_makes_nothing_and_writes_nothing(path: Path) -> None:
    with pytest.raises(LedgerUnwritable, match="No such file"):
        Ledger(path, read_only=True)
    assert not path.parent.exists()
    with opened(path) as books:
        books.open_epoch(started_ms=1, boot_id="b", version="0")
        books.commit_intent(order())
        with opened(path, read_only=True) as reader:
            assert reader.instance == books.instance
            assert reader.intents() == [order()]
            for write in (
                lambda: reader.commit_intent(order("sh-1-2")),
                lambda: reader.record_float_trade(trade()),
                lambda: reader.set_state("halted", {}),
                lambda: reader.open_epoch(started_ms=1, boot_id="b", version="0"),
            ):
                with pytest.raises(LedgerUnwritable, match="readonly"):
                    write()
    with opened(path, read_only=True) as reader:
        assert reader.intents() == [order()] and reader.float_trades() == []


# ---------------------------------------------------------------- keeping


def test_a_sound_ledger_verifies(ledger: Ledger) -> None:
    ledger.commit_intent(order())
    ledger.record_float_trade(trade())
    assert ledger.verify() == []


def test_a_damaged_page_is_found(path: Path) -> None:
    with opened(path) as books:
        for number in range(200):
            books.commit_intent(order(f"sh-1-{number}"))
    whole = bytearray(path.read_bytes())
    for page in range(4, len(whole) // 4096):
        whole[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(whole)
    with opened(path) as books:
        assert books.verify() != []


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("UPDATE float_trade SET body = '{}'", "float_trade ft-1"),
        ("UPDATE intent SET body = 'nothing'", "intent sh-1-1"),
        ('UPDATE intent SET body = \'{"client_order_id":"sh-1-1"}\'', "intent sh-1-1"),
        ("INSERT INTO row VALUES ('fill', 'BTCUSDT:1', '{')", "row BTCUSDT:1"),
        ("INSERT INTO state VALUES ('halted', '{')", "state halted"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(ledger: Ledger, path: Path, sql: str, word: str) -> None:
    ledger.commit_intent(order())
    ledger.record_float_trade(trade())
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(sql)
    (wrong,) = ledger.verify()
    assert wrong.startswith(f"{word}: ")


def test_a_backup_is_the_whole_ledger_while_it_is_in_use(ledger: Ledger, tmp_path: Path) -> None:
    ledger.commit_intent(order())
    ledger.record_float_trade(trade())
    copy = tmp_path / "copies" / "copy.sqlite"
    copy.parent.mkdir(mode=0o700)
    ledger.backup(copy)
    ledger.commit_intent(order("sh-1-2"))
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with opened(copy) as books:
        assert (books.intents(), books.float_trades()) == ([order()], [trade()])
        assert books.instance == ledger.instance and books.verify() == []


def test_a_backup_overwrites_nothing_and_leaves_no_half(ledger: Ledger, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    (tmp_path / "link").symlink_to(there)
    for name in ("there", "link"):
        with pytest.raises(CommandError, match="exists; name a new file"):
            ledger.backup(tmp_path / name)
    assert there.read_text() == "mine"
    with pytest.raises(StoreError, match="No such file"):
        ledger.backup(tmp_path / "none" / "copy")


def test_a_checkpoint_happens_when_it_is_asked_for_and_in_a_thread(ledger: Ledger, path: Path) -> None:
    wal = path.with_name("ledger.sqlite-wal")
    size = path.stat().st_size
    for number in range(1_500):  # SQLite by itself would fold after 1,000 pages
        ledger.commit_intent(order(f"sh-1-{number}", reason="x" * 4_000))
    assert path.stat().st_size == size
    grown = wal.stat().st_size
    assert grown > 1_000 * 4_096
    thread = threading.Thread(target=ledger.checkpoint)
    thread.start()
    thread.join()
    assert path.stat().st_size > 1_000 * 4_096
    ledger.commit_intent(order("sh-1-last"))
    assert wal.stat().st_size == grown, "the log is used again from its start"
    assert len(ledger.intents()) == 1_501


# ---------------------------------------------------------------- export


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_books_go_out_as_csv_in_utc(ledger: Ledger, tmp_path: Path) -> None:
    bought = replace(trade("0.14898378"), reason='rebalancing, "Q4"\nsecond line')
    ledger.record_float_trade(bought)
    ledger.record_float_trade(replace(trade("-0.5", name="ft-2"), reason='=HYPERLINK("x")', time_ms=T0_MS + 1))
    filled = order(sent_ns=T0_MS * NS_PER_MS + 600_000, filled=D("0.148"), filled_quote=D("9933.8932"), order_id=12)
    ledger.commit_intent(order())
    ledger.persist(ended(filled, OrderStatus.FILLED))
    fill = {"client_order_id": "sh-1-1", "side": "SELL", "quantity": "0.148", "price": "67120.9", "commission": "4.9"}
    ledger.persist(Persist("fill", "BTCUSDT:1", {**fill, "realised_pnl": "-1.5", "time_ms": T0_MS + 6}))
    funding = {"asset": USDT, "amount": "-12.31000000", "symbol": None, "time_ms": T0_MS}
    ledger.persist(Persist("funding", "1:USDT:", funding))
    paths = ledger.export(tmp_path / "out")
    assert [each.name for each in paths] == [
        "float_trades.csv",
        "orders.csv",
        "fills.csv",
        "funding.csv",
        "attribution.csv",
    ]
    assert {stat.S_IMODE(each.stat().st_mode) for each in paths} == {0o600}
    trades, orders, fills, payments, _ = map(read_csv, paths)
    assert trades[0] == {
        **{
            "time": "2026-11-20T08:00:00.000Z",
            "trade_id": "ft-1",
            "asset": BTC,
            "kind": "buy",
            "quantity": "0.14898378",
        },
        **{"usd": f"{bought.usd:f}", "price": "67121.4", "reason": bought.reason, "voids": ""},
    }
    assert (trades[1]["time"], trades[1]["quantity"]) == ("2026-11-20T08:00:00.001Z", "-0.5")
    assert trades[1]["reason"] == '\'=HYPERLINK("x")'
    assert (orders[0]["decided"], orders[0]["sent"], orders[0]["ended"]) == ("2026-11-20T08:00:00.000Z",) * 2 + ("",)
    assert (orders[0]["side"], orders[0]["status"], orders[0]["average_price"]) == ("SELL", "FILLED", "67120.9")
    assert (orders[0]["reduce_only"], orders[0]["order_id"], orders[0]["error_code"]) == ("False", "12", "")
    assert (fills[0]["time"], fills[0]["fill"], fills[0]["realised_pnl"]) == (
        "2026-11-20T08:00:00.006Z",
        "BTCUSDT:1",
        "-1.5",
    )
    assert payments == [
        {
            "time": "2026-11-20T08:00:00.000Z",
            "payment": "1:USDT:",
            "symbol": "",
            "asset": "USDT",
            "amount": "-12.31000000",
        }
    ]


def test_an_export_overwrites_nothing(ledger: Ledger, tmp_path: Path) -> None:
    ledger.record_float_trade(trade())
    (tmp_path / "funding.csv").write_text("mine")
    with pytest.raises(CommandError, match=r"funding\.csv exists"):
        ledger.export(tmp_path)
    assert (tmp_path / "funding.csv").read_text() == "mine"
    assert not (tmp_path / "float_trades.csv").exists()


def test_an_empty_ledger_exports_its_columns(ledger: Ledger, tmp_path: Path) -> None:
    for each in ledger.export(tmp_path / "out"):
        assert each.read_bytes().count(b"\r\n") == 1


def test_an_export_to_nowhere_is_one_error(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="not whole"):
        ledger.export(tmp_path / "file")
