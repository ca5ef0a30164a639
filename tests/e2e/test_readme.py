"""What the README says is so: its examples run, its commands exist, its tour and rooms are there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streamhedge.ops.cli import cli
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import calm
from streamhedge.simserver.server import serve
from tests.support.processes import Account, exchange, room, until
from tests.support.shared import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)
DEMO = (REPOSITORY / "streamhedge" / "settings" / "demo.toml").read_text()


def example(words: str) -> str:
    """Return the one example that holds some words."""
    (found,) = [code for code in EXAMPLES if words in code]
    return str(found)


def test_every_example_is_run_by_a_test_below() -> None:
    assert len(EXAMPLES) == 5


def test_the_live_book_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", example("async for change")],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    position, change = done.stdout.splitlines()
    assert position.startswith("0 None ") and change


def test_the_formulas_run(capsys: pytest.CaptureFixture[str]) -> None:
    exec(example("maintenance_margin("), {})
    # (100000 + 300 + 3 * 67121.4) / (3 * 1.005): the notional there, 300 163, is in the second row
    price, margin, funding = capsys.readouterr().out.split()
    assert price.startswith("100054.46102819") and margin == "805.4568" and funding == "20.13642"


async def test_the_hedger_example_runs_and_its_recording_goes_into_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("XDG_STATE_HOME", str(tmp_path)), ("STREAMHEDGE_LOCK_DIR", str(tmp_path))):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KEY", "k" * 32)
    monkeypatch.setenv("SECRET", "s" * 32)
    exchange = Exchange(Settings(calm(7), Keys("k" * 32, "s" * 32)), time.time_ns() // 1_000_000)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(exchange, port=0, ready=ready.set_result, stop=stop.wait))
    try:
        said = await ready
        ends = f'[endpoints]\nrest = "{said["rest"]}"\nstream = "{said["stream"]}"\nws_api = "{said["ws_api"]}"\n'
        keys = '[keys]\napi_key = { env = "KEY" }\napi_secret = { env = "SECRET" }\n'
        (tmp_path / "hedge.toml").write_text(DEMO.replace('initial = "10 BTC"', 'initial = "0 BTC"') + ends + keys)
        names: dict[str, Any] = {}
        exec(example("async def rebalance"), names)
        await names["rebalance"]()
    finally:
        stop.set()
        await task
    status, filled, naked = capsys.readouterr().out.split()
    assert status == "hedged" and float(filled) > 0 and float(naked) < 100
    names = {}
    exec(example("def orders_of"), names)
    (recording,) = (tmp_path / "streamhedge").glob("*/recordings")
    assert names["orders_of"](str(recording)) == [f"SELL {filled}"]


async def test_the_attach_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run("--json", "--no-web") as program:
                await until("hedged", account.hedged)
                names: dict[str, Any] = {}
                exec(example("async def watch"), names)
                await names["watch"](str(account.place("sock")))
                await program.stopped()
    assert "quantity=Decimal('-10" in capsys.readouterr().out


def test_every_command_it_names_exists() -> None:
    named = set(re.findall(r"`streamhedge ([a-z-]+)", README)) - {"sim"}
    assert len(named) > 10
    assert named <= set(cli.commands), named - set(cli.commands)


def test_the_tour_and_the_rooms_are_there() -> None:
    tour = README[README.index("## Tour") : README.index("## Design")]
    files = re.findall(r"`((?:streamhedge|tests)/[\w/.]+)`", tour)
    assert len(files) >= 5
    assert [name for name in files if not (REPOSITORY / name).exists()] == []
    drawn = re.findall(r"^[├└]── (\w+)/", README, re.M)
    rooms = sorted(path.parent.name for path in (REPOSITORY / "streamhedge").glob("*/__init__.py"))
    assert sorted(drawn) == rooms
    first = README[: README.index("## What it is")]
    assert "./scripts/demo" in first and "./scripts/test" in first and "\nPASS\n" in first
