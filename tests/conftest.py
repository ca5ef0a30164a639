"""What every test gets: repeatable randomness, and the seed on the screen when it fails.

TEST_SEED=n moves the seed; HYPOTHESIS_PROFILE=explore looks for new examples instead of repeating the known ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator

import hypothesis
import pytest

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
    return report
