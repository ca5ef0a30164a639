"""Every command as a person uses it, against one exchange and one running hedger.

The tests of this file share the two and stand in order: each leaves the hedger as it found it, and the last one kills it.
"""

from __future__ import annotations

import csv
import io
import json
import re
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from streamhedge.domain.order import Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from streamhedge.domain.values import ClientOrderId, Symbol
from streamhedge.settings.secrets import Secret
from streamhedge.store.ledger import Ledger
from streamhedge.venue.http import RestClient
from streamhedge.wire.requests import RestRequest
from streamhedge.wire.signing import signer_of
from tests.support.processes import Account, Ended, command, exchange, held, room, started, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]
D = Decimal


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account() -> AsyncIterator[Account]:
    """Yield a hedger of 10 BTC that runs and is hedged."""
    with room() as folder:
        async with exchange(folder, "--tape", "calm", "--wallet", "400000", "--funding-every", "2s") as venue:
            found = Account(folder, venue)
            async with found.run():
                await until("hedged", found.hedged)
                yield found


async def json_of(account: Account, *words: str, code: int = 0) -> Any:
    """Run a command with --json and return what it printed."""
    ended = await account.command(words[0], *words[1:], "--json")
    assert ended.code == code, (words, ended.code, ended.out, ended.err)
    return json.loads(ended.out)


async def said(account: Account, *words: str, code: int = 0, columns: int = 120) -> str:
    """Run a command and return its stdout."""
    ended = await with_env(account, words, COLUMNS=str(columns))
    assert ended.code == code, (words, ended.code, ended.out, ended.err)
    return ended.out


async def with_env(account: Account, words: tuple[str, ...], **more: str) -> Ended:
    return await command(account.folder, *account.words(*words), env={**account.env, **more})


async def in_group(account: Account, group: str, *words: str, code: int = 0) -> Ended:
    """Run a command of a group: the account's options stand between the two words."""
    ended = await account.command(group, *words)
    assert ended.code == code, (group, words, ended.code, ended.out, ended.err)
    return ended


# ---------------------------------------------------------------- looking


async def test_status_is_a_screen_with_ages_and_the_venues_figure(account: Account) -> None:
    text = await said(account, "status")
    assert "ACTIVE" in text and "book LIVE" in text
    assert "BTCUSDT OPEN" in text and "position" in text
    for line in text.splitlines():
        if re.search(r"│ (mark|position|liquidation|distance|wallet|margin)\s", line):
            assert " old" in line, f"no age beside the figure: {line}"
        if "│ liquidation" in line:
            assert "venue says" in line
    narrow = await said(account, "status", columns=48)
    assert max(len(line) for line in narrow.splitlines()) <= 48


async def test_status_as_json_keeps_its_names(account: Account) -> None:
    found = await json_of(account, "status")
    assert {"pid", "version", "venue", "uptime_s", "trading_state", "trading_reasons", "book_status", "blocked"} <= {
        *found
    }
    assert found["hedges"][0]["symbol"] == "BTCUSDT"
    assert D(found["hedges"][0]["position"]) == held(await account.venue.truth())["BTCUSDT"]


async def test_options_stand_before_the_command_too(account: Account) -> None:
    words = account.words("status")
    before = await command(account.folder, "--json", *words[1:], words[0], env=account.env)
    assert json.loads(before.out)["pid"] == (await json_of(account, "status"))["pid"]


async def test_may_buy_says_yes_and_no(account: Account) -> None:
    yes = await json_of(account, "may-buy", "10000")
    assert yes["allowed"] and yes["reason"] == "" and yes["slices"] == 1 and yes["valid_ms"] == 1_000
    no = await json_of(account, "may-buy", "60000", code=1)
    assert not no["allowed"] and "max_naked" in no["reason"]
    assert D(no["max_usd"]) <= 50_000
    assert (await said(account, "may-buy", "60000", code=1)).startswith("no: ")
    for wrong in ("ten", "-5", "0"):
        assert (await account.command("may-buy", "--", wrong)).code == 2


