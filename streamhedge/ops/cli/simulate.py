"""`streamhedge simulate`: seeded worlds, one per core at a time; a failing one is shrunk and written down."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamhedge.ops.cli.options import Common, common_of, example, out, shared
from streamhedge.ops.exits import FAILURE, OK

if TYPE_CHECKING:
    from streamhedge.world.script import Case
    from streamhedge.world.world import Outcome

SEED = re.compile("[0-9]{1,18}")
TELL_EVERY_S = 5.0


@click.command(
    epilog=example(
        "streamhedge simulate", "streamhedge simulate --seeds 1..2000 --hours 6 --json", "… --case world-7.json"
    )
)
@shared
@click.option("--seeds", default="1..20", show_default=True, help="One seed or A..B, both ends included.")
@click.option("--hours", default="0.1", show_default=True, help="Virtual hours of each world before it is healed.")
@click.option("--case", "case_file", type=click.Path(path_type=Path), help="Run this written world instead.")
@click.option("--out", "folder", type=click.Path(path_type=Path), default=Path("."), help="Where failing worlds go.")
@click.option("--jobs", type=click.IntRange(min=1), help="Worlds at once, one process each.  [default: all cores]")
@click.option("--keep-going", is_flag=True, help="Go on with the other seeds after a violation.")
@click.option(
    "--shrink/--no-shrink", default=True, help="Make a failing world small at once; --case does it later too."
)
def simulate(**said: Any) -> None:
    """Run the product against the simulated exchange in seeded worlds full of faults; exit 0 when every invariant holds.

    A world that breaks one prints its seed, options and last events, is made as small as it fails, and is written as
    world-SEED.json (which --case runs) and world-SEED.rec (which replay and explain read).
    """
    from streamhedge.world.auditor import EXCUSED
    from streamhedge.world.script import Case, draw

    common = common_of(said)
    if said["case_file"] is not None:
        try:
            plays: list[Callable[[], Case]] = [partial(Case.of, json.loads(said["case_file"].read_text()))]
            plays[0]()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise click.UsageError(f"--case {said['case_file']}: {error}") from error
    else:
        length_ms, seeds = _milliseconds(said["hours"]), _seeds(said["seeds"])
        plays = [partial(draw, seed, length_ms) for seed in seeds]
    for name, what in EXCUSED.items():
        common.detail(f"excused: {name}: {what}")
    total = _Total(common, len(plays), said["folder"])
    play = partial(_play, small=said["shrink"])
    with _played(play, plays, min(said["jobs"] or os.cpu_count() or 1, len(plays))) as outcomes:
        for outcome in outcomes:
            total.add(outcome)
            if total.violations and not said["keep_going"]:
                break
    result = total.result()
    if common.json:
        out(result)
    else:
        click.echo(
            f"{result['worlds']} worlds, {result['hours']} virtual hours, {result['events']} events, "
            f"{result['violations']} violations in {result['seconds']} s"
        )
    sys.exit(OK if result["violations"] == 0 else FAILURE)


@contextlib.contextmanager
def _played(
    play: Callable[[Callable[[], Case]], Outcome], plays: list[Callable[[], Case]], jobs: int
) -> Iterator[Iterator[Outcome]]:
    """Yield what became of each case as soon as it is known, played by so many processes at once."""
    if jobs == 1:
        yield map(play, plays)
        return
    # A fork shares what is loaded, and plays the very same code as this process would.
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield pool.imap_unordered(play, plays)


def _play(draws: Callable[[], Case], *, small: bool) -> Outcome:
    """Play one world; one that fails is made as small as it fails where that is wanted, while the others go on."""
    from streamhedge.live.recovery import recovered
    from streamhedge.world.shrink import shrink, with_recording
    from streamhedge.world.world import World

    case = draws()
    outcome = World(case, recovered).run()
    if outcome.violation is None:
        outcome.lines = []
        return outcome
    found = str(outcome.violation)
    kept = shrink(outcome, recovered) if small else with_recording(outcome, recovered)
    kept.found, kept.options = found, case.json()["options"]
    return kept


class _Total:
    """What all worlds so far came to."""

    def __init__(self, common: Common, many: int, folder: Path) -> None:
        self._common, self._many, self._folder = common, many, folder
        self._start = self._told = time.perf_counter()
        self._worlds = self._events = self._virtual_ms = self.violations = 0
        self._fired: dict[str, int] = {}

    def add(self, outcome: Outcome) -> None:
        """Count one world, and tell of it when it failed."""
        self._worlds += 1
        self._events += outcome.events
        self._virtual_ms += outcome.virtual_ms
        for name, times in outcome.fired.items():
            self._fired[name] = self._fired.get(name, 0) + times
        if outcome.violation is not None:
            self.violations += 1
            _tell_violation(outcome, self._folder)
        if time.perf_counter() - self._told > TELL_EVERY_S:
            self._told = time.perf_counter()
            worlds = f"{self._worlds} of {self._many} worlds"
            self._common.say(f"{worlds}, {self._events} events, {self.violations} violations")

    def result(self) -> dict[str, Any]:
        """Return the figures."""
        hours = round(self._virtual_ms / 3_600_000, 3)
        return {
            **{"worlds": self._worlds, "hours": hours, "events": self._events, "violations": self.violations},
            **{"fired": dict(sorted(self._fired.items())), "seconds": round(time.perf_counter() - self._start, 2)},
        }


def _tell_violation(small: Outcome, folder: Path) -> None:
    click.echo(f"seed {small.case.options.seed} breaks invariant {small.found}", err=True)
    click.echo(f"options: {json.dumps(small.options)}", err=True)
    click.echo(f"the last {len(small.trail)} events of the smallest world that breaks it:", err=True)
    for row in small.trail:
        click.echo(f"  {row}", err=True)
    for happening in small.case.happenings:
        click.echo(f"  needs {happening}", err=True)
    click.echo(f"written: {_write(small, folder)}", err=True)


def _write(small: Outcome, folder: Path) -> str:
    """Write the world and, where its inputs were kept, the recording of its last run."""
    from streamhedge.store.journal import one_line, open_new

    folder.mkdir(parents=True, exist_ok=True)
    name = f"world-{small.case.options.seed}"
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**small.case.json(), "breaks": str(small.violation)}, indent=1) + "\n")
    if not small.lines:
        return str(path)
    recording = folder / f"{name}.rec"
    recording.unlink(missing_ok=True)
    with open_new(recording) as file:
        for line in small.lines:
            if line.source != "sum":  # the sums of a file hold its own hash chain; these hold digests alone
                file.write(b"%d %s %s\n" % (line.recv_ns, line.source.encode(), one_line(line.payload)))
    return f"{path} and {recording}"


def _seeds(text: str) -> range:
    first, dots, last = text.partition("..")
    if not SEED.fullmatch(first) or (dots and not SEED.fullmatch(last)):
        raise click.UsageError(f"--seeds {text!r}: expected a number or A..B")
    found = range(int(first), int(last or first) + 1)
    if not found:
        raise click.UsageError(f"--seeds {text!r}: no seed lies between them")
    return found


def _milliseconds(hours: str) -> int:
    try:
        found = float(hours)
    except ValueError as error:
        raise click.UsageError(f"--hours {hours!r} is no number") from error
    if not 0 < found <= 1_000:
        raise click.UsageError(f"--hours {hours} must be above 0 and at most 1000")
    return int(found * 3_600_000)
