"""Who may talk to the page: our own names only, our own page only, and a token for whatever acts.

A page that somebody else serves can make a browser send requests here. It cannot forge Host, Origin or Sec-Fetch-Site,
so each of them must fit on every request; there are no cookies, so a browser carries nothing for it (FAULTS X2).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web

from streamhedge.errors import ConfigError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NAMES = ("127.0.0.1", "localhost", "[::1]")
OWN_SITE = ("same-origin", "none")
"""What Sec-Fetch-Site may say, where it says something: our page, or a person who typed the address."""
METHODS = ("GET", "HEAD", "POST")
SECRET_ROUTES = ("/follow",)
"""What a token is needed to read: the raw inputs are the account's. By route, so that no other spelling gets there."""
TOKEN_LEAST = 12
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
        """Guard a port.

        Raises:
            ConfigError: the token could be guessed, or no header can carry it; it is not shown.
        """
        if token is not None and not (len(token) >= TOKEN_LEAST and token.isascii() and token.isprintable()):
            raise ConfigError(
                f"web.token: at least {TOKEN_LEAST} printable ASCII characters, e.g. of `openssl rand -hex 16`"
            )
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
        if any(site not in OWN_SITE for site in request.headers.getall("Sec-Fetch-Site", [])):
            return 403, "another site asks: refused"
        if "Upgrade" in request.headers:
            return 403, "there is nothing to upgrade to"
        if request.method == "POST":
            if request.content_type != "application/json":
                return 415, "send application/json"
            return self._without_token(request)
        resource = request.match_info.route.resource
        secret = resource is not None and resource.canonical in SECRET_ROUTES
        return self._without_token(request) if secret else None

    def _without_token(self, request: web.Request) -> tuple[int, str] | None:
        if self._token is None:
            return 403, "this page is read-only: give [web] a token to act from it"
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        raw = given.encode("utf-8", "surrogateescape")  # a header holds any bytes
        if scheme != "Bearer" or not hmac.compare_digest(raw, self._token.encode()):
            return 401, "wrong or missing token"
        return None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what may not pass; put the page's own headers on what does, errors included."""
        refusal = self.why_not(request)
        if refusal is not None:
            self.refused += 1
            return refused(*refusal)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return refused(error.status, error.reason)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response


def refused(status: int, reason: str) -> web.Response:
    """Return a refusal. The reason stands in the body alone: a status line would take no text of somebody else's."""
    return web.json_response({"error": reason}, status=status, headers=HEADERS)
