"""The door of the ledger: damaged SQLite files, and sound files with rows that nobody of ours wrote, through ``Ledger``."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import orjson

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import Persist
from streamhedge.errors import StoreError
from streamhedge.store.ledger import Ledger
from tests.fuzz.cases import CHANGED, REFUSED, VALID, Finding, Verdict, watched
from tests.fuzz.mutator import Mutator
from tests.support import builders as make
from tests.support.run import Run

COLUMNS = (
    ("float_trade", "body"),
    ("intent", "body"),
    ("row", "body"),
    ("state", "body"),
    ("epoch", "number"),
    ("about", "value"),
)
PLAIN = ((7,), (None,), (b"\xff\x00",), ("\x1b[2J",), (2**63 - 1,), (-(2**63),), (-1.5,))


class Door:
    """Damages the books of a run."""

    def __init__(self, rng: Random, folder: Path) -> None:
        self.rng = rng
        self._mutator = Mutator(rng)
        self._folder = folder
        self._path = folder / "ledger.sqlite"
        folder.chmod(0o700)
        run = Run(folder / "run")
        run.begin()
        orders = list(run.pump.reactor.state.orders.values())
        run.close()
        books = Ledger(self._path)
        books.open_epoch(started_ms=make.T0_MS, boot_id="boot", version="0")
        for number in range(5):
            books.record_float_trade(make.float_trade("0.5", trade_id=f"ft-{number}").trade)
        for order in orders:
            books.commit_intent(order)
            books.persist(Persist("order", order.client_order_id, to_plain(order)))
        books.set_state("halted", {"reason": "x"})
        books.persist(Persist("fill", "BTCUSDT:1", {"quantity": "1", "time_ms": 1}))
        books.checkpoint()
        books.close()
        self._bytes = self._path.read_bytes()
        self._ids = [order.client_order_id for order in orders]

    def case(self) -> Verdict:
        """Damage the file, open it as a start does, and read everything."""
        for path in [found for found in self._folder.iterdir() if found.is_file()]:
            path.unlink()
        rows = self.rng.random() < 0.5
        self._path.write_bytes(self._bytes)
        self._path.chmod(0o600)
        what = self._write_rows() if rows else self._damage()
        with watched(what):
            try:
                return self._read(what, sound=rows)
            except StoreError:
                return Verdict(rows, REFUSED)

    def _read(self, what: bytes, *, sound: bool) -> Verdict:
        looking = self.rng.random() < 0.3
        books = Ledger(self._path, read_only=looking)
        try:
            wrong = books.verify()
            books.epochs()
            books.float_trade(make.float_trade("1", trade_id="ft-0").trade.trade_id)
            trades = books.float_trades()
            books.intents()
            opened = books.open_orders()
            ids = books.client_order_ids()
            books.states()
            for kind in ("fill", "funding", "venue_close"):
                books.rows(kind)
            if not looking:
                books.open_epoch(started_ms=make.T0_MS + 1, boot_id="boot", version="0")
            if wrong:
                return Verdict(sound, CHANGED)
            if not sound and (len(trades) != 5 or ids != self._ids or opened):
                return Verdict(sound, CHANGED)
            return Verdict(True, VALID)
        finally:
            books.close()

    def _damage(self) -> bytes:
        """Damage bytes of the file, or put a write-ahead log of nobody's beside it; return what was done."""
        rng = self.rng
        raw = bytearray(self._bytes)
        kind = rng.randrange(5)
        if kind == 0:
            del raw[rng.randrange(len(raw)) :]
        elif kind == 1:
            at = rng.randrange(100)
            raw[at] = rng.randrange(256)
        elif kind == 2:
            page = rng.randrange(0, len(raw), 4096)
            raw[page : page + 4096] = rng.choice((bytes(4096), rng.randbytes(4096)))
        elif kind == 3:
            self._path.with_name("ledger.sqlite-wal").write_bytes(rng.randbytes(rng.choice((0, 32, 5_000))))
        else:
            for _ in range(rng.randrange(1, 200)):
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        self._path.write_bytes(raw)
        return f"damage of kind {kind}, {len(raw)} bytes, from ".encode() + bytes(raw[:100])

    def _write_rows(self) -> bytes:
        """Write a bent body into a row."""
        rng = self.rng
        table, column = rng.choice(COLUMNS)
        with closing(sqlite3.connect(self._path)) as books:
            (body,) = books.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()
            value: object
            if rng.random() < 0.2 or column != "body":
                (value,) = rng.choice(PLAIN)
            else:
                raw = self._mutator.bent(orjson.loads(body))
                value = raw if rng.random() < 0.1 else raw.decode("utf-8", "replace")
            try:
                books.execute(f"UPDATE {table} SET {column} = ?", (value,))
                books.commit()
            except sqlite3.Error:
                pass  # the table's own rules refused it
        return f"{table}.{column} = {value!r}".encode("utf-8", "replace")

    def close(self) -> None:
        """Leave nothing, and hold the sound file against the same reading."""
        for path in [found for found in self._folder.iterdir() if found.is_file()]:
            path.unlink()
        self._path.write_bytes(self._bytes)
        self._path.chmod(0o600)
        if self._read(b"(sound)", sound=True).what != VALID:
            raise Finding("the sound ledger is not read as sound", b"")
