"""A real demo's report: its figures against a replay of their own, and the page in a real browser.

The browser gets no network; a page that asks for something, or logs anything, is found out (a planted one proves it).
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from streamhedge.domain.order import OrderStatus
from streamhedge.live.recordings import lines_of
from streamhedge.ops.report import write_report
from streamhedge.ops.report.history import read_history
from streamhedge.reactor.state import Core
from streamhedge.runtime.replay import Replayer
from tests.support.processes import command, room

pytestmark = pytest.mark.slow
pytest.importorskip("plotly", reason="the report's library is not installed: pip install 'streamhedge[report]'")

D = Decimal
CEILING_S = 90
CHARTS = ("float", "naked", "distance", "price", "funding", "latency")
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine: the page is not opened")


@dataclass(slots=True)
class Demo:
    """One short run of the demo and the report of its recording."""

    summary: dict[str, Any]
    recording: list[Path]
    html: Path
    table: Path

    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.table.read_text("utf-8"), newline="")))

    def replayed(self) -> Core:
        """Return the state that a replay of its own ends with."""
        replayer = Replayer()
        for line in lines_of(self.recording):
            replayer.take(line)
        assert replayer.pump is not None
        return replayer.pump.reactor.core


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with room() as folder:
        words = (
            "run",
            "--duration",
            "6s",
            "--set",
            "sim.funding_every=2s",
            "--state-dir",
            str(folder / "state"),
            "--json",
        )
        summary = asyncio.run(command(folder, *words, ceiling_s=CEILING_S)).json()
        recording = [Path(path) for path in summary["recording"]]
        html, table = write_report(recording, folder / "report")
        yield Demo(summary, recording, html, table)


# ---------------------------------------------------------------- figures


def test_figures_are_those_of_the_run(demo: Demo) -> None:
    history, summary = read_history(demo.recording), demo.summary
    totals = history.totals
    assert summary["orders_sent"] > 3, "a demo that trades"
    for name, ours in (
        *(("orders_sent", totals.orders_sent), ("doubted", totals.doubted), ("refused", totals.refused)),
        *(("hedges", totals.hedges), ("venue_closes", totals.venue_closes), ("quarantined", totals.quarantined)),
        ("digest", history.digest),
    ):
        assert ours == summary[name], name
    assert history.counts["reconnect"] == summary["reconnects"]
    assert (totals.funding, totals.fees) == (D(summary["funding_usd"]), D(summary["fees_usd"]))
    assert round(history.max_naked_usd, 2) == D(summary["max_naked_usd"])
    assert history.min_distance is not None
    assert round(history.min_distance, 6) == D(summary["min_liquidation_distance"])
    spent = {cause: round(value, 2) for cause, value in totals.naked_usd_seconds.items()}
    assert spent == {cause: D(value) for cause, value in summary["naked_usd_seconds"].items()}


def test_orders_are_those_of_a_replay(demo: Demo) -> None:
    history, orders = read_history(demo.recording), demo.replayed().state.orders
    assert list(history.orders) == list(orders) and len(orders) == demo.summary["orders_in_ledger"]
    for name, order in orders.items():
        assert history.orders[name] == order
        if name in history.answered_ns:
            assert history.answered_ns[name] > order.decided_ns
    assert len(history.answered_ns) == len(orders), "the exchange answered every order, if only with an error"
    assert any(order.status is OrderStatus.FILLED for order in orders.values())


def test_csv_ends_where_a_replay_ends_and_holds_the_peaks(demo: Demo) -> None:
    core, rows = demo.replayed(), demo.rows()
    hedge = core.policy.hedges[0]
    memory, last = core.state.memory[hedge.symbol], rows[-1]
    assert (D(last["float"]), D(last["position"])) == (
        *(core.state.floats[hedge.asset], core.state.book.quantity(hedge.symbol)),
    )
    assert D(last["mark"]) == core.state.book.marks[hedge.symbol].mark_price
    assert D(last["target"]) == memory.target and D(last["naked_usd"]) == memory.naked_usd
    assert (D(last["funding_usd"]), D(last["fees_usd"])) == (core.state.meter.funding, core.state.meter.fees)
    assert max(D(row["naked_usd"]) for row in rows if row["cause"]) == core.state.meter.max_naked_usd
    assert min(D(row["distance"]) for row in rows if row["distance"]) == round(core.state.meter.min_distance or D(0), 8)
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert {row["book_status"] for row in rows} >= {"SYNCING", "LIVE"}


def test_page_says_the_figures(demo: Demo) -> None:
    text = Words(demo.html.read_text("utf-8")).text
    summary = demo.summary
    for said in (
        *(f"{D(summary['max_naked_usd']):,.2f} USD", f"{D(summary['funding_usd']):+,.2f} USDT"),
        *(f"{D(summary['fees_usd']):,.2f} USDT", f"{D(summary['min_liquidation_distance']) * 100:.2f} %"),
        *(f"{summary['float_btc']} BTC", f"{summary['position_btc']} BTC", summary["digest"], demo.recording[0].name),
        "never liquidated",
    ):
        assert said in text, said


# ---------------------------------------------------------------- the browser


class Words(HTMLParser):
    """The visible words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.text += data + "\n"


