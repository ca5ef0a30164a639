"""What the exchange writes: numbers, errors, and every message of the venue as of 2026-11.

ORDER_TRADE_UPDATE writes quantities without trailing zeros, TRADE_LITE and REST pad them; order replies carry neither
avgPrice nor cumQuote; FUNDING_FEE names its symbol (a.S) since 2026-08-07.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamhedge.sim.account import Position
    from streamhedge.sim.market import Contract
    from streamhedge.sim.orders import SimOrder

Message = dict[str, Any]

ERRORS: dict[int, tuple[int, str]] = {
    -1000: (400, "An unknown error occurred while processing the request."),
    -1003: (429, "Too many requests; current limit is 2400 requests per minute."),
    -1021: (400, "Timestamp for this request is outside of the recvWindow."),
    -1022: (400, "Signature for this request is not valid."),
    -1099: (400, "Not found, authenticated, or authorized."),
    -1102: (400, "Mandatory parameter '{0}' was not sent, was empty/null, or malformed."),
    -1106: (400, "Parameter '{0}' sent when not required."),
    -1111: (400, "Precision is over the maximum defined for this asset."),
    -1121: (400, "Invalid symbol."),
    -1125: (400, "This listenKey does not exist."),
    -1130: (400, "Data sent for parameter '{0}' is not valid."),
    -2011: (400, "Unknown order sent."),
    -2013: (400, "Order does not exist."),
    -2014: (401, "API-key format invalid."),
    -2015: (401, "Invalid API-key, IP, or permissions for action."),
    -2019: (400, "Margin is insufficient."),
    -2022: (400, "ReduceOnly Order is rejected."),
    -2025: (400, "Reach max open order limit."),
    -2023: (400, "User in liquidation mode now."),
    -2027: (400, "Exceeded the maximum allowable position at current leverage."),
    -4003: (400, "Quantity less than or equal to zero."),
    -4004: (400, "Quantity less than min quantity."),
    -4005: (400, "Quantity greater than max quantity."),
    -4014: (400, "Price not increased by tick size."),
    -4015: (400, "Client order id length should not be more than 36 chars."),
    -4016: (400, "Price is higher than mark price multiplier cap."),
    -4023: (400, "Quantity not increased by step size."),
    -4024: (400, "Price is lower than mark price multiplier floor."),
    -4028: (400, "Leverage {0} is not valid."),
    -4046: (400, "No need to change margin type."),
    -4047: (400, "Margin type cannot be changed if there exists open orders."),
    -4048: (400, "Margin type cannot be changed if there exists position."),
    -4059: (400, "No need to change position side."),
    -4061: (400, "Order's position side does not match user's setting."),
    -4067: (400, "Position side cannot be changed if there exists open orders."),
    -4068: (400, "Position side cannot be changed if there exists position."),
    -4116: (400, "ClientOrderId is duplicated."),
    -4120: (400, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."),
    -4131: (400, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    -4141: (400, "Symbol is closed."),
    -4164: (400, "Order's notional must be no smaller than {0} (unless you choose reduce only)."),
    -5021: (400, "Due to the order could not be filled immediately, the FOK order has been rejected."),
    -5022: (400, "Due to the order could not be executed as maker, the Post Only order will be rejected."),
}


class Refusal(Exception):
    """The exchange says no: an error code with its text filled in."""

    def __init__(self, code: int, *words: object) -> None:
        super().__init__(code)
        self.code = code
        self.status, text = ERRORS[code]
        self.body: Message = {"code": code, "msg": text.format(*words)}


def plain(value: Decimal) -> str:
    """Write a number without trailing zeros."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if text not in ("", "-0") else "0"


def padded(value: Decimal, step: Decimal) -> str:
    """Write a number at the precision of a step."""
    return format(value.quantize(step), "f")


def eights(value: Decimal) -> str:
    """Write a number with eight decimals."""
    return format(value.quantize(Decimal("0.00000001")), "f")


