"""How each kind of happening is done to a world: one table."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from streamhedge.domain.events import FloatTradeKind
from streamhedge.sim.market import graded
from streamhedge.sim.refusals import Refusal
from streamhedge.world.schedule import MS

if TYPE_CHECKING:
    from streamhedge.world.process import Process
    from streamhedge.world.world import World

D = Decimal
BTCUSDT = "BTCUSDT"
CUT_EVERY_NS = 60_000 * MS
Apply = Callable[["World", str, str], None]


def _float_trade(world: World, kind: str, value: str) -> None:
    sign = 1 if kind in ("buy", "deposit") else -1
    if world.auditor.hearing.float + sign * D(value) < 0:
        return
    world.book(FloatTradeKind(kind), sign * D(value))


def _crumb(world: World, kind: str, value: str) -> None:
    """A trade so small that its hedge may stay inside the band."""
    _float_trade(world, "deposit" if D(value) > 0 else "withdraw", f"{abs(D(value)):f}")


def _again(world: World, kind: str, value: str) -> None:
    """The last trade is submitted once more; the ledger must say that it stands there."""
    held = world.ledger.float_trades()
    if held and world.ledger.record_float_trade(held[-1]):
        raise AssertionError("a float trade was booked twice")


def _verb(world: World, kind: str, value: str) -> None:
    """Halt or reduce for so many seconds; the operator resumes. The longest reduce is of the symbol alone."""
    world.verb(kind, BTCUSDT if (kind, value) == ("reduce", "40") else None)

    def end() -> None:
        if not world.healing:  # else everything is resumed already
            world.verb("resume")
            world.verb("resume", BTCUSDT)

    world.schedule.after(int(value) * 1_000 * MS, end)


def _external(world: World, kind: str, value: str) -> None:
    symbol = "ETHUSDT" if kind == "external-eth" else BTCUSDT
    try:
        world.exchange.engine.external(symbol, D(value), world.schedule.now_ms)
    except Refusal:
        return


def _rival(world: World, kind: str, value: str) -> None:
    """Another streamhedge trades the account."""
    engine = world.exchange.engine
    name = f"sh-feedbeef-1-{world.schedule.now_ms % 1_000_000:06d}"
    words = {"symbol": BTCUSDT, "side": "BUY" if D(value) > 0 else "SELL", "type": "MARKET"}
    try:
        engine.place({**words, "quantity": f"{abs(D(value)):f}", "newClientOrderId": name}, world.schedule.now_ms)
    except Refusal:
        return


def _foreign_rests(world: World, kind: str, value: str) -> None:
    """Somebody else lets an order rest, far from the market."""
    engine, contract = world.exchange.engine, world.exchange.contracts[BTCUSDT]
    price = (contract.mark * D("0.96") / contract.tick).to_integral_value() * contract.tick
    words = {"symbol": BTCUSDT, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": f"{price:f}"}
    try:
        engine.place({**words, "quantity": value, "newClientOrderId": "web_rests"}, world.schedule.now_ms)
    except Refusal:
        return


def _thin(world: World, kind: str, value: str) -> None:
    """So little stands on each level of the book for so many seconds: orders fill in many parts."""
    size, _, seconds = value.partition(" ")
    contract = world.exchange.contracts[BTCUSDT]
    usual, contract.level_size = contract.level_size, D(size)

    def back() -> None:
        contract.level_size = max(usual, D(5))

    world.schedule.after(int(seconds) * 1_000 * MS, back)


def _transfer(world: World, kind: str, value: str) -> None:
    if world.exchange.account.wallet + D(value) > 0:
        reason = "DEPOSIT" if D(value) > 0 else "WITHDRAW"
        world.exchange.engine.transfer(D(value), reason, world.schedule.now_ms)


def _leverage(world: World, kind: str, value: str) -> None:
    """Somebody sets another leverage, and sets it back."""
    set_leverage(world, int(value))
    world.schedule.after(10_000 * MS, lambda: set_leverage(world, world.options.leverage))


def set_leverage(world: World, leverage: int) -> None:
    """Set the leverage as somebody else does, with its news."""
    now_ms = world.schedule.now_ms
    world.exchange.account.position(BTCUSDT).leverage = leverage
    row = {"s": BTCUSDT, "l": leverage}
    world.exchange.emit({"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, "ac": row})
    world.wire.flush()


def _ramp(world: World, kind: str, value: str) -> None:
    permille, _, seconds = value.partition(" ")
    elapsed_ms = world.schedule.now_ms - world.exchange.start_ms
    world.tape.ramp(elapsed_ms, int(seconds or "0") * 1_000, int(permille))


def _fault(world: World, kind: str, value: str) -> None:
    world.exchange.faults.arm(f"{kind}={value}", world.exchange.now_ms)


def _switch(world: World, kind: str, value: str) -> None:
    """A fault that stays for so many seconds."""
    said, _, seconds = value.partition(" ")
    world.exchange.faults.arm(f"{kind}={said}*0", world.exchange.now_ms)

    def back() -> None:
        world.exchange.faults.disarm(kind)
        world.exchange.streams.silent_symbol = ""

    world.schedule.after(int(seconds) * 1_000 * MS, back)


def _wire(world: World, kind: str, value: str) -> None:
    world.wire.arm(kind, int(value))


def _frames_again(world: World, kind: str, value: str) -> None:
    world.wire.repeating += int(value)


def _net_down(world: World, kind: str, value: str) -> None:
    """Every connection breaks and none can be made for so many seconds."""
    world.wire.refusing_until_ns = world.schedule.now_ns + int(value) * 1_000 * MS
    world.exchange.streams.drop()
    world.exchange.drop_ws_api = True


def _contract(world: World, kind: str, value: str) -> None:
    status, _, seconds = value.partition(" ")
    exchange = world.exchange
    exchange.change_contract(BTCUSDT, world.schedule.now_ms, status=status)

    def back() -> None:
        exchange.change_contract(BTCUSDT, world.schedule.now_ms, status="TRADING")
        world.wire.flush()

    world.schedule.after(int(seconds) * 1_000 * MS, back)


def _brackets(world: World, kind: str, value: str) -> None:
    rows = [(D(300_000), D("0.005"), 150), (D(3_000_000), D("0.01"), 75), (D(1_800_000_000), D("0.05"), 10)]
    world.exchange.change_contract(BTCUSDT, world.schedule.now_ms, brackets=graded(rows))


def _kill(world: World, kind: str, value: str) -> None:
    point, _, down_ms = value.partition(" ")
    process = world.process
    if process is None:
        return
    world.down_ms = int(down_ms)
    world.power = kind == "power"
    if point == "now":
        world.kill(point)
    else:
        process.kill_at = point


def _stop(world: World, kind: str, value: str) -> None:
    """The process is stopped for so many milliseconds (SIGSTOP, a suspended machine), then continued."""
    process = world.process
    if process is None or process.suspended:
        return
    process.suspended = True
    first = world.chance.randrange(2) == 0

    def go_on() -> None:
        if process.alive and process.suspended:
            process.resume(int(value) * MS, frames_first=first)

    world.schedule.after(int(value) * MS, go_on)


def _stall(world: World, kind: str, value: str) -> None:
    if world.process is not None:
        world.process.hands.stall_ms = int(value)


def _ledger_fails(world: World, kind: str, value: str) -> None:
    world.ledger.fail(int(value))


def _commit_fails(world: World, kind: str, value: str) -> None:
    world.ledger.refusing_intents = int(value)


def _journal_fails(world: World, kind: str, value: str) -> None:
    if world.process is not None:
        world.process.journal.failing = 1


def _times(world: World, kind: str, value: str) -> None:
    """A fault that hits the next so many calls."""
    world.exchange.faults.arm(f"{kind}=x*{value}", world.exchange.now_ms)


def _part_of_snapshot(world: World, kind: str, value: str) -> None:
    """One snapshot lacks rows; two in a row that agree are the venue's own word, and believed."""
    waiting = any(fault.name == kind for fault in world.exchange.faults.armed)
    if not waiting and world.schedule.now_ns - world.cut_snapshot_ns > CUT_EVERY_NS:
        world.cut_snapshot_ns = world.schedule.now_ns
        _fault(world, kind, value)


