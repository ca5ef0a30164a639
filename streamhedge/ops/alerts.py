"""Alerts: from notes to incidents, from incidents to channels, each told once, grouped, retried, and resolved.

An incident is a note's code and symbol. While it is open its repeats are counted and not sent again, unless they get
louder. What ends it is a note too, and is sent as resolved. A channel that fails is retried and is itself visible; it
never delays the hedger. A critical incident that nobody acknowledges in time is escalated.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamhedge.domain.commands import Level, Note
from streamhedge.domain.values import NS_PER_MS
from streamhedge.errors import ConfigError
from streamhedge.ops.lines import inert
from streamhedge.settings.config import Config
from streamhedge.settings.secrets import load_secret

LOUDNESS = {Level.INFO: 0, Level.WARNING: 1, Level.CRITICAL: 2}
GROUP_S = 1.0
"""What comes within it after the first goes out as one message."""
RETRY_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Pauses before sending again; the last one repeats until it is delivered."""
WAITING_MOST = 500
OPEN_MOST = 500
QUIET_NS = 600_000 * NS_PER_MS
"""An incident that nothing ends is over when it has not come again for so long; a critical one once somebody saw it."""
ENDS: dict[str, tuple[str, ...]] = {
    "neutral": ("naked", "max_naked"),
    "unblocked": ("blocked", "gate"),
    "settled": ("in_doubt",),
    "ladder_helps": ("ladder_helpless",),
    "near_over": ("near_liquidation",),
    "mark_back": ("mark_mute",),
    "liquidation_agrees": ("liquidation_drift",),
    "adl_quantile_low": ("adl_quantile",),
    "leverage_fits": ("leverage_high",),
}
"""A note of this code ends the incidents of those codes on its symbol."""
ENDS_ITSELF = ("ladder", "errors", "clock", "config", "funding_ratio", "leverage")
"""A quiet note of such a code says that the loud one is over."""
Send = Callable[[str, str, Level], bool]
"""Delivers title and body; returns whether it was delivered. Runs in a thread and may take its time."""


@dataclass(slots=True)
class Incident:
    """Something that is wrong, from its first note to its end."""

    number: int
    code: str
    symbol: str
    level: Level
    text: str
    first_ns: int
    last_ns: int
    times: int = 1
    acknowledged: bool = False
    escalated: bool = False


@dataclass(slots=True)
class Channel:
    """One way to reach people, and how that goes."""

    name: str
    least: Level
    send: Send
    waiting: deque[tuple[Level, str]] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    failing: bool = False

    def put(self, level: Level, text: str) -> None:
        """Queue one message; the oldest gives way where too many wait."""
        if LOUDNESS[level] < LOUDNESS[self.least]:
            return
        if len(self.waiting) >= WAITING_MOST:
            self.waiting.popleft()
            self.dropped += 1
        self.waiting.append((level, text))
        self.wake.set()