async def test_book_shows_the_venues_position(account: Account) -> None:
    found = await json_of(account, "book")
    (row,) = found["positions"]
    assert (row["symbol"], D(row["quantity"])) == ("BTCUSDT", held(await account.venue.truth())["BTCUSDT"])
    assert row["age_ms"] >= 0 and "venue_liquidation_price" in row
    assert "BTCUSDT" in await said(account, "book")


# ---------------------------------------------------------------- float trades and what they leave


@pytest.mark.fault("F1", "F4")
async def test_trades_are_booked_once_and_can_be_undone(account: Account) -> None:
    first = (await account.trade("buy", "10000", name="c-1")).json()
    assert first["hedge"]["status"] == "hedged" and not first["duplicate"]
    again = (await account.trade("buy", "10000", name="c-1")).json()
    assert again["duplicate"] and again["float_after"] == first["float_after"]
    other = await account.trade("buy", "11000", name="c-1")
    assert other.code == 2 and "already booked" in other.err
    beyond = await account.trade("sell", "11", name="c-2")
    assert beyond.code == 2 and "more than the float" in beyond.err
    large = await account.trade("buy", "2000000", name="c-3")
    assert large.code == 2 and "--yes" in large.err and "would hedge  SELL" in large.err, "the plan is shown first"
    undone = await in_group(account, "trade", "void", "c-1", "--reason", "test", "--json")
    assert D(undone.json()["float_after"]) == D(first["float_before"])
    assert (await in_group(account, "trade", "void", "nobody", "--json", code=2)).err
    assert await until("hedged", account.hedged)


async def test_orders_as_table_json_and_csv(account: Account) -> None:
    rows = await json_of(account, "orders")
    truth = await account.venue.truth()
    assert [row["client_order_id"] for row in rows] == list(truth["wire_posts"]), "every order that was sent, in order"
    assert all(row["status"] == "FILLED" and D(row["filled"]) == D(row["quantity"]) for row in rows)
    text = await said(account, "orders", "--format", "csv")
    read = list(csv.DictReader(io.StringIO(text)))
    assert [row["client_order_id"] for row in read] == [row["client_order_id"] for row in rows]
    assert rows[-1]["client_order_id"] in await said(account, "orders")
    late = [row for row in rows if row["time"] >= rows[1]["time"]]
    assert await json_of(account, "orders", "--since", rows[1]["time"]) == late
    assert await json_of(account, "orders", "--until", "2020-01-01") == []
    assert "parquet" in (await account.command("orders", "--format", "parquet")).err
    assert (await account.command("orders", "--since", "yesterday-ish")).code == 2


async def test_funding_is_what_the_venue_paid(account: Account) -> None:
    async def paid() -> list[dict[str, str]]:
        found: list[dict[str, str]] = await json_of(account, "funding")
        return found

    rows = await until("a funding payment", paid)
    assert rows[0]["symbol"] == "BTCUSDT" and D(rows[0]["amount"]) != 0 and rows[0]["time"].endswith("Z")


async def test_orders_follow_what_comes(account: Account) -> None:
    program = await started(account.folder, *account.words("orders", "--follow", "--format", "json"), env=account.env)
    try:

        async def known() -> bool:
            return program.out.count("client_order_id") >= 3

        await until("the orders there are", known)
        seen = program.out.count("client_order_id")
        await account.trade("buy", "7000", name="c-follow")

        async def more() -> bool:
            return program.out.count("client_order_id") > seen

        await until("the new order", more)
        program.send(signal.SIGINT)
        assert (await program.ended()).code == 0
    finally:
        if program.running:
            await program.killed()


