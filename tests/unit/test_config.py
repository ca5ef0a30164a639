"""The configuration: what is understood, where it came from, and one clear line for everything that does not fit."""

from __future__ import annotations

import subprocess
import sys
import traceback
from decimal import Decimal
from pathlib import Path

import pytest

from streamhedge.errors import ConfigError
from streamhedge.rules.params import BackstopParams, CloseAction
from streamhedge.settings.config import Config, check_account, load_config
from streamhedge.settings.endpoints import DEMO, LIVE, Endpoints
from streamhedge.settings.model import schema
from tests.support.shared import SHARED, needs_shared

REPOSITORY = Path(__file__).resolve().parents[2]
D = Decimal
WHOLE = (REPOSITORY / "streamhedge" / "settings" / "demo.toml").read_text()
ETH = """
[[hedge]]
asset = "ETH"
initial = "100 ETH"
symbol = "ETHUSDT"
ratio = 0.5
band = "50 USDT"
max_short = "200 ETH"
max_order_quantity = "100 ETH"
leverage = 3
margin = "cross"
naked_alert_after = "5s"
"""
FINGERPRINT = "0123456789ab"


def write(folder: Path, text: str, name: str = "hedge.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def load(folder: Path, text: str = WHOLE, *, sets: tuple[str, ...] = (), **env: str) -> Config:
    return load_config([write(folder, text)], sets, env)


def faults(folder: Path, text: str = WHOLE, *, sets: tuple[str, ...] = (), **env: str) -> list[str]:
    """Return the lines that a refused configuration says, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, sets=sets, **env)
    first, *lines = str(caught.value).replace(f"{folder}/", "").split("\n")
    assert first == "the configuration does not fit; nothing was started"
    return [line.strip() for line in lines]


def line_of(text: str, start: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if line.startswith(start))


# ---------------------------------------------------------------- what is understood


def test_the_packaged_configuration_needs_no_file() -> None:
    config = load_config([], [], {})
    assert config.settings.venue == "sim"
    assert {origin for _, _, origin in config.show()} == {"packaged demo.toml", "default"}


@needs_shared
def test_the_documented_example_loads_as_it_stands(tmp_path: Path) -> None:
    assert SHARED is not None
    page = (SHARED / "design" / "SURFACE.md").read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    settings = load(tmp_path, example).settings
    assert settings.endpoints is None
    assert settings.web is not None and settings.web.listen == "127.0.0.1:8787"
    (alert,) = settings.alert
    assert (alert.url, alert.min) == ({"env": "ALERT_URL"}, "warning")
    assert settings.record is not None
    assert (settings.record.dir, settings.record.rotate, settings.record.keep) == ("recordings", 3_600_000, 604_800_000)
    assert settings.keys is not None and settings.keys.api_key == {"env": "BINANCE_API_KEY"}


def test_every_value_reaches_the_rules_in_its_unit(tmp_path: Path) -> None:
    policy = load(tmp_path).policy()
    (hedge,) = policy.hedges
    assert (hedge.asset, hedge.symbol, hedge.initial, hedge.ratio) == ("BTC", "BTCUSDT", D(10), D(1))
    assert (hedge.band, hedge.max_short, hedge.max_order_quantity) == (D(100), D(20), D(10))
    assert (hedge.leverage, hedge.isolated, hedge.naked_alert_after_ms) == (3, False, 5_000)
    ladder = policy.ladder
    assert (ladder.warn, ladder.reduce, ladder.close, ladder.reopen) == (D("0.3"), D("0.25"), D("0.2"), D("0.3"))
    assert (ladder.rehedge, ladder.cooldown_ms, ladder.raise_step) == (D("0.3"), 600_000, D("0.05"))
    assert ladder.close_action is CloseAction.RESTORE
    assert (ladder.reopen_after_adl_ms, ladder.reopen_after_liquidation_ms) == (2_000, None)
    limits = policy.limits
    assert (limits.max_order_notional, limits.unrealised_loss_alarm) == (D(250_000), D(-10_000))
    assert (limits.price_collar, limits.price_collar_urgent) == (D("0.01"), None)
    assert (limits.stale_after_ms, limits.receive_lag_ms, limits.recv_window_ms) == (3_000, 250, 2_000)


def test_a_rehedge_floor_may_be_said(tmp_path: Path) -> None:
    assert load(tmp_path, sets=("ladder.rehedge=35 %",)).policy().ladder.rehedge == D("0.35")


def test_numbers_of_a_file_are_exact(tmp_path: Path) -> None:
    text = WHOLE.replace("ratio = 1.0", "ratio = 0.1").replace('max_short = "20 BTC"', "max_short = 0.00000003")
    (hedge,) = load(tmp_path, text).settings.hedge
    assert isinstance(hedge.ratio, Decimal)
    assert (hedge.ratio, hedge.max_short) == (D("0.1"), D("0.00000003"))


def test_later_files_lie_over_earlier_ones_key_by_key(tmp_path: Path) -> None:
    base = write(tmp_path, WHOLE + ETH, "base.toml")
    over = write(
        tmp_path, 'limits = { max_naked = "9 USDT" }\n[[hedge]]\nasset = "ETH"\nband = "70 USDT"\n', "over.toml"
    )
    config = load_config([base, over], [], {})
    assert [(row.asset, row.band) for row in config.settings.hedge] == [("BTC", D(100)), ("ETH", D(70))]
    assert config.settings.limits.max_naked == D(9)
    assert config.settings.limits.max_trade == D(1_000_000)
    origins = {key: origin for key, _, origin in config.show()}
    assert origins["hedge.ETH.band"] == origins["limits.max_naked"] == str(over)
    assert origins["hedge.ETH.ratio"] == origins["hedge.BTC.band"] == origins["limits.max_trade"] == str(base)


def test_a_file_then_the_environment_then_set(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        sets=("limits.max_naked = 3 USDT", "hedge.BTC.band=77 USDT"),
        STREAMHEDGE__LIMITS__MAX_NAKED="2 USDT",
        STREAMHEDGE__LIMITS__MAX_TRADE="4 USDT",
        STREAMHEDGE__HEDGE__BTC__MAX_SHORT="5 BTC",
        STREAMHEDGE__SIM__FAULTS="S1=2;U1",
        STREAMHEDGE_OTHER="not ours",
        PATH="/bin",
    )
    (hedge,) = config.settings.hedge
    limits = config.settings.limits
    assert (limits.max_naked, limits.max_trade, hedge.max_short, hedge.band) == (D(3), D(4), D(5), D(77))
    assert config.settings.sim.faults == ["S1=2", "U1"]
    shown = {key: (value, origin) for key, value, origin in config.show()}
    assert shown["limits.max_naked"] == ("3", "--set")
    assert shown["limits.max_trade"] == ("4", "environment STREAMHEDGE__LIMITS__MAX_TRADE")
    assert shown["hedge.BTC.max_short"] == ("5", "environment STREAMHEDGE__HEDGE__BTC__MAX_SHORT")
    assert shown["hedge.BTC.band"] == ("77", "--set")
    assert shown["limits.max_leverage"] == ("5", str(tmp_path / "hedge.toml"))
    assert shown["web"] == ("None", "default")


def test_set_reaches_a_table_that_no_file_has(tmp_path: Path) -> None:
    config = load(tmp_path, sets=("record.dir=/r", "record.rotate=2h", "web.listen=[::1]:0"))
    assert config.settings.record is not None and config.settings.web is not None
    assert (config.settings.record.rotate, config.settings.record.keep) == (7_200_000, 7 * 86_400_000)


# ---------------------------------------------------------------- the hash


def test_the_hash_is_of_the_values_not_of_how_they_are_written(tmp_path: Path) -> None:
    known = load(tmp_path).hash()
    assert len(known) == 16 and int(known, 16) >= 0
    other = WHOLE.replace("ratio = 1.0", 'ratio = "100 %"').replace('cooldown = "10m"', 'cooldown = "600s"')
    assert load(tmp_path, other.replace("# ", "#   ")).hash() == known
    assert load(tmp_path, sets=("limits.max_naked=50000",)).hash() == known
    assert load(tmp_path, sets=("limits.max_naked=50001",)).hash() != known


def test_the_hash_is_the_same_in_every_process(tmp_path: Path) -> None:
    code = "from streamhedge.settings.config import load_config; print(load_config([], [], {}).hash())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert found == {load(tmp_path).hash()}


# ---------------------------------------------------------------- one clear line per fault


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        (
            'max_naked = "50_000 USDT"',
            'max_nakd = "50_000 USDT"',
            "unknown key limits.max_nakd; did you mean max_naked?",
        ),
        ('band = "100 USDT"', 'colour = "red"', "unknown key hedge.BTC.colour; known here: asset, initial, symbol"),
        ('band = "100 USDT"', 'band = "100 BTC"', "hedge.BTC.band: expected quote money like '50 USDT', got '100 BTC'"),
        ('initial = "10 BTC"', 'initial = "10 USDT"', "hedge.BTC.initial: expected BTC, got '10 USDT'"),
        ('initial = "10 BTC"', 'initial = "-1 BTC"', "hedge.BTC.initial: Input should be greater than or equal to 0"),
        ('max_short = "20 BTC"', 'max_short = "20 ETH"', "hedge.BTC.max_short: expected BTC, got '20 ETH'"),
        ("leverage = 3", "leverage = 2.5", "hedge.BTC.leverage: expected a whole number"),
        ("leverage = 3", "leverage = true", "hedge.BTC.leverage: expected a quantity"),
        ("leverage = 3", "leverage = 0", "hedge.BTC.leverage: Input should be greater than or equal to 1 (got '0')"),
        ("leverage = 3", "leverage = 6", "hedge BTC: leverage 6 is above limits.max_leverage 5"),
        ('margin = "cross"', 'margin = "crossed"', "'cross' or 'isolated'; did you mean cross? (got 'crossed')"),
        ("\nratio = 1.0", "\nratio = 1.5", "hedge.BTC.ratio: 1.5 without a unit is 150"),
        ("\nratio = 1.0", "\nratio = 0", "hedge.BTC.ratio: Input should be greater than 0"),
        ('naked_alert_after = "5s"', "naked_alert_after = 5", "expected a duration like '250ms'"),
        ('warn = "30 %"', "warn = 30", "ladder.warn: 30 without a unit is 3000 %; write '30 %'"),
        ('warn = "30 %"', 'warn = "30 USDT"', "ladder.warn: expected a percentage like '20 %'"),
        ('close_action = "restore"', 'close_action = "flat"', "did you mean flatten?"),
        ('max_naked = "50_000 USDT"', 'max_naked = "-1 USDT"', "limits.max_naked: Input should be greater than 0"),
        ('unrealised_loss_alarm = "-10_000 USDT"', 'unrealised_loss_alarm = "10_000 USDT"', "should be less than 0"),
        ('price_collar = "1 %"', 'price_collar = "5 %"', "limits.price_collar: Input should be less than 0.05"),
        ('stale_after = "3s"', 'stale_after = "0s"', "limits.stale_after: Input should be greater than 0"),
        ('request_timeout = "10s"', 'request_timeout = "-1s"', "not negative, got '-1s'"),
        (
            'recv_window = "2s"',
            'recv_window = "61s"',
            "limits.recv_window: Input should be less than or equal to 60000",
        ),
        ("max_open_intents = 10", "max_open_intents = nan", "limits.max_open_intents: expected a quantity"),
        ('max_trade = "1_000_000 USDT"', "max_trade = []", "limits.max_trade: expected a quantity"),
        ('venue = "sim"', 'venue = "prod"', "venue: Input should be 'sim', 'demo' or 'live' (got 'prod')"),
        ('venue = "sim"', 'venue = "lve"', "did you mean live? (got 'lve')"),
        ('asset = "BTC"', 'asset = "btc"', "String should match pattern"),
    ],
)
@pytest.mark.fault("K1")
def test_a_value_that_does_not_fit_is_named_with_its_line(tmp_path: Path, good: str, bad: str, said: str) -> None:
    assert WHOLE.count(good) == 1
    text = WHOLE.replace(good, bad)
    lines = faults(tmp_path, text)
    (named,) = [line for line in lines if said in line]
    key = bad.strip().split(" = ")[0]
    assert named.startswith(f"hedge.toml:{line_of(text, f'{key} = ')}: ")


@pytest.mark.parametrize(
    "limit", [line.split(" = ")[0] for line in WHOLE.split("[limits]")[1].split("[sim]")[0].split("\n") if line]
)
@pytest.mark.fault("K1")
def test_every_limit_must_be_said(tmp_path: Path, limit: str) -> None:
    text = "\n".join(line for line in WHOLE.splitlines() if not line.startswith(f"{limit} = "))
    assert faults(tmp_path, text) == [
        f"hedge.toml:{line_of(text, '[limits]')}: limits.{limit} is missing: it has no default, say it"
    ]


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    assert faults(tmp_path, WHOLE.split("[limits]")[0]) == ["hedge.toml: limits is missing: it has no default, say it"]
    assert "hedge is missing" in faults(tmp_path, 'venue = "sim"')[0]


@pytest.mark.fault("K1")
def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = WHOLE.replace('max_naked = "50_000 USDT"', "").replace("leverage = 3", "leverage = 0")
    assert len(faults(tmp_path, text, sets=("ladder.cooldwn=1s",))) == 3


def test_the_line_is_that_of_the_right_hedge(tmp_path: Path) -> None:
    text = WHOLE + ETH.replace('band = "50 USDT"', 'band = "50 ETH"')
    number = line_of(text, 'band = "50 ETH"')
    (said,) = faults(tmp_path, text)
    assert said.startswith(f"hedge.toml:{number}: hedge.ETH.band: ")


def test_the_line_is_in_the_file_that_said_it(tmp_path: Path) -> None:
    base = write(tmp_path, WHOLE, "base.toml")
    over = write(tmp_path, '\n\n[limits]\nmax_naked = "-1 USDT"\n', "over.toml")
    with pytest.raises(ConfigError, match=r"over\.toml:4: limits\.max_naked: "):
        load_config([base, over], [], {})
    with pytest.raises(ConfigError, match=r"base\.toml:\d+: limits\.max_trade: "):
        load_config([write(tmp_path, WHOLE.replace('"1_000_000 USDT"', '"x"'), "base.toml"), over], [], {})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("STREAMHEDGE__LIMITS__MAX_NAKD", "unknown key limits.max_nakd; did you mean max_naked?"),
        ("STREAMHEDGE__LIMIT__MAX_NAKED", "unknown key limit; did you mean limits?"),
        ("STREAMHEDGE__HEDGE__BTC__BAMD", "unknown key hedge.BTC.bamd; did you mean band?"),
        ("STREAMHEDGE__LIMITS__MAX_NAKED", "limits.max_naked: expected a quantity"),
    ],
)
def test_a_variable_that_does_not_fit_is_named(tmp_path: Path, name: str, said: str) -> None:
    (line,) = faults(tmp_path, **{name: "x"})
    assert line.startswith(f"environment {name}: ") and said in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("STREAMHEDGE__", "expected table.key"),
        ("STREAMHEDGE__LIMITS__", "expected table.key"),
        ("STREAMHEDGE__HEDGE__ETH__BAND", "there is no [[hedge]] for ETH"),
        ("STREAMHEDGE__HEDGE__BAND", "hedge is not a table; name the item, e.g. hedge.BTC.band"),
        ("STREAMHEDGE__VENUE__X", "venue is not a table"),
    ],
)
def test_a_variable_that_names_nothing_is_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **{name: "x"})
    assert str(caught.value) == f"environment {name}: {said}" or said in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("limits.max_naked", "expected key=value"),
        ("=1", "expected table.key"),
        ("limits..max_naked=1", "expected table.key"),
        ("hedge.ETH.band=1", "there is no [[hedge]] for ETH"),
        ("hedge.0.band=1", "there is no [[hedge]] for 0"),
    ],
)
@pytest.mark.fault("K1")
def test_a_set_that_names_nothing_is_refused(tmp_path: Path, said: str, reason: str) -> None:
    with pytest.raises(ConfigError, match="--set") as caught:
        load(tmp_path, sets=(said,))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("ladder", "said"),
    [
        ({"close": "26 %"}, "needs 0 < close < reduce < reopen <= rehedge"),
        ({"close": "0 %"}, "needs 0 < close < reduce"),
        ({"close": "-5 %"}, "needs 0 < close < reduce"),
        ({"reduce": "30 %"}, "needs 0 < close < reduce < reopen"),
        ({"reopen": "24 %"}, "it says warn 30 %, reduce 25 %, close 20 %, reopen 24 %, rehedge 24 %"),
        ({"rehedge": "29 %"}, "reopen <= rehedge"),
        ({"warn": "25 %"}, "needs reduce < warn, or the warning comes after the cut"),
        ({"raise_step": "101 %"}, "raise_step is a share of the policy short"),
    ],
)
def test_thresholds_that_contradict_each_other_are_refused(tmp_path: Path, ladder: dict[str, str], said: str) -> None:
    (line,) = faults(tmp_path, sets=tuple(f"ladder.{key}={value}" for key, value in ladder.items()))
    assert line.startswith(f"hedge.toml:{line_of(WHOLE, '[ladder]')}: [ladder] ")
    assert said in line


@pytest.mark.parametrize(
    ("leverage", "reopen", "said"),
    [
        (
            5,
            "30 %",
            "an isolated 5x short opens at most 20 % from liquidation, below reopen 30 %: it would be cut at once; use leverage 3 or lower",
        ),
        (4, "30 %", "an isolated 4x short opens at most 25 % from liquidation, below reopen 30 %"),
        (3, "34 %", "an isolated 3x short opens at most 33.33 % from liquidation, below reopen 34 %"),
        (
            2,
            "50 %",
            "an isolated 2x short opens at most 50 % from liquidation, below reopen 50 %: it would be cut at once; use leverage 1 or lower",
        ),
        (1, "100 %", 'below reopen 100 %: it would be cut at once; use margin = "cross"'),
        (3, "30 %", None),
        (2, "45 %", None),
    ],
)
def test_an_isolated_hedge_inside_its_own_ladder_is_refused(
    tmp_path: Path, leverage: int, reopen: str, said: str | None
) -> None:
    text = WHOLE.replace("leverage = 3", f"leverage = {leverage}").replace('margin = "cross"', 'margin = "isolated"')
    sets = (f"ladder.reopen={reopen}",)
    if said is None:
        assert load(tmp_path, text, sets=sets).policy().hedges[0].isolated
    else:
        (line,) = faults(tmp_path, text, sets=sets)
        assert line.startswith(f"hedge.toml:{line_of(text, 'leverage')}: hedge BTC: ") and said in line


def test_leverage_says_nothing_about_a_cross_hedge(tmp_path: Path) -> None:
    assert load(tmp_path, sets=("hedge.BTC.leverage=5",)).settings.hedge[0].leverage == 5


@pytest.mark.parametrize("name", ["asset", "symbol"])
def test_two_hedges_of_one_thing_are_refused(tmp_path: Path, name: str) -> None:
    again = {"asset": ETH + ETH.replace("ETHUSDT", "ETHUSDC"), "symbol": ETH.replace("ETHUSDT", "BTCUSDT")}[name]
    (line,) = faults(tmp_path, WHOLE + again)
    assert line.startswith("hedge.toml:") and f"two hedges of {name} " in line


def test_the_float_policy_is_read_and_checked(tmp_path: Path) -> None:
    table = '\n[allocation]\ntarget_usd = "40 %"\nthreshold = "10 %"\nfloor = "50 BTC"\nceiling = "10_000 BTC"\n'
    policy = load(tmp_path, WHOLE + table).policy().allocation
    assert policy is not None
    assert (policy.asset, policy.target_usd, policy.threshold) == ("BTC", D("0.40"), D("0.10"))
    assert (policy.floor, policy.ceiling) == (D(50), D(10_000))
    (line,) = faults(tmp_path, WHOLE + table.replace("10_000", "40"))
    assert "needs 0 <= floor < ceiling" in line
    assert load(tmp_path).policy().allocation is None


def test_an_urgent_collar_is_not_narrower(tmp_path: Path) -> None:
    assert load(tmp_path, sets=("limits.price_collar_urgent=2 %",)).settings.limits.price_collar_urgent == D("0.02")
    (line,) = faults(tmp_path, sets=("limits.price_collar_urgent=0.5 %",))
    assert "price_collar_urgent is narrower than price_collar" in line


def test_a_backstop_is_off_unless_it_is_said_and_must_stay_behind_the_ladder(tmp_path: Path) -> None:
    assert load(tmp_path).policy().backstop is None
    off = load(tmp_path, f"{WHOLE}\n[backstop]\nenabled = false\n").policy()
    assert off.backstop is None
    on = load(tmp_path, f"{WHOLE}\n[backstop]\nenabled = true\n").policy()
    assert on.backstop == BackstopParams(distance=D("0.10"))
    (line,) = faults(tmp_path, f'{WHOLE}\n[backstop]\nenabled = true\ndistance = "22 %"\n')
    assert "distance 22 % must be above 0 and below ladder.close 20 %" in line


@pytest.mark.parametrize("said", ["0", "-1", "2.5", "par"])
def test_the_quote_assets_price_is_optional_and_a_price(tmp_path: Path, said: str) -> None:
    assert load(tmp_path).settings.usd_per_quote is None
    assert load(tmp_path, f"usd_per_quote = 0.95\n{WHOLE}").settings.usd_per_quote == D("0.95")
    (line,) = faults(tmp_path, f'usd_per_quote = "{said}"\n{WHOLE}')
    assert "hedge.toml:1" in line and "usd_per_quote" in line


def test_every_table_that_differs_is_named_but_those_that_are_compared_key_by_key(tmp_path: Path) -> None:
    now = load(tmp_path)
    other = load(tmp_path, f"{WHOLE}\n[record]\ndir = 'elsewhere'\n", sets=("sim.seed=8", "limits.max_naked=1"))
    assert other.tables_changed(now) == now.tables_changed(other) == ["[record]", "[sim]"]
    assert load(tmp_path, f"usd_per_quote = 0.95\n{WHOLE}").tables_changed(now) == []
    assert load(tmp_path, sets=("venue=demo",)).tables_changed(now) == ["venue"]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("venue = sim\n", 1),
        ('venue = "sim"\n\n[limits\n', 3),
        ("a = 1\na = 2\n", 2),
        ('a = "\n', 1),
        ("a = [1,\n2\n", 2),
    ],
)
def test_what_is_not_toml_is_named_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"hedge\.toml:{line}: not TOML: "):
        load(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory; name a TOML file with -c"):
        load_config([tmp_path / "none.toml"], [], {})
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config([tmp_path], [], {})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="no UTF-8 text"):
        load_config([binary], [], {})


@pytest.mark.fault("X8")
def test_a_file_that_anybody_may_write_to_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    path.chmod(0o646)
    with pytest.raises(ConfigError, match=r"anybody may write to it.*chmod o-w it"):
        load_config([path], [], {})
    path.chmod(0o664)
    load_config([path], [], {})


# ---------------------------------------------------------------- keys, accounts, endpoints, page, alerts


@pytest.mark.parametrize(
    "keys",
    [
        'api_key = "c4n4ry"\napi_secret = { env = "S" }',
        'api_key = { env = "K" }\napi_secret = { c4n4ry = "c4n4ry" }',
        'api_key = { env = "K" }\napi_secret = { env = "S", file = "c4n4ry" }',
        'api_key = { env = "K" }\napi_secret = ["c4n4ry"]',
        'api_key = { env = "K" }\napi_secret = { env = "" }',
    ],
)
def test_a_key_in_the_place_of_its_source_is_refused_and_not_repeated(tmp_path: Path, keys: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{WHOLE}\n[keys]\n{keys}\n")
    told = "".join(traceback.format_exception(caught.value))
    assert "c4n4ry" not in told and "one of env, file, credential, command, aws_sm" in told
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_key_pasted_into_the_environment_is_not_repeated(tmp_path: Path) -> None:
    text = WHOLE + '\n[keys]\napi_key = { env = "K" }\napi_secret = { env = "S" }\n'
    lines = faults(tmp_path, text, STREAMHEDGE__KEYS__API_SECRET="c4n4ry")
    assert lines[0].startswith("environment STREAMHEDGE__KEYS__API_SECRET: keys.api_secret: say where it comes from")
    assert "c4n4ry" not in "".join(lines)


def test_what_is_shown_says_where_keys_come_from(tmp_path: Path) -> None:
    text = WHOLE + '\n[keys]\napi_key = { env = "K" }\napi_secret = { file = "/run/s" }\n'
    config = load(tmp_path, text, K="c4n4ry")
    shown = {key: value for key, value, _ in config.show()}
    assert (shown["keys.api_key.env"], shown["keys.api_secret.file"]) == ("K", "/run/s")
    assert "c4n4ry" not in str(config.canonical()) + repr(config)


def account_of(tmp_path: Path, venue: str, account: str | None) -> Config:
    keys = '\n[keys]\napi_key = { env = "K" }\napi_secret = { env = "S" }\n'
    said = f'account = "{account}"\n' if account is not None else ""
    return load(tmp_path, WHOLE.replace('venue = "sim"', f'venue = "{venue}"') + keys + said)


@pytest.mark.parametrize(
    ("venue", "account", "said"),
    [
        ("live", FINGERPRINT, None),
        ("live", FINGERPRINT.upper(), None),
        (
            "live",
            None,
            f'venue live needs [keys] account, the fingerprint of the key that is meant; this key has "{FINGERPRINT}"',
        ),
        ("live", "", "it is another account's"),
        ("live", "ffff56789abc", f'keys.account says "ffff56789abc", this key has the fingerprint "{FINGERPRINT}"'),
        ("demo", None, None),
        ("demo", FINGERPRINT, None),
        ("demo", "ffff56789abc", "it is another account's; nothing was started"),
        ("sim", None, None),
    ],
)
@pytest.mark.fault("K2")
def test_the_key_is_that_of_the_account_that_is_meant(
    tmp_path: Path, venue: str, account: str | None, said: str | None
) -> None:
    settings = account_of(tmp_path, venue, account).settings
    if said is None:
        check_account(settings, FINGERPRINT)
    else:
        with pytest.raises(ConfigError) as caught:
            check_account(settings, FINGERPRINT)
        assert said in str(caught.value)


def test_a_live_configuration_without_keys_has_no_account(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE.replace('venue = "sim"', 'venue = "live"')).settings
    with pytest.raises(ConfigError, match=r"venue live needs \[keys\] account"):
        check_account(settings, FINGERPRINT)


def endpoints(said: Endpoints) -> str:
    return f'\n[endpoints]\nrest = "{said.rest}"\nstream = "{said.stream}"\nws_api = "{said.ws_api}"\n'


@pytest.mark.parametrize(("venue", "wrong"), [("live", DEMO), ("demo", LIVE), ("sim", LIVE), ("sim", DEMO)])
@pytest.mark.fault("K2", "X5")
def test_the_endpoints_of_another_venue_are_refused(tmp_path: Path, venue: str, wrong: Endpoints) -> None:
    text = WHOLE.replace('venue = "sim"', f'venue = "{venue}"') + endpoints(wrong)
    (line,) = faults(tmp_path, text)
    assert line.startswith(f"hedge.toml:{line_of(text, '[endpoints]')}: venue {venue} with the ")


@pytest.mark.fault("X5")
def test_a_strange_host_is_refused_at_load(tmp_path: Path) -> None:
    strange = Endpoints(rest="https://evil.example", stream=LIVE.stream, ws_api=LIVE.ws_api)
    (line,) = faults(tmp_path, WHOLE + endpoints(strange))
    assert "endpoints.rest = 'https://evil.example': only the venue's hosts" in line


def test_endpoints_are_said_whole_or_not_at_all(tmp_path: Path) -> None:
    assert load(tmp_path, WHOLE + "\n[endpoints]\n").settings.endpoints is None
    lines = faults(tmp_path, WHOLE + '\n[endpoints]\nrest = "http://127.0.0.1:1"\n')
    assert [line.split(": ")[1] for line in lines] == ["endpoints.stream is missing", "endpoints.ws_api is missing"]


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:8787", "192.168.0.1:80", ":8787", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "localhost.evil:1"],
)
def test_the_page_listens_on_loopback_only(tmp_path: Path, listen: str) -> None:
    (line,) = faults(tmp_path, f'{WHOLE}\n[web]\nlisten = "{listen}"\n')
    assert "web.listen: expected a loopback address" in line


def test_an_alert_has_a_source_and_a_level(tmp_path: Path) -> None:
    text = WHOLE + '\n[[alert]]\nurl = { env = "A" }\n[[alert]]\nurl = { file = "/a" }\nmin = "critcal"\n'
    (line,) = faults(tmp_path, text)
    assert line.startswith(f"hedge.toml:{line_of(text, 'min = ')}: alert.1.min: ") and "did you mean critical?" in line
    lines = faults(tmp_path, WHOLE + '\n[[alert]]\nurl = "https://hooks.example/c4n4ry"\n')
    assert "alert.0.url: say where it comes from" in lines[0] and "c4n4ry" not in lines[0]


def test_record_has_bounds(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, WHOLE + '\n[record]\ndir = "r"\nrotate = "0s"\n')
    assert "record.rotate: Input should be greater than 0" in line


# ---------------------------------------------------------------- the schema


def test_the_schema_takes_quantities_with_units_and_knows_every_table() -> None:
    found = schema()
    assert {"venue", "hedge", "ladder", "limits"} == set(found["required"])
    assert {"web", "alert", "record", "endpoints", "keys", "sim"} <= set(found["properties"])
    limits = found["$defs"]["LimitsTable"]
    assert limits["additionalProperties"] is False
    assert "string" in limits["properties"]["max_naked"]["type"]
    assert set(limits["required"]) == set(limits["properties"]) - {"price_collar_urgent"}
