"""What the doctor finds about the spot account, where its fills are followed: its keys, its stream, and its past."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from websockets.asyncio.client import connect

from streamhedge.domain.values import Symbol
from streamhedge.errors import ConfigError, ParseError
from streamhedge.live.hedger import spot_keys_of
from streamhedge.ops.doctor.finding import FAIL, OK, Check, check
from streamhedge.ops.doctor.refusals import refused, words_of
from streamhedge.settings.config import Config, spot_pairs
from streamhedge.settings.endpoints import Endpoints
from streamhedge.settings.secrets import Secret
from streamhedge.venue.sockets import CONNECT_ERRORS
from streamhedge.wire import spot
from streamhedge.wire.answers import WsApiAnswer
from streamhedge.wire.requests import WsApiRequest
from streamhedge.wire.signing import signed_params, signer_of

ROUTE = "route spot"
ROUTE_S = 5.0
Keys = tuple[Secret, Secret]


def read_spot_keys(config: Config, env: Mapping[str, str]) -> tuple[Keys | None, list[Check]]:
    """Check that the spot account's own keys can be read, where it has any."""
    try:
        keys = spot_keys_of(config, env)
        if keys is not None:
            signer_of(keys[1].reveal())
    except ConfigError as error:
        return None, [check("spot keys", FAIL, str(error), "put them where [spot] says, or leave them out of it")]
    return keys, [] if keys is None else [check("spot keys", OK, "readable")]


async def spot_route(config: Config, endpoints: Endpoints, keys: Keys, *, window_ms: int, now_ms: int) -> list[Check]:
    """Subscribe as a hedger would, and read the latest fill of each symbol; a quiet account sends no event."""
    pairs = spot_pairs(config.settings)
    if not pairs:
        return []
    signer = signer_of(keys[1].reveal())

    async def ask(socket: Any, request: WsApiRequest) -> WsApiAnswer:
        params: dict[str, str | int] = {**request.params, "apiKey": keys[0].reveal(), "timestamp": now_ms}
        frame = {"id": request.method, "method": request.method, "params": signed_params(params, signer)}
        await socket.send(orjson.dumps(frame).decode())
        while True:
            said = await socket.recv()
            found = spot.decode_spot(said.encode() if isinstance(said, str) else said)
            if isinstance(found, WsApiAnswer) and found.id == request.method:
                return found

    async def latest(socket: Any, symbol: Symbol) -> str:
        answer = await ask(socket, spot.my_trades(symbol, from_id=None, recv_window_ms=window_ms))
        if answer.status != 200:
            raise ParseError(f"myTrades of {symbol}: {answer.code} {answer.message}")
        fills = spot.fills_of(answer.result)
        return f"{symbol} last traded as {fills[-1].trade_id}" if fills else f"{symbol} never traded"

    repair = "check network, firewall and `[endpoints].spot_ws_api`, and that the key may read the spot account"
    try:
        async with asyncio.timeout(ROUTE_S), connect(endpoints.spot_ws_api, proxy=None, compression=None) as socket:
            answer = await ask(socket, spot.subscribe(recv_window_ms=window_ms))
            if answer.status != 200:
                return [refused(ROUTE, answer.code, answer.message)]
            told = [await latest(socket, symbol) for symbol in pairs]
    except TimeoutError:
        return [check(ROUTE, FAIL, f"no answer within {ROUTE_S:.0f} s", repair)]
    except (*CONNECT_ERRORS, ParseError, ValueError) as error:
        return [check(ROUTE, FAIL, words_of(error), repair)]
    return [check(ROUTE, OK, f"subscribes; {', '.join(told)}")]
