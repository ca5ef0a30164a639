"""Talking to the running process: status, may-buy, trade, halt, reduce, resume, flatten; and kill, which needs none."""

from __future__ import annotations

import os
import secrets
import sys
import time
from typing import Any

import click

from streamhedge.ops.cli.options import Common, check_number, common_of, example, out, running_name, shared
from streamhedge.ops.exits import FAILURE, OK, TIMEOUT, exit_of_trade
from streamhedge.ops.lines import inert

FLATTEN_WAIT_S = 30.0
POLL_S = 0.2


def heard(common: Common, request: dict[str, Any], timeout_s: float = 15.0) -> dict[str, Any]:
    """Ask the running process and return whatever it says."""
    from streamhedge.ops.control import ask

    name = running_name(common)
    common.detail(f"asking {name}: {request['verb']}")
    return ask(name, request, timeout_s=timeout_s)


def asked(common: Common, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the running process; leave with its exit code when it refuses."""
    return accepted(common, heard(common, request))


def accepted(common: Common, answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer, or leave with the exit code of its refusal."""
    if "error" in answer:
        click.echo(f"error: {inert(str(answer['error']))}", err=True)
        if common.json:
            out(answer)
        sys.exit(int(answer.get("exit", FAILURE)))
    return answer


@click.command(epilog=example("streamhedge status", "streamhedge status --json | jq .hedges[0].naked_usd"))
@shared
def status(**said: Any) -> None:
    """Show the running hedger: one screen, or JSON."""
    common = common_of(said)
    answer = asked(common, {"verb": "status"})
    show_status(common, answer)


def show_status(common: Common, answer: dict[str, Any]) -> None:
    """Print a status as JSON or as a screen."""
    from streamhedge.ops.screen import screen

    if common.json:
        out(answer)
    else:
        common.console().print(screen(answer))


@click.command(epilog=example("streamhedge top"))
@shared
def top(**said: Any) -> None:
    """Watch the running hedger: a live screen, twice a second; q ends it and nothing else."""
    from streamhedge.errors import CommandError
    from streamhedge.ops.control import ask

    common = common_of(said)
    name = running_name(common)
    try:
        from streamhedge.ops.top import Top
    except ModuleNotFoundError as error:
        raise CommandError("top needs a library: pip install 'streamhedge[top]'") from error
    Top(lambda: ask(name, {"verb": "status"}, timeout_s=3.0)).run()


@click.command("may-buy", epilog=example("streamhedge may-buy 10000", "streamhedge may-buy 10000 --json"))
@shared
@click.argument("usd", metavar="USD")
@click.option("--asset", default="BTC")
def may_buy(**said: Any) -> None:
    """Say whether the treasury may buy for so many USD now, and why not; exit 1 for no."""
    common = common_of(said)
    check_number("USD", said["usd"], above_zero=True)
    answer = asked(common, {"verb": "may-buy", "usd": said["usd"], "asset": said["asset"]})
    if common.json:
        out(answer)
    else:
        click.echo(may_buy_text(answer))
    sys.exit(OK if answer["allowed"] else FAILURE)


def may_buy_text(answer: dict[str, Any]) -> str:
    """Return the answer for people."""
    from streamhedge.ops.screen import percent

    rows = [
        "yes" if answer["allowed"] else f"no: {answer['reason']}",
        f"at most      {answer['max_usd']} USD now",
        f"would hedge  SELL {answer['hedge_quantity']} {answer['symbol']} in {answer['slices']} order(s), fee about {answer['fee_usd']} USD",
        f"then         liquidation distance {percent(answer['distance_after'])}, margin ratio {percent(answer['margin_ratio_after'])}",
        f"valid        {answer['valid_ms']} ms, at mark {answer['mark_price']}; advice, not a reservation",
    ]
    return "\n".join(rows)


# ---------------------------------------------------------------- float trades


@click.group(
    epilog=example('streamhedge trade buy 10000 --reason "rebalancing" --id ft-0007', "streamhedge trade sell 0.5")
)
@shared
def trade(**said: Any) -> None:
    """Book a float trade: what the treasury did, or is doing. The hedge follows."""


def _trade_command(kind: str, unit: str, sample: str) -> None:
    @trade.command(kind, help=f"Book a {kind} of {unit}.", epilog=example(f"streamhedge trade {kind} {sample}"))
    @shared
    @click.argument("amount", metavar=unit)
    @click.option("--id", "name", help="Idempotent: the same id is booked once.")
    @click.option("--btc", help="What was bought, where it differs from USD / price.")
    @click.option("--price", help="The price it was done at; the mark without.")
    @click.option("--asset", default="BTC")
    @click.option("--reason", default="")
    @click.option("--yes", is_flag=True, help="I mean it, although it is large or far from the mark.")
    def command(**said: Any) -> None:
        common = common_of(said)
        words = ("amount", "btc", "price")
        for word in words:
            check_number(word, said[word], above_zero=word != "amount" or kind not in ("set", "set-usd"))
        rest = {"asset": said["asset"], "reason": said["reason"], "yes": said["yes"]}
        _book(common, {"kind": kind, **{word: said[word] for word in words}, **rest}, said["name"])


for _kind, _unit, _sample in (
    ("buy", "USD", "10000 --price 67121.4"),
    ("sell", "BTC", "1.5"),
    ("deposit", "BTC", '0.25 --reason "mined"'),
    ("withdraw", "BTC", "0.25"),
    ("set", "BTC", '10.2 --reason "audit of 2026-11"'),
    ("deposit-usd", "USD", "50000"),
    ("withdraw-usd", "USD", "50000"),
    ("set-usd", "USD", "250000"),
):
    _trade_command(_kind, _unit, _sample)


@trade.command("void", epilog=example('streamhedge trade void ft-0007 --reason "booked twice"'))
@shared
@click.argument("trade_id", metavar="ID")
@click.option("--reason", default="")
@click.option("--asset", default="BTC")
def void(**said: Any) -> None:
    """Undo a float trade by its inverse; the history stays."""
    common = common_of(said)
    request = {"kind": "void", "voids": said["trade_id"], "reason": said["reason"], "asset": said["asset"]}
    _book(common, request, f"void-{said['trade_id']}")


def _book(common: Common, request: dict[str, Any], name: str | None) -> None:
    name = name or f"ft-{secrets.token_hex(4)}"
    click.echo(f"id={inert(name)}", err=True)
    answer = heard(common, {"verb": "trade", "id": name, **request})
    if "--yes" in str(answer.get("error")) and request["kind"] == "buy":
        # Before anybody says --yes: what the hedge of it would be (FAULTS F2).
        plan = heard(common, {"verb": "may-buy", "usd": request["amount"], "asset": request["asset"]})
        if "error" not in plan:
            click.echo(f"may-buy {request['amount']}:\n{may_buy_text(plan)}", err=True)
    accepted(common, answer)
    hedge = answer["hedge"]
    if common.json:
        out(answer)
    else:
        again = " (was booked before; nothing changed)" if answer["duplicate"] else ""
        click.echo(f"float {answer['float_before']} -> {answer['float_after']}{again}")
        click.echo(_hedge_text(hedge))
    sys.exit(exit_of_trade(answer))


def _hedge_text(hedge: dict[str, Any]) -> str:
    """Say what became of a trade's hedge; what did not happen is not mentioned."""
    reason = f" ({hedge['reason']})" if hedge["reason"] else ""
    parts = [f"hedge {hedge['status']}{reason}"]
    if hedge["average_price"] is not None:
        parts.append(f"filled {hedge['filled']} at {hedge['average_price']}, slippage {hedge['slippage_bps']} bp")
    parts.append(f"naked {hedge['naked_usd']} USD")
    if hedge["time_to_neutral_ms"] is not None:
        parts.append(f"neutral after {hedge['time_to_neutral_ms']} ms")
    return ", ".join(parts)


# ---------------------------------------------------------------- states


def _show_resume(common: Common, answer: dict[str, Any]) -> None:
    """Say what a resume leads to before it is done (FAULTS K7)."""
    from streamhedge.ops.screen import percent

    for row in answer["plan"]:
        first = row["first_order"] or f"nothing{', waits: ' + row['waits_for'] if row['waits_for'] else ''}"
        common.say(
            f"plan {row['symbol']}: position {row['position']}, target {row['target']}, gap {row['gap_usd']} USD, first "
            f"{first}, distance now {percent(row['liquidation_distance'])}, book {answer['book_status']}"
        )


def _verb_command(verb: str, text: str, *samples: str) -> click.Command:
    @click.command(verb, help=text, epilog=example(*samples))
    @shared
    @click.option("--symbol", help="One symbol; all without.")
    @click.option("--reason", required=True, help="Stands in the journal.")
    def command(**said: Any) -> None:
        common = common_of(said)
        if verb == "resume":
            _show_resume(common, asked(common, {"verb": "plan", "symbol": said["symbol"]}))
        answer = asked(common, {"verb": verb, "symbol": said["symbol"], "reason": said["reason"]})
        show_status(common, answer)

    return command


halt = _verb_command(
    "halt", "Send no order any more, latched until `resume`.", 'streamhedge halt --reason "venue looks wrong"'
)
reduce = _verb_command("reduce", "Send reduce-only orders only.", 'streamhedge reduce --reason "before the upgrade"')
resume = _verb_command(
    "resume",
    "Clear a halt, a reduce, or with --symbol a latched block, a flatten and the ladder's pace.",
    'streamhedge resume --reason "checked: all well"',
    'streamhedge resume --symbol BTCUSDT --reason "topped up"',
)


@click.command(
    epilog=example("streamhedge flatten", 'streamhedge flatten --confirm 3f9a01c2 --reason "closing the book"')
)
@shared
@click.option("--symbol", help="One symbol; all hedges without.")
@click.option("--confirm", metavar="TOKEN", help="The token of the plan; it lives 60 s.")
@click.option("--reason", default="", help="Stands in the journal; needed with --confirm.")
def flatten(**said: Any) -> None:
    """Close the hedge, in two steps: without --confirm it shows the plan and a token and does nothing.

    Reduce-only market orders in slices, also while HALTED. The symbol stays off until `resume --symbol`.
    """
    common = common_of(said)
    if said["confirm"] is None:
        _show_plan(common, asked(common, {"verb": "flatten", "symbol": said["symbol"]}))
        return
    request = {"verb": "flatten", "confirm": said["confirm"], "reason": said["reason"]}
    answer = asked(common, request)
    symbols = [hedge["symbol"] for hedge in answer["hedges"] if hedge["symbol"] == (said["symbol"] or hedge["symbol"])]
    ends = time.monotonic() + FLATTEN_WAIT_S
    while not _flat(answer, symbols) and time.monotonic() < ends:
        time.sleep(POLL_S)
        answer = asked(common, {"verb": "status"})
    show_status(common, answer)
    if _flat(answer, symbols):
        common.say("flat; the hedge is off until `streamhedge resume --symbol … --reason …`")
        sys.exit(OK)
    click.echo(f"not flat after {FLATTEN_WAIT_S:.0f} s: it goes on by itself; look at `streamhedge status`", err=True)
    sys.exit(TIMEOUT)


def _flat(status_answer: dict[str, Any], symbols: list[str]) -> bool:
    hedges = [hedge for hedge in status_answer["hedges"] if hedge["symbol"] in symbols]
    return all(hedge["position"] == "0" and not hedge["open_orders"] for hedge in hedges)


def _show_plan(common: Common, answer: dict[str, Any]) -> None:
    if common.json:
        out(answer)
        return
    for row in answer["plan"]:
        click.echo(
            f"{row['symbol']}  position {row['position']}: {row['side']} in {row['slices']} market order(s), reduce-only, "
            f"first {row['first_quantity']}; {row['notional_usd']} USD at mark {row['mark_price']} ({row['mark_age_ms']} ms "
            f"old), fee {row['fee_usd']}, realises {row['realised_pnl_usd']} USD; then {row['naked_usd_after']} USD of the "
            "float are unhedged"
        )
    click.echo("nothing was done. To do it:", err=True)
    click.echo(f"streamhedge flatten --confirm {answer['token']} --reason …")
    click.echo(f"within {answer['valid_s']:.0f} s", err=True)


# ---------------------------------------------------------------- kill


@click.command(
    epilog=example(
        'streamhedge kill --reason "runaway"', 'streamhedge kill -c hedge.toml --reason "host is going down" --json'
    )
)
@shared
@click.option("--reason", required=True, help="Stands in the ledger, and in the HALTED latch.")
def kill(**said: Any) -> None:
    """Stop the process without its help, and latch HALTED. Cancels our open orders one by one; never trades.

    SIGTERM, then SIGKILL after 250 ms. With -c it also cancels and asks the venue for the exposure. A restart comes up
    HALTED. An open short stays open and nobody watches it: look at its distance.
    """
    import asyncio

    from streamhedge.ops.kill import find_target, kill_process

    common = common_of(said)
    if not said["reason"].strip():
        raise click.UsageError("kill needs a --reason: it stands in the ledger; nothing was done")
    config = common.config() if common.configs else None
    target = find_target(config, common.state_dir, os.environ)
    report = asyncio.run(kill_process(target, reason=said["reason"], say=common.say))
    if common.json:
        out(report)
    else:
        click.echo(kill_text(report))
    sys.exit(FAILURE if report["problems"] else OK)


def kill_text(report: dict[str, Any]) -> str:
    """Return what a kill did, for people."""
    rows = [
        f"process      {report['process']}",
        f"latch        {'HALTED is in the ledger; a restart comes up HALTED' if report['halted'] else 'NOT written'}",
        *(f"order        {row['client_order_id']} {row['outcome']}" for row in report["cancelled"]),
        *(f"exposure     {row}" for row in report["exposure"]),
        *(f"PROBLEM      {problem}" for problem in report["problems"]),
    ]
    return "\n".join(rows)


__all__ = ["flatten", "halt", "kill", "may_buy", "reduce", "resume", "status", "trade"]
