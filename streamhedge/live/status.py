"""What people and programs read of a running hedger: `status` and the summary of a run. Reads, never writes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.events import FloatTradeKind, PositionSide
from streamhedge.domain.order import Order, OrderStatus
from streamhedge.domain.values import NS_PER_MS, ONE, ZERO, divide, exact
from streamhedge.reactor.backstop import open_stops
from streamhedge.reactor.exposure import pending_interval
from streamhedge.reactor.state import Core, symbol_state, trading_state
from streamhedge.rules.allocation import suggest
from streamhedge.rules.hedge import tolerated_usd
from streamhedge.rules.params import HedgeParams


def hedge_status(core: Core, hedge: HedgeParams, now_ns: int) -> dict[str, Any]:
    """Return one entry of ``status.hedges``; money in quote units, quantities in base units, as text."""
    state = core.state
    memory = core.memory_of(hedge.symbol)
    view = state.book.position_view(hedge.symbol, PositionSide.BOTH, now_ns)
    mark = state.book.marks.get(hedge.symbol)
    price = mark.mark_price if mark is not None else None
    quantity = state.floats.get(hedge.asset, ZERO)
    position = state.book.quantity(hedge.symbol)
    low, high = pending_interval(core, hedge.symbol)
    naked = memory.policy_short + position
    return {
        "asset": hedge.asset,
        "symbol": hedge.symbol,
        "symbol_state": symbol_state(memory).value,
        "float": _text(quantity),
        "policy_short": _text(memory.policy_short),
        "position": _text(position),
        "target": _text(memory.target),
        "gap_low": _text(memory.gap_low),
        "gap_high": _text(memory.gap_high),
        "gap_usd": _money(max(abs(memory.gap_low), abs(memory.gap_high)), price),
        "pending_low": _text(low),
        "pending_high": _text(high),
        "naked_btc": _text(naked),
        "naked_usd": _money(abs(naked), price),
        "net_delta_usd": _money(quantity + position, price),
        "policy_open_usd": _money(quantity - memory.policy_short, price),
        "dust": _text(memory.dust),
        "hold": memory.hold,
        "mark_price": None if price is None else _text(price),
        "mark_age_ms": None if mark is None else (now_ns - mark.recv_ns) // NS_PER_MS,
        "liquidation_price": _optional(view.liquidation_price if view else None),
        "venue_liquidation_price": _optional(view.venue_liquidation_price if view else None),
        "liquidation_distance": _ratio(memory.distance),
        "joint_distance": _ratio(memory.joint_distance),
        "ladder": memory.ladder_step.value,
        "entry_price": _optional(view.entry_price if view else None),
        "unrealized_pnl": _optional(view.unrealized_pnl if view else None),
        "position_age_ms": view.age_ms if view else None,
        "in_doubt": [order.client_order_id for order in _open(core, hedge) if order.in_doubt],
        "open_orders": [order.client_order_id for order in _open(core, hedge)],
        "stops": stop_rows(core, hedge, now_ns),
        "in_band": in_band(core, hedge),
    }


def stop_rows(core: Core, hedge: HedgeParams, now_ns: int) -> list[dict[str, Any]]:
    """Return our stops on a symbol that may trigger, oldest first; empty without a backstop."""
    return [
        {
            "client_order_id": stop.client_order_id,
            "status": stop.status.value,
            "trigger_price": _text(stop.trigger_price),
            "quantity": _text(stop.quantity),
            "age_ms": (now_ns - stop.decided_ns) // NS_PER_MS,
        }
        for stop in open_stops(core, hedge.symbol)
    ]


def in_band(core: Core, hedge: HedgeParams) -> bool:
    """True when naked exposure is at most the band and one step."""
    mark = core.state.book.marks.get(hedge.symbol)
    instrument = core.state.book.instruments.get(hedge.symbol)
    if mark is None or instrument is None:
        return False
    memory = core.memory_of(hedge.symbol)
    naked = abs(memory.policy_short + core.state.book.quantity(hedge.symbol)) * mark.mark_price
    return naked <= tolerated_usd(hedge, step_size=instrument.step_size, mark_price=mark.mark_price)


def blocked_rows(core: Core) -> list[dict[str, Any]]:
    """Return why hedges are kept from their policy short; empty when nothing keeps them."""
    rows = []
    for hedge in core.policy.hedges:
        memory = core.memory_of(hedge.symbol)
        if memory.blocked is not None:
            remedy = to_plain(memory.blocked.remedy) if memory.blocked.remedy is not None else None
            rows.append(
                {
                    "symbol": hedge.symbol,
                    "cause": memory.blocked.cause,
                    "reason": memory.blocked.reason,
                    "remedy": remedy,
                }
            )
    return rows


def trading_reasons(core: Core) -> list[str]:
    """Return why the global state is not ACTIVE."""
    halted = [core.state.halted] if core.state.halted is not None else []
    return [*halted, *core.state.reducing.values()]


def account_status(core: Core, now_ns: int) -> dict[str, Any] | None:
    """Return the margin account, None before the first snapshot."""
    view = core.state.book.account_view(core.policy.margin_asset, now_ns)
    return None if view is None else to_plain(view)


def funding_status(core: Core) -> dict[str, Any]:
    """Return running and realised funding by symbol."""
    rows = {}
    for hedge in core.policy.hedges:
        view = core.state.book.funding_view(hedge.symbol)
        if view is not None:
            rows[hedge.symbol] = to_plain(view)
    return {
        "symbols": rows,
        "realised_usd": _text(core.state.meter.funding),
        "policy": {hedge.symbol: _ratio_status(core, hedge) for hedge in core.policy.hedges}
        if core.policy.funding
        else {},
    }


def _ratio_status(core: Core, hedge: HedgeParams) -> dict[str, str] | None:
    """Return the funding-aware ratio in force against the fixed one, quote units; None before the first look."""
    found = core.memory_of(hedge.symbol).funding
    if found is None:
        return None
    return {
        "ratio": _text(found.ratio),
        "fixed_ratio": _text(hedge.ratio),
        "reason": found.reason,
        "funding_saved": _text(round(found.saved, 8)),
        "fees_paid": _text(round(found.fees, 8)),
        "opened_pnl": _text(round(found.opened_pnl, 8)),
        "net_against_fixed": _text(round(found.saved - found.fees + found.opened_pnl, 8)),
    }


def allocation_status(core: Core) -> dict[str, Any] | None:
    """Return what the float policy suggests now; None without a policy or before the first mark."""
    params = core.policy.allocation
    hedge = next((hedge for hedge in core.policy.hedges if params is not None and hedge.asset == params.asset), None)
    mark = core.state.book.marks.get(hedge.symbol) if hedge is not None else None
    if params is None or mark is None:
        return None
    found = suggest(
        params,
        usd=core.state.usd,
        float_quantity=core.state.floats.get(params.asset, ZERO),
        price=mark.index_price,
    )
    return {
        "asset": params.asset,
        "suggestion": found.kind.value if found.kind is not None else "hold",
        "amount": _text(found.amount),
        "unit": "USD" if found.kind is FloatTradeKind.BUY else params.asset,
        "usd_share": _text(round(found.share, 6)),
        "drift": _text(round(found.drift, 6)),
        "urgency": found.urgency,
        "reason": found.reason,
    }


def gap_status(core: Core) -> dict[str, Any] | None:
    """Return the open certificate, else the one closed last, None before any; times in ns since the epoch."""
    gap = core.state.gap or core.state.last_gap
    if gap is None:
        return None
    said = to_plain(gap)
    return {name: said[name] for name in ("number", "causes", "opened_ns", "closed_ns", "residual")}


def attribution_status(core: Core) -> dict[str, Any]:
    """Return where the treasury's value went in this run (HEDGING §7), quote units by line; + is a gain."""
    attribution = core.state.attribution
    with exact():
        lines = attribution.lines()
        change = attribution.value() - attribution.value_at_start if attribution.began else ZERO
    return {"change": _text(round(change, 8)), "lines": {name: _text(round(lines[name], 8)) for name in sorted(lines)}}


