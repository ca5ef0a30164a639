"""`kill`: stop a process that may be wedged, latch HALTED, cancel what rests, tell the exposure. It never trades.

It needs nothing of the process but its lock file. Every step is tried whatever became of the one before, and says what
it did; done twice it does no harm. The latch is written before the process is touched, so that a supervisor's restart
comes up HALTED, and again after it has gone when the first try found the ledger held.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from websockets.asyncio.client import connect

from streamhedge.domain.order import Order, Side
from streamhedge.domain.values import ZERO, exact, plain_text, record
from streamhedge.errors import AlreadyRunning, ConfigError, NotRunning, ParseError, StreamhedgeError
from streamhedge.live.hedger import endpoints_of
from streamhedge.ops.instances import Instance, instances, running
from streamhedge.settings.config import Config
from streamhedge.settings.endpoints import Endpoints
from streamhedge.settings.secrets import Secret, fingerprint, load_secret
from streamhedge.store.ledger import Ledger
from streamhedge.store.lock import InstanceLock
from streamhedge.venue.http import RestClient
from streamhedge.venue.sockets import CONNECT_ERRORS
from streamhedge.wire import requests
from streamhedge.wire.answers import decode_ws_api, positions_of
from streamhedge.wire.signing import Signer, signed_params, signer_of

TERM_S = 0.25
"""How long the process has to stop by itself after SIGTERM (PRODUCT §6)."""
GONE_S = 3.0
"""How long the kernel may take to bury it after SIGKILL."""
CALL_S = 5.0
WINDOW_MS = 60_000
"""The widest the venue takes: a cancel that comes late does no harm, and this clock may be off."""
UNKNOWN_ORDER = -2011
Say = Callable[[str], None]
Report = dict[str, Any]


@record
class Target:
    """Whom to stop, and with what to reach the venue; ``endpoints`` None where nobody said."""

    name: str
    instance: Instance | None
    folder: Path | None
    endpoints: Endpoints | None
    api_key: Secret | None
    api_secret: Secret | None


def find_target(config: Config | None, state_dir: Path, env: Mapping[str, str]) -> Target:
    """Return who is meant: the configuration's account, or the only one that a process holds.

    Raises:
        ConfigError: the configuration names no account, or its keys cannot be read.
        NotRunning: no process, or several, and no configuration.
    """
    keys = config.settings.keys if config is not None else None
    own_exchange = config is not None and config.settings.venue == "sim" and config.settings.endpoints is None
    if config is not None and keys is not None and not own_exchange:
        api_key = load_secret("api_key", keys.api_key, env)
        api_secret = load_secret("api_secret", keys.api_secret, env)
        name = f"{config.settings.venue}-{fingerprint(api_key)}"
        instance = next((found for found in instances() if found.name == name), None)
        folder = state_dir / name
        if instance is not None and instance.held and instance.folder is not None:
            folder = instance.folder
        return Target(name, instance, folder, endpoints_of(config), api_key, api_secret)
    alive = running()
    if len(alive) == 1:
        return Target(alive[0].name, alive[0], alive[0].folder, None, None, None)
    if not alive:
        raise NotRunning(
            "no streamhedge runs here, so there is nothing to stop; with -c FILE kill also latches and cancels"
        )
    raise NotRunning(f"several run ({', '.join(found.name for found in alive)}): say which with -c FILE")


async def kill_process(target: Target, *, reason: str, say: Say) -> Report:
    """Stop, latch, cancel, tell; never raises for what a step meets.

    Returns:
        ``process`` (how it ended), ``halted``, ``cancelled``, ``exposure`` and ``problems`` (what a person must do).
    """
    report: Report = {
        **{"account": target.name, "pid": target.instance.pid if target.instance else None},
        **{"process": "not running", "halted": False, "cancelled": [], "exposure": [], "problems": []},
    }
    latch = f"uid {os.getuid()}: kill: {reason}"
    first = _latched(target, latch)
    say("HALTED is latched" if first is None else f"the latch must wait: {first}")
    lock = _stopped(target, report, say)
    try:
        problem = first if first is None else _latched(target, latch)
        report["halted"] = problem is None
        if problem is not None:
            report["problems"].append(f"HALTED is not latched: {problem}; a restart would trade. Do not restart")
        orders = _open_orders(target, report)
        await _cancel_all(target, orders, report, say)
        await _tell_exposure(target, report)
    finally:
        if lock is not None:
            lock.release()
    return report


# ---------------------------------------------------------------- the latch


def _latched(target: Target, latch: str) -> str | None:
    """Write the latch through a connection of our own; return why not, None when it stands."""
    if target.folder is None or not (target.folder / "ledger.sqlite").exists():
        return f"no ledger in {target.folder}"
    try:
        ledger = Ledger(target.folder / "ledger.sqlite")
    except (StreamhedgeError, OSError) as error:
        return str(error)
    try:
        ledger.set_state("halted", {"reason": latch})
    except (StreamhedgeError, OSError) as error:
        return str(error)
    finally:
        ledger.close()
    return None


# ---------------------------------------------------------------- the process


def _stopped(target: Target, report: Report, say: Say) -> InstanceLock | None:
    """End the process; return its lock, held by us so that nobody starts before the cancels are done."""
    instance = target.instance
    if instance is not None and instance.held:
        if instance.pid is None or instance.pid in (os.getpid(), os.getppid(), 0, 1):
            report["problems"].append(f"the lock of {target.name} is held, but its file names no process to end")
            return None
        report["process"] = _ended(instance.pid, target, say)
    deadline = time.monotonic() + (GONE_S if instance is not None and instance.held else 0.0)
    while True:
        try:
            return InstanceLock(target.name, state_dir=target.folder or Path("unknown"))
        except AlreadyRunning as error:
            if time.monotonic() > deadline:
                report["process"] = "STILL RUNNING"
                report["problems"].append(f"the process did not end: {error}")
                return None
        except (StreamhedgeError, OSError) as error:
            report["problems"].append(f"the lock cannot be taken: {error}")
            return None
        time.sleep(0.01)


def _ended(pid: int, target: Target, say: Say) -> str:
    """SIGTERM, 250 ms, SIGKILL. A stopped process is not woken: SIGKILL ends it as it stands."""
    try:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + TERM_S
        while time.monotonic() < deadline:
            if not _holds(target):
                return f"pid {pid} ended by SIGTERM"
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return f"pid {pid} ended by itself"
    except PermissionError:
        return f"pid {pid} belongs to another user: not ended"
    say(f"pid {pid} did not stop within {TERM_S * 1_000:.0f} ms: SIGKILL")
    return f"pid {pid} ended by SIGKILL"


def _holds(target: Target) -> bool:
    return any(found.held for found in instances() if found.name == target.name)


# ---------------------------------------------------------------- orders


def _open_orders(target: Target, report: Report) -> list[Order]:
    """Return our orders whose end the ledger does not know."""
    if target.folder is None:
        return []
    try:
        ledger = Ledger(target.folder / "ledger.sqlite", read_only=True)
    except (StreamhedgeError, OSError) as error:
        report["problems"].append(f"open orders cannot be read: {error}; look at the venue")
        return []
    try:
        report["exposure"] += _books(ledger)
        return ledger.open_orders()
    except (StreamhedgeError, OSError, ValueError) as error:
        report["problems"].append(f"open orders cannot be read: {error}; look at the venue")
        return []
    finally:
        ledger.close()


async def _cancel_all(target: Target, orders: list[Order], report: Report, say: Say) -> None:
    """Cancel one by one by client id: a cancel-all would take a person's own orders with it."""
    if not orders:
        say("no order of ours is open")
        return
    if target.endpoints is None or target.api_key is None or target.api_secret is None:
        ids = ", ".join(order.client_order_id for order in orders)
        if target.name.startswith("sim-"):
            said = "the built-in exchange ended with its hedger, and the orders with it"
            report["cancelled"] = [{"client_order_id": order.client_order_id, "outcome": said} for order in orders]
        else:
            report["problems"].append(f"not cancelled, for want of -c FILE with [keys]: {ids}; repeat with it")
        return
    rest = RestClient(
        target.endpoints.rest, api_key=target.api_key, signer=signer_of(target.api_secret.reveal()), timeout_s=CALL_S
    )
    try:
        for order in orders:
            request = requests.cancel_order(order.symbol, order.client_order_id, recv_window_ms=WINDOW_MS)
            answer = await rest.send(request)
            outcome, done = _outcome(answer.status, answer.body, answer.error)
            report["cancelled"].append({"client_order_id": order.client_order_id, "outcome": outcome})
            if not done:
                report["problems"].append(f"{order.client_order_id}: {outcome}; look at the venue")
    finally:
        await rest.close()


