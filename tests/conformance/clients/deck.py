"""Plays the cards with one client and prints one JSON line for each; runs inside the clients' own environment.

Settings come as one JSON object on stdin: addresses, keys, and the names of the cards in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

CARD_S = 10.0
"""How long one card may hang before it has failed."""
Event = dict[str, Any]


class NotOffered(Exception):
    """The library has no way to play a card; the text says why."""


class Settings:
    """Where the exchange is, and how to get in."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.rest: str = said["rest"]
        self.stream: str = said["stream"]
        self.ws_api: str = said["ws_api"]
        self.key: str = said["api_key"]
        self.secret: str = said["api_secret"]
        self.cards: list[str] = said["cards"]

    def fault(self, **said: str) -> None:
        """Speak to the exchange's own door for faults."""
        body = json.dumps(said).encode()
        request = urllib.request.Request(f"{self.rest}/__fault", data=body, method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=5) as answer:
            assert answer.status == 200

    @contextlib.contextmanager
    def late(self) -> Any:
        """Put the exchange's clock two minutes ahead, so that every request is late."""
        self.fault(fault="C1=120000*0")
        try:
            yield
        finally:
            self.fault(clear="C1")


class Events:
    """What a stream has delivered, and waiting for what it will."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self.broken = ""
        self._news = asyncio.Event()

    def add(self, event: Event) -> None:
        """Take one event in."""
        self.all.append(event)
        self._news.set()

    async def find(self, wanted: Callable[[Event], Any], what: str, since: int = 0) -> Event:
        """Return the first event that is wanted, waiting for it."""
        while True:
            for event in self.all[since:]:
                if wanted(event):
                    return event
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), CARD_S * 0.8)
            except TimeoutError:
                kinds = [event.get("e") for event in self.all[since:]]
                raise AssertionError(f"{what} did not arrive; there were {kinds[-12:]} {self.broken}") from None


async def expect(code: int, work: Awaitable[Any], code_of: Callable[[BaseException], Any]) -> None:
    """Await a call that must be refused with a code."""
    try:
        found = await work
    except Exception as error:
        assert code_of(error) == code, f"refused with {code_of(error)} instead of {code}: {error}"
        return
    raise AssertionError(f"not refused with {code}: {found}")


def is_report(event: Event, name: str, execution: str, status: str | None = None) -> bool:
    """True for an order report of a client id with an execution type and, where said, a status."""
    order = event.get("o") if event.get("e") == "ORDER_TRADE_UPDATE" else None
    return order is not None and order["c"] == name and order["x"] == execution and status in (None, order["X"])


async def play(make: Callable[[Settings], contextlib.AbstractAsyncContextManager[Any]]) -> None:
    """Play every card with the client that ``make`` opens."""
    settings = Settings(json.loads(sys.stdin.read()))
    async with make(settings) as client:
        for name in settings.cards:
            outcome, detail = "passed", ""
            try:
                await asyncio.wait_for(getattr(client, name)(), CARD_S)
            except NotOffered as reason:
                outcome, detail = "skipped", str(reason)
            except TimeoutError:
                outcome, detail = "failed", f"nothing came within {CARD_S:.0f} s"
            except Exception as error:
                outcome, detail = "failed", f"{type(error).__name__}: {error}"[:2000]
            print(json.dumps({"card": name, "outcome": outcome, "detail": detail}), flush=True)


@contextlib.asynccontextmanager
async def reading(source: Callable[[], Awaitable[Event]], events: Events) -> AsyncIterator[None]:
    """Read events from a library's receiving call until the block ends."""

    ended = False

    async def read() -> None:
        try:
            while not ended:
                event = await source()
                if event is not None:  # a library may answer a cancellation with None
                    events.add(event)
        except Exception as error:
            events.broken = f"and the stream broke: {type(error).__name__}: {error}"

    task = asyncio.create_task(read())
    try:
        yield
    finally:
        ended = True
        task.cancel()
        await asyncio.wait({task}, timeout=1)
