"""The report of a recording: its figures, its bounds, its words where there is nothing, and foreign text made harmless."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import stat
import sys
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhedge.domain.canonical import to_plain
from streamhedge.errors import ConfigError, StoreError
from streamhedge.ops.report import history as history_module
from streamhedge.ops.report import write_report
from streamhedge.ops.report.charts import POINTS_MOST, shown
from streamhedge.ops.report.history import read_history
from streamhedge.ops.report.page import inline_json
from streamhedge.ops.report.table import COLUMNS, utc
from streamhedge.ops.report.thin import thin
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.runtime.pump import Pump
from streamhedge.store.journal import JournalWriter
from streamhedge.wire.session import Session, SessionState
from tests.support import builders as make

D = Decimal
START_NS = make.T0_MS * 1_000_000
SECOND = 1_000_000_000
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\x1b[31m\u202egnp"

pytest.importorskip("plotly", reason="the report's library is not installed: pip install 'streamhedge[report]'")


class Recorder:
    """A real pump with a real recording; what it is fed is the far end."""

    def __init__(self, folder: Path, name: str = "run", **policy: object) -> None:
        session = Session(SessionState(symbols=[make.BTCUSDT]))
        self.journal = JournalWriter(folder, name, header=self._header, digest=lambda: self.pump.digest())
        machine = Reactor(State(instance=f"7f3a91c2-{name}", epoch=1), make.policy(**policy))
        self.pump = Pump(reactor=machine, session=session, journal=self.journal)
        self.now_ns = START_NS

    def _header(self) -> dict[str, object]:
        said = {"version": "9.8.7", "config_hash": "cafe0123", "config": {"venue": "sim"}}
        return {**said, "seq": self.pump.reactor.state.seq, "state": self.pump.state(), "digest": self.pump.digest()}

    def feed(self, source: str, said: object, *, after_ms: int = 100) -> Recorder:
        """Feed one input some time after the last one."""
        self.now_ns += after_ms * 1_000_000
        self.pump.feed(source, self.now_ns, said if isinstance(said, bytes) else orjson.dumps(said))
        return self

    def mark(self, price: str) -> Recorder:
        """Feed a mark price as the venue sends it."""
        said = {"e": "markPriceUpdate", "E": self.now_ns // 1_000_000, "s": "BTCUSDT", "p": price, "P": price}
        return self.feed("market", {**said, "i": price, "r": "0.0001", "T": make.T0_MS + 3_600_000})

    def trade(self, quantity: str, name: str = "ft-1") -> Recorder:
        """Feed a booked change of the float."""
        return self.feed("trade", to_plain(make.float_trade(quantity, trade_id=name).trade))

    def done(self) -> list[Path]:
        """End the recording."""
        self.journal.close(self.now_ns)
        return list(self.journal.paths)


def report(paths: list[Path], out: Path) -> tuple[str, list[dict[str, str]]]:
    html, table = write_report(paths, out)
    return html.read_text("utf-8"), list(csv.DictReader(io.StringIO(table.read_text("utf-8"), newline="")))


class Page(HTMLParser):
    """The elements of a page: every tag with its attributes, the texts, and what stands in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem == "script":
            said, before = self.scripts[-1]
            self.scripts[-1] = (said, before + data)
        elif self.cdata_elem is None:
            self.text += data + "\n"

    @property
    def charts(self) -> list[dict[str, Any]]:
        found = json.loads(next(text for said, text in self.scripts if said.get("type") == "application/json"))
        assert isinstance(found, list)
        return found

    @property
    def empty(self) -> set[str]:
        return {said["id"] or "" for _, said in self.tags if said.get("class") == "empty" and said.get("id")}


# ---------------------------------------------------------------- figures


