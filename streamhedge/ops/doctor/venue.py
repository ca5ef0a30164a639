"""What the doctor learns by asking the venue: clock, keys, modes, filters, positions, and whether each route delivers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from websockets.asyncio.client import connect

from streamhedge.domain.events import MarkPriceUpdate, SetupDone, SnapshotBalance, SnapshotPosition
from streamhedge.domain.values import Symbol, exact, plain_text, record
from streamhedge.errors import ConfigError, ParseError
from streamhedge.live.hedger import endpoints_of
from streamhedge.ops import child
from streamhedge.ops.doctor.backstop import stops_check
from streamhedge.ops.doctor.finding import FAIL, OK, Check, check
from streamhedge.ops.doctor.hedge import hedge_checks
from streamhedge.ops.doctor.refusals import refused, rest_refused, words_of
from streamhedge.ops.doctor.spot import Keys, spot_route
from streamhedge.settings.config import Config
from streamhedge.settings.endpoints import SCHEMES, Endpoints, market_url, private_url
from streamhedge.settings.secrets import Secret
from streamhedge.venue.http import RestClient
from streamhedge.venue.sockets import CONNECT_ERRORS
from streamhedge.wire import requests
from streamhedge.wire.answers import balances_of, decode_ws_api, exact_json, listen_key_of, positions_of, setup_of
from streamhedge.wire.requests import RestRequest, WsApiRequest
from streamhedge.wire.signing import Signer, signed_params, signer_of
from streamhedge.wire.streams import decode_market

ROUTE_S = 5.0
CALL_S = 10.0
AHEAD_MOST_MS = 1_000
"""The venue refuses stamps this far ahead of its clock, whatever recvWindow says (BINANCE_USDM §5.1)."""
Say = Callable[[str], None]


@record
class Venue:
    """What the online checks talk to."""

    endpoints: Endpoints
    keys: Keys
    signer: Signer
    rest: RestClient
    window_ms: int


async def asked(config: Config, keys: Keys | None, spot_keys: Keys | None, say: Say) -> list[Check]:
    try:
        async with _reached(config, keys, say) as venue:
            if venue is None:
                return []
            return [*await _ask(venue, config), *await _spot(venue, config, spot_keys)]
    except ConfigError as error:
        return [check("venue", FAIL, str(error), "correct [endpoints], or start the exchange")]


@asynccontextmanager
async def _reached(config: Config, keys: Keys | None, say: Say) -> AsyncIterator[Venue | None]:
    settings = config.settings
    if settings.venue == "sim" and settings.endpoints is None:
        say("starting the built-in exchange for the check")
        words = ["--tape", settings.sim.tape, "--seed", str(settings.sim.seed), "--wallet", str(settings.sim.wallet)]
        async with child.exchange(words) as ready:
            own = Endpoints(**{name: ready[name] for name in SCHEMES})
            async with _venue(config, own, (Secret(ready["api_key"]), Secret(ready["api_secret"]))) as venue:
                yield venue
    elif keys is None:
        yield None
    else:
        say(f"asking {settings.venue}")
        async with _venue(config, endpoints_of(config), keys) as venue:
            yield venue


@asynccontextmanager
async def _venue(config: Config, endpoints: Endpoints, keys: Keys) -> AsyncIterator[Venue]:
    signer = signer_of(keys[1].reveal())
    rest = RestClient(endpoints.rest, api_key=keys[0], signer=signer, timeout_s=CALL_S)
    try:
        yield Venue(endpoints, keys, signer, rest, config.policy().limits.recv_window_ms)
    finally:
        await rest.close()


async def _spot(venue: Venue, config: Config, own: Keys | None) -> list[Check]:
    """Check the spot route, with the spot account's own keys or the venue's; after the clock, whose offset it uses."""
    keys = own if own is not None else venue.keys
    now_ms = venue.rest.venue_ms()
    return await spot_route(config, venue.endpoints, keys, window_ms=venue.window_ms, now_ms=now_ms)


async def _ask(venue: Venue, config: Config) -> list[Check]:
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
            found += hedge_checks(hedge, policy, setup, market[0].get(hedge.symbol), positions, balances)
    if policy.backstop is not None:
        for symbol in symbols:
            answer = await venue.rest.send(requests.open_stops(symbol, 0, recv_window_ms=venue.window_ms))
            found.append(stops_check(symbol, policy.backstop, answer, venue_ms=venue.rest.venue_ms()))
    return found


Snapshot = tuple[tuple[SnapshotPosition, ...], tuple[SnapshotBalance, ...], Check]


async def _ws_api(venue: Venue) -> tuple[Check, Snapshot]:
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
                    return clock, ((), (), refused("snapshot", said.code, said.message))
            found = positions_of(rows.result), balances_of(money.result)
    except (*CONNECT_ERRORS, ParseError, ValueError) as error:
        lost = check("clock", FAIL, f"ws-api: {words_of(error)}", repair)
        return lost, ((), (), check("snapshot", FAIL, f"ws-api: {words_of(error)}", repair))
    open_rows = ", ".join(f"{row.symbol} {plain_text(row.quantity)}" for row in found[0] if row.quantity) or "flat"
    return clock, (*found, check("snapshot", OK, f"positions and balances read: {open_rows}"))


async def _call(socket: Any, venue: Venue, request: WsApiRequest) -> Any:
    params: dict[str, str | int] = dict(request.params)
    if request.signed:
        params |= {"apiKey": venue.keys[0].reveal(), "timestamp": venue.rest.venue_ms()}
        params = signed_params(params, venue.signer)
    await socket.send(orjson.dumps({"id": request.method, "method": request.method, "params": params}).decode())
    said = await socket.recv()
    return decode_ws_api(said.encode() if isinstance(said, str) else said)


def _clock(result: Any, start_ms: int, end_ms: int, venue: Venue) -> Check:
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


async def _set_up(venue: Venue, symbols: Sequence[Symbol]) -> tuple[SetupDone | None, list[Check]]:
    """Read modes, filters and brackets; the first signed call also proves the keys."""
    window = venue.window_ms
    answer = await venue.rest.send(requests.account_config(recv_window_ms=window))
    if answer.status != 200:
        return None, [rest_refused("key accepted", answer)]
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
            return None, [*found, rest_refused("filters", answer)]
        bodies[name] = exact_json(answer.body)
    rows = bodies["exchange_info"].get("symbols", [])
    bodies["exchange_info"] = {"symbols": [row for row in rows if row.get("symbol") in symbols]}
    for name, maker in (("leverage_bracket", requests.leverage_bracket), ("commission_rate", requests.commission_rate)):
        bodies[name] = {}
        for symbol in symbols:
            answer = await venue.rest.send(maker(symbol, recv_window_ms=window))
            if answer.status != 200:
                return None, [*found, rest_refused("brackets", answer)]
            bodies[name][symbol] = exact_json(answer.body)
    try:
        setup = setup_of(bodies)
    except ParseError as error:
        return None, [*found, check("filters", FAIL, str(error), "report it with the venue's answer")]
    return setup, found


def _mode(name: str, value: object, wrong: str, right: str, repair: str) -> Check:
    return check(name, OK if value is False else FAIL, wrong if value else right, f"{repair}; hedging is for it alone")


async def _market(venue: Venue, symbols: list[Symbol]) -> tuple[dict[Symbol, MarkPriceUpdate], list[Check]]:
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
        problem = words_of(error)
    seconds = time.monotonic() - start
    text = problem or f"marks of {', '.join(marks)} after {seconds * 1_000:.0f} ms"
    return marks, [
        check("route /market", FAIL if problem else OK, text, "check network, firewall and `[endpoints].stream`")
    ]


async def _private(venue: Venue) -> list[Check]:
    """Take a listen key and let the private route say what it will deliver; the key itself is never shown."""
    answer = await venue.rest.send(requests.create_listen_key())
    if answer.status != 200:
        return [rest_refused("listen key", answer)]
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
        problem = words_of(error).replace(key, "…")
    text = problem or f"answers, will deliver {events} kinds of event (a quiet account sends none)"
    found.append(
        check("route /private", FAIL if problem else OK, text, "check network, firewall and `[endpoints].stream`")
    )
    return found
