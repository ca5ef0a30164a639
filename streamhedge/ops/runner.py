"""`streamhedge run`: the exchange where it is ours, the hedger, the control socket, the end, and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from streamhedge.domain.commands import Level, Note
from streamhedge.domain.events import VerbKind
from streamhedge.errors import AuthenticationError, ConfigError, JournalCorrupt, StoreError, StreamhedgeError
from streamhedge.live.crash_loop import BUG
from streamhedge.live.hedger import Hedger, endpoints_of, spot_keys_of
from streamhedge.live.loop_watch import LAST_WORDS_S, LoopWatch
from streamhedge.live.recordings import replay_files
from streamhedge.ops import child, demo
from streamhedge.ops.alerts import Alerts, channels_of
from streamhedge.ops.control import served
from streamhedge.ops.demo import Say, TimedTrade
from streamhedge.ops.exits import FAILURE
from streamhedge.ops.heartbeat import Heartbeat, address_of
from streamhedge.ops.lines import Lines
from streamhedge.ops.report import write_report
from streamhedge.ops.service import ServiceManager
from streamhedge.ops.trust import doubts
from streamhedge.ops.verdict import judge, unfinished
from streamhedge.ops.web.server import served as page_served
from streamhedge.ops.web.watch import Watch
from streamhedge.ops.words import Words
from streamhedge.settings.config import Config
from streamhedge.settings.endpoints import SCHEMES, Endpoints
from streamhedge.settings.model import WebTable
from streamhedge.settings.secrets import Mask, Secret, load_secret

LIVE_WAIT_S = 20.0
KEY_REMEDY = "Check the API key, its secret, its futures permission and its IP list; nothing was sent"
SETTLE_S = 20.0
INTERRUPTED = 130
"""Exit code of a second SIGINT, as of an interrupt everywhere: 128 + its number."""
AGREE_S = 6.0


@dataclass(slots=True)
class Plan:
    """What a run was asked to do."""

    config: Config
    state_dir: Path
    record_dir: Path | None = None
    duration_s: float | None = None
    faults: list[str] = field(default_factory=list)
    story: bool = False
    shadow: bool = False
    resume: bool = False
    takeover: bool = False
    accept_venue_truth: bool = False
    live: bool = False
    trades: list[TimedTrade] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    web: bool | None = None
    port: int | None = None
    again: Callable[[], Config] | None = None
    """Reads the configuration again."""

    @property
    def page(self) -> bool:
        """Whether the page is served: as asked, else where it is configured or the venue is the simulated one."""
        settings = self.config.settings
        return self.web if self.web is not None else settings.web is not None or settings.venue == "sim"


async def run(plan: Plan, lines: Lines) -> dict[str, Any]:
    """Run to the end and return the summary with its verdict."""
    settings = plan.config.settings
    if settings.venue == "live" and not plan.live:
        raise ConfigError("venue live also needs --live: real money; nothing was started")
    if settings.venue == "live" and os.getuid() == 0:
        raise ConfigError("venue live is refused as root: run as a user of its own; nothing was started")
    if settings.venue == "demo" and os.getuid() == 0:
        lines.write("root", "", "running as root; use a user of its own", time.time_ns(), level=Level.WARNING)
    if settings.venue == "sim" and settings.endpoints is None:
        async with child.exchange(_sim_arguments(plan)) as ready:
            endpoints = Endpoints(**{name: ready[name] for name in SCHEMES})
            keys = Secret(ready["api_key"]), Secret(ready["api_secret"])
            return await _with_hedger(plan, lines, endpoints, keys, None)
    if settings.keys is None:
        raise ConfigError(f"venue {settings.venue} needs [keys] with api_key and api_secret; nothing was started")
    keys = (
        load_secret("api_key", settings.keys.api_key, plan.env),
        load_secret("api_secret", settings.keys.api_secret, plan.env),
    )
    return await _with_hedger(plan, lines, endpoints_of(plan.config), keys, spot_keys_of(plan.config, plan.env))


def _sim_arguments(plan: Plan) -> list[str]:
    sim = plan.config.settings.sim
    found = ["--tape", sim.tape, "--speed", str(sim.speed), "--seed", str(sim.seed), "--wallet", str(sim.wallet)]
    found += ["--funding-every", f"{sim.funding_every}ms", "--api-key", secrets.token_hex(16)]
    for fault in [*sim.faults, *plan.faults]:
        found += ["--fault", fault]
    return found


async def _with_hedger(
    plan: Plan,
    lines: Lines,
    endpoints: Endpoints,
    keys: tuple[Secret, Secret],
    spot_keys: tuple[Secret, Secret] | None,
) -> dict[str, Any]:
    for key in (*keys, *(spot_keys or ())):
        lines.mask.take(key)
    stop = asyncio.Event()
    refused: list[Note] = []
    watch = Watch()
    manager = ServiceManager(plan.env)

    def heard(notes: tuple[Note, ...], recv_ns: int) -> None:
        lines.notes(notes, recv_ns)
        watch.notes(notes, recv_ns)
        alerts.notes(notes, recv_ns)
        refused.extend(note for note in notes if note.code == "key_refused")
        if refused:
            stop.set()

    hedger = Hedger(
        plan.config,
        endpoints=endpoints,
        api_key=keys[0],
        api_secret=keys[1],
        state_dir=plan.state_dir,
        record_dir=plan.record_dir,
        shadow=plan.shadow,
        resume=plan.resume,
        takeover=plan.takeover,
        accept_venue_truth=plan.accept_venue_truth,
        on_notes=heard,
        spot_keys=spot_keys,
    )
    _stop_by_signal(stop)

    def reload() -> None:
        manager.reloading()
        try:
            found = hedger.reload(plan.again() if plan.again is not None else plan.config, uid=os.getuid())
            for row in found.refused:
                lines.write("config", "", f"not applied: {row}", time.time_ns(), level=Level.WARNING)
            if not found.applied and not found.refused:
                lines.write("config", "", "read again: nothing changed", time.time_ns())
        except ConfigError as error:
            text = f"not read again, what was in force stays: {error}"
            lines.write("config", "", text, time.time_ns(), level=Level.CRITICAL)
        manager.tell(READY=1)

    def say(code: str, text: str) -> None:
        lines.write(code, "", text, time.time_ns())

    def tell(code: str, text: str, level: Level) -> None:
        lines.write(code, "", text, time.time_ns(), level=level)

    escalations: set[asyncio.Task[Any]] = set()

    async def reduce(reason: str) -> None:
        try:
            await hedger.verb(VerbKind.REDUCE, symbol=None, reason=reason, uid=os.getuid())
        except StreamhedgeError as error:
            lines.write("alert_failed", "", f"could not escalate: {error}", time.time_ns(), level=Level.CRITICAL)

    def escalate(reason: str) -> None:
        escalations.add(task := asyncio.get_running_loop().create_task(reduce(reason)))
        task.add_done_callback(escalations.discard)

    alerts = Alerts(
        channels_of(plan.config, plan.env),
        unacknowledged_after_ms=hedger.policy.limits.unacked_critical_after_ms,
        escalate=escalate,
        tell=tell,
        counts=watch.alerts,
    )
    heartbeat = _heartbeat(plan, hedger, lines.mask, tell, watch.beats)
    watch.incidents = alerts.rows

    def wedged(reason: str) -> None:
        lines.write("wedged", "", f"{reason}; ending", time.time_ns(), level=Level.CRITICAL)
        _end_wedged(hedger, lines)

    looking = LoopWatch(
        say=lambda text, level: lines.write("wedged", "", text, time.time_ns(), level=level),
        tell=lambda text, level: heard((Note("wedged", level, None, text, {}),), hedger.clock.now_ns()),
        end=wedged,
    )
    async with hedger, looking:
        watch.hedger = hedger
        _on_hang_up(stop, reload)
        say("start", f"account {hedger.account}, state {hedger.folder}, epoch {hedger.epoch}")
        async with (
            alerts.delivering(hedger.clock.now_ns),
            manager.informed(hedger),
            heartbeat.beating() if heartbeat is not None else contextlib.nullcontext(),
            served(f"{hedger.venue}-{hedger.account}", Words(hedger, alerts, heartbeat).answer),
            _page(plan, watch, lines.mask, say),
        ):
            truth = await _through(plan, hedger, endpoints, stop, say)
    if refused:
        said = refused[0].data
        raise AuthenticationError(401, int(str(said["error_code"])), f"{said['message']} {KEY_REMEDY}")
    say("stop", _last_words(hedger))
    return await asyncio.to_thread(_summary, hedger, truth, stop.is_set())


def _heartbeat(
    plan: Plan, hedger: Hedger, mask: Mask, tell: Callable[[str, str, Level], None], counts: dict[str, int]
) -> Heartbeat | None:
    """Return the heartbeat, where one is configured."""
    table = plan.config.settings.heartbeat
    url = address_of(plan.config, plan.env)
    if table is None or url is None:
        return None
    mask.take(url)
    return Heartbeat(url, table.every / 1_000, lambda: doubts(hedger), tell, counts)


def _end_wedged(hedger: Hedger, lines: Lines) -> None:
    """End the process from beside its loop: note that it was our own fault and let the last lines out, if they can."""

    def note() -> None:
        with contextlib.suppress(StoreError):
            hedger.ledger.end_epoch(f"{BUG}the loop was wedged")

    for work in (note, lines.close):
        last = threading.Thread(target=work, daemon=True)
        last.start()
        last.join(LAST_WORDS_S)
    os._exit(FAILURE)


@contextlib.asynccontextmanager
async def _page(plan: Plan, watch: Watch, mask: Mask, say: Say) -> AsyncIterator[None]:
    """Serve the page, where it is wanted, and keep its samples, while the block runs."""
    if not plan.page:
        yield
        return
    table = plan.config.settings.web or WebTable()
    host, _, port = table.listen.rpartition(":")
    # An address that nobody asked for is no reason not to run: where it is taken, another is told.
    unasked = plan.port is None and plan.config.settings.web is None
    chosen = plan.port if plan.port is not None else int(port)
    secret = load_secret("web.token", table.token, plan.env) if table.token is not None else None
    if secret is not None:
        mask.take(secret)
    token = secret.reveal() if secret is not None else None
    async with page_served(watch, host=host, port=chosen, token=token, or_any=unasked) as address:
        say("page", f"{address}{'' if token else ' (read-only: [web] has no token)'}")
        sampling = asyncio.create_task(_sample(watch))
        try:
            yield
        finally:
            sampling.cancel()


async def _sample(watch: Watch) -> None:
    while watch.hedger is not None:
        watch.sample(watch.hedger.clock.now_ns())
        await asyncio.sleep(1.0)


def _stop_by_signal(stop: asyncio.Event) -> None:
    """Stop in order on SIGINT, SIGTERM and a hang-up; SIGINT during a stop ends the process as it stands.

    Nothing is lost by that: the ledger knows what left, and the next start settles it.
    """
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, stop.set)


def _on_hang_up(stop: asyncio.Event, reload: Callable[[], None]) -> None:
    """Stop when the terminal we run in closes; without one, read the configuration again as a service does."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup means what it says
        return
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        act: Callable[[], None] = stop.set
    except OSError:
        act = reload
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, act)


