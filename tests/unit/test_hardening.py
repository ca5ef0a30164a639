"""Memory that nobody dumps, and complaints of libraries that show no secret."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest

from streamhedge.ops.hardening import masked_errors
from streamhedge.ops.lines import Lines
from streamhedge.settings.secrets import Secret

CANARY = "c4n4ry-8f1e"
ASKED = """
import ctypes, resource
from streamhedge.ops.hardening import no_dumps
no_dumps()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.fault("X3")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the call")
def test_a_process_with_keys_cannot_be_dumped() -> None:
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["0", "0", "0"]


@pytest.mark.fault("X3", "X7")
def test_what_a_library_complains_of_is_one_masked_line() -> None:
    out = io.StringIO()
    lines = Lines(json=True, out=out)
    lines.mask.take(Secret(CANARY))
    before = sys.excepthook
    try:
        with masked_errors(lines):
            logging.getLogger("a.library").warning("it said %s\n\x1b[2J", CANARY)
            logging.getLogger("a.library").info("%s", CANARY)
            try:
                raise ValueError(f"https://venue/order?a=1&signature={'ab' * 32}")
            except ValueError:
                logging.getLogger("asyncio").exception("Task exception was never retrieved")
        logging.getLogger("a.library").warning("afterwards")
    finally:
        sys.excepthook = before
        lines.close()
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(row["level"], row["code"]) for row in said] == [("warning", "log"), ("critical", "log")]
    assert said[0]["text"] == "a.library: it said …\n\x1b[2J" and "ValueError" in said[1]["text"]
    assert CANARY not in out.getvalue() and "abab" not in out.getvalue()


@pytest.mark.fault("X3")
def test_a_crash_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(json=True, out=io.StringIO())
    lines.mask.take(Secret(CANARY))
    before = sys.excepthook
    try:
        with masked_errors(lines):
            sys.excepthook(ValueError, ValueError(f"about {CANARY}"), None)
    finally:
        sys.excepthook = before
        lines.close()
    assert capsys.readouterr().err == "ValueError: about …\n"
