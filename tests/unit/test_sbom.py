"""The bill of materials is the lock, whole, and always the same bytes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from scripts.sbom import bill, components
from tests.support.shared import REPOSITORY

LOCK = (REPOSITORY / "requirements.lock").read_text("utf-8")


def made() -> bytes:
    script = REPOSITORY / "scripts" / "sbom.py"
    return subprocess.run([sys.executable, str(script)], capture_output=True, check=True, timeout=60).stdout


@pytest.mark.fault("X4")
def test_every_package_and_every_hash_of_the_lock_is_in_it() -> None:
    raw = made()
    assert made() == raw
    found = json.loads(raw)
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.5", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found["serialNumber"])
    rows = {row["name"]: row for row in found["components"]}
    assert len(rows) == len(re.findall(r"^\S+==", LOCK, re.M)) > 30
    assert sum(len(row["hashes"]) for row in rows.values()) == LOCK.count("--hash=sha256:")
    assert rows["aiohttp"]["version"] == version("aiohttp")
    assert rows["aiohttp"]["purl"] == f"pkg:pypi/aiohttp@{version('aiohttp')}"
    refs = [row["bom-ref"] for row in rows.values()]
    assert found["dependencies"][0]["dependsOn"] == refs == sorted(refs, key=lambda ref: ref.split("@")[0])
    assert found["metadata"]["component"]["name"] == "streamhedge"


def test_another_lock_is_another_bill() -> None:
    project = {"name": "ours", "version": "1", "license": "Apache-2.0"}
    one = f"a_b.c==1.0 \\\n    --hash=sha256:{'a' * 64}\n"
    two = one + f"z==2 ; sys_platform == 'linux' \\\n    --hash=sha256:{'b' * 64}\n"
    assert [row["name"] for row in components(one)] == ["a-b-c"]
    assert components(two)[1]["properties"][0]["value"] == "sys_platform == 'linux'"
    assert bill(one, project)["serialNumber"] != bill(two, project)["serialNumber"]


@pytest.mark.parametrize(
    ("lock", "reason"),
    [
        ("a>=1 \\\n", "requirements.lock:1: not a pinned package"),
        ("a==1\n", "without a hash: a"),
        ("-e .\n", "requirements.lock:1: not a pinned package"),
        (f"--hash=sha256:{'a' * 64}\n", "not a pinned package"),
    ],
)
@pytest.mark.fault("X4")
def test_a_lock_that_is_none_is_refused(lock: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        components(lock)
