"""A recording leads to the state of the run that wrote it: whole, by segment, under any hash seed; a changed one does not.

The run is a real pump, session and reactor against a scripted far end: it hedges a float, is told of fills twice, loses a
stream, leaves one order in doubt and hears the outcome later.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamhedge.domain.commands import PlaceOrder
from streamhedge.errors import JournalCorrupt, ReplayDiverged
from streamhedge.runtime.replay import ReplayResult, reactions, replay_lines
from streamhedge.store.journal import Line, compress, read_lines
from tests.support.run import Run

REPOSITORY = Path(__file__).resolve().parents[2]
D = Decimal


def tell(folder: Path) -> tuple[list[Path], str, int]:
    """Play the whole story and return its segments, the state's digest and the number of decisions."""
    run = Run(folder)
    run.begin()
    assert run.venue.position == -10, "the far end filled the hedge"
    run.rotate()
    run.trade("-1.5", "ft-2")
    run.marks(20)
    lost = {"stream": "private", "connection": 3, "state": "closed", "reason": "dropped", "jitter_permille": 494}
    run.feed("conn", lost)
    run.marks(5)
    run.rotate()
    run.venue.silent = True
    run.trade("0.75", "ft-3")
    run.marks(3)
    assert len(run.venue.unanswered) == 1, "one order is in doubt"
    run.venue.silent = False
    run.venue.fill(run.venue.unanswered[0])
    run.marks(600)  # past the thousandth line, where a sum stands in the middle
    assert run.venue.position == D("-9.25")
    return run.close(), run.pump.digest(), run.pump.decisions


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], str, int]:
    return tell(tmp_path_factory.mktemp("story"))


def replayed(paths: Iterable[Path], **said: Any) -> ReplayResult:
    return replay_lines(chain.from_iterable(read_lines(path) for path in paths), **said)


