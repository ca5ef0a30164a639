"""What the control socket understands: one request in, one answer out. It asks the hedger and decides nothing.

Words: status, book, digest, alerts, ack, follow, plan, trade, may-buy, halt, reduce, resume, flatten. A flatten is
two-step: the first asks for the plan and a token that lives 60 s, the second repeats the token with a reason.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.events import FloatTradeKind, VerbKind
from streamhedge.domain.treasury import TradeRequest
from streamhedge.domain.values import ZERO, Asset, Symbol, TradeId, decimal_from, divide, exact, plain_text
from streamhedge.errors import CommandError
from streamhedge.live.hedger import Hedger
from streamhedge.live.status import account_status, funding_status
from streamhedge.ops.alerts import Alerts
from streamhedge.ops.control import Answer
from streamhedge.ops.heartbeat import Heartbeat
from streamhedge.reactor.decide import view_of
from streamhedge.rules.hedge import decide_hedge, policy_short, slice_quantity
from streamhedge.rules.liquidation import read_ladder
from streamhedge.rules.view import BookStatus, HedgeView, SymbolState, TradingState

Request = dict[str, Any]
Word = Callable[[Request, int], Awaitable[Request]]
ID_MOST = 200
TOKEN_S = 60.0
"""How long a flatten's plan may be confirmed: the position behind it moves on."""


class FlattenToken:
    """The one plan that was shown and may be confirmed; a new plan replaces it, a confirmation spends it."""

    def __init__(self) -> None:
        self._text = ""
        self._symbols: tuple[Symbol, ...] = ()
        self._uid = -1
        self._ends_s = 0.0

    def issue(self, symbols: tuple[Symbol, ...], *, uid: int, now_s: float) -> str:
        """Return a new token for a plan."""
        self._text, self._symbols, self._uid, self._ends_s = secrets.token_hex(4), symbols, uid, now_s + TOKEN_S
        return self._text

    def spend(self, text: str, *, uid: int, now_s: float) -> tuple[Symbol, ...]:
        """Return the symbols of the plan that a token stands for.

        Raises:
            CommandError: another text or user, or too late; nothing was changed.
        """
        known = bool(self._text) and hmac.compare_digest(text.encode(), self._text.encode()) and uid == self._uid
        if not known:
            raise CommandError(
                f"{text!r} is no token that waits; ask again with `streamhedge flatten`; nothing was changed"
            )
        self._text = ""
        if now_s > self._ends_s:
            raise CommandError(
                f"the token is older than {TOKEN_S:.0f} s and the plan with it; ask again with `streamhedge flatten`; "
                "nothing was changed"
            )
        return self._symbols


