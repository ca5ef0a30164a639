"""Every fault the exchange knows, against a real hedger that buys and sells meanwhile.

Afterwards the book is the exchange's, naked exposure is inside the band or has a named reason, every client order id
was sent once, no REST call is outside PRODUCT §9, and the recording replays to the same digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from streamhedge.ops.verdict import ALLOWED_REST
from tests.support.processes import Account, Ended, exchange, held, room, sent_twice, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
AT_ONCE = 8
"""Runs side by side: each is mostly waiting."""


@dataclass(slots=True)
class Case:
    """One fault: what is armed before the trades, and what must be seen of it."""

    faults: str = ""
    from_the_start: str = ""
    """Armed before the hedger starts."""
    when_stale: bool = False
    """The trades come once the mark is too old to raise on."""
    says: tuple[str, ...] = ()
    """Codes of lines that must be among the hedger's own."""
    blocked: str = ""
    """The named cause when the hedge cannot be at its policy short."""
    happens: str = ""
    """The fault's id in the exchange's own count, where it counts."""


CASES: dict[str, Case] = {
    "S2 market": Case("S2=market*0", when_stale=True, says=("book",), blocked="stale"),
    "S3 market": Case("S3=market", says=("reconnect",), happens="S3"),
    "S3 private": Case("S3=private", says=("reconnect", "book"), happens="S3"),
    "S3 ws_api": Case("S3=ws_api", says=("reconnect",), happens="S3"),
    "S7": Case("S7=x", says=("quarantined", "book"), happens="S7"),
    "S8": Case("S8=x", says=("quarantined", "book"), happens="S8"),
    "U2 event": Case("U2=event", says=("listen_key", "book"), happens="U2"),
    "U2 silent": Case("U2=silent", happens="U2"),
    "U5": Case("U5=x*2", happens="U5"),
    "U6": Case("U6=x*8", happens="U6"),
    "U8": Case("U8=x", happens="U8"),
    "U8 all of a fill": Case("U8=x*3", happens="U8"),
    "U9": Case("U9=x*2", happens="U9"),
    "O1 executed": Case("O1=executed", happens="O1"),
    "O1 not executed": Case("O1=not_executed", says=("in_doubt", "settled"), happens="O1"),
    "O1 late": Case("O1=late", says=("in_doubt",), happens="O1"),
    "O3 unavailable": Case("O3=unavailable", says=("refused",), happens="O3"),
    "O3 throttled": Case("O3=throttled", says=("refused",), happens="O3"),
    "O3 internal": Case("O3=internal", says=("refused",), happens="O3"),
    "O3 429": Case("O3=429", says=("refused",), happens="O3"),
    "O5": Case("O5=garbage", happens="O5"),
    "O6": Case("O1=executed,O6=1500,U8=x*4", says=("in_doubt",), happens="O6"),
    "O7": Case("O7=40", happens="O7"),
    "O14": Case("O14=margin", says=("refused",), happens="O14"),
    "A1": Case("A1=0.7", says=("external",), happens="A1"),
    "A5 adl": Case("A5=adl", says=("venue_close",), happens="A5"),
    "A5 liquidate": Case("A5=liquidate", says=("venue_close",), blocked="venue", happens="A5"),
    "A5 settle": Case("A5=settle", says=("venue_close",), blocked="venue", happens="A5"),
    "C1 ahead": Case(from_the_start="C1=900*0"),
    "C1 behind": Case(from_the_start="C1=-900*0"),
    "C1 runs away": Case("C1=1700*0"),
    "M1": Case("M1=x*0", when_stale=True, blocked="stale"),
}


@dataclass(slots=True)
class Played:
    """What is known after one case."""

    status: dict[str, Any]
    truth: dict[str, Any]
    run: Ended
    trades: list[dict[str, Any]]


async def play(case: Case) -> Played:
    """Start, hedge, arm, sell and buy, come to rest, stop."""
    with room() as folder:
        start = ("--fault", case.from_the_start) if case.from_the_start else ()
        async with exchange(folder, "--tape", "calm", "--speed", "4", *start) as venue:
            account = Account(folder, venue)
            async with account.run("--json") as program:
                await until("hedged before the fault", account.hedged)
                if case.faults:
                    await venue.arm(case.faults)
                if case.when_stale:
                    await until("a stale mark", _stale(account))
                trades = [
                    account.ask(verb="trade", id="t-1", kind="sell", amount="0.75"),
                    account.ask(verb="trade", id="t-2", kind="buy", amount="80000"),
                ]
                answers = await asyncio.gather(*trades)
                assert all(answer and answer.get("recorded") for answer in answers), (answers, program.err[-3000:])
                status = await until("at rest, or a reason", _rest(account, case), ceiling_s=45)
                ended = await program.stopped()
                return Played(status, await venue.truth(), ended, [answer for answer in answers if answer])


def _stale(account: Account) -> Any:
    async def found() -> bool:
        status = await account.status()
        return status is not None and all(hedge["mark_age_ms"] > 3_000 for hedge in status["hedges"])

    return found


def _rest(account: Account, case: Case) -> Any:
    async def found() -> dict[str, Any] | None:
        if not case.blocked:
            return await account.hedged()
        status = await account.level()
        named = status is not None and any(row["cause"] == case.blocked for row in status["blocked"])
        return status if named and status is not None and await account.agrees(status) else None

    return found


@pytest.fixture(scope="module")
def played() -> dict[str, Played | BaseException]:
    """All cases, some at a time."""

    async def all_of_them() -> list[Played | BaseException]:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(case: Case) -> Played:
            async with turn:
                return await play(case)

        return await asyncio.gather(*(one(case) for case in CASES.values()), return_exceptions=True)

    return dict(zip(CASES, asyncio.run(all_of_them()), strict=True))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.fault(name.split()[0])) for name in CASES])
def test_a_fault_is_survived(played: Mapping[str, Played | BaseException], name: str) -> None:
    case, found = CASES[name], played[name]
    if isinstance(found, BaseException):
        raise found
    truth, summary = found.truth, found.run.json()
    assert not case.happens or truth["faults"].get(case.happens), f"the fault never happened: {truth['faults']}"
    # The verdict of the run itself, and the same facts from the exchange's side.
    liquidated = name == "A5 liquidate"
    assert (found.run.code, summary["pass"]) == ((1, False) if liquidated else (0, True)), summary["reason"]
    assert not liquidated or summary["reason"].startswith("liquidated"), summary["reason"]
    assert held(truth) == {s: Decimal(q) for s, q in summary["positions"].items()}
    assert sent_twice(truth) == {}
    assert set(truth["rest_calls"]) <= ALLOWED_REST
    assert summary["in_band"] or [row["cause"] for row in summary["blocked"]] == [case.blocked]
    assert bool(summary["blocked"]) == bool(case.blocked), summary["blocked"]
    # Both trades are in the float, once.
    assert len(found.trades) == 2
    float_after = 10 + sum(Decimal(answer["trade"]["quantity"]) for answer in found.trades)
    assert Decimal(summary["float_btc"]) == float_after
    codes = {line.split('"code":"', 1)[1].split('"', 1)[0] for line in found.run.err.splitlines() if '"code":"' in line}
    assert codes >= set(case.says), f"never said: {set(case.says) - codes}"
