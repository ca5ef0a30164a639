"""`init config`: the commented template with what a person answers, or says by flags where nobody can be asked.

A limit is never taken from the template unseen: each is said by a flag, or asked for. A figure that depends on the
treasury has to be typed; for the others the template's is proposed, and Enter says it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import click

from streamhedge.domain.spot import USD_QUOTES
from streamhedge.errors import CommandError, ConfigError, ParseError
from streamhedge.settings.config import config_of
from streamhedge.settings.model import LimitsTable
from streamhedge.settings.places import Source
from streamhedge.wire.streams import name_of

ROW = re.compile(r'^([a-z_]+) = ("[^"]*"|[^\s#]+)(\s*)(#.*)?$')
VENUES = ("sim", "demo", "live")
HEDGE_KEYS = ("initial", "max_short", "max_order_quantity", "band", "leverage")
"""What is asked for each symbol; the rest of a hedge and the ladder stand in the file, to be read there."""
TYPED = ("max_short_ratio", "initial", "max_short", "max_order_quantity")
"""Figures of the treasury that are no sums of money; those are typed too."""
KEY_LINES = (
    "# [keys]",
    '# api_key = { file = "~/.config/streamhedge/api',
    '# api_secret = { file = "~/.config/streamhedge/api',
)
COMMENT_COLUMN = 47


@dataclass(frozen=True, slots=True)
class Question:
    """One value: its table and key, what the template says of it, and what stands there."""

    table: str
    key: str
    about: str
    example: str

    @property
    def flag(self) -> str:
        """The flag that says it."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def proposed(self) -> bool:
        """Whether Enter says what the template says."""
        return self.key not in TYPED and not self.example.endswith("USDT")


Answers = dict[tuple[str, str], str]
"""By asset ("" for what belongs to no hedge) and key."""


def template() -> str:
    """Return the packaged file with its comments."""
    return files("streamhedge.ops.cli").joinpath("files", "hedge.toml").read_text("utf-8")


