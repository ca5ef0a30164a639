"""Clocks that do not agree: told, and beyond half the receive window nothing is hedged until they do (FAULTS C1, C2)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from streamhedge.domain.commands import Note, RequestTime
from streamhedge.domain.events import ClockOffset, Tick, VenueTime, WallStepped
from streamhedge.reactor.state import Block, symbol_state
from streamhedge.rules.view import SymbolState
from streamhedge.runtime.inputs import Calls, decode_input
from tests.support.desk import Desk
from tests.support.machines import hedger, venue
from tests.unit.test_session import Line


def test_an_offset_is_warned_of_once_and_its_end_is_told() -> None:
    desk = Desk()
    for offset_ms in (500, -500):
        desk.take(ClockOffset(offset_ms))
    assert desk.said("clock") == []
    for offset_ms in (501, 900, -501):
        desk.take(ClockOffset(offset_ms))
    assert len(desk.said("clock")) == 1 and "+501 ms" in desk.said("clock")[0]
    desk.take(ClockOffset(3))
    assert len(desk.said("clock")) == 2 and "agree" in desk.said("clock")[1]
    assert desk.float("+1"), "a warning stops nothing"


@pytest.mark.parametrize("offset_ms", [1_001, -1_001])
def test_beyond_half_the_receive_window_nothing_is_hedged_until_the_clocks_agree(offset_ms: int) -> None:
    desk = Desk()
    desk.take(ClockOffset(1_000 if offset_ms > 0 else -1_000))
    assert symbol_state(desk.memory) is SymbolState.OPEN
    for _ in range(3):
        desk.take(ClockOffset(offset_ms))
    assert symbol_state(desk.memory) is SymbolState.BLOCKED and desk.memory.block is not None
    assert not desk.memory.block.latched, "it clears itself, and the ladder stays on"
    assert desk.float("+1") == [] and f"{offset_ms:+d} ms" in desk.memory.block.reason
    desk.take(ClockOffset(0))
    assert desk.memory.block is None and "the clocks agree again" in desk.said("unblocked")
    assert desk.state.meter.orders_sent == 1


def test_a_block_for_another_reason_is_left_alone() -> None:
    desk = Desk()
    desk.memory.block = Block(cause="operator", reason="look", latched=True, until_ns=None)
    desk.take(ClockOffset(5_000))
    desk.take(ClockOffset(0))
    assert desk.memory.block is not None and desk.memory.block.cause == "operator"


def answered(line: Line, offset_ms: int) -> list[ClockOffset]:
    """The venue says its time 20 ms after it was asked."""
    asked_ns = line.now
    server_ms = (asked_ns + 10_000_000) // 1_000_000 + offset_ms
    step = line.take(VenueTime(server_time_ms=server_ms, requested_ns=asked_ns), after_s=0.02)
    return [event for event in step.events if isinstance(event, ClockOffset)]


def test_a_far_clock_is_asked_each_second_and_a_near_one_each_minute() -> None:
    line = Line().up()
    for _ in range(5):
        assert [event.offset_ms for event in answered(line, 2_000)] == [2_000]

    def asks(seconds: int) -> int:
        steps = [line.take(Tick(), after_s=1.01) for _ in range(seconds)]
        return sum(isinstance(command, RequestTime) for step in steps for command in step.commands)

    assert asks(10) >= 9
    for _ in range(5):
        answered(line, 7)
    assert asks(10) <= 1


def test_a_step_of_the_wall_clock_is_told_and_the_time_is_asked_again() -> None:
    (event,) = decode_input("clock", orjson.dumps({"step_ms": -3_000}), Calls(), 1)
    assert event == WallStepped(-3_000)
    line = Line().up()
    assert RequestTime() in line.take(event).commands
    desk = Desk()
    desk.take(event)
    assert "-3000 ms" in desk.said("clock")[0] and desk.float("+1"), "durations do not follow the wall clock"


async def test_a_running_machine_notices_that_somebody_set_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))
    notes: list[Note] = []
    async with venue() as ready:
        machine = hedger(tmp_path, ready)
        machine._on_notes = lambda said, recv_ns: notes.extend(said)
        async with machine:
            await machine.book.live(20)
            assert [note for note in notes if note.code == "clock"] == []
            real = time.time_ns
            monkeypatch.setattr(time, "time_ns", lambda: real() + 400_000_000)
            async with asyncio.timeout(20):
                while not [note for note in notes if note.code == "clock"]:
                    await asyncio.sleep(0.02)
            monkeypatch.setattr(time, "time_ns", real)
    (first, *_) = [note for note in notes if note.code == "clock"]
    assert 250 < int(str(first.data["step_ms"])) < 1_000
