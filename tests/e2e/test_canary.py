"""Secrets that are known to the test, a day in the life of a hedger, and every byte that it wrote anywhere.

The day has trades, reconnects, an expired listen key, a venue that repeats our request in its refusal, a wrong secret, a
crash by a planted fault, a kill, and every command, page and alert that shows something.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import aiohttp
import pytest
import zstandard
from aiohttp import web

from tests.e2e.proxy import Relay, relay
from tests.support.processes import Account, Program, Venue, exchange, room, until
from tests.support.webhook import OWN, webhook

pytestmark = pytest.mark.slow
KEY = "canaryKEY0a1b2c3d4e5f60718293a4b5c6d7e8f9canaryKEY00000000000000"
SECRET = "canarySECRETf9e8d7c6b5a493827160f5e4d3c2b1a0canarySECRET00000000"
WRONG = "canaryWRONG00112233445566778899aabbccddeeffcanaryWRONG0000000000"
TOKEN = "canary-token-of-the-page-4711"
SHOWN_LEAST = {"KEY": 1, "SECRET": 1, "token": 1, "switch": 1, "signature": 20, "listen key": 2}
CRASHES = """
import os
from streamhedge.venue import http
honest = http.RestClient.send
async def send(self, request, **said):
    if request.label == "listen_key":
        raise RuntimeError(f"planted {self._api_key.reveal()} {os.environ['E2E_SECRET']} {self._base}?{self._query(request)}&signature=" + "ab" * 32)
    return await honest(self, request, **said)
http.RestClient.send = send
from streamhedge.ops.cli import main
main()
"""


class Echoing(Relay):
    """A venue that repeats the whole of an order's request in its refusal, as bad proxies do."""

    echo = False

    async def _call(self, request: web.Request, body: bytes) -> web.Response:
        if self.echo and (request.method, request.path) == ("POST", "/fapi/v1/order"):
            self.echo = False
            key = request.headers["X-MBX-APIKEY"]
            said = f"rejected {request.raw_path} of {key} signed with {SECRET}"
            return web.json_response({"code": -2010, "msg": said}, status=400)
        return await super()._call(request, body)


async def read_page(program: Program) -> list[bytes]:
    """Return what the page answers, everywhere."""
    found: list[bytes] = []
    address = re.search(r"http://127\.0\.0\.1:\d+", program.err[program.err.index('"code":"page"') :])
    assert address is not None
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(address[0], trust_env=False) as session:
        for path in (
            "/",
            "/status.json",
            "/history.json",
            "/metrics",
            "/livez",
            "/readyz",
            *(f"/explain/{n}" for n in (1, 40, 60)),
        ):
            async with session.get(path) as answer:
                found.append(repr(answer.headers).encode() + await answer.read())
        for path in ("/feed", "/follow"):
            async with session.get(path, headers=bearer) as answer:
                found.append(await answer.content.readany())
                found.append(await answer.content.readany())
        for headers in (bearer, {"Authorization": f"Bearer {WRONG}"}):
            async with session.post("/act/reduce", headers=headers, json={"reason": f"pasted {SECRET}"}) as answer:
                found.append(await answer.read())
        async with session.post("/act/resume", headers=bearer, json={"reason": "drill"}) as answer:
            found.append(await answer.read())
    return found


