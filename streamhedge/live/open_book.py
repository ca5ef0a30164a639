"""`open_book`: the live position book in somebody else's program. It reads; it cannot trade.

It takes no lock, deletes no listen key, and writes nothing unless told where to record. Its limits are all zero, so the
gate would refuse any order even if a rule asked for one, and no rule runs: it has no hedges.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from streamhedge import __version__
from streamhedge.domain.commands import Reaction
from streamhedge.domain.values import ONE, ZERO, Asset, Symbol
from streamhedge.errors import ConfigError
from streamhedge.live.book_view import BookView
from streamhedge.live.machine import Machine
from streamhedge.reactor.state import State
from streamhedge.rules.params import CloseAction, LadderParams, Limits, Policy
from streamhedge.settings.endpoints import DEMO, LIVE, Endpoints, checked
from streamhedge.settings.secrets import Secret, load_secret
from streamhedge.store.journal import JournalWriter
from streamhedge.venue.clock import BootClock

KEY_VARIABLES = {
    "demo": ("BINANCE_TESTNET_API_KEY", "BINANCE_TESTNET_API_SECRET"),
    "live": ("BINANCE_API_KEY", "BINANCE_API_SECRET"),
    "sim": ("STREAMHEDGE_SIM_API_KEY", "STREAMHEDGE_SIM_API_SECRET"),
}

READING = Policy(
    hedges=(),
    ladder=LadderParams(
        **{"warn": ZERO, "reduce": ZERO, "close": ZERO, "reopen": ONE, "rehedge": ONE},
        close_action=CloseAction.RESTORE,
        cooldown_ms=0,
        raise_step=ZERO,
        reopen_after_adl_ms=None,
        reopen_after_liquidation_ms=None,
        reopen_after_settlement_ms=None,
    ),
    limits=Limits(
        max_short_ratio=ZERO,
        max_intents_per_symbol_per_minute=0,
        max_open_intents=0,
        unacked_critical_after_ms=0,
        max_order_notional=ZERO,
        max_leverage=0,
        max_orders_per_minute=0,
        max_turnover_per_day=ZERO,
        max_naked=ZERO,
        max_trade=ZERO,
        unrealised_loss_alarm=ZERO,
        hedge_loss_per_day=ZERO,
        price_collar=ZERO,
        price_collar_urgent=None,
        external_trades_per_minute=0,
        repeated_same_side_fills=0,
        stale_after_ms=3_000,
        receive_lag_ms=0,
        request_timeout_ms=10_000,
        recv_window_ms=2_000,
    ),
    margin_asset=Asset("USDT"),
)
"""No hedges, and limits of zero."""


@asynccontextmanager
async def open_book(
    *,
    venue: str = "demo",
    symbols: Sequence[str] = ("BTCUSDT",),
    endpoints: Endpoints | Mapping[str, object] | None = None,
    api_key: str | None = None,
    api_secret: str | None = None,
    record: str | Path | None = None,
) -> AsyncIterator[BookView]:
    """Open a live position book, read-only.

    Args:
        venue: ``demo``, ``live``, or ``sim`` (a running `streamhedge sim`; needs ``endpoints``).
        symbols: Whose mark prices to follow from the start; symbols with a position are followed by themselves.
        endpoints: Other addresses: the venue's hosts or loopback; the ready line of `streamhedge sim` fits as it is.
        api_key, api_secret: The key; from the environment without (BINANCE_TESTNET_API_KEY and _SECRET for demo,
            BINANCE_API_KEY and _SECRET for live, STREAMHEDGE_SIM_API_KEY and _SECRET for sim).
        record: A folder for a recording of everything received; nothing is written without.

    Yields:
        The book. Leaving the block closes the sockets.

    Raises:
        ConfigError: a venue, key or endpoint that does not fit; nothing was opened.
        Exception: what ended the machine, where something did.
    """
    if venue not in KEY_VARIABLES:
        raise ConfigError(f"venue {venue!r}: say one of {', '.join(KEY_VARIABLES)}")
    names = [Symbol(symbol) for symbol in symbols]
    clock = BootClock()
    views: list[BookView] = []

    def observe(reaction: Reaction, recv_ns: int) -> None:
        for view in views:
            view.observe(reaction, recv_ns)

    def header() -> dict[str, object]:
        pump = machine.pump
        return {
            **{"seq": pump.reactor.state.seq, "version": __version__, "epoch": 0, "config": {}, "config_hash": ""},
            **{"state": pump.state(), "digest": pump.digest()},
        }

    journal = None
    if record is not None:
        name = f"book-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
        journal = JournalWriter(Path(record), name, header=header, digest=lambda: machine.pump.digest())
    machine = Machine(
        state=State(instance="reader", epoch=0),
        policy=READING,
        symbols=names,
        endpoints=_endpoints(venue, endpoints),
        api_key=_key(venue, "api_key", api_key, 0),
        api_secret=_key(venue, "api_secret", api_secret, 1),
        clock=clock,
        journal=journal,
        observers=(observe,),
    )
    view = BookView(machine.pump.reactor.core, clock.now_ns)
    views.append(view)
    try:
        async with machine:
            machine.feed("tick", b'{"lag_ms":0}')
            yield view
    finally:
        view.close()
        if journal is not None:
            journal.close(machine.pump.last_ns)


def _endpoints(venue: str, said: Endpoints | Mapping[str, object] | None) -> Endpoints:
    if isinstance(said, Endpoints):
        return checked(said)
    if said is not None:
        try:
            return checked(Endpoints(rest=str(said["rest"]), stream=str(said["stream"]), ws_api=str(said["ws_api"])))
        except KeyError as error:
            raise ConfigError(f"endpoints lack {error}: rest, stream and ws_api are needed") from error
    if venue == "sim":
        raise ConfigError("venue sim needs endpoints: start `streamhedge sim` and pass its ready line")
    return LIVE if venue == "live" else DEMO


def _key(venue: str, name: str, said: str | None, index: int) -> Secret:
    if said is not None:
        return Secret(said)
    return load_secret(name, {"env": KEY_VARIABLES[venue][index]}, os.environ)
