"""Whether the hedge can be trusted now: what `/readyz` answers and what the heartbeat stands for."""

from __future__ import annotations

from streamhedge.live.hedger import Hedger


def doubts(hedger: Hedger | None) -> list[str]:
    """Return why the hedge cannot be trusted now; empty when it can."""
    if hedger is None:
        return ["starting"]
    status = hedger.status()
    state = status["trading_state"]
    reasons = [f"{state}: {reason}" for reason in status["trading_reasons"]]
    if state != "ACTIVE" and not reasons:
        reasons.append(state)
    if status["shadow"]:
        reasons.append("a shadow run: orders are withheld")
    if status["book_status"] != "LIVE":
        reasons.append(f"book {status['book_status']}: {status['book_reason']}")
    reasons += [f"{row['symbol']} blocked: {row['reason']}" for row in status["blocked"]]
    return reasons
