"""`book`, `orders`, `funding`, `journal` as tables, and `ledger backup | verify | export`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from streamhedge.errors import ConfigError, NotRunning, StoreError
from streamhedge.ops import tables
from streamhedge.ops.cli.options import Command, Common, account_name, common_of, example, out, running_name, shared
from streamhedge.ops.exits import FAILURE, OK
from streamhedge.ops.instances import running
from streamhedge.ops.screen import rounded
from streamhedge.ops.tables import FORMATS, Row

FOLLOW_EVERY_S = 0.5
ORDER_COLUMNS = (
    *("time", "client_order_id", "symbol", "purpose", "side", "quantity", "type", "price", "status", "filled"),
    *("average_price", "commission", "realised_pnl", "seq", "reason"),
)
ORDER_TEXT = ("time", "client_order_id", "purpose", "side", "quantity", "status", "filled", "average_price", "reason")
FUNDING_COLUMNS = ("time", "symbol", "amount", "asset")
FUNDING_SUMS = ("time", "symbol", "payments", "amount", "cumulative", "asset")
STRETCHES = {"day": 10, "month": 7}
"""How much of a time names a stretch of it."""
JOURNAL_COLUMNS = ("time", "seq", "level", "code", "symbol", "text")
BOOK_TEXT = (
    *("symbol", "quantity", "entry_price", "mark_price", "unrealized_pnl", "liquidation_price"),
    *("venue_liquidation_price", "liquidation_distance", "age_ms"),
)
BOOK_COLUMNS = (
    *("symbol", "position_side", "quantity", "entry_price", "mark_price", "unrealized_pnl", "liquidation_price"),
    *("venue_liquidation_price", "liquidation_distance", "leverage", "adl", "source", "age_ms"),
)


def tabular(command: Command) -> Command:
    """Add the options of a table."""
    for option in (
        click.option("--format", "form", type=click.Choice(FORMATS), default=None, help="table, json, csv or parquet."),
        click.option("--since", help="ISO 8601, 10:02:11 (today, UTC) or 15m (ago)."),
        click.option("--until", help="Likewise."),
        click.option("--follow", is_flag=True, help="Go on with what comes; Ctrl-C ends it."),
    ):
        command = option(command)
    return command


def account_folder(common: Common) -> Path:
    """Return the folder of the account that is meant: the config's, the running process's, or the only one there.

    Raises:
        ConfigError: none, or several.
    """
    meant = account_name(common.config()) if common.configs else None
    if meant is not None:
        return common.state_dir / meant
    folders = sorted(path.parent for path in common.state_dir.glob("*/ledger.sqlite"))
    alive = [instance.folder for instance in running() if instance.folder in folders]
    if len(alive) == 1 and alive[0] is not None:
        return alive[0]
    if len(folders) == 1:
        return folders[0]
    if not folders:
        raise ConfigError(f"no ledger under {common.state_dir}; say where with --state-dir")
    # Each run of the built-in exchange has an account of its own: the newest is meant unless a config says otherwise.
    newest = max(folders, key=lambda folder: (folder / "ledger.sqlite").stat().st_mtime)
    common.say(
        f"{len(folders)} accounts under {common.state_dir}; showing the newest, {newest.name} (-c FILE names one)"
    )
    return newest


def recordings_of(common: Common, files: Sequence[Path]) -> list[Path]:
    """Return the recordings that are meant: the files named, or the newest run of the account."""
    if files:
        return list(files)
    folder = account_folder(common) / "recordings"
    found = sorted(path for pattern in ("*.rec", "*.rec.zst") for path in folder.glob(pattern))
    if not found:
        raise StoreError(f"no recording in {folder}; name its files (`run --record DIR` puts them elsewhere)")
    run = found[-1].name.rpartition("-")[0]
    return [path for path in found if path.name.rpartition("-")[0] == run]


def show(
    common: Common,
    said: dict[str, Any],
    rows: Callable[[], Iterable[Row]],
    *,
    title: str,
    columns: Sequence[str],
    text: Sequence[str] = (),
) -> None:
    """Print the rows of a stretch of time, and with --follow those that come."""
    now = datetime.now(UTC)
    since = tables.moment_ms(said["since"], now=now) if said["since"] else None
    until = tables.moment_ms(said["until"], now=now) if said["until"] else None
    form = said["form"] or ("json" if common.json else "table")
    if form == "table" and text:
        columns = text
    found = list(tables.between(rows(), since_ms=since, until_ms=until))
    if not said["follow"]:
        _print(common, tables.rendered(found, form=form, title=title, columns=columns))
        return
    seen = 0
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            for row in found[seen:]:
                _print_row(common, row, form=form, columns=columns, head=seen == 0)
                seen += 1
            time.sleep(FOLLOW_EVERY_S)
            found = list(tables.between(rows(), since_ms=since, until_ms=until))


def _print(common: Common, rendered: Any) -> None:
    if isinstance(rendered, str):
        click.echo(rendered)
    else:
        common.console().print(rendered)


def _print_row(common: Common, row: Row, *, form: str, columns: Sequence[str], head: bool) -> None:
    if form == "json":
        out(row)
    elif form == "csv":
        click.echo(tables.csv_text([row], columns, head=head))
    elif form == "parquet":
        tables.rendered([row], form=form, title="", columns=columns)
    else:
        click.echo("  ".join(str(row[column]) for column in columns if row.get(column) is not None))
    sys.stdout.flush()


@click.command(epilog=example("streamhedge orders --since 1h", "streamhedge orders --format csv > orders.csv"))
@shared
@tabular
def orders(**said: Any) -> None:
    """Show every order of ours, from the ledger."""
    common = common_of(said)
    books = tables.open_ledger(account_folder(common))
    show(common, said, lambda: tables.order_rows(books), title="orders", columns=ORDER_COLUMNS, text=ORDER_TEXT)


@click.command(epilog=example("streamhedge funding --since 7d --format csv", "streamhedge funding --by month"))
@shared
@tabular
@click.option("--by", type=click.Choice(tuple(STRETCHES)), help="Sums with a running total instead of each payment.")
def funding(**said: Any) -> None:
    """Show realised funding payments, from the ledger; + was received."""
    common = common_of(said)
    books = tables.open_ledger(account_folder(common))
    length = STRETCHES.get(said["by"] or "")
    if length is None:
        show(common, said, lambda: tables.funding_rows(books), title="funding", columns=FUNDING_COLUMNS)
        return
    now = datetime.now(UTC)
    since, until = (tables.moment_ms(said[end], now=now) if said[end] else None for end in ("since", "until"))
    show(
        common,
        {**said, "since": None, "until": None},
        lambda: tables.funding_sums(
            tables.between(tables.funding_rows(books), since_ms=since, until_ms=until), length=length
        ),
        title=f"funding by {said['by']}, UTC",
        columns=FUNDING_SUMS,
    )


@click.command(epilog=example("streamhedge journal --since 10m", "streamhedge journal recordings/ --format json"))
@shared
@tabular
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def journal(**said: Any) -> None:
    """Show what the machine had to say, from its recording; `explain SEQ` says why."""
    common = common_of(said)
    paths = recordings_of(common, said["files"])
    show(
        common,
        said,
        lambda: tables.journal_rows(paths, on_cut=common.detail),
        title="journal",
        columns=JOURNAL_COLUMNS,
    )


@click.command(epilog=example("streamhedge book", "streamhedge book --format json"))
@shared
@tabular
def book(**said: Any) -> None:
    """Show the running process's position book: every position of the account, ages and the venue's own figures."""
    from streamhedge.ops.control import ask

    common = common_of(said)
    if said["since"] or said["until"]:
        raise click.UsageError("a book is a moment: --since and --until belong to orders, funding and journal")
    form = said["form"] or ("json" if common.json else "table")
    name = running_name(common)
    while True:
        answer = ask(name, {"verb": "book"}, timeout_s=15.0)
        if "error" in answer:
            raise NotRunning(str(answer["error"]))
        if form == "json":
            out(answer)
        else:
            _print(
                common,
                tables.rendered(
                    answer["positions"],
                    form=form,
                    title="positions",
                    columns=BOOK_TEXT if form == "table" else BOOK_COLUMNS,
                ),
            )
            if form == "table":
                _print_account(common, answer)
        if not said["follow"]:
            return
        sys.stdout.flush()
        time.sleep(FOLLOW_EVERY_S)


def _print_account(common: Common, answer: dict[str, Any]) -> None:
    account = answer["account"]
    if account is not None:
        click.echo(
            f"{account['asset']} wallet {rounded(account['wallet_balance'], 2)}, margin "
            f"{rounded(account['margin_balance'], 2)}, maintenance {rounded(account['maintenance_margin'], 2)}, available "
            f"{rounded(account['available'], 2)} ({account['age_ms']} ms old)"
        )
    click.echo(f"book {answer['book_status']} ({answer['book_reason']})")


# ---------------------------------------------------------------- ledger


@click.group(epilog=example("streamhedge ledger verify", "streamhedge ledger backup books.sqlite"))
@shared
def ledger(**said: Any) -> None:
    """Keep the treasury's books."""


