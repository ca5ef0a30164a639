"""Runs that end by the program's own fault, three in five minutes, halt the next start; nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamhedge.errors import ConfigError
from streamhedge.live.crash_loop import WITHIN_MS, crash_loop, how_it_ended
from streamhedge.store.ledger import Ledger

NOW_MS = 1_795_000_000_000


def test_what_a_run_ended_by() -> None:
    assert how_it_ended(None) == "stopped"
    assert how_it_ended(TypeError("x")) == "bug: TypeError"
    assert how_it_ended(ConfigError("x")) == "ConfigError"
    assert how_it_ended(KeyboardInterrupt()) == "KeyboardInterrupt"


@pytest.mark.fault("P8")
@pytest.mark.parametrize(
    ("ends", "first_ms", "halted"),
    [
        (["bug: TypeError"] * 3, NOW_MS - WITHIN_MS, True),
        (["stopped", "bug: A", "bug: B", "bug: C"], NOW_MS - WITHIN_MS, True),
        (["bug: TypeError"] * 3, NOW_MS - WITHIN_MS - 10, False),
        (["bug: TypeError"] * 2, NOW_MS - 1_000, False),
        (["bug: A", "stopped", "bug: B"], NOW_MS - 1_000, False),
        (["bug: A", None, "bug: B"], NOW_MS - 1_000, False),  # killed in between
        (["ConfigError"] * 3, NOW_MS - 1_000, False),
    ],
)
def test_three_in_five_minutes_halt(tmp_path: Path, ends: list[str | None], first_ms: int, halted: bool) -> None:
    ledger = Ledger(tmp_path / "state" / "ledger.sqlite")
    try:
        for number, end in enumerate(ends):
            ledger.open_epoch(started_ms=first_ms + number, boot_id="a", version="test")
            if end is not None:
                ledger.end_epoch(end)
        said = crash_loop(ledger, NOW_MS)
        assert bool(said) is halted
        assert not halted or "resume --reason" in said
    finally:
        ledger.close()
