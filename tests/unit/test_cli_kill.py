"""kill, step by step, each step meeting what can go wrong: it goes on, says what it could not do, and never raises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamhedge.errors import ConfigError, NotRunning
from streamhedge.ops.instances import instances, running
from streamhedge.ops.kill import Target, _outcome, find_target, kill_process
from streamhedge.settings.config import load_config
from streamhedge.settings.endpoints import Endpoints
from streamhedge.settings.secrets import Secret
from streamhedge.store.ledger import Ledger
from streamhedge.store.lock import InstanceLock
from tests.support import builders as make
from tests.support.shared import REPOSITORY

NAME = "demo-0123456789ab"
NOWHERE = Endpoints(rest="http://127.0.0.1:1", stream="ws://127.0.0.1:1", ws_api="ws://127.0.0.1:1/ws-fapi/v1")

HOLDER = """
    import signal, sqlite3, sys, time
    from pathlib import Path
    from streamhedge.store.ledger import Ledger
    from streamhedge.store.lock import InstanceLock
    folder, how = Path(sys.argv[2]), sys.argv[3]
    lock = InstanceLock(sys.argv[1], state_dir=folder)
    ledger = Ledger(folder / "ledger.sqlite")
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "writing":
        ledger._loop.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    while True:
        time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the per-user folder of locks inside the test."""
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / NAME


@pytest.fixture
def holders() -> Iterator[list[subprocess.Popen[str]]]:
    """Collect processes and end what a test has left."""
    found: list[subprocess.Popen[str]] = []
    yield found
    for process in found:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def hold(holders: list[subprocess.Popen[str]], folder: Path, how: str = "plain") -> subprocess.Popen[str]:
    """Start a process that holds the account's lock and ledger."""
    folder.mkdir(mode=0o700, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), NAME, str(folder), how],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    holders.append(process)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def target(folder: Path | None, *, venue: bool = False) -> Target:
    instance = next((found for found in instances() if found.name == NAME), None)
    keys = (Secret("k"), Secret("s")) if venue else (None, None)
    return Target(NAME, instance, folder, NOWHERE if venue else None, *keys)


def latch(folder: Path) -> object:
    ledger = Ledger(folder / "ledger.sqlite", read_only=True)
    try:
        return ledger.states().get("halted", {}).get("reason")
    finally:
        ledger.close()


async def test_a_process_that_listens_ends_by_sigterm(folder: Path, holders: list[subprocess.Popen[str]]) -> None:
    process = hold(holders, folder)
    assert [found.pid for found in running()] == [process.pid]
    report = await kill_process(target(folder), reason="drill", say=lambda text: None)
    assert report["process"] == f"pid {process.pid} ended by SIGTERM" and report["halted"]
    assert process.wait() == -signal.SIGTERM
    assert latch(folder) == f"uid {os.getuid()}: kill: drill"
    assert running() == [], "the lock that kill held is free again"


@pytest.mark.parametrize("how", ["deaf", "stopped"])
@pytest.mark.fault("P12")
async def test_a_process_that_does_not_ends_by_sigkill(
    folder: Path, holders: list[subprocess.Popen[str]], how: str
) -> None:
    process = hold(holders, folder, how)
    if how == "stopped":
        os.kill(process.pid, signal.SIGSTOP)
    report = await kill_process(target(folder), reason="drill", say=lambda text: None)
    assert "SIGKILL" in report["process"] and report["halted"] and report["problems"] == []
    assert process.wait() == -signal.SIGKILL


async def test_the_latch_is_written_after_the_end_when_the_ledger_was_held(
    folder: Path, holders: list[subprocess.Popen[str]]
) -> None:
    """A process that was stopped in the middle of a commit holds the ledger: first the end, then the latch."""
    process = hold(holders, folder, "writing")
    os.kill(process.pid, signal.SIGSTOP)
    told: list[str] = []
    report = await kill_process(target(folder), reason="drill", say=told.append)
    assert any("latch must wait" in text for text in told)
    assert report["halted"] and "drill" in str(latch(folder))


@pytest.mark.fault("P12")
async def test_no_ledger_is_a_problem_that_stops_nothing(folder: Path, holders: list[subprocess.Popen[str]]) -> None:
    process = hold(holders, folder)
    for file in folder.iterdir():
        file.unlink()
    report = await kill_process(target(folder), reason="drill", say=lambda text: None)
    assert not report["halted"] and any("HALTED is not latched" in text for text in report["problems"])
    assert process.wait() == -signal.SIGTERM


