"""What the command line and the control socket make of words: options, times, tables, tokens, files of trades."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from streamhedge.domain.values import Symbol
from streamhedge.errors import CommandError, ConfigError
from streamhedge.ops.cli import cli
from streamhedge.ops.cli.options import check_number, common_of, shared
from streamhedge.ops.cli.run import read_trades, summary_text
from streamhedge.ops.tables import between, csv_text, moment_ms, rendered
from streamhedge.ops.words import TOKEN_S, FlattenToken, trade_request

SYMBOLS = (Symbol("BTCUSDT"),)
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def commands(group: click.Group, before: str = "") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        found.append((f"{before}{name}", command))
        if isinstance(command, click.Group):
            found += commands(command, f"{before}{name} ")
    return found


@pytest.mark.parametrize(("name", "command"), commands(cli))
def test_every_command_has_help_an_example_and_the_shared_options(name: str, command: click.Command) -> None:
    said = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert said.exit_code == 0 and "Example:" in said.output and f"streamhedge {name}" in said.output
    assert command.help, "a sentence that says what it does"
    names = {option for parameter in command.params for option in parameter.opts}
    assert {"--config", "--set", "--json", "--quiet", "--verbose", "--no-color", "--state-dir"} <= names


def test_the_surface_is_complete() -> None:
    wanted = "run sim trade may-buy status book funding orders journal halt reduce resume flatten kill replay explain"
    wanted += " decode report ledger doctor config init completion"
    assert set(wanted.split()) <= set(cli.commands)
    assert {"backup", "verify", "export"} <= set(cli.commands["ledger"].commands)  # type: ignore[attr-defined]
    kinds = {"buy", "sell", "deposit", "withdraw", "set", "deposit-usd", "withdraw-usd", "set-usd", "void"}
    assert kinds == set(cli.commands["trade"].commands)  # type: ignore[attr-defined]


def test_options_join_from_every_side_of_the_name(tmp_path: Path) -> None:
    found = {}

    @click.group()
    @shared
    def top(**said: object) -> None: ...

    @top.group()
    @shared
    def middle(**said: object) -> None: ...

    @middle.command()
    @shared
    def last(**said: object) -> None:
        common = common_of(said)
        found.update(vars(common))

    words = ["-c", "a", "--json", "middle", "-c", "b", "--state-dir", str(tmp_path), "last", "-c", "c", "--set", "x=1"]
    assert CliRunner().invoke(top, words).exit_code == 0
    assert [str(path) for path in found["configs"]] == ["a", "b", "c"], "later wins, so the order is kept"
    assert found["json"] is True and found["sets"] == ["x=1"] and found["state_dir"] == tmp_path


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "0", "1e", "ten", ""])
def test_no_amount(text: str) -> None:
    with pytest.raises(click.UsageError, match="nothing recorded"):
        check_number("amount", text, above_zero=True)


def test_amounts() -> None:
    for text in ("1", "0.00000001", "1e3", None):
        check_number("amount", text, above_zero=True)
    check_number("amount", "0", above_zero=False)


# ---------------------------------------------------------------- times and tables


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-24T10:02:11", "2026-11-24T10:02:11+00:00"),
        ("2026-11-24T10:02:11+02:00", "2026-11-24T08:02:11+00:00"),
        ("2026-11-24", "2026-11-24T00:00:00+00:00"),
        ("10:02:11.5", "2026-11-24T10:02:11.500000+00:00"),
        ("15m", "2026-11-24T11:45:00+00:00"),
        ("7d", "2026-11-17T12:00:00+00:00"),
    ],
)
def test_a_moment(text: str, wanted: str) -> None:
    found = datetime.fromtimestamp(moment_ms(text, now=NOON) / 1_000, UTC)
    assert found.isoformat() == wanted


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2026-13-01", "-5m"])
def test_no_moment(text: str) -> None:
    with pytest.raises(CommandError, match="no time"):
        moment_ms(text, now=NOON)


def test_a_stretch_of_time_holds_both_ends() -> None:
    rows = [{"time": f"2026-11-24T10:00:0{second}.000Z"} for second in range(4)]
    start, end = (moment_ms(f"2026-11-24T10:00:0{second}", now=NOON) for second in (1, 2))
    assert list(between(rows, since_ms=start, until_ms=end)) == rows[1:3]
    assert list(between(rows, since_ms=None, until_ms=None)) == rows


@pytest.mark.fault("X7")
def test_csv_is_inert_in_a_spreadsheet_and_keeps_figures() -> None:
    rows = [{"a": "=HYPERLINK(1)", "b": "-1.5"}, {"a": "+SUM(1)", "b": None}, {"a": '@x,"y"', "b": "1E-8"}]
    read = list(csv.reader(io.StringIO(csv_text(rows, ("a", "b")))))
    assert read == [["a", "b"], ["'=HYPERLINK(1)", "-1.5"], ["'+SUM(1)", ""], ['\'@x,"y"', "1E-8"]]


@pytest.mark.fault("X7")
def test_foreign_text_in_a_table_is_inert() -> None:
    out = io.StringIO()
    rows = [{"time": "t", "text": "[bold]evil\x1b[2J\u202egnp"}]
    Console(file=out, width=80).print(rendered(rows, form="table", title="", columns=("time", "text")))
    assert "[bold]evil" in out.getvalue(), "no markup of the console either"
    assert not {"\x1b", "\u202e"} & set(out.getvalue())


def test_parquet_says_what_it_needs() -> None:
    with pytest.raises(CommandError, match=r"streamhedge\[parquet\]"):
        rendered([], form="parquet", title="", columns=())


# ---------------------------------------------------------------- flatten's token


def test_a_token_is_spent_once() -> None:
    token = FlattenToken()
    text = token.issue(SYMBOLS, uid=1, now_s=100.0)
    assert token.spend(text, uid=1, now_s=100.0 + TOKEN_S) == SYMBOLS
    with pytest.raises(CommandError, match="no token that waits"):
        token.spend(text, uid=1, now_s=100.0)


def test_a_token_is_for_one_person_one_plan_and_a_minute() -> None:
    token = FlattenToken()
    with pytest.raises(CommandError):
        token.spend("", uid=-1, now_s=0.0)
    old = token.issue(SYMBOLS, uid=1, now_s=0.0)
    new = token.issue(SYMBOLS, uid=1, now_s=0.0)
    for text, uid in ((old, 1), (new, 2), (new[:-1], 1), ("", 1), ("ü", 1)):
        with pytest.raises(CommandError, match="no token that waits"):
            token.spend(text, uid=uid, now_s=1.0)
    with pytest.raises(CommandError, match="older than 60 s"):
        token.spend(new, uid=1, now_s=TOKEN_S + 0.001)
    with pytest.raises(CommandError, match="no token that waits"):
        token.spend(new, uid=1, now_s=1.0)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"kind": "buy"},
        {"kind": "gift", "id": "x"},
        {"kind": "buy", "id": 5, "amount": "1"},
        {"kind": "buy", "id": "", "amount": "1"},
        {"kind": "buy", "id": "x" * 300, "amount": "1"},
        {"kind": "buy", "id": "x", "amount": "ten"},
    ],
)
def test_what_is_no_float_trade_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(CommandError, match="nothing recorded"):
        trade_request(said)


# ---------------------------------------------------------------- a file of trades


def test_a_file_of_trades_in_order_of_time(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    file.write_text('seconds,kind,amount,reason\n5,sell,0.5\n# a comment\n\n0.5,buy,10000,"dip, again"\n')
    found = [(trade.at_s, trade.kind, trade.amount, trade.reason) for trade in read_trades(file)]
    assert found == [(0.5, "buy", "10000", "dip, again"), (5.0, "sell", "0.5", "")]


@pytest.mark.parametrize("line", ["5,sell", "5,gift,1", "x,buy,1", "5,buy,-1", "5,buy,nan", "5,void,1", "1,buy,1,a,b"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "trades.csv"
    file.write_text(f"1,buy,100\n{line}\n")
    with pytest.raises(ConfigError, match=r"trades\.csv:2"):
        read_trades(file)
    with pytest.raises(ConfigError, match="No such file"):
        read_trades(tmp_path / "none.csv")


def test_the_end_of_a_run_says_what_would_cure_a_block_in_words() -> None:
    remedy = {"top_up": "145250.2234", "sell_quantity": "7.3180", "sell_and_post_quantity": "1.50"}
    row = {"symbol": "BTCUSDT", "cause": "margin", "reason": "margin carries no more"}
    said = {
        **{
            "pass": True,
            "stopped": False,
            "reason": "",
            "event_to_sent_ms": {"p50": 1, "p99": 2},
            "recording": ["r.rec"],
        },
        **{"naked_usd_seconds": {}, "in_band": True},
        "blocked": [{**row, "remedy": remedy}, {**row, "symbol": "ETHUSDT", "remedy": None}],
    }
    names = [
        *("float_btc", "position_btc", "naked_usd", "max_naked_usd", "orders_sent", "doubted", "refused", "in_doubt"),
        *("duplicate_client_ids", "min_liquidation_distance", "liquidated", "funding_usd", "fees_usd", "reconnects"),
        *("venue_closes", "digest"),
    ]
    lines = summary_text({**dict.fromkeys(names, "0"), **said}).splitlines()
    assert (
        "remedy: post 145 250.22 USDT, or sell 7.3180 of the float, or sell 1.5000 and post the proceeds" in lines[-3]
    )
    assert lines[-2].endswith("ETHUSDT margin carries no more") and lines[-1] == "PASS"
