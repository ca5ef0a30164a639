"""What a running hedger may be told anew: bands, alarms and tighter limits. Loosening a limit needs a restart (FAULTS §5)."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

from streamhedge.domain.canonical import from_plain, to_plain
from streamhedge.domain.events import ConfigReloaded
from streamhedge.domain.values import record
from streamhedge.rules.params import Limits, Policy

RESTART_LIMITS = ("stale_after_ms", "request_timeout_ms", "recv_window_ms", "unacked_critical_after_ms")
"""Limits that parts outside the rules were built with."""


@record
class Reload:
    """What a new configuration changes: the event that applies it, and what it cannot."""

    event: ConfigReloaded
    applied: tuple[str, ...]
    refused: tuple[str, ...]


def reload_of(now: Policy, new: Policy, *, uid: int) -> Reload:
    """Return what may be applied while running; every line of the others says what to do.

    Args:
        now: The policy in force.
        new: What the files say now.
        uid: Who asked.
    """
    applied: list[str] = []
    refused: list[str] = []
    bands, alarms = {}, {}
    wanted = {hedge.symbol: hedge for hedge in new.hedges}
    for hedge in now.hedges:
        other = wanted.pop(hedge.symbol, None)
        if other is None:
            refused.append(f"hedge {hedge.asset}: removing it needs a restart")
            continue
        if other.band != hedge.band:
            bands[hedge.symbol] = other.band
            applied.append(f"hedge {hedge.asset} band {hedge.band:f} → {other.band:f}")
        if other.naked_alert_after_ms != hedge.naked_alert_after_ms:
            alarms[hedge.symbol] = other.naked_alert_after_ms
            applied.append(
                f"hedge {hedge.asset} naked_alert_after {hedge.naked_alert_after_ms} ms → {other.naked_alert_after_ms} ms"
            )
        if replace(other, band=hedge.band, naked_alert_after_ms=hedge.naked_alert_after_ms) != hedge:
            refused.append(f"hedge {hedge.asset}: anything but band and naked_alert_after needs a restart")
    refused += [f"hedge {hedge.asset}: adding it needs a restart" for hedge in wanted.values()]
    limits = _limits(now.limits, new.limits, applied, refused)
    if now.ladder != new.ladder:
        refused.append("[ladder]: changing it needs a restart")
    if now.funding != new.funding:
        refused.append("[funding_policy]: changing it needs a restart")
    if now.backstop != new.backstop:
        refused.append("[backstop]: changing it needs a restart")
    event = ConfigReloaded(bands=bands, naked_alert_after_ms=alarms, limits=limits, uid=uid)
    return Reload(event, tuple(applied), tuple(refused))


def _limits(now: Limits, new: Limits, applied: list[str], refused: list[str]) -> dict[str, object]:
    changed: dict[str, object] = {}
    plain = to_plain(new)
    for name in (field.name for field in fields(now)):
        was, wanted = getattr(now, name), getattr(new, name)
        if was == wanted:
            continue
        said = f"limits.{name} {was} → {wanted}"
        if name in RESTART_LIMITS:
            refused.append(f"{said} needs a restart")
        elif _looser(name, was, wanted):
            refused.append(f"{said} would loosen a limit: restart for that")
        else:
            changed[name] = plain[name]
            applied.append(said)
    return changed


def _looser(name: str, was: Decimal | int | None, wanted: Decimal | int | None) -> bool:
    """Return whether a limit would allow more; every one of them is a most, but the loss that rings."""
    if was is None or wanted is None:
        return was is None
    return wanted < was if name == "unrealised_loss_alarm" else wanted > was


def applied_to(policy: Policy, event: ConfigReloaded) -> Policy:
    """Return the policy with what was reloaded."""
    hedges = tuple(
        replace(
            hedge,
            band=event.bands.get(hedge.symbol, hedge.band),
            naked_alert_after_ms=event.naked_alert_after_ms.get(hedge.symbol, hedge.naked_alert_after_ms),
        )
        for hedge in policy.hedges
    )
    limits = from_plain(Limits, {**to_plain(policy.limits), **event.limits})
    return replace(policy, hedges=hedges, limits=limits)
