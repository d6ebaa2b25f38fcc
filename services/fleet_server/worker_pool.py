"""Threads for the blocking work of requests, such as tokenising, in which callers take turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fleet_server.admission import Admission

T = TypeVar("T")


class WorkerPool:
    """As many threads as `admission` has slots; it decides which call is next."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._pool = ThreadPoolExecutor(admission.max_concurrent, thread_name_prefix="work")

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """The result of a call in a thread. Raises QueueFull and Timeout as the admission does."""
        async with self._admission.slot():
            running = asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
            try:
                return await asyncio.shield(running)
            finally:
                # The slot is kept until the thread is free, also when the client has left.
                await asyncio.wait([running])

    def close(self) -> None:
        """Stop the threads; calls that wait for one are cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)
