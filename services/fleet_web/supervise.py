"""Keeps a coroutine running for ever: it is restarted with backoff whenever it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fleet_web.logs import event

logger = logging.getLogger(__name__)

FIRST_SECONDS = 0.5
MOST_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A run of this length starts the backoff anew."""


async def keep_running(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    ended: Callable[[str], None] = lambda name: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Await `work()` again and again until cancelled.

    A loop that ends, with an error or without, is logged, reported to `ended` by `name`, and
    started again after 0.5 s, twice as long after each further end, at most 30 s.
    """
    failures = 0
    while True:
        started = clock()
        error: Exception | None = None
        try:
            await work()
        # Not CancelledError, which ends the loop.
        except Exception as raised:
            error = raised
        failures = 1 if clock() - started >= STEADY_SECONDS else failures + 1
        seconds = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16))
        _report(name, error, seconds)
        ended(name)
        await sleep(seconds)


def _report(name: str, error: Exception | None, seconds: float) -> None:
    reason = "it returned" if error is None else f"{type(error).__name__}: {error}"
    event(logger, "loop_ended", level=logging.ERROR, loop=name, error=reason[:500],
          restart_in=seconds)  # fmt: skip
    if error is not None:
        logger.error("the loop %r ended", name, exc_info=error)
