"""The table of faults: every row of the catalogue, the knob that injects it, the tests that show it, what they said.

A test names the rows it shows with ``@pytest.mark.fault("S1", …)``. ``pytest --fault-table`` runs the suite and writes
tests/faults.md; with ``-m fault`` only the tests of the table, with ``--collect-only`` none: what a test said last time
then stays. tests/architecture/test_fault_table.py holds the committed table against the tests there are.

Ids are those of the fault catalogue (FAULTS §2 and §6); titles are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from streamhedge.sim.faults import KNOWN
from streamhedge.world.script import KINDS

TABLE = Path(__file__).resolve().parents[1] / "faults.md"
GROUPS = {
    **{"S": "Streams", "U": "User data", "O": "Orders", "A": "Account", "M": "Market", "C": "Clock"},
    **{"P": "Process and disk", "K": "Configuration and operator", "X": "Security", "F": "Float trades"},
}

ROWS: dict[str, str] = {
    "S1": "a socket that is half open: nothing comes and nothing ends",
    "S2": "a stream that is acknowledged and mute from the start",
    "S3": "the venue's daily close, in the middle of a hedge",
    "S4": "reconnecting or subscribing too fast",
    "S5": "decisions on data that waited too long",
    "S6": "fifty times the usual number of frames",
    "S7": "frames that are broken: JSON, UTF-8, numbers",
    "S8": "event types, words and fields nobody knows",
    "S9": "frames nested or larger than any parser should take",
    "S10": "one symbol of several is mute",
    "S11": "two connections tell the same",
    "S12": "no name, no TLS, a page of somebody else's",
    "S13": "closes and control frames in the middle of a message",
    "U1": "what happened while no stream was open",
    "U2": "the listen key expires, with its event or without",
    "U3": "somebody else deletes the listen key",
    "U4": "renewing the listen key fails",
    "U5": "order and account event in either order",
    "U6": "a fill told twice, or again much later",
    "U7": "a snapshot older than an event, an event older than a snapshot",
    "U8": "one event is lost on a healthy stream",
    "U9": "a fill told in short before it is told in full",
    "U10": "funding and balances without positions",
    "U11": "an absent row taken for a flat position",
    "U12": "a fill of a symbol nobody configured",
    "U13": "positions by side, as hedge mode has them",
    "U14": "leverage, margin calls, assets mode, brackets: news of the account",
    "U15": "audits that never agree",
    "O1": "no answer, or one that proves nothing: the order may have executed",
    "O2": "a request sent a second time",
    "O3": "refused for certain",
    "O4": "the fill before the answer, the answer an error",
    "O5": "a 200 that is no answer, or of another order",
    "O6": "not found now, filled later",
    "O7": "filled in part, the rest expired",
    "O8": "cancelled and filled at once",
    "O9": "the last fill's quantity taken for the whole, or the whole for the last",
    "O10": "a reduce-only order that the venue refuses",
    "O11": "a close sized on a position that has gone",
    "O12": "the account's order budget, used by others too",
    "O13": "banned while exposed",
    "O14": "margin, notional and filters refuse, and filters change",
    "O15": "the kept connection closes as the order is written",
    "O16": "an HTTP library that repeats a request by itself",
    "O17": "an order that rests and does not fill",
    "O18": "an order that executes long after it was accepted to",
    "O19": "an order of ours that is not what we sent",
    "O20": "deciding again and again without effect",
    "A1": "a person or another program trades the account",
    "A2": "two of us on one account; books put back from a copy",
    "A3": "the position mode is switched",
    "A4": "leverage, margin type or assets mode is changed",
    "A5": "the venue closes the leg: liquidation, deleveraging, settlement",
    "A6": "no margin for the hedge",
    "A7": "balances jump: funding, transfers, collateral",
    "A8": "a contract that is delisted, settles or only closes",
    "M1": "no prices while the account's stream lives",
    "M2": "prices that cannot be: none, negative, ten times",
    "M3": "maintenance: everything is closed and refused",
    "M4": "a thin book",
    "M5": "symbols outside ASCII, and what is signed of them",
    "C1": "our clock is off",
    "C2": "the wall clock is set",
    "C3": "the machine sleeps, the process is stopped",
    "C4": "the loop stalls",
    "C5": "one slow answer about the time",
    "C6": "everything due in the same second",
    "P1": "killed, or without power, at any point of an order",
    "P2": "recording or ledger torn, changed, cut, or an older copy",
    "P3": "a disk that is full, fails, or is read-only",
    "P4": "a disk that is slow",
    "P5": "out of memory or file descriptors",
    "P6": "a task that dies in silence",
    "P7": "signals with orders under way",
    "P8": "starting and failing again and again",
    "P9": "nobody reads stdout",
    "P10": "files of another version",
    "P11": "python -O, other libraries than the locked ones",
    "P12": "the kill path fails, or the loop is wedged",
    "K1": "words, units and limits that are wrong or missing",
    "K2": "the wrong account or environment",
    "K3": "a sign or a ratio the wrong way round",
    "K4": "a person flattens by hand",
    "K5": "limits change while it runs",
    "K6": "alarms nobody reads",
    "K7": "resumed without knowing why it stopped",
    "K8": "simulated prices taken for real ones",
    "X1": "another user of the machine at the control socket",
    "X2": "a page in the browser that talks to ours",
    "X3": "keys in logs, errors, arguments, recordings",
    "X4": "a dependency that is not what it was",
    "X5": "another host, a proxy, no TLS, a redirect",
    "X6": "a key that may too much, or no longer",
    "X7": "text from the venue that steers a terminal, a sheet, a page",
    "X8": "links and permissions: whose files these are",
    "X9": "compressed frames that unpack without end",
    "X10": "the simulator inside a live process",
    "F1": "the same trade submitted twice",
    "F2": "a wrong unit or a zero too many",
    "F3": "a crash between booking a trade and hedging it",
    "F4": "a wrong trade is booked",
    "F5": "a price far from the mark, or none",
    "F6": "BTC received is not USD over price",
    "F7": "the float is audited and found different",
}

REASONS: dict[str, str] = {}
"""Rows without a test, and why."""

OPEN: dict[str, str] = {
    "P5": "a ceiling of memory, which is not built: queues have bounds",
    "S4": "a limit of subscriptions a second: one is sent for each symbol followed later",
    "S6": "ten minutes of a cascade; `scripts/bench` has the figures of a flood",
    "S12": "name servers and certificates that fail",
    "O16": "a count of requests on a reused connection; no order is amended or cancelled by a repeated call",
    "M4": "an order book that grows thin: orders are bounded by their collar alone",
    "P12": "a failure at every line of the kill path",
    "C6": "one question at a time: each is a task of its own, and the set-up alone asks in a row",
    "C2": "a line that tells of a wall clock that was set",
    "X4": "refusing source packages and start-up files: the hashes alone decide",
    "X5": "proxies in the environment and redirects",
    "X6": "what else a key may do: the venue tells no futures key",
    "X9": "a frame that unpacks without end: compression is off and the libraries have their floors",
}
"""Rows whose tests show a part of what the catalogue asks; here is the rest."""

KIND_ROWS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("order-lost", "order-slow", "order-answer-lost", "order-answer-slow"), ("O1",)),
    **dict.fromkeys(("call-lost", "call-answer-lost"), ("U4",)),
    **dict.fromkeys(("ask-lost", "ask-answer-lost", "ask-answer-slow"), ("U7", "C5")),
    **{"order-refused": ("O3",), "frame-lost": ("U8",), "frame-slow": ("U5", "O4"), "frames-again": ("S11", "U6")},
    **{"net-down": ("S13", "U1"), "external": ("A1", "K4"), "external-eth": ("U12",), "rival": ("A2",)},
    **{"leverage": ("A4", "U14"), "transfer": ("A7",), "brackets": ("U14",), "contract": ("A8",), "again": ("F1",)},
    **{"kill": ("P1", "F3"), "power": ("P1",), "stop": ("C3",), "stall": ("C4",), "crash": ("M2",)},
    **{"ledger-fails": ("P3",), "commit-fails": ("P3",), "journal-fails": ("P3",), "filters": ("O14",)},
}
"""What the seeded worlds do that has no row's name, and the rows it is; kinds named by a row are that row."""
NO_ROW_OF_THE_CATALOGUE = ("X1",)
"""Knobs of the exchange whose name is taken: its X1 is a lie for the verdict's own tests."""


