"""Certificates in whole worlds: every gap has one, in the ledger and in the replayed recording alike."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from streamhedge.domain.commands import Persist
from streamhedge.live.recovery import recovered
from streamhedge.ops.certificates import certificate, certificates_of, gap_text, gaps_text
from streamhedge.ops.cli import main
from streamhedge.store.journal import Line, one_line
from streamhedge.store.ledger import Ledger
from streamhedge.world.script import Case, Happening, draw
from streamhedge.world.world import World

MINUTE_MS = 60_000


def world(*happenings: Happening, seed: int = 4) -> World:
    case = draw(seed, 2 * MINUTE_MS)
    case.options.keep, case.options.mark_every_ms, case.options.initial = True, 1_000, "3"
    return World(Case(case.options, list(happenings)), recovered)


def written(lines: Iterable[Line], folder: Path) -> Path:
    path = folder / "run-0001.rec"
    rows = [
        b"%d %s %s\n" % (row.recv_ns, row.source.encode(), one_line(row.payload))
        for row in lines
        if row.source != "sum"
    ]
    path.write_bytes(b"".join(rows))
    return path


def run(*words: str) -> tuple[int, str]:
    with redirect_stdout(StringIO()) as shown, pytest.raises(SystemExit) as end:
        main([*words])
    return int(str(end.value.code)), shown.getvalue().strip()


@pytest.mark.fault("U1")
def test_each_gap_has_a_certificate_in_the_ledger_and_the_replay_gives_the_same(tmp_path: Path) -> None:
    played = world(
        Happening(20_000, "S3", "private"),
        Happening(20_001, "external", "0.5"),
        Happening(60_000, "S7", "x"),
        Happening(61_000, "buy", "0.01"),
        Happening(90_000, "stop", "5000"),
    )
    outcome = played.run()
    assert outcome.violation is None, outcome.trail[-20:]
    gaps = played.ledger.gaps()
    assert [gap["number"] for gap in gaps] == list(range(1, len(gaps) + 1))
    assert all(gap["closed_ns"] for gap in gaps)
    causes = [cause for gap in gaps for cause in gap["causes"]]
    for word in ("waiting for a snapshot", "the private stream closed", "not understood", "clock gap"):
        assert any(word in cause for cause in causes), (word, causes)
    assert all(question["answered_ns"] for gap in gaps for question in gap["asked"] if question["what"] == "snapshot")
    recording = written(outcome.lines, tmp_path)
    assert certificates_of([recording]) == gaps

    books = Ledger(tmp_path / "state" / "sim-x" / "ledger.sqlite")
    for gap in gaps:
        books.persist(Persist("gap", str(gap["number"]), gap))
    folder = ("--state-dir", str(tmp_path / "state"), "explain")
    assert run(*folder, "gaps") == (0, gaps_text(gaps).strip())
    code, shown = run(*folder, "gap", "2", str(recording))
    assert (code, shown) == (0, gap_text(certificate(gaps, "2")).strip())
    assert "the private stream closed" in shown and "residual" in shown and "asked" in shown
    assert run(*folder, "gap", "99")[0] == run(*folder, "gap")[0] == 2
    books.close()


def test_a_run_that_dies_in_a_gap_leaves_it_open_and_the_next_number_is_above(tmp_path: Path) -> None:
    played = world(Happening(20_000, "net-down", "20"), Happening(25_000, "kill", "now 1000"))
    assert played.run().violation is None
    gaps = played.ledger.gaps()
    open_ones = [gap["number"] for gap in gaps if gap["closed_ns"] is None]
    assert len(open_ones) == 1 and max(gap["number"] for gap in gaps) > open_ones[0]
    assert gaps[-1]["restart"] and gaps[-1]["before"] is not None, "the ledger remembers the last thing it was told"
