"""The recording: every input, one readable line, hash-chained. Written by the pump only; read by replay.

    <recv_ns> <source> <json>

Line 1 of every segment is a ``header`` with the whole state; every 1,000 lines and at the end a ``sum`` line has the
chain over all lines before it and the digest of the state they led to. A header or sum is written *before* the next
input, when the state after the last one is known.

Reading checks the whole chain before it yields a line. What stands before a sum line is proven: one changed bit there
is ``JournalCorrupt``. What stands after the last one is a tail: whole lines count, the first that is none ends it, and
the reader says so. After a failed write the writer writes no more: the segment ends with its last whole line.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson
import zstandard

from streamhedge.domain.values import record
from streamhedge.errors import JournalCorrupt, StoreError

FORMAT = 1
LINES_PER_SUM = 1_000
TIME_MOST_NS = 2**62
"""Year 2116: timers set from a later moment would not fit 64 bits."""
SUFFIX = ".rec"
PACKED = ".zst"
WRAPPED = b'{"b64":"'
LONGEST_HEADER = 64 * 1024 * 1024
REMEDY = "nothing of it is read: put back a copy of the file, or leave it out: every other segment replays by itself"
_SUM_WORDS = re.compile(rb'\{"lines":[0-9]+,"chain":"')


@record
class Line:
    """One line of a recording; ``number`` counts from 1 within its file."""

    recv_ns: int
    source: str
    payload: bytes
    number: int
    path: str = ""


class Disk(Protocol):
    """Opens a file to append to; a simulation supplies one that tears, lies and stalls."""

    def __call__(self, path: Path) -> BinaryIO:
        """Return an unbuffered binary file, new, readable by us alone."""


def own_folder(path: Path) -> None:
    """Make a folder and whatever above it is missing, each 0700: the mode of ``mkdir`` holds for the last one only."""
    for part in reversed((path, *path.parents)):
        if not part.is_dir():
            part.mkdir(exist_ok=True, mode=0o700)


def open_new(path: Path) -> io.FileIO:
    """Create a file of ours: 0600, never through a link, never over another."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)


