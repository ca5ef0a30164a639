"""What the doctor says of the stops at the venue: which of ours rest, at what price, for how much, since when."""

from __future__ import annotations

from streamhedge.domain.events import Owner
from streamhedge.domain.values import ONE, Symbol, plain_text
from streamhedge.errors import ParseError
from streamhedge.ops.doctor.finding import FAIL, OK, Check, check
from streamhedge.ops.doctor.refusals import rest_refused
from streamhedge.rules.params import BackstopParams
from streamhedge.venue.http import Answer
from streamhedge.wire.answers import exact_json, rows_of
from streamhedge.wire.streams import number, owner_of, whole, word


def stops_check(symbol: Symbol, params: BackstopParams, answer: Answer, *, venue_ms: int) -> Check:
    """Judge the answer of `openAlgoOrders` for one symbol."""
    name = f"{symbol} backstop"
    if answer.status != 200:
        return rest_refused(name, answer)
    try:
        rows = [row for row in rows_of(exact_json(answer.body)) if owner_of(word(row["clientAlgoId"])) is Owner.OURS]
        said = [
            f"{word(row['side'])} {plain_text(number(row['quantity']))} at {plain_text(number(row['triggerPrice']))} "
            f"({row['clientAlgoId']}, {(venue_ms - whole(row['createTime'])) // 1_000} s old)"
            for row in rows
        ]
    except (ParseError, KeyError) as error:
        return check(name, FAIL, f"openAlgoOrders: {error}", "report it with the venue's answer")
    rule = f"stops at liquidation price / {plain_text(ONE + params.distance)}"
    return check(name, OK, f"{rule}; at the venue now: {'; '.join(said) or 'none'}", stops=said)