def rewritten(path: Path, folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    """Write a recording with other lines and a hash chain that fits them: what an editor of evidence would do."""
    lines = change(path.read_bytes().splitlines(keepends=True))
    digested = hashlib.sha256()
    out = []
    for number, line in enumerate(lines):
        if b" sum {" in line:
            said = rb'"lines":%d,"chain":"%s"' % (number, digested.hexdigest().encode())
            line = re.sub(rb'"lines":\d+,"chain":"[0-9a-f]+"', said, line)
        digested.update(line)
        out.append(line)
    target = folder / path.name
    target.write_bytes(b"".join(out))
    return target


def replaced(find: bytes, old: bytes, new: bytes, *, last: bool = False) -> Callable[[list[bytes]], list[bytes]]:
    """Change the first line that holds ``find``, or the last."""

    def change(lines: list[bytes]) -> list[bytes]:
        number = [number for number, line in enumerate(lines) if find in line][-1 if last else 0]
        assert old in lines[number]
        return [*lines[:number], lines[number].replace(old, new), *lines[number + 1 :]]

    return change


# ---------------------------------------------------------------- the same


def test_a_replay_ends_in_the_state_of_the_run(told: tuple[list[Path], str, int]) -> None:
    paths, digest, decisions = told
    result = replayed(paths)
    assert result.diverged is None
    assert (result.digest, result.decisions) == (digest, decisions)
    assert decisions >= 3
    recorded = [line for path in paths for line in read_lines(path) if line.source not in ("header", "sum")]
    assert result.events == len(recorded)
    assert result.checkpoints == 4, "one per segment, and the one after a thousand lines"


def test_each_segment_replays_by_itself_to_where_the_next_begins(told: tuple[list[Path], str, int]) -> None:
    paths, digest, _ = told
    headers = [orjson.loads(next(iter(read_lines(path))).payload)["digest"] for path in paths]
    for number, path in enumerate(paths):
        result = replayed([path])
        assert result.diverged is None
        assert result.digest == [*headers[1:], digest][number]
        assert replayed(paths[number:]).digest == digest


def test_a_compressed_recording_replays_alike(tmp_path: Path) -> None:
    paths, digest, _ = tell(tmp_path)
    assert replayed([compress(path) for path in paths]).digest == digest


def test_the_hash_seed_changes_neither_run_nor_replay(told: tuple[list[Path], str, int], tmp_path: Path) -> None:
    paths, digest, _ = told
    code = (
        "import sys; from pathlib import Path; from tests.unit.test_replay import replayed, tell\n"
        "folder, *paths = map(Path, sys.argv[1:])\n"
        "result = replayed(paths)\n"
        "print(result.digest, result.diverged, tell(folder)[1])"
    )
    for seed in ("0", "1"):
        words = [sys.executable, "-c", code, str(tmp_path / seed), *map(str, paths)]
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [digest, "None", digest]
        for path in paths:
            assert (tmp_path / seed / path.name).read_bytes() == path.read_bytes(), "the same run writes the same bytes"


def test_reactions_come_with_the_line_that_caused_them(told: tuple[list[Path], str, int]) -> None:
    paths, _, decisions = told
    found = list(reactions(chain.from_iterable(read_lines(path) for path in paths)))
    assert [reaction.seq for _, reaction in found] == list(range(1, len(found) + 1))
    orders = [line for line, reaction in found for command in reaction.commands if isinstance(command, PlaceOrder)]
    assert len(orders) == decisions
    assert {line.source for line in orders} <= {"trade", "market", "tick", "wsapi", "private", "setup", "conn", "rest"}


@pytest.mark.fault("P3")
def test_an_intent_that_was_not_committed_replays_as_not_sent(tmp_path: Path) -> None:
    run = Run(tmp_path, intents=0)
    run.begin()
    paths = run.close()
    assert run.venue.trades == 0 and run.pump.reactor.state.halted is not None
    sources = [line.source for line in read_lines(paths[0])]
    assert "void" in sources and "store" in sources
    result = replayed(paths)
    assert (result.diverged, result.digest) == (None, run.pump.digest())


# ---------------------------------------------------------------- not the same


def checkpoint(path: Path, number: int) -> int:
    """Return the input number of a segment's sum line, counted from the run's first input."""
    lines = list(read_lines(path))
    begin = int(orjson.loads(lines[0].payload)["seq"])
    sums = [index for index, line in enumerate(lines) if line.source == "sum"]
    return begin + sum(line.source not in ("header", "sum") for line in lines[: sums[number]])


@pytest.mark.parametrize(
    ("find", "old", "new"),
    [
        (b'"e":"ACCOUNT_UPDATE"', b'"pa":"-10"', b'"pa":"-11"'),
        (b" trade {", b'"quantity":"10"', b'"quantity":"12"'),
        (b'"e":"ORDER_TRADE_UPDATE"', b'"n":"1.5"', b'"n":"1.6"'),
    ],
    ids=["position", "float", "fee"],
)
def test_one_changed_digit_diverges_at_the_next_checkpoint(
    told: tuple[list[Path], str, int], tmp_path: Path, find: bytes, old: bytes, new: bytes
) -> None:
    paths, _, _ = told
    bad = rewritten(paths[0], tmp_path, replaced(find, old, new))
    result = replayed([bad, *paths[1:]])
    assert result.diverged is not None
    assert result.diverged["seq"] == checkpoint(paths[0], 0)
    assert result.diverged["expected"] != result.diverged["actual"] == result.digest


@pytest.mark.parametrize(("last", "number"), [(False, 0), (True, 1)])
def test_the_checkpoint_named_is_the_first_after_the_change(
    told: tuple[list[Path], str, int], tmp_path: Path, last: bool, number: int
) -> None:
    paths, _, _ = told
    find, old = (b'"e":"markPriceUpdate"', b'"r":"0.0001"') if last else (b" trade {", b'"quantity":"0.75"')
    bad = rewritten(paths[2], tmp_path, replaced(find, old, old.replace(b"0", b"9", 1), last=last))
    result = replayed([*paths[:2], bad])
    assert result.diverged is not None
    assert result.diverged["seq"] == checkpoint(paths[2], number)


def test_what_the_next_frame_overwrites_leaves_the_same_state(
    told: tuple[list[Path], str, int], tmp_path: Path
) -> None:
    paths, digest, _ = told
    bad = rewritten(paths[0], tmp_path, replaced(b'"e":"markPriceUpdate"', b'"p":"67121.4"', b'"p":"67121.5"'))
    assert bad.read_bytes() != paths[0].read_bytes()
    assert (replayed([bad, *paths[1:]]).diverged, replayed([bad, *paths[1:]]).digest) == (None, digest)


def test_a_left_out_line_diverges(told: tuple[list[Path], str, int], tmp_path: Path) -> None:
    paths, _, _ = told
    bad = rewritten(paths[0], tmp_path, lambda lines: [*lines[:3], *lines[4:]])
    assert replayed([bad, *paths[1:]]).diverged is not None


@pytest.mark.parametrize("order", [(0, 2), (1, 0, 2)], ids=["one missing", "in another order"])
def test_segments_of_one_run_that_do_not_join_are_told(
    told: tuple[list[Path], str, int], order: tuple[int, ...]
) -> None:
    paths, _, _ = told
    assert replayed([paths[number] for number in order]).diverged is not None


def test_a_changed_state_in_a_header_diverges_there(told: tuple[list[Path], str, int], tmp_path: Path) -> None:
    paths, _, _ = told
    bad = rewritten(paths[1], tmp_path, replaced(b" header {", b'"BTC":"10"', b'"BTC":"11"'))
    result = replayed([bad])
    begin = orjson.loads(next(iter(read_lines(paths[1]))).payload)["seq"]
    assert result.diverged is not None and result.diverged["seq"] == begin
    assert result.events == 0


def test_reactions_raise_where_a_result_would_say_so(told: tuple[list[Path], str, int], tmp_path: Path) -> None:
    paths, _, _ = told
    bad = rewritten(paths[0], tmp_path, replaced(b" trade {", b'"quantity":"10"', b'"quantity":"12"'))
    with pytest.raises(ReplayDiverged, match=f"at input {checkpoint(paths[0], 0)}: "):
        list(reactions(read_lines(bad)))


def test_an_input_before_any_header_is_no_recording(told: tuple[list[Path], str, int]) -> None:
    paths, _, _ = told
    lines = list(read_lines(paths[0]))
    with pytest.raises(JournalCorrupt, match="before any header"):
        replay_lines(lines[1:])


# ---------------------------------------------------------------- part of it


def test_until_stops_after_the_input_with_that_number(told: tuple[list[Path], str, int]) -> None:
    paths, digest, _ = told
    whole = replayed(paths)
    digests = []
    for until in (1, 2, checkpoint(paths[0], 0), whole.events):
        result = replayed(paths, until=until)
        assert (result.events, result.diverged) == (until, None)
        digests.append(result.digest)
    assert len(set(digests)) == 4 and digests[-1] == digest
    assert replayed(paths, until=whole.events + 1).digest == digest
    headers = [orjson.loads(next(iter(read_lines(path))).payload)["digest"] for path in paths]
    assert digests[2] == headers[1]


@pytest.mark.fault("P2")
def test_a_torn_tail_replays_to_its_last_whole_line(told: tuple[list[Path], str, int], tmp_path: Path) -> None:
    paths, _, _ = told
    whole = paths[1].read_bytes()
    torn = tmp_path / paths[1].name
    begin = orjson.loads(next(iter(read_lines(paths[1]))).payload)["seq"]
    for length in range(len(whole) - 400, len(whole), 7):
        torn.write_bytes(whole[:length])
        told_of: list[str] = []
        lines: list[Line] = list(read_lines(torn, on_cut=told_of.append))
        result = replay_lines(lines)
        assert len(told_of) == 1 and result.diverged is None
        inputs = sum(line.source not in ("header", "sum") for line in lines)
        assert result.events == inputs
        assert result.digest == replayed([paths[1]], until=begin + inputs).digest


def test_progress_is_told_now_and_then(told: tuple[list[Path], str, int]) -> None:
    paths, _, _ = told
    heard: list[int] = []
    result = replayed(paths, progress=heard.append)
    assert 1_000 in heard and max(heard) <= result.events
