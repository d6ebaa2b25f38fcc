"""Opens the event stream of a client whose model's server sends no head, and keeps it open.

Proxies close a connection on which nothing arrives for a minute or two; a long prompt on a slow
machine takes longer than that until its first token.
"""

from __future__ import annotations

import asyncio

from fleet_router.proxy.response_writer import ResponseWriter

COMMENT = b": waiting for the first token\n\n"


class Heartbeats:
    """Comments every `seconds`, from `start` to `stop`, which must be called before the writer is
    used otherwise. With 0 seconds it does nothing."""

    def __init__(self, writer: ResponseWriter, seconds: float) -> None:
        self._writer = writer
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start; a timer costs less than a task, and most servers respond before it fires."""
        if self._seconds:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self._start_task)

    async def stop(self) -> None:
        """Stop; a comment that is being written is complete afterwards."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            # Unlike `await`, `wait` does not raise the task's cancellation.
            await asyncio.wait((self._task,))

    def _start_task(self) -> None:
        self._task = asyncio.ensure_future(self._send())

    async def _send(self) -> None:
        while True:
            await self._writer.comment(COMMENT)
            await asyncio.sleep(self._seconds)
