"""The routed stream paths: who gets what, and what is acknowledged and silent for ever."""

from __future__ import annotations

import pytest

from tests.sim.desk import BTC, Desk, kinds

MARK = "btcusdt@markPrice@1s"


def test_marks_come_every_second_raw_or_wrapped() -> None:
    desk = Desk()
    raw, wrapped = desk.connect(f"/market/ws/{MARK}"), desk.connect("/market/stream", f"streams={MARK}/!contractInfo")
    desk.after(1_000)
    outbox = list(desk.exchange.streams.outbox)
    assert [owner for owner, _ in outbox] == [raw, wrapped]
    desk.after(1_000)
    assert len(desk.frames(raw)) == 2
    desk.after(1_000)
    (frame,) = desk.frames(wrapped)
    assert frame["stream"] == MARK and frame["data"]["e"] == "markPriceUpdate"
    assert frame["data"]["s"] == BTC and frame["data"]["p"] == "67000.00000000" and frame["data"]["st"] == 1


def test_the_slow_stream_comes_every_third_time_and_the_array_holds_all() -> None:
    desk = Desk()
    slow, every = desk.connect("/market/ws/btcusdt@markPrice"), desk.connect("/market/ws/!markPrice@arr@1s")
    count = {slow: 0, every: 0}
    for _ in range(9):
        desk.after(1_000)
        for owner, _text in desk.exchange.streams.outbox:
            count[owner] += 1
        last = desk.frames(every)
    assert count == {slow: 3, every: 9}
    assert [row["s"] for row in last[0]] == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        ("/ws", MARK),  # un-routed: public data only
        ("/public/ws", MARK),
        ("/private/ws", MARK),
        ("/market/ws", "btcusdt@markprice@1s"),  # misspelt
        ("/market/ws", "BTCUSDT@markPrice@1s"),  # upper case
        ("/market/ws", "btcusdt@bookTicker"),  # the other path
    ],
)
def test_a_wrong_path_or_name_is_acknowledged_and_silent(path: str, stream: str) -> None:
    desk = Desk()
    number = desk.connect(path)
    desk.say(number, {"method": "SUBSCRIBE", "params": [stream], "id": 1})
    assert desk.frames(number) == [{"result": None, "id": 1}]
    for _ in range(5):
        desk.after(1_000)
    assert desk.frames(number) == []


@pytest.mark.parametrize("path", ["/public/ws", "/ws"])
def test_book_data_comes_on_the_public_path_and_on_the_old_one(path: str) -> None:
    desk = Desk()
    number = desk.connect(f"{path}/btcusdt@bookTicker")
    desk.after(1_000)
    desk.after(1_000)
    first, second = desk.frames(number)
    assert (first["b"], first["a"]) == ("66999.5", "67000.5") and second["u"] > first["u"]


@pytest.mark.parametrize("path", ["/", "/nothing", "/market", "/market/nothing"])
def test_other_paths_are_refused(path: str) -> None:
    assert Desk().exchange.streams.open(path, "", 0) is None


# ---------------------------------------------------------------- commands


def test_subscribe_list_unsubscribe_and_ids_of_any_kind() -> None:
    desk = Desk()
    number = desk.connect("/market/ws")
    desk.say(number, {"method": "SUBSCRIBE", "params": ["ethusdt@markPrice", MARK, MARK], "id": "a-uuid"})
    desk.say(number, {"method": "LIST_SUBSCRIPTIONS", "id": 2})
    desk.say(number, {"method": "UNSUBSCRIBE", "params": ["ethusdt@markPrice", "never@there"], "id": 3})
    desk.say(number, {"method": "LIST_SUBSCRIPTIONS", "id": 4})
    assert desk.frames(number) == [
        {"result": None, "id": "a-uuid"},
        {"result": [MARK, "ethusdt@markPrice"], "id": 2},
        {"result": None, "id": 3},
        {"result": [MARK], "id": 4},
    ]


