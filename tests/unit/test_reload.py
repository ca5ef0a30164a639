"""Bands and limits read again while running: what may change, what may not, and that it comes all at once."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

import orjson
import pytest

from streamhedge.domain.canonical import from_plain, to_plain
from streamhedge.domain.events import ConfigReloaded
from streamhedge.domain.values import Symbol
from streamhedge.rules.params import Limits
from streamhedge.rules.reload import RESTART_LIMITS, applied_to, reload_of
from tests.support import builders as make
from tests.support.desk import Desk

D = Decimal
NOW = make.policy()


@pytest.mark.fault("K5")
def test_a_wider_band_and_a_tighter_limit_are_applied_together() -> None:
    hedge = replace(NOW.hedges[0], band=D(900), naked_alert_after_ms=9_000)
    new = replace(NOW, hedges=(hedge,), limits=replace(NOW.limits, max_order_notional=D(1_000)))
    found = reload_of(NOW, new, uid=7)
    assert found.refused == () and len(found.applied) == 3
    said = from_plain(ConfigReloaded, orjson.loads(orjson.dumps(to_plain(found.event))))
    assert applied_to(NOW, said) == new
    desk = Desk()
    desk.take(said)
    assert desk.machine.core.policy.hedges[0].band == D(900)
    (note,) = [note for note in desk.notes if note.code == "config"]
    assert "uid 7 changed band of BTCUSDT 900" in note.text and "limits.max_order_notional 1000" in note.text
    sizes = [order.quantity for order in desk.float("+1")]
    assert sizes and all(size * D("67121.4") <= 1_000 for size in sizes), "the next order obeys the new limit"


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
@pytest.mark.fault("K5")
def test_every_limit_may_be_tightened_or_needs_a_restart_and_none_is_loosened(name: str) -> None:
    was = getattr(NOW.limits, name)
    if was is None:
        return
    smaller, larger = (was / 2, was * 2) if isinstance(was, Decimal) else (was // 2, was * 2)
    # The loss that rings is negative: half of it is nearer to zero, and tighter too.
    for value, wanted in ((smaller, True), (larger, False)):
        found = reload_of(NOW, replace(NOW, limits=replace(NOW.limits, **{name: value})), uid=0)
        may = wanted and name not in RESTART_LIMITS
        assert bool(found.applied) is may and bool(found.refused) is not may, (name, value, found)
        if not may:
            assert applied_to(NOW, found.event) == NOW


def test_what_is_no_band_and_no_limit_needs_a_restart() -> None:
    hedge = NOW.hedges[0]
    other = replace(hedge, symbol=Symbol("ETHUSDT"))
    for new, said in (
        (replace(NOW, hedges=(replace(hedge, ratio=D("0.5")),)), "anything but band"),
        (replace(NOW, hedges=(hedge, other)), "adding it needs a restart"),
        (replace(NOW, hedges=()), "removing it needs a restart"),
        (replace(NOW, ladder=replace(NOW.ladder, warn=D("0.4"))), "[ladder]"),
    ):
        found = reload_of(NOW, new, uid=0)
        assert found.applied == () and said in " ".join(found.refused)
        assert applied_to(NOW, found.event) == NOW
