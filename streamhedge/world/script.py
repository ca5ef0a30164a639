"""What happens in a world, drawn from its seed before it begins: options, and a list of happenings that can be masked.

Swarm testing: each seed switches a part of the kinds off, so that rare mixtures meet. Every happening is one line of
(when, kind, value), so that a failing world shrinks by leaving lines out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from streamhedge.domain.values import Asset, Symbol
from streamhedge.rules.params import BackstopParams, CloseAction, HedgeParams, LadderParams, Limits, Policy

D = Decimal
BTCUSDT = Symbol("BTCUSDT")
Draw = Callable[[random.Random], str]


@dataclass(slots=True)
class Options:
    """What a world is made of. Times in milliseconds, quantities in base units, money in quote units."""

    seed: int
    length_ms: int
    kinds: list[str]
    pause_ms: int
    latency_ms: tuple[int, int]
    step_millionths: int
    funding_every_ms: int
    wallet: int
    initial: str
    ratio: str
    band: int
    max_order_quantity: str
    max_order_notional: int
    isolated: bool
    leverage: int
    external_trades_per_minute: int
    close_flattens: bool
    keep: bool
    mark_every_ms: int = 1_000
    ed25519: bool = False
    backstop: bool = False

    def policy(self) -> Policy:
        """Return the product's configuration of this world."""
        hedge = HedgeParams(
            asset=Asset("BTC"),
            symbol=BTCUSDT,
            initial=D(self.initial),
            ratio=D(self.ratio),
            band=D(self.band),
            max_short=D(20),
            max_order_quantity=D(self.max_order_quantity),
            leverage=self.leverage,
            isolated=self.isolated,
            naked_alert_after_ms=5_000,
        )
        ladder = LadderParams(
            warn=D("0.30"),
            reduce=D("0.25"),
            close=D("0.20"),
            reopen=D("0.30"),
            rehedge=D("0.30"),
            close_action=CloseAction.FLATTEN if self.close_flattens else CloseAction.RESTORE,
            cooldown_ms=600_000,
            raise_step=D("0.05"),
            reopen_after_adl_ms=5_000,
            reopen_after_liquidation_ms=None,
            reopen_after_settlement_ms=None,
        )
        limits = Limits(
            max_short_ratio=D(1),
            max_intents_per_symbol_per_minute=30,
            max_open_intents=10,
            unacked_critical_after_ms=60_000,
            max_order_notional=D(self.max_order_notional),
            max_leverage=5,
            max_orders_per_minute=60,
            max_turnover_per_day=D(10) ** 9,
            max_naked=D(50_000),
            max_trade=D(10) ** 9,
            unrealised_loss_alarm=D(-10_000),
            hedge_loss_per_day=D(10) ** 7,
            price_collar=D("0.01"),
            price_collar_urgent=None,
            external_trades_per_minute=self.external_trades_per_minute,
            repeated_same_side_fills=3,
            stale_after_ms=max(3_000, 5 * self.mark_every_ms // 2),
            receive_lag_ms=250,
            request_timeout_ms=10_000,
            recv_window_ms=2_000,
        )
        backstop = BackstopParams(distance=D("0.10")) if self.backstop else None
        return Policy(hedges=(hedge,), ladder=ladder, limits=limits, margin_asset=Asset("USDT"), backstop=backstop)


@dataclass(slots=True)
class Happening:
    """One thing that happens to the world, at a moment after its start."""

    at_ms: int
    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.at_ms / 1000:.3f}s {self.kind} {self.value}".rstrip()


@dataclass(slots=True)
class Case:
    """A whole world to be: its options and what happens in it. Its JSON is a test."""

    options: Options
    happenings: list[Happening]

    def only(self, kept: list[int]) -> Case:
        """Return the same world with these happenings alone."""
        return Case(self.options, [self.happenings[index] for index in kept])

    def json(self) -> dict[str, Any]:
        """Return the case as data."""
        return {"options": asdict(self.options), "happenings": [[h.at_ms, h.kind, h.value] for h in self.happenings]}

    @staticmethod
    def of(data: dict[str, Any]) -> Case:
        """Return the case that ``json`` wrote."""
        said = dict(data["options"])
        said["latency_ms"] = tuple(said["latency_ms"])
        return Case(Options(**said), [Happening(*row) for row in data["happenings"]])


# ---------------------------------------------------------------- kinds


def _of(*choices: str) -> Draw:
    return lambda chance: chance.choice(choices)


def _between(low: int, high: int, unit: str = "1") -> Draw:
    return lambda chance: f"{D(chance.randint(low, high)) * D(unit):f}"


def _signed(low: int, high: int, unit: str = "1") -> Draw:
    return lambda chance: f"{D(chance.randint(low, high)) * D(unit) * chance.choice((1, -1)):f}"


def _for(draw: Draw, low_s: int, high_s: int) -> Draw:
    return lambda chance: f"{draw(chance)} {chance.randint(low_s, high_s)}"


