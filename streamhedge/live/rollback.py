"""Whether the ledger is an older copy: what stands beside it knows of a run or a write that it does not.

Restored from a backup, a snapshot of the machine, or a disk that lied about its flushes: float trades and latches that
came after are gone, and so would be the numbers of orders that were sent. The hedger then starts HALTED, and numbers its
run above every run there is evidence of.
"""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from streamhedge.errors import JournalCorrupt, StoreError
from streamhedge.store.journal import first_line
from streamhedge.store.ledger import Ledger

RUN = re.compile(r"-e([0-9]+)-[0-9]+\.rec(?:\.zst)?$")


def older_copy(ledger: Ledger, recordings: Path) -> tuple[str, int]:
    """Return why the ledger is an older copy (empty: it is not), and the newest run that is known of.

    Args:
        ledger: The account's books, before this run is opened in them.
        recordings: Where recordings of this account stand, those of others perhaps beside them.
    """
    runs = ledger.epochs()
    last = int(runs[-1]["number"]) if runs else 0
    path, newest = _later_run(recordings, ledger.instance, last)
    if path is None:
        return ledger.rolled_back, last
    said = f"ledger {ledger.path} is an older copy: its last run is {last}, {path} was recorded by run {newest}"
    return (
        ledger.rolled_back or f"{said}. Put the newer file back; or compare the float and book what is missing",
        newest,
    )


def _later_run(folder: Path, instance: str, last: int) -> tuple[Path | None, int]:
    """Return a recording of a later run of this installation, the newest there is."""
    try:
        named = [(int(found[1]), path) for path in folder.iterdir() if (found := RUN.search(path.name))]
    except OSError:
        return None, last
    for epoch, path in sorted(named, reverse=True):
        if epoch <= last:
            break
        if _instance(path) == instance:
            return path, epoch
    return None, last


def _instance(path: Path) -> str | None:
    try:
        return str(orjson.loads(first_line(path).payload)["state"]["reactor"]["instance"])
    except (JournalCorrupt, StoreError, ValueError, KeyError, TypeError):
        return None
