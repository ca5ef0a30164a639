"""The built-in exchange as a child process: `streamhedge sim`, its one ready line, and its end with ours."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from streamhedge.errors import ConfigError

READY_S = 20.0
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Ask the kernel to end the child when we are killed; elsewhere than Linux it stays behind."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.asynccontextmanager
async def exchange(arguments: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
    """Run the exchange and yield its ready line.

    Args:
        arguments: What follows `streamhedge sim` on the command line.

    Raises:
        ConfigError: it did not start; its own words are in the message.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamhedge", "sim", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=_die_with_parent,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None, "both are pipes"
    try:
        async with asyncio.timeout(READY_S):
            line = await process.stdout.readline()
        if not line:
            said = (await process.stderr.read()).decode("utf-8", "replace").strip()
            raise ConfigError(f"the built-in exchange did not start: {said.removeprefix('error: ')}")
        yield orjson.loads(line)
    except TimeoutError as error:
        raise ConfigError(f"the built-in exchange was not ready within {READY_S:.0f} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(5.0):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
