"""Prometheus metrics: read from the hedger's own figures when scraped, written as text beside the loop.

The loop only copies plain numbers; the text is made in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from streamhedge import __version__
from streamhedge.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from streamhedge.ops.web.watch import Histogram, Watch

TRADING_STATES = ("ACTIVE", "REDUCING", "HALTED")
BOOK_STATUSES = ("COLD", "SYNCING", "LIVE", "SUSPECT")
PREFIX = "streamhedge_"
Figures = dict[str, Any]

GAUGES = {
    "float_btc": "Float by asset, base units.",
    "position_btc": "Position by symbol, signed base units; negative is short.",
    "gap_usd": "Work left to the hedge rule by symbol, quote units.",
    "naked_usd": "What should be hedged and is not, by symbol, quote units.",
    "liquidation_distance_ratio": "Smaller of own and joint liquidation distance by symbol, a fraction of the mark.",
}
"""Figures of one hedge."""
NAMES = (
    *("build_info", "trading_state", "book_status", *GAUGES, "naked_usd_seconds_total", "margin_ratio"),
    *("funding_usd_total", "hedge_latency_seconds", "orders_total", "orders_in_doubt", "stream_age_seconds"),
    *("stream_gaps_total", "reconnects_total", "clock_offset_seconds", "rate_weight_used_ratio", "loop_lag_seconds"),
    "control_triggers_total",
    "alerts_sent_total",
    "heartbeats_total",
    "notes_total",
)
"""Every metric there is, without the prefix: dashboards and alert rules may use these and no others."""


def figures(watch: Watch) -> Figures:
    """Copy what a scrape shows; runs on the loop and costs it well below a millisecond."""
    hedger = watch.hedger
    if hedger is None:
        return {}
    status = hedger.status()
    meter = hedger.core.state.meter
    return {
        "status": status,
        "naked_usd_seconds": dict(meter.naked_usd_seconds),
        "funding": meter.funding,
        "orders": {
            "sent": meter.orders_sent,
            "refused": meter.refused,
            "in_doubt": meter.doubted,
            "ghost": meter.ghosts,
        },
        "gaps": meter.resyncs,
        "reconnects": hedger.pump.session.state.reconnects,
        "lag_ms": hedger.core.state.lag_ms,
        "sent": watch.sent,
        "neutral": watch.neutral,
        "codes": dict(watch.codes),
        "alerts": dict(watch.alerts),
        "beats": dict(watch.beats),
        "weight_used": status.get("rate_weight_used_ratio"),
    }


async def exposition(watch: Watch) -> tuple[bytes, str]:
    """Return the text of a scrape and its content type.

    Raises:
        ConfigError: the library is not installed.
    """
    try:
        from prometheus_client import CONTENT_TYPE_LATEST
    except ModuleNotFoundError as error:
        raise ConfigError("metrics need a library: pip install 'streamhedge[metrics]'") from error

    return await asyncio.to_thread(rendered, figures(watch)), CONTENT_TYPE_LATEST


def rendered(copied: Figures) -> bytes:
    """Return the text of one scrape; safe beside the loop, for it reads what was copied."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        """One scrape's figures, as the library wants them."""

        def collect(self) -> Iterable[Metric]:
            return metrics(copied)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry)


