"""Does one thing for ever, whatever becomes of it. Used by what asks servers and routers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fleet_web.logs import event as log


async def repeat(
    work: Callable[[], Awaitable[None]], interval: float, logger: logging.Logger, failure: str
) -> None:
    """Work, wait `interval` seconds, work again. An error is logged as the event `failure`: what
    went wrong in one round must not end the next."""
    while True:
        try:
            await work()
        except Exception as error:
            log(logger, failure, level=logging.ERROR, error=repr(error))
        await asyncio.sleep(interval)
