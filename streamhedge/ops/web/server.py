"""The page's server on loopback: assets, a feed of at most ten frames a second, probes, metrics, and acts with a token.

Everything is read from what the hedger holds; a client that reads slowly gets fewer frames, one that does not read is
dropped. Reading needs no token; acting does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from pathlib import Path

import orjson
from aiohttp import web

from streamhedge.domain.events import VerbKind
from streamhedge.domain.values import Symbol
from streamhedge.errors import ConfigError, StreamhedgeError
from streamhedge.ops.metrics import exposition
from streamhedge.ops.trust import doubts
from streamhedge.ops.web.guard import HEADERS, Guard, refused
from streamhedge.ops.web.watch import Watch

FRAME_S = 0.1
CLIENTS_MOST = 16
DRAIN_S = 5.0
ASSETS = {
    "page.css": "text/css",
    "charts.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
ACTS = {"halt": VerbKind.HALT, "reduce": VerbKind.REDUCE, "resume": VerbKind.RESUME}
"""What the page may do; flatten and kill are the command line's."""
PAGE_UID = -1
"""How the ledger names who acted from the page: the token's holder, whoever that is."""


class Page:
    """The routes of one page."""

    def __init__(self, watch: Watch, guard: Guard) -> None:
        self._watch = watch
        self._acts = b"true" if guard.acts else b"false"
        self._clients = 0
        self._explaining = asyncio.Lock()
        self.app = web.Application(middlewares=[guard.middleware], client_max_size=4_096)
        self.app.add_routes(
            [
                web.get("/", self._index),
                web.get("/assets/plotly.js", self._plotly),
                web.get("/assets/{name}", self._asset),
                web.get("/feed", self._feed),
                web.get("/status.json", self._status),
                web.get("/history.json", self._history),
                web.get("/explain/{seq}", self._explain),
                web.get("/follow", self._follow),
                web.get("/livez", self._alive),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._metrics),
                web.post("/act/{verb}", self._act),
            ]
        )

    # ------------------------------------------------------------ what stands still

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(body=_text("index.html"), content_type="text/html", charset="utf-8")

    async def _asset(self, request: web.Request) -> web.Response:
        kind = ASSETS.get(request.match_info["name"])
        if kind is None:
            raise web.HTTPNotFound
        return web.Response(body=_text(request.match_info["name"]), content_type=kind, charset="utf-8")

    async def _plotly(self, request: web.Request) -> web.StreamResponse:
        path = chart_library()
        if path is None:
            return refused(404, "the chart library is not installed: pip install 'streamhedge[report]'")
        return web.FileResponse(path, headers={"Content-Type": "text/javascript"})

    # ------------------------------------------------------------ what lives

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        """Stream frames as server-sent events: status each time something came in, notes and orders when they change."""
        return await self._read_on(request, "text/event-stream", self._stream)

    async def _read_on(
        self, request: web.Request, kind: str, work: Callable[[web.StreamResponse], Awaitable[None]]
    ) -> web.StreamResponse:
        """Answer for as long as somebody reads; one that does not is let go."""
        if self._clients >= CLIENTS_MOST:
            raise web.HTTPServiceUnavailable(reason=f"{CLIENTS_MOST} readers are here already")
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": kind})
        self._clients += 1
        try:
            await response.prepare(request)
            await work(response)
        except (ConnectionError, TimeoutError):
            return response
        finally:
            self._clients -= 1
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        heard, orders, last = 0, b"", b""
        while True:
            frame = self._watch.frame(_now_ns(self._watch))
            if frame is not last:
                parts = [b'data: {"acts":', self._acts, b',"status":', frame]
                if self._watch.told > heard:
                    parts += [b',"notes":', orjson.dumps(self._watch.news(heard))]
                    heard = self._watch.told
                now = self._watch.orders()
                if now is not orders:
                    parts += [b',"orders":', now]
                    orders = now
                last = frame
                async with asyncio.timeout(DRAIN_S):
                    await response.write(b"".join([*parts, b"}\n\n"]))
            await asyncio.sleep(FRAME_S)

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        """Hand on the inputs of the machine, for a book in another process; the guard wants the token here."""
        hedger, after = self._watch.hedger, request.query.get("after")
        if hedger is None or not (after is None or (after.isascii() and after.isdigit() and len(after) < 19)):
            raise web.HTTPNotFound
        inputs = hedger.feed.follow(None if after is None else int(after))

        async def hand_on(response: web.StreamResponse) -> None:
            async with contextlib.aclosing(inputs) as lines:
                async for line in lines:
                    async with asyncio.timeout(DRAIN_S):
                        await response.write(line)

        return await self._read_on(request, "application/x-ndjson", hand_on)

    async def _status(self, request: web.Request) -> web.Response:
        return _json(self._watch.frame(_now_ns(self._watch)))

    async def _history(self, request: web.Request) -> web.Response:
        return _json(self._watch.history())

    async def _explain(self, request: web.Request) -> web.StreamResponse:
        """Explain one input from the recording, beside the loop."""
        from streamhedge.ops.explain import explain, explain_text

        hedger, seq = self._watch.hedger, request.match_info["seq"]
        if hedger is None or not (seq.isascii() and seq.isdigit() and len(seq) < 19):
            raise web.HTTPNotFound
        if self._explaining.locked():  # it replays: one at a time, so that nobody keeps the hedger busy by asking
            return refused(503, "another explanation is being read; ask again")
        async with self._explaining:
            try:
                found = await asyncio.to_thread(explain, seq, list(hedger.journal.paths))
            except StreamhedgeError as error:
                return refused(404, str(error))
        return _json(orjson.dumps({**found, "text": explain_text(found)}, default=str))

    # ------------------------------------------------------------ probes

    async def _alive(self, request: web.Request) -> web.Response:
        """Answer that the loop turns; nothing else."""
        return web.json_response({"alive": True})

    async def _ready(self, request: web.Request) -> web.Response:
        """Answer whether the hedge can be trusted now, with the reasons where it cannot."""
        reasons = doubts(self._watch.hedger)
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        try:
            body, kind = await exposition(self._watch)
        except ConfigError as error:
            return refused(501, str(error))
        return web.Response(body=body, headers={"Content-Type": kind})

    # ------------------------------------------------------------ acts

    async def _act(self, request: web.Request) -> web.Response:
        """Do what a person with the token asks."""
        hedger, verb = self._watch.hedger, request.match_info["verb"]
        if hedger is None or verb not in ACTS:
            raise web.HTTPNotFound
        try:
            said = orjson.loads(await request.read())
            reason, symbol = said["reason"], said.get("symbol")
        except (ValueError, KeyError, TypeError, AttributeError):
            return refused(400, 'expected {"reason": "…"} and perhaps "symbol"')
        if not isinstance(reason, str) or not reason.strip() or not isinstance(symbol, str | None):
            return refused(400, "a reason is needed: it is written down")
        try:
            status = await hedger.verb(
                ACTS[verb], symbol=Symbol(symbol) if symbol else None, reason=f"page: {reason}", uid=PAGE_UID
            )
        except StreamhedgeError as error:
            return refused(409, str(error))
        return _json(orjson.dumps(status, default=str))


