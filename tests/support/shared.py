"""Where the reference files beside the repository are, if they are there at all.

Holds a path and a skip mark; written by nobody at run time. The suite must pass without the reference files.
"""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def find_shared(start: Path) -> Path | None:
    """Return the nearest folder ``shared`` beside ``start`` or beside one of its parents.

    Args:
        start: The repository's root.

    Returns:
        The folder that holds the venue's protocol notes, or None.
    """
    for parent in start.parents:
        candidate = parent / "shared"
        if (candidate / "protocol").is_dir():
            return candidate
    return None


SHARED: Path | None = find_shared(REPOSITORY)

needs_shared = pytest.mark.skipif(
    SHARED is None, reason="no ../shared with the venue's reference files beside the repository"
)
