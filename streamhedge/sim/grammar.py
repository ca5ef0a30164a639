"""What the exchange writes: numbers, errors, and every message of the venue as of 2026-11.

ORDER_TRADE_UPDATE writes quantities without trailing zeros, TRADE_LITE and REST pad them; order replies carry neither
avgPrice nor cumQuote; FUNDING_FEE names its symbol (a.S) since 2026-08-07.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from streamhedge.sim.account import eight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamhedge.sim.account import Position
    from streamhedge.sim.algo import AlgoOrder
    from streamhedge.sim.engine import Income, Trade
    from streamhedge.sim.market import Contract
    from streamhedge.sim.orders import SimOrder

Message = dict[str, Any]


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
    return format(eight(value), "f")


def encode(value: object) -> str:
    """Write a message as JSON; RawNumber stands without quotes."""
    try:
        return orjson.dumps(value, default=_unquoted, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()
    except TypeError:
        return _encode(value)  # a stranger's request id may be an integer of any size


def _unquoted(value: object) -> orjson.Fragment:
    if isinstance(value, RawNumber):
        return orjson.Fragment(str.__str__(value))
    raise TypeError(type(value).__name__)


def _encode(value: object) -> str:
    if isinstance(value, RawNumber):
        return str.__str__(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_encode(item) for item in value) + "]"
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
        **{"q": plain(order.quantity), "p": plain(order.price), "ap": plain(order.average)},
        **{"sp": plain(order.stop_price)},
        **{"x": execution, "X": order.status, "i": order.order_id, "l": plain(last), "z": plain(order.filled)},
        **{"L": plain(price), "n": plain(fee), "N": "USDT", "T": now_ms, "t": trade_id, "b": "0", "a": "0"},
        **{
            "m": maker,
            "R": order.reduce_only,
            "wt": order.working_type,
            "ot": order.origin or order.type,
            "ps": "BOTH",
        },
        **{
            "cp": order.close_position,
            "rp": plain(realised),
            "pP": order.price_protect,
            "si": 0,
            "ss": 0,
            "V": order.prevention,
            "pm": "NONE",
            "gtd": 0,
        },
        "er": reason,
    }
    return {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": body}


def trade_lite(trade: Trade, contract: Contract) -> Message:
    """Return TRADE_LITE: p is 0 on market orders."""
    order = trade.order
    return {
        **{"e": "TRADE_LITE", "E": trade.time_ms, "T": trade.time_ms, "s": order.symbol},
        **{"q": padded(order.quantity, contract.step), "p": padded(order.price, Decimal("0.01")), "m": trade.maker},
        **{"c": order.client_id, "S": order.side, "L": padded(trade.price, Decimal("0.01"))},
        **{"l": padded(trade.quantity, contract.step), "t": trade.trade_id, "i": order.order_id},
    }


def margin_call(rows: list[tuple[Position, Contract]], *, now_ms: int, cross_wallet: Decimal | None) -> Message:
    """Return MARGIN_CALL of some positions; ``cw`` only where they stand on the cross wallet."""
    found: Message = {"e": "MARGIN_CALL", "E": now_ms}
    if cross_wallet is not None:
        found["cw"] = eights(cross_wallet)
    found["p"] = [
        {
            **{"s": p.symbol, "ps": "BOTH", "pa": plain(p.amount), "mt": "ISOLATED" if p.isolated else "CROSSED"},
            **{"iw": plain(p.isolated_wallet), "mp": eights(c.mark), "up": eights(p.pnl(c.mark))},
            "mm": eights(c.maintenance(abs(p.amount) * c.mark)),
        }
        for p, c in rows
    ]
    return found


def force_order(order: SimOrder, now_ms: int) -> Message:
    """Return the public notice of a liquidation."""
    return {
        **{"e": "forceOrder", "E": now_ms, "st": 1, "ps": order.symbol},
        "o": {
            **{"s": order.symbol, "S": order.side, "o": "LIMIT", "f": "IOC", "q": plain(order.quantity)},
            **{"p": plain(order.price), "ap": plain(order.average), "X": order.status, "l": plain(order.filled)},
            **{"z": plain(order.filled), "T": order.update_ms},
        },
    }


def order_reply(order: SimOrder, contract: Contract) -> Message:
    """Return the reply of POST, DELETE and the WebSocket API: no fill price in it (since 2026-06)."""
    return {
        **{"orderId": order.order_id, "symbol": order.symbol, "status": order.status, "clientOrderId": order.client_id},
        **{"price": padded(order.price, Decimal("0.01")), "origQty": padded(order.quantity, contract.step)},
        **{"executedQty": padded(order.filled, contract.step), "cumQty": padded(order.filled, contract.step)},
        **{"timeInForce": order.time_in_force, "type": order.type, "reduceOnly": order.reduce_only},
        **{"closePosition": order.close_position, "side": order.side, "positionSide": "BOTH"},
        **{"stopPrice": padded(order.stop_price, Decimal("0.01")), "workingType": order.working_type},
        **{"priceProtect": order.price_protect, "origType": order.origin or order.type, "priceMatch": "NONE"},
        **{"selfTradePreventionMode": order.prevention, "goodTillDate": 0, "updateTime": order.update_ms},
    }


def order_query(order: SimOrder, contract: Contract) -> Message:
    """Return the answer of GET order and order.status, which still carry the fill price (and never cumQty)."""
    return {
        **{key: value for key, value in order_reply(order, contract).items() if key != "cumQty"},
        **{"avgPrice": format(order.average.quantize(Decimal("0.00001")), "f")},
        **{"cumQuote": format(order.quote.quantize(Decimal("0.000001")), "f"), "time": order.time_ms},
    }


def algo_update(order: AlgoOrder, now_ms: int) -> Message:
    """Return ALGO_UPDATE: ap, aq and act only after the trigger, rm only on a rejection."""
    made = order.order
    body: Message = {
        **{"caid": order.client_id, "aid": order.algo_id, "at": "CONDITIONAL", "o": order.type, "s": order.symbol},
        **{"S": order.side, "ps": "BOTH", "f": order.time_in_force, "q": plain(order.quantity), "X": order.status},
        **{"ai": "" if made is None else str(made.order_id), "tp": plain(order.trigger_price), "p": "0"},
        **{"V": "EXPIRE_MAKER", "wt": order.working_type, "pm": "NONE", "cp": order.close_position},
        **{"pP": order.price_protect, "R": order.reduce_only, "tt": order.trigger_ms, "gtd": 0, "ia": False},
    }
    if order.status in ("TRIGGERED", "FINISHED") and made is not None:
        done = order.status == "FINISHED"
        body |= {"ap": plain(made.average if done else Decimal(0)), "aq": plain(made.filled if done else Decimal(0))}
        body["act"] = "MARKET"
    elif order.status == "REJECTED":
        body |= {"ap": "0", "aq": "0", "act": "0", "rm": order.reject_reason}
    return {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": body}


def algo_row(order: AlgoOrder, contract: Contract) -> Message:
    """Return a conditional order as POST and GET algoOrder and openAlgoOrders tell it."""
    made = order.order
    found: Message = {
        **{"algoId": order.algo_id, "clientAlgoId": order.client_id, "algoType": "CONDITIONAL"},
        **{"orderType": order.type, "symbol": order.symbol, "side": order.side, "positionSide": "BOTH"},
        **{"timeInForce": order.time_in_force, "quantity": padded(order.quantity, contract.step)},
        **{"algoStatus": order.status, "triggerPrice": padded(order.trigger_price, Decimal("0.01")), "price": "0.00"},
        **{"icebergQuantity": None, "selfTradePreventionMode": "EXPIRE_MAKER", "workingType": order.working_type},
        **{"priceMatch": "NONE", "closePosition": order.close_position, "priceProtect": order.price_protect},
        **{"reduceOnly": order.reduce_only, "activatePrice": "", "callbackRate": "", "createTime": order.time_ms},
        **{"updateTime": order.update_ms, "triggerTime": order.trigger_ms, "goodTillDate": 0},
    }
    if made is not None:
        found |= {"actualOrderId": str(made.order_id), "actualPrice": plain(made.average)}
    return found


def position_risk(
    p: Position,
    contract: Contract,
    *,
    liquidation_price: Decimal,
    adl: int,
    order_margin: Decimal,
    bids: Decimal,
    asks: Decimal,
) -> Message:
    """Return one row of v2/account.position and positionRisk v3."""
    notional = p.amount * contract.mark
    initial = abs(notional) / p.leverage
    return {
        **{"symbol": p.symbol, "positionSide": "BOTH", "positionAmt": padded(p.amount, contract.step)},
        **{"entryPrice": plain(p.entry), "breakEvenPrice": plain(p.break_even), "markPrice": eights(contract.mark)},
        **{"unRealizedProfit": eights(p.pnl(contract.mark)), "liquidationPrice": plain(liquidation_price)},
        **{"isolatedMargin": plain(p.isolated_wallet + p.pnl(contract.mark)) if p.isolated else "0"},
        **{"notional": eights(notional), "marginAsset": "USDT", "isolatedWallet": plain(p.isolated_wallet)},
        **{"initialMargin": eights(initial + order_margin)},
        **{"maintMargin": eights(contract.maintenance(abs(notional)))},
        **{"positionInitialMargin": eights(initial), "openOrderInitialMargin": plain(eight(order_margin)), "adl": adl},
        **{"bidNotional": plain(bids), "askNotional": plain(asks), "updateTime": p.update_ms},
    }


V1_POSITION_KEYS = (
    *("symbol", "positionAmt", "entryPrice", "breakEvenPrice", "markPrice", "unRealizedProfit", "liquidationPrice"),
    *("notional", "isolatedWallet", "positionSide", "updateTime"),
)


def position_v1(row: Message, p: Position, contract: Contract) -> Message:
    """Return one row of account.position and positionRisk v2: with leverage and margin type, as strings."""
    return {
        **{key: row[key] for key in V1_POSITION_KEYS},
        **{"marginType": "isolated" if p.isolated else "cross", "isAutoAddMargin": "false"},
        **{"isolatedMargin": eights(Decimal(row["isolatedMargin"])), "leverage": str(p.leverage)},
        "maxNotionalValue": plain(contract.ceiling(p.leverage)),
    }


SLIM_POSITION_KEYS = (
    *("symbol", "positionSide", "positionAmt", "isolatedMargin", "notional", "isolatedWallet"),
    *("initialMargin", "maintMargin", "updateTime"),
)


def position_slim(row: Message) -> Message:
    """Return one position of v2/account.status and account v3."""
    return {**{key: row[key] for key in SLIM_POSITION_KEYS}, "unrealizedProfit": row["unRealizedProfit"]}


def trade_row(trade: Trade) -> Message:
    """Return one row of userTrades."""
    order = trade.order
    return {
        **{"symbol": order.symbol, "id": trade.trade_id, "orderId": order.order_id, "side": order.side},
        **{"price": plain(trade.price), "qty": plain(trade.quantity), "realizedPnl": plain(trade.realised)},
        **{"quoteQty": plain(trade.price * trade.quantity), "commission": plain(trade.fee)},
        **{"commissionAsset": "USDT", "time": trade.time_ms, "positionSide": "BOTH"},
        **{"maker": trade.maker, "buyer": order.side == "BUY"},
    }


def income_row(row: Income) -> Message:
    """Return one row of income."""
    return {
        **{"symbol": row.symbol, "incomeType": row.kind, "income": eights(row.amount), "asset": "USDT"},
        **{"info": row.kind, "time": row.time_ms, "tranId": row.number, "tradeId": row.trade_id},
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
    prices = {"minPrice": plain(contract.min_price), "tickSize": padded(contract.tick, Decimal("0.01"))}
    return {
        **{"symbol": contract.symbol, "pair": contract.symbol, "contractType": "PERPETUAL"},
        **{"deliveryDate": 4133404800000, "onboardDate": 1569398400000, "status": contract.status},
        **{"maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000", "baseAsset": contract.base},
        **{"quoteAsset": "USDT", "marginAsset": contract.margin_asset, "pricePrecision": 2, "quantityPrecision": 3},
        **{"baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN", "underlyingSubType": ["PoW"]},
        **{"triggerProtect": "0.0500", "liquidationFee": "0.012500", "marketTakeBound": plain(contract.take_bound)},
        "filters": [
            {"filterType": "PRICE_FILTER", "maxPrice": "4529764", **prices},
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
