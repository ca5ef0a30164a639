"""The library as another program uses it: the live book, a hedger of one's own, float trades, the original's verbs.

The far end is the exchange on real loopback sockets; nothing of ours is replaced.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import streamhedge
from streamhedge import Buy, CommandError, ConfigError, Hedger, InsufficientMargin, Lagged, Sell, open_book, replay
from streamhedge.domain.events import AccountUpdate, MarkPriceUpdate
from streamhedge.live import book_view
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import calm
from streamhedge.simserver.server import serve
from tests.support.shared import REPOSITORY

D = Decimal
KEY, SECRET = "k" * 32, "s" * 32
DEMO = REPOSITORY / "streamhedge" / "settings" / "demo.toml"


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep locks and sockets away from whatever else runs here."""
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))


@asynccontextmanager
async def venue(**said: Any) -> AsyncIterator[tuple[dict[str, Any], Exchange]]:
    """Serve an exchange and yield its ready line and itself."""
    exchange = Exchange(Settings(calm(7), Keys(KEY, SECRET), **said), time.time_ns() // 1_000_000)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(exchange, port=0, ready=ready.set_result, stop=stop.wait))
    try:
        yield await asyncio.wait_for(ready, 10), exchange
    finally:
        stop.set()
        await task


def configured(tmp_path: Path, ready: dict[str, Any], more: str = "") -> list[Path]:
    own = tmp_path / "own.toml"
    own.write_text(
        f'[endpoints]\nrest = "{ready["rest"]}"\nstream = "{ready["stream"]}"\nws_api = "{ready["ws_api"]}"\n'
        f'[keys]\napi_key = {{ env = "KEY" }}\napi_secret = {{ env = "SECRET" }}\n{more}'
    )
    return [DEMO, own]


def hedger(tmp_path: Path, ready: dict[str, Any], more: str = "") -> Hedger:
    env = {"KEY": KEY, "SECRET": SECRET}
    return Hedger.from_config(*configured(tmp_path, ready, more), state_dir=tmp_path / "state", env=env)


async def hedged(machine: Hedger) -> None:
    """Wait until the initial float is hedged."""
    await machine.book.live(20)
    async with asyncio.timeout(20):
        while not machine.status()["hedges"][0]["in_band"]:
            await asyncio.sleep(0.02)


async def test_the_live_book_follows_what_others_do_and_writes_nothing(tmp_path: Path) -> None:
    async with (
        venue() as (ready, exchange),
        open_book(venue="sim", endpoints=ready, api_key=KEY, api_secret=SECRET) as book,
    ):
        await book.live(20)
        flat = book.position("BTCUSDT")
        assert flat is not None and flat.quantity == 0 and flat.liquidation_price is None
        changes = book.changes()
        first = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await door(ready, "/__external", {"symbol": "BTCUSDT", "quantity": "-0.5"})
        seen = [await asyncio.wait_for(first, 10)]
        while not any(isinstance(change.event, AccountUpdate) for change in seen):  # type: ignore[union-attr]
            seen.append(await asyncio.wait_for(anext(changes), 10))
        position = book.position("BTCUSDT")
        assert position is not None and position.quantity == D("-0.5")
        assert position.liquidation_price is not None and position.liquidation_price > position.entry_price
        assert position.age_ms < 5_000
        account = book.account()
        assert account is not None and account.wallet_balance == exchange.account.wallet
        kept = book.freeze()
        await door(ready, "/__external", {"symbol": "BTCUSDT", "quantity": "0.5"})
        for _ in range(100):
            now = book.position("BTCUSDT")
            if now is not None and now.quantity == 0:
                break
            await asyncio.sleep(0.05)
        assert [view.quantity for view in kept.positions.values()] == [D("-0.5")], "what is frozen stays"
        assert exchange.calls.get("POST /fapi/v1/order", 0) == 0 and "DELETE /fapi/v1/listenKey" not in exchange.calls
    assert sorted(tmp_path.rglob("*")) == [], "nothing was written, no lock taken"


@pytest.mark.fault("U12")
async def test_a_position_elsewhere_is_followed_so_that_the_margin_is_right() -> None:
    async with (
        venue() as (ready, exchange),
        open_book(venue="sim", symbols=["BTCUSDT"], endpoints=ready, api_key=KEY, api_secret=SECRET) as book,
    ):
        await book.live(20)
        await door(ready, "/__external", {"symbol": "BTCUSDT", "quantity": "-4"})
        await door(ready, "/__external", {"symbol": "ETHUSDT", "quantity": "20"})
        for _ in range(200):
            eth, btc = book.position("ETHUSDT"), book.position("BTCUSDT")
            if (
                eth is not None
                and btc is not None
                and eth.mark_price is not None
                and eth.maintenance_margin is not None
            ):
                break
            await asyncio.sleep(0.05)
        assert eth is not None and btc is not None and btc.liquidation_price is not None
        theirs = exchange.account.liquidation_price("BTCUSDT", exchange.contracts)
        assert abs(btc.liquidation_price - theirs) < 60, "both move with the marks in between"


@pytest.mark.fault("S5")
async def test_a_slow_reader_is_told_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_view, "CHANGES_WAITING_MOST", 3)
    async with (
        venue(speed=D(100)) as (ready, _),
        open_book(venue="sim", endpoints=ready, api_key=KEY, api_secret=SECRET) as book,
    ):
        await book.live(20)
        changes = book.changes()
        await asyncio.wait_for(anext(changes), 10)
        await asyncio.sleep(1.0)
        lagged = await asyncio.wait_for(anext(changes), 10)
        assert isinstance(lagged, Lagged) and lagged.missed > 0


