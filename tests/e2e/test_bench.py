"""The bench runs: every figure is there beside its bare loop. What the figures are, no test decides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shared import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
FIGURES = {
    "frames through a socket": "frames/s",
    "  CPU of a frame": "µs",
    "pump.feed of a frame": "µs",
    "  recorded": "µs",
    "event → committed decision, p50": "µs",
    "event → committed decision, p99": "µs",
    "mark price → order on the wire, p50": "µs",
    "mark price → order on the wire, p99": "µs",
    "spot fill → order on the wire, p50": "µs",
    "spot fill → order on the wire, p99": "µs",
    "replay": "inputs/s",
}


def test_every_figure_stands_beside_its_bare_loop(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "STREAMHEDGE_LOCK_DIR": str(tmp_path)}
    words = [sys.executable, "-m", "scripts.benchmark", "--quick", "--json"]
    ended = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout)
    assert {row["name"]: row["unit"] for row in found["rows"]} == FIGURES
    for row in found["rows"]:
        for who in ("ours", "bare"):
            assert 0 < row[who]["min"] <= row[who]["median"] <= row[who]["max"], row
        assert row["ratio"] > 0, row
    assert found["replay_times_real_time"] > 0
    assert [line["orders"] for line in found["remembered"]] == sorted({line["orders"] for line in found["remembered"]})
    assert all(line["frame_us"] > 0 and line["digest_ms"] > 0 for line in found["remembered"])
    assert [row["percent"] for row in found["watching"]["latency"]] == [50, 90, 99]
    assert all(row["ratio"] > 0 for row in (*found["watching"]["latency"], *found["watching"]["cpu"]))
    assert all(figure > 0 for figure in found["watching"]["scrape"].values())
    assert "Unhandled" not in ended.stderr, "a reader that is killed is let go without a word"
    assert found["date"] and found["command"] == "scripts/bench --quick --json" and found["machine"]
    assert not list(tmp_path.glob("streamhedge-bench-*")), "it leaves nothing behind"