KINDS: dict[str, tuple[int, Draw]] = {
    # people
    "buy": (9, _between(1, 2_000_000, "0.000001")),
    "sell": (7, _between(1, 2_000_000, "0.000001")),
    "deposit": (2, _between(1, 3_000, "0.001")),
    "withdraw": (2, _between(1, 3_000, "0.001")),
    "crumb": (2, _signed(1, 90, "0.0001")),
    "again": (2, _of("")),
    "halt": (1, _between(1, 40)),
    "reduce": (1, _between(1, 40)),
    "flatten": (1, _between(5, 40)),
    "external": (4, _signed(1, 2_000, "0.001")),
    "external-eth": (1, _signed(1, 20_000, "0.001")),
    "foreign-rests": (1, _between(1, 500, "0.001")),
    "rival": (1, _signed(1, 100, "0.001")),
    "transfer": (3, _signed(1_000, 150_000)),
    "leverage": (1, _of("1", "2", "4", "5", "10")),
    # the market
    "jump": (3, _signed(2, 60)),
    "crash": (3, _for(_signed(20, 330), 5, 120)),
    # the venue, by catalogue row
    "S1": (2, _of("market", "private", "ws_api")),
    "S2": (1, _for(_of("market", "private"), 2, 30)),
    "S3": (4, _of("market", "private", "private", "ws_api")),
    "S4": (1, _for(_of("0", "429", "403"), 1, 4)),
    "S5": (1, _for(_between(260, 1_900), 1, 3)),
    "S6": (1, _between(50, 200)),
    "S9": (1, _of("deep", "huge")),
    "S12": (1, _between(1, 2)),
    "S13": (1, _for(_of("market", "private", "ws_api"), 0, 2)),
    "U4": (1, _between(1, 3)),
    "U7": (1, _of("x")),
    "U10": (1, _signed(1, 500)),
    "U11": (1, _of("empty", "truncated")),
    "U13": (1, _between(2, 30)),
    "U14": (1, _of("x")),
    "O12": (1, _of("orders 280", "orders 290", "weight 1100")),
    "O13": (1, _between(5, 60)),
    "O18": (1, _between(10, 60)),
    "filters": (1, _for(_of("tick", "step"), 5, 60)),
    "A4": (1, _between(2, 30)),
    "A6": (1, _between(2, 8)),
    "A7": (1, _between(10, 300)),
    "M2": (1, _of("x10", "zero", "negative", "nan", "basis")),
    "M4": (1, _for(_of("0.004", "0.05", "0.5"), 5, 60)),
    "C2": (1, _signed(300, 900)),
    "C3": (1, _between(12_000, 240_000)),
    "C5": (1, _for(_between(100, 1_500), 5, 90)),
    "P4": (1, _between(100, 2_000)),
    "S7": (1, _of("x")),
    "S8": (1, _of("x")),
    "S10": (1, _for(_of("BTCUSDT"), 2, 20)),
    "U2": (1, _of("event", "silent")),
    "U3": (1, _of("x")),
    "U5": (3, _of("x")),
    "U6": (3, _of("x")),
    "U8": (3, _of("x")),
    "U9": (1, _of("x")),
    "O1": (5, _of("executed", "not_executed", "late")),
    "O3": (3, _of("unavailable", "throttled", "internal", "429")),
    "O5": (2, _of("x")),
    "O6": (2, _between(500, 30_000)),
    "O7": (3, _between(0, 99)),
    "O14": (1, _of("margin")),
    "O15": (3, _of("executed", "not_executed")),
    "A5": (2, _of("adl", "adl", "liquidate", "settle")),
    "C1": (1, _for(_signed(100, 900), 2, 40)),
    "M1": (1, _for(_of("x"), 2, 30)),
    "M3": (1, _between(3, 60)),
    "contract": (1, _for(_of("SETTLING", "PRE_SETTLE", "CLOSE"), 2, 30)),
    "brackets": (1, _of("x")),
    "thin": (2, _for(_between(1, 900, "0.001"), 5, 60)),
    # the wire
    "order-lost": (3, _of("1")),
    "order-slow": (3, _between(100, 4_000)),
    "order-refused": (1, _of("1")),
    "order-answer-lost": (3, _of("1")),
    "order-answer-slow": (3, _between(100, 12_000)),
    "call-lost": (2, _of("1")),
    "call-answer-lost": (1, _of("1")),
    "ask-lost": (2, _of("1")),
    "ask-answer-lost": (2, _of("1")),
    "ask-answer-slow": (3, _between(100, 5_000)),
    "frame-lost": (3, _of("1")),
    "frame-slow": (3, _between(20, 12_000)),
    "frames-again": (4, _between(5, 60)),
    "net-down": (1, _between(1, 20)),
    # the machine
    "kill": (
        5,
        lambda chance: f"{chance.choice(('now', 'deciding', 'committed', 'sent'))} {chance.randint(50, 9_000)}",
    ),
    "power": (2, lambda chance: f"{chance.choice(('now', 'committed', 'sent'))} {chance.randint(100, 20_000)}"),
    "stop": (2, _between(300, 12_000)),
    "stall": (2, _between(20, 600)),
    "ledger-fails": (1, _between(1, 5)),
    "commit-fails": (1, _between(1, 2)),
    "journal-fails": (1, _of("1")),
}
"""Kind to (how often beside the others, how its value is drawn)."""
ALWAYS = ("buy", "sell")
HOUR_MS = 3_600_000
LONG_MS = 6 * HOUR_MS
FIRST_MS = 3_000
MARKS_MS = (1_000, 3_000, 5_000)
LONG_MARKS_MS = (*MARKS_MS, *(10_000, 30_000, 60_000) * 3)
"""The fast ones seldom: their six hours are mostly marks in quiet times."""
ENOUGH = 640
"""Happenings in six hours, and the most in a shorter world."""


def draw(seed: int, length_ms: int, *, kinds: Sequence[str] = ()) -> Case:
    """Return the world that a seed means.

    Args:
        seed: Builds everything.
        length_ms: How long things happen, milliseconds.
        kinds: Only these happen beside people's trades; empty: the seed chooses.
    """
    chance = random.Random(f"world-{seed}")
    share = chance.choice((15, 30, 50, 80))
    chosen = [kind for kind in KINDS if kind in ALWAYS or chance.randrange(100) < share]
    if kinds:
        chosen = [kind for kind in KINDS if kind in ALWAYS or kind in kinds]
    low = chance.choice((1, 2, 10, 40))
    isolated = chance.randrange(8) == 0
    options = Options(
        seed=seed,
        length_ms=length_ms,
        kinds=chosen,
        pause_ms=chance.choice((500, 3_000, 10_000, 30_000)),
        latency_ms=(low, low * chance.choice((1, 2, 5))),
        step_millionths=chance.choice((5, 40, 200)),
        funding_every_ms=chance.choice((60_000, 600_000, 28_800_000)),
        wallet=chance.choice((120_000, 250_000, 400_000, 1_500_000)),
        initial=chance.choice(("0", "0.5", "3", "10")),
        ratio=chance.choice(("1", "1", "0.8")),
        band=chance.choice((100, 500)),
        max_order_quantity=chance.choice(("1", "4", "10")),
        max_order_notional=chance.choice((60_000, 250_000, 2_000_000)),
        isolated=isolated,
        leverage=2 if isolated else 3,
        external_trades_per_minute=chance.choice((1, 3, 100)),
        close_flattens=chance.randrange(4) == 0,
        keep=chance.randrange(8) == 0,
        mark_every_ms=chance.choice(LONG_MARKS_MS if length_ms >= HOUR_MS else MARKS_MS),
        ed25519=chance.randrange(4) == 0,
    )
    return Case(options, _happenings(chance, options))


def _happenings(chance: random.Random, options: Options) -> list[Happening]:
    """Draw what happens: without a break in a short world, in clusters with long quiet between them in a long one."""
    weights = [KINDS[kind][0] for kind in options.kinds]
    most = ENOUGH * max(1, options.length_ms // LONG_MS)
    gaps, spent_ms, starts = list[int](), FIRST_MS, list[int]()
    left = 0
    while len(gaps) < most:
        # Now and then several things at once: that is where the bugs live.
        gap = chance.choice((1, 5, 50, 300)) if chance.randrange(3) == 0 else chance.randint(1, 2 * options.pause_ms)
        if spent_ms + gap >= options.length_ms:
            break
        if left == 0:
            left = chance.choice((3, 8, 20, 60))
            starts.append(len(gaps))
        left -= 1
        gaps.append(gap)
        spent_ms += gap
    quiet_ms = options.length_ms - spent_ms if len(gaps) == most else 0
    for start, share in zip(starts, _shares(chance, quiet_ms, len(starts)), strict=True):
        gaps[start] += share
    at_ms, found = FIRST_MS, list[Happening]()
    for gap in gaps:
        at_ms += gap
        (kind,) = chance.choices(options.kinds, weights)
        found.append(Happening(at_ms, kind, KINDS[kind][1](chance)))
    return found


def _shares(chance: random.Random, whole: int, count: int) -> list[int]:
    """Return ``count`` random parts of a whole, the last of more that are cut off staying free."""
    cuts = sorted(chance.randint(0, whole) for _ in range(count))
    return [after - before for before, after in zip([0, *cuts], cuts, strict=False)]


def without(case: Case, kinds: tuple[str, ...]) -> Case:
    """Return the case without some kinds of happenings."""
    kept = [h for h in case.happenings if h.kind not in kinds]
    return Case(replace(case.options, kinds=[kind for kind in case.options.kinds if kind not in kinds]), kept)
