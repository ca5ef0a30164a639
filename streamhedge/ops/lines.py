"""What a person or a log collector reads while it runs: one line per note, JSON when stderr is no terminal."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from streamhedge.domain.commands import Level, Note

COLOURS = {Level.WARNING: "\x1b[33m", Level.CRITICAL: "\x1b[1;31m"}
PLAIN = "\x1b[0m"
DROPPED_TELL_EVERY = 1_000


class Lines:
    """Writes notes to stderr; a reader that is gone never stops the hedger."""

    def __init__(self, *, json: bool | None = None, quiet: bool = False, colour: bool = True) -> None:
        self._out: TextIO = sys.stderr
        terminal = self._out.isatty()
        self.json = json if json is not None else not terminal
        self._quiet = quiet
        self._colour = colour and terminal and "NO_COLOR" not in os.environ
        self.dropped = 0

    def notes(self, notes: tuple[Note, ...], recv_ns: int) -> None:
        """Write the notes of one reaction."""
        for note in notes:
            if self._quiet and note.level is Level.INFO:
                continue
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
        """Write one line."""
        moment = datetime.fromtimestamp(recv_ns / 1e9, UTC)
        if self.json:
            fields: dict[str, Any] = {"time": moment.isoformat(timespec="milliseconds"), "level": level.value}
            line = orjson.dumps({**fields, "code": code, "symbol": subject, "text": text, **(data or {})}).decode()
        else:
            line = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {code:<11} {subject:<9} {text}"
            if self._colour and level in COLOURS:
                line = f"{COLOURS[level]}{line}{PLAIN}"
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except (OSError, ValueError):
            self.dropped += 1
