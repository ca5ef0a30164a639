"""A real recording torn at every byte, with a bit changed in every byte, and with segments lost, empty, swapped, cut.

What is left must replay to the digests of the run that wrote it, or be refused with file, line, byte and what to do;
never to another state without a word.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamhedge.errors import JournalCorrupt, StoreError
from streamhedge.live.recordings import replay_files, segments
from streamhedge.runtime.replay import replay_lines
from streamhedge.store.journal import REMEDY, JournalWriter, Line, compress, read_lines
from tests.unit.test_replay import Run, tell


class Watched(Run):
    """A run that notes the digest after each of its inputs."""

    def feed(self, source: str, fields: dict[str, Any]) -> None:
        self.venue.say(source, fields)
        while self.venue.inputs:
            said, payload = self.venue.inputs.popleft()
            self.pump.feed(said, self.venue.now_ms * 1_000_000, payload)
            self.digests.append(self.pump.digest())


@dataclass
class Recorded:
    """One segment as its run left it, and the run's own digests: after no input, after one, …"""

    raw: bytes
    digests: list[str]
    lines: list[tuple[str, bytes]]


def record(folder: Path, *, killed: bool) -> Recorded:
    run = Watched(folder)
    run.digests = [run.pump.digest()]
    run.feed("tick", {"lag_ms": 0})
    run.mark("67121.4")
    run.trade("10", "ft-1")
    if killed:
        assert run.journal._file is not None
        run.journal._file.close()
    else:
        run.close()
    assert run.journal.path is not None
    found = [(line.source, line.payload) for line in read_lines(run.journal.path)]
    inputs = [line for line in found if line[0] not in ("header", "sum")]
    assert len(inputs) == len(run.digests) - 1 >= 10
    return Recorded(run.journal.path.read_bytes(), run.digests, found)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A segment that was ended as it should be."""
    return record(tmp_path_factory.mktemp("whole"), killed=False)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A segment whose writer died: no sum line proves its inputs."""
    return record(tmp_path_factory.mktemp("killed"), killed=True)


def inputs(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.source not in ("header", "sum")]


