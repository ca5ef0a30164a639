"""The rate budget: how much of the venue's limits is used, what may still go out, and when nothing may.

Limits are per address (request weight) and per account (orders), shared with whoever else uses them. The venue's own count
comes with its answers (`x-mbx-used-weight-1m`, `x-mbx-order-count-10s`, `rateLimits` of a frame) and wins where it is higher;
where an answer has none, our own count stands. In normal times we use at most half of a limit, and a fifth of it is left for
what reduces and cancels, whoever used the rest. 429 and 418 mean silence until the venue's time plus jitter: nothing is sent
meanwhile, not even to look whether it is over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from streamhedge.domain.commands import (
    CancelOrder,
    CancelStop,
    Command,
    CreateListenKey,
    FollowSymbol,
    PlaceOrder,
    PlaceStop,
    QueryOrder,
    RenewListenKey,
    RequestOpenOrders,
    RequestOpenStops,
    RequestSetup,
    RequestSnapshot,
    RequestTime,
    SetLeverage,
)
from streamhedge.domain.events import RateNews
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, state

WEIGHT = "weight_1m"
ORDERS = ("orders_10s", "orders_1m")
LIMITS = {WEIGHT: 2_400, "orders_10s": 300, "orders_1m": 1_200}
"""Live `exchangeInfo`, read 2026-09-30; used until the account's own are read."""
SPANS_NS = {"s": NS_PER_SECOND, "m": 60 * NS_PER_SECOND, "h": 3_600 * NS_PER_SECOND, "d": 86_400 * NS_PER_SECOND}
OURS_PERCENT = 50
RESERVED_PERCENT = 20
SHOWN_MOST = 50
"""More room than this makes no difference to anybody."""
PAUSE_FIRST_MS, PAUSE_MOST_MS = 1_000, 60_000
BAN_LEAST_MS = 120_000
"""The shortest ban there is, for a 418 that does not say how long."""
JITTER_MOST_MS = 1_000
HEADER = re.compile(r"x-mbx-(used-weight|order-count)-([0-9]{1,3}[smhd])")
HANDSHAKE_WEIGHT = 5
COSTS: dict[type, int] = {
    RequestSnapshot: 10,
    RequestTime: 1,
    QueryOrder: 1,
    CancelOrder: 1,
    CancelStop: 1,
    RequestOpenStops: 1,
    CreateListenKey: 1,
    RenewListenKey: 1,
    SetLeverage: 1,
    RequestOpenOrders: 40,
}
SETUP_WEIGHT, SETUP_WEIGHT_PER_SYMBOL = 11, 21
"""exchangeInfo 1, accountConfig 5, symbolConfig 5; leverageBracket 1 and commissionRate 20 for each symbol."""


