"""Processes beside the one that measures: the far ends and the readers."""

from __future__ import annotations

import contextlib
import multiprocessing
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

CEILING_S = 120.0
"""How long a process may say nothing."""


def _child(sender: Connection, work: Callable[..., None], said: tuple[Any, ...]) -> None:
    try:
        work(lambda value: sender.send((value, None)), *said)
    except BaseException:
        sender.send((None, traceback.format_exc()))


@contextlib.contextmanager
def standing(work: Callable[..., None], *said: Any) -> Iterator[Any]:
    """Run ``work(tell, *said)`` in a process of its own, yield the first thing it tells, end it with the block."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, work, said), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(CEILING_S):
            raise TimeoutError(f"{work.__name__} said nothing for {CEILING_S:.0f} s")
        value, fault = receiver.recv()
        if fault is not None:
            raise RuntimeError(f"{work.__name__} failed:\n{fault}")
        yield value
    finally:
        process.terminate()
        process.join()
        receiver.close()


def apart(work: Callable[..., None], *said: Any) -> Any:
    """Run ``work`` in a process of its own and return what it tells."""
    with standing(work, *said) as value:
        return value