async def test_journal_and_explain_agree(account: Account) -> None:
    rows = await json_of(account, "journal")
    order = (await json_of(account, "orders"))[-1]
    told = [row for row in rows if row["code"] == "intent"][-1]
    assert told["seq"] == order["seq"] and order["quantity"] in told["text"]
    by_order = await json_of(account, "explain", order["client_order_id"])
    by_seq = await json_of(account, "explain", str(order["seq"]))
    by_time = await json_of(account, "explain", by_seq["time"])
    assert by_order == by_seq
    assert by_time["seq"] <= by_seq["seq"] and by_time["time"] == by_seq["time"]
    (decision,) = by_order["decisions"]
    assert decision["rule"] == "hedge" and decision["recomputed"]
    assert decision["orders"][0]["client_order_id"] == order["client_order_id"]
    assert decision["orders"][0]["average_price"] == order["average_price"]
    assert [D(fill["quantity"]) for fill in decision["orders"][0]["fills"]] == [D(order["filled"])]
    assert decision["orders"][0]["latency_ms"]["decision_to_answer"] > 0
    text = await said(account, "explain", order["client_order_id"])
    assert "policy short" in text and "raisable" in text and f"order {order['client_order_id']}" in text
    assert (await account.command("explain", "99999999")).code == 2
    assert (await account.command("explain", "sh-nobody-1-000001")).code == 2


async def test_each_kind_of_decision_can_be_explained(account: Account) -> None:
    """What the rules say when they are asked again is what was sent."""
    kinds = {(order["purpose"], order["side"]): order for order in await json_of(account, "orders")}
    assert len(kinds) >= 2
    for order in kinds.values():
        found = await json_of(account, "explain", str(order["seq"]))
        assert [decision["recomputed"] for decision in found["decisions"]] == [True], order


async def test_decode_reads_the_recordings_own_frames(account: Account) -> None:
    frames, kinds = [], {"market", "private", "wsapi"}
    for line in account.recordings[-1].read_bytes().splitlines():
        _, source, payload = line.split(b" ", 2)
        if source.decode() in kinds:
            frames.append(payload)
    file = account.folder / "frames.txt"
    file.write_bytes(b"\n".join([*frames, b"no json{", b'{"e":"SOMETHING_NEW","E":1}', b'\xff\xfe{"e":1}']) + b"\n")
    ended = await command(account.folder, "decode", str(file))
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 0 and len(rows) == len(frames) + 3, "one line out for each line in"
    names = {row.get("event") for row in rows}
    assert {"MarkPriceUpdate", "AccountUpdate", "ExecutionReport", "Positions", "Balances", "ServerTime"} <= names
    assert all("quarantined" in row for row in rows[-3:])
    assert not any("quarantined" in row for row in rows[:-3])


async def test_replay_and_report_of_the_running_recording(account: Account) -> None:
    found = json.loads((await command(account.folder, "replay", *map(str, account.recordings), "--json")).out)
    assert found["diverged"] is None and found["decisions"] >= 3
    out = account.folder / "reports"
    made = await json_of(account, "report", "--out", str(out))
    assert Path(made["html"]).stat().st_size > 1_000 and Path(made["csv"]).exists()


async def test_the_books_are_sound_and_can_be_taken_away(account: Account) -> None:
    assert json.loads((await in_group(account, "ledger", "verify", "--json")).out)["ok"]
    copy = account.folder / "copy.sqlite"
    await in_group(account, "ledger", "backup", str(copy))
    assert copy.stat().st_mode & 0o077 == 0
    assert "exists" in (await in_group(account, "ledger", "backup", str(copy), code=2)).err
    copied = Ledger(copy, read_only=True)
    assert [trade.trade_id for trade in copied.float_trades()][:2] == ["initial-BTC", "c-1"]
    copied.close()
    folder = account.folder / "export"
    await in_group(account, "ledger", "export", str(folder))
    assert {path.name for path in folder.iterdir()} == {
        "float_trades.csv",
        "orders.csv",
        "fills.csv",
        "funding.csv",
        "attribution.csv",
    }


# ---------------------------------------------------------------- states


