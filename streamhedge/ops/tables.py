"""Tables of what happened: orders, funding and the journal, from the files on disk; rows as plain text.

They read the ledger through a read-only connection and the recording as it stands, so they work beside a running
process, and without one. Times are UTC, ISO 8601; money in quote units, quantities in base units.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from streamhedge.domain.values import NS_PER_MS
from streamhedge.errors import CommandError, LedgerUnwritable
from streamhedge.live.recordings import lines_of
from streamhedge.ops.lines import inert
from streamhedge.runtime.replay import reactions
from streamhedge.settings.units import milliseconds
from streamhedge.store.ledger import Ledger
from streamhedge.store.tables import iso_utc

Row = dict[str, Any]
FORMATS = ("table", "json", "csv", "parquet")


def open_ledger(folder: Path) -> Ledger:
    """Open an account's ledger to look only; a running process is not disturbed."""
    path = folder / "ledger.sqlite"
    if not path.exists():
        raise LedgerUnwritable(f"no ledger at {path}; say which account with -c FILE, or where with --state-dir")
    return Ledger(path, read_only=True)


def moment_ms(text: str, *, now: datetime) -> int:
    """Return the moment a person names, milliseconds since the epoch.

    Args:
        text: ISO 8601 (UTC where it names no zone), a time of today (`10:02:11`), or how long ago (`15m`, `2h`, `7d`).
        now: The present.

    Raises:
        CommandError: none of these.
    """
    try:
        return int((now - timedelta(milliseconds=milliseconds(text))).timestamp() * 1_000)
    except ValueError:
        pass
    try:
        if "-" not in text and ":" in text:
            text = f"{now:%Y-%m-%d}T{text}"
        said = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"{text!r} is no time: say 2026-11-24T10:02:11, 10:02:11 (today, UTC) or 15m (ago)"
        ) from error
    return round((said if said.tzinfo is not None else said.replace(tzinfo=UTC)).timestamp() * 1_000)


def order_rows(ledger: Ledger) -> list[Row]:
    """Return one row per order."""
    return [
        {
            "time": iso_utc(order.decided_ns // NS_PER_MS),
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "purpose": order.purpose.value,
            "side": order.side.value,
            "quantity": _plain(order.quantity),
            "type": order.type.value
            if order.time_in_force is None
            else f"{order.type.value} {order.time_in_force.value}",
            "price": _plain(order.price),
            "reduce_only": order.reduce_only,
            "status": order.status.value,
            "filled": _plain(order.filled),
            "average_price": _plain(None if order.average_price is None else round(order.average_price, 4)),
            "commission": _plain(order.commission),
            "commission_asset": order.commission_asset,
            "realised_pnl": _plain(order.realised_pnl),
            "seq": order.decided_seq,
            "reason": order.reason
            if order.error_code is None
            else f"{order.reason}; {order.error_code} {order.error_message}",
        }
        for order in ledger.intents()
    ]


def funding_rows(ledger: Ledger) -> list[Row]:
    """Return one row per realised funding payment; + was received."""
    return [
        {
            "time": iso_utc(row["time_ms"]),
            "symbol": row["symbol"] or "unassigned",
            "amount": _plain(Decimal(row["amount"])),
            "asset": row["asset"],
        }
        for _, row in ledger.rows("funding")
    ]


def funding_sums(rows: Iterable[Row], *, length: int) -> list[Row]:
    """Return what was paid in each stretch of time, asset and symbol, with a running total; oldest first.

    Args:
        rows: Of ``funding_rows``; a payment belongs to the UTC day of its event.
        length: Of the time's text that names the stretch: 10 for days, 7 for months.
    """
    sums: dict[tuple[str, str, str], list[Decimal]] = {}
    for row in rows:
        sums.setdefault((row["time"][:length], row["asset"], row["symbol"]), []).append(Decimal(row["amount"]))
    total: dict[str, Decimal] = {}
    found = []
    for (time, asset, symbol), paid in sorted(sums.items()):
        amount = sum(paid, Decimal(0))
        total[asset] = total.get(asset, Decimal(0)) + amount
        said = {"payments": len(paid), "amount": _plain(amount), "cumulative": _plain(total[asset]), "asset": asset}
        found.append({"time": time, "symbol": symbol, **said})
    return found


def journal_rows(paths: Sequence[Path], *, on_cut: Callable[[str], None] | None = None) -> Iterator[Row]:
    """Yield one row per note of a recording: what the machine had to say, by the number of the input."""
    for line, reaction in reactions(lines_of(paths, on_cut=on_cut)):
        for note in reaction.notes:
            yield {
                "time": iso_utc(line.recv_ns // NS_PER_MS),
                "seq": reaction.seq,
                "level": note.level.value,
                "code": note.code,
                "symbol": note.symbol,
                "text": note.text,
            }


def between(rows: Iterable[Row], *, since_ms: int | None, until_ms: int | None) -> Iterator[Row]:
    """Yield the rows of a stretch of time; both ends belong to it."""
    low = iso_utc(since_ms) if since_ms is not None else ""
    high = iso_utc(until_ms) if until_ms is not None else "~"
    return (row for row in rows if low <= row["time"] <= high)


def rendered(rows: Sequence[Row], *, form: str, title: str, columns: Sequence[str]) -> str | Table:
    """Return rows as a table to print, or as JSON or CSV text without a final newline.

    Raises:
        CommandError: a format that is not built in.
    """
    if form == "json":
        return json.dumps(list(rows))
    if form == "csv":
        return csv_text(rows, columns)
    if form == "parquet":
        raise CommandError(
            "--format parquet needs the extra streamhedge[parquet], which this version does not have yet; use csv"
        )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for column in columns:
        table.add_column(
            column.replace("_", " "),
            overflow="fold",
            justify="right" if column in FIGURES else "left",
            no_wrap=column in NAMES,
        )
    for row in rows:
        table.add_row(*(Text("" if row.get(column) is None else inert(str(row[column]))) for column in columns))
    return table


NAMES = ("time", "client_order_id", "seq", "code", "symbol")
FIGURES = ("quantity", "price", "filled", "average_price", "commission", "amount", "realised_pnl", "seq", "usd")


def csv_text(rows: Sequence[Row], columns: Sequence[str], *, head: bool = True) -> str:
    """Return rows as CSV. A cell that a spreadsheet would take for a formula is a text cell."""
    said = io.StringIO()
    writer = csv.writer(said, lineterminator="\n")
    if head:
        writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return said.getvalue().rstrip("\n")


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    if text[:1] in ("=", "@", "\t", "\r") or (text[:1] in ("+", "-") and not _is_number(text)):
        return f"'{text}"
    return text


def _is_number(text: str) -> bool:
    try:
        Decimal(text)
    except ArithmeticError:
        return False
    return True


def _plain(value: Decimal | None) -> str | None:
    if value is None:
        return None
    return format(value.normalize(), "f") if value else "0"
