"""`selftest`: every control, tripped once."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import uvloop

from streamhedge.ops.cli.options import common_of, example, out, shared
from streamhedge.ops.exits import FAILURE, OK


@click.command(epilog=example("streamhedge selftest", "streamhedge selftest --json | jq .controls[].control"))
@shared
def selftest(**said: Any) -> None:
    """Trip every control and every stop once against the built-in exchange, and report.

    It starts an exchange and a hedger of its own on loopback, with limits and books of their own; no running hedger and no
    configuration is touched. Exit 0 only when every control tripped and acted.
    """
    from streamhedge.ops.selftest import report_text, run_selftest

    common = common_of(said)
    common.say("tripping every control against an exchange of its own; half a minute")
    with tempfile.TemporaryDirectory(prefix="streamhedge-selftest-") as folder:
        rows = uvloop.run(run_selftest(Path(folder)))
    passed = all(row.passed for row in rows)
    if common.json:
        out({"pass": passed, "controls": [row.json() for row in rows]})
    else:
        click.echo(report_text(rows))
    sys.exit(OK if passed else FAILURE)


__all__ = ["selftest"]
