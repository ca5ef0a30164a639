"""What a person or a log collector reads while it runs: one line per note, JSON when stderr is no terminal.

Writing never blocks the loop: lines go through a bounded queue to a thread of their own. A reader that stalls costs
lines, which are counted and told when it reads again; a reader that is gone costs all of them.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from streamhedge.domain.commands import Level, Note
from streamhedge.settings.secrets import Mask

COLOURS = {Level.WARNING: "\x1b[33m", Level.CRITICAL: "\x1b[1;31m"}
PLAIN = "\x1b[0m"
WAITING_MOST = 4_096
CLOSE_S = 1.0
"""How long the end of the program waits for a reader that stalls."""
UNSAFE = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))},
    **{code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
"""Characters that steer a terminal or turn the reading direction; what the venue or a person said never brings them."""

JSON_UNSAFE = {code: f"\\u{code:04x}" for code in UNSAFE if code >= 127}
"""The same within JSON, as its own escapes: the value stays what it is. Below 32 the encoder has done it."""


def inert(text: str) -> str:
    """Return one line of text that can do nothing to a terminal (FAULTS X7)."""
    return text.translate(UNSAFE)


class Lines:
    """Writes notes to stderr, or to ``out``, from a thread of its own."""

    def __init__(
        self,
        *,
        json: bool | None = None,
        quiet: bool = False,
        verbose: bool = False,
        colour: bool = True,
        out: TextIO | None = None,
        waiting_most: int = WAITING_MOST,
    ) -> None:
        self._out: TextIO = out if out is not None else sys.stderr
        terminal = self._out.isatty()
        self.json = json if json is not None else not terminal
        self._quiet = quiet
        self._verbose = verbose
        self._colour = colour and terminal and "NO_COLOR" not in os.environ
        self.mask = Mask()
        self.dropped = 0
        self._untold = 0
        self._waiting: queue.Queue[str | None] = queue.Queue(maxsize=waiting_most)
        self._writer = threading.Thread(target=self._write_all, name="lines", daemon=True)
        self._writer.start()

    def notes(self, notes: tuple[Note, ...], recv_ns: int) -> None:
        """Write the notes of one reaction."""
        for note in notes:
            self.write(note.code, note.symbol or "", note.text, recv_ns, level=note.level, data=note.data)

    def write(
        self,
        code: str,
        subject: str,
        text: str,
        recv_ns: int,
        *,
        level: Level = Level.INFO,
        data: dict[str, object] | None = None,
    ) -> None:
        """Write one line; returns at once whatever the reader does."""
        if self._quiet and level is Level.INFO:
            return
        line = self.mask.text(self._line(code, subject, text, recv_ns, level, data or {}))
        if self._untold:
            told = f"{self._untold} lines were dropped: the reader did not keep up"
            if self._put(self._line("dropped", "", told, recv_ns, Level.WARNING, {})):
                self._untold = 0
        if not self._put(line):
            self._lost()

    def close(self) -> None:
        """Write what still waits, for a second at most; safe to call twice."""
        try:
            self._waiting.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._writer.join(CLOSE_S)

    def _line(self, code: str, subject: str, text: str, recv_ns: int, level: Level, data: dict[str, object]) -> str:
        moment = datetime.fromtimestamp(recv_ns / 1e9, UTC)
        if self.json:
            fields: dict[str, Any] = {"time": moment.isoformat(timespec="milliseconds"), "level": level.value}
            line = orjson.dumps({**fields, "code": code, "symbol": subject, "text": text, **data}).decode()
            return line.translate(JSON_UNSAFE)
        line = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {code:<11} {subject:<9} {text}"
        line = inert(line)
        if self._verbose and data:
            line += inert(f"   [{' '.join(f'{name}={value}' for name, value in data.items())}]")
        if self._colour and level in COLOURS:
            line = f"{COLOURS[level]}{line}{PLAIN}"
        return line

    def _put(self, line: str) -> bool:
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            return False
        return True

    def _lost(self) -> None:
        self.dropped += 1
        self._untold += 1

    def _write_all(self) -> None:
        while (line := self._waiting.get()) is not None:
            try:
                self._out.write(line + "\n")
                self._out.flush()
            except (OSError, ValueError):
                self.dropped += 1
