"""Strangers' clients at the exchange: each library, unmodified but for addresses, plays the numbered cards.

One case per client and card. A card that a library has no way to play is skipped with the reason it gave.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance import environment
from tests.conformance.cards import CARDS, Card
from tests.support.processes import exchange, room

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CLIENTS = {
    "python-binance": "play_python_binance.py",
    "ccxt": "play_ccxt.py",
    "binance-sdk": "play_binance_sdk.py",
}
TAPE = "time_ms,price\n0,67000\n36000000,67000\n"
"""A price that stands still: what the cards expect of the book then follows from it alone."""
PLAY_S = 120


@dataclass(slots=True)
class Played:
    """What one client made of the cards."""

    client: str
    rows: dict[str, tuple[str, str]]
    end: str

    def check(self, card: Card) -> None:
        """Fail or skip as the card went."""
        outcome, detail = self.rows.get(card.name, ("failed", f"never played; the client ended with\n{self.end}"))
        if outcome == "skipped":
            pytest.skip(f"{self.client}: {detail}")
        assert outcome == "passed", detail


@pytest.fixture(scope="module")
def python() -> Path:
    """Return the clients' interpreter, or skip where their packages cannot be fetched."""
    try:
        return environment.python()
    except environment.Unreachable as reason:
        pytest.skip(f"the clients' packages cannot be fetched: {reason}")


async def play(python: Path, client: str, cards: list[str], *options: str) -> Played:
    """Serve the exchange and let one client play."""
    with room() as folder:
        tape = folder / "still.csv"
        tape.write_text(TAPE)
        async with exchange(folder, "--tape", str(tape), *options) as venue:
            process = await asyncio.create_subprocess_exec(
                str(python),
                str(environment.FOLDER / "clients" / CLIENTS[client]),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "NO_PROXY": "127.0.0.1,localhost"},
            )
            try:
                settings = json.dumps({**venue.ready, "cards": cards}).encode()
                out, err = await asyncio.wait_for(process.communicate(settings), PLAY_S)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
    rows = [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]
    played = {row["card"]: (row["outcome"], row["detail"]) for row in rows}
    return Played(client, played, f"exit {process.returncode}\n{err.decode('utf-8', 'replace')[-2000:]}")


@pytest.fixture(scope="module", params=list(CLIENTS))
def played(request: pytest.FixtureRequest, python: Path) -> Played:
    """Let one client play every card, once."""
    return asyncio.run(play(python, request.param, [card.name for card in CARDS]))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{card.number:02d}-{card.name}")
def test_card(played: Played, card: Card) -> None:
    played.check(card)


@pytest.mark.parametrize("client", list(CLIENTS))
def test_a_card_fails_when_the_exchange_does_otherwise(python: Path, client: str) -> None:
    """The counter-case: an exchange that refuses the order must turn its card red."""
    found = asyncio.run(play(python, client, ["exchange_info", "market_sell"], "--fault", "O14=margin*0"))
    assert found.rows["exchange_info"] == ("passed", "")
    outcome, detail = found.rows["market_sell"]
    assert outcome == "failed" and "-2019" in detail + found.end, (outcome, detail)


def test_every_card_has_one_player_in_every_client() -> None:
    for script in CLIENTS.values():
        source = (environment.FOLDER / "clients" / script).read_text()
        missing = [card.name for card in CARDS if source.count(f"async def {card.name}(self)") != 1]
        assert not missing, (script, missing)
