"""Bugs planted in the book of positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from streamhedge.domain import book
from streamhedge.domain.book import PositionBook
from streamhedge.domain.canonical import digest
from streamhedge.domain.events import AccountUpdate, PositionSide, TradeLite
from streamhedge.domain.values import ZERO
from streamhedge.reactor import reactor
from streamhedge.reactor.state import Core
from tests.simulation.planting import Planting, plant


def _rows(bug: Planting, change: Callable[[Any], Any]) -> None:
    """Misread the rows of account updates."""

    def build(honest: Any) -> Any:
        def apply(self: PositionBook, event: AccountUpdate, now_ns: int) -> Any:
            rows = tuple(change(row) for row in event.positions)
            if rows != event.positions:
                bug.ran()
            return honest(self, replace(event, positions=rows), now_ns)

        return apply

    bug.instead(PositionBook, "apply_account_update", build)


@plant("positions pass through binary floats", "1", "8", "9")
def the_book_counts_in_floats(bug: Planting) -> None:
    _rows(bug, lambda row: replace(row, quantity=Decimal.from_float(float(row.quantity))))


@plant("positions are rounded to two decimals", "1", "8", "9")
def the_book_rounds(bug: Planting) -> None:
    _rows(bug, lambda row: replace(row, quantity=row.quantity.quantize(Decimal("0.01"))))


@plant(
    "the rows of a snapshot are never taken", "1", "5", "8", "9", "20", kinds=("frame-lost", "U8", "external", "kill")
)
def snapshots_are_never_adopted(bug: Planting) -> None:
    bug.instead(PositionBook, "_adopt_position", lambda honest: lambda self, *said, **named: (bug.ran(), False)[1])


@plant("a snapshot overwrites rows of later events", "2", "8", "9", kinds=("ask-answer-slow", "external"))
def old_snapshots_overwrite(bug: Planting) -> None:
    bug.instead(book, "_is_older", lambda honest: lambda *said: (bug.ran(), False)[1] if honest(*said) else False)


@plant("an update seen twice is applied twice", "2", kinds=("frames-again", "U6", "thin"))
def updates_are_applied_twice(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def apply(self: PositionBook, event: AccountUpdate, now_ns: int) -> Any:
            if self.heard.pop(digest(event)[:16], None) is not None:
                bug.ran()
            return honest(self, event, now_ns)

        return apply

    bug.instead(PositionBook, "apply_account_update", build)


@plant("a symbol that an update does not name is read as flat", "1", "8", "9", kinds=("transfer", "external-eth"))
def an_absent_symbol_is_flat(bug: Planting) -> None:
    def build(honest: Any) -> Any:
        def apply(self: PositionBook, event: AccountUpdate, now_ns: int) -> Any:
            changed = honest(self, event, now_ns)
            named = [(row.symbol, row.position_side) for row in event.positions]
            for key, held in self.positions.items():
                if key not in named and held.quantity != 0:
                    bug.ran()
                    held.quantity = ZERO
            return changed

        return apply

    bug.instead(PositionBook, "apply_account_update", build)


@plant("TRADE_LITE moves the position, and the update after it again", "1", "2", "8", "9")
def trade_lite_moves_the_book(bug: Planting) -> None:
    def move(core: Core, event: TradeLite) -> None:
        held = core.state.book.positions.get((event.symbol, PositionSide.BOTH))
        if held is not None:
            bug.ran()
            held.quantity += event.side.sign * event.last_quantity
            held.source = "ACCOUNT_UPDATE"

    assert TradeLite not in reactor.HANDLERS, "TRADE_LITE moves nothing in the honest product"
    bug.patch.setitem(reactor.HANDLERS, TradeLite, move)
