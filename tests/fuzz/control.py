"""The door of the control socket: bent lines on the real socket of a running hedger with its exchange beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import orjson

from streamhedge import Hedger
from streamhedge.ops.control import LINE_MOST, served
from streamhedge.ops.words import Words
from tests.fuzz.cases import CHANGED, REFUSED, VALID, Finding, Verdict, parses, watched
from tests.fuzz.mutator import Mutator, written
from tests.support.machines import hedger, venue

SAMPLES: tuple[dict[str, Any], ...] = (
    {"verb": "status"},
    {"verb": "book"},
    {"verb": "plan", "symbol": "BTCUSDT"},
    {"verb": "may-buy", "usd": "1000", "asset": "BTC"},
    {"verb": "trade", "id": "ft-1", "kind": "buy", "amount": "1000", "reason": "x"},
    {"verb": "trade", "id": "ft-2", "kind": "sell", "amount": "1000", "price": "40000", "btc": "0.02", "yes": True},
    {"verb": "trade", "id": "ft-3", "kind": "set", "amount": "10", "reason": "audit"},
    {"verb": "trade", "id": "ft-4", "kind": "void", "voids": "ft-1", "reason": "wrong"},
    {"verb": "trade", "id": "ft-5", "kind": "deposit-usd", "amount": "5"},
    {"verb": "halt", "symbol": "BTCUSDT", "reason": "look"},
    {"verb": "reduce", "symbol": None, "reason": "look"},
    {"verb": "resume", "reason": "looked"},
    {"verb": "flatten", "symbol": "BTCUSDT"},
    {"verb": "flatten", "confirm": "00000000", "reason": "out"},
)
HANDS_MOST = 60
ANSWER_S = 40
"""A trade that is booked waits ten seconds for its hedge before it is answered as pending."""


class Door:
    """One running hedger; every case is a conversation with its socket, or a crowd of them."""

    def __init__(self, rng: Random, folder: Path) -> None:
        self.rng = rng
        self._mutator = Mutator(rng, ("status", "trade", "halt", "resume"))
        self._loop = asyncio.new_event_loop()
        self._escaped: list[str] = []
        self._loop.set_exception_handler(lambda loop, context: self._escaped.append(str(context)))
        self._stack = contextlib.AsyncExitStack()
        # A unix socket's path has 107 bytes: a short folder of our own.
        self._short = tempfile.TemporaryDirectory(prefix="shfz-")
        self._before = os.environ.get("STREAMHEDGE_LOCK_DIR")
        os.environ["STREAMHEDGE_LOCK_DIR"] = self._short.name
        self._machine, self._path = self._loop.run_until_complete(self._open(folder))

    async def _open(self, folder: Path) -> tuple[Hedger, Path]:
        ready = await self._stack.enter_async_context(venue())
        machine = await self._stack.enter_async_context(hedger(folder, ready))
        await machine.book.live(timeout_s=30)
        path = await self._stack.enter_async_context(served("sim-fuzz", Words(machine).answer))
        return machine, path

    def case(self) -> Verdict:
        """Say one bent line and hold the answer, and the books, against what was there before."""
        rng = self.rng
        sample = dict(rng.choice(SAMPLES))
        if "id" in sample and rng.random() < 0.7:
            sample["id"] = f"{sample['id']}-{rng.randrange(10**9)}"
        line = self._mutator.bent(sample).replace(b"\n", b" ")
        kind = rng.random()
        with watched(line, ANSWER_S):
            if kind < 0.01:
                return self._loop.run_until_complete(self._crowd(line))
            if kind < 0.02:
                line = b'{"verb":"status","x":"' + b"A" * rng.choice((LINE_MOST, 1 << 20)) + b'"}'
            if kind > 0.97:
                return self._loop.run_until_complete(self._hung_up(line))
            return self._loop.run_until_complete(self._said(line))

    async def _said(self, line: bytes) -> Verdict:
        before = self._books()
        answer = await self._ask(line)
        self._sound(line)
        if "error" in answer:
            if self._books() != before:
                raise Finding(f"refused ({answer['error']}) and yet the books changed", line)
            if answer.get("exit") not in (1, 2, 3, 4, 7):
                raise Finding(f"a refusal without an exit code: {answer}", line)
            return Verdict(parses(line), REFUSED)
        changed = self._books() != before
        if changed:
            await self._back_to_work()
        return Verdict(parses(line), CHANGED if changed else VALID)

    async def _ask(self, line: bytes) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self._path), limit=1 << 22)
        try:
            writer.write(line + b"\n")
            said, more = await reader.readline(), b""
            with contextlib.suppress(ConnectionResetError):  # it read no further than it had to
                more = await reader.read()
        finally:
            writer.close()
        found = orjson.loads(said) if said.endswith(b"\n") else None
        if not isinstance(found, dict) or more:
            raise Finding(f"the answer is no line with an object: {said[:200]!r} {more[:200]!r}", line)
        return found

    async def _hung_up(self, line: bytes) -> Verdict:
        """Say half a line, or a whole one, and go without hearing the answer."""
        _, writer = await asyncio.open_unix_connection(str(self._path))
        writer.write(line[: self.rng.randrange(len(line) + 1)])
        writer.transport.abort()
        return await self._said(written({"verb": "status"}))

    async def _crowd(self, line: bytes) -> Verdict:
        """Hold many conversations open without a word; others are told so, and heard once they have ended."""
        silent = [await asyncio.open_unix_connection(str(self._path)) for _ in range(HANDS_MOST)]
        for _, writer in silent:
            writer.transport.abort()
        for _ in range(1_000):
            if "error" not in await self._ask(b'{"verb":"status"}'):
                return await self._said(line)
            await asyncio.sleep(0.005)
        raise Finding("the socket is not heard any more after a crowd", line)

    async def _back_to_work(self) -> None:
        """Undo halts, so that the next case meets a hedger at work."""
        for request in ({"verb": "resume", "reason": "on"}, {"verb": "resume", "symbol": "BTCUSDT", "reason": "on"}):
            await self._ask(orjson.dumps(request))

    def _books(self) -> tuple[Any, Any, Any]:
        state, ledger = self._machine.core.state, self._machine.ledger
        latches = {key: fields for key, fields in ledger.states().items() if not key.startswith(("pace:", "day"))}
        return [trade.trade_id for trade in ledger.float_trades()], latches, dict(state.floats)

    def _sound(self, line: bytes) -> None:
        if self._machine.pump.failed is not None:
            raise Finding(f"the pump failed: {self._machine.pump.failed!r}", line)
        if self._escaped:
            raise Finding(f"escaped to the loop: {self._escaped[0]}", line)

    def close(self) -> None:
        """Stop the hedger and its exchange."""
        try:
            self._loop.run_until_complete(self._stack.aclose())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()
            self._short.cleanup()
            if self._before is None:
                os.environ.pop("STREAMHEDGE_LOCK_DIR", None)
            else:
                os.environ["STREAMHEDGE_LOCK_DIR"] = self._before
