"""What a refusal of the venue means, and what to do about it."""

from __future__ import annotations

import orjson

from streamhedge.ops.doctor.finding import FAIL, Check, check
from streamhedge.venue.http import Answer

REPAIRS = {
    -1021: "set this clock: run an NTP client (chrony)",
    -1022: "the secret does not belong to the key: check [keys]",
    -2014: "the API key is malformed: check [keys]",
    -2015: "check the key, its IP list and its futures permission (it lapses after 30 days without an IP list)",
}


def refused(name: str, code: int, message: str) -> Check:
    return check(name, FAIL, f"the venue refuses: {code} {message}", REPAIRS.get(code, "look the code up at the venue"))


def rest_refused(name: str, answer: Answer) -> Check:
    if answer.status is None:
        return check(name, FAIL, answer.error, "check network and firewall, and `[endpoints].rest`")
    try:
        said = orjson.loads(answer.body)
        return refused(name, said["code"], said["msg"])
    except (ValueError, KeyError, TypeError):
        return check(name, FAIL, f"HTTP {answer.status} without a reason", "check `[endpoints].rest`")


def words_of(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
