"""The commands. Data on stdout, commentary on stderr; exit codes as in ``exits``."""

from __future__ import annotations

import json as jsonlib
import os
import secrets
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import uvloop

from streamhedge import __version__
from streamhedge.errors import ConfigError, NotRunning, StreamhedgeError
from streamhedge.ops.exits import FAILURE, OK, exit_of, exit_of_trade
from streamhedge.settings.config import load_config
from streamhedge.settings.units import milliseconds

Command = TypeVar("Command", bound=Callable[..., Any])


def shared(command: Command) -> Command:
    """Add the options that every command takes, before and after its name."""
    for option in (
        click.option(
            "-c", "--config", "configs", multiple=True, type=click.Path(path_type=Path), help="TOML; later wins."
        ),
        click.option("--set", "sets", multiple=True, help="One value: a.b=v."),
        click.option("--json", "as_json", is_flag=True, help="JSON on stdout."),
        click.option("--quiet", is_flag=True, help="Warnings only."),
        click.option("-v", "--verbose", is_flag=True, help="More."),
        click.option("--no-color", is_flag=True, help="No colours."),
        click.option("--state-dir", type=click.Path(path_type=Path), help="Where ledgers and recordings live."),
    ):
        command = option(command)
    return command


class Common:
    """The shared options, from both sides of the command's name."""

    def __init__(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        self.configs = [*before.get("configs", ()), *after["configs"]]
        self.sets = [*before.get("sets", ()), *after["sets"]]
        self.json = bool(before.get("as_json") or after["as_json"])
        self.quiet = bool(before.get("quiet") or after["quiet"])
        self.colour = not (before.get("no_color") or after["no_color"])
        self.state_dir: Path = after["state_dir"] or before.get("state_dir") or default_state_dir()


def default_state_dir() -> Path:
    """Return the per-user state folder (XDG)."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "streamhedge"


def common_of(said: dict[str, Any]) -> Common:
    """Take the shared options out of a command's arguments."""
    names = ("configs", "sets", "as_json", "quiet", "verbose", "no_color", "state_dir")
    context = click.get_current_context()
    parent = context.find_root().params if context.parent is not None else {}
    return Common(dict(parent), {name: said.pop(name) for name in names})


def out(data: Any) -> None:
    """Write JSON to stdout."""
    click.echo(jsonlib.dumps(data))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamhedge")
@shared
def cli(**said: Any) -> None:
    """Keep a bitcoin float neutral with a perpetual-futures short."""


# ---------------------------------------------------------------- run, sim


@cli.command()
@shared
@click.option("--venue", type=click.Choice(["sim", "demo", "live"]), help="Overrides the config's venue.")
@click.option("--live", is_flag=True, help="Real money: needed beside venue live.")
@click.option("--shadow", is_flag=True, help="Rules run, orders are withheld.")
@click.option("--duration", help="Stop after so long, e.g. 30s.")
@click.option("--record", type=click.Path(path_type=Path), help="Where the recording goes.")
@click.option("--tape", help="Sim: calm, crash-2021-05-19, rally-2021-05-19, or a CSV.")
@click.option("--speed", help="Sim: how much faster prices run.")
@click.option("--seed", help="Sim: seed.")
@click.option("--fault", "faults", multiple=True, help="Sim: ID=value[@seconds][*count].")
@click.option("--story/--no-story", default=None, help="Play the demo's trades and faults (default without -c).")
def run(**said: Any) -> None:
    """Run the hedger in the foreground."""
    from streamhedge.ops.lines import Lines
    from streamhedge.ops.runner import Plan, startup_lines
    from streamhedge.ops.runner import run as run_plan

    common = common_of(said)
    sets = list(common.sets)
    for name in ("tape", "speed", "seed"):
        if said[name] is not None:
            sets.append(f"sim.{name}={said[name]}")
    if said["venue"] is not None:
        sets.append(f"venue={said['venue']}")
    config = load_config(common.configs, sets, os.environ)
    lines = Lines(quiet=common.quiet, colour=common.colour)
    if not common.configs:
        click.echo("no -c given: running the packaged demo.toml against the built-in exchange", err=True)
    length_s = milliseconds(said["duration"]) / 1_000 if said["duration"] else None
    story = said["story"] if said["story"] is not None else not common.configs
    plan = Plan(
        config=config,
        state_dir=common.state_dir,
        record_dir=said["record"],
        duration_s=length_s if length_s is not None or not story else 30.0,
        faults=list(said["faults"]),
        story=story,
        shadow=said["shadow"],
        live=said["live"],
        env=dict(os.environ),
    )
    startup_lines(plan, lines)
    summary = uvloop.run(run_plan(plan, lines))
    if common.json:
        out(summary)
    else:
        click.echo(summary_text(summary))
    sys.exit(OK if summary["pass"] else FAILURE)


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
    for row in summary["blocked"]:
        rows.append(("blocked", f"{row['symbol']} {row['reason']}; remedy: {row['remedy']}"))
    text = "\n".join(f"{name:<14} {value}" for name, value in rows)
    return f"{text}\n{'PASS' if summary['pass'] else 'FAIL ' + summary['reason']}"


@cli.command()
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


# ---------------------------------------------------------------- talking to a running process


def running_name(common: Common) -> str:
    """Return the name of the account whose process is meant: the config's, or the only one running."""
    from streamhedge.settings.secrets import fingerprint, load_secret
    from streamhedge.store.lock import lock_folder

    if common.configs:
        settings = load_config(common.configs, common.sets, os.environ).settings
        if settings.keys is not None:
            return f"{settings.venue}-{fingerprint(load_secret('api_key', settings.keys.api_key, os.environ))}"
    names = [path.stem for path in sorted(lock_folder().glob("*.sock"))]
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotRunning("no streamhedge runs here; start it with `streamhedge run`")
    raise NotRunning(f"several run ({', '.join(names)}): say which with -c FILE")


def asked(common: Common, request: dict[str, Any], timeout_s: float = 15.0) -> dict[str, Any]:
    """Ask the running process; leave with its exit code when it refuses."""
    from streamhedge.ops.control import ask

    answer = ask(running_name(common), request, timeout_s=timeout_s)
    if "error" in answer:
        click.echo(f"error: {answer['error']}", err=True)
        if common.json:
            out(answer)
        sys.exit(int(answer.get("exit", FAILURE)))
    return answer


@cli.command()
@shared
def status(**said: Any) -> None:
    """Show the running hedger."""
    common = common_of(said)
    answer = asked(common, {"verb": "status"})
    if common.json:
        out(answer)
        return
    click.echo(status_text(answer))


def status_text(answer: dict[str, Any]) -> str:
    """Return one screen."""
    rows = [
        f"{answer['trading_state']}  book {answer['book_status']} ({answer['book_reason']})  pid {answer['pid']}  "
        f"venue {answer['venue']}  up {answer['uptime_s']} s"
    ]
    rows += [f"  because {reason}" for reason in answer["trading_reasons"]]
    for hedge in answer["hedges"]:
        rows += [
            f"{hedge['symbol']} {hedge['symbol_state']}  float {hedge['float']}  position {hedge['position']}  "
            f"target {hedge['target']}  gap {hedge['gap_low']}..{hedge['gap_high']}  dust {hedge['dust']}",
            f"  naked {hedge['naked_btc']} BTC = {hedge['naked_usd']} USD   mark {hedge['mark_price']} "
            f"({hedge['mark_age_ms']} ms old)   net delta {hedge['net_delta_usd']} USD",
            f"  liquidation {hedge['liquidation_price']} (venue says {hedge['venue_liquidation_price']})   distance "
            f"{hedge['liquidation_distance']}   joint {hedge['joint_distance']}   ladder {hedge['ladder']}",
        ]
        if hedge["in_doubt"]:
            rows.append(f"  in doubt: {', '.join(hedge['in_doubt'])}")
    rows += [f"BLOCKED {row['symbol']}: {row['reason']}; remedy {row['remedy']}" for row in answer["blocked"]]
    ages = "  ".join(f"{stream['name']} {stream['state']} {stream['age_ms']} ms" for stream in answer["streams"])
    rows.append(f"streams {ages}  clock offset {answer['clock_offset_ms']} ms")
    return "\n".join(rows)


@cli.group()
@shared
def trade(**said: Any) -> None:
    """Book a float trade."""


def _trade_command(kind: str, unit: str) -> None:
    @trade.command(kind)
    @shared
    @click.argument("amount", metavar=unit)
    @click.option("--id", "name", help="Idempotent: the same id is booked once.")
    @click.option("--btc", help="What was bought, where it differs from USD / price.")
    @click.option("--price", help="The price it was done at; the mark without.")
    @click.option("--asset", default="BTC")
    @click.option("--reason", default="")
    @click.option("--yes", is_flag=True, help="I mean it, although it is large or far from the mark.")
    def command(**said: Any) -> None:
        common = _both(common_of(said))
        words = ("amount", "btc", "price")
        for word in words:
            check_number(word, said[word], above_zero=word != "amount" or kind not in ("set", "set-usd"))
        _book(common, {"kind": kind, **{word: said[word] for word in words}, **_rest(said)}, said["name"])

    command.help = f"Book a {kind} of {unit}."


def _rest(said: dict[str, Any]) -> dict[str, Any]:
    return {"asset": said["asset"], "reason": said["reason"], "yes": said["yes"]}


def _both(common: Common) -> Common:
    """Take the options between `trade` and its kind too."""
    context = click.get_current_context().parent
    if context is not None:
        common.json = common.json or bool(context.params.get("as_json"))
        common.configs = [*common.configs, *context.params.get("configs", ())]
    return common


def _book(common: Common, request: dict[str, Any], name: str | None) -> None:
    name = name or f"ft-{secrets.token_hex(4)}"
    click.echo(f"id={name}", err=True)
    answer = asked(common, {"verb": "trade", "id": name, **request})
    hedge = answer["hedge"]
    if common.json:
        out(answer)
    else:
        again = " (was booked before; nothing changed)" if answer["duplicate"] else ""
        click.echo(f"float {answer['float_before']} -> {answer['float_after']}{again}")
        click.echo(
            f"hedge {hedge['status']} {hedge['reason']}: filled {hedge['filled']} at {hedge['average_price']}, slippage "
            f"{hedge['slippage_bps']} bp, naked {hedge['naked_usd']} USD, neutral after {hedge['time_to_neutral_ms']} ms"
        )
    sys.exit(exit_of_trade(answer))


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


for _kind, _unit in (
    *(("buy", "USD"), ("sell", "BTC"), ("deposit", "BTC"), ("withdraw", "BTC"), ("set", "BTC")),
    *(("deposit-usd", "USD"), ("withdraw-usd", "USD"), ("set-usd", "USD")),
):
    _trade_command(_kind, _unit)


@trade.command("void")
@shared
@click.argument("trade_id", metavar="ID")
@click.option("--reason", default="")
@click.option("--asset", default="BTC")
def void(**said: Any) -> None:
    """Undo a float trade by its inverse."""
    common = _both(common_of(said))
    request = {"kind": "void", "voids": said["trade_id"], "reason": said["reason"], "asset": said["asset"]}
    _book(common, request, f"void-{said['trade_id']}")


def _verb_command(verb: str, text: str) -> None:
    @cli.command(verb, help=text)
    @shared
    @click.option("--symbol", help="One symbol; all without.")
    @click.option("--reason", required=True, help="Stands in the journal.")
    def command(**said: Any) -> None:
        common = common_of(said)
        answer = asked(common, {"verb": verb, "symbol": said["symbol"], "reason": said["reason"]})
        out(answer) if common.json else click.echo(status_text(answer))


_verb_command("halt", "Send no order any more, latched until `resume`.")
_verb_command("reduce", "Send reduce-only orders only.")
_verb_command("resume", "Clear a halt, a reduce, or with --symbol a latched block.")


# ---------------------------------------------------------------- recordings, config


@cli.command()
@shared
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--until", type=int, help="Stop after this input.")
def replay(**said: Any) -> None:
    """Feed recordings through the live code path."""
    import time

    from streamhedge.live.recordings import replay_files

    common = common_of(said)
    start = time.perf_counter()
    found = replay_files(said["files"], until=said["until"], on_cut=lambda text: click.echo(text, err=True))
    seconds = round(time.perf_counter() - start, 3)
    result = {
        **{"events": found.events, "decisions": found.decisions, "digest": found.digest},
        **{"diverged": found.diverged, "seconds": seconds},
    }
    if common.json:
        out(result)
    else:
        click.echo(f"{found.events} events, {found.decisions} decisions in {seconds} s, digest {found.digest}")
        if found.diverged is not None:
            click.echo(f"DIVERGED at input {found.diverged['seq']}: {found.diverged}")
    sys.exit(OK if found.diverged is None else FAILURE)


@cli.group()
def config() -> None:
    """Look at the configuration."""


@config.command("check")
@shared
def config_check(**said: Any) -> None:
    """Check a configuration and say what is wrong."""
    common = common_of(said)
    found = load_config(common.configs, common.sets, os.environ)
    out({"ok": True, "hash": found.hash()}) if common.json else click.echo(f"ok {found.hash()}")


@config.command("show")
@shared
def config_show(**said: Any) -> None:
    """Print effective values and where each comes from."""
    common = common_of(said)
    rows = load_config(common.configs, common.sets, os.environ).show()
    if common.json:
        out([{"key": key, "value": value, "origin": origin} for key, value, origin in rows])
        return
    for key, value, origin in rows:
        click.echo(f"{key} = {value}   # {origin}")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command; every error of ours is one message and an exit code."""
    try:
        cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except StreamhedgeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(exit_of(error))
    except BrokenPipeError:
        sys.exit(FAILURE)
    sys.exit(OK)


__all__ = ["ConfigError", "main"]
