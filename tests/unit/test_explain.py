"""explain: what the rules saw and computed, replayed from a recording whose numbers are worked by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamhedge.domain.canonical import to_plain
from streamhedge.domain.commands import OpenStream
from streamhedge.domain.events import Event, ListenKeyReady, StreamOpened
from streamhedge.domain.order import OrderType, Purpose, Side
from streamhedge.errors import CommandError, StoreError
from streamhedge.ops.explain import _same, explain, explain_text
from streamhedge.reactor.reactor import Reactor
from streamhedge.reactor.state import State
from streamhedge.rules.view import IntentDraft
from streamhedge.runtime.pump import Pump
from streamhedge.store.journal import JournalWriter
from streamhedge.wire.session import MARKET, PRIVATE, WS_API, Session, SessionState
from tests.support import builders as make

D = Decimal
MS = 1_000_000
START_NS = make.T0_MS * MS


class Run:
    """A live machine with a short of 10 BTC at 67 121.4 and a recording of what it is fed from here on."""

    def __init__(self, folder: Path, *, wallet: str = "400000", **policy: object) -> None:
        self.now_ns = START_NS
        self.session = Session(SessionState(symbols=[make.BTCUSDT]))
        self.reactor = Reactor(State(instance="7f3a91c2", epoch=1), make.policy(**policy))
        self.numbers: dict[str, int] = {}
        for event in (make.setup(), make.mark("67121.4")):
            self._step(event)
        for stream in (MARKET, WS_API):
            self._step(StreamOpened(stream, self.numbers[stream]))
        self._step(ListenKeyReady("lk1", renewed=False))
        self._step(StreamOpened(PRIVATE, self.numbers[PRIVATE]))
        self._step(make.mark("67121.4"))
        self._step(make.float_trade("10", trade_id="initial"))
        self._step(make.snapshot("-10", entry="67121.4", wallet=wallet, requested_ns=self.now_ns + 1))
        assert self.session.state.status == "LIVE", self.session.state.reason
        self.journal = JournalWriter(folder, "run", header=self._header, digest=lambda: self.pump.digest())
        self.pump = Pump(reactor=self.reactor, session=self.session, journal=self.journal)

    def _step(self, event: Event) -> None:
        self.now_ns += MS
        step = self.session.step(event, self.now_ns)
        for command in step.commands:
            if isinstance(command, OpenStream):
                self.numbers[command.stream] = command.connection
        self.reactor.react(self.reactor.state.seq + 1, self.now_ns, list(step.events))

    def _header(self) -> dict[str, object]:
        return {"seq": self.reactor.state.seq, "state": self.pump.state(), "digest": self.pump.digest()}

    def feed(self, source: str, said: object, *, after_ms: int) -> int:
        """Feed one input and return its number."""
        self.now_ns += after_ms * MS
        self.pump.feed(source, self.now_ns, orjson.dumps(said))
        return self.pump.seq

    def mark(self, price: str, *, after_ms: int = 500) -> int:
        said = {"e": "markPriceUpdate", "E": self.now_ns // MS, "s": "BTCUSDT", "p": price, "i": price, "r": "0.0001"}
        return self.feed("market", {**said, "T": make.T0_MS + 3_600_000}, after_ms=after_ms)

    def trade(self, quantity: str, *, after_ms: int = 500) -> int:
        return self.feed("trade", to_plain(make.float_trade(quantity).trade), after_ms=after_ms)

    def filled(self, name: str, side: str, quantity: str, *, position: str, entry: str, wallet: str) -> None:
        """Let the venue tell a fill: account first, then the report, then the reply, 2 ms apart."""
        at_ms = self.now_ns // MS + 2
        row = {
            "s": "BTCUSDT",
            "pa": position,
            "ep": entry,
            "cr": "0",
            "up": "0",
            "mt": "cross",
            "iw": "0",
            "ps": "BOTH",
        }
        money = {"a": "USDT", "wb": wallet, "cw": wallet, "bc": "0"}
        update = {"e": "ACCOUNT_UPDATE", "E": at_ms, "T": at_ms, "a": {"m": "ORDER", "B": [money], "P": [row]}}
        self.feed("private", update, after_ms=2)
        order = {"s": "BTCUSDT", "c": name, "S": side, "o": "LIMIT", "f": "IOC", "q": quantity, "p": "66450.2"}
        order |= {"ap": "67120.9", "x": "TRADE", "X": "FILLED", "i": 71, "l": quantity, "z": quantity, "L": "67120.9"}
        order |= {"n": "4.97", "N": "USDT", "T": at_ms, "t": 4711, "m": False, "R": False, "ps": "BOTH", "rp": "0"}
        self.feed("private", {"e": "ORDER_TRADE_UPDATE", "E": at_ms, "T": at_ms, "o": order}, after_ms=2)
        body = {"clientOrderId": name, "orderId": 71, "status": "FILLED", "executedQty": quantity, "symbol": "BTCUSDT"}
        request = {"label": "order", "client_order_id": name}
        self.feed(
            "rest", {"request": request, "status": 200, "headers": {}, "body": orjson.dumps(body).decode()}, after_ms=2
        )

    def done(self) -> list[Path]:
        self.journal.close(self.now_ns)
        return list(self.journal.paths)


def only(found: dict[str, Any]) -> dict[str, Any]:
    (decision,) = found["decisions"]
    return decision  # type: ignore[no-any-return]


def values(decision: dict[str, Any]) -> dict[str, tuple[str, int | None]]:
    return {row["name"]: (row["value"], row["age_ms"]) for row in decision["inputs"]}


ORDER = "sh-7f3a91c2-1-000001"


def test_a_purchase_is_explained_to_its_fill(tmp_path: Path) -> None:
    """HEDGING: 10 000 USD at 67 121.4 are 0.14898378 BTC; target -10.148, dust 0.00098378."""
    run = Run(tmp_path)
    run.mark("67121.4")
    seq = run.trade("0.14898378")
    run.filled(ORDER, "SELL", "0.148", position="-10.148", entry="67121.39", wallet="399995.03")
    run.mark("67121.4")
    paths = run.done()
    found = explain(str(seq), paths)
    decision = only(found)
    assert [event["event"] for event in found["input"]["events"]] == ["FloatTradeRecorded"]
    assert decision["rule"] == "hedge" and decision["recomputed"] and decision["refusals"] == []
    seen = values(decision)
    assert seen["float"] == ("10.14898378", None)
    assert seen["position"] == ("-10", 1_000)
    assert seen["mark price"] == ("67121.4", 500)
    assert seen["in flight"] == ("0", None), "what the rule saw, before its own order"
    sums = decision["arithmetic"]
    assert (sums["policy_short"], sums["capped"], sums["held"]) == ("10.14898378", "10.148", "10")
    assert (sums["want"], sums["target"], sums["gap"]) == ("10.148", "-10.148", "-0.148")
    assert (sums["dust"], sums["limit_price"]) == ("0.00098378", "66450.2")
    assert sums["raisable"] == "17.626" and sums["raisable_bound_by"] == "initial margin", "HEDGING §6: 7.626 more"
    assert sums["raisable_bounds"] == {
        "initial margin": "17.626",
        "liquidation distance 30 %": "19.377",
        "position ceiling at this leverage": "11918.702",
    }
    assert not sums["margin_binds"]
    (order,) = decision["orders"]
    assert (order["side"], order["quantity"], order["price"], order["status"]) == ("SELL", "0.148", "66450.2", "FILLED")
    assert order["fills"] == [
        {"trade_id": 4711, "quantity": "0.148", "price": "67120.9", "commission": "4.97", "asset": "USDT"}
    ]
    assert order["latency_ms"] == {
        "decision_to_answer": 6.0,
        "decision_to_first_fill": 4.0,
        "decision_to_last_fill": 4.0,
    }
    assert order["slippage_bps"] == "0.074", "(67121.4 − 67120.9) / 67121.4"
    text = explain_text(found)
    for words in ("policy short      10.14898378", "gap               -0.148 = 9933.97 USD", f"order {ORDER}"):
        assert words in text


def test_one_input_is_found_by_number_order_and_time(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.mark("67121.4")
    seq = run.trade("0.14898378")
    paths = run.done()
    by_seq = explain(str(seq), paths)
    assert explain(ORDER, paths) == by_seq
    assert explain(by_seq["time"], paths) == by_seq
    assert explain(by_seq["time"][11:-1], paths) == by_seq, "a time of the recording's day"
    for nobody in ("999", "sh-7f3a91c2-1-000099", "2099-01-01T00:00:00", "later"):
        with pytest.raises(CommandError):
            explain(nobody, paths)
    with pytest.raises(StoreError):
        explain("1", [tmp_path / "nothing"])


def test_a_cut_of_the_ladder_is_explained(tmp_path: Path) -> None:
    """HEDGING §10: wallet 250 000, mark 73 350 → BUY 1.640, distance 24.98 %."""
    run = Run(tmp_path, wallet="250000")
    seq = run.mark("73350")
    decision = only(explain(str(seq), run.done()))
    assert decision["rule"] == "liquidation" and decision["recomputed"]
    assert decision["intent"]["quantity"] == "1.640" and decision["intent"]["reduce_only"] is True
    ladder = decision["arithmetic"]["ladder"]
    assert ladder["step"] == "reduce" and ladder["cut_target"] == "-8.36"
    assert ladder["liquidation_price"] == "91675.5092" and D(ladder["distance"]).quantize(D("0.0001")) == D("0.2498")
    assert decision["orders"][0]["purpose"] == "ladder"


def test_margin_that_binds_is_named(tmp_path: Path) -> None:
    """250 000 stand 10 BTC at 36.58 %; with 2 BTC more only what keeps 30 % may be added."""
    run = Run(tmp_path, wallet="250000")
    run.mark("67121.4")
    seq = run.trade("2")
    decision = only(explain(str(seq), run.done()))
    sums = decision["arithmetic"]
    assert sums["margin_binds"] and sums["raisable_bound_by"].startswith("initial margin")
    assert D(sums["raisable"]) == min(D(size) for size in sums["raisable_bounds"].values())
    assert sums["want"] == sums["raisable"] and D(sums["want"]) < D(sums["capped"])
    assert "not hedged" in sums["blocked"] or sums["blocked"] is None


def test_a_refusal_of_the_gate_is_told_with_its_control(tmp_path: Path) -> None:
    run = Run(tmp_path, limits=make.limits(max_turnover_per_day=D(1)))
    run.mark("67121.4")
    seq = run.trade("0.5")
    found = explain(str(seq), run.done())
    decision = only(found)
    assert decision["rule"] == "none" and decision["intent"] is None and decision["orders"] == []
    (refusal,) = decision["refusals"]
    assert refusal["rule"] == "hedge" and refusal["control"] == "R8 turnover"
    assert decision["recomputed"], "nothing was sent, and the rules asked again send nothing"
    assert "refused by R8 turnover" in explain_text(found)


def test_nothing_sent_says_why(tmp_path: Path) -> None:
    run = Run(tmp_path)
    calm = run.mark("67200")
    small = run.trade("0.001")
    run.feed("verb", {"kind": "halt", "symbol": None, "reason": "drill", "uid": 0}, after_ms=10)
    late = run.trade("1", after_ms=10)
    paths = run.done()
    assert only(explain(str(calm), paths))["hold"] == ""
    assert only(explain(str(small), paths))["hold"] == "band"
    halted = explain(str(late), paths)
    assert only(halted)["hold"] == "halted" and halted["state"]["trading_state"] == "HALTED"
    assert "nothing sent: halted" in explain_text(halted)


def test_every_input_gives_what_was_sent(tmp_path: Path) -> None:
    """Purchases, a rally through the ladder and back: asking again never gives anything else."""
    run = Run(tmp_path, wallet="250000")
    for price in ("67121.4", "68000", "70600", "73350", "73400", "72000", "69000"):
        run.mark(price)
    run.trade("-3")
    run.mark("69100")
    last = run.pump.seq
    paths = run.done()
    sent = 0
    for seq in range(last - 8, last + 1):
        decision = only(explain(str(seq), paths))
        assert decision["recomputed"], decision
        sent += len(decision["orders"])
    assert sent >= 1


def test_what_was_sent_and_is_not_what_the_rules_say_is_seen(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.mark("67121.4")
    run.trade("0.14898378")
    order = make.oldest_open(run.reactor)
    same = IntentDraft(
        **{name: getattr(order, name) for name in ("symbol", "side", "quantity", "type", "price", "time_in_force")},
        **{name: getattr(order, name) for name in ("reduce_only", "purpose", "target", "reason")},
    )
    assert _same(same, [order])
    for other in (
        replace(same, quantity=order.quantity + D("0.001")),
        replace(same, side=Side.BUY),
        replace(same, type=OrderType.MARKET, price=None),
        replace(same, purpose=Purpose.LADDER),
    ):
        assert not _same(other, [order])
    assert not _same(None, [order]) and not _same(same, []) and _same(None, [])


def test_a_later_segment_explains_itself(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.mark("67121.4")
    run.journal.rotate(run.now_ns)
    run.mark("67121.4")
    seq = run.trade("0.14898378")
    paths = run.done()
    assert len(paths) == 2
    assert explain(str(seq), paths) == explain(str(seq), paths[1:])


def test_a_torn_tail_is_told_and_left_out(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.mark("67121.4")
    seq = run.trade("0.14898378")
    (path,) = run.done()
    path.write_bytes(path.read_bytes() + b"1795161600000 market {torn")
    told: list[str] = []
    assert only(explain(str(seq), [path], on_cut=told.append))["rule"] == "hedge"
    with pytest.raises(CommandError):
        explain(str(seq + 1), [path], on_cut=told.append)
    assert any("torn" in text for text in told)
