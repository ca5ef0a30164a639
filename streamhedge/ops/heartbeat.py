"""The heartbeat: a sign of life to somebody outside, who calls people when it stays away (a dead man's switch).

It goes out only while the hedge can be trusted, by the same reasons as `/readyz`. A process that is gone, a machine
without a line and a hedger that cannot trust its book look the same from there: silence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from streamhedge.domain.commands import Level
from streamhedge.errors import ConfigError
from streamhedge.settings.config import Config
from streamhedge.settings.secrets import Secret, load_secret

LOOK_S = 1.0
"""How soon a beat that was due while trust was lost goes out once it is back."""
ANSWER_S = 10.0


@dataclass(slots=True)
class Heartbeat:
    """The beats of one hedger and how they go."""

    url: Secret
    every_s: float
    doubts: Callable[[], list[str]]
    tell: Callable[[str, str, Level], None]
    counts: dict[str, int]
    withheld: str = ""
    """Why none goes out now; empty while they do."""
    failing: bool = False

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat while the block runs. Its end says nothing: whoever stops a hedger on purpose pauses the switch."""
        task = asyncio.create_task(self._beat_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _beat_on(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            self._look()
            if loop.time() >= due_s and not self.withheld:
                due_s = loop.time() + self.every_s
                self._came(await beaten(self.url))
            await asyncio.sleep(min(LOOK_S, self.every_s))

    def _look(self) -> None:
        """Notice whether trust was lost or came back; each is told once."""
        reason = next(iter(self.doubts()), "")
        if bool(reason) != bool(self.withheld):
            text = f"withheld: {reason}" if reason else "goes out again"
            self.tell("heartbeat", text, Level.WARNING if reason else Level.INFO)
        self.withheld = reason

    def _came(self, delivered: bool) -> None:
        outcome = "sent" if delivered else "failed"
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        if self.failing != (not delivered):
            text = "does not arrive; it is tried again when it is due" if not delivered else "arrives again"
            self.tell("heartbeat", text, Level.INFO if delivered else Level.WARNING)
        self.failing = not delivered

    def state(self) -> dict[str, Any]:
        """Return how it goes, JSON-ready."""
        now = "withheld" if self.withheld else "failing" if self.failing else "ok"
        counted = {outcome: self.counts.get(outcome, 0) for outcome in ("sent", "failed")}
        return {"state": now, "reason": self.withheld, **counted}


async def beaten(url: Secret) -> bool:
    """Send one beat; return whether it was taken. The address is a secret: no message names it."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with (
            aiohttp.ClientSession(trust_env=False, timeout=timeout) as session,
            session.get(URL(url.reveal()), allow_redirects=False) as answer,
        ):
            return 200 <= answer.status < 300
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return False


def address_of(config: Config, env: Mapping[str, str]) -> Secret | None:
    """Return where beats go; None where none are configured.

    Raises:
        ConfigError: it is no address; no message repeats it.
    """
    table = config.settings.heartbeat
    if table is None:
        return None
    found = load_secret("heartbeat", table.url, env)
    try:
        url = URL(found.reveal())
        fits = url.scheme in ("http", "https") and bool(url.host)
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError("heartbeat: no http or https address")
    return found
