"""What a recording says happened: samples of the state, notes, orders and totals. Read once, bounded, never written back.

Totals cover what the recording covers: of each run in it, what the meter gained since the recording's own start.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from streamhedge.domain.commands import Note, Persist
from streamhedge.domain.order import Order
from streamhedge.domain.values import ZERO, ClientOrderId, Symbol, exact
from streamhedge.errors import ReplayDiverged
from streamhedge.live.recordings import lines_of
from streamhedge.live.status import core_summary, depeg_status, hedge_status
from streamhedge.ops.report.thin import thin
from streamhedge.reactor.state import Core, Meter, trading_state
from streamhedge.rules.params import HedgeParams, Policy
from streamhedge.runtime.inputs import rest_answer
from streamhedge.runtime.pump import Pump
from streamhedge.runtime.replay import Replayer
from streamhedge.store.journal import Line

SAMPLES_MOST = 20_000
NOTES_MOST = 2_000
ORDERS_MOST = 2_000


@dataclass(slots=True, frozen=True)
class Sample:
    """What the machine knew of one hedge after an input. Base units, quote units, fractions of the mark."""

    recv_ns: int
    float_quantity: Decimal
    position: Decimal
    target: Decimal
    naked_usd: Decimal
    cause: str
    mark_price: Decimal | None
    liquidation_price: Decimal | None
    distance: Decimal | None
    joint_distance: Decimal | None
    funding_usd: Decimal
    fees_usd: Decimal
    trading_state: str
    book_status: str


EXTREMES = (
    lambda sample: sample.float_quantity,
    lambda sample: sample.position,
    lambda sample: sample.naked_usd,
    lambda sample: sample.mark_price,
    lambda sample: sample.distance,
    lambda sample: sample.joint_distance,
)
"""What a long recording's samples keep their peaks of."""


@dataclass(slots=True, frozen=True)
class Happening:
    """A note, when it was made, and the sample of its hedge just after."""

    recv_ns: int
    seq: int
    note: Note
    sample: Sample | None


@dataclass(slots=True)
class Totals:
    """Sums over the recording; quote units where money is meant."""

    orders_sent: int = 0
    doubted: int = 0
    refused: int = 0
    hedges: int = 0
    ghosts: int = 0
    quarantined: int = 0
    venue_closes: int = 0
    liquidations: int = 0
    adoptions: int = 0
    funding: Decimal = ZERO
    fees: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    naked_usd_seconds: dict[str, Decimal] = field(default_factory=dict)

    def plus(self, now: Meter, start: Meter) -> Totals:
        """Return these sums with what a meter gained since its start."""
        sums = {
            name: getattr(self, name) + getattr(now, name) - getattr(start, name)
            for name in self.__slots__
            if name != "naked_usd_seconds"
        }
        spent = dict(self.naked_usd_seconds)
        for cause, value in now.naked_usd_seconds.items():
            gained = value - start.naked_usd_seconds.get(cause, ZERO)
            if gained:
                spent[cause] = spent.get(cause, ZERO) + gained
        return Totals(**sums, naked_usd_seconds=spent)


@dataclass(slots=True)
class History:
    """Everything the report shows."""

    files: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    config_hashes: list[str] = field(default_factory=list)
    venue: str = ""
    runs: int = 0
    inputs: int = 0
    checkpoints: int = 0
    digest: str = ""
    trouble: list[str] = field(default_factory=list)
    policy: Policy | None = None
    samples: dict[Symbol, list[Sample]] = field(default_factory=dict)
    happenings: deque[Happening] = field(default_factory=lambda: deque(maxlen=NOTES_MOST))
    counts: Counter[str] = field(default_factory=Counter)
    orders: dict[ClientOrderId, Order] = field(default_factory=dict)
    orders_seen: int = 0
    answered_ns: dict[ClientOrderId, int] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    attribution: dict[tuple[int, int], dict[str, Decimal]] = field(default_factory=dict)
    """Lines by (epoch, UTC day); quote units, + is a gain (HEDGING §7)."""
    max_naked_usd: Decimal = ZERO
    min_distance: Decimal | None = None
    first_ns: int = 0
    last_ns: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    hedges: list[dict[str, Any]] = field(default_factory=list)
    usd_per_quote: Decimal | None = None
    depeg: dict[str, str] | None = None


def read_history(files: Sequence[Path]) -> History:
    """Replay a recording and collect its history; a divergence ends it and is named in ``trouble``.

    Raises:
        JournalCorrupt, StoreError: a file is no sound recording.
    """
    reader = _Reader(History(files=[path.name for path in files]))
    with exact():
        try:
            for line in lines_of(files, on_cut=reader.history.trouble.append):
                reader.take(line)
        except ReplayDiverged as error:
            reader.history.trouble.append(
                f"the replay parted from the recording at input {error.seq}: nothing after it is shown"
            )
        return reader.end()


