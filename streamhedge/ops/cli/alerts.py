"""`alerts`: what is open, who has seen it, and whether each channel delivers."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import Any

import click

from streamhedge.ops.cli.control import asked
from streamhedge.ops.cli.options import common_of, example, out, shared
from streamhedge.ops.exits import FAILURE, OK
from streamhedge.ops.lines import inert


@click.group(
    epilog=example("streamhedge alerts list", "streamhedge alerts ack 3", "streamhedge alerts test -c hedge.toml")
)
@shared
def alerts(**said: Any) -> None:
    """Show, acknowledge and try alerts."""


@alerts.command("list", epilog=example("streamhedge alerts list --json"))
@shared
def list_(**said: Any) -> None:
    """Show what is open in the running process and how each channel goes."""
    common = common_of(said)
    answer = asked(common, {"verb": "alerts"})
    if common.json:
        out(answer)
        return
    for row in answer["alerts"]:
        began = datetime.fromtimestamp(row["first_ms"] / 1_000, UTC)
        seen = "seen" if row["acknowledged"] else "not seen"
        subject = f"{row['code']} {row['symbol']}".strip()
        click.echo(
            inert(
                f"#{row['number']} {row['level']} {subject}, since {began:%H:%M:%S}Z, {row['times']}×, {seen}: {row['text']}"
            )
        )
    if not answer["alerts"]:
        click.echo("nothing is wrong")
    for row in answer["alert_channels"]:
        waiting = f", {row['waiting']} wait" if row["waiting"] else ""
        click.echo(f"{row['channel']} {row['state']}: {row['sent']} sent, {row['failed']} failed{waiting}")
    beat = answer["heartbeat"]
    if beat:
        why = f" ({beat['reason']})" if beat["reason"] else ""
        click.echo(inert(f"heartbeat {beat['state']}{why}: {beat['sent']} sent, {beat['failed']} failed"))


@alerts.command(epilog=example("streamhedge alerts ack", "streamhedge alerts ack 3"))
@shared
@click.argument("number", type=int, required=False)
def ack(**said: Any) -> None:
    """Say that a person has seen an alert, or all of them: it is not escalated then."""
    common = common_of(said)
    answer = asked(common, {"verb": "ack", "number": said["number"]})
    if common.json:
        out(answer)
    else:
        numbers = ", ".join(f"#{number}" for number in answer["acknowledged"])
        click.echo(f"acknowledged {numbers}" if numbers else "nothing was open")


@alerts.command(epilog=example("streamhedge alerts test -c hedge.toml"))
@shared
def test(**said: Any) -> None:
    """Send one message through every configured channel, and one heartbeat; exit 1 when one does not deliver."""
    import asyncio

    from streamhedge.domain.commands import Level
    from streamhedge.ops.alerts import channels_of, tried
    from streamhedge.ops.heartbeat import address_of, beaten

    common = common_of(said)
    config = common.config()
    channels = channels_of(config, os.environ)
    switch = address_of(config, os.environ)
    if not channels and switch is None:
        click.echo("no [[alert]] and no [heartbeat] is configured", err=True)
        sys.exit(FAILURE)
    rows = []
    for channel in channels:
        delivered = tried(channel.send, "streamhedge: test", "A test of this channel; nothing is wrong.", Level.INFO)
        rows.append({"channel": channel.name, "delivered": delivered})
    if switch is not None:
        rows.append({"channel": "heartbeat", "delivered": asyncio.run(beaten(switch))})
    if common.json:
        out({"channels": rows})
    else:
        for row in rows:
            outcome = "delivered" if row["delivered"] else "NOT delivered: check the address and the network"
            click.echo(f"{row['channel']}: {outcome}")
    sys.exit(OK if all(row["delivered"] for row in rows) else FAILURE)