@ledger.command("backup", epilog=example("streamhedge ledger backup /backup/books-2026-11-24.sqlite"))
@shared
@click.argument("path", type=click.Path(path_type=Path))
def ledger_backup(**said: Any) -> None:
    """Copy the ledger while it is in use; never over another file."""
    common = common_of(said)
    books = tables.open_ledger(account_folder(common))
    books.backup(said["path"])
    out({"backup": str(said["path"])}) if common.json else click.echo(f"{said['path']}, a copy of {books.path}")


@ledger.command("verify", epilog=example("streamhedge ledger verify --json"))
@shared
def ledger_verify(**said: Any) -> None:
    """Check that the file is whole and every row can be read; exit 1 when not."""
    common = common_of(said)
    books = tables.open_ledger(account_folder(common))
    problems = books.verify()
    if common.json:
        out({"ok": not problems, "ledger": str(books.path), "problems": problems})
    else:
        click.echo("\n".join([f"ledger {books.path}: {'ok' if not problems else 'NOT SOUND'}", *problems]))
    sys.exit(FAILURE if problems else OK)


@ledger.command("export", epilog=example("streamhedge ledger export books-2026-11/"))
@shared
@click.argument("folder", type=click.Path(path_type=Path))
def ledger_export(**said: Any) -> None:
    """Write float trades, orders, fills, funding and attribution as CSV files, UTC, ISO 8601; never over another file."""
    common = common_of(said)
    paths = tables.open_ledger(account_folder(common)).export(said["folder"])
    out({"files": [str(path) for path in paths]}) if common.json else click.echo("\n".join(str(path) for path in paths))


__all__ = ["account_folder", "book", "funding", "journal", "ledger", "orders", "recordings_of"]
