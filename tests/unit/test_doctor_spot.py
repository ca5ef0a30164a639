"""doctor and the spot route: asked where fills are followed, with the keys that a hedger would use."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamhedge.ops.doctor import Check, examine
from tests.support.machines import DEMO, KEY, SECRET, hedger, venue

SPOT = '[spot]\nsymbols = ["BTCUSDT"]\n'
OWN = 'api_key = { env = "KEY" }\napi_secret = { env = "OTHER" }\n'


async def examined(tmp_path: Path, more: str, *sets: str, **env: str) -> dict[str, Check]:
    """Return the checks by name."""
    async with venue() as ready:
        hedger(tmp_path, ready, more=more, OTHER="unused")
        said = {"KEY": KEY, "SECRET": SECRET, **env}
        found = await examine(
            [DEMO, tmp_path / "own.toml"], sets, tmp_path / "state", said, online=True, say=lambda text: None
        )
        return {check.name: check for check in found}


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep locks away from whatever else runs here."""
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))


async def test_without_the_table_it_is_not_asked(tmp_path: Path) -> None:
    assert not {"route spot", "spot keys"} & set(await examined(tmp_path, ""))


async def test_a_route_that_delivers(tmp_path: Path) -> None:
    found = await examined(tmp_path, SPOT)
    assert found["route spot"].verdict == "ok" and "BTCUSDT never traded" in found["route spot"].found


async def test_keys_of_its_own_that_are_wrong(tmp_path: Path) -> None:
    found = await examined(tmp_path, SPOT + OWN, OTHER="wrong")
    assert found["spot keys"].verdict == "ok", "readable, and that is all it says"
    assert found["route spot"].verdict == "fail" and "-1022" in found["route spot"].found


async def test_keys_that_are_not_there_and_nobody_at_the_address(tmp_path: Path) -> None:
    found = await examined(tmp_path, SPOT + OWN, "endpoints.spot_ws_api=ws://127.0.0.1:1/ws-api/v3")
    assert found["spot keys"].verdict == "fail"
    assert found["route spot"].verdict == "fail" and "[endpoints].spot_ws_api" in found["route spot"].repair