def test_combined_is_a_property() -> None:
    desk = Desk()
    number = desk.connect(f"/market/ws/{MARK}")
    desk.say(number, {"method": "GET_PROPERTY", "params": ["combined"], "id": 1})
    desk.say(number, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 2})
    desk.say(number, {"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 3})
    desk.say(number, {"method": "SET_PROPERTY", "params": ["colour", True], "id": 4})
    answers = desk.frames(number)
    assert [a.get("result", a.get("error", {}).get("code")) for a in answers] == [False, None, 1, 0]
    desk.after(1_000)
    assert desk.frames(number)[0]["stream"] == MARK


@pytest.mark.parametrize(
    ("text", "code"), [("{", 3), ("[]", 2), ("{}", 2), ('{"method":"DANCE","id":1}', 2), ('{"method":7}', 2)]
)
def test_what_is_no_command_gets_its_code(text: str, code: int) -> None:
    desk = Desk()
    number = desk.connect("/market/ws")
    desk.say(number, text)
    assert desk.frames(number)[0]["error"]["code"] == code


def test_more_than_ten_messages_a_second_cut_the_connection() -> None:
    desk = Desk()
    patient, hasty = desk.connect("/market/ws"), desk.connect("/market/ws")
    for index in range(11):
        desk.say(hasty, {"method": "LIST_SUBSCRIPTIONS", "id": index})
    for index in range(22):
        desk.say(patient, {"method": "LIST_SUBSCRIPTIONS", "id": index})
        desk.now_ms += 100
    assert desk.exchange.streams.closing == [hasty]


def test_at_most_1024_streams_and_at_most_a_day() -> None:
    desk = Desk()
    number = desk.connect("/market/ws")
    desk.say(number, {"method": "SUBSCRIBE", "params": [f"s{n}@ticker" for n in range(1_024)], "id": 1})
    desk.say(number, {"method": "SUBSCRIBE", "params": ["one@ticker"], "id": 2})
    first, second = desk.frames(number)
    assert first["result"] is None and second["error"]["code"] == 2
    desk.after(24 * 3_600_000 - 1)
    assert desk.exchange.streams.closing == []
    desk.after(1)
    assert desk.exchange.streams.closing == [number]


# ---------------------------------------------------------------- private


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("", ["NEW", "TRADE_LITE", "ACCOUNT_UPDATE", "TRADE", "listenKeyExpired"]),
        ("&events=ORDER_TRADE_UPDATE/listenKeyExpired", ["NEW", "TRADE", "listenKeyExpired"]),
        ("&events=ACCOUNT_UPDATE%2FTRADE_LITE", ["TRADE_LITE", "ACCOUNT_UPDATE"]),
        ("&events=ORDER_TRADE_UPDAET", []),  # a typo is not told
    ],
)
def test_the_events_filter_is_strict_and_without_it_everything_comes(events: str, expected: list[str]) -> None:
    desk = Desk()
    number = desk.listen(query=events)
    desk.order("SELL", "1")
    desk.exchange.end_listen_key(desk.now_ms, said=True)
    assert kinds(desk.frames(number)) == expected


def test_the_wrapper_names_key_and_event_or_the_key_alone() -> None:
    desk = Desk()
    filtered = desk.listen(query="&events=ORDER_TRADE_UPDATE", combined=True)
    key = desk.exchange.listen_key.key
    subscribed = desk.connect("/private/stream")
    desk.say(subscribed, {"method": "SUBSCRIBE", "params": [key], "id": "as-the-sdk-does"})
    desk.exchange.streams.outbox.clear()
    desk.order("SELL", "1")
    outbox = list(desk.exchange.streams.outbox)
    assert f'"stream":"{key}@ORDER_TRADE_UPDATE"' in next(text for owner, text in outbox if owner == filtered)
    assert len([text for owner, text in outbox if owner == subscribed and f'"stream":"{key}",' in text]) == 4
    desk.say(filtered, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
    assert desk.frames(filtered)[-1]["result"] == [f"{key}@ORDER_TRADE_UPDATE"]


def test_a_key_in_the_path_works_and_a_wrong_key_is_silent() -> None:
    desk = Desk()
    desk.listen()
    good, bad = desk.connect(f"/private/ws/{desk.exchange.listen_key.key}"), desk.connect("/private/ws/wrong")
    desk.order("SELL", "1")
    owners = [owner for owner, _ in desk.exchange.streams.outbox]
    assert owners.count(good) == 4 and owners.count(bad) == 0


def test_a_reconnect_replays_nothing() -> None:
    desk = Desk()
    first = desk.listen()
    desk.exchange.streams.close(first)
    desk.order("SELL", "1")
    second = desk.listen()
    assert desk.frames(second) == []


# ---------------------------------------------------------------- contract news


def test_a_changed_contract_is_news_with_brackets_only_when_they_changed() -> None:
    desk = Desk()
    number = desk.connect("/market/ws/!contractInfo")
    desk.exchange.change_contract(BTC, desk.now_ms, status="SETTLING")
    rows = desk.exchange.contracts["ETHUSDT"].brackets
    desk.exchange.change_contract(BTC, desk.now_ms, brackets=list(rows))
    texts = desk.texts(number)
    assert '"cs":"SETTLING"' in texts[0] and '"bks"' not in texts[0]
    assert '"bnf":0,"bnc":300000,"mmr":0.004,"cf":0,"mi":1,"ma":150' in texts[1]  # JSON numbers, not strings
    listed = desk.rest("GET", "/fapi/v1/leverageBracket", symbol=BTC).body[0]["brackets"]
    assert len(listed) == len(rows) and listed[4]["notionalCap"] == 50_000_000
    assert desk.rest("GET", "/fapi/v1/exchangeInfo").body["symbols"][0]["status"] == "SETTLING"
