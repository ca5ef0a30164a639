"""The real messages beside the repository: which test reads which file.

A test names every file it reads, with a literal, through ``recording``; tests/recordings/test_all_read.py lists the
files that nobody names. Where the folder is absent a recording is empty, and ``needs_shared`` skips its tests.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.shared import SHARED

FOLDER: Path | None = None if SHARED is None else SHARED / "recordings"


@dataclass(frozen=True)
class Recording:
    """One recorded file; every reader returns nothing where the folder is absent."""

    name: str

    @property
    def path(self) -> Path:
        """Return where the file is; only for tests behind ``needs_shared``."""
        assert FOLDER is not None, "no recordings here; mark the test with needs_shared"
        return FOLDER / self.name

    def raw(self) -> bytes:
        """Return the whole file."""
        return b"" if FOLDER is None else self.path.read_bytes()

    def lines(self) -> list[bytes]:
        """Return the lines of a `.jsonl` as bytes: in sequences/ each is a frame as it came."""
        return [line for line in self.raw().splitlines() if line.strip()]

    def rows(self) -> list[Any]:
        """Return the lines of a `.jsonl` as values, fractional JSON numbers as Decimal."""
        return [json.loads(line, parse_float=Decimal) for line in self.lines()]

    def document(self) -> Any:
        """Return a `.json` as a value, fractional JSON numbers as Decimal; None where the folder is absent."""
        return None if FOLDER is None else json.loads(self.raw(), parse_float=Decimal)

    def table(self) -> list[dict[str, str]]:
        """Return the rows of a `.csv` with a header line."""
        return list(csv.DictReader(self.raw().decode().splitlines()))


def recording(name: str) -> Recording:
    """Name a file of recordings/ that this module reads.

    Args:
        name: Path below recordings/ as a string literal, e.g. ``ws/market.jsonl``.
    """
    if FOLDER is not None and not (FOLDER / name).is_file():
        raise FileNotFoundError(f"no recording {name}")
    return Recording(name)
