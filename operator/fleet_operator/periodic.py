"""Runs a coroutine function periodically, errors included."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fleet_web.logs import event as log


async def repeat(
    work: Callable[[], Awaitable[None]], interval: float, logger: logging.Logger, failure: str
) -> None:
    """Await `work`, sleep `interval` seconds, repeat. Errors are logged as the event `failure`."""
    while True:
        try:
            await work()
        except Exception as error:
            log(logger, failure, level=logging.ERROR, error=repr(error))
        await asyncio.sleep(interval)
