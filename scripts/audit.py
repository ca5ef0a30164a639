#!/usr/bin/env python3
"""The lock against the known advisories, by pip-audit: clean only where every package of it was answered for.

    python3 scripts/audit.py

pip-audit is a tool of its own (`pipx install pip-audit`) and asks the network. By itself it says "no known
vulnerabilities" and exits 0 also where the service knew none of the packages; here that is not audited.
Exit 0: all of the lock was audited and nothing is known. 1: an advisory fits a package. 2: not, or not wholly, audited.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))

from scripts.sbom import components  # noqa: E402

CLEAN, AFFECTED, NOT_AUDITED = 0, 1, 2
SERVICES = ("pypi", "osv")
"""Asked in this order, until one answers for the whole lock."""


def main() -> int:
    """Audit, print what was found, and return the exit code."""
    program = shutil.which("pip-audit")
    lock = HERE / "requirements.lock"
    locked = {normal(row["name"]) for row in components(lock.read_text("utf-8"))}
    if program is None:
        return not_audited("pip-audit is not installed: `pipx install pip-audit`", len(locked))
    said = []
    for service in SERVICES:
        rows, fault = asked(program, service, lock)
        affected = [row for row in rows if row.get("vulns")]
        if affected:
            print(f"{service}: advisories fit {len(affected)} of {len(rows)} packages")
            for row in affected:
                for one in row["vulns"]:
                    fixed = ", ".join(one["fix_versions"]) or "no version yet"
                    print(f"  {row['name']} {row['version']}: {one['id']}, mended in {fixed}")
            return AFFECTED
        answered = {normal(row["name"]) for row in rows if "vulns" in row}
        if locked <= answered:
            print(f"{service}: all {len(locked)} packages of the lock audited, no advisory known")
            return CLEAN
        said.append(f"{service} answered for {len(locked & answered)} of them{f' ({fault})' if fault else ''}")
    return not_audited("; ".join(said), len(locked))


def normal(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def asked(program: str, service: str, lock: Path) -> tuple[list[dict[str, Any]], str]:
    """Return what pip-audit says of each package, and its last words where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        words = ["--vulnerability-service", service, "--require-hashes", "--disable-pip", "-r", str(lock)]
        more = ["--format", "json", "--output", str(answer), "--progress-spinner", "off"]
        ended = subprocess.run([program, *words, *more], capture_output=True, text=True, check=False)
        try:
            rows: list[dict[str, Any]] = json.loads(answer.read_text("utf-8"))["dependencies"]
        except (OSError, ValueError, KeyError):
            lines = ended.stderr.strip().splitlines()
            return [], lines[-1][:200] if lines else f"exit {ended.returncode}"
        return rows, ""


def not_audited(why: str, packages: int) -> int:
    """Say that nothing is known, which is not that nothing is wrong."""
    print(f"NOT AUDITED, {packages} packages: {why}", file=sys.stderr)
    print("This says nothing about the lock: run it where the advisories can be reached.", file=sys.stderr)
    return NOT_AUDITED


if __name__ == "__main__":
    sys.exit(main())
