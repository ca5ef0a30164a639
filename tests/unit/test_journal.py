"""The recording: its lines, its hash chain, what a torn tail and a changed bit do, rotation, packing, a disk that fails."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from streamhedge.errors import JournalCorrupt, StoreError
from streamhedge.store.journal import (
    JournalWriter,
    Line,
    compress,
    one_line,
    open_new,
    original,
    prune,
    read_lines,
)

T0_NS = 1_795_161_600_000_000_000
HOUR_NS = 3_600_000_000_000


def writer(folder: Path, *, name: str = "run", **said: object) -> JournalWriter:
    parts: dict[str, object] = {"header": lambda: {"seq": 0, "state": {}}, "digest": lambda: "d0", **said}
    return JournalWriter(folder, name, **parts)  # type: ignore[arg-type]


def record(folder: Path, payloads: list[bytes], **said: object) -> Path:
    """Write one whole segment of ticks."""
    journal = writer(folder, **said)
    for number, payload in enumerate(payloads):
        journal.append(T0_NS + number, "tick", payload)
    journal.close(T0_NS + len(payloads))
    assert journal.path is not None
    return journal.path


def inputs(path: Path, *, on_cut: Callable[[str], None] | None = None) -> list[Line]:
    return [line for line in read_lines(path, on_cut=on_cut) if line.source not in ("header", "sum")]


def numbered(count: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(count)]


# ---------------------------------------------------------------- lines


def test_a_line_is_time_source_json_and_the_first_is_the_header(tmp_path: Path) -> None:
    path = record(tmp_path, [b'{"lag_ms":0}'])
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == b'%d header {"format":1,"seq":0,"state":{}}' % T0_NS
    assert lines[1] == b'%d tick {"lag_ms":0}' % T0_NS
    before = b"\n".join(lines[:2]) + b"\n"
    assert lines[2] == b'%d sum {"lines":2,"chain":"%s","digest":"d0"}' % (
        T0_NS + 1,
        hashlib.sha256(before).hexdigest().encode(),
    )
    assert lines[3:] == [b""]


def test_the_third_column_is_json_on_every_line(tmp_path: Path) -> None:
    path = record(tmp_path, [b'{"a":1}', b'{"a":\n2}', b"\xff\xfe", b""])
    for line in path.read_bytes().splitlines():
        orjson.loads(line.split(b" ", 2)[2])


def test_a_sum_line_stands_after_every_thousand_lines_and_at_the_end(tmp_path: Path) -> None:
    path = record(tmp_path, numbered(2_500))
    sums = [line for line in read_lines(path) if line.source == "sum"]
    assert [line.number for line in sums] == [1_001, 2_001, 2_504]
    assert [orjson.loads(line.payload)["lines"] for line in sums] == [1_000, 2_000, 2_503]


def test_the_sum_has_the_digest_of_the_state_before_the_next_input(tmp_path: Path) -> None:
    state = ["before"]
    journal = writer(tmp_path, digest=lambda: state[0])
    journal.append(T0_NS, "tick", b"{}")
    state[0] = "after"
    journal.close(T0_NS)
    assert journal.path is not None
    (last,) = [line for line in read_lines(journal.path) if line.source == "sum"]
    assert orjson.loads(last.payload)["digest"] == "after"


@pytest.mark.parametrize(
    "payload",
    [b'{"a":\n1}', b'{"a":\r1}', b"\xff\x00", b"", b'{"b64":"YQ=="}', b'{"b64":"not closed'],
    ids=["newline", "return", "not UTF-8", "empty", "looks wrapped", "looks half wrapped"],
)
def test_what_is_no_line_of_text_is_wrapped_as_base64(payload: bytes, tmp_path: Path) -> None:
    path = record(tmp_path, [payload])
    written = path.read_bytes().split(b"\n")[1].split(b" ", 2)[2]
    assert written == b'{"b64":"%s"}' % base64.b64encode(payload)
    assert [line.payload for line in inputs(path)] == [payload]


def test_a_frame_of_one_line_stands_as_received(tmp_path: Path) -> None:
    frame = '  {"s": "测试USDT",\t"p":"67121.40"} '.encode()
    path = record(tmp_path, [frame])
    assert b"tick " + frame + b"\n" in path.read_bytes()
    assert inputs(path)[0].payload == frame


@given(st.binary(max_size=40))
def test_whatever_came_is_given_back(payload: bytes) -> None:
    line = one_line(payload)
    assert line and b"\n" not in line and b"\r" not in line
    line.decode("utf-8")
    assert original(line) == payload


def test_headers_and_sums_cannot_be_fed(tmp_path: Path) -> None:
    for source in ("header", "sum"):
        with pytest.raises(AssertionError):
            writer(tmp_path).append(T0_NS, source, b"{}")


# ---------------------------------------------------------------- what happens to files


@pytest.mark.fault("P2")
def test_a_recording_torn_at_any_byte_is_cut_there_and_reported(tmp_path: Path) -> None:
    whole = record(tmp_path, numbered(6)).read_bytes()
    torn = tmp_path / "torn.rec"
    header = whole.index(b"\n") + 1
    for length in range(len(whole)):
        torn.write_bytes(whole[:length])
        told: list[str] = []
        found = list(read_lines(torn, on_cut=told.append))
        assert len(found) == whole.count(b"\n", 0, length), length
        assert len(told) == 1 and str(torn) in told[0], length
        left_out = length - (whole.rfind(b"\n", 0, length) + 1)
        assert (f"the {left_out} bytes after line" in told[0]) == (left_out > 0), length
        if length >= header:
            assert [line.payload for line in found[1:]] == numbered(6)[: len(found) - 1]
    told = []
    torn.write_bytes(whole)
    assert len(list(read_lines(torn, on_cut=told.append))) == 8
    assert told == []


def test_lines_after_the_last_sum_are_given_and_called_not_proven(tmp_path: Path) -> None:
    whole = record(tmp_path, numbered(1_200)).read_bytes()
    path = tmp_path / "killed.rec"
    path.write_bytes(whole[: whole.rindex(b"sum")].rpartition(b"\n")[0] + b"\n")
    told: list[str] = []
    assert len(inputs(path, on_cut=told.append)) == 1_200
    assert "201 lines after line 1001 are not proven" in told[0]


def test_a_tail_of_rubbish_is_cut_where_it_begins(tmp_path: Path) -> None:
    whole = record(tmp_path, numbered(3)).read_bytes()
    path = tmp_path / "power.rec"
    path.write_bytes(whole + b"\x00\x00\n\x00 1 tick {}\n")
    told: list[str] = []
    assert len(inputs(path, on_cut=told.append)) == 3
    assert "the 15 bytes after line 5" in told[0]


@pytest.mark.fault("P2")
def test_one_flipped_bit_anywhere_before_a_sum_is_named(tmp_path: Path) -> None:
    whole = record(tmp_path, [b'{"n":0}', b'*"J"*', b"{}"]).read_bytes()
    sum_begins = whole[:-1].rindex(b"\n") + 1
    bad = tmp_path / "bad.rec"
    for offset, bit in itertools.product(range(sum_begins), range(8)):
        changed = bytearray(whole)
        changed[offset] ^= 1 << bit
        bad.write_bytes(changed)
        with pytest.raises(JournalCorrupt, match=r"bad\.rec: line \d"):
            list(read_lines(bad))


def test_one_flipped_bit_in_the_last_sum_never_changes_an_input(tmp_path: Path) -> None:
    payloads = [b'{"n":0}', b"{}"]
    whole = record(tmp_path, payloads).read_bytes()
    sum_begins = whole[:-1].rindex(b"\n") + 1
    bad = tmp_path / "bad.rec"
    named = 0
    for offset, bit in itertools.product(range(sum_begins, len(whole)), range(8)):
        changed = bytearray(whole)
        changed[offset] ^= 1 << bit
        bad.write_bytes(changed)
        try:
            assert [line.payload for line in inputs(bad)] == payloads, (offset, bit)
        except JournalCorrupt:
            named += 1
    assert named > (len(whole) - sum_begins) * 8 * 0.7


def test_nothing_is_given_out_of_a_changed_recording(tmp_path: Path) -> None:
    whole = record(tmp_path, numbered(1_500)).read_bytes()
    path = tmp_path / "bad.rec"
    path.write_bytes(whole.replace(b'{"n":1400}', b'{"n":1409}'))
    given_out: list[Line] = []
    with pytest.raises(JournalCorrupt, match=r"line 1503: lines 1002 to 1502 do not hash"):
        given_out.extend(read_lines(path))
    assert given_out == []


@pytest.mark.parametrize("gone", [0, 1, 700, 1_000])
def test_a_lost_line_is_named(tmp_path: Path, gone: int) -> None:
    lines = record(tmp_path, numbered(1_500)).read_bytes().splitlines(keepends=True)
    path = tmp_path / "bad.rec"
    path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
    with pytest.raises(JournalCorrupt, match=r"bad\.rec: line"):
        list(read_lines(path))


@pytest.mark.parametrize(
    "foreign",
    [b"hello\n", b"hello", b"\x89PNG\r\n\x1a\n", b"1 tick {}\n", b'1 header "x"\n', b"1 header nothing\n", b"\n"],
)
def test_a_foreign_file_is_no_recording(tmp_path: Path, foreign: bytes) -> None:
    path = tmp_path / "foreign.rec"
    path.write_bytes(foreign)
    with pytest.raises(JournalCorrupt, match=r"foreign\.rec: line 1"):
        list(read_lines(path))


def test_a_missing_file_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="name a recording"):
        list(read_lines(tmp_path / "none.rec"))


@pytest.mark.fault("P10")
def test_another_format_asks_for_the_program_that_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "new.rec"
    path.write_bytes(b'1 header {"format":2}\n')
    with pytest.raises(JournalCorrupt, match="recording format 2, this program knows 1"):
        list(read_lines(path))


# ---------------------------------------------------------------- segments


def test_a_segment_wants_rotation_by_age_and_by_size(tmp_path: Path) -> None:
    journal = writer(tmp_path, rotate_after_ns=HOUR_NS, rotate_bytes=1_000)
    assert not journal.wants_rotation(T0_NS + 2 * HOUR_NS)
    journal.append(T0_NS, "tick", b"{}")
    assert not journal.wants_rotation(T0_NS + HOUR_NS - 1)
    assert journal.wants_rotation(T0_NS + HOUR_NS)
    journal.append(T0_NS, "tick", b"x" * 1_000)
    assert journal.wants_rotation(T0_NS)
    journal.rotate(T0_NS)
    assert not journal.wants_rotation(T0_NS + 2 * HOUR_NS)
    journal.append(T0_NS + HOUR_NS, "tick", b"{}")
    assert not journal.wants_rotation(T0_NS + HOUR_NS)
    journal.close(T0_NS + HOUR_NS)


def test_without_an_age_only_the_size_counts(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(T0_NS, "tick", b"{}")
    assert not journal.wants_rotation(T0_NS + 10_000 * HOUR_NS)
    journal.close(T0_NS)


def test_each_segment_begins_with_the_header_of_its_moment_and_reads_by_itself(tmp_path: Path) -> None:
    seq = [0]
    journal = writer(tmp_path, header=lambda: {"seq": seq[0]})
    ended = []
    for number in range(6):
        journal.append(T0_NS + number, "tick", b'{"n":%d}' % number)
        seq[0] += 1
        if number % 2:
            ended.append(journal.rotate(T0_NS + number))
    assert [path.name for path in ended if path] == ["run-0001.rec", "run-0002.rec", "run-0003.rec"]
    assert journal.rotate(T0_NS) is None
    for index, path in enumerate(journal.paths):
        lines = list(read_lines(path, on_cut=pytest.fail))
        assert [line.source for line in lines] == ["header", "tick", "tick", "sum"]
        assert orjson.loads(lines[0].payload)["seq"] == 2 * index


@pytest.mark.fault("X8")
def test_files_are_ours_alone(tmp_path: Path) -> None:
    path = record(tmp_path / "new", [b"{}"])
    packed = compress(record(tmp_path / "new", [b"{}"], name="other"))
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(packed.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.fault("X8")
def test_a_link_or_a_file_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "run-0001.rec").symlink_to(victim)
    with pytest.raises(StoreError, match="File exists"):
        writer(tmp_path).append(T0_NS, "tick", b"{}")
    assert victim.read_text() == "mine"


@pytest.mark.fault("X8")
def test_a_folder_that_anybody_may_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(StoreError, match="not ours alone"):
        writer(folder).append(T0_NS, "tick", b"{}")
    assert list(folder.iterdir()) == []


# ---------------------------------------------------------------- packing and pruning


def test_a_packed_segment_reads_as_before_also_under_its_old_name(tmp_path: Path) -> None:
    path = record(tmp_path, numbered(1_100))
    before = [(line.source, line.payload) for line in read_lines(path)]
    os.utime(path, ns=(T0_NS, T0_NS))
    packed = compress(path)
    assert packed == tmp_path / "run-0001.rec.zst" and not path.exists()
    assert packed.read_bytes()[:4] == zstandard.FRAME_HEADER
    assert packed.stat().st_mtime_ns == T0_NS
    for name in (packed, path):
        assert [(line.source, line.payload) for line in read_lines(name, on_cut=pytest.fail)] == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run-0001.rec.zst"]


def test_the_writer_knows_its_segments_under_their_new_names(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(T0_NS, "tick", b"{}")
    first = journal.rotate(T0_NS)
    journal.append(T0_NS, "tick", b"{}")
    assert first is not None
    assert [path.name for path in journal.paths] == ["run-0001.rec", "run-0002.rec"]
    compress(first)
    assert [path.name for path in journal.paths] == ["run-0001.rec.zst", "run-0002.rec"]
    prune(tmp_path, 2**62, keep_last=1)
    assert [path.name for path in journal.paths] == ["run-0002.rec"]
    journal.close(T0_NS)


def test_packing_begins_again_after_a_crash_in_the_middle(tmp_path: Path) -> None:
    path = record(tmp_path, numbered(5))
    (tmp_path / "run-0001.rec.zst.part").write_bytes(b"half")
    (tmp_path / "run-0001.rec.zst").write_bytes(b"whole, but the other one was not removed")
    assert len(inputs(compress(path))) == 5
    assert [entry.name for entry in tmp_path.iterdir()] == ["run-0001.rec.zst"]


def test_what_cannot_be_packed_stands_as_it_was(tmp_path: Path) -> None:
    path = record(tmp_path, numbered(5))
    (tmp_path / "run-0001.rec.zst").mkdir()
    with pytest.raises(StoreError, match="stands as it was"):
        compress(path)
    assert len(inputs(path)) == 5
    assert not (tmp_path / "run-0001.rec.zst.part").exists()


@pytest.mark.parametrize("length", [0, 3, 10, -1])
def test_a_cut_packed_file_gives_out_nothing(tmp_path: Path, length: int) -> None:
    packed = compress(record(tmp_path, numbered(50)))
    packed.write_bytes(packed.read_bytes()[:length])
    told: list[str] = []
    if length == 0:
        assert list(read_lines(packed, on_cut=told.append)) == [] and len(told) == 1
    else:
        with pytest.raises(JournalCorrupt, match=r"run-0001\.rec"):
            list(read_lines(packed, on_cut=told.append))


def test_prune_removes_old_segments_and_nothing_else(tmp_path: Path) -> None:
    names = ["a-0001.rec.zst", "a-0002.rec", "b-0001.rec", "b-0002.rec", "ledger.sqlite", "notes.txt", "c.rec.zst.part"]
    for hour, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, ns=(T0_NS, T0_NS + (hour % 4) * HOUR_NS))
    (tmp_path / "folder.rec").mkdir()
    (tmp_path / "link.rec").symlink_to(tmp_path / "notes.txt")
    removed = prune(tmp_path, T0_NS + 2 * HOUR_NS)
    assert [path.name for path in removed] == ["a-0001.rec.zst", "a-0002.rec"]
    assert {entry.name for entry in tmp_path.iterdir()} == {*names[2:], "folder.rec", "link.rec"}


@pytest.mark.parametrize(("keep_last", "left"), [(0, []), (1, ["c.rec"]), (2, ["b.rec", "c.rec"]), (9, None)])
def test_prune_keeps_the_newest_however_old(tmp_path: Path, keep_last: int, left: list[str] | None) -> None:
    for hour, name in enumerate(["a.rec", "b.rec", "c.rec"]):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, ns=(T0_NS, T0_NS + hour * HOUR_NS))
    prune(tmp_path, 2**62, keep_last=keep_last)
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        left if left is not None else ["a.rec", "b.rec", "c.rec"]
    )


def test_prune_says_when_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not all removed"):
        prune(tmp_path / "none", 0)


# ---------------------------------------------------------------- a disk that fails


class Failing(io.RawIOBase):
    """A file on a disk with so many bytes left; then it writes short, or fails with an errno."""

    def __init__(self, under: BinaryIO, room: int, error: int | None) -> None:
        self._under = under
        self._room = room
        self._error = error
        self.calls_after_failure = 0
        self.failed = False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.failed:
            self.calls_after_failure += 1
        if len(data) <= self._room:
            self._room -= len(data)
            return self._under.write(data)
        self.failed = True
        if self._error is not None:
            raise OSError(self._error, os.strerror(self._error))
        self._under.write(data[: self._room])
        return self._room

    def fileno(self) -> int:
        return self._under.fileno()

    def close(self) -> None:
        self._under.close()


ENOSPC, EIO = 28, 5


@pytest.mark.parametrize("error", [ENOSPC, EIO, None], ids=["ENOSPC", "EIO", "short write"])
@pytest.mark.fault("P3")
def test_a_disk_that_fails_at_any_byte_leaves_whole_lines_and_one_error(tmp_path: Path, error: int | None) -> None:
    whole = len(record(tmp_path / "whole", numbered(4)).read_bytes())
    for room in range(whole):
        made: list[Failing] = []

        def full(path: Path, room: int = room, made: list[Failing] = made) -> BinaryIO:
            made.append(Failing(open_new(path), room, error))
            return made[0]  # type: ignore[return-value]

        journal = writer(tmp_path / str(room), disk=full)
        taken = 0
        with pytest.raises(StoreError, match=r"run-0001\.rec: .*; nothing more is recorded"):
            for number, payload in enumerate(numbered(4)):
                journal.append(T0_NS + number, "tick", payload)
                taken += 1
            journal.close(T0_NS + 4)
        with pytest.raises(StoreError, match="failed before"):
            journal.append(T0_NS, "tick", b"{}")
        journal.close(T0_NS)
        assert journal.rotate(T0_NS) is None and not journal.wants_rotation(T0_NS)
        assert made[0].calls_after_failure == 0
        assert made[0]._under.closed
        path = journal.path
        assert path is not None
        assert [line.payload for line in inputs(path)] == numbered(4)[:taken]


@pytest.mark.fault("P3")
def test_a_flush_that_fails_is_told_and_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = writer(tmp_path)
    journal.append(T0_NS, "tick", b"{}")
    tried = []

    def refuse(handle: int) -> None:
        tried.append(handle)
        raise OSError(EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match="Input/output error"):
        journal.close(T0_NS)
    journal.close(T0_NS)
    assert len(tried) == 1


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="nothing more is recorded"):
        writer(tmp_path / "file" / "recordings").append(T0_NS, "tick", b"{}")


def test_a_full_disk_on_a_further_segment_keeps_the_first(tmp_path: Path) -> None:
    opened = []

    def second_fails(path: Path) -> BinaryIO:
        opened.append(path)
        if len(opened) == 2:
            raise OSError(ENOSPC, "No space left on device")
        return open_new(path)

    journal = writer(tmp_path, disk=second_fails)
    journal.append(T0_NS, "tick", b"{}")
    journal.rotate(T0_NS)
    with pytest.raises(StoreError, match=r"run-0002\.rec: No space left"):
        journal.append(T0_NS, "tick", b"{}")
    assert [path.name for path in journal.paths] == ["run-0001.rec"]