@dataclass(slots=True)
class Opened:
    """What a browser made of a page."""

    dom: str
    console: list[str]
    asked: list[str]

    @property
    def title(self) -> str:
        found = re.search(r"<title>([^<]*)</title>", self.dom)
        return found.group(1) if found else ""

    def drawn(self, chart: str) -> str:
        """Return the DOM of one chart."""
        start = self.dom.index(f'id="plot-{chart}-')
        return self.dom[start : self.dom.index("</figure>", start)]


def opened(page: Path, folder: Path) -> Opened:
    """Open a page in headless Chromium without a network and return what came of it."""
    assert BROWSER is not None
    log = folder / "net.json"
    options = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--no-pings"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", f"--log-net-log={log}"),
        *(
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=20000",
            "--window-size=1200,2000",
            "--dump-dom",
        ),
    )
    ran = subprocess.run(
        [BROWSER, *options, page.as_uri()],
        capture_output=True,
        timeout=CEILING_S,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )
    errors = ran.stderr.decode("utf-8", "replace").splitlines()
    return Opened(ran.stdout.decode(), [line for line in errors if "CONSOLE" in line], asked(log))


def asked(log: Path) -> list[str]:
    """Return the addresses that the page asked for; what the browser wants for itself has no origin."""
    text = log.read_text("utf-8", "replace").rstrip()
    events = json.loads(text if text.endswith("}") else text.removesuffix(",") + "]}")["events"]
    said = [event["params"] for event in events if "initiator" in event.get("params", {}) and "url" in event["params"]]
    return [params["url"] for params in said if params["initiator"] != "not an origin"]


@needs_browser
@pytest.mark.browser
def test_every_chart_is_drawn_without_a_word_or_a_request(demo: Demo, tmp_path: Path) -> None:
    found = opened(demo.html, tmp_path)
    assert found.console == [] and found.asked == []
    assert f'data-drawn="{len(CHARTS)}"' in found.dom
    for chart in CHARTS:
        drawn = found.drawn(chart)
        assert 'class="main-svg"' in drawn, chart
        marks = re.findall(r'<path class="(?:js-line|point)"[^>]* d="(M[^"]+)"', drawn)
        assert marks, f"{chart}: nothing is drawn in it"
        assert "ytitle" in drawn and "UTC" in drawn, f"{chart}: an axis has no unit"


@needs_browser
@pytest.mark.browser
@pytest.mark.fault("X7")
def test_markup_from_the_venue_does_not_run(demo: Demo, tmp_path: Path) -> None:
    hostile = b"<script>document.title='owned'</script><img src=http://127.0.0.1:9/x onerror=document.title='owned'>"
    path = tmp_path / "hostile.rec"
    last = demo.recording[-1].read_bytes()
    moment = last.splitlines()[-1].split(b" ")[0]
    # After the last checkpoint, as in a recording whose process was killed.
    path.write_bytes(last + b"%s private %s\n" % (moment, hostile))
    html, _ = write_report([*demo.recording[:-1], path], tmp_path / "out")
    assert "owned" in html.read_text("utf-8")
    found = opened(html, tmp_path)
    assert "owned" not in found.title and found.title.startswith("streamhedge report")
    assert found.console == [] and found.asked == []
    assert "&lt;script&gt;document.title" in found.dom


@needs_browser
@pytest.mark.browser
def test_a_script_that_got_into_the_page_is_refused(demo: Demo, tmp_path: Path) -> None:
    """The second wall: what would happen if the escaping failed."""
    html = tmp_path / "planted.html"
    planted = (
        "<body><script>document.title='owned'</script><p onclick='x' id='p'></p><img src='http://127.0.0.1:9/pixel'>"
    )
    html.write_text(demo.html.read_text("utf-8").replace("<body>", planted, 1), "utf-8")
    found = opened(html, tmp_path)
    assert "owned" not in found.title
    assert any("Content Security Policy" in line for line in found.console)
    assert found.asked == []


@needs_browser
@pytest.mark.browser
def test_a_page_that_asks_or_complains_is_found_out(tmp_path: Path) -> None:
    page = tmp_path / "leak.html"
    page.write_text("<!doctype html><img src='http://127.0.0.1:9/pixel'><script>nowhere()</script>")
    found = opened(page, tmp_path)
    assert found.asked == ["http://127.0.0.1:9/pixel"]
    assert any("nowhere is not defined" in line for line in found.console)
