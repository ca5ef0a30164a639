"""The points at which a process can die, each with what has happened by then and what has not: one table.

They follow an input and an order through the machine, decide → ledger → first byte → answer → event → apply, and a start
through its recovery. A point inside an input is *reached*: what kills the process is raised there, and nothing after it
runs. A point between inputs is *passed*: the loop does not come round any more.
"""

from __future__ import annotations

from dataclasses import dataclass


class Killed(BaseException):
    """The process is dead from here on: SIGKILL, or the power went."""


@dataclass(slots=True, frozen=True)
class Point:
    """One place to die.

    ``after`` and ``before`` say what has happened and what has not; ``phase`` when it comes: in a ``start`` (recovery), with
    any ``input``, on an ``order``'s way out and back, with a ``person``'s word, or at the ``stop``.
    """

    name: str
    phase: str
    after: str
    before: str


POINTS = (
    # a start, in the order of recovery
    Point("epoch-opened", "start", "the run's number is durable", "the ledger is read"),
    Point("restored", "start", "the state is restored: floats, latches, orders in doubt", "the first input"),
    Point("key-asked", "start", "the listen key is asked for", "its answer"),
    Point("setup-asked", "start", "filters, brackets and modes are asked for", "the first of their answers"),
    Point("private-open", "start", "the private stream is open", "a snapshot is asked"),
    Point("orders-asked", "start", "the orders that rest are asked for", "the snapshot is"),
    Point("snapshot-asked", "start", "the first snapshot is asked for", "its answers"),
    Point("snapshot-half", "start", "the positions of a snapshot are here", "its balances"),
    Point("snapshot-adopted", "start", "the book is the snapshot's", "what that leads to is written or sent"),
    Point("live", "start", "the book is LIVE", "the first command of a live book goes out"),
    Point("status-asked", "start", "an order in doubt is asked for", "its answer"),
    Point("status-recorded", "start", "what became of an order in doubt is recorded", "it is applied"),
    Point("doubting", "start", "an order is in doubt, and time passes", "evidence about it"),
    Point("quarantine", "start", "a boot has passed: an order nobody remembers may exist", "it no longer can"),
    # any input, through the five steps of the pump
    Point("numbered", "input", "an input has its number", "it is recorded"),
    Point("recorded", "input", "it is in the recording", "it is decoded"),
    Point("decoded", "input", "it is decoded", "the session has judged it"),
    Point("judged", "input", "the session let it pass", "the reactor has it"),
    Point("reacted", "input", "the state has moved", "a row is written or a command leaves"),
    Point("carried-out", "input", "rows are written, commands are with the hands", "anybody is told"),
    Point("now", "input", "everything an input led to is done", "the next input"),
    # an order's way out and back
    Point("deciding", "order", "an intent is decided", "its row is committed"),
    Point("committed", "order", "its row is committed", "the hands have it"),
    Point("handed", "order", "the hands have it", "the loop comes round to send it"),
    Point("leaving", "order", "it is signed", "its first byte leaves"),
    Point("sent", "order", "its first byte has left", "it is at the venue"),
    Point("arrived", "order", "it is at the venue", "the venue has executed it"),
    Point("executed", "order", "the venue has executed it", "event or answer leave the venue"),
    Point("told", "order", "its events and its answer are under way", "either arrives"),
    Point("answered", "order", "its answer is here", "the pump has it"),
    Point("answer-recorded", "order", "its answer is recorded", "it is applied"),
    Point("answer-applied", "order", "its answer has moved the state", "its row says so"),
    Point("trade-lite", "order", "TRADE_LITE is taken in", "the account update and the report of the fill"),
    Point("update-first", "order", "the account update of a fill is applied", "the report of it"),
    Point("report-first", "order", "the report of a fill is applied", "the account update of it"),
    Point("fill-row", "order", "the row of a fill is written", "its order's row"),
    Point("order-row", "order", "the row of an order says what became of it", "anything after that"),
    # people, and the end
    Point("trade-durable", "person", "a float trade is durable", "the machine is told"),
    Point("trade-counted", "person", "the float has moved", "its hedge is decided on the wire"),
    Point("latch-durable", "person", "a latch is durable", "the machine is told"),
    Point("latched", "person", "the verb has acted", "anybody is told"),
    Point("stop-begun", "stop", "a stop has begun: nothing new is sent", "answers under way are here"),
)
NAMED = {point.name: point for point in POINTS}
