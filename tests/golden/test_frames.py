"""Frames composed here, with every field of what they decode to: the proof that needs no folder beside the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.events import Event, Quarantined
from streamhedge.wire.streams import decode_market, decode_private

FRAMES = Path(__file__).parent / "frames"


def cases(door: str) -> list[Any]:
    """Return (frame, events) of one file, named for the report."""
    read = json.loads((FRAMES / f"{door}.json").read_text(encoding="utf-8"))
    return [pytest.param(case["frame"], case["events"], id=case["name"]) for case in read]


def plain(event: Event, raw: bytes) -> dict[str, Any]:
    """Return an event as the files write it; the head of a quarantined frame is checked here."""
    fields = {"type": type(event).__name__, **to_plain(event)}
    if isinstance(event, Quarantined):
        assert fields.pop("head") == raw[:200].decode("utf-8", "replace")
    return fields


@pytest.mark.parametrize(("frame", "events"), cases("market"))
def test_market(frame: object, events: list[dict[str, Any]]) -> None:
    raw = json.dumps(frame, ensure_ascii=False).encode()

    assert [plain(event, raw) for event in decode_market(raw)] == events


@pytest.mark.parametrize(("frame", "events"), cases("private"))
def test_private(frame: object, events: list[dict[str, Any]]) -> None:
    raw = json.dumps(frame, ensure_ascii=False).encode()

    assert [plain(event, raw) for event in decode_private(raw)] == events


def test_every_file_of_frames_is_read() -> None:
    assert sorted(path.name for path in FRAMES.iterdir()) == ["market.json", "private.json"]
