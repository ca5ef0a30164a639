"""`run` and `sim`: what runs in the foreground until it is stopped."""

from __future__ import annotations

import csv
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import uvloop

from streamhedge.errors import ConfigError
from streamhedge.ops.cli.options import common_of, example, out, shared
from streamhedge.ops.exits import FAILURE, OK
from streamhedge.ops.screen import cure
from streamhedge.settings.units import milliseconds

if TYPE_CHECKING:
    from streamhedge.ops.demo import TimedTrade


@click.command(
    epilog=example(
        "streamhedge run --duration 30s",
        "streamhedge run -c hedge.toml --venue demo --shadow",
        "streamhedge run --json",
    )
)
@shared
@click.option("--venue", type=click.Choice(["sim", "demo", "live"]), help="Overrides the config's venue.")
@click.option("--live", is_flag=True, help="Real money: needed beside venue live.")
@click.option("--shadow", is_flag=True, help="Rules run, orders are withheld.")
@click.option("--resume", is_flag=True, help="Lift a latched halt at the start; `resume --reason` does it later.")
@click.option("--takeover", is_flag=True, help="Take the account over from an older run elsewhere: that one halts.")
@click.option(
    "--accept-venue-truth", is_flag=True, help="Set a ledger that cannot be read aside and begin new books, REDUCING."
)
@click.option("--duration", help="Stop after so long, e.g. 30s.")
@click.option("--record", type=click.Path(path_type=Path), help="Where the recording goes.")
@click.option("--tape", help="Sim: calm, crash-2021-05-19, rally-2021-05-19, or a CSV.")
@click.option("--speed", help="Sim: how much faster prices run.")
@click.option("--seed", help="Sim: seed.")
@click.option("--fault", "faults", multiple=True, help="Sim: ID=value[@seconds][*count].")
@click.option(
    "--trades", type=click.Path(path_type=Path), help="Float trades to submit: seconds,kind,amount[,reason] a line."
)
@click.option("--web/--no-web", default=None, help="The local page; default on for sim, and where [web] stands.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page on loopback; 0 takes a free one.")
@click.option("--story/--no-story", default=None, help="Play the demo's trades and faults (default without -c).")
def run(**said: Any) -> None:
    """Run the hedger in the foreground."""
    from streamhedge.ops.hardening import masked_errors, no_dumps
    from streamhedge.ops.lines import Lines
    from streamhedge.ops.runner import Plan, startup_lines
    from streamhedge.ops.runner import run as run_plan

    no_dumps()
    common = common_of(said)
    for name in ("tape", "speed", "seed"):
        if said[name] is not None:
            common.sets.append(f"sim.{name}={said[name]}")
    if said["venue"] is not None:
        common.sets.append(f"venue={said['venue']}")
    config = common.config()
    if not common.configs:
        common.say("no -c given: running the packaged demo.toml against the built-in exchange")
    if said["takeover"] and sys.stdin.isatty():
        click.confirm(
            "Take the account over? An older run elsewhere halts at this one's first order", abort=True, err=True
        )
    if said["accept_venue_truth"] and sys.stdin.isatty():
        click.confirm("Begin new books where the ledger cannot be read? The damaged file is kept", abort=True, err=True)
    length_s = _seconds("--duration", said["duration"])
    story = said["story"] if said["story"] is not None else not common.configs
    plan = Plan(
        config=config,
        state_dir=common.state_dir,
        record_dir=said["record"],
        duration_s=length_s if length_s is not None or not story else 30.0,
        faults=list(said["faults"]),
        story=story,
        shadow=said["shadow"],
        resume=said["resume"],
        takeover=said["takeover"],
        accept_venue_truth=said["accept_venue_truth"],
        live=said["live"],
        trades=read_trades(said["trades"]) if said["trades"] is not None else [],
        env=dict(os.environ),
        web=said["web"],
        port=said["port"],
        again=common.config,
    )
    lines = Lines(quiet=common.quiet, verbose=common.verbose, colour=common.colour)
    try:
        with masked_errors(lines):
            startup_lines(plan, lines)
            summary = uvloop.run(run_plan(plan, lines))
    finally:
        lines.close()
    if common.json:
        out(summary)
    else:
        click.echo(summary_text(summary))
    sys.exit(OK if summary["pass"] or summary["stopped"] else FAILURE)


