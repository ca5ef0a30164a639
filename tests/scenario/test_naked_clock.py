"""The naked-exposure clock at the reactor (HEDGING §6): USD times seconds, by cause, exact between two inputs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.scenario.test_scenarios import Story

D = Decimal
START = (
    (0, "setup"),
    (0, "mark 67121.4"),
    (0, "snapshot -10 @ 67121.4 wallet 400000"),
    (0, "float +10"),
    (0, "live"),
)


def told(*lines: tuple[int, str]) -> Story:
    story = Story()
    for at_ms, line in (*START, *lines):
        story.play(at_ms, line.split())
    return story


def clock(story: Story) -> dict[str, Decimal]:
    """Return USD seconds by cause, in cents; what rounds to nothing is left out."""
    spent = story.machine.state.meter.naked_usd_seconds
    return {cause: found for cause, value in spent.items() if (found := value.quantize(D("0.01")))}


@pytest.mark.parametrize(
    "lines",
    [
        ((106, "position -10.148 @ 67121.4"), (106, "fill 0.148 @ 67121.4")),
        ((106, "fill 0.148 @ 67121.4"), (106, "position -10.148 @ 67121.4")),
    ],
    ids=["position first", "report first"],
)
def test_six_milliseconds_of_ten_thousand_dollars(lines: tuple[tuple[int, str], ...]) -> None:
    story = told((100, "float +0.14898378"), *lines, (5_000, "mark 67121.4"))
    assert clock(story) == {"in_flight": D("60.00")}  # the dust of 66 USD is inside the band


def test_two_seconds_without_a_fill_follow_the_mark() -> None:
    story = told((100, "float +0.14898378"), (1_100, "mark 67200"), (2_100, "tick"))
    assert clock(story) == {"in_flight": D("20011.71")}


def test_an_order_in_doubt_counts_its_worse_end() -> None:
    # SELL 1 of 10 naked in doubt: either 0 or 1 are naked; the larger is counted
    story = told((100, "float +1"), (100, "doubt"), (1_100, "tick"))
    assert clock(story) == {"in_doubt": D("67121.40")}
    # over-hedged by the doubt: the float was sold meanwhile
    story = told((100, "float +1"), (100, "doubt"), (100, "float -1"), (1_100, "tick"))
    assert clock(story) == {"in_doubt": D("67121.40")}


def test_exposure_inside_the_band_is_not_counted() -> None:
    story = told((100, "float +0.00098378"), (10_000, "tick"))
    assert clock(story) == {}


def test_what_the_ladder_leaves_naked_is_margin_and_not_latency() -> None:
    story = Story({"leverage": "5"})
    for at_ms, line in (
        (0, "setup leverage 5"),
        (0, "mark 67121.4"),
        (0, "snapshot -10 @ 67121.4 wallet 250000"),
        (0, "float +10"),
        (0, "live"),
        (1_000, "mark 73350.0"),
        (1_000, "position -8.360 @ 67121.4 wallet 239724.949"),
        (1_000, "fill 1.640 @ 73350.0"),
        (2_000, "tick"),
    ):
        story.play(at_ms, line.split())
    # a cut of 1.640 BTC, 120 294 USD, one second
    assert clock(story) == {"margin": D("120294.00")}