def metrics(copied: Figures) -> list[Metric]:
    """Return the metrics of one scrape."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    info = InfoMetricFamily(f"{PREFIX}build", "What runs.")
    info.add_metric([], {"version": __version__})
    found: list[Metric] = [info]
    if not copied:
        return found
    status = copied["status"]

    def gauge(name: str, text: str, rows: Iterable[tuple[list[str], Any]], labels: list[str] | None = None) -> None:
        family = GaugeMetricFamily(PREFIX + name, text, labels=labels or [])
        for values, figure in rows:
            if figure is not None:
                family.add_metric(values, float(figure))
        found.append(family)

    def counter(name: str, text: str, rows: Iterable[tuple[list[str], Any]], labels: list[str] | None = None) -> None:
        family = CounterMetricFamily(PREFIX + name, text, labels=labels or [])
        for values, figure in rows:
            family.add_metric(values, float(figure))
        found.append(family)

    gauge("trading_state", "1 for the state in force.", _one_of(TRADING_STATES, status["trading_state"]), ["state"])
    gauge("book_status", "1 for the status in force.", _one_of(BOOK_STATUSES, status["book_status"]), ["status"])
    for name, text in GAUGES.items():
        gauge(
            name,
            text,
            [([row["asset"], row["symbol"]], _of(row, name)) for row in status["hedges"]],
            ["asset", "symbol"],
        )
    account = status["account"]
    gauge("margin_ratio", "Maintenance over margin balance.", [([], account["margin_ratio"] if account else None)])
    rows = [([cause], spent) for cause, spent in copied["naked_usd_seconds"].items()]
    counter("naked_usd_seconds", "Naked exposure times time, by cause.", rows, ["cause"])
    # Funding is paid as well as received, so the running total of this run may fall.
    gauge("funding_usd_total", "Funding of this run, quote units; + was received.", [([], copied["funding"])])
    found.append(_latency({"event_to_sent": copied["sent"], "trade_to_neutral": copied["neutral"]}))
    counter(
        "orders", "Orders of ours by what became of them.", [([k], v) for k, v in copied["orders"].items()], ["outcome"]
    )
    doubt = sum(len(row["in_doubt"]) for row in status["hedges"])
    gauge("orders_in_doubt", "Orders whose outcome is unknown now.", [([], doubt)])
    ages = [([row["name"]], None if row["age_ms"] is None else row["age_ms"] / 1_000) for row in status["streams"]]
    gauge("stream_age_seconds", "Time since each stream last delivered.", ages, ["stream"])
    counter("stream_gaps", "Gaps after which the book was made anew.", [([], copied["gaps"])])
    counter("reconnects", "Sockets opened again, by reason.", [(["closed"], copied["reconnects"])], ["reason"])
    offset = status["clock_offset_ms"]
    gauge("clock_offset_seconds", "Venue clock minus ours.", [([], None if offset is None else offset / 1_000)])
    gauge("rate_weight_used_ratio", "Share of the venue's request weight in use.", [([], copied["weight_used"])])
    gauge("loop_lag_seconds", "How late the loop ran its last tick.", [([], copied["lag_ms"] / 1_000)])
    trips = [([control], number) for control, number in status["controls"].items()]
    counter("control_triggers", "How often each control acted, by its id.", trips, ["control"])
    alerts = [([channel, outcome], number) for (channel, outcome), number in copied["alerts"].items()]
    counter("alerts_sent", "Alerts by channel and what became of them.", alerts, ["channel", "outcome"])
    beats = [([outcome], number) for outcome, number in copied["beats"].items()]
    counter("heartbeats", "Heartbeats by what became of them.", beats, ["outcome"])
    notes = [([code, level], number) for (code, level), number in copied["codes"].items()]
    counter("notes", "Notes by code and level.", notes, ["code", "level"])
    return found


def _one_of(words: tuple[str, ...], now: str) -> list[tuple[list[str], int]]:
    return [([word], int(word == now)) for word in words]


def _of(hedge: Figures, name: str) -> Any:
    if name == "liquidation_distance_ratio":
        read = [Decimal(hedge[key]) for key in ("liquidation_distance", "joint_distance") if hedge[key] is not None]
        return min(read, default=None)
    return hedge[{"float_btc": "float", "position_btc": "position"}.get(name, name)]


def _latency(stages: dict[str, Histogram]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    from streamhedge.ops.web.watch import LATENCY_BUCKETS_MS

    family = HistogramMetricFamily(f"{PREFIX}hedge_latency_seconds", "Latency by stage.", labels=["stage"])
    for stage, histogram in stages.items():
        below, rows = 0, []
        for most, count in zip((*LATENCY_BUCKETS_MS, None), histogram.counts, strict=True):
            below += count
            rows.append(("+Inf" if most is None else str(most / 1_000), below))
        family.add_metric([stage], buckets=rows, sum_value=histogram.sum_ms / 1_000)
    return family
