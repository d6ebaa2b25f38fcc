"""Polling for what no event announces: a state of another process or thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def until(holds: Callable[[], object], seconds: float = 30, every: float = 0.02) -> None:
    """Return once `holds()` is true. Raises TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still false after {seconds:.0f} s")
        time.sleep(every)


async def until_async(
    holds: Callable[[], object], seconds: float = 30, every: float = 0.01
) -> None:
    """The same on an event loop, which runs on meanwhile. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(every)
