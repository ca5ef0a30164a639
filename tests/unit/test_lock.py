"""One instance per account: told apart by process, let go however the holder dies, never through somebody else's file."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamhedge.errors import AlreadyRunning, ConfigError
from streamhedge.store.lock import InstanceLock, lock_folder

REPOSITORY = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from streamhedge.store.lock import InstanceLock
lock = InstanceLock(sys.argv[1], state_dir=Path(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))


@contextmanager
def holder(tmp_path: Path, name: str = "sim-abc") -> Iterator[subprocess.Popen[str]]:
    """Run another process that holds a lock until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, name, "/states/one"],
        env={**os.environ, "STREAMHEDGE_LOCK_DIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.fault("A2")
def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(AlreadyRunning, match=rf"pid {process.pid}, state /states/one\. This one did nothing"):
            InstanceLock("sim-abc", state_dir=tmp_path / "two")
        # the refused one left the holder's words alone
        with pytest.raises(AlreadyRunning, match=rf"pid {process.pid}"):
            InstanceLock("sim-abc", state_dir=tmp_path / "two")


def test_another_account_or_venue_is_another_lock(tmp_path: Path) -> None:
    with holder(tmp_path):
        InstanceLock("demo-abc", state_dir=tmp_path).release()
        InstanceLock("sim-abd", state_dir=tmp_path).release()


@pytest.mark.fault("A2")
def test_a_holder_that_is_killed_lets_go(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
        lock = InstanceLock("sim-abc", state_dir=tmp_path)
        assert f'"pid":{os.getpid()}' in lock.path.read_text()
        lock.release()


def test_within_one_process_too(tmp_path: Path) -> None:
    lock = InstanceLock("sim-abc", state_dir=tmp_path)
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        InstanceLock("sim-abc", state_dir=tmp_path)
    lock.release()
    lock.release()
    InstanceLock("sim-abc", state_dir=tmp_path).release()


def test_a_holder_that_wrote_nothing_is_still_a_holder(tmp_path: Path) -> None:
    with holder(tmp_path):
        path = lock_folder() / "sim-abc.lock"
        for words in ("", "[1]", "{"):
            path.write_text(words)
            with pytest.raises(AlreadyRunning, match="pid unknown"):
                InstanceLock("sim-abc", state_dir=tmp_path)


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = InstanceLock("sim-abc", state_dir=tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        close_fds=False,
    )
    try:
        # Only once it runs are the files of its birth closed.
        assert child.stdout is not None and child.stdout.readline() == "up\n"
        lock.release()
        InstanceLock("sim-abc", state_dir=tmp_path).release()
    finally:
        child.communicate()


def test_folder_and_file_are_ours_alone(tmp_path: Path) -> None:
    lock = InstanceLock("sim-abc", state_dir=tmp_path)
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    assert lock.path.parent == lock_folder() == tmp_path / f"streamhedge-{os.getuid()}"
    assert stat.S_IMODE(lock.path.parent.stat().st_mode) == 0o700
    lock.release()


def test_a_cleaner_of_temporary_files_sees_that_both_are_locked(tmp_path: Path) -> None:
    lock = InstanceLock("sim-abc", state_dir=tmp_path)
    for path in (lock.path, lock.path.parent):
        handle = os.open(path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
    lock.release()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
@pytest.mark.fault("X8")
def test_a_folder_that_others_may_write_to_is_refused(mode: int) -> None:
    lock_folder().chmod(mode)
    with pytest.raises(ConfigError, match=rf"not ours alone \(owner \d+, mode {mode:o}\)"):
        lock_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_folder_is_refused() -> None:
    os.chown(lock_folder(), 65534, 65534)
    with pytest.raises(ConfigError, match="owner 65534"):
        lock_folder()


def test_a_link_or_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    place = tmp_path / f"streamhedge-{os.getuid()}"
    (tmp_path / "real").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="not ours alone"):
        lock_folder()
    place.unlink()
    place.write_text("")
    with pytest.raises(ConfigError, match="must be a folder of ours"):
        lock_folder()


@pytest.mark.fault("X8")
def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (lock_folder() / "sim-abc.lock").symlink_to(victim)
    with pytest.raises(ConfigError, match=r"sim-abc\.lock"):
        InstanceLock("sim-abc", state_dir=tmp_path)
    assert victim.read_text() == "mine"
