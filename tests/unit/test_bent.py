"""Messages that once got through, or stopped the machine, when they were bent: one plain case each."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamhedge.domain.canonical import from_plain, to_plain
from streamhedge.domain.commands import Level, RequestSnapshot
from streamhedge.domain.events import CallFailed, ContractInfo, MarginCall, OrderOutcome, OutcomeKind, Quarantined, Tick
from streamhedge.errors import ConfigError, JournalCorrupt, LedgerUnwritable, ParseError, StoreError
from streamhedge.live.recordings import segments
from streamhedge.ops.cli import main
from streamhedge.ops.lines import Lines
from streamhedge.reactor.orders import parse_client_order_id
from streamhedge.runtime.inputs import Calls, decode_input
from streamhedge.runtime.replay import replay_lines
from streamhedge.settings.config import load_config
from streamhedge.settings.units import milliseconds, whole
from streamhedge.store.journal import Line, read_lines
from streamhedge.store.ledger import Ledger
from streamhedge.venue.http import Answer
from streamhedge.wire.answers import decode_ws_api, setup_of
from streamhedge.wire.calls import SetupFailed, set_up
from streamhedge.wire.outcomes import WAIT_MOST_MS, retry_after_ms
from streamhedge.wire.streams import decode_market, decode_private, name_of
from tests.fuzz.cases import steps
from tests.fuzz.machine import Text, steering
from tests.support import builders as make
from tests.support.desk import Desk
from tests.support.machines import DEMO
from tests.support.run import Run, setup_body

NOW_MS = make.T0_MS
DAY_MS = 86_400_000
DEEP = b"[" * 1_000 + b"]" * 1_000


def quarantined(raw: bytes) -> str:
    """Return why a private frame was not understood; fails where it was."""
    (event,) = decode_private(raw, now_ms=NOW_MS)
    assert isinstance(event, Quarantined)
    return event.reason


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize("leverage", [0, -1, 1_001, "0"])
def test_no_leverage_divides_a_margin(leverage: object) -> None:
    frame = {"e": "ACCOUNT_CONFIG_UPDATE", "E": NOW_MS, "T": NOW_MS, "ac": {"s": "BTCUSDT", "l": leverage}}
    assert "no leverage" in quarantined(orjson.dumps(frame))


@pytest.mark.parametrize(
    "name", ["", "BTC|USDT", "BTC:1", "BTC USDT", "BTC\x1b[2J", "BTC\u202eUSDT", "x" * 41, None, 7]
)
def test_a_name_with_a_mark_of_ours_or_of_the_terminal_is_none(name: object) -> None:
    with pytest.raises(ParseError):
        name_of(name)
    assert name_of("１000SATSUSDT") == "１000SATSUSDT"


@pytest.mark.parametrize("key", ["E", "T"])
def test_a_time_that_would_outdate_everything_true_is_none(key: str) -> None:
    body = {"m": "ORDER", "B": [], "P": []}
    frame = {"e": "ACCOUNT_UPDATE", "E": NOW_MS, "T": NOW_MS, "a": body}
    assert not isinstance(decode_private(orjson.dumps({**frame, key: NOW_MS + DAY_MS}), now_ms=NOW_MS)[0], Quarantined)
    assert "ahead" in quarantined(orjson.dumps({**frame, key: NOW_MS + DAY_MS + 1}))
    assert isinstance(decode_private(orjson.dumps({**frame, key: 2**62}))[0], Quarantined), "not even without a clock"


def test_rows_with_brackets_are_read_once_however_many_stand_in_a_frame() -> None:
    row = {"e": "contractInfo", "E": NOW_MS, "s": "BTCUSDT", "ct": "PERPETUAL", "cs": "TRADING"}
    row |= {"bks": [{"bs": 1, "bnf": 0, "bnc": 300000, "mmr": 0.0065, "cf": 0, "ma": 150}]}
    (one,) = decode_market(orjson.dumps(row))
    assert isinstance(one, ContractInfo) and one.brackets is not None
    assert one.brackets[0].maintenance_margin_rate == Decimal("0.0065"), "no float on the way"
    few, many = (steps(lambda n=n: decode_market(orjson.dumps([row] * n))) for n in (50, 500))
    assert many < few * 15, "effort grows with the frame, not with its square"


def test_rows_with_the_same_symbol_keep_their_own_brackets() -> None:
    row = {"e": "contractInfo", "E": NOW_MS, "s": "BTCUSDT", "ct": "PERPETUAL", "cs": "TRADING"}
    rows = [{**row, "bks": [{"bs": 1, "bnf": 0, "bnc": cap, "mmr": 0.01, "cf": 0, "ma": 5}]} for cap in (100, 200)]
    caps = [
        event.brackets[0].notional_cap
        for event in decode_market(orjson.dumps(rows))
        if isinstance(event, ContractInfo) and event.brackets
    ]
    assert caps == [100, 200]


@pytest.mark.parametrize("text", ["sh-a-²-1", "sh-a-1-１", "sh-a-" + "9" * 5_000 + "-1", "sh-a--1"])
def test_an_id_with_digits_of_another_script_is_nobodys(text: str) -> None:
    assert parse_client_order_id(text) is None
    assert parse_client_order_id("sh-a-1-000007") == ("a", 1, 7)


# ---------------------------------------------------------------- answers


def rest(label: str, status: int, body: bytes) -> Any:
    said = {
        "request": {"label": label, "client_order_id": "sh-1"},
        "status": status,
        "headers": {},
        "body": body.decode(),
    }
    (event,) = decode_input("rest", orjson.dumps(said), Calls(), NOW_MS * 10**6)
    return event


@pytest.mark.fault("S9")
def test_a_bottomless_message_of_the_venue_is_no_message() -> None:
    order = rest("order", 503, b'{"code":-1,"msg":' + DEEP + b"}")
    assert isinstance(order, OrderOutcome) and order.kind is OutcomeKind.IN_DOUBT and order.message == ""
    call = rest("listen_key", 400, b'{"code":-1,"msg":' + DEEP + b"}")
    assert isinstance(call, CallFailed) and call.message == ""
    answer = decode_ws_api(b'{"id":[[]],"status":400,"error":{"code":-1,"msg":[{}]}}')
    assert (answer.id, answer.message) == ("", "")
    frame = b'{"e":"ACCOUNT_CONFIG_UPDATE","E":' + DEEP + b',"ac":{"s":"BTCUSDT","l":1}}'
    assert quarantined(frame) == "ParseError: expected an integer, got a list"


def test_a_wait_told_as_a_time_is_no_wait_of_fifty_years() -> None:
    def wait(**data: object) -> int | None:
        error = {"code": -1003, "msg": "", "data": data}
        return decode_ws_api(orjson.dumps({"id": "pos-1", "status": 429, "error": error}), now_ms=NOW_MS).retry_after_ms

    assert wait(serverTime=NOW_MS - 5_000, retryAfter=NOW_MS + 1_000) == 6_000
    assert wait(retryAfter=NOW_MS + 1_000) == 1_000
    assert wait(retryAfter=1_500) == 1_500
    assert wait(retryAfter=NOW_MS - 1) == 0
    assert wait(retryAfter=2**62) == WAIT_MOST_MS
    assert wait(retryAfter=True) is None
    assert retry_after_ms({"retry-after": "9" * 9}, "", now_ms=NOW_MS) == WAIT_MOST_MS
    assert retry_after_ms({}, "banned until 9999999999999", now_ms=NOW_MS) == WAIT_MOST_MS


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("exchange_info", "symbols", 0, "filters", 0, "tickSize"), "0"),
        (("exchange_info", "symbols", 0, "filters", 1, "stepSize"), "-0.001"),
        (("exchange_info", "symbols", 0, "filters", 1, "maxQty"), "0"),
        (("symbol_config", 0, "leverage"), 0),
        (("leverage_bracket", "BTCUSDT", 0, "brackets", 0, "maintMarginRatio"), "1"),
        (("leverage_bracket", "BTCUSDT", 0, "brackets", 0, "notionalCap"), "0"),
        (("leverage_bracket", "BTCUSDT", 0, "brackets", 0, "initialLeverage"), 0),
        (("funding_info",), [{"symbol": "BTCUSDT", "fundingIntervalHours": 0}]),
    ],
)
def test_a_set_up_that_figures_cannot_be_divided_by_is_none(where: tuple[str | int, ...], value: object) -> None:
    body: Any = setup_body()
    for brackets in body["leverage_bracket"]["BTCUSDT"][0]["brackets"]:
        brackets["maintMarginRatio"] = str(brackets["maintMarginRatio"])
    assert setup_of(body).instruments
    part = body
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    with pytest.raises(ParseError):
        setup_of(body)


# ---------------------------------------------------------------- our own memory


def test_what_is_computed_may_be_larger_than_what_is_said() -> None:
    huge = Decimal("6.7E+24")
    assert from_plain(Decimal, to_plain(huge)) == huge
    with pytest.raises(ValueError):
        from_plain(Decimal, "NaN")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (int, "7"),
        (int, True),
        (str, 7),
        (bool, 1),
        (list[int], "12"),
        (Tick, [0]),
        (dict[str, int], []),
        (OutcomeKind, [[]]),
    ],
)
def test_another_type_than_was_written_is_refused(kind: Any, data: object) -> None:
    with pytest.raises(TypeError):
        from_plain(kind, data)


@pytest.mark.parametrize("payload", [b"{}", b'{"lag_ms":"x"}', b"[]", b"{", b'{"lag_ms":0,"zz":1}'])
def test_a_malformed_input_of_ours_is_a_parse_error(payload: bytes) -> None:
    source = "tick" if payload != b"{}" else "conn"
    with pytest.raises(ParseError, match=f"a malformed {source} input|no JSON object"):
        decode_input(source, payload, Calls(), 0)


def recorded(folder: Path) -> list[Line]:
    run = Run(folder)
    run.begin()
    (path,) = run.close()
    return list(read_lines(path))


def test_an_edited_recording_is_told_by_its_line(tmp_path: Path) -> None:
    lines = recorded(tmp_path)
    assert replay_lines(lines).diverged is None
    void = Line(lines[5].recv_ns, "void", b'{"client_order_id":"sh-no-1-1","reason":"x"}', 6, "x.rec")
    with pytest.raises(JournalCorrupt, match="line 6: the machine cannot take this void input"):
        replay_lines([*lines[:5], void])
    for header in (b"{}", b"[]", b"{", b'{"seq":0,"digest":"","state":{"reactor":[]}}'):
        with pytest.raises(JournalCorrupt):
            replay_lines([Line(0, "header", header, 1, "x.rec")])


def test_a_line_of_a_time_beyond_our_counters_is_no_line(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.begin()
    (path,) = run.close()
    tail = b"%d tick {}\n"
    whole_lines = path.read_bytes()
    for late, told in ((2**62, True), (2**62 - 1, False)):
        path.write_bytes(whole_lines + tail % late)
        cuts: list[str] = []
        count = sum(1 for _ in read_lines(path, on_cut=cuts.append))
        assert (count == whole_lines.count(b"\n")) is told and cuts


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"trade_id":7}', None, b"\xff"])
def test_a_row_that_nobody_of_ours_wrote_ends_the_reading(tmp_path: Path, body: object) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    books = Ledger(path)
    books.record_float_trade(make.float_trade("1").trade)
    with closing(sqlite3.connect(path)) as other:
        if body is not None:
            other.execute("UPDATE float_trade SET body = ?", (body,))
        other.execute("INSERT INTO state VALUES ('halted', '7')")
        other.commit()
    if body is not None:
        with pytest.raises(LedgerUnwritable, match="cannot be read"):
            books.float_trades()
    with pytest.raises(LedgerUnwritable, match="cannot be read"):
        books.states()
    books.close()


def test_a_damaged_file_whose_own_words_are_no_text_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "own" / "ledger.sqlite"
    Ledger(path).close()
    raw = path.read_bytes()
    assert b"CREATE TABLE float_trade" in raw
    path.write_bytes(raw.replace(b"CREATE TABLE float_trade", b"CREATE TABLE \xce\xff\xfe\xc2t_trade"))
    with pytest.raises(LedgerUnwritable):
        Ledger(path)


def test_a_run_number_at_the_end_of_the_integers_is_refused(tmp_path: Path) -> None:
    books = Ledger(tmp_path / "own" / "ledger.sqlite")
    with closing(sqlite3.connect(books.path)) as other:
        other.execute("INSERT INTO epoch VALUES (?, 0, '', '', NULL)", (2**63 - 1,))
        other.commit()
    with pytest.raises(LedgerUnwritable, match="nothing was written"):
        books.open_epoch(started_ms=NOW_MS, boot_id="boot", version="0")
    books.close()


# ---------------------------------------------------------------- people


@pytest.mark.parametrize("read", [milliseconds, whole])
def test_a_figure_that_no_counter_holds_is_refused(read: Any) -> None:
    unit = "d" if read is milliseconds else ""
    assert read(f"3650{unit}")
    with pytest.raises(ValueError, match="at most"):
        read(f"99999999999999{unit}")


@pytest.mark.parametrize("text", ['hedge = ["BTC"]', 'hedge = [{ asset = "BTC" }, "x"]'])
def test_a_hedge_that_is_no_table_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    for sets in ([], ["hedge.BTC.band=5"]):
        with pytest.raises(ConfigError):
            load_config([path], sets, {})


def test_a_name_too_long_for_the_system_is_told() -> None:
    with pytest.raises(StoreError, match="too long"):
        segments([Path("9" * 400)])


@pytest.mark.fault("X7")
def test_the_json_log_escapes_what_steers_and_keeps_its_value() -> None:
    log = Text()
    lines = Lines(json=True, out=log)
    said = "a\x1b[2J\x7f\x9b31m\u202eb é😀"
    lines.write("x", "BTCUSDT", said, 0, level=Level.INFO)
    lines.close()
    (line,) = log.text.splitlines()
    assert not steering(line) and orjson.loads(line)["text"] == said


@pytest.mark.parametrize("text", ["²", "--5", "-", "１２", "9" * 5_000])
def test_digits_of_another_script_are_no_integer(text: str) -> None:
    order = {"status": "FILLED", "clientOrderId": "sh-1", "executedQty": "1", "orderId": text}
    answer = rest("order", 200, orjson.dumps(order))
    assert isinstance(answer, OrderOutcome) and answer.kind is OutcomeKind.IN_DOUBT


def test_a_frame_of_many_margin_calls_asks_for_one_snapshot() -> None:
    desk = Desk()
    call = MarginCall(event_time_ms=NOW_MS, cross_wallet_balance=None, positions=())
    reaction = desk.take(*[call] * 50)
    assert sum(isinstance(command, RequestSnapshot) for command in reaction.commands) == 1


def test_more_faults_than_a_person_reads_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("".join(f"k{number} = 1\n" for number in range(500)))
    with pytest.raises(ConfigError, match=r"and 4[0-9]+ more"):
        load_config([path], [], {})
    path.write_text(f"k1 = '{'9' * 50_000}'\nvenue = '{'9' * 50_000}'\n")
    with pytest.raises(ConfigError) as found:
        load_config([path], [], {})
    assert len(str(found.value)) < 20_000


def test_an_exchange_info_too_deep_to_be_written_again_ends_the_set_up_with_a_word() -> None:
    script = set_up([make.BTCUSDT], (), recv_window_ms=2_000)
    next(script)
    deep = b'{"symbols":[{"symbol":"BTCUSDT","x":' + b"[" * 500 + b"]" * 500 + b"}]}"
    with pytest.raises(StopIteration) as end:
        script.send(Answer(200, {}, deep))
    assert isinstance(end.value.value, SetupFailed) and "no exchangeInfo" in end.value.value.error


@pytest.mark.parametrize("symbol", ['"a\\nb"', '"\\u202e"', '"BTC|USDT"', '""', '"BTC USDT"'])
def test_a_configured_symbol_is_a_name(tmp_path: Path, symbol: str) -> None:
    path = tmp_path / "own.toml"
    text = DEMO.read_text(encoding="utf-8")
    assert text.count('symbol = "BTCUSDT"') == 1
    path.write_text(text.replace('symbol = "BTCUSDT"', f"symbol = {symbol}"), encoding="utf-8")
    with pytest.raises(ConfigError, match="expected a symbol as the venue writes it"):
        load_config([path], [], {})


@pytest.mark.parametrize("words", [["explain", "²"], ["explain", "9" * 5_000], ["simulate", "--seeds", "1..²"]])
def test_a_number_of_another_script_is_a_usage_error(tmp_path: Path, words: list[str], capsys: Any) -> None:
    Run(tmp_path).begin()
    more = [str(tmp_path / "run-0001.rec")] if words[0] == "explain" else []
    with pytest.raises(SystemExit) as end:
        main([*words, *more])
    assert end.value.code == 2 and "Traceback" not in capsys.readouterr().err
