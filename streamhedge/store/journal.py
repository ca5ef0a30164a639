"""The recording: every input, one readable line, hash-chained. Written by the pump only; read by replay.

    <recv_ns> <source> <json>

Line 1 of every segment is a ``header`` with the whole state; every 1,000 lines and at the end a ``sum`` line has the
chain over all lines before it and the digest of the state they led to. A header or sum is written *before* the next
input, when the state after the last one is known. A torn tail is cut and reported; a bad middle is an error.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import orjson
import zstandard

from streamhedge.domain.values import record
from streamhedge.errors import JournalCorrupt, StoreError

LINES_PER_SUM = 1_000
SUFFIX = ".rec"


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


def open_new(path: Path) -> BinaryIO:
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
        rotate_bytes: A segment longer than this is ended when the writer is next told to rotate.
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
        disk: Disk = open_new,
    ) -> None:
        self._folder = folder
        self._name = name
        self._header = header
        self._digest = digest
        self._rotate_bytes = rotate_bytes
        self._disk = disk
        self._file: BinaryIO | None = None
        self._chain = hashlib.sha256()
        self._lines = 0
        self._bytes = 0
        self._count = 0
        self.paths: list[Path] = []

    def append(self, recv_ns: int, source: str, payload: bytes) -> None:
        """Write one input.

        Raises:
            StoreError: the disk refused; nothing of the input counts as recorded.
        """
        try:
            if self._file is None:
                self._open(recv_ns)
            elif self._lines % LINES_PER_SUM == 0:
                self._write(recv_ns, b"sum", self._sum())
            self._write(recv_ns, source.encode(), one_line(payload))
        except OSError as error:
            raise StoreError(
                f"recording {self.path}: {error.strerror or error}; nothing more is recorded. Free or repair the disk, "
                "then restart"
            ) from error

    @property
    def path(self) -> Path | None:
        """The segment being written, None before the first input."""
        return self.paths[-1] if self.paths else None

    def wants_rotation(self) -> bool:
        """True when the segment is long enough to end at the next quiet moment."""
        return self._bytes >= self._rotate_bytes

    def rotate(self, recv_ns: int) -> Path | None:
        """End the segment at a quiet moment and return it; the next input opens a new one."""
        ended = self.path
        self.close(recv_ns)
        return ended

    def close(self, recv_ns: int) -> None:
        """Write the last sum line and close; safe to call twice."""
        if self._file is None:
            return
        try:
            self._write(recv_ns, b"sum", self._sum())
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise StoreError(f"recording {self.path}: {error.strerror or error}") from error
        finally:
            self._file = None

    def _open(self, recv_ns: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._count += 1
        path = self._folder / f"{self._name}-{self._count:04d}{SUFFIX}"
        self._file = self._disk(path)
        self.paths.append(path)
        self._chain = hashlib.sha256()
        self._lines = 0
        self._bytes = 0
        self._write(recv_ns, b"header", orjson.dumps(self._header()))

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
    """Return a payload as it stands when it is one line of UTF-8, else wrapped as base64."""
    if b"\n" not in payload and b"\r" not in payload:
        try:
            payload.decode("utf-8")
            return payload
        except UnicodeDecodeError:
            pass
    return b'{"b64":"%s"}' % base64.b64encode(payload)


def original(payload: bytes) -> bytes:
    """Undo ``one_line``."""
    if payload.startswith(b'{"b64":"') and payload.endswith(b'"}'):
        return base64.b64decode(payload[8:-2])
    return payload


def compress(path: Path) -> Path:
    """Compress an ended segment beside itself and remove it; return the new path."""
    target = path.with_name(path.name + ".zst")
    packed = zstandard.ZstdCompressor(level=6).compress(path.read_bytes())
    with open_new(target) as out:
        out.write(packed)
        os.fsync(out.fileno())
    path.unlink()
    return target


def read_lines(path: Path, *, on_cut: Callable[[str], None] | None = None) -> Iterator[Line]:
    """Yield the lines of one segment, checked against its hash chain.

    Args:
        path: A `.rec` file, or a `.rec.zst` one.
        on_cut: Told when a torn last line was left out.

    Raises:
        JournalCorrupt: a line that is no line, or a chain that does not match.
        StoreError: the file cannot be read.
    """
    raw = _read(path)
    chain = hashlib.sha256()
    start = 0
    number = 0
    while start < len(raw):
        end = raw.find(b"\n", start)
        if end < 0:
            if on_cut is not None:
                on_cut(f"{path}: the last line is torn ({len(raw) - start} bytes after line {number}) and was left out")
            return
        number += 1
        text = raw[start : end + 1]
        line = _parse(text, number, path)
        if number == 1 and line.source != "header":
            raise JournalCorrupt(
                f"{path}: line 1 is no header: this is no recording of streamhedge, or its start is gone"
            )
        if line.source == "sum":
            _check_sum(line, chain.hexdigest(), number - 1, path)
        chain.update(text)
        yield line
        start = end + 1


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; name a recording (*.rec or *.rec.zst)") from error
    if path.suffix != ".zst":
        return raw
    try:
        return zstandard.ZstdDecompressor().decompress(raw)
    except zstandard.ZstdError as error:
        raise JournalCorrupt(f"{path}: {error}") from error


def _parse(text: bytes, number: int, path: Path) -> Line:
    recv, _, rest = text[:-1].partition(b" ")
    source, _, payload = rest.partition(b" ")
    if not recv.isdigit() or not source or not payload:
        raise JournalCorrupt(f"{path}: line {number} is no `<recv_ns> <source> <json>`")
    try:
        return Line(int(recv), source.decode(), original(payload), number, str(path))
    except (UnicodeDecodeError, ValueError) as error:
        raise JournalCorrupt(f"{path}: line {number}: {error}") from error


def _check_sum(line: Line, chain: str, lines: int, path: Path) -> None:
    try:
        fields = orjson.loads(line.payload)
        agrees = fields["chain"] == chain and fields["lines"] == lines
    except (ValueError, KeyError, TypeError) as error:
        raise JournalCorrupt(f"{path}: line {line.number}: a sum line that says nothing: {error}") from error
    if not agrees:
        raise JournalCorrupt(
            f"{path}: the lines before line {line.number} do not hash to what it says: a byte was changed or lost"
        )
