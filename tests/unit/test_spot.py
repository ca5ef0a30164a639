"""Spot fills as float trades: what a commission leaves, which symbols move a float, and what a configuration may say."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from streamhedge.domain.events import FloatTrade, FloatTradeKind
from streamhedge.domain.order import Side
from streamhedge.domain.spot import SpotFill, SpotPair, pair_of, trade_of
from streamhedge.domain.values import Asset, Symbol, TradeId
from streamhedge.errors import ConfigError
from streamhedge.settings.config import load_config, spot_pairs
from streamhedge.settings.endpoints import DEMO, LIVE, Endpoints, checked

D = Decimal
PAIR = SpotPair(Symbol("BTCUSDT"), Asset("BTC"), Asset("USDT"))


def fill(side: Side, commission: str, asset: str | None) -> SpotFill:
    """Return a fill of 0.12 at 76 380."""
    paid = None if asset is None else Asset(asset)
    return SpotFill(PAIR.symbol, 5123456789, 54321098765, side, D("0.12"), D(76380), D(commission), paid, 1)


@pytest.mark.parametrize(
    ("side", "commission", "asset", "quantity", "usd"),
    [
        (Side.BUY, "0.00012", "BTC", "0.11988", "-9165.6"),
        (Side.BUY, "9.1656", "USDT", "0.12", "-9174.7656"),
        (Side.BUY, "0.0142", "BNB", "0.12", "-9165.6"),
        (Side.BUY, "0", None, "0.12", "-9165.6"),
        (Side.SELL, "9.1656", "USDT", "-0.12", "9156.4344"),
        (Side.SELL, "0.00012", "BTC", "-0.12012", "9165.6"),
        (Side.SELL, "-1", "USDT", "-0.12", "9166.6"),
    ],
)
def test_a_fill_is_booked_net_of_its_commission(
    side: Side, commission: str, asset: str | None, quantity: str, usd: str
) -> None:
    trade = trade_of(fill(side, commission, asset), PAIR, time_ms=7)

    assert (trade.quantity, trade.usd, trade.price) == (D(quantity), D(usd), D(76380))
    assert trade.kind is (FloatTradeKind.BUY if side is Side.BUY else FloatTradeKind.SELL)


def test_a_fill_names_itself_and_its_order() -> None:
    assert trade_of(fill(Side.BUY, "0.00012", "BTC"), PAIR, time_ms=7) == FloatTrade(
        trade_id=TradeId("spot-BTCUSDT-5123456789"),
        asset=Asset("BTC"),
        kind=FloatTradeKind.BUY,
        quantity=D("0.11988"),
        usd=D("-9165.6"),
        price=D(76380),
        time_ms=7,
        reason="spot order 54321098765 BUY 0.12 BTCUSDT, commission 0.00012 BTC",
    )


@pytest.mark.parametrize(
    ("symbol", "pair"),
    [
        ("BTCUSDT", ("BTC", "USDT")),
        ("BTCFDUSD", ("BTC", "FDUSD")),
        ("ETHUSDC", ("ETH", "USDC")),
        *(("ETHBTC", None), ("BTCEUR", None), ("BTC", None), ("USDT", None), ("XBTCUSDT", None), ("", None)),
    ],
)
def test_which_symbols_move_a_float(symbol: str, pair: tuple[str, str] | None) -> None:
    found = pair_of(symbol, ["BTC", "ETH"])
    assert (found and (found.base, found.quote)) == pair


# ---------------------------------------------------------------- configuration


def test_it_is_off_by_default() -> None:
    settings = load_config([], (), {}).settings
    assert settings.spot is None and spot_pairs(settings) == {}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('symbols = ["BTCEUR"]', "BTCEUR is no float asset of a [[hedge]] against USDT, USDC, FDUSD"),
        ('symbols = ["SOLUSDT"]', "SOLUSDT is no float asset"),
        ('symbols = ["BTCUSDT", "BTCUSDT"]', "BTCUSDT is said twice"),
        ("symbols = []", "spot.symbols"),
        ('symbols = ["BTCUSDT"]\napi_key = { env = "A" }', "api_key and api_secret go together"),
        ('symbols = ["BTCUSDT"]\nsymbol = "x"', "did you mean symbols?"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, table: str, said: str) -> None:
    base = Path(__file__).resolve().parents[2] / "streamhedge" / "settings" / "demo.toml"
    own = tmp_path / "own.toml"
    own.write_text(f"[spot]\n{table}\n")
    with pytest.raises(ConfigError) as refused:
        load_config([base, own], (), {})
    assert said in str(refused.value)


def test_own_endpoints_must_name_the_spot_api(tmp_path: Path) -> None:
    base = Path(__file__).resolve().parents[2] / "streamhedge" / "settings" / "demo.toml"
    own = tmp_path / "own.toml"
    addresses = 'rest = "http://127.0.0.1:1"\nstream = "ws://127.0.0.1:1"\nws_api = "ws://127.0.0.1:1/ws-fapi/v1"\n'
    own.write_text(f'[endpoints]\n{addresses}[spot]\nsymbols = ["BTCUSDT"]\n')
    with pytest.raises(ConfigError, match="needs spot_ws_api"):
        load_config([base, own], (), {})
    own.write_text(
        f'[endpoints]\n{addresses}spot_ws_api = "ws://127.0.0.1:1/ws-api/v3"\n[spot]\nsymbols = ["BTCUSDT"]\n'
    )
    assert list(spot_pairs(load_config([base, own], (), {}).settings)) == ["BTCUSDT"]


def test_the_venues_own_spot_hosts_and_no_others() -> None:
    for venue, endpoints in (("live", LIVE), ("demo", DEMO)):
        assert checked(endpoints, venue=venue) is endpoints
    for strange in (DEMO.spot_ws_api, "wss://example.com/ws-api/v3", LIVE.ws_api, "ws://ws-api.binance.com/ws-api/v3"):
        with pytest.raises(ConfigError):
            checked(Endpoints(LIVE.rest, LIVE.stream, LIVE.ws_api, strange))
