"""The run's verdict: PASS for the demo as it is, FAIL with its reason and exit 1 for each of five ways to break it.

All runs of this file go side by side; each test then looks at one of them.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.proxy import relay
from tests.support.processes import (
    Account,
    Ended,
    command,
    exchange,
    room,
    running,
    until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SHORT = ("--duration", "5s")
SURFACE_KEYS = {
    *("pass", "reason", "blocked", "naked_usd", "float_btc", "position_btc", "gap_usd", "in_band", "hedges"),
    *("orders_sent", "in_doubt", "duplicate_client_ids", "liquidated", "min_liquidation_distance", "max_naked_usd"),
    *("naked_usd_seconds", "funding_usd", "fees_usd", "event_to_sent_ms", "reconnects", "digest", "recording"),
    "report",
}


async def whole(folder: Path) -> Ended:
    """The demo as it is, five seconds long."""
    return await command(folder, "run", *SHORT, "--json", "--state-dir", str(folder / "state"))


async def whole_in_words(folder: Path) -> Ended:
    """The same, for a reader."""
    return await command(folder, "run", *SHORT, "--state-dir", str(folder / "state"))


async def other_book(folder: Path) -> Ended:
    """The exchange reports a fill that never moved the position: the last thing that happens before the end."""
    async with exchange(folder) as venue:
        account = Account(folder, venue)
        async with account.run(*SHORT, "--json") as program:
            await until("hedged", account.hedged)
            await venue.arm("X1=1")
            await account.trade("buy", "20000", name="last")
            return await program.ended()


async def naked(folder: Path) -> Ended:
    """Every order is answered "unknown" and none executes: the float stays naked, and no rule names why."""
    words = ("--no-story", "--fault", "O1=not_executed*0", "--state-dir", str(folder / "state"))
    return await command(folder, "run", *SHORT, "--json", *words)


async def sent_twice(folder: Path) -> Ended:
    """Something on the way sends an order a second time."""
    async with exchange(folder) as venue, relay(venue) as between:
        account = Account(folder, venue, endpoints=between.endpoints)
        async with account.run(*SHORT, "--json") as program:
            await until("hedged", account.hedged)
            between.double_next_order = True
            await account.trade("sell", "1.5", name="doubled")
            found = await program.ended()
        assert len(between.doubled) == 1, "the relay was to double one order"
        return found


async def liquidated(folder: Path) -> Ended:
    """The exchange liquidates the account in the middle of the demo."""
    words = ("--fault", "A5=liquidate@3", "--state-dir", str(folder / "state"))
    return await command(folder, "run", *SHORT, "--json", *words)


async def _with_recording(folder: Path, change: Callable[[Path], None]) -> Ended:
    state = folder / "state"
    async with running(folder, "run", *SHORT, "--json", "--state-dir", str(state)) as program:

        async def written() -> Path | None:
            assert program.running, program.err[-3000:]
            found = list(state.rglob("*.rec"))
            return found[0] if found and found[0].read_bytes().count(b"\n") > 50 else None

        change(await until("fifty recorded lines", written))
        return await program.ended()


async def changed_byte(folder: Path) -> Ended:
    """Somebody changes one digit of a recorded price while the run goes on."""

    def change(path: Path) -> None:
        raw = path.read_bytes()
        at = raw.index(b'"p":"', raw.index(b" market ")) + 5
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"9" if raw[at : at + 1] != b"9" else b"8")

    return await _with_recording(folder, change)


async def shorter_recording(folder: Path) -> Ended:
    """Somebody puts an honest but shorter recording in its place: it replays, to another end."""

    def change(path: Path) -> None:
        kept = path.with_suffix(".moved")
        path.rename(kept)
        shutil.copy(kept, path)

    return await _with_recording(folder, change)


RUNS: dict[str, Callable[[Path], Awaitable[Ended]]] = {
    "whole": whole,
    "whole_in_words": whole_in_words,
    "other_book": other_book,
    "naked": naked,
    "sent_twice": sent_twice,
    "liquidated": liquidated,
    "changed_byte": changed_byte,
    "shorter_recording": shorter_recording,
}


@pytest.fixture(scope="module")
def runs() -> dict[str, Ended | BaseException]:
    """Every run of this file, by name."""

    async def one(play: Callable[[Path], Awaitable[Ended]]) -> Ended:
        with room() as folder:
            return await play(folder)

    async def side_by_side() -> list[Ended | BaseException]:
        return await asyncio.gather(*(one(play) for play in RUNS.values()), return_exceptions=True)

    return dict(zip(RUNS, asyncio.run(side_by_side()), strict=True))


def the(runs: dict[str, Ended | BaseException], name: str) -> Ended:
    found = runs[name]
    if isinstance(found, BaseException):
        raise found
    return found


def failed(run: Ended) -> str:
    """Return why a run says it failed, its exit code and its own figures agreeing."""
    summary = run.json()
    assert (run.code, summary["pass"]) == (1, False), (run.code, summary["reason"], run.err[-2000:])
    assert summary["reason"], "a failure has a reason"
    return str(summary["reason"])


def test_the_demo_passes(runs: dict[str, Ended | BaseException]) -> None:
    run = the(runs, "whole")
    summary = run.json()
    assert (run.code, summary["pass"], summary["reason"]) == (0, True, ""), run.err[-3000:]
    assert set(summary) >= SURFACE_KEYS
    assert summary["in_band"] or summary["blocked"]
    assert (summary["in_doubt"], summary["duplicate_client_ids"], summary["liquidated"]) == (0, 0, 0)
    # Its story happened: bought and sold, a cut stream, both kinds of 503, a dead listen key, a deleveraging.
    assert summary["faults"] == {"O1": 2, "S3": 1, "U2": 1, "A5": 1}
    assert summary["venue_closes"] == 1 and summary["reconnects"] >= 1
    assert summary["orders_sent"] >= 5 and Decimal(summary["float_btc"]) != 10
    assert len(summary["recording"]) >= 1


def test_the_demo_ends_with_one_word(runs: dict[str, Ended | BaseException]) -> None:
    run = the(runs, "whole_in_words")
    assert (run.code, run.out.strip().splitlines()[-1]) == (0, "PASS"), run.err[-3000:]


def test_a_book_that_is_not_the_exchanges_fails(runs: dict[str, Ended | BaseException]) -> None:
    assert "the book says BTCUSDT -10.2" in failed(the(runs, "other_book"))
    assert "the exchange BTCUSDT -10" in failed(the(runs, "other_book"))


def test_naked_without_a_named_reason_fails(runs: dict[str, Ended | BaseException]) -> None:
    run = the(runs, "naked")
    assert "outside the band and nothing names a reason" in failed(run)
    assert [row for row in run.json()["blocked"] if row["cause"] != "stopping"] == []


@pytest.mark.fault("O2")
def test_an_id_sent_twice_fails(runs: dict[str, Ended | BaseException]) -> None:
    run = the(runs, "sent_twice")
    reason = failed(run)
    assert "client order ids sent more than once" in reason and "sh-" in reason
    assert run.json()["duplicate_client_ids"] == 1


def test_a_liquidated_account_fails(runs: dict[str, Ended | BaseException]) -> None:
    run = the(runs, "liquidated")
    assert "liquidated" in failed(run)
    assert run.json()["liquidated"] == 1


def test_a_changed_recording_fails(runs: dict[str, Ended | BaseException]) -> None:
    assert "the recording does not replay" in failed(the(runs, "changed_byte"))


def test_a_recording_that_replays_to_another_end_fails(runs: dict[str, Ended | BaseException]) -> None:
    assert "replay ends with digest" in failed(the(runs, "shorter_recording"))
