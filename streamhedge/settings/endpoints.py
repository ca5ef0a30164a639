"""Hosts and routed paths, as data (BINANCE_USDM §1.1, §1.2; read 2026-11)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from streamhedge.domain.values import Symbol, record
from streamhedge.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
VENUE_HOSTS = (
    *("fapi.binance.com", "fstream.binance.com", "ws-fapi.binance.com"),
    *("demo-fapi.binance.com", "demo-fstream.binance.com", "testnet.binancefuture.com", "fstream.binancefuture.com"),
)


@record
class Endpoints:
    """Base addresses: REST, streams (without a path), WebSocket API (whole)."""

    rest: str
    stream: str
    ws_api: str


LIVE = Endpoints(
    rest="https://fapi.binance.com",
    stream="wss://fstream.binance.com",
    ws_api="wss://ws-fapi.binance.com/ws-fapi/v1",
)
DEMO = Endpoints(
    rest="https://demo-fapi.binance.com",
    stream="wss://demo-fstream.binance.com",
    ws_api="wss://testnet.binancefuture.com/ws-fapi/v1",
)


def checked(endpoints: Endpoints) -> Endpoints:
    """Return the endpoints when every host is the venue's (encrypted) or loopback.

    Raises:
        ConfigError: another host, or a venue host without encryption.
    """
    for name in ("rest", "stream", "ws_api"):
        address = urlsplit(getattr(endpoints, name))
        if address.hostname in LOOPBACK and address.scheme in ("http", "ws"):
            continue
        if address.hostname in VENUE_HOSTS and address.scheme in ("https", "wss"):
            continue
        raise ConfigError(
            f"endpoints.{name} = {getattr(endpoints, name)!r}: only the venue's hosts (https, wss) and loopback "
            "(http, ws) are allowed; nothing was started"
        )
    return endpoints


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
