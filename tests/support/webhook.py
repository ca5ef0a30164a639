"""A web server on loopback that takes what alerts and heartbeats send, and says no as often as it is told to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

OWN = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
"""What only the owner of a switch knows."""


@dataclass(slots=True)
class Hook:
    """What came in: alerts by POST with their bodies, heartbeats by GET."""

    host: str = ""
    refusing: int = 0
    asked: int = 0
    beats: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    """The same as the bytes they came in."""

    @property
    def url(self) -> str:
        """The address as the alerts' library wants it."""
        return f"json://{self.host}/"

    @property
    def switch(self) -> str:
        """The address of a dead man's switch."""
        return f"http://{self.host}/ping/{OWN}"

    def heard(self, text: str) -> bool:
        """Tell whether an alert brought this text."""
        return any(text in body["message"] for body in self.bodies)

    async def take(self, request: web.Request) -> web.Response:
        """Take one request."""
        self.asked += 1
        if self.refusing > 0:
            self.refusing -= 1
            return web.Response(status=500)
        if request.method == "GET":
            self.beats += 1
        else:
            self.raw.append(await request.read())
            self.bodies.append(await request.json())
        return web.Response()


@contextlib.asynccontextmanager
async def webhook() -> AsyncIterator[Hook]:
    """Serve one for the block."""
    found = Hook()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.host = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()
