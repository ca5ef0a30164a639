"""The calls about the market: time, contracts, prices, funding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamhedge.sim import grammar
from streamhedge.sim.calls import Call
from streamhedge.sim.grammar import Message
from streamhedge.sim.refusals import Refusal

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange

DEPTHS = (5, 10, 20, 50, 100, 500, 1_000)
RATES_USUAL = 100


def ping(exchange: Exchange, call: Call) -> Message:
    """GET ping."""
    return {}


def server_time(exchange: Exchange, call: Call) -> Message:
    """GET time."""
    return {"serverTime": call.now_ms}


def exchange_info(exchange: Exchange, call: Call) -> Message:
    """GET exchangeInfo."""
    return grammar.exchange_info(exchange.contracts, call.now_ms)


def funding_info(exchange: Exchange, call: Call) -> list[Message]:
    """GET fundingInfo: only contracts whose interval differs from eight hours; whole hours, at least one."""
    hours = max(1, exchange.funding_every_ms // 3_600_000)
    if hours == 8:
        return []
    return [
        {
            **{"symbol": symbol, "adjustedFundingRateCap": "0.02000000", "adjustedFundingRateFloor": "-0.02000000"},
            **{"fundingIntervalHours": hours, "disclaimer": False, "updateTime": call.now_ms},
        }
        for symbol in exchange.contracts
    ]


def premium_index(exchange: Exchange, call: Call) -> Message | list[Message]:
    """GET premiumIndex, of one symbol or of all."""
    rows = [
        {
            **{"symbol": c.symbol, "markPrice": grammar.eights(c.mark), "indexPrice": grammar.eights(c.index)},
            **{"estimatedSettlePrice": grammar.eights(c.mark), "lastFundingRate": grammar.eights(c.funding_rate)},
            **{"interestRate": "0.00010000", "nextFundingTime": c.next_funding_ms, "time": call.now_ms},
        }
        for c in exchange.contracts.values()
    ]
    return _one_or_all(exchange, call, rows)


def _one_or_all(exchange: Exchange, call: Call, rows: list[Message]) -> Message | list[Message]:
    wanted = call.params.get("symbol", "")
    if not wanted:
        return rows
    exchange.engine.contract(wanted)
    return next(row for row in rows if row["symbol"] == wanted)


def ticker_price(exchange: Exchange, call: Call) -> Message | list[Message]:
    """GET ticker/price and ticker.price: the mark stands for the last price."""
    rows = [
        {"symbol": c.symbol, "price": grammar.padded(c.mark, c.tick), "time": call.now_ms}
        for c in exchange.contracts.values()
    ]
    return _one_or_all(exchange, call, rows)


def ticker_book(exchange: Exchange, call: Call) -> Message | list[Message]:
    """GET ticker/bookTicker and ticker.book."""
    rows = []
    for c in exchange.contracts.values():
        (bid, bid_size), (ask, ask_size) = c.levels("SELL", 1)[0], c.levels("BUY", 1)[0]
        rows.append(
            {
                **{"lastUpdateId": c.update_id, "symbol": c.symbol, "bidPrice": grammar.padded(bid, c.tick)},
                **{"bidQty": grammar.padded(bid_size, c.step), "askPrice": grammar.padded(ask, c.tick)},
                **{"askQty": grammar.padded(ask_size, c.step), "time": call.now_ms},
            }
        )
    return _one_or_all(exchange, call, rows)


def depth(exchange: Exchange, call: Call) -> Message:
    """GET depth and depth: the ladder around the mark."""
    contract = exchange.engine.contract(call.params.get("symbol", ""))
    count = call.integer("limit", 500)
    if count not in DEPTHS:
        raise Refusal(-1130, "limit")
    sides = {
        name: [
            [grammar.padded(price, contract.tick), grammar.padded(size, contract.step)]
            for price, size in contract.levels(side, min(count, 40))
        ]
        for name, side in (("bids", "SELL"), ("asks", "BUY"))
    }
    return {"lastUpdateId": contract.update_id, "E": call.now_ms, "T": call.now_ms, **sides}


def funding_rates(exchange: Exchange, call: Call) -> list[Message]:
    """GET fundingRate: the settlements of this run, oldest first."""
    wanted = call.params.get("symbol", "")
    if wanted:
        exchange.engine.contract(wanted)
    rows = [
        {
            **{"symbol": symbol, "fundingRate": grammar.eights(rate), "fundingTime": time_ms},
            **{"markPrice": grammar.eights(mark), "rateType": "Regular"},
        }
        for symbol, rate, mark, time_ms in exchange.settlements
        if wanted in ("", symbol)
    ]
    return rows[-call.integer("limit", RATES_USUAL) :]
