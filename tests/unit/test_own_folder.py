"""Folders of ours are ours alone under any umask, the ones above the last included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamhedge.ops.doctor.host import machine
from streamhedge.store.journal import own_folder
from streamhedge.store.ledger import Ledger


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077], ids=lambda mask: f"umask {mask:03o}", autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_each_missing_folder_is_made_0700_and_a_present_one_left(tmp_path: Path) -> None:
    present = tmp_path / "present"
    present.mkdir()
    present.chmod(0o755)
    own_folder(present / "a" / "b")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (present, present / "a", present / "a" / "b")}
    assert modes == {"present": 0o755, "a": 0o700, "b": 0o700}


def test_the_doctor_has_nothing_against_what_a_start_made(tmp_path: Path) -> None:
    state = tmp_path / "state"
    Ledger(state / "account" / "ledger.sqlite").close()
    assert machine(state)[0].verdict == "ok"
