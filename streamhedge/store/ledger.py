"""The ledger: what we meant. SQLite; float trades, intents, orders, fills, funding, states, epochs.

Three connections. The loop's one (WAL, synchronous NORMAL) commits intents and rows in tens of microseconds and survives
any death of the process. The durable one (synchronous FULL) writes float trades, latches and epochs off the loop. The
reading one sees what is committed. None of them folds the log into the file by itself: ``checkpoint`` does, in a thread.
A float trade id is booked once; a client order id is committed once; after a failed commit nothing has happened, and
after a failed fsync nothing more is written: what reached the disk is not known, and asking again would not tell.

Durable writes are counted in the file and in a mark beside it, so that an older copy put in the file's place is noticed.
"""

from __future__ import annotations

import csv
import io
import os
import secrets
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from streamhedge.domain.canonical import from_plain, to_plain
from streamhedge.domain.commands import Persist
from streamhedge.domain.events import FloatTrade
from streamhedge.domain.order import OPEN_STATUSES, Order
from streamhedge.domain.stop import OPEN_STOPS, Stop
from streamhedge.domain.values import NS_PER_MS, TradeId
from streamhedge.errors import CommandError, LedgerDamaged, LedgerUnwritable, StoreError
from streamhedge.store.journal import open_new, own_folder
from streamhedge.store.tables import tables_of

SCHEMA_VERSION = 2
"""2 adds the table ``gap``. An older file is brought up to date when it is opened to write; a newer one is refused."""
MARK = "written.mark"
"""Beside the ledger and not under its name: a copy of ``ledger.sqlite*`` that is put back does not bring it along."""
FSYNC_FAILED = 1034
"""SQLITE_IOERR_FSYNC."""
EVENT_ROWS = ("fill", "funding", "venue_close")
"""The kinds of rows that an event of the account led to; they hold its time."""
EPOCH_ZERO_S = 1_767_225_600
"""2026-01-01T00:00:00Z: where the numbers of runs begin."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS epoch (number INTEGER PRIMARY KEY, started_ms INTEGER NOT NULL, boot_id TEXT NOT NULL,
    version TEXT NOT NULL, ended TEXT);
CREATE TABLE IF NOT EXISTS float_trade (position INTEGER PRIMARY KEY AUTOINCREMENT, trade_id TEXT UNIQUE NOT NULL,
    time_ms INTEGER NOT NULL, asset TEXT NOT NULL, kind TEXT NOT NULL, quantity TEXT NOT NULL, usd TEXT NOT NULL,
    body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS intent (client_order_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, symbol TEXT NOT NULL,
    decided_ns INTEGER NOT NULL, status TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS row (kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS gap (number INTEGER PRIMARY KEY, opened_ns INTEGER NOT NULL, closed_ns INTEGER,
    body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, body TEXT NOT NULL);
"""


DAMAGED = (sqlite3.Error, OSError, OverflowError, UnicodeDecodeError)
"""What the library raises on a file that is damaged: its own words about one may quote bytes that are no text."""
DAMAGE_CODES = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What it says when the file itself is at fault (a table that lacks is an ERROR), not the disk, a lock or a permission."""
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What reading a damaged body may raise."""


