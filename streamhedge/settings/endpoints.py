"""Hosts and routed paths, as data (BINANCE_USDM §1.1, §1.2; read 2026-11)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from streamhedge.domain.values import Symbol, record
from streamhedge.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SPOT = "spot_ws_api"
HOSTS = {
    "live": ("fapi.binance.com", "fstream.binance.com", "ws-fapi.binance.com"),
    "demo": (
        *("demo-fapi.binance.com", "demo-fstream.binance.com"),
        *("testnet.binancefuture.com", "fstream.binancefuture.com"),
    ),
}
SPOT_HOSTS = {
    "live": ("ws-api.binance.com",),
    "demo": ("demo-ws-api.binance.com", "ws-api.testnet.binance.vision"),
}
SCHEMES = {"rest": ("http", "https"), "stream": ("ws", "wss"), "ws_api": ("ws", "wss"), SPOT: ("ws", "wss")}
"""Per address: in clear, for loopback; encrypted, for the venue."""


@record
class Endpoints:
    """Base addresses: REST, streams (without a path), WebSocket API (whole), the spot one (whole; empty: none)."""

    rest: str
    stream: str
    ws_api: str
    spot_ws_api: str = ""


LIVE = Endpoints(
    rest="https://fapi.binance.com",
    stream="wss://fstream.binance.com",
    ws_api="wss://ws-fapi.binance.com/ws-fapi/v1",
    spot_ws_api="wss://ws-api.binance.com:443/ws-api/v3",
)
DEMO = Endpoints(
    rest="https://demo-fapi.binance.com",
    stream="wss://demo-fstream.binance.com",
    ws_api="wss://testnet.binancefuture.com/ws-fapi/v1",
    spot_ws_api="wss://demo-ws-api.binance.com/ws-api/v3",
)


def checked(endpoints: Endpoints, *, venue: str | None = None) -> Endpoints:
    """Return the endpoints when every host is loopback (in clear) or one and the same venue's (encrypted).

    Args:
        endpoints: Where to connect.
        venue: sim, demo or live; venue hosts must be that one's. None: any.

    Raises:
        ConfigError: another host or scheme, or addresses that belong to different exchanges.
    """
    said = {name: getattr(endpoints, name) for name in SCHEMES}
    found = {name: _owner(name, address) for name, address in said.items() if address or name != SPOT}
    named = ", ".join(f"{name} {owner}" for name, owner in found.items())
    owners = list(dict.fromkeys(found.values()))
    if len(owners) > 1:
        raise ConfigError(f"endpoints belong to different exchanges ({named}); nothing was started")
    if venue is not None and owners[0] not in ("loopback", venue):
        raise ConfigError(f"venue {venue} with the {owners[0]} venue's endpoints ({named}); nothing was started")
    return endpoints


def _owner(name: str, address: str) -> str:
    parts = urlsplit(address)
    clear, encrypted = SCHEMES[name]
    bare = parts.username is None and not parts.query and not parts.fragment
    if bare and parts.hostname in LOOPBACK and parts.scheme == clear:
        return "loopback"
    for owner, hosts in (SPOT_HOSTS if name == SPOT else HOSTS).items():
        if bare and parts.hostname in hosts and parts.scheme == encrypted:
            return owner
    raise ConfigError(
        f"endpoints.{name} = {address!r}: only the venue's hosts ({encrypted}) and loopback ({clear}) are allowed; "
        "nothing was started"
    )


def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's own, where an exchange may be a simulated one."""
    return urlsplit(address).hostname in LOOPBACK


def mark_stream(symbol: Symbol) -> str:
    """Return the name of a symbol's mark-price stream, once a second."""
    return f"{symbol.lower()}@markPrice@1s"


def market_url(endpoints: Endpoints, symbols: Sequence[Symbol]) -> str:
    """Return the combined market stream: mark price each second for every symbol, and contract news."""
    streams = [mark_stream(symbol) for symbol in symbols]
    return f"{endpoints.stream}/market/stream?streams={'/'.join([*streams, '!contractInfo'])}"


def private_url(endpoints: Endpoints, listen_key: str, events: str) -> str:
    """Return the private stream with its explicit list of events."""
    return f"{endpoints.stream}/private/ws?listenKey={listen_key}&events={events}"