@pytest.mark.fault("K7")
async def test_halt_and_reduce_until_resume(account: Account) -> None:
    assert (await account.command("halt")).code == 2, "a reason is needed"
    halted = await json_of(account, "halt", "--reason", "drill")
    assert halted["trading_state"] == "HALTED" and "drill" in halted["trading_reasons"][0]
    naked = await account.trade("buy", "9000", name="c-halted")
    assert naked.code == 6 and naked.json()["recorded"]
    assert "HALTED" in (await json_of(account, "may-buy", "100", code=1))["reason"]
    await json_of(account, "resume", "--reason", "drill over")
    await until("hedged", account.hedged)
    assert (await json_of(account, "reduce", "--reason", "drill"))["trading_state"] == "REDUCING"
    assert (await json_of(account, "resume", "--reason", "drill over"))["trading_state"] == "ACTIVE"
    assert (await account.command("halt", "--reason", "x", "--symbol", "DOGEUSDT")).code == 2


@pytest.mark.fault("K4")
async def test_flatten_is_two_steps_and_works_while_halted(account: Account) -> None:
    before = held(await account.venue.truth())
    plan = await json_of(account, "flatten")
    assert plan["valid_s"] == 60 and D(plan["plan"][0]["position"]) == before["BTCUSDT"]
    assert plan["plan"][0]["side"] == "BUY" and plan["plan"][0]["slices"] == 3
    assert (await account.command("flatten", "--confirm", "00000000", "--reason", "x")).code == 2
    assert (await account.command("flatten", "--confirm", plan["token"])).code == 2, "a reason is needed"
    assert held(await account.venue.truth()) == before, "until here nothing was done"
    await json_of(account, "halt", "--reason", "drill")
    done = await json_of(account, "flatten", "--confirm", plan["token"], "--reason", "closing the book")
    assert done["hedges"][0]["position"] == "0"
    assert held(await account.venue.truth()) == {}
    closing = [row for row in await json_of(account, "orders") if row["purpose"] == "flatten"]
    assert len(closing) == 3
    assert all(row["type"] == "MARKET" and row["reduce_only"] and row["side"] == "BUY" for row in closing)
    assert (await account.command("flatten", "--confirm", plan["token"], "--reason", "x")).code == 2, "spent"
    await json_of(account, "resume", "--symbol", "BTCUSDT", "--reason", "on again")
    await json_of(account, "resume", "--reason", "on again")
    await until("hedged again", account.hedged)


# ---------------------------------------------------------------- before a start


async def test_doctor_finds_all_well(account: Account) -> None:
    found = await json_of(account, "doctor")
    assert found["ok"], [row for row in found["checks"] if row["verdict"] == "fail"]
    names = {row["name"]: row for row in found["checks"]}
    assert {
        "clock",
        "key accepted",
        "position mode",
        "route /market",
        "route /private",
        "listen key",
        "lock",
        "disk",
    } <= {*names}
    assert names["lock"]["data"]["pid"] == (await json_of(account, "status"))["pid"]
    assert set(names["BTCUSDT budget"]["data"]["wallets"]) == {"0.10", "0.20", "0.30", "0.50", "1.00"}
    assert account.venue.key not in json.dumps(found) and account.venue.secret not in json.dumps(found)


async def test_doctor_names_what_is_wrong_and_its_cure(account: Account) -> None:
    bad = await with_env(account, ("doctor", "--json"), E2E_SECRET="not-the-secret")
    failed = {row["name"]: row for row in json.loads(bad.out)["checks"] if row["verdict"] == "fail"}
    assert bad.code == 1 and "-1022" in failed["key accepted"]["found"] and "secret" in failed["key accepted"]["repair"]
    gone = await account.command("doctor", "--json", "--set", "endpoints.stream=ws://127.0.0.1:1")
    failed = {row["name"] for row in json.loads(gone.out)["checks"] if row["verdict"] == "fail"}
    assert gone.code == 1 and failed == {"route /market", "route /private"}
    optimised = await command(
        account.folder,
        *("doctor", "--offline", "--json"),
        command=("/usr/bin/env", "PYTHONOPTIMIZE=1", *_python(), "-m", "streamhedge"),
    )
    assert optimised.code in (1, 4), "python -O is refused, by the doctor or before it"


