"""What `init` prints: a unit that systemd accepts, rules and dashboard that name only metrics there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamhedge.ops.cli import cli
from streamhedge.ops.metrics import NAMES, PREFIX

pytest.importorskip("prometheus_client", reason="metrics are not installed: pip install 'streamhedge[metrics]'")


def printed(name: str) -> str:
    found = CliRunner().invoke(cli, ["init", name, *(["--template"] if name == "config" else [])])
    assert found.exit_code == 0, found.output
    return found.stdout


def known(text: str) -> None:
    """Assert that every metric in a text exists, whatever the library appends to its name."""
    named = set(re.findall(rf"\b{PREFIX}[a-z_]+", text))
    assert len(named) > 5
    exist = {PREFIX + name for name in NAMES}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= exist


def test_rules_and_dashboard_name_only_metrics_that_exist() -> None:
    known("\n".join(line for line in printed("prometheus").splitlines() if "expr:" in line))
    dashboard = json.loads(printed("grafana"))
    known(" ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) == 18


def test_the_dashboard_shows_every_metric_there_is() -> None:
    shown = json.dumps(json.loads(printed("grafana")))
    assert [name for name in NAMES if PREFIX + name not in shown] == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on this machine")
def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(printed("prometheus"))
    subprocess.run(["promtool", "check", "rules", file], check=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_accepts_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    unit = tmp_path / "streamhedge.service"
    unit.write_text(printed("systemd").replace("/usr/local/bin/streamhedge", "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit)]
    judged = subprocess.run(words, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout[-500:]
    level = re.search(r"exposure level for streamhedge.service: ([0-9.]+)", judged.stdout)
    assert level is not None and float(level.group(1)) <= 3


def test_nothing_is_written_over_a_file(tmp_path: Path) -> None:
    for name in ("config", "systemd", "prometheus", "grafana"):
        file = tmp_path / name
        words = ["init", name, str(file), *(["--template"] if name == "config" else [])]
        first = CliRunner().invoke(cli, words)
        assert first.exit_code == 0 and "next: " in first.output
        assert file.read_text() == printed(name)
        assert CliRunner().invoke(cli, words).exit_code != 0
