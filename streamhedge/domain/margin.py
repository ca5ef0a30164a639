"""Maintenance margin, liquidation price, distances and sizes: closed forms over the bracket table, no iteration.

Maintenance is convex and piecewise linear in notional, ``mm(N) = max_k (N * mmr_k - cum_k)``, so a short's liquidation
price is a minimum over brackets and a long's a maximum; sizes that keep a distance are minima likewise. Names: C cross
wallet plus PnL of the other positions minus their maintenance; h short size; M mark; phi taker fee; d a distance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from streamhedge.domain.instrument import MarginBracket
from streamhedge.domain.values import ONE, ZERO, divide, exact, finite_from

ASSUMING_PRICE = Decimal("1.0015")
"""Initial margin of a short is charged on 0.15 % above the price (BINANCE_USDM §6.1, likely)."""

Number = Decimal | str | int


def maintenance_margin(*, notional: Number, brackets: Sequence[MarginBracket]) -> Decimal:
    """Return the maintenance margin of one position.

    Formula: max over brackets of notional * maintenance_margin_rate - maintenance_amount; equal to the row whose
    (notional_floor, notional_cap] holds the notional, because the table is continuous and convex.

    Args:
        notional: Absolute position value in quote units, >= 0.
        brackets: The symbol's table.

    Returns:
        Quote units, exact, >= 0.

    Raises:
        ValueError: a negative or malformed notional, or an empty table.
    """
    with exact():
        value = finite_from(notional)
        if value < 0 or not brackets:
            raise ValueError(f"maintenance margin needs a notional >= 0 and brackets, got {value} and {len(brackets)}")
        return _maintenance(value, brackets)


def _maintenance(notional: Decimal, brackets: Sequence[MarginBracket]) -> Decimal:
    most = ZERO
    for row in brackets:
        found = notional * row.maintenance_margin_rate - row.maintenance_amount
        if found > most:
            most = found
    return most


def liquidation_price(
    *,
    position_amount: Number,
    entry_price: Number,
    wallet_balance: Number,
    brackets: Sequence[MarginBracket],
    other_maintenance_margin: Number = 0,
    other_unrealized_pnl: Number = 0,
    opposite_amount: Number = 0,
    opposite_entry_price: Number = 0,
) -> Decimal | None:
    """Return the mark price at which the venue may liquidate a position.

    Formula (short): min_k (WB - TMM' + UPNL' + cum_k + s*E) / (s * (1 + mmr_k)); (long): max_k (s*E - WB + TMM' - UPNL'
    - cum_k) / (s * (1 - mmr_k)). Source: BINANCE_USDM §6.2, closed by convexity.

    Args:
        position_amount: Signed size, base units; negative is short.
        entry_price: Entry price, quote units.
        wallet_balance: Isolated wallet, or the cross wallet, quote units.
        brackets: The symbol's maintenance table.
        other_maintenance_margin, other_unrealized_pnl: Of the other cross positions, quote units; 0 for isolated.
        opposite_amount, opposite_entry_price: The other side of a cross hedge-mode pair, signed; 0 in one-way mode.

    Returns:
        Quote units, possibly at or below the mark (then liquidation may already run) or below 0; None for a flat
        position, for a pair of equal sides, and for a long (or net long) whose price would not be above 0: a move
        against them cannot liquidate them. Of a pair, the move against its net side: that a rise lets the maintenance of
        two nearly equal sides outgrow what is behind them is not told.

    Raises:
        ValueError: a malformed number or an empty table.
    """
    with exact():
        amount = finite_from(position_amount)
        opposite = finite_from(opposite_amount)
        entry = finite_from(entry_price)
        if not brackets:
            raise ValueError("a liquidation price needs the symbol's brackets")
        if amount == 0:
            return None
        fixed = finite_from(wallet_balance) - finite_from(other_maintenance_margin) + finite_from(other_unrealized_pnl)
        cost = amount * entry + opposite * finite_from(opposite_entry_price)
        return _crossing(amount, opposite, fixed - cost, brackets)


def _crossing(amount: Decimal, opposite: Decimal, fixed: Decimal, brackets: Sequence[MarginBracket]) -> Decimal | None:
    """Solve fixed + net*P = sum of both sides' maintenance for the price at which a losing net position is used up.

    Equity minus maintenance is a minimum of straight lines, one per pair of brackets. A net short loses along all of
    them: the lowest crossing binds. A net long gains along the rising ones: the highest of their crossings binds.
    """
    net = amount + opposite
    if net == 0:
        return None
    other_side = (
        [(row.maintenance_margin_rate, row.maintenance_amount) for row in brackets] if opposite else [(ZERO, ZERO)]
    )
    crossings = []
    for row in brackets:
        for rate, deduction in other_side:
            slope = net - abs(amount) * row.maintenance_margin_rate - abs(opposite) * rate
            if slope != 0 and (slope > 0) == (net > 0):
                crossings.append(divide(-fixed - row.maintenance_amount - deduction, slope))
    if net < 0:
        return min(crossings)
    price = max(crossings, default=ZERO)
    return price if price > 0 else None


def distance_to(*, position_amount: Decimal, mark_price: Decimal, price: Decimal | None) -> Decimal | None:
    """Return the signed liquidation distance as a fraction of the mark; <= 0 means liquidation may run now."""
    if price is None or position_amount == 0:
        return None
    gap = price - mark_price if position_amount < 0 else mark_price - price
    return divide(gap, mark_price)


def trigger_slack(*, notional: Decimal, distance: Decimal, brackets: Sequence[MarginBracket]) -> Decimal:
    """Return K(d): a short is within distance d exactly when the group's slack is at most this (HEDGING §3)."""
    there = maintenance_margin(notional=notional * (ONE + distance), brackets=brackets)
    return notional * distance + there - maintenance_margin(notional=notional, brackets=brackets)


