"""The door of the command line: arguments nobody meant, and raw frames through ``decode``, in this process."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from random import Random
from typing import Any

from streamhedge.ops.cli import main
from tests.fuzz import samples
from tests.fuzz.cases import REFUSED, VALID, Finding, Verdict, watched
from tests.fuzz.machine import steering
from tests.fuzz.mutator import INERT_NEEDED, WRITTEN, Mutator
from tests.support import builders as make

COMMANDS = (
    *(
        ["status"],
        ["trade", "buy", "1000"],
        ["trade", "void", "x"],
        ["may-buy", "10"],
        ["halt", "--reason", "x"],
        ["orders"],
    ),
    *(
        ["replay", "nowhere.rec"],
        ["explain", "7"],
        ["config", "show"],
        ["journal"],
        ["ledger", "verify"],
        ["report"],
        ["book"],
    ),
    *(["decode", "frames.txt"],) * 8,
)
EXITS = (0, 1, 2, 3, 4, 5, 6, 7, 130)


class Door:
    """Calls ``main`` as a shell would, in a folder of its own where nothing runs."""

    def __init__(self, rng: Random, folder: Path) -> None:
        self.rng = rng
        self._mutator = Mutator(rng, samples.USER_EVENTS)
        self._folder = folder
        self._frames = [
            *samples.composed("market"),
            *samples.composed("private"),
            *samples.user(make.T0_MS, "-10", "sh-1-1-1"),
        ]

    def case(self) -> Verdict:
        """Call one command."""
        rng = self.rng
        said = list(rng.choice(COMMANDS))
        frames = b"\n".join(self._mutator.bent(rng.choice(self._frames)).replace(b"\n", b"") for _ in range(3))
        (self._folder / "frames.txt").write_bytes(frames)
        if said[0] != "decode" or rng.random() < 0.2:
            for _ in range(rng.choice((1, 1, 2))):
                self._bend(said)
        shown = repr(said).encode("utf-8", "surrogatepass") + b" frames " + frames
        with watched(shown):
            code, out, err = self._called(said)
        if code not in EXITS:
            raise Finding(f"exit code {code}", shown)
        if "Traceback" in err:
            raise Finding(f"a traceback: {err[-500:]}", shown)
        for line in (*out.split("\n"), *err.split("\n")):
            if steering(line):
                raise Finding(f"the output line {line[:300]!r} steers the reader", shown)
        return Verdict(True, VALID if code == 0 else REFUSED)

    def _bend(self, said: list[str]) -> None:
        rng = self.rng
        kind = rng.randrange(4)
        word = rng.choice((*WRITTEN, *INERT_NEEDED, "--json", "--yes", "-c", "--", "-", "x" * 5_000)).replace(
            "\x00", ""
        )
        if kind == 0:
            said.append(word)
        elif kind == 1 and len(said) > 1:
            said[-1] = word
        elif kind == 2:
            said.insert(rng.randrange(len(said) + 1), word)
        elif len(said) > 1:
            del said[-1]

    def _called(self, said: list[str]) -> tuple[Any, str, str]:
        out, err = io.StringIO(), io.StringIO()
        env = {"STREAMHEDGE_LOCK_DIR": str(self._folder), "XDG_STATE_HOME": str(self._folder / "home")}
        before, kept = Path.cwd(), {name: os.environ.get(name) for name in env}
        os.environ.update(env)
        os.chdir(self._folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main(said)
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()
        finally:
            os.chdir(before)
            for name, value in kept.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        raise AssertionError("main returned")

    def close(self) -> None:
        """Nothing runs."""