def world_kinds(row: str) -> list[str]:
    """Return the happenings of seeded worlds that inject a row."""
    return [kind for kind in KINDS if kind == row or row in KIND_ROWS.get(kind, ())]


def knobs(row: str) -> list[str]:
    """Return how a row is injected: by the exchange's switch, by seeded worlds."""
    found = [f"`--fault {row}`"] if row in KNOWN and row not in NO_ROW_OF_THE_CATALOGUE else []
    kinds = world_kinds(row)
    return found + ([f"worlds: {', '.join(f'`{kind}`' for kind in kinds)}"] if kinds else [])


WORLD_ROWS = tuple(row for row in ROWS if world_kinds(row))
"""Rows that the seeded worlds inject."""

# ---------------------------------------------------------------- what was collected


def marked(items: Iterable[pytest.Item]) -> dict[str, list[str]]:
    """Return the tests of every row, each once, in the order they run.

    Raises:
        UsageError: a mark names a row that does not exist.
    """
    found: dict[str, dict[str, None]] = {row: {} for row in ROWS}
    for item in items:
        for mark in item.iter_markers("fault"):
            for row in mark.args:
                if row not in ROWS:
                    raise pytest.UsageError(f"{item.nodeid} is marked with fault {row!r}, which is no row")
                found[row][test_name(item.nodeid)] = None
    return {row: list(names) for row, names in found.items()}


