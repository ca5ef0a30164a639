"""The spot source: each fill of the spot account becomes a float trade, once. It asks and listens; it never trades spot.

One connection: subscribe, then ask for the fills since the last one that is proven, then take events; every fill is
booked by its trade id, so that duplicates, reconnects and restarts change nothing. The past is asked again every
quarter of a minute, which proves the connection and finds what a silent one held back. ``proven`` is the trade id up to
which every fill of a symbol was handled; it and the refused ones above it stand in the ledger.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Protocol

import orjson

from streamhedge.domain.commands import Level
from streamhedge.domain.spot import SpotFill, SpotPair, trade_id_of
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, Symbol, state, utc_text
from streamhedge.errors import CommandError, ParseError, StreamhedgeError
from streamhedge.settings.secrets import Secret
from streamhedge.venue.clock import BootClock
from streamhedge.venue.sockets import CONNECT_ERRORS, SEND_ERRORS, DirectConnection, closed_reason, open_socket
from streamhedge.wire import spot
from streamhedge.wire.answers import WsApiAnswer
from streamhedge.wire.requests import WsApiRequest
from streamhedge.wire.signing import Signer, signed_params

AUDIT_S = 15.0
"""How often the past is asked for: 80 of 6,000 weight a minute and symbol."""
ANSWER_S = 10.0
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SILENT_S = 60.0
"""How long a venue that limits us is left alone where it does not say."""
LIMITED = (418, 429)
DOWN_MOST_NS = 60 * NS_PER_SECOND
"""How long the stream may be down before somebody must look: what is bought meanwhile is naked."""
Tell = Callable[[str, Level], None]


class Books(Protocol):
    """Where fills are booked."""

    async def book_spot_fill(self, pair: SpotPair, fill: SpotFill) -> bool:
        """Book a fill durably and hand it to the machine; False when it stood there already.

        Raises:
            CommandError: it is more than the float has.
            StoreError: the ledger refused.
        """

    def spot_past(self, symbol: Symbol) -> dict[str, Any] | None:
        """Return what ``remember_spot`` was told last."""

    async def remember_spot(self, symbol: Symbol, fields: dict[str, object]) -> None:
        """Keep durably how far a symbol's fills are handled; raises StoreError."""


@state
class _Past:
    """How far a symbol's fills are handled."""

    proven: int
    refused: list[int] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)
    """Found by asking, and not told by the stream so far."""


