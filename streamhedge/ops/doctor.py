"""`doctor`: is this machine, this configuration, this account fit to hedge? Every check has its repair line. Reads only.

Offline: program, files, disk, lock, books, configuration, keys. Online: clock, keys, modes, contract, leverage and margin
against the ladder, margin budget, and whether each route delivers within five seconds.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson
from websockets.asyncio.client import connect

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.events import MarkPriceUpdate, SetupDone, SnapshotBalance, SnapshotPosition
from streamhedge.domain.margin import distance_of_size, maintenance_margin, top_up, wallet_for_rally
from streamhedge.domain.values import ZERO, Symbol, divide, exact, floor_step, plain_text, record
from streamhedge.errors import ConfigError, ParseError, StreamhedgeError
from streamhedge.live.hedger import endpoints_of
from streamhedge.ops import child
from streamhedge.ops.instances import instances
from streamhedge.rules.fitness import misfit
from streamhedge.rules.params import HedgeParams, Policy
from streamhedge.settings.config import Config, load_config
from streamhedge.settings.endpoints import Endpoints, market_url, private_url
from streamhedge.settings.secrets import Secret, fingerprint, load_secret
from streamhedge.store.ledger import Ledger
from streamhedge.store.lock import lock_folder
from streamhedge.venue.http import Answer, RestClient
from streamhedge.venue.sockets import CONNECT_ERRORS
from streamhedge.wire import requests
from streamhedge.wire.answers import balances_of, decode_ws_api, exact_json, listen_key_of, positions_of, setup_of
from streamhedge.wire.requests import RestRequest, WsApiRequest
from streamhedge.wire.signing import HmacSigner, Signer, signed_params, signer_of
from streamhedge.wire.streams import decode_market

OK, WARN, FAIL = "ok", "warn", "fail"
FLOORS = {"orjson": (3, 11, 6), "aiohttp": (3, 14, 3), "websockets": (16,)}
BROKEN_WEBSOCKETS = (17, 0)
"""Its server breaks under uvloop; 17.1 and later do not."""
DISK_LEAST = 1 << 30
ROUTE_S = 5.0
CALL_S = 10.0
AHEAD_MOST_MS = 1_000
"""The venue refuses stamps this far ahead of its clock, whatever recvWindow says (BINANCE_USDM §5.1)."""
RALLIES = ("0.10", "0.20", "0.30", "0.50", "1.00")
COLOURS = {OK: "\x1b[32m", WARN: "\x1b[33m", FAIL: "\x1b[1;31m"}
Say = Callable[[str], None]


@record
class Check:
    """One finding: its name, ``ok``, ``warn`` or ``fail``, what was found, and what to do about it."""

    name: str
    verdict: str
    found: str
    repair: str
    data: dict[str, Any]

    def fields(self) -> dict[str, Any]:
        """Return the check, JSON-ready."""
        fields: dict[str, Any] = to_plain(self)
        return fields

    def line(self, *, colour: bool) -> str:
        """Return the check as text; the repair stands below what is not well."""
        word = f"{COLOURS[self.verdict]}{self.verdict:<4}\x1b[0m" if colour else f"{self.verdict:<4}"
        text = f"{word}  {self.name:<18} {self.found}"
        return text if self.verdict == OK or not self.repair else f"{text}\n{'':<25}-> {self.repair}"


def check(name: str, verdict: str, found: str, repair: str = "", **data: Any) -> Check:
    """Return one finding."""
    return Check(name, verdict, found, repair, data)


async def examine(
    configs: Sequence[Path], sets: Sequence[str], state_dir: Path, env: Mapping[str, str], *, online: bool, say: Say
) -> list[Check]:
    """Return every check in a fixed order; none stops the others but a configuration that does not fit."""
    found = [*program(), *configuration_files(configs)]
    try:
        config = load_config(configs, sets, env)
    except ConfigError as error:
        found.append(check("configuration", FAIL, str(error), "correct it, then `streamhedge config check`"))
        return found
    found.append(check("configuration", OK, f"{len(configs) or 'packaged'} file(s), hash {config.hash()}"))
    keys, key_checks = read_keys(config, env)
    found += key_checks
    found += machine(state_dir)
    found += account(config, keys, state_dir)
    if online:
        found += await _online(config, keys, say)
    return found


# ---------------------------------------------------------------- this machine


def program() -> list[Check]:
    """Check interpreter and libraries."""
    here = ".".join(map(str, sys.version_info[:3]))
    found = [
        check("python", OK if sys.version_info >= (3, 11) else FAIL, here, "use Python 3.11 or newer"),
        check(
            "assertions",
            FAIL if sys.flags.optimize else OK,
            "off: python -O" if sys.flags.optimize else "on",
            "start without -O and PYTHONOPTIMIZE: invariants are asserted",
        ),
    ]
    return [*found, *(floor(name, least) for name, least in FLOORS.items())]


def floor(name: str, least: tuple[int, ...]) -> Check:
    """Check that a library is new enough, and not the one known to be broken."""
    wanted = f">={'.'.join(map(str, least))}"
    try:
        said = version(name)
    except PackageNotFoundError:
        return check(name, FAIL, "not installed", f"pip install '{name}{wanted}'")
    numbers = tuple(int(part) for part in said.split(".") if part.isdigit())
    broken = name == "websockets" and numbers[:2] == BROKEN_WEBSOCKETS
    fits = numbers >= least and not broken
    return check(name, OK if fits else FAIL, said, f"pip install '{name}{wanted}{',!=17.0' if broken else ''}'")


def configuration_files(paths: Sequence[Path]) -> list[Check]:
    """Check that nobody else may write what tells us what to trade."""
    found = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            found.append(check("permissions", FAIL, f"{path} may be written by others", f"chmod go-w {path}"))
    return found


def machine(state_dir: Path) -> list[Check]:
    """Check state folder, disk and the folder of locks."""
    found = [_folder(state_dir)]
    there = next(path for path in (state_dir, *state_dir.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found.append(
        check(
            "disk",
            OK if free >= DISK_LEAST else WARN,
            f"{free / (1 << 30):.1f} GiB free below {there}",
            "free some: without disk nothing is recorded, and without memory nothing is traded",
            free_bytes=free,
        )
    )
    try:
        found.append(check("lock folder", OK, str(lock_folder())))
    except (ConfigError, OSError) as error:
        found.append(check("lock folder", FAIL, str(error), "remove the folder; it is made anew"))
    return found


def _folder(path: Path) -> Check:
    if not path.exists():
        return check("state folder", OK, f"{path} is made at the first start")
    about = path.stat()
    if about.st_uid != os.getuid():
        return check(
            "state folder", FAIL, f"{path} belongs to uid {about.st_uid}", "chown it, or name another --state-dir"
        )
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or path.is_symlink():
        return check(
            "state folder", FAIL, f"{path} is not ours alone (mode {about.st_mode & 0o777:o})", f"chmod 700 {path}"
        )
    if not os.access(path, os.W_OK | os.X_OK):
        return check("state folder", FAIL, f"{path} cannot be written", f"chmod u+rwx {path}")
    return check("state folder", OK, str(path))


def read_keys(config: Config, env: Mapping[str, str]) -> tuple[tuple[Secret, Secret] | None, list[Check]]:
    """Check that the keys can be read; the values are never shown."""
    settings = config.settings
    if settings.keys is None:
        if settings.venue == "sim" and settings.endpoints is None:
            return None, [check("keys", OK, "none needed: the built-in exchange makes its own")]
        return None, [
            check("keys", FAIL, f"venue {settings.venue} without [keys]", "add [keys] with api_key and api_secret")
        ]
    try:
        keys = (
            load_secret("api_key", settings.keys.api_key, env),
            load_secret("api_secret", settings.keys.api_secret, env),
        )
        signer = signer_of(keys[1].reveal())
    except ConfigError as error:
        return None, [check("keys", FAIL, str(error), "put them where the configuration says, or say another place")]
    name = fingerprint(keys[0])
    found = [check("keys", OK, f"readable, account fingerprint {name}", fingerprint=name)]
    if settings.keys.account is not None and settings.keys.account != name:
        repair = f'use the keys of that account, or say keys.account = "{name}"'
        found.append(
            check("account", FAIL, f"the keys are {name}, the configuration says {settings.keys.account}", repair)
        )
    if settings.venue == "live" and isinstance(signer, HmacSigner):
        found.append(check("key type", WARN, "HMAC: the secret is shared with the venue", "make an Ed25519 key"))
    if settings.venue == "live" and "env" in (*settings.keys.api_key, *settings.keys.api_secret):
        found.append(
            check("key source", WARN, "environment variables are inherited", "use a 0600 file or a credential")
        )
    return keys, found


def account(config: Config, keys: tuple[Secret, Secret] | None, state_dir: Path) -> list[Check]:
    """Check who holds the account here, and its books."""
    if keys is None or (config.settings.venue == "sim" and config.settings.endpoints is None):
        return []
    name = f"{config.settings.venue}-{fingerprint(keys[0])}"
    held = next((instance for instance in instances() if instance.name == name), None)
    found = [
        check(
            "lock",
            OK,
            f"held by pid {held.pid}, state {held.folder}: it runs" if held and held.held else "free",
            pid=held.pid if held and held.held else None,
        )
    ]
    path = state_dir / name / "ledger.sqlite"
    if not path.exists():
        return [*found, check("ledger", OK, f"{path} is made at the first start")]
    try:
        ledger = Ledger(path, read_only=True)
    except StreamhedgeError as error:
        return [*found, check("ledger", FAIL, str(error), "restore it from a backup")]
    try:
        problems = ledger.verify()
        latch = ledger.states().get("halted", {}).get("reason")
    finally:
        ledger.close()
    found.append(
        check("ledger", FAIL if problems else OK, "; ".join(problems) or str(path), "restore it from a backup")
    )
    if latch:
        repair = "when the cause is understood: `streamhedge resume --reason …` to the running process"
        found.append(check("halted", WARN, f"HALTED is latched: {latch}", repair))
    return found


# ---------------------------------------------------------------- the venue


@record
class _Venue:
    """What the online checks talk to."""

    endpoints: Endpoints
    api_key: Secret
    signer: Signer
    rest: RestClient
    window_ms: int


async def _online(config: Config, keys: tuple[Secret, Secret] | None, say: Say) -> list[Check]:
    try:
        async with _reached(config, keys, say) as venue:
            if venue is None:
                return []
            return await _ask(venue, config)
    except ConfigError as error:
        return [check("venue", FAIL, str(error), "correct [endpoints], or start the exchange")]


@asynccontextmanager
async def _reached(config: Config, keys: tuple[Secret, Secret] | None, say: Say) -> AsyncIterator[_Venue | None]:
    settings = config.settings
    if settings.venue == "sim" and settings.endpoints is None:
        say("starting the built-in exchange for the check")
        words = ["--tape", settings.sim.tape, "--seed", str(settings.sim.seed), "--wallet", str(settings.sim.wallet)]
        async with child.exchange(words) as ready:
            own = Endpoints(rest=ready["rest"], stream=ready["stream"], ws_api=ready["ws_api"])
            async with _venue(config, own, Secret(ready["api_key"]), Secret(ready["api_secret"])) as venue:
                yield venue
    elif keys is None:
        yield None
    else:
        say(f"asking {settings.venue}")
        async with _venue(config, endpoints_of(config), *keys) as venue:
            yield venue


@asynccontextmanager
async def _venue(config: Config, endpoints: Endpoints, api_key: Secret, api_secret: Secret) -> AsyncIterator[_Venue]:
    signer = signer_of(api_secret.reveal())
    rest = RestClient(endpoints.rest, api_key=api_key, signer=signer, timeout_s=CALL_S)
    try:
        yield _Venue(endpoints, api_key, signer, rest, config.policy().limits.recv_window_ms)
    finally:
        await rest.close()


async def _ask(venue: _Venue, config: Config) -> list[Check]:
    policy = config.policy()
    symbols = [hedge.symbol for hedge in policy.hedges]
    (clock, snapshot), market, private = await asyncio.gather(_ws_api(venue), _market(venue, symbols), _private(venue))
    found = [clock]
    positions, balances, snapshot_check = snapshot
    setup, account_checks = await _set_up(venue, symbols)
    found += account_checks
    found += [snapshot_check, *market[1], *private]
    if setup is None:
        return found
    with exact():
        for hedge in policy.hedges:
            found += _hedge(hedge, policy, setup, market[0].get(hedge.symbol), positions, balances)
    return found


Snapshot = tuple[tuple[SnapshotPosition, ...], tuple[SnapshotBalance, ...], Check]


async def _ws_api(venue: _Venue) -> tuple[Check, Snapshot]:
    """Ask time, positions and balances over one connection."""
    repair = "check network and firewall, and `[endpoints].ws_api`"
    try:
        async with asyncio.timeout(CALL_S), connect(venue.endpoints.ws_api, proxy=None, compression=None) as socket:
            start_ms = time.time_ns() // 1_000_000
            answer = await _call(socket, venue, requests.server_time())
            end_ms = time.time_ns() // 1_000_000
            clock = _clock(answer.result, start_ms, end_ms, venue)
            rows = await _call(socket, venue, requests.positions(recv_window_ms=venue.window_ms))
            money = await _call(socket, venue, requests.balances(recv_window_ms=venue.window_ms))
            for said in (rows, money):
                if said.status != 200:
                    return clock, ((), (), _refused("snapshot", said.code, said.message))
            found = positions_of(rows.result), balances_of(money.result)
    except (*CONNECT_ERRORS, ParseError, ValueError) as error:
        lost = check("clock", FAIL, f"ws-api: {_words(error)}", repair)
        return lost, ((), (), check("snapshot", FAIL, f"ws-api: {_words(error)}", repair))
    open_rows = ", ".join(f"{row.symbol} {plain_text(row.quantity)}" for row in found[0] if row.quantity) or "flat"
    return clock, (*found, check("snapshot", OK, f"positions and balances read: {open_rows}"))


async def _call(socket: Any, venue: _Venue, request: WsApiRequest) -> Any:
    params: dict[str, str | int] = dict(request.params)
    if request.signed:
        params |= {"apiKey": venue.api_key.reveal(), "timestamp": venue.rest.venue_ms()}
        params = signed_params(params, venue.signer)
    await socket.send(orjson.dumps({"id": request.method, "method": request.method, "params": params}).decode())
    said = await socket.recv()
    return decode_ws_api(said.encode() if isinstance(said, str) else said)


def _clock(result: Any, start_ms: int, end_ms: int, venue: _Venue) -> Check:
    server = result.get("serverTime") if isinstance(result, dict) else None
    if not isinstance(server, int):
        return check("clock", FAIL, "the venue's time answer has no serverTime", "check `[endpoints].ws_api`")
    offset = server - (start_ms + end_ms) // 2
    half = (end_ms - start_ms) // 2
    # Behind the venue costs window, ahead of it is refused after a second: the hedger corrects what it measures.
    fits = -AHEAD_MOST_MS < offset < venue.window_ms
    text = f"venue {offset:+d} ms against this clock, ± {half} ms, recv_window {venue.window_ms} ms"
    venue.rest.offset_ms = offset
    return check("clock", OK if fits else FAIL, text, "set this clock: run an NTP client (chrony)", offset_ms=offset)


async def _set_up(venue: _Venue, symbols: Sequence[Symbol]) -> tuple[SetupDone | None, list[Check]]:
    """Read modes, filters and brackets; the first signed call also proves the keys."""
    window = venue.window_ms
    answer = await venue.rest.send(requests.account_config(recv_window_ms=window))
    if answer.status != 200:
        return None, [_rest_refused("key accepted", answer)]
    modes = exact_json(answer.body)
    found = [check("key accepted", OK, "a signed call was answered")]
    if modes.get("canTrade") is False:
        found.append(check("key permission", FAIL, "the account may not trade", "allow futures trading for this key"))
    found.append(
        _mode("position mode", modes.get("dualSidePosition"), "hedge (dual side)", "one-way", "switch to one-way mode")
    )
    found.append(
        _mode(
            "assets mode", modes.get("multiAssetsMargin"), "multi-assets", "single-asset", "switch to single-asset mode"
        )
    )
    bodies: dict[str, Any] = {"account_config": modes}
    plain: dict[str, RestRequest] = {
        "exchange_info": requests.exchange_info(),
        "funding_info": requests.funding_info(),
        "symbol_config": requests.symbol_config(recv_window_ms=window),
    }
    for name, request in plain.items():
        answer = await venue.rest.send(request)
        if answer.status != 200:
            return None, [*found, _rest_refused("filters", answer)]
        bodies[name] = exact_json(answer.body)
    rows = bodies["exchange_info"].get("symbols", [])
    bodies["exchange_info"] = {"symbols": [row for row in rows if row.get("symbol") in symbols]}
    for name, maker in (("leverage_bracket", requests.leverage_bracket), ("commission_rate", requests.commission_rate)):
        bodies[name] = {}
        for symbol in symbols:
            answer = await venue.rest.send(maker(symbol, recv_window_ms=window))
            if answer.status != 200:
                return None, [*found, _rest_refused("brackets", answer)]
            bodies[name][symbol] = exact_json(answer.body)
    try:
        setup = setup_of(bodies)
    except ParseError as error:
        return None, [*found, check("filters", FAIL, str(error), "report it with the venue's answer")]
    return setup, found


def _mode(name: str, value: object, wrong: str, right: str, repair: str) -> Check:
    return check(name, OK if value is False else FAIL, wrong if value else right, f"{repair}; hedging is for it alone")


async def _market(venue: _Venue, symbols: list[Symbol]) -> tuple[dict[Symbol, MarkPriceUpdate], list[Check]]:
    """Wait for the first mark of each symbol."""
    marks: dict[Symbol, MarkPriceUpdate] = {}
    problem = ""
    start = time.monotonic()
    try:
        async with (
            asyncio.timeout(ROUTE_S),
            connect(market_url(venue.endpoints, symbols), proxy=None, compression=None) as socket,
        ):
            while len(marks) < len(symbols):
                said = await socket.recv()
                for event in decode_market(said.encode() if isinstance(said, str) else said):
                    if isinstance(event, MarkPriceUpdate) and event.symbol in symbols:
                        marks[event.symbol] = event
    except TimeoutError:
        missing = ", ".join(symbol for symbol in symbols if symbol not in marks)
        problem = f"no mark price of {missing} within {ROUTE_S:.0f} s"
    except CONNECT_ERRORS as error:
        problem = _words(error)
    seconds = time.monotonic() - start
    text = problem or f"marks of {', '.join(marks)} after {seconds * 1_000:.0f} ms"
    return marks, [
        check("route /market", FAIL if problem else OK, text, "check network, firewall and `[endpoints].stream`")
    ]


async def _private(venue: _Venue) -> list[Check]:
    """Take a listen key and let the private route say what it will deliver; the key itself is never shown."""
    answer = await venue.rest.send(requests.create_listen_key())
    if answer.status != 200:
        return [_rest_refused("listen key", answer)]
    key = listen_key_of(answer.body)
    found = [check("listen key", OK, "created or prolonged; it is left to a hedger that may use it")]
    url = private_url(venue.endpoints, key, requests.USER_EVENTS)
    problem, events = "", 0
    try:
        async with asyncio.timeout(ROUTE_S), connect(url, proxy=None, compression=None) as socket:
            await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            while True:
                said = orjson.loads(await socket.recv())
                if isinstance(said, dict) and said.get("id") == 1:
                    events = len(said.get("result") or [])
                    break
        problem = "" if events else "it will deliver no event"
    except TimeoutError:
        problem = f"no answer within {ROUTE_S:.0f} s"
    except (*CONNECT_ERRORS, ValueError) as error:
        problem = _words(error).replace(key, "…")
    text = problem or f"answers, will deliver {events} kinds of event (a quiet account sends none)"
    found.append(
        check("route /private", FAIL if problem else OK, text, "check network, firewall and `[endpoints].stream`")
    )
    return found


# ---------------------------------------------------------------- the hedge


def _hedge(
    hedge: HedgeParams,
    policy: Policy,
    setup: SetupDone,
    mark: MarkPriceUpdate | None,
    positions: Sequence[SnapshotPosition],
    balances: Sequence[SnapshotBalance],
) -> list[Check]:
    instrument = next((row for row in setup.instruments if row.symbol == hedge.symbol), None)
    leverage = setup.leverage.get(hedge.symbol)
    # The hedger sets leverage and margin type at its start while nothing is open; what a position holds, it cannot.
    flat = all(row.quantity == 0 for row in positions if row.symbol == hedge.symbol)
    reason = misfit(
        hedge,
        policy,
        instrument=instrument,
        leverage=hedge.leverage if flat else leverage,
        isolated=None if flat else setup.isolated.get(hedge.symbol),
        mark_price=mark.mark_price if mark is not None else None,
    )
    name = hedge.symbol
    found = [
        check(
            f"{name} contract",
            FAIL if reason else OK,
            reason or "filters, brackets and margin type fit",
            "correct it at the venue or in [[hedge]]",
        )
    ]
    if leverage is not None and leverage != hedge.leverage:
        repair = "nothing: the hedger sets it at its start" if flat else f"set it to {hedge.leverage} at the venue"
        found.append(check(f"{name} leverage", WARN, f"{leverage} at the venue, {hedge.leverage} configured", repair))
    if instrument is None or mark is None:
        return found
    price = mark.mark_price
    ratio = min(hedge.ratio, policy.limits.max_short_ratio)
    size = floor_step(max(ZERO, min(ratio * hedge.initial, hedge.max_short)), instrument.step_size)
    if size == 0:
        return found
    notional = size * price
    wallet = next((row.cross_wallet_balance for row in balances if row.asset == instrument.margin_asset), ZERO)
    free = wallet + sum(
        (row.quantity * (row.mark_price - row.entry_price) for row in positions if not row.isolated), ZERO
    )
    if not hedge.isolated:
        found.append(_margin(name, policy, size, price, free, instrument.brackets))
    found += [_slices(hedge, policy, notional), _budget(name, policy, size, price, instrument.brackets)]
    return found


def _margin(name: str, policy: Policy, size: Decimal, price: Decimal, free: Decimal, brackets: Any) -> Check:
    """Cross margin: collateral, not the leverage setting, decides the distance."""
    ladder = policy.ladder
    distance = distance_of_size(free=free, notional=size * price, brackets=brackets)
    missing = top_up(size=size, free=free, mark_price=price, distance=ladder.reopen, brackets=brackets)
    percent = f"{distance * 100:.2f} %"
    text = f"{plain_text(size)} short at {price} on {free:.0f} stands at {percent}, reopen {plain_text(ladder.reopen * 100)} %"
    if distance >= ladder.reopen:
        return check(f"{name} margin", OK, text)
    effective = divide(size * price, free) if free > 0 else None
    said = f"{text}; effective leverage {effective:.2f}" if effective is not None else text
    return check(
        f"{name} margin", WARN, said, f"post {missing:.0f} more, or hedge less: only part of the float is hedged"
    )


def _slices(hedge: HedgeParams, policy: Policy, notional: Decimal) -> Check:
    """A hedge that takes longer than the alarm in its own rate limit would alarm at each large trade (HEDGING §2)."""
    limits = policy.limits
    count = int(divide(notional, limits.max_order_notional).to_integral_value(rounding=ROUND_CEILING))
    minutes = divide(Decimal(count), Decimal(limits.max_orders_per_minute))
    late = count > limits.max_orders_per_minute and minutes * 60_000 > hedge.naked_alert_after_ms
    text = f"the whole hedge takes {count} order(s), {minutes * 60:.0f} s at {limits.max_orders_per_minute} a minute"
    return check(
        f"{hedge.symbol} slices", WARN if late else OK, text, "raise max_order_notional or max_orders_per_minute"
    )


def _budget(name: str, policy: Policy, size: Decimal, price: Decimal, brackets: Any) -> Check:
    """The wallet that carries the whole hedge through a rally with no cut (HEDGING §3)."""
    notional = size * price
    rows = {}
    for rally in RALLIES:
        wallet = wallet_for_rally(
            notional=notional, rally=Decimal(rally), distance=policy.ladder.reduce, brackets=brackets
        )
        rows[rally] = f"{wallet:.0f}"
    said = ", ".join(f"+{Decimal(rally) * 100:.0f} % {wallet}" for rally, wallet in rows.items())
    needed = maintenance_margin(notional=notional, brackets=brackets)
    text = (
        f"wallet for {plain_text(size)} ({notional:.0f}) with no cut in a rally: {said}; maintenance now {needed:.0f}"
    )
    return check(f"{name} budget", OK, text, wallets=rows)


# ---------------------------------------------------------------- words


REPAIRS = {
    -1021: "set this clock: run an NTP client (chrony)",
    -1022: "the secret does not belong to the key: check [keys]",
    -2014: "the API key is malformed: check [keys]",
    -2015: "check the key, its IP list and its futures permission (it lapses after 30 days without an IP list)",
}


def _refused(name: str, code: int, message: str) -> Check:
    return check(name, FAIL, f"the venue refuses: {code} {message}", REPAIRS.get(code, "look the code up at the venue"))


def _rest_refused(name: str, answer: Answer) -> Check:
    if answer.status is None:
        return check(name, FAIL, answer.error, "check network and firewall, and `[endpoints].rest`")
    try:
        said = orjson.loads(answer.body)
        return _refused(name, said["code"], said["msg"])
    except (ValueError, KeyError, TypeError):
        return check(name, FAIL, f"HTTP {answer.status} without a reason", "check `[endpoints].rest`")


def _words(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
