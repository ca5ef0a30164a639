"""The door of the REST answers: a scripted far end answers the real hands, and what they make of it goes into the machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import orjson

from streamhedge.domain.commands import (
    Command,
    CreateListenKey,
    PlaceOrder,
    RenewListenKey,
    RequestOpenOrders,
    RequestSetup,
)
from streamhedge.domain.events import CallFailed
from streamhedge.domain.order import OrderType, Side, TimeInForce
from streamhedge.domain.values import ClientOrderId
from streamhedge.live.hands import Hands
from streamhedge.settings.endpoints import Endpoints
from streamhedge.settings.secrets import Mask, Secret
from streamhedge.venue.clock import BootClock
from streamhedge.venue.http import Answer
from streamhedge.wire.requests import RestRequest
from streamhedge.wire.signing import signer_of
from tests.fuzz import samples
from tests.fuzz.cases import REFUSED, Verdict
from tests.fuzz.mutator import written
from tests.fuzz.streams import MachineDoor
from tests.support import builders as make
from tests.support.run import setup_body

STATUSES = (200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 408, 418, 429, 500, 502, 503, 504, 0, -1, 99_999, None)
RETRY = ("1", "0", "-1", "5.5", "9" * 9, "9" * 400, "１", "Wed, 21 Oct 2026 07:28:00 GMT", "", "1, 2", "\x1b[2J", " 3 ")
TEXTS = (
    *(
        "banned until 9999999999999",
        "banned until 1795161700000",
        "Unknown error",
        "Service Unavailable.",
        "\x1b[2J\u202e",
    ),
    *("Internal error; unable to process your request. Please try again.", "x" * 5_000, "status unknown"),
)
CODES = (
    0,
    -1,
    -1000,
    -1003,
    -1007,
    -1008,
    -1021,
    -2013,
    -2015,
    -2019,
    -2022,
    -4116,
    -4141,
    -4400,
    -5028,
    2**63,
    "-2015",
    None,
    200,
)
PLAIN = {
    "/fapi/v1/exchangeInfo": "exchange_info",
    "/fapi/v1/fundingInfo": "funding_info",
    "/fapi/v1/accountConfig": "account_config",
    "/fapi/v1/symbolConfig": "symbol_config",
}
BY_SYMBOL = {"/fapi/v1/leverageBracket": "leverage_bracket", "/fapi/v1/commissionRate": "commission_rate"}


class FarEnd:
    """Answers each call of the hands: the one that is bent, and the others as a venue does."""

    def __init__(self) -> None:
        self.bent: dict[str, Answer] = {}
        self.offset_ms = 0

    async def send(self, request: RestRequest, *, too_late: object = None) -> Answer:
        """Answer one call."""
        found = self.bent.get(request.path)
        return found if found is not None else Answer(200, {}, honest(request.path))

    def venue_ms(self) -> int:
        """The venue's clock."""
        return make.T0_MS

    async def close(self) -> None:
        """Nothing is open."""


def honest(path: str) -> bytes:
    """Return the true body of a call."""
    body = setup_body()
    if path in PLAIN:
        return orjson.dumps(body[PLAIN[path]])
    if path in BY_SYMBOL:
        return orjson.dumps(body[BY_SYMBOL[path]]["BTCUSDT"])
    return b"{}"


class Rest(MachineDoor):
    """Answers to orders, set-ups, listen keys and open orders."""

    source = "rest"

    def __init__(self, rng: Random, folder: Path) -> None:
        super().__init__(rng, folder)
        self._far_end = FarEnd()
        self._loop = asyncio.new_event_loop()

    def draw(self) -> bytes:
        """Choose a call, and bend the body that answers it."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.55:
            status, body = rng.choice(samples.order_answers(self.order_id))
            self._path, self._status, self._command = "/fapi/v1/order", status, self._order()
        elif kind < 0.85:
            self._path = rng.choice((*PLAIN, *BY_SYMBOL))
            status, body, self._command = 200, orjson.loads(honest(self._path)), RequestSetup(reason="fuzz")
        elif kind < 0.93:
            listen_key: tuple[Any, ...] = (
                {"listenKey": "a" * 64},
                {},
                {"code": -1125, "msg": "This listenKey does not exist."},
            )
            body = rng.choice(listen_key)
            status = 400 if "code" in body else 200
            self._path, self._command = "/fapi/v1/listenKey", rng.choice((CreateListenKey(), RenewListenKey()))
        else:
            self._path, status, body, self._command = (
                "/fapi/v1/openOrders",
                200,
                samples.OPEN_ORDERS,
                RequestOpenOrders(),
            )
        if rng.random() < 0.15:
            body = {"code": rng.choice(CODES), "msg": rng.choice(TEXTS)}
            status = 503
        self._status = rng.choice(STATUSES) if rng.random() < 0.25 else status
        self._headers = {"retry-after": rng.choice(RETRY)} if rng.random() < 0.3 else {}
        return written(body) if rng.random() < 0.15 else self.mutator.bent(body)

    def _order(self) -> Command:
        """Return the command whose answer comes; its order stands in the machine already and nothing is sent anywhere."""
        return PlaceOrder(
            client_order_id=ClientOrderId(self.order_id),
            symbol=make.BTCUSDT,
            side=Side.SELL,
            type=OrderType.LIMIT,
            quantity=make.D("0.75"),
            price=make.D("66450"),
            time_in_force=TimeInForce.IOC,
            reduce_only=False,
            deadline_ns=2**62,
        )

    def put(self, frame: bytes) -> Verdict:
        error = "" if self._status is not None else "TimeoutError: \x1b[31m"
        sent = self._status is not None or self.rng.random() < 0.5
        self._far_end.bent = {self._path: Answer(self._status, self._headers, frame, error=error, sent=sent)}
        verdicts = []
        for source, payload in self._loop.run_until_complete(self._delivered(self._command)):
            took = self.machine.take(source, payload)
            failed = any(isinstance(event, CallFailed) for reaction in took[0] for event in reaction.events)
            verdict = self.verdict(frame, took)
            verdicts.append(Verdict(verdict.parsed, REFUSED) if failed else verdict)
        (verdict,) = verdicts
        return verdict

    async def _delivered(self, command: Command) -> list[tuple[str, bytes]]:
        """Let the hands make one call, and return the inputs that come of it."""
        inputs: list[tuple[str, bytes]] = []
        hands = Hands(
            symbols=[make.BTCUSDT],
            hedges=(make.hedge_params(),),
            recv_window_ms=2_000,
            endpoints=Endpoints(rest="http://127.0.0.1:9", stream="ws://127.0.0.1:9", ws_api="ws://127.0.0.1:9"),
            rest=self._far_end,  # type: ignore[arg-type]  # the far end is scripted
            api_key=Secret("k" * 32),
            signer=signer_of("s" * 32),
            clock=BootClock(),
            mask=Mask(),
            fail=_raise,
        )
        async with asyncio.TaskGroup() as group:
            hands.attach(lambda source, payload: inputs.append((source, payload)), lambda name: 0, group)
            hands.perform(command, 1)
        return inputs

    def close(self) -> None:
        """Check the end and close the loop."""
        self._loop.close()
        super().close()


def _raise(error: BaseException) -> None:
    raise error
