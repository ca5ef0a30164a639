"""Recordings from files: replay, whole or from any segment on, and reactions for tests and analysis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from streamhedge.domain.commands import Reaction
from streamhedge.errors import JournalCorrupt, StoreError
from streamhedge.runtime.replay import ReplayResult, reactions, replay_lines
from streamhedge.store.journal import Line, read_lines

SUFFIXES = ("*.rec", "*.rec.zst")


def segments(paths: Sequence[Path]) -> list[Path]:
    """Return the segments that files and folders name, in order.

    Raises:
        StoreError: there is none.
    """
    found: list[Path] = []
    for path in paths:
        try:
            found += _inside(path) if path.is_dir() else [path]
        except OSError as error:
            raise StoreError(f"{str(path)[:200]}: {error.strerror}; name *.rec files or their folder") from error
    if not found:
        raise StoreError(f"no recording in {', '.join(str(path) for path in paths)}; name *.rec files or their folder")
    return found


def _inside(folder: Path) -> list[Path]:
    """Return the segments of a folder; one that was packed and not yet removed counts once."""
    files = sorted(file for suffix in SUFFIXES for file in folder.glob(suffix))
    return [file for file in files if file.with_name(f"{file.name}.zst") not in files]


def lines_of(paths: Sequence[Path], *, on_cut: Callable[[str], None] | None = None) -> Iterator[Line]:
    """Yield the lines of all segments."""
    return chain.from_iterable(read_lines(path, on_cut=on_cut) for path in segments(paths))


def replay_files(
    paths: Sequence[Path],
    *,
    until: int | None = None,
    on_cut: Callable[[str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReplayResult:
    """Replay recordings through the live code path and compare every checkpoint.

    Raises:
        JournalCorrupt, StoreError: a file is no sound recording.
    """
    found = replay_lines(lines_of(paths, on_cut=on_cut), until=until, progress=progress)
    if not found.digest:
        named = ", ".join(str(path) for path in paths)
        raise JournalCorrupt(f"{named}: not one whole line: there is nothing to replay; name a recording (*.rec)")
    return found


async def replay(path: str | Path) -> AsyncIterator[Reaction]:
    """Yield the reactions of a recording; in one line of a test: ``[r async for r in replay(path)]``."""
    for _, reaction in reactions(lines_of([Path(path)])):
        yield reaction
