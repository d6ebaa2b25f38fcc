"""Runs a coroutine function periodically, errors included."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fleet_web.logs import event as log


async def repeat(
    work: Callable[[], Awaitable[None]],
    interval: float,
    logger: logging.Logger,
    failure: str,
    wake: asyncio.Event | None = None,
) -> None:
    """Await `work`, sleep `interval` seconds or until `wake` is set, repeat.

    Errors are logged as the event `failure`.
    """
    wake = wake or asyncio.Event()
    while True:
        try:
            await work()
        except Exception as error:
            log(logger, failure, level=logging.ERROR, error=repr(error))
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), interval)
        wake.clear()
