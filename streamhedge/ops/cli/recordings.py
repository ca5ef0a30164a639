"""What is done with recordings: replay, explain, report; and decode, for raw frames."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.console import Console

from streamhedge.ops.cli.options import Common, common_of, example, out, shared
from streamhedge.ops.cli.tables import account_folder, recordings_of
from streamhedge.ops.exits import FAILURE, OK
from streamhedge.ops.tables import open_ledger


@click.command(epilog=example("streamhedge replay recordings/", "streamhedge replay run-0001.rec --until 5000 --json"))
@shared
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--until", type=int, help="Stop after this input.")
def replay(**said: Any) -> None:
    """Feed recordings through the live code path; exit 1 where it diverges."""
    from streamhedge.live.recordings import replay_files

    common = common_of(said)
    start = time.perf_counter()
    with progress(common) as tell:
        found = replay_files(said["files"], until=said["until"], on_cut=common.say, progress=tell)
    seconds = round(time.perf_counter() - start, 3)
    result = {
        **{"events": found.events, "decisions": found.decisions, "digest": found.digest},
        **{"diverged": found.diverged, "seconds": seconds},
    }
    if common.json:
        out(result)
    else:
        click.echo(f"{found.events} events, {found.decisions} decisions in {seconds} s, digest {found.digest}")
        common.detail(f"{found.checkpoints} checkpoints agree")
        if found.diverged is not None:
            click.echo(f"DIVERGED at input {found.diverged['seq']}: {found.diverged}")
    sys.exit(OK if found.diverged is None else FAILURE)


@contextlib.contextmanager
def progress(common: Common) -> Iterator[Callable[[int], None]]:
    """Show how many inputs are through, on a terminal; yield who is told."""
    terminal = Console(stderr=True, no_color=not common.colour)
    if common.quiet or not terminal.is_terminal:
        yield lambda inputs: None
        return
    with terminal.status("replaying …") as status:
        yield lambda inputs: status.update(f"replaying … {inputs} inputs")


@click.command(
    epilog=example(
        "streamhedge explain 4711",
        "streamhedge explain 10:02:11.3 recordings/",
        "streamhedge explain sh-7f3a91c2-1-000003 incident.rec --json",
        "streamhedge explain gaps",
        "streamhedge explain gap 3",
    )
)
@shared
@click.argument("what", metavar="SEQ|TIME|ORDER|gaps|gap N")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def explain(**said: Any) -> None:
    """Say why: the event, what the rules saw with ages, the arithmetic, the order, its fills and how long it took.

    SEQ is the number of an input (the journal shows it), TIME the first input at or after it (UTC), ORDER a client order
    id. Without FILES it reads the newest run of the account. `gaps` lists the stretches in which the book could not be
    trusted, `gap N` shows the certificate of one: from the ledger, or from the FILES named.
    """
    from streamhedge.ops.explain import explain as explained
    from streamhedge.ops.explain import explain_text

    common = common_of(said)
    if said["what"] in ("gap", "gaps"):
        _explain_gaps(common, said["what"], list(said["files"]))
        return
    found = explained(said["what"], recordings_of(common, said["files"]), on_cut=common.detail)
    out(found) if common.json else click.echo(explain_text(found))


def _explain_gaps(common: Common, what: str, files: list[Path]) -> None:
    from streamhedge.ops.certificates import certificate, certificates_of, gap_text, gaps_text

    if what == "gap" and not files:
        raise click.UsageError("say which: `explain gap N`; `explain gaps` lists them")
    number = str(files.pop(0)) if what == "gap" else None
    found = certificates_of(files, on_cut=common.detail) if files else open_ledger(account_folder(common)).gaps()
    if number is not None:
        gap = certificate(found, number)
        out(gap) if common.json else click.echo(gap_text(gap))
    else:
        out({"gaps": found}) if common.json else click.echo(gaps_text(found))


@click.command(epilog=example("streamhedge decode frames.txt", "tail -f frames.txt | streamhedge decode -"))
@shared
@click.argument("file", type=click.File("rb"))
def decode(**said: Any) -> None:
    """Decode raw frames, one per line: one typed event, or {"quarantined": reason}, as JSON per line."""
    from streamhedge.ops.decode import decode_lines

    common_of(said)
    for row in decode_lines(_lines(said["file"])):
        out(row)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines as they come: a pipe is read line by line, not in blocks."""
    return iter(file.readline, b"")


@click.command(epilog=example("streamhedge report", "streamhedge report recordings/ --out reports/"))
@shared
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", "folder", type=click.Path(path_type=Path), default=Path("."), help="Where to; here without.")
def report(**said: Any) -> None:
    """Write a recording's report: one HTML file that needs nothing else, and a CSV beside it."""
    from streamhedge.ops.report import write_report

    common = common_of(said)
    html, csv = write_report(recordings_of(common, said["files"]), said["folder"])
    out({"html": str(html), "csv": str(csv)}) if common.json else click.echo(f"{html}\n{csv}")