def _python() -> tuple[str, ...]:
    import sys

    return (sys.executable,)


async def test_the_template_is_accepted_and_never_overwrites(account: Account) -> None:
    file = account.folder / "hedge.toml"
    asked = await command(account.folder, "init", "config", str(file))
    assert asked.code == 2 and "not said: --venue, --symbol, --max-short-ratio" in asked.err and not file.exists()
    words = ("init", "config", "--template")
    assert (await command(account.folder, *words, str(file))).code == 0
    assert file.stat().st_mode & 0o077 == 0
    checked = await command(account.folder, "config", "check", "-c", str(file))
    assert checked.code == 0 and checked.out.startswith("ok ")
    shown = await command(account.folder, "config", "show", "-c", str(file))
    assert "limits.max_short_ratio = 0.5" in shown.out
    again = await command(account.folder, *words, str(file))
    assert again.code == 2 and "exists" in again.err
    assert (await command(account.folder, *words)).out == file.read_text()


async def test_a_configuration_against_another(account: Account) -> None:
    file = account.folder / "other.toml"
    await command(account.folder, "init", "config", "--template", str(file))
    ended = await command(account.folder, "config", "diff", str(file), "--set", "limits.max_naked=1 USDT", "--json")
    rows = {row["key"]: row for row in json.loads(ended.out)}
    assert rows["limits.max_naked"] == {"key": "limits.max_naked", "other": "50000", "value": "1"}
    assert rows["limits.max_short_ratio"]["other"] == "0.5" and "limits.max_leverage" not in rows
    schema = json.loads((await command(account.folder, "config", "schema")).out)
    assert {"venue", "hedge", "ladder", "limits"} <= set(schema["properties"])


async def test_float_trades_of_a_file_are_submitted_in_a_run(account: Account) -> None:
    file = account.folder / "trades.csv"
    file.write_text("seconds,kind,amount,reason\n0.1,buy,10000,first\n0.2,sell,0.5,second\n")
    words = ("--no-story", "--tape", "calm", "--duration", "4s", "--trades", str(file), "--json")
    ended = await command(account.folder, "run", *words, "--state-dir", str(account.folder / "own"))
    assert ended.code == 0, (ended.out, ended.err)
    assert "first" in ended.err and "second" in ended.err
    assert D("9.6") < D(ended.json()["float_btc"]) < D("9.7"), "10 + 10 000 / mark - 0.5"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_of_a_shell(account: Account, shell: str) -> None:
    ended = await command(account.folder, "completion", shell)
    assert ended.code == 0 and "_STREAMHEDGE_COMPLETE" in ended.out
    words = {"COMP_WORDS": "streamhedge may", "COMP_CWORD": "may" if shell == "fish" else "1"}
    asked = await command(account.folder, env={"_STREAMHEDGE_COMPLETE": f"{shell}_complete", **words})
    assert "may-buy" in asked.out


# ---------------------------------------------------------------- kill, last