class _Lost(Exception):
    """The connection is of no more use; why."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class SpotSource:
    """One account's spot stream."""

    def __init__(
        self,
        *,
        url: str,
        pairs: Mapping[Symbol, SpotPair],
        api_key: Secret,
        signer: Signer,
        recv_window_ms: int,
        venue_ms: Callable[[], int],
        clock: BootClock,
        books: Books,
        tell: Tell,
    ) -> None:
        """Name the account and where its fills go.

        Args:
            url: The spot WebSocket API.
            pairs: The symbols whose fills are booked.
            api_key, signer: The spot account's key.
            recv_window_ms: How long a request may take to arrive.
            venue_ms: The venue's time.
            clock: Ours.
            books: Where fills are booked.
            tell: Told what a person should know.
        """
        self._url = url
        self._pairs = pairs
        self._api_key = api_key
        self._signer = signer
        self._window_ms = recv_window_ms
        self._venue_ms = venue_ms
        self._clock = clock
        self._books = books
        self._tell = tell
        self._past: dict[Symbol, _Past] = {}
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting: deque[spot.SpotFrame] = deque()
        self._connection: DirectConnection | None = None
        self._asked = 0
        self._heard_ns = 0
        self._down = ""
        self._down_ns = 0
        self._alarmed = False
        self.open = False
        """True while the stream delivers."""

    @property
    def row(self) -> dict[str, object]:
        """Return the stream's row of `status`."""
        age = (self._clock.now_ns() - self._heard_ns) // NS_PER_MS if self._heard_ns else None
        return {"name": "spot", "state": "open" if self.open else "closed", "age_ms": age}

    async def run(self) -> None:
        """Follow the account for ever, over every loss of the connection."""
        failures = 0
        while True:
            wait_s = 0.0
            try:
                await self._connected()
            except _Lost as lost:
                reason, wait_s = str(lost), lost.wait_s
            except StreamhedgeError as error:
                reason = str(error)
            failures = 0 if self.open else failures + 1
            self._say_down(reason)
            backoff_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            await asyncio.sleep(max(wait_s, backoff_s * random.uniform(0.5, 1.0)))

    def drop(self) -> None:
        """Open the connection anew: the machine has slept, and this one may be half open."""
        self._frames.put_nowait(None)

    def _say_down(self, reason: str) -> None:
        """Say that the stream is down, once for each reason, and loudly when it stays so."""
        now_ns = self._clock.now_ns()
        if self.open or not self._down:
            self._down_ns, self._alarmed = now_ns, False
        if self.open or reason != self._down:
            text = f"the spot stream is down: {reason}; fills are booked, from the account's past, once it is back"
            self._tell(text, Level.WARNING)
        self.open, self._down = False, reason
        if not self._alarmed and now_ns - self._down_ns > DOWN_MOST_NS:
            self._alarmed = True
            text = f"spot fills since {utc_text(self._down_ns // NS_PER_MS)} are not booked and not hedged: {reason}"
            self._tell(f"{text}; compare with the spot account, and book what is missing", Level.CRITICAL)

    async def _connected(self) -> None:
        """Follow one connection to its end.

        Raises:
            _Lost: it ended.
            StreamhedgeError: the ledger refused.
        """
        self._frames = frames = asyncio.Queue[bytes | None]()
        self._waiting.clear()
        try:
            connection = await open_socket(self._url, frames.put_nowait, lambda error: frames.put_nowait(None))
        except CONNECT_ERRORS as error:
            raise _Lost(f"no connection: {type(error).__name__}") from error
        self._connection = connection
        watching = asyncio.create_task(self._watch(connection, frames))
        try:
            for symbol in self._pairs:
                await self._begin(symbol)
            await self._subscribed()
            await self._follow()
        finally:
            watching.cancel()
            await connection.close()

    @staticmethod
    async def _watch(connection: DirectConnection, frames: asyncio.Queue[bytes | None]) -> None:
        await closed_reason(connection)
        frames.put_nowait(None)

    # ------------------------------------------------------------ what comes

    async def _follow(self) -> None:
        """Take events, and ask for the past in between."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + AUDIT_S
        while True:
            frame = self._waiting.popleft() if self._waiting else await self._next(due_s - loop.time())
            if frame is None:
                for symbol in self._pairs:
                    await self._audit(symbol)
                due_s = loop.time() + AUDIT_S
            else:
                await self._take(frame)

    async def _take(self, frame: spot.SpotFrame) -> None:
        if isinstance(frame, SpotFill):
            pair = self._pairs.get(frame.symbol)
            if pair is not None:
                past = self._past[frame.symbol]
                if frame.trade_id in past.unseen:
                    past.unseen.remove(frame.trade_id)
                await self._book(pair, frame)
        elif isinstance(frame, spot.SpotMoved):
            self._tell(f"spot {frame.text}: no trade, so the float stays as it is", Level.INFO)
        elif isinstance(frame, spot.SpotEnded):
            if frame.closing:
                raise _Lost("the venue is shutting this server down")
            self._tell("the spot subscription ended; subscribing again", Level.WARNING)
            self.open = False
            await self._subscribed()
        elif isinstance(frame, spot.SpotUnread):
            self._tell(f"a spot frame was not understood: {frame.reason}; asking for the past", Level.WARNING)
            for symbol, past in self._past.items():
                await self._catch_up(symbol)
                past.unseen.clear()
        elif frame.id is None:  # an answer that answers nothing: the venue takes the key's permission back
            raise _Lost(f"the venue says {frame.status} {frame.code} {frame.message}")

    async def _next(self, within_s: float) -> spot.SpotFrame | None:
        """Return the next frame that says something; None when the time is over."""
        ends_s = asyncio.get_running_loop().time() + within_s
        while True:
            try:
                async with asyncio.timeout_at(ends_s):
                    raw = await self._frames.get()
            except TimeoutError:
                return None
            if raw is None:
                code = self._connection.close_code if self._connection is not None else None
                raise _Lost("the machine slept" if code is None else f"closed: code {code}")
            self._heard_ns = self._clock.now_ns()
            frame = spot.decode_spot(raw, now_ms=self._heard_ns // NS_PER_MS)
            if frame is not None:
                return frame

    async def _ask(self, request: WsApiRequest) -> WsApiAnswer:
        """Send a request and wait for its answer; what comes before it waits.

        Raises:
            _Lost: no answer, or the venue wants silence.
        """
        self._asked += 1
        name = f"spot-{self._asked}"
        params: dict[str, str | int] = {
            **request.params,
            "apiKey": self._api_key.reveal(),
            "timestamp": self._venue_ms(),
        }
        frame = {"id": name, "method": request.method, "params": signed_params(params, self._signer)}
        assert self._connection is not None, "requests go out on a connection"
        try:
            await self._connection.send(orjson.dumps(frame).decode())
        except SEND_ERRORS as error:
            raise _Lost(f"closed: {type(error).__name__}") from error
        ends_s = asyncio.get_running_loop().time() + ANSWER_S
        while True:
            found = await self._next(ends_s - asyncio.get_running_loop().time())
            if found is None:
                raise _Lost(f"{request.method} was not answered within {ANSWER_S:.0f} s")
            if isinstance(found, WsApiAnswer) and found.id == name:
                break
            self._waiting.append(found)
        if found.status in LIMITED:
            waits_s = found.retry_after_ms / 1_000 if found.retry_after_ms else SILENT_S
            raise _Lost(f"the venue limits us: {found.message}", waits_s)
        if found.status != 200:
            raise _Lost(f"{request.method} was refused: {found.code} {found.message}")
        return found

    # ------------------------------------------------------------ subscribing, and the past

    async def _subscribed(self) -> None:
        """Subscribe, then book what was missed before the subscription began."""
        await self._ask(spot.subscribe(recv_window_ms=self._window_ms))
        found = sum([await self._catch_up(symbol) for symbol in self._pairs])
        for past in self._past.values():
            past.unseen.clear()  # executed before the stream began, so it never tells of them
        missed = f"; {found} missed fill(s) booked" if found else ""
        self.open = True
        self._down = ""
        self._tell(
            f"the spot stream is open: fills of {', '.join(self._pairs)} become float trades{missed}", Level.INFO
        )

    async def _begin(self, symbol: Symbol) -> None:
        """Learn, before subscribing, from which trade id on fills are ours to book."""
        if symbol in self._past:
            return
        known = self._books.spot_past(symbol)
        if known is None:
            # The first start: what was traded before is part of the initial float.
            latest = await self._page(symbol, None)
            known = {"proven": latest[-1].trade_id if latest else 0, "refused": []}
            await self._books.remember_spot(symbol, known)
            self._tell(f"spot fills of {symbol} are booked from trade id {known['proven'] + 1} on", Level.INFO)
        self._past[symbol] = _Past(proven=known["proven"], refused=list(known["refused"]))

    async def _audit(self, symbol: Symbol) -> None:
        """Ask for the past; a stream that held back what it should have told is of no use."""
        held_back = self._past[symbol].unseen
        if held_back:
            raise _Lost(f"it did not tell of {symbol} fill(s) {', '.join(map(str, held_back))}")
        await self._catch_up(symbol)

    async def _catch_up(self, symbol: Symbol) -> int:
        """Book every fill since the last proven one; return how many were new."""
        past, found = self._past[symbol], 0
        began = past.proven
        while True:
            page = await self._page(symbol, past.proven + 1)
            for fill in page:
                if await self._book(self._pairs[symbol], fill):
                    found += 1
                    past.unseen.append(fill.trade_id)
                past.proven = max(past.proven, fill.trade_id)
            if len(page) < spot.PAGE_MOST:
                break
        if past.proven != began:
            past.refused = [number for number in past.refused if number > past.proven]
            await self._remember(symbol)
        return found

    async def _page(self, symbol: Symbol, from_id: int | None) -> list[SpotFill]:
        answer = await self._ask(spot.my_trades(symbol, from_id=from_id, recv_window_ms=self._window_ms))
        try:
            fills = spot.fills_of(answer.result)
            if any(fill.symbol != symbol or fill.trade_id < (from_id or 0) for fill in fills):
                raise ParseError("fills that were not asked for")
        except ParseError as error:
            text = f"{symbol} fills from trade id {from_id or 'the latest'} on may be missing: {error}"
            self._tell(f"{text}; compare with the spot account, and correct with `trade set`", Level.CRITICAL)
            raise _Lost(f"myTrades cannot be read: {error}") from error
        return fills

    async def _book(self, pair: SpotPair, fill: SpotFill) -> bool:
        """Book one fill, once; True when it was new."""
        past = self._past[pair.symbol]
        if fill.trade_id <= past.proven or fill.trade_id in past.refused:
            return False
        try:
            return await self._books.book_spot_fill(pair, fill)
        except CommandError as error:
            # It is a fact all the same: the float is wrong, and only a person knows by how much.
            past.refused.append(fill.trade_id)
            await self._remember(pair.symbol)
            text = f"spot fill {trade_id_of(fill)} was not booked: {error}; compare the float with the spot account, "
            self._tell(f"{text}and correct it with `trade set`", Level.CRITICAL)
            return False

    async def _remember(self, symbol: Symbol) -> None:
        past = self._past[symbol]
        await self._books.remember_spot(symbol, {"proven": past.proven, "refused": past.refused})