def joint_distance(
    *, margin_balance: Decimal, shorts: Sequence[tuple[Decimal, Sequence[MarginBracket]]]
) -> Decimal | None:
    """Return the common rise of all shorts of a margin group at which its margin is used up.

    Solves margin_balance - g * sum N_i = sum mm(N_i * (1 + g)) exactly: the difference is piecewise linear and falling
    in g, so it is enough to look at the bracket edges and interpolate in the one interval that changes sign.

    Args:
        margin_balance: Wallet plus PnL minus the maintenance of positions that are not shorts of the group.
        shorts: (notional, brackets) of each short.

    Returns:
        A fraction of the mark, possibly negative; None without shorts.
    """
    if not shorts:
        return None

    def left(rise: Decimal) -> Decimal:
        kept = margin_balance
        for notional, table in shorts:
            kept -= notional * rise + _maintenance(notional * (ONE + rise), table)
        return kept

    return _zero_of(
        left, sorted({divide(row.notional_cap, size) - ONE for size, table in shorts for row in table} | {-ONE})
    )


def joint_share(
    *, margin_balance: Decimal, shorts: Sequence[tuple[Decimal, Sequence[MarginBracket]]], distance: Decimal
) -> Decimal:
    """Return the largest part of all wanted shorts that the margin group carries at a joint distance, fees aside.

    Solves margin_balance - share * distance * sum N_i = sum mm(share * N_i * (1 + distance)) exactly (HEDGING §2), so
    that hedges sharing margin are scaled alike and the symbol whose tick comes first does not take all.

    Args:
        margin_balance: Wallet plus PnL minus the maintenance of positions that are not hedges of the group.
        shorts: (notional, brackets) of each wanted short.
        distance: Fraction of the mark that must remain.

    Returns:
        A share in [0, 1].
    """

    def left(share: Decimal) -> Decimal:
        kept = margin_balance
        for notional, table in shorts:
            wanted = share * notional
            kept -= wanted * distance + maintenance_margin(notional=wanted * (ONE + distance), brackets=table)
        return kept

    open_shorts = [(size, table) for size, table in shorts if size > 0]
    if not open_shorts or left(ONE) >= 0:
        return ONE
    grown = [(size * (ONE + distance), table) for size, table in open_shorts]
    return _zero_of(left, sorted({divide(row.notional_cap, size) for size, table in grown for row in table} | {ZERO}))


def _zero_of(left: Callable[[Decimal], Decimal], edges: Sequence[Decimal]) -> Decimal:
    """Return where a falling function that is straight between its edges is zero; the first edge when it is not above.

    Args:
        left: The function; beyond the last edge it goes on as straight as it was.
        edges: Ascending, the first one the lowest argument that makes sense.
    """
    low, at_low = edges[0], left(edges[0])
    if at_low <= 0:
        return low
    for high in (*edges[1:], edges[-1] + ONE):
        at_high = left(high)
        if at_high <= 0 or high > edges[-1]:
            return low + divide(at_low * (high - low), at_low - at_high)
        low, at_low = high, at_high
    raise AssertionError("the point beyond the last edge ends the search")


def size_at_distance(
    *,
    free: Decimal,
    held: Decimal,
    mark_price: Decimal,
    distance: Decimal,
    fee_rate: Decimal,
    brackets: Sequence[MarginBracket],
) -> Decimal:
    """Return S_dist(d): the largest short that still stands at distance d after raising to it, fee included.

    Formula: min_k (C + h*M*phi + cum_k) / (M * (d + (1+d)*mmr_k + phi)). ``free`` is C, the margin balance at the mark.
    """
    return min(
        divide(
            free + held * mark_price * fee_rate + row.maintenance_amount,
            mark_price * (distance + (ONE + distance) * row.maintenance_margin_rate + fee_rate),
        )
        for row in brackets
    )


