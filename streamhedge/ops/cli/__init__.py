"""The commands. Data on stdout, commentary on stderr; exit codes as in ``exits``."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, NoReturn

import click

from streamhedge import __version__
from streamhedge.errors import StreamhedgeError
from streamhedge.ops.cli.alerts import alerts
from streamhedge.ops.cli.configuration import completion, config, doctor, init
from streamhedge.ops.cli.control import flatten, halt, kill, may_buy, reduce, resume, status, top, trade
from streamhedge.ops.cli.options import example, shared
from streamhedge.ops.cli.recordings import decode, explain, replay, report
from streamhedge.ops.cli.run import run, sim
from streamhedge.ops.cli.selftest import selftest
from streamhedge.ops.cli.simulate import simulate
from streamhedge.ops.cli.tables import book, funding, journal, ledger, orders
from streamhedge.ops.exits import FAILURE, OK, exit_of
from streamhedge.ops.lines import inert

NAME = "streamhedge"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("streamhedge run --duration 30s", "streamhedge status", "streamhedge trade buy 10000"),
)
@click.version_option(__version__, prog_name=NAME)
@shared
def cli(**said: Any) -> None:
    """Keep a bitcoin float neutral with a perpetual-futures short."""


for _command in (
    *(run, sim, status, top, may_buy, trade, halt, reduce, resume, flatten, kill),
    *(book, orders, funding, journal, ledger, replay, explain, report, decode),
    *(config, init, doctor, completion, simulate, alerts, selftest),
):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command; every error of ours is one message and an exit code."""
    try:
        cli.main(args=arguments, prog_name=NAME, standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)  # it quotes what somebody typed, or a script passed on
        click.echo(_lines_of(said.getvalue()), nl=False, err=True)
        sys.exit(error.exit_code)
    except StreamhedgeError as error:
        click.echo(f"error: {_lines_of(str(error))}", err=True)
        sys.exit(exit_of(error))
    except BrokenPipeError:
        # The reader has gone; the interpreter must not complain about it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILURE)
    sys.exit(OK)


def _lines_of(text: str) -> str:
    """Return a message whose faults stand on lines of their own; anything else in it is made harmless."""
    return "\n".join(inert(row) for row in text.split("\n"))


__all__ = ["cli", "main"]
