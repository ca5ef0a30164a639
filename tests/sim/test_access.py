"""Who gets in and how often: keys, signatures, timestamps, listen keys, limits on the way to a ban."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from streamhedge.sim.access import Keys
from streamhedge.sim.refusals import Refusal
from tests.sim.desk import BTC, KEY, Desk, kinds, signature
from tests.support.shared import SHARED, needs_shared

BALANCE = "/fapi/v3/balance"
HOUR_MS = 3_600_000


# ---------------------------------------------------------------- keys and signatures


def test_a_key_must_be_there_known_and_signed_with() -> None:
    desk = Desk()
    query = f"timestamp={desk.now_ms}"
    good = f"{query}&signature={signature(query)}"
    assert desk.raw("GET", BALANCE, query=good).status == 200
    assert desk.raw("GET", BALANCE, query=good, key="").code == -2014
    assert desk.raw("GET", BALANCE, query=good, key="x" * 64).code == -2015
    assert desk.raw("GET", BALANCE, query=f"{query}&signature={'0' * 64}").code == -1022
    assert desk.raw("GET", BALANCE, query=query).code == -1102
    assert (
        desk.raw(
            "GET", BALANCE, query=good.upper().replace("TIMESTAMP", "timestamp").replace("SIGNATURE", "signature")
        ).status
        == 200
    )


def test_query_and_body_are_signed_one_behind_the_other_and_the_query_wins() -> None:
    desk = Desk()
    query, body = f"symbol={BTC}&leverage=7", f"leverage=9&timestamp={desk.now_ms}"
    signed = f"{body}&signature={signature(query + body)}"
    answer = desk.raw("POST", "/fapi/v1/leverage", query=query, body=signed)
    assert answer.body["leverage"] == 7


def test_the_signature_covers_the_encoded_text() -> None:
    desk = Desk()
    query = f"symbol=%E6%B5%8B%E8%AF%95USDT&timestamp={desk.now_ms}"
    found = desk.raw("GET", "/fapi/v1/openOrders", query=f"{query}&signature={signature(query)}")
    assert found.code == -1121  # the signature held; there is no such contract


@pytest.mark.parametrize("number", ["²", "٣", "1" * 20, "-1", "1.0", " "])
def test_a_whole_number_is_ascii_digits_that_fit_64_bits(number: str) -> None:
    desk = Desk()
    assert desk.rest("GET", BALANCE, timestamp=number).code == -1102
    assert desk.rest("GET", BALANCE, recvWindow=number).code == -1130
    assert desk.rest("GET", "/fapi/v1/order", symbol=BTC, orderId=number).code == -1102
    assert desk.rest("GET", "/fapi/v1/algoOrder", algoId=number).code == -1102
    assert desk.rest("GET", "/fapi/v1/userTrades", symbol=BTC, limit=number).code == -1130
    assert desk.rest("POST", "/fapi/v1/leverage", symbol=BTC, leverage=number).code == -4028


def test_an_ed25519_key_signs_rest_and_logs_a_session_on() -> None:
    secret = Ed25519PrivateKey.generate()
    pem = secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    desk = Desk()
    desk.exchange.keys.ed25519["e" * 64] = pem

    def sign(payload: str) -> str:
        return base64.b64encode(secret.sign(payload.encode())).decode()

    query = f"timestamp={desk.now_ms}"
    good = f"{query}&signature={quote(sign(query), safe='')}"
    assert desk.raw("GET", BALANCE, query=good, key="e" * 64).status == 200
    assert desk.raw("GET", BALANCE, query=f"{query}&signature=AAAA", key="e" * 64).code == -1022
    words = {"apiKey": "e" * 64, "timestamp": desk.now_ms}
    words["signature"] = sign("&".join(f"{name}={words[name]}" for name in sorted(words)))
    assert desk.ws("session.logon", sign=False, **words)["result"]["apiKey"] == "e" * 64
    assert desk.ws("v2/account.balance", sign=False, timestamp=desk.now_ms)["status"] == 200
    assert desk.ws("session.logout", sign=False)["result"]["apiKey"] is None
    assert desk.ws("v2/account.balance", sign=False, timestamp=desk.now_ms)["error"]["code"] == -1102


def test_an_hmac_key_cannot_log_on() -> None:
    assert Desk().ws("session.logon")["error"]["code"] == -1099


@needs_shared
def test_the_recorded_hmac_vectors_verify() -> None:
    assert SHARED is not None
    vectors = json.loads((SHARED / "protocol/examples/sign_vectors.json").read_text())
    rows = [row for name, row in vectors.items() if "hmac" in name]
    for row in rows:
        keys = Keys(KEY, row["secret"])
        keys.check(KEY, row["payload"].encode(), row["signature"])
        with pytest.raises(Refusal):
            keys.check(KEY, row["payload"].encode() + b"x", row["signature"])
    assert len(rows) >= 3


# ---------------------------------------------------------------- timestamps


@pytest.mark.parametrize(
    ("offset_ms", "window", "code"),
    [
        (0, None, 0),
        (999, None, 0),
        (1_000, None, -1021),
        (-5_000, None, 0),
        (-5_001, None, -1021),
        (-2_000, "2000", 0),
        (-2_001, "2000", -1021),
        (-60_000, "90000", 0),
        (-60_001, "90000", -1021),
        (0, "soon", -1130),
    ],
)
def test_a_request_must_be_neither_early_nor_late(offset_ms: int, window: str | None, code: int) -> None:
    desk = Desk()
    words = {} if window is None else {"recvWindow": window}
    answer = desk.rest("GET", BALANCE, timestamp=desk.now_ms + offset_ms, **words)
    assert answer.code == code
    over_socket = desk.ws("v2/account.balance", timestamp=desk.now_ms + offset_ms, **words)
    assert over_socket.get("error", {}).get("code", 0) == code


def test_a_timestamp_that_is_no_number_is_refused() -> None:
    assert Desk().rest("GET", BALANCE, timestamp="now").code == -1102


# ---------------------------------------------------------------- listen keys


def test_a_listen_key_is_shared_lives_an_hour_and_is_kept_alive() -> None:
    desk = Desk()
    path = "/fapi/v1/listenKey"
    assert desk.raw("PUT", path).code == -1125
    key = desk.raw("POST", path).body["listenKey"]
    desk.after(HOUR_MS - 1)
    assert desk.raw("POST", path).body["listenKey"] == key
    desk.after(HOUR_MS - 1)
    assert desk.raw("PUT", path).body["listenKey"] == key
    desk.after(HOUR_MS)
    assert desk.raw("PUT", path).code == -1125
    assert desk.raw("POST", path).body["listenKey"] != key
    assert desk.raw("POST", path, key="").code == -2014


def test_an_expired_key_says_so_and_its_socket_is_silent_from_then_on() -> None:
    desk = Desk()
    number = desk.listen()
    desk.after(HOUR_MS)
    assert kinds(desk.frames(number)) == ["listenKeyExpired"]
    desk.order("SELL", "1")
    desk.listen()
    desk.order("SELL", "1")
    assert desk.frames(number) == [] and number in desk.exchange.streams.connections


def test_deleting_the_key_silences_everybody_who_uses_it() -> None:
    desk = Desk()
    first, second = desk.listen(), desk.listen()
    assert desk.raw("DELETE", "/fapi/v1/listenKey").body == {}
    assert [owner for owner, _ in desk.exchange.streams.outbox] == [first, second]
    desk.exchange.streams.outbox.clear()
    desk.order("SELL", "1")
    assert desk.exchange.streams.outbox == []


def test_the_websocket_api_hands_out_the_same_key() -> None:
    desk = Desk()
    key = desk.ws("userDataStream.start", sign=False, apiKey=KEY)["result"]["listenKey"]
    assert desk.raw("POST", "/fapi/v1/listenKey").body["listenKey"] == key
    assert desk.ws("userDataStream.ping", sign=False, apiKey=KEY)["status"] == 200
    assert desk.ws("userDataStream.stop", sign=False, apiKey=KEY)["status"] == 200
    assert desk.ws("userDataStream.ping", sign=False, apiKey=KEY)["error"]["code"] == -1125


# ---------------------------------------------------------------- limits


def test_weight_is_counted_told_and_forgotten_after_a_minute() -> None:
    desk = Desk()
    assert desk.rest("GET", BALANCE).headers == {"x-mbx-used-weight-1m": "5"}
    assert desk.rest("GET", "/fapi/v1/openOrders", symbol=BTC).headers["x-mbx-used-weight-1m"] == "6"
    assert desk.rest("GET", "/fapi/v1/openOrders").headers["x-mbx-used-weight-1m"] == "46"
    assert desk.exchange.handshake(desk.now_ms, weight=5) is None
    assert desk.exchange.limits.weight == 51
    desk.after(60_000)
    assert desk.rest("GET", BALANCE).headers["x-mbx-used-weight-1m"] == "5"


def test_an_order_costs_no_weight_and_counts_on_both_counters() -> None:
    desk = Desk()
    headers = desk.order("SELL", "1").headers
    assert headers == {
        **{"x-mbx-used-weight-1m": "0", "x-mbx-order-count-10s": "1", "x-mbx-order-count-1m": "1"},
    }
    desk.after(10_000)
    headers = desk.order("SELL", "1").headers
    assert (headers["x-mbx-order-count-10s"], headers["x-mbx-order-count-1m"]) == ("1", "2")
    limits = desk.ws("order.status", symbol=BTC, origClientOrderId="nobody")["rateLimits"]
    assert limits[0]["rateLimitType"] == "REQUEST_WEIGHT" and limits[0]["count"] == 1
    placed = desk.ws("order.place", symbol=BTC, side="SELL", type="MARKET", quantity="1")
    assert [limit["count"] for limit in placed["rateLimits"]] == [2, 3]


def test_too_much_weight_is_429_with_a_wait_then_418_until_it_says() -> None:
    desk = Desk()
    for _ in range(80):
        assert desk.rest("GET", "/fapi/v1/positionSide/dual").status == 200
    answer = desk.rest("GET", BALANCE)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, -1003, "60")
    desk.after(20_000)
    answer = desk.rest("GET", BALANCE)
    assert (answer.status, answer.headers["retry-after"]) == (429, "40")
    assert desk.order("SELL", "1").status == 200  # an order weighs nothing
    for _ in range(8):
        assert desk.rest("GET", BALANCE).status == 429
    answer = desk.rest("GET", BALANCE)
    assert (answer.status, answer.headers["retry-after"]) == (418, "120")
    assert str(desk.now_ms + 120_000) in answer.body["msg"]
    assert desk.order("SELL", "1").status == 418
    refused = desk.exchange.handshake(desk.now_ms, weight=5)
    assert refused is not None and refused.status == 418
    assert desk.ws("time", sign=False)["status"] == 418
    desk.after(119_999)
    assert desk.rest("GET", BALANCE).status == 418
    desk.after(2)
    assert desk.rest("GET", BALANCE).status == 200


def test_too_many_orders_in_ten_seconds_and_in_a_minute() -> None:
    desk = Desk(wallet="400000")

    def many(count: int) -> None:
        for index in range(count):
            side = "SELL" if index % 2 else "BUY"
            assert desk.order(side, "0.01").status == 200, index

    many(300)
    answer = desk.order("SELL", "0.01")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, -1015, "10")
    assert answer.body["msg"] == "Too many new orders; current limit is 300 orders per 10 SECOND."
    for _ in range(3):
        desk.after(10_000)
        many(300)
    desk.after(10_000)
    answer = desk.order("SELL", "0.01")
    assert (answer.code, answer.headers["retry-after"]) == (-1015, "20")
    assert "1200 orders per MINUTE" in answer.body["msg"]
    frame = desk.ws("order.place", symbol=BTC, side="SELL", type="MARKET", quantity="1")
    assert (frame["status"], frame["error"]["code"]) == (429, -1015)
    desk.after(20_001)
    many(1)


def test_paths_that_do_not_exist_and_methods_that_do_not_fit() -> None:
    desk = Desk()
    assert desk.rest("GET", "/fapi/v1/nothing").status == 404
    assert desk.rest("GET", "/fapi/v1/listenKey").status == 405
    assert desk.ws("order.teleport")["status"] == 404


# ---------------------------------------------------------------- frames of the WebSocket API


def test_ids_come_back_as_they_were_sent_and_rate_limits_can_be_declined() -> None:
    desk = Desk()
    for number in (7, "5f1c2b1e-uuid", None):
        text = json.dumps({"id": number, "method": "time"})
        found = json.loads(desk.exchange.ws_api(desk.session, text, desk.now_ms) or "")
        assert found["id"] == number and found["result"]["serverTime"] == desk.now_ms
    assert "rateLimits" not in desk.ws("v2/account.balance", returnRateLimits=False)
    desk.session.rate_limits = False
    assert "rateLimits" not in desk.ws("v2/account.balance")


@pytest.mark.parametrize("text", ["", "{", "[]", '"order.place"', '{"method":"time","params":[]}'])
def test_frames_that_are_no_request(text: str) -> None:
    desk = Desk()
    found = json.loads(desk.exchange.ws_api(desk.session, text, desk.now_ms) or "")
    assert (found["id"], found["status"], found["error"]["code"]) == (None, 400, -1135)


def test_strangers_send_numbers_as_text_and_booleans_in_any_case() -> None:
    desk = Desk()
    desk.order("SELL", "1")
    found = desk.ws(
        "order.place",
        **{"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": 1, "reduceOnly": "TRUE"},
        timestamp=str(desk.now_ms),
    )
    assert found["result"]["reduceOnly"] is True and desk.position().amount == 0
    desk.order("SELL", "1")
    found = desk.ws("order.place", symbol=BTC, side="BUY", type="MARKET", quantity=1, reduceOnly=True)
    assert found["result"]["reduceOnly"] is True


def test_a_number_is_signed_as_it_was_written() -> None:
    desk = Desk()
    words = f"apiKey={KEY}&quantity=0.100&side=SELL&symbol={BTC}&timestamp={desk.now_ms}&type=MARKET"
    params = (
        f'{{"apiKey":"{KEY}","quantity":0.100,"side":"SELL","symbol":"{BTC}","timestamp":{desk.now_ms},'
        f'"type":"MARKET","signature":"{signature(words)}"}}'
    )
    text = f'{{"id":1,"method":"order.place","params":{params}}}'
    found = json.loads(desk.exchange.ws_api(desk.session, text, desk.now_ms) or "")
    assert found["status"] == 200, found
