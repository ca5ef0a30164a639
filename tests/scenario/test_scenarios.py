"""Stories as tables that an operator can read: each line is an input, and the orders it must lead to.

The reactor is driven directly; the far end is the table. Words:

    setup [leverage n] [setting of the hedge or the ladder, value]…   once, with what differs from the builders
    mark price [index price] · tick · live · status STATUS · resume · float ±n
    snapshot size [@ entry] [wallet n] [audit] · position size @ entry [wallet n]
    fill n @ price · part n @ price · expired · doubt · refused status code text · unknown   of our oldest open order,
                                                                                   of the newest with ``last`` before
    external|adl|liquidation|settlement SIDE n @ price [order n]      of others
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streamhedge.domain.commands import PlaceOrder
from streamhedge.domain.events import (
    BookStatusChanged,
    Event,
    OperatorVerb,
    OrderOutcome,
    OrderStatusAnswer,
    OutcomeKind,
    Owner,
    Tick,
    VerbKind,
)
from streamhedge.domain.order import Order, Report, Side
from streamhedge.domain.values import ClientOrderId, exact, plain_text
from streamhedge.reactor.reactor import Reactor
from tests.support import builders as make

D = Decimal
FOLDER = Path(__file__).parent
START_NS = make.T0_MS * 1_000_000
OTHERS = {
    "external": (Owner.FOREIGN, "web_"),
    "adl": (Owner.ADL, "adl_autoclose"),
    "liquidation": (Owner.LIQUIDATION, "autoclose-"),
    "settlement": (Owner.SETTLEMENT, "settlement_autoclose-"),
}
LADDER_SETTINGS = ("warn", "reduce", "close", "reopen", "rehedge", "cooldown_ms", "raise_step")


class Story:
    """One table against one reactor."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.machine: Reactor = make.reactor(**policy_of(settings or {}))
        self.seq = 0
        self.trade = 0
        self.float_trades = 0

    def play(self, at_ms: int, words: list[str]) -> list[PlaceOrder]:
        """Feed one line's event and return the orders it led to."""
        self.seq += 1
        with exact():
            reaction = self.machine.react(self.seq, START_NS + at_ms * 1_000_000, [self.event(at_ms, words)])
        make.check_invariants(self.machine)
        return [command for command in reaction.commands if isinstance(command, PlaceOrder)]

    def event(self, at_ms: int, words: list[str]) -> Event:
        """Turn a line's words into an event."""
        word, *rest = words
        now_ms = make.T0_MS + at_ms
        if word == "setup":
            leverage = int(settings_of(words).get("leverage", "3"))
            return replace(make.setup(), leverage={make.BTCUSDT: leverage})
        if word == "mark":
            return make.mark(rest[0], now_ms, index=rest[2] if len(rest) > 1 else None)
        if word == "live":
            return make.live()
        if word == "status":
            return BookStatusChanged(status=rest[0], reason="story")
        if word == "resume":
            return OperatorVerb(kind=VerbKind.RESUME, symbol=make.BTCUSDT, reason="looked at it", uid=0)
        if word == "tick":
            return Tick()
        if word == "float":
            self.float_trades += 1
            return make.float_trade(rest[0], trade_id=f"ft-{self.float_trades}")
        if word == "position":
            return make.account_update(
                rest[0], entry=rest[2], wallet=rest[4] if len(rest) > 3 else "400000", at_ms=now_ms
            )
        if word == "snapshot":
            said = dict(zip(rest[1::2], rest[2::2], strict=False))
            return make.snapshot(
                rest[0],
                entry=said.get("@", "0"),
                wallet=said.get("wallet", "400000"),
                at_ms=now_ms,
                audit="audit" in rest,
            )
        if word in OTHERS:
            return self.fill_of_others(word, rest, now_ms)
        if word == "last":
            newest = [order for order in self.machine.state.orders.values() if order.is_open][-1]
            return self.order_event(rest[0], rest[1:], newest, now_ms)
        return self.order_event(word, rest, make.oldest_open(self.machine), now_ms)

    def fill_of_others(self, word: str, rest: list[str], now_ms: int) -> Event:
        """Turn the words about somebody else's fill into an event; each line is an order of its own unless it says."""
        side, quantity, _, price, *more = rest
        number = int(more[1]) if more else 10_000 + self.seq
        owner, prefix = OTHERS[word]
        event = make.foreign_fill(Side[side], quantity, trade_id=10_000 + self.seq)
        return replace(
            event,
            owner=owner,
            order_id=number,
            client_order_id=ClientOrderId(f"{prefix}{number}"),
            last_price=D(price),
            average_price=D(price),
            transaction_time_ms=now_ms,
            event_time_ms=now_ms,
        )

    def order_event(self, word: str, rest: list[str], order: Order, now_ms: int) -> Event:
        """Turn the words about our oldest open order into an event."""
        self.trade += 1
        if word in ("fill", "part"):
            total = order.filled + D(rest[0])
            return make.execution_report(
                order, last=rest[0], cumulative=str(total), price=rest[2], trade_id=self.trade, at_ms=now_ms
            )
        if word == "expired":
            ended = make.execution_report(order, last="0", cumulative=str(order.filled), report=Report.ENDED)
            return replace(ended, transaction_time_ms=now_ms, event_time_ms=now_ms)
        if word == "doubt":
            return outcome(order, OutcomeKind.IN_DOUBT, status=503, message="Unknown error")
        if word == "refused":
            return outcome(
                order, OutcomeKind.REFUSED, status=int(rest[0]), code=int(rest[1]), message=" ".join(rest[2:])
            )
        assert word == "unknown", f"no such word in a story: {word}"
        return OrderStatusAnswer(
            client_order_id=order.client_order_id,
            found=False,
            inconclusive=False,
            report=None,
            filled=D(0),
            filled_quote=D(0),
            order_id=None,
            message="Order does not exist.",
        )


