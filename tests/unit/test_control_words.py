"""Every word of the control socket against a running hedger and its exchange, flatten in its two steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streamhedge import Hedger
from streamhedge.errors import CommandError
from streamhedge.ops.words import Words
from streamhedge.reactor.state import trading_state
from streamhedge.rules.view import TradingState
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import calm
from streamhedge.simserver.server import serve
from tests.support.shared import REPOSITORY

D = Decimal
KEY, SECRET = "k" * 32, "s" * 32
DEMO = REPOSITORY / "streamhedge" / "settings" / "demo.toml"
CEILING_S = 30.0
ME, OTHER = 1000, 1001


@asynccontextmanager
async def running(tmp_path: Path, *, served: bool = True) -> AsyncIterator[tuple[Hedger, Words]]:
    """A hedger; with its exchange it is LIVE, without one it hears nothing."""
    exchange = Exchange(Settings(calm(7), Keys(KEY, SECRET)), time.time_ns() // 1_000_000)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(exchange, port=0, ready=ready.set_result, stop=stop.wait))
    try:
        at = await asyncio.wait_for(ready, CEILING_S)
        if not served:
            at = {"rest": "http://127.0.0.1:9", "stream": "ws://127.0.0.1:9", "ws_api": "ws://127.0.0.1:9"}
        own = tmp_path / "own.toml"
        addresses = "".join(f'{name} = "{at[name]}"\n' for name in ("rest", "stream", "ws_api"))
        own.write_text(
            f'[endpoints]\n{addresses}[keys]\napi_key = {{ env = "KEY" }}\napi_secret = {{ env = "SECRET" }}\n'
        )
        env = {"KEY": KEY, "SECRET": SECRET}
        async with Hedger.from_config(DEMO, own, state_dir=tmp_path / "state", env=env) as machine:
            words = Words(machine)
            if served:
                await until(lambda: status(machine)["book_status"] == "LIVE" and hedged(machine))
            yield machine, words
    finally:
        stop.set()
        await task


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))


def status(machine: Hedger) -> dict[str, Any]:
    return machine.status()


def hedged(machine: Hedger) -> bool:
    (hedge,) = status(machine)["hedges"]
    return bool(hedge["in_band"] and not hedge["open_orders"] and D(hedge["position"]) < 0)


async def until(true: Any) -> None:
    async with asyncio.timeout(CEILING_S):
        while not true():
            await asyncio.sleep(0.02)


async def test_looking_shows_what_is_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as (machine, words):
        latches = machine.ledger.states()
        book = await words.answer({"verb": "book"}, ME)
        (position,) = [row for row in book["positions"] if row["symbol"] == "BTCUSDT" and D(row["quantity"]) != 0]
        assert D(position["quantity"]) == machine.core.state.book.quantity(position["symbol"])
        assert book["book_status"] == "LIVE" and book["account"] and book["funding"]
        assert all(len(str(text).partition(".")[2]) <= 8 for text in position.values() if isinstance(text, str))
        asked = await words.answer({"verb": "may-buy", "usd": "1000"}, ME)
        with pytest.raises(CommandError, match="may-buy: "):
            await words.answer({"verb": "may-buy", "usd": "many"}, ME)
        assert asked["allowed"] is True and asked["symbol"] == "BTCUSDT" and D(asked["mark_price"]) > 0
        plan = await words.answer({"verb": "plan"}, ME)
        (row,) = plan["plan"]
        assert (row["symbol"], row["first_order"]) == ("BTCUSDT", None), "hedged: nothing would follow"
        assert D(row["position"]) == D(position["quantity"]) and D(row["liquidation_distance"]) > 0
        assert (await words.answer({"verb": "plan", "symbol": "ETHUSDT"}, ME))["plan"] == []
        assert (await words.answer({"verb": "status"}, ME))["hedges"]
        assert machine.ledger.states() == latches


@pytest.mark.parametrize(
    ("request_", "words_"),
    [
        ({}, "unknown verb None"),
        ({"verb": ["halt"]}, "unknown verb"),
        ({"verb": "sell-all"}, "unknown verb 'sell-all'"),
        ({"verb": "may-buy", "usd": "10", "asset": "ETH"}, "no hedge for ETH"),
        ({"verb": "trade", "id": "x", "kind": "lend", "amount": "1"}, "not a float trade"),
        ({"verb": "halt"}, "needs --reason"),
        ({"verb": "flatten", "symbol": "ETHUSDT"}, "ETHUSDT is no hedge"),
        ({"verb": "flatten", "confirm": "00000000"}, "flatten needs --reason"),
        ({"verb": "flatten", "confirm": "00000000", "reason": "out"}, "no token that waits"),
    ],
)
async def test_what_is_refused_changes_nothing(tmp_path: Path, request_: dict[str, Any], words_: str) -> None:
    async with running(tmp_path, served=False) as (machine, words):
        before = machine.ledger.states(), machine.ledger.float_trades()
        with pytest.raises(CommandError, match=words_):
            await words.answer(request_, ME)
        assert (machine.ledger.states(), machine.ledger.float_trades()) == before
        assert trading_state(machine.core.state) is TradingState.ACTIVE


async def test_before_the_first_mark_there_is_no_plan_to_confirm(tmp_path: Path) -> None:
    async with running(tmp_path, served=False) as (_, words):
        with pytest.raises(CommandError, match="no mark price or filters are known yet"):
            await words.answer({"verb": "flatten"}, ME)
        assert (await words.answer({"verb": "plan"}, ME))["plan"] == []


@pytest.mark.fault("K7")
async def test_a_halt_is_lifted_on_a_live_book_only(tmp_path: Path) -> None:
    async with running(tmp_path, served=False) as (machine, words):
        await words.answer({"verb": "halt", "reason": "look"}, ME)
        with pytest.raises(CommandError, match="LIVE only; nothing was changed"):
            await words.answer({"verb": "resume", "reason": "looked"}, ME)
        assert machine.core.state.halted is not None
    (tmp_path / "live").mkdir()
    async with running(tmp_path / "live") as (machine, words):
        await words.answer({"verb": "halt", "reason": "look"}, ME)
        assert f"uid {ME}: look" in str(machine.core.state.halted)
        await words.answer({"verb": "resume", "reason": "looked"}, ME)
        assert trading_state(machine.core.state) is TradingState.ACTIVE


async def test_flatten_shows_its_plan_first_and_acts_on_its_token_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (machine, words):
        held = machine.core.state.book.quantity(machine.policy.hedges[0].symbol)
        shown = await words.answer({"verb": "flatten"}, ME)
        (row,) = shown["plan"]
        assert (row["side"], D(row["position"])) == ("BUY", held) and row["slices"] >= 1
        price = D(row["mark_price"])
        assert abs(D(row["notional_usd"]) - abs(held) * price) < 1, "what it is worth"
        assert D(row["fee_usd"]) > 0 and D(row["naked_usd_after"]) > D(row["notional_usd"]) / 2
        assert machine.core.memory_of(machine.policy.hedges[0].symbol).flatten == "", "a plan is no act"
        act = {"verb": "flatten", "confirm": shown["token"], "reason": "out"}
        with pytest.raises(CommandError, match="no token that waits"):
            await words.answer(act, OTHER)
        await words.answer(act, ME)
        await until(lambda: machine.core.state.book.quantity(machine.policy.hedges[0].symbol) == 0)
        with pytest.raises(CommandError, match="no token that waits"):
            await words.answer(act, ME)


async def test_a_trade_by_the_socket_is_booked_and_hedged(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, words):
        said = {"verb": "trade", "id": "t-1", "kind": "deposit", "amount": "0.5", "reason": "test"}
        told = await words.answer(said, ME)
        assert told["recorded"] and told["hedge"]["status"] == "hedged"
        assert D(told["float_after"]) - D(told["float_before"]) == D("0.5")
        again = await words.answer(said, ME)
        assert again["duplicate"] and again["float_after"] == told["float_after"]