def test_name(nodeid: str) -> str:
    """Return a test's name in the table: without the folder they all share, and without its parameters."""
    return nodeid.partition("[")[0].removeprefix("tests/")


test_name.__test__ = False  # type: ignore[attr-defined]


class Said:
    """What each test said: the worst of its cases."""

    ORDER = ("passed", "skipped", "known to fail", "failed")

    def __init__(self) -> None:
        self.results: dict[str, str] = {}

    def note(self, report: pytest.TestReport) -> None:
        """Take one report of a run."""
        if report.when != "call" and report.outcome == "passed":
            return
        said = "known to fail" if hasattr(report, "wasxfail") else report.outcome
        name = test_name(report.nodeid)
        before = self.results.get(name, said)
        self.results[name] = max(before, said, key=self.ORDER.index)


# ---------------------------------------------------------------- the table


def rendered(tests: Mapping[str, list[str]], results: Mapping[str, str]) -> str:
    """Return the table as Markdown.

    Args:
        tests: Names of the tests of each row.
        results: What each test said when it last ran.
    """
    covered = [row for row in ROWS if tests[row]]
    lines = [
        "# Faults: what can go wrong, how it is injected, and which tests show what happens then",
        "",
        "Written by `pytest --fault-table`; tests/support/fault_table.py says how. Knobs are switches of the simulated exchange "
        "(`streamhedge sim --fault ID=value`) and happenings of seeded worlds (`streamhedge simulate`).",
        "",
        f"{len(covered)} of {len(ROWS)} rows have tests; {len(OPEN)} of those name a part that no test shows.",
    ]
    for letter, group in GROUPS.items():
        lines += ["", f"## {group}", "", "| row | what goes wrong | knob | tests | result |", "|---|---|---|---|---|"]
        for row in (row for row in ROWS if row.startswith(letter)):
            lines.append("| " + " | ".join((row, ROWS[row], *_cells(row, tests[row], results))) + " |")
    return "\n".join(lines) + "\n"


def _cells(row: str, tests: list[str], results: Mapping[str, str]) -> tuple[str, str, str]:
    knob = "; ".join(knobs(row)) or "–"
    if not tests:
        return knob, "–", f"not covered: {REASONS.get(row, 'nobody says why')}"
    said = {name: results.get(name, "not run") for name in tests}
    shown = [f"`{name}`" + ("" if word == "passed" else f" ({word})") for name, word in said.items()]
    counts = {word: list(said.values()).count(word) for word in (*Said.ORDER, "not run")}
    result = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return knob, "<br>".join(shown), result + (f"; not shown: {OPEN[row]}" if row in OPEN else "")


_TEST = re.compile(r"`([\w/]+\.py::\w+)`(?: \(([a-z ]+)\))?")
_RESULT = re.compile(
    r" \((?:skipped|known to fail|failed|not run)\)|(?:\d+ (?:passed|skipped|known to fail|failed|not run)(?:, )?)+"
)


def results_in(text: str) -> dict[str, str]:
    """Return what each test said according to a table."""
    found = {name: said or "passed" for name, said in _TEST.findall(text)}
    return {name: said for name, said in found.items() if said != "not run"}


def without_results(text: str) -> list[str]:
    """Return a table's lines without what tests said: rows, knobs, names and reasons."""
    return [_RESULT.sub("", line) for line in text.splitlines()]