class _Reader:
    """Follows a replay line by line."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._replayer = Replayer(reactions=[])
        self._pump: Pump | None = None
        self._start = Meter()
        self._before = Totals()
        self._latest: dict[Symbol, Sample] = {}

    def take(self, line: Line) -> None:
        """Take one line of the recording."""
        self._replayer.take(line)
        if line.source == "header":
            self._header(line)
            return
        pump, reactions = self._replayer.pump, self._replayer.reactions
        if line.source == "sum" or pump is None or reactions is None:
            return
        history = self.history
        history.inputs += 1
        history.last_ns = pump.last_ns
        history.first_ns = history.first_ns or pump.last_ns
        self._sample(pump.reactor.core)
        if line.source == "rest":
            self._answer(line, pump.last_ns)
        for reaction in reactions:
            for command in reaction.commands:
                if isinstance(command, Persist) and command.table == "attribution":
                    self._attribute(pump.reactor.core, command)
            for note in reaction.notes:
                self._note(pump, reaction.seq, note)
        reactions.clear()

    def end(self) -> History:
        """Close the last run and return what was found."""
        history = self.history
        for symbol, sample in self._latest.items():
            kept = history.samples[symbol]
            if kept[-1].recv_ns < history.last_ns:
                kept.append(replace(sample, recv_ns=history.last_ns))
        if self._pump is not None:
            core = self._pump.reactor.core
            history.totals = self._before.plus(core.state.meter, self._start)
            if core.policy.hedges:
                history.summary = core_summary(core, history.last_ns)
            history.hedges = [hedge_status(core, hedge, history.last_ns) for hedge in core.policy.hedges]
            history.depeg = depeg_status(core, history.usd_per_quote)
            history.digest = self._pump.digest()
            self._attribute(core)
        history.checkpoints = self._replayer.checkpoints
        return history

    # ------------------------------------------------------------ what lines say

    def _header(self, line: Line) -> None:
        fields = orjson.loads(line.payload)
        history, pump = self.history, self._replayer.pump
        assert pump is not None, "a header makes a pump"
        for found, name in ((history.versions, "version"), (history.config_hashes, "config_hash")):
            if fields.get(name) and fields[name] not in found:
                found.append(str(fields[name]))
        config = fields.get("config") or {}
        history.venue = str(config.get("venue") or history.venue)
        price = config.get("usd_per_quote")
        history.usd_per_quote = Decimal(price) if price is not None else None
        if pump is self._pump:
            return
        if self._pump is not None:
            self._before = self._before.plus(self._pump.reactor.state.meter, self._start)
            self._attribute(self._pump.reactor.core)
        self._pump = pump
        self._start = replace(
            pump.reactor.state.meter, naked_usd_seconds=dict(pump.reactor.state.meter.naked_usd_seconds)
        )
        history.runs += 1
        history.policy = pump.reactor.core.policy
        for name, order in pump.reactor.state.orders.items():
            if order.is_open:
                self._order(name, order)

    def _attribute(self, core: Core, written: Persist | None = None) -> None:
        """Keep the lines of a run day by day: as the ledger was told, or, at the end, as they stand."""
        kept, epoch = self.history.attribution, core.state.epoch
        if written is None:
            kept.update({(epoch, day): dict(lines) for day, lines in core.state.attribution.days.items()})
            return
        lines = written.fields["lines"]
        assert isinstance(lines, dict), "a row of the attribution has its lines"
        kept[epoch, int(str(written.fields["day"]))] = {name: Decimal(amount) for name, amount in lines.items()}

    def _sample(self, core: Core) -> None:
        history = self.history
        for hedge in core.policy.hedges:
            sample = self._sample_of(core, hedge)
            before = self._latest.get(hedge.symbol)
            self._latest[hedge.symbol] = sample
            if sample.cause:
                history.max_naked_usd = max(history.max_naked_usd, sample.naked_usd)
            if sample.distance is not None and (history.min_distance is None or sample.distance < history.min_distance):
                history.min_distance = sample.distance
            if before is not None and sample == replace(before, recv_ns=sample.recv_ns):
                continue
            kept = history.samples.setdefault(hedge.symbol, [])
            kept.append(sample)
            if len(kept) > SAMPLES_MOST:
                history.samples[hedge.symbol] = thin(kept, SAMPLES_MOST // 2, EXTREMES)

    def _sample_of(self, core: Core, hedge: HedgeParams) -> Sample:
        state = core.state
        memory = state.memory[hedge.symbol]
        mark = state.book.marks.get(hedge.symbol)
        return Sample(
            recv_ns=core.now_ns,
            float_quantity=state.floats.get(hedge.asset, ZERO),
            position=state.book.quantity(hedge.symbol),
            target=memory.target,
            naked_usd=memory.naked_usd,
            cause=memory.cause,
            mark_price=mark.mark_price if mark is not None else None,
            liquidation_price=memory.liquidation_price,
            distance=memory.distance,
            joint_distance=memory.joint_distance,
            funding_usd=self._before.funding + state.meter.funding - self._start.funding,
            fees_usd=self._before.fees + state.meter.fees - self._start.fees,
            trading_state=trading_state(state).value,
            book_status=state.book_status.value,
        )

    def _answer(self, line: Line, recv_ns: int) -> None:
        answer = rest_answer(line.payload)
        name = ClientOrderId(answer.client_order_id)
        if answer.label == "order" and answer.status is not None and name in self.history.orders:
            self.history.answered_ns.setdefault(name, recv_ns)

    def _note(self, pump: Pump, seq: int, note: Note) -> None:
        self.history.counts[note.code] += 1
        symbol = note.symbol
        if symbol is None and len(self._latest) == 1:
            symbol = next(iter(self._latest))
        sample = self._latest.get(symbol) if symbol is not None else None
        self.history.happenings.append(Happening(recv_ns=pump.last_ns, seq=seq, note=note, sample=sample))
        name = ClientOrderId(str(note.data.get("client_order_id", "")))
        if note.code == "intent" and name in pump.reactor.state.orders:
            self._order(name, pump.reactor.state.orders[name])

    def _order(self, name: ClientOrderId, order: Order) -> None:
        orders = self.history.orders
        self.history.orders_seen += name not in orders
        orders[name] = order
        if len(orders) > ORDERS_MOST:
            oldest = next(iter(orders))
            del orders[oldest]
            self.history.answered_ns.pop(oldest, None)
