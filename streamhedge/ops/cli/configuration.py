"""`config`, `init config`, `doctor`, `completion`: what is said, whether it fits, and whether the world agrees."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from streamhedge.errors import CommandError
from streamhedge.ops.cli import interview
from streamhedge.ops.cli.options import Common, common_of, example, out, shared
from streamhedge.ops.exits import FAILURE, OK
from streamhedge.settings.config import load_config
from streamhedge.settings.model import schema

SHELLS = ("bash", "zsh", "fish")


@click.group(epilog=example("streamhedge config check -c hedge.toml", "streamhedge config show"))
@shared
def config(**said: Any) -> None:
    """Look at the configuration."""


@config.command("check", epilog=example("streamhedge config check -c hedge.toml"))
@shared
def config_check(**said: Any) -> None:
    """Check a configuration and say what is wrong; exit 4 when something is."""
    common = common_of(said)
    found = common.config()
    out({"ok": True, "hash": found.hash()}) if common.json else click.echo(f"ok {found.hash()}")


@config.command("show", epilog=example("streamhedge config show -c hedge.toml --set limits.max_naked='20_000 USDT'"))
@shared
def config_show(**said: Any) -> None:
    """Print effective values and where each comes from."""
    common = common_of(said)
    rows = common.config().show()
    if common.json:
        out([{"key": key, "value": value, "origin": origin} for key, value, origin in rows])
        return
    for key, value, origin in rows:
        click.echo(f"{key} = {value}   # {origin}")


@config.command("diff", epilog=example("streamhedge config diff old.toml -c hedge.toml"))
@shared
@click.argument("other", type=click.Path(path_type=Path))
def config_diff(**said: Any) -> None:
    """Print what the configuration says otherwise than another one."""
    common = common_of(said)
    now = {key: value for key, value, _ in common.config().show()}
    then = {key: value for key, value, _ in load_config([said["other"]], [], {}).show()}
    rows = [
        {"key": key, "other": then.get(key), "value": now.get(key)}
        for key in sorted({*now, *then})
        if now.get(key) != then.get(key)
    ]
    if common.json:
        out(rows)
        return
    for row in rows:
        click.echo(f"{row['key']}: {row['other']} -> {row['value']}")
    if not rows:
        common.say("no difference")


@config.command("schema", epilog=example("streamhedge config schema > streamhedge.schema.json"))
@shared
def config_schema(**said: Any) -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    common_of(said)
    out(schema())


@click.group(epilog=example("streamhedge init config hedge.toml", "streamhedge init systemd > streamhedge.service"))
@shared
def init(**said: Any) -> None:
    """Print a file to start from, or write it to PATH; never over another file."""


def _written(common: Common, path: Path | None, text: str, hint: str) -> None:
    """Print a file, or write it where nothing stands, and say what comes next."""
    if path is None:
        click.echo(text, nl=False)
        return
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; nothing was written") from error
    out({"path": str(path)}) if common.json else click.echo(f"{path}; next: {hint.format(path=path)}")


def _exists(path: Path) -> CommandError:
    return CommandError(f"{path} exists; name a new file. Nothing was written")


@init.command(
    "config",
    epilog=example(
        "streamhedge init config hedge.toml",
        "streamhedge init config --template > hedge.toml",
        "streamhedge init config --venue demo --symbol BTCUSDT --initial '10 BTC' --max-naked '50_000 USDT' … hedge.toml",
    ),
)
@shared
@interview.options
@click.argument("path", required=False, type=click.Path(path_type=Path))
def init_config(**said: Any) -> None:
    """Ask for a configuration, or take it from flags; every limit is said, none is assumed.

    In a terminal what no flag says is asked; elsewhere it is an error that names the flag.
    """
    common = common_of(said)
    path: Path | None = said["path"]
    if path is not None and path.exists():  # before anybody answers twenty questions for nothing
        raise _exists(path)
    may_ask = not common.json and sys.stdin.isatty() and sys.stderr.isatty()
    _written(common, path, interview.written(said, may_ask=may_ask), "streamhedge doctor -c {path}")


def _init_command(name: str, about: str, make: Callable[[], str], file: str, hint: str) -> None:
    @init.command(name, help=about, epilog=example(f"streamhedge init {name} > {file}"))
    @shared
    @click.argument("path", required=False, type=click.Path(path_type=Path))
    def write(**said: Any) -> None:
        _written(common_of(said), said["path"], make(), hint)


def _packaged(name: str) -> Callable[[], str]:
    return lambda: files("streamhedge.ops.cli").joinpath("files", name).read_text()


def _grafana() -> str:
    from streamhedge.ops.dashboard import dashboard

    return json.dumps(dashboard(), indent=1) + "\n"


for _name, _about, _make, _file, _hint in (
    (
        *("systemd", "A hardened systemd unit.", _packaged("streamhedge.service")),
        *("streamhedge.service", "systemd-analyze verify {path}"),
    ),
    (
        *("prometheus", "Scrape configuration and alert rules.", _packaged("prometheus.yml")),
        *("streamhedge-rules.yml", "promtool check rules {path}"),
    ),
    ("grafana", "A dashboard to import.", _grafana, "streamhedge-dashboard.json", "import {path} in Grafana"),
):
    _init_command(_name, _about, _make, _file, _hint)


@click.command(epilog=example("streamhedge doctor", "streamhedge doctor -c hedge.toml --offline --json"))
@shared
@click.option("--offline", is_flag=True, help="Ask nobody; only what this machine knows.")
def doctor(**said: Any) -> None:
    """Check machine, configuration, account and streams, each with its repair line; exit 1 when one fails.

    It reads only. With venue sim and no [endpoints] it starts the built-in exchange for the time of the check.
    """
    import asyncio

    from streamhedge.ops.doctor import examine

    common = common_of(said)
    checks = asyncio.run(
        examine(
            common.configs,
            common.sets,
            common.state_dir,
            dict(os.environ),
            online=not said["offline"],
            say=common.detail,
        )
    )
    failed = [check for check in checks if check.verdict == "fail"]
    if common.json:
        out({"ok": not failed, "checks": [check.fields() for check in checks]})
    else:
        for check in checks:
            if common.quiet and check.verdict == "ok":
                continue
            click.echo(check.line(colour=common.colour and sys.stdout.isatty()))
        click.echo(f"{len(checks)} checks, {len(failed)} failed")
    sys.exit(FAILURE if failed else OK)


@click.command(
    epilog=example(
        "streamhedge completion bash > ~/.local/share/bash-completion/completions/streamhedge",
        "streamhedge completion fish > ~/.config/fish/completions/streamhedge.fish",
    )
)
@shared
@click.argument("shell", type=click.Choice(SHELLS))
def completion(**said: Any) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    common_of(said)
    maker = get_completion_class(said["shell"])
    assert maker is not None, "click completes these shells"
    root = click.get_current_context().find_root().command
    click.echo(maker(root, {}, "streamhedge", "_STREAMHEDGE_COMPLETE").source())