def depeg_status(core: Core, usd_per_quote: Decimal | None) -> dict[str, str] | None:
    """Return what the quote asset's own price in USD does to the treasury; None where no price is configured.

    A perpetual makes the float neutral against its quote asset and no further: float and wallet lose with it what the
    treasury's cash in USD does not (HEDGING §7). ``value``: float, wallet and open profit, quote units; ``depeg_usd``:
    what they are worth above their value at par, USD; - is a loss.
    """
    attribution = core.state.attribution
    if usd_per_quote is None or not attribution.began:
        return None
    with exact():
        value = attribution.value() - attribution.usd
        depeg = value * (usd_per_quote - ONE)
    return {"usd_per_quote": _text(usd_per_quote), "value": _text(round(value, 8)), "depeg_usd": _cents(depeg)}


def controls_status(core: Core) -> dict[str, int]:
    """Return how often each control acted in this run, by its id; those that never did are left out."""
    return {name: core.state.meter.triggers[name] for name in sorted(core.state.meter.triggers)}


def core_status(core: Core, now_ns: int) -> dict[str, Any]:
    """Return the part of ``status --json`` that the reactor knows."""
    return {
        "trading_state": trading_state(core.state).value,
        "trading_reasons": trading_reasons(core),
        "shadow": core.state.shadow,
        "book_status": core.state.book_status.value,
        "book_reason": core.state.book_reason,
        "gap": gap_status(core),
        "blocked": blocked_rows(core),
        "hedges": [hedge_status(core, hedge, now_ns) for hedge in core.policy.hedges],
        "account": account_status(core, now_ns),
        "funding": funding_status(core),
        "allocation": allocation_status(core),
        "attribution": attribution_status(core),
        "controls": controls_status(core),
        "policy_hash": core.policy_hash,
    }


