"""Tapes: the built-in ones, users' files, and what is wrong with bad ones."""

from __future__ import annotations

from decimal import Decimal

import pytest

from streamhedge.errors import ConfigError
from streamhedge.ops.simulated import tape_of
from streamhedge.sim.tapes import BUILT_IN, CRASH, RALLY, Tape, calm, mirrored, parse
from tests.sim.desk import Desk

D = Decimal


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_tapes_run_from_zero_forward_with_positive_prices(name: str) -> None:
    tape = tape_of(name, 7)
    assert tape.times_ms[0] == 0 and tape.times_ms == sorted(set(tape.times_ms))
    assert len(tape.times_ms) == len(tape.prices) and min(tape.prices) > 0


def test_the_crash_falls_and_its_mirror_rises_in_proportion() -> None:
    crash, rally = tape_of(CRASH, 7), tape_of(RALLY, 7)
    first = crash.prices[0]
    assert min(crash.prices) < first * D("0.78") and max(rally.prices) > first * D("1.28")
    for down, up in zip(crash.prices[::37], rally.prices[::37], strict=True):
        assert abs(down * up - first * first) < D("0.001") * first


def test_the_calm_tape_follows_its_seed() -> None:
    assert calm(7).prices == calm(7).prices != calm(8).prices
    assert all(abs(price / 67_000 - 1) < D("0.05") for price in calm(7).prices)


def test_between_points_the_price_is_a_straight_line_and_the_ends_hold() -> None:
    tape = Tape("t", [0, 1_000, 3_000], [D(100), D(200), D(100)])
    asked = {-5: 100, 0: 100, 500: 150, 1_000: 200, 2_500: 125, 3_000: 100, 10**9: 100}
    assert {at: tape.price_at(at) for at in asked} == asked
    assert mirrored(tape, "m").prices == [D(100), D(50), D(100)]


def test_the_speed_compresses_prices_and_no_clock() -> None:
    desk = Desk((0, "60000"), (60_000, "66000"), speed="60")
    desk.after(500)
    assert desk.exchange.contracts["BTCUSDT"].mark == 63_000
    assert desk.exchange.now_ms == desk.now_ms and desk.exchange.mark_every_ms == 16


def test_pairs_with_and_without_header_comments_and_microseconds() -> None:
    plain = parse(["1700000000000,100", "1700000001000,101"], "p")
    headed = parse(["# a comment", "time_ms,price", "", "1700000000000,100", "1700000001000,101"], "h")
    micro = parse(["1700000000000000,100", "1700000001000000,101"], "m")
    assert plain.times_ms == headed.times_ms == micro.times_ms == [0, 1_000]
    assert plain.prices == headed.prices == micro.prices == [100, 101]


def test_a_kline_becomes_open_near_extreme_far_extreme_close() -> None:
    falling = "1700000000000,100,101,90,95,12.5,1700000059999"
    rising = "1700000060000,95,110,94,108,12.5,1700000119999"
    tape = parse([falling, rising], "k")
    assert tape.times_ms == [0, 15_000, 40_000, 59_999, 60_000, 75_000, 100_000, 119_999]
    assert tape.prices == [100, 101, 90, 95, 95, 94, 110, 108]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "fewer than two prices"),
        (["0,100"], "fewer than two prices"),
        (["0,100", "0,101"], "tape bad:2: time 0 is not after the line before"),
        (["1000,100", "0,101"], "tape bad:2: time 0 is not after the line before"),
        (["0,100", "1000,dear"], "tape bad:2: not a number"),
        (["0,100", "soon,101"], "tape bad:2: not a number"),
        (["0,100", "1000,0"], "tape bad:2: a price is missing or not above zero"),
        (["0,100", "1000,-5"], "tape bad:2: a price is missing or not above zero"),
        (["0,100", "1000,NaN"], "tape bad:2: a price is missing or not above zero"),
        (["0,100", "1000,Infinity"], "tape bad:2: a price is missing or not above zero"),
        (["0,100", "1000"], "tape bad:2: a price is missing or not above zero"),
        (["0,100,99,90,95"], "tape bad:1: high and low do not enclose open and close"),
        (["0,100,105,101,103"], "tape bad:1: high and low do not enclose open and close"),
        (["0,100,105,90,"], "tape bad:1: not a number"),
    ],
)
def test_a_bad_tape_is_refused_by_name_and_line(lines: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(lines, "bad")
    assert said in str(caught.value)


def test_a_tape_that_is_not_there_names_the_choice() -> None:
    with pytest.raises(ConfigError, match="calm, crash-2021-05-19, rally-2021-05-19"):
        tape_of("no-such-file.csv", 7)


def test_the_same_seed_tape_times_and_requests_give_the_same_frames() -> None:
    def run(seed: int) -> list[tuple[int, str]]:
        desk = Desk(seed=seed, funding_every_ms=20_000)
        desk.listen()
        desk.connect("/market/ws/btcusdt@markPrice@1s")
        for index in range(350):
            desk.after(70)
            if index % 40 == 0:
                desk.order("SELL" if index % 3 else "BUY", "0.5", newClientOrderId=f"n{index}")
        return list(desk.exchange.streams.outbox)

    assert run(7) == run(7) != run(8)
