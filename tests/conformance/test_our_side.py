"""Our side's cards: what we do to a venue works there. Played against the served exchange, and with `--venue demo` against
the venue's own demo, whose key stands in BINANCE_TESTNET_API_KEY and BINANCE_TESTNET_API_SECRET.

The demo account must be in one-way, single-asset mode and hold some USDT; the cards open and close a short of 0.02 ETH.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from streamhedge import Hedger
from streamhedge.settings.config import load_config
from streamhedge.settings.endpoints import DEMO, Endpoints
from streamhedge.settings.secrets import Secret
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import calm
from streamhedge.simserver.server import serve
from tests.support.shared import REPOSITORY

D = Decimal
SIM, DEMO_VENUE = "sim", "demo"
VENUES = [SIM, *([DEMO_VENUE] if os.environ.get("TEST_VENUE") == DEMO_VENUE else [])]
CONFIG = """
venue = "{venue}"
[[hedge]]
asset = "BTC"
initial = "0 BTC"
[[manual]]
asset = "ETH"
symbol = "ETHUSDT"
max_short = "1 ETH"
max_order_quantity = "0.1 ETH"
leverage = 3
margin = "cross"
"""
"""The hedged float is empty, so nothing but the cards' own orders is sent."""
QUANTITY = D("0.02")
PATIENCE_S = 60.0


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Endpoints, str, str]]:
    exchange = Exchange(Settings(calm(7), Keys("k" * 32, "s" * 32)), time.time_ns() // 1_000_000)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(exchange, port=0, ready=ready.set_result, stop=stop.wait))
    try:
        said = await ready
        yield Endpoints(said["rest"], said["stream"], said["ws_api"]), "k" * 32, "s" * 32
    finally:
        stop.set()
        await task


@asynccontextmanager
async def demo() -> AsyncIterator[tuple[Endpoints, str, str]]:
    keys = [os.environ.get(f"BINANCE_TESTNET_API_{name}", "") for name in ("KEY", "SECRET")]
    if not all(keys):
        pytest.skip("the demo venue needs BINANCE_TESTNET_API_KEY and BINANCE_TESTNET_API_SECRET")
    yield DEMO, keys[0], keys[1]


@pytest.mark.parametrize("venue", VENUES)
async def test_our_side(venue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Play the cards in order; the first that fails names itself."""
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))
    own = tmp_path / "own.toml"
    own.write_text(CONFIG.format(venue=venue))
    config = load_config([REPOSITORY / "streamhedge" / "settings" / "demo.toml", own], (), {})
    async with (served if venue == SIM else demo)() as (endpoints, key, secret):
        hedger = Hedger(
            config, endpoints=endpoints, api_key=Secret(key), api_secret=Secret(secret), state_dir=tmp_path / "state"
        )
        async with hedger:
            await cards(hedger)


async def cards(hedger: Hedger) -> None:
    # 1 set-up, listen key, three sockets, snapshot, and data of every stream: only then LIVE
    await hedger.book.live(PATIENCE_S)
    # 2 filters and brackets of what we trade
    instrument = hedger.core.state.book.instruments["ETHUSDT"]  # type: ignore[index]
    assert instrument.tick_size > 0 and instrument.step_size > 0 and len(instrument.brackets) > 1
    # 3 the venue's clock against ours
    async with asyncio.timeout(PATIENCE_S):
        while hedger.status()["clock_offset_ms"] is None:
            await asyncio.sleep(0.1)
    # 4 one-way, single-asset, or nothing is traded
    assert not hedger.core.state.book.dual_side and not hedger.core.state.book.multi_assets, hedger.status()
    if hedger.venue != SIM:
        # 5 a first start on a real account waits for a person
        assert hedger.status()["trading_state"] == "REDUCING"
        await hedger.verb(_resume(), symbol=None, reason="conformance cards", uid=os.getuid())
    # 6 a short opens, and its fill arrives with price and fee although the reply has none
    before = hedger.get_position("ETHUSDT")
    assert before is not None
    opened = await hedger.open_short("ETHUSDT", QUANTITY, 3)
    assert opened.quantity == QUANTITY and opened.average_price is not None and opened.fees > 0
    # 7 the position shows it, with a liquidation price
    held = hedger.get_position("ETHUSDT")
    assert held is not None and held.quantity == before.quantity - QUANTITY
    # 8 a reduce-only order closes it
    closed = await hedger.close_position("ETHUSDT", QUANTITY)
    assert closed.quantity == QUANTITY
    after = hedger.get_position("ETHUSDT")
    assert after is not None and after.quantity == before.quantity
    # 9 a snapshot agrees with the book
    assert hedger.core.state.meter.adoptions == 0 and hedger.book.status == "LIVE"


def _resume():  # type: ignore[no-untyped-def]
    from streamhedge.domain.events import VerbKind

    return VerbKind.RESUME
