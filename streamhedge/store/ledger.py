"""The ledger: what we meant. SQLite; float trades, intents, orders, fills, funding, states, epochs.

Two connections. The loop's one (WAL, synchronous NORMAL) commits intents and rows in tens of microseconds and survives
any death of the process. The durable one (synchronous FULL) writes float trades, latches and epochs off the loop.
A float trade id is booked once; a client order id is committed once; after a failed commit nothing has happened.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from streamhedge.domain.canonical import from_plain, to_plain
from streamhedge.domain.commands import Persist
from streamhedge.domain.events import FloatTrade
from streamhedge.domain.order import OPEN_STATUSES, Order
from streamhedge.domain.values import TradeId
from streamhedge.errors import CommandError, LedgerUnwritable

SCHEMA_VERSION = 1
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
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, body TEXT NOT NULL);
"""


class Ledger:
    """One account's books in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o600))
            self._loop = self._connect("NORMAL")
            self._durable = self._connect("FULL")
        except (OSError, sqlite3.Error) as error:
            raise LedgerUnwritable(f"ledger {path} cannot be opened: {error}; nothing was started") from error
        self._durable_lock = threading.Lock()
        self._epoch = 0
        self._prepare()
        self.instance = self._about("instance", secrets.token_hex(4))

    def _connect(self, synchronous: str) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=2.0)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        return connection

    def _prepare(self) -> None:
        try:
            (version,) = self._durable.execute("PRAGMA user_version").fetchone()
            if version not in (0, SCHEMA_VERSION):
                raise LedgerUnwritable(
                    f"ledger {self.path} has version {version}, this program knows {SCHEMA_VERSION}: use the newer "
                    "program, or another --state-dir"
                )
            self._durable.executescript(SCHEMA)
            self._durable.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except sqlite3.Error as error:
            raise LedgerUnwritable(f"ledger {self.path}: {error}; restore it from a backup") from error

    def _about(self, key: str, first: str) -> str:
        with self._writing(self._durable) as write:
            write.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, first))
        (value,) = self._durable.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return str(value)

    @contextmanager
    def _writing(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise LedgerUnwritable(
                f"ledger {self.path}: {error}; nothing was written. Free or repair the disk, then restart"
            ) from error

    # ------------------------------------------------------------ durable, off the loop

    def open_epoch(self, *, started_ms: int, boot_id: str, version: str) -> int:
        """Begin a run and return its number, one above the last."""
        with self._durable_lock, self._writing(self._durable) as write:
            (last,) = write.execute("SELECT COALESCE(MAX(number), 0) FROM epoch").fetchone()
            self._epoch = int(last) + 1
            write.execute(
                "INSERT INTO epoch (number, started_ms, boot_id, version) VALUES (?, ?, ?, ?)",
                (self._epoch, started_ms, boot_id, version),
            )
        return self._epoch

    def end_epoch(self, how: str) -> None:
        """Note how the run ended; a run that was killed says nothing."""
        with self._durable_lock, self._writing(self._durable) as write:
            write.execute("UPDATE epoch SET ended = ? WHERE number = ?", (how, self._epoch))

    def last_epoch(self) -> dict[str, Any] | None:
        """Return the run before this one, None at the first."""
        found = self._durable.execute(
            "SELECT number, started_ms, boot_id, version, ended FROM epoch WHERE number < ? ORDER BY number DESC",
            (self._epoch or 2**60,),
        ).fetchone()
        names = ("number", "started_ms", "boot_id", "version", "ended")
        return dict(zip(names, found, strict=True)) if found is not None else None

    def record_float_trade(self, trade: FloatTrade) -> bool:
        """Book a float trade, durable when this returns; True when new, False when it stood there already.

        Raises:
            CommandError: the id stands for another trade; nothing was changed.
            LedgerUnwritable: nothing was booked.
        """
        with self._durable_lock:
            held = self.float_trade(trade.trade_id)
            if held is not None:
                if _same_trade(held, trade):
                    return False
                raise CommandError(
                    f"float trade {trade.trade_id} is already booked as {held.kind.value} {held.quantity:+f} "
                    f"{held.asset} at {held.price:f}; this one says otherwise. Nothing was changed: use another --id"
                )
            with self._writing(self._durable) as write:
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
        with self._durable_lock, self._writing(self._durable) as write:
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
            else:
                write.execute("INSERT OR IGNORE INTO row VALUES (?, ?, ?)", (row.table, row.key, body))

    # ------------------------------------------------------------ reading

    def float_trade(self, trade_id: TradeId) -> FloatTrade | None:
        """Return one float trade."""
        found = self._durable.execute("SELECT body FROM float_trade WHERE trade_id = ?", (trade_id,)).fetchone()
        return from_plain(FloatTrade, orjson.loads(found[0])) if found is not None else None

    def float_trades(self) -> list[FloatTrade]:
        """Return all float trades in the order they were booked."""
        rows = self._durable.execute("SELECT body FROM float_trade ORDER BY position").fetchall()
        return [from_plain(FloatTrade, orjson.loads(body)) for (body,) in rows]

    def open_orders(self) -> list[Order]:
        """Return the orders whose end we never learnt."""
        marks = ",".join("?" * len(OPEN_STATUSES))
        rows = self._durable.execute(
            f"SELECT body FROM intent WHERE status IN ({marks}) ORDER BY decided_ns",
            [status.value for status in OPEN_STATUSES],
        ).fetchall()
        return [from_plain(Order, orjson.loads(body)) for (body,) in rows]

    def client_order_ids(self, *, epoch: int | None = None) -> list[str]:
        """Return every client order id ever committed, or those of one run."""
        if epoch is None:
            rows = self._durable.execute("SELECT client_order_id FROM intent ORDER BY decided_ns").fetchall()
        else:
            rows = self._durable.execute(
                "SELECT client_order_id FROM intent WHERE epoch = ? ORDER BY decided_ns", (epoch,)
            ).fetchall()
        return [name for (name,) in rows]

    def rows(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the rows of one kind (fill, funding, venue_close)."""
        found = self._durable.execute("SELECT key, body FROM row WHERE kind = ? ORDER BY rowid", (kind,)).fetchall()
        return [(key, orjson.loads(body)) for key, body in found]

    def states(self) -> dict[str, dict[str, Any]]:
        """Return every latch."""
        return {key: orjson.loads(body) for key, body in self._durable.execute("SELECT key, body FROM state")}

    def verify(self) -> list[str]:
        """Return what SQLite finds wrong with the file; empty when nothing."""
        found = [row[0] for row in self._durable.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def backup(self, path: Path) -> None:
        """Copy the ledger while it is in use; refuses to overwrite."""
        if path.exists():
            raise CommandError(f"{path} exists; name a new file")
        with sqlite3.connect(path) as target:
            self._durable.backup(target)
        os.chmod(path, 0o600)

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file; for a thread, at a quiet time."""
        with self._durable_lock:
            self._durable.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close both connections."""
        self._loop.close()
        self._durable.close()


def _same_trade(held: FloatTrade, trade: FloatTrade) -> bool:
    """A retry carries the same words; the time of booking and a defaulted price may differ."""
    same = (held.kind, held.asset, held.voids) == (trade.kind, trade.asset, trade.voids)
    return same and (held.quantity == trade.quantity or (held.usd == trade.usd and trade.usd != 0))


def _dumps(fields: object) -> str:
    return orjson.dumps(fields).decode()
