"""The Grafana dashboard of `init grafana`, made from one table of panels, so that no panel asks for a metric that is not there."""

from __future__ import annotations

from typing import Any

PANELS: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Trading state", "state", "none", (("streamhedge_trading_state == 1", "{{state}}"),)),
    ("Book", "state", "none", (("streamhedge_book_status == 1", "{{status}}"),)),
    ("Naked exposure", "line", "currencyUSD", (("streamhedge_naked_usd", "{{symbol}}"),)),
    (
        "Float against hedge",
        "line",
        "none",
        (("streamhedge_float_btc", "float {{asset}}"), ("-streamhedge_position_btc", "short {{symbol}}")),
    ),
    ("Liquidation distance", "line", "percentunit", (("streamhedge_liquidation_distance_ratio", "{{symbol}}"),)),
    ("Margin ratio", "line", "percentunit", (("streamhedge_margin_ratio", "margin ratio"),)),
    ("Gap", "line", "currencyUSD", (("streamhedge_gap_usd", "{{symbol}}"),)),
    ("Naked USD-seconds by cause", "line", "none", (("rate(streamhedge_naked_usd_seconds_total[5m])", "{{cause}}"),)),
    ("Funding received", "line", "currencyUSD", (("streamhedge_funding_usd_total", "funding"),)),
    (
        "Latency p99",
        "line",
        "s",
        (
            (
                "histogram_quantile(0.99, sum by (le, stage) (rate(streamhedge_hedge_latency_seconds_bucket[5m])))",
                "{{stage}}",
            ),
        ),
    ),
    (
        "Orders",
        "line",
        "none",
        (("rate(streamhedge_orders_total[5m])", "{{outcome}}"), ("streamhedge_orders_in_doubt", "in doubt now")),
    ),
    ("Stream age", "line", "s", (("streamhedge_stream_age_seconds", "{{stream}}"),)),
    (
        "Reconnects and gaps",
        "line",
        "none",
        (
            ("increase(streamhedge_reconnects_total[5m])", "reconnects"),
            ("increase(streamhedge_stream_gaps_total[5m])", "gaps"),
        ),
    ),
    (
        "Clock and loop",
        "line",
        "s",
        (("streamhedge_clock_offset_seconds", "clock offset"), ("streamhedge_loop_lag_seconds", "loop lag")),
    ),
    ("Controls that acted", "line", "none", (("increase(streamhedge_control_triggers_total[5m])", "{{control}}"),)),
    ("Rate weight used", "line", "percentunit", (("streamhedge_rate_weight_used_ratio", "weight"),)),
    (
        "Alerts and notes",
        "line",
        "none",
        (
            ("increase(streamhedge_alerts_sent_total[5m])", "{{channel}} {{outcome}}"),
            ("increase(streamhedge_heartbeats_total[5m])", "heartbeat {{outcome}}"),
            ('increase(streamhedge_notes_total{level!="info"}[5m])', "{{code}}"),
        ),
    ),
    ("Version", "state", "none", (("streamhedge_build_info", "{{version}}"),)),
)
"""Title, kind of panel, unit, and (expression, legend) of each series."""
KINDS = {"line": "timeseries", "state": "stat"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it; it asks for its Prometheus data source."""
    panels = []
    for number, (title, kind, unit, series) in enumerate(PANELS):
        panels.append(
            {
                "id": number + 1,
                "title": title,
                "type": KINDS[kind],
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "gridPos": {"h": 7, "w": 8, "x": number % 3 * 8, "y": number // 3 * 7},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "targets": [
                    {"expr": expression, "legendFormat": legend, "refId": chr(ord("A") + index)}
                    for index, (expression, legend) in enumerate(series)
                ],
            }
        )
    return {
        "title": "streamhedge",
        "uid": "streamhedge",
        "schemaVersion": 39,
        "refresh": "5s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }
