"""Recorded prices against the whole product: does the ladder keep the short alive (HEDGING §3, "never liquidated")?

Each run is a world without faults whose price is a history, or its mirror image, scaled to begin at 60 000; ten bitcoin are
short from the start at the effective leverage asked for. Bars longer than two minutes are played in two: a tape moves
within the first minute of a bar, only the flat rest is left out, so that no move becomes slower.

The promise has two conditions: the venue fills reduce-only orders within R seconds, and the mark rises by less than
``reduce`` within any R seconds. What a run broke of them is said with the figures.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from streamhedge.domain.commands import PlaceOrder, Reaction
from streamhedge.domain.order import Purpose
from streamhedge.domain.values import exact
from streamhedge.live.recovery import recovered
from streamhedge.rules.params import Policy
from streamhedge.sim.tapes import Tape, mirrored, parse
from streamhedge.world.schedule import MS, S
from streamhedge.world.script import BTCUSDT, Case, Options
from streamhedge.world.tape import MovedTape
from streamhedge.world.world import START_MS, World

D = Decimal
R_S = 15
"""Mark cadence, decision and fill together, seconds (HEDGING §3)."""
SIZE = D(10)
START_PRICE = D(60_000)
BAR_MOST_MS = 120_000
REDUCE = D("0.25")
LEVERAGES = (1, 2, 3, 4, 5)


@dataclass(slots=True)
class Run:
    """What became of one history at one leverage; money in quote units."""

    tape: str
    leverage: int
    hours: Decimal
    rise: Decimal
    """The largest rise within R seconds, a fraction."""
    liquidations: int
    violation: str
    least: Decimal | None
    """The least distance that the ladder read."""
    cuts: int
    raises: int
    fees: Decimal
    result: Decimal
    """Against a perfect hedge: what float, wallet and open profit together gained."""
    naked_s: int
    short: Decimal

    @property
    def broken(self) -> str:
        """Say which condition the history broke, empty when both hold."""
        if self.rise < REDUCE:
            return ""
        return f"move {self.rise * 100:.1f} % in {R_S} s exceeds headroom {REDUCE * 100:.0f} %"

    @property
    def wrong(self) -> str:
        """Say what must not be: a liquidation where both conditions hold, or an invariant that broke."""
        if self.violation:
            return self.violation
        return (
            f"{self.liquidations} liquidation(s) although no condition broke"
            if self.liquidations and not self.broken
            else ""
        )


def histories(folder: Path) -> Iterator[Tape]:
    """Yield each kline file of a folder and its mirror image, scaled and with its bars shortened."""
    for path in sorted([*folder.glob("klines_*.csv"), *folder.glob("mark_*.csv")]):
        tape = shortened(parse(path.read_text(encoding="utf-8").splitlines(), path.stem))
        yield tape
        yield mirrored(tape, f"{tape.name} mirrored")


def shortened(tape: Tape) -> Tape:
    """Return the tape from 60 000 on, with what is flat between the minutes of long bars left out."""
    first, at_ms, times = tape.prices[0], 0, [0]
    for before, after in zip(tape.times_ms, tape.times_ms[1:], strict=False):
        at_ms += min(after - before, BAR_MOST_MS // 2 if after - before > BAR_MOST_MS else after - before)
        times.append(at_ms)
    return Tape(tape.name, times, [(START_PRICE * price / first).quantize(D("0.00000001")) for price in tape.prices])


def largest_rise(tape: Tape, within_ms: int = R_S * 1_000) -> Decimal:
    """Return the largest rise within a span, a fraction: on straight lines it ends or begins at one of their ends."""
    most = D(0)
    for moment in tape.times_ms:
        for start in (moment, max(0, moment - within_ms)):
            end = min(start + within_ms, tape.times_ms[-1])
            inside = tape.prices[bisect_left(tape.times_ms, start) : bisect_left(tape.times_ms, end)]
            most = max(most, max([*inside, tape.price_at(end)]) / tape.price_at(start) - 1)
    return most


class _Options(Options):
    """A world whose leverage setting binds nothing: the collateral is what is tried."""

    def policy(self) -> Policy:
        found = Options.policy(self)
        limits = replace(found.limits, max_leverage=20, max_order_notional=D(10) ** 7)
        return replace(found, limits=limits, hedges=(replace(found.hedges[0], leverage=20),))


class _Fixed(MovedTape):
    """A history in the place of the world's own price."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(0, 1_000, 0, 1_000)
        self.name, self.times_ms, self.prices = tape.name, tape.times_ms, tape.prices

    def price_at(self, elapsed_ms: int) -> Decimal:
        return Tape.price_at(self, elapsed_ms)


class HistoryWorld(World):
    """A quiet world that plays one history against ten bitcoin short at an effective leverage."""

    def __init__(self, tape: Tape, leverage: int) -> None:
        options = _Options(
            seed=1,
            length_ms=tape.length_ms,
            kinds=[],
            pause_ms=1_000,
            latency_ms=(10, 50),
            step_millionths=0,
            funding_every_ms=28_800_000,
            wallet=int(SIZE * START_PRICE / leverage),
            initial=str(SIZE),
            ratio="1",
            band=100,
            max_order_quantity=str(SIZE),
            max_order_notional=10**7,
            isolated=False,
            leverage=20,
            external_trades_per_minute=100,
            close_flattens=False,
            keep=False,
        )
        super().__init__(Case(options, []), recovered)
        self.history = tape
        self.tape = _Fixed(tape)
        self.exchange.settings.tape = self.tape
        self.cuts = self.raises = self.naked_s = 0
        self.leverage = leverage
        self.exchange.advance(START_MS)  # else the short would be opened at another tape's price
        self.exchange.account.position(BTCUSDT).leverage = 20
        self.exchange.engine.external(BTCUSDT, -SIZE, START_MS)

    def _observe(self, reaction: Reaction, recv_ns: int) -> None:
        super()._observe(reaction, recv_ns)
        if self.process is None:
            return
        orders = self.process.pump.reactor.state.orders
        for command in reaction.commands:
            if isinstance(command, PlaceOrder):
                self.cuts += orders[command.client_order_id].purpose is Purpose.LADDER
                self.raises += not command.reduce_only

    def _count(self) -> None:
        """Look once a second whether the float stands naked."""
        self.schedule.after(S, self._count)
        if self.process is not None:
            self.naked_s += bool(self.process.pump.reactor.state.memory[BTCUSDT].cause)

    def worth(self) -> Decimal:
        """Return float, wallet and open profit together."""
        position, mark = self.exchange.account.position(BTCUSDT), self.exchange.contracts[BTCUSDT].mark
        return SIZE * mark + self.exchange.account.wallet + position.pnl(mark)

    def play(self) -> Run:
        """Play the history to its end."""
        began = self.worth()
        self.start()
        self._beat()
        self._count()
        self._play(self.schedule.now_ns + self.history.length_ms * MS)
        process, account = self.process, self.exchange.account
        assert process is not None, "nothing kills it"
        meter = process.pump.reactor.state.meter
        return Run(
            tape=self.history.name,
            leverage=self.leverage,
            hours=D(self.history.length_ms) / 3_600_000,
            rise=largest_rise(self.history),
            liquidations=account.liquidations,
            violation="" if self._violation is None else str(self._violation),
            least=meter.min_distance,
            cuts=self.cuts,
            raises=self.raises,
            fees=meter.fees,
            result=self.worth() - began,
            naked_s=self.naked_s,
            short=-account.position(BTCUSDT).amount,
        )


def run(tape: Tape, leverage: int) -> Run:
    """Play a history at a leverage."""
    with exact():
        return HistoryWorld(tape, leverage).play()
