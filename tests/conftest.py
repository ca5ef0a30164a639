"""What every test gets: repeatable randomness, and the seed on the screen when it fails.

TEST_SEED=n moves the seed; HYPOTHESIS_PROFILE=explore looks for new examples instead of repeating the known ones.
``pytest --fault-table`` writes tests/faults.md from what it collects and sees (tests/support/fault_table.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from tests.support.fault_table import TABLE, Said, marked, rendered, results_in

SAID = pytest.StashKey[Said]()
TESTS = pytest.StashKey[dict[str, list[str]]]()
SEED = int(os.environ.get("TEST_SEED", "7"))
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "repeatable")

hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, print_blob=True)
hypothesis.settings.register_profile("explore", max_examples=1000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(PROFILE)


@pytest.fixture
def seed() -> int:
    """Return the seed that a test with chance in it must use."""
    return SEED


def pytest_report_header() -> str:
    hash_seed = os.environ.get("PYTHONHASHSEED", "random")
    python = ".".join(map(str, sys.version_info[:3]))
    return f"seeds: TEST_SEED={SEED} PYTHONHASHSEED={hash_seed} HYPOTHESIS_PROFILE={PROFILE} (python {python})"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    used = getattr(item, "funcargs", {}).get("seed")
    if report.failed and used is not None:
        report.sections.append(("seed", f"seed={used}   repeat with: TEST_SEED={SEED} ./scripts/test {item.nodeid}"))
    if SAID in item.config.stash:
        item.config.stash[SAID].note(report)
    return report


# ---------------------------------------------------------------- the table of faults


def pytest_addoption(parser: pytest.Parser) -> None:
    help_text = (
        "write the table of faults, to tests/faults.md without a path; wants the whole suite, -m fault runs its tests"
    )
    parser.addoption("--fault-table", nargs="?", const=str(TABLE), metavar="PATH", help=help_text)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fault-table"):
        if config.args != config.getini("testpaths"):
            raise pytest.UsageError(
                "--fault-table wants the whole suite collected: name no files; -m and -k may run fewer"
            )
        config.stash[SAID] = Said()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SAID in config.stash:
        config.stash[TESTS] = marked(items)  # before -m and -k take some away


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if TESTS in config.stash:
        before = results_in(TABLE.read_text("utf-8")) if TABLE.exists() else {}
        text = rendered(config.stash[TESTS], {**before, **config.stash[SAID].results})
        Path(config.getoption("--fault-table")).write_text(text, "utf-8")
