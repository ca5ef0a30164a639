"""The samples as CSV (RFC 4180): UTC times, exact figures (quotients to 8 places), one row for each sample of each hedge."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from streamhedge.domain.values import plain_text
from streamhedge.ops.report.history import History

COLUMNS = (
    *("time", "symbol", "float", "position", "target", "naked_usd", "cause", "mark", "liquidation_price", "distance"),
    *("joint_distance", "funding_usd", "fees_usd", "trading_state", "book_status"),
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(time_ns: int) -> str:
    """Return a time as ISO 8601 UTC, to the microsecond."""
    return (EPOCH + timedelta(microseconds=time_ns // 1_000)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def csv_text(history: History) -> str:
    """Return the samples of every hedge as CSV with a header row."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for symbol, samples in history.samples.items():
        for sample in samples:
            writer.writerow(
                (
                    *(utc(sample.recv_ns), symbol, _text(sample.float_quantity), _text(sample.position)),
                    *(_text(sample.target), _text(sample.naked_usd), sample.cause, _text(sample.mark_price)),
                    *(_ratio(sample.liquidation_price), _ratio(sample.distance), _ratio(sample.joint_distance)),
                    *(_text(sample.funding_usd), _text(sample.fees_usd), sample.trading_state, sample.book_status),
                )
            )
    return out.getvalue()


def _text(value: Decimal | None) -> str:
    return "" if value is None else plain_text(value)


def _ratio(value: Decimal | None) -> str:
    """Write what came out of a division: its digits beyond the eighth place say nothing."""
    return "" if value is None else plain_text(round(value, 8))
