"""`init config` by flags, where nobody can be asked: every limit is said, and what comes out loads."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamhedge.ops.cli import cli
from streamhedge.ops.cli.interview import questions, template
from streamhedge.settings.config import Config, load_config
from streamhedge.settings.model import LimitsTable

LIMITS = [name for name, field in LimitsTable.model_fields.items() if field.is_required()]
FLAGS = {question.flag: question.example for question in questions()}


def words(*symbols: str, **other: str) -> list[str]:
    """Return flags that say everything, as the template has it but for what is said otherwise."""
    said = {**FLAGS, **{f"--{name.replace('_', '-')}": value for name, value in other.items()}}
    each = {question.flag for question in questions() if question.table == "hedge"}
    found = ["--venue", "sim"]
    for symbol in symbols:
        found += ["--symbol", symbol]
        found += [part for flag in each for part in (flag, said[flag].replace("BTC", symbol.removesuffix("USDT")))]
    return found + [part for flag, value in said.items() if flag not in each for part in (flag, value)]


def asked(*flags: str) -> Result:
    found = CliRunner().invoke(cli, ["init", "config", *flags])
    assert "Traceback" not in found.output
    return found


def loaded(text: str, tmp_path: Path) -> Config:
    file = tmp_path / "hedge.toml"
    file.write_text(text)
    return load_config([file], [], {})


def test_every_limit_is_a_question() -> None:
    assert set(LIMITS) <= {question.key for question in questions()}
    assert not any(question.proposed for question in questions() if question.example.endswith(("USDT", "BTC")))


def test_flags_that_say_what_the_template_says_make_the_template(tmp_path: Path) -> None:
    found = asked(*words("BTCUSDT"))
    assert found.exit_code == 0, found.output
    assert loaded(found.stdout, tmp_path).hash() == loaded(template(), tmp_path).hash()
    assert found.stdout.count("#") == template().count("#"), "the comments stay"


def test_what_is_said_stands_in_the_file_and_two_floats_have_a_hedge_each(tmp_path: Path) -> None:
    found = asked(*words("BTCUSDT", "ETHUSDT", max_naked="7_000 USDT", max_leverage="4", max_short_ratio="1.0"))
    assert found.exit_code == 0, found.output
    settings = loaded(found.stdout, tmp_path).settings
    assert [(row.asset, row.symbol, row.initial) for row in settings.hedge] == [
        ("BTC", "BTCUSDT", 10),
        ("ETH", "ETHUSDT", 10),
    ]
    assert (settings.limits.max_naked, settings.limits.max_leverage, settings.limits.max_short_ratio) == (7_000, 4, 1)


@pytest.mark.parametrize("venue", ["demo", "live"])
def test_a_venue_with_keys_says_where_they_come_from(venue: str, tmp_path: Path) -> None:
    found = asked(*words("BTCUSDT"), "--venue", venue)
    settings = loaded(found.stdout, tmp_path).settings
    assert settings.venue == venue
    assert settings.keys is not None and settings.keys.api_key == {"file": "~/.config/streamhedge/api_key"}
    assert settings.keys.account is None and settings.spot is None


@pytest.mark.parametrize("question", questions(), ids=lambda question: question.key)
def test_what_is_not_said_is_an_error_that_names_its_flag(question: object) -> None:
    flag = question.flag  # type: ignore[attr-defined]
    said = words("BTCUSDT")
    at = said.index(flag)
    found = asked(*said[:at], *said[at + 2 :])
    assert found.exit_code != 0 and f"not said: {flag};" in str(found.exception) and found.stdout == ""


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--max-naked", "lots"], "--max-naked: limits.max_naked: expected a quantity"),
        (["--leverage", "10"], "--leverage: hedge BTC: leverage 10 is above limits.max_leverage 5"),
        (["--max-short", "20 ETH"], "--max-short: hedge.BTC.max_short: expected BTC"),
        (["--max-naked", '5"\nvenue = "live'], "--max-naked"),
        (["--symbol", "btc"], "no symbol against USDT"),
    ],
)
def test_what_does_not_fit_is_named_by_its_flag_and_nothing_is_written(
    more: list[str], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "hedge.toml"
    said = words("BTCUSDT")
    if more[0] in said and more[0] != "--symbol":
        at = said.index(more[0])
        del said[at : at + 2]
    found = asked(*said, *more, str(file))
    assert found.exit_code != 0 and says in str(found.exception), found
    assert not file.exists()


def test_a_value_too_many_is_refused() -> None:
    found = asked(*words("BTCUSDT"), "--initial", "3 BTC")
    assert "--initial is said 2 times for 1 symbol(s)" in str(found.exception)
