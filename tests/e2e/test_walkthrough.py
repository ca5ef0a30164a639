"""The way to a first hedge, typed into terminals as the README shows it: no key of ours, no file but what a person makes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.processes import environment, room
from tests.support.shared import REPOSITORY
from tests.support.terminal import Terminal, terminal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine"),
]
README = (REPOSITORY / "README.md").read_text("utf-8")
SECTION = README[README.index("### The way to a first hedge") :].partition("\n### ")[0]
TYPED = re.findall(r"^\d?\$ (.+)$", SECTION, re.M)
"""Every command line of the README's transcript, in order."""


def answer_everything(desk: Terminal, line: str) -> None:
    """Let `init config` ask: Enter where something is proposed, the example where a figure has to be typed."""
    shown = re.findall(r"^[a-z_]+ [^:\n]+(?=:(?: \S+)?$)", SECTION.partition("hedge.toml; next")[0], re.M)
    assert len(shown) >= 4
    start = len(desk.screen)
    desk.type(line + "\n")
    typed, wrong = 0, False
    while True:
        found = desk.until(
            r"^(?:(?P<question>.*?)(?:, e\.g\. (?P<example>[^\[\]\n]+)| \[[^\]\n]*\]): |\$ )\Z", after=start
        )
        start = len(desk.screen)
        if found["question"] is None:
            break
        if found["example"] is None:
            desk.type("\n")
            continue
        if not wrong:
            wrong = True
            desk.type("plenty\n")
            desk.until(r"expected a quantity like '50 USDT' or '2s', got 'plenty'\n", after=start)
            continue
        typed += 1
        desk.type(found["example"] + "\n")
    assert typed >= 8 and "hedge.toml; next: streamhedge doctor" in desk.screen
    for row in shown:
        assert row in desk.screen, f"the README shows {row!r}"


def test_the_way_of_the_readme_leads_to_a_hedge(tmp_path: Path) -> None:
    left = list(TYPED)

    def next_line(begins: str) -> str:
        line = left.pop(0)
        assert line.startswith(begins), f"the README types {line!r} here, this test expects {begins!r}"
        return line

    with room() as folder:
        program = folder / "bin" / "streamhedge"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m streamhedge "$@"\n')
        program.chmod(0o755)
        env = {**environment(folder), "PYTHONPATH": str(REPOSITORY)}
        env["PATH"] = f"{program.parent}:{os.environ['PATH']}"
        with terminal(folder, env) as market, terminal(folder, env) as desk, terminal(folder, env) as hand:
            # terminal 1: the exchange
            market.type(next_line("streamhedge sim") + "\n")
            ready = json.loads(market.until(r'^\{"rest".*\}$')[0])
            # terminal 2: a configuration, its keys, and the checks
            answer_everything(desk, next_line("streamhedge init config"))
            for name in ("api_key", "api_secret"):
                assert desk.run(next_line(f"(umask 077; echo … > {name})").replace("…", ready[name])) == ""
            line = next_line("cat >> hedge.toml")
            desk.type(line + "\n")
            desk.until(r"END'\n> \Z")
            for row in re.findall(r"^> (.+)$", SECTION, re.M):
                said = re.sub(
                    r'"[a-z]+://127\.0\.0\.1:\d+(/\S*)?"', lambda _, row=row: f'"{ready[row.split()[0]]}"', row
                )
                start = len(desk.screen)
                desk.type(said + "\n")
                desk.until(re.escape(said) + r"\n(> |\$ )\Z", after=start)
            wrong = desk.run(next_line("streamhedge config check -c hedge.toml --set"))
            assert "did you mean max_naked?" in wrong and "nothing was started" in wrong
            assert re.fullmatch(r"ok [0-9a-f]{16}\n", desk.run(next_line("streamhedge config check")))
            doctor = desk.run(next_line("streamhedge doctor"))
            assert re.search(r"\d+ checks, 0 failed", doctor) and "route /private" in doctor, doctor
            # shadow: it decides and sends nothing
            start = len(desk.screen)
            desk.type(next_line("streamhedge run -c hedge.toml --shadow") + "\n")
            desk.until(r"shadow .*would SELL", after=start)
            desk.type("\x03")
            desk.until(r"^\$ \Z", after=start + 60)
            shadow = desk.screen[start:]
            assert re.search(r"orders +0 sent", shadow) and "stays open" in shadow, shadow
            # the real thing
            start = len(desk.screen)
            desk.type(next_line("streamhedge run -c hedge.toml") + "\n")
            desk.until(r"short 6\.667 → 10\.0 of 10\.0 wanted\n.* filled ", after=start)
            # terminal 3: what a treasury asks and says
            assert hand.run(next_line("streamhedge may-buy")).startswith("yes\n")
            bought = hand.run(next_line("streamhedge trade buy"))
            assert re.search(r"float 10 -> 10\.1\d+\nhedge hedged, filled 0\.1\d+ ", bought), bought
            status = hand.run(next_line("streamhedge status"))
            assert "ACTIVE" in status and "in band" in status and "-10.1" in status, status
            assert hand.run(next_line("kill")) == ""
            desk.until(r"^PASS\n", after=start)
            end = desk.screen[start:]
            assert re.search(r"stop +.*BTCUSDT -10\.1\d+ stays open and unwatched", end), end
            gone = hand.run(next_line("streamhedge status"))
            assert gone.startswith("error: no streamhedge runs"), gone
            market.type("\x03")
        text = "\n".join(f"terminal {n}\n{one.screen}" for n, one in enumerate((market, desk, hand), 1))
        (tmp_path / "transcript.txt").write_text(text, "utf-8")
        assert ready["api_secret"] not in market.screen.partition("\n")[2].replace(json.dumps(ready), "")
    assert left == []