def size_after_cut(
    *,
    free: Decimal,
    held: Decimal,
    mark_price: Decimal,
    distance: Decimal,
    fee_rate: Decimal,
    brackets: Sequence[MarginBracket],
) -> Decimal:
    """Return the largest short that stands at distance d after cutting to it at the mark, fee included.

    Formula: min_k (C - h*M*phi + cum_k) / (M * (d + (1+d)*mmr_k - phi)).
    """
    return min(
        divide(
            free - held * mark_price * fee_rate + row.maintenance_amount,
            mark_price * (distance + (ONE + distance) * row.maintenance_margin_rate - fee_rate),
        )
        for row in brackets
    )


def distance_of_size(*, free: Decimal, notional: Decimal, brackets: Sequence[MarginBracket]) -> Decimal:
    """Return the distance at which a short of this notional stands: min_k (C + cum_k - N*mmr_k) / (N * (1 + mmr_k))."""
    return min(
        divide(
            free + row.maintenance_amount - notional * row.maintenance_margin_rate,
            notional * (ONE + row.maintenance_margin_rate),
        )
        for row in brackets
    )


def isolated_size_at_distance(
    *,
    free: Decimal,
    held: Decimal,
    mark_price: Decimal,
    distance: Decimal,
    leverage: int,
    fee_rate: Decimal,
    brackets: Sequence[MarginBracket],
) -> Decimal:
    """Return the largest isolated short that stands at distance d when every added unit brings its initial margin.

    For each bracket: r*M*(kappa_k - 1/L + phi) <= C + cum_k - h*M*kappa_k. ``free`` is isolated wallet plus PnL.
    """
    room: Decimal | None = None
    for row in brackets:
        kappa = distance + (ONE + distance) * row.maintenance_margin_rate
        left = free + row.maintenance_amount - held * mark_price * kappa
        per_unit = mark_price * (kappa - divide(ONE, Decimal(leverage)) + fee_rate)
        if left < 0:
            return held
        if per_unit > 0:
            limit = divide(left, per_unit)
            room = limit if room is None else min(room, limit)
    return held + room if room is not None else divide(brackets[-1].notional_cap, mark_price)


def top_up(
    *, size: Decimal, free: Decimal, mark_price: Decimal, distance: Decimal, brackets: Sequence[MarginBracket]
) -> Decimal:
    """Return the margin that puts a short of ``size`` at distance d: s*M*d + mm(s*M*(1+d)) - C, at least 0."""
    notional = size * mark_price
    needed = notional * distance + maintenance_margin(notional=notional * (ONE + distance), brackets=brackets)
    return max(ZERO, needed - free)


def sell_and_post(
    *, size: Decimal, free: Decimal, mark_price: Decimal, distance: Decimal, brackets: Sequence[MarginBracket]
) -> Decimal:
    """Return the float to sell and post as margin so that the rest stands at distance d, base units, at least 0.

    Formula: max_k (s*M*kappa_k - C - cum_k) / (M * (1 + kappa_k)) with kappa_k = d + (1+d)*mmr_k.
    """
    found = ZERO
    for row in brackets:
        kappa = distance + (ONE + distance) * row.maintenance_margin_rate
        wanted = size * mark_price * kappa - free - row.maintenance_amount
        found = max(found, divide(wanted, mark_price * (ONE + kappa)))
    return found


def size_by_initial_margin(
    *,
    held: Decimal,
    available: Decimal,
    mark_price: Decimal,
    price: Decimal,
    leverage: int,
    fee_rate: Decimal,
) -> Decimal:
    """Return S_im: the short that the available balance carries at this leverage, open loss and fee included.

    Formula: h + available / (max(M, p)*1.0015/L + max(0, M - p) + M*phi).
    """
    per_unit = (
        divide(max(mark_price, price) * ASSUMING_PRICE, Decimal(leverage))
        + max(ZERO, mark_price - price)
        + mark_price * fee_rate
    )
    return held + divide(max(ZERO, available), per_unit)


def position_ceiling(*, leverage: int, brackets: Sequence[MarginBracket]) -> Decimal:
    """Return the largest notional the venue allows at a leverage (-2027 above it), quote units."""
    allowed = [row.notional_cap for row in brackets if row.max_leverage >= leverage]
    return max(allowed, default=ZERO)


def opening_distance(*, leverage: int, notional: Decimal, brackets: Sequence[MarginBracket]) -> Decimal:
    """Return the distance at which an isolated short of this notional opens, fees aside."""
    price = liquidation_price(
        position_amount=-notional,
        entry_price=ONE,
        wallet_balance=divide(notional, Decimal(leverage)),
        brackets=brackets,
    )
    assert price is not None, "a short has a liquidation price"
    return price - ONE


def wallet_for_rally(
    *, notional: Decimal, rally: Decimal, distance: Decimal, brackets: Sequence[MarginBracket]
) -> Decimal:
    """Return the wallet that carries a short through a rally and leaves distance d: ((1+r)(1+d)(1+mmr)-1)*N - cum."""
    grown = notional * (ONE + rally) * (ONE + distance)
    return grown + maintenance_margin(notional=grown, brackets=brackets) - notional
