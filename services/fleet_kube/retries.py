"""Repeats a request whose result is kept, such as at the start of a process."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fleet_kube.errors import ApiError, ApiUnreachable, KubeError

T = TypeVar("T")

RETRY_SECONDS = 2.0


async def until_settled(
    request: Callable[[], Awaitable[T]],
    failed: Callable[[KubeError], None],
    tries: float = math.inf,
) -> T:
    """The result of a request, which is repeated after errors that may pass.

    `failed` is called with each of these before the next try. While the API server is unreachable
    there is no limit; raises the ApiError that is the last of `tries`, or that will not pass.
    """
    failures = 0
    while True:
        seconds = RETRY_SECONDS
        try:
            return await request()
        except ApiError as error:
            failures += 1
            if failures >= tries or not error.may_pass:
                raise
            failed(error)
            seconds = max(seconds, error.retry_after)
        except ApiUnreachable as error:
            failed(error)
        await asyncio.sleep(seconds)
