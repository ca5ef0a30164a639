"""The thread beside the loop: what it says of a loop that stands, and that a thread that slept itself proves nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from streamhedge.domain.commands import Level
from streamhedge.live import loop_watch
from streamhedge.live.loop_watch import LoopWatch

CEILING_S = 30.0


class Heard:
    """What was said beside the loop, told on it, and why it was to be ended."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.told: list[tuple[str, Level]] = []
        self.ends: list[str] = []
        self.news = threading.Event()

    def watch(self, **lengths: float) -> LoopWatch:
        def say(text: str, level: Level) -> None:
            assert level is Level.CRITICAL and threading.current_thread() is not threading.main_thread()
            self.said.append(text)
            self.news.set()

        def tell(text: str, level: Level) -> None:
            assert threading.current_thread() is threading.main_thread(), "on the loop"
            self.told.append((text, level))

        def end(reason: str) -> None:
            self.ends.append(reason)
            self.news.set()

        return LoopWatch(say=say, tell=tell, end=end, **lengths)

    def stand_until(self, found: Callable[[], object]) -> None:
        """Wedge the loop until something is so."""
        ends = time.monotonic() + CEILING_S
        while not found():
            assert time.monotonic() < ends, "nobody noticed"
            self.news.wait(0.05)
            self.news.clear()


@pytest.mark.fault("C4", "P12")
async def test_a_wedged_loop_is_said_with_the_place_where_it_stands_and_told_when_it_turns_again() -> None:
    heard = Heard()
    async with heard.watch(wedged_s=0.3, dead_s=CEILING_S):
        heard.stand_until(lambda: heard.said)
        (said,) = heard.said
        assert "nothing is hedged" in said and "stand_until (test_loop_watch.py:" in said
        assert heard.told == []
        async with asyncio.timeout(CEILING_S):
            while not heard.told:
                await asyncio.sleep(0.01)
    ((text, level),) = heard.told
    assert "turns again" in text and level is Level.WARNING
    assert heard.ends == []


@pytest.mark.fault("C4", "P12")
async def test_a_loop_that_does_not_come_back_is_ended_once_with_the_reason() -> None:
    heard = Heard()
    async with heard.watch(wedged_s=0.1, dead_s=0.4):
        heard.stand_until(lambda: heard.ends)
    (reason,) = heard.ends
    assert "stand_until" in reason and len(heard.said) == 1


@pytest.mark.fault("C3", "C4")
async def test_time_in_which_the_thread_slept_too_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was suspended for hours, or a stopped process, comes back: nobody ends it for that."""
    heard = Heard()

    class Sleeper:
        """A clock that leaps an hour at each look."""

        looks = 0

        def monotonic(self) -> float:
            self.looks += 1
            return self.looks * 3_600.0

    clock = Sleeper()
    monkeypatch.setattr(loop_watch, "time", clock)
    async with heard.watch(wedged_s=2.0, dead_s=30.0):
        ends = time.monotonic() + CEILING_S
        while clock.looks < 8:  # the loop stands for eight hours by that clock
            assert time.monotonic() < ends, "it does not look"
            time.sleep(0.01)
    assert heard.said == [] and heard.ends == []


async def test_stalls_that_end_by_themselves_are_counted_and_told_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_watch, "TOLD_EVERY_S", 0.0)
    heard = Heard()
    async with heard.watch(wedged_s=CEILING_S, dead_s=CEILING_S):
        await asyncio.sleep(0.2)
        ends = time.monotonic() + 0.6
        while time.monotonic() < ends:
            time.sleep(0.01)
        async with asyncio.timeout(CEILING_S):
            while not heard.told:
                await asyncio.sleep(0.01)
    text, level = heard.told[0]
    assert (
        text.startswith("the loop stood ") and "time(s) for more than 250 ms, at most " in text and level is Level.INFO
    )
    assert heard.said == []
