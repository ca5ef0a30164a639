"""Every door by name, and how many of the ten thousand messages of a test run knock at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import commands, config, control, ledger, recording, rest, streams
from tests.fuzz.cases import Door

DOORS: dict[str, tuple[Callable[[Random, Path], Door], int]] = {
    "user": (streams.User, 2_800),
    "market": (streams.Market, 2_200),
    "rest": (rest.Rest, 1_600),
    "wsapi": (streams.WsApi, 1_000),
    "config": (config.Door, 900),
    "recording": (recording.Door, 500),
    "ledger": (ledger.Door, 200),
    "control": (control.Door, 600),
    "commands": (commands.Door, 200),
}
SAMPLE = sum(count for _, count in DOORS.values())


def seeded(seed: Any, door: str) -> Random:
    """Return the generator of one door; each has its own, so that one can be run again alone."""
    return Random(f"{seed}:{door}")
