"""Who may talk to the page: our own names only, our own page only, and a token for whatever acts.

A page that somebody else serves can make a browser send requests here. It cannot forge Host, Origin or Sec-Fetch-Site,
so each of them must fit on every request; there are no cookies, so a browser carries nothing for it (FAULTS X2).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NAMES = ("127.0.0.1", "localhost", "[::1]")
OWN_SITE = ("", "same-origin", "none")
"""What Sec-Fetch-Site may say: nothing (no browser), our page, or a person who typed the address."""
METHODS = ("GET", "HEAD", "POST")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """The rules of one listening port. ``token`` None means that nothing can act."""

    def __init__(self, port: int, token: str | None) -> None:
        self.hosts = frozenset(f"{name}:{port}" for name in NAMES)
        self.origins = frozenset(f"http://{host}" for host in self.hosts)
        self._token = token
        self.acts = token is not None
        self.refused = 0

    def why_not(self, request: web.Request) -> tuple[int, str] | None:
        """Return (status, reason) of a request that is refused, None of one that may pass.

        Args:
            request: Nothing of its body is read.
        """
        if request.method not in METHODS:
            return 405, "GET, HEAD and POST only"
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return 421, "this page answers to its own loopback names only; reach it from elsewhere through ssh -L"
        for origin in request.headers.getall("Origin", []):
            if origin not in self.origins:
                return 403, "another page asks: refused"
        if request.headers.get("Sec-Fetch-Site", "") not in OWN_SITE:
            return 403, "another site asks: refused"
        if "Upgrade" in request.headers:
            return 403, "there is nothing to upgrade to"
        if request.method == "POST":
            if request.content_type != "application/json":
                return 415, "send application/json"
            return self._without_token(request)
        # What the page shows is for whoever sits at this machine; the raw inputs are the account's.
        return self._without_token(request) if request.path == "/follow" else None

    def _without_token(self, request: web.Request) -> tuple[int, str] | None:
        if self._token is None:
            return 403, "this page is read-only: give [web] a token to act from it"
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not hmac.compare_digest(given.encode(), self._token.encode()):
            return 401, "wrong or missing token"
        return None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what may not pass; put the page's own headers on what does, errors included."""
        refusal = self.why_not(request)
        if refusal is not None:
            self.refused += 1
            status, reason = refusal
            return web.json_response({"error": reason}, status=status, headers=HEADERS)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return web.json_response({"error": error.reason}, status=error.status, headers=HEADERS)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response
