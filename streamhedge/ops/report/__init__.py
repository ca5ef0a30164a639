"""The report of a recording: one HTML file that needs nothing else, and a CSV beside it.

The recording runs through the live code path once more; what the machine knew after each input is what is drawn.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from streamhedge.errors import StoreError
from streamhedge.live.recordings import segments
from streamhedge.ops.report.history import read_history
from streamhedge.ops.report.page import page
from streamhedge.ops.report.table import csv_text
from streamhedge.store.journal import own_folder


def write_report(paths: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """Write the report of a recording; the same recording gives the same bytes.

    Args:
        paths: Segments of a recording, or folders that hold them, in order.
        out: The folder to write into; made, readable by its owner alone, where it does not exist.

    Returns:
        The paths of the HTML page and of the CSV.

    Raises:
        ConfigError: plotly is not installed.
        JournalCorrupt, StoreError: a file is no sound recording, or the folder cannot be written.
    """
    files = segments(paths)
    history = read_history(files)
    text = page(history)
    name = f"report-{files[0].name.removesuffix('.zst').removesuffix('.rec')}"
    html, csv = out / f"{name}.html", out / f"{name}.csv"
    try:
        own_folder(out)
        _replace(html, text)
        _replace(csv, csv_text(history))
    except OSError as error:
        raise StoreError(f"report {html}: {error.strerror or error}; name a folder that can be written") from error
    return html, csv


def _replace(path: Path, text: str) -> None:
    """Write a private file at once: a reader sees the old one or the new one, whole."""
    number, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(number, "w", encoding="utf-8", newline="") as to:
            to.write(text)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
