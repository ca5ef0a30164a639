"""SIGHUP to a hedger without a terminal: the new band is in force, what needs a restart is named, replay agrees."""

from __future__ import annotations

import json
import signal

import pytest

from tests.support.processes import Account, exchange, room, until


@pytest.mark.fault("K5", "P7")
async def test_a_running_hedger_reads_its_configuration_again() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run("--json") as program:
                await until("hedged", account.hedged)

                async def said(text: str) -> None:
                    async def heard() -> bool:
                        return text in program.err

                    await until(text, heard)

                base = account.base.read_text()
                account.base.write_text(
                    "usd_per_quote = 0.95\n"
                    + base.replace('band = "100 USDT"', 'band = "60_000 USDT"').replace("leverage = 3", "leverage = 2")
                    + '\n[record]\ndir = "elsewhere"\n'
                )
                program.send(signal.SIGHUP)
                await said("changed band of BTCUSDT 60000")
                await said("not applied: hedge BTC: anything but band and naked_alert_after needs a restart")
                await said("not applied: [record]: changing it needs a restart")
                await said("usd_per_quote None → 0.95")
                status = await account.status()
                assert status is not None and float(status["depeg"]["depeg_usd"]) < -20_000, status["depeg"]
                inside = await account.trade("buy", "30000", name="inside-the-new-band")
                assert json.loads(inside.out)["hedge"]["orders"] == [], inside.out
                account.base.write_text("this is no configuration")
                program.send(signal.SIGHUP)
                await said("not read again, what was in force stays")
                account.base.write_text(base)
                program.send(signal.SIGHUP)
                await said("changed band of BTCUSDT 100")
                await until("hedged again", account.hedged)
                ended = await program.stopped()
                assert "Traceback" not in ended.err
            replayed = await account.command("replay", "--json", *map(str, account.recordings))
            assert replayed.code == 0 and json.loads(replayed.out)["diverged"] is None, replayed
