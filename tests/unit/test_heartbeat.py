"""The heartbeat against a web server on loopback: only with trust, again as soon as trust is back, its failures told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from streamhedge.domain.commands import Level
from streamhedge.errors import ConfigError
from streamhedge.ops import heartbeat as module
from streamhedge.ops.doctor.account import channels
from streamhedge.ops.heartbeat import Heartbeat, address_of, beaten
from streamhedge.settings.config import load_config
from streamhedge.settings.secrets import Secret
from tests.support.shared import REPOSITORY
from tests.support.webhook import Hook, webhook

DEMO = REPOSITORY / "streamhedge" / "settings" / "demo.toml"


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Hook]:
    async with webhook() as found:
        yield found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)


class Room:
    """A heartbeat, the reasons it is told to have, and what it said."""

    def __init__(self, hook: Hook) -> None:
        self.doubts: list[str] = []
        self.told: list[tuple[str, Level]] = []
        self.looks = 0
        self.heart = Heartbeat(Secret(hook.switch), 0.02, self._asked, self._tell, {})

    def _asked(self) -> list[str]:
        self.looks += 1
        return self.doubts

    def _tell(self, code: str, text: str, level: Level) -> None:
        assert code == "heartbeat"
        self.told.append((text, level))


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not done():
            await asyncio.sleep(0.005)


async def test_it_beats_with_trust_alone_and_says_each_change_once(hook: Hook) -> None:
    here = Room(hook)
    async with here.heart.beating():
        await until(lambda: hook.beats >= 3)
        here.doubts = ["book SUSPECT: a gap", "BTCUSDT blocked: margin"]
        await until(lambda: here.heart.state()["state"] == "withheld")
        before, looks = hook.beats, here.looks
        await until(lambda: here.looks >= looks + 10)
        assert hook.beats == before
        here.doubts = []
        await until(lambda: hook.beats > before)
    assert here.told == [("withheld: book SUSPECT: a gap", Level.WARNING), ("goes out again", Level.INFO)]
    after = hook.beats
    await asyncio.sleep(0.1)
    assert hook.beats == after, "it ended with its block"


async def test_a_beat_that_is_refused_is_told_once_and_comes_when_it_is_due_again(hook: Hook) -> None:
    here = Room(hook)
    hook.refusing = 3
    async with here.heart.beating():
        await until(lambda: here.heart.state()["state"] == "failing")
        await until(lambda: here.heart.counts.get("sent", 0) >= 2)
    assert here.heart.counts["failed"] == 3
    assert [level for _, level in here.told] == [Level.WARNING, Level.INFO]
    assert not any("7c9e6679" in text for text, _ in here.told)


async def test_nobody_there_is_a_beat_that_did_not_arrive() -> None:
    assert await beaten(Secret("http://127.0.0.1:9/ping")) is False


def test_doctor_says_where_it_goes_and_how_to_mend_it(tmp_path: Path) -> None:
    said = tmp_path / "more.toml"
    said.write_text('[heartbeat]\nurl = { env = "SWITCH" }\nevery = "90s"\n')
    config = load_config([DEMO, said], [], {})

    def found(address: str) -> tuple[str, str, str]:
        (row,) = [row for row in channels(config, {"SWITCH": address}) if row.name == "heartbeat"]
        return row.verdict, row.found, row.repair

    verdict, text, _ = found("https://hc.example/ping/secret-part")
    assert verdict == "ok" and "every 90 s" in text and "secret-part" not in text
    verdict, text, repair = found("secret-part of nothing")
    assert verdict == "fail" and "[heartbeat] url" in repair and "secret-part" not in text + repair
    (missing,) = [row for row in channels(load_config([DEMO], ["venue=demo"], {}), {}) if row.name == "heartbeat"]
    assert missing.verdict == "warn" and "add [heartbeat] url" in missing.repair
    with pytest.raises(ConfigError, match="no http or https address"):
        address_of(config, {"SWITCH": "json://127.0.0.1/"})
    with pytest.raises(ConfigError, match="every"):
        load_config([DEMO, said], ["heartbeat.every=0s"], {})