def _refuse_sockets(world: World, kind: str, value: str) -> None:
    """Every socket is cut, and the next so many are refused: by the host (0) or with a status."""
    status, _, times = value.partition(" ")
    for _ in range(int(times)):
        world.wire.arm("S4", int(status))
    world.exchange.streams.drop()


def _late(world: World, kind: str, value: str) -> None:
    """The loop is late by so many milliseconds, so many times over."""
    late_ms, _, times = value.partition(" ")
    for number in range(int(times)):
        process = world.process

        def late(process: Process | None = process) -> None:
            if process is not None and process.alive and not process.suspended:
                process.tick(int(late_ms) * MS)

        world.schedule.after(number * 400 * MS, late)


def _flood(world: World, kind: str, value: str) -> None:
    """So many frames of marks at once."""
    for _ in range(int(value)):
        world.exchange.publish_marks(world.exchange.now_ms)
    world.wire.flush()


def _break_off(world: World, kind: str, value: str) -> None:
    stream, _, code = value.partition(" ")
    for socket in [socket for socket in world.wire.sockets if socket.stream == stream]:
        world.wire.break_off(socket, ("1006", "1011 internal error", "1012 service restart")[int(code)])


def _bare_funding(world: World, kind: str, value: str) -> None:
    """Funding is told with balances alone, though a position is open."""
    world.exchange.engine.transfer(D(value), "FUNDING_FEE", world.exchange.now_ms)


def _hedge_mode(world: World, kind: str, value: str) -> None:
    """Somebody switches to hedge mode, with no event, and back."""
    world.exchange.account.dual_side = True

    def back() -> None:
        world.exchange.account.dual_side = False

    world.schedule.after(int(value) * 1_000 * MS, back)


def _multi_assets(world: World, kind: str, value: str) -> None:
    set_multi_assets(world, True)
    world.schedule.after(int(value) * 1_000 * MS, lambda: set_multi_assets(world, False))


