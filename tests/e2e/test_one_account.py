"""One process per account, and how a running one is talked to and ended."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from tests.support.processes import Account, Ended, Venue, exchange, held, room, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
STATUS_KEYS = {
    *("pid", "version", "venue", "uptime_s", "trading_state", "trading_reasons", "book_status", "blocked", "hedges"),
    *("account", "funding", "streams", "clock_offset_ms"),
}
HEDGE_KEYS = {
    *("asset", "symbol", "symbol_state", "net_delta_usd", "float", "policy_short", "position", "target", "gap_low"),
    *("gap_high", "gap_usd", "naked_btc", "naked_usd", "policy_open_usd", "joint_distance", "dust", "mark_price"),
    *("liquidation_price", "liquidation_distance", "in_doubt"),
}


@pytest.mark.fault("A2")
async def test_the_second_process_refuses_and_names_the_first() -> None:
    with room() as folder:
        async with exchange(folder) as venue:
            account = Account(folder, venue)
            async with account.run() as first:
                await until("hedged", account.hedged)
                posts = (await venue.truth())["wire_posts"]
                elsewhere = Account(folder, venue, state=folder / "another-state")
                second = await elsewhere.command("run", "--duration", "5s")
                assert second.code == 7, second.err
                assert f"pid {first.pid}" in second.err
                assert first.running
                assert (await venue.truth())["wire_posts"] == posts, "the second sent nothing"
                # It goes on being the one that answers.
                answer = await account.status()
                assert answer is not None and answer["pid"] == first.pid
            again = await account.command("run", "--duration", "1s")
            assert again.code == 0, again.err


@pytest.mark.fault("A2")
@pytest.mark.parametrize("taking_over", [True, False])
async def test_two_hosts_on_one_account_end_with_the_newer_one_that_takes_over_or_with_none(taking_over: bool) -> None:
    with room() as here, room() as there:
        async with exchange(here, "--tape", "calm") as venue:
            old, new = Account(here, venue), Account(there, venue)  # each host has its own lock and ledger
            async with old.run("--json"):
                await until("the old one hedged", old.hedged)
                async with new.run("--json", *(["--takeover"] if taking_over else [])) as program:
                    await until("the new one hedged", new.hedged)
                    booked = await old.trade("sell", "0.5", name="t-1")
                    hedge = booked.json()["hedge"]
                    assert Decimal(hedge["filled"]) == Decimal("0.5"), hedge
                    if not taking_over or booked.code != 6:
                        assert (booked.code, hedge["status"]) == (0, "hedged"), booked
                    else:  # undone by the newer one, and halted, before it was told
                        assert hedge["status"] == "blocked" and "HALTED" in hedge["reason"], hedge

                    async def halted(account: Account) -> bool:
                        status = await account.status()
                        return status is not None and status["trading_state"] == "HALTED"

                    if not taking_over:
                        await until("the newer one halts", lambda: halted(new))
                        return
                    # Its own float did not move: what the other did is undone, and that is what halts the other.
                    await until("the older one halts", lambda: halted(old))
                    status = await until("the new one hedged as its books say", new.hedged)
                    assert status["trading_state"] == "ACTIVE"
                    said = [line for line in program.err.splitlines() if '"takeover"' in line]
                    assert "takes the account over" in said[0] and "still runs elsewhere" in said[1], said
                    reason = ((await old.status()) or {})["trading_reasons"][0]
                    assert "second streamhedge" in reason and f"epoch {status['epoch']}" in reason


@pytest.mark.fault("F1", "F2")
async def test_trades_are_facts_booked_once_or_refused() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            assert (await account.trade("buy", "100", name="nobody")).code == 3
            async with account.run("--json") as program:
                await until("hedged", account.hedged)
                first = await account.trade("sell", "0.5", name="t-1")
                assert first.code == 0, first.err
                assert first.json()["hedge"]["status"] == "hedged"
                again = await account.trade("sell", "0.5", name="t-1")
                assert (again.code, again.json()["duplicate"]) == (0, True), again.err
                other = await account.trade("sell", "0.7", name="t-1")
                assert other.code == 2 and "t-1" in other.err, other
                beyond = await account.trade("sell", "25", "--yes", name="t-2")
                assert beyond.code == 2 and "9.5" in beyond.err, beyond
                negative = await account.trade("sell", "-1", name="t-3")
                assert negative.code == 2 and "-1" in negative.err, negative
                for wrong in ("NaN", "1e999999999", "ten", "0"):
                    refused = await account.trade("sell", wrong, name="t-4")
                    assert refused.code == 2, (wrong, refused)
                fat = await account.trade("buy", "50000000", name="t-5")
                assert fat.code == 2 and "--yes" in fat.err, fat
                status = await until("hedged", account.hedged)
                assert Decimal(status["hedges"][0]["float"]) == Decimal("9.5"), "only the first sale was booked"
                ended = await program.stopped()
                assert ended.json()["float_btc"] == "9.5"
            # After a restart the id is still known.
            async with account.run("--json") as program:
                await until("hedged", account.hedged)
                again = await account.trade("sell", "0.5", name="t-1")
                assert (again.code, again.json()["duplicate"]) == (0, True), again.err
                other = await account.trade("sell", "0.7", name="t-1")
                assert other.code == 2, other
                assert (await program.stopped()).json()["float_btc"] == "9.5"


async def test_status_has_the_keys_that_programs_read() -> None:
    with room() as folder:
        async with exchange(folder) as venue:
            account = Account(folder, venue)
            async with account.run() as program:
                await until("hedged", account.hedged)
                found = await account.command("status", "--json")
                assert found.code == 0, found.err
                status = found.json()
                assert set(status) >= STATUS_KEYS, STATUS_KEYS - set(status)
                assert set(status["hedges"][0]) >= HEDGE_KEYS, HEDGE_KEYS - set(status["hedges"][0])
                assert status["pid"] == program.pid and status["blocked"] == []
                assert {stream["name"] for stream in status["streams"]} == {"market", "private", "ws_api"}
                assert all(set(stream) >= {"name", "state", "age_ms"} for stream in status["streams"])
                assert 0 <= status["uptime_s"] < 3_600
                plain = await account.command("status")
                assert plain.code == 0 and "BTCUSDT" in plain.out and str(program.pid) in plain.out
            gone = await account.command("status", "--json")
            assert gone.code == 3 and "streamhedge run" in gone.err, gone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.fault("P7")
async def test_a_signal_ends_it_cleanly_and_it_says_what_it_leaves(number: signal.Signals) -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run("--json") as program:
                await until("hedged", account.hedged)
                # The next order is answered "unknown" and does execute; the signal comes right behind it.
                await venue.arm("O1=executed")
                trade = asyncio.create_task(account.trade("sell", "0.5", name="late"))
                await until("the order is on the wire", _fourth_order(venue))
                program.send(number)
                ended = await program.ended()
                await trade
            assert ended.code == 0, ended.err[-3000:]
            assert ended.json()["pass"], ended.json()["reason"]
            stop = [line for line in lines(ended) if line["code"] == "stop"]
            assert stop and "BTCUSDT" in stop[-1]["text"], "it says what it leaves open"
            truth = await venue.truth()
            assert held(truth) == {s: Decimal(q) for s, q in ended.json()["positions"].items()}
            assert truth["open_orders"] == []


def _fourth_order(venue: Venue) -> Callable[[], Awaitable[bool]]:
    """The first three are the slices of the initial hedge."""

    async def sent() -> bool:
        return len((await venue.truth())["wire_posts"]) >= 4

    return sent


def lines(ended: Ended) -> list[dict[str, str]]:
    """Return the JSON lines of stderr."""
    return [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]


@pytest.mark.fault("P7")
async def test_a_stop_answers_a_client_that_still_waits_for_its_hedge() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run("--json") as program:
                await until("hedged", account.hedged)
                await venue.arm("O1=not_executed")
                waiting = asyncio.create_task(account.trade("sell", "0.5", name="cut"))

                async def doubted() -> bool:
                    return '"code":"in_doubt"' in program.err

                await until("the order is in doubt", doubted)
                ended = await program.stopped()
                trade = await waiting
            assert "Traceback" not in ended.err, ended.err[-3000:]
            assert trade.code == 3 and "stays booked" in trade.err and "same id" in trade.err, trade
            async with account.run():
                await until("hedged again", account.hedged)
                again = await account.trade("sell", "0.5", name="cut")
                assert again.code == 0, again
            truth = await venue.truth()
            assert held(truth) == {"BTCUSDT": Decimal("-9.5")}, "booked once, hedged once"
            assert all(count == 1 for count in truth["wire_posts"].values())
