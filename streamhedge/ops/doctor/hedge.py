"""What the doctor works out for each hedge: contract, leverage, margin against the ladder, slices, budget."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any

from streamhedge.domain.events import MarkPriceUpdate, SetupDone, SnapshotBalance, SnapshotPosition
from streamhedge.domain.margin import distance_of_size, maintenance_margin, top_up, wallet_for_rally
from streamhedge.domain.values import ZERO, divide, floor_step, plain_text
from streamhedge.ops.doctor.finding import FAIL, OK, WARN, Check, check
from streamhedge.rules.fitness import misfit
from streamhedge.rules.params import HedgeParams, Policy

RALLIES = ("0.10", "0.20", "0.30", "0.50", "1.00")


def hedge_checks(
    hedge: HedgeParams,
    policy: Policy,
    setup: SetupDone,
    mark: MarkPriceUpdate | None,
    positions: Sequence[SnapshotPosition],
    balances: Sequence[SnapshotBalance],
) -> list[Check]:
    instrument = next((row for row in setup.instruments if row.symbol == hedge.symbol), None)
    leverage = setup.leverage.get(hedge.symbol)
    # The hedger sets leverage and margin type at its start while nothing is open; what a position holds, it cannot.
    flat = all(row.quantity == 0 for row in positions if row.symbol == hedge.symbol)
    reason = misfit(
        hedge,
        policy,
        instrument=instrument,
        leverage=hedge.leverage if flat else leverage,
        isolated=None if flat else setup.isolated.get(hedge.symbol),
        mark_price=mark.mark_price if mark is not None else None,
    )
    name = hedge.symbol
    found = [
        check(
            f"{name} contract",
            FAIL if reason else OK,
            reason or "filters, brackets and margin type fit",
            "correct it at the venue or in [[hedge]]",
        )
    ]
    if leverage is not None and leverage != hedge.leverage:
        repair = "nothing: the hedger sets it at its start" if flat else f"set it to {hedge.leverage} at the venue"
        found.append(check(f"{name} leverage", WARN, f"{leverage} at the venue, {hedge.leverage} configured", repair))
    if instrument is None or mark is None:
        return found
    price = mark.mark_price
    ratio = min(hedge.ratio, policy.limits.max_short_ratio)
    size = floor_step(max(ZERO, min(ratio * hedge.initial, hedge.max_short)), instrument.step_size)
    if size == 0:
        return found
    notional = size * price
    wallet = next((row.cross_wallet_balance for row in balances if row.asset == instrument.margin_asset), ZERO)
    free = wallet + sum(
        (row.quantity * (row.mark_price - row.entry_price) for row in positions if not row.isolated), ZERO
    )
    if hedge.isolated:
        found.append(isolated(name))
    else:
        found.append(margin(name, policy, size, price, free, instrument.brackets))
    found += [slices(hedge, policy, notional), budget(name, policy, size, price, instrument.brackets)]
    return found


def isolated(name: str) -> Check:
    """An isolated leg has its own margin alone, and a cut frees only a part of it (HEDGING §4)."""
    text = "isolated: a cut helps less, and where no size restores `reopen` only more margin or `close` does"
    return check(f"{name} margin", WARN, text, 'say margin = "cross" unless other positions share the account')


def margin(name: str, policy: Policy, size: Decimal, price: Decimal, free: Decimal, brackets: Any) -> Check:
    """Cross margin: collateral, not the leverage setting, decides the distance."""
    ladder = policy.ladder
    distance = distance_of_size(free=free, notional=size * price, brackets=brackets)
    missing = top_up(size=size, free=free, mark_price=price, distance=ladder.reopen, brackets=brackets)
    percent = f"{distance * 100:.2f} %"
    text = f"{plain_text(size)} short at {price} on {free:.0f} stands at {percent}, reopen {plain_text(ladder.reopen * 100)} %"
    if distance >= ladder.reopen:
        return check(f"{name} margin", OK, text)
    effective = divide(size * price, free) if free > 0 else None
    said = f"{text}; effective leverage {effective:.2f}" if effective is not None else text
    return check(
        f"{name} margin", WARN, said, f"post {missing:.0f} more, or hedge less: only part of the float is hedged"
    )


def slices(hedge: HedgeParams, policy: Policy, notional: Decimal) -> Check:
    """A hedge that takes longer than the alarm in its own rate limit would alarm at each large trade (HEDGING §2)."""
    limits = policy.limits
    count = int(divide(notional, limits.max_order_notional).to_integral_value(rounding=ROUND_CEILING))
    minutes = divide(Decimal(count), Decimal(limits.max_orders_per_minute))
    late = count > limits.max_orders_per_minute and minutes * 60_000 > hedge.naked_alert_after_ms
    text = f"the whole hedge takes {count} order(s), {minutes * 60:.0f} s at {limits.max_orders_per_minute} a minute"
    return check(
        f"{hedge.symbol} slices", WARN if late else OK, text, "raise max_order_notional or max_orders_per_minute"
    )


def budget(name: str, policy: Policy, size: Decimal, price: Decimal, brackets: Any) -> Check:
    """The wallet that carries the whole hedge through a rally with no cut (HEDGING §3)."""
    notional = size * price
    rows = {}
    for rally in RALLIES:
        wallet = wallet_for_rally(
            notional=notional, rally=Decimal(rally), distance=policy.ladder.reduce, brackets=brackets
        )
        rows[rally] = f"{wallet:.0f}"
    said = ", ".join(f"+{Decimal(rally) * 100:.0f} % {wallet}" for rally, wallet in rows.items())
    needed = maintenance_margin(notional=notional, brackets=brackets)
    text = (
        f"wallet for {plain_text(size)} ({notional:.0f}) with no cut in a rally: {said}; maintenance now {needed:.0f}"
    )
    return check(f"{name} budget", OK, text, wallets=rows)