async def _through(
    plan: Plan, hedger: Hedger, endpoints: Endpoints, stop: asyncio.Event, say: Say
) -> dict[str, Any] | None:
    """Play what was asked to the end or to a stop, and return what the exchange says then, where it tells."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    if plan.story or plan.trades:
        await _live(hedger, stop)
    if plan.story:
        assert plan.duration_s is not None, "a story has a length"
        left = plan.duration_s - (loop.time() - started)
        await _until(stop, demo.tell(hedger, endpoints.rest, max(left, 1.0), say))
    elif plan.trades:
        await _until(stop, demo.play(hedger, plan.trades, say))
    if plan.duration_s is None:
        await stop.wait()
    else:
        left = plan.duration_s - (loop.time() - started)
        await _until(stop, asyncio.sleep(max(0.0, left)))
        await _until(stop, _settle(hedger))
    if stop.is_set():
        await hedger.wind_down("a stop was asked")
    return await _agree(hedger, endpoints, 0.0 if stop.is_set() else AGREE_S) if hedger.venue == "sim" else None


def _last_words(hedger: Hedger) -> str:
    """Say what a stop leaves behind: positions that nobody watches, the exposure, and orders nobody settled."""
    summary = hedger.summary()
    held = ", ".join(f"{symbol} {quantity}" for symbol, quantity in summary["positions"].items()) or "no position"
    rests = ", ".join(summary["unresolved"]["resting"])
    doubt = ", ".join(summary["unresolved"]["in_doubt"])
    said = [
        f"cancelled, its end not confirmed: {rests}" if rests else "no order of ours rests at the venue",
        f"{held} stays open and unwatched",
        f"net exposure {summary['net_delta_usd']} USD",
    ]
    if doubt:
        said.append(f"in doubt, settled at the next start: {doubt}")
    return f"stopped: {'; '.join(said)}"


def _summary(hedger: Hedger, truth: dict[str, Any] | None, stopped: bool) -> dict[str, Any]:
    """Judge the run and write its report; ``stopped`` is true where a signal ended it and nothing but that is wrong."""
    summary = hedger.summary()
    reasons = judge(summary, truth, _replayed(hedger))
    ids = summary.pop("client_order_ids")
    summary.pop("all_client_order_ids")
    posts = truth["wire_posts"] if truth is not None else {}
    return {
        **{"pass": not reasons, "reason": "; ".join(reasons)},
        "stopped": stopped and reasons == unfinished(summary, truth),
        **summary,
        **{"orders_in_ledger": len(ids), "duplicate_client_ids": sum(count > 1 for count in posts.values())},
        **{"report": _report(hedger), "faults": truth["faults"] if truth is not None else {}},
    }


def _report(hedger: Hedger) -> str | None:
    """Write the report beside the recordings; None where its library is absent or there is nothing to show."""
    try:
        page, _ = write_report(hedger.journal.paths, hedger.record_dir)
        return str(page)
    except (ConfigError, JournalCorrupt, StoreError):
        return None


async def _until(stop: asyncio.Event, work: Any) -> None:
    """Do something, but no longer than until a stop is asked."""
    doing = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
    finally:
        for task in (doing, stopping):
            task.cancel()


async def _live(hedger: Hedger, stop: asyncio.Event) -> None:
    ends = asyncio.get_running_loop().time() + LIVE_WAIT_S
    while hedger.pump.session.state.status != "LIVE" and not stop.is_set():
        if asyncio.get_running_loop().time() > ends:
            raise ConfigError(f"not live after {LIVE_WAIT_S:.0f} s: {hedger.pump.session.state.reason}")
        await asyncio.sleep(0.02)


async def _settle(hedger: Hedger) -> None:
    """Let what is under way come to its end: nothing open, live, and in band or blocked."""
    ends = asyncio.get_running_loop().time() + SETTLE_S
    while asyncio.get_running_loop().time() < ends:
        status = hedger.status()
        busy = any(hedge["open_orders"] or hedge["in_doubt"] for hedge in status["hedges"])
        level = all(hedge["in_band"] for hedge in status["hedges"]) or bool(status["blocked"])
        if status["book_status"] == "LIVE" and level and not busy:
            return
        await asyncio.sleep(0.05)


async def _agree(hedger: Hedger, endpoints: Endpoints, patience_s: float) -> dict[str, Any] | None:
    """Return the exchange's truth once it agrees with the book, or its last word when patience ends."""
    ends = asyncio.get_running_loop().time() + patience_s
    async with aiohttp.ClientSession(trust_env=False) as session:
        while True:
            try:
                async with session.get(f"{endpoints.rest}/__truth") as response:
                    truth: dict[str, Any] = await response.json()
            except aiohttp.ClientError:
                return None
            if not judge(hedger.summary(), truth, None) or asyncio.get_running_loop().time() > ends:
                return truth
            await asyncio.sleep(0.2)


def _replayed(hedger: Hedger) -> Any:
    try:
        return replay_files(hedger.journal.paths)
    except (JournalCorrupt, StoreError) as error:
        return str(error)


def startup_lines(plan: Plan, lines: Lines) -> None:
    """Say what is about to run."""
    sim = plan.config.settings.sim
    text = f"venue={plan.config.settings.venue}"
    if plan.config.settings.venue == "sim" and plan.config.settings.endpoints is None:
        text += f" tape={sim.tape} speed={sim.speed} seed={sim.seed}"
    lines.write("streamhedge", "", text, time.time_ns(), level=Level.INFO)
