"""What the published examples of market streams and stream commands decode to, written by hand."""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.events import ContractInfo, Event, MarkPriceUpdate, OtherMarketEvent
from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.values import Symbol

D = Decimal
BTCUSDT = Symbol("BTCUSDT")

BTC_MARK = MarkPriceUpdate(
    symbol=BTCUSDT,
    mark_price=D("76412.3"),
    index_price=D("76441.07152174"),
    funding_rate=D("0.00005312"),
    next_funding_time_ms=1795190400000,
    event_time_ms=1795161601000,
)
ETH_MARK = MarkPriceUpdate(
    symbol=Symbol("ETHUSDT"),
    mark_price=D("2475.24"),
    index_price=D("2476.33488372"),
    funding_rate=D("-0.00001846"),
    next_funding_time_ms=1795190400000,
    event_time_ms=1795161601000,
)
DATED_MARK = MarkPriceUpdate(
    symbol=Symbol("BTCUSDT_261225"),
    mark_price=D("76980.1"),
    index_price=D("76441.07152174"),
    funding_rate=None,
    next_funding_time_ms=0,
    event_time_ms=1795161601000,
)
TESLA_MARK = MarkPriceUpdate(
    symbol=Symbol("TSLAUSDT"),
    mark_price=D("412.37"),
    index_price=D("412.41"),
    funding_rate=D("0.0001"),
    next_funding_time_ms=1795190400000,
    event_time_ms=1795161601000,
)

ACKNOWLEDGED: list[Event] = [OtherMarketEvent("ack", None, 0)]
REFUSED: list[Event] = [OtherMarketEvent("error", None, 0)]

MARKET: dict[str, list[Event]] = {
    "control_error.json": REFUSED,
    "control_error_enveloped.json": REFUSED,
    "control_list_subscriptions_response_market.json": ACKNOWLEDGED,
    "control_subscribe_ack.json": ACKNOWLEDGED,
    "market_book_ticker.json": [OtherMarketEvent("bookTicker", BTCUSDT, 1795161601015)],
    "market_contract_info_brackets.json": [
        ContractInfo(
            symbol=BTCUSDT,
            contract_type="PERPETUAL",
            status="TRADING",
            brackets=(
                MarginBracket(D(0), D(300000), D("0.004"), D(0), 150),
                MarginBracket(D(300000), D(800000), D("0.005"), D(300), 100),
                MarginBracket(D(800000), D(3000000), D("0.0065"), D(1500), 75),
            ),
            event_time_ms=1795161603000,
        )
    ],
    "market_contract_info_settling.json": [
        ContractInfo(
            symbol=Symbol("ABCUSDT"),
            contract_type="PERPETUAL",
            status="SETTLING",
            brackets=None,
            event_time_ms=1795161604000,
        )
    ],
    "market_force_order.json": [OtherMarketEvent("forceOrder", None, 1795161602011)],
    "market_mark_price.json": [BTC_MARK],
    "market_mark_price_arr.json": [BTC_MARK, ETH_MARK, DATED_MARK],
    "market_mark_price_arr_tradfi.json": [TESLA_MARK],
    "market_mark_price_coinm_row_to_ignore.json": [],
    "market_mark_price_combined.json": [BTC_MARK],
    "market_trading_session.json": [OtherMarketEvent("EquityUpdate", None, 1795161600062)],
}

SENT_BY_US = (
    "control_list_subscriptions_request.json",
    "control_subscribe_request.json",
    "control_unsubscribe_request.json",
)
"""Commands a client sends; no server sends them."""
