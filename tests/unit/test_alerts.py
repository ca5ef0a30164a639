"""Alerts against a webhook on loopback: told once, grouped, retried, resolved, escalated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from streamhedge.domain.commands import Level, Note
from streamhedge.domain.values import Symbol
from streamhedge.errors import ConfigError
from streamhedge.ops import alerts as module
from streamhedge.ops.alerts import Alerts, channels_of
from streamhedge.settings.config import load_config
from tests.support.webhook import Hook, webhook

pytest.importorskip("apprise", reason="the alerts' library is not installed: pip install 'streamhedge[alerts]'")

BTCUSDT = Symbol("BTCUSDT")
S = 1_000_000_000


def note(code: str, level: Level = Level.WARNING, symbol: Symbol | None = BTCUSDT, **data: object) -> Note:
    return Note(code=code, level=level, symbol=symbol, text=f"about {code}", data=data)


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Hook]:
    async with webhook() as found:
        yield found


@dataclass(slots=True)
class Room:
    """Alerts to one webhook, and everything they said of themselves."""

    alerts: Alerts
    escalated: list[str]
    told: list[tuple[str, str]]
    counts: dict[tuple[str, str], int]


def room(hook: Hook | str, tmp_path: Path, *, least: str = "warning") -> Room:
    file = tmp_path / "alerts.toml"
    file.write_text(f'[[alert]]\nurl = {{ env = "HOOK" }}\nmin = "{least}"\n')
    packaged = Path(module.__file__).parents[1] / "settings" / "demo.toml"
    config = load_config([packaged, file], (), {})
    escalated: list[str] = []
    told: list[tuple[str, str]] = []
    counts: dict[tuple[str, str], int] = {}
    alerts = Alerts(
        channels_of(config, {"HOOK": hook if isinstance(hook, str) else hook.url}),
        unacknowledged_after_ms=60_000,
        escalate=escalated.append,
        tell=lambda code, text, level: told.append((code, text)),
        counts=counts,
    )
    return Room(alerts, escalated, told, counts)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not done():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_S", 0.05)
    monkeypatch.setattr(module, "RETRY_S", (0.05,))


@pytest.mark.fault("K6")
async def test_what_comes_together_goes_out_as_one_message_and_repeats_are_counted(hook: Hook, tmp_path: Path) -> None:
    here = room(hook, tmp_path)
    async with here.alerts.delivering(lambda: 0):
        here.alerts.notes([note("naked", Level.CRITICAL), note("blocked"), note("filled", Level.INFO)], 1 * S)
        here.alerts.notes([note("naked", Level.CRITICAL)], 2 * S)
        await until(lambda: bool(hook.bodies))
    (body,) = hook.bodies
    assert body["title"] == "streamhedge: 2 alerts, the loudest critical"
    assert body["message"].splitlines() == [
        "critical #1 naked BTCUSDT: about naked",
        "warning #2 blocked BTCUSDT: about blocked",
    ]
    assert [(row["code"], row["times"]) for row in here.alerts.rows()] == [("naked", 2), ("blocked", 1)]
    assert here.counts == {("alert-1", "sent"): 1}


async def test_an_end_is_told_with_how_long_it_lasted(hook: Hook, tmp_path: Path) -> None:
    here = room(hook, tmp_path)
    async with here.alerts.delivering(lambda: 0):
        here.alerts.notes([note("naked", Level.CRITICAL)], 1 * S)
        await until(lambda: len(hook.bodies) == 1)
        here.alerts.notes([note("neutral", Level.INFO)], 31 * S)
        await until(lambda: len(hook.bodies) == 2)
    assert hook.bodies[1]["message"] == "resolved #1 naked BTCUSDT after 30 s: about neutral"
    assert here.alerts.rows() == []


async def test_a_channel_that_fails_is_visible_tried_again_and_loses_nothing(hook: Hook, tmp_path: Path) -> None:
    here = room(hook, tmp_path)
    hook.refusing = 3
    async with here.alerts.delivering(lambda: 0):
        here.alerts.notes([note("halted", Level.CRITICAL, None)], 1 * S)
        await until(lambda: hook.asked >= 2)
        assert here.alerts.states()[0]["state"] == "failing"
        here.alerts.notes([note("blocked")], 2 * S)
        await until(lambda: any("blocked" in body["message"] for body in hook.bodies) and len(here.told) == 2)
    assert any("halted" in body["message"] for body in hook.bodies)
    assert here.counts["alert-1", "failed"] == 3
    assert [code for code, _ in here.told] == ["alert_failed", "alert_delivered"]
    assert here.alerts.states()[0]["state"] == "ok"


async def test_a_channel_hears_only_what_is_loud_enough_for_it(hook: Hook, tmp_path: Path) -> None:
    here = room(hook, tmp_path, least="critical")
    async with here.alerts.delivering(lambda: 0):
        here.alerts.notes([note("blocked")], 1 * S)
        here.alerts.notes([note("blocked", Level.CRITICAL)], 2 * S)
        await until(lambda: bool(hook.bodies))
    assert [body["message"] for body in hook.bodies] == ["critical #1 blocked BTCUSDT: about blocked"]


@pytest.mark.fault("K6")
def test_a_critical_incident_that_nobody_acknowledges_is_escalated_once(tmp_path: Path) -> None:
    here = room(Hook("127.0.0.1:9"), tmp_path)
    here.alerts.notes([note("naked", Level.CRITICAL), note("halted", Level.CRITICAL, None), note("blocked")], 1 * S)
    assert here.alerts.acknowledge(2) == [2]
    here.alerts.watch(60 * S)
    assert here.escalated == []
    here.alerts.watch(61 * S)
    here.alerts.watch(62 * S)
    assert len(here.escalated) == 1 and "#1 (naked BTCUSDT) was not acknowledged within 60 s" in here.escalated[0]


def test_what_ends_what(tmp_path: Path) -> None:
    here = room(Hook("127.0.0.1:9"), tmp_path)

    def left(*notes: Note) -> list[str]:
        here.alerts.notes(notes, 1 * S)
        return [row["code"] for row in here.alerts.rows()]

    assert left(note("silent", symbol=None), note("book", symbol=None, status="SUSPECT")) == ["silent", "book"]
    assert left(note("book", Level.INFO, None, status="LIVE")) == []
    assert left(note("halted", Level.CRITICAL, None)) == ["halted"]
    assert left(note("operator", symbol=None, verb="halt")) == ["halted", "operator"]
    assert left(note("operator", symbol=None, verb="resume")) == ["operator"]
    assert left(note("ladder"), note("ladder", Level.INFO)) == ["operator"]
    here.alerts.watch(700 * S)
    assert here.alerts.rows() == [], "a warning that does not come again is over"
    assert left(note("errors", Level.CRITICAL, None), note("clock", symbol=None)) == ["errors", "clock"]
    assert left(note("errors", Level.INFO, None), note("clock", Level.INFO, None)) == []
    assert left(note("leverage_high")) == ["leverage_high"] and left(note("leverage_fits", Level.INFO)) == []


def test_a_critical_incident_that_nothing_ends_is_over_once_somebody_saw_it(tmp_path: Path) -> None:
    here = room(Hook("127.0.0.1:9"), tmp_path)
    here.alerts.notes([note("insurance", Level.CRITICAL, None), note("banned", Level.CRITICAL)], 1 * S)
    here.alerts.acknowledge(1)
    here.alerts.watch(600 * S)
    assert len(here.alerts.rows()) == 2
    here.alerts.watch(601 * S)
    assert [row["code"] for row in here.alerts.rows()] == ["banned"], "nobody saw that one yet"


def test_an_address_that_is_none_is_refused_and_never_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alert 1: no address") as caught:
        room("nonsense://token-1234", tmp_path)
    assert "1234" not in str(caught.value)
