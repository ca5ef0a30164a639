"""WebSocket clients that hand each frame over in the same callback that read it: no queue, no task per frame.

Proxies and compression are off, frames are bounded, pings are ours (5 s, 5 s). What the taker raises ends the program,
through ``failed``; it never vanishes in a callback.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response

FRAME_MOST = 256 * 1024
PING_S = 5.0
HANDSHAKE_S = 10.0
UNHEARD = logging.Logger("streamhedge.sockets", level=logging.CRITICAL + 1)
"""The library logs addresses and frames at DEBUG, and they hold the listen key: it gets a logger that nobody hears."""
TEXT = (Opcode.TEXT, Opcode.BINARY)
Taker = Callable[[bytes], None]


class DirectConnection(ClientConnection):
    """A connection whose data frames go to ``taker`` at once, whole messages only."""

    taker: Taker
    on_error: Callable[[BaseException], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._parts: list[bytes] = []

    def process_event(self, event: Any) -> None:
        """Take data frames; leave the handshake, pings and closing to the library."""
        if isinstance(event, Response) or not isinstance(event, Frame) or event.opcode not in (*TEXT, Opcode.CONT):
            super().process_event(event)
            return
        payload = bytes(event.data)
        if not event.fin or event.opcode is Opcode.CONT:
            self._parts.append(payload)
            if not event.fin:
                return
            payload = b"".join(self._parts)
            self._parts.clear()
        try:
            self.taker(payload)
        except BaseException as error:
            self.on_error(error)


async def open_socket(url: str, taker: Taker, on_error: Callable[[BaseException], None]) -> DirectConnection:
    """Connect and return the connection, its frames already going to the taker.

    Args:
        url: Whole address; it may hold a listen key, so it is never logged.
        taker: Called with each whole message.
        on_error: Told what the taker raised.

    Raises:
        OSError, TimeoutError, WebSocketException: no connection.
    """

    def make(*args: Any, **kwargs: Any) -> DirectConnection:
        connection = DirectConnection(*args, **kwargs)
        connection.taker = taker
        connection.on_error = on_error
        return connection

    connection = await connect(
        url,
        create_connection=make,  # type: ignore[arg-type]  # any factory will do
        proxy=None,
        compression=None,
        max_size=FRAME_MOST,
        open_timeout=HANDSHAKE_S,
        ping_interval=PING_S,
        ping_timeout=PING_S,
        close_timeout=1.0,
        user_agent_header="streamhedge",
        logger=UNHEARD,
    )
    assert isinstance(connection, DirectConnection), "the factory above makes the connection"
    return connection


async def closed_reason(connection: DirectConnection) -> str:
    """Wait for the end of a connection and return why it ended."""
    await connection.wait_closed()
    code = connection.close_code
    return f"code {code} {connection.close_reason or ''}".strip()


CONNECT_ERRORS = (OSError, asyncio.TimeoutError, WebSocketException)
SEND_ERRORS = (ConnectionClosed, OSError)
