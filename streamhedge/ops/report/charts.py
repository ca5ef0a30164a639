"""The report's charts as plain data for plotly.js. A colour is the name of a variable of page.css, resolved on the page.

Every series holds at most ``POINTS_MOST`` points and keeps its peaks. Steps, not slopes: a figure holds until the next input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any

from streamhedge.domain.order import Order, Side
from streamhedge.domain.values import NS_PER_MS, ClientOrderId
from streamhedge.ops.report.history import Happening, History, Sample
from streamhedge.ops.report.table import utc
from streamhedge.ops.report.thin import thin
from streamhedge.rules.params import HedgeParams

POINTS_MOST = 2_000
MARKERS_MOST = 500
FLOOR = Decimal(1)
"""Naked USD, or a distance in percent, below this is drawn at it: a log axis has no zero."""
ROUND = [digit * 10**power if power >= 0 else digit / 10**-power for power in range(-2, 6) for digit in (1, 2, 5)]
"""Ticks of a log axis that spans less than a few decades."""

Trace = dict[str, Any]
CAUSE_COLOURS = {
    "in_flight": "--blue",
    "in_doubt": "--red",
    "stale": "--orange",
    "reducing": "--yellow",
    "halted": "--ink",
    "blocked": "--purple",
    "venue": "--pink",
    "deciding": "--sky",
}
OTHER_CAUSE = "--green"


@dataclass(slots=True, frozen=True)
class Chart:
    """One chart: its words, and what plotly draws; without traces ``empty`` stands in its place."""

    name: str
    title: str
    says: str
    empty: str
    traces: list[Trace]
    layout: dict[str, Any]


def charts_of(history: History, hedge: HedgeParams) -> list[Chart]:
    """Return the charts of one hedge, in reading order."""
    samples = history.samples.get(hedge.symbol, [])
    happenings = [
        one for one in history.happenings if one.note.symbol in (hedge.symbol, None) and one.sample is not None
    ]
    orders = {name: order for name, order in history.orders.items() if order.symbol == hedge.symbol}
    return [
        _float_and_short(hedge, samples, happenings),
        _naked(history, hedge, samples),
        _distance(history, hedge, samples, happenings),
        _price(hedge, samples, orders),
        _funding(hedge, samples, happenings),
        _latency(history, hedge, orders),
    ]


# ---------------------------------------------------------------- parts


def clock(time_ns: int) -> str:
    """Return a time as plotly takes it: UTC without a zone."""
    return utc(time_ns).replace("T", " ").removesuffix("Z")


def shown(text: str) -> str:
    """Make foreign text safe to show: control and direction characters visible, markup inert."""
    visible = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return escape(visible, quote=True)


def _number(value: Decimal | None, places: int = 8) -> float | None:
    return None if value is None else float(round(value, places))


def _steps(
    name: str,
    samples: Sequence[Sample],
    figure: Callable[[Sample], Decimal | None],
    colour: str,
    *,
    dash: str = "solid",
    width: float = 2,
    unit: str,
    places: int = 8,
    **more: Any,
) -> Trace:
    points = thin(samples, POINTS_MOST, (figure,))
    return {
        **{"type": "scatter", "mode": "lines", "name": name},
        "x": [clock(sample.recv_ns) for sample in points],
        "y": [_number(figure(sample), places) for sample in points],
        "line": {"color": colour, "width": width, "dash": dash, "shape": "hv"},
        "hovertemplate": f"%{{y}} {unit}",
        **more,
    }


def _markers(
    name: str,
    points: Iterable[tuple[int, Decimal | None, str]],
    colour: str,
    shape: str,
    *,
    size: int = 10,
) -> list[Trace]:
    """Return the markers of (time, height, words), none when there is no point; the newest stay."""
    known = [(time_ns, height, words) for time_ns, height, words in points if height is not None][-MARKERS_MOST:]
    if not known:
        return []
    return [
        {
            **{"type": "scatter", "mode": "markers", "name": name},
            "x": [clock(time_ns) for time_ns, _, _ in known],
            "y": [_number(height) for _, height, _ in known],
            "text": [shown(words) for _, _, words in known],
            "marker": {"color": colour, "symbol": shape, "size": size, "line": {"color": "--page", "width": 1}},
            "hovertemplate": "%{text}",
        }
    ]


def _level(value: Decimal, words: str, colour: str, *, dash: str = "dash") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a horizontal line across the chart and its label."""
    line = {
        **{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": float(value), "y1": float(value)},
        **{"line": {"color": colour, "width": 1.5, "dash": dash}, "layer": "between"},
    }
    label = {
        **{"xref": "paper", "x": 1, "xanchor": "right", "y": float(value), "yanchor": "bottom", "showarrow": False},
        **{"text": words, "font": {"size": 11, "color": colour}, "bgcolor": "--card", "borderpad": 1},
    }
    return line, label


def _draw_levels(layout: dict[str, Any], levels: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Put lines on a log axis: a shape stands at the value itself, an annotation at its logarithm."""
    layout["shapes"] = [line for line, _ in levels]
    layout["annotations"] = [{**label, "y": math.log10(label["y"])} for _, label in levels]


def _axes(title: str, **more: Any) -> dict[str, Any]:
    return {"yaxis": {"title": {"text": title}, **more}}


# ---------------------------------------------------------------- charts


def _float_and_short(hedge: HedgeParams, samples: Sequence[Sample], happenings: Sequence[Happening]) -> Chart:
    traces: list[Trace] = []
    if samples:
        traces = [
            _steps("float", samples, lambda at: at.float_quantity, "--blue", width=5, unit=hedge.asset),
            _steps("short", samples, lambda at: -at.position, "--orange", unit=hedge.asset),
            _steps("target short", samples, lambda at: -at.target, "--ink", dash="dot", width=1.5, unit=hedge.asset),
        ]
        for name, codes, colour, shape in (
            ("float trade", ("float",), "--blue", "circle"),
            ("filled", ("filled",), "--orange", "diamond"),
            ("in doubt", ("in_doubt",), "--red", "triangle-up"),
            ("refused or not sent", ("refused", "voided"), "--purple", "x"),
            ("closed by the venue", ("venue_close",), "--pink", "star"),
            ("ladder", ("ladder",), "--yellow", "square"),
        ):
            points = [
                (
                    one.recv_ns,
                    one.sample.float_quantity if name == "float trade" else -one.sample.position,
                    one.note.text,
                )
                for one in happenings
                if one.note.code in codes and one.sample is not None
            ]
            traces += _markers(name, points, colour, shape)
    return Chart(
        name="float",
        title="Float against hedge",
        says=f"The short should lie on the target, and the target on the float, as far as the policy allows. {hedge.asset}.",
        empty="no float and no position in this recording",
        traces=traces,
        layout=_axes(hedge.asset, rangemode="tozero"),
    )


def _naked(history: History, hedge: HedgeParams, samples: Sequence[Sample]) -> Chart:
    def height(sample: Sample) -> Decimal | None:
        return None if sample.mark_price is None else max(sample.naked_usd, FLOOR)

    known = [sample for sample in samples if sample.mark_price is not None]
    traces: list[Trace] = []
    layout = _axes("USD, log scale", type="log", dtick=1, tickformat=",.0f")
    if known:
        points = thin(known, POINTS_MOST, (height,))
        traces.append(_steps("naked", points, height, "--faint", width=1.5, unit="USD", places=2))
        for cause in dict.fromkeys(sample.cause for sample in points if sample.cause):
            traces.append(_cause(cause, points, height))
        limits = history.policy.limits if history.policy is not None else None
        levels = [_level(hedge.band, f"band {hedge.band:,f} USD", "--green")]
        if limits is not None:
            levels.append(_level(limits.max_naked, f"max_naked {limits.max_naked:,f} USD", "--red"))
        _draw_levels(layout, levels)
    return Chart(
        name="naked",
        title="Net exposure",
        says="Naked USD: what is not hedged though it should be, at the worst outcome of the orders under way, "
        "coloured by the cause in force while above the band. Less than 1 USD is drawn at 1.",
        empty="no mark price in this recording, so no exposure in USD",
        traces=traces,
        layout=layout,
    )


def _cause(cause: str, points: Sequence[Sample], height: Callable[[Sample], Decimal | None]) -> Trace:
    """Return the stretches in which a cause was in force, each from its sample to the next."""
    x: list[str] = []
    y: list[float | None] = []
    dots: list[int] = []
    before = ""
    for sample, after in zip(points, [*points[1:], points[-1]], strict=True):
        if sample.cause == cause:
            value = _number(height(sample), 2)
            x += [clock(sample.recv_ns), clock(after.recv_ns), clock(after.recv_ns)]
            y += [value, value, None]
            # A dot where it begins: some causes last a millisecond, and a line that short cannot be seen.
            dots += [0 if before == cause else 7, 0, 0]
        before = sample.cause
    return {
        **{"type": "scatter", "mode": "lines+markers", "name": shown(cause.replace("_", " ")), "x": x, "y": y},
        "marker": {"color": CAUSE_COLOURS.get(cause, OTHER_CAUSE), "size": dots, "opacity": 1},
        "line": {"color": CAUSE_COLOURS.get(cause, OTHER_CAUSE), "width": 4, "shape": "hv"},
        "hoverinfo": "name",
    }


def _distance(
    history: History, hedge: HedgeParams, samples: Sequence[Sample], happenings: Sequence[Happening]
) -> Chart:
    def joint(sample: Sample) -> Decimal | None:
        return _percent(sample.joint_distance)

    known = [sample for sample in samples if sample.distance is not None or sample.joint_distance is not None]
    traces: list[Trace] = []
    layout = _axes("% of the mark price, log scale", type="log", tickvals=ROUND, ticksuffix=" %")
    if known and history.policy is not None:
        ladder = history.policy.ladder
        # Without a position there is no distance: the line breaks there.
        traces = [
            _steps("distance", samples, lambda at: _percent(at.distance), "--blue", unit="", places=3),
            _steps("joint distance", samples, joint, "--purple", dash="dot", unit="", places=3),
        ]
        points = [
            (one.recv_ns, _percent(one.sample.distance), one.note.text)
            for one in happenings
            if one.note.code == "ladder" and one.sample is not None
        ]
        traces += _markers("ladder step", points, "--red", "square")
        levels = [
            _level(ladder.warn * 100, f"warn {ladder.warn * 100:.0f} %", "--green", dash="dot"),
            _level(ladder.reduce * 100, f"reduce {ladder.reduce * 100:.0f} %", "--orange"),
            _level(ladder.close * 100, f"close {ladder.close * 100:.0f} %", "--red", dash="solid"),
        ]
        _draw_levels(layout, levels)
        reach = [
            _percent(value) or FLOOR for at in known for value in (at.distance, at.joint_distance) if value is not None
        ]
        lowest, highest = max(FLOOR, min(*reach, ladder.close * 60)), max(*reach, ladder.warn * 120)
        layout["yaxis"]["range"] = [float(lowest.log10()) - 0.03, float(highest.log10()) + 0.05]
    return Chart(
        name="distance",
        title="Liquidation distance and the ladder",
        says="How far the mark price must rise before the venue liquidates the short; joint: when every cross "
        "position moves together. At a step of the ladder the hedger acts.",
        empty="no position in this recording, so no liquidation price",
        traces=traces,
        layout=layout,
    )


def _percent(value: Decimal | None) -> Decimal | None:
    return None if value is None else max(FLOOR, value * 100)


def _price(hedge: HedgeParams, samples: Sequence[Sample], orders: dict[ClientOrderId, Order]) -> Chart:
    known = [sample for sample in samples if sample.mark_price is not None]
    traces: list[Trace] = []
    if known:
        traces = [_steps("mark price", known, lambda at: at.mark_price, "--ink", width=1.5, unit="USDT", places=2)]
        for side, colour, shape in ((Side.SELL, "--orange", "triangle-down"), (Side.BUY, "--blue", "triangle-up")):
            points = [
                (
                    order.ended_ns or order.decided_ns,
                    order.average_price,
                    f"{side.value} {order.filled:f} at {order.average_price:.2f}",
                )
                for order in orders.values()
                if order.side is side and order.average_price is not None
            ]
            traces += _markers(f"{side.value.lower()} filled", points, colour, shape, size=11)
    return Chart(
        name="price",
        title="Mark price and fills",
        says=f"{hedge.symbol}: the venue's mark price, and our fills at their average price.",
        empty="no mark price in this recording",
        traces=traces,
        layout=_axes("USDT", tickformat=",.0f"),
    )


def _funding(hedge: HedgeParams, samples: Sequence[Sample], happenings: Sequence[Happening]) -> Chart:
    paid = [one for one in happenings if one.note.code == "funding"]
    traces: list[Trace] = []
    if paid:
        traces = [
            _steps("funding received", samples, lambda at: at.funding_usd, "--green", unit="USDT", places=2),
            _steps(
                "fees paid", samples, lambda at: at.fees_usd, "--red", dash="dash", width=1.5, unit="USDT", places=2
            ),
            *_markers(
                "settlement",
                [(one.recv_ns, one.sample.funding_usd, one.note.text) for one in paid if one.sample is not None],
                *("--green", "circle"),
            ),
        ]
    return Chart(
        name="funding",
        title="Funding and fees",
        says="Summed over the recording, for the whole account: + received, − paid.",
        empty="no funding in this recording",
        traces=traces,
        layout=_axes("USDT, summed", zeroline=True),
    )


def _latency(history: History, hedge: HedgeParams, orders: dict[ClientOrderId, Order]) -> Chart:
    rows = list(orders.items())[-POINTS_MOST:]
    answered = [
        (order.decided_ns, waited_ms(history.answered_ns.get(name), order), f"{name} answered")
        for name, order in rows
        if name in history.answered_ns
    ]
    filled = [
        (order.decided_ns, waited_ms(order.ended_ns, order), f"{name} {order.status.value.lower()}")
        for name, order in rows
        if order.filled > 0 and order.ended_ns is not None
    ]
    traces: list[Trace] = []
    for name, points, colour, shape in (
        ("event to answer", answered, "--blue", "circle-open"),
        ("event to filled", filled, "--orange", "diamond"),
    ):
        for trace in _markers(name, points, colour, shape, size=9):
            traces.append({**trace, "hovertemplate": "%{y:.2f} ms  %{text}"})
    layout = _axes("ms, log scale", type="log", tickvals=ROUND)
    known = [height for _, height, _ in (*answered, *filled) if height is not None and height > 0]
    if known:
        # At least a decade, or the axis would show a single number.
        lowest, highest = math.log10(min(known)), math.log10(max(known))
        half = max((highest - lowest) / 2 + 0.1, 0.5)
        layout["yaxis"]["range"] = [(lowest + highest) / 2 - half, (lowest + highest) / 2 + half]
    return Chart(
        name="latency",
        title="Latency",
        says="From the input that led to an order to the venue's answer and to its last fill, as this machine received "
        "them. When the first byte left is not in a recording: the run's summary says it (event_to_sent_ms).",
        empty="no order was answered or filled in this recording",
        traces=traces,
        layout=layout,
    )


def waited_ms(until_ns: int | None, order: Order) -> Decimal | None:
    """Return milliseconds from an order's decision until a moment; None where that moment is not known."""
    return None if until_ns is None else Decimal(until_ns - order.decided_ns) / NS_PER_MS
