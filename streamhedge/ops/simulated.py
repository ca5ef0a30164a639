"""`streamhedge sim`: tape, faults and keys to a served exchange, and its one ready line."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path

import click

from streamhedge.errors import ConfigError
from streamhedge.settings.units import milliseconds
from streamhedge.sim.access import Keys
from streamhedge.sim.exchange import Exchange, Settings
from streamhedge.sim.tapes import BUILT_IN, CALM, CRASH, RALLY, Tape, calm, mirrored, parse
from streamhedge.simserver.server import serve


def tape_of(name: str, seed: int) -> Tape:
    """Return a tape by name or from a CSV.

    Raises:
        ConfigError: there is none of that name, or the file is no tape.
    """
    if name == CALM:
        return calm(seed)
    if name in (CRASH, RALLY):
        text = files("streamhedge.sim").joinpath("data", f"{CRASH}.csv").read_text()
        crash = parse(text.splitlines(), CRASH)
        return crash if name == CRASH else mirrored(crash, RALLY)
    try:
        return parse(Path(name).read_text().splitlines(), name)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"tape {name}: {reason}; name a CSV or one of {', '.join(BUILT_IN)}") from error


async def serve_exchange(
    *,
    port: int,
    tape: str,
    speed: str,
    seed: int,
    wallet: str,
    funding_every: str,
    faults: tuple[str, ...],
    api_key: str,
    api_secret: str,
) -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        fast, money = Decimal(speed), Decimal(wallet)
    except InvalidOperation as error:
        raise ConfigError(f"--speed {speed} and --wallet {wallet} must be numbers") from error
    if not (fast > 0 and fast.is_finite() and money.is_finite()):
        raise ConfigError(f"--speed {speed} must be above zero, --wallet {wallet} a number")
    try:
        every_ms = milliseconds(funding_every)
    except ValueError as error:
        raise ConfigError(f"--funding-every {funding_every}: {error}") from error
    keys = Keys(api_key or secrets.token_hex(32), api_secret or secrets.token_hex(32))
    settings = Settings(tape_of(tape, seed), keys, wallet=money, speed=fast, seed=seed, funding_every_ms=every_ms)
    start_ms = time.time_ns() // 1_000_000
    exchange = Exchange(settings, start_ms)
    for fault in faults:
        exchange.faults.arm(fault, start_ms)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(exchange, port=port, ready=lambda ready: click.echo(json.dumps(ready)), stop=stop.wait)