class JournalWriter:
    """Writes one run's segments.

    Args:
        folder: Where segments go; made 0700.
        name: Start of each segment's name; a counter follows.
        header: Returns the header's fields (state, digest, seq, versions) at a quiet moment.
        digest: Returns the digest of the state now.
        rotate_bytes: A segment this long wants rotation.
        rotate_after_ns: A segment this old wants rotation; None means its age does not matter.
        disk: How to open a file.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        header: Callable[[], dict[str, object]],
        digest: Callable[[], str],
        rotate_bytes: int = 256 * 1024 * 1024,
        rotate_after_ns: int | None = None,
        disk: Disk = open_new,
    ) -> None:
        self._folder = folder
        self._name = name
        self._header = header
        self._digest = digest
        self._rotate_bytes = rotate_bytes
        self._rotate_after_ns = rotate_after_ns
        self._disk = disk
        self._file: BinaryIO | None = None
        self._failed = False
        self._chain = hashlib.sha256()
        self._lines = 0
        self._bytes = 0
        self._opened_ns = 0
        self._segments: list[Path] = []

    def append(self, recv_ns: int, source: str, payload: bytes) -> None:
        """Write one input.

        Raises:
            StoreError: the disk refused; nothing of the input counts as recorded, and nothing more will be.
        """
        assert source not in ("header", "sum"), "headers and sums are the writer's own"
        if self._failed:
            raise StoreError(f"recording {self.path} failed before; nothing more is recorded until a restart")
        try:
            if self._file is None:
                self._open(recv_ns)
            elif self._lines % LINES_PER_SUM == 0:
                self._write(recv_ns, b"sum", self._sum())
            self._write(recv_ns, source.encode(), one_line(payload))
        except OSError as error:
            raise self._failure(error) from error

    @property
    def path(self) -> Path | None:
        """The segment being written, or the last one; None before the first input."""
        return self._segments[-1] if self._segments else None

    @property
    def paths(self) -> list[Path]:
        """The segments of this run as they stand on the disk now, compressed or not, without those pruned."""
        return [found for path in self._segments if (found := located(path)) is not None]

    def wants_rotation(self, now_ns: int) -> bool:
        """True when the segment is long or old enough to end at the next quiet moment."""
        if self._file is None:
            return False
        old = self._rotate_after_ns is not None and now_ns - self._opened_ns >= self._rotate_after_ns
        return old or self._bytes >= self._rotate_bytes

    def rotate(self, recv_ns: int) -> Path | None:
        """End the segment between two inputs and return it, for ``compress``; the next input opens a new one.

        Fast enough for the event loop: it leaves the flush to the disk to ``compress``.

        Raises:
            StoreError: the disk refused; nothing more is recorded.
        """
        if self._file is None:
            return None
        ended = self.path
        self._end(recv_ns, flush=False)
        return ended

    def close(self, recv_ns: int) -> None:
        """Write the last sum line, flush and close; safe to call twice, and after a failure.

        Raises:
            StoreError: the disk refused the last line.
        """
        if self._file is not None:
            self._end(recv_ns, flush=True)

    def _end(self, recv_ns: int, *, flush: bool) -> None:
        assert self._file is not None, "only an open segment ends"
        try:
            self._write(recv_ns, b"sum", self._sum())
            if flush:
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> StoreError:
        """Stop for good: a line after a torn one would hide where the recording ends."""
        self._failed = True
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # the first error is the one that is told
                file.close()
        return StoreError(
            f"recording {self.path or self._folder}: {error.strerror or error}; nothing more is recorded. Free or "
            "repair the disk, then restart"
        )

    def _open(self, recv_ns: int) -> None:
        own_folder(self._folder)
        found = os.stat(self._folder)
        if found.st_uid != os.getuid() or found.st_mode & stat.S_IWOTH:
            raise OSError(1, f"folder is not ours alone (owner {found.st_uid}, mode {found.st_mode & 0o777:o})")
        path = self._folder / f"{self._name}-{len(self._segments) + 1:04d}{SUFFIX}"
        self._segments.append(path)
        self._file = self._disk(path)
        self._chain = hashlib.sha256()
        self._lines = 0
        self._bytes = 0
        self._opened_ns = recv_ns
        self._write(recv_ns, b"header", orjson.dumps({"format": FORMAT, **self._header()}))

    def _sum(self) -> bytes:
        return orjson.dumps({"lines": self._lines, "chain": self._chain.hexdigest(), "digest": self._digest()})

    def _write(self, recv_ns: int, source: bytes, payload: bytes) -> None:
        assert self._file is not None, "a line needs an open segment"
        line = b"%d %s %s\n" % (recv_ns, source, payload)
        written = self._file.write(line)
        if written != len(line):
            raise OSError(28, f"only {written} of {len(line)} bytes were written")
        self._chain.update(line)
        self._lines += 1
        self._bytes += len(line)


def one_line(payload: bytes) -> bytes:
    """Return a payload as it stands when it is one line of UTF-8, else wrapped as base64.

    An empty payload is wrapped too, and so is one that looks wrapped already: ``original`` gives back what came.
    """
    if payload and b"\n" not in payload and b"\r" not in payload and not payload.startswith(WRAPPED):
        try:
            payload.decode("utf-8")
            return payload
        except UnicodeDecodeError:
            pass
    return WRAPPED + base64.b64encode(payload) + b'"}'


def original(payload: bytes) -> bytes:
    """Undo ``one_line``.

    Raises:
        ValueError: a wrapping with something else in it.
    """
    if not payload.startswith(WRAPPED):
        return payload
    if not payload.endswith(b'"}'):
        raise ValueError("base64 without an end")
    return base64.b64decode(payload[len(WRAPPED) : -2], validate=True)


# ---------------------------------------------------------------- keeping


def compress(path: Path) -> Path:
    """Compress an ended segment beside itself and remove it; for a thread.

    The packed file is complete and on the disk before the other one goes, and keeps its time for ``prune``.

    Returns:
        The new path.

    Raises:
        StoreError: the segment stands as it was.
    """
    target = path.with_name(path.name + PACKED)
    part = path.with_name(target.name + ".part")
    try:
        part.unlink(missing_ok=True)  # of a run that died here
        with path.open("rb") as source, open_new(part) as out:
            found = os.fstat(source.fileno())
            zstandard.ZstdCompressor(level=6, write_checksum=True).copy_stream(source, out, size=found.st_size)
            os.utime(part, ns=(found.st_atime_ns, found.st_mtime_ns))
            os.fsync(out.fileno())
        os.replace(part, target)
        path.unlink()
    except (OSError, zstandard.ZstdError) as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"recording {path} could not be compressed: {error}; it stands as it was") from error
    return target


def prune(folder: Path, older_than_ns: int, keep_last: int = 1) -> list[Path]:
    """Remove segments last written before a time; for a thread.

    Args:
        folder: A folder of recordings; other files and links in it are left alone.
        older_than_ns: Wall time in nanoseconds.
        keep_last: The newest so many always stay: one of them may be being written.

    Returns:
        What was removed, oldest first.

    Raises:
        StoreError: the folder cannot be read, or a file not removed.
    """
    removed: list[Path] = []
    try:
        found = [
            (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name)
            for entry in os.scandir(folder)
            if entry.is_file(follow_symlinks=False) and entry.name.endswith((SUFFIX, SUFFIX + PACKED))
        ]
        found.sort()
        for written_ns, name in found[: max(0, len(found) - keep_last)]:
            if written_ns < older_than_ns:
                (folder / name).unlink()
                removed.append(folder / name)
    except OSError as error:
        raise StoreError(f"recordings in {folder}: {error}; old ones were not all removed") from error
    return removed


def located(path: Path) -> Path | None:
    """Return where a segment is now: as named, compressed since, or None."""
    packed = path.with_name(path.name + PACKED)
    return path if path.exists() else packed if packed.exists() else None


# ---------------------------------------------------------------- reading


def read_lines(path: Path, *, on_cut: Callable[[str], None] | None = None) -> Iterator[Line]:
    """Yield the lines of one segment, once its whole hash chain is checked.

    Args:
        path: A `.rec` file, or a `.rec.zst` one.
        on_cut: Told when the recording does not end with a sum line, and what was left out.

    Raises:
        JournalCorrupt: no recording, or a byte before a sum line is not the one that was written.
        StoreError: the file cannot be read.
    """
    raw = _read(path)
    proven = _proven(raw, path)
    end, told = _tail(raw, proven, path)
    if told and on_cut is not None:
        on_cut(told)
    start, number = 0, 0
    while start < end:
        stop = raw.index(b"\n", start) + 1
        number += 1
        yield _parse(raw[start:stop], number, start, path)
        start = stop


def first_line(path: Path) -> Line:
    """Return the header of a segment without reading the rest of it; nothing proves it yet.

    Raises:
        JournalCorrupt: it does not begin with a header of this format.
        StoreError: the file cannot be read.
    """
    try:
        with (located(path) or path).open("rb") as file:
            packed = file.read(4) == zstandard.FRAME_HEADER
            file.seek(0)
            if not packed:
                text = file.readline(LONGEST_HEADER)
            else:
                with io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file)) as unpacked:
                    text = unpacked.readline(LONGEST_HEADER)
    except (OSError, zstandard.ZstdError) as error:
        raise StoreError(f"{path}: {error}; its first line cannot be read") from error
    if not text.endswith(b"\n"):
        raise JournalCorrupt(_foreign(path))
    _check_header(text, path)
    return _parse(text, 1, 0, path)


def _read(path: Path) -> bytes:
    try:
        raw = (located(path) or path).read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; name a recording (*.rec or *.rec.zst)") from error
    if raw[:4] != zstandard.FRAME_HEADER:
        return raw
    try:
        return zstandard.ZstdDecompressor().decompress(raw)
    except zstandard.ZstdError as error:
        raise JournalCorrupt(f"{path}: cannot be decompressed, it is cut or changed: {error}; {REMEDY}") from error


def _proven(raw: bytes, path: Path) -> int:
    """Return where the last sum line ends, having checked the header and every sum line."""
    chain = hashlib.sha256()
    start, number, proven, proven_number = 0, 0, 0, 0
    while (stop := raw.find(b"\n", start) + 1) > 0:
        number += 1
        text = raw[start:stop]
        if number == 1:
            _check_header(text, path)
        elif _source(text) == b"sum":
            _check_sum(_parse(text, number, start, path), start, chain.hexdigest(), number - 1, proven_number, path)
            proven, proven_number = stop, number
        chain.update(text)
        start = stop
    torn_header = b" header ".startswith(raw.lstrip(b"0123456789")[: len(b" header ")])
    if number == 0 and not torn_header:
        raise JournalCorrupt(_foreign(path))
    return proven


def _tail(raw: bytes, proven: int, path: Path) -> tuple[int, str]:
    """Return where the last whole line ends, and what there is to tell about the lines no sum line proves."""
    if raw and proven == len(raw):
        return proven, ""
    first = number = raw.count(b"\n", 0, proven)
    start = proven
    while (stop := raw.find(b"\n", start) + 1) > 0:
        text = raw[start:stop]
        if _SUM_WORDS.search(text):
            raise _corrupt(path, number + 1, start, "holds a damaged sum line: a byte was changed")
        try:
            _parse(text, number + 1, start, path)
        except JournalCorrupt:
            break
        number += 1
        start = stop
    cut = f"; the {len(raw) - start} bytes after line {number} are no whole line and were left out"
    told = f"{path}: does not end with a sum line: {number - first} lines after line {first} are not proven"
    return start, told + (cut if start < len(raw) else "")


def _corrupt(path: Path, number: int, offset: int, what: str) -> JournalCorrupt:
    return JournalCorrupt(f"{path}: line {number}: {what} (at byte {offset}); {REMEDY}")


def _parse(text: bytes, number: int, offset: int, path: Path) -> Line:
    recv, _, rest = text[:-1].partition(b" ")
    source, _, payload = rest.partition(b" ")
    if not recv.isdigit() or not source.isalpha() or not payload:
        raise _corrupt(path, number, offset, "it is no `<recv_ns> <source> <json>`")
    try:
        if int(recv) >= TIME_MOST_NS:
            raise ValueError("it came later than any time we know")
        return Line(int(recv), source.decode(), original(payload), number, str(path))
    except ValueError as error:
        raise _corrupt(path, number, offset, str(error)) from error


def _source(text: bytes) -> bytes:
    return text.partition(b" ")[2].partition(b" ")[0]


def _foreign(path: Path) -> str:
    return f"{path}: line 1 is no header: this is no recording of streamhedge, or its start is gone"


def _check_header(text: bytes, path: Path) -> None:
    if _source(text) != b"header":
        raise JournalCorrupt(_foreign(path))
    known = _fields(_parse(text, 1, 0, path), 0, path).get("format")
    if known != FORMAT:
        said = f"{path}: line 1: recording format {'unknown' if known is None else known}, this program knows {FORMAT}"
        raise JournalCorrupt(f"{said}: read it with the version that wrote it")


def _check_sum(line: Line, offset: int, chain: str, lines: int, proven: int, path: Path) -> None:
    fields = _fields(line, offset, path)
    if (fields.get("chain"), fields.get("lines")) != (chain, lines):
        what = f"lines {proven + 1} to {lines} do not hash to what it says: a byte was changed or lost"
        raise _corrupt(path, line.number, offset, what)


def _fields(line: Line, offset: int, path: Path) -> dict[str, Any]:
    try:
        fields = orjson.loads(line.payload)
    except ValueError as error:
        raise _corrupt(path, line.number, offset, f"a {line.source} that is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise _corrupt(path, line.number, offset, f"a {line.source} that is no JSON object")
    return fields