class Ledger:
    """One account's books in one file.

    Args:
        path: The file; made 0600 in a folder 0700 when it is not there.
        read_only: For commands that only look: nothing is made, every write is refused.

    Raises:
        LedgerDamaged: it is no ledger any more.
        LedgerUnwritable: it cannot be opened, is not ours alone, or is of a newer program.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._durable_lock = threading.RLock()
        self._epoch = 0
        self._lost_fsync = ""
        self._mark = path.with_name(MARK)
        try:
            if not read_only:
                own_folder(path.parent)
                if not os.path.lexists(path):
                    open_new(path).close()
            _check_ours_alone(path)
            mode = "ro" if read_only else "rw"
            self._loop = self._connect("NORMAL", mode)
            self._durable = self._connect("FULL", mode)
            self._reading = self._connect("NORMAL", mode)
            self._reading.execute("PRAGMA query_only=1")
            self._prepare(read_only=read_only)
            marked, self._marked_epoch = _read_mark(self._mark)  # before the count in the file: that one may be growing
        except DAMAGED as error:
            if _is_damage(error):
                raise self._unreadable(str(error)) from error
            raise LedgerUnwritable(
                f"ledger {path} cannot be opened: {error}; nothing was started. Repair the disk or the permissions, or "
                "restore the file from a backup"
            ) from error
        self.instance = self._about("instance", secrets.token_hex(4))
        self.rolled_back = self._missing(marked)

    def _connect(self, synchronous: str, mode: str) -> sqlite3.Connection:
        # isolation_level None: transactions are ours alone, BEGIN IMMEDIATE … COMMIT in ``_writing``.
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=2.0,
        )
        if mode == "rw":
            (kind,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if kind != "wal":
                raise sqlite3.OperationalError(f"this file system keeps no write-ahead log (journal mode {kind})")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        return connection

    def _prepare(self, *, read_only: bool) -> None:
        (version,) = self._durable.execute("PRAGMA user_version").fetchone()
        if not 0 <= version <= SCHEMA_VERSION or (read_only and version == 0):
            raise sqlite3.DatabaseError(
                f"it has version {version}, this program knows {SCHEMA_VERSION}: use the program that wrote it, or "
                "another --state-dir"
            )
        if not read_only:
            # Every step from an older version only adds tables, and the number changes with them or not at all.
            self._durable.executescript(f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")
        self._has_gaps = not read_only or version >= 2

    def _about(self, key: str, first: str) -> str:
        found = self._rows("SELECT value FROM about WHERE key = ?", key)
        if not found:
            with self._durable_lock, self._writing(self._durable) as write:
                write.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, first))
            found = self._rows("SELECT value FROM about WHERE key = ?", key)
        return str(found[0][0])

    def _missing(self, marked: int) -> str:
        """Return what to tell of a file that holds fewer durable writes than were made; empty when it holds all."""
        found = self._rows("SELECT value FROM about WHERE key = 'writes'")
        try:
            held = self._count(found[0][0]) if found else 0
        except ValueError as error:
            raise self._unreadable(f"about {found[0][0]!r} is no count") from error
        if held >= marked:
            return ""
        return (
            f"ledger {self.path} is an older copy: it holds {held} of the {marked} durable writes that were made; float "
            "trades, latches or orders are missing. Put the newer file back; or compare the float, book what is missing "
            "under the same ids"
        )

    @contextmanager
    def _durably(self) -> Iterator[sqlite3.Connection]:
        """Commit durably what the block writes, counted, and leave the mark; one at a time."""
        with self._durable_lock:
            with self._writing(self._durable) as write:
                yield write
                write.execute("INSERT OR IGNORE INTO about VALUES ('writes', '0')")
                write.execute("UPDATE about SET value = value + 1 WHERE key = 'writes'")
                (count,) = write.execute("SELECT value FROM about WHERE key = 'writes'").fetchone()
                (epoch,) = write.execute("SELECT COALESCE(MAX(number), 0) FROM epoch").fetchone()
            _leave_mark(self._mark, self._count(count), max(int(epoch), self._marked_epoch))

    def _count(self, said: object) -> int:
        try:
            return int(str(said))
        except ValueError as error:
            raise self._unreadable(f"about: the count of durable writes is {said!r}") from error

    @contextmanager
    def _writing(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        """Commit what the block writes, or nothing of it, whatever the block raises."""
        if self._lost_fsync:
            raise LedgerUnwritable(self._lost_fsync)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            with suppress(*DAMAGED):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if not isinstance(error, DAMAGED):
                raise
            self._note_fsync(error)
            raise LedgerUnwritable(
                f"ledger {self.path}: {error}; nothing was written. Free or repair the disk, then restart"
            ) from error

    def _note_fsync(self, error: BaseException) -> None:
        """Stop for good after a failed fsync: the kernel may have dropped what it could not write."""
        if getattr(error, "sqlite_errorcode", 0) == FSYNC_FAILED:
            self._lost_fsync = (
                f"ledger {self.path}: an fsync failed before, what is on the disk is not known; nothing more is written. "
                "Repair the disk, then restart"
            )

    def _rows(self, sql: str, *values: object) -> list[Any]:
        try:
            return self._reading.execute(sql, values).fetchall()
        except DAMAGED as error:
            if _is_damage(error):
                raise self._unreadable(str(error)) from error
            raise LedgerUnwritable(
                f"ledger {self.path} cannot be read now: {error}. Repair the disk, then restart"
            ) from error

    def _unreadable(self, what: str) -> LedgerDamaged:
        return LedgerDamaged(
            f"ledger {self.path} cannot be read: {what}. `streamhedge ledger verify` names what is damaged; put back what "
            "`streamhedge ledger backup` wrote, or `streamhedge run --accept-venue-truth` sets it aside and begins new books"
        )

    def _plain(self, kind: Any, body: str, what: str) -> Any:
        """Return the value of a row's body."""
        try:
            return from_plain(kind, orjson.loads(body))
        except UNREADABLE as error:
            raise self._unreadable(f"{what}: {type(error).__name__} {error}") from error

    def _trade(self, name: str, quantity: str, usd: str, body: str) -> FloatTrade:
        """Return a float trade whose body says what its columns say: a changed digit of the float is money."""
        found: FloatTrade = self._plain(FloatTrade, body, f"float_trade {name}")
        if (found.trade_id, str(found.quantity), str(found.usd)) != (name, quantity, usd):
            raise self._unreadable(
                f"float_trade {name}: its body says {found.quantity} and {found.usd} USD, its row otherwise"
            )
        return found

    def _order(self, name: str, body: str) -> Order:
        """Return an order whose body is the one of its row: the venue is asked about that id."""
        found: Order = self._plain(Order, body, f"intent {name}")
        if found.client_order_id != name:
            raise self._unreadable(f"intent {name}: its body is of {found.client_order_id}")
        return found

    # ------------------------------------------------------------ durable, off the loop

    def open_epoch(self, *, started_ms: int, boot_id: str, version: str, above: int = 0) -> int:
        """Begin a run and return its number: above the last one, and above every one of a lost later file.

        Args:
            started_ms: When it starts, milliseconds since 1970.
            boot_id: Name of this boot of the machine.
            version: Ours.
            above: A run that is known to have been, from elsewhere than this file.
        """
        with self._durably() as write:
            (last,) = write.execute("SELECT COALESCE(MAX(number), 0) FROM epoch").fetchone()
            # Seconds of a calendar, so that books put back from a backup do not count the same numbers again.
            self._epoch = max(int(last) + 1, self._marked_epoch + 1, above + 1, started_ms // 1_000 - EPOCH_ZERO_S)
            write.execute(
                "INSERT INTO epoch (number, started_ms, boot_id, version) VALUES (?, ?, ?, ?)",
                (self._epoch, started_ms, boot_id, version),
            )
        return self._epoch

    def end_epoch(self, how: str) -> None:
        """Note how the run ended; a run that was killed says nothing."""
        with self._durably() as write:
            write.execute("UPDATE epoch SET ended = ? WHERE number = ?", (how, self._epoch))

    def record_float_trade(self, trade: FloatTrade) -> bool:
        """Book a float trade, durable when this returns; True when new, False when it stood there already.

        The same trade is one with the same content; only the time of booking may differ. Whether a *request* says again
        what is booked, its price left to the mark, is for ``treasury.repeats`` to judge before it becomes a trade.

        Raises:
            CommandError: the id stands for another trade; nothing was changed.
            LedgerUnwritable: nothing was booked.
        """
        with self._durable_lock:
            held = self.float_trade(trade.trade_id)
            if held is not None:
                if replace(held, time_ms=trade.time_ms) == trade:
                    return False
                raise CommandError(
                    f"float trade {trade.trade_id} is already booked as {held.kind.value} {held.quantity:+f} "
                    f"{held.asset} at {held.price:f}; this one says otherwise. Nothing was changed: use another --id"
                )
            with self._durably() as write:
                write.execute(
                    "INSERT INTO float_trade (trade_id, time_ms, asset, kind, quantity, usd, body) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(trade.trade_id, trade.time_ms, trade.asset, trade.kind.value),
                        *(str(trade.quantity), str(trade.usd), _dumps(to_plain(trade))),
                    ),
                )
        return True

    def set_state(self, key: str, fields: dict[str, object]) -> None:
        """Write a latch durably."""
        with self._durably() as write:
            write.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, _dumps(fields)))

    # ------------------------------------------------------------ on the loop

    def commit_intent(self, order: Order) -> None:
        """Commit one intent before its first byte leaves; an id is committed once, ever.

        Raises:
            LedgerUnwritable: not committed, so not to be sent.
        """
        with self._writing(self._loop) as write:
            write.execute(
                "INSERT INTO intent VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(order.client_order_id, self._epoch, order.symbol, order.decided_ns),
                    *(order.status.value, _dumps(to_plain(order))),
                ),
            )

    def commit_stop(self, stop: Stop) -> None:
        """Commit one stop before its first byte leaves; an id is committed once, ever.

        Raises:
            LedgerUnwritable: not committed, so not to be sent.
        """
        with self._writing(self._loop) as write:
            write.execute("INSERT INTO row VALUES ('stop', ?, ?)", (stop.client_order_id, _dumps(to_plain(stop))))

    def stops(self) -> list[Stop]:
        """Return the stops that may rest at the venue, oldest first."""
        marks = ",".join("?" * len(OPEN_STOPS))
        rows = self._rows(
            f"SELECT key, body FROM row WHERE kind = 'stop' AND json_extract(body, '$.status') IN ({marks}) ORDER BY rowid",
            *[status.value for status in OPEN_STOPS],
        )
        return [self._plain(Stop, body, f"stop {key}") for key, body in rows]

    def persist(self, row: Persist) -> None:
        """Write one row that no order waits for."""
        body = _dumps(row.fields)
        with self._writing(self._loop) as write:
            if row.table == "order":
                write.execute(
                    "UPDATE intent SET status = ?, body = ? WHERE client_order_id = ?",
                    (row.fields["status"], body, row.key),
                )
            elif row.table == "state":
                write.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (row.key, body))
            elif row.table == "gap":
                write.execute(
                    "INSERT OR REPLACE INTO gap VALUES (?, ?, ?, ?)",
                    (int(row.key), row.fields["opened_ns"], row.fields["closed_ns"], body),
                )
            elif row.table == "stop":
                write.execute("UPDATE row SET body = ? WHERE kind = 'stop' AND key = ?", (body, row.key))
                write.execute("INSERT OR IGNORE INTO row VALUES ('stop', ?, ?)", (row.key, body))
            elif row.table == "attribution":
                write.execute("INSERT OR REPLACE INTO row VALUES (?, ?, ?)", (row.table, row.key, body))
            else:
                write.execute("INSERT OR IGNORE INTO row VALUES (?, ?, ?)", (row.table, row.key, body))

    # ------------------------------------------------------------ reading

    def epochs(self) -> list[dict[str, Any]]:
        """Return every run, oldest first: number, started_ms, boot_id, version, ended (None: killed, or running)."""
        names = ("number", "started_ms", "boot_id", "version", "ended")
        rows = self._rows(f"SELECT {', '.join(names)} FROM epoch ORDER BY number")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def float_trade(self, trade_id: TradeId) -> FloatTrade | None:
        """Return one float trade."""
        found = self._rows("SELECT trade_id, quantity, usd, body FROM float_trade WHERE trade_id = ?", trade_id)
        return self._trade(*found[0]) if found else None

    def float_trades(self) -> list[FloatTrade]:
        """Return all float trades in the order they were booked."""
        rows = self._rows("SELECT trade_id, quantity, usd, body FROM float_trade ORDER BY position")
        return [self._trade(*row) for row in rows]

    def intents(self, since_ms: int | None = None, until_ms: int | None = None) -> list[Order]:
        """Return every order ever committed as it stands now, in the order they were decided.

        Args:
            since_ms: Decided at or after this time.
            until_ms: Decided before this time.
        """
        rows = self._rows(
            "SELECT client_order_id, body FROM intent WHERE decided_ns >= ? AND decided_ns < ? ORDER BY decided_ns, rowid",
            -(2**63) if since_ms is None else since_ms * NS_PER_MS,
            2**63 - 1 if until_ms is None else until_ms * NS_PER_MS,
        )
        return [self._order(*row) for row in rows]

    def open_orders(self) -> list[Order]:
        """Return the orders whose end we never learnt."""
        marks = ",".join("?" * len(OPEN_STATUSES))
        rows = self._rows(
            f"SELECT client_order_id, body FROM intent WHERE status IN ({marks}) ORDER BY decided_ns, rowid",
            *[status.value for status in OPEN_STATUSES],
        )
        return [self._order(*row) for row in rows]

    def client_order_ids(self, *, epoch: int | None = None) -> list[str]:
        """Return every client order id ever committed, or those of one run."""
        rows = self._rows(
            "SELECT client_order_id FROM intent WHERE epoch = COALESCE(?, epoch) ORDER BY decided_ns, rowid", epoch
        )
        return [name for (name,) in rows]

    def rows(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the rows of one kind (fill, funding, venue_close)."""
        found = self._rows("SELECT key, body FROM row WHERE kind = ? ORDER BY rowid", kind)
        return [(key, self._plain(dict[str, Any], body, f"{kind} {key}")) for key, body in found]

    def gaps(self) -> list[dict[str, Any]]:
        """Return every certificate, oldest first; those of a file that is older than certificates are none."""
        rows = self._rows("SELECT body FROM gap ORDER BY number") if self._has_gaps else []
        return [self._plain(dict[str, Any], body, "gap") for (body,) in rows]

    def last_gap(self) -> int:
        """Return the number of the newest certificate, 0 before any."""
        return int(self._rows("SELECT COALESCE(MAX(number), 0) FROM gap")[0][0]) if self._has_gaps else 0

    def last_row(self) -> tuple[str, dict[str, Any]] | None:
        """Return kind and fields of the last thing the account's stream told (EVENT_ROWS), None before any."""
        marks = ",".join("?" * len(EVENT_ROWS))
        found = self._rows(
            f"SELECT kind, body FROM row WHERE kind IN ({marks}) ORDER BY rowid DESC LIMIT 1", *EVENT_ROWS
        )
        return (
            (found[0][0], self._plain(dict[str, Any], found[0][1], f"{found[0][0]} (the last row)")) if found else None
        )

    def states(self) -> dict[str, dict[str, Any]]:
        """Return every latch."""
        rows = self._rows("SELECT key, body FROM state ORDER BY key")
        return {key: self._plain(dict[str, Any], body, f"state {key}") for key, body in rows}

    # ------------------------------------------------------------ keeping

    def verify(self) -> list[str]:
        """Return what is wrong with the file; empty when nothing. Reads all of it: for a thread, or another process."""
        try:
            found = [str(row[0]) for row in self._reading.execute("PRAGMA integrity_check")]
        except DAMAGED as error:
            return [str(error)]
        if found != ["ok"]:
            return found
        return [*([self.rolled_back] if self.rolled_back else []), *self._damaged_rows()]

    def _damaged_rows(self) -> list[str]:
        """Return the rows that SQLite holds well and we cannot read, or that contradict themselves."""
        wrong = []
        for name, quantity, usd, body in self._rows("SELECT trade_id, quantity, usd, body FROM float_trade"):
            try:
                held = from_plain(FloatTrade, orjson.loads(body))
                if (held.trade_id, str(held.quantity), str(held.usd)) != (name, quantity, usd):
                    wrong.append(f"float_trade {name}: body and row differ")
            except UNREADABLE as error:
                wrong.append(f"float_trade {name}: {error}")
        for name, status, body in self._rows("SELECT client_order_id, status, body FROM intent"):
            try:
                order = from_plain(Order, orjson.loads(body))
                if (order.client_order_id, order.status.value) != (name, status):
                    wrong.append(f"intent {name}: body and row differ")
            except UNREADABLE as error:
                wrong.append(f"intent {name}: {error}")
        for table in ("row", "state"):
            for name, body in self._rows(f"SELECT key, body FROM {table}"):
                try:
                    orjson.loads(body)
                except ValueError as error:
                    wrong.append(f"{table} {name}: {error}")
        return wrong

    def backup(self, path: Path) -> None:
        """Copy the ledger while it is in use; for a thread, or another process.

        Raises:
            CommandError: the file exists; nothing was written.
            StoreError: the disk refused; no half of a copy is left.
        """
        try:
            open_new(path).close()
        except FileExistsError as error:
            raise CommandError(f"{path} exists; name a new file") from error
        except OSError as error:
            raise StoreError(f"backup {path}: {error.strerror}; nothing was written") from error
        try:
            with closing(sqlite3.connect(path)) as target:
                self._reading.backup(target)
        except DAMAGED as error:
            path.unlink(missing_ok=True)
            raise StoreError(f"backup {path}: {error}; no copy was made") from error

    def export(self, folder: Path) -> list[Path]:
        """Write float trades, orders, fills, funding and attribution as CSV, times in UTC (ISO 8601), one file each.

        Args:
            folder: Where to; made when it is not there.

        Returns:
            The files.

        Raises:
            CommandError: one of them exists; nothing was written.
            StoreError: the disk refused.
        """
        rows = (self.rows(kind) for kind in ("fill", "funding", "attribution"))
        tables = tables_of(self.float_trades(), self.intents(), *rows)
        paths = {folder / f"{name}.csv": table for name, table in tables.items()}
        for path in paths:
            if os.path.lexists(path):
                raise CommandError(f"{path} exists; name another folder")
        try:
            own_folder(folder)
            for path, table in paths.items():
                with io.TextIOWrapper(io.BufferedWriter(open_new(path)), encoding="utf-8", newline="") as file:
                    csv.writer(file).writerows(table)
        except OSError as error:
            raise StoreError(f"export to {folder}: {error.strerror or error}; the export is not whole") from error
        return list(paths)

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file; for a thread, at a quiet time.

        Raises:
            LedgerUnwritable: the disk refused; what was committed stays committed.
        """
        try:
            with self._durable_lock:
                self._durable.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except DAMAGED as error:
            self._note_fsync(error)
            raise LedgerUnwritable(f"ledger {self.path}: checkpoint: {error}") from error

    def close(self) -> None:
        """Close the connections; the last one folds the log into the file."""
        for connection in (self._reading, self._loop, self._durable):
            connection.close()


def set_aside(path: Path, name: str) -> tuple[Path | None, str]:
    """Move a damaged ledger, with what SQLite keeps beside it and its mark, into a folder of its own.

    Args:
        path: The ledger; the caller holds the instance lock.
        name: What to name the folder, beside the ledger.

    Returns:
        Where it is now and what is wrong with it; (None, "") where there is none or it is whole: nothing was moved then.

    Raises:
        LedgerUnwritable: it cannot be opened for another reason than damage.
        StoreError: it cannot be moved.
    """
    if not os.path.lexists(path):
        return None, ""
    try:
        with closing(Ledger(path, read_only=True)) as books:
            wrong = "; ".join(line for line in books.verify() if line != books.rolled_back)
    except LedgerDamaged as error:
        wrong = str(error)
    if not wrong:
        return None, ""
    folder = path.with_name(name)
    try:
        folder.mkdir(mode=0o700)
        for part in (path.with_name(MARK), *(path.with_name(f"{path.name}{end}") for end in ("-shm", "-wal", ""))):
            if os.path.lexists(part):
                part.rename(folder / part.name)
    except OSError as error:
        raise StoreError(f"{path} cannot be moved to {folder}: {error.strerror}; nothing was started") from error
    return folder, wrong


def _is_damage(error: BaseException) -> bool:
    """Return whether the file is at fault: what is no error of SQLite's and no OSError comes from its damaged words."""
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in DAMAGE_CODES
    return not isinstance(error, OSError)


def _check_ours_alone(path: Path) -> None:
    """Refuse a ledger that somebody else could change (FAULTS X8)."""
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is a link or no file; name the file itself")
    for name, about in ((path, found), (path.parent, os.stat(path.parent))):
        if about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError(
                f"{name} is not ours alone (owner {about.st_uid}, mode {about.st_mode & 0o777:o}): chmod go-w it, or chown it"
            )


def _read_mark(path: Path) -> tuple[int, int]:
    """Return the durable writes and the highest epoch there were; zeros where nothing or nothing readable says so."""
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            writes, epoch = map(int, file.read(64).split())
    except (OSError, ValueError):
        return 0, 0
    return writes, epoch


def _leave_mark(path: Path, writes: int, epoch: int) -> None:
    """Write the mark in place; what is committed stays committed where that fails, so it is no error of the write."""
    with suppress(OSError):
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            os.pwrite(handle, b"%020d %020d\n" % (writes, epoch), 0)
            os.fdatasync(handle)
        finally:
            os.close(handle)


def _dumps(fields: object) -> str:
    return orjson.dumps(fields).decode()
