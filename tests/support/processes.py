"""Real processes for end-to-end tests: the program's own commands, its exchange, and a hedger between them.

Everything lives below one folder, listens on loopback alone and ends with the block that started it. Ceilings are
generous: they bound a hang, they never decide a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.shared import REPOSITORY

CEILING_S = 60.0
"""How long a test waits for what should take a second or ten."""
POLL_S = 0.05
DEMO = REPOSITORY / "streamhedge" / "settings" / "demo.toml"


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """Yield a short private folder (a unix socket's path has 107 bytes), removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="she2e-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Ended:
    """What a process left behind."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """Return the last line of stdout as an object."""
        lines = self.out.strip().splitlines()
        assert lines, f"nothing on stdout; exit {self.code}; stderr ends with:\n{self.err[-3000:]}"
        found = json.loads(lines[-1])
        assert isinstance(found, dict), lines[-1]
        return found


class Program:
    """A running command with its two outputs in files."""

    def __init__(self, process: asyncio.subprocess.Process, out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    @property
    def out(self) -> str:
        """What stands on stdout so far."""
        return self._out.read_text("utf-8", "replace")

    @property
    def err(self) -> str:
        """What stands on stderr so far."""
        return self._err.read_text("utf-8", "replace")

    @property
    def running(self) -> bool:
        """True until the process has ended."""
        return self.process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def ended(self, ceiling_s: float = CEILING_S) -> Ended:
        """Wait for the end."""
        try:
            code = await asyncio.wait_for(self.process.wait(), ceiling_s)
        except TimeoutError:
            raise AssertionError(f"still running after {ceiling_s} s; stderr ends with:\n{self.err[-3000:]}") from None
        return Ended(code, self.out, self.err)

    async def killed(self) -> Ended:
        """End it as a crash does."""
        self.send(signal.SIGKILL)
        return await self.ended()

    async def stopped(self) -> Ended:
        """End it as a supervisor does."""
        self.send(signal.SIGTERM)
        return await self.ended()


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which locks, sockets and state stay below the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMHEDGE__", "XDG_"))}
    own = {"STREAMHEDGE_LOCK_DIR": str(folder), "XDG_STATE_HOME": str(folder / "home"), "PYTHONUNBUFFERED": "1"}
    return {**kept, **own, **(more or {})}


async def started(
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = (sys.executable, "-m", "streamhedge"),
    before: Callable[[], None] | None = None,
) -> Program:
    """Start `streamhedge ARGUMENTS`; the caller ends it."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    number = len(list(logs.glob("*.out")))
    out, err = logs / f"{number:03d}.out", logs / f"{number:03d}.err"

    def prepared() -> None:
        # A suite that a shell put in the background ignores SIGINT, and its children would.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup says to ignore it
        if before is not None:
            before()

    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            cwd=REPOSITORY,
            env=environment(folder, env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
            preexec_fn=prepared,
            start_new_session=True,
        )
    return Program(process, out, err)


@contextlib.asynccontextmanager
async def running(folder: Path, *arguments: str, **options: Any) -> AsyncIterator[Program]:
    """Start a command and end it with the block."""
    program = await started(folder, *arguments, **options)
    try:
        yield program
    finally:
        if program.running:
            await program.killed()


async def command(folder: Path, *arguments: str, ceiling_s: float = CEILING_S, **options: Any) -> Ended:
    """Run a command to its end."""
    async with running(folder, *arguments, **options) as program:
        return await program.ended(ceiling_s)


async def until(what: str, found: Callable[[], Awaitable[Any]], *, ceiling_s: float = CEILING_S) -> Any:
    """Ask again until the answer is true, and return it."""
    ends = asyncio.get_running_loop().time() + ceiling_s
    while True:
        answer = await found()
        if answer:
            return answer
        assert asyncio.get_running_loop().time() < ends, f"not within {ceiling_s} s: {what}"
        await asyncio.sleep(POLL_S)


# ---------------------------------------------------------------- the exchange


@dataclass(slots=True)
class Venue:
    """A served exchange: its addresses and its own doors."""

    ready: dict[str, Any]
    program: Program

    @property
    def rest(self) -> str:
        """Base address of REST and of the exchange's own doors."""
        return str(self.ready["rest"])

    @property
    def key(self) -> str:
        """The account's API key."""
        return str(self.ready["api_key"])

    @property
    def secret(self) -> str:
        """The account's API secret."""
        return str(self.ready["api_secret"])

    async def truth(self) -> dict[str, Any]:
        """Return what is really so."""
        return await self._door("GET", "/__truth", None)

    async def arm(self, faults: str) -> None:
        """Arm faults now."""
        await self._door("POST", "/__fault", {"fault": faults})

    async def clear(self, *names: str) -> None:
        """Take armed faults back: what nobody met yet must not meet somebody later."""
        for name in names:
            await self._door("POST", "/__fault", {"clear": name})

    async def external(self, quantity: str) -> None:
        """Trade as somebody else does."""
        await self._door("POST", "/__external", {"quantity": quantity})

    async def spot(self, **said: Any) -> dict[str, Any]:
        """Let something happen to the spot account, and return what is really so."""
        return await self._door("POST", "/__spot", said)

    async def _door(self, method: str, path: str, said: dict[str, Any] | None) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.request(method, f"{self.rest}{path}", json=said) as answer,
        ):
            found = await answer.json()
            assert answer.status == 200, found
            assert isinstance(found, dict), found
            return found


@contextlib.asynccontextmanager
async def exchange(folder: Path, *arguments: str) -> AsyncIterator[Venue]:
    """Serve `streamhedge sim` for the block."""
    async with running(folder, "sim", *arguments) as program:

        async def line() -> str:
            assert program.running, f"the exchange ended: {program.err}"
            return program.out if program.out.endswith("\n") else ""

        yield Venue(json.loads(await until("the exchange's ready line", line)), program)