class Words:
    """The words of one running hedger; holds the one flatten token that waits for its confirmation."""

    def __init__(self, hedger: Hedger, alerts: Alerts | None = None, heartbeat: Heartbeat | None = None) -> None:
        self._hedger = hedger
        self._alerts = alerts
        self._heartbeat = heartbeat
        self._token = FlattenToken()
        self._words: dict[str, Word] = {
            "status": self._status,
            "book": self._book,
            "digest": self._digest,
            "alerts": self._incidents,
            "ack": self._acknowledge,
            "plan": self._plan,
            "trade": self._trade,
            "may-buy": self._may_buy,
            "halt": self._verb,
            "reduce": self._verb,
            "resume": self._verb,
            "flatten": self._flatten,
        }

    async def answer(self, request: dict[str, Any], uid: int) -> Answer:
        """Answer one request of the control socket.

        Raises:
            CommandError: the request is refused; nothing was done.
        """
        verb = request.get("verb")
        if verb == "follow":
            return self._hedger.feed.follow(number_of(request.get("after")))
        word = self._words.get(verb) if isinstance(verb, str) else None
        if word is None:
            raise CommandError(f"unknown verb {_named(verb)}; known: {', '.join(self._words)}")
        return await word(request, uid)

    # ------------------------------------------------------------ looking

    async def _status(self, request: Request, uid: int) -> Request:
        if self._alerts is None:
            return self._hedger.status()
        return {**self._hedger.status(), **self._alerts_now(self._alerts)}

    def _alerts_now(self, alerts: Alerts) -> Request:
        heartbeat = self._heartbeat.state() if self._heartbeat is not None else None
        return {"alerts": alerts.rows(), "alert_channels": alerts.states(), "heartbeat": heartbeat}

    async def _digest(self, request: Request, uid: int) -> Request:
        """The state's number and digest, for whoever follows and wants to know that it has the same."""
        pump = self._hedger.pump
        return {"seq": pump.seq, "digest": pump.digest()}

    async def _incidents(self, request: Request, uid: int) -> Request:
        return self._alerts_now(self._told())

    async def _acknowledge(self, request: Request, uid: int) -> Request:
        """A person has seen an incident, or all that are open."""
        number = request.get("number")
        if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
            raise CommandError(f"{number!r} is no number of an alert")
        found = self._told().acknowledge(number)
        if number is not None and not found:
            raise CommandError(f"no alert #{number} is open; `streamhedge alerts list` shows what is")
        return {"acknowledged": found}

    def _told(self) -> Alerts:
        if self._alerts is None:
            raise CommandError("this process keeps no alerts")
        return self._alerts

    async def _book(self, request: Request, uid: int) -> Request:
        """Every position of the account with its age, not only the hedged ones."""
        core = self._hedger.core
        now_ns = self._hedger.clock.now_ns()
        with exact():
            views = [core.state.book.position_view(*key, now_ns) for key in core.state.book.positions]
        return {
            "book_status": core.state.book_status.value,
            "book_reason": core.state.book_reason,
            "positions": [_readable(to_plain(view)) for view in views if view is not None],
            "account": account_status(core, now_ns),
            "funding": funding_status(core),
        }

    async def _may_buy(self, request: Request, uid: int) -> Request:
        asset = str(request.get("asset") or "BTC")
        try:
            found = self._hedger.may_buy(str(request.get("usd")), asset=asset)
        except ValueError as error:
            raise CommandError(f"may-buy: {error}") from error
        (hedge,) = [hedge for hedge in self._hedger.policy.hedges if hedge.asset == asset]
        mark = self._hedger.core.state.book.marks[hedge.symbol].mark_price
        return {"symbol": hedge.symbol, "mark_price": plain_text(mark), **_readable(to_plain(found))}

    async def _plan(self, request: Request, uid: int) -> Request:
        """What a resume would lead to, without doing it."""
        core = self._hedger.core
        rows = []
        with exact():
            for hedge in core.policy.hedges:
                view = view_of(core, hedge)
                if view is not None and request.get("symbol") in (None, hedge.symbol):
                    rows.append(resume_row(view))
        return {"book_status": core.state.book_status.value, "plan": rows}

    # ------------------------------------------------------------ acting

    async def _trade(self, request: Request, uid: int) -> Request:
        return (await self._hedger.execute_trade_with_hedge(trade_request(request))).json()

    async def _verb(self, request: Request, uid: int) -> Request:
        kind = VerbKind(request["verb"])
        core = self._hedger.core
        if kind is VerbKind.RESUME and core.state.halted is not None and core.state.book_status is not BookStatus.LIVE:
            raise CommandError(
                f"the book is {core.state.book_status.value} ({core.state.book_reason}): a halt is lifted on a book that is "
                "LIVE only; nothing was changed"
            )
        if kind is VerbKind.RESUME and core.state.halted is not None and not self._hedger.pump.recording:
            raise CommandError(
                f"nothing is recorded any more ({core.state.halted}): free or repair the disk and restart, then resume; "
                "nothing was changed"
            )
        return await self._hedger.verb(kind, symbol=_symbol(request), reason=_reason(request), uid=uid)

    async def _flatten(self, request: Request, uid: int) -> Request:
        """Without ``confirm`` the plan and a token; with it, the act."""
        if request.get("confirm") is None:
            return self._flatten_plan(_symbol(request), uid)
        reason = _reason(request)
        if not reason.strip():
            raise CommandError("flatten needs --reason: it stands in the journal; nothing was changed")
        symbols = self._token.spend(str(request["confirm"]), uid=uid, now_s=time.monotonic())
        for symbol in symbols:
            await self._hedger.verb(VerbKind.FLATTEN, symbol=symbol, reason=reason, uid=uid)
        return self._hedger.status()

    def _flatten_plan(self, symbol: Symbol | None, uid: int) -> Request:
        core = self._hedger.core
        hedges = [hedge for hedge in self._hedger.policy.hedges if symbol in (None, hedge.symbol)]
        if not hedges:
            raise CommandError(f"{symbol} is no hedge of this process; nothing was changed")
        with exact():
            rows = [flatten_row(view) for hedge in hedges if (view := view_of(core, hedge)) is not None]
        if len(rows) != len(hedges):
            raise CommandError("no mark price or filters are known yet; ask again in a second; nothing was changed")
        symbols = tuple(hedge.symbol for hedge in hedges)
        token = self._token.issue(symbols, uid=uid, now_s=time.monotonic())
        return {"plan": rows, "token": token, "valid_s": TOKEN_S}