class Alerts:
    """The incidents of one hedger and the channels that hear of them."""

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        unacknowledged_after_ms: int,
        escalate: Callable[[str], None],
        tell: Callable[[str, str, Level], None],
        counts: dict[tuple[str, str], int],
    ) -> None:
        """Name who hears, and what is done where nobody does.

        Args:
            channels: Who hears.
            unacknowledged_after_ms: How long a critical incident may stay unacknowledged.
            escalate: Told the reason once for each incident that was.
            tell: Told code, text and level of what concerns the alerts themselves.
            counts: Filled with deliveries by (channel, outcome).
        """
        self.channels = list(channels)
        self.open: dict[tuple[str, str], Incident] = {}
        self._after_ns = unacknowledged_after_ms * NS_PER_MS
        self._escalate = escalate
        self._tell = tell
        self._counts = counts
        self._number = 0

    # ------------------------------------------------------------ incidents

    def notes(self, notes: Sequence[Note], recv_ns: int) -> None:
        """Take the notes of one input; returns at once."""
        for note in notes:
            for key in self._ended_by(note):
                self._resolve(key, note.text, recv_ns)
            if note.level is not Level.INFO:
                self._happened(note, recv_ns)

    def _happened(self, note: Note, recv_ns: int) -> None:
        key = (note.code, note.symbol or "")
        held = self.open.get(key)
        if held is not None:
            held.times += 1
            held.last_ns = recv_ns
            held.text = note.text
            if LOUDNESS[note.level] > LOUDNESS[held.level]:
                held.level, held.acknowledged = note.level, False
                self._say(held)
            return
        if len(self.open) >= OPEN_MOST:
            self.open.pop(next(iter(self.open)))
        self._number += 1
        held = Incident(self._number, note.code, note.symbol or "", note.level, note.text, recv_ns, recv_ns)
        self.open[key] = held
        self._say(held)

    def _say(self, incident: Incident) -> None:
        for channel in self.channels:
            channel.put(
                incident.level, f"{incident.level.value} #{incident.number} {_subject(incident)}: {incident.text}"
            )

    def _ended_by(self, note: Note) -> list[tuple[str, str]]:
        symbol = note.symbol or ""
        found = [(code, symbol) for code in ENDS.get(note.code, ())]
        if note.code == "book" and note.data.get("status") == "LIVE":
            found += [(code, "") for code in ("book", "silent", "reconnect", "call_failed", "listen_key", "clock")]
        if note.code == "operator" and note.data.get("verb") == "resume":
            found += [("halted", ""), ("halted", symbol), ("blocked", symbol), ("external", symbol)]
        if note.code in ENDS_ITSELF and note.level is Level.INFO:
            found.append((note.code, symbol))
        return [key for key in dict.fromkeys(found) if key in self.open]

    def _resolve(self, key: tuple[str, str], text: str, now_ns: int) -> None:
        incident = self.open.pop(key)
        lasted_s = (now_ns - incident.first_ns) // 1_000_000_000
        again = f", {incident.times} times" if incident.times > 1 else ""
        for channel in self.channels:
            channel.put(
                incident.level,
                f"resolved #{incident.number} {_subject(incident)} after {lasted_s} s{again}: {text}",
            )

    def acknowledge(self, number: int | None) -> list[int]:
        """Note that a person has seen an incident, or all of them; return their numbers."""
        seen = [incident for incident in self.open.values() if number in (None, incident.number)]
        for incident in seen:
            incident.acknowledged = True
        return [incident.number for incident in seen]

    def watch(self, now_ns: int) -> None:
        """Escalate what nobody acknowledged in time; let go of what did not come again."""
        for key, incident in list(self.open.items()):
            late = incident.level is Level.CRITICAL and now_ns - incident.first_ns >= self._after_ns
            if late and not incident.acknowledged and not incident.escalated and self.channels:
                incident.escalated = True
                self._escalate(
                    f"critical alert #{incident.number} ({_subject(incident)}) was not acknowledged within "
                    f"{self._after_ns // NS_PER_MS // 1_000} s: `streamhedge alerts ack`"
                )
            seen = incident.level is not Level.CRITICAL or incident.acknowledged
            if seen and now_ns - incident.last_ns >= QUIET_NS:
                self._resolve(key, "it has not come again", now_ns)

    def rows(self) -> list[dict[str, Any]]:
        """Return the open incidents, loudest first, JSON-ready."""
        ranked = sorted(self.open.values(), key=lambda one: (-LOUDNESS[one.level], one.number))
        return [
            {
                **{"number": one.number, "level": one.level.value, "code": one.code, "symbol": one.symbol},
                **{"text": one.text, "times": one.times, "first_ms": one.first_ns // NS_PER_MS},
                **{"acknowledged": one.acknowledged},
            }
            for one in ranked
        ]

    def states(self) -> list[dict[str, Any]]:
        """Return how each channel goes, JSON-ready."""
        return [
            {
                **{"channel": channel.name, "state": "failing" if channel.failing else "ok", "sent": channel.sent},
                **{"failed": channel.failed, "waiting": len(channel.waiting), "dropped": channel.dropped},
            }
            for channel in self.channels
        ]

    # ------------------------------------------------------------ channels

    @contextlib.asynccontextmanager
    async def delivering(self, now_ns: Callable[[], int]) -> AsyncIterator[None]:
        """Deliver while the block runs; what still waits at its end gets a last try of a second."""
        tasks = [asyncio.create_task(self._deliver(channel)) for channel in self.channels]
        tasks.append(asyncio.create_task(self._watching(now_ns)))
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GROUP_S + 1.0):
                    while any(channel.waiting and not channel.failing for channel in self.channels):
                        await asyncio.sleep(0.05)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watching(self, now_ns: Callable[[], int]) -> None:
        while True:
            self.watch(now_ns())
            await asyncio.sleep(1.0)

    async def _deliver(self, channel: Channel) -> None:
        tries = 0
        while True:
            await channel.wake.wait()
            await asyncio.sleep(GROUP_S)
            channel.wake.clear()
            batch = list(channel.waiting)
            if not batch:
                continue
            level, title, body = _message(batch)
            delivered = await asyncio.to_thread(tried, channel.send, title, body, level)
            outcome = "sent" if delivered else "failed"
            self._counts[channel.name, outcome] = self._counts.get((channel.name, outcome), 0) + 1
            if delivered:
                for _ in range(min(len(batch), len(channel.waiting))):
                    channel.waiting.popleft()
                channel.sent += 1
                tries = 0
                if channel.failing:
                    channel.failing = False
                    self._tell("alert_delivered", f"alerts reach {channel.name} again", Level.INFO)
                if channel.waiting:
                    channel.wake.set()
                continue
            channel.failed += 1
            channel.wake.set()
            if not channel.failing:
                channel.failing = True
                text = f"an alert did not reach {channel.name}; {len(channel.waiting)} wait, it is tried again"
                self._tell("alert_failed", text, Level.WARNING)
            await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1


