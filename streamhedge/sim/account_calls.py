"""The calls about the account: listen key, configuration, positions, balances, rates."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from streamhedge.sim import grammar
from streamhedge.sim.access import ORDERS_PER_10S, ORDERS_PER_MINUTE
from streamhedge.sim.calls import Call, Reply
from streamhedge.sim.grammar import Message
from streamhedge.sim.refusals import Refusal, whole

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange

D = Decimal
UNAVAILABLE = '{"msg":"Service Unavailable."}'
REPLICA_MS = 10_000
"""How long a replica may lag behind."""


def listen_key_post(exchange: Exchange, call: Call) -> Message | Reply:
    """POST listenKey."""
    if exchange.faults.take("U4", call.now_ms) is not None:
        return Reply(503, {}, UNAVAILABLE)
    return {"listenKey": exchange.listen_key.start(call.now_ms)}


def listen_key_put(exchange: Exchange, call: Call) -> Message | Reply:
    """PUT listenKey."""
    if exchange.faults.take("U4", call.now_ms) is not None:
        return Reply(503, {}, UNAVAILABLE)
    return {"listenKey": exchange.listen_key.renew(call.now_ms)}


def listen_key_delete(exchange: Exchange, call: Call) -> Message:
    """DELETE listenKey: dead for every connection that uses it."""
    exchange.end_listen_key(call.now_ms, said=True)
    return {}


def account_config(exchange: Exchange, call: Call) -> Message:
    """GET accountConfig."""
    account = exchange.account
    return {
        **{"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True},
        **{"dualSidePosition": account.dual_side, "updateTime": 0, "multiAssetsMargin": account.multi_assets},
        "tradeGroupId": -1,
    }


def symbol_config(exchange: Exchange, call: Call) -> list[Message]:
    """GET symbolConfig."""
    wanted = call.params.get("symbol")
    rows = []
    for symbol, contract in exchange.contracts.items():
        p = exchange.account.position(symbol)
        if wanted in (None, "", symbol):
            rows.append(
                {
                    **{"symbol": symbol, "marginType": "ISOLATED" if p.isolated else "CROSSED"},
                    **{"isAutoAddMargin": False, "leverage": p.leverage},
                    "maxNotionalValue": grammar.plain(contract.ceiling(p.leverage)),
                }
            )
    return rows


def leverage(exchange: Exchange, call: Call) -> Message:
    """POST leverage, with its event."""
    contract = exchange.engine.contract(call.params.get("symbol", ""))
    text = call.params.get("leverage", "")
    wanted = whole(text, -4028, text)
    if not 1 <= wanted <= contract.brackets[0][4]:
        raise Refusal(-4028, text)
    p = exchange.account.position(contract.symbol)
    if abs(p.amount) * contract.mark > contract.ceiling(wanted):
        raise Refusal(-2027)
    if p.isolated and p.amount != 0 and wanted < p.leverage:
        raise Refusal(-4161)
    p.leverage = wanted
    exchange.emit(
        {
            **{"e": "ACCOUNT_CONFIG_UPDATE", "E": call.now_ms, "T": call.now_ms},
            "ac": {"s": contract.symbol, "l": p.leverage},
        }
    )
    ceiling = grammar.plain(contract.ceiling(p.leverage))
    return {"leverage": p.leverage, "maxNotionalValue": ceiling, "symbol": contract.symbol}


def margin_type(exchange: Exchange, call: Call) -> Message:
    """POST marginType, with its event."""
    contract = exchange.engine.contract(call.params.get("symbol", ""))
    word = call.params.get("marginType", "")
    if word not in ("ISOLATED", "CROSSED"):
        raise Refusal(-1130, "marginType")
    p = exchange.account.position(contract.symbol)
    if p.isolated == (word == "ISOLATED"):
        raise Refusal(-4046)
    if exchange.engine.resting(contract.symbol):
        raise Refusal(-4047)
    if p.amount != 0:
        raise Refusal(-4048)
    p.isolated = word == "ISOLATED"
    p.update_ms = call.now_ms
    changed = [contract.symbol]
    exchange.emit(exchange.engine.account_update("MARGIN_TYPE_CHANGE", call.now_ms, symbols=changed, balances=False))
    return {"code": 200, "msg": "success"}


def position_mode_get(exchange: Exchange, call: Call) -> Message:
    """GET positionSide/dual."""
    return {"dualSidePosition": exchange.account.dual_side}


def position_mode_set(exchange: Exchange, call: Call) -> Message:
    """POST positionSide/dual: no event at all, as at the venue. Hedge mode itself is not traded here."""
    wanted = call.params.get("dualSidePosition", "").lower() == "true"
    if wanted == exchange.account.dual_side:
        raise Refusal(-4059)
    if exchange.engine.resting():
        raise Refusal(-4067)
    if any(p.amount != 0 for p in exchange.account.positions.values()):
        raise Refusal(-4068)
    exchange.account.dual_side = wanted
    return {"code": 200, "msg": "success"}


def multi_assets_get(exchange: Exchange, call: Call) -> Message:
    """GET multiAssetsMargin."""
    return {"multiAssetsMargin": exchange.account.multi_assets}


def multi_assets_set(exchange: Exchange, call: Call) -> Message:
    """POST multiAssetsMargin, with its event. Margin is computed in the one asset all the same."""
    wanted = call.params.get("multiAssetsMargin", "").lower() == "true"
    if wanted == exchange.account.multi_assets:
        raise Refusal(-4171)
    exchange.account.multi_assets = wanted
    exchange.emit({"e": "ACCOUNT_CONFIG_UPDATE", "E": call.now_ms, "T": call.now_ms, "ai": {"j": wanted}})
    return {"code": 200, "msg": "success"}


def position_row(exchange: Exchange, symbol: str) -> Message:
    """Return one position as v2/account.position tells it."""
    engine, contract = exchange.engine, exchange.contracts[symbol]
    p = exchange.account.position(symbol)
    bids, asks = engine.open_notional(symbol)
    return grammar.position_risk(
        p,
        contract,
        liquidation_price=exchange.account.liquidation_price(symbol, exchange.contracts),
        adl=2 if p.amount else 0,
        order_margin=engine.order_margin(symbol),
        bids=bids,
        asks=asks,
    )


def positions(exchange: Exchange, call: Call) -> list[Message]:
    """v2/account.position and positionRisk v3: symbols with a position or open orders."""
    replica, exchange.replica = exchange.replica, None
    if replica is not None and call.now_ms - replica[0] < REPLICA_MS:
        return replica[1]
    cut = exchange.faults.take("U11", call.now_ms)
    if cut == "empty":
        return []
    rows = [
        position_row(exchange, symbol)
        for symbol in _wanted(exchange, call)
        if exchange.account.position(symbol).amount != 0 or exchange.engine.resting(symbol)
    ]
    return rows if cut is None else rows[:-1]


def positions_v1(exchange: Exchange, call: Call) -> list[Message]:
    """account.position of the first version and positionRisk v2: every symbol, with leverage and margin type."""
    return [
        grammar.position_v1(
            position_row(exchange, symbol), exchange.account.position(symbol), exchange.contracts[symbol]
        )
        for symbol in _wanted(exchange, call)
    ]


def _wanted(exchange: Exchange, call: Call) -> list[str]:
    named = call.params.get("symbol", "")
    return [exchange.engine.contract(named).symbol] if named else list(exchange.contracts)


def balances(exchange: Exchange, call: Call) -> list[Message]:
    """v2/account.balance and balance v3."""
    account = exchange.account
    pnl = sum((p.pnl(exchange.contracts[p.symbol].mark) for p in account.cross()), D(0))
    available = grammar.eights(exchange.engine.available())
    return [
        {
            **{"accountAlias": "SgsR", "asset": "USDT", "balance": grammar.eights(account.wallet)},
            **{"crossWalletBalance": grammar.eights(account.cross_wallet), "crossUnPnl": grammar.eights(pnl)},
            **{"availableBalance": available, "maxWithdrawAmount": available, "marginAvailable": True},
            "updateTime": account.update_ms,
        }
    ]


def account_status(exchange: Exchange, call: Call) -> Message:
    """v2/account.status and account v3: totals, the asset, and the slim rows of what is held or ordered."""
    asset = _asset(exchange, balances(exchange, call)[0])
    slim = [grammar.position_slim(row) for row in positions(exchange, call)]
    return {**_totals(asset), "assets": [asset], "positions": slim}


def account_status_v1(exchange: Exchange, call: Call) -> Message:
    """account.status of the first version and account v2: every symbol, with leverage and isolated flag."""
    asset = _asset(exchange, balances(exchange, call)[0])
    rows = []
    for symbol, contract in exchange.contracts.items():
        row, p = position_row(exchange, symbol), exchange.account.position(symbol)
        rows.append(
            {
                **grammar.position_slim(row),
                **{key: row[key] for key in ("positionInitialMargin", "openOrderInitialMargin", "entryPrice")},
                **{key: row[key] for key in ("breakEvenPrice", "bidNotional", "askNotional")},
                **{"leverage": str(p.leverage), "isolated": p.isolated},
                "maxNotional": grammar.plain(contract.ceiling(p.leverage)),
            }
        )
    flags = {"feeTier": 0, "feeBurn": False, "canTrade": True, "canDeposit": True, "canWithdraw": True}
    multi = {"multiAssetsMargin": exchange.account.multi_assets, "tradeGroupId": -1, "updateTime": 0}
    return {**flags, **multi, **_totals(asset), "assets": [{**asset, "marginAvailable": True}], "positions": rows}


def _asset(exchange: Exchange, row: Message) -> Message:
    account, engine = exchange.account, exchange.engine
    every = [p for p in account.positions.values() if p.amount != 0]
    pnl = sum((p.pnl(exchange.contracts[p.symbol].mark) for p in every), D(0))
    held = {p.symbol: abs(p.amount) * exchange.contracts[p.symbol].mark for p in every}
    initial = sum((held[p.symbol] / p.leverage for p in every), D(0))
    maintenance = sum((exchange.contracts[symbol].maintenance(notional) for symbol, notional in held.items()), D(0))
    orders = engine.orders_margin()
    return {
        **{"asset": "USDT", "walletBalance": row["balance"], "unrealizedProfit": grammar.eights(pnl)},
        **{"marginBalance": grammar.eights(account.wallet + pnl), "maintMargin": grammar.eights(maintenance)},
        **{"initialMargin": grammar.eights(initial + orders), "positionInitialMargin": grammar.eights(initial)},
        **{"openOrderInitialMargin": grammar.eights(orders), "crossWalletBalance": row["crossWalletBalance"]},
        **{"crossUnPnl": row["crossUnPnl"], "availableBalance": row["availableBalance"]},
        **{"maxWithdrawAmount": row["maxWithdrawAmount"], "updateTime": row["updateTime"]},
    }


def _totals(asset: Message) -> Message:
    return {
        **{"totalInitialMargin": asset["initialMargin"], "totalMaintMargin": asset["maintMargin"]},
        **{"totalWalletBalance": asset["walletBalance"], "totalUnrealizedProfit": asset["unrealizedProfit"]},
        **{"totalMarginBalance": asset["marginBalance"]},
        **{"totalPositionInitialMargin": asset["positionInitialMargin"]},
        **{"totalOpenOrderInitialMargin": asset["openOrderInitialMargin"]},
        **{"totalCrossWalletBalance": asset["crossWalletBalance"], "totalCrossUnPnl": asset["crossUnPnl"]},
        **{"availableBalance": asset["availableBalance"], "maxWithdrawAmount": asset["maxWithdrawAmount"]},
    }


def order_limits(exchange: Exchange, call: Call) -> list[Message]:
    """GET rateLimit/order."""
    return [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_PER_10S},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_PER_MINUTE},
    ]


def commission(exchange: Exchange, call: Call) -> Message:
    """GET commissionRate."""
    contract = exchange.engine.contract(call.params.get("symbol", ""))
    return {
        **{"symbol": contract.symbol, "makerCommissionRate": grammar.padded(contract.maker_fee, D("0.000001"))},
        **{"takerCommissionRate": grammar.padded(contract.taker_fee, D("0.000001")), "rpiCommissionRate": "0.00005"},
    }


def brackets(exchange: Exchange, call: Call) -> list[Message]:
    """GET leverageBracket."""
    return [grammar.brackets_row(exchange.contracts[symbol]) for symbol in _wanted(exchange, call)]
