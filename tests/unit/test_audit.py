"""The audit of the lock is clean only where every package was answered for; pip-audit's end is scripted here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.sbom import components
from tests.support.shared import REPOSITORY

LOCKED = components((REPOSITORY / "requirements.lock").read_text("utf-8"))
KNOWN: list[dict[str, Any]] = [{"name": row["name"], "version": row["version"], "vulns": []} for row in LOCKED]
SKIPPED = [{"name": row["name"], "skip_reason": "Dependency not found on PyPI"} for row in LOCKED]
ADVISORY = {"id": "PYSEC-2026-1", "fix_versions": ["9.9.9"], "aliases": [], "description": "…"}
BAD = [{**KNOWN[0], "vulns": [ADVISORY]}, *KNOWN[1:]]
UNREACHABLE = "requests.exceptions.ConnectionError: Failed to resolve 'advisories'"


def audit(folder: Path, answers: dict[str, list[dict[str, Any]] | None]) -> subprocess.CompletedProcess[str]:
    """Run the audit with a pip-audit that writes these answers by service, or fails with its last words."""
    (folder / "answers.json").write_text(json.dumps(answers))
    program = folder / "pip-audit"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys\n"
        f"answers = json.loads(pathlib.Path({str(folder / 'answers.json')!r}).read_text())\n"
        "words = sys.argv[1:]\n"
        "assert {'--require-hashes', '--disable-pip', '-r'} <= set(words)\n"
        "rows = answers[words[words.index('--vulnerability-service') + 1]]\n"
        f"if rows is None:\n    print({UNREACHABLE!r}, file=sys.stderr)\n    sys.exit(1)\n"
        "pathlib.Path(words[words.index('--output') + 1]).write_text(json.dumps({'dependencies': rows, 'fixes': []}))\n"
        "sys.exit(any(row.get('vulns') for row in rows))\n"
    )
    program.chmod(0o755)
    return run(str(folder))


def run(path: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(REPOSITORY / "scripts" / "audit.py")]
    return subprocess.run(words, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60)


def test_clean_is_said_where_one_service_answers_for_all_of_it(tmp_path: Path) -> None:
    for answers in ({"pypi": KNOWN, "osv": None}, {"pypi": SKIPPED, "osv": KNOWN}):
        found = audit(tmp_path, answers)
        assert found.returncode == 0 and f"all {len(LOCKED)} packages of the lock audited" in found.stdout, found


def test_an_advisory_is_named_with_what_mends_it(tmp_path: Path) -> None:
    found = audit(tmp_path, {"pypi": BAD, "osv": None})
    assert (
        found.returncode == 1 and f"{BAD[0]['name']} {BAD[0]['version']}: PYSEC-2026-1, mended in 9.9.9" in found.stdout
    )


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"pypi": SKIPPED, "osv": None}, f"pypi answered for 0 of them; osv answered for 0 of them ({UNREACHABLE}"),
        ({"pypi": None, "osv": None}, f"({UNREACHABLE}"),
        ({"pypi": KNOWN[1:], "osv": SKIPPED}, f"pypi answered for {len(LOCKED) - 1} of them"),
        ({"pypi": [], "osv": []}, "answered for 0"),
    ],
)
def test_a_service_that_does_not_answer_is_not_a_clean_lock(answers: dict[str, Any], says: str, tmp_path: Path) -> None:
    found = audit(tmp_path, answers)
    assert found.returncode == 2 and says in found.stderr and "NOT AUDITED" in found.stderr, found
    assert found.stdout == ""


def test_without_the_tool_it_says_how_to_get_it(tmp_path: Path) -> None:
    found = run(str(tmp_path))
    assert found.returncode == 2 and "pipx install pip-audit" in found.stderr
