"""What a service manager is told: that we are ready, that the loop turns, how it stands, and that we stop or reload.

The protocol is sd_notify's: one datagram of NAME=value lines to the socket that NOTIFY_SOCKET names. WATCHDOG=1 proves that
loop and pump are alive and nothing else; whether the hedge can be trusted goes to STATUS, so that a venue's outage does
not get the process killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping

from streamhedge.live.hedger import Hedger

STATUS_S = 1.0


class ServiceManager:
    """The one who started us, where it wants to hear from us; silent where nobody does."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._address = env.get("NOTIFY_SOCKET", "")
        wanted = env.get("WATCHDOG_USEC", "")
        ours = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(wanted) / 1e6 if wanted.isdigit() and ours else None

    def tell(self, **fields: str | int) -> None:
        """Send fields; a manager that does not listen is no reason to end."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        lines = "\n".join(f"{name}={str(value).translate({10: 32, 13: 32})}" for name, value in fields.items())
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door,
        ):
            door.setblocking(False)
            door.sendto(lines.encode(), address)

    def reloading(self) -> None:
        """Say that the configuration is read again; ``ready`` ends it."""
        self.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1_000)

    @contextlib.asynccontextmanager
    async def informed(self, hedger: Hedger) -> AsyncIterator[None]:
        """Say that we are ready, keep the manager informed while the block runs, and say that we stop."""
        self.tell(READY=1, MAINPID=os.getpid(), STATUS=_words(hedger))
        telling = asyncio.create_task(self._tell_on(hedger))
        try:
            yield
        finally:
            telling.cancel()
            self.tell(STOPPING=1, STATUS="stopping")

    async def _tell_on(self, hedger: Hedger) -> None:
        pause_s = min(STATUS_S, self.watchdog_s / 3) if self.watchdog_s else STATUS_S
        seen = -1
        while True:
            # The tick feeds the pump ten times a second: a pump that took nothing since is not alive.
            seq = hedger.core.state.seq
            fields: dict[str, str | int] = {"STATUS": _words(hedger)}
            if seq != seen and hedger.pump.failed is None:
                fields["WATCHDOG"] = 1
            seen = seq
            self.tell(**fields)
            await asyncio.sleep(pause_s)


def _words(hedger: Hedger) -> str:
    status = hedger.status()
    parts = [status["trading_state"], f"book {status['book_status']}"]
    parts += [f"{row['symbol']} {row['position']}, naked {row['naked_usd'] or '?'} USD" for row in status["hedges"]]
    parts += (
        status["trading_reasons"][:1] + [f"{row['symbol']} blocked: {row['reason']}" for row in status["blocked"]][:1]
    )
    return "; ".join(str(part) for part in parts)