@pytest.mark.fault("P2")
def test_torn_at_every_byte_the_whole_lines_stay_and_lead_where_they_led(whole: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "torn-0001.rec"
    path.write_bytes(whole.raw)
    seen = set[int]()
    for length in range(len(whole.raw) - 1, -1, -1):
        os.truncate(path, length)
        told: list[str] = []
        found = list(read_lines(path, on_cut=told.append))
        kept = whole.raw[:length].count(b"\n")
        assert [(line.source, line.payload) for line in found] == whole.lines[:kept], length
        left_out = length - (whole.raw.rfind(b"\n", 0, length) + 1)
        assert len(told) == 1 and told[0].startswith(f"{path}: does not end with a sum line"), length
        assert (f"the {left_out} bytes after line {kept} are no whole line" in told[0]) == (left_out > 0), length
        if kept and kept not in seen:
            seen.add(kept)
            result = replay_lines(found)
            assert (result.diverged, result.digest) == (None, whole.digests[len(inputs(found))])
    assert len(seen) == len(whole.lines) - 1, "only the last sum line is missing from what was replayed"


@pytest.mark.fault("P2")
def test_a_bit_changed_in_any_byte_is_refused_with_file_line_byte_and_what_to_do(
    whole: Recorded, tmp_path: Path
) -> None:
    path = tmp_path / "bad-0001.rec"
    last_sum = whole.raw[:-1].rindex(b"\n") + 1
    refused = 0
    begins = whole.raw.index(b"\n") + 1
    offsets = [*range(0, begins, 29), *range(begins, len(whole.raw))]  # the header is long and of one kind
    for offset in offsets:
        changed = bytearray(whole.raw)
        changed[offset] ^= 1 << (offset % 8)
        path.write_bytes(changed)
        told: list[str] = []
        try:
            found = list(read_lines(path, on_cut=told.append))
        except JournalCorrupt as error:
            refused += 1
            said = str(error)
            assert said.startswith(f"{path}: line "), said
            if "recording format" not in said and "is no recording of streamhedge" not in said:
                assert "(at byte " in said and REMEDY in said, said
            continue
        # Only the last sum line itself, or its newline, can be changed and leave something to read: all of the inputs.
        assert offset >= last_sum - 1, offset
        assert [(line.source, line.payload) for line in inputs(found)] == whole.lines[1:-1], offset
        assert told or [line.source for line in found][-1] == "sum", offset
    assert refused > len(offsets) - 200


@pytest.mark.fault("P2")
def test_what_no_sum_line_proves_is_never_taken_without_a_word(killed: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "killed-0001.rec"
    begins = killed.raw.index(b"\n") + 1
    told: list[str] = []
    path.write_bytes(killed.raw)
    assert len(inputs(list(read_lines(path, on_cut=told.append)))) == len(killed.digests) - 1 and len(told) == 1
    for offset in range(begins, len(killed.raw), 3):
        changed = bytearray(killed.raw)
        changed[offset] ^= 1 << (offset % 8)
        path.write_bytes(changed)
        told = []
        try:
            found = list(read_lines(path, on_cut=told.append))
        except JournalCorrupt as error:
            assert str(error).startswith(f"{path}: line ")
            continue
        assert len(told) == 1 and "are not proven" in told[0], offset
        # Lines before the changed one are what they were.
        before = killed.raw[:offset].count(b"\n")
        assert [(line.source, line.payload) for line in found][:before] == killed.lines[:before], offset


@pytest.mark.fault("P2")
@pytest.mark.parametrize("length", [1, 511, 4_096, 70_000])
def test_a_tail_of_nulls_is_cut_and_told(killed: Recorded, tmp_path: Path, length: int) -> None:
    path = tmp_path / "power-0001.rec"
    path.write_bytes(killed.raw + b"\0" * length)
    told: list[str] = []
    result = replay_lines(read_lines(path, on_cut=told.append))
    assert (result.diverged, result.digest) == (None, killed.digests[-1])
    assert f"the {length} bytes after line {len(killed.lines)} are no whole line and were left out" in told[0]


@pytest.mark.fault("P2")
@pytest.mark.parametrize("content", [b"", b"\0", b"\0" * 4_096])
def test_a_segment_in_which_nothing_arrived_is_told_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty-0001.rec"
    path.write_bytes(content)
    told: list[str] = []
    if content:
        with pytest.raises(JournalCorrupt, match="line 1 is no header"):
            list(read_lines(path, on_cut=told.append))
    else:
        assert list(read_lines(path, on_cut=told.append)) == [] and len(told) == 1
    with pytest.raises(JournalCorrupt):
        replay_files([path])


# ---------------------------------------------------------------- several segments


@pytest.fixture
def story(tmp_path: Path) -> tuple[list[Path], str]:
    paths, digest, _ = tell(tmp_path / "story")
    return paths, digest


@pytest.mark.fault("P2")
def test_a_segment_without_a_byte_after_a_crash_in_rotation_hides_nothing(story: tuple[list[Path], str]) -> None:
    paths, digest = story
    empty = paths[-1].with_name("run-0004.rec")
    empty.touch(mode=0o600)
    told: list[str] = []
    result = replay_files([empty.parent], on_cut=told.append)
    assert (result.diverged, result.digest) == (None, digest)
    assert [text.split(":")[0] for text in told] == [str(empty)]


@pytest.mark.fault("P2")
@pytest.mark.parametrize("left", [(0, 2), (1, 0, 2), (0, 2, 1), (2, 1)])
def test_a_missing_segment_and_swapped_ones_are_found(story: tuple[list[Path], str], left: tuple[int, ...]) -> None:
    paths, _ = story
    result = replay_files([paths[number] for number in left])
    assert result.diverged is not None and "a segment that begins at input" in str(result.diverged["expected"])


@pytest.mark.fault("P2")
def test_what_is_missing_at_the_start_is_no_fault_and_at_the_end_a_shorter_story(story: tuple[list[Path], str]) -> None:
    paths, digest = story
    assert replay_files(paths[1:]).digest == digest
    shorter = replay_files(paths[:2])
    assert shorter.diverged is None and shorter.digest != digest


@pytest.mark.fault("P2")
def test_a_torn_segment_in_the_middle_is_a_gap_and_not_a_shortcut(story: tuple[list[Path], str]) -> None:
    paths, _ = story
    os.truncate(paths[1], paths[1].stat().st_size - 400)
    told: list[str] = []
    result = replay_files([paths[0].parent], on_cut=told.append)
    assert len(told) == 1 and result.diverged is not None
    assert "a gap before it" in str(result.diverged["actual"])


@pytest.mark.fault("P2")
def test_the_next_run_begins_a_file_of_its_own_and_a_chain_of_its_own(killed: Recorded, tmp_path: Path) -> None:
    """No file is opened to append to: what a dead writer left is evidence, and stays as it is."""
    torn = tmp_path / "20261125T000000-e1-0001.rec"
    torn.write_bytes(killed.raw[:-7])
    run = Watched(tmp_path)
    run.digests = []
    run.journal = run.pump._journal = JournalWriter(  # type: ignore[assignment]
        tmp_path, "20261125T000100-e2", header=run.header, digest=lambda: run.pump.digest()
    )
    run.feed("tick", {"lag_ms": 0})
    run.close()
    assert torn.read_bytes() == killed.raw[:-7]
    told: list[str] = []
    (first, second) = segments([tmp_path])
    assert list(read_lines(second, on_cut=pytest.fail)) and first == torn
    assert len(list(read_lines(torn, on_cut=told.append))) == len(killed.lines) - 1 and len(told) == 1
    blocked = JournalWriter(tmp_path, "20261125T000100-e2", header=run.header, digest=lambda: "")
    with pytest.raises(StoreError, match="File exists"):
        blocked.append(1, "tick", b"{}")


@pytest.mark.fault("P2")
def test_a_packed_segment_cut_at_any_byte_gives_out_nothing(story: tuple[list[Path], str]) -> None:
    paths, _ = story
    packed = compress(paths[1])
    whole = packed.read_bytes()
    lines, refused = list(read_lines(packed)), 0
    for length in range(1, len(whole), 23):
        packed.write_bytes(whole[:length])
        given: list[Line] = []
        with pytest.raises(JournalCorrupt, match=r"run-0002\.rec"):
            given.extend(read_lines(packed))
        assert given == []
    for offset in range(0, len(whole), 11):
        changed = bytearray(whole)
        changed[offset] ^= 1 << (offset % 8)
        packed.write_bytes(changed)
        try:
            found = list(read_lines(packed))
        except JournalCorrupt as error:
            assert str(error).startswith(f"{packed}: ")
            refused += 1
            continue
        assert found == lines, f"a bit at {offset} that means nothing changes nothing"
    assert refused > len(whole) // 11 - 3


# ---------------------------------------------------------------- another version's


@pytest.mark.fault("P10")
@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b'{"format":2,"seq":0}', "recording format 2, this program knows 1"),
        (b'{"format":0}', "recording format 0, this program knows 1"),
        (b'{"format":"1"}', "recording format 1, this program knows 1"),
        (b'{"seq":0,"state":{}}', "recording format unknown, this program knows 1"),
    ],
)
def test_another_versions_recording_is_refused(tmp_path: Path, header: bytes, said: str) -> None:
    path = tmp_path / "other-0001.rec"
    path.write_bytes(b"1 header " + header + b"\n2 tick {}\n")
    with pytest.raises(JournalCorrupt, match=f"{said}: read it with the version that wrote it"):
        list(read_lines(path))


@pytest.mark.fault("P10")
def test_a_state_of_another_version_is_refused_by_its_name(whole: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "other-0001.rec"
    path.write_bytes(whole.raw[: whole.raw.index(b"\n") + 1].replace(b'"next_order"', b'"next_command"'))
    with pytest.raises(JournalCorrupt, match="replay it with the version that wrote it"):
        replay_files([path])


@pytest.mark.fault("P10")
def test_a_state_of_an_earlier_version_that_lacks_a_field_is_read(whole: Recorded, tmp_path: Path) -> None:
    """A field added since has a default; the digest then tells that it is not the same program's state."""
    path = tmp_path / "older-0001.rec"
    header = whole.raw[: whole.raw.index(b"\n") + 1]
    assert b',"previous_epoch":null' in header
    path.write_bytes(header.replace(b',"previous_epoch":null', b""))
    assert replay_files([path]).diverged is None