async def test_a_ledger_that_is_none_is_a_problem_that_stops_nothing(
    folder: Path, holders: list[subprocess.Popen[str]]
) -> None:
    process = hold(holders, folder)
    for file in folder.iterdir():
        file.unlink()
    (folder / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    report = await kill_process(target(folder), reason="drill", say=lambda text: None)
    words = " ".join(report["problems"])
    assert "HALTED is not latched" in words and "open orders cannot be read" in words
    assert process.wait() == -signal.SIGTERM


@pytest.mark.fault("P12")
async def test_a_venue_that_cannot_be_reached_leaves_orders_named(folder: Path) -> None:
    name = commit_an_order(folder)
    report = await kill_process(target(folder, venue=True), reason="drill", say=lambda text: None)
    assert report["halted"] and report["process"] == "not running"
    (row,) = report["cancelled"]
    assert row["client_order_id"] == name and "no usable answer" in row["outcome"]
    words = " ".join(report["problems"])
    assert name in words and "snapshot is not to be had" in words
    assert any(text.startswith("float 10 BTC") for text in report["exposure"]), "the books still tell what they know"


async def test_orders_nobody_can_cancel_are_named(folder: Path) -> None:
    name = commit_an_order(folder)
    report = await kill_process(target(folder), reason="drill", say=lambda text: None)
    assert report["cancelled"] == [] and any(name in text and "-c FILE" in text for text in report["problems"])


@pytest.mark.fault("P12")
async def test_twice_is_as_good_as_once(folder: Path) -> None:
    Ledger(make_folder(folder) / "ledger.sqlite").close()
    first = await kill_process(target(folder), reason="one", say=lambda text: None)
    second = await kill_process(target(folder), reason="two", say=lambda text: None)
    assert first["problems"] == second["problems"] == []
    assert "two" in str(latch(folder))


def test_who_is_meant(folder: Path, holders: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no streamhedge runs"):
        find_target(None, tmp_path, {})
    process = hold(holders, folder)
    found = find_target(None, tmp_path, {})
    assert found.name == NAME and found.folder == folder and found.instance is not None
    assert found.instance.pid == process.pid and found.api_key is None
    other = InstanceLock("live-ffffffffffff", state_dir=tmp_path)
    with pytest.raises(NotRunning, match="several run"):
        find_target(None, tmp_path, {})
    other.release()
    said = tmp_path / "keys.toml"
    said.write_text('[keys]\napi_key = { env = "K" }\napi_secret = { env = "S" }\n')
    demo = REPOSITORY / "streamhedge" / "settings" / "demo.toml"
    config = load_config([demo, said], ["venue=demo"], {})
    meant = find_target(config, tmp_path, {"K": "key", "S": "secret"})
    assert meant.name.startswith("demo-") and meant.name != NAME and meant.endpoints is not None
    with pytest.raises(ConfigError, match="K is not set"):
        find_target(config, tmp_path, {})


@pytest.mark.parametrize(
    ("status", "body", "words", "done"),
    [
        (200, b"{}", "cancelled", True),
        (400, b'{"code":-2011,"msg":"Unknown order sent."}', "does not rest at the venue", True),
        (400, b'{"code":-1021,"msg":"Timestamp"}', "not cancelled: -1021 Timestamp", False),
        (503, b"<html>", "no usable answer", False),
        (None, b"", "no usable answer", False),
        (400, b"[]", "no usable answer", False),
    ],
)
def test_what_an_answer_proves(status: int | None, body: bytes, words: str, done: bool) -> None:
    found, rests_not = _outcome(status, body, "")
    assert words in found and rests_not is done


def test_a_lock_file_that_says_nothing_names_nobody(tmp_path: Path) -> None:
    lock = InstanceLock(NAME, state_dir=tmp_path)
    assert [(found.pid, found.held) for found in instances()] == [(os.getpid(), True)]
    lock.path.write_bytes(b"\x00 not json")
    (found,) = instances()
    assert found.pid is None and found.held, "the kernel still says that it is held"
    lock.release()
    assert [instance.held for instance in instances()] == [False]


def make_folder(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def commit_an_order(folder: Path) -> str:
    """Leave a ledger with a float and one order whose end nobody knows; return its id."""
    machine = make.reactor()
    for number, event in enumerate(
        (make.setup(), make.mark("67121.4"), make.float_trade("10"), make.live(), make.snapshot()), 1
    ):
        machine.react(number, make.T0_MS * 1_000_000 + number, [event])
    order = make.oldest_open(machine)
    ledger = Ledger(make_folder(folder) / "ledger.sqlite")
    ledger.record_float_trade(make.float_trade("10").trade)
    ledger.commit_intent(order)
    ledger.close()
    return order.client_order_id
