"""A ledger that cannot be read: nothing starts, exit 8; new books only when a person says so, REDUCING until checked."""

from __future__ import annotations

import pytest

from tests.support.processes import Account, exchange, room, until


@pytest.mark.fault("P2")
async def test_a_damaged_ledger_refuses_to_start_until_the_venues_truth_is_accepted() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run() as program:
                await until("hedged", account.hedged)
                assert (await account.trade("buy", "50000", name="ft-1")).code == 0
                await program.stopped()
            whole = account.book.read_bytes()
            account.book.write_bytes(whole[:100] + b"\xff" * 8_000 + whole[8_100:])
            damaged = account.book.read_bytes()
            posts = len((await venue.truth())["wire_posts"])

            refused = await account.command("run", "--duration", "5s")
            assert refused.code == 8, refused
            assert "Traceback" not in refused.err and "--accept-venue-truth" in refused.err, refused.err
            assert account.book.read_bytes() == damaged, "nothing is changed without being asked"

            async with account.run("--accept-venue-truth") as program:

                async def reducing() -> bool:
                    found = await account.status()
                    return bool(found and found["book_status"] == "LIVE" and found["trading_state"] == "REDUCING")

                await until("reducing", reducing)
                assert "new_books" in program.err and "trade set" in program.err
                (aside,) = account.book.parent.glob("damaged-*")
                assert (aside / "ledger.sqlite").read_bytes() == damaged and aside.stat().st_mode & 0o077 == 0
                status = await account.status()
                assert status is not None and status["hedges"][0]["float"] == "10", (
                    "the initial float, which is to be checked"
                )
                corrected = await account.trade("set", "10.745", "--reason", "the treasury's own books", name="set-1")
                assert corrected.code in (0, 6), corrected
                assert (await account.command("resume", "--reason", "float checked")).code == 0
                await until("hedged", account.hedged)
                await program.stopped()
            truth = await venue.truth()
            assert max(truth["wire_posts"].values()) == 1 and len(truth["wire_posts"]) >= posts
            whole_now = account.book.read_bytes()
            again = await account.command("run", "--accept-venue-truth", "--duration", "1s")
            assert "the ledger is whole: nothing was set aside" in again.err, again
            assert len(list(account.book.parent.glob("damaged-*"))) == 1 and len(account.book.read_bytes()) >= len(
                whole_now
            )
