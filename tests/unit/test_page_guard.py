"""Hostile browsers and neighbours at the page's door, byte by byte over a real socket: every one is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from streamhedge.errors import ConfigError
from streamhedge.ops.web.server import served
from streamhedge.ops.web.watch import Watch

TOKEN = "correct-horse"
GOOD = {"Host": "{host}", "Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


@dataclass(slots=True)
class Door:
    """The page of this test."""

    host: str

    async def say(self, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes and return status, headers and body."""
        name, _, port = self.host.partition(":")
        reader, writer = await asyncio.open_connection(name, int(port))
        try:
            writer.write(raw.replace(b"{host}", self.host.encode()).replace(b"{port}", port.encode()))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            first, *rows = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (row.partition(": ") for row in rows if row)}
            body = await asyncio.wait_for(reader.readexactly(int(headers.get("content-length", "0"))), 10)
            return int(first.split()[1]), headers, body
        finally:
            writer.close()

    async def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> int:
        """Send a request and return its status."""
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        lines += [f"Content-Length: {len(body)}"] if body else []
        status, _, _ = await self.say("\r\n".join([*lines, "", ""]).encode() + body)
        return status


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    async with served(Watch(), host="127.0.0.1", port=0, token=TOKEN) as address:
        yield Door(address.removeprefix("http://"))