def _seconds(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return milliseconds(text) / 1_000
    except ValueError as error:
        raise click.UsageError(f"{option} {text}: {error}") from error


def _verdict(summary: dict[str, Any]) -> str:
    """Return the last line: a run that was stopped in the middle of something is no failure."""
    if summary["pass"]:
        return "PASS"
    return f"{'STOPPED' if summary['stopped'] else 'FAIL'} {summary['reason']}"


def summary_text(summary: dict[str, Any]) -> str:
    """Return a run's summary for people."""
    waits = summary["event_to_sent_ms"]
    naked = ", ".join(f"{cause} {value}" for cause, value in summary["naked_usd_seconds"].items()) or "none"
    rows = [
        ("float / short", f"{summary['float_btc']} BTC / {summary['position_btc']} BTC"),
        ("naked now", f"{summary['naked_usd']} USD, in band: {'yes' if summary['in_band'] else 'no'}"),
        ("naked at most", f"{summary['max_naked_usd']} USD; USD-seconds by cause: {naked}"),
        ("orders", f"{summary['orders_sent']} sent, {summary['doubted']} were in doubt, {summary['refused']} refused, "
         f"{summary['in_doubt']} in doubt now, {summary['duplicate_client_ids']} sent twice"),
        ("event to sent", f"p50 {waits['p50']} ms, p99 {waits['p99']} ms"),
        ("distance", f"{summary['min_liquidation_distance']} at the least; liquidated {summary['liquidated']}"),
        ("funding, fees", f"{summary['funding_usd']} USDT, {summary['fees_usd']} USDT"),
        ("streams", f"{summary['reconnects']} reconnects, {summary['venue_closes']} closes by the venue"),
        ("digest", summary["digest"]),
        ("recording", " ".join(summary["recording"])),
    ]  # fmt: skip
    if summary.get("report"):
        rows.append(("report", str(summary["report"])))
    if summary.get("depeg") is not None:
        depeg = summary["depeg"]
        rows.append(
            ("depeg", f"{depeg['depeg_usd']} USD, at {depeg['usd_per_quote']} USD per quote on {depeg['value']}")
        )
    for row in summary["blocked"]:
        remedy = f"; remedy: {cure(row['remedy'])}" if row["remedy"] else ""
        rows.append(("blocked", f"{row['symbol']} {row['reason']}{remedy}"))
    text = "\n".join(f"{name:<14} {value}" for name, value in rows)
    return f"{text}\n{_verdict(summary)}"


@click.command(epilog=example("streamhedge sim --port 9000 --tape calm", "streamhedge sim --fault O1=executed@5*2"))
@shared
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--tape", default="calm", help="calm, crash-2021-05-19, rally-2021-05-19, or a CSV.")
@click.option("--speed", default="1", help="How much faster prices run.")
@click.option("--seed", default=7)
@click.option("--wallet", default="400000", help="USDT in the account.")
@click.option("--funding-every", default="8h")
@click.option("--fault", "faults", multiple=True, help="ID=value[@seconds][*count], comma-separated.")
@click.option("--api-key", default="", help="A fixed API key; random without.")
@click.option("--api-secret", default="", help="A fixed API secret; random without.")
def sim(**said: Any) -> None:
    """Serve the simulated exchange on loopback."""
    from streamhedge.ops.simulated import serve_exchange

    common_of(said)
    uvloop.run(serve_exchange(**said))


def read_trades(path: Path) -> list[TimedTrade]:
    """Return the float trades of a CSV, in order of time.

    Raises:
        ConfigError: names file and line.
    """
    from streamhedge.domain.events import FloatTradeKind
    from streamhedge.ops.demo import TimedTrade

    kinds = [kind.value for kind in FloatTradeKind if kind is not FloatTradeKind.VOID]
    found = []
    try:
        rows = list(csv.reader(path.read_text().splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#") or (number == 1 and cells[0] == "seconds"):
            continue
        where = f"{path}:{number}"
        if len(cells) not in (3, 4):
            raise ConfigError(f"{where}: expected seconds,kind,amount[,reason], got {','.join(row)!r}")
        if cells[1] not in kinds:
            raise ConfigError(f"{where}: unknown kind {cells[1]!r}; one of {', '.join(kinds)}")
        at_s, amount = _figure(where, "seconds", cells[0]), _figure(where, "amount", cells[2])
        found.append(TimedTrade(float(at_s), cells[1], str(amount), cells[3] if len(cells) == 4 else ""))
    return sorted(found, key=lambda trade: trade.at_s)


def _figure(where: str, name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except ArithmeticError as error:
        raise ConfigError(f"{where}: {name} {text!r} is no number") from error
    if not value.is_finite() or value < 0:
        raise ConfigError(f"{where}: {name} {text} must be a number that is not negative")
    return value