@state
class Window:
    """One limit: what we sent and when, and what the venue counted last."""

    limit: int
    span_ns: int
    spent: list[tuple[int, int]] = field(default_factory=list)
    told: int = 0
    told_ns: int = 0

    def ours(self, now_ns: int) -> int:
        """Return what we used within the window."""
        return sum(amount for at_ns, amount in self.spent if at_ns > now_ns - self.span_ns)

    def used(self, now_ns: int) -> int:
        """Return what is used, by the venue's count where it has one and counts more."""
        ours = self.ours(now_ns)
        if not self.told_ns or now_ns - self.told_ns >= self.span_ns:
            return ours
        return max(ours, self.told + sum(amount for at_ns, amount in self.spent if at_ns > self.told_ns))

    def room(self, now_ns: int, *, reducing: bool) -> int:
        """Return how much may still go out."""
        used = self.used(now_ns)
        if reducing:
            return self.limit - used
        half = self.limit * OURS_PERCENT // 100
        return min(half - self.ours(now_ns), self.limit * (100 - RESERVED_PERCENT) // 100 - used)

    def spend(self, amount: int, now_ns: int) -> None:
        """Count what goes out."""
        self.spent = [(at_ns, n) for at_ns, n in self.spent if at_ns > now_ns - self.span_ns]
        self.spent.append((now_ns, amount))


def _windows() -> dict[str, Window]:
    return {name: Window(limit=limit, span_ns=span_of(name)) for name, limit in LIMITS.items()}


@state
class Budget:
    """All limits of one account, and the silence the venue asked for. Written by the session."""

    windows: dict[str, Window] = field(default_factory=_windows)
    silent_until_ns: int = 0
    banned: bool = False
    refusals: int = 0

    def silent(self, now_ns: int) -> bool:
        """True while nothing may be sent."""
        return now_ns < self.silent_until_ns

    def take(self, command: Command, symbols: int, now_ns: int) -> bool:
        """Count a command and return True, or leave it and return False: there is no room for it now.

        Args:
            command: What is to be sent. An order was judged by the gate, it only counts here.
            symbols: How many a set-up reads.
            now_ns: The time.
        """
        if isinstance(command, PlaceOrder | PlaceStop):
            for name in ORDERS:
                self.windows[name].spend(1, now_ns)
            return True
        weight = weight_of(command, symbols)
        if weight == 0:
            return True
        window = self.windows[WEIGHT]
        # What alone is larger than our half may go when nothing of ours is counted.
        fits = (
            weight <= window.room(now_ns, reducing=isinstance(command, CancelOrder | CancelStop))
            or window.ours(now_ns) == 0
        )
        if self.silent(now_ns) or not fits:
            return False
        window.spend(weight, now_ns)
        return True

    def shake_hands(self, now_ns: int) -> int:
        """Count a handshake with the WebSocket API and return how many ms it has to wait."""
        self.windows[WEIGHT].spend(HANDSHAKE_WEIGHT, now_ns)
        return max(0, self.silent_until_ns - now_ns + NS_PER_MS - 1) // NS_PER_MS

    def hear(self, news: RateNews, now_ns: int) -> None:
        """Take what an answer said of limits and counts, and the silence it asks for."""
        for name, limit in news.limits.items():
            if limit > 0:
                self.windows.setdefault(name, Window(limit=limit, span_ns=span_of(name))).limit = limit
        for name, count in news.counts.items():
            window = self.windows.get(name)
            if window is not None:
                window.told, window.told_ns = count, now_ns
        if news.status not in (418, 429):
            self.refusals = 0
            return
        wait_ms = news.wait_ms
        if wait_ms is None:
            wait_ms = (
                BAN_LEAST_MS if news.status == 418 else min(PAUSE_FIRST_MS << min(self.refusals, 6), PAUSE_MOST_MS)
            )
        self.refusals += 1
        wait_ms += 1 + JITTER_MOST_MS * news.jitter_permille // 1_000
        self.silent_until_ns = max(self.silent_until_ns, now_ns + wait_ms * NS_PER_MS)
        self.banned = self.banned or news.status == 418

    def orders_left(self, now_ns: int, *, reducing: bool) -> int:
        """Return how many orders may still go out, at most SHOWN_MOST; none while silent."""
        if self.silent(now_ns):
            return 0
        room = min(self.windows[name].room(now_ns, reducing=reducing) for name in ORDERS)
        return max(0, min(room, SHOWN_MOST))

    def shown(self, now_ns: int) -> dict[str, dict[str, int]]:
        """Return used and limit of every window, and how much of it is ours."""
        return {
            name: {"used": window.used(now_ns), "limit": window.limit, "ours": window.ours(now_ns)}
            for name, window in self.windows.items()
        }


def weight_of(command: Command, symbols: int) -> int:
    """Return the request weight of a command, 0 for what is none."""
    if isinstance(command, RequestSetup | FollowSymbol):
        return SETUP_WEIGHT + SETUP_WEIGHT_PER_SYMBOL * symbols
    return COSTS.get(type(command), 0)


def span_of(name: str) -> int:
    """Return the length of a window named like weight_1m or orders_10s."""
    _, _, span = name.rpartition("_")
    return int(span[:-1]) * SPANS_NS[span[-1]]


def counts_of(headers: Mapping[str, str]) -> dict[str, int]:
    """Return the counts in the headers of an answer, lower-case names; what cannot be read is left out.

    `x-mbx-used-weight-1m: 58`, `x-mbx-order-count-10s: 3`
    """
    found = {}
    for name, value in headers.items():
        header = HEADER.fullmatch(name)
        if header is not None and value.isascii() and value.isdigit() and len(value) < 10:
            found[f"{'weight' if header[1] == 'used-weight' else 'orders'}_{header[2]}"] = int(value)
    return found


def limits_of(rows: object) -> tuple[dict[str, int], dict[str, int]]:
    """Return counts and limits of a frame's ``rateLimits`` or those of `exchangeInfo`; what cannot be read is left out.

    `{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":300,"count":3}`
    """
    counts: dict[str, int] = {}
    limits: dict[str, int] = {}
    for row in rows if isinstance(rows, list) else ():
        fields = row if isinstance(row, dict) else {}
        kind = {"REQUEST_WEIGHT": "weight", "ORDERS": "orders"}.get(str(fields.get("rateLimitType")))
        unit = {"SECOND": "s", "MINUTE": "m", "HOUR": "h", "DAY": "d"}.get(str(fields.get("interval")))
        number = fields.get("intervalNum")
        if kind is None or unit is None or type(number) is not int or not 0 < number < 1_000:
            continue
        for found, said in ((counts, fields.get("count")), (limits, fields.get("limit"))):
            if type(said) is int and 0 <= said < 10**9:
                found[f"{kind}_{number}{unit}"] = said
    return counts, limits
