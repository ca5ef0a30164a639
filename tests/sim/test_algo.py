"""Conditional orders at the exchange: what triggers them, what they become, what is said of them, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.desk import BTC, ETH, Answer, Desk, kinds, reports

ALGO, OPEN = "/fapi/v1/algoOrder", "/fapi/v1/openAlgoOrders"


def stop(desk: Desk, trigger: str, quantity: str | None = "1", side: str = "BUY", **more: Any) -> Answer:
    """Place a stop on the mark: reduce-only with a quantity, close-all without."""
    words: dict[str, Any] = {"symbol": BTC, "side": side, "type": "STOP_MARKET", "algoType": "CONDITIONAL"}
    size = {"closePosition": "true"} if quantity is None else {"quantity": quantity, "reduceOnly": "true"}
    words |= {**size, "triggerPrice": trigger, "workingType": "MARK_PRICE", **more}
    return desk.rest("POST", ALGO, **{name: value for name, value in words.items() if value != ""})


def news(frames: list[Any]) -> list[str]:
    """Return the states that ALGO_UPDATE tells, with the executions of ORDER_TRADE_UPDATE between them."""
    found = []
    for frame in frames:
        if frame["e"] in ("ALGO_UPDATE", "ORDER_TRADE_UPDATE"):
            found.append(frame["o"]["X"] if frame["e"] == "ALGO_UPDATE" else f"order {frame['o']['x']}")
    return found


@pytest.fixture
def desk() -> Desk:
    """A short of two bitcoin."""
    found = Desk()
    found.order("SELL", "2")
    return found


def test_a_stop_rests_unseen_by_the_engine_and_is_listed_by_its_own_service(desk: Desk) -> None:
    number = desk.listen()
    row = stop(desk, "70000", clientAlgoId="s-1").body
    assert (row["clientAlgoId"], row["algoStatus"], row["triggerPrice"]) == ("s-1", "NEW", "70000.00")
    assert (row["quantity"], row["reduceOnly"], row["closePosition"]) == ("1.000", True, False)
    (frame,) = desk.frames(number)
    assert frame["e"] == "ALGO_UPDATE" and frame["o"]["X"] == "NEW" and frame["o"]["ai"] == ""
    assert not {"ap", "aq", "act", "rm"} & set(frame["o"]), "they come with the trigger"
    assert desk.rest("GET", "/fapi/v1/openOrders").body == []
    assert desk.rest("GET", OPEN).body == desk.rest("GET", OPEN, symbol=BTC).body == [row]
    assert desk.rest("GET", OPEN, symbol=ETH).body == []
    assert desk.rest("GET", ALGO, algoId=row["algoId"]).body == desk.rest("GET", ALGO, clientAlgoId="s-1").body == row
    assert desk.exchange.truth()["algo_orders"] == [row]
    assert desk.exchange.truth()["rest_calls"][f"POST {ALGO}"] == 1
    assert desk.exchange.truth()["algo_posts"] == {"s-1": 1}


def test_the_mark_triggers_it_and_its_order_closes_what_it_names(desk: Desk) -> None:
    stop(desk, "70000", clientAlgoId="s-1")
    number = desk.listen()
    desk.price("69999.9")
    assert news(desk.frames(number)) == [] and desk.position().amount == -2
    desk.price("70000")
    frames = desk.frames(number)
    assert news(frames) == ["TRIGGERING", "order NEW", "order TRADE", "TRIGGERED", "FINISHED"]
    assert desk.position().amount == -1
    made = reports(frames)[0]
    assert (made["o"], made["ot"], made["sp"], made["wt"], made["R"]) == (
        *("MARKET", "STOP_MARKET", "70000", "MARK_PRICE"),
        True,
    )
    algo = [frame["o"] for frame in frames if frame["e"] == "ALGO_UPDATE"]
    assert algo[1]["ai"] == algo[2]["ai"] == str(made["i"]) and algo[0]["ai"] == ""
    assert (algo[1]["aq"], algo[2]["aq"], algo[2]["ap"], algo[2]["act"]) == ("0", "1", "70000.5", "MARKET")
    assert algo[0]["tt"] == desk.now_ms
    assert desk.rest("GET", OPEN).body == []
    row = desk.rest("GET", ALGO, clientAlgoId="s-1").body
    assert (row["algoStatus"], row["actualOrderId"]) == ("FINISHED", str(made["i"]))


def test_the_contract_price_triggers_before_the_mark_does(desk: Desk) -> None:
    # The best ask stands half a USDT above the mark.
    stop(desk, "70000.5", clientAlgoId="contract", workingType="")
    stop(desk, "70000.5", clientAlgoId="mark")
    desk.price("70000")
    assert [row["clientAlgoId"] for row in desk.rest("GET", OPEN).body] == ["mark"]


def test_a_close_all_stop_closes_whatever_is_held_and_dies_with_the_position(desk: Desk) -> None:
    number = desk.listen()
    stop(desk, "70000", None)
    desk.order("SELL", "1")
    desk.frames(number)
    desk.price("70001")
    assert desk.position().amount == 0
    desk.price("67000")
    desk.order("SELL", "1")
    row = stop(desk, "70000", None).body
    assert (row["timeInForce"], row["quantity"], row["closePosition"]) == ("GTE_GTC", "0.000", True)
    desk.order("BUY", "1", reduceOnly="true")
    desk.frames(number)
    desk.after(1)
    assert news(desk.frames(number)) == ["EXPIRED"] and desk.rest("GET", OPEN).body == []


def test_a_reduce_only_stop_outlives_the_position_and_is_rejected_when_nothing_is_left(desk: Desk) -> None:
    number = desk.listen()
    stop(desk, "70000")
    desk.order("BUY", "2", reduceOnly="true")
    desk.frames(number)
    desk.price("70000")
    frames = desk.frames(number)
    assert news(frames) == ["TRIGGERING", "REJECTED"]
    assert frames[-1]["o"]["rm"] == "Reduce Only reject" and desk.position().amount == 0


def test_a_reduce_only_stop_never_turns_the_position(desk: Desk) -> None:
    stop(desk, "70000", "5")
    desk.price("70000")
    assert desk.position().amount == 0


def test_a_take_profit_waits_for_the_price_to_come(desk: Desk) -> None:
    stop(desk, "66000", type="TAKE_PROFIT_MARKET")
    desk.price("66000.1")
    assert desk.position().amount == -2
    desk.price("66000")
    assert desk.position().amount == -1


def test_what_cannot_rest_is_refused_with_the_code_that_says_why(desk: Desk) -> None:
    assert stop(desk, "67000").code == -2021, "the mark is there already"
    assert stop(desk, "60000", side="SELL").code == -2022, "a sell would add to a short"
    assert stop(desk, "70000", closePosition="true").code == -1106
    assert stop(desk, "70000.05").code == -4014 and stop(desk, "70000", "0.0001").code == -1111
    assert stop(desk, "70000", algoType="").code == -1102 and stop(desk, "70000", type="LIMIT").code == -1130
    assert stop(desk, "70000", workingType="LAST").code == -1130
    assert desk.rest("GET", OPEN).body == []
    assert stop(desk, "70000", clientAlgoId="s-1").status == 200
    assert stop(desk, "70001", clientAlgoId="s-1").code == -4116
    desk.arm("O10=4118,O10=2022")
    assert [stop(desk, "70000").code for _ in range(3)] == [-4118, -2022, 0]


def test_a_second_close_all_stop_is_refused_and_a_stop_with_a_quantity_is_not(desk: Desk) -> None:
    assert stop(desk, "70000", None).status == 200
    assert stop(desk, "71000", None).code == -4130
    assert stop(desk, "71000").status == 200


def test_two_hundred_rest_and_not_one_more(desk: Desk) -> None:
    for _ in range(200):
        desk.exchange.limits.orders.clear()
        assert stop(desk, "70000").status == 200
    assert stop(desk, "70000").code == -4045


def test_a_cancel_ends_it_once_and_an_unknown_id_is_refused(desk: Desk) -> None:
    row = stop(desk, "70000", clientAlgoId="s-1").body
    number = desk.listen()
    assert desk.rest("DELETE", ALGO, clientAlgoId="s-1").body == {
        **{"algoId": row["algoId"], "clientAlgoId": "s-1", "code": "200", "msg": "success"}
    }
    assert news(desk.frames(number)) == ["CANCELED"]
    assert desk.rest("DELETE", ALGO, clientAlgoId="s-1").code == -2011
    assert desk.rest("DELETE", ALGO, algoId="7").code == -2011 and desk.rest("DELETE", ALGO).code == -1102
    assert desk.rest("GET", ALGO, clientAlgoId="other").code == -2013
    stop(desk, "70000")
    stop(desk, "71000")
    assert desk.rest("DELETE", "/fapi/v1/algoOpenOrders", symbol=BTC).status == 200
    assert desk.rest("GET", OPEN).body == []
    assert desk.rest("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC).status == 200


def test_regular_cancels_leave_it_alone(desk: Desk) -> None:
    stop(desk, "70000")
    desk.rest("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC)
    desk.arm("M3=1")
    desk.after(2_000)
    assert len(desk.rest("GET", OPEN).body) == 1, "neither a cancel-all nor a maintenance takes it"


def test_a_liquidation_ends_every_stop_and_a_jump_past_both_liquidates() -> None:
    desk = Desk(wallet="30000")
    desk.order("SELL", "2")
    number = desk.listen()
    stop(desk, "75000")
    stop(desk, "76000")
    desk.price("90000")
    assert desk.exchange.account.liquidations == 1 and desk.rest("GET", OPEN).body == []
    assert news(desk.frames(number)).count("EXPIRED") == 2


def test_the_stop_closes_before_the_liquidation_where_the_mark_passes_it_first() -> None:
    desk = Desk(wallet="30000")
    desk.order("SELL", "2")
    stop(desk, "75000", "2")
    for price in range(68_000, 90_000, 1_000):
        desk.price(str(price))
    assert desk.exchange.account.liquidations == 0 and desk.position().amount == 0


def test_deleveraging_leaves_a_stop_that_reduces_no_more_than_is_left(desk: Desk) -> None:
    stop(desk, "70000", "2")
    desk.arm("A5=adl")
    assert desk.position().amount == -1 and len(desk.rest("GET", OPEN).body) == 1
    desk.price("70000")
    assert desk.position().amount == 0


@pytest.mark.parametrize(
    ("fault", "status", "rests"),
    [("O1=executed", 503, 1), ("O1=not_executed", 503, 0), ("O3=unavailable", 503, 0), ("O5=garbage", 502, 1)],
)
def test_it_meets_the_faults_an_order_meets(desk: Desk, fault: str, status: int, rests: int) -> None:
    desk.arm(fault)
    assert stop(desk, "70000").status == status
    assert len(desk.rest("GET", OPEN).body) == rests


def test_it_may_arrive_long_after_nobody_knew(desk: Desk) -> None:
    desk.arm("O1=late")
    assert stop(desk, "70000").status == 503 and desk.rest("GET", OPEN).body == []
    desk.after(2_000)
    assert len(desk.rest("GET", OPEN).body) == 1


def test_the_websocket_api_takes_and_cancels_it_too(desk: Desk) -> None:
    words = {"symbol": BTC, "side": "BUY", "type": "STOP_MARKET", "algoType": "CONDITIONAL", "quantity": "1"}
    more = {"triggerPrice": "70000", "workingType": "MARK_PRICE", "reduceOnly": "true", "clientAlgoId": "w-1"}
    assert desk.ws("algoOrder.place", **words, **more)["result"]["algoStatus"] == "NEW"
    assert desk.ws("algoOrder.cancel", clientAlgoId="w-1")["result"]["code"] == "200"
    assert desk.ws("algoOrder.cancel", clientAlgoId="w-1")["error"]["code"] == -2011


def test_an_order_that_triggered_is_one_like_any_other_afterwards(desk: Desk) -> None:
    number = desk.listen()
    stop(desk, "70000", clientAlgoId="s-1")
    desk.price("70000")
    made = reports(desk.frames(number))[0]
    found = desk.rest("GET", "/fapi/v1/order", symbol=BTC, orderId=made["i"]).body
    assert (found["origType"], found["stopPrice"], found["status"]) == ("STOP_MARKET", "70000.00", "FILLED")
    assert "NEW" in kinds([{"e": "ORDER_TRADE_UPDATE", "o": made}])
