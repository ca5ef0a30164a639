"""Every fault of the exchange's catalogue, one by one, and the grammar in which they are armed."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from streamhedge.errors import ConfigError
from streamhedge.sim.faults import KNOWN, Faults
from tests.sim.desk import BTC, ETH, Desk, accounts, kinds, reports

D = Decimal
MARK = "btcusdt@markPrice@1s"
Play = Callable[[Desk], None]
PLAYED: dict[str, list[Play]] = {}


def fault(name: str) -> Callable[[Play], Play]:
    """Enter a play under its fault's id."""

    def enter(play: Play) -> Play:
        PLAYED.setdefault(name, []).append(play)
        return play

    return enter


# ---------------------------------------------------------------- streams


@fault("S1")
def frozen_sockets_say_nothing_more_not_even_to_commands(desk: Desk) -> None:
    old = desk.listen()
    desk.arm("S1=private")
    new = desk.listen()
    desk.order("SELL", "1")
    desk.say(old, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
    owners = [owner for owner, _ in desk.exchange.streams.outbox]
    assert owners == [new] * 4 and old in desk.exchange.streams.connections


@fault("S2")
def a_muted_path_answers_commands_and_delivers_nothing(desk: Desk) -> None:
    number = desk.connect(f"/market/ws/{MARK}")
    desk.arm("S2=market*0")
    desk.after(1_000)
    desk.say(number, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
    assert desk.frames(number) == [{"result": [MARK], "id": 1}]
    desk.exchange.faults.disarm("S2")
    desk.after(1_000)
    desk.after(1_000)
    assert desk.frames(number)


@fault("S3")
def a_path_is_cut(desk: Desk) -> None:
    market, private = desk.connect(f"/market/ws/{MARK}"), desk.listen()
    desk.arm("S3=private")
    assert desk.exchange.streams.closing == [private]
    desk.arm("S3=market")
    assert desk.exchange.streams.closing == [private, market] and not desk.exchange.drop_ws_api
    desk.arm("S3=ws_api")
    assert desk.exchange.drop_ws_api


@fault("S7")
def a_malformed_frame(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("S7=1")
    (text,) = desk.texts(number)
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


@fault("S8")
def an_event_nobody_knows(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("S8=1")
    assert kinds(desk.frames(number)) == ["BRAND_NEW_EVENT"]


@fault("S10")
def one_symbol_of_a_socket_is_mute(desk: Desk) -> None:
    number = desk.connect("/market/stream", f"streams={MARK}/ethusdt@markPrice@1s")
    desk.arm(f"S10={BTC}*0")
    desk.frames(number)
    desk.after(1_000)
    assert [frame["data"]["s"] for frame in desk.frames(number)] == [ETH]
    desk.exchange.faults.disarm("S10")
    desk.after(1_000)
    assert [frame["data"]["s"] for frame in desk.frames(number)] == [BTC, ETH]


# ---------------------------------------------------------------- user data


@fault("U2")
def the_listen_key_expires_with_its_event(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("U2=event")
    assert kinds(desk.frames(number)) == ["listenKeyExpired"]
    assert desk.raw("PUT", "/fapi/v1/listenKey").code == -1125


@fault("U2")
def the_listen_key_expires_without_a_word(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("U2=silent")
    desk.order("SELL", "1")
    assert desk.frames(number) == []


@fault("U3")
def somebody_else_deletes_the_key(desk: Desk) -> None:
    number = desk.listen()
    before = desk.exchange.listen_key.key
    desk.arm("U3=1")
    assert kinds(desk.frames(number)) == ["listenKeyExpired"]
    assert desk.raw("POST", "/fapi/v1/listenKey").body["listenKey"] != before


@fault("U5")
def account_and_report_change_places(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("U5=1")
    desk.order("SELL", "1")
    assert kinds(desk.frames(number)) == ["NEW", "TRADE_LITE", "TRADE", "ACCOUNT_UPDATE"]


@fault("U6")
def an_event_comes_twice(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("U6=1*4")
    desk.order("SELL", "1")
    found = kinds(desk.frames(number))
    assert found == [name for kind in ("NEW", "TRADE_LITE", "ACCOUNT_UPDATE", "TRADE") for name in (kind, kind)]


@fault("U8")
def an_event_is_lost(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("U8=1")
    desk.order("SELL", "1")
    assert kinds(desk.frames(number)) == ["TRADE_LITE", "ACCOUNT_UPDATE", "TRADE"]
    assert desk.position().amount == -1


@fault("U9")
def no_trade_lite(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("U9=1")
    desk.order("SELL", "1")
    desk.order("SELL", "1")
    assert kinds(desk.frames(number)).count("TRADE_LITE") == 1


# ---------------------------------------------------------------- orders


@fault("O1")
def nobody_knows_and_it_did_execute(desk: Desk) -> None:
    desk.arm("O1=executed")
    answer = desk.order("SELL", "1", newClientOrderId="a")
    assert answer.status == 503 and "code" not in answer.body
    assert answer.body["msg"] == "Unknown error, please check your request or try again later."
    assert desk.position().amount == -1 and desk.query("a")["status"] == "FILLED"


@fault("O1")
def nobody_knows_and_it_did_not(desk: Desk) -> None:
    desk.arm("O1=not_executed")
    assert desk.order("SELL", "1", newClientOrderId="a").status == 503
    assert desk.position().amount == 0 and desk.query("a")["code"] == -2013
    assert desk.order("SELL", "1", newClientOrderId="b").status == 200


@fault("O1")
def nobody_knows_and_it_will(desk: Desk) -> None:
    desk.arm("O1=late")
    assert desk.order("SELL", "1", newClientOrderId="a").status == 503
    desk.after(1_499)
    assert desk.position().amount == 0 and desk.query("a")["code"] == -2013
    desk.after(1)
    assert desk.position().amount == -1


@fault("O1")
def the_websocket_api_says_it_with_a_code(desk: Desk) -> None:
    desk.arm("O1=executed")
    found = desk.ws("order.place", symbol=BTC, side="SELL", type="MARKET", quantity="1")
    assert (found["status"], found["error"]["code"]) == (503, -1007) and desk.position().amount == -1


@fault("O3")
def three_ways_of_certainly_not(desk: Desk) -> None:
    texts = {
        "unavailable": (503, 0, "Service Unavailable."),
        "internal": (503, -1001, "Internal error; unable to process your request. Please try again."),
        "429": (429, -1003, "Too many requests; current limit is 2400 requests per minute. "),
    }
    for word, (status, code, text) in texts.items():
        desk.arm(f"O3={word}")
        answer = desk.order("SELL", "1")
        assert (answer.status, answer.code) == (status, code) and text in answer.body["msg"]
    assert answer.headers["retry-after"] == "1" and desk.position().amount == 0


@fault("O3")
def throttling_spares_what_reduces(desk: Desk) -> None:
    desk.order("SELL", "2")
    desk.arm("O3=throttled*0")
    answer = desk.order("SELL", "1")
    assert (answer.status, answer.code) == (503, -1008)
    assert desk.order("BUY", "1", reduceOnly="true").status == 200 and desk.position().amount == -1


@fault("O5")
def the_order_executes_and_the_reply_is_html(desk: Desk) -> None:
    desk.arm("O5=garbage")
    answer = desk.order("SELL", "1")
    assert answer.status == 502 and answer.headers["content-type"] == "text/html" and "<html>" in answer.body
    assert desk.position().amount == -1


@fault("O6")
def an_order_cannot_be_found_for_a_while(desk: Desk) -> None:
    desk.arm("O6=3000")
    desk.order("SELL", "1", newClientOrderId="a")
    desk.after(2_999)
    assert desk.query("a")["code"] == -2013
    assert desk.ws("order.status", symbol=BTC, origClientOrderId="a")["error"]["code"] == -2013
    desk.after(1)
    assert desk.query("a")["status"] == "FILLED"


@fault("O7")
def an_order_fills_only_in_part(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("O7=40")
    desk.order("SELL", "1", "66000", timeInForce="IOC")
    assert desk.position().amount == D("-0.4")
    assert [(r["x"], r["z"], r["er"]) for r in reports(desk.frames(number))][-1] == ("EXPIRED", "0.4", "2")


@fault("O14")
def raising_is_refused_for_margin_and_reducing_is_not(desk: Desk) -> None:
    desk.order("SELL", "2")
    desk.arm("O14=margin")
    assert desk.order("BUY", "1", reduceOnly="true").status == 200
    assert desk.order("SELL", "1").code == -2019
    assert desk.order("SELL", "1").status == 200


@fault("O15")
def the_connection_closes_as_the_order_is_read(desk: Desk) -> None:
    desk.arm("O15=executed")
    assert desk.order("SELL", "1").cut and desk.position().amount == -1
    desk.arm("O15=not_executed")
    assert desk.order("SELL", "1").cut and desk.position().amount == -1
    assert not desk.order("SELL", "1").cut


# ---------------------------------------------------------------- account, clock, market


@fault("A1")
def somebody_else_trades_the_account(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("A1=-2.5")
    assert desk.position().amount == D("-2.5")
    assert reports(desk.frames(number))[-1]["c"].startswith("web_")


@fault("A5")
def the_venue_closes_the_position(desk: Desk) -> None:
    for word, prefix, left in (
        *(("adl", "adl_autoclose", "-1"), ("settle", "settlement_autoclose-", "0")),
        ("liquidate", "autoclose-", "0"),
    ):
        desk.order("BUY" if desk.position().amount < 0 else "SELL", "1")
        desk.order("SELL", str(2 + desk.position().amount))
        assert desk.position().amount == -2
        number = desk.listen()
        desk.arm(f"A5={word}")
        assert desk.position().amount == D(left)
        assert [r["c"].startswith(prefix) for r in reports(desk.frames(number))] == [True, True]
    truth = desk.exchange.truth()
    assert (truth["adls"], truth["liquidations"]) == (1, 1)


@fault("C1")
def the_venues_clock_is_off_until_it_is_not(desk: Desk) -> None:
    desk.arm("C1=5001*0")
    assert desk.rest("GET", "/fapi/v3/balance").code == -1021
    assert desk.rest("GET", "/fapi/v1/time", sign=False).body["serverTime"] == desk.now_ms + 5_001
    assert desk.ws("v2/account.balance")["error"]["code"] == -1021
    desk.exchange.faults.disarm("C1")
    assert desk.rest("GET", "/fapi/v3/balance").status == 200


@fault("M1")
def no_mark_prices(desk: Desk) -> None:
    number = desk.connect(f"/market/ws/{MARK}")
    desk.arm("M1=1*0")
    desk.frames(number)
    desk.after(1_000)
    assert desk.frames(number) == []
    desk.exchange.faults.disarm("M1")
    desk.after(1_000)
    assert len(desk.frames(number)) == 1


@fault("M3")
def maintenance_closes_everything_for_a_while(desk: Desk) -> None:
    market, private = desk.connect(f"/market/ws/{MARK}"), desk.listen()
    desk.order("SELL", "1")
    desk.order("BUY", "1", "60000", newClientOrderId="a")
    desk.arm("M3=30")
    assert sorted(desk.exchange.streams.closing) == [market, private] and desk.exchange.drop_ws_api
    for answer in (desk.rest("GET", "/fapi/v1/time", sign=False), desk.order("SELL", "1")):
        assert (answer.status, answer.code) == (503, -1016)
    assert desk.ws("time", sign=False)["error"]["code"] == -1016
    refused = desk.exchange.handshake(desk.now_ms)
    assert refused is not None and refused.status == 503
    desk.price("600000")  # nothing is liquidated while the engine stands
    assert desk.position().amount == -1
    desk.price("67000")
    desk.after(30_000)
    assert desk.exchange.handshake(desk.now_ms) is None
    assert desk.query("a")["status"] == "CANCELED" and desk.position().amount == -1


@fault("O10")
def a_stop_that_only_reduces_is_refused_once(desk: Desk) -> None:
    desk.order("SELL", "1")
    desk.arm("O10=4118")
    words = {"symbol": BTC, "side": "BUY", "type": "STOP_MARKET", "algoType": "CONDITIONAL", "triggerPrice": "70000"}
    refused, taken = (
        desk.rest("POST", "/fapi/v1/algoOrder", **words, quantity="1", reduceOnly="true") for _ in range(2)
    )
    assert (refused.code, taken.code) == (-4118, 0)


@fault("X1")
def the_exchange_reports_a_fill_and_moves_nothing(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("X1=1")
    desk.order("SELL", "1")
    assert accounts(desk.frames(number))[0]["P"][0]["pa"] == "-1"
    assert desk.position().amount == 0 and desk.exchange.account.wallet == 400_000


@fault("S9")
def a_frame_too_deep_and_one_too_large(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("S9=deep")
    desk.arm("S9=huge")
    deep, huge = desk.texts(number)[-2:]
    assert deep.count("[") + deep.count("{") >= 1_000 and len(huge) > 256_000


@fault("S12")
def a_captive_portal_answers_for_the_venue(desk: Desk) -> None:
    desk.arm("S12=x")
    portal = desk.raw("GET", "/fapi/v1/time")
    assert portal.status == 200 and "<html" in str(portal.body).lower()
    assert desk.rest("GET", "/fapi/v1/time", sign=False).status == 200


@fault("U4")
def a_listen_key_call_fails_once(desk: Desk) -> None:
    desk.arm("U4=x")
    assert desk.rest("POST", "/fapi/v1/listenKey", sign=False).status == 503
    assert desk.rest("POST", "/fapi/v1/listenKey", sign=False).status == 200


@fault("U7")
def a_replica_answers_with_what_was(desk: Desk) -> None:
    desk.order("SELL", "1")
    desk.arm("U7=x")
    desk.order("SELL", "1")
    held = [desk.ws("v2/account.position")["result"][0]["positionAmt"] for _ in range(2)]
    assert [D(amount) for amount in held] == [D(-1), D(-2)]


@fault("U11")
def a_positions_answer_lacks_rows(desk: Desk) -> None:
    desk.order("SELL", "1")
    desk.arm("U11=empty")
    assert desk.ws("v2/account.position")["result"] == []
    assert len(desk.ws("v2/account.position")["result"]) == 1


@fault("U14")
def events_that_nobody_acts_on(desk: Desk) -> None:
    number = desk.listen()
    desk.arm("U14=x")
    assert {"MARGIN_CALL", "STRATEGY_UPDATE", "GRID_UPDATE"} <= set(kinds(desk.frames(number)))


@fault("O18")
def an_order_executes_far_outside_its_window(desk: Desk) -> None:
    desk.arm("O18=20")
    assert desk.order("SELL", "1").status == 503
    assert desk.position().amount == 0
    desk.after(25_000)
    assert desk.position().amount == -1


@fault("M2")
def a_mark_that_is_wrong_for_one_frame(desk: Desk) -> None:
    number = desk.connect(f"/market/ws/{MARK}")
    desk.arm("M2=x10")
    for _ in range(3):
        desk.after(1_000)
    marks = [D(frame["p"]) for frame in desk.frames(number)]
    assert max(marks) > 5 * min(marks) and marks.count(max(marks)) == 1 and marks[-1] == min(marks)


CASES = [(name, play) for name, plays in PLAYED.items() for play in plays]


@pytest.mark.parametrize(("name", "play"), CASES, ids=[f"{name}-{play.__name__}" for name, play in CASES])
def test_fault(name: str, play: Play) -> None:
    desk = Desk()
    play(desk)
    assert desk.exchange.truth()["faults"].get(name, 0) >= 1


def test_every_known_fault_is_played() -> None:
    assert sorted(PLAYED) == sorted(KNOWN)


# ---------------------------------------------------------------- grammar


def test_the_grammar_of_knobs() -> None:
    faults = Faults()
    faults.arm("O1=executed, U8=any@1.5*2,S2=market*0", 1_000)
    assert faults.take("O1", 1_000) == "executed" and faults.take("O1", 1_000) is None
    assert faults.take("U8", 2_499) is None
    assert [faults.take("U8", 2_500) for _ in range(3)] == ["any", "any", None]
    assert [faults.switch("S2", at) for at in (1_000, 9_000)] == ["market", "market"]
    assert faults.happened == {"O1": 1, "U8": 2, "S2": 1}
    faults.disarm("S2")
    assert faults.switch("S2", 9_000) is None and faults.armed == []


@pytest.mark.parametrize("text", ["", "O1", "Z9=1", "o1=x", "O1=x@soon", "O1=x*many", "O1=x,"])
def test_a_knob_that_is_none_is_refused_with_the_choice(text: str) -> None:
    with pytest.raises(ConfigError, match="expected ID=value"):
        Faults().arm(text, 0)
