"""One REST client: each request is sent once. No proxies, no redirects, no retries, bounded answers.

``sent`` False means that no connection came about, so not one byte of the request left; anything else is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from streamhedge.errors import ConfigError
from streamhedge.settings.secrets import Secret
from streamhedge.wire.requests import RestRequest
from streamhedge.wire.signing import Params, Signer, signed_query

BODY_MOST = 16 * 1024 * 1024
CONNECTIONS_MOST = 64
"""Far more than questions are ever under way: an order waits for none of them (FAULTS C6)."""
WATERMARK = "X-Streamhedge-Simulated"
"""What the simulated exchange puts into each answer."""


class TooLate(Exception):
    """The request was too old to be written once a connection was there."""


class Answer:
    """One answer: ``status`` None when there was none."""

    __slots__ = ("body", "error", "headers", "sent", "status")

    def __init__(
        self, status: int | None, headers: dict[str, str], body: bytes, *, error: str = "", sent: bool = True
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.error = error
        self.sent = sent


def _last_look() -> aiohttp.TraceConfig:
    """Return the hook that runs right before the first byte, whatever a connection took to be there."""

    async def look(session: aiohttp.ClientSession, context: Any, params: object) -> None:
        if context.trace_request_ctx():
            raise TooLate

    hooks = aiohttp.TraceConfig()
    hooks.on_request_headers_sent.append(look)
    return hooks


class RestClient:
    """REST against one base address with one key."""

    def __init__(self, base: str, *, api_key: Secret, signer: Signer, timeout_s: float, simulated: bool = True) -> None:
        """Name the far end; ``simulated`` False refuses whatever a simulated exchange answers."""
        self._simulated = simulated
        self._base = base
        self._api_key = api_key
        self._signer = signer
        self.offset_ms = 0
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, 5.0))
        self._session = self._new_session()

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=self._timeout,
            trust_env=False,
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MOST, ttl_dns_cache=60, keepalive_timeout=30),
            headers={"User-Agent": "streamhedge"},
            trace_configs=[_last_look()],
        )

    async def send(self, request: RestRequest, *, too_late: Callable[[], bool] = lambda: False) -> Answer:
        """Send a request once and return what came of it. Raises nothing for what the network does.

        Args:
            request: What to send.
            too_late: Asked once more when a connection is there, right before the first byte: a connection may take
                seconds, and the machine may have slept meanwhile (FAULTS C3, C4).

        Raises:
            ConfigError: a simulated exchange answers where the venue was meant.
        """
        url = self._base + request.path
        query = self._query(request)
        headers = {"X-MBX-APIKEY": self._api_key.reveal()}
        try:
            async with self._session.request(
                request.method,
                # Signed as it stands: nobody may quote it anew.
                URL(url + (f"?{query}" if query else ""), encoded=True),
                headers=headers,
                allow_redirects=False,
                trace_request_ctx=too_late,
            ) as response:
                if not self._simulated and WATERMARK in response.headers:
                    raise ConfigError(f"{self._base} is a simulated exchange, not the venue: nothing of it is believed")
                body = await self._read(response)
                kept = {
                    name.lower(): value
                    for name, value in response.headers.items()
                    if name.lower() == "retry-after" or name.lower().startswith("x-mbx-")
                }
                if body is None:
                    return Answer(None, kept, b"", error=f"the answer is larger than {BODY_MOST} bytes")
                return Answer(response.status, kept, body)
        except TooLate:
            return Answer(None, {}, b"", error="its deadline passed before its first byte", sent=False)
        except aiohttp.ClientConnectorError as error:
            return Answer(None, {}, b"", error=f"no connection: {error.os_error.strerror or error}", sent=False)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Answer(None, {}, b"", error=f"{type(error).__name__}: {str(error).partition('?')[0]}")

    @staticmethod
    async def _read(response: aiohttp.ClientResponse) -> bytes | None:
        parts, total = [], 0
        async for part in response.content.iter_chunked(65_536):
            parts.append(part)
            total += len(part)
            if total > BODY_MOST:
                return None
        return b"".join(parts)

    def _query(self, request: RestRequest) -> str:
        if not request.signed:
            return urlencode(request.params)
        params: Params = [*request.params, ("timestamp", str(self.venue_ms()))]
        return signed_query(params, self._signer)

    def venue_ms(self) -> int:
        """Return the venue's clock as we know it, milliseconds."""
        return time.time_ns() // 1_000_000 + self.offset_ms

    async def renew(self) -> None:
        """Close the connections, used and kept, and go on with new ones; a request under way on one has no answer."""
        before, self._session = self._session, self._new_session()
        await before.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
