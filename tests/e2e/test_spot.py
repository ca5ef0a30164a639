"""A purchase on spot hedges itself: booked once and hedged once, over duplicates, a lost connection and a SIGKILL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from streamhedge.store.ledger import Ledger
from tests.support.processes import Account, exchange, held, room, sent_twice, until

D = Decimal
SPOT = '[spot]\nsymbols = ["BTCUSDT"]\n'
ADDRESSES = ("rest", "stream", "ws_api", "spot_ws_api")


def booked(account: Account) -> dict[str, Decimal]:
    """Return the float trades that spot fills became, by id."""
    ledger = Ledger(account.book, read_only=True)
    try:
        return {name.trade_id: name.quantity for name in ledger.float_trades() if name.trade_id.startswith("spot-")}
    finally:
        ledger.close()


async def listens(account: Account) -> bool:
    """True while the spot stream is open."""
    status: Mapping[str, Any] | None = await account.status()
    return status is not None and {"spot": "open"}.items() <= {s["name"]: s["state"] for s in status["streams"]}.items()


async def hedged(account: Account, float_quantity: str, position: str) -> dict[str, Any] | None:
    """Return the status once the float and its hedge are these, and the exchange says so too."""
    status = await account.hedged()
    if status is None:
        return None
    (hedge,) = (row for row in status["hedges"] if row["symbol"] == "BTCUSDT")
    return status if (D(hedge["float"]), D(hedge["position"])) == (D(float_quantity), D(position)) else None


@pytest.mark.fault("F1", "F3", "F6")
async def test_a_spot_fill_is_booked_and_hedged_once() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue, {name: venue.ready[name] for name in ADDRESSES}, more=SPOT)
            doctor = {row["name"]: row for row in (await account.command("doctor", "--json")).json()["checks"]}
            assert doctor["route spot"]["verdict"] == "ok" and "BTCUSDT never traded" in doctor["route spot"]["found"]
            async with account.run() as program:
                await until("the first hedge", account.hedged)
                await until("the spot stream", lambda: listens(account))
                await venue.spot(side="BUY", quantity="0.15", times=2)
                await until("one hedge of one fill", lambda: hedged(account, "10.14985", "-10.149"))
                await venue.spot(end="closed")
                await venue.spot(side="BUY", quantity="0.1")
                await until("the hedge of what was missed", lambda: hedged(account, "10.24975", "-10.249"))
                await until("the spot stream again", lambda: listens(account))
                await venue.spot(side="BUY", quantity="0.2", times=2)
                await program.killed()  # wherever it is with that fill
            await venue.spot(side="BUY", quantity="0.05")
            async with account.run() as program:
                await until("every fill hedged", lambda: hedged(account, "10.4995", "-10.499"))
                await until("the spot stream after the kill", lambda: listens(account))
                await venue.spot(side="SELL", quantity="0.4", commission_asset="BNB", times=2)
                await until("the hedge follows a sale down", lambda: hedged(account, "10.0995", "-10.099"))
                ended = await program.stopped()
                assert "Traceback" not in ended.err
            truth = await venue.truth()
            assert held(truth) == {"BTCUSDT": D("-10.099")} and sent_twice(truth) == {}
            first = truth["spot"]["trades"][0]
            net = {0: "0.14985", 1: "0.0999", 2: "0.1998", 3: "0.04995", 4: "-0.4"}
            assert booked(account) == {f"spot-BTCUSDT-{first + number}": D(said) for number, said in net.items()}
            replayed = await account.command("replay", "--json", *map(str, account.recordings))
            assert replayed.code == 0 and json.loads(replayed.out)["diverged"] is None, replayed
