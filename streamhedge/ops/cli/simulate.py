"""`streamhedge simulate`: seeded worlds, one after the other; a failing one is shrunk and written down."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamhedge.ops.cli.options import Common, common_of, example, out, shared
from streamhedge.ops.exits import FAILURE, OK

if TYPE_CHECKING:
    from streamhedge.world.world import Outcome

TELL_EVERY_S = 5.0


@click.command(
    epilog=example(
        "streamhedge simulate", "streamhedge simulate --seeds 1..500 --hours 1 --json", "… --case world-7.json"
    )
)
@shared
@click.option("--seeds", default="1..20", show_default=True, help="One seed or A..B, both ends included.")
@click.option("--hours", default="0.1", show_default=True, help="Virtual hours of each world before it is healed.")
@click.option("--case", "case_file", type=click.Path(path_type=Path), help="Run this written world instead.")
@click.option("--out", "folder", type=click.Path(path_type=Path), default=Path("."), help="Where failing worlds go.")
@click.option("--keep-going", is_flag=True, help="Go on with the other seeds after a violation.")
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
            cases = [Case.of(json.loads(said["case_file"].read_text()))]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise click.UsageError(f"--case {said['case_file']}: {error}") from error
    else:
        length_ms = _milliseconds(said["hours"])
        cases = [draw(seed, length_ms) for seed in _seeds(said["seeds"])]
    for name, what in EXCUSED.items():
        common.detail(f"excused: {name}: {what}")
    result = _run(common, cases, said["folder"], keep_going=said["keep_going"])
    if common.json:
        out(result)
    else:
        click.echo(
            f"{result['worlds']} worlds, {result['hours']} virtual hours, {result['events']} events, "
            f"{result['violations']} violations in {result['seconds']} s"
        )
    sys.exit(OK if result["violations"] == 0 else FAILURE)


def _run(common: Common, cases: list[Any], folder: Path, *, keep_going: bool) -> dict[str, Any]:
    from streamhedge.live.recovery import recovered
    from streamhedge.world.world import World

    start = told = time.perf_counter()
    worlds = events = virtual_ms = violations = 0
    fired: dict[str, int] = {}
    for case in cases:
        outcome = World(case, recovered).run()
        worlds += 1
        events += outcome.events
        virtual_ms += outcome.virtual_ms
        for name, times in outcome.fired.items():
            fired[name] = fired.get(name, 0) + times
        if outcome.violation is not None:
            violations += 1
            _tell_violation(common, outcome, folder)
            if not keep_going:
                break
        if time.perf_counter() - told > TELL_EVERY_S:
            told = time.perf_counter()
            common.say(f"{worlds} of {len(cases)} worlds, {events} events, {violations} violations")
    return {
        **{"worlds": worlds, "hours": round(virtual_ms / 3_600_000, 3), "events": events, "violations": violations},
        **{"fired": dict(sorted(fired.items())), "seconds": round(time.perf_counter() - start, 2)},
    }


def _tell_violation(common: Common, outcome: Outcome, folder: Path) -> None:
    from streamhedge.live.recovery import recovered
    from streamhedge.world.shrink import shrink

    seed = outcome.case.options.seed
    click.echo(f"seed {seed} breaks invariant {outcome.violation}", err=True)
    click.echo(f"options: {json.dumps(outcome.case.json()['options'])}", err=True)
    small = shrink(outcome, recovered, tell=lambda left: common.detail(f"{left} happenings left"))
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
    if not first.isdigit() or (dots and not last.isdigit()):
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