async def test_a_recorded_book_replays(tmp_path: Path) -> None:
    async with (
        venue() as (ready, _),
        open_book(venue="sim", endpoints=ready, api_key=KEY, api_secret=SECRET, record=tmp_path / "rec") as book,
    ):
        await book.live(20)
    reactions = [reaction async for reaction in replay(tmp_path / "rec")]
    assert any(isinstance(event, MarkPriceUpdate) for reaction in reactions for event in reaction.events)
    assert KEY not in "".join(path.read_text() for path in (tmp_path / "rec").iterdir())


@pytest.mark.fault("K2")
async def test_keys_and_endpoints_that_do_not_fit_open_nothing() -> None:
    with pytest.raises(ConfigError, match="needs endpoints"):
        async with open_book(venue="sim", api_key=KEY, api_secret=SECRET):
            pass
    with pytest.raises(ConfigError, match="only the venue's hosts"):
        bad = {"rest": "http://example.com", "stream": "ws://example.com", "ws_api": "ws://example.com"}
        async with open_book(venue="sim", endpoints=bad, api_key=KEY, api_secret=SECRET):
            pass
    with pytest.raises(ConfigError, match="BINANCE_TESTNET_API_KEY"):
        async with open_book(venue="demo"):
            pass


@pytest.mark.fault("F1")
async def test_a_trade_is_booked_hedged_and_idempotent(tmp_path: Path) -> None:
    async with venue() as (ready, exchange), hedger(tmp_path, ready) as machine:
        await hedged(machine)
        assert machine.may_buy("10000").allowed
        trade = Buy(usd="10000", reason="rebalancing")
        done = await machine.execute_trade_with_hedge(trade)
        assert done.hedge.status == "hedged" and not done.duplicate
        assert done.float_after == done.float_before + done.trade.quantity
        assert done.hedge.filled > 0 and done.hedge.average_price is not None and done.hedge.fees > 0
        assert done.hedge.time_to_neutral_ms is not None and done.hedge.naked_usd < 100
        again = await machine.execute_trade_with_hedge(trade)
        assert again.duplicate and again.float_after == done.float_after
        with pytest.raises(CommandError, match="Nothing was changed"):
            await machine.execute_trade_with_hedge(Buy(usd="11000", trade_id=trade.trade_id))
        with pytest.raises(CommandError, match="more than the float"):
            await machine.execute_trade_with_hedge(Sell("99"))
        assert exchange.account.position("BTCUSDT").amount == done.hedge.position_after
        assert machine.get_funding_rate("BTCUSDT") == D("0.0001")