@pytest.mark.fault("P12")
async def test_kill_ends_a_stopped_process_and_cancels_what_rests(account: Account) -> None:
    """The process is stopped in its tracks; an order of ours rests at the venue; a person's order rests beside it."""
    assert account.program is not None
    program = account.program
    (book,) = account.state_dir.glob("*/ledger.sqlite")
    position = held(await account.venue.truth())
    program.send(signal.SIGSTOP)
    ours = await resting(account, book, "sh-{instance}-1-009999")
    await place(account, "web_somebody")
    ended = await account.command("kill", "--reason", "drill", "--json")
    report = json.loads(ended.out)
    assert (ended.code, report["problems"]) == (0, []), report
    assert report["halted"] and "SIGKILL" in report["process"]
    assert report["cancelled"] == [{"client_order_id": ours, "outcome": "cancelled"}]
    assert any(row.startswith("BTCUSDT -") and "snapshot" in row for row in report["exposure"])
    assert (await program.ended()).code == -signal.SIGKILL
    assert await open_orders(account) == ["web_somebody"], "a person's order is left alone"
    assert held(await account.venue.truth()) == position, "kill never trades"
    again = json.loads((await account.command("kill", "--reason", "again", "--json")).out)
    assert again["process"] == "not running" and again["halted"]
    async with account.run():
        found = await until("a status", account.status)
        assert found["trading_state"] == "HALTED" and "kill" in found["trading_reasons"][0]
        await until("live", lambda: live(account))
        plan = await json_of(account, "flatten")
        await json_of(account, "flatten", "--confirm", plan["token"], "--reason", "the end")
    async with account.run():
        await until("live", lambda: live(account))
        found = await json_of(account, "status")
        assert found["hedges"][0]["position"] == "0" and found["trading_state"] == "HALTED"
        assert found["blocked"][0]["cause"] == "flatten", "a flatten outlives the process"
        resumed = await account.command("resume", "--reason", "hedge again")
        assert resumed.code == 0 and "plan BTCUSDT: position 0, target -10" in resumed.err, "said before it is done"
        await until("hedged", account.hedged)


async def live(account: Account) -> bool:
    status = await account.status()
    return status is not None and status["book_status"] == "LIVE"


async def test_nothing_runs_any_more(account: Account) -> None:
    for words in (("status",), ("halt", "--reason", "x"), ("may-buy", "1"), ("book",), ("flatten",)):
        assert (await account.command(*words)).code == 3, words
    assert len(await json_of(account, "orders")) >= 3, "tables need no process"
    assert (await command(account.folder, "kill", "--reason", "x")).code == 3


async def resting(account: Account, book: Path, name: str) -> str:
    """Let one of our orders rest at the venue, and in the books as sent; return its id."""
    ledger = Ledger(book)
    name = name.format(instance=ledger.instance)
    await place(account, name)
    order = Order(
        client_order_id=ClientOrderId(name),
        symbol=Symbol("BTCUSDT"),
        side=Side.BUY,
        quantity=D("0.010"),
        type=OrderType.LIMIT,
        price=D(64_000),
        time_in_force=TimeInForce.GTC,
        reduce_only=False,
        purpose=Purpose.MANUAL,
        decided_seq=1,
        decided_ns=1,
        target=D(0),
        position_before=D(0),
        decision_mark=D(67_000),
        reason="test",
        status=OrderStatus.PLANNED,
    )
    ledger.commit_intent(order)
    ledger.close()
    return name


async def place(account: Account, name: str) -> None:
    """Place an order far below the market, as somebody with the keys does."""
    params = [("symbol", "BTCUSDT"), ("side", "BUY"), ("type", "LIMIT"), ("quantity", "0.010"), ("price", "64000")]
    params += [("timeInForce", "GTC"), ("newClientOrderId", name)]
    await call(account, RestRequest("order", "POST", "/fapi/v1/order", params, True))


async def open_orders(account: Account) -> list[str]:
    """Return the client order ids that rest at the venue."""
    rows = await call(account, RestRequest("open_orders", "GET", "/fapi/v1/openOrders", [], True))
    return [row["clientOrderId"] for row in rows]


async def call(account: Account, request: RestRequest) -> Any:
    rest = RestClient(
        account.venue.rest, api_key=Secret(account.venue.key), signer=signer_of(account.venue.secret), timeout_s=10
    )
    try:
        answer = await rest.send(request)
    finally:
        await rest.close()
    assert answer.status == 200, answer.body
    return orjson.loads(answer.body)
