"""The options every command takes, before and after its name, and how a command talks: data out, commentary aside."""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from streamhedge.errors import NotRunning
from streamhedge.ops.instances import running
from streamhedge.settings.config import Config, load_config
from streamhedge.settings.folders import default_state_dir
from streamhedge.settings.secrets import fingerprint, load_secret

Command = TypeVar("Command", bound=Callable[..., Any])
NAMES = ("configs", "sets", "as_json", "quiet", "verbose", "no_color", "state_dir")
FLAGS = ("as_json", "quiet", "verbose", "no_color")
LISTS = ("configs", "sets")


def shared(command: Command) -> Command:
    """Add the options that every command takes."""
    for option in (
        click.option("--state-dir", type=click.Path(path_type=Path), help="Where ledgers and recordings live."),
        click.option("--no-color", is_flag=True, help="No colours; so does NO_COLOR."),
        click.option("-v", "--verbose", is_flag=True, help="Figures beside each line, and what was asked of whom."),
        click.option("--quiet", is_flag=True, help="Data, warnings and errors only."),
        click.option("--json", "as_json", is_flag=True, help="JSON on stdout."),
        click.option("--set", "sets", multiple=True, help="One value: a.b=v."),
        click.option(
            "-c", "--config", "configs", multiple=True, type=click.Path(path_type=Path), help="TOML; later wins."
        ),
    ):
        command = option(command)
    return command


def example(*lines: str) -> str:
    """Return an epilog with examples, kept line by line."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


class Common:
    """The shared options of one call, from every side of the command's name."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.configs: list[Path] = list(said["configs"])
        self.sets: list[str] = list(said["sets"])
        self.json = bool(said["as_json"])
        self.quiet = bool(said["quiet"])
        self.verbose = bool(said["verbose"])
        self.colour = not said["no_color"] and "NO_COLOR" not in os.environ
        self.state_dir: Path = said["state_dir"] or default_state_dir(os.environ)

    def config(self) -> Config:
        """Return the effective configuration."""
        return load_config(self.configs, self.sets, os.environ)

    def say(self, text: str) -> None:
        """Comment on stderr, unless told to be quiet."""
        if not self.quiet:
            click.echo(text, err=True)

    def detail(self, text: str) -> None:
        """Comment on stderr when asked for more."""
        if self.verbose:
            click.echo(text, err=True)

    def console(self) -> Console:
        """Return where screens and tables are drawn: as wide as the terminal, plain when it is none."""
        width = None if Console().is_terminal or "COLUMNS" in os.environ else 160
        return Console(no_color=not self.colour, highlight=False, width=width, soft_wrap=False)


def common_of(said: dict[str, Any]) -> Common:
    """Take the shared options out of a command's arguments, joined with those before it."""
    merged: dict[str, Any] = {name: said.pop(name) for name in NAMES}
    context = click.get_current_context().parent
    while context is not None:
        for name in FLAGS:
            merged[name] = merged[name] or context.params.get(name, False)
        for name in LISTS:
            merged[name] = (*context.params.get(name, ()), *merged[name])
        merged["state_dir"] = merged["state_dir"] or context.params.get("state_dir")
        context = context.parent
    return Common(merged)


def out(data: Any) -> None:
    """Write JSON to stdout."""
    click.echo(jsonlib.dumps(data))


def check_number(name: str, text: str | None, *, above_zero: bool) -> None:
    """Refuse what is no finite number above zero."""
    if text is None:
        return
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise click.UsageError(f"{name} {text!r} is no number; nothing recorded") from error
    if not value.is_finite() or value < 0 or (above_zero and value == 0):
        raise click.UsageError(f"{name} {text} must be a number above zero; nothing recorded")


def account_name(config: Config) -> str | None:
    """Return the name of the account a configuration means: venue and key fingerprint; None when it names none.

    The built-in exchange makes a key of its own at each start, so venue sim without [endpoints] names none.
    """
    settings = config.settings
    if settings.keys is None or (settings.venue == "sim" and settings.endpoints is None):
        return None
    return f"{settings.venue}-{fingerprint(load_secret('api_key', settings.keys.api_key, os.environ))}"


def running_name(common: Common) -> str:
    """Return the name of the account whose process is meant: the config's, or the only one running."""
    meant = account_name(common.config()) if common.configs else None
    if meant is not None:
        return meant
    names = [instance.name for instance in running()]
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotRunning("no streamhedge runs here; start it with `streamhedge run`")
    raise NotRunning(f"several run ({', '.join(names)}): say which with -c FILE")
