"""The live screen without a terminal: what it shows, what it says when nobody answers, and its keys."""

from __future__ import annotations

from typing import Any

import pytest

from streamhedge.errors import NotRunning
from tests.support.desk import Desk

pytest.importorskip("textual", reason="the live screen is not installed: pip install 'streamhedge[top]'")

from textual.widgets import Static

from streamhedge.live.status import core_status
from streamhedge.ops.top import Top


def status(**more: Any) -> dict[str, Any]:
    desk = Desk()
    head = {"pid": 4242, "version": "0", "venue": "sim", "epoch": 1, "uptime_s": 1.5, "recording": "r.rec"}
    found = {**head, **core_status(desk.machine.core, desk.now_ms * 1_000_000), "clock_offset_ms": 3}
    return {**found, "streams": [{"name": "market", "state": "open", "age_ms": 12}], **more}


class Far:
    """The other process: answers, or does not."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = status()
        self.asked = 0

    def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if self.answer is None:
            raise NotRunning("no streamhedge runs for this account\x1b[2J")
        return self.answer


def words(app: Top, name: str) -> str:
    """Return what a part of the screen shows."""
    lines = app.query_one(f"#{name}", Static).render_lines(app.query_one(f"#{name}", Static).region.reset_offset)
    return "\n".join(strip.text for strip in lines)


async def test_it_shows_the_status_and_its_alerts_and_says_when_nobody_answers() -> None:
    far = Far()
    app = Top(far)
    async with app.run_test(size=(120, 60)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "BTCUSDT" in words(app, "screen") and "ACTIVE" in words(app, "screen")
        assert "nothing is wrong" in words(app, "alerts")
        assert "pid 4242" in words(app, "link")
        row = {"number": 7, "level": "critical", "code": "naked", "symbol": "BTCUSDT", "times": 2, "text": "much"}
        far.answer = status(alerts=[row])
        await pilot.press("r")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "#7 critical naked BTCUSDT ×2: much" in words(app, "alerts")
        assert app.query_one("#alerts").region.y < app.query_one("#screen").region.y, (
            "what is wrong is seen without scrolling"
        )
        far.answer = status(trading_state="HALTED", trading_reasons=["drill"], shadow=True)
        await pilot.press("r")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "the ladder is off; resume once" in words(app, "screen") and "SHADOW" in words(app, "screen")
        far.answer = None
        await pilot.press("r")
        await app.workers.wait_for_complete()
        await pilot.pause()
        line = words(app, "link")
        assert "no streamhedge runs for this account" in line and "old" in line and "\x1b" not in line
        assert app.query_one("#link").has_class("lost")


async def test_pause_keeps_the_screen_and_q_ends_it() -> None:
    far = Far()
    app = Top(far)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("p")
        asked = far.asked
        await pilot.press("r")
        await pilot.pause()
        assert far.asked == asked and "paused" in words(app, "link")
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code in (0, None)
