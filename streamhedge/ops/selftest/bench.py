"""The bench a self-test stands on: a hedger on real sockets, the exchange's own doors, and waiting that is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp

from streamhedge.domain.commands import Note
from streamhedge.domain.events import FloatTradeKind, VerbKind
from streamhedge.domain.order import Order
from streamhedge.domain.treasury import TradeRequest
from streamhedge.domain.values import Asset, Symbol, TradeId
from streamhedge.errors import ApiError, CommandError, StreamhedgeError
from streamhedge.live.hedger import Hedger
from streamhedge.live.status import in_band
from streamhedge.ops import child
from streamhedge.reactor.state import SymbolMemory
from streamhedge.settings.config import Config, load_config
from streamhedge.settings.endpoints import Endpoints
from streamhedge.settings.secrets import Secret

BTCUSDT, ETHUSDT = Symbol("BTCUSDT"), Symbol("ETHUSDT")
WAIT_S = 20.0
LOOK_S = 0.02
HEALED = ("M1", "M2", "O1", "O14", "X1", "S7")


class Untripped(StreamhedgeError):
    """A control was not tripped, or did not act."""


def limits() -> Config:
    """Return the configuration a self-test runs with."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(_as_path("limits.toml"))
        return load_config([path], (), {})


@contextlib.contextmanager
def _as_path(name: str) -> Any:
    from importlib.resources import as_file

    with as_file(files("streamhedge.ops.selftest").joinpath(name)) as path:
        yield path


class Bench:
    """One hedger under test and everything that can be done to it."""

    def __init__(self, hedger: Hedger, endpoints: Endpoints, doors: aiohttp.ClientSession, folder: Path) -> None:
        self.hedger = hedger
        self.endpoints = endpoints
        self.folder = folder
        self.notes: list[Note] = []
        self._doors = doors
        self._trades = 0

    # ------------------------------------------------------------ the far end

    async def door(self, name: str, said: dict[str, Any]) -> dict[str, Any]:
        """Ask the exchange to do something at one of its own doors."""
        async with self._doors.post(f"{self.endpoints.rest}/__{name}", json=said) as answer:
            found: dict[str, Any] = await answer.json()
        if "error" in found:
            raise Untripped(f"the exchange refused to {name} {said}: {found['error']}")
        return found

    async def truth(self) -> dict[str, Any]:
        """Return what is really so at the exchange."""
        async with self._doors.get(f"{self.endpoints.rest}/__truth") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def fault(self, text: str) -> None:
        """Arm a fault."""
        await self.door("fault", {"fault": text})

    async def heal(self) -> None:
        """Take every fault back, cancel what others left resting, and lift what a step latched."""
        for name in HEALED:
            await self.door("fault", {"clear": name})
        await self.door("external", {"cancel": BTCUSDT})
        if self.hedger.core.state.halted or self.memory.block or self.memory.flatten or self.memory.reduce_only:
            await self.verb(VerbKind.RESUME)
            await self.verb(VerbKind.RESUME, symbol=BTCUSDT)

    # ------------------------------------------------------------ our side

    async def book(self, quantity: str) -> None:
        """Book a float trade of so many bitcoin and do not wait for its hedge."""
        self._trades += 1
        amount = Decimal(quantity)
        kind = FloatTradeKind.DEPOSIT if amount > 0 else FloatTradeKind.WITHDRAW
        request = TradeRequest(
            kind=kind,
            asset=Asset("BTC"),
            amount=abs(amount),
            trade_id=TradeId(f"selftest-{self._trades}"),
            quantity=None,
            price=None,
            reason="self-test",
            confirmed=True,
        )
        await self.hedger.execute_trade_with_hedge(request, wait_s=0.0)

    async def verb(self, kind: VerbKind, *, symbol: Symbol | None = None) -> None:
        """Give an operator's command."""
        await self.hedger.verb(kind, symbol=symbol, reason="self-test", uid=os.getuid())

    async def short_by_hand(self, quantity: str, *, symbol: Symbol = ETHUSDT) -> str:
        """Ask for a short on a symbol no hedge steers, and return the refusal; empty when it was opened."""
        try:
            await self.hedger.open_short(symbol, quantity, 3, reason="self-test")
        except (CommandError, ApiError) as error:
            return str(error)
        return ""

    def tighten(self, **limits: object) -> None:
        """Read a configuration with tighter limits while running."""
        settings = self.hedger.config.settings
        changed = settings.limits.model_copy(update=limits)
        told = self.hedger.reload(
            Config(settings=settings.model_copy(update={"limits": changed}), origins={}), uid=os.getuid()
        )
        missing = [row for row in told.refused if any(name in row for name in limits)]
        if missing:
            raise Untripped(f"a tighter limit was not taken: {missing}")
        self.hedger.config = Config(settings=settings.model_copy(update={"limits": changed}), origins={})

    @property
    def memory(self) -> SymbolMemory:
        """What the rules remember of the hedge."""
        return self.hedger.core.memory_of(BTCUSDT)

    @property
    def sent(self) -> int:
        """How many orders were sent so far."""
        return self.hedger.core.state.meter.orders_sent

    def triggers(self, control: str) -> int:
        """Return how often a control acted so far, by its own count."""
        return self.hedger.core.state.meter.triggers.get(control, 0)

    def newest(self) -> Order:
        """Return the order decided last."""
        return list(self.hedger.core.state.orders.values())[-1]

    def position(self) -> Decimal:
        """Return the hedge's position as the book has it."""
        return self.hedger.core.state.book.quantity(BTCUSDT)

    # ------------------------------------------------------------ waiting

    async def until(self, holds: Callable[[], object], what: str, *, within_s: float = WAIT_S) -> None:
        """Wait until something holds.

        Raises:
            Untripped: it does not in time.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + within_s
        while not holds():
            if loop.time() > ends:
                state = self.hedger.core.state
                why = state.halted or "; ".join(state.reducing.values()) or self.memory.hold or "ACTIVE"
                raise Untripped(f"waited {within_s:.0f} s for {what} ({why})")
            await asyncio.sleep(LOOK_S)

    async def whole(self) -> None:
        """Wait until the hedge stands and nothing is under way."""
        core = self.hedger.core

        def stands() -> bool:
            hedge = core.policy.hedges[0]
            still = not core.state.open_ids and self.memory.exposure is None
            return still and core.state.book_status.value == "LIVE" and in_band(core, hedge)

        await self.until(stands, "the hedge to stand")


@contextlib.asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Bench]:
    """Start the exchange as a child on loopback and a hedger on it, both for this self-test alone."""
    config = limits()
    sim = config.settings.sim
    said = ["--tape", sim.tape, "--seed", str(sim.seed), "--wallet", str(sim.wallet)]
    said += ["--funding-every", f"{sim.funding_every}ms", "--api-key", secrets.token_hex(16)]
    async with child.exchange(said) as ready, aiohttp.ClientSession(trust_env=False) as doors:
        endpoints = Endpoints(rest=ready["rest"], stream=ready["stream"], ws_api=ready["ws_api"])
        notes: list[Note] = []
        hedger = Hedger(
            config,
            endpoints=endpoints,
            api_key=Secret(ready["api_key"]),
            api_secret=Secret(ready["api_secret"]),
            state_dir=folder,
            on_notes=lambda told, _: notes.extend(told),
        )
        async with hedger:
            bench = Bench(hedger, endpoints, doors, folder)
            bench.notes = notes
            await bench.whole()
            yield bench
