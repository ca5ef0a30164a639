"""What a self-test does, control by control (FAULTS §5): how each is tripped, and what must have happened then.

The order matters: limits that are tightened while running stay tight, so those that let nothing through come last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from streamhedge.domain.events import VerbKind
from streamhedge.errors import CommandError
from streamhedge.live.hedger import Hedger
from streamhedge.ops.selftest.bench import BTCUSDT, ETHUSDT, Bench, Untripped, limits
from streamhedge.reactor.orders import client_order_id
from streamhedge.settings.secrets import Secret

CRUMB = "0.01"
"""Worth more than the band, and little."""


@dataclass(frozen=True, slots=True)
class Step:
    """One control: what it is, how it is tripped, and the act that does it and says what the program did."""

    control: str
    name: str
    how: str
    act: Callable[[Bench], Awaitable[str]]


async def _identified(bench: Bench) -> str:
    before = bench.newest().policy_hash
    bench.tighten(max_naked=Decimal(40_000))
    await bench.book(CRUMB)
    await bench.whole()
    order = bench.newest()
    if not order.policy_hash or order.policy_hash == before:
        raise Untripped(f"{order.client_order_id} names policy {order.policy_hash!r}, the order before {before!r}")
    row = next(found for found in bench.hedger.ledger.intents() if found.client_order_id == order.client_order_id)
    if row.policy_hash != order.policy_hash:
        raise Untripped(f"the ledger's row of {order.client_order_id} names policy {row.policy_hash!r}")
    return f"{order.client_order_id} carries policy {order.policy_hash}, the order before it {before}"


def _refused_by(control: str, said: str) -> str:
    if f" {control}:" not in said and f" {control} " not in said:
        raise Untripped(f"not refused by {control}: {said or 'it was sent'}")
    return said


async def _filters(bench: Bench) -> str:
    return _refused_by("filters", await bench.short_by_hand("0.0101"))


async def _size(bench: Bench) -> str:
    return _refused_by("R1", await bench.short_by_hand("1.5"))


async def _largest_position(bench: Bench) -> str:
    for _ in range(2):
        said = await bench.short_by_hand("1")
        if said:
            raise Untripped(f"a short inside the limits was refused: {said}")
    said = _refused_by("R3", await bench.short_by_hand("1"))
    for _ in range(2):
        await bench.hedger.close_position(ETHUSDT, "1", reason="self-test")
    return said


async def _oversize(bench: Bench) -> str:
    """Let the short stand above what is allowed while nothing may be sent: the rule would buy it back at once."""
    held, reducing = bench.position(), bench.hedger.core.state.reducing
    await bench.verb(VerbKind.HALT, symbol=BTCUSDT)
    await bench.door("external", {"quantity": "-1"})
    await bench.until(lambda: f"position:{BTCUSDT}" in reducing, "REDUCING")
    said, sent = reducing[f"position:{BTCUSDT}"], bench.sent
    await bench.verb(VerbKind.RESUME, symbol=BTCUSDT)
    await bench.whole()
    if reducing or bench.position() != held or not bench.newest().reduce_only or bench.sent == sent:
        raise Untripped(f"{bench.position()} instead of {held}, {bench.sent - sent} orders, REDUCING for {reducing}")
    return f"REDUCING: {said}; bought back to {held}, reduce-only"


async def _direction(bench: Bench) -> str:
    await bench.door("external", {"symbol": ETHUSDT, "quantity": "1"})
    await bench.until(lambda: bench.hedger.core.state.book.quantity(ETHUSDT) == 1, "a long of somebody else")
    said = _refused_by("R10", await bench.short_by_hand("0.5"))
    await bench.door("external", {"symbol": ETHUSDT, "quantity": "-1"})
    await bench.until(lambda: bench.hedger.core.state.book.quantity(ETHUSDT) == 0, "the long to be closed")
    return said


async def _not_allowed(bench: Bench) -> str:
    said = await bench.short_by_hand("1", symbol=BTCUSDT)
    if "is held at target" not in said:
        raise Untripped(f"{BTCUSDT} was traded beside its hedge: {said or 'it was sent'}")
    return said


async def _one_at_a_time(bench: Bench) -> str:
    await bench.fault("O1=late")
    await bench.book(CRUMB)
    await bench.until(lambda: bench.hedger.core.state.open_ids and bench.newest().in_doubt, "an order in doubt")
    first, sent = bench.newest().client_order_id, bench.sent
    await bench.book(CRUMB)
    if bench.sent != sent:
        raise Untripped("a second order was sent while the first was in doubt")
    await bench.whole()
    posts = (await bench.truth())["wire_posts"][first]
    if posts != 1:
        raise Untripped(f"{first} was sent {posts} times")
    return f"nothing was sent while {first} was in doubt, and it was sent once"


async def _self_match(bench: Bench) -> str:
    mark = Decimal((await bench.truth())["marks"][BTCUSDT])
    await bench.door(
        "external", {"quantity": "0.2", "price": str(mark.quantize(Decimal("0.1"))), "client_id": "web_resting"}
    )
    before = bench.triggers("R16")
    await bench.book(CRUMB)
    await bench.until(lambda: bench.triggers("R16") > before, "an order that would have met our own")
    await bench.door("external", {"cancel": BTCUSDT})
    await bench.whole()
    return "our order ended EXPIRED_IN_MATCH without a fill; the next one, without the rival, filled"


async def _held(bench: Bench, fault: str, hold: str) -> str:
    """Want a raise while a fault makes the rule hold it back; then take the fault back and see it sent."""
    await bench.fault(f"{fault}*0")
    if hold == "stale":
        await bench.until(lambda: _mark_age_ms(bench) > bench.hedger.policy.limits.stale_after_ms, "an old mark")
    else:
        await bench.until(lambda: _apart(bench), "mark and index apart")
    sent = bench.sent
    await bench.book(CRUMB)
    await bench.until(lambda: bench.memory.hold == hold, f"the raise to be held back ({hold})")
    if bench.sent != sent:
        raise Untripped("a raise was sent all the same")
    reason = bench.memory.blocked.reason if bench.memory.blocked is not None else hold
    await bench.door("fault", {"clear": fault.partition("=")[0]})
    await bench.whole()
    return f"held back ({reason}), sent once it was over"


def _mark_age_ms(bench: Bench) -> int:
    mark = bench.hedger.core.state.book.marks[BTCUSDT]
    return (bench.hedger.clock.now_ns() - mark.recv_ns) // 1_000_000


def _apart(bench: Bench) -> bool:
    mark = bench.hedger.core.state.book.marks[BTCUSDT]
    return abs(mark.mark_price - mark.index_price) > bench.hedger.policy.limits.price_collar * mark.index_price


async def _collar(bench: Bench) -> str:
    return await _held(bench, "M2=basis", "price")


async def _stale(bench: Bench) -> str:
    return await _held(bench, "M1=any", "stale")


async def _distance(bench: Bench) -> str:
    held = bench.position()
    wallet = Decimal((await bench.truth())["wallet"])
    mark = bench.hedger.core.state.book.marks[BTCUSDT].mark_price
    keep = (-held * mark * Decimal("0.24")).quantize(Decimal(1))
    await bench.door("wallet", {"change": str(keep - wallet)})
    await bench.until(lambda: bench.position() > held, "a cut")
    step, left = bench.memory.ladder_step.value, bench.position()
    await bench.door("wallet", {"change": str(wallet - keep)})
    await bench.whole()
    return f"the ladder ({step}) cut the short from {held} to {left}; a top-up brought it back"


def _latched(bench: Bench) -> bool:
    return bench.memory.block is not None and bench.memory.block.latched


async def _no_effect(bench: Bench) -> str:
    await bench.fault("X1=report")
    sent = bench.sent
    await bench.book(CRUMB)
    await bench.until(lambda: _latched(bench), "a latched block")
    assert bench.memory.block is not None, "it was waited for"
    reason, tried = bench.memory.block.reason, bench.sent - sent
    if tried != 1:
        raise Untripped(f"{tried} orders were sent before it stopped")
    await bench.verb(VerbKind.RESUME, symbol=BTCUSDT)
    await bench.whole()
    return f"BLOCKED after one order: {reason}"


async def _again_and_again(bench: Bench) -> str:
    """The exchange reports fills, moves the book with them, and its own snapshot then shows that nothing moved."""
    most = bench.hedger.policy.limits.repeated_same_side_fills
    await bench.fault(f"X1=1*{most + 1}")
    await bench.book(CRUMB)
    for number in range(most + 1):
        await bench.until(lambda: _latched(bench) or bench.memory.unproven_fill != 0, f"fill {number + 1} of nothing")
        if _latched(bench):
            break
        # An order elsewhere that is refused for margin makes the program look at the account.
        await bench.fault("O14=margin")
        await bench.short_by_hand("1")
        await bench.until(lambda: bench.memory.unproven_fill == 0, "the audit that sees it")
    await bench.until(lambda: _latched(bench), "a latched block")
    assert bench.memory.block is not None, "it was waited for"
    reason = bench.memory.block.reason
    await bench.heal()
    await bench.whole()
    return f"BLOCKED: {reason}"


async def _never_decided(bench: Bench) -> str:
    state = bench.hedger.core.state
    stranger = client_order_id(state.instance, state.epoch, 999_999)
    await bench.door("external", {"quantity": "-0.1", "client_id": stranger})
    await bench.until(lambda: state.halted is not None, "HALTED")
    reason = state.halted
    sent = bench.sent
    await bench.book("1.5")
    if bench.sent != sent:
        raise Untripped("an order was sent while HALTED")
    return f"HALTED: {reason}"


async def _slow_beginning(bench: Bench) -> str:
    """Lift the halt of the step before, with one and a half bitcoin to hedge."""
    before, sent = bench.triggers("R15"), bench.sent
    if bench.hedger.core.state.halted is None:
        await bench.verb(VerbKind.HALT)
        await bench.book("1.5")
    await bench.verb(VerbKind.RESUME)
    await bench.until(lambda: bench.sent > sent, "the first order")
    first = list(bench.hedger.core.state.orders.values())[-(bench.sent - sent)]
    await bench.until(lambda: bench.triggers("R15") > before, "the next raise to wait")
    await bench.whole()
    orders = [order for order in bench.hedger.core.state.orders.values() if order.decided_ns >= first.decided_ns]
    apart = [b.decided_ns - a.decided_ns for a, b in pairwise(orders)]
    largest = bench.hedger.policy.limits.max_order_notional / first.decision_mark
    if first.quantity > largest / 4 or any(wait < 1_000_000_000 for wait in apart):
        raise Untripped(f"the first order was {first.quantity} of {largest:.3f}, the next after {apart} ns")
    return f"first {first.quantity} of at most {largest:.3f}, then {len(apart)} more, at least {min(apart) / 1e9:.1f} s apart"


async def _state(bench: Bench, kind: VerbKind, symbol: bool) -> str:
    sent = bench.sent
    await bench.verb(kind, symbol=BTCUSDT if symbol else None)
    await bench.book(CRUMB)
    words = ("halted", "reducing", "blocked")
    await bench.until(lambda: bench.memory.hold in words or bench.memory.block is not None, "the raise to be held back")
    if bench.sent != sent:
        raise Untripped(f"a raise was sent after {kind.value}")
    if kind is VerbKind.REDUCE:
        await bench.book("-0.05")
        await bench.until(lambda: bench.sent > sent, "a reduction, which may go out")
        if not bench.newest().reduce_only:
            raise Untripped("what went out was not reduce-only")
    await bench.verb(VerbKind.RESUME, symbol=BTCUSDT if symbol else None)
    await bench.whole()
    return f"no raise went out after {kind.value}; it did after resume"


async def _halt(bench: Bench) -> str:
    return await _state(bench, VerbKind.HALT, False)


async def _reduce(bench: Bench) -> str:
    return await _state(bench, VerbKind.REDUCE, False)


async def _block(bench: Bench) -> str:
    return await _state(bench, VerbKind.HALT, True)


async def _flatten(bench: Bench) -> str:
    await bench.verb(VerbKind.HALT)
    held, sent = bench.position(), bench.sent
    await bench.verb(VerbKind.FLATTEN, symbol=BTCUSDT)
    await bench.until(lambda: bench.position() == 0 and not bench.hedger.core.state.open_ids, "the position to be gone")
    if not bench.newest().reduce_only:
        raise Untripped("a slice was not reduce-only")
    slices = bench.sent - sent
    await bench.verb(VerbKind.RESUME)
    await bench.verb(VerbKind.RESUME, symbol=BTCUSDT)
    await bench.whole()
    return f"{held} closed while HALTED in {slices} reduce-only order(s); hedged again after resume"


async def _refused_at_the_gate(bench: Bench, control: str) -> str:
    sent = bench.sent
    await bench.book(CRUMB)
    await bench.until(lambda: bench.memory.refused_by.partition(" ")[0] == control, f"a refusal by {control}")
    if bench.sent != sent:
        raise Untripped("it was sent all the same")
    return str(bench.memory.blocked.reason) if bench.memory.blocked is not None else bench.memory.refused_by


async def _turnover(bench: Bench) -> str:
    await bench.whole()
    bench.tighten(max_turnover_per_day=bench.hedger.core.state.meter.turnover + 1)
    return await _refused_at_the_gate(bench, "R8")


async def _rate(bench: Bench) -> str:
    bench.tighten(max_orders_per_minute=1)
    return await _refused_at_the_gate(bench, "R4")


async def _intents(bench: Bench) -> str:
    errors = len(bench.hedger.core.state.meter.error_times_ns)
    bench.tighten(max_intents_per_symbol_per_minute=max(errors, 1))
    return await _refused_at_the_gate(bench, "O20")


async def _errors(bench: Bench) -> str:
    state = bench.hedger.core.state
    most = bench.hedger.policy.limits.max_intents_per_symbol_per_minute
    await bench.fault(f"S7=x*{most + 2}")
    await bench.until(lambda: "errors" in state.reducing, "REDUCING")
    return f"REDUCING: {state.reducing['errors']}"


STEPS: tuple[Step, ...] = (
    Step("R17", "identification", "a limit is changed while running, then an order", _identified),
    Step("filters", "the venue's filters", "a short by hand that is no multiple of the step", _filters),
    Step("R1", "order size", "a short by hand of 1.5 ETH, 1 allowed", _size),
    Step("R3", "position size", "a third short of 1 ETH, 2 allowed", _largest_position),
    Step("R3", "position above 110 %", "halt --symbol, and somebody else sells 1 BTC", _oversize),
    Step("R10", "direction", "a short by hand while somebody else is long", _direction),
    Step("R13", "what may be traded", "an order by hand on the symbol of a hedge", _not_allowed),
    Step("R5", "one order at a time", "O1=late: the outcome is unknown, and more is to be hedged", _one_at_a_time),
    Step("R16", "self-match", "an order of the account rests where ours goes", _self_match),
    Step("R2", "price collar", "M2=basis: mark and index disagree", _collar),
    Step("R11", "data quality", "M1: no mark prices", _stale),
    Step("R9", "liquidation distance", "money leaves the wallet", _distance),
    Step("R7", "hedge effectiveness", "X1=report: a fill that moves no position", _no_effect),
    Step("R6", "repeated execution", "X1: fills that the account then does not show", _again_and_again),
    Step("state", "HALTED", "halt", _halt),
    Step("state", "REDUCING", "reduce", _reduce),
    Step("symbol", "BLOCKED", "halt --symbol", _block),
    Step("R12", "what comes back was decided", "a fill under an id of this run that nobody decided", _never_decided),
    Step("R15", "slow beginning", "resume after that halt, 1.5 BTC to hedge", _slow_beginning),
    Step("flatten", "flatten", "halt, then flatten", _flatten),
    Step("R8", "turnover", "max_turnover_per_day is used up", _turnover),
    Step("R4", "orders a minute", "max_orders_per_minute = 1", _rate),
    Step("O20", "intents a minute", "max_intents_per_symbol_per_minute is used up", _intents),
    Step("R14", "error budget", "S7: more frames nobody understands than the budget holds", _errors),
)


async def wrong_key(bench: Bench) -> tuple[str, int]:
    """Start a second hedger with another key and return what it said, and its own count (R18)."""
    told: list[str] = []
    other = Hedger(
        limits(),
        endpoints=bench.endpoints,
        api_key=Secret("0" * 64),
        api_secret=Secret("0" * 64),
        state_dir=bench.folder / "other",
        on_notes=lambda notes, _: told.extend(note.text for note in notes if note.code == "key_refused"),
    )
    try:
        async with other:
            await bench.until(lambda: told, "the key to be refused")
            sent = other.core.state.meter.orders_sent
            if sent:
                raise Untripped(f"{sent} orders were decided with a key the venue refuses")
            return told[0], other.core.state.meter.triggers.get("R18", 0)
    except CommandError as error:
        raise Untripped(str(error)) from error
