"""The demo's story: float trades and faults at fixed parts of the run, through the same doors a person uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp

from streamhedge.domain.events import FloatTradeKind
from streamhedge.domain.treasury import TradeRequest
from streamhedge.domain.values import Asset, TradeId
from streamhedge.errors import CommandError
from streamhedge.live.hedger import Hedger

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class TimedTrade:
    """A float trade of a file: so many seconds after the start, its kind and amount, and why."""

    at_s: float
    kind: str
    amount: str
    reason: str


STORY: tuple[tuple[float, str, str, str], ...] = (
    (0.06, "buy", "10000", "rebalancing"),
    (0.14, "sell", "1.5", "paying a supplier"),
    (0.22, "fault", "O1=executed", 'the next order is answered 503 "Unknown error" and does execute'),
    (0.22, "buy", "25000", "dip"),
    (0.32, "fault", "S3=private", "the private stream is cut"),
    (0.33, "buy", "12000", "while the stream is down"),
    (0.42, "fault", "O1=not_executed", 'the next order is answered 503 "Unknown error" and does not execute'),
    (0.42, "sell", "0.75", "paying wages"),
    (0.74, "fault", "U2=event", "the listen key expires"),
    (0.79, "deposit", "0.25", "mined"),
    (0.86, "fault", "A5=adl", "the venue deleverages half of the short"),
    (0.96, "sell", "0.3", "last one"),
)
"""(part of the run, what, value, why)"""
REST_BEFORE_TRADES_S = 8.0


async def tell(hedger: Hedger, rest: str, duration_s: float, say: Say) -> None:
    """Play the story over a run's duration; trades that are refused say so and the story goes on."""
    start = asyncio.get_running_loop().time()
    trades: list[asyncio.Task[Any]] = []
    async with aiohttp.ClientSession(trust_env=False) as session:
        for number, (part, what, value, why) in enumerate(STORY, 1):
            await asyncio.sleep(max(0.0, start + part * duration_s - asyncio.get_running_loop().time()))
            if what == "fault":
                say("fault", f"{value}: {why}")
                async with session.post(f"{rest}/__fault", json={"fault": value}) as answer:
                    await answer.read()
                continue
            trades.append(asyncio.create_task(_trade(hedger, what, value, why, f"demo-{number:02d}", say)))
    await asyncio.gather(*trades)


async def play(hedger: Hedger, trades: Sequence[TimedTrade], say: Say) -> None:
    """Submit float trades at their times, counted from now; one that is refused says so and the next ones follow."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    under_way: list[asyncio.Task[Any]] = []
    for number, trade in enumerate(sorted(trades, key=lambda trade: trade.at_s), 1):
        await asyncio.sleep(max(0.0, start + trade.at_s - loop.time()))
        name = f"trades-{number:04d}"
        under_way.append(asyncio.create_task(_trade(hedger, trade.kind, trade.amount, trade.reason, name, say)))
    await asyncio.gather(*under_way)


async def _trade(hedger: Hedger, what: str, value: str, why: str, name: str, say: Say) -> None:
    request = TradeRequest(
        kind=FloatTradeKind(what),
        asset=Asset("BTC"),
        amount=Decimal(value),
        trade_id=TradeId(f"{name}-e{hedger.epoch}"),
        quantity=None,
        price=None,
        reason=why,
        confirmed=False,
    )
    try:
        result = await hedger.execute_trade_with_hedge(request, wait_s=REST_BEFORE_TRADES_S)
    except CommandError as error:
        say("refused", str(error))
        return
    hedge = result.hedge
    when = f" after {hedge.time_to_neutral_ms} ms" if hedge.time_to_neutral_ms is not None else ""
    reason = f" ({hedge.reason})" if hedge.reason else ""
    say(
        "neutral" if hedge.status in ("hedged", "dust") else "naked",
        f"{what} {value}: {hedge.status}{reason}{when}, position {hedge.position_after:f}, "
        f"naked {hedge.naked_usd:.2f} USD",
    )