def _subject(incident: Incident) -> str:
    return f"{incident.code} {incident.symbol}".strip()


def _message(batch: Sequence[tuple[Level, str]]) -> tuple[Level, str, str]:
    """Return level, title and body of what goes out together."""
    level = max((level for level, _ in batch), key=LOUDNESS.__getitem__)
    first = inert(batch[0][1])
    title = first.partition(":")[0] if len(batch) == 1 else f"{len(batch)} alerts, the loudest {level.value}"
    return level, f"streamhedge: {title}", "\n".join(inert(text) for _, text in batch)


def tried(send: Send, title: str, body: str, level: Level) -> bool:
    """Return whether it was delivered; whatever a channel raises is a failure to deliver."""
    try:
        return send(title, body, level)
    except Exception:
        return False


def channels_of(config: Config, env: Mapping[str, str]) -> list[Channel]:
    """Return the configured channels.

    Raises:
        ConfigError: an address is none, or the library is not installed; no message repeats an address.
    """
    if not config.settings.alert:
        return []
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise ConfigError("[[alert]] needs a library: pip install 'streamhedge[alerts]'") from error
    # Deliveries that fail are ours to tell; the library would name the address, which holds the channel's secret.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    kinds = {
        Level.INFO: apprise.NotifyType.INFO,
        Level.WARNING: apprise.NotifyType.WARNING,
        Level.CRITICAL: apprise.NotifyType.FAILURE,
    }
    found = []
    for number, table in enumerate(config.settings.alert, 1):
        target = apprise.Apprise()
        if not target.add(load_secret(f"alert {number}", table.url, env).reveal()):
            raise ConfigError(f"alert {number}: no address that apprise knows; see its list of services")

        def send(title: str, body: str, level: Level, target: Any = target) -> bool:
            return bool(target.notify(title=title, body=body, notify_type=kinds[level]))

        found.append(Channel(name=f"alert-{number}", least=Level(table.min), send=send))
    return found