async def test_the_originals_verbs_pass_the_gate_and_refuse_a_steered_symbol(tmp_path: Path) -> None:
    manual = (
        '[[manual]]\nasset = "ETH"\nsymbol = "ETHUSDT"\nmax_short = "30 ETH"\nmax_order_quantity = "20 ETH"\n'
        'leverage = 3\nmargin = "cross"\n'
    )
    async with venue() as (ready, exchange), hedger(tmp_path, ready, manual) as machine:
        await machine.book.live(20)
        with pytest.raises(CommandError, match="held at target by hedge BTC"):
            await machine.open_short("BTCUSDT", "0.1", 3)
        with pytest.raises(CommandError, match=r"no \[\[manual\]\] table names XRPUSDT"):
            await machine.open_short("XRPUSDT", "1", 3)
        with pytest.raises(CommandError, match="max_leverage"):
            await machine.open_short("ETHUSDT", "1", 50)
        opened = await machine.open_short("ETHUSDT", "2", 4)
        assert opened.quantity == 2 and opened.average_price is not None
        assert exchange.account.position("ETHUSDT").leverage == 4
        held = machine.get_position("ETHUSDT")
        assert held is not None and held.quantity == -2
        part = await machine.close_position("ETHUSDT", "0.5")
        assert part.quantity == D("0.5") and part.net_pnl == part.gross_pnl - part.fees
        with pytest.raises(CommandError, match="cannot close 9"):
            await machine.close_position("ETHUSDT", "9")
        rest = await machine.close_position("ETHUSDT")
        assert rest.quantity == D("1.5") and exchange.account.position("ETHUSDT").amount == 0
        exchange.faults.arm("O14=margin", exchange.now_ms)
        with pytest.raises(InsufficientMargin):
            await machine.open_short("ETHUSDT", "1", 4)


@pytest.mark.fault("P6")
async def test_a_bug_in_the_machine_ends_the_block_that_entered_it(tmp_path: Path) -> None:
    async with venue() as (ready, _):
        with pytest.raises(ZeroDivisionError):
            async with hedger(tmp_path, ready) as machine:
                await machine.book.live(20)

                def planted(*_: Any) -> None:
                    raise ZeroDivisionError("planted")

                machine.pump.reactor.react = planted  # type: ignore[method-assign]
                await asyncio.sleep(30)
                pytest.fail("the machine went on after a bug")
        async with hedger(tmp_path, ready) as machine:  # lock and ledger were let go
            await machine.book.live(20)


def test_importing_is_quick_starts_nothing_and_leaves_asyncio_out() -> None:
    code = (
        "import sys, threading, decimal; before = decimal.getcontext().prec\n"
        "import streamhedge; streamhedge.liquidation_price; streamhedge.funding_payment\n"
        "assert decimal.getcontext().prec == before\n"
        "assert threading.active_count() == 1\n"
        "heavy = [name for name in ('asyncio', 'aiohttp', 'websockets', 'sqlite3', 'pydantic') if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=REPOSITORY)


def test_everything_public_is_there_and_documented() -> None:
    for name in streamhedge.__all__:
        assert (getattr(streamhedge, name).__doc__ or "").strip(), name
    assert not [name for name in streamhedge.__all__ if name not in dir(streamhedge)]


async def door(ready: dict[str, Any], path: str, said: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session, session.post(ready["rest"] + path, json=said) as answer:
        assert answer.status == 200, await answer.text()
