"""What a process that holds keys forbids itself: dumps of its memory, and errors that show what they held (FAULTS X3)."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import TracebackType

from streamhedge.domain.commands import Level
from streamhedge.ops.lines import Lines

PR_SET_DUMPABLE = 4


def no_dumps() -> None:
    """Leave no core file, and let no other process of this user look into our memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):  # elsewhere than on Linux there is no such call
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


class _ToLines(logging.Handler):
    """What libraries and the loop complain of, as lines of ours."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(level=logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        level = Level.WARNING if record.levelno < logging.ERROR else Level.CRITICAL
        self._lines.write("log", "", f"{record.name}: {self.format(record)}", time.time_ns(), level=level)


@contextlib.contextmanager
def masked_errors(lines: Lines) -> Iterator[None]:
    """Send what libraries log, and what nobody caught, through the lines' mask; tracebacks outlive the block."""

    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(lines.mask.text("".join(traceback.format_exception(kind, error, trace))))

    def thread_crashed(said: threading.ExceptHookArgs) -> None:
        if said.exc_value is not None:
            crashed(said.exc_type, said.exc_value, said.exc_traceback)

    handler = _ToLines(lines)
    logging.getLogger().addHandler(handler)
    sys.excepthook, threading.excepthook = crashed, thread_crashed
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
