"""What is installed is what was locked: every package by hash, from wheels, and no address of an index in the lock."""

from __future__ import annotations

import re

import pytest

from tests.support.shared import REPOSITORY

LOCK = (REPOSITORY / "requirements.lock").read_text("utf-8")


@pytest.mark.fault("X4", "P11")
def test_every_package_of_the_lock_has_its_version_and_hashes() -> None:
    packages = [text for text in re.split(r"\n(?=[a-z0-9])", LOCK) if re.match(r"[a-z0-9]", text)]
    assert len(packages) > 30
    for text in packages:
        name = text.split()[0]
        assert re.match(r"^[a-z0-9._-]+==[^\s=]+$", name), name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", text), name
    assert "://" not in LOCK and "--index-url" not in LOCK


@pytest.mark.fault("X4")
def test_the_environment_is_made_by_hash() -> None:
    script = (REPOSITORY / "scripts" / "_venv.sh").read_text("utf-8")
    (line,) = [line for line in script.splitlines() if "requirements.lock" in line and "install" in line]
    assert "--require-hashes" in line and "--no-deps" in line
