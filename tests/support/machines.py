"""A hedger in this process against a served exchange, for tests that reach into the machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streamhedge import Hedger
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import calm
from streamhedge.simserver.server import serve
from tests.support.shared import REPOSITORY

KEY, SECRET = "k" * 32, "s" * 32
DEMO = REPOSITORY / "streamhedge" / "settings" / "demo.toml"


@asynccontextmanager
async def venue() -> AsyncIterator[dict[str, Any]]:
    exchange = Exchange(Settings(calm(7), Keys(KEY, SECRET)), time.time_ns() // 1_000_000)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(exchange, port=0, ready=ready.set_result, stop=stop.wait))
    try:
        yield await asyncio.wait_for(ready, 10)
    finally:
        stop.set()
        await task


def hedger(tmp_path: Path, ready: dict[str, Any], *, more: str = "", **env: str) -> Hedger:
    own = tmp_path / "own.toml"
    own.write_text(
        f'[endpoints]\nrest = "{ready["rest"]}"\nstream = "{ready["stream"]}"\nws_api = "{ready["ws_api"]}"\n'
        f'spot_ws_api = "{ready["spot_ws_api"]}"\n{more}'
        '[keys]\napi_key = { env = "KEY" }\napi_secret = { env = "SECRET" }\n'
    )
    return Hedger.from_config(DEMO, own, state_dir=tmp_path / "state", env={"KEY": KEY, "SECRET": SECRET, **env})
