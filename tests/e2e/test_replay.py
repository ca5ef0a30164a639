"""A recording replays to the digest of its run, whatever the hash seed, whole and from any segment on."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Account, Ended, command, exchange, room, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
REPLAY_KEYS = {"events", "decisions", "digest", "diverged", "seconds"}


@dataclass(slots=True)
class Recorded:
    """A run's summary, its segments, and the folder they stand in."""

    folder: Path
    summary: dict[str, Any]
    segments: list[Path]


@pytest.fixture(scope="module")
def recorded() -> Any:
    """One run with faults whose recording is cut into several segments."""
    with room() as folder:

        async def run() -> dict[str, Any]:
            async with exchange(folder, "--tape", "calm", "--speed", "50") as venue:
                account = Account(folder, venue, more='[record]\ndir = "recordings"\nrotate = "1s"\nkeep = "7d"\n')
                async with account.run("--json", "--record", str(folder / "recording")) as program:
                    await until("hedged", account.hedged)
                    await venue.arm("S7=x,S8=x@1,S3=private@2,O7=40,U6=x*4,A5=adl@3")
                    for number, (kind, amount) in enumerate((("sell", "0.75"), ("buy", "80000"), ("sell", "1.5"))):
                        await account.ask(verb="trade", id=f"t-{number}", kind=kind, amount=amount)
                        await asyncio.sleep(1.2)
                    await until("at rest", account.hedged)
                    ended = await program.stopped()
                    assert ended.code == 0, ended.err[-3000:]
                    return ended.json()

        summary = asyncio.run(run())
        segments = sorted(path for path in (folder / "recording").rglob("*.rec*") if path.is_file())
        yield Recorded(folder, summary, segments)


async def replay(recorded: Recorded, *files: Path, hash_seed: str = "0") -> Ended:
    words = [str(file) for file in files]
    return await command(recorded.folder, "replay", *words, "--json", env={"PYTHONHASHSEED": hash_seed})


async def test_the_run_passed_and_was_cut_into_segments(recorded: Recorded) -> None:
    assert recorded.summary["pass"], recorded.summary["reason"]
    assert len(recorded.segments) >= 3, recorded.segments
    assert {Path(name).name.removesuffix(".zst") for name in recorded.summary["recording"]} == {
        path.name.removesuffix(".zst") for path in recorded.segments
    }


@pytest.mark.parametrize("hash_seed", ["0", "1", "4294967295"])
async def test_the_digest_is_the_runs_under_any_hash_seed(recorded: Recorded, hash_seed: str) -> None:
    found = await replay(recorded, *recorded.segments, hash_seed=hash_seed)
    assert (found.code, set(found.json())) == (0, REPLAY_KEYS), found.err
    assert found.json()["diverged"] is None
    assert found.json()["digest"] == recorded.summary["digest"]
    assert found.json()["events"] > 100 and found.json()["decisions"] >= 3


async def test_every_segment_replays_by_itself(recorded: Recorded) -> None:
    for segment in recorded.segments:
        found = await replay(recorded, segment)
        assert (found.code, found.json()["diverged"]) == (0, None), (segment, found.err)
    assert found.json()["digest"] == recorded.summary["digest"], "the last segment ends where the run ended"


async def test_the_folder_means_all_of_it(recorded: Recorded) -> None:
    found = await replay(recorded, recorded.folder / "recording")
    assert (found.code, found.json()["digest"]) == (0, recorded.summary["digest"])


@pytest.mark.fault("X3")
async def test_the_recording_holds_neither_key_nor_signature(recorded: Recorded) -> None:
    account = (recorded.folder / "account.toml").read_text()
    assert "E2E_SECRET" in account, "the secret came from the environment"
    for segment in recorded.segments:
        if segment.suffix == ".rec":
            raw = segment.read_bytes()
            assert b"signature=" not in raw and os.fsencode("X-MBX-APIKEY") not in raw
