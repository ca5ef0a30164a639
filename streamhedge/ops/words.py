"""What the control socket understands: one request in, one answer out. It asks the hedger and decides nothing.

Words: status, book, trade, may-buy, halt, reduce, resume, flatten. A flatten is two-step: the first asks for the plan and
a token that lives 60 s, the second repeats the token with a reason.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from streamhedge.domain.events import FloatTradeKind, VerbKind
from streamhedge.domain.treasury import TradeRequest
from streamhedge.domain.values import Asset, Symbol, TradeId
from streamhedge.errors import CommandError
from streamhedge.live.hedger import Hedger


class Words:
    """The words of one running hedger; holds the one flatten token that waits for its confirmation."""

    def __init__(self, hedger: Hedger) -> None:
        self._hedger = hedger

    async def answer(self, request: dict[str, Any], uid: int) -> dict[str, Any]:
        """Answer one request of the control socket.

        Raises:
            CommandError: the request is refused; nothing was done.
        """
        verb = request.get("verb")
        if verb == "status":
            return self._hedger.status()
        if verb == "trade":
            return await self._hedger.trade(trade_request(request))
        if verb in ("halt", "reduce", "resume"):
            symbol = Symbol(request["symbol"]) if request.get("symbol") else None
            reason = str(request.get("reason") or "")
            return await self._hedger.verb(VerbKind(verb), symbol=symbol, reason=reason, uid=uid)
        raise CommandError(f"unknown verb {verb!r}")


def trade_request(said: dict[str, Any]) -> TradeRequest:
    """Return the float trade a request describes.

    Raises:
        CommandError: it describes none; nothing was recorded.
    """
    try:
        return TradeRequest(
            kind=FloatTradeKind(said["kind"]),
            asset=Asset(said.get("asset") or "BTC"),
            amount=Decimal(said.get("amount") or "0"),
            trade_id=TradeId(said["id"]),
            quantity=Decimal(said["btc"]) if said.get("btc") else None,
            price=Decimal(said["price"]) if said.get("price") else None,
            reason=str(said.get("reason") or ""),
            confirmed=bool(said.get("yes")),
            voids=TradeId(said["voids"]) if said.get("voids") else None,
        )
    except (KeyError, ValueError, ArithmeticError) as error:
        raise CommandError(f"not a float trade: {error}; nothing recorded") from error
