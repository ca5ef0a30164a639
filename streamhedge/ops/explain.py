"""Why one input led to what it led to: the event, what the rules saw with ages, the arithmetic, and what became of it.

The recording is replayed up to the input. A copy of the machine takes the input with its gate closed, which leaves what
the rules saw; the rules are then asked again in the open. The original takes it too and goes on, so that
the order's answer and fills can be told. What was asked again must equal what was sent, or the answer says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import PlaceOrder, Reaction
from streamhedge.domain.events import ExecutionReport, OrderOutcome, OrderStatusAnswer, PositionSide
from streamhedge.domain.order import Order, Side
from streamhedge.domain.values import NS_PER_MS, NS_PER_SECOND, exact, floor_step, plain_text, record, state
from streamhedge.errors import CommandError
from streamhedge.live.recordings import lines_of, segments
from streamhedge.ops.lines import inert
from streamhedge.reactor.decide import gate_context, view_of
from streamhedge.reactor.state import Core
from streamhedge.rules.flatten import flatten_draft
from streamhedge.rules.hedge import collar_price, decide_hedge, raisable_size, share_of_margin, short_size
from streamhedge.rules.limits import Approved, gate
from streamhedge.rules.liquidation import read_ladder
from streamhedge.rules.params import HedgeParams
from streamhedge.rules.view import HedgeVerdict, HedgeView, IntentDraft, LadderVerdict
from streamhedge.runtime.pump import Pump, restore
from streamhedge.runtime.replay import Replayer, reactions
from streamhedge.store.journal import Line, read_lines
from streamhedge.store.tables import iso_utc

SEQ = re.compile("[0-9]{1,18}")
AFTERMATH_NS = 60 * NS_PER_SECOND
"""How long after the decision answers and fills are looked for."""
CALM_NS = 2 * NS_PER_SECOND
"""An order that has ended may still get a late report."""
HUGE = Decimal(10) ** 15
Fields = dict[str, Any]
Cut = Callable[[str], None]


@record
class Target:
    """The input that is asked about: its number, or the first input after a time."""

    seq: int | None
    at_ns: int | None

    def reached(self, seq: int, recv_ns: int) -> bool:
        """True when this input is the one."""
        return seq == self.seq if self.seq is not None else self.at_ns is not None and recv_ns >= self.at_ns


@state
class _Order:
    """What became of one order, collected while the recording goes on."""

    order: Order
    answer: Fields | None = None
    answer_ns: int | None = None
    fills: list[Fields] = field(default_factory=list)
    fill_ns: list[int] = field(default_factory=list)
    story: list[Fields] = field(default_factory=list)


def explain(what: str, paths: Sequence[Path], *, on_cut: Cut | None = None) -> Fields:
    """Explain one input of a recording.

    Args:
        what: The number of an input, a client order id (the input that decided it), or a time: ISO 8601, or a time of
            the recording's day; the first input at or after it.
        paths: The recording's segments, or folders that hold them.
        on_cut: Told when a torn last line was left out.

    Raises:
        CommandError: no such input.
        JournalCorrupt, ReplayDiverged, StoreError: the recording does not replay.
    """
    files = segments(paths)
    target = find(what, files, on_cut)
    replayer = Replayer(reactions=[])
    lines = lines_of(_from(files, target), on_cut=on_cut)
    for line in lines:
        pump = replayer.pump
        if pump is None or line.source in ("header", "sum") or not target.reached(pump.seq + 1, line.recv_ns):
            replayer.take(line)
            _take(replayer)
            continue
        before = pump.state()
        replayer.take(line)
        return _explained(line, before, pump, _take(replayer), _aftermath(replayer, lines))
    raise CommandError(
        f"{what} is not in the recording; it has inputs up to {replayer.pump.seq if replayer.pump else 0}"
    )


# ---------------------------------------------------------------- which input


def find(what: str, files: Sequence[Path], on_cut: Cut | None) -> Target:
    """Return the input that a number, a client order id or a time names.

    Raises:
        CommandError: none.
    """
    if SEQ.fullmatch(what):
        return Target(int(what), None)
    if what.startswith("sh-"):
        for _, reaction in reactions(lines_of(files, on_cut=on_cut)):
            if any(
                isinstance(command, PlaceOrder) and command.client_order_id == what for command in reaction.commands
            ):
                return Target(reaction.seq, None)
        raise CommandError(f"no input of the recording decided order {what}")
    return Target(None, _moment_ns(what, files[0]))


def _moment_ns(what: str, first: Path) -> int:
    text = what
    if "-" not in text:
        start = next(iter(read_lines(first)), None)
        day = datetime.fromtimestamp(start.recv_ns / 1e9 if start is not None else 0, UTC)
        text = f"{day:%Y-%m-%d}T{what}"
    try:
        said = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"{what!r} is no number of an input, no order id (sh-…) and no time like 10:02:11 or 2026-11-24T10:02:11"
        ) from error
    said = said if said.tzinfo is not None else said.replace(tzinfo=UTC)
    return round(said.timestamp() * 1_000) * NS_PER_MS


def _from(files: Sequence[Path], target: Target) -> Sequence[Path]:
    """Return the segments from the last one that begins before the target: each holds the whole state."""
    start = 0
    for number, file in enumerate(files):
        line = next(iter(read_lines(file)), None)
        if line is None:
            continue
        seq = orjson.loads(line.payload)["seq"]
        if (target.seq is not None and seq < target.seq) or (target.at_ns is not None and line.recv_ns < target.at_ns):
            start = number
    return files[start:]


# ---------------------------------------------------------------- the decision


def _take(replayer: Replayer) -> list[Reaction]:
    assert replayer.reactions is not None, "the replayer was asked to keep reactions"
    found = list(replayer.reactions)
    replayer.reactions.clear()
    return found


def _explained(
    line: Line,
    before: Fields,
    pump: Pump,
    found: list[Reaction],
    aftermath: Callable[[list[Order]], dict[str, _Order]],
) -> Fields:
    (reaction,) = found
    core = pump.reactor.core
    seen = _gate_closed(before, line)
    placed = [command.client_order_id for command in reaction.commands if isinstance(command, PlaceOrder)]
    orders = [core.state.orders[name] for name in placed]
    decided: dict[str, Order] = {order.client_order_id: replace(order) for order in orders}
    with exact():
        decisions = [_decision(seen, hedge, list(decided.values())) for hedge in core.policy.hedges]
    offset_ms = pump.session.offset_ms
    story = aftermath(orders)
    for decision in decisions:
        _tell_orders(decision, decided, story, line.recv_ns)
    return {
        "seq": reaction.seq,
        "time": iso_utc(line.recv_ns // NS_PER_MS),
        "recv_ns": line.recv_ns,
        "input": _input(line, reaction, offset_ms),
        "state": {
            "trading_state": _word(seen, "trading"),
            "book_status": seen.state.book_status.value,
            "book_reason": seen.state.book_reason,
        },
        "decisions": decisions,
        "commands": [{"command": type(command).__name__, **to_plain(command)} for command in reaction.commands],
        "notes": [{"code": note.code, "level": note.level.value, "text": note.text} for note in reaction.notes],
    }


def _gate_closed(before: Fields, line: Line) -> Core:
    """Return the core as the rules saw it: the input is applied, and the gate lets nothing open.

    What only the rules write is put back to what it was before the input.
    """
    copy = restore(before)
    core = copy.reactor.core
    policy = core.policy
    core.policy = replace(policy, limits=replace(policy.limits, max_open_intents=0))
    earlier = {symbol: replace(memory) for symbol, memory in core.state.memory.items()}
    copy.feed(line.source, line.recv_ns, line.payload)
    core.policy = policy
    for symbol, was in earlier.items():
        memory = core.state.memory[symbol]
        memory.ladder_step = was.ladder_step
        memory.naked_since_ns = was.naked_since_ns
        if line.source != "verb":
            memory.paced = was.paced
    return core


def _decision(core: Core, hedge: HedgeParams, orders: list[Order]) -> Fields:
    """Ask the rules again, in the order of the reactor, and show what each computed."""
    view = view_of(core, hedge)
    if view is None or not core.state.setup_done:
        return {
            "symbol": hedge.symbol,
            "rule": "none",
            "hold": "no filters or no mark yet",
            "orders": [],
            "refusals": [],
        }
    memory = core.memory_of(hedge.symbol)
    ladder, verdict = read_ladder(view), decide_hedge(view)
    latched = memory.block is not None and memory.block.latched
    drafts: list[tuple[str, IntentDraft]] = []
    if memory.flatten:
        closing = flatten_draft(view)
        drafts += [("flatten", closing)] if closing is not None else []
    elif ladder.draft is not None and not latched:
        drafts.append(("liquidation", ladder.draft))
    if verdict.draft is not None and memory.block is None and not memory.flatten:
        drafts.append(("hedge", verdict.draft))
    answers = [(rule, draft, gate(draft, view, gate_context(core, view))) for rule, draft in drafts]
    sent = next(((rule, draft) for rule, draft, answer in answers if isinstance(answer, Approved)), None)
    ours = [order for order in orders if order.symbol == hedge.symbol]
    hold = verdict.hold
    if memory.block is not None:
        hold = f"blocked: {memory.block.cause}, {memory.block.reason}"
    elif memory.flatten:
        hold = f"flattened: {memory.flatten}"
    return {
        "symbol": hedge.symbol,
        "rule": sent[0] if sent is not None else "none",
        "hold": hold,
        "inputs": _inputs(core, view),
        "arithmetic": _arithmetic(view, verdict, ladder),
        "refusals": [
            {"rule": rule, "control": answer.control, "reason": answer.reason, "intent": _draft(draft)}
            for rule, draft, answer in answers
            if not isinstance(answer, Approved)
        ],
        "intent": _draft(sent[1]) if sent is not None else None,
        "shadow": core.state.shadow,
        "recomputed": _same(sent[1] if sent is not None and not core.state.shadow else None, ours),
        "orders": [order.client_order_id for order in ours],
    }


def _same(draft: IntentDraft | None, orders: list[Order]) -> bool:
    """True when what the rules say in the open is what was sent."""
    if draft is None or not orders:
        return draft is None and not orders
    order = orders[0]
    said = (draft.side, draft.quantity, draft.type, draft.price, draft.reduce_only, draft.purpose, draft.target)
    return len(orders) == 1 and said == (
        *(order.side, order.quantity, order.type, order.price, order.reduce_only, order.purpose, order.target),
    )


def _inputs(core: Core, view: HedgeView) -> list[Fields]:
    book = core.state.book
    symbol = view.params.symbol
    held = book.positions.get((symbol, PositionSide.BOTH))
    balance = book.balances.get(view.instrument.margin_asset)
    mark = book.marks[symbol]
    held_age = None if held is None else (view.now_ns - held.recv_ns) // NS_PER_MS
    held_source = "no position yet" if held is None else held.source
    wallet_age = None if balance is None else (view.now_ns - balance.recv_ns) // NS_PER_MS
    snapshot_age = (view.now_ns - book.snapshot_ns) // NS_PER_MS if book.snapshot_ns else None
    rows: list[tuple[str, object, int | None, str]] = [
        ("float", view.float_quantity, None, "ledger"),
        ("position", view.position, held_age, held_source),
        ("entry price", view.entry_price, held_age, held_source),
        ("in flight", _interval(view.pending_low, view.pending_high), None, f"{view.open_orders} open order(s)"),
        ("in doubt", view.doubt_orders, None, "orders"),
        ("mark price", view.mark_price, view.mark_age_ms, f"markPrice stream, event {iso_utc(mark.event_time_ms)}"),
        ("index price", view.index_price, view.mark_age_ms, "same frame"),
        ("wallet", view.wallet, wallet_age, "isolated wallet" if view.isolated else "cross wallet"),
        ("available", view.available, view.mark_age_ms, "wallet and PnL less initial margin, at the mark"),
        ("leverage", view.leverage, None, "account setting"),
        ("book", view.book_status.value, snapshot_age, f"{core.state.book_reason}; age is the snapshot's"),
        ("position trusted", view.position_trusted, None, ""),
        ("trading state", view.trading_state.value, None, _word(core, "why")),
        ("symbol state", view.symbol_state.value, None, ""),
        ("paced", view.paced, None, "after a cut of the ladder" if view.paced else ""),
    ]
    return [{"name": name, "value": _text(value), "age_ms": old, "source": source} for name, value, old, source in rows]


def _arithmetic(view: HedgeView, verdict: HedgeVerdict, ladder: LadderVerdict) -> Fields:
    held = short_size(view)
    bounds = _bounds(view, held)
    share = share_of_margin(view, capped=verdict.capped)
    if share is not None:
        bounds["joint share of the hedges on this margin"] = share
    binding = min(bounds, key=lambda name: bounds[name])
    step = view.instrument.step_size
    return {
        "policy_short": _text(verdict.policy_short),
        "policy_short_from": (
            f"max(0, min({_text(view.params.ratio)} × {_text(view.float_quantity)}, "
            f"{_text(view.limits.max_short_ratio)} × {_text(view.float_quantity)}, {_text(view.params.max_short)}))"
        ),
        "capped": _text(floor_step(verdict.policy_short, step)),
        "held": _text(held),
        "raisable": _text(verdict.raisable),
        "raisable_bounds": {name: _text(size) for name, size in bounds.items()},
        "raisable_bound_by": binding,
        "margin_binds": verdict.capped > held and verdict.raisable < verdict.capped,
        "want": _text(verdict.want),
        "target": _text(verdict.target),
        "gap": _interval(verdict.gap_low, verdict.gap_high),
        "gap_usd": f"{max(abs(verdict.gap_low), abs(verdict.gap_high)) * view.mark_price:.2f}",
        "band_usd": _text(view.params.band),
        "naked": _text(verdict.naked),
        "naked_usd": f"{abs(verdict.naked) * view.mark_price:.2f}",
        "dust": _text(verdict.dust),
        "limit_price": _text(collar_price(view, Side.SELL if verdict.gap_low < 0 else Side.BUY)),
        "ladder": {
            "step": ladder.step.value,
            "liquidation_price": _rounded(ladder.liquidation_price, 4),
            "distance": _rounded(ladder.distance, 6),
            "joint_distance": _rounded(ladder.joint_distance, 6),
            "cut_target": _text(ladder.cut_target),
            "hold": ladder.hold,
        },
        "blocked": None if verdict.blocked is None else verdict.blocked.reason,
    }


def _bounds(view: HedgeView, held: Decimal) -> dict[str, Decimal]:
    """Return the sizes that each bound alone allows, by taking the others out of the way."""
    price = collar_price(view, Side.SELL)

    def size(*, wallet: Decimal = view.wallet, available: Decimal = view.available) -> Decimal:
        return raisable_size(replace(view, wallet=wallet, available=available), held=held, price=price)

    floor = view.ladder.rehedge if view.paced else view.ladder.reopen
    return {
        "initial margin": size(wallet=HUGE),
        f"liquidation distance {plain_text(floor * 100)} %": size(available=HUGE),
        "position ceiling at this leverage": size(wallet=HUGE, available=HUGE),
    }


# ---------------------------------------------------------------- what became of it


def _aftermath(replayer: Replayer, lines: Iterator[Line]) -> Callable[[list[Order]], dict[str, _Order]]:
    """Return a function that lets the recording go on until the orders have ended and nothing late comes any more."""

    def go_on(orders: list[Order]) -> dict[str, _Order]:
        found: dict[str, _Order] = {order.client_order_id: _Order(order=order) for order in orders}
        ended_ns: int | None = None
        start_ns = min((order.decided_ns for order in orders), default=0)
        for line in lines if orders else ():
            if line.recv_ns - start_ns > AFTERMATH_NS or (ended_ns is not None and line.recv_ns - ended_ns > CALM_NS):
                break
            replayer.take(line)
            for reaction in _take(replayer):
                _collect(found, reaction, line.recv_ns)
            if ended_ns is None and not any(order.is_open for order in orders):
                ended_ns = line.recv_ns
        return found

    return go_on


def _collect(found: dict[str, _Order], reaction: Reaction, recv_ns: int) -> None:
    for event in reaction.events:
        name = getattr(event, "client_order_id", None)
        told = found.get(name) if isinstance(name, str) else None
        if told is None:
            continue
        if isinstance(event, OrderOutcome | OrderStatusAnswer) and told.answer is None:
            told.answer = {"kind": type(event).__name__, **to_plain(event)}
            told.answer_ns = recv_ns
        if isinstance(event, ExecutionReport) and event.last_quantity > 0:
            fill = {
                "trade_id": event.trade_id,
                "quantity": _text(event.last_quantity),
                "price": _text(event.last_price),
            }
            if all(known["trade_id"] != event.trade_id for known in told.fills):
                told.fills.append({**fill, "commission": _text(event.commission), "asset": event.commission_asset})
                told.fill_ns.append(recv_ns)
    for note in reaction.notes:
        told = found.get(str(note.data.get("client_order_id")))
        if told is not None:
            told.story.append(
                {"time": iso_utc(recv_ns // NS_PER_MS), "seq": reaction.seq, "code": note.code, "text": note.text}
            )


def _tell_orders(decision: Fields, decided: dict[str, Order], story: dict[str, _Order], recv_ns: int) -> None:
    rows = []
    for name in decision["orders"]:
        told = story[name]
        order = told.order
        average = order.average_price
        rows.append(
            {
                "client_order_id": name,
                "side": order.side.value,
                "quantity": _text(order.quantity),
                "type": order.type.value,
                "price": _text(order.price),
                "reduce_only": order.reduce_only,
                "purpose": order.purpose.value,
                "reason": order.reason,
                "position_before": _text(decided[name].position_before),
                "decision_mark": _text(order.decision_mark),
                "status": order.status.value,
                "filled": _text(order.filled),
                "average_price": _rounded(average, 4),
                "slippage_bps": None if average is None else _slippage(order, average),
                "answer": told.answer,
                "fills": told.fills,
                "story": told.story,
                "latency_ms": {
                    "decision_to_answer": _apart(told.answer_ns, recv_ns),
                    "decision_to_first_fill": _apart(told.fill_ns[0] if told.fill_ns else None, recv_ns),
                    "decision_to_last_fill": _apart(told.fill_ns[-1] if told.fill_ns else None, recv_ns),
                },
            }
        )
    decision["orders"] = rows


def _slippage(order: Order, average: Decimal) -> str:
    with exact():
        return f"{order.side.sign * (average - order.decision_mark) / order.decision_mark * 10_000:.3f}"


def _input(line: Line, reaction: Reaction, offset_ms: int | None) -> Fields:
    events = [{"event": type(event).__name__, **to_plain(event)} for event in reaction.events]
    sent_ms = next((event["event_time_ms"] for event in events if event.get("event_time_ms")), None)
    on_the_way = None
    if sent_ms is not None and offset_ms is not None:
        on_the_way = line.recv_ns // NS_PER_MS + offset_ms - sent_ms
    raw = line.payload.decode("utf-8", "replace")
    return {"source": line.source, "events": events, "venue_to_here_ms": on_the_way, "raw": raw}


def _word(core: Core, what: str) -> str:
    if what == "trading":
        return "HALTED" if core.state.halted is not None else "REDUCING" if core.state.reducing else "ACTIVE"
    return "; ".join([core.state.halted] if core.state.halted is not None else core.state.reducing.values())


def _draft(draft: IntentDraft) -> Fields:
    fields: Fields = to_plain(draft)
    return fields


def _interval(low: Decimal, high: Decimal) -> str:
    return _text(low) or "0" if low == high else f"{_text(low)} … {_text(high)}"


def _text(value: object) -> str | None:
    if isinstance(value, Decimal):
        return plain_text(value)
    return None if value is None else str(value)


def _rounded(value: Decimal | None, places: int) -> str | None:
    return None if value is None else plain_text(round(value, places))


def _apart(later_ns: int | None, earlier_ns: int) -> float | None:
    return None if later_ns is None else round((later_ns - earlier_ns) / 1e6, 3)


# ---------------------------------------------------------------- for people


def explain_text(found: Fields) -> str:
    """Return an explanation for people."""
    names = ", ".join(event["event"] for event in found["input"]["events"]) or "nothing that moves the book"
    rows = [f"input {found['seq']}  {found['time']}  {found['input']['source']}: {names}"]
    if found["input"]["venue_to_here_ms"] is not None:
        rows.append(
            f"  {found['input']['venue_to_here_ms']} ms from the venue's stamp to here (clock offset taken out)"
        )
    rows.append(f"  {_shortened(found['input']['raw'])}")
    for decision in found["decisions"]:
        rows += ["", f"{decision['symbol']}  rule: {decision['rule']}{_why_not(decision)}"]
        rows += _decision_rows(decision)
    if found["notes"]:
        rows += ["", "said", *(f"  {note['code']:<11} {note['text']}" for note in found["notes"])]
    return "\n".join(inert(row) for row in rows)


def _why_not(decision: Fields) -> str:
    if decision["rule"] != "none":
        return " (shadow: withheld)" if decision.get("shadow") else ""
    return f", nothing sent: {decision['hold'] or 'at target'}"


def _decision_rows(decision: Fields) -> list[str]:
    if "inputs" not in decision:
        return []
    rows = ["  inputs"]
    for row in decision["inputs"]:
        old = "" if row["age_ms"] is None else f"{row['age_ms']} ms old"
        rows.append(f"    {row['name']:<17} {row['value']:<24} {old:<14} {row['source']}".rstrip())
    sums = decision["arithmetic"]
    bounds = ", ".join(f"{name} {size}" for name, size in sums["raisable_bounds"].items())
    binds = f"bound by {sums['raisable_bound_by']}" if sums["margin_binds"] else "does not bind"
    ladder = sums["ladder"]
    rows += [
        "  arithmetic",
        f"    policy short      {sums['policy_short']} = {sums['policy_short_from']}",
        f"    capped            {sums['capped']}   held {sums['held']}",
        f"    raisable          {sums['raisable']}   {binds} ({bounds})",
        f"    want              {sums['want']}   target {sums['target']}",
        f"    gap               {sums['gap']} = {sums['gap_usd']} USD, band {sums['band_usd']} USD",
        f"    naked             {sums['naked']} = {sums['naked_usd']} USD, dust {sums['dust']}",
        f"    ladder            {ladder['step']}, liquidation {ladder['liquidation_price']}, distance {ladder['distance']}, "
        f"joint {ladder['joint_distance']}{', cut to ' + ladder['cut_target'] if ladder['cut_target'] else ''}",
    ]
    rows += [f"  refused by {row['control']}: {row['reason']}" for row in decision["refusals"]]
    if not decision["recomputed"]:
        rows.append("  ATTENTION: the rules asked again do not give what was sent")
    for order in decision["orders"]:
        rows += _order_rows(order)
    return rows


def _order_rows(order: Fields) -> list[str]:
    reduce_only = " reduce-only" if order["reduce_only"] else ""
    price = f" at {order['price']}" if order["price"] else ""
    rows = [
        f"  order {order['client_order_id']}",
        f"    {order['side']} {order['quantity']} {order['type']}{price}{reduce_only}, {order['purpose']}: {order['reason']}",
        f"    {order['status']}, filled {order['filled']} at {order['average_price']}, slippage {order['slippage_bps']} bp",
    ]
    rows += [
        f"    fill {fill['quantity']} at {fill['price']}, commission {fill['commission']} {fill['asset']}, trade {fill['trade_id']}"
        for fill in order["fills"]
    ]
    times = order["latency_ms"]
    rows.append(
        f"    decision to answer {times['decision_to_answer']} ms, to first fill {times['decision_to_first_fill']} ms, "
        f"to last fill {times['decision_to_last_fill']} ms"
    )
    return rows + [f"    {line['time']} {line['code']}: {line['text']}" for line in order["story"]]


def _shortened(raw: str, most: int = 300) -> str:
    return raw if len(raw) <= most else f"{raw[:most]}…"