def chart_library() -> Path | None:
    """Return where the chart library lies in site-packages, None without it."""
    try:
        path = Path(str(files("plotly").joinpath("package_data", "plotly.min.js")))
    except ModuleNotFoundError:
        return None
    return path if path.is_file() else None


@contextlib.asynccontextmanager
async def served(watch: Watch, *, host: str, port: int, token: str | None, or_any: bool = False) -> AsyncIterator[str]:
    """Serve the page while the block runs; give its address.

    Args:
        watch: What it shows.
        host: A loopback name.
        port: 0 takes a free one.
        token: What a person must show to act; None makes the page read-only.
        or_any: Take a free port where the named one is taken.

    Raises:
        ConfigError: the port is taken.
    """
    listener = _listener(host, port, or_any=or_any)
    taken = int(listener.getsockname()[1])
    runner = web.AppRunner(Page(watch, Guard(taken, token)).app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield f"http://{host}:{taken}"
    finally:
        await runner.cleanup()


def _listener(host: str, port: int, *, or_any: bool) -> socket.socket:
    bare = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET)
    try:
        try:
            listener.bind((bare, port))
        except OSError as error:
            if not or_any or error.errno != errno.EADDRINUSE:
                raise
            listener.bind((bare, 0))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"the page cannot listen on {host}:{port}: {error.strerror}; choose another --port, or --no-web"
        ) from error
    return listener


def _text(name: str) -> bytes:
    return files("streamhedge.ops.web").joinpath("page", name).read_bytes()


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _now_ns(watch: Watch) -> int:
    return watch.hedger.clock.now_ns() if watch.hedger is not None else 0
