"""The canonical form comes back as the same value, and the same state always digests alike."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal

import orjson

from streamhedge.domain.canonical import digest, from_plain, to_plain
from streamhedge.reactor.state import State
from streamhedge.rules.params import Policy
from tests.support import builders as make


def test_a_used_state_survives_the_round_trip_through_json() -> None:
    machine = make.reactor()
    machine.react(1, 1_000_000, [make.setup(), make.mark("67121.4"), make.snapshot(), make.live()])
    machine.react(2, 2_000_000, [make.float_trade("10")])
    plain = orjson.loads(orjson.dumps(to_plain(machine.state)))
    again = from_plain(State, plain)
    assert again == machine.state
    assert digest(again) == machine.digest()


def test_a_policy_survives_the_round_trip() -> None:
    policy = make.policy()
    assert from_plain(Policy, orjson.loads(orjson.dumps(to_plain(policy)))) == policy


def test_decimals_keep_their_digits() -> None:
    assert to_plain({"a": Decimal("1.10")}) == {"a": "1.10"}


def test_the_digest_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "from tests.support import builders as make\n"
        "machine = make.reactor()\n"
        "machine.react(1, 10**9, [make.setup(), make.mark('67121.4'), make.snapshot(), make.live()])\n"
        "machine.react(2, 2 * 10**9, [make.float_trade('10')])\n"
        "print(machine.digest())\n"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    ]
    assert found[0] == found[1] != ""
