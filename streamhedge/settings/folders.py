"""Where a run's state lives when nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def default_state_dir(env: Mapping[str, str]) -> Path:
    """Return the per-user state folder (XDG): ledgers and recordings, one folder per account inside."""
    home = env.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "streamhedge"
