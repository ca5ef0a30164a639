"""Rows that the ledger refused: kept in order, written when it works again and before any order, and said."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import orjson
import pytest

from streamhedge.domain.commands import Persist
from streamhedge.domain.order import Order
from streamhedge.errors import StoreError
from streamhedge.runtime import owed
from streamhedge.runtime.owed import Owed
from streamhedge.runtime.pump import Pump
from streamhedge.runtime.replay import replay_lines
from streamhedge.store.journal import read_lines
from streamhedge.wire.session import Session, SessionState
from tests.support import builders as make
from tests.unit.test_replay import Run


class Disk:
    """A ledger's far end that refuses while it is full and keeps everything in the order it came."""

    def __init__(self) -> None:
        self.full = False
        self.kept: list[tuple[str, str]] = []
        self.states: dict[str, dict[str, object]] = {}

    def _write(self) -> None:
        if self.full:
            raise StoreError("ledger: No space left on device")

    def commit_intent(self, order: Order) -> None:
        self._write()
        self.kept.append(("intent", order.client_order_id))

    def persist(self, row: Persist) -> None:
        self._write()
        self.kept.append((row.table, row.key))
        if row.table == "state":
            self.states[row.key] = row.fields


class Shop(Run):
    """A recorded run whose ledger can be full for a while."""

    def __init__(self, folder: Path) -> None:
        self.disk = Disk()
        super().__init__(folder)
        self.pump._ledger = self.disk

    def said(self, word: str) -> list[dict[str, object]]:
        lines = chain.from_iterable(read_lines(path) for path in self.close())
        return [fields for line in lines if line.source == "store" and word in (fields := orjson.loads(line.payload))]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    found = Shop(tmp_path)
    found.begin()
    return found


def row(table: str, key: str, **fields: object) -> Persist:
    return Persist(table, key, fields)


def rival(shop: Shop) -> None:
    """Another streamhedge trades the account: HALTED, with a latch to write."""
    report = {"s": "BTCUSDT", "c": "sh-feedbeef-1-000001", "S": "BUY", "o": "LIMIT", "f": "IOC", "q": "1", "p": "1"}
    report |= {"ap": "1", "sp": "0", "x": "NEW", "X": "NEW", "i": 900, "l": "0", "z": "0", "L": "0", "n": "0"}
    report |= {"N": "USDT", "T": shop.venue.now_ms, "t": 0, "R": False, "ps": "BOTH", "ot": "LIMIT", "rp": "0"}
    stamp = {"E": shop.venue.now_ms, "T": shop.venue.now_ms}
    shop.feed("private", {"e": "ORDER_TRADE_UPDATE", **stamp, "o": {**report, "m": False, "er": "0"}})


def test_a_latch_that_was_refused_is_written_on_the_next_tick(shop: Shop) -> None:
    shop.disk.full = True
    rival(shop)
    assert shop.pump.owed == 1 and "halted" not in shop.disk.states
    shop.mark("67121.4")
    assert shop.pump.owed == 1, "still full"
    shop.disk.full = False
    shop.feed("tick", {"lag_ms": 0})
    assert shop.pump.owed == 0
    assert "second streamhedge" in str(shop.disk.states["halted"]["reason"])
    digest = shop.pump.digest()
    assert len(shop.said("message")) == 1 and shop.said("written") == [{"written": 1, "given_up": 0}]
    result = replay_lines(chain.from_iterable(read_lines(path) for path in shop.journal.paths))
    assert (result.diverged, result.digest) == (None, digest), "what the ledger did stands in the recording"


@pytest.mark.fault("P3")
def test_a_ledger_that_refuses_halts_and_nothing_is_sent(shop: Shop) -> None:
    fills = shop.venue.trades
    shop.disk.full = True
    rival(shop)
    shop.feed("verb", {"kind": "resume", "symbol": None, "reason": "try", "uid": 0})
    assert shop.pump.reactor.state.halted is not None, "rows are refused again: halted again"
    shop.trade("-1", "ft-2")
    assert shop.venue.trades == fills