def _outcome(status: int | None, body: bytes, error: str) -> tuple[str, bool]:
    """Return (words, whether it certainly does not rest any more)."""
    if status == 200:
        return "cancelled", True
    try:
        said = orjson.loads(body)
        code, message = said["code"], said["msg"]
    except (ValueError, KeyError, TypeError):
        return f"no usable answer ({error or status})", False
    if code == UNKNOWN_ORDER:
        return "does not rest at the venue", True
    return f"not cancelled: {code} {message}", False


# ---------------------------------------------------------------- exposure


def _books(ledger: Ledger) -> list[str]:
    """Return what the books say: the floats, and the position that our fills amount to."""
    rows = []
    with exact():
        floats: dict[str, Decimal] = {}
        for trade in ledger.float_trades():
            floats[trade.asset] = floats.get(trade.asset, ZERO) + trade.quantity
        held: dict[str, Decimal] = {}
        for key, fields in ledger.rows("fill"):
            symbol = key.partition(":")[0]
            signed = Side(fields["side"]).sign * Decimal(fields["quantity"])
            held[symbol] = held.get(symbol, ZERO) + signed
        for key, fields in ledger.rows("venue_close"):
            symbol = key.partition(":")[0]
            held[symbol] = held.get(symbol, ZERO) + Decimal(fields["quantity"])
    rows += [f"float {plain_text(quantity)} {asset} (ledger)" for asset, quantity in floats.items()]
    rows += [
        f"{symbol} {plain_text(quantity)} by our fills since the ledger began (ledger; foreign trades are not in it)"
        for symbol, quantity in held.items()
    ]
    return rows