# ---------------------------------------------------------------- the hedger


@dataclass(slots=True)
class Account:
    """One hedger's configuration against a venue: its files, its keys, its control socket."""

    folder: Path
    venue: Venue
    endpoints: Mapping[str, str] | None = None
    """Where it connects, when not straight to the venue."""
    sets: Sequence[str] = ()
    state: Path | None = None
    more: str = ""
    secret: str | None = None
    key: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    program: Program | None = None
    """The hedger that runs now."""

    def __post_init__(self) -> None:
        addresses = self.endpoints or {name: self.venue.ready[name] for name in ("rest", "stream", "ws_api")}
        rows = "\n".join(f'{name} = "{address}"' for name, address in addresses.items())
        keys = 'api_key = { env = "E2E_KEY" }\napi_secret = { env = "E2E_SECRET" }'
        self.base.write_bytes(DEMO.read_bytes())
        self.base.chmod(0o644)  # whatever umask the checkout was made under
        self.config.write_text(f'venue = "sim"\n[endpoints]\n{rows}\n[keys]\n{keys}\n{self.more}')
        self.config.chmod(0o644)
        self.env = {"E2E_KEY": self.key or self.venue.key, "E2E_SECRET": self.secret or self.venue.secret, **self.env}

    @property
    def base(self) -> Path:
        """The packaged demo.toml, as a file that only we may write."""
        return self.folder / "demo.toml"

    @property
    def config(self) -> Path:
        """The configuration beside demo.toml: where and with which keys."""
        return self.folder / "account.toml"

    @property
    def state_dir(self) -> Path:
        """Where ledger and recordings stand."""
        return self.state or self.folder / "state"

    @property
    def recordings(self) -> list[Path]:
        """Every segment of every run, oldest first."""
        return sorted([*self.state_dir.rglob("*.rec"), *self.state_dir.rglob("*.rec.zst")])

    @property
    def name(self) -> str:
        """What the account is called: venue and fingerprint of its key."""
        return f"sim-{hashlib.sha256(self.env['E2E_KEY'].encode()).hexdigest()[:12]}"

    @property
    def book(self) -> Path:
        """Where the ledger stands."""
        return self.state_dir / self.name / "ledger.sqlite"

    def place(self, kind: str) -> Path:
        """Return where the control socket (``sock``) or the lock (``lock``) of this account stands."""
        return self.folder / f"streamhedge-{os.getuid()}" / f"{self.name}.{kind}"

    def words(self, *arguments: str) -> list[str]:
        """Return a command line that means this account."""
        sets = [word for one in self.sets for word in ("--set", one)]
        base = ["-c", str(self.base), "-c", str(self.config), *sets, "--state-dir", str(self.state_dir)]
        return [arguments[0], *base, *arguments[1:]]

    @contextlib.asynccontextmanager
    async def run(self, *arguments: str, **options: Any) -> AsyncIterator[Program]:
        """Run the hedger for a block."""
        async with running(self.folder, *self.words("run", *arguments), env=self.env, **options) as program:
            self.program = program
            try:
                yield program
            finally:
                self.program = None

    async def command(self, *arguments: str, **options: Any) -> Ended:
        """Run another command that means this account."""
        return await command(self.folder, *self.words(*arguments), env=self.env, **options)

    async def trade(self, kind: str, amount: str, *more: str, name: str, **options: Any) -> Ended:
        """Book a float trade as a person does."""
        words = self.words("trade")[1:]
        return await command(
            *(self.folder, "trade", *words, kind, amount, "--id", name, "--json", *more), env=self.env, **options
        )

    async def ask(self, **request: Any) -> dict[str, Any] | None:
        """Say one line to the control socket; None when nobody answers. Cheaper than a process for each look."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.place("sock")), limit=1 << 22)
        except OSError:
            return None
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
        except OSError:
            return None
        finally:
            writer.close()
        return json.loads(line) if line.endswith(b"\n") else None

    async def status(self) -> dict[str, Any] | None:
        """Return `status` of the running hedger."""
        return await self.ask(verb="status")

    async def level(self) -> dict[str, Any] | None:
        """Return the status once nothing is open and every hedge is in band, or a reason is named; else None.

        A hedger that has ended fails the test at once, with its last words.
        """
        assert self.program is None or self.program.running, f"the hedger ended: {self.program.err[-3000:]}"
        found = await self.status()
        if found is None or found["book_status"] == "COLD":
            return None
        busy = any(hedge["open_orders"] or hedge["in_doubt"] for hedge in found["hedges"])
        level = all(hedge["in_band"] for hedge in found["hedges"]) or bool(found["blocked"])
        return found if level and not busy else None

    async def hedged(self) -> dict[str, Any] | None:
        """Return the status once the book is live, nothing is open, in band, and equal to the exchange; else None."""
        found = await self.level()
        if found is None or found["book_status"] != "LIVE" or not all(hedge["in_band"] for hedge in found["hedges"]):
            return None
        return found if await self.agrees(found) else None

    async def agrees(self, status: Mapping[str, Any]) -> bool:
        """True when the exchange holds what the status says."""
        return held(await self.venue.truth()) == {
            hedge["symbol"]: Decimal(hedge["position"]) for hedge in status["hedges"] if Decimal(hedge["position"]) != 0
        }


def held(truth: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the exchange's positions."""
    return {symbol: Decimal(quantity) for symbol, quantity in truth["positions"].items()}


def sent_twice(truth: Mapping[str, Any]) -> dict[str, int]:
    """Return the client order ids that reached the wire more than once."""
    return {name: count for name, count in truth["wire_posts"].items() if count > 1}