def encode(value: object) -> str:
    """Write a message as JSON; RawNumber stands without quotes."""
    if isinstance(value, RawNumber):
        return str.__str__(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(encode(item) for item in value) + "]"
    return json.dumps(value)


def mark_price_update(contract: Contract, now_ms: int) -> Message:
    """Return one mark-price frame."""
    return {
        **{"e": "markPriceUpdate", "E": now_ms, "s": contract.symbol, "p": eights(contract.mark)},
        **{"ap": eights(contract.mark), "P": eights(contract.mark), "i": eights(contract.index)},
        **{"r": eights(contract.funding_rate), "T": contract.next_funding_ms, "st": 1},
    }


def contract_info(contract: Contract, now_ms: int, *, brackets: bool) -> Message:
    """Return a contract-news frame; ``bks`` only when the brackets changed, as JSON numbers."""
    found: Message = {
        **{"e": "contractInfo", "E": now_ms, "s": contract.symbol, "ct": "PERPETUAL", "dt": 4133404800000},
        **{"ot": 1569398400000, "cs": contract.status, "st": 1},
    }
    if brackets:
        found["bks"] = [
            {
                **{"bs": number, "bnf": json_number(row[0]), "bnc": json_number(row[1])},
                **{"mmr": json_number(row[2]), "cf": json_number(row[3]), "mi": 1, "ma": row[4]},
            }
            for number, row in enumerate(contract.brackets, 1)
        ]
    return found


class RawNumber(str):
    """A number that the writer puts into JSON without quotes."""


def json_number(value: Decimal) -> RawNumber:
    """Return a Decimal to be written as a JSON number, exactly."""
    return RawNumber(plain(value))


def account_update(
    reason: str,
    *,
    now_ms: int,
    wallet: Decimal,
    cross_wallet: Decimal,
    change: Decimal = Decimal(0),
    positions: list[tuple[Position, Contract]] | None = None,
    symbol: str | None = None,
) -> Message:
    """Return ACCOUNT_UPDATE with absolute values after the change."""
    body: Message = {
        "m": reason,
        "B": [{"a": "USDT", "wb": eights(wallet), "cw": eights(cross_wallet), "bc": plain(change)}],
        "P": [position_row(p, contract) for p, contract in positions or []],
    }
    if symbol is not None:
        body["S"] = symbol
    return {"e": "ACCOUNT_UPDATE", "T": now_ms, "E": now_ms, "a": body}


def position_row(p: Position, contract: Contract) -> Message:
    """Return one row of ACCOUNT_UPDATE."""
    return {
        **{"s": p.symbol, "pa": plain(p.amount), "ep": plain(p.entry), "cr": plain(p.realised)},
        **{"up": eights(p.pnl(contract.mark)), "mt": "isolated" if p.isolated else "cross"},
        **{"iw": plain(p.isolated_wallet), "ps": "BOTH", "ma": "USDT", "bep": plain(p.break_even)},
    }


def order_trade_update(
    order: SimOrder,
    *,
    execution: str,
    now_ms: int,
    last: Decimal = Decimal(0),
    price: Decimal = Decimal(0),
    fee: Decimal = Decimal(0),
    realised: Decimal = Decimal(0),
    trade_id: int = 0,
    maker: bool = False,
    reason: str = "0",
) -> Message:
    """Return ORDER_TRADE_UPDATE; ``reason`` is the expiry reason er."""
    body: Message = {
        **{"s": order.symbol, "c": order.client_id, "S": order.side, "o": order.type, "f": order.time_in_force},
        **{"q": plain(order.quantity), "p": plain(order.price), "ap": plain(order.average), "sp": "0"},
        **{"x": execution, "X": order.status, "i": order.order_id, "l": plain(last), "z": plain(order.filled)},
        **{"L": plain(price), "n": plain(fee), "N": "USDT", "T": now_ms, "t": trade_id, "b": "0", "a": "0"},
        **{"m": maker, "R": order.reduce_only, "wt": "CONTRACT_PRICE", "ot": order.type, "ps": "BOTH", "cp": False},
        **{"rp": plain(realised), "pP": False, "si": 0, "ss": 0, "V": order.prevention, "pm": "NONE", "gtd": 0},
        "er": reason,
    }
    return {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": body}


def trade_lite(
    order: SimOrder, contract: Contract, *, last: Decimal, price: Decimal, trade_id: int, maker: bool, now_ms: int
) -> Message:
    """Return TRADE_LITE: p is 0 on market orders."""
    return {
        **{"e": "TRADE_LITE", "E": now_ms, "T": now_ms, "s": order.symbol},
        **{"q": padded(order.quantity, contract.step), "p": padded(order.price, Decimal("0.01")), "m": maker},
        **{"c": order.client_id, "S": order.side, "L": padded(price, Decimal("0.01"))},
        **{"l": padded(last, contract.step), "t": trade_id, "i": order.order_id},
    }


def order_reply(order: SimOrder, contract: Contract) -> Message:
    """Return the reply of POST, DELETE and the WebSocket API: no fill price in it (since 2026-06)."""
    return {
        **{"orderId": order.order_id, "symbol": order.symbol, "status": order.status, "clientOrderId": order.client_id},
        **{"price": padded(order.price, Decimal("0.01")), "origQty": padded(order.quantity, contract.step)},
        **{"executedQty": padded(order.filled, contract.step), "cumQty": padded(order.filled, contract.step)},
        **{"timeInForce": order.time_in_force, "type": order.type, "reduceOnly": order.reduce_only},
        **{"closePosition": False, "side": order.side, "positionSide": "BOTH", "stopPrice": "0.00"},
        **{"workingType": "CONTRACT_PRICE", "priceProtect": False, "origType": order.type, "priceMatch": "NONE"},
        **{"selfTradePreventionMode": order.prevention, "goodTillDate": 0, "updateTime": order.update_ms},
    }


def order_query(order: SimOrder, contract: Contract) -> Message:
    """Return the answer of GET order and order.status, which still carry the fill price."""
    return {
        **order_reply(order, contract),
        **{"avgPrice": format(order.average.quantize(Decimal("0.00001")), "f")},
        **{"cumQuote": format(order.quote.quantize(Decimal("0.000001")), "f"), "time": order.time_ms},
    }


def position_risk(p: Position, contract: Contract, *, liquidation_price: Decimal, adl: int) -> Message:
    """Return one row of v2/account.position and positionRisk v3."""
    notional = p.amount * contract.mark
    initial = abs(notional) / p.leverage
    return {
        **{"symbol": p.symbol, "positionSide": "BOTH", "positionAmt": padded(p.amount, contract.step)},
        **{"entryPrice": plain(p.entry), "breakEvenPrice": plain(p.break_even), "markPrice": eights(contract.mark)},
        **{"unRealizedProfit": eights(p.pnl(contract.mark)), "liquidationPrice": plain(liquidation_price)},
        **{"isolatedMargin": plain(p.isolated_wallet + p.pnl(contract.mark)) if p.isolated else "0"},
        **{"notional": eights(notional), "marginAsset": "USDT", "isolatedWallet": plain(p.isolated_wallet)},
        **{"initialMargin": eights(initial), "maintMargin": eights(contract.maintenance(abs(notional)))},
        **{"positionInitialMargin": eights(initial), "openOrderInitialMargin": "0", "adl": adl},
        **{"bidNotional": "0", "askNotional": "0", "updateTime": p.update_ms},
    }


def exchange_info(contracts: Mapping[str, Contract], now_ms: int) -> Message:
    """Return exchangeInfo: limits and every contract with its filters."""
    return {
        **{"timezone": "UTC", "serverTime": now_ms, "futuresType": "U_MARGINED"},
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [contract_row(contract) for contract in contracts.values()],
    }


def contract_row(contract: Contract) -> Message:
    """Return one contract of exchangeInfo."""
    step = plain(contract.step)
    lot = {"minQty": step, "stepSize": step}
    return {
        **{"symbol": contract.symbol, "pair": contract.symbol, "contractType": "PERPETUAL"},
        **{"deliveryDate": 4133404800000, "onboardDate": 1569398400000, "status": contract.status},
        **{"maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000", "baseAsset": contract.base},
        **{"quoteAsset": "USDT", "marginAsset": contract.margin_asset, "pricePrecision": 2, "quantityPrecision": 3},
        **{"baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN", "underlyingSubType": ["PoW"]},
        **{"triggerProtect": "0.0500", "liquidationFee": "0.012500", "marketTakeBound": plain(contract.take_bound)},
        "filters": [
            {"filterType": "PRICE_FILTER", "maxPrice": "4529764", "minPrice": "0.10", "tickSize": plain(contract.tick)},
            {"filterType": "LOT_SIZE", "maxQty": plain(contract.max_quantity), **lot},
            {"filterType": "MARKET_LOT_SIZE", "maxQty": plain(contract.market_max), **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": plain(contract.min_notional)},
            {
                **{"filterType": "PERCENT_PRICE", "multiplierUp": padded(contract.multiplier_up, Decimal("0.0001"))},
                **{"multiplierDown": padded(contract.multiplier_down, Decimal("0.0001")), "multiplierDecimal": "4"},
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def brackets_row(contract: Contract) -> Message:
    """Return one contract of leverageBracket: JSON numbers, not strings."""
    return {
        "symbol": contract.symbol,
        "brackets": [
            {
                **{"bracket": number, "initialLeverage": leverage, "notionalCap": json_number(cap)},
                **{"notionalFloor": json_number(floor), "maintMarginRatio": json_number(rate), "cum": json_number(cum)},
            }
            for number, (floor, cap, rate, cum, leverage) in enumerate(contract.brackets, 1)
        ],
    }


def book_ticker(contract: Contract, now_ms: int) -> Message:
    """Return one best-bid-and-ask frame."""
    contract.update_id += 1
    bid, bid_size = contract.levels("SELL", 1)[0]
    ask, ask_size = contract.levels("BUY", 1)[0]
    return {
        **{"e": "bookTicker", "u": contract.update_id, "s": contract.symbol, "ps": contract.symbol},
        **{"b": plain(bid), "B": plain(bid_size), "a": plain(ask), "A": plain(ask_size)},
        **{"T": now_ms, "E": now_ms, "st": 1},
    }
