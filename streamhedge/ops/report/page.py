"""The report's page: one file, every byte inline, nothing fetched.

Scripts run by their hash alone, so that text of the venue could not run even if it got past the escaping.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from importlib import import_module, resources
from typing import Any

from streamhedge.domain.order import Order
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, ZERO, ClientOrderId
from streamhedge.errors import ConfigError
from streamhedge.live.status import slippage_basis_points
from streamhedge.ops.report.attribution import attribution_rows, cost_of_hedge, summed
from streamhedge.ops.report.charts import CAUSE_COLOURS, OTHER_CAUSE, Chart, charts_of, clock, shown, waited_ms
from streamhedge.ops.report.history import NOTES_MOST, ORDERS_MOST, History
from streamhedge.ops.report.table import utc

NONE = "–"


def page(history: History) -> str:
    """Return the whole page.

    Raises:
        ConfigError: plotly is not installed.
    """
    library, script = _plotly(), _own("page.js")
    hedges = list(history.policy.hedges) if history.policy is not None else []
    drawn: list[dict[str, Any]] = []
    parts = [_head(history), _checks(history), _figures(history), _causes(history)]
    for hedge in hedges:
        if len(hedges) > 1:
            parts.append(f'<h2 class="hedge">{shown(hedge.asset)} on {shown(hedge.symbol)}</h2>')
        parts += [_chart(chart, hedge.symbol, history, drawn) for chart in charts_of(history, hedge)]
    if not hedges:
        parts.append(
            '<p class="empty" id="empty-hedges">no hedge in this recording: a book that was read, nothing to plot</p>'
        )
    parts += [_attribution(history), _orders(history), _events(history), _facts(history)]
    title = f"streamhedge report {utc(history.first_ns)}" if history.inputs else "streamhedge report"
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(library, script)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">',
            f'<link rel="icon" href="data:,">\n<title>{shown(title)}</title>',
            f"<style>\n{_own('page.css')}</style>\n</head>\n<body>\n<main>",
            *parts,
            "</main>",
            f'<script type="application/json" id="charts">{inline_json(drawn)}</script>',
            f"<script>{library}</script>\n<script>{script}</script>",
            "</body>\n</html>\n",
        )
    )


# ---------------------------------------------------------------- what the page is made of


def _plotly() -> str:
    try:
        text: str = import_module("plotly.offline").get_plotlyjs()
    except ImportError as error:
        raise ConfigError(
            "the report needs plotly, which is not installed; get it with: pip install 'streamhedge[report]'"
        ) from error
    assert "</script" not in text and "\r" not in text, "the library must stand inline as it is, or its hash is another"
    return text


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts
    )
    # Styles cannot go by hash: the library sets them as it draws.
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def inline_json(drawn: list[dict[str, Any]]) -> str:
    """Write data for a script element: no text in it can end the element."""
    text = json.dumps(drawn, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _chart(chart: Chart, symbol: str, history: History, drawn: list[dict[str, Any]]) -> str:
    title = f"<figcaption><h2>{shown(chart.title)}</h2>\n"
    if not chart.traces:
        return (
            f'<figure>{title}</figcaption>\n<p class="empty" id="empty-{chart.name}">{shown(chart.empty)}</p></figure>'
        )
    place = f"plot-{chart.name}-{len(drawn)}"
    margin_ns = (history.last_ns - history.first_ns) // 60 + NS_PER_MS
    span = [clock(history.first_ns - margin_ns), clock(history.last_ns + margin_ns)]
    drawn.append({"id": place, "range": span, "traces": chart.traces, "layout": chart.layout})
    return (
        f'<figure>{title}<p class="says">{shown(chart.says)}</p></figcaption>\n'
        f'<div class="plot" id="{place}" role="img" aria-label="{shown(f"{chart.title}, {symbol}")}"></div></figure>'
    )


# ---------------------------------------------------------------- the head


def _head(history: History) -> str:
    if not history.inputs:
        return (
            "<header><h1>Hedge report</h1>\n<p>There is no input in this recording: nothing to show yet.</p></header>"
        )
    seconds = Decimal(history.last_ns - history.first_ns) / NS_PER_SECOND
    return (
        f"<header><h1>Hedge report</h1>\n<p>{shown(history.venue or 'unknown venue')}, "
        f"{utc(history.first_ns)[:19].replace('T', ' ')} to {utc(history.last_ns)[:19].replace('T', ' ')} UTC "
        f"({_length(seconds)}), {history.inputs:,} inputs"
        f"{f' of {history.runs} runs' if history.runs > 1 else ''}. All times are UTC. "
        "Drag across a chart to zoom all of them, double-click to see the whole again.</p>"
        "<noscript><p>The charts need JavaScript; figures and tables do not.</p></noscript></header>"
    )


def _length(seconds: Decimal) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3_600
    return f"{minutes:.1f} min" if minutes < 120 else f"{hours:.1f} h"


def _checks(history: History) -> str:
    """Return what went well and what did not, in words first and colour second."""
    summary, totals = history.summary, history.totals
    rows: list[tuple[bool | None, str]] = [(False, text) for text in history.trouble]
    if not any("parted" in text for text in history.trouble):
        rows.append(
            (history.checkpoints > 0 or None, f"replays to the same state at {history.checkpoints} checkpoints")
        )
    if summary and history.inputs:
        kept = "; ".join(f"{row['symbol']}: {row['reason']}" for row in summary["blocked"])
        rows.append(
            (
                summary["in_band"],
                "in band at the end"
                if summary["in_band"]
                else f"outside the band at the end{f' ({kept})' if kept else ''}",
            )
        )
        rows.append(
            (
                not summary["in_doubt"],
                f"{summary['in_doubt'] or 'no'} order{'s' * (summary['in_doubt'] != 1)} in doubt at the end",
            )
        )
        rows.append(
            (
                not totals.liquidations,
                f"liquidated {totals.liquidations} times" if totals.liquidations else "never liquidated",
            )
        )
        trading = summary["trading_state"]
        why = "; ".join(summary["trading_reasons"])
        rows.append((trading == "ACTIVE", f"trading state {trading}{f': {why}' if why else ''}"))
    marks = {True: ("good", "✓"), False: ("bad", "✗"), None: ("unknown", "?")}
    items = "".join(f'<li class="{marks[good][0]}">{marks[good][1]} {shown(text)}</li>' for good, text in rows)
    return f'<ul class="checks">{items}</ul>'


def _figures(history: History) -> str:
    summary, totals = history.summary, history.totals
    if not summary or not history.inputs:
        return ""
    rows: list[tuple[str, str, str]] = []
    several = len(history.hedges) > 1
    for hedge in history.hedges:
        of = f"{hedge['symbol']} " if several else ""
        rows += [
            (f"{of}float", f"{hedge['float']} {hedge['asset']}", f"target {hedge['target']}"),
            (f"{of}position", f"{hedge['position']} {hedge['asset']}", f"dust {hedge['dust']}"),
            (f"{of}naked now", _usd(hedge["naked_usd"]), "in band" if hedge["in_band"] else hedge["hold"] or "outside"),
        ]
    spent = sum(totals.naked_usd_seconds.values(), ZERO)
    answered, filled = waits(history)
    distance = NONE if history.min_distance is None else f"{history.min_distance * 100:.2f} %"
    rows += [
        ("naked at most", _usd(history.max_naked_usd), f"{spent:,.2f} USD·s above the band"),
        (
            "orders sent",
            f"{totals.orders_sent}",
            f"{totals.doubted} in doubt, {totals.refused} refused, {totals.ghosts} ghosts",
        ),
        (
            "least liquidation distance",
            distance,
            f"venue closes: {totals.venue_closes}, liquidated: {totals.liquidations}",
        ),
        ("event to answer", _percentiles(answered), f"{len(answered)} orders, p50 / p99"),
        ("event to filled", _percentiles(filled), f"{len(filled)} orders, p50 / p99"),
        ("funding", f"{totals.funding:+,.2f} USDT", "+ received, − paid"),
        ("fees", f"{totals.fees:,.2f} USDT", f"realised {totals.realised_pnl:+,.2f} USDT on the short"),
        ("reconnects", f"{history.counts['reconnect']}", f"silent streams: {history.counts['silent']}"),
        (
            "not understood",
            f"{totals.quarantined}",
            f"frames; figures adopted: {totals.adoptions}",
        ),
    ]
    cells = "".join(
        f"<div><dt>{shown(name)}</dt><dd>{shown(value)}<small>{shown(more)}</small></dd></div>"
        for name, value, more in rows
    )
    return f'<dl class="figures">{cells}</dl>'


def waits(history: History) -> tuple[list[Decimal], list[Decimal]]:
    """Return sorted milliseconds from event to answer and from event to the last fill, over the orders kept."""
    answered = [waited_ms(history.answered_ns.get(name), order) for name, order in history.orders.items()]
    filled = [waited_ms(order.ended_ns, order) for order in history.orders.values() if order.filled > 0]
    return sorted(one for one in answered if one is not None), sorted(one for one in filled if one is not None)


def _percentiles(sorted_ms: Sequence[Decimal]) -> str:
    if not sorted_ms:
        return NONE
    middle, late = (sorted_ms[min(len(sorted_ms) - 1, len(sorted_ms) * percent // 100)] for percent in (50, 99))
    return f"{middle:,.1f} / {late:,.1f} ms"


def _usd(value: Decimal | str | None) -> str:
    return NONE if value is None else f"{Decimal(value):,.2f} USD"


def _causes(history: History) -> str:
    spent = sorted(history.totals.naked_usd_seconds.items(), key=lambda row: -row[1])
    title = "<section><h2>Naked USD·s by cause</h2>\n"
    if not spent:
        return f'{title}<p class="empty" id="empty-causes">never naked above the band in this recording</p></section>'
    most = max(spent[0][1], Decimal(1))
    rows = "".join(
        f'<tr><td>{shown(cause.replace("_", " "))}</td><td class="number">{value:,.2f}</td>'
        f'<td class="bar" style="color:var({CAUSE_COLOURS.get(cause, OTHER_CAUSE)})"><span style="width:{value / most * 100:.1f}%"></span></td></tr>'
        for cause, value in spent
    )
    return (
        f'{title}<p class="says">Naked USD times seconds, while above the band, booked to the first cause in force.</p>'
        '<div class="scroll"><table><thead><tr><th>cause</th><th class="number">USD·s</th><th></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


# ---------------------------------------------------------------- tables


def _table(heads: Iterable[str], rows: str, *, place: str, label: str) -> str:
    cells = "".join(f"<th>{shown(head)}</th>" for head in heads)
    return (
        f'<div class="scroll" id="{place}" tabindex="0" role="region" aria-label="{shown(label)}"><table>'
        f"<thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _attribution(history: History) -> str:
    title = "<section><h2>Where the value went</h2>\n"
    if not history.attribution:
        return f'{title}<p class="empty" id="empty-attribution">no attribution in this recording</p></section>'

    def cells(words: Sequence[str], amount: Decimal) -> str:
        left = "".join(f"<td>{shown(word)}</td>" for word in words)
        return f'<tr>{left}<td class="number">{amount:+,.8f}</td></tr>'

    cost = "".join(cells((name,), amount) for name, amount in cost_of_hedge(summed(history.attribution)))
    rows = "".join(cells(row[:3], row[3]) for row in attribution_rows(history.attribution))
    depeg = ""
    if history.depeg is not None:
        depeg = (
            f'<p class="says" id="depeg">depeg: {shown(history.depeg["depeg_usd"])} USD. The hedge holds against the quote '
            f"asset, not against its own price: {shown(history.depeg['value'])} of it at "
            f"{shown(history.depeg['usd_per_quote'])} USD each, as configured.</p>"
        )
    return (
        f'{title}<p class="says">USDT, + is a gain. The lines of a day add up to the change of the treasury\'s value.</p>{depeg}'
        + _table(("what the hedge earned or cost", "USDT"), cost, place="cost", label="Cost of hedge")
        + _table(("run", "day, UTC", "line", "USDT"), rows, place="attribution", label="Attribution")
        + "</section>"
    )


def _orders(history: History) -> str:
    title = "<section><h2>Orders</h2>\n"
    if not history.orders:
        return f'{title}<p class="empty" id="empty-orders">no order in this recording</p></section>'
    left = history.orders_seen - len(history.orders)
    more = f'<p class="says">The last {ORDERS_MOST:,}; {left:,} earlier ones are left out.</p>' if left else ""
    rows = "".join(_order(history, name, order) for name, order in history.orders.items())
    heads = (
        "decided, UTC",
        "order",
        "filled",
        "average",
        "slip, bp",
        "status",
        "answer, ms",
        "filled, ms",
        "why",
        "id",
    )
    return f"{title}{more}{_table(heads, rows, place='orders', label='Orders')}</section>"


def _order(history: History, name: ClientOrderId, order: Order) -> str:
    average, slip = order.average_price, None
    if average is not None:
        slip = slippage_basis_points(side_sign=order.side.sign, average=average, decision_mark=order.decision_mark)
    answered = waited_ms(history.answered_ns.get(name), order)
    ended = waited_ms(order.ended_ns, order) if order.filled > 0 else None
    what = f"{order.side.value} {order.quantity:f} {order.symbol}{' reduce-only' if order.reduce_only else ''}"
    words = [
        (utc(order.decided_ns)[11:23], ""),
        (what, ""),
        (f"{order.filled:f}", "number"),
        (_to(average, 2), "number"),
    ]
    words += [
        (_to(slip, 2), "number"),
        (order.status.value, ""),
        (_to(answered, 2), "number"),
        (_to(ended, 2), "number"),
    ]
    words += [(order.reason + (f" ({order.error_message})" if order.error_message else ""), "text"), (name, "mono")]
    cells = "".join(f'<td class="{kind}">{shown(text)}</td>' for text, kind in words)
    return f"<tr>{cells}</tr>"


def _to(value: Decimal | None, places: int) -> str:
    return NONE if value is None else f"{value:,.{places}f}"


def _events(history: History) -> str:
    title = "<section><h2>Events</h2>\n"
    if not history.happenings:
        return f'{title}<p class="empty" id="empty-events">no event in this recording</p></section>'
    left = sum(history.counts.values()) - len(history.happenings)
    more = f'<p class="says">The last {NOTES_MOST:,}; {left:,} earlier ones are left out.</p>' if left else ""
    rows = "".join(
        f'<tr class="{one.note.level.value}"><td>{utc(one.recv_ns)[11:23]}</td><td class="number">{one.seq}</td>'
        f'<td class="level">{one.note.level.value}</td><td>{shown(one.note.code)}</td>'
        f'<td>{shown(one.note.symbol or "")}</td><td class="text">{shown(one.note.text)}</td></tr>'
        for one in history.happenings
    )
    buttons = (("", "all"), ("loud", "warnings and worse"), ("critical-only", "critical"))
    filters = "".join(
        f'<button type="button" value="{kind}" aria-pressed="{str(not kind).lower()}">{word}</button>'
        for kind, word in buttons
    )
    heads = ("time, UTC", "input", "level", "what", "symbol", "words")
    chooser = f'<div class="filter" role="group" aria-label="Which events">{filters}</div>'
    return f"{title}{more}{chooser}{_table(heads, rows, place='events', label='Events')}</section>"


def _facts(history: History) -> str:
    thinned = sum(len(samples) for samples in history.samples.values())
    rows = [
        ("recording", " ".join(history.files)),
        ("written by", f"streamhedge {', '.join(history.versions) or 'of unknown version'}"),
        ("config hash", ", ".join(history.config_hashes) or NONE),
        ("digest at the end", history.digest or NONE),
        ("samples", f"{thinned:,} in the CSV beside this page; charts thin them further and keep every peak"),
        ("event to sent", "not in a recording: when the first byte of an order left is known to the run alone"),
    ]
    cells = "".join(f'<dt>{shown(name)}</dt><dd class="mono">{shown(value)}</dd>' for name, value in rows)
    return f'<section><h2>Where this comes from</h2><dl class="facts">{cells}</dl></section>'