def questions() -> tuple[Question, ...]:
    """Return what has to be said, in the order in which it is asked: limits first, hedges have to fit them."""
    found, table = {}, ""
    for line in template().splitlines():
        if line.startswith("["):
            table = line.partition("]")[0].strip("[]")
        elif row := ROW.match(line):
            key, value, _, about = row.groups()
            found[table, key] = Question(table, key, (about or "").strip("# "), value.strip('"'))
    limits = [key for key, field in LimitsTable.model_fields.items() if field.is_required()]
    return (*(found["limits", key] for key in limits), *(found["hedge", key] for key in HEDGE_KEYS))


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags of every question."""
    for question in reversed(questions()):
        each = question.table == "hedge"
        about = f"{question.about or question.key.replace('_', ' ')}, e.g. {question.example!r}"
        more = "; once for each --symbol" if each else ""
        command = click.option(question.flag, question.key, multiple=each, help=f"{about}{more}.")(command)
    command = click.option(
        "--symbol", "symbols", multiple=True, help="What is shorted, e.g. BTCUSDT; again for a second float."
    )(command)
    command = click.option("--venue", type=click.Choice(VENUES), help="Where it trades; live is real money.")(command)
    return click.option("--template", is_flag=True, help="The template as it is: ask nothing, say nothing.")(command)


def written(said: Mapping[str, Any], *, may_ask: bool) -> str:
    """Return the configuration that flags and answers make.

    Raises:
        CommandError: something is not said and nobody can be asked; names the flags.
        ConfigError: what was said does not fit.
    """
    if said["template"]:
        return template()
    venue, symbols = said["venue"], list(said["symbols"])
    if may_ask:
        venue = venue or _asked("venue (sim, demo, live)", "sim", _one_of_the_venues)
        symbols = symbols or _asked("symbols to short, space between", "BTCUSDT", _symbols).split()
    assets = [asset_of(symbol) for symbol in symbols]
    answers, missing = _by_flags(said, assets)
    if not may_ask:
        missing = [*([] if venue else ["--venue"]), *([] if symbols else ["--symbol"]), *missing]
        if missing:
            raise CommandError(
                f"not said: {', '.join(missing)}; limits have no defaults. Say them, ask in a terminal, or take "
                "--template and edit the file; nothing was written"
            )
    _check_flags(venue, symbols, answers)
    _ask_rest(venue, symbols, assets, answers)
    return _checked(venue, symbols, answers)


def asset_of(symbol: str) -> str:
    """Return the float asset that a symbol hedges.

    Raises:
        CommandError: the symbol is none against a quote that counts as USD.
    """
    try:
        name = name_of(symbol)
    except ParseError:
        name = ""
    asset = next((name.removesuffix(quote) for quote in USD_QUOTES if name.endswith(quote)), "")
    if not asset:
        raise CommandError(
            f"{symbol!r} is no symbol against {', '.join(USD_QUOTES)}, like BTCUSDT; nothing was written"
        )
    return asset


def _by_flags(said: Mapping[str, Any], assets: Sequence[str]) -> tuple[Answers, list[str]]:
    """Return what the flags say, and the flags that lack."""
    answers: Answers = {}
    missing = []
    for question in questions():
        values = said[question.key]
        if question.table != "hedge":
            values, owners = [values] if values is not None else [], [""]
        else:
            owners = list(assets)
        if len(values) > len(owners):
            raise CommandError(
                f"{question.flag} is said {len(values)} times for {len(owners)} symbol(s); nothing was written"
            )
        answers.update({(owner, question.key): value for owner, value in zip(owners, values, strict=False)})
        if len(values) < max(1, len(owners)):
            missing.append(question.flag)
    return answers, missing


def _check_flags(venue: str, symbols: Sequence[str], answers: Answers) -> None:
    """Refuse what flags say wrong before anything is asked."""
    for faults in _faults(venue, symbols, answers).values():
        raise ConfigError(f"the configuration does not fit; nothing was written\n  {faults}")


def _ask_rest(venue: str, symbols: Sequence[str], assets: Sequence[str], answers: Answers) -> None:
    """Ask for what is not said yet, each until it fits."""
    for question in questions():
        for asset in assets if question.table == "hedge" else [""]:
            place = (asset, question.key)
            if place in answers:
                continue

            def fits(text: str, place: tuple[str, str] = place) -> str | None:
                return _faults(venue, symbols, {**answers, place: text}).get(place)

            name = f"{asset} {question.key}" if asset else question.key
            about = f" ({question.about})" if question.about else ""
            example = question.example.replace("BTC", asset) if asset else question.example
            shown = "" if question.proposed else f", e.g. {example}"
            answers[place] = _asked(f"{name}{about}{shown}", example if question.proposed else None, fits)


def _asked(text: str, proposal: str | None, wrong: Callable[[str], str | None]) -> str:
    """Ask on stderr, which a redirected stdout leaves alone, until an answer fits."""
    while True:
        click.echo(f"{text}{f' [{proposal}]' if proposal else ''}: ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            raise click.Abort
        said = line.strip() or proposal or ""
        fault = wrong(said) if said else "it has no default, say it"
        if fault is None:
            return said
        click.echo(f"  {fault}", err=True)


def _one_of_the_venues(said: str) -> str | None:
    return None if said in VENUES else f"one of {', '.join(VENUES)}"


def _symbols(said: str) -> str | None:
    try:
        found = [asset_of(symbol) for symbol in said.split()]
    except CommandError as error:
        return str(error).partition(";")[0]
    return None if len(set(found)) == len(found) else "two hedges of one asset"


def _checked(venue: str, symbols: Sequence[str], answers: Answers) -> str:
    text, _ = rendered(venue, symbols, answers)
    config_of([Source("hedge.toml", text)], (), {})
    return text


def _faults(venue: str, symbols: Sequence[str], answers: Answers) -> dict[tuple[str, str], str]:
    """Return what is wrong with what is said so far; what is not said yet stands as in the template."""
    text, places = rendered(venue, symbols, answers)
    try:
        config_of([Source("said", text)], (), {})
    except ConfigError as error:
        found = {}
        for line in str(error).splitlines()[1:]:
            row = re.match(r"\s*said:(\d+): (.*)", line)
            place = places.get(int(row.group(1))) if row else None
            if row is None or place is None:
                found["", ""] = line.strip()
            elif place in answers:
                flag = f"--{place[1].replace('_', '-')}"
                found.setdefault(place, f"{flag}: {row.group(2)}")
        return found
    return {}


def rendered(venue: str, symbols: Sequence[str], answers: Answers) -> tuple[str, dict[int, tuple[str, str]]]:
    """Return the template with answers in place of its values, and which answer stands on which line."""
    lines: list[str] = []
    places: dict[int, tuple[str, str]] = {}
    head, hedge, rest = _parts(template())

    def put(line: str, asset: str, values: Mapping[str, str]) -> None:
        row = ROW.match(line)
        if row is not None and row.group(1) in values:
            places[len(lines) + 1] = (asset, row.group(1))
            line = _row(row, values[row.group(1)])
        lines.append(line)

    for line in head:
        put(line, "", {"venue": venue})
    for symbol in symbols:
        asset = asset_of(symbol)
        own = {key: value for (owner, key), value in answers.items() if owner == asset}
        for line in hedge:
            put(line.replace(' BTC"', f' {asset}"'), asset, {"asset": asset, "symbol": symbol, **own})
    table = ""
    for line in rest:
        table = line.partition("]")[0].strip("[") if line.startswith("[") else table
        own = {key: value for (owner, key), value in answers.items() if not owner} if table == "limits" else {}
        put(line.removeprefix("# ") if venue != "sim" and _of_the_keys(line) else line, "", own)
    return "\n".join(lines) + "\n", places


def _parts(text: str) -> tuple[list[str], list[str], list[str]]:
    """Return what stands before the hedge, the hedge, and what follows."""
    lines = text.splitlines()
    begins = next(number for number, line in enumerate(lines) if line.startswith("[[hedge]]"))
    ends = next(number for number, line in enumerate(lines) if number > begins and line.startswith("["))
    return lines[:begins], lines[begins:ends], lines[ends:]


def _of_the_keys(line: str) -> bool:
    """True for the lines of [keys] that a venue with keys needs: where they come from, not the account's fingerprint."""
    return line.startswith(KEY_LINES)


def _row(row: re.Match[str], value: str) -> str:
    """Return a line with another value, its comment where it stood."""
    key, before, _, about = row.groups()
    bare = not before.startswith('"') and re.fullmatch(r"\d+(\.\d+)?", value) is not None
    said = f"{key} = {value if bare else json.dumps(value, ensure_ascii=False)}"
    return f"{said:<{COMMENT_COLUMN - 1}} {about}" if about else said