@pytest.mark.fault("P3")
def test_no_order_is_committed_before_what_is_owed(shop: Shop) -> None:
    """The tick that would write it has not come; the order does not overtake it."""
    shop.disk.full = True
    rival(shop)
    shop.disk.full = False
    shop.pump.reactor.state.halted = None
    before = len(shop.disk.kept)
    shop.trade("-1", "ft-2")
    written = [table for table, _ in shop.disk.kept[before:]]
    assert "intent" in written and written.index("state") < written.index("intent")
    shop.disk.full = True
    shop.pump._owed.keep(row("fill", "BTCUSDT:77"))
    intents = [key for table, key in shop.disk.kept if table == "intent"]
    shop.trade("-1", "ft-3")
    assert [key for table, key in shop.disk.kept if table == "intent"] == intents
    assert shop.pump.reactor.state.halted is not None and shop.pump.reactor.state.open_ids == []


def test_a_resume_is_not_undone_by_an_older_row(shop: Shop) -> None:
    """The person's own row is durable at once; the refused latch is older and must not be written over it."""
    shop.disk.full = True
    rival(shop)
    shop.disk.full = False
    shop.disk.states["halted"] = {"reason": None}
    shop.feed("verb", {"kind": "resume", "symbol": None, "reason": "looked", "uid": 0})
    shop.feed("tick", {"lag_ms": 0})
    assert shop.disk.states["halted"]["reason"] is None and shop.pump.owed == 0


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"kind": "halt", "symbol": None}, "halted"),
        ({"kind": "halt", "symbol": "BTCUSDT"}, "block:BTCUSDT"),
        ({"kind": "reduce", "symbol": None}, "reduce"),
        ({"kind": "reduce", "symbol": "BTCUSDT"}, "reduce:BTCUSDT"),
        ({"kind": "flatten", "symbol": "BTCUSDT"}, "flatten:BTCUSDT"),
    ],
)
def test_every_latch_of_a_person_is_the_newest_row_of_its_key(shop: Shop, said: dict[str, object], key: str) -> None:
    shop.feed("verb", {**said, "reason": "because", "uid": 7})
    assert shop.disk.states[key]["reason"] == "uid 7: because"


def test_what_is_owed_at_the_end_is_written_then(shop: Shop) -> None:
    shop.disk.full = True
    rival(shop)
    assert shop.pump.write_owed() != ""
    shop.disk.full = False
    assert shop.pump.write_owed() == "" and "halted" in shop.disk.states


def test_the_newest_row_of_a_key_wins_and_a_fill_stands_once() -> None:
    kept, disk = Owed(rows={}), Disk()
    for one in (
        row("order", "sh-1", status="WORKING"),
        row("fill", "BTCUSDT:1", price="1"),
        row("state", "halted", reason="a"),
        row("order", "sh-1", status="FILLED"),
        row("fill", "BTCUSDT:1", price="2"),
        row("state", "halted", reason=None),
    ):
        kept.keep(one)
    assert [held.fields for held in kept.rows.values()] == [{"price": "1"}, {"status": "FILLED"}, {"reason": None}]
    assert kept.write(disk.persist) == "" and kept.written == 3
    assert disk.kept == [("fill", "BTCUSDT:1"), ("order", "sh-1"), ("state", "halted")]


def test_what_does_not_fit_is_never_a_latch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed, "OWED_MOST", 3)
    kept = Owed(rows={})
    for one in (
        row("state", "halted"),
        row("fill", "1"),
        row("fill", "2"),
        row("order", "sh-1"),
        row("state", "block:BTCUSDT"),
        row("state", "reduce"),
    ):
        kept.keep(one)
    assert [key for _, key in kept.rows] == ["halted", "sh-1", "block:BTCUSDT", "reduce"]
    assert kept.given_up == 2


def test_a_ledger_that_never_refuses_owes_nothing() -> None:
    disk = Disk()
    session = Session(SessionState(symbols=[make.BTCUSDT], stale_after_ns=1))
    pump = Pump(reactor=make.reactor(), session=session, ledger=disk)
    pump.feed("verb", 1, orjson.dumps({"kind": "reduce", "symbol": None, "reason": "r", "uid": 0}))
    assert pump.owed == 0 and disk.kept == [("state", "reduce")]


@pytest.mark.parametrize("table", ["order", "state", "gap", "attribution"])
def test_of_a_row_that_replaces_the_newest_is_written(table: str) -> None:
    held = Owed(rows={})
    for number in (1, 2, 3):
        held.keep(Persist(table=table, key="one", fields={"number": number}))
    written: list[Persist] = []
    assert held.write(written.append) == ""
    assert [row.fields for row in written] == [{"number": 3}]