async def _tell_exposure(target: Target, report: Report) -> None:
    """Ask the venue for the positions; the ledger's figures stand when it cannot be reached."""
    if target.endpoints is None or target.api_key is None or target.api_secret is None:
        ended = target.name.startswith("sim-") and report["process"] != "STILL RUNNING"
        why = (
            "the built-in exchange ended with its hedger" if ended else "name the account with -c FILE to ask the venue"
        )
        report["exposure"].append(f"venue not asked: {why}")
        return
    try:
        signer = signer_of(target.api_secret.reveal())
        async with asyncio.timeout(CALL_S):
            rows = await _positions(target.endpoints, target.api_key, signer)
    except (*CONNECT_ERRORS, ConfigError, ParseError) as error:
        report["problems"].append(f"the venue's snapshot is not to be had: {type(error).__name__} {error}; look there")
        return
    report["exposure"] += rows or ["no position at the venue (its snapshot, now)"]


async def _positions(endpoints: Endpoints, api_key: Secret, signer: Signer) -> list[str]:
    request = requests.positions(recv_window_ms=WINDOW_MS)
    params = {**request.params, "apiKey": api_key.reveal(), "timestamp": time.time_ns() // 1_000_000}
    frame = orjson.dumps({"id": "kill", "method": request.method, "params": signed_params(params, signer)}).decode()
    async with connect(
        endpoints.ws_api, proxy=None, compression=None, open_timeout=CALL_S, close_timeout=0.5
    ) as socket:
        await socket.send(frame)
        said = await socket.recv()
    answer = decode_ws_api(said.encode() if isinstance(said, str) else said)
    if answer.status != 200:
        raise ParseError(f"the venue refuses: {answer.code} {answer.message}")
    return [
        f"{row.symbol} {plain_text(row.quantity)} @ {plain_text(row.entry_price)}, mark {plain_text(row.mark_price)}, "
        f"the venue's liquidation price {plain_text(row.liquidation_price)} (its snapshot, now); nobody watches it"
        for row in positions_of(answer.result)
        if row.quantity != 0
    ]


__all__ = ["Target", "find_target", "kill_process"]
