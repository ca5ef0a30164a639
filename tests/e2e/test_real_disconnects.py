"""Ten disconnects over real sockets while float trades go on: no fill is lost, and the book is live again at once.

`scripts/soak sockets` makes fifty of them.
"""

from __future__ import annotations

import json
import random

import pytest

from tests.e2e.books import Clients
from tests.e2e.cuts import STREAMS, WAYS, Cuts, cut_again_and_again, figures
from tests.support.processes import room

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
CUTS = 10
CEILING = 10
"""Where a figure is bounded at all: so many times what `scripts/soak sockets` holds it to."""


@pytest.mark.fault("S13", "U1")
async def test_ten_disconnects_lose_no_fill(seed: int) -> None:
    seen = Cuts(Clients(random.Random(seed)))
    with room() as folder:
        await cut_again_and_again(folder, CUTS, seed, seen)
    found = figures(seen)
    print(json.dumps(found))
    assert (found["doubled"], found["lost"], seen.passed) == (0, 0, ""), (seen.clients, seen.passed)
    # Each stream went both ways, with trades around it and a fill in the gap.
    assert found["cuts"] == CUTS
    assert {(cut.stream, cut.way) for cut in seen.cuts} == {(stream, way) for stream in STREAMS for way in WAYS}
    assert found["foreign"] >= 2 and found["trades"] >= CUTS and found["orders"] >= CUTS
    for row in (found["live_s"]["all"], found["in_band_s"]):
        assert row["max"] < CEILING * row["limit"], found
