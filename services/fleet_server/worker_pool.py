"""Threads for the blocking work of requests, such as tokenising, in which callers take turns."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fleet_server.admission import Admission
from fleet_server.caller import current_caller

T = TypeVar("T")


class WorkerPool:
    """One caller may use `threads` at once; one more is left for others. Work that waits longer
    than `timeout` seconds for a thread is refused."""

    def __init__(self, threads: int, timeout: float) -> None:
        self._threads = threads
        self._timeout = timeout
        # The number of waiting calls is bounded by the admission of requests.
        self._shared = Admission(threads + 1, sys.maxsize, timeout)
        self._own: dict[str, Admission] = {}
        self._pool = ThreadPoolExecutor(threads + 1, thread_name_prefix="work")

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """The result of a call in a thread. Raises Timeout if none is free in time."""
        caller = current_caller()
        own = self._own.setdefault(caller, Admission(self._threads, sys.maxsize, self._timeout))
        try:
            async with own.slot(caller), self._shared.slot(caller):
                running = asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
                try:
                    return await asyncio.shield(running)
                finally:
                    # The slot is kept until the thread is free, also when the client has left.
                    await asyncio.wait([running])
        finally:
            if not own.running and not own.waiting:
                self._own.pop(caller, None)

    def close(self) -> None:
        """Stop the threads; calls that wait for one are cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)
