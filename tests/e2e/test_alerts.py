"""A real hedger whose trouble reaches a real webhook, is seen by a person, or is escalated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.processes import Account, exchange, room, until
from tests.support.webhook import Hook, webhook

pytest.importorskip("apprise", reason="the alerts' library is not installed: pip install 'streamhedge[alerts]'")


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Hook]:
    async with webhook() as found:
        yield found


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


async def test_the_heartbeat_stops_when_the_hedge_cannot_be_trusted_and_comes_back(hook: Hook) -> None:
    with room() as folder:
        more = '[heartbeat]\nurl = { env = "SWITCH" }\nevery = "1s"\n'
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue, more=more, env={"SWITCH": hook.switch})
            async with account.run("--json") as program:
                await until("hedged", account.hedged)

                async def state() -> dict[str, Any]:
                    answer = await account.ask(verb="alerts")
                    assert answer is not None
                    return dict(answer["heartbeat"])

                async def beats() -> bool:
                    return hook.beats >= 2 and (await state())["state"] == "ok"

                async def silent(why: str) -> None:
                    """Wait until it is withheld for a reason, and see that nothing comes for several beats."""

                    async def withheld() -> bool:
                        found = await state()
                        return found["state"] == "withheld" and why in found["reason"]

                    await until(f"withheld: {why}", withheld)
                    before = hook.beats
                    await asyncio.sleep(2.5)
                    assert hook.beats == before, "a beat went out without trust"

                async def back() -> bool:
                    return (await state())["state"] == "ok" and hook.beats > before

                await until("it beats", beats)
                assert (await account.command("halt", "--reason", "drill")).code == 0
                await silent("drill")
                listed = await account.command("alerts", "list")
                assert "heartbeat withheld (HALTED: " in listed.out, listed
                before = hook.beats
                assert (await account.command("resume", "--reason", "drill over")).code == 0
                await until("it beats again", back)
                await venue.program.killed()
                await silent("book SUSPECT")
                ended = await program.stopped()
                seen = (ended.out, ended.err, listed.out)
                assert not any("7c9e6679" in text for text in seen), "the switch's address is a secret"