async def day(account: Account, wire: Echoing, venue: Venue, outside: list[bytes]) -> None:
    """Let everything happen that writes something."""
    await account.command("config", "show")
    for words in (("doctor", "--offline"), ("doctor", "--json"), ("alerts", "test")):
        await account.command(*words)
    honest = account.env["E2E_SECRET"]
    account.env["E2E_SECRET"] = WRONG
    async with account.run("--json") as program:
        assert (await program.ended()).code == 4
    account.env["E2E_SECRET"] = honest
    async with account.run("--json", "-v") as program:
        await until("hedged", account.hedged)
        limits = Path(f"/proc/{program.pid}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0", limits), limits
        await account.trade("buy", "10000", "--reason", f"oops {KEY}", name="first")
        wire.echo = True
        await account.trade("buy", "20000", name="echoed")
        await until("the refusal is recorded", lambda: _in(account, b"of \xe2\x80\xa6 signed with"))
        await until("hedged after it", account.hedged)
        for fault in ("S3=private", "U2=event"):
            await venue.arm(fault)
            await asyncio.sleep(1.5)
            await until(f"hedged after {fault}", account.hedged)
        outside += await read_page(program)
        for words in (("status", "--json"), ("book",), ("orders", "--format", "csv"), ("journal",), ("funding",)):
            await account.command(*words)
        await account.command("explain", "40")
        await account.command("ledger", "export", str(account.folder / "export"))
        await account.command("ledger", "backup", str(account.folder / "backup.sqlite"))
        await account.command("kill", "--reason", "drill")
        await program.ended()
    recordings = [str(path) for path in account.recordings]
    for words in (("replay", *recordings), ("report", *recordings, "--out", str(account.folder / "report"))):
        await account.command(*words)
    planted = (sys.executable, "-c", CRASHES)
    async with account.run("--json", "-v", command=planted) as program:
        ended = await program.ended()
        assert ended.code not in (0, 4) and "planted … … http" in ended.err and "Traceback" in ended.err, ended


async def _in(account: Account, words: bytes) -> bool:
    return any(words in path.read_bytes() for path in account.recordings if path.suffix == ".rec")


def secrets_of(wire: Relay) -> dict[str, set[str]]:
    """Return what nothing may show, by kind; what was really on the wire."""
    heard = "\n".join(wire.heard)
    return {
        **{"KEY": {KEY}, "SECRET": {SECRET, WRONG}, "token": {TOKEN}, "switch": {OWN}},
        "signature": set(re.findall(r'signature(?:=|": ?")([0-9a-f]{64})', heard)),
        "listen key": set(re.findall(r'"listenKey": ?"(\w+)"', heard)) | set(re.findall(r"listenKey=(\w+)", heard)),
    }


def written(folder: Path, but: Path) -> dict[str, bytes]:
    """Return every byte below a folder, packed recordings unpacked too."""
    found = {}
    for path in (Path(at) / name for at, _, names in os.walk(folder) for name in names):
        if path == but or not path.is_file():
            continue
        raw = path.read_bytes()
        found[str(path.relative_to(folder))] = raw
        if path.suffix == ".zst":
            found[f"{path.name} unpacked"] = zstandard.ZstdDecompressor().stream_reader(raw).read()
    return found


@pytest.mark.fault("X3")
async def test_no_secret_is_written_anywhere() -> None:
    with room() as folder:
        words = ("--tape", "calm", "--api-key", KEY, "--api-secret", SECRET)
        async with exchange(folder, *words) as venue, relay(venue, Echoing) as wire, webhook() as hook:
            assert isinstance(wire, Echoing)
            more = (
                '[web]\nlisten = "127.0.0.1:0"\ntoken = { env = "TOKEN" }\n[record]\ndir = "RECORDINGS"\nrotate = "3s"\n'
                '[[alert]]\nurl = { env = "HOOK" }\nmin = "info"\n'
                '[heartbeat]\nurl = { env = "SWITCH" }\nevery = "1s"\n'
            ).replace("RECORDINGS", str(folder / "recordings"))
            env = {"TOKEN": TOKEN, "HOOK": hook.url, "SWITCH": hook.switch}
            account = Account(folder, venue, endpoints=wire.endpoints, more=more, env=env)
            account.state = folder
            outside: list[bytes] = []
            await day(account, wire, venue, outside)
            places = written(folder, venue.program._out)
            places |= {f"page {n}": raw for n, raw in enumerate(outside)}
            places |= {f"alert {n}": raw for n, raw in enumerate(hook.raw)}
            kinds = secrets_of(wire)
    assert hook.beats > 0, "the switch's address was used"
    assert {kind: len(values) for kind, values in kinds.items() if len(values) < SHOWN_LEAST[kind]} == {}
    for wanted in (".rec", " unpacked", "ledger.sqlite", ".html", ".csv", ".err", ".out", "page ", "alert "):
        assert any(wanted in place for place in places), f"nothing was looked at like {wanted}"
    hits = [
        f"{kind} in {place}: …{raw[max(0, at - 80) : at + 20]!r}"
        for place, raw in places.items()
        for kind, values in kinds.items()
        for value in values
        if (at := raw.find(value.encode())) >= 0
    ]
    assert hits == []
