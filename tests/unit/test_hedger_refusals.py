"""What the library refuses before anything happens, and how it names what became of a trade or an order by hand."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from streamhedge import Buy, Hedger
from streamhedge.domain.commands import Reaction
from streamhedge.domain.events import IntentVoided, ManualOrder, OrderOutcome, OutcomeKind, VerbKind
from streamhedge.domain.order import OrderStatus, Report, Side
from streamhedge.domain.values import NS_PER_MS, Symbol, exact
from streamhedge.errors import ApiError, CommandError, ConfigError, NetworkError, OutcomeUnknown
from streamhedge.live.hedger import FIRST_START, endpoints_of
from streamhedge.live.manual import outcome
from streamhedge.live.results import HedgeResult, hedge_result
from streamhedge.reactor.state import trading_state
from streamhedge.rules.view import TradingState
from streamhedge.settings.config import load_config
from streamhedge.settings.endpoints import Endpoints
from streamhedge.settings.secrets import Secret
from tests.support import builders as make
from tests.support.desk import Desk
from tests.support.shared import REPOSITORY

D = Decimal
DEMO = REPOSITORY / "streamhedge" / "settings" / "demo.toml"
NOWHERE = '[endpoints]\nrest = "http://127.0.0.1:9"\nstream = "ws://127.0.0.1:9"\nws_api = "ws://127.0.0.1:9"\n'
KEYS = '[keys]\napi_key = { env = "KEY" }\napi_secret = { env = "SECRET" }\n'
ENV = {"KEY": "k" * 32, "SECRET": "s" * 32}


def hedger(tmp_path: Path, text: str = NOWHERE + KEYS) -> Hedger:
    own = tmp_path / "own.toml"
    own.write_text(text)
    return Hedger.from_config(DEMO, own, state_dir=tmp_path / "state", env=ENV)


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMHEDGE_LOCK_DIR", str(tmp_path))


# ---------------------------------------------------------------- before anything happens


def test_without_keys_or_an_exchange_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs \[keys\]"):
        hedger(tmp_path, NOWHERE)
    with pytest.raises(ConfigError, match="needs a running exchange"):
        hedger(tmp_path, KEYS)
    for venue, host in (("demo", "demo-fapi"), ("live", "fapi")):
        assert f"https://{host}." in endpoints_of(load_config([DEMO], [f"venue={venue}"], {})).rest


async def test_a_hedger_that_hears_nothing_refuses_with_the_reason(tmp_path: Path) -> None:
    async with hedger(tmp_path) as machine:
        with pytest.raises(CommandError, match="no mark price or filters of BTCUSDT are known yet"):
            machine.may_buy("1000")
        with pytest.raises(CommandError, match="no hedge for ETH; this process holds BTC"):
            machine.may_buy("1000", asset="ETH")
        with pytest.raises(CommandError, match="no mark price is known yet and no --price"):
            await machine.execute_trade_with_hedge(Buy("1000"), wait_s=0)
        with pytest.raises(CommandError, match="no hedge for ETH"):
            await machine.execute_trade_with_hedge(Buy("1000", asset="ETH"), wait_s=0)
        assert len(machine.ledger.float_trades()) == 1, "the initial float alone is booked"
        result = await machine.execute_trade_with_hedge(Buy("1000", price="50000", trade_id="t-1"), wait_s=0)
        assert result.float_after - result.float_before == D("0.02") and result.hedge.status == "pending"
        await machine.halt("look")
        result = await machine.execute_trade_with_hedge(Buy("1000", price="50000", trade_id="t-2"), wait_s=0)
        assert result.hedge.status == "blocked" and result.hedge.reason.endswith("look")


@pytest.mark.fault("K7")
async def test_a_verb_needs_a_reason_and_a_symbol_of_this_process(tmp_path: Path) -> None:
    async with hedger(tmp_path) as machine:
        before = machine.ledger.states()
        for reason in ("", "  "):
            with pytest.raises(CommandError, match="halt needs --reason"):
                await machine.halt(reason)
        with pytest.raises(CommandError, match="XRPUSDT is no hedge of this process"):
            await machine.verb(VerbKind.FLATTEN, symbol=Symbol("XRPUSDT"), reason="x", uid=1)
        assert machine.ledger.states() == before and machine.core.state.halted is None


@pytest.mark.parametrize(
    ("kind", "symbol", "latches"),
    [
        (VerbKind.HALT, None, {"halted"}),
        (VerbKind.HALT, make.BTCUSDT, {"block:BTCUSDT"}),
        (VerbKind.REDUCE, None, {"reduce"}),
        (VerbKind.REDUCE, make.BTCUSDT, {"reduce:BTCUSDT"}),
        (VerbKind.FLATTEN, None, {"flatten:BTCUSDT"}),
        (VerbKind.FLATTEN, make.BTCUSDT, {"flatten:BTCUSDT"}),
    ],
)
@pytest.mark.fault("K4", "K7")
async def test_a_verb_is_latched_over_restarts_until_it_is_resumed(
    tmp_path: Path, kind: VerbKind, symbol: Symbol | None, latches: set[str]
) -> None:
    def latched(machine: Hedger) -> set[str]:
        return {key for key, fields in machine.ledger.states().items() if fields.get("reason")}

    async with hedger(tmp_path) as machine:
        await machine.verb(kind, symbol=symbol, reason="look", uid=os.getuid())
        assert latched(machine) == latches
    async with hedger(tmp_path) as machine:
        memory = machine.core.memory_of(make.BTCUSDT)
        held = (machine.core.state.halted, *machine.core.state.reducing.values(), memory.reduce_only, memory.flatten)
        assert any("look" in (word or "") for word in held) or (memory.block is not None and memory.block.latched)
        await machine.verb(VerbKind.RESUME, symbol=symbol, reason="looked", uid=os.getuid())
        if symbol is None:
            await machine.verb(VerbKind.RESUME, symbol=make.BTCUSDT, reason="looked", uid=os.getuid())
        assert latched(machine) == set()
        assert trading_state(machine.core.state) is TradingState.ACTIVE
        assert (memory.block, memory.reduce_only, memory.flatten) == (None, "", "")


async def test_an_empty_ledger_on_a_real_venue_starts_reducing(tmp_path: Path) -> None:
    """Venue demo with its hosts, and every connection refused before it is made: nothing leaves this machine."""
    config = load_config([DEMO], ["venue=demo"], {})
    nowhere = Endpoints(rest="http://127.0.0.1:9", stream="ws://127.0.0.1:9", ws_api="ws://127.0.0.1:9")
    key, secret = Secret(ENV["KEY"]), Secret(ENV["SECRET"])
    for _ in range(2):
        async with Hedger(config, endpoints=nowhere, api_key=key, api_secret=secret, state_dir=tmp_path) as machine:
            reason = machine.core.state.reducing.get("operator")
            if reason is None:
                break
            assert reason == FIRST_START
            await machine.verb(VerbKind.RESUME, symbol=None, reason="checked", uid=os.getuid())
    else:
        pytest.fail("a resume holds over the next start")


# ---------------------------------------------------------------- what became of a trade


def result(desk: Desk) -> HedgeResult:
    (hedge,) = desk.machine.core.policy.hedges
    with exact():
        return hedge_result(
            desk.machine.core, hedge, since_ns=make.T0_MS * NS_PER_MS + 1, position_before=D(-10), neutral_ns=None
        )


def test_the_result_names_the_first_thing_that_is_true() -> None:
    desk = Desk(shadow=True)
    desk.float("+1")
    assert result(desk).status == "shadow"

    desk = Desk()
    desk.state.halted = "look"
    desk.float("+1")
    assert result(desk).status == "blocked" and "HALTED" in result(desk).reason

    desk = Desk()
    desk.float("+1")
    assert result(desk).status == "pending" and len(result(desk).orders) == 1
    doubt = OrderOutcome(desk.order.client_order_id, OutcomeKind.IN_DOUBT, Report.DOUBT, 503, 0, "", D(0), None, None)
    desk.take(doubt, after_ms=5)
    assert result(desk).status == "in_doubt" and desk.order.client_order_id in result(desk).reason

    desk = Desk()
    desk.float("+1")
    desk.fill(desk.order, trade_id=1)
    found = result(desk)
    assert (found.status, found.filled, found.position_after) == ("hedged", D(1), D(-11))

    desk = Desk()
    desk.float("+0.0001")
    assert result(desk).status == "dust"


# ---------------------------------------------------------------- what became of an order by hand

ETHUSDT = Symbol("ETHUSDT")


def by_hand(quantity: str = "10") -> tuple[Desk, Reaction]:
    """A desk on which an order by hand is under way."""
    table = make.hedge_params(asset=make.Asset("ETH"), symbol=ETHUSDT, max_short=D(100), max_order_quantity=D(50))
    desk = Desk(manual=(table,))
    ether = replace(make.instrument(ETHUSDT), base_asset=make.Asset("ETH"))
    desk.take(replace(make.setup(), instruments=(make.instrument(), ether)))
    desk.take(replace(make.mark("2500", desk.now_ms), symbol=ETHUSDT))
    desk.machine.core.memory_of(ETHUSDT).position_trusted = True
    return desk, desk.take(ManualOrder(ETHUSDT, Side.SELL, D(quantity), False, "test", 7))


async def told(desk: Desk, reaction: Reaction, *, deadline_s: float = 5.0) -> OrderStatus:
    async def turn(left_s: float) -> None:
        await asyncio.sleep(min(left_s, 0.01))

    order = await outcome(desk.machine.core, reaction.seq, reaction.notes, turn, deadline_s)
    return order.status


async def test_an_order_by_hand_that_the_gate_refuses_was_not_sent() -> None:
    desk, reaction = by_hand("51")
    with pytest.raises(CommandError, match="R1 size"):
        await told(desk, reaction)


async def test_an_order_by_hand_that_never_left_is_a_network_error() -> None:
    desk, reaction = by_hand()
    desk.take(IntentVoided(client_order_id=desk.order.client_order_id, reason="decided too long ago"))
    with pytest.raises(NetworkError, match=r"was not sent: decided too long ago"):
        await told(desk, reaction)


async def test_an_order_by_hand_that_the_venue_refused_is_its_own_error() -> None:
    desk, reaction = by_hand()
    desk.refuse(-2019)
    with pytest.raises(ApiError) as caught:
        await told(desk, reaction)
    assert "-2019" in str(caught.value)


async def test_an_order_by_hand_without_an_end_is_unknown_and_nothing_more() -> None:
    desk, reaction = by_hand()
    with pytest.raises(OutcomeUnknown, match=r"is PLANNED\b.*nothing is sent on ETHUSDT"):
        await told(desk, reaction, deadline_s=0.03)
    desk.order.status = OrderStatus.ABSENT
    desk.state.open_ids.clear()
    desk.machine.core.memory_of(ETHUSDT).exposure = None
    with pytest.raises(OutcomeUnknown, match="never reached the venue"):
        await told(desk, reaction)
