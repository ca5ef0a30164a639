"""The live screen in a real terminal (tmux), on a real hedger."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys

import pytest

from tests.support.processes import REPOSITORY, Account, environment, exchange, room, until

pytest.importorskip("textual", reason="the live screen is not installed: pip install 'streamhedge[top]'")
TMUX = shutil.which("tmux")


@pytest.mark.skipif(TMUX is None, reason="no tmux on this machine")
async def test_top_in_a_terminal_shows_the_hedger_and_ends_on_q() -> None:
    assert TMUX is not None

    with room() as folder:
        server = str(folder / "tmux")
        env = {**environment(folder), "TERM": "xterm-256color"}

        async def tmux(*words: str) -> str:
            process = await asyncio.create_subprocess_exec(
                *(TMUX, "-S", server, *words),
                cwd=REPOSITORY,
                env={**env, **account.env},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            out, _ = await process.communicate()
            return out.decode()

        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run("--json", "--no-web") as program:
                await until("hedged", account.hedged)
                top = shlex.join([sys.executable, "-m", "streamhedge", *account.words("top")])
                try:
                    await tmux("new-session", "-d", "-x", "120", "-y", "60", "-s", "top", top)

                    async def shown() -> bool:
                        text = await tmux("capture-pane", "-p", "-t", "top")
                        return "BTCUSDT" in text and "ACTIVE" in text and f"pid {program.pid}" in text

                    await until("the screen shows it", shown)
                    await tmux("send-keys", "-t", "top", "q")

                    async def gone() -> bool:
                        return "top" not in await tmux("list-sessions")

                    await until("it ended", gone)
                finally:
                    await tmux("kill-server")
                assert program.running, "a screen that ends ends nothing else"
                await program.stopped()