def test_csv_has_one_row_for_each_change_and_the_last_moment(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path).mark("67000").trade("1.5").mark("67100.5").feed("tick", {}).feed("tick", {})
    _, rows = report(recorder.done(), tmp_path / "out")
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["float"], row["mark"]) for row in rows] == [
        ("0", "67000"),
        ("1.5", "67000"),
        ("1.5", "67100.5"),
        ("1.5", "67100.5"),
    ]
    times = [utc(START_NS + after * SECOND // 10) for after in (1, 2, 3, 5)]
    assert [row["time"] for row in rows] == times
    assert times[0].endswith(".100000Z") and times[0][10] == "T"
    assert {(row["symbol"], row["position"], row["book_status"]) for row in rows} == {("BTCUSDT", "0", "COLD")}


def test_csv_lines_end_as_rfc_4180_says(tmp_path: Path) -> None:
    _, table = write_report(Recorder(tmp_path).mark("67000").done(), tmp_path / "out")
    raw = table.read_bytes()
    assert raw.endswith(b"\r\n") and raw.count(b"\r\n") == raw.count(b"\n") == 2


def test_totals_cover_what_the_recordings_cover(tmp_path: Path) -> None:
    first = Recorder(tmp_path / "a", "a").mark("67000").feed("market", b"no json").feed("market", b"nor this")
    first.journal.rotate(first.now_ns)
    first.feed("market", b"third")
    second = Recorder(tmp_path / "b", "b").mark("67000").feed("market", b"another run")
    paths = first.done()
    assert len(paths) == 2
    assert read_history(paths).totals.quarantined == 3
    assert read_history(paths[1:]).totals.quarantined == 1, "what happened before the segment is not the segment's"
    both = read_history([*paths, *second.done()])
    assert (both.totals.quarantined, both.runs) == (4, 2)
    third = Recorder(tmp_path / "c", "c").mark("67000").feed("market", b"a third run")
    assert read_history([*paths, *second.journal.paths, *third.done()]).totals.quarantined == 5


def test_head_names_version_config_digest_and_files(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path).mark("67000")
    paths = recorder.done()
    text, _ = report(paths, tmp_path / "out")
    for said in ("streamhedge 9.8.7", "cafe0123", recorder.pump.digest(), paths[0].name):
        assert said in Page(text).text


# ---------------------------------------------------------------- states that are not the usual one


def test_a_recording_without_inputs_is_drawn_empty(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path).mark("67000")
    path = recorder.done()[0]
    header = path.read_bytes().splitlines(keepends=True)[0]
    only = tmp_path / "only.rec"
    only.write_bytes(header)
    text, rows = report([only], tmp_path / "out")
    page = Page(text)
    assert rows == [] and page.charts == []
    assert "nothing to show yet" in page.text
    assert page.empty == {
        *("empty-float", "empty-naked", "empty-distance", "empty-price", "empty-funding", "empty-latency"),
        *("empty-orders", "empty-events", "empty-causes", "empty-attribution"),
    }


def test_a_chart_without_data_says_so(tmp_path: Path) -> None:
    text, _ = report(Recorder(tmp_path).mark("67000").trade("1").done(), tmp_path / "out")
    page = Page(text)
    assert page.empty == {
        *("empty-distance", "empty-funding", "empty-latency", "empty-orders", "empty-causes", "empty-attribution")
    }
    assert "no funding in this recording" in page.text
    assert [chart["id"].split("-")[1] for chart in page.charts] == ["float", "naked", "price"]


def test_a_recording_of_a_book_that_hedges_nothing_has_no_plots(tmp_path: Path) -> None:
    text, rows = report(Recorder(tmp_path, hedges=()).mark("67000").done(), tmp_path / "out")
    page = Page(text)
    assert rows == [] and page.charts == []
    assert page.empty == {"empty-hedges", "empty-orders", "empty-events", "empty-causes", "empty-attribution"}


def test_a_torn_last_line_is_named(tmp_path: Path) -> None:
    path = Recorder(tmp_path).mark("67000").done()[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:-9])
    text, rows = report([path], tmp_path / "out")
    assert "✗" in Page(text).text and "torn" in Page(text).text
    assert rows


def test_a_replay_that_parts_is_named_and_not_called_good(tmp_path: Path) -> None:
    path = Recorder(tmp_path).mark("67000").done()[0]
    *lines, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + re.sub(rb'"digest":"[0-9a-f]{8}', b'"digest":"00000000', last))
    page = Page(report([path], tmp_path / "out")[0])
    assert "parted from the recording at input 1" in page.text
    assert "replays to the same state" not in page.text


