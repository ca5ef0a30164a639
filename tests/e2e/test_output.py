"""What goes to a terminal, what to a pipe, and what to a program."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys

import pytest

from tests.support.processes import REPOSITORY, command, environment, room

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
CALM = ("run", "--duration", "1s", "--no-story", "--tape", "calm")


@pytest.mark.fault("P9")
async def test_a_pipe_gets_json_lines_and_stdout_only_the_summary() -> None:
    with room() as folder:
        run = await command(folder, *CALM, "--json", "--state-dir", str(folder / "state"))
    assert run.code == 0, run.err[-3000:]
    (line,) = run.out.splitlines()
    assert json.loads(line)["pass"] is True
    said = [json.loads(text) for text in run.err.splitlines() if not text.startswith("no -c given")]
    assert all({"time", "level", "code", "symbol", "text"} <= set(entry) for entry in said)
    assert {"intent", "filled", "book"} <= {entry["code"] for entry in said}
    assert "\x1b" not in run.err


async def test_quiet_keeps_warnings_only() -> None:
    with room() as folder:
        run = await command(folder, *CALM, "--quiet", "--state-dir", str(folder / "state"))
    levels = {json.loads(text)["level"] for text in run.err.splitlines() if text.startswith("{")}
    assert run.code == 0 and "info" not in levels, run.err


async def test_a_terminal_gets_lines_for_people() -> None:
    with room() as folder:
        near, far = os.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "streamhedge", *CALM, "--state-dir", str(folder / "state")),
                cwd=REPOSITORY,
                env={**environment(folder), "TERM": "xterm"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=far,
            )
            os.close(far)
            reading = asyncio.create_task(asyncio.to_thread(_all_of, near))
            out, _ = await asyncio.wait_for(process.communicate(), 60)
            err = await reading
        finally:
            os.close(near)
    assert process.returncode == 0, err
    assert out.decode().strip().splitlines()[-1] == "PASS"
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in err.splitlines()]
    assert any(re.match(r"\d\d:\d\d:\d\d\.\d{3} intent +BTCUSDT +SELL ", line) for line in lines), err
    assert not any(line.startswith("{") for line in lines)


def _all_of(terminal: int) -> str:
    """Read a terminal until its other end is closed."""
    found = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            return found.decode("utf-8", "replace")
        if not part:
            return found.decode("utf-8", "replace")
        found += part