HOSTILE: dict[str, tuple[str, str, dict[str, str]]] = {
    # DNS rebinding: the address is ours, the name is not
    "another name": ("GET", "/", {"Host": "evil.example"}),
    "another name with our port": ("GET", "/", {"Host": "evil.example:{port}"}),
    "our name as a part": ("GET", "/", {"Host": "localhost.evil.example:{port}"}),
    "our address as a part": ("GET", "/", {"Host": "127.0.0.1.evil.example:{port}"}),
    "a name that ends like ours": ("GET", "/", {"Host": "evil-localhost:{port}"}),
    "our name, another port": ("GET", "/", {"Host": "localhost:1"}),
    "our name without a port": ("GET", "/", {"Host": "localhost"}),
    "an address that is not loopback": ("GET", "/", {"Host": "0.0.0.0:{port}"}),
    "another loopback address": ("GET", "/", {"Host": "127.0.0.2:{port}"}),
    "a user before our name": ("GET", "/", {"Host": "evil@127.0.0.1:{port}"}),
    "an empty host": ("GET", "/", {"Host": ""}),
    "metrics through another name": ("GET", "/metrics", {"Host": "evil.example"}),
    "the feed through another name": ("GET", "/feed", {"Host": "evil.example"}),
    # another page in the same browser
    "another origin": ("GET", "/status.json", {"Host": "{host}", "Origin": "http://evil.example"}),
    "an opaque origin": ("GET", "/status.json", {"Host": "{host}", "Origin": "null"}),
    "our origin with another scheme": ("GET", "/status.json", {"Host": "{host}", "Origin": "https://{host}"}),
    "our name, another port's page": ("GET", "/status.json", {"Host": "{host}", "Origin": "http://127.0.0.1:1"}),
    "an origin that begins like ours": ("GET", "/", {"Host": "{host}", "Origin": "http://{host}.evil.example"}),
    "a script of another site": ("GET", "/status.json", {"Host": "{host}", "Sec-Fetch-Site": "cross-site"}),
    "a page of a neighbour": ("GET", "/feed", {"Host": "{host}", "Sec-Fetch-Site": "same-site"}),
    # cross-site WebSocket
    "a WebSocket": (
        "GET",
        "/feed",
        {
            **{"Host": "{host}", "Upgrade": "websocket", "Connection": "Upgrade"},
            **{"Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==", "Sec-WebSocket-Version": "13"},
        },
    ),
    "a WebSocket of another page": (
        "GET",
        "/",
        {"Host": "{host}", "Origin": "http://evil.example", "Upgrade": "websocket", "Connection": "Upgrade"},
    ),
    # acts
    "an act without a token": ("POST", "/act/halt", {"Host": "{host}", "Content-Type": "application/json"}),
    "an act with a wrong token": ("POST", "/act/halt", {**GOOD, "Authorization": "Bearer wrong"}),
    "an act with the token's start": ("POST", "/act/halt", {**GOOD, "Authorization": f"Bearer {TOKEN[:-1]}"}),
    "an act with an empty token": ("POST", "/act/halt", {**GOOD, "Authorization": "Bearer "}),
    "an act with a basic login": ("POST", "/act/halt", {**GOOD, "Authorization": f"Basic {TOKEN}"}),
    "an act with the token in a cookie": (
        "POST",
        "/act/halt",
        {"Host": "{host}", "Content-Type": "application/json", "Cookie": f"token={TOKEN}"},
    ),
    "an act with the token in the address": (
        "POST",
        f"/act/halt?token={TOKEN}",
        {"Host": "{host}", "Content-Type": "application/json"},
    ),
    "a form from another page": (
        "POST",
        "/act/halt",
        {**GOOD, "Content-Type": "application/x-www-form-urlencoded", "Origin": "http://evil.example"},
    ),
    "a form, even with the token": ("POST", "/act/halt", {**GOOD, "Content-Type": "text/plain"}),
    "an act of another origin with the token": ("POST", "/act/halt", {**GOOD, "Origin": "http://evil.example"}),
    "an act through another name with the token": ("POST", "/act/halt", {**GOOD, "Host": "evil.example:{port}"}),
    "a preflight": (
        "OPTIONS",
        "/act/halt",
        {"Host": "{host}", "Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
    ),
    "another method": ("PUT", "/act/halt", GOOD),
    "a deletion": ("DELETE", "/act/halt", GOOD),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.fault("X2")
async def test_a_hostile_request_is_refused(door: Door, name: str) -> None:
    method, path, headers = HOSTILE[name]
    body = b'{"reason":"x"}' if method == "POST" else b""
    assert await door.ask(method, path, headers, body) in (400, 401, 403, 405, 415, 421)


@pytest.mark.fault("X2")
async def test_two_hosts_and_no_host_are_refused(door: Door) -> None:
    for raw in (b"GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
        status, _, _ = await door.say(raw)
        assert status in (400, 421)


async def test_our_own_page_passes(door: Door) -> None:
    port = door.host.partition(":")[2]
    for headers in (
        {"Host": "{host}"},
        {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"},
        {"Host": f"LOCALHOST:{port}", "Sec-Fetch-Site": "none"},
        {"Host": f"[::1]:{port}", "Sec-Fetch-Site": "same-origin"},
    ):
        assert await door.ask("GET", "/", headers) == 200
    # It passes the door: there is no hedger behind it in this test.
    assert await door.ask("POST", "/act/halt", GOOD, b'{"reason":"x"}') == 404


async def test_every_answer_carries_the_policy_and_allows_nobody_else(door: Door) -> None:
    for raw in (
        b"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nHost: {host}\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /assets/..%2f..%2fserver.py HTTP/1.1\r\nHost: {host}\r\n\r\n",
    ):
        _, headers, _ = await door.say(raw)
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert not any(name.startswith("access-control-") or name == "set-cookie" for name in headers)


@pytest.mark.fault("X2")
async def test_a_page_without_a_token_cannot_act() -> None:
    async with served(Watch(), host="127.0.0.1", port=0, token=None) as address:
        door = Door(address.removeprefix("http://"))
        status, _, body = await door.say(
            b"POST /act/halt HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer \r\nContent-Length: 2\r\n\r\n{}"
        )
        assert status == 403 and "read-only" in json.loads(body)["error"]


async def test_a_taken_port_is_an_error_where_it_was_asked_for_and_another_where_it_was_not(door: Door) -> None:
    port = int(door.host.partition(":")[2])
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:"):
        async with served(Watch(), host="127.0.0.1", port=port, token=None):
            raise AssertionError("it listens twice")
    async with served(Watch(), host="127.0.0.1", port=port, token=None, or_any=True) as address:
        assert address != f"http://127.0.0.1:{port}"


async def test_a_flood_of_bytes_is_refused(door: Door) -> None:
    body = b'{"reason":"' + b"x" * 10_000 + b'"}'
    assert await door.ask("POST", "/act/halt", GOOD, body) in (404, 413)


@pytest.mark.parametrize(
    "path", ["/follow", "/%66ollow", "/follow?after=1", "/./follow", "//follow", "/FOLLOW", "/follow/"]
)
async def test_no_other_spelling_reads_the_inputs_without_the_token(door: Door, path: str) -> None:
    assert await door.ask("GET", path, {"Host": "{host}"}) in (400, 401, 404)


@pytest.mark.parametrize("scheme", [b"Bearer \xff\xfe\xfd", b"Bearer " + "töken".encode(), b"Bearer", b"\xff"])
async def test_a_token_of_any_bytes_is_refused_and_breaks_nothing(door: Door, scheme: bytes) -> None:
    raw = b"POST /act/halt HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nAuthorization: "
    status, headers, _ = await door.say(raw + scheme + b"\r\nContent-Length: 2\r\n\r\n{}")
    assert status in (400, 401)
    if status == 401:
        assert "content-security-policy" in headers


@pytest.mark.parametrize(
    ("first", "headers"),
    [
        (b"GET http://evil.example/status.json HTTP/1.1", b"Host: evil.example"),
        (b"GET http://{host}/status.json HTTP/1.1", b"Host: evil.example"),
        (b"CONNECT {host} HTTP/1.1", b"Host: {host}"),
        (b"TRACE / HTTP/1.1", b"Host: {host}"),
        (b"GET / HTTP/1.1", b"Host: {host}\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site"),
        (b"GET / HTTP/1.1", b"Host: {host}\r\nOrigin: http://{host}\r\nOrigin: http://evil.example"),
        (b"GET / HTTP/1.1", b"Host: {host}\r\nX-Forwarded-Host: {host}\r\nOrigin: http://evil.example"),
        (b"GET / HTTP/1.1", b"Host: evil.example\r\nX-Forwarded-Host: {host}"),
        (b"GET / HTTP/1.1", b"Host: {host}\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings"),
    ],
)
@pytest.mark.fault("X2")
async def test_requests_that_no_honest_browser_sends_are_refused(door: Door, first: bytes, headers: bytes) -> None:
    status, _, _ = await door.say(first + b"\r\n" + headers + b"\r\n\r\n")
    assert status in (400, 403, 405, 421), status


@pytest.mark.parametrize("token", ["", "short", "eleven char", "tök" * 8, "line\nbreaks in it"])
async def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused_unseen(token: str) -> None:
    with pytest.raises(ConfigError, match="at least 12 printable") as caught:
        async with served(Watch(), host="127.0.0.1", port=0, token=token):
            raise AssertionError("it is served")
    assert not token or token not in str(caught.value)
