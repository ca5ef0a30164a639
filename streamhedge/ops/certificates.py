"""`explain gaps` and `explain gap N`: the certificates of the stretches in which the book could not be trusted.

They stand in the ledger; a recording gives the same ones, for its replay writes the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from streamhedge.domain.commands import Persist
from streamhedge.domain.values import NS_PER_MS
from streamhedge.errors import CommandError
from streamhedge.live.recordings import lines_of, segments
from streamhedge.ops.lines import inert
from streamhedge.runtime.replay import reactions
from streamhedge.store.tables import iso_utc

Fields = dict[str, Any]


def certificates_of(paths: Sequence[Path], *, on_cut: Callable[[str], None] | None = None) -> list[Fields]:
    """Return the certificates that a recording leads to, oldest first.

    Raises:
        JournalCorrupt, ReplayDiverged, StoreError: the recording does not replay.
    """
    found: dict[str, Fields] = {}
    for _, reaction in reactions(lines_of(segments(paths), on_cut=on_cut)):
        for command in reaction.commands:
            if isinstance(command, Persist) and command.table == "gap":
                found[command.key] = dict(command.fields)
    return list(found.values())


def certificate(found: Sequence[Fields], number: str) -> Fields:
    """Return one certificate by its number.

    Raises:
        CommandError: there is none.
    """
    for gap in found:
        if number == str(gap["number"]):
            return gap
    known = f"{found[0]['number']} to {found[-1]['number']}" if found else "none yet"
    raise CommandError(f"no gap {number!r}; known are {known}")


def gaps_text(found: Sequence[Fields]) -> str:
    """Return one line per certificate for people."""
    rows = [f"{'gap':>5}  {'opened':<24}  {'took':>10}  residual, causes"]
    for gap in found:
        rows.append(
            f"{gap['number']:>5}  {_time(gap['opened_ns'])}  {_took(gap):>10}  {_residual(gap)}  {'; '.join(gap['causes'])}"
        )
    return "\n".join(inert(row) for row in rows) if found else "no gap yet"


def gap_text(gap: Fields) -> str:
    """Return one certificate for people."""
    rows = [
        f"gap {gap['number']}  {_time(gap['opened_ns'])} … {_time(gap['closed_ns'])}  {_took(gap)}  epoch {gap['epoch']}",
        *(f"  cause            {cause}" for cause in gap["causes"]),
        f"  last before      {_heard(gap['before'])}",
        f"  first after      {_heard(gap['after'])}",
    ]
    for question in gap["asked"]:
        answer = "no answer" if question["answered_ns"] is None else f"answered {_time(question['answered_ns'])}"
        rows.append(
            f"  asked            {question['what']} {question['times']}×, first {_time(question['first_ns'])}, {answer}"
        )
    for row in gap["found"]:
        rows.append(f"  found            {row['what']} {_or(row['before'], 'unknown')} → {row['after']}")
    if not gap["found"]:
        rows.append("  found            nothing differed")
    rows += [f"  settled          {text}" for text in gap["settled"]]
    rows += [f"  residual         {text}" for text in gap["residual"]]
    if not gap["residual"]:
        rows.append(f"  residual         {'0' if gap['closed_ns'] is not None else 'open'}")
    return "\n".join(inert(row) for row in rows)


def _heard(heard: Fields | None) -> str:
    if heard is None:
        return "none"
    received = "in an earlier run" if heard["recv_ns"] is None else f"received {_time(heard['recv_ns'])}"
    return f"{heard['event']} of {iso_utc(heard['event_time_ms'])}, {received}"


def _time(at_ns: int | None) -> str:
    return "not closed" if at_ns is None else iso_utc(at_ns // NS_PER_MS)


def _took(gap: Fields) -> str:
    return "open" if gap["closed_ns"] is None else f"{(gap['closed_ns'] - gap['opened_ns']) / 1e6:.0f} ms"


def _residual(gap: Fields) -> str:
    return "open" if gap["closed_ns"] is None else f"{len(gap['residual'])} named" if gap["residual"] else "0"


def _or(value: object, otherwise: str) -> str:
    return otherwise if value is None else str(value)