def test_without_plotly_the_extra_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ConfigError, match=r"pip install 'streamhedge\[report\]'"):
        write_report(Recorder(tmp_path).mark("67000").done(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(StoreError, match="taken"):
        write_report(Recorder(tmp_path).mark("67000").done(), taken)


# ---------------------------------------------------------------- bounds


@given(
    st.lists(st.one_of(st.none(), st.decimals(-1000, 1000, places=2)), max_size=400),
    st.integers(min_value=4, max_value=60),
)
def test_thinning_keeps_bounds_order_ends_and_extremes(values: list[Decimal | None], most: int) -> None:
    points = list(enumerate(values))
    kept = thin(points, most, (lambda point: point[1],))
    assert len(kept) <= most and kept == sorted(set(kept), key=lambda point: point[0])
    if points:
        assert kept[0] == points[0] and kept[-1] == points[-1]
    known = [value for value in values if value is not None]
    if known:
        left = [value for _, value in kept if value is not None]
        assert (min(left), max(left)) == (min(known), max(known))


def test_a_long_recording_keeps_its_peak_within_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "SAMPLES_MOST", 100)
    monkeypatch.setattr(history_module, "NOTES_MOST", 20)
    recorder = Recorder(tmp_path)
    for number in range(400):
        recorder.mark("68999.9" if number == 137 else str(67_000 + number % 3))
    text, rows = report(recorder.done(), tmp_path / "out")
    assert len(rows) <= 101
    assert max(D(row["mark"]) for row in rows) == D("68999.9")
    assert all(len(trace["x"]) <= POINTS_MOST for chart in Page(text).charts for trace in chart["traces"])


def test_a_chart_holds_no_more_points_than_its_bound(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    for number in range(POINTS_MOST + 500):
        recorder.mark(str(67_000 + number % 7))
    (price,) = (chart for chart in Page(report(recorder.done(), tmp_path / "o")[0]).charts if "price" in chart["id"])
    assert POINTS_MOST // 2 < len(price["traces"][0]["x"]) <= POINTS_MOST


# ---------------------------------------------------------------- one file, private, harmless


def test_the_same_recording_gives_the_same_bytes_readable_by_its_owner_alone(tmp_path: Path) -> None:
    paths = Recorder(tmp_path).mark("67000").trade("2").done()
    first, second = write_report(paths, tmp_path / "a"), write_report(paths, tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    write_report(paths, tmp_path / "a")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {path.name for path in first}


def test_the_page_needs_nothing_else_and_runs_its_own_scripts_alone(tmp_path: Path) -> None:
    page = Page(report(Recorder(tmp_path).mark("67000").done(), tmp_path / "out")[0])
    for tag, said in page.tags:
        assert "src" not in said, (tag, said)
        assert (said.get("href") or "data:,").startswith("data:"), (tag, said)
        assert not [name for name in said if name.startswith("on")], (tag, said)
    policy = next(said["content"] or "" for _, said in page.tags if said.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    running = [text for said, text in page.scripts if said.get("type") is None]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert not [rule for rule in rules.values() if "http" in rule or "unsafe-eval" in rule]


@pytest.mark.fault("X7")
def test_text_of_the_venue_cannot_become_markup(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path).mark("67000").feed("market", HOSTILE.encode())
    recorder.feed("private", orjson.dumps({"e": HOSTILE, "E": 1}))
    text, _ = report(recorder.done(), tmp_path / "out")
    page = Page(text)
    assert page.text.count("<script>document.title") >= 2, "it is shown as text"
    assert len(page.scripts) == 3 and "img" not in dict(page.tags)
    assert "\x1b" not in text and "\u202e" not in text


def test_shown_makes_control_and_direction_characters_visible() -> None:
    assert shown('a\x1b\u202e\n<b>&"') == "a\\x1b\\u202e\\n&lt;b&gt;&amp;&quot;"


def test_chart_data_cannot_end_its_element(tmp_path: Path) -> None:
    assert not set("<>&") & set(inline_json([{"name": "</script><!--&"}]))
    recorder = Recorder(tmp_path).mark("67000")
    trade = to_plain(make.float_trade("1", trade_id="ft-1").trade)
    recorder.feed("trade", {**trade, "reason": "</script><script>alert(1)</script>"})
    text, _ = report(recorder.done(), tmp_path / "out")
    page = Page(text)
    marker = next(trace for trace in page.charts[0]["traces"] if trace["name"] == "float trade")
    assert "&lt;/script&gt;" in marker["text"][0]
    assert len(page.scripts) == 3