def core_summary(core: Core, now_ns: int) -> dict[str, Any]:
    """Return the part of ``run --json`` that the reactor knows; figures of the first hedge where one is meant."""
    state = core.state
    meter = state.meter
    first = core.policy.hedges[0]
    memory = core.memory_of(first.symbol)
    mark = state.book.marks.get(first.symbol)
    price = mark.mark_price if mark is not None else None
    naked = [abs(core.memory_of(h.symbol).policy_short + state.book.quantity(h.symbol)) for h in core.policy.hedges]
    return {
        "blocked": blocked_rows(core),
        "naked_usd": _money(naked[0], price),
        "net_delta_usd": _net_delta(core),
        "float_btc": _text(state.floats.get(first.asset, ZERO)),
        "position_btc": _text(state.book.quantity(first.symbol)),
        "gap_usd": _money(max(abs(memory.gap_low), abs(memory.gap_high)), price),
        "in_band": all(in_band(core, hedge) for hedge in core.policy.hedges),
        "hedges": meter.hedges,
        "orders_sent": meter.orders_sent,
        "in_doubt": sum(order.in_doubt for order in state.orders.values()),
        "unresolved": {
            "in_doubt": [order.client_order_id for order in core.open_orders() if not _rests(order)],
            "resting": [order.client_order_id for order in core.open_orders() if _rests(order)],
        },
        "doubted": meter.doubted,
        "ghosts": meter.ghosts,
        "refused": meter.refused,
        "liquidated": meter.liquidations,
        "venue_closes": meter.venue_closes,
        "min_liquidation_distance": _ratio(meter.min_distance),
        "max_naked_usd": _cents(meter.max_naked_usd),
        "naked_usd_seconds": {cause: _cents(value) for cause, value in meter.naked_usd_seconds.items()},
        "funding_usd": _text(meter.funding),
        "funding_policy": funding_status(core)["policy"],
        "fees_usd": _text(meter.fees),
        "attribution": attribution_status(core),
        "quarantined": meter.quarantined,
        "controls": controls_status(core),
        "adoptions": meter.adoptions,
        "trading_state": trading_state(state).value,
        "trading_reasons": trading_reasons(core),
        "positions": {
            f"{held.symbol}": _text(held.quantity) for held in state.book.positions.values() if held.quantity != 0
        },
        "wallet": {asset: _text(held.wallet_balance) for asset, held in state.book.balances.items()},
    }


def _rests(order: Order) -> bool:
    return order.status is OrderStatus.WORKING


def _net_delta(core: Core) -> str | None:
    """Return the net exposure of all hedges together, quote units; None before the first mark of each."""
    total = ZERO
    for hedge in core.policy.hedges:
        mark = core.state.book.marks.get(hedge.symbol)
        if mark is None:
            return None
        held = core.state.floats.get(hedge.asset, ZERO) + core.state.book.quantity(hedge.symbol)
        total += held * mark.mark_price
    return _cents(total)


def _open(core: Core, hedge: HedgeParams) -> list[Any]:
    return [order for order in core.state.orders.values() if order.symbol == hedge.symbol and order.is_open]


def _text(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"


def _optional(value: Decimal | None) -> str | None:
    return None if value is None else _text(round(value, 4))


def _ratio(value: Decimal | None) -> str | None:
    return None if value is None else _text(round(value, 6))


def _money(quantity: Decimal, price: Decimal | None) -> str | None:
    return None if price is None else _cents(quantity * price)


def _cents(value: Decimal) -> str:
    return format(round(value, 2), "f")


def slippage_basis_points(*, side_sign: int, average: Decimal, decision_mark: Decimal) -> Decimal:
    """Return slippage against the decision's mark in basis points, + = cost (HEDGING §6).

    A buy above the mark costs, a sell below it does.
    """
    return divide(side_sign * (average - decision_mark) * 10_000, decision_mark)