def settings_of(words: list[str]) -> dict[str, str]:
    """Return the pairs after a story's ``setup``."""
    return dict(zip(words[1::2], words[2::2], strict=True))


def policy_of(settings: dict[str, str]) -> dict[str, Any]:
    """Return the parts of a policy that a story's settings change; an unknown setting is an error of the story."""
    said = {name: int(value) if name.endswith("_ms") else D(value) for name, value in settings.items()}
    said.pop("leverage", None)
    ladder = {name: value for name, value in said.items() if name in LADDER_SETTINGS}
    hedge = {name: value for name, value in said.items() if name not in LADDER_SETTINGS}
    return {"hedges": (make.hedge_params(**hedge),), "ladder": make.ladder_params(**ladder)}


def outcome(order: Order, kind: OutcomeKind, *, status: int, code: int = 0, message: str = "") -> OrderOutcome:
    return OrderOutcome(
        client_order_id=order.client_order_id,
        kind=kind,
        report=Report.DOUBT if kind is OutcomeKind.IN_DOUBT else Report.REFUSED,
        status=status,
        code=code,
        message=message,
        filled=D(0),
        order_id=None,
        retry_after_ms=None,
    )


def written(order: PlaceOrder) -> str:
    """Write an order as a story does."""
    words = [order.side.value, plain_text(order.quantity), order.type.value]
    if order.time_in_force is not None:
        words += [order.time_in_force.value, str(order.price)]
    if order.reduce_only:
        words.append("reduce-only")
    return " ".join(words)


def lines_of(path: Path) -> list[tuple[int, int, list[str], str | None]]:
    """Return (line number, ms, words, expected or None) of a table."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        happening, arrow, expected = text.partition("->")
        at_ms, *words = re.split(r"\s+", happening.strip())
        found.append((number, int(at_ms), words, expected.strip() if arrow else None))
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    table = lines_of(path)
    (setup,) = (words for _, _, words, _ in table if words[0] == "setup")
    story = Story(settings_of(setup))
    for number, at_ms, words, expected in table:
        orders = [written(order) for order in story.play(at_ms, words)]
        if expected is not None:
            assert orders == ([] if expected == "nothing" else [expected]), f"{path.name}:{number}: {' '.join(words)}"


def test_a_story_that_expects_something_else_fails() -> None:
    story = Story()
    for words in (["setup"], ["mark", "67121.4"], ["snapshot", "0", "wallet", "400000"], ["live"]):
        story.play(0, words)
    assert [written(order) for order in story.play(100, ["float", "+10"])] != ["SELL 9.999 LIMIT IOC 66450.2"]
