"""Polling for states of another process or thread without events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SECONDS = 180.0
"""Long enough for a busy machine: a wait ends as soon as its condition is true."""


def until(
    holds: Callable[[], object],
    seconds: float = SECONDS,
    every: float = 0.02,
    state: Callable[[], object] | None = None,
) -> None:
    """Wait until `holds()` is true.

    Raises TimeoutError after `seconds`, with `state()`, if given, in its message.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            seen = "" if state is None else f": {state()}"
            raise TimeoutError(f"still false after {seconds:.0f} s{seen}")
        time.sleep(every)


async def until_async(
    holds: Callable[[], object], seconds: float = SECONDS, every: float = 0.01
) -> None:
    """Wait until `holds()` is true without blocking the event loop. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(every)