def resume_row(view: HedgeView) -> Request:
    """Return the first order that would follow if nothing held the hedge, and where it leads."""
    verdict = decide_hedge(replace(view, trading_state=TradingState.ACTIVE, symbol_state=SymbolState.OPEN))
    ladder = read_ladder(view)
    draft = verdict.draft
    return {
        "symbol": view.params.symbol,
        "position": plain_text(view.position),
        "target": plain_text(verdict.target),
        "gap_usd": f"{max(abs(verdict.gap_low), abs(verdict.gap_high)) * view.mark_price:.2f}",
        "first_order": None if draft is None else f"{draft.side.value} {plain_text(draft.quantity)}",
        "waits_for": verdict.hold,
        "liquidation_distance": None if ladder.distance is None else plain_text(round(ladder.distance, 6)),
    }


def flatten_row(view: HedgeView) -> Request:
    """Return what closing one position would do: orders, cost, and the exposure it leaves."""
    size = abs(view.position)
    first = slice_quantity(view, size, market=True) if size else ZERO
    params, most = view.params, view.limits.max_short_ratio
    naked = policy_short(params=params, max_short_ratio=most, float_quantity=view.float_quantity)
    return {
        "symbol": params.symbol,
        "position": str(view.position),
        "side": "BUY" if view.position < 0 else "SELL",
        "slices": int(divide(size, first).to_integral_value(rounding=ROUND_CEILING)) if first else 0,
        "first_quantity": str(first),
        "mark_price": plain_text(view.mark_price),
        "mark_age_ms": view.mark_age_ms,
        "notional_usd": f"{size * view.mark_price:.2f}",
        "fee_usd": f"{size * view.mark_price * view.instrument.taker_fee_rate:.2f}",
        "realised_pnl_usd": f"{view.position * (view.mark_price - view.entry_price):.2f}",
        "naked_usd_after": f"{naked * view.mark_price:.2f}",
        "trading_state": view.trading_state.value,
    }


def _named(value: object) -> str:
    """Return a value that is no word of ours, short: a bottomless one has no text at all."""
    return repr(value)[:ID_MOST] if value is None or isinstance(value, str | int) else f"a {type(value).__name__}"


def _symbol(request: Request) -> Symbol | None:
    return Symbol(str(request["symbol"])) if request.get("symbol") else None


def _reason(request: Request) -> str:
    return str(request.get("reason") or "")


def _readable(row: Request) -> Request:
    """Cut the long tails of divisions; nothing that was said by the venue is longer than eight decimals."""
    return {name: _short(value) for name, value in row.items()}


def _short(value: Any) -> Any:
    if not isinstance(value, str) or len(value.partition(".")[2]) <= 8:
        return value
    try:
        return plain_text(round(Decimal(value), 8))
    except ArithmeticError:
        return value


def number_of(value: object) -> int | None:
    """Return the number of an input, None where none is said.

    Raises:
        CommandError: it is none.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise CommandError(f"{value!r} is no number of an input")


def trade_request(said: dict[str, Any]) -> TradeRequest:
    """Return the float trade a request describes.

    Raises:
        CommandError: it describes none; nothing was recorded.
    """
    try:
        if not isinstance(said["id"], str) or not 0 < len(said["id"]) <= ID_MOST:
            raise ValueError(f"an id is a text of at most {ID_MOST} characters")
        return TradeRequest(
            kind=FloatTradeKind(said["kind"]),
            asset=Asset(said.get("asset") or "BTC"),
            amount=decimal_from(said.get("amount") or "0"),
            trade_id=TradeId(said["id"]),
            quantity=decimal_from(said["btc"]) if said.get("btc") else None,
            price=decimal_from(said["price"]) if said.get("price") else None,
            reason=str(said.get("reason") or ""),
            confirmed=bool(said.get("yes")),
            voids=TradeId(said["voids"]) if said.get("voids") else None,
        )
    except (KeyError, ValueError, ArithmeticError) as error:
        raise CommandError(f"not a float trade: {error}; nothing recorded") from error