def set_multi_assets(world: World, on: bool) -> None:
    """Switch the account's asset mode as somebody else does, with its news."""
    now_ms = world.schedule.now_ms
    world.exchange.account.multi_assets = on
    world.exchange.emit({"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, "ai": {"j": on}})
    world.wire.flush()


def _other_tenants(world: World, kind: str, value: str) -> None:
    """Others use up the account's order budget, or the address's weight."""
    budget, _, amount = value.partition(" ")
    now_ms, limits = world.exchange.now_ms, world.exchange.limits
    if budget == "orders":
        limits.orders.extend([now_ms] * int(amount))
    else:
        limits.weights.append((now_ms, int(amount)))
        limits.tenants.append((now_ms, int(amount)))


def _ban(world: World, kind: str, value: str) -> None:
    """Somebody behind the same address asked too much: 418 for so many seconds."""
    limits = world.exchange.limits
    limits.banned_until_ms = max(limits.banned_until_ms, world.exchange.now_ms + int(value) * 1_000)


def _filters(world: World, kind: str, value: str) -> None:
    """The venue coarsens a filter without a word; after a while it is as it was."""
    name, _, seconds = value.partition(" ")
    contract = world.exchange.contracts[BTCUSDT]
    if name == "tick":
        contract.tick = D(1)
    else:
        contract.step = D("0.002")
        world.auditor.step = contract.step

    def back() -> None:
        contract.tick, contract.step = D("0.1"), D("0.001")

    world.schedule.after(int(seconds) * 1_000 * MS, back)


def _no_margin(world: World, kind: str, value: str) -> None:
    world.exchange.faults.arm(f"O14=margin*{value}", world.exchange.now_ms)


def _shock(world: World, kind: str, value: str) -> None:
    """The collateral loses so many permille at once."""
    loss = (world.exchange.account.wallet * D(value) / 1_000).quantize(D("0.01"))
    world.exchange.engine.transfer(-loss, "ADJUSTMENT", world.exchange.now_ms)


def _shallow(world: World, kind: str, value: str) -> None:
    """The book is thin and wide for so many seconds."""
    size, _, seconds = value.partition(" ")
    contract = world.exchange.contracts[BTCUSDT]
    contract.level_size, contract.level_ticks = D(size), 200

    def back() -> None:
        contract.level_size, contract.level_ticks = D(5), 10

    world.schedule.after(int(seconds) * 1_000 * MS, back)


def _step_clock(world: World, kind: str, value: str) -> None:
    if world.process is not None:
        world.process.step_ms += int(value)
        world.auditor.promises.stepped_ms += int(value)


def _noise(world: World, kind: str, value: str) -> None:
    """Questions take up to so much longer than answers, for so many seconds."""
    most_ms, _, seconds = value.partition(" ")
    world.wire.noise_ms = int(most_ms)

    def back() -> None:
        world.wire.noise_ms = 0

    world.schedule.after(int(seconds) * 1_000 * MS, back)


APPLY: dict[str, Apply] = {
    **dict.fromkeys(("buy", "sell", "deposit", "withdraw"), _float_trade),
    **dict.fromkeys(("halt", "reduce", "flatten"), _verb),
    **dict.fromkeys(("external", "external-eth"), _external),
    **dict.fromkeys(("jump", "crash"), _ramp),
    **dict.fromkeys(("S1", "S3", "S7", "S8", "U2", "U3", "U5", "U6", "U8", "U9"), _fault),
    **dict.fromkeys(("O1", "O3", "O5", "O6", "O7", "O14", "O15", "A5", "M3"), _fault),
    **dict.fromkeys(("S2", "S10", "C1", "M1"), _switch),
    **dict.fromkeys(("order-lost", "order-slow", "order-refused", "order-answer-lost", "order-answer-slow"), _wire),
    **dict.fromkeys(("call-lost", "call-answer-lost", "ask-lost", "ask-answer-lost", "ask-answer-slow"), _wire),
    **dict.fromkeys(("frame-lost", "frame-slow"), _wire),
    **dict.fromkeys(("kill", "power"), _kill),
    **{"S4": _refuse_sockets, "S5": _late, "S6": _flood, "S13": _break_off, "U10": _bare_funding, "U13": _hedge_mode},
    **{"O12": _other_tenants, "O13": _ban, "filters": _filters, "A4": _multi_assets, "A7": _shock, "M4": _shallow},
    **{"C2": _step_clock, "C3": _stop, "C5": _noise, "P4": _stall, "A6": _no_margin, "U4": _times, "S12": _times},
    **dict.fromkeys(("S9", "U7", "U14", "O18", "M2"), _fault),
    "U11": _part_of_snapshot,
    **{"again": _again, "rival": _rival, "transfer": _transfer, "leverage": _leverage, "net-down": _net_down},
    **{"frames-again": _frames_again},
    **{"contract": _contract, "brackets": _brackets, "stop": _stop, "stall": _stall},
    **{"commit-fails": _commit_fails, "ledger-fails": _ledger_fails, "journal-fails": _journal_fails},
    **{"thin": _thin, "crumb": _crumb, "foreign-rests": _foreign_rests},
}
