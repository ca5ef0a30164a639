"""Where a process may connect: the venue's hosts encrypted, loopback in clear, and one exchange at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamhedge.domain.values import Symbol
from streamhedge.errors import ConfigError
from streamhedge.settings.endpoints import DEMO, LIVE, Endpoints, checked, market_url, private_url

LOCAL = Endpoints(rest="http://127.0.0.1:9000", stream="ws://127.0.0.1:9000", ws_api="ws://127.0.0.1:9000/ws-fapi/v1")


@pytest.mark.parametrize("endpoints", [LIVE, DEMO, LOCAL], ids=["live", "demo", "loopback"])
def test_the_venue_and_loopback_are_allowed(endpoints: Endpoints) -> None:
    assert checked(endpoints) is endpoints


def test_loopback_has_three_names() -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        checked(Endpoints(rest=f"http://{host}:1", stream=f"ws://{host}:1", ws_api=f"ws://{host}:1/ws-fapi/v1"))


@pytest.mark.parametrize(
    "rest",
    [
        "http://fapi.binance.com",
        "https://fapi.binance.com.evil.example",
        "https://evil.example/fapi.binance.com",
        "https://fapi.binance.com@evil.example",
        "https://user@fapi.binance.com",
        "https://fapi.binance.com\n.evil.example",
        "https://api.binance.com",
        "https://192.168.0.1",
        "http://0.0.0.0:9000",
        "http://127.0.0.1.evil.example",
        "https://127.0.0.1:9000",
        "wss://fapi.binance.com",
        "ws://127.0.0.1:9000",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "http://127.0.0.1:9000?x=1",
        "127.0.0.1:9000",
        "",
    ],
)
@pytest.mark.fault("X5")
def test_any_other_address_is_refused(rest: str) -> None:
    with pytest.raises(ConfigError, match=r"endpoints\.rest = .*nothing was started"):
        checked(replace(LOCAL if "127" in rest else LIVE, rest=rest))


@pytest.mark.parametrize("name", ["stream", "ws_api"])
@pytest.mark.parametrize(
    "address", ["ws://fstream.binance.com", "wss://evil.example", "http://127.0.0.1:1", "wss://127.0.0.1:1"]
)
def test_sockets_are_held_to_the_same(name: str, address: str) -> None:
    with pytest.raises(ConfigError, match=rf"endpoints\.{name} = "):
        checked(replace(LOCAL, **{name: address}))


@pytest.mark.parametrize("name", ["rest", "stream", "ws_api"])
@pytest.mark.parametrize(("one", "other"), [(LIVE, DEMO), (LIVE, LOCAL), (DEMO, LIVE), (LOCAL, DEMO)])
def test_addresses_of_two_exchanges_are_refused(name: str, one: Endpoints, other: Endpoints) -> None:
    with pytest.raises(ConfigError, match="belong to different exchanges"):
        checked(replace(one, **{name: getattr(other, name)}))


@pytest.mark.parametrize(
    ("venue", "endpoints", "fits"),
    [
        ("live", LIVE, True),
        ("live", DEMO, False),
        ("live", LOCAL, True),
        ("demo", LIVE, False),
        ("demo", DEMO, True),
        ("demo", LOCAL, True),
        ("sim", LIVE, False),
        ("sim", DEMO, False),
        ("sim", LOCAL, True),
    ],
)
@pytest.mark.fault("K2")
def test_the_venue_that_is_named_is_the_one_that_is_called(venue: str, endpoints: Endpoints, fits: bool) -> None:
    if fits:
        assert checked(endpoints, venue=venue) is endpoints
    else:
        with pytest.raises(ConfigError, match=f"venue {venue} with the (live|demo) venue's endpoints"):
            checked(endpoints, venue=venue)


def test_the_streams_have_the_routed_paths() -> None:
    assert market_url(LIVE, [Symbol("BTCUSDT"), Symbol("ETHUSDT")]) == (
        "wss://fstream.binance.com/market/stream?streams=btcusdt@markPrice@1s/ethusdt@markPrice@1s/!contractInfo"
    )
    assert private_url(DEMO, "k", "ORDER_TRADE_UPDATE/ACCOUNT_UPDATE") == (
        "wss://demo-fstream.binance.com/private/ws?listenKey=k&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE"
    )
