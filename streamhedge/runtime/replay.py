"""A recording through the live code path: the same pump, no ledger, no hands. Stops at the first difference.

Every segment's first line holds the whole state, every ``sum`` line the digest of the state after the lines before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from streamhedge.domain.commands import Reaction
from streamhedge.domain.values import record, state
from streamhedge.errors import JournalCorrupt, ReplayDiverged
from streamhedge.runtime.pump import Pump, restore
from streamhedge.store.journal import Line

SAID_MOST = 300
"""A message quotes so much of what it could not read."""


@record
class ReplayResult:
    """What a replay found. ``diverged`` is None, or where it parted: {"seq","expected","actual"}."""

    events: int
    decisions: int
    digest: str
    checkpoints: int
    diverged: dict[str, object] | None


@state
class Replayer:
    """Feeds the lines of a recording to a pump and compares digests."""

    pump: Pump | None = None
    reactions: list[Reaction] | None = None
    events: int = 0
    checkpoints: int = 0

    def take(self, line: Line) -> None:
        """Take one line.

        Raises:
            ReplayDiverged: a checkpoint's digest differs.
            JournalCorrupt: an input stands before any header, or is one that the machine cannot take.
        """
        if line.source == "header":
            self._header(_fields(line))
        elif line.source == "sum":
            self._compare(_fields(line))
        elif self.pump is None:
            raise JournalCorrupt(f"line {line.number}: an input before any header; a segment starts with its state")
        else:
            try:
                self.pump.feed(line.source, line.recv_ns, line.payload)
            except Exception as error:
                raise JournalCorrupt(
                    f"{line.path}: line {line.number}: the machine cannot take this {line.source} input "
                    f"({type(error).__name__}: {str(error)[:SAID_MOST]}): the run ended here, or somebody edited it"
                ) from error
            self.events += 1

    def _header(self, header: dict[str, Any]) -> None:
        if not {"seq", "digest", "state"} <= header.keys() or not isinstance(header["state"], dict):
            raise JournalCorrupt("a header without seq, digest and state: this program did not write it")
        if self.pump is not None and self.pump.seq == header["seq"]:
            # A further segment of the same run: its state must be the one we reached.
            self._check(header["seq"], header["digest"])
            return
        if self.pump is not None and self._is_same_run(header):
            raise ReplayDiverged(self.pump.seq, f"a segment that begins at input {header['seq']}", "a gap before it")
        try:
            self.pump = restore(header["state"], observers=(self._observe,))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise JournalCorrupt(
                f"the recording's state is not this program's (it was written by streamhedge {header.get('version')}): "
                f"{type(error).__name__} {str(error)[:SAID_MOST]}; replay it with the version that wrote it"
            ) from error
        self._check(header["seq"], header["digest"])

    def _is_same_run(self, header: dict[str, Any]) -> bool:
        assert self.pump is not None
        ours, theirs = self.pump.reactor.state, header["state"].get("reactor")
        return isinstance(theirs, dict) and (ours.instance, ours.epoch) == (theirs.get("instance"), theirs.get("epoch"))

    def _observe(self, reaction: Reaction, recv_ns: int) -> None:
        if self.reactions is not None:
            self.reactions.append(reaction)

    def _compare(self, fields: dict[str, Any]) -> None:
        if fields.get("digest") is not None:
            self._check(self.pump.seq if self.pump is not None else 0, fields["digest"])
            self.checkpoints += 1

    def _check(self, seq: int, expected: str) -> None:
        assert self.pump is not None, "a checkpoint has a pump before it"
        actual = self.pump.digest()
        if actual != expected:
            raise ReplayDiverged(seq, expected, actual)


def _fields(line: Line) -> dict[str, Any]:
    try:
        fields = orjson.loads(line.payload)
    except ValueError as error:
        raise JournalCorrupt(f"{line.path}: line {line.number}: a {line.source} that is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise JournalCorrupt(f"{line.path}: line {line.number}: a {line.source} that is no object")
    return fields


def replay_lines(
    lines: Iterable[Line], *, until: int | None = None, progress: Callable[[int], None] | None = None
) -> ReplayResult:
    """Replay lines and return what was found; a divergence is a result, not an exception.

    Args:
        lines: Lines of one or several segments, in order.
        until: Stop after the input with this number.
        progress: Told the number of inputs now and then.
    """
    replayer = Replayer()
    diverged: dict[str, object] | None = None
    try:
        for line in lines:
            if until is not None and replayer.pump is not None and replayer.pump.seq >= until:
                break
            replayer.take(line)
            if progress is not None and replayer.events % 1_000 == 0:
                progress(replayer.events)
    except ReplayDiverged as error:
        diverged = {"seq": error.seq, "expected": error.expected, "actual": error.actual}
    pump = replayer.pump
    return ReplayResult(
        events=replayer.events,
        decisions=pump.decisions if pump is not None else 0,
        digest=pump.digest() if pump is not None else "",
        checkpoints=replayer.checkpoints,
        diverged=diverged,
    )


def reactions(lines: Iterable[Line]) -> Iterator[tuple[Line, Reaction]]:
    """Yield every input line with the reaction it led to.

    Raises:
        ReplayDiverged: a checkpoint's digest differs.
    """
    replayer = Replayer(reactions=[])
    assert replayer.reactions is not None
    for line in lines:
        replayer.take(line)
        for reaction in replayer.reactions:
            yield line, reaction
        replayer.reactions.clear()
