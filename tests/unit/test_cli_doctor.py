"""doctor's offline checks, and its arithmetic, against cases that are wrong on purpose."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from streamhedge.domain.values import exact
from streamhedge.ops.doctor import examine, host
from streamhedge.ops.doctor.account import channels, read_keys
from streamhedge.ops.doctor.hedge import budget, isolated, margin, slices
from streamhedge.ops.doctor.host import configuration_files, floor, machine, user
from streamhedge.settings.config import load_config
from tests.support import builders as make
from tests.support.shared import REPOSITORY

D = Decimal
DEMO = REPOSITORY / "streamhedge" / "settings" / "demo.toml"


@pytest.mark.parametrize(
    ("name", "installed", "verdict"),
    [
        ("websockets", "16.0", "ok"),
        ("websockets", "15.0.1", "fail"),
        ("websockets", "17.0", "fail"),
        ("websockets", "17.0.1", "fail"),
        ("websockets", "17.4", "ok"),
        ("orjson", "3.11.5", "fail"),
        ("orjson", "3.11.6", "ok"),
        ("aiohttp", "3.14.2", "fail"),
        ("aiohttp", "3.14.3", "ok"),
        ("aiohttp", "4.0", "ok"),
    ],
)
@pytest.mark.fault("S9", "X9")
def test_floors_of_libraries(name: str, installed: str, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "version", lambda asked: installed)
    found = floor(name, host.FLOORS[name])
    assert found.verdict == verdict and found.found == installed and "pip install" in found.repair


@pytest.mark.fault("X8")
def test_files_that_others_may_write(tmp_path: Path) -> None:
    file = tmp_path / "hedge.toml"
    file.write_text("")
    file.chmod(0o644)
    assert configuration_files([file]) == []
    file.chmod(0o666)
    (found,) = configuration_files([file])
    assert found.verdict == "fail" and f"chmod go-w {file}" in found.repair


@pytest.mark.fault("X8")
def test_a_state_folder_that_is_not_ours_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert machine(state)[0].verdict == "ok", "not there yet is fine"
    state.mkdir()
    state.chmod(0o777)
    assert machine(state)[0].verdict == "fail" and "chmod 700" in machine(state)[0].repair
    state.chmod(0o700)
    assert machine(state)[0].verdict == "ok"


@pytest.mark.fault("P3")
def test_little_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "DISK_LEAST", 1 << 60)
    assert {check.name: check.verdict for check in machine(tmp_path)}["disk"] == "warn"


@pytest.mark.parametrize(("venue", "verdict"), [("sim", "ok"), ("demo", "warn"), ("live", "fail")])
def test_who_runs_it(venue: str, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config([DEMO], [f"venue={venue}"], {})
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert user(config).verdict == verdict and "user of its own" in user(config).repair
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert user(config).verdict == "ok"


def test_alerts_and_token_are_tried_without_telling_anybody(tmp_path: Path) -> None:
    pytest.importorskip("apprise", reason="the alerts' library is not installed: pip install 'streamhedge[alerts]'")
    said = tmp_path / "more.toml"
    said.write_text('[[alert]]\nurl = { env = "HOOK" }\n[web]\ntoken = { env = "TOKEN" }\n')
    config = load_config([DEMO, said], ["venue=demo"], {})
    good = channels(config, {"HOOK": "json://127.0.0.1:9/", "TOKEN": "correct horse"})
    assert [(one.name, one.verdict) for one in good] == [("alerts", "ok"), ("heartbeat", "warn"), ("page", "ok")]
    bad = channels(config, {"HOOK": "nowhere", "TOKEN": "short"})
    assert [(one.name, one.verdict) for one in bad] == [("alerts", "fail"), ("heartbeat", "warn"), ("page", "fail")]
    assert not any("nowhere" in str(one.fields()) or "short'" in str(one.fields()) for one in bad)
    assert [one.verdict for one in channels(load_config([DEMO], ["venue=demo"], {}), {})] == ["warn", "warn"]


def test_keys_are_read_and_never_shown(tmp_path: Path) -> None:
    said = tmp_path / "keys.toml"
    said.write_text('[keys]\napi_key = { env = "K" }\napi_secret = { env = "S" }\naccount = "somebody else"\n')
    config = load_config([DEMO, said], ["venue=demo"], {})
    keys, checks = read_keys(config, {"K": "the-key", "S": "the-secret"})
    assert keys is not None and [check.verdict for check in checks] == ["ok", "fail", "ok"]
    assert "somebody else" in checks[1].found and "withdrawals and transfers off" in checks[2].found
    assert not any("the-key" in str(check.fields()) or "the-secret" in str(check.fields()) for check in checks)
    none, missing = read_keys(config, {})
    assert none is None and missing[0].verdict == "fail"


async def test_a_configuration_that_does_not_fit_ends_the_examination(tmp_path: Path) -> None:
    checks = await examine([DEMO], ["limits.max_naked=lots"], tmp_path, {}, online=True, say=lambda text: None)
    assert checks[-1].name == "configuration" and checks[-1].verdict == "fail" and "max_naked" in checks[-1].found


async def test_offline_asks_nobody(tmp_path: Path) -> None:
    own = tmp_path / "demo.toml"
    own.write_bytes(DEMO.read_bytes())
    own.chmod(0o644)  # a checkout under umask 002 has files that a group may write, which doctor does not pass over
    checks = await examine([own], [], tmp_path, {}, online=False, say=lambda text: None)
    assert "clock" not in {check.name for check in checks}
    assert {check.verdict for check in checks} <= {"ok", "warn"}


def test_margin_budget_by_the_specifications_shares() -> None:
    """HEDGING §3, mmr 0.65 %, cum left out: +10 % 38 %, +20 % 51 %, +30 % 64 %, +50 % 89 %, +100 % 152 % of notional."""
    brackets = tuple(
        type(row)(row.notional_floor, row.notional_cap, D("0.0065"), D(0), row.max_leverage)
        for row in make.brackets()[:1]
    )
    with exact():
        found = budget("BTCUSDT", make.policy(), D(10), D(10_000), brackets)
    shares = {rally: round(D(wallet) / 1_000) for rally, wallet in found.data["wallets"].items()}
    assert shares == {"0.10": 38, "0.20": 51, "0.30": 64, "0.50": 89, "1.00": 152}


def test_margin_against_the_ladder() -> None:
    with exact():
        good = margin("BTCUSDT", make.policy(), D(10), D("67121.4"), D(400_000), make.brackets())
        thin = margin("BTCUSDT", make.policy(), D(10), D("67121.4"), D(200_000), make.brackets())
    assert good.verdict == "ok"
    assert thin.verdict == "warn" and "post " in thin.repair and "effective leverage 3.36" in thin.found


def test_isolated_margin_is_warned_of() -> None:
    found = isolated("BTCUSDT")
    assert found.verdict == "warn" and 'margin = "cross"' in found.repair


def test_a_hedge_that_takes_too_many_orders() -> None:
    """HEDGING §2: 10 000 BTC in 250 000 USD slices are 2 685 orders, 45 minutes at 60 a minute."""
    policy = make.policy(limits=make.limits(max_order_notional=D(250_000), max_orders_per_minute=60))
    with exact():
        found = slices(policy.hedges[0], policy, 10_000 * D("67121.4"))
        small = slices(policy.hedges[0], policy, 10 * D("67121.4"))
    assert found.verdict == "warn" and "2685 order(s)" in found.found and small.verdict == "ok"
