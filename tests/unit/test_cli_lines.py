"""Lines while it runs: nothing a reader does blocks the writer, what is lost is counted, and nothing foreign acts."""

from __future__ import annotations

import io
import json
import os
import threading
import time

import pytest

from streamhedge.domain.commands import Level, Note
from streamhedge.ops.lines import Lines

NOW_NS = 1_795_161_600_000 * 1_000_000


class Pipe(io.TextIOBase):
    """A reader that does not read until it is told to: each write waits for the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.begun.set()
        self.gate.wait(60)
        self.written.append(text)
        return len(text)


@pytest.mark.fault("P9")
def test_a_reader_that_stalls_costs_lines_not_time() -> None:
    pipe = Pipe()
    lines = Lines(out=pipe, json=False, waiting_most=10)
    lines.write("first", "", "one", NOW_NS)
    assert pipe.begun.wait(60), "the writer thread is stuck in the first line"
    for number in range(1_000):
        lines.write("more", "", str(number), NOW_NS)
    assert lines.dropped == 990, "ten wait, the rest is lost"
    pipe.gate.set()
    lines.close()
    assert len(pipe.written) == 11
    told = Lines(out=pipe, json=False)
    told.close()


def test_losses_are_told_once_the_reader_reads_again() -> None:
    pipe = Pipe()
    lines = Lines(out=pipe, json=False, waiting_most=4)
    lines.write("first", "", "one", NOW_NS)
    assert pipe.begun.wait(60)
    for number in range(20):
        lines.write("more", "", str(number), NOW_NS)
    pipe.gate.set()
    while len(pipe.written) < 5:
        time.sleep(0.001)
    lines.write("after", "", "again", NOW_NS)
    lines.close()
    assert any("16 lines were dropped" in line for line in pipe.written)
    assert "again" in pipe.written[-1]


@pytest.mark.fault("P9")
def test_a_pipe_nobody_reads_never_blocks() -> None:
    """A real pipe: 64 KiB fit, then the kernel would make a writer wait for ever."""
    read, write = os.pipe()
    lines = Lines(out=os.fdopen(write, "w"), json=False, waiting_most=100)
    for _ in range(5_000):
        lines.write("more", "", "x" * 200, NOW_NS)
    assert lines.dropped > 0
    os.close(read)


@pytest.mark.fault("P9", "P7")
def test_a_reader_that_is_gone_stops_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    lines = Lines(out=os.fdopen(write, "w"), json=False)
    lines.write("any", "", "text", NOW_NS)
    lines.close()
    assert lines.dropped == 1


def test_quiet_and_verbose() -> None:
    note = Note(code="intent", level=Level.INFO, symbol=None, text="SELL 1", data={"target": "-1"})
    alarm = Note(code="halted", level=Level.CRITICAL, symbol=None, text="HALTED", data={})
    for said, wanted in (
        ({"quiet": True}, ["HALTED"]),
        ({}, ["SELL 1", "HALTED"]),
        ({"verbose": True}, ["SELL 1   [target=-1]", "HALTED"]),
    ):
        out = io.StringIO()
        lines = Lines(out=out, json=False, **said)
        lines.notes((note, alarm), NOW_NS)
        lines.close()
        assert [row[35:].strip() for row in out.getvalue().splitlines()] == wanted


def test_json_lines_are_whole_objects() -> None:
    out = io.StringIO()
    lines = Lines(out=out, json=True)
    lines.write("float", "BTCUSDT", 'a "quote"\nand a line', NOW_NS, data={"quantity": "1"})
    lines.close()
    (row,) = [json.loads(line) for line in out.getvalue().splitlines()]
    assert row["time"] == "2026-11-20T08:00:00.000+00:00" and row["quantity"] == "1" and "\n" in row["text"]


@pytest.mark.fault("X7")
def test_foreign_text_cannot_steer_a_terminal() -> None:
    out = io.StringIO()
    lines = Lines(out=out, json=False)
    lines.write("refused", "", "evil\x1b[2J\x9b31m\r\nINFO all is well", NOW_NS)
    lines.close()
    assert len(out.getvalue().splitlines()) == 1
    assert not set("\x1b\x9b\r") & set(out.getvalue())
