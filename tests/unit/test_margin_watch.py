"""What says that our margin figures may be wrong: calls, a mute mark, the venue's own prices, its queue (HEDGING §3)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from streamhedge.domain.commands import FollowSymbol, PlaceOrder, RequestSnapshot
from streamhedge.domain.events import ContractInfo, MarginCall, MarginCallRow, PositionSide, Snapshot, Tick
from streamhedge.domain.values import Symbol
from streamhedge.reactor.state import Block
from streamhedge.rules.view import LadderStep
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
ETHUSDT = Symbol("ETHUSDT")
LP_OURS = D("91675.51")
"""Of ten short at 67 121.4 with 250 000 behind them (HEDGING §10)."""


def desk(*, mark: str = "67121.4", **said: object) -> Desk:
    """Return the short of HEDGING §10, its mark moved step by step so that no frame is an outlier."""
    found = Desk(wallet="250000", **said)
    for price in ("70000.0", mark):
        found.mark(price, after_ms=1_000)
    found.commands.clear()
    found.notes.clear()
    return found


def call(symbol: Symbol = make.BTCUSDT, *, cross: str | None = None) -> MarginCall:
    row = MarginCallRow(symbol, PositionSide.BOTH, D(-10), D(70_000), D(4_500))
    return MarginCall(make.T0_MS, D(cross) if cross is not None else None, (row,))


def rows(found: Desk, *, position: str = "-10", price: str = "0", mark: str = "0", adl: int = 1) -> Snapshot:
    """Return an audit in which the venue says its own liquidation price, mark and queue."""
    at_ms = found.now_ms
    said = make.snapshot(position, entry="67121.4", wallet="250000", at_ms=at_ms, audit=True)
    row = replace(said.positions[0], liquidation_price=D(price), mark_price=D(mark), adl=adl)
    return replace(said, positions=(row,))


def asked(found: Desk) -> list[str]:
    return [command.reason for command in found.commands if isinstance(command, RequestSnapshot)]


# ---------------------------------------------------------------- margin calls


def test_a_margin_call_asks_at_once_and_again_until_it_is_answered() -> None:
    found = desk()
    found.take(call())
    assert asked(found) == ["margin call"]
    for _ in range(40):
        found.take(Tick(), after_ms=100)
    assert asked(found) == ["margin call", "margin call, asked again", "margin call, asked again"]
    found.take(rows(found))
    for _ in range(40):
        found.take(Tick(), after_ms=100)
    assert len(asked(found)) == 3


def test_no_snapshot_within_two_seconds_is_one_step_up() -> None:
    # 70 600 is inside the warning and no more: one step up it is cut to reopen
    found = desk(mark="70600.0")
    assert found.memory.ladder_step is LadderStep.WARN
    found.take(call())
    assert found.sent(Tick(), after_ms=1_900) == []
    found.mark("70600.0", after_ms=50)
    (cut,) = found.sent(Tick(), after_ms=50)
    assert (cut.side.value, cut.reduce_only) == ("BUY", True)
    assert D(0) < cut.quantity < D("0.1"), "a little: it stands at 29.85 % and goes to 30 %"


def test_an_answer_in_time_steps_nothing_up() -> None:
    found = desk(mark="70600.0")
    found.take(call())
    found.take(rows(found, price=str(LP_OURS)), after_ms=500)
    assert found.sent(Tick(), after_ms=2_000) == []
    assert found.memory.ladder_step is LadderStep.WARN


def test_while_a_call_stands_the_worse_of_the_two_readings_is_acted_on() -> None:
    found = desk()
    lower = rows(found, price="82000")  # 22.2 % by the venue, 36.6 % by us
    assert found.sent(lower, after_ms=500) == [], "without a call the drift is an alarm only"
    found.take(call(), after_ms=100)
    (cut,) = found.sent(rows(found, price="82000"), after_ms=400)
    assert cut.reduce_only
    assert D("1.5") < cut.quantity < D(3)
    assert found.memory.missing > 90_000, "ten times the difference of the prices, and the maintenance on it"


def test_the_better_of_the_two_changes_nothing() -> None:
    found = desk()
    found.take(call())
    assert found.sent(rows(found, price="99000"), after_ms=400) == []
    assert found.memory.missing == 0


def test_a_call_for_another_position_counts_where_the_margin_is_shared() -> None:
    for cross, steps_up in (("250000", True), (None, False)):
        found = desk(mark="70600.0")
        found.take(call(ETHUSDT, cross=cross))
        found.mark("70600.0", after_ms=1_990)
        assert bool(found.sent(Tick(), after_ms=50)) is steps_up


# ---------------------------------------------------------------- a mute mark stream


def test_a_mute_mark_is_polled_each_two_seconds_and_raises_nothing() -> None:
    found = desk()
    for _ in range(160):
        found.take(Tick(), after_ms=100)
    assert asked(found) == ["mark of BTCUSDT"] * 3, "10 s of silence, then at 10, 12, 14 s"
    assert len(found.said("mark_mute")) == 1
    found.take(rows(found, mark="67200.0"))
    assert found.state.book.marks[make.BTCUSDT].mark_price == D("67200.0")
    assert found.float("+1") == []
    assert found.memory.hold == "stale"
    assert found.mark("67210.0"), "the stream is back: the bought bitcoin is hedged"
    assert len(found.said("mark_back")) == 1


def test_the_ladder_runs_on_a_polled_mark() -> None:
    found = desk(mark="70500.0")
    found.take(Tick(), after_ms=10_100)
    (cut,) = found.sent(rows(found, mark="73350.0"))
    assert cut.quantity == D("1.640"), "HEDGING §10"


def test_without_a_short_nothing_is_polled() -> None:
    found = Desk(position="0", wallet="250000", hedges=(make.hedge_params(max_short=D(0)),))
    found.commands.clear()
    for _ in range(150):
        found.take(Tick(), after_ms=100)
    assert asked(found) == []


def test_a_polled_mark_that_jumps_waits_for_the_next_row() -> None:
    found = desk()
    found.take(Tick(), after_ms=10_100)
    assert found.sent(rows(found, mark="77000.0")) == []
    assert found.sent(rows(found, mark="77000.0"), after_ms=2_000) != []


def test_a_row_does_not_replace_a_mark_that_its_stream_gave() -> None:
    found = desk()
    found.take(rows(found, mark="60000.0"))
    assert found.state.book.marks[make.BTCUSDT].mark_price == D("67121.4")


# ---------------------------------------------------------------- what the venue computes itself


def test_a_drift_of_the_liquidation_price_is_recorded_and_told_after_the_second_time() -> None:
    found = desk()
    key = (make.BTCUSDT, PositionSide.BOTH)
    found.take(rows(found, price=str(LP_OURS)), after_ms=500)
    drift = found.state.book.positions[key].liquidation_drift
    assert drift is not None and abs(drift) < D("1e-6")
    found.take(rows(found, price="90000"), after_ms=500)
    assert found.said("liquidation_drift") == []
    found.take(rows(found, price="90000"), after_ms=15_000)
    found.take(rows(found, price="90000"), after_ms=15_000)
    (text,) = found.said("liquidation_drift")
    assert "-1.83 % from ours" in text
    found.take(rows(found, price=str(LP_OURS)), after_ms=15_000)
    assert len(found.said("liquidation_agrees")) == 1


def test_a_high_deleveraging_quantile_rings_once_and_ends() -> None:
    found = desk()
    for quantile in (2, 3, 4, 4, 1):
        found.take(rows(found, adl=quantile), after_ms=1_000)
    assert len(found.said("adl_quantile")) == 1
    assert len(found.said("adl_quantile_low")) == 1


# ---------------------------------------------------------------- shocks between two ticks


def test_collateral_that_is_withdrawn_is_cut_for_before_the_next_tick() -> None:
    found = desk()
    short = make.account_update("-10", wallet="160000", at_ms=found.now_ms + 5, reason="WITHDRAW")
    (cut,) = found.sent(short, after_ms=5)
    assert (cut.side.value, cut.reduce_only) == ("BUY", True)


def test_worse_brackets_are_acted_on_as_soon_as_they_are_read() -> None:
    found = desk(mark="70600.0")
    info = ContractInfo(make.BTCUSDT, "PERPETUAL", "TRADING", make.brackets(), make.T0_MS)
    assert found.sent(info, after_ms=5) == []
    steep = tuple(
        replace(row, maintenance_margin_rate=row.maintenance_margin_rate + D("0.06")) for row in make.brackets()
    )
    instrument = replace(make.instrument(), brackets=steep)
    (cut,) = found.sent(replace(make.setup(), instruments=(instrument,)), after_ms=200)
    assert cut.reduce_only


def test_brackets_of_what_else_shares_the_margin_are_read_again() -> None:
    found = desk()
    row = replace(rows(found).positions[0], symbol=ETHUSDT, quantity=D(-1))
    said = rows(found)
    found.take(replace(said, positions=(*said.positions, row), audit=False), after_ms=100)
    found.commands.clear()
    info = ContractInfo(ETHUSDT, "PERPETUAL", "TRADING", make.brackets(), make.T0_MS)
    commands = found.take(info, after_ms=100).commands
    assert FollowSymbol(symbol=ETHUSDT) in commands
    assert found.take(replace(info, symbol=Symbol("XRPUSDT")), after_ms=100).commands == ()


def test_a_latched_block_with_a_short_open_is_an_alarm_each_minute() -> None:
    found = desk()
    found.memory.block = Block(cause="effectiveness", reason="test", latched=True, until_ns=None)
    for _ in range(125):
        found.take(Tick(), after_ms=1_000)
    assert len(found.said("ladder_off")) == 2
    assert "liquidation distance 36.58 %" in found.said("ladder_off")[0]
    assert [command for command in found.commands if isinstance(command, PlaceOrder)] == []
