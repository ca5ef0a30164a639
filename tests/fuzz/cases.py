"""What every door has in common: how a case is drawn, watched, counted, and told when it shows a fault."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Protocol

import orjson

WATCHDOG_S = 10
"""A case that takes this long hangs; on an idle machine the slowest one takes a tenth of a second."""
SHOWN_MOST = 4_000


class Finding(AssertionError):
    """A case that showed a fault: which oracle, and the bytes that did it."""

    def __init__(self, what: str, frame: bytes) -> None:
        super().__init__(what)
        self.what = what
        self.frame = frame


class Door(Protocol):
    """One way into the program."""

    def __init__(self, rng: Random, folder: Path) -> None:
        """Open the door; ``folder`` is empty and ours."""

    def case(self) -> Verdict:
        """Draw one message, put it in, and hold what happened against every oracle; raises Finding."""

    def close(self) -> None:
        """Check what is only known at the end, and leave nothing behind; raises Finding."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one message: ``parsed`` by the JSON (TOML, SQLite) reader, and ``what`` was made of it."""

    parsed: bool
    what: str


VALID, CHANGED, QUARANTINED, REFUSED = "valid", "changed", "quarantined", "refused"
"""Understood and nothing moved; understood and the state moved; not understood, kept apart; answered with an error."""


@dataclass(slots=True)
class Tally:
    """Counts of one door."""

    frames: int = 0
    parsed: int = 0
    made: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count one case."""
        self.frames += 1
        self.parsed += verdict.parsed
        self.made[verdict.what] += 1

    def row(self) -> dict[str, int]:
        """Return the counts, JSON-ready."""
        whats = (VALID, CHANGED, QUARANTINED, REFUSED)
        return {"frames": self.frames, "parsed": self.parsed, **{what: self.made[what] for what in whats}}


def drive(make: Callable[[Random, Path], Door], rng: Random, folder: Path, wanted: Callable[[int], bool]) -> Tally:
    """Run cases at one door while ``wanted(cases so far)``; a case that hangs is a finding like any other.

    Raises:
        Finding: an oracle was broken; the cases before it were sound.
    """
    tally = Tally()
    with watched(b"(opening)"):
        door = make(rng, folder)
    try:
        while wanted(tally.frames):
            tally.add(door.case())
    except BaseException:
        with watched(b"(closing after a fault)"), _quiet():
            door.close()
        raise
    with watched(b"(closing)"):
        door.close()
    return tally


@contextmanager
def _quiet() -> Iterator[None]:
    with suppress(Finding):  # the first one is told
        yield


@contextmanager
def watched(frame: bytes, seconds: float = WATCHDOG_S) -> Iterator[None]:
    """Turn a hang of the block, or anything that escapes it, into a finding with the frame."""

    def late(number: int, where: FrameType | None) -> None:
        at = f"{where.f_code.co_filename}:{where.f_lineno}" if where is not None else "?"
        raise Finding(f"nothing came back within {seconds} s, at {at}", frame)

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except Finding:
        raise
    except Exception as error:
        raise Finding(f"{type(error).__name__} escaped: {error}"[:500], frame) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def steps(work: Callable[[], Any]) -> int:
    """Do the work and return how many calls it took: the measure of effort that no busy machine changes."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def parses(raw: bytes) -> bool:
    """Return whether the JSON reader takes it."""
    try:
        orjson.loads(raw)
    except ValueError:
        return False
    return True


def told(found: Finding, *, door: str, seed: str) -> str:
    """Return what a person needs to see the fault again."""
    shown = found.frame[:SHOWN_MOST]
    more = f" … ({len(found.frame)} bytes)" if len(found.frame) > SHOWN_MOST else ""
    return f"door {door}, seed {seed}: {found.what}\nframe: {shown!r}{more}"
