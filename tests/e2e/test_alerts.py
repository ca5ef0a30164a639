"""A real hedger whose trouble reaches a real webhook, is seen by a person, or is escalated."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.support.processes import Account, exchange, room, until

pytest.importorskip("apprise", reason="the alerts' library is not installed: pip install 'streamhedge[alerts]'")


@dataclass(slots=True)
class Hook:
    """A webhook and what came in."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        return web.Response()

    def heard(self, text: str) -> bool:
        return any(text in body["message"] for body in self.bodies)


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Hook]:
    found = Hook()
    app = web.Application()
    app.router.add_post("/{any:.*}", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"json://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"  # type: ignore[union-attr]
    yield found
    await runner.cleanup()


@pytest.mark.fault("K6")
async def test_trouble_reaches_the_channel_and_nobodys_answer_is_escalated(hook: Hook) -> None:
    with room() as folder:
        more = '[[alert]]\nurl = { env = "HOOK" }\nmin = "warning"\n[limits]\nunacked_critical_after = "2s"\n'
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue, more=more, env={"HOOK": hook.url})
            async with account.run("--json") as program:
                await until("hedged", account.hedged)
                tried = await account.command("alerts", "test")
                assert tried.code == 0 and "alert-1: delivered" in tried.out, tried
                await venue.arm("A5=liquidate")

                async def told() -> bool:
                    return hook.heard("venue_close BTCUSDT")

                await until("the channel heard", told)

                async def escalated() -> bool:
                    status = await account.status()
                    return status is not None and "was not acknowledged within 2 s" in str(status["trading_reasons"])

                await until("escalated", escalated)
                listed = await account.command("alerts", "list", "--json")
                rows = json.loads(listed.out)
                assert any(row["code"] == "venue_close" and not row["acknowledged"] for row in rows["alerts"])
                assert rows["alert_channels"][0]["state"] == "ok" and rows["alert_channels"][0]["sent"] >= 1
                seen = await account.command("alerts", "ack")
                assert seen.code == 0 and "acknowledged #" in seen.out
                nobody = await account.command("alerts", "ack", "9999")
                assert nobody.code != 0 and "no alert #9999 is open" in nobody.err
                await program.stopped()
