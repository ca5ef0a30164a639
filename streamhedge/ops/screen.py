"""`status` as one screen: panels that fit a narrow terminal, an age beside every figure, the venue's own beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streamhedge.ops.lines import inert

STATE_STYLES = {
    **{"ACTIVE": "green", "REDUCING": "yellow", "HALTED": "bold red"},
    **{"LIVE": "green", "SYNCING": "yellow", "SUSPECT": "yellow", "COLD": "red"},
    **{"OPEN": "green", "REDUCE_ONLY": "yellow", "BLOCKED": "bold red"},
    **{"clear": "green", "warn": "yellow", "reduce": "red", "close": "bold red"},
}
OLD_MS = 10_000
Fields = Mapping[str, Any]


def screen(status: Fields) -> RenderableType:
    """Return the screen of `status --json`."""
    parts: list[RenderableType] = [_head(status)]
    if status["blocked"]:
        parts.append(_blocked(status["blocked"]))
    parts += [_hedge(hedge, status) for hedge in status["hedges"]]
    parts += [_account(status), _streams(status)]
    return Group(*parts)


def age(milliseconds: int | None) -> str:
    """Return an age as people read it."""
    if milliseconds is None:
        return "never"
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    if milliseconds < 120_000:
        return f"{milliseconds / 1_000:.1f} s"
    return f"{milliseconds // 60_000} min"


def percent(value: str | None) -> str:
    """Return a fraction in text as a percentage."""
    return "none" if value is None else f"{Decimal(value) * 100:.2f} %"


def rounded(value: Any, places: int) -> str:
    """Return a figure with so many decimals and its thousands apart."""
    return "unknown" if value is None else f"{round(Decimal(value), places):,f}".replace(",", " ")


def _head(status: Fields) -> Panel:
    text = Text()
    for word in (status["trading_state"], f"book {status['book_status']}"):
        text.append(word, style=STATE_STYLES.get(word.split()[-1], ""))
        text.append("   ")
    text.append(f"{status['book_reason']}\n", style="dim")
    text.append(
        f"venue {status['venue']}   pid {status['pid']}   version {status['version']}   up {age(int(status['uptime_s'] * 1_000))}"
    )
    if status["shadow"]:
        text.append("\nSHADOW: orders are withheld", style="yellow")
    for reason in status["trading_reasons"]:
        text.append(f"\nbecause {inert(str(reason))}", style="yellow")
    if status["trading_state"] == "HALTED":
        text.append(
            "\nno order goes out but a flatten's, and the ladder is off; resume once the cause is understood", "red"
        )
    return Panel(text, title="streamhedge", title_align="left", box=box.ROUNDED)


def cure(remedy: Fields) -> str:
    """Return what would let the margin carry the whole hedge."""
    return (
        f"post {rounded(remedy['top_up'], 2)} USDT, or sell {rounded(remedy['sell_quantity'], 4)} of the float, or sell "
        f"{rounded(remedy['sell_and_post_quantity'], 4)} and post the proceeds"
    )


def _blocked(rows: Sequence[Fields]) -> Panel:
    text = Text()
    for number, row in enumerate(rows):
        text.append("\n" if number else "")
        text.append(f"{row['symbol']} ", style="bold")
        text.append(inert(str(row["reason"])))
        if row["remedy"]:
            text.append(f"\n  remedy: {cure(row['remedy'])}")
    return Panel(text, title="blocked", title_align="left", border_style="yellow", box=box.ROUNDED)


def _hedge(hedge: Fields, status: Fields) -> Panel:
    mark = age(hedge["mark_age_ms"])
    held = age(hedge["position_age_ms"])
    grid = _grid()
    grid.add_row("float", f"{hedge['float']} {hedge['asset']}", "ledger")
    grid.add_row(
        "policy short", hedge["policy_short"], f"{_or_unknown(hedge['policy_open_usd'])} USD left open by policy"
    )
    grid.add_row("position", hedge["position"], f"entry {_or_unknown(hedge['entry_price'])}, {held} old")
    grid.add_row("target", hedge["target"], f"gap {_interval(hedge)}, dust {hedge['dust']}{_hold(hedge)}")
    naked = Text(f"{_or_unknown(hedge['naked_usd'])} USD", style="" if hedge["in_band"] else "bold yellow")
    grid.add_row(
        "naked", naked, f"{hedge['naked_btc']} {hedge['asset']}, {'in' if hedge['in_band'] else 'outside the'} band"
    )
    grid.add_row("net delta", f"{_or_unknown(hedge['net_delta_usd'])} USD", "")
    style = "red" if (hedge["mark_age_ms"] or 0) > OLD_MS else ""
    grid.add_row("mark", Text(_or_unknown(hedge["mark_price"]), style=style), f"{mark} old")
    grid.add_row(
        "liquidation",
        _or_unknown(hedge["liquidation_price"]),
        f"venue says {_or_unknown(hedge['venue_liquidation_price'])}, {held} old",
    )
    ladder = Text(percent(hedge["liquidation_distance"]), style=STATE_STYLES.get(hedge["ladder"], ""))
    grid.add_row(
        "distance", ladder, f"joint {percent(hedge['joint_distance'])}, ladder {hedge['ladder']}, mark {mark} old"
    )
    grid.add_row("unrealised", f"{_or_unknown(hedge['unrealized_pnl'])} USD", f"mark {mark} old")
    funding = status["funding"]["symbols"].get(hedge["symbol"])
    if funding is not None:
        grid.add_row("funding", *_funding(funding, mark))
    for stop in hedge["stops"]:
        grid.add_row(
            "stop",
            stop["trigger_price"],
            f"closes {stop['quantity']}, {stop['status']}, {age(stop['age_ms'])} old, {stop['client_order_id']}",
        )
    orders = ", ".join(hedge["open_orders"]) or "none"
    grid.add_row("orders", orders, f"in doubt: {', '.join(hedge['in_doubt']) or 'none'}")
    title = Text.assemble(hedge["symbol"], " ", (hedge["symbol_state"], STATE_STYLES.get(hedge["symbol_state"], "")))
    return Panel(grid, title=title, title_align="left", box=box.ROUNDED)


def _funding(funding: Fields, mark: str) -> tuple[str, str]:
    rate = "unknown" if funding["funding_rate"] is None else f"{Decimal(funding['funding_rate']) * 100:.4f} %"
    pays = funding["next_payment_if_held"]
    payment = "unknown" if pays is None else f"{Decimal(pays):+.2f}"
    due = datetime.fromtimestamp(funding["next_funding_time_ms"] / 1_000, UTC)
    hours = funding["interval_ms"] / 3_600_000
    return rate, f"per {hours:g} h; {payment} USD if held until {due:%H:%M:%S}Z; mark {mark} old"


def _account(status: Fields) -> Panel:
    account = status["account"]
    realised = f"{status['funding']['realised_usd']} USD this run"
    if account is None:
        return Panel("no snapshot yet", title="account", title_align="left", box=box.ROUNDED)
    old = f"{age(account['age_ms'])} old"
    grid = _grid()
    grid.add_row("wallet", f"{rounded(account['wallet_balance'], 2)} {account['asset']}", old)
    grid.add_row(
        "margin", rounded(account["margin_balance"], 2), f"available {rounded(account['available'], 2)}, {old}"
    )
    ratio = percent(account["margin_ratio"])
    grid.add_row("maintenance", rounded(account["maintenance_margin"], 2), f"margin ratio {ratio}, {old}")
    grid.add_row("funding", realised, "realised; + was received")
    depeg = status.get("depeg")
    if depeg is not None:
        at = f"{depeg['usd_per_quote']} USD per {account['asset']}, on {rounded(depeg['value'], 2)}"
        grid.add_row("depeg", f"{rounded(depeg['depeg_usd'], 2)} USD", at)
    advice = status.get("allocation")
    if advice is not None:
        said = f"{advice['suggestion']} {advice['amount']} {advice['unit']}"
        grid.add_row("float policy", said if advice["suggestion"] != "hold" else "hold", inert(advice["reason"]))
    return Panel(grid, title="account", title_align="left", box=box.ROUNDED)


def _streams(status: Fields) -> Panel:
    text = Text()
    for number, stream in enumerate(status["streams"]):
        text.append("   " if number else "")
        text.append(f"{stream['name']} {stream['state']} ", style="green" if stream["state"] == "open" else "red")
        text.append(age(stream["age_ms"]))
    offset = status["clock_offset_ms"]
    text.append(
        f"\nclock offset {'unknown' if offset is None else f'{offset} ms'}   recording {status.get('recording')}"
    )
    rate = status.get("rate") or {}
    if rate:
        text.append(
            "\nrate limits  " + "   ".join(f"{name} {row['used']}/{row['limit']}" for name, row in rate.items())
        )
    gap = status.get("gap")
    if gap is not None:
        end = "open" if gap["closed_ns"] is None else f"residual {'; '.join(gap['residual']) or '0'}"
        text.append(f"\nlast gap {gap['number']} ({'; '.join(gap['causes'])}): {end}")
    return Panel(text, title="streams", title_align="left", box=box.ROUNDED)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(justify="right", overflow="fold")
    grid.add_column(style="dim", overflow="fold")
    return grid


def _interval(hedge: Fields) -> str:
    low, high = hedge["gap_low"], hedge["gap_high"]
    return str(low) if low == high else f"{low} … {high}"


def _hold(hedge: Fields) -> str:
    return f", waiting: {hedge['hold']}" if hedge["hold"] else ""


def _or_unknown(value: Any) -> str:
    return "unknown" if value is None else str(value)
