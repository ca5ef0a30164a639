"""Ten SIGKILLs over a running hedger, at random and where they hurt: nothing is lost, nothing is sent twice.

`scripts/soak kills` makes two hundred of them.
"""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from tests.e2e.books import Clients
from tests.e2e.kills import KINDS, Found, figures, kill_again_and_again
from tests.support.processes import room

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LANES = (("flight", "any", "starting", "trade", "sockets"), ("trade", "stopping", "flight", "starting", "any"))
"""Side by side, each with an exchange of its own: mostly they wait."""
CEILING = 10
"""Where a figure is bounded at all: so many times what `scripts/soak kills` holds it to."""


@pytest.mark.fault("P1", "F3", "O2")
async def test_ten_kills_lose_nothing_and_send_nothing_twice(seed: int) -> None:
    lanes = [Found(Clients(random.Random(seed + number))) for number in range(len(LANES))]
    with room() as first, room() as second:
        async with asyncio.TaskGroup() as group:
            for number, folder in enumerate((first, second)):
                group.create_task(kill_again_and_again(folder, LANES[number], seed + number, lanes[number]))
    found = figures(lanes)
    print(json.dumps(found))
    assert found["doubled"] == 0, [lane.clients.doubled for lane in lanes]
    assert found["lost"] == 0, [lane.clients.lost for lane in lanes]
    # It was as hard as it says.
    assert found["kills"] == 10 and all(found["kinds"][kind] for kind in KINDS), found["kinds"]
    assert found["cold_start_s"]["in_doubt"]["n"] >= 1 and found["cold_start_s"]["clear"]["n"] >= 1
    assert found["unanswered"] >= 1 and found["stale_lock_and_socket"] >= 5
    assert found["trades"] > 10 and found["orders"] > 10, "trading went on all the time"
    for row in found["cold_start_s"].values():
        assert row["max"] < CEILING * row["limit"], found["cold_start_s"]
